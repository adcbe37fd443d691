"""The lifecycle is checked exhaustively. `python -m tests.proofs.verify [--short]`.

The real `Lifecycle` runs in a small world. The search visits every state that the two can reach together, breadth
first. From each state it hands every event that the world can produce to `handle`, and checks every property below.
Nothing is sampled. If a property does not hold, the program prints it, with the shortest history that leads there in
the first setup where it fails, and exits 1.

The world. A setup is a list of steps (each list of one to three of SIGTERM, SIGINT, SIGKILL), one to three commands,
how many of them could be started, their roles, the signals of its own that one of them may have, and the seconds
between steps. These events can happen, in any order:

    command_ended    A living command ends, alone or with others in one event, in every order. It exits 0, it exits 3,
                     or, for each signal n of this world, it dies of n or exits 128 + n, whether or not n was sent to
                     it. The signals of this world are those of the steps, one that is only ever forwarded, and one
                     that is never sent. A command may also ignore everything and not end.
    forward          Each signal of the steps that can be caught, and one that is not a step.
    terminate        By SIGTERM, or by another signal.
    orphans_adopted  One orphan, or two at a time, while a step is in force. Each may have been asked late before.
    orphans_ended    One orphan dies of SIGKILL and one exits with a code, while a step is in force.
    timeout          While a clock runs that was not set to infinity. No descendant is left unasked, or two are. Here
                     the event names them at any timeout; the loop looks for them only when the machine can ask them.
    drained          When no command, also no sidecar, is left. Orphans may have died unseen, or there were none.
    suspend          While all commands run.
    resume           At any time.
    strays           Events that cannot happen or mean nothing: a timeout or orphans in RUNNING, the end of orphans
                     there, drained before DRAINING, suspend while stopping, and anything in EXITED. These must
                     change nothing.

If a command could not be started, the first event says so, as in the loop. Forwards, terminates and orphans need no
bound: the number of states is finite without one, so any number of these events is covered. The machine does not
remember orphans. That every orphan gets the signal of every step therefore follows from two properties: a step that
begins is sent to every child, and an orphan that is adopted later is sent it then.

Which states count as the same. For a dead command we compare only whether its end counts and, if so, its code: once
according to `Command.failed`, and once according to our own rule. The machine reads nothing else about it, and a
property checks that what is known of the dead never changes. We compare commands by their place and not by their
number: first the dead in the order of their ends, then the others. Of the signal that told muinit to stop we compare
only whether there was one. The machine never compares either of these two numbers with anything. The orphans that were
left behind or killed are remembered for the last line alone, so we leave them out; a property checks that the killed
ones are remembered. The times (`ended_at`, `step_at`, `told_at`) are always 0: they decide nothing. Everything else in
the machine, and everything in the world, distinguishes states.

There is one more saving. A command that ends alone dies of each signal, and exits 128 + each. If several commands end
in one event, each of them dies of only one of the signals that it was sent by the same will, and of only one that it
was not sent. A test explores small setups without the first saving, and finds the same.

The rule of the exit code is stated a second time, in `counts` and `expected_code`. They use only what the world saw:
which command was sent what and by whose will, how each one ended, and in what order. They know nothing of the machine.
They leave out SIGCONT: it follows a step's signal to wake stopped processes, and no process dies of it.

Not covered here: time (we check only that clocks are set, and to what), the loop, and its races with the kernel.
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
FIRST = 100  # the pid of command 0
ORDER = list(State)
OURS, ASKED = "on our own initiative", "because we were asked"

Sent = tuple[tuple[int, str], ...]  # each signal, with the will by which it was sent last: OURS or ASKED


class Setup(NamedTuple):
    """What one exploration starts from."""

    commands: int
    started: int
    steps: tuple[int, ...]
    timeout: float
    may_end: int = 0  # how many, the last ones
    success: tuple[int, ...] = ()  # the codes that count as 0
    sidecars: int = 0  # how many, the first ones
    mine: tuple[tuple[int, str], ...] = ()  # the own signals of command 0, with their targets
    heeds: str = ""  # if HUP is forwarded to command 0 alone: the target
    target: str = "child"  # of a forwarded signal
    step_target: str = "child"  # of each step
    own: tuple[float, ...] = ()  # the seconds of each step, if they have their own

    def signal(self, index: int, step: int) -> int:
        """The signal that a command gets in a step: docs/design.md, rule 32."""
        if index == 0 < step <= len(self.mine):
            return self.mine[step - 1][0]
        return self.steps[min(step, len(self.steps)) - 1]

    def ends_run(self, index: int, ending: Ending) -> bool:
        """Whether this end of a command stops the others."""
        may_end = index >= self.commands - self.may_end
        return not (may_end and not ending.failure and ending.code in (0, *self.success))

    @property
    def times(self) -> list[float]:
        """How long each step waits: at least 1 s for a last SIGKILL, because a killed process needs a moment to die."""
        *others, last = self.given
        return [*others, max(last, 1.0) if self.steps[-1] == KILL else last]

    @property
    def given(self) -> tuple[float, ...]:
        """The seconds that the command line gives each step."""
        return self.own or (self.timeout,) * len(self.steps)

    def __str__(self) -> str:
        names = ",".join(map(signals.name, self.steps))
        missing = f" ({self.started} could be started)" if self.started < self.commands else ""
        missing += f" ({self.may_end} may end)" if self.may_end else ""
        missing += f" (sidecars: {self.sidecars})" if self.sidecars else ""
        missing += " (HUP is for command 0)" if self.heeds else ""
        missing += f" (own signals: {self.mine})" if self.mine else ""
        missing += f" (seconds: {self.own})" if self.own else ""
        missing += f" (success: {self.success})" if self.success else ""
        return f"commands: {self.commands}{missing}, steps: {names}, {self.timeout:g} s each"


def every_setup(alphabet: tuple[int, ...], longest: int, commands: int) -> list[Setup]:
    """All step lists up to this length, with up to this many commands; with up to two also times of 0 and infinity."""
    found = []
    for count in range(1, commands + 1):
        for length in range(1, longest + 1):
            for steps in product(alphabet, repeat=length):
                found += [Setup(count, started, steps, 2.0) for started in range(count, -1, -1)]
                found += [Setup(count, count, steps, timeout) for timeout in (0.0, math.inf) if count < 3]
                if length < 3:
                    found += [Setup(count, count, steps, 2.0, may_end) for may_end in range(1, min(count, 2) + 1)]
                    found += sidecar_setups(count, steps)
                if count == 1 and length == 1:
                    found += [Setup(count, count, steps, 2.0, target=target) for target in ("group", "tree")]
                    found += [Setup(count, count, steps, 2.0, step_target=target) for target in ("group", "tree")]
                if count == 1:
                    found.append(Setup(count, count, steps, 2.0, own=(5.0, 0.5, math.inf)[-length:]))
                if length == 1 and count < 3:
                    found.append(Setup(count, count, steps, 2.0, count - 1, (3, 143)))
    return found


def sidecar_setups(count: int, steps: tuple[int, ...]) -> list[Setup]:
    """With sidecars, and with a command that has signals of its own."""
    found = []
    if count == 2:
        found += [Setup(2, 2, steps, 2.0, sidecars=1)]
    if count == 2 and len(steps) == 1:
        found += [Setup(2, started, steps, 2.0, sidecars=1) for started in range(2)]
        found += [Setup(2, 2, steps, timeout, sidecars=1) for timeout in (0.0, math.inf)]
        found += [Setup(2, 2, steps, 2.0, 1, sidecars=1), Setup(2, 2, steps, 2.0, success=(3, 143), sidecars=1)]
    if count == 3 and len(steps) == 1:
        found += [Setup(3, 3, steps, 2.0, sidecars=2), Setup(3, 3, steps, 2.0, 1, sidecars=1)]
    if steps[0] != KILL and (count == 1 or (count == 2 and len(steps) == 1)):
        found += [Setup(count, count, steps, 2.0, heeds="tree")] if len(steps) == 1 else []
        mine = ((INT, "group"),)
        found += [Setup(count, count, steps, 2.0, mine=mine, sidecars=sidecars) for sidecars in range(count)]
    return found


FULL = every_setup((TERM, INT, KILL), longest=3, commands=3)
SHORT = every_setup((TERM, KILL), longest=2, commands=2)


# The world


class World(NamedTuple):
    """What has happened, in the world's own terms.

    `sent` has what was sent to each living command, and None for the others. `ended` has the dead commands in the order
    of their ends, each with its code if its end counts, else 0. `step` counts from the last start of the steps: it is 1
    then, and each timeout adds one. A timeout that asks descendants late adds nothing, but sets `late` until the next
    step. `clock` is what the clock was set to, if it runs. `waits` is the sum of these times since step 1. `over` says
    that no command but sidecars is left, or that their steps have run out; `anew`, that the steps have begun again for
    the sidecars because of that.
    """

    sent: tuple[Sent | None, ...]
    ended: tuple[tuple[int, int], ...] = ()
    told: bool = False
    step: int = 0
    late: bool = False
    clock: float | None = None
    waits: float = 0.0
    over: bool = False
    anew: bool = False

    @property
    def alive(self) -> tuple[int, ...]:
        return tuple(index for index, sent in enumerate(self.sent) if sent is not None)

    def spared(self, setup: Setup) -> tuple[int, ...]:
        """The sidecars that a step leaves out: docs/design.md, rule 33."""
        return () if self.over else tuple(index for index in self.alive if index < setup.sidecars)


def counts(ending: Ending, sent: Sent, success: tuple[int, ...] = ()) -> bool:
    """Whether this end of a command is a failure: docs/design.md, rules 20 and 21. `sent` is what it had been sent."""
    if ending.code == 0 or (ending.code in success and not ending.failure):
        return False
    if ending.code <= 128:
        return True  # the program's own code, which counts even while it is being stopped
    death = ending.code - 128  # reported by the kernel, or by the program itself, as shells and JVMs do
    return (death, OURS) not in sent


def expected_code(world: World) -> int:
    """The code of the first command whose end counts, else 0: docs/design.md, rule 22."""
    return next((code for _, code in world.ended if code), 0)


def may_ask_late(setup: Setup, world: World) -> bool:
    """Whether a timeout now must ask the descendants that were not asked: docs/design.md, rule 12."""
    until, then = setup.steps[: world.step], setup.steps[world.step :]
    return not world.late and KILL not in until and (not then or then[0] == KILL)


@cache
def received(sent: Sent, signum: int, will: str) -> Sent:
    return tuple(sorted({**dict(sent), signum: will}.items()))


def after(setup: Setup, world: World, event: Event, effects: tuple[Effect, ...]) -> World:
    """The world after this event, once its effects are performed."""
    sent, ended, told, step, late, clock, waits, over, anew = world
    if isinstance(event, CommandEnded):
        left = tuple(None if index in dict(event.endings) else was for index, was in enumerate(sent))
        over = over or all(was is None for was in left[setup.sidecars :])
        for index, ending in event.endings:
            decides = index >= setup.sidecars or not over or bool(ending.failure)
            failed = decides and counts(ending, sent[index] or (), setup.success)
            ended += ((index, ending.code if failed else 0),)
        sent = left
        step = step or (1 if over or any(setup.ends_run(*each) for each in event.endings) else 0)
    elif isinstance(event, Terminate):
        told, step, late = True, 1, False
    elif isinstance(event, Timeout):
        late = bool(event.unasked) and may_ask_late(setup, world)
        step, clock = step + (not late), None
        over = over or (step > len(setup.steps) and any(was is not None for was in sent[: setup.sidecars]))
    if over and not world.over and world.step and any(was is not None for was in sent[: setup.sidecars]):
        step, late, anew = 1, False, True
    will = ASKED if told or isinstance(event, Forward) else OURS
    if isinstance(event, Terminate) or not world.step or anew != world.anew:
        waits = 0.0
    now = World(sent, ended, told, step, late, clock, waits, over, anew)
    for effect in effects:
        if isinstance(effect, Relay):
            alone = setup.heeds and effect.signum == HUP
            sent = tuple(
                was if was is None or (alone and index) else received(was, effect.signum, will)
                for index, was in enumerate(sent)
            )
        elif isinstance(effect, SendStep) and effect.pids is None:
            spared = now.spared(setup)
            sent = tuple(
                was if was is None or index in spared else received(was, setup.signal(index, step), will)
                for index, was in enumerate(sent)
            )
        elif isinstance(effect, SetClock):
            clock, waits = effect.seconds, waits + effect.seconds
    return World(sent, ended, told, step, late, clock, waits, over, anew)


@cache
def endings(sent: Sent, steps: tuple[int, ...], *, alone: bool) -> list[Ending]:
    """The ways in which a command that was sent these signals can end."""
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
    """Every event in which living commands end. `first` is a command that could not be started: it comes first."""
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
    """The loop never forwards SIGTERM, but the machine does not know that. As a step, SIGTERM stands for any signal."""
    return [Forward(signum) for signum in dict.fromkeys((*steps, HUP)) if signum != KILL]


TERMINATES = [Terminate(TERM), Terminate(USR1)]
ADOPTIONS = [OrphansAdopted(50), OrphansAdopted(50, 51, asked=(51,)), OrphansAdopted(50, asked=(50,))]
ORPHANS_END = [OrphansEnded((50, Ending(3)), (51, Ending(137, KILL)))]
TIMEOUTS = [Timeout(), Timeout(60, 61)]
BELOW = Timeout(60, 61, 62, below=(50, FIRST, 50))  # where a command has signals of its own
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
        yield from [BELOW, *TIMEOUTS] if setup.mine else TIMEOUTS
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
        yield from [Drained()] if not world.over else []


# The machine: how its states are saved, restored and compared

Memory = tuple[Ending | None, bool, int, int, tuple[tuple[int, bool], ...]]
Saved = tuple[State, int, bool, bool, bool, int, int, int | None, tuple[int, ...], tuple[Memory, ...]]


def begin(setup: Setup) -> Lifecycle:
    often = setup.commands - setup.may_end
    started = [
        Command(
            [f"c{index}"],
            FIRST + index,
            success=setup.success,
            may_end=index >= often,
            sidecar=index < setup.sidecars,
            steps=() if index else setup.mine,
            forward={} if index or not setup.heeds else {HUP: setup.heeds},
        )
        for index in range(setup.started)
    ]
    missing = [
        Command([f"c{index}"], None, sidecar=index < setup.sidecars) for index in range(setup.started, setup.commands)
    ]
    return Lifecycle(
        [*started, *missing],
        setup.steps,
        setup.given,
        targets=dict.fromkeys((*setup.steps, HUP), setup.target),
        step_targets=(setup.step_target,) * len(setup.steps),
    )


def save(run: Lifecycle) -> Saved:
    """All that a run remembers and that matters, but not the row last taken, nor the effects that `handle` returns."""
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
        tuple((it.ending, it.counts, it.step, it.told, tuple(it.own_signals.items())) for it in commands),
    )


def put_back(run: Lifecycle, saved: Saved) -> None:
    run.state, run.step, run.again, run.asked, run.killing, run.told, run.code, decider, ended, memories = saved
    run.decider = None if decider is None else run.commands[decider]
    run.ended = [run.commands[index] for index in ended]
    for command, (ending, counts, step, told, own_signals) in zip(run.commands, memories, strict=True):
        command.ending, command.counts, command.step, command.told = ending, counts, step, told
        command.own_signals = dict(own_signals)


def key(run: Lifecycle, world: World) -> object:
    """What distinguishes this state from others; see "Which states count as the same" above."""
    place = {index: number for number, (index, _) in enumerate(world.ended)}
    for index in range(len(run.commands)):
        place.setdefault(index, len(place))
    commands = [run.commands[index] for index in place]
    known = tuple(
        (command.role, command.steps, *command.forward.items(), tuple(sorted(command.own_signals.items())))
        if command.ending is None
        else command.counts and command.failed and command.ending.code
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
    """One event in one state, and what came of it. The properties are checked on each move."""

    setup: Setup
    event: Event
    stray: bool  # whether the event cannot happen, or means nothing
    saved: Saved
    world: World
    looks: bool  # whether the loop would look for descendants that were not asked
    run: Lifecycle  # this, and all that follows, is after the event
    kept: Saved
    now: World
    effects: tuple[Effect, ...]
    error: Exception | None

    @property
    def begins(self) -> bool:
        """Whether a step must begin now; it may be step 1 again."""
        anew = isinstance(self.event, Terminate) or (self.now.step, self.now.anew) != (self.world.step, self.world.anew)
        return not self.stray and anew and self.now.step <= len(self.setup.steps)

    @property
    def asks_late(self) -> bool:
        """Whether the descendants that were not asked must be asked now."""
        late = isinstance(self.event, Timeout) and bool(self.event.unasked) and may_ask_late(self.setup, self.world)
        return not self.stray and late

    @property
    def signal(self) -> tuple[int, ...]:
        """What the step in force sends. SIGCONT wakes stopped processes. SIGKILL needs none: no process acts on it."""
        signum = self.setup.steps[self.now.step - 1]
        return (KILL,) if signum == KILL else (signum, CONT)

    @property
    def spared(self) -> tuple[int, ...]:
        """The pids of the sidecars that a step must leave out now."""
        return tuple(FIRST + index for index in self.now.spared(self.setup))

    @property
    def last(self) -> bool:
        """Whether the event must end the run."""
        over = isinstance(self.event, Timeout) and self.now.step > len(self.setup.steps)
        return not self.stray and (over or isinstance(self.event, Drained))

    def only(self, kind: type[Effect]) -> list[Effect]:
        return [effect for effect in self.effects if isinstance(effect, kind)]


Property = Callable[[Move], bool | None]


def every_event_is_decided(move: Move) -> bool | None:
    """Every event is decided in every live state; none raises an error."""
    return move.error is None


def states_come_in_order(move: Move) -> bool | None:
    """The states come in this order: RUNNING, TERMINATING, DRAINING, EXITED."""
    return ORDER.index(move.saved[0]) <= ORDER.index(move.run.state)


def the_state_says_who_is_alive(move: Move) -> bool | None:
    """RUNNING until a step is sent; TERMINATING while a command but sidecars lives, with steps left; then DRAINING."""
    state = move.run.state
    if move.last:
        return state is State.EXITED
    if not move.now.step:
        return state is State.RUNNING
    return state is (State.DRAINING if move.now.over else State.TERMINATING)


def exit_is_asked_for_once(move: Move) -> bool | None:
    """Exit is asked for once, on entering EXITED, as the last effect, and never in another state."""
    exits = move.only(Exit)
    if move.run.state is State.EXITED:
        return len(exits) == 1 and move.effects[-1] is exits[0]
    return not exits


def nothing_after_the_exit(move: Move) -> bool | None:
    """In EXITED every event raises MachineError, changes nothing and has no effects."""
    return isinstance(move.error, MachineError) and move.kept == move.saved and not move.effects


def steps_come_in_order(move: Move) -> bool | None:
    """Steps come in order, one per timeout; being told to stop begins step 1 again; nothing else changes the step."""
    in_order = move.run.step == min(move.now.step, len(move.setup.steps))
    return in_order and (move.run.again == move.now.late or move.last)


def nobody_is_killed_unasked(move: Move) -> bool | None:
    """Before SIGKILL or the end, descendants not yet asked get the step's signal, once, and its time runs once more."""
    if not isinstance(move.event, Timeout) or move.stray:
        return None
    if move.asks_late:
        groups: dict[int, tuple[int, ...]] = {}
        for pid, above in zip(move.event.unasked, move.event.below or move.event.unasked, strict=True):
            signum = move.setup.signal(above - FIRST, move.now.step)
            groups[signum] = (*groups.get(signum, ()), pid)
        asked = [SendStep(signum, CONT, pids=pids) for signum, pids in groups.items()]
        return move.looks and move.effects == (*asked, SetClock(move.setup.given[move.now.step - 1]))
    late = [effect for effect in move.effects if isinstance(effect, SendStep) and effect.pids is not None]
    return not late and move.looks == may_ask_late(move.setup, move.world)


