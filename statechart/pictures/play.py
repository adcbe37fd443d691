"""What a page needs so that the lifecycle can be played: every situation of a small world, and each way between them.

The page computes nothing of the machine. The real `Lifecycle` is given every event in every situation, and the words
are those of `statechart.words`. Only times are not known here: they leave places (`statechart.pictures.places`), and so
does what became of a dead command, because the page knows its history.
"""

from __future__ import annotations

from statechart import signals
from statechart.chart import State
from statechart.effects import SetClock
from statechart.lifecycle import Lifecycle
from statechart.meanings import FORWARD, STOP, meanings
from statechart.pictures import search
from statechart.pictures.diagram import rows
from statechart.pictures.places import NOW
from statechart.pictures.printers import Arrow, Box, Drawing
from statechart.pictures.search import Unfolded, explore
from statechart.pictures.world import COMMANDS, JOBS, World
from statechart.traces import write
from statechart.traces.replay import installed
from statechart.words.decision import event_detail_effects
from statechart.words.phrases import effects_in_words, program
from statechart.words.story import Story
from statechart.words.verdict import Verdict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence
    from typing import Any

    from statechart.chart import Arc
    from statechart.lifecycle import Command, Decision
    from statechart.pictures.world import Scene

    Data = dict[str, Any]


DECIDED = frozenset({"t", "before", "guard", "after", "effects"})  # members of an entry that the event does not have


MOST_MOVES = 50_000  # with these a page has less than 1 MiB


class TooManyError(Exception):
    """The steps make more situations than a page can hold."""


class Numbered(dict[str, int]):
    """Values, each of them once, and their numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.in_order: list[Any] = []

    def number(self, value: Any) -> int:
        """The number of a value, which is added if it is new."""
        known = repr(value)
        if known not in self:
            self[known] = len(self)
            self.in_order.append(value)
        return self[known]


class Sentence(Verdict):
    """The last line, where what became of a dead command is a place: the page remembers it from the command's end."""

    def fate(self, it: Command, *, total: bool = False) -> str:
        """What became of a command."""
        if it.ending is None:
            return super().fate(it, total=total)
        return f"{{{'whole' if total else 'fate'} {program(it)}}}"


