"""A run as shapes: one row for PID 1 and one for each process, on a scale that all runs share."""

from __future__ import annotations

from dataclasses import dataclass

from tests.tools.versus.judge import Cell, fate
from tests.tools.versus.run import GRACE, Life

LAST = GRACE + 3  # seconds at the right end
TICKS = [0.3, 1, 2, 5, 10]


def share(seconds: float) -> float:
    """Where a moment is, from 0 to 1. The root leaves room for the short times in which most happens."""
    return float((min(max(seconds, 0), LAST) / LAST) ** 0.5)


@dataclass(frozen=True)
class Bar:
    x: float
    width: float
    kind: str  # alive, cleaning, deaf


@dataclass(frozen=True)
class Mark:
    x: float
    kind: str  # signal, well, failed, killed, lost
    words: str


@dataclass(frozen=True)
class Row:
    name: str
    bars: list[Bar]
    marks: list[Mark]
    words: str


@dataclass(frozen=True)
class Picture:
    width: int
    height: int
    left: int
    step: int
    rows: list[Row]
    ticks: list[tuple[float, str]]


def picture(cell: Cell, *, width: int, left: int, step: int) -> Picture:
    """Draw the run of a cell that is shown. Without room on the left there are no names."""
    room = width - left - 12  # the last mark is wider than its moment

    def x(seconds: float) -> float:
        return left + 4 + room * share(seconds)

    run = cell.run
    marks = [Mark(x(at), "signal", name) for at, name in to_init(cell)]
    marks.append(Mark(x(run.seconds), "lost" if run.killed else "well", f"exit {run.code}"))
    rows = [Row("PID 1", [Bar(x(0), x(run.seconds) - x(0), "alive")], marks, init_story(cell))]
    rows += [life_row(cell, life, x) for life in run.lives]
    ticks = [(x(at), f"{at:g}") for at in TICKS]
    return Picture(width, step * len(rows) + (14 if left else 2), left, step, rows, ticks)


def to_init(cell: Cell) -> list[tuple[float, str]]:
    """The signals that the test sent to PID 1."""
    sent = [(0.0, cell.story.sends.name)] if cell.story.sends else []
    return sent + ([(cell.run.stopped, "SIGTERM")] if cell.run.stopped is not None else [])


def life_row(cell: Cell, life: Life, x: object) -> Row:
    assert callable(x)
    what = fate(cell.story, cell.init, life)
    begins = max(life.started, 0)
    asked = life.signals[0][0] if life.signals else None
    bars = [Bar(x(begins), x(life.died) - x(begins), "alive")]
    if asked is not None:
        kind = "deaf" if life.name == cell.story.deaf else "cleaning"
        bars.append(Bar(x(asked), x(life.died) - x(asked), kind))
    marks = [Mark(x(at), "signal", name) for at, name in life.signals]
    end = {"ended": "failed" if life.code else "well", "out of memory": "killed", "killed, did not obey": "killed"}
    marks.append(Mark(x(life.died), end.get(what, "lost"), what))
    return Row(life.name, bars, marks, life_story(cell, life))


def life_story(cell: Cell, life: Life) -> str:
    """What happened to a process, in words."""
    words = [f"started again at {life.started:.2f} s"] if life.started > 0 else []
    words += [f"got {name} at {max(at, 0):.2f} s" for at, name in life.signals]
    words += ["cleaned up"] if life.cleaned is not None else []
    what = fate(cell.story, cell.init, life)
    if what == "ended":
        words.append(f"exited {life.code} at {life.died:.2f} s")
    else:
        how = {
            "out of memory": "killed by the kernel for its memory",
            "killed, did not obey": "killed, after it did not obey",
            "cut off": "killed before it had cleaned up",
            "killed unasked": "killed without being asked",
            "killed frozen": "killed without being continued",
        }
        words.append(f"{how[what]}, at {life.died:.2f} s")
    return f"{life.name}: {', '.join(words)}."


def init_story(cell: Cell) -> str:
    words = [f"got {name} at {at:.2f} s" for at, name in to_init(cell)]
    words += ["killed by this test" if cell.run.killed else f"exited {cell.run.code}"]
    return f"PID 1: {', '.join(words)} at {cell.run.seconds:.2f} s."
