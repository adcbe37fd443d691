"""Proof 1: the lifecycle is checked exhaustively. `python -m tests.proofs.verify [--short]`.

The real `Lifecycle` is put into a small world, and every state that the two can reach together is visited, breadth
first: from each, every event that the world can produce is handed to `handle`, and every property below is asked
whether it holds. Nothing is sampled. A property that fails is named, with the shortest history that leads there in
the first setup where it fails, and the exit status is 1.

The world. A setup is a list of steps (each list of one to three of SIGTERM, SIGINT, SIGKILL), one to three
commands, how many of them could be started, and the seconds between steps. In it may happen, in any order:

    command_ended    each living command ends, alone or with others in one event, in every order: it exits 0, exits 3,
                     and for each signal n there is (those of the steps, one that is only ever forwarded, and one that
                     is never sent) it dies of n or exits 128 + n, whether or not n was sent to it. Or it ignores all.
    forward          of each signal of the steps that can be caught, and of one that is no step
    terminate        by SIGTERM, or by another signal
    orphans_adopted  one, or two at a time, while a step is in force; each may have been asked late before
    orphans_ended    one by SIGKILL and one with an exit code, while a step is in force
    timeout          while a clock runs that was not set to infinity; nobody or two descendants have not been asked,
                     although the loop looks for them only where the machine can ask them
    drained          when no command is left; orphans may have died unseen, or none was there
    suspend          while all commands run
    resume           at any time
    strays           what cannot be or means nothing: a timeout or orphans in RUNNING, their end there, drained
                     while a command lives, a second end of a command in DRAINING, suspend while stopping, and
                     anything in EXITED. These must change nothing.

What could not be started is said first, as the loop does it. Forwards, terminates and orphans need no bound: there
are finitely many states without one, so any number of them is covered. The machine remembers no orphan, so that each
has every step's signal follows from two properties: a step that begins is sent to every child, and who is adopted
later is sent it then.

What is the same state. Of a dead command is kept whether its end counts and, if so, its code: once as `Command.failed`
says it, once as our own rule does. The machine reads nothing else of it, and a property checks that what is known of
the dead never changes. Commands are told apart by their place, first the dead in the order of their ends, then the
others, and not by their number, and of the signal that told us to stop only its being there is kept: neither is ever
compared with anything. Who was left behind or killed is kept for the last line alone, and left out; a property asks
that it is remembered. The times (`ended_at`, `step_at`, `told_at`) are 0 throughout: they decide nothing. All else of
the machine, and all of the world, tells states apart. One more saving: where several end in one event, each dies of
one signal only of those that it has been sent by the same will, and of one that it has not been sent; alone it dies of
each, and exits 128 + each. A test does without the first saving, in setups that are small enough, and finds the same.

The rule of the exit code is stated a second time, in `counts` and `expected_code`, over what the world saw: who was
sent what by whose will, who ended how, and in what order. It knows nothing of the machine. SIGCONT is left out of it:
it follows a step's signal to wake the stopped, and nobody dies of it.

What is not here: time (only that clocks are set, and to what), the loop, and its races with the kernel.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import permutations, product
from multiprocessing import Pool
from typing import NamedTuple

from transitions import MachineError

from muinit import signals
from statechart.chart import State
from statechart.effects import Effect, Exit, Relay, ResumeAll, SendStep, SetClock, SuspendAll
from statechart.events import (
    CommandEnded,
    Drained,
    Ending,
    Event,
    Forward,
    OrphansAdopted,
    OrphansEnded,
    Resume,
    Suspend,
    Terminate,
    Timeout,
)
from statechart.lifecycle import Command, Decision, Lifecycle
from statechart.words.decision import line, start
from tests.tools.progress import progress

HUP, INT, KILL, USR1, SEGV, TERM, CONT = 1, 2, 9, 10, 11, 15, 18
ORDER = list(State)
OURS, ASKED = "on our own initiative", "because we were asked"

Sent = tuple[tuple[int, str], ...]  # signal, and by whose will it was sent last


class Setup(NamedTuple):
    """What one exploration starts from."""

    commands: int
    started: int
    steps: tuple[int, ...]
    timeout: float

    @property
    def times(self) -> list[float]:
        """How long each step waits. A killed process needs a moment to die."""
        last = max(self.timeout, 1.0) if self.steps[-1] == KILL else self.timeout
        return [self.timeout] * (len(self.steps) - 1) + [last]

    def __str__(self) -> str:
        names = ",".join(map(signals.name, self.steps))
        missing = f" ({self.started} could be started)" if self.started < self.commands else ""
        return f"commands: {self.commands}{missing}, steps: {names}, {self.timeout:g} s each"


def every_setup(alphabet: tuple[int, ...], longest: int, commands: int) -> list[Setup]:
    """All step lists up to a length, with up to so many commands; times of 0 and infinity with up to two."""
    found = []
    for count in range(1, commands + 1):
        for length in range(1, longest + 1):
            for steps in product(alphabet, repeat=length):
                found += [Setup(count, started, steps, 2.0) for started in range(count, -1, -1)]
                found += [Setup(count, count, steps, timeout) for timeout in (0.0, math.inf) if count < 3]
    return found


FULL = every_setup((TERM, INT, KILL), longest=3, commands=3)
SHORT = every_setup((TERM, KILL), longest=2, commands=2)


# The world


class World(NamedTuple):
    """What has happened, in the world's own terms.

    `sent` has for each living command what was sent to it, and None for the others; `ended` each dead one with the
    code that counts for it, or 0, in the order of their ends. `step` counts from the last start of the steps: 1, and
    one more for each timeout, but for one that asked somebody late: then it is `late` until the next step. `clock` is
    what the clock was set to, if it runs, `waits` the sum since step 1.
    """

    sent: tuple[Sent | None, ...]
    ended: tuple[tuple[int, int], ...] = ()
    told: bool = False
    step: int = 0
    late: bool = False
    clock: float | None = None
    waits: float = 0.0

    @property
    def alive(self) -> tuple[int, ...]:
        return tuple(index for index, sent in enumerate(self.sent) if sent is not None)


def counts(ending: Ending, sent: Sent) -> bool:
    """Whether this end of a command is a failure: docs/design.md, rules 20 and 21. `sent` is what it was sent."""
    if ending.code == 0:
        return False
    if ending.code <= 128:
        return True  # its own word, also while being stopped
    death = ending.code - 128  # told by the kernel, or by the program as shells and JVMs do
    return (death, OURS) not in sent


def expected_code(world: World) -> int:
    """The code of the first command whose end counts, else 0: docs/design.md, rule 22."""
    return next((code for _, code in world.ended if code), 0)


def may_ask_late(setup: Setup, world: World) -> bool:
    """Whether those that were not asked must be asked now: docs/design.md, rule 12."""
    until, then = setup.steps[: world.step], setup.steps[world.step :]
    return not world.late and KILL not in until and (not then or then[0] == KILL)


@cache
def received(sent: Sent, signum: int, will: str) -> Sent:
    return tuple(sorted({**dict(sent), signum: will}.items()))


def after(setup: Setup, world: World, event: Event, effects: tuple[Effect, ...]) -> World:
    """The world after an event, when the effects were performed."""
    sent, ended, told, step, late, clock, waits = world
    if isinstance(event, CommandEnded):
        for index, ending in event.endings:
            ended += ((index, ending.code if counts(ending, sent[index] or ()) else 0),)
        sent = tuple(None if index in dict(event.endings) else was for index, was in enumerate(sent))
        step = step or 1
    elif isinstance(event, Terminate):
        told, step, late = True, 1, False
    elif isinstance(event, Timeout):
        late = bool(event.unasked) and may_ask_late(setup, world)
        step, clock = step + (not late), None
    will = ASKED if told or isinstance(event, Forward) else OURS
    if isinstance(event, Terminate) or not world.step:
        waits = 0.0
    for effect in effects:
        if isinstance(effect, Relay) or (isinstance(effect, SendStep) and effect.pids is None):
            signum = effect.signum if isinstance(effect, Relay) else effect.signums[0]
            sent = tuple(None if was is None else received(was, signum, will) for was in sent)
        elif isinstance(effect, SetClock):
            clock, waits = effect.seconds, waits + effect.seconds
    return World(sent, ended, told, step, late, clock, waits)


@cache
def endings(sent: Sent, steps: tuple[int, ...], *, alone: bool) -> list[Ending]:
    """How a command can end that was sent these."""
    found = [Ending(0), Ending(3)]
    reasons = set()
    for signum in dict.fromkeys((*steps, HUP, SEGV)):
        reason = dict(sent).get(signum)
        if alone:
            found += [Ending(128 + signum, signum), Ending(128 + signum)]
        elif reason not in reasons:
            found.append(Ending(128 + signum, signum))
        reasons.add(reason)
    return found


@cache
def ends(sent: tuple[Sent | None, ...], steps: tuple[int, ...], first: tuple[int, ...] = ()) -> list[CommandEnded]:
    """Every event of one or more living commands that end; `first` comes the one that could not be started."""
    found = []
    failure = [(index, Ending(127, failure="was not found")) for index in first]
    alive = [index for index, was in enumerate(sent) if was is not None]
    for size in range(0 if first else 1, len(alive) + 1):
        for who in permutations(alive, size):
            ways = [endings(sent[index] or (), steps, alone=size == 1) for index in who]
            found += [CommandEnded(*failure, *zip(who, how, strict=True)) for how in product(*ways)]
    return found


@cache
def forwards(steps: tuple[int, ...]) -> list[Forward]:
    """The loop forwards no SIGTERM, but the machine cannot know it: in the steps it stands for any signal."""
    return [Forward(signum) for signum in dict.fromkeys((*steps, HUP)) if signum != KILL]


TERMINATES = [Terminate(TERM), Terminate(USR1)]
ADOPTIONS = [OrphansAdopted(50), OrphansAdopted(50, 51, asked=(51,)), OrphansAdopted(50, asked=(50,))]
ORPHANS_END = [OrphansEnded((50, Ending(3)), (51, Ending(137, KILL)))]
TIMEOUTS = [Timeout(), Timeout(60, 61)]
AT_THE_END = [Forward(HUP), Terminate(TERM), CommandEnded((0, Ending(3))), OrphansAdopted(50), Timeout(), Drained()]
AT_THE_END += [Suspend(), Resume(), OrphansEnded((50, Ending(3)))]


def possible(setup: Setup, world: World) -> Iterator[Event]:
    """What can happen now."""
    if setup.started < setup.commands and not world.step:
        yield from ends(world.sent, setup.steps, (setup.started,))
        return
    yield from forwards(setup.steps)
    yield from TERMINATES
    yield from ends(world.sent, setup.steps)
    yield Resume()
    if world.step:
        yield from ADOPTIONS
        yield from ORPHANS_END
    else:
        yield Suspend()
    if world.clock is not None and world.clock < math.inf:
        yield from TIMEOUTS
    if not world.alive:
        yield Drained()


def strays(setup: Setup, world: World, state: State) -> Iterator[Event]:
    """What cannot happen now, or means nothing."""
    if state is State.EXITED:
        yield from AT_THE_END
    elif setup.started == setup.commands or world.step:
        if not world.step:
            yield from ADOPTIONS
            yield from ORPHANS_END
            yield from TIMEOUTS
        else:
            yield Suspend()
        yield from [Drained()] if world.alive else [CommandEnded((0, Ending(4))), CommandEnded((0, Ending(137, KILL)))]


# The machine: saved, put back, and told apart

Memory = tuple[Ending | None, int, int, tuple[tuple[int, bool], ...]]
Saved = tuple[State, int, bool, bool, bool, int, int, int | None, tuple[int, ...], tuple[Memory, ...]]


def begin(setup: Setup) -> Lifecycle:
    started = [Command([f"c{index}"], 100 + index) for index in range(setup.started)]
    missing = [Command([f"c{index}"], None) for index in range(setup.started, setup.commands)]
    return Lifecycle([*started, *missing], setup.steps, setup.timeout)


def save(run: Lifecycle) -> Saved:
    """All that a run remembers but the row last taken, and its effects, which `handle` returns."""
    commands = list(run.commands)
    return (
        run.state,
        run.step,
        run.again,
        run.asked,
        run.killing,
        run.told,
        run.code,
        None if run.decider is None else commands.index(run.decider),
        tuple(commands.index(command) for command in run.ended),
        tuple((command.ending, command.step, command.told, tuple(command.own_signals.items())) for command in commands),
    )


def put_back(run: Lifecycle, saved: Saved) -> None:
    run.state, run.step, run.again, run.asked, run.killing, run.told, run.code, decider, ended, memories = saved
    run.decider = None if decider is None else run.commands[decider]
    run.ended = [run.commands[index] for index in ended]
    for command, (ending, step, told, own_signals) in zip(run.commands, memories, strict=True):
        command.ending, command.step, command.told, command.own_signals = ending, step, told, dict(own_signals)


def key(run: Lifecycle, world: World) -> object:
    """What tells this state from others; see "What is the same state" above."""
    place = {index: number for number, (index, _) in enumerate(world.ended)}
    for index in range(len(run.commands)):
        place.setdefault(index, len(place))
    commands = [run.commands[index] for index in place]
    known = tuple(
        tuple(sorted(command.own_signals.items())) if command.ending is None else command.failed and command.ending.code
        for command in commands
    )
    return (
        run.state,
        run.step,
        run.again,
        run.asked,
        run.killing,
        bool(run.told),
        run.code,
        run.decider and commands.index(run.decider),
        tuple(map(commands.index, run.ended)),
        known,
        tuple(world.sent[index] for index in place),
        tuple(code for _, code in world.ended),
        world[2:],
    )


# The properties


class Move(NamedTuple):
    """One event from one state: what the properties are asked about."""

    setup: Setup
    event: Event
    stray: bool  # it cannot happen, or means nothing
    saved: Saved
    world: World
    looks: bool  # for those that were not asked
    run: Lifecycle  # after the event, as are
    kept: Saved
    now: World
    effects: tuple[Effect, ...]
    error: Exception | None

    @property
    def begins(self) -> bool:
        """Whether a step must begin now, be it the first again."""
        anew = isinstance(self.event, Terminate) or self.now.step != self.world.step
        return not self.stray and anew and self.now.step <= len(self.setup.steps)

    @property
    def asks_late(self) -> bool:
        """Whether those that were not asked must be asked now."""
        late = isinstance(self.event, Timeout) and bool(self.event.unasked) and may_ask_late(self.setup, self.world)
        return not self.stray and late

    @property
    def signal(self) -> tuple[int, ...]:
        """What the step in force sends: SIGCONT wakes the stopped, but nobody acts on SIGKILL."""
        signum = self.setup.steps[self.now.step - 1]
        return (KILL,) if signum == KILL else (signum, CONT)

    @property
    def last(self) -> bool:
        """Whether the event must end the run."""
        over = isinstance(self.event, Timeout) and self.now.step > len(self.setup.steps)
        return not self.stray and (over or isinstance(self.event, Drained))

    def only(self, kind: type[Effect]) -> list[Effect]:
        return [effect for effect in self.effects if isinstance(effect, kind)]


Property = Callable[[Move], bool | None]


def every_event_is_decided(move: Move) -> bool | None:
    """Every event is taken in every live state; none raises."""
    return move.error is None


def states_come_in_order(move: Move) -> bool | None:
    """The states are passed through in order: RUNNING, TERMINATING, DRAINING, EXITED."""
    return ORDER.index(move.saved[0]) <= ORDER.index(move.run.state)


def the_state_says_who_is_alive(move: Move) -> bool | None:
    """RUNNING: all are, and no step was sent. After a step, TERMINATING: a command is. DRAINING: no command is."""
    alive, state = bool(move.now.alive), move.run.state
    if move.last:
        return state is State.EXITED
    if not move.now.step:
        return state is State.RUNNING
    return state is (State.TERMINATING if alive else State.DRAINING)


def exit_is_asked_for_once(move: Move) -> bool | None:
    """Exit is asked for on entering EXITED, once, as the last effect, and never elsewhere."""
    exits = move.only(Exit)
    if move.run.state is State.EXITED:
        return len(exits) == 1 and move.effects[-1] is exits[0]
    return not exits


def nothing_after_the_exit(move: Move) -> bool | None:
    """In EXITED every event raises MachineError, changes nothing and has no effects."""
    return isinstance(move.error, MachineError) and move.kept == move.saved and not move.effects


def steps_come_in_order(move: Move) -> bool | None:
    """Steps come in order, one at each timeout, to the last; to be told to stop is step 1 again; all else keeps it."""
    in_order = move.run.step == min(move.now.step, len(move.setup.steps))
    return in_order and (move.run.again == move.now.late or move.last)


def nobody_is_killed_unasked(move: Move) -> bool | None:
    """Before SIGKILL and before the end those that were not asked get the step's signal, once, and the step's time."""
    if not isinstance(move.event, Timeout) or move.stray:
        return None
    if move.asks_late:
        return move.looks and move.effects == (
            SendStep(*move.signal, pids=move.event.unasked),
            SetClock(move.setup.timeout),
        )
    late = [effect for effect in move.effects if isinstance(effect, SendStep) and effect.pids is not None]
    return not late and move.looks == may_ask_late(move.setup, move.world)


def a_step_is_sent_to_everybody(move: Move) -> bool | None:
    """A step that begins sends its signal to every child, then SIGCONT; SIGKILL alone, but to all descendants."""
    if (isinstance(move.event, OrphansAdopted) and move.now.step) or move.asks_late:
        return None
    expected = [SendStep(*move.signal, tree=move.signal == (KILL,))] if move.begins else []
    return move.only(SendStep) == expected


def the_adopted_are_signalled(move: Move) -> bool | None:
    """Every orphan adopted during a step is sent that step's signal at once, and nobody is sent it twice."""
    if not isinstance(move.event, OrphansAdopted) or not move.now.step:
        return None
    missed = tuple(pid for pid in move.event.pids if pid not in move.event.asked)
    killed = move.signal == (KILL,)
    expected = (SendStep(KILL, tree=True) if killed else SendStep(*move.signal, pids=missed),)
    return move.effects == (expected if missed else ())


