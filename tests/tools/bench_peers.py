"""muinit as PID 1, in each way to install it, beside the inits and supervisors of Debian and PyPI, with one command.

The programs run in turn. What is not installed or built is left out, and the text says so.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple

from tests.cast.harness import AS_INIT, ROOT
from tests.tools import docs
from tests.tools.bench_labels import PATIENCE, VENV, ratio, rounded, tree
from tests.tools.progress import progress

SIGNALS = 20
STAMP = "date +%s%N; exec sleep 600"
HEAR = f"""exec {VENV}/bin/python -I -c '
import os, signal, time
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
print(time.time_ns(), flush=True)
while signal.sigwait([signal.SIGUSR1]):
    os.write(1, b"%d\\n" % time.time_ns())
'"""
OPTIONS = ["-q", "-s", "USR1", "---", "./command"]
PROCFILE = "a: exec ./command\n"
SUPERVISORD = """[supervisord]
nodaemon=true
silent=true
logfile=/dev/null
logfile_maxbytes=0
pidfile=%(here)s/pid
[program:a]
command=%(here)s/command
startsecs=0
autorestart=false
stdout_logfile=/dev/fd/1
stdout_logfile_maxbytes=0
"""


class Program(NamedTuple):
    """A program that runs `command`, found in the folder in which it is started."""

    name: str
    argv: list[str]
    origin: str  # where it can be had
    forwards: bool = False  # any signal, USR1 too

    def is_there(self) -> bool:
        files = [word for word in self.argv if word.startswith("/")]
        return bool(shutil.which(self.argv[0])) and all(Path(file).exists() for file in files)


PYZ = [f"{VENV}/bin/python", "-I", f"{ROOT}/dist/muinit.pyz"]
PROGRAMS = [
    Program("muinit", [f"{VENV}/bin/muinit", *OPTIONS], "make bench", forwards=True),
    Program("muinit.pyz", [*PYZ, *OPTIONS], "make dist", forwards=True),
    Program("bundle", [f"{ROOT}/dist/muinit/muinit", *OPTIONS], "make bundle", forwards=True),
    Program("tini", ["tini", "--", "./command"], "Debian", forwards=True),
    Program("dumb-init", ["dumb-init", "./command"], "Debian", forwards=True),
    Program("catatonit", ["catatonit", "--", "./command"], "Debian", forwards=True),
    Program("s6-svscan", ["s6-svscan", "scan"], "Debian"),
    Program("supervisord", ["supervisord", "-c", "supervisord.conf"], "Debian"),
    Program("honcho", [f"{VENV}/bin/honcho", "start"], "PyPI"),
]


class Started:
    """A program that runs as PID 1, and its command, which has said when it started."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.first = self.stamp()
        self.init = tree(process.pid)[1]  # the child of unshare

    def stamp(self) -> int:
        """The time that the command writes next, in nanoseconds."""
        assert self._process.stdout is not None
        said = b""
        while not (found := re.search(rb"(\d{19})\n", said)):
            assert select.select([self._process.stdout], [], [], PATIENCE)[0], "the command writes nothing"
            data = os.read(self._process.stdout.fileno(), 4096)
            assert data, "the program has ended"
            said += data
        return int(found[1])

    def memory(self) -> float:
        """MiB resident of all its processes but the command."""
        texts = [Path(f"/proc/{pid}/status").read_text() for pid in tree(self.init)]
        own = [text for text in texts if not text.startswith("Name:\tsleep\n")]
        return sum(int(size) for text in own for size in re.findall(r"(?m)^VmRSS:\s+(\d+)", text)) / 1024

    def forward(self) -> float:
        """Milliseconds from a signal to the program until its command has it."""
        time.sleep(0.005)
        start = time.time_ns()
        os.kill(self.init, signal.SIGUSR1)
        return (self.stamp() - start) / 1e6

    def stop(self) -> float:
        """Milliseconds from SIGTERM until the program and its command have ended."""
        start = time.perf_counter()
        os.kill(self.init, signal.SIGTERM)
        self._process.wait(PATIENCE)
        return (time.perf_counter() - start) * 1e3


@contextmanager
def started(program: Program, work: str) -> Iterator[Started]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "scan/a").mkdir(parents=True)
        for command in (folder / "command", folder / "scan/a/run"):
            command.write_text(f"#!/bin/sh\n{work}\n")
            command.chmod(0o755)
        (folder / "Procfile").write_text(PROCFILE)
        (folder / "supervisord.conf").write_text(SUPERVISORD)
        argv = [*AS_INIT, *program.argv]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=folder) as process:
            try:
                yield Started(process)
            finally:
                process.kill()  # unshare takes the whole namespace with it


def figures(program: Program) -> list[float]:
    """One figure for each column of the table."""
    start = time.time_ns()
    with started(program, STAMP) as it:
        first = (it.first - start) / 1e6
        time.sleep(0.3)  # nothing announces that a program has become idle
        memory, stop = it.memory(), it.stop()
    if not program.forwards:
        return [first, memory, stop]
    with started(program, HEAR) as it:
        time.sleep(0.3)
        return [first, memory, stop, median(it.forward() for _ in range(SIGNALS))]


UNITS = {
    "first child after": "ms",
    "resident memory": "MiB",
    "stopped after": "ms",
    "a signal forwarded after": "ms",
}


def table(runs: int) -> str:
    """The medians of all programs, and their ratios to muinit."""
    programs = [program for program in PROGRAMS if program.is_there()]
    missing = [f"{program.name} ({program.origin})" for program in PROGRAMS if program not in programs]
    with progress("peers", runs * len(programs), ticking=False) as each:
        taken = [[figures(program) for program in each(programs)] for _ in range(runs)]
    medians = [[median(column) for column in zip(*rows, strict=True)] for rows in zip(*taken, strict=True)]
    lines = [["as PID 1", *UNITS]]
    for program, row in zip(programs, medians, strict=True):
        cells = [
            f"{rounded(value)} {unit}, **{ratio(value / ours)}**"
            for value, ours, unit in zip(row, medians[0], UNITS.values(), strict=False)
        ]
        lines.append([program.name, *cells, *([""] * (len(UNITS) - len(cells)))])
    text = docs.table(*lines)
    return f"{text}\n\nNot installed or built, and so not measured: {', '.join(missing)}." if missing else text