def a_step_is_sent_to_everybody(move: Move) -> bool | None:
    """A step sends its signal, then SIGCONT, to its target, but to no sidecar that is spared; SIGKILL alone to all."""
    if (isinstance(move.event, OrphansAdopted) and move.now.step) or move.asks_late:
        return None
    if not move.begins:
        return not move.only(SendStep)
    if move.signal == (KILL,):
        return move.only(SendStep) == [SendStep(KILL, target="tree", spared=move.spared)]
    mine = move.setup.mine[move.now.step - 1 : move.now.step]
    own = tuple((FIRST, *each) for each in mine if 0 in move.now.alive and FIRST not in move.spared)
    step = SendStep(*move.signal, target=move.setup.step_target, own=own, spared=move.spared)
    return move.only(SendStep) == [step]


def the_adopted_are_signalled(move: Move) -> bool | None:
    """Every orphan that is adopted during a step gets the step's signal at once, and no orphan gets it twice."""
    if not isinstance(move.event, OrphansAdopted) or not move.now.step:
        return None
    missed = tuple(pid for pid in move.event.pids if pid not in move.event.asked)
    killed = move.signal == (KILL,)
    kill = SendStep(KILL, target="tree", spared=move.spared)
    expected = (kill if killed else SendStep(*move.signal, pids=missed),)
    return move.effects == (expected if missed else ())