def a_step_has_a_clock(move: Move) -> bool | None:
    """Each step sets the clock, to its time, and nothing else does; SIGKILL as the last step has 1 s at least."""
    if move.asks_late:
        return None
    if not move.begins:
        return not move.only(SetClock)
    return move.effects[1:] == (SetClock(move.setup.times[move.now.step - 1]),)


def a_clock_runs_while_stopping(move: Move) -> bool | None:
    """A clock runs from the first step to the exit, and not before."""
    if move.run.state is State.EXITED:
        return None
    return (move.now.clock is not None) == (move.now.step > 0)


def time_is_bounded(move: Move) -> bool | None:
    """Since the steps were last started there are no more timeouts than steps and one; the clocks add up to as much."""
    in_steps = move.now.step <= len(move.setup.steps) or move.run.state is State.EXITED
    return in_steps and move.now.waits <= sum(move.setup.times) + move.setup.timeout


def forward_only_relays(move: Move) -> bool | None:
    """A forwarded signal is relayed to every child, just that one, and moves neither state nor step."""
    if isinstance(move.event, Forward):
        relayed = move.effects == (Relay(move.event.signum),)
        return relayed and move.kept[:5] == move.saved[:5]
    return not move.only(Relay)


def suspend_and_resume_do_just_that(move: Move) -> bool | None:
    """Suspend suspends all while all run, resume resumes all, nothing else does, and neither moves anything."""
    asked = [*move.only(SuspendAll), *move.only(ResumeAll)]
    if move.stray or not isinstance(move.event, Suspend | Resume):
        return not asked
    effect = SuspendAll() if isinstance(move.event, Suspend) else ResumeAll()
    return move.effects == (effect,) and move.kept == move.saved


