"""The stories, and the inits with their command lines and files, as their documentation says."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote, split

from tests.cast.harness import MUINIT, ROOT

PATH = f"{Path(MUINIT[0]).parent}:{ROOT / '.venv-versus/bin'}:{os.environ['PATH']}:/usr/sbin:/sbin"
RECORDER = Path(__file__).with_name("recorder.py")


@dataclass(frozen=True)
class Story:
    """Two programs, and what happens to them: PID 1 gets a signal, or one of them gets its cue."""

    name: str
    title: str
    text: str
    programs: dict[str, str]  # what each does beside cleaning up when it is asked to stop
    commands: tuple[str, str] = ("./web", "./worker")
    sends: signal.Signals | None = None
    cue: str = ""
    others: tuple[str, ...] = ()  # what the programs start
    code: int = 0  # of the program that fails
    deaf: str = ""
    eats: str = ""
    frozen: str = ""

    @property
    def names(self) -> list[str]:
        return [*self.programs, *self.others]


TERM = signal.SIGTERM
PLAIN = {"web": "", "worker": ""}
STORIES = [
    Story("stop", "told to stop", "PID 1 gets SIGTERM, as from docker stop.", PLAIN, sends=TERM),
    Story("fails", "one exits 3", "worker exits with 3.", {**PLAIN, "worker": "code=3"}, cue="worker", code=3),
    Story("done", "one exits 0", "worker is done and exits with 0.", PLAIN, cue="worker"),
    Story(
        "deaf",
        "one ignores SIGTERM",
        "PID 1 gets SIGTERM, and worker ignores it. Somebody must kill worker, but only after web has cleaned up.",
        {**PLAIN, "worker": "deaf"},
        sends=TERM,
        deaf="worker",
    ),
    Story(
        "shell",
        "one behind a shell",
        "PID 1 gets SIGTERM. The command is sh -c './worker; true', and the shell passes no signal on.",
        PLAIN,
        commands=("./web", "sh -c './worker; true'"),
        sends=TERM,
    ),
    Story(
        "frozen",
        "one is frozen",
        "worker was stopped by SIGSTOP, as by a debugger, and PID 1 gets SIGTERM. Only a worker that gets SIGCONT can "
        "clean up.",
        PLAIN,
        sends=TERM,
        frozen="worker",
    ),
    Story(
        "daemon",
        "one daemonizes",
        "worker starts a daemon in a session of its own, and exits with 0.",
        {**PLAIN, "worker": "daemon=daemon"},
        cue="worker",
        others=("daemon",),
    ),
    Story(
        "orphans",
        "an orphan tree",
        "worker has started job, which is nobody's child any more and has a child, helper. PID 1 gets SIGTERM.",
        {**PLAIN, "worker": "orphan=job"},
        sends=TERM,
        others=("job", "helper"),
    ),
    Story(
        "quit",
        "stopped by SIGQUIT",
        "PID 1 gets SIGQUIT, as from docker stop with STOPSIGNAL SIGQUIT, which the images of nginx and PHP set.",
        PLAIN,
        sends=signal.SIGQUIT,
    ),
    Story(
        "oom",
        "killed for memory",
        "worker reaches the limit of its memory cgroup, and the kernel kills it with SIGKILL.",
        {**PLAIN, "worker": "eats"},
        cue="worker",
        code=137,
        eats="worker",
    ),
]

Configure = Callable[[Path, Sequence[str]], list[str]]


@dataclass(frozen=True)
class Init:
    """What runs as PID 1, and how."""

    name: str
    program: str
    version: tuple[str, ...]  # a command that prints it, or the name of the Debian package
    text: str  # where the configuration comes from
    configure: Configure  # write the files into a directory, and return the command line
    ready: str = ""  # it prints this for each program once it has really taken charge of it
    asks_group: str = ""  # when it sends a signal to the whole process group: when it gets one, or also when it ends

    def asks(self, story: Story, name: str) -> bool:
        """Whether it sends a signal to this process, even if the process is killed before it can write that down."""
        return name != "daemon" and (self.asks_group == "always" or bool(self.asks_group and story.sends))

    def says(self) -> str:
        """The version."""
        argv = [*self.version] if len(self.version) > 1 else ["dpkg-query", "-Wf", "${Version}", *self.version]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, env={**os.environ, "PATH": PATH})
        lines = (done.stdout or done.stderr).splitlines()
        found = re.search(r"(bash-)?\d[\d.]*\d", lines[0]) if lines else None
        return found[0].replace("-", " ") if found else "unknown"

    def why_not(self) -> str:
        """Why it cannot run here, or ""."""
        return "" if shutil.which(self.program, path=PATH) else f"{self.program} is not installed"


def executable(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def script(*init: str) -> Configure:
    def configure(directory: Path, commands: Sequence[str]) -> list[str]:
        starts = "".join(f"{command} &\n" for command in commands)
        text = f"#!/bin/bash\n{starts}# Wait for any process to exit\nwait -n\n# Exit with its status\nexit $?\n"
        executable(directory / "entrypoint.sh", text)
        return [*init, "./entrypoint.sh"]

    return configure


def supervisord(directory: Path, commands: Sequence[str]) -> list[str]:
    head = "[supervisord]\nnodaemon=true\nuser=root\nlogfile=/dev/null\nlogfile_maxbytes=0\n"
    programs = "".join(
        f"\n[program:{'ab'[number]}]\ncommand={command}\nstdout_logfile=/dev/fd/1\nstdout_logfile_maxbytes=0\n"
        "redirect_stderr=true\nstartsecs=0\nstopwaitsecs=2\n"
        for number, command in enumerate(commands)
    )
    (directory / "supervisord.conf").write_text(head + programs)
    return ["supervisord", "-c", "supervisord.conf"]


def honcho(directory: Path, commands: Sequence[str]) -> list[str]:
    (directory / "Procfile").write_text("".join(f"{'ab'[n]}: {command}\n" for n, command in enumerate(commands)))
    return ["honcho", "start"]


def circus(directory: Path, commands: Sequence[str]) -> list[str]:
    head = "[circus]\nendpoint = ipc://endpoint\npubsub_endpoint = ipc://pubsub\n"
    watchers = "".join(
        f"\n[watcher:{'ab'[number]}]\ncmd = {command}\ngraceful_timeout = 2\n"
        for number, command in enumerate(commands)
    )
    (directory / "circus.ini").write_text(head + watchers)
    return ["circusd", "circus.ini"]


def s6(directory: Path, commands: Sequence[str]) -> list[str]:
    """Service directories. The finish script stops the tree, as the one that s6-overlay documents for containers."""
    finish = "#!/bin/sh\n# $1 is the exit code, or 256 if signal $2 killed it\n"
    finish += "[ $1 != 256 ] || set -- $((128 + $2))\n[ $1 = 0 ] || [ -e ../../code ] || echo $1 > ../../code\n"
    finish += "exec s6-svscanctl -t ..\n"
    for name, command in zip("ab", commands, strict=True):
        executable(directory / f"service/{name}/run", f"#!/bin/sh\ncd ../..\nexec {command}\n")
        executable(directory / f"service/{name}/finish", finish)
        (directory / f"service/{name}/timeout-kill").write_text("2000\n")
    last = "#!/bin/sh\nexit $(cat ../code 2>/dev/null || echo 0)\n"
    executable(directory / "service/.s6-svscan/finish", last)
    return ["s6-svscan", "service"]


def muinit(directory: Path, commands: Sequence[str]) -> list[str]:  # noqa: ARG001
    return ["muinit", *(word for command in commands for word in ("---", *split(command)))]


DOCKER = "The script of Docker's documentation for several programs in a container"
INITS = [
    Init("script", "bash", ("bash", "-c", "echo bash-${BASH_VERSION%%[(]*}"), f"{DOCKER}, as PID 1.", script()),
    Init("tini", "tini", ("tini", "--version"), f"{DOCKER}, under tini.", script("tini", "--")),
    Init(
        "tini -g",
        "tini",
        ("tini", "--version"),
        f"{DOCKER}, under tini -g.",
        script("tini", "-g", "--"),
        asks_group="signals",
    ),
    Init(
        "dumb-init",
        "dumb-init",
        ("dumb-init",),
        f"{DOCKER}, under dumb-init.",
        script("dumb-init", "--"),
        asks_group="always",
    ),
    Init("catatonit", "catatonit", ("catatonit",), f"{DOCKER}, under catatonit.", script("catatonit", "--")),
    Init(
        "supervisord",
        "supervisord",
        ("supervisord", "--version"),
        "The file of Docker's documentation. startsecs=0, so that a program may end at once; stopwaitsecs=2 instead of "
        "10, the time that muinit has by default.",
        supervisord,
        ready="entered RUNNING state",
    ),
    Init(
        "circus",
        "circusd",
        ("circusd", "--version"),
        "A circus.ini. graceful_timeout=2 instead of 30, the time that muinit has by default.",
        circus,
        ready=" started",
    ),
    Init("honcho", "honcho", ("honcho", "version"), "A Procfile.", honcho, ready="started (pid="),
    Init(
        "s6",
        "s6-svscan",
        ("s6",),
        "Service directories whose finish scripts end the container and keep the exit code, as s6-overlay documents "
        "it; without them s6 restarts programs. timeout-kill is 2 s, the time that muinit has by default.",
        s6,
    ),
    Init("muinit", "muinit", ("muinit", "--version"), "No option.", muinit),
]


def prepare(story: Story, init: Init, directory: Path, log: Path) -> list[str]:
    """Write the programs and the files of the init, and return its command line."""
    for name, traits in story.programs.items():
        words = [sys.executable, "-I", "-S", str(RECORDER), str(log), name, *traits.split()]
        executable(directory / name, f"#!/bin/sh\nexec {' '.join(map(quote, words))}\n")
    return init.configure(directory, story.commands)
