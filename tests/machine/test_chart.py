"""The structure of the table. `transitions` accepts misspelt names, and fails only when such a row is taken."""

from __future__ import annotations

import pytest
from transitions import MachineError

from statechart import events
from statechart.chart import CHART, Arc, State
from statechart.lifecycle import Command, Lifecycle
from statechart.pictures.diagram import rows

LIVE = [state for state in State if state is not State.EXITED]
EVENTS = {event.name for event in events.Event.__subclasses__()}


def cell(event: str, state: State) -> list[Arc]:
    return [arc for name, arc in rows() if name == event and arc.source == state.name]


def test_the_chart_has_exactly_the_events_that_exist() -> None:
    assert set(CHART.events) == EVENTS


@pytest.mark.parametrize("state", LIVE)
@pytest.mark.parametrize("event", sorted(EVENTS))
def test_every_live_state_decides_every_event(event: str, state: State) -> None:
    arcs = cell(event, state)
    assert arcs
    assert not arcs[-1].guard, "the last row of a cell is always taken"
    assert all(arc.guard for arc in arcs[:-1]), "a row after an unguarded one is never reached"


def test_exited_is_the_end() -> None:
    assert not [arc for _, arc in rows() if arc.source == State.EXITED.name]


def test_the_states_are_closed_and_reachable_and_in_order() -> None:
    order = [state.name for state in State]
    reached = {CHART.initial}
    for _ in order:
        reached |= {arc.dest for _, arc in rows() if arc.source in reached and arc.dest}
    assert reached == set(order)
    for _, arc in rows():
        assert arc.source in order
        assert arc.dest is None or order.index(arc.dest) >= order.index(arc.source)


def test_every_guard_and_action_is_a_method_and_every_method_is_used() -> None:
    used = {name for _, arc in rows() for name in [*arc.actions, *([arc.guard] if arc.guard else [])]}
    methods = {name for name, value in vars(Lifecycle).items() if callable(value) and not name.startswith("_")}
    assert used == methods - {"handle"}


def test_a_row_acts_or_says_why_it_does_not() -> None:
    for name, arc in rows():
        assert bool(arc.actions) != bool(arc.why), (name, arc.source)
        assert arc.actions or arc.dest is None, "a row without actions changes nothing"


def test_only_guards_and_actions_are_called() -> None:
    """Actions run before the state changes and at no other time; neither the states nor the machine have callbacks."""
    for _, arc in rows():
        assert not arc.after
        assert not arc.prepare
        assert all(condition.target for condition in arc.conditions)
    for state in CHART.states.values():
        assert not state.on_enter
        assert not state.on_exit
    assert not CHART.before_state_change
    assert not CHART.after_state_change
    assert not CHART.prepare_event
    assert not CHART.finalize_event
    assert not CHART.has_queue


def test_transitions_adds_no_events() -> None:
    """`transitions` has added no event, such as the back door to_EXITED(), and no model."""
    assert all(not name.startswith("to_") for name in CHART.events)
    assert CHART.models == []


@pytest.mark.parametrize("event", [events.Forward(2), events.Terminate(15), events.Timeout(), events.Drained()])
def test_an_event_after_the_exit_raises_and_changes_nothing(event: events.Event) -> None:
    life = Lifecycle([Command(["a"], 1)], [15, 9], 2.0)
    life.handle(events.CommandEnded((0, events.Ending(3))))
    life.handle(events.Drained())
    before = (life.state, life.step, life.code, life.told)
    with pytest.raises(MachineError):
        life.handle(event)
    assert (life.state, life.step, life.code, life.told) == before


def test_an_action_that_raises_leaves_the_state_as_it_was() -> None:
    life = Lifecycle([Command(["a"], 1)], [15, 9], 2.0)
    with pytest.raises(IndexError):
        life.handle(events.CommandEnded((7, events.Ending(0))))
    assert life.state is State.RUNNING
