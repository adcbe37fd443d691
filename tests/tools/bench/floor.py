"""What muinit costs, compared with an interpreter that only spawns and waits, and with tini if it is installed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import NamedTuple

from tests.cast.harness import AS_INIT, wait_for
from tests.tools.bench import peers
from tests.tools.bench.field import PYTHON, VENV, Program
from tests.tools.bench.running import SETTLED, running
from tests.tools.progress import Count, progress

MUINIT = [str(VENV / "bin/muinit"), "-q"]
FLOOR = [PYTHON, "-I", "-c"]
TINI = ["tini", "-s", "--"]
STAMP = ["date", "+%s%N"]
ASLEEP = ["sleep", "60"]
COMMANDS = 100
ORPHANS = 3000
STORM = f"i=0; while [ $i -lt {ORPHANS} ]; do (: &); i=$((i + 1)); done"  # each orphan by a double fork

SPAWN_AND_WAIT = """
import os, sys
for argv in {commands}:
    os.posix_spawnp(argv[0], argv, os.environ)
try:
    while True:
        os.wait()
except ChildProcessError:
    pass
"""

SPAWN_AND_FORWARD = """
import os, signal
signals = [signal.SIGUSR1, signal.SIGTERM]
signal.pthread_sigmask(signal.SIG_BLOCK, signals)
pid = os.posix_spawnp("./command", ["./command"], os.environ)
while True:
    os.kill(pid, signal.sigwait(signals))
