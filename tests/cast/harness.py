"""Start muinit on real processes, talk to them, and check that nothing is left."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self

ROOT = Path(__file__).parent.parent.parent
MUINIT = [str(Path(sys.executable).with_name("muinit"))]
KID = [sys.executable, "-I", "-S", str(ROOT / "tests/cast/kid.py")]
# An ordinary user may make namespaces only inside a user namespace in which the user is root.
UNSHARE = ["unshare", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]
AS_INIT = [*UNSHARE, "--pid", "--fork", "--kill-child", "--mount-proc"]
PATIENCE = 20.0  # seconds; only a broken run takes this long
LOOKS = 5  # in a row that find no process alive

# The processes that we start inherit which signals are ignored or blocked, so nothing may be. `nohup` ignores SIGHUP. A
# shell without job control ignores SIGINT and SIGQUIT in its background jobs. Python itself ignores SIGPIPE and
# SIGXFSZ, but its subprocess module undoes that.
for _number in signal.valid_signals() - {signal.SIGPIPE, signal.SIGXFSZ}:
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, signal.default_int_handler if _number == signal.SIGINT else signal.SIG_DFL)
signal.pthread_sigmask(signal.SIG_SETMASK, [])


def kid(name: str, *rules: str) -> list[str]:
    return [*KID, name, *rules]


class Run:
    """One run of muinit. Use it as a context manager: at the end no process of the run may be alive."""

    program = MUINIT

    def __init__(
        self, *commands: list[str], options: str = "", pid1: bool = False, prefix: Sequence[str] = (), **popen: Any
    ) -> None:
        """Start muinit. `prefix` is a command line that runs it, as PID 1 if `--pid` is in it (of unshare)."""
        words = [word for command in commands for word in ("---", *command)]
        self.tag = f"MUINIT_TEST={uuid.uuid4().hex}"
        self.stderr = tempfile.TemporaryFile()  # noqa: SIM115
        popen["env"] = {**popen.get("env", os.environ), **dict([self.tag.split("=")])}
        argv = [*(AS_INIT if pid1 else prefix), *self.program, *options.split(), *words]
        self.process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.stderr, **popen
        )
        self.pid1 = pid1 or "--pid" in prefix
        self.started = time.monotonic()
        self.pids: dict[str, int] = {}  # of the kids, in muinit's PID namespace
        self._unread = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        left = self.survivors()
        if left or kind is not None:
            self.clear()
        self.process.wait(PATIENCE)
        assert self.process.stdout is not None
        self.process.stdout.close()
        if kind is not None:
            print("stderr:", self.err, "stdout:", self._unread)
        self.stderr.close()
        assert kind is not None or not left, f"left alive: {left}"

    # Talk

    def line(self) -> str:
        """The next line that a command wrote."""
        line = self.line_or_end()
        assert line is not None, f"no more words; got {self._unread!r}; stderr: {self.err}"
        return line

    def line_or_end(self) -> str | None:
        """The next line, or None if no process is left that could write one."""
        assert self.process.stdout is not None
        while b"\n" not in self._unread:
            ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE)
            assert ready, f"no word within {PATIENCE} s; stderr: {self.err}"
            data = os.read(self.process.stdout.fileno(), 65536)
            if not data:
                return None
            self._unread += data
        line, _, self._unread = self._unread.partition(b"\n")
        return line.decode()

    def hear(self, *expected: str) -> None:
        """Wait for these lines, in any order."""
        left = list(expected)
        while left:
            line = self.line()
            assert line in left, f"heard {line!r} instead of one of {left}; stderr: {self.err}"
            left.remove(line)

    def hear_in_order(self, *expected: str) -> None:
        """Wait for these lines, in this order."""
        for line in expected:
            self.hear(line)

    def ready(self, *names: str) -> None:
        """Wait until these kids are ready."""
        while not set(names) <= set(self.pids):
            name, word, pid = self.line().split()
            assert word == "ready"
            self.pids[name] = int(pid)

    @property
    def init(self) -> int:
        """The pid of muinit, in our PID namespace."""
        if not self.pid1:
            return self.process.pid
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return int(wait_for(lambda: children.read_text().split())[0])

    def signal(self, number: int) -> None:
        os.kill(self.init, number)

    def kill(self, name: str, number: int) -> None:
        os.kill(self.outside(self.pids[name]), number)

    def is_reaped(self, name: str) -> bool:
        """Whether this kid has ended, and muinit knows."""
        pid = self.pids[name]
        return pid_outside(pid, self.init) is None if self.pid1 else not status(pid)

    def outside(self, pid: int) -> int:
        """The pid that a process of muinit's namespace has in ours."""
        if not self.pid1:
            return pid
        found = pid_outside(pid, self.init)
        assert found, f"no process has the pid {pid} in the namespace of muinit"
        return found

    # The end

    def stop(self, *names: str) -> None:
        """Tell muinit to stop. These kids say that they have got SIGTERM, and all exit 0."""
        self.signal(signal.SIGTERM)
        self.hear(*(f"{name} TERM" for name in names))
        assert self.end() == 0

    def survivors(self) -> list[int]:
        return [pid for pid in tagged(self.tag) if alive(status(pid))]

    def clear(self) -> None:
        """Leave nothing alive. A process that keeps forking and exiting may be missed, so look several times."""
        deadline = time.monotonic() + PATIENCE
        unseen = 0
        while unseen < LOOKS:
            left = self.survivors()
            assert time.monotonic() < deadline, f"cannot be killed: {left}"
            kill_all(left)
            unseen = 0 if left else unseen + 1

    def end(self) -> int:
        """Wait until muinit exits, and return its exit status as a shell gives it. Nothing may be alive by then."""
        code = self.process.wait(PATIENCE)
        self.seconds = time.monotonic() - self.started
        left = self.survivors()
        assert not left, f"left alive: {[(pid, status(pid).get('Name')) for pid in left]}"
        return code if code >= 0 else 128 - code

    @property
    def err(self) -> str:
        """What muinit has written to stderr."""
        # This does not move the file offset. muinit writes to the same open file, and so at the same offset.
        return os.pread(self.stderr.fileno(), os.fstat(self.stderr.fileno()).st_size, 0).decode()