def a_step_has_a_clock(move: Move) -> bool | None:
    """Only a step that begins sets the clock, to its own time; SIGKILL as the last step has at least 1 s."""
    if move.asks_late:
        return None
    if not move.begins:
        return not move.only(SetClock)
    return move.effects[1:] == (SetClock(move.setup.times[move.now.step - 1]),)


def a_clock_runs_while_stopping(move: Move) -> bool | None:
    """A clock runs from the first step to the exit, and never before."""
    if move.run.state is State.EXITED:
        return None
    return (move.now.clock is not None) == (move.now.step > 0)


def time_is_bounded(move: Move) -> bool | None:
    """A stop ends within the time of all steps, and of one step once more, after the last start of the steps."""
    in_steps = move.now.step <= len(move.setup.steps) or move.run.state is State.EXITED
    return in_steps and move.now.waits <= sum(move.setup.times) + max(move.setup.given)


def forward_only_relays(move: Move) -> bool | None:
    """A forwarded signal, and nothing else, is relayed, to those it is for. It changes neither state nor step."""
    if isinstance(move.event, Forward):
        relay = Relay(move.event.signum, move.setup.target)
        if move.setup.heeds and move.event.signum == HUP:
            relay = Relay(HUP, some=((FIRST, move.setup.heeds),) if 0 in move.world.alive else ())
        return move.effects == (relay,) and move.kept[:5] == move.saved[:5]
    return not move.only(Relay)


