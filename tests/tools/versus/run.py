"""One run of one story under one init, watched from outside its namespace."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import tempfile
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from tests.cast.harness import AS_INIT, PATIENCE, pid_outside, status, wait_for
from tests.tools.versus.field import PATH, Init, Story, prepare
from tests.tools.versus.recorder import CUE

GRACE = 10.0  # seconds that docker stop gives to PID 1
GOES_ON = 6.0  # seconds after which an init that has done nothing will do nothing; circus looks every 5
TICK = 5  # milliseconds
MEMORY = Path("/sys/fs/cgroup/memory")
LIMIT = 48 * 2**20


@dataclass
class Life:
    """What one process wrote down, and when it was gone. Times are seconds since the cue."""

    name: str
    pid: int
    started: float
    signals: list[tuple[float, str]] = field(default_factory=list)
    cleaned: float | None = None
    code: int | None = None  # with which it says that it exits
    died: float = 0.0


@dataclass
class Run:
    """What happened. Times are seconds since the cue, or since the signal to PID 1."""

    lives: list[Life]
    seconds: float  # until PID 1 was gone
    code: int
    stopped: float | None = None  # when we stopped an init that went on
    killed: bool = False  # whether we had to kill PID 1, as an engine does
    said: str = ""


def why_no_memory() -> str:
    """Why no memory limit can be set here, or ""."""
    probe = MEMORY / f"versus-{uuid.uuid4().hex}"
    try:
        probe.mkdir()
        try:
            (probe / "memory.limit_in_bytes").write_text(str(LIMIT))
        finally:
            probe.rmdir()
    except OSError as error:
        return f"no memory cgroup of version 1: {error.strerror}"
    return ""


class Watch:
    """A run while it goes on."""

    def __init__(self, story: Story, init: Init, directory: Path) -> None:
        self.log = directory / "log"
        self.log.touch()
        self.lines: list[tuple[float, int, str, str]] = []
        self.outside: dict[int, int] = {}  # pids in our namespace, by their pids inside
        self.fds: dict[int, int] = {}  # pid file descriptors, and the pid inside
        self.died: dict[int, float] = {}
        self.output = (directory / "output").open("w+b")
        argv = [*AS_INIT, *prepare(story, init, directory, self.log)]
        self.process = subprocess.Popen(
            argv,
            cwd=directory,
            env={**os.environ, "PATH": PATH},
            stdin=subprocess.DEVNULL,
            stdout=self.output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    @cached_property
    def init(self) -> int:
        return int(wait_for(Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text).split()[0])

    def step(self) -> None:
        """Read what was written, and wait a moment for the next death."""
        text = self.log.read_text()
        complete = text[: text.rfind("\n") + 1].splitlines()
        for line in complete[len(self.lines) :]:
            at, pid, name, word = line.split(maxsplit=3)
            self.lines.append((int(at) / 1e9, int(pid), name, word))
            if word == "started":
                self.open(int(pid))
        poll = select.poll()
        for fd in self.fds:
            poll.register(fd, select.POLLIN)
        for fd, _ in poll.poll(TICK):
            self.died[self.fds.pop(fd)] = time.monotonic()
            os.close(fd)

    def open(self, inside: int) -> None:
        with suppress(OSError):  # it may be gone again
            if pid := pid_outside(inside, self.init):
                self.outside[inside] = pid
                self.fds[os.pidfd_open(pid)] = inside

    def count(self, word: str) -> int:
        return sum(line[3].startswith(word) for line in self.lines)

    def until_ready(self, names: list[str], word: str, times: int) -> None:
        deadline = time.monotonic() + PATIENCE
        assert self.init
        while {line[2] for line in self.lines} != {*names} or (word and self.says().count(word) < times):
            self.step()
            assert time.monotonic() < deadline, f"not ready: {self.lines} {self.says()}"
            assert self.process.poll() is None, f"ended too early: {self.lines} {self.says()}"

    def has_restarted(self, story: Story, word: str) -> bool:
        """Whether a program has been started again, and PID 1 knows that it runs."""
        known = not word or self.says().count(word) > len(story.commands)
        return known and self.count("started") > len(story.names)

    def pid_of(self, name: str) -> int:
        return next(self.outside[pid] for _, pid, its, _ in self.lines if its == name)

    def says(self) -> str:
        """What PID 1 and the programs have printed. Our read must not move the offset that they share."""
        return os.pread(self.output.fileno(), 2**20, 0).decode(errors="replace")

    def close(self) -> None:
        """End the namespace, whatever has happened. --kill-child takes PID 1 along, and that takes all others."""
        self.process.kill()
        self.process.wait(PATIENCE)
        for fd in self.fds:
            ended, _, _ = select.select([fd], [], [], PATIENCE)
            os.close(fd)
            assert ended, "a process is left"
        self.output.close()


def play(story: Story, init: Init) -> Run:
    """Run a story under an init."""
    with tempfile.TemporaryDirectory() as directory:
        watch = Watch(story, init, Path(directory))
        cage = MEMORY / f"versus-{uuid.uuid4().hex}" if story.eats else None
        try:
            watch.until_ready(story.names, init.ready, len(story.commands))
            if cage:
                cage.mkdir()
                (cage / "memory.limit_in_bytes").write_text(str(LIMIT))
                (cage / "cgroup.procs").write_text(str(watch.pid_of(story.eats)))
            return follow(story, watch, init.ready)
        finally:
            watch.close()
            if cage and cage.exists():
                remove(cage)


def remove(cage: Path) -> None:
    def gone() -> bool:
        cage.rmdir()  # fails as long as the kernel has not let go of the dead
        return True

    wait_for(gone)


def follow(story: Story, watch: Watch, ready: str) -> Run:
    """Give the cue, and watch until PID 1 is gone."""
    init = watch.init
    if story.frozen:
        frozen = watch.pid_of(story.frozen)
        os.kill(frozen, signal.SIGSTOP)
        wait_for(lambda: status(frozen)["State"].startswith("T"))
    start = time.monotonic()
    if story.sends:
        os.kill(init, story.sends)
    else:
        os.kill(watch.pid_of(story.cue), CUE)
    stopped, killed = None, False
    deadline = start + GRACE
    while watch.process.poll() is None:
        watch.step()
        now = time.monotonic()
        unmoved = not story.sends and stopped is None and not watch.count("got")
        if unmoved and (watch.has_restarted(story, ready) or now > start + GOES_ON):
            stopped, deadline = now - start, now + GRACE
            os.kill(init, signal.SIGTERM)
        elif now > deadline and not killed:
            killed = True
            with suppress(ProcessLookupError):
                os.kill(init, signal.SIGKILL)
        assert now < deadline + PATIENCE, "not even SIGKILL ended it"
    end = time.monotonic()
    watch.step()
    code = watch.process.returncode
    code = 128 + signal.SIGKILL if killed else code if code >= 0 else 128 - code  # not every unshare passes on a kill
    lives = sorted(told(watch, start, end), key=lambda life: (story.names.index(life.name), life.started))
    return Run(lives, end - start, code, stopped, killed, watch.says())


def told(watch: Watch, start: float, end: float) -> Iterator[Life]:
    """The life of each process, from what it wrote."""
    by_pid: dict[int, list[tuple[float, int, str, str]]] = defaultdict(list)
    for line in watch.lines:
        by_pid[line[1]].append(line)
    for pid, lines in by_pid.items():
        life = Life(lines[0][2], pid, lines[0][0] - start)
        for at, _, _, word in lines:
            if word.startswith("got "):
                life.signals.append((at - start, word[4:]))
            elif word == "cleaned up":
                life.cleaned = at - start
            elif word.startswith("exits "):
                life.code = int(word[6:])
                life.died = at - start
        life.died = life.died or min(watch.died.get(pid, end), end) - start
        yield life