def kernel_says(script: str) -> str:
    """Run a script with a Kernel `k` and all signals blocked. It sets handlers, so it runs in a process of its own."""
    prologue = (
        "import os, signal\n"
        "mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())\n"
        "from muinit.kernel import Kernel\n"
        "k = Kernel(mask)\n"
        "def me(*numbers):\n"
        "    for n in numbers: os.kill(os.getpid(), n)\n"
    )
    argv = [sys.executable, "-c", prologue + script]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def kill_all(pids: Sequence[int]) -> None:
    """SIGKILL these processes and their groups, and wait until they are dead.

    Only its group reaches a process that keeps forking and exiting.
    """
    for pid in pids:
        with suppress(ProcessLookupError):
            if os.getpgid(pid) != os.getpgrp():
                os.killpg(os.getpgid(pid), signal.SIGKILL)
            os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not any(alive(status(pid)) for pid in pids))


def tagged(tag: str) -> list[int]:
    """The processes with this variable in their environment."""
    pids = [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]
    return [pid for pid in pids if pid != os.getpid() and tag.encode() in environment(pid)]


def pid_outside(inside: int, init: int) -> int | None:
    """The pid, in our PID namespace, of the process with the pid `inside` in that of `init`; None if there is none.

    It is not looked for below `init`: one that is adopted in that moment could be missed.
    """
    namespace = os.stat(f"/proc/{init}/ns/pid")
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            within = os.path.samestat(
                os.stat(f"/proc/{pid}/ns/pid"), namespace
            )  # ten times as quick as to read its status
            if within and status(int(pid)).get("NSpid", "").split()[1:] == [str(inside)]:
                return int(pid)
    return None


def environment(pid: int) -> bytes:
    """The environment of a process at its start. If its first thread has ended, only the other threads show it."""
    with suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with suppress(OSError), open(f"/proc/{pid}/task/{thread}/environ", "rb", buffering=0) as file:
                if data := file.read():
                    return data
    return b""


def alive(status: dict[str, str]) -> bool:
    """Whether a process with this status has a thread that has not ended."""
    return status.get("State", "Z")[0] not in "ZX" or int(status.get("Threads", "1")) > 1


def status(pid: int) -> dict[str, str]:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def is_deaf(pid: int) -> bool:
    """Whether a process has blocked all signals with pthread_sigmask(3), as muinit's first lines do.

    glibc 2.41 also blocks signals for an instant while Python starts, but then including its own two, 32 and 33.
    """
    blocked = int(status(pid)["SigBlk"], 16)
    return bool(blocked & 1 << (signal.SIGTERM - 1)) and not blocked & 1 << 31


def wait_for(claim: Any, seconds: float = PATIENCE) -> Any:
    """Ask until the answer is true, and return it. Use it for facts of the kernel that nothing announces."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if answer := claim():
                return answer
        except OSError:
            pass
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.002)