def suspend_and_resume_do_just_that(move: Move) -> bool | None:
    """Only suspend suspends the commands, while all run; only resume resumes all; neither changes anything else."""
    asked = [*move.only(SuspendAll), *move.only(ResumeAll)]
    if move.stray or not isinstance(move.event, Suspend | Resume):
        return not asked
    effect = SuspendAll() if isinstance(move.event, Suspend) else ResumeAll()
    return move.effects == (effect,) and move.kept == move.saved


def little_ends_running(move: Move) -> bool | None:
    """In RUNNING only terminate and command_ended change the state or the step."""
    if move.saved[0] is not State.RUNNING or isinstance(move.event, Terminate | CommandEnded):
        return None
    return move.run.state is State.RUNNING and move.run.step == 0


def strays_change_nothing(move: Move) -> bool | None:
    """An event that cannot happen, or that means nothing, changes nothing and has no effects."""
    return move.kept == move.saved and not move.effects if move.stray else None


def the_dead_stay_as_they_were(move: Move) -> bool | None:
    """What is known of a dead command never changes: how it ended, in which step, and what it had been sent."""
    return all(move.kept[-1][index] == move.saved[-1][index] for index, _ in move.world.ended)


def every_end_is_remembered(move: Move) -> bool | None:
    """No exit status is lost: each is kept in order, with the step in force and the signal that had told us to stop."""
    if not isinstance(move.event, CommandEnded) or move.stray:
        return None
    commands = move.run.commands
    known = [(commands[index].ending, commands[index].step, commands[index].told) for index, _ in move.event.endings]
    return known == [(ending, move.world.step, move.saved[5]) for _, ending in move.event.endings] and (
        move.run.ended == [commands[index] for index, _ in move.now.ended]
    )