def little_ends_running(move: Move) -> bool | None:
    """In RUNNING nothing but terminate and command_ended moves anything."""
    if move.saved[0] is not State.RUNNING or isinstance(move.event, Terminate | CommandEnded):
        return None
    return move.run.state is State.RUNNING and move.run.step == 0


def strays_change_nothing(move: Move) -> bool | None:
    """An event that cannot be, or that means nothing, changes nothing and has no effects."""
    return move.kept == move.saved and not move.effects if move.stray else None


def the_dead_stay_as_they_were(move: Move) -> bool | None:
    """What is known of a dead command never changes: how it ended, in which step, and what it had been sent."""
    return all(move.kept[-1][index] == move.saved[-1][index] for index, _ in move.world.ended)


def every_end_is_remembered(move: Move) -> bool | None:
    """No exit status is lost: each is remembered, in their order, with the step, and the order to stop, in force."""
    if not isinstance(move.event, CommandEnded) or move.stray:
        return None
    commands = move.run.commands
    known = [(commands[index].ending, commands[index].step, commands[index].told) for index, _ in move.event.endings]
    return known == [(ending, move.world.step, move.saved[5]) for _, ending in move.event.endings] and (
        move.run.ended == [commands[index] for index, _ in move.now.ended]
    )


def terminate_is_remembered(move: Move) -> bool | None:
    """That we were told to stop is remembered, and by which signal first; nothing else is taken for it."""
    if move.error:
        return None
    told = move.event.signum if isinstance(move.event, Terminate) else 0
    return move.run.told == (move.saved[5] or told)


