"""Who lived from when to when in the run of a trace, which signals they got, and how they ended.

Times are moments: 0 is the start, then comes each event, then the end.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import accumulate

from statechart.chart import MachineError, State
from statechart.effects import Relay, ResumeAll, SetClock, Step, SuspendAll
from statechart.events import CommandEnded, Drained, Forward, OrphansAdopted, OrphansEnded, Resume, Suspend, Terminate
from statechart.lifecycle import SIGKILL
from statechart.record import ENDLESS, nanoseconds
from statechart.report import seconds
from statechart.text import cut, printable
from statechart.trace import title

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from statechart.effects import Effect
    from statechart.events import Ending, Event
    from statechart.lifecycle import Command, Lifecycle, Taken
    from statechart.replay import Trace
    from statechart.trace import Signame

MOST_ORPHANS = 40  # that are told of one by one
LONGEST = 300  # characters of a command line


@dataclass(frozen=True)
class Note:
    """Something at a moment: a signal that came in or was sent, or, of many orphans, how many came or went."""

    moment: int
    kind: str
    text: str
    detail: str = ""


@dataclass
class Life:
    """A command or an orphan; or "rest", all the orphans that are not told of one by one."""

    who: str
    pid: int | None = None
    name: str = ""
    whole: str = ""  # what is known of its name
    start: int | None = 0  # None: first seen when it ended
    end: int | None = None  # None: not seen
    ending: Ending | None = None
    outcome: str = ""
    text: str = ""  # how it ended
    decides: bool = False  # the exit status
    notes: list[Note] = field(default_factory=list)


@dataclass(frozen=True)
class Stage:
    """What muinit was in from this moment on, and the step in force, in words."""

    moment: int
    name: str
    step: str = ""
    lost: bool = False  # lines of the trace are missing


class Lives:
    """All of them, and what happened to muinit itself."""

    def __init__(self, found: Trace) -> None:
        self._found = found
        times = [0, *(nanoseconds(taken.event.at) for _, taken in found.taken)]
        self.times = [*accumulate([*times, nanoseconds(found.end.at) if found.end else times[-1]], max)]
        self.last = len(times)
        self.run, self.certain = _run(found)
        self.stages: list[Stage] = []
        self.signals: list[Note] = []
        self.commands = [_life(command) for command in self.run.commands]
        self.orphans: list[Life] = []
        self.rest: Life | None = None
        self.orphans_seen = 0
        self._living = {n: life for n, life in enumerate(self.commands) if life.pid}  # by the number of the command
        self._adopted: dict[int, Life] = {}  # by pid
        self._step = ""
        self._tell()
        self._drained = any(isinstance(taken.event, Drained) and taken.effects for _, taken in found.taken)
        for life, command in zip(self.commands, self.run.commands, strict=True):
            self._judge(life, command if self.certain else None)
        for life in self.orphans:
            self._judge(life)

    def signame(self, number: int) -> str:
        """The name of a signal, fit to be shown."""
        return printable(self._found.signame(number))

    # What happened

    def _tell(self) -> None:
        taken = self._found.taken
        self.stages.append(Stage(0, printable(taken[0][1].before) if taken else State.RUNNING.name))
        line = 1
        for moment, (number, step) in enumerate(taken, 1):
            lost = self._lost(moment - 1, line, number)
            line = number
            self._event(moment, step.event)
            for effect in step.effects:
                self._effect(moment, step, effect)
            if lost or printable(step.after) != self.stages[-1].name:
                self.stages.append(Stage(moment, printable(step.after), self._step))
        self._lost(self.last - 1, line, self._found.end.line if self._found.end else ENDLESS)

    def _lost(self, moment: int, after: int, before: float) -> bool:
        lost = sum(count for number, count in self._found.dropped if after < number < before)
        if lost:
            self.stages.append(Stage(moment, f"{lost} lines dropped", lost=True))
        return bool(lost)

    def _event(self, moment: int, event: Event) -> None:
        if isinstance(event, Forward | Terminate):
            self.signals.append(Note(moment, event.name, self.signame(event.signum)))
        elif isinstance(event, Suspend | Resume):
            self.signals.append(Note(moment, event.name, event.name))
        elif isinstance(event, CommandEnded):
            for number, ending in event.endings:
                if number in self._living:
                    del self._living[number]
                self.commands[number].end, self.commands[number].ending = moment, ending
        elif isinstance(event, OrphansAdopted):
            for pid, name in zip(event.pids, event.names or [""] * len(event.pids), strict=True):
                self._adopted[pid] = self._orphan(moment, pid, name)
            self._rest_note(moment, "adopted", sum(self._adopted[pid].who == "rest" for pid in event.pids))
        elif isinstance(event, OrphansEnded):
            gone = [
                (self._adopted.pop(pid) if pid in self._adopted else self._orphan(None, pid), ending)
                for pid, ending in event.endings
            ]
            for life, ending in gone:
                life.end, life.ending = moment, ending
            self._rest_note(moment, "reaped", sum(life.who == "rest" for life, _ in gone))

    def _orphan(self, moment: int | None, pid: int, name: str = "") -> Life:
        self.orphans_seen += 1
        if len(self.orphans) < MOST_ORPHANS:
            self.orphans.append(Life("orphan", pid, title([name]), cut(printable(name), LONGEST), moment))
            return self.orphans[-1]
        self.rest = self.rest or Life("rest", start=moment)
        return self.rest

    def _rest_note(self, moment: int, kind: str, count: int) -> None:
        if count and self.rest:
            self.rest.notes.append(Note(moment, kind, f"{count} {kind}"))

    def _effect(self, moment: int, taken: Taken, effect: Effect) -> None:
        names = self.signame
        if isinstance(effect, Relay):
            self._note(Note(moment, "relay", names(effect.signum), "forwarded"), self._children())
        elif isinstance(effect, Step):
            clocks = [other.seconds for other in taken.effects if isinstance(other, SetClock)]
            if clocks:
                self._step = f"{names(effect.signums[0])}, {seconds(clocks[0])}"
            kind = "kill" if SIGKILL in effect.signums else "step"
            note = Note(moment, kind, ", ".join(map(names, effect.signums)), f"sent, {printable(taken.after)}")
            chosen = self._children() if effect.pids is None else map(self._adopted.get, effect.pids)
            self._note(note, chosen)
        elif isinstance(effect, SuspendAll):
            self._note(Note(moment, "suspend", "SIGTSTP", "sent, to suspend it"), self._living.values())
        elif isinstance(effect, ResumeAll):
            self._note(Note(moment, "resume", "SIGCONT", "sent, to resume it"), self._children())

    def _children(self) -> Iterator[Life]:
        yield from self._living.values()
        yield from self._adopted.values()

    def _note(self, note: Note, chosen: Iterable[Life | None]) -> None:
        for life in {id(life): life for life in chosen if life}.values():
            life.notes.append(note)

    # How it ended

    def _judge(self, life: Life, command: Command | None = None) -> None:
        ending = life.ending
        if ending is None:
            life.outcome, life.text = self._not_ended(life)
            return
        life.decides = command is not None and command is self.run.decider
        life.text = _text(ending, self.signame)
        if ending.failure:
            life.outcome = "missing"
        elif not ending.code:
            life.outcome = "well"
        elif not command.failed if command else life.who == "orphan" and self._was_sent(life, ending):
            life.outcome = "stopped"
        else:
            life.outcome = "killed" if ending.signum else "failed"

    def _was_sent(self, life: Life, ending: Ending) -> bool:
        sent = {name for note in life.notes if note.kind in ("step", "kill") for name in note.text.split(", ")}
        return self.signame(ending.death) in sent

    def _not_ended(self, life: Life) -> tuple[str, str]:
        if life.pid is None:
            return "missing", "was not started"
        if self._drained:
            return "unseen", "end not seen"
        return "alive", "still alive"


def _run(found: Trace) -> tuple[Lifecycle, bool]:
    """The run after its last event, and whether it is what the trace says: it may be of another version, or a part."""
    run = found.run()
    try:
        same = all(run.handle(taken.event) == taken for _, taken in found.taken)
    except MachineError:
        same = False
    return run, same and not found.dropped


def _life(command: Command) -> Life:
    name = title([command.argv[0].rpartition("/")[2], *command.argv[1:]])
    return Life("command", command.pid, name, cut(printable(" ".join(command.argv)), LONGEST))


def _text(ending: Ending, signame: Signame) -> str:
    if ending.failure:
        return printable(ending.failure)
    if ending.signum:
        return signame(ending.signum) + (" (core)" if ending.core else "")
    return f"exit {ending.code}"
