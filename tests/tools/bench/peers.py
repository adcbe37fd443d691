"""muinit as PID 1 with one command, in each way to install it, beside the inits and supervisors of Debian and PyPI.

What is not installed or built is left out, and the text says so.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from statistics import median
from typing import NamedTuple

from tests.tools import docs
from tests.tools.bench.field import PROGRAMS, PYTHON, Program
from tests.tools.bench.running import SETTLED, Running, running
from tests.tools.bench.shown import figure, ratio
from tests.tools.progress import progress

SIGNALS = 20
ORPHANS = 1000
TOO_LONG = 10.0  # seconds; then the orphans count as not reaped
WINDOW = 10.0  # seconds in which wake-ups are counted

SLEEP = "date +%s%N >said; exec sleep 600"
HEAR = f"""exec {PYTHON} -I -c '
import os, signal, time
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
said = os.open("said", os.O_WRONLY)
os.write(said, b"%d\\n" % time.time_ns())
while signal.sigwait([signal.SIGUSR1]):
    os.write(said, b"%d\\n" % time.time_ns())
'"""
# Orphans, each by a double fork, that all end when the gate is closed.
ORPHANAGE = f"""exec 3<gate
i=0; while [ $i -lt {ORPHANS} ]; do ( (read -r _ <&3) & ); i=$((i + 1)); done
{SLEEP}"""


class Measure(NamedTuple):
    """A column: what it is called, its unit, and the same in short, for a picture."""

    words: str
    unit: str
    short: str


FIRST = Measure("first child after", "ms", "first child started")
STOP = Measure("stopped after", "ms", "stopped")
FORWARD = Measure("a signal forwarded after", "ms", "signal forwarded")
REAPED = Measure(f"{ORPHANS} orphans reaped after", "ms", f"{ORPHANS} orphans reaped")
CPU = Measure("CPU for an orphan", "µs", "CPU for an orphan")
RESIDENT = Measure("resident memory (RSS)", "MiB", "resident memory")
SHARE = Measure("its share of it (PSS)", "MiB", "memory (PSS)")
WAKE_UPS = Measure("idle wake-ups a second", "", "idle wake-ups a second")
TABLES = [[FIRST, STOP, FORWARD, REAPED], [RESIDENT, SHARE, WAKE_UPS, CPU]]

Taken = dict[Measure, float]
Samples = dict[str, dict[Measure, list[float]]]  # by program


def figures(program: Program) -> Taken:
    """One sample of all that can be measured with this program alone."""
    taken: Taken = {}
    start = time.time_ns()
    with running(program, SLEEP) as it:
        taken[FIRST] = (it.stamps[0] - start) / 1e6
        time.sleep(SETTLED)
        taken[RESIDENT], taken[SHARE] = it.resident(), it.proportional()
        taken[STOP] = it.stop()
    if program.forwards:
        with running(program, HEAR) as it:
            time.sleep(SETTLED)
            taken[FORWARD] = median(forwards(it))
    return taken | orphans(program)


def forwards(it: Running) -> list[float]:
    found = []
    for _ in range(SIGNALS):
        time.sleep(0.005)  # signals come rarely, so no cache is warm
        found.append(it.forward())
    return found


def orphans(program: Program) -> Taken:
    """How long it takes to reap many orphans that end at once, and how much CPU. Nothing, if they stay."""
    with running(program, ORPHANAGE) as it:
        time.sleep(SETTLED)
        wanted = it.children() - ORPHANS
        cpu, start = it.cpu(), time.perf_counter()
        it.open_gate()
        while it.children() > wanted:
            if time.perf_counter() - start > TOO_LONG:
                return {}
            time.sleep(0.002)
        seconds = time.perf_counter() - start
        return {REAPED: seconds * 1e3, CPU: (it.cpu() - cpu) / ORPHANS * 1e6}


def wake_ups(programs: list[Program]) -> dict[str, float]:
    """How often each wakes up in a second with nothing to do. They are idle side by side."""
    with ExitStack() as stack:
        all_of_them = {program.name: stack.enter_context(running(program, SLEEP)) for program in programs}
        time.sleep(10 * SETTLED)
        before = {name: it.wake_ups() for name, it in all_of_them.items()}
        time.sleep(WINDOW)
        return {name: (it.wake_ups() - before[name]) / WINDOW for name, it in all_of_them.items()}


def measured(programs: list[Program], runs: int) -> Samples:
    """All samples, by program and measure."""
    samples: Samples = {program.name: {} for program in programs}
    with progress("peers", runs * len(programs), ticking=False) as each:
        for _ in range(runs):
            for program in each(programs):
                for measure, value in figures(program).items():
                    samples[program.name].setdefault(measure, []).append(value)
    for name, value in wake_ups(programs).items():
        samples[name][WAKE_UPS] = [value]
    return samples


def tables(samples: Samples) -> list[str]:
    ours = samples["muinit"]

    def cell(measure: Measure, values: list[float] | None) -> str:
        if not values:
            return ""
        shown = f"{figure(values)} {measure.unit}".strip()
        return shown if measure is WAKE_UPS else f"{shown}, **{ratio(median(values) / median(ours[measure]))}**"

    return [
        docs.table(
            ["as PID 1", *(measure.words for measure in columns)],
            *([name, *(cell(each, taken.get(each)) for each in columns)] for name, taken in samples.items()),
        )
        for columns in TABLES
    ]


def there() -> list[Program]:
    return [program for program in PROGRAMS if program.is_there()]


def missing() -> list[str]:
    """A sentence about what is not there, if anything is not."""
    names = [f"{program.name} ({program.origin})" for program in PROGRAMS if not program.is_there()]
    return [f"Not installed or built, and so not measured: {', '.join(names)}."] if names else []