def a_kill_is_remembered(move: Move) -> bool | None:
    """It is remembered that SIGKILL came after another signal, and which orphans it has ended."""
    if move.error:
        return None
    sent = {effect.signums[0] for effect in move.effects if isinstance(effect, SendStep) and effect.pids is None}
    asked = move.saved[3] or bool(sent - {KILL})
    killing = move.saved[4] or (KILL in sent and asked)
    dead = move.event.endings if isinstance(move.event, OrphansEnded) else ()
    killed = [pid for pid, ending in dead if killing and ending.signum == KILL]
    return (move.run.asked, move.run.killing, [pid for pid, _ in move.run.killed]) == (asked, killing, killed)


def the_code_is_chosen_at_the_last_end(move: Move) -> bool | None:
    """The exit code is chosen when the last command ends, not before, and stays; only giving up overrides it."""
    if move.run.state is State.EXITED:
        return None
    return move.run.code == (0 if move.now.alive else expected_code(move.now))


def the_exit_code_is_right(move: Move) -> bool | None:
    """The exit code is that of the first command whose end counts, else 0; 1 where something outlived the steps."""
    if not move.last:
        return None
    if isinstance(move.event, Timeout):
        return move.only(Exit) == [Exit(1, gave_up=True)] and move.run.code == 1 and move.run.decider is None
    first = next((move.run.commands[index] for index, code in move.now.ended if code), None)
    code = expected_code(move.now)
    return move.only(Exit) == [Exit(code)] and move.run.code == code and move.run.decider is first


