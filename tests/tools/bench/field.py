"""What is measured: muinit in each way to install it, and the inits and supervisors of Debian and PyPI."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.cast.harness import ROOT

VENV = ROOT / ".venv-bench"  # as a user installs it: not editable, with a current pip
PYTHON = str(VENV / "bin/python")
OPTIONS = ["-q", "-s", "USR1"]

Configure = Callable[[Path, int], list[str]]


class Program(NamedTuple):
    """A program, and how it runs `command` so many times in a folder: `configure` writes its files, and returns argv.

    `origin` is where it can be had. `forwards` says whether it passes on USR1.
    """

    name: str
    origin: str
    configure: Configure
    forwards: bool = False

    def is_there(self) -> bool:
        with tempfile.TemporaryDirectory() as folder:
            argv = self.configure(Path(folder), 1)
        files = [word for word in argv if word.startswith("/")]
        return bool(shutil.which(argv[0])) and all(Path(file).exists() for file in files)


def script(path: Path, text: str, shell: str = "/bin/sh") -> None:
    """Write an executable script."""
    path.write_text(f"#!{shell}\n{text}\n")
    path.chmod(0o755)


def muinit(*argv: str) -> Configure:
    return lambda _, count: [*argv, *OPTIONS, *["---", "./command"] * count]


def one(*argv: str) -> Configure:
    """An init that runs one program. Of several, that program is a shell that starts them and waits for one."""

    def configure(folder: Path, count: int) -> list[str]:
        if count == 1:
            return [*argv, "./command"]
        shell(folder, count)
        return [*argv, "./script"]

    return configure


def shell(folder: Path, count: int) -> list[str]:
    """The usual script for several programs in a container, with the trap that PID 1 needs."""
    stop = "trap 'kill $(jobs -p); wait; exit 143' TERM"
    script(folder / "script", "\n".join([stop, *["./command &"] * count, "wait -n", "exit $?"]), "/bin/bash")
    return ["bash", "./script"]


def s6(folder: Path, count: int) -> list[str]:
    for number in range(count):
        (folder / f"scan/{number}").mkdir(parents=True)
        script(folder / f"scan/{number}/run", "cd ../..\nexec ./command")
    return ["s6-svscan", f"-c{max(count, 500)}", "scan"]


SUPERVISORD = """[supervisord]
nodaemon=true
silent=true
logfile=/dev/null
logfile_maxbytes=0
pidfile=%(here)s/pid
minfds={descriptors}
[program:a]
command=%(here)s/command
numprocs={count}
process_name=%(process_num)s
startsecs=0
autorestart=false
stdout_logfile=NONE
stderr_logfile=NONE
"""


def supervisord(folder: Path, count: int) -> list[str]:
    (folder / "supervisord.conf").write_text(SUPERVISORD.format(count=count, descriptors=10 * count + 1000))
    return ["supervisord", "-c", "supervisord.conf"]


CIRCUS = """[circus]
endpoint = ipc://endpoint
pubsub_endpoint = ipc://pubsub
[watcher:a]
cmd = ./command
numprocesses = {count}
"""


def circus(folder: Path, count: int) -> list[str]:
    (folder / "circus.ini").write_text(CIRCUS.format(count=count))
    return [f"{VENV}/bin/circusd", "--log-level", "error", "circus.ini"]


def honcho(folder: Path, count: int) -> list[str]:
    (folder / "Procfile").write_text("".join(f"a{number}: exec ./command\n" for number in range(count)))
    return [f"{VENV}/bin/honcho", "start"]


WAYS = ("muinit", "muinit.pyz", "bundle")  # to install muinit; once it has started, it is the same in each
PROGRAMS = [
    Program("muinit", "make bench", muinit(f"{VENV}/bin/muinit"), forwards=True),
    Program("muinit.pyz", "make dist", muinit(PYTHON, "-I", f"{ROOT}/dist/muinit.pyz"), forwards=True),
    Program("bundle", "make bundle", muinit(f"{ROOT}/dist/muinit/muinit"), forwards=True),
    Program("tini", "Debian", one("tini", "-g", "--"), forwards=True),
    Program("dumb-init", "Debian", one("dumb-init"), forwards=True),
    Program("catatonit", "Debian", one("catatonit", "-g", "--"), forwards=True),
    Program("s6-svscan", "Debian", s6),
    Program("bash, wait -n", "Debian", shell),
    Program("supervisord", "Debian", supervisord),
    Program("circus", "PyPI", circus),
    Program("honcho", "PyPI", honcho),
]