def terminate_is_remembered(move: Move) -> bool | None:
    """The first signal that told muinit to stop is remembered, and no other event counts as being told."""
    if move.error:
        return None
    told = move.event.signum if isinstance(move.event, Terminate) else 0
    return move.run.told == (move.saved[5] or told)


def a_kill_is_remembered(move: Move) -> bool | None:
    """A SIGKILL that was sent after another signal is remembered, and so are the orphans that it ended."""
    if move.error:
        return None
    sent = {effect.signums[0] for effect in move.effects if isinstance(effect, SendStep) and effect.pids is None}
    asked = move.saved[3] or bool(sent - {KILL})
    killing = move.saved[4] or (KILL in sent and asked)
    dead = move.event.endings if isinstance(move.event, OrphansEnded) else ()
    killed = [pid for pid, ending in dead if killing and ending.signum == KILL]
    return (move.run.asked, move.run.killing, [pid for pid, _ in move.run.killed]) == (asked, killing, killed)


def the_code_is_chosen_at_the_last_end(move: Move) -> bool | None:
    """The exit code is chosen when no command but sidecars is left, or their steps are over, and not before."""
    if move.run.state is State.EXITED:
        return None
    return move.run.code == (expected_code(move.now) if move.now.over else 0)


def the_exit_code_is_right(move: Move) -> bool | None:
    """The exit code is that of the first command whose end counts, else 0; or 1 if something outlived the steps."""
    if not move.last:
        return None
    if isinstance(move.event, Timeout):
        return move.only(Exit) == [Exit(1, gave_up=True)] and move.run.code == 1 and move.run.decider is None
    first = next((move.run.commands[index] for index, code in move.now.ended if code), None)
    code = expected_code(move.now)
    return move.only(Exit) == [Exit(code)] and move.run.code == code and move.run.decider is first


