"""What is wrong with a run, in words; and a cell: the runs of one story under one init."""

from __future__ import annotations

import signal
from collections import Counter
from dataclasses import dataclass, field
from statistics import median

from tests.tools.versus.field import Init, Story
from tests.tools.versus.run import GRACE, Life, Run

FASTER = 0.5  # seconds by which a peer must end earlier than muinit


@dataclass
class Verdict:
    """Of one run. Short words are for the table; if there is a reason, the run is red."""

    reasons: list[str] = field(default_factory=list)
    short: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def bad(self) -> bool:
        return bool(self.reasons)


def fate(story: Story, init: Init, life: Life) -> str:
    """What became of a process: "ended", or how it was killed."""
    if life.code is not None:
        return "ended"
    if life.name == story.eats:
        return "out of memory"
    if life.signals and life.name == story.deaf:
        return "killed, did not obey"
    if not life.signals and life.name == story.frozen:
        return "killed frozen"
    return "cut off" if life.signals or init.asks(story, life.name) else "killed unasked"


def judge(story: Story, init: Init, run: Run) -> Verdict:
    found = Verdict()
    fates = [(life.name, fate(story, init, life)) for life in run.lives]
    never = [name for name, what in fates if what == "killed unasked"]
    early = [name for name, what in fates if what == "cut off" and name != story.deaf]
    frozen = [name for name, what in fates if what == "killed frozen"]
    if frozen:
        found.reasons.append(f"{names(frozen)} killed without being continued")
        found.short.append(f"{len(frozen)} not continued")
    if never:
        found.reasons.append(f"{names(never)} killed without being asked")
        found.short.append(f"{len(never)} killed unasked")
    if early:
        found.reasons.append(f"{names(early)} killed before the 0.3 s that cleaning up takes were over")
        found.short.append(f"{len(early)} cut off")
    if run.killed:
        found.reasons.append(f"PID 1 did not end, and was killed after {GRACE:g} s, as docker stop does")
        found.short.append("hung")
    found.reasons += (lies := lie(story, run))
    found.short += ["status lies"] * len(lies)
    if run.stopped is not None:
        restarted = len(run.lives) > len(story.names)
        how = "it started the program again" if restarted else "it went on without the program"
        found.notes.append(f"{how}; after that, this test sent SIGTERM to PID 1")
        if not found.bad:
            found.short.append("restarts it" if restarted else "goes on")
    elif not found.bad and story.code not in {0, run.code}:
        found.notes.append(f"exit {run.code} instead of {story.code}")
    if not found.bad and run.stopped is None:
        found.short.append("all well")
    return found


def names(of: list[str]) -> str:
    *first, last = sorted(of)
    return f"{', '.join(first)} and {last} were" if first else f"{last} was"


def lie(story: Story, run: Run) -> list[str]:
    """What is not true about the exit status. A stop by a signal may be told as 128 + its number."""
    if run.stopped is not None or run.killed:
        return []
    if story.code and run.code == 0:
        how = "was killed" if story.eats else f"exited {story.code}"
        return [f"exit 0, although worker {how}"]
    may = {0, 128 + signal.SIGTERM, 128 + (story.sends or 0)} if story.sends else {0}
    if story.deaf:
        may.add(128 + signal.SIGKILL)
    return [f"exit {run.code}, although nothing failed"] if not story.code and run.code not in may else []


@dataclass
class Cell:
    """The runs of one story under one init."""

    story: Story
    init: Init
    runs: list[Run]

    def __post_init__(self) -> None:
        self.verdicts = [judge(self.story, self.init, run) for run in self.runs]
        self.worst = max(range(len(self.runs)), key=lambda n: (len(self.verdicts[n].reasons), self.verdicts[n].bad))

    @property
    def kind(self) -> str:
        if any(verdict.bad for verdict in self.verdicts):
            return "bad"
        return "on" if any(run.stopped is not None for run in self.runs) else "good"

    @property
    def verdict(self) -> Verdict:
        return self.verdicts[self.worst]

    @property
    def run(self) -> Run:
        """The run that is shown: the worst one."""
        return self.runs[self.worst]

    @property
    def short(self) -> str:
        bad = sum(verdict.bad for verdict in self.verdicts)
        sometimes = f" (in {bad} of {len(self.runs)} runs)" if 0 < bad < len(self.runs) else ""
        return ", ".join(self.verdict.short) + sometimes

    @property
    def exits(self) -> str:
        return " or ".join(dict.fromkeys(f"{run.code}" for run in self.runs))

    @property
    def seconds(self) -> float:
        return median(run.seconds for run in self.runs)

    @property
    def differs(self) -> str:
        """How the runs differ, or ""."""
        ways = Counter(
            f"exit {run.code}; {'; '.join(verdict.reasons + verdict.notes) or 'all well'}"
            for run, verdict in zip(self.runs, self.verdicts, strict=True)
        )
        return "" if len(ways) == 1 else ". ".join(f"In {n} of {len(self.runs)} runs: {way}" for way, n in ways.items())


def better(cell: Cell, ours: Cell) -> str:
    """In what a peer is better here, or ""."""
    if cell.kind == "bad" or cell.init is ours.init:
        return ""
    if ours.kind == "bad":
        return f"better than muinit: {cell.short}"
    if cell.kind == "good" and cell.seconds < ours.seconds - FASTER:
        return f"faster than muinit, which takes {ours.seconds:.1f} s"
    return "the other program goes on, which is what a supervisor is for" if cell.kind == "on" else ""