def exit_is_always_in_reach(exits: set[int], sources: list[set[int]]) -> set[int]:
    """From every state EXITED can be reached."""
    reached, waiting = set(exits), list(exits)
    while waiting:
        fresh = sources[waiting.pop()] - reached
        reached |= fresh
        waiting += fresh
    return reached


PROPERTIES: list[Property] = [
    every_event_is_decided,
    states_come_in_order,
    the_state_says_who_is_alive,
    steps_come_in_order,
    nobody_is_killed_unasked,
    a_step_is_sent_to_everybody,
    a_step_has_a_clock,
    a_clock_runs_while_stopping,
    time_is_bounded,
    the_adopted_are_signalled,
    forward_only_relays,
    suspend_and_resume_do_just_that,
    little_ends_running,
    strays_change_nothing,
    the_dead_stay_as_they_were,
    every_end_is_remembered,
    exit_is_asked_for_once,
    terminate_is_remembered,
    a_kill_is_remembered,
    the_code_is_chosen_at_the_last_end,
    the_exit_code_is_right,
]
IN_EXITED: list[Property] = [nothing_after_the_exit]


# The search


class Violation(NamedTuple):
    """A property that does not hold, and the shortest history that shows it."""

    name: str
    setup: Setup
    history: list[Event]


class Found(NamedTuple):
    """What an exploration found."""

    states: int
    transitions: int
    checked: Counter[str]
    violation: Violation | None = None