def exit_is_always_in_reach(exits: set[int], sources: list[set[int]]) -> set[int]:
    """EXITED can be reached from every state."""
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
    """A property that does not hold, with the shortest history that shows it."""

    name: str
    setup: Setup
    history: list[Event]


class Found(NamedTuple):
    """What an exploration found."""

    states: int
    transitions: int
    checked: Counter[str]
    violation: Violation | None = None


class Outcome(NamedTuple):
    """What came of one event in one state."""

    event: Event
    stray: bool
    broken: str  # the first property that does not hold, or ""
    checked: tuple[str, ...]  # the properties that had an answer
    key: object  # what distinguishes the state that it leads to; None for a stray, which leads nowhere
    kept: Saved
    now: World


Outcomes = Callable[[Setup, Lifecycle, Saved, World], Iterable[Outcome]]


def take(setup: Setup, run: Lifecycle, saved: Saved, world: World, event: Event, *, stray: bool) -> Move:
    """Put the run into this state, and hand it one event."""
    put_back(run, saved)
    run.arc = None  # if no row is taken, `handle` shall notice it, and not return the row of an earlier event
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


def events(setup: Setup, world: World, state: State) -> Iterator[tuple[Event, bool]]:
    """All events that are handed to the machine in this state, each with whether it is a stray."""
    for event in strays(setup, world, state):
        yield event, True
    if state is not State.EXITED:
        for event in possible(setup, world):
            yield event, False


