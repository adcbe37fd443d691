"""Every kind of event and effect: each is read back as it was written, worded, drawn and searched, or says why not."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from math import inf
from typing import Any

import pytest

from muinit import signals
from muinit.loop import Loop
from statechart import effects, events
from statechart.chart import CHART, State
from statechart.effects import EFFECTS, Effect
from statechart.events import EVENTS, Ending, Event
from statechart.lifecycle import Command, Decision, Lifecycle
from statechart.pictures import search
from statechart.pictures.lives import Lives
from statechart.pictures.timeline import MARKS, picture
from statechart.pictures.world import World
from statechart.traces import read, write
from statechart.values import Stage
from statechart.words.decision import event_detail_effects, line
from statechart.words.phrases import effects_in_words
from statechart.words.story import Story
from tests.cast.harness import ROOT
from tests.cast.traces import KINDS
from tests.proofs import verify
from tests.proofs.simkernel import SimKernel

# Kinds that have nothing to say somewhere, and why. A kind that is neither said nor here fails a test.
NO_STORY = {"drained": "the last line follows at once"}
NO_MARK = {
    "command_ended": "its lane ends",
    "orphans_adopted": "a lane begins",
    "orphans_ended": "a lane ends",
    "timeout": "a new step begins",
    "drained": "the picture ends",
    "clock": "its time stands beside the step",
    "exit": "the picture ends",
}

# A value for each attribute, by the kind of the field.
EVENT_VALUES: dict[str, list[tuple[Any, ...]]] = {
    events.SIGNAL: [(signals.SIGINT,)],
    events.COMMANDS_ENDED: [
        (((0, Ending(3)),),),
        (((1, Ending(139, 11, core=True)), (0, Ending(127, failure="was not found"))),),
    ],
    events.ORPHANS_ENDED: [(((50, Ending(0)), (51, Ending(137, 9))), ("sleep", "")), (((50, Ending(0)),), ())],
    events.ADOPTED: [((50, -51), (50,), ("sleep", "")), ((50,), (), ())],
    events.PROCESSES: [((60, 61), ("sleep", "")), ((), ()), ((60,), ())],
    events.PIDS: [((50, 100),), ((),)],
}
EFFECT_VALUES: dict[str, list[Any]] = {
    effects.SIGNAL: [signals.SIGINT],
    effects.SIGNALS: [(signals.SIGTERM, signals.SIGCONT), (signals.SIGKILL,)],
    effects.PIDS: [None, (), (50, 51)],
    effects.FLAG: [True, False],
    effects.SECONDS: [0.0, 2.5, inf],
    effects.CODE: [0, 255],
    effects.TARGET: ["child", "group", "tree"],
    effects.SOME: [None, (), ((100, "child"), (101, "group"))],
    effects.SIDECARS: [(), (100,)],
    effects.OWN: [(), ((100, signals.SIGHUP, "child"),), ((100, signals.SIGHUP, "tree"), (101, 3, "group"))],
}


def every_event() -> Iterator[Event]:
    """Each kind of event, with each value of each of its fields."""
    for kind in EVENTS.values():
        for turn in range(3):
            attributes: dict[str, Any] = {}
            for _, field, *names in kind.fields:
                values = EVENT_VALUES[field][turn % len(EVENT_VALUES[field])]
                attributes |= dict(zip(names, values, strict=True))
            yield kind.of(1.5, **attributes)


def every_effect() -> Iterator[Effect]:
    for kind in EFFECTS.values():
        for turn in range(3):
            yield kind.of(
                **{name: EFFECT_VALUES[field][turn % len(EFFECT_VALUES[field])] for _, field, name in kind.fields}
            )


def decided(event: Event) -> Decision:
    """A decision on this event, which asks for everything there is."""
    before, after = Stage(State.RUNNING), Stage(State.TERMINATING, 1, 2, again=True)
    return Decision(event, before, after, "a_guard", tuple(every_effect()))


def begin() -> Lifecycle:
    return Lifecycle([Command(["web"], 100), Command(["mail"], 101)], (15, 9), 2.0)


def trace_of(event: Event) -> list[str]:
    about = {"muinit": "1", "argv": ["muinit"], "pid": 1, "time": 1e9}
    entries = [write.header(begin(), [2], [15], signals.by_name(), **about), write.entry(decided(event), signals.name)]
    return [json.dumps(entry) + "\n" for entry in entries]


each_event = pytest.mark.parametrize("event", [*every_event()], ids=lambda event: event.name)


def test_the_kinds_of_events_are_those_of_the_chart() -> None:
    assert EVENTS.keys() == CHART.events.keys()
    assert {kind.name for kind in Event.__subclasses__()} == EVENTS.keys()
    assert {kind.name for kind in Effect.__subclasses__()} == EFFECTS.keys()


@pytest.mark.parametrize("kind", [*EVENTS.values(), *EFFECTS.values()], ids=lambda kind: kind.name)
def test_a_kind_describes_each_of_its_attributes(kind: type[Event | Effect]) -> None:
    """An attribute without a field would be missing in every trace."""
    attributes = [name for _, _, *names in kind.fields for name in names]
    assert sorted(attributes) == sorted(kind.__slots__)
    assert kind.name
    assert kind.__doc__


def test_every_kind_of_field_can_be_written_and_read_and_is_tried_here() -> None:
    used = {field for kind in EVENTS.values() for _, field, *_ in kind.fields}
    assert used == write.EVENT_FIELDS.keys() == read.EVENT_FIELDS.keys() == EVENT_VALUES.keys()
    used = {field for effect in EFFECTS.values() for _, field, _ in effect.fields}
    assert used == write.EFFECT_FIELDS.keys() == read.EFFECT_FIELDS.keys() == EFFECT_VALUES.keys()


@each_event
def test_what_is_written_is_read_back(event: Event) -> None:
    ((_, found),) = read.read(trace_of(event)).decisions
    assert found == decided(event)
    assert found.event.at == event.at
    for name in (name for _, _, *names in event.fields for name in names if name != "names"):
        assert getattr(found.event, name) == getattr(event, name)


@each_event
def test_what_is_written_follows_the_schema(event: Event) -> None:
    KINDS["event"].validate(write.entry(decided(event), signals.name))
    if event.fields:
        lacking = write.entry(decided(event), signals.name)
        del lacking[event.fields[0][0]]
        assert not KINDS["event"].is_valid(lacking)


@each_event
def test_every_event_is_worded(event: Event) -> None:
    """In a trace by its name and what it carries; by `-v` with its story, unless it has none."""
    lifecycle = begin()
    for index, ending in getattr(event, "endings", ()) if event.name == "command_ended" else ():
        lifecycle.commands[index].ending = ending
    name, detail, said = event_detail_effects(lifecycle, decided(event), signals.name)
    assert name == f"{event.name} [a_guard]"
    assert bool(detail) == any(getattr(event, names[0]) for _, _, *names in event.fields[:1])
    assert all(words in said for words in effects_in_words([*every_effect()], signals.name))
    assert line(lifecycle, decided(event), signals.name).count("\n") == 0
    story = [
        each for each in Story(lifecycle, signals.name).lines(decided(event)) if not each.startswith("step 1 of 2")
    ]
    assert bool(event.story) == (event.name not in NO_STORY)
    assert bool(story) == bool(event.story and (detail or not event.fields))


def test_every_effect_is_worded_in_its_own_way() -> None:
    assert len({effect.words(signals.name) for effect in every_effect()}) >= len(EFFECTS)


@pytest.mark.parametrize("kind", [*EVENTS.values(), *EFFECTS.values()], ids=lambda kind: kind.name)
def test_every_kind_has_a_mark_in_the_legend_or_a_reason(kind: type[Event | Effect]) -> None:
    assert bool(kind.mark) == (kind.name not in NO_MARK)
    assert not kind.mark or MARKS[kind.name]


@each_event
def test_every_event_is_drawn(event: Event) -> None:
    trace = read.read(trace_of(event))
    picture(trace)
    lives = Lives(trace)
    assert bool(lives.signals) == bool(event.mark)


def test_the_loop_produces_every_kind_of_event_and_performs_every_kind_of_effect() -> None:
    tree = ast.parse((ROOT / "muinit/loop.py").read_text())
    calls = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert {kind.__name__ for kind in EVENTS.values()} <= calls
    loop = Loop(SimKernel(lambda: 0.0), begin(), {}, print, started_at=0.0)
    assert loop._perform.keys() == EFFECTS.keys()


def test_the_search_the_page_and_the_proof_produce_every_kind_of_event() -> None:
    """A kind that they do not produce is not in `--diagram`, cannot be played, and is not proven."""
    assert {happening.event.name for happening in World([15], [2.0]).happenings} == EVENTS.keys()
    situation = search._Situation(begin())
    found, seen, waiting = set(), {situation.key}, [situation]
    for before in waiting:  # grows
        for event in before.possible([signals.SIGINT]):
            found.add(event.name)
            after, _ = before.after(event)
            if after.key not in seen:
                seen.add(after.key)
                waiting.append(after)
    assert found == EVENTS.keys()
    world = verify.World(((),) * 2)
    setup = verify.Setup(2, 2, (15, 9), 2.0)
    produced = {event.name for event in verify.possible(setup, world)}
    stopping = world._replace(step=1, clock=2.0)
    produced |= {event.name for event in verify.possible(setup, stopping)}
    produced |= {event.name for event in verify.possible(setup, stopping._replace(sent=(None, None), over=True))}
    assert produced == EVENTS.keys()
