"""What muinit costs, compared with an interpreter that only spawns and waits, and with tini if it is installed."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable
from statistics import median
from typing import NamedTuple

from tests.cast.harness import AS_INIT
from tests.tools import docs
from tests.tools.bench import peers
from tests.tools.bench.field import PYTHON, VENV, Program
from tests.tools.bench.running import SETTLED, running
from tests.tools.bench.shown import figure
from tests.tools.progress import Count, progress

MUINIT = [str(VENV / "bin/muinit"), "-q"]
FLOOR = [PYTHON, "-I", "-c"]
TINI = ["tini", "-s", "--"]
STAMP = ["date", "+%s%N"]
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


def plain(argv: list[str]) -> Program:
    """A program that needs no files."""
    return Program(argv[0], "", lambda *_: argv)


def last_of_many(argv: list[str]) -> float:
    """Milliseconds until the last of many children runs, as PID 1."""
    start = time.time_ns()
    with running(plain(argv), peers.SLEEP, COMMANDS) as it:
        return (max(it.stamps) - start) / 1e6


def rss_as_init(argv: list[str]) -> float:
    """MiB resident when idle, as PID 1."""
    with running(plain(argv), peers.SLEEP) as it:
        time.sleep(SETTLED)
        return it.resident()


def rss(argv: list[str]) -> float:
    """MiB resident when idle."""
    with running(plain(argv), peers.SLEEP, prefix=()) as it:
        time.sleep(SETTLED)
        return it.resident()


def wake_ups(argv: list[str]) -> float:
    """Voluntary context switches a second when idle."""
    with running(plain(argv), peers.SLEEP, prefix=()) as it:
        time.sleep(SETTLED)
        before = it.wake_ups()
        time.sleep(2)
        return (it.wake_ups() - before) / 2


def storm(argv: list[str]) -> float:
    """Milliseconds for a whole run, as PID 1, of a command that leaves thousands of orphans behind."""
    start = time.perf_counter()
    subprocess.run([*AS_INIT, *argv], check=True)
    return (time.perf_counter() - start) * 1e3


def forwarded(argv: list[str]) -> float:
    """Milliseconds until a command has a signal that was sent to the program, which runs as PID 1."""
    with running(plain(argv), peers.HEAR) as it:
        time.sleep(SETTLED)
        return median(peers.forwards(it))


class Row(NamedTuple):
    """What is measured, how often, and with which programs: floor, muinit, and tini if installed."""

    words: str
    unit: str
    bound: str
    take: Callable[[list[str]], float]
    argvs: list[list[str]]
    runs: int


def rows(runs: int) -> list[Row]:
    storms = ["sh", "-c", STORM]
    has_tini = bool(shutil.which("tini"))

    def each(*argv: str) -> list[list[str]]:
        return [floor([*argv]), muinit([*argv]), *([[*TINI, *argv]] if has_tini else [])]

    as_init = [[*AS_INIT, *argv] for argv in each(*STAMP)]
    many = [["./command"]] * COMMANDS
    forwards = [[*FLOOR, SPAWN_AND_FORWARD], [*MUINIT, "-s", "USR1", "---", "./command"]]
    forwards += [[*TINI, "./command"]] if has_tini else []
    last, whole = f"last of {COMMANDS} commands started after, as PID 1", f"whole run with {ORPHANS} orphans, as PID 1"
    return [
        Row("first child started after, as PID 1", " ms", "1.05", first_child, as_init, 4 * runs),
        Row("first child started after", " ms", "1.2", first_child, each(*STAMP), 4 * runs),
        Row(last, " ms", "1.5", last_of_many, [floor(*many), muinit(*many)], runs),
        Row("resident memory, as PID 1", " MiB", "1.5", rss_as_init, each("./command"), runs),
        Row("resident memory", " MiB", "1.5", rss, each("./command"), runs),
        Row("idle wake-ups a second", "", "0", wake_ups, each("./command"), 1),
        Row(whole, " ms", "1.2", storm, [floor(storms), muinit(storms)], runs),
        Row("a signal forwarded after, as PID 1", " ms", "1.5 x tini", forwarded, forwards, runs),
    ]


def measure(row: Row, count: Count) -> list[list[float]]:
    """The samples of each program. They run in turn, `row.runs` times each."""
    taken = [[row.take(argv) for argv in count(row.argvs)] for _ in range(row.runs)]
    return [[*column] for column in zip(*taken, strict=True)]


def cells(row: Row, samples: list[list[float]]) -> list[str]:
    """A row of the table: floor, muinit, ratio, bound, tini."""
    peer = samples[-1] if "tini" in row.bound else samples[0]  # of which the bound is a multiple
    ours, theirs = median(samples[1]), median(peer)
    times = f"**{ours / theirs:.2f}**" if theirs and peer is not samples[1] else ""
    shown = [f"{figure(values)}{row.unit}" for values in samples]
    return [row.words, *shown[:2], times, row.bound, *(shown[2:] or [""])]


def table(runs: int) -> str:
    todo = rows(runs)
    with progress("runs", sum(row.runs * len(row.argvs) for row in todo), ticking=False) as count:
        lines = [cells(row, measure(row, count)) for row in todo]
    return docs.table(["", "floor", "muinit", "ratio", "bound", "tini"], *lines)
