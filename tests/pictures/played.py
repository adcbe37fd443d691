"""The lifecycle played in two ways: by the machine itself, and from the data that a page carries."""

from __future__ import annotations

import re
from collections.abc import Iterator
from random import Random
from typing import Any, NamedTuple

from statechart import signals
from statechart.chart import State
from statechart.effects import SetClock
from statechart.events import Event, Timeout
from statechart.pictures.play import Game
from statechart.pictures.world import Happening, Scene, World
from statechart.traces import write
from statechart.words.decision import event_detail_effects
from statechart.words.phrases import seconds
from statechart.words.story import Story
from statechart.words.verdict import Verdict

NANO = 1_000_000_000
PACES = (0, 1_000_000, 62_500_000, 100_000_000, 333_333_333, 10_250_000_000, 75_000_000_000)


class Moment(NamedTuple):
    """What can be seen after something has happened."""

    stage: str
    at: int  # nanoseconds
    due: int | None  # when the clock runs out
    event: str  # with its guard, and what it carries
    effects: list[str]
    story: list[str]
    entry: dict[str, Any]  # of a trace
    exit: int | None
    why: str
    survivors: list[str]
    possible: set[str]


class Directly:
    """One history, given to one `Lifecycle` that runs from the start to the end."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.scene = world.begin()
        self.at = 0
        self.due: int | None = None

    @property
    def possible(self) -> list[Happening]:
        return [*self.world.possible(self.scene)]

    def time_of(self, happening: Happening, pace: int) -> int:
        """An event comes `pace` after the one before, or when the clock runs out."""
        if isinstance(happening.event, Timeout):
            assert self.due is not None
            return self.due
        return self.at + pace if self.due is None else min(self.at + pace, self.due)

    def take(self, happening: Happening, pace: int) -> Moment:
        run, self.at = self.scene.lifecycle, self.time_of(happening, pace)
        decision = run.handle(timed(happening.event, self.at / NANO))
        self.scene = Scene(run, self.scene.job_after(happening, decision))
        for clock in (effect.seconds for effect in decision.effects if isinstance(effect, SetClock)):
            self.due = None if clock == float("inf") else self.at + round(clock * NANO)
        over = run.state is State.EXITED
        survivors = self.scene.survivors() if over and self.scene.gave_up else []
        event, detail, _ = event_detail_effects(run, decision, signals.name)
        return Moment(
            str(run.stage),
            self.at,
            None if over else self.due,
            event + (f": {detail}" if detail else ""),
            [effect.words(signals.name) for effect in decision.effects],
            Story(run, signals.name).lines(decision),
            write.entry(decision, signals.name),
            run.code if over else None,
            Verdict(run, signals.name).sentence(survivors, self.at / NANO) if over else "",
            survivors,
            {each.name for each in self.possible},
        )


def timed(event: Event, at: float) -> Event:
    """The same event at a time."""
    return type(event).of(at, **{name: getattr(event, name) for name in type(event).__slots__})


class FromData:
    """The same from the data alone, as the script of the page does it."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.data = data
        self.numbers = {each["name"]: number for number, each in enumerate(data["happenings"])}
        self.situation = self.at = 0
        self.due: int | None = None
        self.known: dict[str, Any] = {"step": 0, "told": 0}

    @property
    def possible(self) -> set[str]:
        return {self.data["happenings"][number]["name"] for number in self.data["moves"][self.situation][::3]}

    def take(self, name: str, at: int) -> Moment:
        moves = self.data["moves"][self.situation]
        of = moves[::3].index(self.numbers[name]) * 3
        effects, guard, story, fates, now = self.data["outcomes"][moves[of + 2]]
        happening, effect = self.data["happenings"][self.numbers[name]], self.data["effects"][effects]
        before = self.look["stage"]
        self.situation, self.at, self.known["now"] = moves[of + 1], at, at
        told = [self.filled(self.data["texts"][text]) for text in story]
        for whose, (fate, whole) in fates.items():
            self.known[f"fate {whose}"] = self.filled(self.data["texts"][fate])
            self.known[f"whole {whose}"] = self.filled(self.data["texts"][whole])
        self.known |= dict.fromkeys(now, at)
        if "clock" in effect:
            self.due = None if effect["clock"] is None else at + round(effect["clock"] * NANO)
        end = self.data["ends"][self.data["situations"][self.situation][1]]
        event, detail = happening["entry"]["event"], happening["detail"]
        decided = {"before": before, "guard": guard, "after": self.look["stage"], "effects": effect["entries"]}
        return Moment(
            self.look["stage"],
            at,
            None if end else self.due,
            event + (f" [{guard}]" if guard else "") + (f": {detail}" if detail else ""),
            effect["words"],
            told,
            {"t": at, **happening["entry"], **decided},
            end["exit"] if end else None,
            self.filled(end["why"]) if end else "",
            end["survivors"] if end else [],
            self.possible,
        )

    @property
    def look(self) -> Any:
        return self.data["looks"][self.data["situations"][self.situation][0]]

    def filled(self, text: str) -> str:
        def fill(found: re.Match[str]) -> str:
            later, earlier, fate = found.groups()
            if fate:
                return str(self.known[fate])
            return seconds(self.known[later] / NANO - (self.known[earlier] / NANO if earlier else 0))

        return re.sub(r"\{(\w+)(?:-(\w+))?\} s|\{([^}]+)\}", fill, text)


def history(game: Game, random: Random) -> Iterator[tuple[Happening, int, Moment]]:
    """A random history until the exit, with the pace of each event."""
    run = Directly(game.world)
    while possible := run.possible:
        ending = [it for it in possible if it.event.name in ("command_ended", "timeout", "drained")]
        happening = random.choice(ending if ending and random.random() < 0.4 else possible)
        pace = random.choice(PACES)
        yield happening, pace, run.take(happening, pace)
