"""From one command to a thousand: how long until all have started, until all are stopped, and how that grows."""

from __future__ import annotations

import time
from math import log
from statistics import linear_regression, median
from typing import NamedTuple

from tests.tools import docs
from tests.tools.bench.field import WAYS, Program
from tests.tools.bench.peers import SLEEP
from tests.tools.bench.running import SETTLED, running
from tests.tools.bench.shown import figure, rounded
from tests.tools.progress import progress

COUNTS = [1, 10, 100, 1000]

Grown = dict[str, dict[int, list[float]]]  # milliseconds, by program and number of commands


class Growth(NamedTuple):
    """How a time grows with the number of commands: the fit of a straight line, and of a power.

    `each` is how many milliseconds a further command takes. `power` is that of the number of commands with which the
    time above that of one command grows: 1 is linear, 2 would be quadratic.
    """

    each: float
    power: float


def growth(times: dict[int, list[float]]) -> Growth:
    medians = {count: median(values) for count, values in times.items()}
    each = linear_regression(list(medians), list(medians.values())).slope
    one = medians[COUNTS[0]]
    above = {count: value - one for count, value in medians.items() if value > one}
    if len(above) < 2:
        return Growth(each, 0.0)
    return Growth(each, linear_regression([*map(log, above)], [*map(log, above.values())]).slope)


def figures(program: Program, count: int) -> tuple[float, float]:
    """Milliseconds until the last of so many commands has started, and until all are stopped."""
    start = time.time_ns()
    with running(program, SLEEP, count) as it:
        started = (max(it.stamps) - start) / 1e6
        time.sleep(2 * SETTLED)
        return started, it.stop()


def measured(programs: list[Program], runs: int) -> tuple[Grown, Grown]:
    """How long the starts and the stops took."""
    programs = [program for program in programs if program.name not in WAYS[1:]]
    starts: Grown = {program.name: {count: [] for count in COUNTS} for program in programs}
    stops: Grown = {program.name: {count: [] for count in COUNTS} for program in programs}
    with progress("many commands", runs * len(programs) * len(COUNTS), ticking=False) as each:
        for _ in range(runs):
            for program, count in each([(program, count) for count in COUNTS for program in programs]):
                started, stopped = figures(program, count)
                starts[program.name][count].append(started)
                stops[program.name][count].append(stopped)
    return starts, stops


def table(grown: Grown, words: str) -> str:
    rows = []
    for name, times in grown.items():
        fit = growth(times)
        shown = [f"{figure(times[count])} ms" for count in COUNTS]
        rows.append([name, *shown, f"{rounded(fit.each)} ms", f"{fit.power:.1f}"])
    head = [words, *map(str, COUNTS), "each further command", "power"]
    return docs.table(head, *rows)