"""


def floor(*commands: list[str]) -> list[str]:
    return [*FLOOR, SPAWN_AND_WAIT.format(commands=list(commands))]


def muinit(*commands: list[str]) -> list[str]:
    return [*MUINIT, *(word for command in commands for word in ("---", *command))]


def first_child(argv: list[str]) -> float:
    """Milliseconds until the first child runs."""
    start = time.time_ns()
    done = subprocess.run(argv, stdout=subprocess.PIPE, check=True)
    return (int(done.stdout) - start) / 1e6


def last_of_many(argv: list[str]) -> float:
    """Milliseconds until the last of many children runs."""
    start = time.time_ns()
    with subprocess.Popen([*AS_INIT, *argv], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        stamps = [int(process.stdout.readline()) for _ in range(COMMANDS)]
        process.kill()
    return (max(stamps) - start) / 1e6


def idle(argv: list[str]) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(argv)
    time.sleep(0.3)  # nothing announces that a process has become idle, and this is not timed
    return process


def rss(argv: list[str]) -> float:
    """MiB resident when idle."""
    process = idle(argv)
    line = next(line for line in Path(f"/proc/{process.pid}/status").read_text().splitlines() if "VmRSS" in line)
    end(process)
    return int(line.split()[1]) / 1024


def wake_ups(argv: list[str]) -> float:
    """Voluntary context switches a second when idle."""

    def switches() -> int:
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("voluntary")).split()[1])

    process = idle(argv)
    before = switches()
    time.sleep(2)
    after = switches()
    end(process)
    return (after - before) / 2


def end(process: subprocess.Popen[bytes]) -> None:
    for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        os.kill(int(child), signal.SIGTERM)
    process.wait()


def storm(argv: list[str]) -> float:
    """Milliseconds for a whole run, as PID 1, of a command that leaves thousands of orphans behind."""
    start = time.perf_counter()
    subprocess.run([*AS_INIT, *argv], check=True)
    return (time.perf_counter() - start) * 1e3


def stop_many(argv: list[str]) -> float:
    """Milliseconds from SIGTERM until many children are stopped and muinit has exited."""
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(COMMANDS):
            process.stdout.readline()
        # muinit may still be loading, but we measure one that is idle.
        wait_for(lambda: int(caught(process.pid), 16) & 1 << (signal.SIGTERM - 1))
        time.sleep(0.05)
        start = time.perf_counter()
        process.send_signal(signal.SIGTERM)
        process.wait()
        return (time.perf_counter() - start) * 1e3


def caught(pid: int) -> str:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line for line in lines if line.startswith("SigCgt")).split()[1]


def forwarded(argv: list[str]) -> float:
    """Milliseconds until a command has a signal that was sent to the program, which runs as PID 1."""
    with running(Program(argv[0], "", lambda *_: argv), peers.HEAR) as it:
        time.sleep(SETTLED)
        return median(peers.forwards(it))


class Row(NamedTuple):
    """What is measured, how often, and with which programs: floor, muinit, and tini if installed; or muinit alone."""

    words: str
    unit: str
    bound: str
    take: Callable[[list[str]], float]
    argvs: list[list[str]]
    runs: int


def rows(runs: int) -> list[Row]:
    many = [["sh", "-c", "date +%s%N; exec sleep 60"]] * COMMANDS
    storms = ["sh", "-c", STORM]
    has_tini = bool(shutil.which("tini"))

    def each(*argv: str) -> list[list[str]]:
        return [floor([*argv]), muinit([*argv]), *([[*TINI, *argv]] if has_tini else [])]

    as_init = [[*AS_INIT, *argv] for argv in each(*STAMP)]
    both = [floor(*many), muinit(*many)]
    forwards = [[*FLOOR, SPAWN_AND_FORWARD], [*MUINIT, "-s", "USR1", "---", "./command"]]
    forwards += [[*TINI, "./command"]] if has_tini else []
    return [
        Row("first child started after, as PID 1", " ms", "1.05", first_child, as_init, 4 * runs),
        Row("first child started after", " ms", "1.2", first_child, each(*STAMP), 4 * runs),
        Row(f"last of {COMMANDS} commands started after, as PID 1", " ms", "1.5", last_of_many, both, runs),
        Row("resident memory, as PID 1", " MiB", "1.5", rss_as_init, each(*ASLEEP), runs),
        Row("resident memory", " MiB", "1.5", rss, each(*ASLEEP), runs),
        Row("idle wake-ups a second", "", "0", wake_ups, each(*ASLEEP), 1),
        Row(f"whole run with {ORPHANS} orphans, as PID 1", " ms", "1.2", storm, [floor(storms), muinit(storms)], runs),
        Row("a signal forwarded after, as PID 1", " ms", "1.5 x tini", forwarded, forwards, runs),
        Row(f"{COMMANDS} commands stopped after", " ms", "", stop_many, [muinit(*many)], runs),
    ]


def measure(row: Row, count: Count) -> list[float]:
    """The median of each program. They run in turn, `row.runs` times each."""
    taken = [[row.take(argv) for argv in count(row.argvs)] for _ in range(row.runs)]
    return [median(column) for column in zip(*taken, strict=True)]


def cells(row: Row, figures: list[float]) -> list[str]:
    """A row of the table: floor, muinit, ratio, bound, tini."""
    shown = [f"{figure:.{1 if figure >= 1 or not figure else 3}f}{row.unit}" for figure in figures]
    if len(figures) == 1:
        return [row.words, "", *shown, "", row.bound, ""]
    ratio = f"**{figures[1] / figures[0]:.2f}**" if figures[0] else ""
    return [row.words, *shown[:2], ratio, row.bound, *(shown[2:] or [""])]


def table(runs: int) -> str:
    todo = rows(runs)
    lines = [["", "floor", "muinit", "ratio", "bound", "tini"], ["---"] * 6]
    with progress("runs", sum(row.runs * len(row.argvs) for row in todo), ticking=False) as count:
        lines += [cells(row, measure(row, count)) for row in todo]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def rss_as_init(argv: list[str]) -> float:
    process = idle([*AS_INIT, *argv])
    inner = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().strip()
    line = next(line for line in Path(f"/proc/{inner}/status").read_text().splitlines() if "VmRSS" in line)
    process.kill()
    process.wait()
    return int(line.split()[1]) / 1024
