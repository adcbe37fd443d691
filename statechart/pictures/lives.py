"""The lives in a recorded run: from when to when each process lived, which signals it got, and how it ended.

Times are moments: 0 is the start, then comes each event, then the end.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import accumulate

from statechart.chart import MachineError, State
from statechart.effects import Relay, ResumeAll, SendStep, SetClock, SuspendAll
from statechart.events import ADOPTED, COMMANDS_ENDED, ORPHANS_ENDED, PIDS, PROCESSES, SIGNAL, Drained
from statechart.lifecycle import SIGKILL
from statechart.traces.read import ENDLESS
from statechart.traces.write import nanoseconds
from statechart.values import Stage
from statechart.words.phrases import program, seconds, short_ending, title
from statechart.words.text import cut, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import ClassVar

    from statechart.events import Ending, Event
    from statechart.lifecycle import Command, Decision, Lifecycle
    from statechart.traces.read import Trace

MOST_ORPHANS = 40  # that get a lane of their own
NAME_LENGTH = 300  # characters of a command line


@dataclass(frozen=True)
class Note:
    """Something at a moment: a signal that came in or was sent, or how many of the other orphans came or went."""

    moment: int
    kind: str
    text: str
    detail: str = ""


@dataclass
class Life:
    """A command or an orphan; or "rest": all orphans that have no lane of their own."""

    kind: str
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
class Phase:
    """The stage of muinit from this moment on, and what its step sent and for how long, in words."""

    moment: int
    stage: Stage | None  # None: lines of the trace are missing here
    step: str = ""
    lost: str = ""  # how many

    @property
    def name(self) -> str:
        """What people call it."""
        return self.lost or str(self.stage)


class Lives:
    """All lives of a run, and what happened to muinit itself."""

    def __init__(self, found: Trace) -> None:
        self._found = found
        times = [0, *(nanoseconds(decision.event.at) for _, decision in found.decisions)]
        self.times = [*accumulate([*times, nanoseconds(found.end.at) if found.end else times[-1]], max)]
        self.last = len(times)
        self.lifecycle, self.certain = _run(found)
        self.phases: list[Phase] = []
        self.signals: list[Note] = []
        self.commands = [_life(command) for command in self.lifecycle.commands]
        self.orphans: list[Life] = []
        self.rest: Life | None = None
        self.orphans_seen = 0
        self._living = {n: life for n, life in enumerate(self.commands) if life.pid}  # by the number of the command
        self._adopted: dict[int, Life] = {}  # by pid
        self._step = ""
        self._tell()
        self._drained = any(isinstance(decision.event, Drained) and decision.effects for _, decision in found.decisions)
        for life, command in zip(self.commands, self.lifecycle.commands, strict=True):
            self._judge(life, command if self.certain else None)
        for life in self.orphans:
            self._judge(life)

    def signame(self, number: int) -> str:
        """The name of a signal, fit to be shown."""
        return printable(self._found.signame(number))

    # What happened

    def _tell(self) -> None:
        decisions = self._found.decisions
        self.phases.append(Phase(0, decisions[0][1].before if decisions else Stage(State.RUNNING)))
        line = 1
        for moment, (number, decision) in enumerate(decisions, 1):
            lost = self._lost(moment - 1, line, number)
            line = number
            self._event(moment, decision.event)
            for effect in decision.effects:
                self._EFFECTS[effect.name](self, moment, decision, effect)
            if lost or decision.after != self.phases[-1].stage:
                self.phases.append(Phase(moment, decision.after, self._step))
        self._lost(self.last - 1, line, self._found.end.line if self._found.end else ENDLESS)

    def _lost(self, moment: int, after: int, before: float) -> bool:
        lost = sum(count for number, count in self._found.dropped if after < number < before)
        if lost:
            self.phases.append(Phase(moment, None, lost=f"{lost} lines dropped"))
        return bool(lost)

    def _event(self, moment: int, event: Event) -> None:
        if event.mark:
            named = [self.signame(getattr(event, name)) for _, kind, name in event.fields if kind == SIGNAL]
            self.signals.append(Note(moment, event.name, *(named or [event.name])))
        for _, kind, *attributes in event.fields:
            self._FIELDS[kind](self, moment, *(getattr(event, name) for name in attributes))

    def _commands_ended(self, moment: int, endings: Sequence[tuple[int, Ending]]) -> None:
        for number, how in endings:
            self._living.pop(number, None)
            self.commands[number].end, self.commands[number].ending = moment, how

    def _orphans_adopted(self, moment: int, pids: Sequence[int], names: Sequence[str]) -> None:
        for pid, name in zip(pids, names or [""] * len(pids), strict=True):
            self._adopted[pid] = self._orphan(moment, pid, name)
        self._rest_note(moment, "adopted", sum(self._adopted[pid].kind == "rest" for pid in pids))

    def _orphans_ended(self, moment: int, endings: Sequence[tuple[int, Ending]]) -> None:
        gone = [
            (self._adopted.pop(pid) if pid in self._adopted else self._orphan(None, pid), how) for pid, how in endings
        ]
        for life, how in gone:
            life.end, life.ending = moment, how
        self._rest_note(moment, "reaped", sum(life.kind == "rest" for life, _ in gone))

    def _orphan(self, moment: int | None, pid: int, name: str = "") -> Life:
        self.orphans_seen += 1
        if len(self.orphans) < MOST_ORPHANS:
            self.orphans.append(Life("orphan", pid, title([name]), cut(printable(name), NAME_LENGTH), moment))
            return self.orphans[-1]
        self.rest = self.rest or Life("rest", start=moment)
        return self.rest

    def _rest_note(self, moment: int, kind: str, count: int) -> None:
        if count and self.rest:
            self.rest.notes.append(Note(moment, kind, f"{count} {kind}"))

    def _relayed(self, moment: int, effect: Relay) -> None:
        some = None if effect.some is None else {pid for pid, _ in effect.some}
        chosen = (life for life in self._children() if some is None or life.pid in some)
        self._note(Note(moment, effect.name, self.signame(effect.signum), "forwarded"), chosen)

    def _step_sent(self, moment: int, decision: Decision, effect: SendStep) -> None:
        clocks = [other.seconds for other in decision.effects if isinstance(other, SetClock)]
        if clocks:
            self._step = f"{self.signame(effect.signums[0])}, {seconds(clocks[0])}"
        kind = "kill" if SIGKILL in effect.signums else effect.name
        own = {pid: signum for pid, signum, _ in effect.own}
        chosen = self._children() if effect.pids is None else map(self._adopted.get, effect.pids)
        for life in chosen:
            if life and life.pid not in effect.spared:
                signums = (own.get(life.pid or 0, effect.signums[0]), *effect.signums[1:])
                text = ", ".join(map(self.signame, signums))
                self._note(Note(moment, kind, text, f"sent, {decision.after}"), [life])

    def _suspended(self, moment: int, effect: SuspendAll) -> None:
        self._note(Note(moment, effect.name, "SIGTSTP", "sent, to suspend it"), self._living.values())

    def _resumed(self, moment: int, effect: ResumeAll) -> None:
        self._note(Note(moment, effect.name, "SIGCONT", "sent, to resume it"), self._children())

    def _children(self) -> Iterator[Life]:
        yield from self._living.values()
        yield from self._adopted.values()

    def _note(self, note: Note, chosen: Iterable[Life | None]) -> None:
        for life in {id(life): life for life in chosen if life}.values():
            life.notes.append(note)

    # How it ended

    def _judge(self, life: Life, command: Command | None = None) -> None:
        how = life.ending
        if how is None:
            life.outcome, life.text = self._not_ended(life)
            return
        life.decides = command is not None and command is self.lifecycle.decider
        life.text = short_ending(how, self.signame)
        if how.failure:
            life.outcome = "missing"
        elif not (command.code if command else how.code):
            life.outcome = "well"
        elif not command.failed if command else life.kind == "orphan" and self._was_sent(life, how):
            life.outcome = "stopped"
        else:
            life.outcome = "killed" if how.signum else "failed"

    def _was_sent(self, life: Life, how: Ending) -> bool:
        sent = {name for note in life.notes if note.kind in ("step", "kill") for name in note.text.split(", ")}
        return self.signame(how.death) in sent

    def _not_ended(self, life: Life) -> tuple[str, str]:
        if life.pid is None:
            return "missing", "was not started"
        if self._drained:
            return "unseen", "end not seen"
        return "alive", "still alive"

    # What a picture shows of an event, by the kinds of its fields, and of an effect, by its name.
    _FIELDS: ClassVar[dict[str, Callable[..., None]]] = {
        SIGNAL: lambda *_: None,  # its mark says it
        COMMANDS_ENDED: _commands_ended,
        ORPHANS_ENDED: lambda self, moment, endings, _: self._orphans_ended(moment, endings),
        ADOPTED: lambda self, moment, pids, _, names: self._orphans_adopted(moment, pids, names),
        PROCESSES: lambda *_: None,  # they are drawn once they are adopted
        PIDS: lambda *_: None,
    }
    _EFFECTS: ClassVar[dict[str, Callable[..., None]]] = {
        "relay": lambda self, moment, _, effect: self._relayed(moment, effect),
        "step": _step_sent,
        "clock": lambda *_: None,  # its time is said with the step
        "suspend": lambda self, moment, _, effect: self._suspended(moment, effect),
        "resume": lambda self, moment, _, effect: self._resumed(moment, effect),
        "exit": lambda *_: None,  # the end of the axis
    }


def _run(found: Trace) -> tuple[Lifecycle, bool]:
    """The run after its last event, and whether this machine decides the same, and no line is missing."""
    lifecycle = found.begin()
    try:
        same = all(lifecycle.handle(decision.event) == decision for _, decision in found.decisions)
    except MachineError:
        same = False
    return lifecycle, same and not found.dropped


def _life(command: Command) -> Life:
    name = title([program(command), *command.argv[1:]])
    return Life("command", command.pid, name, cut(printable(" ".join(command.argv)), NAME_LENGTH))