def take(setup: Setup, run: Lifecycle, saved: Saved, world: World, event: Event, *, stray: bool) -> Move:
    """Hand one event to a run that is in this state."""
    put_back(run, saved)
    run.killed = []
    looks = run.can_ask_late
    effects: tuple[Effect, ...] = ()
    error = None
    try:
        effects = run.handle(event).effects
    except (MachineError, ArithmeticError, AssertionError, AttributeError, LookupError, TypeError) as raised:
        error = raised
    now = world if stray else after(setup, world, event, effects)
    return Move(setup, event, stray, saved, world, looks, run, save(run), now, effects, error)


def explore(setup: Setup) -> Found:
    """Visit every state that can be reached, and ask every property about every event from it."""
    run, start = begin(setup), World(tuple(() if n < setup.started else None for n in range(setup.commands)))
    nodes: list[tuple[Saved, World]] = [(save(run), start)]
    numbers = {key(run, start): 0}
    sources: list[set[int]] = [set()]  # of each node, those that lead to it
    came: list[tuple[int, Event]] = []  # from which node and by what the nodes but the first were found
    exits: set[int] = set()
    checked: Counter[str] = Counter()
    transitions = 0

    def broken(name: str, node: int, *last: Event) -> Found:
        history = list(last)
        while node:
            node, event = came[node - 1]
            history.insert(0, event)
        return Found(len(nodes), transitions, checked, Violation(name, setup, history))

    for number, (saved, world) in enumerate(nodes):  # grows
        exited = saved[0] is State.EXITED
        if exited:
            exits.add(number)
        events = [(event, True) for event in strays(setup, world, saved[0])]
        if not exited:
            events += [(event, False) for event in possible(setup, world)]
        for event, stray in events:
            move = take(setup, run, saved, world, event, stray=stray)
            transitions += 1
            for holds in IN_EXITED if exited else PROPERTIES:
                answer = holds(move)
                if answer is not None:
                    checked[holds.__name__] += 1
                    if not answer:
                        return broken(holds.__name__, number, event)
            if not stray:
                found = key(run, move.now)
                target = numbers.setdefault(found, len(nodes))
                if target == len(nodes):
                    nodes.append((move.kept, move.now))
                    sources.append(set())
                    came.append((number, event))
                sources[target].add(number)

    reached = exit_is_always_in_reach(exits, sources)
    checked[exit_is_always_in_reach.__name__] += len(nodes)
    if len(reached) < len(nodes):
        return broken(exit_is_always_in_reach.__name__, min(set(range(len(nodes))) - reached))
    return Found(len(nodes), transitions, checked)