def outcome(setup: Setup, run: Lifecycle, saved: Saved, world: World, event: Event, *, stray: bool) -> Outcome:
    """Hand this event to the machine, and check every property, up to the first that does not hold."""
    move = take(setup, run, saved, world, event, stray=stray)
    checked = []
    broken = ""
    for holds in IN_EXITED if saved[0] is State.EXITED else PROPERTIES:
        answer = holds(move)
        if answer is not None:
            checked.append(holds.__name__)
            if not answer:
                broken = holds.__name__
                break
    leads_to = None if stray or broken else key(run, move.now)
    return Outcome(event, stray, broken, tuple(checked), leads_to, move.kept, move.now)


def outcomes(setup: Setup, run: Lifecycle, saved: Saved, world: World) -> Iterator[Outcome]:
    """What comes of each event in this state."""
    for event, stray in events(setup, world, saved[0]):
        yield outcome(setup, run, saved, world, event, stray=stray)


def explore(setup: Setup, outcomes: Outcomes = outcomes) -> Found:
    """Visit every state that can be reached, and check every property for every event in it."""
    run, start = begin(setup), World(tuple(() if n < setup.started else None for n in range(setup.commands)))
    nodes: list[tuple[Saved, World]] = [(save(run), start)]
    numbers = {key(run, start): 0}
    sources: list[set[int]] = [set()]  # for each node, the nodes that lead to it
    came: list[tuple[int, Event]] = []  # for each node but the first, from which node it was found, and by which event
    exits: set[int] = set()
    answers: Counter[tuple[str, ...]] = Counter()  # how often the same properties were checked together
    transitions = 0

    def found(violation: Violation | None = None) -> Found:
        checked: Counter[str] = Counter()
        for names, times in answers.items():
            checked.update(dict.fromkeys(names, times))
        return Found(len(nodes), transitions, checked, violation)

    def broken(name: str, node: int, *last: Event) -> Found:
        history = list(last)
        while node:
            node, event = came[node - 1]
            history.insert(0, event)
        return found(Violation(name, setup, history))

    for number, (saved, world) in enumerate(nodes):  # the list grows while we walk it
        if saved[0] is State.EXITED:
            exits.add(number)
        for it in outcomes(setup, run, saved, world):
            transitions += 1
            answers[it.checked] += 1
            if it.broken:
                return broken(it.broken, number, it.event)
            if not it.stray:
                target = numbers.setdefault(it.key, len(nodes))
                if target == len(nodes):
                    nodes.append((it.kept, it.now))
                    sources.append(set())
                    came.append((number, it.event))
                sources[target].add(number)

    reached = exit_is_always_in_reach(exits, sources)
    answers[(exit_is_always_in_reach.__name__,)] += len(nodes)
    if len(reached) < len(nodes):
        return broken(exit_is_always_in_reach.__name__, min(set(range(len(nodes))) - reached))
    return found()


