"""The real loop and lifecycle, unchanged, run random histories on a simulated kernel; each history is checked.

    python -m tests.proofs.simulate --runs 100000 --jobs 2    what CI runs
    python -m tests.proofs.simulate --runs 1 --seed 4711      one history again, with its trace and what the world did

A seed decides a whole world: the commands and what they do, the options, the signals from outside, and every race
between them.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from errno import ENOENT
from functools import partial
from itertools import pairwise
from math import inf
from typing import TypeVar

from muinit import signals
from muinit.loop import Loop
from muinit.signals import SIGCHLD, SIGCONT, SIGHUP, SIGINT, SIGKILL, SIGTERM, SIGTSTP
from statechart.chart import State
from statechart.effects import Exit, SendStep
from statechart.events import CommandEnded, Ending, Event, OrphansAdopted, Timeout
from statechart.lifecycle import Command, Decision, Lifecycle
from statechart.meanings import NOTHING, meanings
from statechart.traces import write
from statechart.traces.read import TraceError, read
from statechart.traces.replay import replay
from statechart.words.decision import line, start
from statechart.words.verdict import Verdict
from tests.proofs.edges import ROWS, edge_of
from tests.proofs.simkernel import HARMLESS, STOPPED, TICK, Do, EndlessError, Process, Program, SimKernel
from tests.tools.progress import progress

T = TypeVar("T")
Random = Callable[[], float]

SIGQUIT, SIGUSR1, SIGSTOP, SIGPWR = 3, 10, 19, 30
RT = signals.RTMIN + 1
NUMBERS = {signals.name(number): number for number in signals.ALL}
LAST_CALL = 8.0  # seconds; muinit is told to stop by then
ADMIN = 60.0  # seconds; then somebody kills every process, because `-t inf` waits without end


# A world


@dataclass
class World:
    """Everything that is decided before a history begins."""

    programs: list[Program]
    steps: Sequence[int] = (SIGTERM, SIGKILL)
    timeout: float = 2.0
    target: str = "child"  # of every signal that is forwarded
    step_target: str = "child"  # of every step
    own: tuple[float, ...] = ()  # the seconds of each step, if they have their own
    forward: frozenset[int] = frozenset()  # the signals that -s names
    stop_on: frozenset[int] = frozenset()  # the signals that --stop-on names
    rewrite: dict[int, int] = field(default_factory=dict)  # the pairs of --rewrite
    heeds: dict[int, tuple[int, str]] = field(default_factory=dict)  # by index: a signal for this command, its target
    success: frozenset[int] = frozenset()  # the codes of --success-codes
    may_end: frozenset[int] = frozenset()  # the indexes of the commands with --may-end
    sidecars: frozenset[int] = frozenset()  # the indexes of the commands with --sidecar
    mine: dict[int, tuple[int, str]] = field(default_factory=dict)  # by index: the own signal of step 1, its target
    pid1: bool = False
    proc: bool = True
    terminal: bool = False
    stoppable: bool = True  # Ctrl-Z stops muinit, as it does if a shell with job control waits for muinit
    unstartable: int = -1  # the index of the command that is not found, or -1
    labels: bool = False  # whether a process labels the output
    watched: bool = False  # a trace is read
    pids: int = 1000  # these three: see `SimKernel`
    lively: float = 0.0
    crowded: float = 0.0
    outside: list[tuple[float, str, int]] = field(default_factory=list)

    def __str__(self) -> str:
        steps = ",".join(f"{signals.name(n)}:{time:g}" for n, time in zip(self.steps, self.times, strict=True))
        options = [f"-k {steps}"]
        options += (
            [f"-s {','.join(signals.name(n) if n else 'all' for n in sorted(self.forward))}"] if self.forward else []
        )
        options += [f"--stop-on {','.join(map(signals.name, sorted(self.stop_on)))}"] if self.stop_on else []
        options += [f"-r {source}:{target}" for source, target in self.rewrite.items()]
        options += [f"-e {','.join(map(str, sorted(self.success)))}"] if self.success else []
        options += (
            [f"--may-end {','.join(self.programs[index].name for index in sorted(self.may_end))}"]
            if self.may_end
            else []
        )
        options += [f"{self.programs[index].name} is a sidecar" for index in sorted(self.sidecars)]
        options += [
            f"step 1 of {self.programs[index].name}: {signals.name(signum)}@{target}"
            for index, (signum, target) in sorted(self.mine.items())
        ]
        options += [
            f"-s {signals.name(signum)}@{target} of {self.programs[index].name}"
            for index, (signum, target) in self.heeds.items()
        ]
        options += [f"forwarded to every {self.target}, steps to every {self.step_target}"]
        options += ["as PID 1"] if self.pid1 else []
        options += [] if self.proc else ["without /proc"]
        options += ["on a terminal"] if self.terminal else []
        options += ["labelled"] if self.labels else []
        options += ["watched"] if self.watched else []
        options += [f"{self.pids} pids, lively {self.lively:g}, crowded {self.crowded:g}"]
        lines = ["; ".join(options), *map(str, self.programs)]
        lines += [f"{at:.3f} s {signals.name(signum)} to {whom}" for at, whom, signum in self.outside]
        return "\n".join(lines)

    @property
    def meanings(self) -> dict[int, str]:
        """What each signal means to muinit (`muinit.__main__`)."""
        return meanings(NUMBERS, self.forward, self.stop_on, named=self.named, init=self.pid1, rewrite=self.rewrite)

    @property
    def named(self) -> set[int]:
        """The signals that are for some commands alone: those that `-s` of one command names, and no other `-s`."""
        found = {signum for signum, _ in self.heeds.values()}
        return set() if 0 in self.forward else found - self.forward

    def passes_on(self, signum: int) -> bool:
        """Whether this signal is forwarded: docs/design.md, rule 5, stated a second time."""
        named = signum in self.forward or (not self.forward and signum == SIGINT and signum not in self.stop_on)
        named = named or (0 in self.forward and signum not in {SIGTSTP, SIGCHLD} | self.stop_on)  # -s all
        return (named or signum in self.named) and signum not in (SIGTERM, SIGCONT)

    def stops_us(self, signum: int) -> bool:
        """Whether this signal tells muinit to stop: docs/design.md, rule 5, stated a second time."""
        if signum == SIGTERM or signum in self.stop_on:
            return True
        if self.passes_on(signum) or signum in HARMLESS | {SIGTSTP}:
            return False
        by_default = signum in (SIGQUIT, SIGPWR, 37) and not self.stop_on
        return by_default or not self.pid1

    @property
    def times(self) -> tuple[float, ...]:
        """The seconds that each step has."""
        return self.own or (self.timeout,) * len(self.steps)

    def seconds(self) -> float:
        """How long all steps take together, if none of them has its time twice."""
        *others, last = self.times
        return sum(others) + (max(last, 1.0) if self.steps[-1] == SIGKILL else last)

    def extension(self) -> float:
        """How much longer they take if a process is asked late: only the step before SIGKILL or the end is repeated."""
        if self.steps[0] == SIGKILL or not self.proc:
            return 0.0
        return self.times[self.steps.index(SIGKILL) - 1 if SIGKILL in self.steps else -1]


def pick(rand: Random, *choices: T) -> T:
    """One of these choices; the first is the simplest."""
    return choices[int(rand() * len(choices)) % len(choices)]


def make_program(rand: Random, name: str, depth: int, *, stuck: bool) -> Program:
    """A random program whose descendants are at most `depth` deep. If `stuck` is true, it may be unkillable."""

    def child(suffix: str) -> Do:
        if depth == 0:
            return Do("say")
        return Do(pick(rand, "fork", "fork", "daemon"), child=make_program(rand, name + suffix, depth - 1, stuck=stuck))

    reactions = {}
    kind = int(rand() * 10)
    if kind >= 5:
        ways = (Do("ignore"), Do("exit", pick(rand, 0, 7)), Do("exit", 143), Do("say"), child("t"))
        reactions[SIGTERM] = ways[kind - 5]
    if rand() > 0.6:
        signum = pick(rand, SIGINT, SIGHUP, SIGUSR1, RT, SIGCONT, SIGTSTP)
        # No exit with 128 + SIGCONT: the lifecycle does not remember the SIGCONT after a step, so it would count.
        told = 3 if signum == SIGCONT else 128 + signum
        reactions[signum] = pick(rand, Do("say"), Do("ignore"), Do("exit", told), Do("exit", 3))
    script: list[tuple[float, Do]] = []
    for number in range(pick(rand, 0, 1, 2, 2, 3, 4)):
        at = pick(rand, 0.0, 0.0, 0.1, 0.4, 1.0, 2.5)
        kind = int(rand() * 12)
        if kind < 7:
            script.append((at, child(str(number))))
        elif kind == 7:
            script.append((at, Do("setsid")))
        elif kind == 8:
            script.append((at, Do("stop")))
        elif kind == 9:
            script.append((at, Do("exit", pick(rand, 0, 0, 3, 143, 137))))
        elif kind == 10:
            script.append((at, Do("die", pick(rand, SIGTERM, SIGKILL, 11, SIGINT))))
        elif rand() > 0.8:
            script.append((at, Do("setuid")))
    program = Program(name, reactions, script)
    if rand() > 0.7:
        program.blocked = frozenset({pick(rand, SIGTERM, SIGINT, SIGHUP)})
        program.reaps = pick(rand, 0.2, inf)
        program.subreaper = rand() > 0.7
        program.dying = pick(rand, 0.0, 0.02, 0.05)
        program.stuck = stuck and rand() > 0.95
    return program


def make_world(rand: Random) -> World:
    """A random world."""
    timeout = pick(rand, 2.0, 0.5, 0.1, 0.0, inf)
    names = "ABC"[: pick(rand, 1, 2, 2, 3)]
    # With `-t inf` nothing may be unkillable: muinit would wait for it without end.
    world = World([make_program(rand, name, pick(rand, 1, 2, 3), stuck=timeout < inf) for name in names])
    world.timeout = timeout
    world.steps = pick(
        rand,
        (SIGTERM, SIGKILL),
        (SIGTERM, SIGKILL),
        (SIGTERM, SIGKILL),
        (SIGKILL,),
        (SIGHUP, SIGTERM, SIGKILL),
        (SIGINT, SIGKILL),
        (SIGTERM,),
        (SIGKILL, SIGTERM),
    )
    if timeout < inf and rand() > 0.8:
        world.own = tuple(pick(rand, 0.1, 0.0, 0.7, 2.0) for _ in world.steps)
    forward = pick(rand, (), (SIGINT,), (SIGINT, SIGHUP), (RT, SIGINT), (SIGTERM, SIGUSR1), (SIGCONT, SIGTSTP), (0,))
    stop_on = pick(rand, (), (), (), (SIGQUIT,), (SIGINT,), (SIGUSR1, SIGHUP))
    world.stop_on = frozenset(stop_on)
    world.forward = frozenset(forward) - world.stop_on
    world.step_target = pick(rand, "child", "child", "group", "tree")
    world.target = pick(rand, "child", "child", "group", "tree")
    swap = {SIGINT: SIGUSR1, SIGUSR1: SIGINT}
    world.rewrite = pick(rand, {}, {}, {}, {SIGHUP: SIGTERM}, {SIGQUIT: 0, SIGHUP: 0}, {SIGINT: SIGQUIT}, swap)
    world.success = frozenset(pick(rand, (), (), (), (3,), (143,), (137, 7)))
    world.may_end = frozenset(index for index in range(len(names)) if rand() > 0.85)
    if len(names) > 1 and rand() > 0.75:
        world.sidecars = frozenset(index for index in range(pick(rand, 1, len(names) - 1))) - world.may_end
    if world.steps[0] != SIGKILL and rand() > 0.8:
        target = pick(rand, "child", "group", "tree")
        world.mine = {int(rand() * len(names)): (pick(rand, SIGINT, SIGHUP, SIGUSR1, SIGTERM), target)}
    if rand() > 0.8:
        signum = pick(rand, SIGHUP, SIGUSR1, SIGINT, SIGQUIT)
        if signum not in world.stop_on:
            world.heeds = {int(rand() * len(names)): (signum, pick(rand, "child", "group", "tree"))}
    world.lively = pick(rand, 0.02, 0.05, 0.1, 0.2, 0.4, 0.0)
    kind = rand()
    if kind > 0.6:
        world.pids = pick(rand, 40, 12, 7)
        world.crowded = pick(rand, 0.0, 0.5, 0.9)
    kind = rand()
    if kind > 0.9:
        world.proc = False
    elif kind > 0.75:
        world.terminal = True
        world.pid1 = rand() > 0.5
    elif kind > 0.5:
        world.pid1 = True
    world.stoppable = not world.pid1 and rand() < 0.8
    if rand() > 0.93:
        world.unstartable = int(rand() * len(world.programs))
    for _ in range(int(rand() * 6)):
        at = rand() * 4
        if rand() > 0.5:
            target, signum = "anybody", pick(rand, SIGTERM, SIGKILL, SIGSTOP, SIGCONT, SIGINT, SIGUSR1)
        elif world.terminal and rand() > 0.5:
            target, signum = "foreground", pick(rand, SIGINT, SIGTSTP)
        else:
            others = SIGTERM, SIGINT, SIGHUP, RT, SIGUSR1, SIGCONT, SIGTSTP, SIGQUIT, SIGPWR, 37
            target, signum = "muinit", pick(rand, *others, *sorted(world.forward - {0}))
        world.outside += [(at, target, signum)] * pick(rand, 1, 1, 2)
    world.watched = rand() > 0.5
    if rand() > 0.8:
        world.labels = True
        deaths = range(pick(rand, 0, 1, 2))
        world.outside += [(pick(rand, 0.3, 1.1, 2.7, 8.2), "labeller", SIGKILL) for _ in deaths]
    return world


# A history


@dataclass
class Window:
    """The time between the return of one wait() and the next call of wait().

    `stayed` are the processes that were children of muinit, and alive, from the start of the window to its end. `tree`
    are the descendants that were alive all that time, if they and all their ancestors kept their parents. `step` is the
    signal of the step in force at the end, or 0. `since` is the number of the call from which that step was in force.
    If muinit has looked for descendants that had not been asked, `looked` are those that it must have found, with the
    signals of which they must get one: all that were alive from the start until then and kept their parents. `number`
    is the number of the step. `spared` are the processes that a step may leave out: those of sidecars, at the start or
    the end; `own` those in the tree whose command has a signal of its own for the step.
    """

    start: int
    end: int
    arrived: list[int]
    stayed: list[Process]
    tree: list[Process]
    step: int
    since: int
    looked: list[tuple[Process, set[int]]]
    number: int
    spared: set[Process]
    own: set[Process]


class Traced(Lifecycle):
    """A lifecycle that reports every decision, even if muinit itself has no reader for it."""

    def __init__(
        self,
        commands: list[Command],
        steps: Sequence[int],
        times: Sequence[float],
        tell: Callable[[Decision], None],
        before: Callable[[Event], None],
        target: str,
        step_target: str,
    ) -> None:
        super().__init__(
            commands, steps, times, targets=dict.fromkeys(signals.ALL, target), step_targets=[step_target] * len(steps)
        )
        self._tell = tell
        self._before = before

    def handle(self, event: Event) -> Decision:
        self._before(event)
        taken = super().handle(event)
        self._tell(taken)
        return taken


class History:
    """One run of muinit in a world, and what is known about it afterwards."""

    def __init__(
        self, world: World, rand: Random, loop: type[Loop] = Loop, log: Callable[[str], None] | None = None
    ) -> None:
        self.world = world
        self.trace: list[str] = []
        self.taken: list[Decision] = []
        self.warnings: list[str] = []
        self.windows: list[Window] = []
        self.vain: list[str] = []  # processes that a step was to be repeated for, though muinit may not signal them
        self.wakes: list[list[int]] = []  # the signals that each wait() returned
        self.frozen: list[float] = []  # when muinit went to sleep while a stopped command had the foreground
        self.begun = -1.0  # when the steps last began
        self.before = 0  # how many commands were reaped before muinit learned that one could not be started
        self.told = 0  # the number of the call since which muinit has been told to stop, or 0
        self.end: Exit | None = None
        self.survivors: list[str] = []
        self._log = log
        self._wake: tuple[int, list[int]] = (0, [])
        self._parents: dict[Process, Process | None] = {}  # the parent of each descendant at the last wake
        self._step = self._since = self._unstopped = self._rounds = 0
        self._looked: list[tuple[Process, set[int]]] = []
        self._spared: set[Process] = set()  # at the last wake
        self._adopted: set[Process] = set()  # those whose adoption was told
        self.untold: set[Process] = set()  # children that were there for a whole turn, and were not told with a trace
        self.late = 0  # the number of the call after which the steps began again, because those of the others were over
        self.steps: list[tuple[int, int]] = []  # each step: the call after which it was sent, and its signal
        self.kernel = SimKernel(
            rand,
            lively=world.lively,
            pids=world.pids,
            crowded=world.crowded,
            proc=world.proc,
            terminal=world.terminal,
            stoppable=world.stoppable,
            labels=world.labels,
            log=log,
        )
        self.kernel.on_wake = self._on_wake
        self.kernel.on_wait = self._on_wait
        self._loop = loop

    def play(self) -> None:
        """Run muinit from its first command to its exit, set up as `muinit.__main__` does it."""
        kernel, world = self.kernel, self.world
        for at, target, signum in world.outside:
            kernel.at(at, kernel.outside, (target, signum))
        kernel.at(LAST_CALL, kernel.outside, ("muinit", SIGTERM))
        if inf in world.times:
            for after in range(20):
                kernel.at(ADMIN + after, kernel.outside, ("everybody", SIGKILL))
        failure = None
        commands = []
        for index, program in enumerate(world.programs):
            pid = None
            if failure is None:
                try:
                    if index == world.unstartable:
                        raise FileNotFoundError(ENOENT, "No such file or directory")
                    pid = kernel.start(program)
                except OSError as error:
                    failure = (index, Ending(127 if error.errno == ENOENT else 126, failure="was not started"))
            may_end = index in world.may_end
            commands.append(
                Command(
                    [program.name],
                    pid,
                    success=world.success,
                    may_end=may_end,
                    sidecar=index in world.sidecars,
                    steps=[world.mine[index]] if index in world.mine else (),
                    forward=dict([world.heeds[index]]) if index in world.heeds and world.named else {},
                )
            )
        meaning = world.meanings
        kernel.catch(signum for signum, what in meaning.items() if what != NOTHING)
        self.failure = failure
        self.lifecycle = Traced(
            commands, world.steps, world.times, self._taken, self._before, world.target, world.step_target
        )
        watch = (lambda _: None) if world.watched else None
        self._say(start(self.lifecycle))
        loop = self._loop(
            kernel, self.lifecycle, meaning, self._say, watch=watch, started_at=0.0, rewrite=world.rewrite
        )
        before = kernel.reap()[0] if failure else []
        self.before = len(kernel.reaped)
        self._on_wake([])
        self.end = loop.run(failure, before)
        self._on_wait()
        kernel.hush()
        self.survivors = loop.survivors()

    def _say(self, line: str) -> None:
        (self.warnings if line.startswith("warning") else self.trace).append(line)
        if self._log is not None:
            self._log(line)

    def _before(self, event: Event) -> None:
        if isinstance(event, Timeout) and self.lifecycle.can_ask_late and self.world.proc:
            spared = self._spared | self._spared_now()
            own = [signum for signum, _ in self.world.mine.values()]
            self._looked = [
                # It may have been asked below a command with a signal of its own, and adopted after that.
                (one, {self.signal(self._top(one), self.lifecycle.step), *(own if self.lifecycle.step == 1 else ())})
                for one in self._parents
                if one is not self.kernel.us and self._stayed(one) and one not in spared
            ]
            self.vain += [
                f"pid {pid}"
                for pid in event.unasked
                if (one := self.kernel.table.get(pid)) and one.beyond and one.beyond_since < self._wake[0]
            ]

    def _taken(self, taken: Decision) -> None:
        self.taken.append(taken)
        if isinstance(taken.event, OrphansAdopted):
            self._adopted.update(self.kernel.table[pid] for pid in taken.event.pids if pid in self.kernel.table)
        for effect in taken.effects:
            if isinstance(effect, SendStep) and effect.pids is None:
                self.steps.append((self.kernel.calls, effect.signums[0]))
        if taken.guard == "sidecars_left":
            self.late = self.kernel.calls
        self._say(line(self.lifecycle, taken, signals.name))

    def _on_wake(self, arrived: list[int]) -> None:
        self.wakes.append(arrived)
        arrived = [counted for signum in arrived if (counted := self.world.rewrite.get(signum, signum))]
        self._wake = (self.kernel.calls, arrived)
        self._parents = {one: one.parent for one in self.kernel.table.values() if one.ours and one.alive}
        self._spared = self._spared_now()
        if any(self.world.stops_us(signum) for signum in arrived):
            self.told = self.told or self.kernel.calls
            self.begun = self.kernel.clock

    def _on_wait(self) -> None:
        start, arrived = self._wake
        lifecycle, us = self.lifecycle, self.kernel.us
        owner = self.kernel.owner_of_the_terminal
        frozen = owner is not None and owner.state == STOPPED and not (owner.unreported or owner.doom or owner.beyond)
        if frozen and lifecycle.state is State.RUNNING:
            self.frozen.append(self.kernel.clock)
        rounds = [one.guard for one in self.taken if one.guard in ("leaves_sidecars", "sidecars_left")]
        told = any(self.world.stops_us(signum) for signum in arrived)
        if (lifecycle.step, len(rounds)) != (self._step, self._rounds) or told:
            self._rounds = len(rounds)
            if self._step == 0 and self.begun < 0:  # a command ended, or could not be started
                self.begun = self.kernel.clock
            self._step, self._since = lifecycle.step, start
        if self._unstopped != self.kernel.unstopped:
            self._unstopped = self.kernel.unstopped
            arrived = [*arrived, SIGCONT]
        step = lifecycle.steps[lifecycle.step - 1] if lifecycle.step else 0
        stayed = [one for one, parent in self._parents.items() if parent is us and one.alive]
        if self.world.watched and self.world.proc and lifecycle.state is State.RUNNING:
            commands = {command.pid for command in lifecycle.commands}
            self.untold.update(one for one in stayed if one.pid not in commands and one not in self._adopted)
        tree = (
            [one for one in self._parents if one is not us and self._stayed(one)]
            if step == SIGKILL or "tree" in (self.world.target, self.world.step_target)
            else []
        )
        spared = self._spared | self._spared_now()
        now = self.kernel.calls
        own = self._below_own(tree)
        self.windows.append(
            Window(start, now, arrived, stayed, tree, step, self._since, self._looked, lifecycle.step, spared, own)
        )
        self._looked = []

    def _spared_now(self) -> set[Process]:
        """The processes of sidecars, if the steps leave them out now."""
        kernel, pids = self.kernel, set(self.lifecycle.spared)
        if not pids:
            return set()
        tops = {one for one in kernel.us.children if one.pid in pids or one.group in pids}
        return {one for one in kernel.table.values() if one.ours and one is not kernel.us and self._above(one) in tops}

    def _above(self, process: Process) -> Process:
        """The child of muinit that a process descends from now."""
        while process.parent is not None and process.parent is not self.kernel.us:
            process = process.parent
        return process

    def _top(self, process: Process) -> Process:
        """The child of muinit that a process descended from at the last wake."""
        while (parent := self._parents.get(process)) is not None and parent is not self.kernel.us:
            process = parent
        return process

    @property
    def signals_of_steps(self) -> set[int]:
        return {*self.world.steps, *(signum for signum, _ in self.world.mine.values())}

    def _below_own(self, tree: list[Process]) -> set[Process]:
        """Those among these that descend from a command with an own signal, if this is the step of that signal."""
        tops = {one for one in self.kernel.commands if one.command in self.world.mine and self.lifecycle.step == 1}
        return {one for one in tree if self._above(one) in tops or self._top(one) in tops}

    def signal(self, top: Process, step: int) -> int:
        """The signal of a step for a child of muinit, and for what is asked late below it."""
        own = self.world.mine.get(top.command) if step == 1 and top.command >= 0 else None
        return own[0] if own else self.world.steps[step - 1]

    def _stayed(self, process: Process) -> bool:
        """Whether this process and its ancestors are still alive, each with the parent that it had at the last wake."""
        while process is not self.kernel.us:
            parent = self._parents.get(process)
            if not process.alive or process.parent is not parent or parent is None:
                return False
            process = parent
        return True


# The properties: what must hold in every history


def the_run_ends_in_time(it: History) -> None:
    """The run ends within the time of all steps, and of one step once more, after the steps last began."""
    assert it.begun >= 0
    slack = it.kernel.calls * TICK + 0.001 * len(it.windows) + it.kernel.suspended
    rounds = 2 if it.world.sidecars else 1
    limit = it.begun + rounds * (it.world.seconds() + it.world.extension()) + slack
    if limit == inf:
        limit = ADMIN + 20
    assert it.kernel.clock <= limit, f"at {it.kernel.clock:.3f}, not {limit:.3f}"


def nobody_is_given_up_before_the_time(it: History) -> None:
    """The run gives up only when the time of every step has run out, and only if a child is left."""
    assert it.end is not None
    if it.end.gave_up:
        slack = it.kernel.calls * TICK
        assert it.kernel.clock >= it.begun + it.world.seconds() - slack, "too early"
        last_look = it.kernel.reaps[-1]
        left = [one for one in it.kernel.us.children if one.ours and (one.alive or one.died > last_look)]
        assert left, "no child was left"


def nothing_survives(it: History) -> None:
    """If the last step is SIGKILL, no descendant is alive at the exit, unless there is one that cannot be killed."""
    alive = living(it)
    if it.world.steps[-1] == SIGKILL and it.world.proc and not any(beyond_us(process) for process in alive):
        assert not alive, ", ".join(f"pid {process.pid} ({process.program.name})" for process in alive)


def survivors_mean_exit_1_and_are_named(it: History) -> None:
    """If a descendant is left alive, the exit status is 1, and every descendant that is left is named."""
    assert it.end is not None
    alive = living(it)
    if alive:
        assert it.end.gave_up
        assert it.end.code == 1
    if it.world.proc:
        named = {text.split()[1] for text in it.survivors}
        assert {str(process.pid) for process in alive} <= named, f"{named} are named"


def no_zombie_is_left(it: History) -> None:
    """Every child that died before muinit last looked was reaped."""
    last_look = it.kernel.reaps[-1]
    left = [child.pid for child in it.kernel.us.children if not child.alive and child.died <= last_look]
    assert not left, f"zombies: {left}"


def no_status_is_lost(it: History) -> None:
    """Each status that the kernel gave is kept, in order; those that were seen together, as on the command line."""
    told = [(command.argv, command.ending.code) for command in it.lifecycle.ended if command.ending and command.pid]
    true = [([process.program.name], code_of(process)) for process in reaped_in_order(it)]
    assert told == true, f"{told} instead of {true}"
    unreaped = [process for process in it.kernel.commands if process not in it.kernel.reaped]
    assert all(process.alive or process.died > it.kernel.reaps[-1] for process in unreaped)


def only_descendants_are_signalled(it: History) -> None:
    """Only descendants of muinit are ever signalled."""
    assert not it.kernel.wronged, ", ".join(it.kernel.wronged)


def every_child_gets_the_steps_signal(it: History) -> None:
    """A child that lived from one wake to the next has got the signal of the step in force, and SIGCONT after it."""
    for window in it.windows:
        for child in window.stayed if window.step else ():
            if it.world.proc or child.command >= 0:
                if child in window.spared:
                    continue
                got = [one for call, one, _ in child.sent if call > window.since]
                signum = it.signal(child, window.number)
                if child.command < 0 and window.number == 1:  # it may have been asked below a command with its own
                    signum = next((one for one in got if one in it.signals_of_steps), signum)
                assert signum in got, f"pid {child.pid} ({child.program.name}) lacks {signum}: {got}"
                if signum != SIGKILL and not child.beyond:
                    assert SIGCONT in got[got.index(signum) :], f"pid {child.pid} was not continued: {got}"


def sidecars_outlive_the_others(it: History) -> None:
    """No step reaches a sidecar before the other commands have ended, or their steps are over."""
    others = [one for one in it.kernel.commands if one.command not in it.world.sidecars]
    for sidecar in (one for one in it.kernel.commands if one.command in it.world.sidecars):
        for call, signum, _ in sidecar.sent:
            if signum in it.signals_of_steps and not it.world.passes_on(signum):
                early = not all(0 < one.died <= call for one in others) and not 0 < it.late <= call
                assert not early, f"pid {sidecar.pid} ({sidecar.program.name}) got {signum} in call {call}"


def a_step_for_the_tree_goes_to_the_whole_tree(it: History) -> None:
    """A step whose target is the tree reaches every descendant that lived through its beginning."""
    for window in it.windows:
        if window.step and window.since == window.start and it.world.proc and it.world.step_target == "tree":
            for process in set(window.tree) - window.spared - window.own:
                got = [signum for call, signum, _ in process.sent if call > window.since]
                assert window.step in got, f"pid {process.pid} ({process.program.name}) lacks {window.step}"


def sigkill_goes_to_the_whole_tree(it: History) -> None:
    """When a step of SIGKILL begins, every descendant that was there before and is still there has got it."""
    for window in it.windows:
        if window.step == SIGKILL and window.since == window.start and it.world.proc:
            for process in set(window.tree) - window.spared:
                got = [signum for call, signum, _ in process.sent if call > window.since]
                assert SIGKILL in got, f"pid {process.pid} ({process.program.name}) lacks it"


def nobody_is_killed_who_was_not_asked(it: History) -> None:
    """Before SIGKILL, and before the end, every descendant that muinit may signal has got the signal of the step."""
    assert not it.vain, f"{it.vain} cannot be asked"
    for window in it.windows:
        begun = max((call for call, _ in it.steps if call <= window.start), default=0)
        for process, wanted in window.looked:
            got = [signum for call, signum, _ in process.sent if begun < call]
            asked = wanted.intersection(got) or process.beyond or not process.alive
            assert asked, f"pid {process.pid} ({process.program.name}) lacks {wanted}: {got}"


def nobody_is_asked_twice(it: History) -> None:
    """No process gets the signal of a step twice before another step, except SIGKILL and forwarded signals."""
    for process in {one for one in it.kernel.everybody if one.ours}:
        for (begun, signum), (over, _) in pairwise([*it.steps, (it.kernel.calls + 1, 0)]):
            got = [one for call, one, _ in process.sent if begun < call <= over]
            for one in {signum, *(own for own, _ in it.world.mine.values())} - {SIGKILL}:
                twice = got.count(one) > 1 and not it.world.passes_on(one)
                assert not twice, f"pid {process.pid} ({process.program.name}) has {one} twice: {got}"


def no_kill_is_silent(it: History) -> None:
    """The last line is printed if our SIGKILL ended a child that had been asked, and not if none died of SIGKILL."""
    first = next((call for call, signum in it.steps if signum != SIGKILL), inf)
    dead = [one for one in [*it.kernel.reaped, *it.kernel.reaped_orphans] if one.status == SIGKILL]
    ours = [[call for call, signum, alive in one.sent if signum == SIGKILL and alive] for one in dead]
    killed = any(calls and first < calls[0] for calls in ours)
    told = Verdict(it.lifecycle, signals.name).noteworthy()
    assert told or not killed, "the last line is missing"
    # A death by SIGKILL does not say who sent the signal: somebody else's SIGKILL may have come before ours.
    hit = bool(dead) and any(signum == SIGKILL and first < call for call, signum in it.steps)
    assert not told or hit or it.lifecycle.left, "the last line should not be printed"


def signals_are_taken_in_order(it: History) -> None:
    """Signals that were pending together are taken lowest number first."""
    assert all(arrived == sorted(arrived) for arrived in it.wakes)


def every_child_gets_what_is_forwarded(it: History) -> None:
    """A forwarded signal reached every child, or every descendant, that lived through it, as often as it came.

    One that leaves its group meanwhile may miss what its group gets: nobody can know whether it was still there.
    """
    for window in it.windows:
        for signum in set(window.arrived):
            if it.world.passes_on(signum) or signum == SIGCONT:
                often = window.arrived.count(signum) if signum != SIGCONT else 1
                whom = window.tree if it.world.target == "tree" and signum != SIGCONT else window.stayed
                if signum in it.world.named:
                    whom = [one for one in window.stayed if one.command in it.world.heeds]
                elif it.world.target == "group" and signum != SIGCONT:
                    whom = [one for one in window.stayed if not window.start < one.left_group <= window.end]
                for child in whom:
                    if it.world.proc or child.command >= 0:
                        got = [one for call, one, _ in child.sent if window.start < call <= window.end]
                        assert got.count(signum) >= often, f"pid {child.pid} lacks {signum}"


def what_is_for_one_command_reaches_no_other(it: History) -> None:
    """A signal that is forwarded to one command reaches no other command, unless a step sends it."""
    for signum in it.world.named - it.signals_of_steps:
        for command in it.kernel.commands:
            if command.command not in it.world.heeds:
                got = [call for call, one, _ in command.sent if one == signum]
                assert not got, f"pid {command.pid} ({command.program.name}) got {signum}"


def the_labeller_is_left_alone(it: History) -> None:
    """The process that labels is never signalled, and it is no command and no orphan: nothing is said of it."""
    for one in it.kernel.everybody:
        if one.program.name == "labeller":
            assert not one.sent, f"the labeller got {one.sent}"
            assert f"pid {one.pid} (labeller" not in " ".join([*it.trace, *it.survivors])


def nobody_who_is_stopped_keeps_the_terminal(it: History) -> None:
    """Until a stop begins, muinit never goes to sleep while a command that is stopped has the foreground."""
    assert not it.frozen


def every_adoption_is_told(it: History) -> None:
    """With a trace and a /proc, every orphan that muinit has for a whole turn before the stop is told of."""
    assert not [one for one in it.untold if one.program.name != "labeller"]


def each_refusal_is_told_once(it: History) -> None:
    """There is one warning for each process that muinit may not signal."""
    if it.world.proc:
        named = [line.partition(" pid ")[2].split()[0] for line in it.warnings if " pid " in line]
        # A refused suspend or resume is no reason to warn.
        asked = {process for process, signum in it.kernel.refused if signum not in (0, SIGTSTP, SIGCONT)}
        assert {str(process.pid) for process in asked} <= set(named), f"{named} are named"
        assert len(named) <= len({process for process, _ in it.kernel.refused}), f"{named} are named"


def every_line_is_a_row(it: History) -> None:
    """Each line of the trace is a row of the table, and the run ends in EXITED."""
    for each in it.trace:
        assert edge_of(each) in ROWS, each
    assert it.lifecycle.state is State.EXITED


def the_trace_can_be_replayed(it: History) -> None:
    """A trace in the format of --trace-file, when it is replayed, leads to the same states and effects."""
    entries = [
        write.header(
            it.lifecycle, it.world.forward - {0}, it.world.stop_on, NUMBERS, muinit="", argv=["muinit"], pid=1, time=0.0
        ),
        *(write.entry(one, signals.name) for one in it.taken),
    ]
    try:
        lifecycle = replay(read(json.dumps(entry) + "\n" for entry in entries))
    except TraceError as error:
        raise AssertionError(error) from error
    assert lifecycle.state is State.EXITED


def the_exit_status_is_true(it: History) -> None:
    """The exit status follows from how the commands really ended: docs/design.md, rules 19, 20, 21, 22 and 23."""
    assert it.end is not None
    allowed = {1} if it.end.gave_up else set(exit_codes(it))
    assert it.end.code in allowed, f"{it.end.code} instead of {allowed}"


PROPERTIES = [
    the_run_ends_in_time,
    nobody_is_given_up_before_the_time,
    nothing_survives,
    survivors_mean_exit_1_and_are_named,
    no_zombie_is_left,
    no_status_is_lost,
    only_descendants_are_signalled,
    every_child_gets_the_steps_signal,
    sidecars_outlive_the_others,
    a_step_for_the_tree_goes_to_the_whole_tree,
    sigkill_goes_to_the_whole_tree,
    nobody_is_killed_who_was_not_asked,
    nobody_is_asked_twice,
    no_kill_is_silent,
    signals_are_taken_in_order,
    every_child_gets_what_is_forwarded,
    what_is_for_one_command_reaches_no_other,
    the_labeller_is_left_alone,
    nobody_who_is_stopped_keeps_the_terminal,
    every_adoption_is_told,
    each_refusal_is_told_once,
    every_line_is_a_row,
    the_trace_can_be_replayed,
    the_exit_status_is_true,
]


def living(it: History) -> list[Process]:
    return [process for process in it.kernel.table.values() if process.ours and process.pid != 1 and process.alive]


def beyond_us(process: Process) -> bool:
    """Whether muinit cannot kill this process. Such a process may still fork, and adopt others."""
    return process.beyond or process.program.stuck


def code_of(process: Process) -> int:
    """The exit status, as a shell would report it."""
    return 128 + process.status if process.status < 128 and process.status else process.status >> 8


def reaped_in_order(it: History) -> list[Process]:
    """The commands that were reaped; those of one event in the order of the command line."""
    left, found = list(it.kernel.reaped), []
    for decision in it.taken:
        if isinstance(decision.event, CommandEnded):
            # One that could not be started parts those that were reaped before it from the others.
            kinds = ["failure" if ending.failure else "end" for _, ending in decision.event.endings]
            first = kinds.index("failure") if "failure" in kinds else 0
            for count in (first, kinds.count("end") - first):
                found += sorted(left[:count], key=lambda process: process.command)
                left = left[count:]
    return found + left


def exit_codes(it: History) -> Iterator[int]:
    """Each exit status that is allowed: the first failure in the order of reaping, else 0.

    This states docs/design.md, rules 22 and 23, a second time. More than one exit status is allowed if nobody can know,
    not even muinit, what a command died of.
    """
    for index, process in enumerate(reaped_in_order(it)):
        if it.failure is not None and index == it.before:
            break
        failed = has_failed(it, process) if decides(it, process) else False
        if failed is not False:
            yield code_of(process)
        if failed:
            return
    if it.failure is not None:
        yield it.failure[1].code
        return
    yield 0


def decides(it: History, process: Process) -> bool:
    """Whether the end of this command can decide: docs/design.md, rule 33, stated a second time."""
    if process.command not in it.world.sidecars:
        return True
    others = {one.command for one in it.kernel.commands} - it.world.sidecars
    for taken in it.taken:
        if taken.guard == "sidecars_left":
            return False
        if isinstance(taken.event, CommandEnded):
            ended = {index for index, _ in taken.event.endings}
            others -= ended
            if process.command in ended:
                return bool(others)
    return False


def has_failed(it: History, process: Process) -> bool | None:
    """Whether the end of this command counts; None if nobody can know.

    The end counts unless its code is 0, or it is a death by a signal that muinit sent to the command on its own
    initiative. Nobody can know in two cases: muinit also forwarded that signal, or sent it after it was told to stop,
    as far as it knew to a living command; or the command died before the signal was sent, but after muinit had last
    asked the kernel for the dead.
    """
    code = code_of(process)
    if code == 0 or code in it.world.success:
        return False
    death = code - 128
    whose = [(call, alive, own(it, process, call, death)) for call, signum, alive in process.sent if signum == death]
    if not any(by_us is not False for _, _, by_us in whose):
        return True
    if forwarded_to_the_dead(it, process, death):
        return None
    if not all(by_us for _, _, by_us in whose):
        return None
    if any(alive for _, alive, _ in whose):
        return False
    first = min(call for call, _, _ in whose)
    return True if any(process.died <= look < first for look in it.kernel.reaps) else None


def forwarded_to_the_dead(it: History, process: Process, signum: int) -> bool:
    """Whether muinit forwarded this signal while the command was dead, but muinit did not know it yet."""
    known = min((look for look in it.kernel.reaps if look >= process.died), default=0)
    return it.world.passes_on(signum) and any(
        signum in window.arrived and window.start < known and process.died <= window.end for window in it.windows
    )


def own(it: History, process: Process, call: int, signum: int) -> bool | None:
    """Whether muinit sent this signal in this call on its own initiative; None if it may also have forwarded it."""
    if (it.told and call > it.told) or signum == SIGTSTP:  # SIGTSTP: Ctrl-Z was typed
        return False
    for window in it.windows:
        if window.start < call <= window.end and signum in window.arrived and it.world.passes_on(signum):
            sent = [one for at, one, _ in process.sent if window.start < at <= window.end and one == signum]
            return False if len(sent) <= window.arrived.count(signum) else None
    return True


# The driver


class BrokenError(AssertionError):
    """A property does not hold."""


def play(rand: Random, loop: type[Loop] = Loop, log: Callable[[str], None] | None = None) -> History:
    """Make a world, play its history, and check it. Raises BrokenError if a property does not hold."""
    world = make_world(rand)
    if log is not None:
        log(str(world))
    it = History(world, rand, loop, log)
    try:
        it.play()
    except EndlessError as error:
        raise BrokenError(f"The run must come to an end: {error}") from error
    for holds in PROPERTIES:
        try:
            holds(it)
        except AssertionError as error:
            raise BrokenError(f"{(holds.__doc__ or '').strip()} {error}") from error
    return it


def play_seed(seed: int, loop: type[Loop] = Loop, log: Callable[[str], None] | None = None) -> History:
    return play(random.Random(seed).random, loop, log)


def play_seeds(seeds: range, *, stop_at_failure: bool = True) -> tuple[Counter[str], list[tuple[int, str]]]:
    """What was seen, and the seeds that failed, each with what is not true in it."""
    seen: Counter[str] = Counter()
    failed: list[tuple[int, str]] = []
    started = time.process_time()
    for seed in seeds:
        seen["histories"] += 1
        try:
            it = play_seed(seed)
        except Exception as error:  # noqa: BLE001 (whatever it is, its seed is reported)
            failed.append((seed, f"{type(error).__name__}: {error}"))
            if stop_at_failure:
                break
            continue
        seen["events"] += len(it.trace) - 1
        seen["system calls"] += it.kernel.calls
        seen["processes"] += it.kernel._serial - 1
        seen["signals sent by muinit"] += it.kernel.sent
        seen["pids given to a stranger as soon as they were free"] += it.kernel.reused
        seen["histories with an adoption during a step"] += any("orphans_adopted" in line for line in it.trace)
        seen["histories in which muinit gave up"] += it.end is not None and it.end.gave_up
        seen["histories with a command that could not be started"] += it.failure is not None
        seen["histories that allow more than one exit status"] += len(set(exit_codes(it))) > 1
    seen["ms"] = round((time.process_time() - started) * 1000)
    return seen, failed


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.proofs.simulate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--runs", type=int, default=10_000, metavar="N", help="histories to play; default: 10000; 1 prints its trace"
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="S", help="the first seed; the others follow; default: 0"
    )
    parser.add_argument("--jobs", type=int, default=1, metavar="J", help="processes at a time; default: 1")
    parser.add_argument("--all", action="store_true", help="go on after a failure")
    options = parser.parse_args(argv)
    if options.runs == 1:
        try:
            play_seed(options.seed, log=print)
        except BrokenError as error:
            print(f"seed {options.seed}: {error}")
            return 1
        return 0
    started = time.monotonic()
    size = 250
    last = options.seed + options.runs
    chunks = [range(first, min(first + size, last)) for first in range(options.seed, last, size)]
    seen: Counter[str] = Counter()
    failed: list[tuple[int, str]] = []
    with multiprocessing.Pool(options.jobs) as pool, progress("histories", len(chunks)) as count:
        for counts, failures in count(pool.imap(partial(play_seeds, stop_at_failure=not options.all), chunks)):
            seen += counts
            failed += failures
            if failed and not options.all:
                break
    seconds = time.monotonic() - started
    print(f"{seen.pop('histories')} histories in {seconds:.1f} s, {seen.pop('ms') / 1000:.1f} s of CPU")
    for what, number in seen.items():
        print(f"{number:9}  {what}")
    for seed, why in failed:
        print(f"seed {seed}: {why}")
        print(f"  play it again: python -m tests.proofs.simulate --runs 1 --seed {seed}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
