"""Every sequence ("word") of events up to a length keeps the invariants, whatever happens and in whatever order."""

from __future__ import annotations

from collections.abc import Iterator

from statechart.chart import State
from statechart.effects import Exit, Relay, SendStep, SetClock
from statechart.events import CommandEnded, Drained, Ending, Event, Forward, OrphansAdopted, Terminate, Timeout
from statechart.lifecycle import Command, Decision, Lifecycle

LENGTH = 6
ORDER = list(State)
LETTERS: list[Event] = [
    Forward(2),
    Terminate(15),
    CommandEnded((0, Ending(0))),
    CommandEnded((0, Ending(143, 15))),
    CommandEnded((1, Ending(3))),
    CommandEnded((1, Ending(0)), (0, Ending(137, 9))),
    OrphansAdopted(50),
    Timeout(),
    Drained(),
]


def possible(run: Lifecycle, event: Event, *, armed: bool) -> bool:
    """Whether this can happen: a command ends once, only a clock that was set runs out, ECHILD means no child."""
    if isinstance(event, CommandEnded):
        return all(run.commands[index].alive for index, _ in event.endings)
    if isinstance(event, Timeout):
        return armed
    if isinstance(event, OrphansAdopted):
        return run.state is not State.RUNNING
    return not isinstance(event, Drained) or not any(command.alive for command in run.commands)


def check(run: Lifecycle, taken: Decision, before: State, step: int) -> bool:
    """Check what must hold at every event, and return whether a clock was set."""
    exits = [effect for effect in taken.effects if isinstance(effect, Exit)]
    assert bool(exits) == (run.state is State.EXITED), "exit in EXITED, and there always"
    assert len(exits) <= 1
    assert ORDER.index(run.state) >= ORDER.index(before), "states are passed through in order"
    assert 0 <= run.step <= len(run.steps)
    if isinstance(taken.event, Terminate):
        assert run.step == 1
    else:
        assert run.step in (step, step + 1), "steps in order"
    if isinstance(taken.event, Forward):
        assert (run.state, run.step) == (before, step), "forward never moves the state"
        assert taken.effects == (Relay(2),)
    if run.step != step or isinstance(taken.event, Terminate):
        assert (SendStep(15, 18) if run.step == 1 else SendStep(9, target="tree")) in taken.effects, (
            "a new step is sent"
        )
        assert any(isinstance(effect, SetClock) for effect in taken.effects), "and has a clock"
    if run.state is State.DRAINING:
        assert not any(command.alive for command in run.commands)
    if run.state in (State.RUNNING, State.TERMINATING):
        assert any(command.alive for command in run.commands)
    return any(isinstance(effect, SetClock) for effect in taken.effects)


def play(word: list[Event]) -> tuple[Lifecycle, bool]:
    """Play a word of possible events and check each event. Return the run, and whether its clock runs."""
    run, armed = Lifecycle([Command(["a"], 100), Command(["b"], 101)], (15, 9), 2.0), False
    for event in word:
        before, step = run.state, run.step
        armed = check(run, run.handle(event), before, step) or (armed and not isinstance(event, Timeout))
    return run, armed


def runs(word: list[Event]) -> Iterator[Lifecycle]:
    """The runs of all possible words that begin with this word."""
    run, armed = play(word)
    if len(word) < LENGTH and run.state is not State.EXITED:
        for letter in LETTERS:
            if possible(run, letter, armed=armed):
                yield from runs([*word, letter])
    yield run


def test_every_word() -> None:
    """Every word of up to six events keeps the invariants, and afterwards the run still ends with its last child."""
    played = 0
    for run in runs([]):
        played += 1
        if run.state is State.EXITED:
            continue
        if alive := [(index, Ending(0)) for index, command in enumerate(run.commands) if command.alive]:
            run.handle(CommandEnded(*alive))
        assert any(isinstance(effect, Exit) for effect in run.handle(Drained()).effects)
    assert played > 10_000