# The report


def told(violation: Violation) -> str:
    """The violation in words. Its history is played once more, for the trace."""
    run = begin(violation.setup)
    lines = [f"NOT TRUE: {sentence(violation.name)}", f"with {violation.setup}:", start(run)]
    for event in violation.history:
        before = run.stage
        try:
            lines.append(line(run, run.handle(event), signals.name))
        except Exception as error:  # noqa: BLE001 (whatever it is, it goes into the last line)
            lines.append(f"{line(run, Decision(event, before, run.stage, '', ()), signals.name)} / {error!r}")
    return "\n".join(lines)


def sentence(name: str) -> str:
    return str(globals()[name].__doc__).strip()


def verify(explorations: Iterable[Found]) -> Found:
    """Add up the explorations, up to the first that violates a property."""
    total = Found(0, 0, Counter())
    for found in explorations:
        states, transitions = total.states + found.states, total.transitions + found.transitions
        total = Found(states, transitions, total.checked + found.checked, found.violation)
        if found.violation:
            break
    return total


def main() -> None:
    """Print how often each property was checked, or the one that does not hold."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.proofs.verify", description="Check every state of the lifecycle."
    )
    parser.add_argument(
        "--short", action="store_true", help="at most two commands, and two steps of SIGTERM or SIGKILL"
    )
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