class Game:
    """All situations with these steps and times, as data. `argv` is the command line that has them."""

    def __init__(
        self,
        steps: Sequence[int],
        times: Sequence[float],
        step_targets: Sequence[str] = (),
        *,
        argv: Sequence[str] = ("muinit",),
    ) -> None:
        meaning = meanings(signals.by_name(), init=True)
        self._forward = [number for number, what in meaning.items() if what == FORWARD]
        self._stop = [number for number, what in meaning.items() if what == STOP]
        self.argv = [*argv, *(word for name in COMMANDS for word in ("---", name))]
        self.world = World(steps, times, step_targets)
        self.unfolded = Unfolded(steps, times, self._forward, signals.name, stop=self._stop, step_targets=step_targets)
        self._effects, self._outcomes, self._texts = Numbered(), Numbered(), Numbered()

    def data(self) -> Data:
        """Everything, as `play.js` reads it. What occurs often stands in a list once, and is meant by its number."""
        found: dict[Hashable, Scene] = {}
        order: dict[Hashable, int] = {}
        happenings: dict[str, Data] = {it.name: {"name": it.name} for it in self.world.happenings}
        numbers = {name: number for number, name in enumerate(happenings)}
        moves: dict[int, list[int]] = {}
        for count, move in enumerate(explore(self.world.begin(), self.world.possible, found)):
            if count == MOST_MOVES:
                raise TooManyError(
                    f"more than {MOST_MOVES:,} answers, which a page cannot hold; expected fewer signals"
                )
            before, happening, after, decision = move
            source, target = (order.setdefault(scene.key, len(order)) for scene in (before, after))
            entry = write.entry(decision, signals.name)
            _, detail, _ = event_detail_effects(after.lifecycle, decision, signals.name)
            of_event = {member: value for member, value in entry.items() if member not in DECIDED}
            happenings[happening.name] |= {"entry": of_event, "detail": detail}
            outcome = self._outcome(after.lifecycle, decision, entry["effects"])
            moves.setdefault(source, []).extend((numbers[happening.name], target, outcome))
        looks, ends = Numbered(), Numbered()
        return {
            "header": self._header(),
            "commands": COMMANDS,
            "jobs": JOBS,
            "happenings": [*happenings.values()],
            "situations": [[looks.number(_look(it)), ends.number(_end(it))] for it in found.values()],
            "looks": looks.in_order,
            "ends": ends.in_order,
            "moves": [moves.get(place, []) for place in order.values()],
            "outcomes": self._outcomes.in_order,
            "effects": self._effects.in_order,
            "texts": self._texts.in_order,
            "rows": [_row(name, arc) for name, arc in rows()],
            "words": dict(_docs()),
            "boxes": {str(stage): search.box(stage) for stage in self.unfolded.states},
        }

    def _outcome(self, lifecycle: Lifecycle, decision: Decision, entries: list[Data]) -> int:
        """The number of what came of an event.

        It has the number of the effects, the guard, what is said, and what the page must remember: what became of
        which command, in short and in full, and which times are now.
        """
        verdict = Verdict(lifecycle, signals.name)
        fates = {
            program(command): [self._texts.number(verdict.fate(command, total=total)) for total in (False, True)]
            for command in lifecycle.commands
            if command.ended_at is NOW
        }
        times = {"step": lifecycle.step_at, "told": lifecycle.told_at}
        return self._outcomes.number(
            [
                self._effects.number(_effect(decision, entries)),
                decision.guard,
                [*map(self._texts.number, Story(lifecycle, signals.name).lines(decision))],
                fates,
                [name for name, at in times.items() if at is NOW],
            ]
        )

    def _header(self) -> Data:
        about = {"muinit": installed(), "argv": self.argv, "pid": 1, "time": 0}
        return write.header(self.world.begin().lifecycle, self._forward, self._stop, signals.by_name(), **about)

    def drawing(self) -> Drawing:
        """The diagram: stages and what leads from one to another. What is done there, the page says beside it."""
        states, edges = self.unfolded.states.items(), self.unfolded.edges
        boxes = [Box(search.box(stage), str(stage), sent, stage.rank) for stage, sent in states]
        arrows = [Arrow(search.box(before), search.box(after), event) for before, event, after in edges]
        return Drawing(boxes, arrows, State.EXITED.name)


def _effect(decision: Decision, entries: list[Data]) -> Data:
    """The effects in words and as a trace has them, and the clock if one is set; null is one without end."""
    clocks = [each["seconds"] for each in entries if each["effect"] == SetClock.name]
    words = effects_in_words(decision.effects, signals.name)
    return {"words": words, "entries": entries, **({"clock": clocks[0]} if clocks else {})}


def _look(scene: Scene) -> Data:
    """What can be seen of a situation."""
    alive = [command.alive for command in scene.lifecycle.commands]
    return {"stage": str(scene.lifecycle.stage), "alive": alive, "job": scene.job}


def _end(scene: Scene) -> Data | None:
    """The last line of a trace, if the run is over."""
    run = scene.lifecycle
    if run.state is not State.EXITED:
        return None
    survivors = scene.survivors() if scene.gave_up else []
    return {"exit": run.code, "why": Sentence(run, signals.name).sentence(survivors, NOW), "survivors": survivors}


def _row(event: str, arc: Arc) -> Data:
    to = arc.dest or arc.source
    return {"event": event, "from": arc.source, "guard": arc.guard, "to": to, "does": arc.actions, "why": arc.why}


def _docs() -> Iterator[tuple[str, str]]:
    """The first line of what each guard and action says of itself."""
    for name in sorted({name for _, arc in rows() for name in (arc.guard, *arc.actions) if name}):
        yield name, (getattr(Lifecycle, name).__doc__ or "").partition("\n")[0]