# The report


def told(violation: Violation) -> str:
    """The violation in words: its history is played again, and traced."""
    run = begin(violation.setup)
    lines = [f"NOT TRUE: {sentence(violation.name)}", f"with {violation.setup}:", start(run)]
    for event in violation.history:
        before = run.stage
        try:
            lines.append(line(run, run.handle(event), signals.name))
        except Exception as error:  # noqa: BLE001 (whatever it was, it is the last line)
            lines.append(f"{line(run, Decision(event, before, run.stage, '', ()), signals.name)} / {error!r}")
    return "\n".join(lines)


def sentence(name: str) -> str:
    return str(globals()[name].__doc__).strip()


def verify(explorations: Iterable[Found]) -> Found:
    """Add them up, to the first that violates a property."""
    total = Found(0, 0, Counter())
    for found in explorations:
        states, transitions = total.states + found.states, total.transitions + found.transitions
        total = Found(states, transitions, total.checked + found.checked, found.violation)
        if found.violation:
            break
    return total


def main() -> None:
    """Print what was checked how often, or what does not hold."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.proofs.verify", description="Check every state of the lifecycle."
    )
    parser.add_argument("--short", action="store_true", help="two commands, and two steps of two signals, at most")
    start = time.monotonic()
    if parser.parse_args().short:
        setups = SHORT
        with progress("setups", len(SHORT)) as count:
            found = verify(count(map(explore, SHORT)))
    else:
        setups = FULL
        with Pool() as pool, progress("setups", len(FULL)) as count:
            found = verify(count(pool.imap(explore, FULL)))
    if found.violation:
        sys.exit(told(found.violation))
    for name in [holds.__name__ for holds in PROPERTIES + IN_EXITED] + [exit_is_always_in_reach.__name__]:
        print(f"{found.checked[name]:>11,}  {sentence(name)}")
    size = f"{len(setups)} setups, {found.states:,} states, {found.transitions:,} transitions"
    print(f"{size}, {time.monotonic() - start:.0f} s: all true")


if __name__ == "__main__":
    main()
