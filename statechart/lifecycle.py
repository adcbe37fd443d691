"""What a run remembers; each guard and each action of the chart, by its name; and the rule of the exit status."""

from __future__ import annotations

from statechart.chart import CHART, State
from statechart.effects import CHILD, TREE, Exit, Relay, ResumeAll, SendStep, SetClock, SuspendAll
from statechart.values import Stage, Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from statechart.chart import Arc
    from statechart.effects import Effect
    from statechart.events import (
        CommandEnded,
        Ending,
        Event,
        Forward,
        OrphansAdopted,
        OrphansEnded,
        Terminate,
        Timeout,
    )

SIGKILL = 9  # the same on every Linux architecture (signal(7))
SIGCONT = 18  # the same on all but alpha, mips, parisc and sparc, for which there is no container image of Python

# A killed process still needs a moment to die, so muinit waits at least this many seconds after a last step of SIGKILL.
# Otherwise every run with `-t 0` would give up.
KILL_SECONDS = 1.0

MAY_END, SIDECAR = "may-end", "sidecar"  # the roles that a command can have


class Command:
    """A command: its command line, and what became of it."""

    __slots__ = (
        *("argv", "counts", "ended_at", "ending", "forward", "may_end", "name", "own_signals", "pid"),
        *("reads_nothing", "sidecar", "step", "step_at", "steps", "success", "told"),
    )

    def __init__(
        self,
        argv: Sequence[str],
        pid: int | None,
        *,
        reads_nothing: bool = False,
        name: str = "",
        success: Collection[int] = (),
        may_end: bool = False,
        sidecar: bool = False,
        steps: Sequence[tuple[int, str]] = (),
        forward: Mapping[int, str] | None = None,
    ) -> None:
        self.argv = argv
        self.pid = pid  # None: never started
        self.reads_nothing = reads_nothing  # its stdin is /dev/null, because another command has the terminal
        self.name = name  # "": the program's
        self.success = success  # exit codes that count as 0
        self.may_end = may_end  # its end with 0 does not stop the others
        self.sidecar = sidecar  # it is stopped after the others
        self.steps = steps  # its own signals, with their targets, in place of those of the first steps
        self.forward = forward or {}  # signals that are forwarded to it and not to every command, with their targets
        self.counts = True  # whether its end can decide the exit status
        self.ending: Ending | None = None
        self.ended_at = 0.0
        self.step = 0  # the step that was in force when it ended; 0: none was
        self.step_at = 0.0  # when that step was sent
        self.told = 0  # the signal that had told muinit to stop by then; 0: none had
        self.own_signals: dict[int, bool] = {}  # signal -> whether muinit last sent it on its own initiative

    @property
    def role(self) -> str:
        """MAY_END, SIDECAR, or "": most commands have none."""
        return MAY_END if self.may_end else SIDECAR if self.sidecar else ""

    @property
    def alive(self) -> bool:
        """Whether it was started and has not ended."""
        return self.pid is not None and self.ending is None

    def step_signal(self, step: int, common: int) -> int:
        """The signal that it gets in a step, whose signal is `common` for the other commands."""
        return self.steps[step - 1][0] if step <= len(self.steps) else common

    @property
    def code(self) -> int:
        """Its exit code, where codes that mean success are 0. 127 and 126 for a command that was not started stay."""
        assert self.ending is not None
        return self.code_of(self.ending)

    def code_of(self, ending: Ending) -> int:
        """The same, of an ending that it may have."""
        return 0 if ending.code in self.success and not ending.failure else ending.code

    @property
    def stops(self) -> bool:
        """Whether its end stops the others."""
        return bool(self.code) or not self.may_end

    @property
    def failed(self) -> bool:
        """Whether its end counts as a failure: THE RULE of the exit status.

        It counts if the code is not 0, unless the command died of a signal that muinit sent on its own initiative. An
        exit code of 128 + n is a death by signal n, because JVMs, shells and many runtimes report it so. If muinit was
        told to stop, or to forward a signal, the signals that it sends for that are not its own initiative.
        """
        assert self.ending is not None
        return self.code != 0 and not self.own_signals.get(self.ending.death, False)


def first_failed(ended: Sequence[Command]) -> Command | None:
    """The first command that failed."""
    return next((command for command in ended if command.failed), None)


def first_ended(ended: Sequence[Command]) -> Command | None:
    """The first command that ended, whatever its code. One that may end, and ended with 0, is left out."""
    return next((command for command in ended if command.stops), None)


def original(ended: Sequence[Command]) -> Command | None:
    """The first command whose code is not 0, even if muinit killed it: so does the C tool of the same name."""
    return next((command for command in ended if command.code), None)


# Whose code is the exit status: each policy is given the commands in the order in which they ended.
POLICIES = {"first-failed": first_failed, "first-ended": first_ended, "original": original}


class Decision(Value):
    """A row that was taken: for which event, from which stage to which, under which guard, and what to do now."""

    __slots__ = ("after", "before", "effects", "event", "guard")

    def __init__(self, event: Event, before: Stage, after: Stage, guard: str, effects: tuple[Effect, ...]) -> None:
        self.event = event
        self.before = before
        self.after = after
        self.guard = guard
        self.effects = effects


class Lifecycle:
    """One run: `handle` takes an event and returns what was decided.

    `commands` are those of the command line, in order. `steps` are the numbers of the signals that stop them, at least
    one. `times` are how many seconds each step has, 0 to infinity, or one number for all. `policy` says whose code is
    the exit status (`POLICIES`). `targets` says of a forwarded signal which processes get it, if not every child
    (`statechart.effects`); `step_targets`, the same of each step. SIGKILL always goes to every descendant.
    """

    __slots__ = (
        *("commands", "steps", "times", "policy", "targets", "step_targets"),
        *("state", "arc", "step", "again", "step_at", "told", "told_at", "ended", "decider", "code"),
        *("asked", "killing", "killed", "left"),
        "_effects",
    )

    def __init__(
        self,
        commands: Sequence[Command],
        steps: Sequence[int],
        times: float | Sequence[float],
        policy: str = "first-failed",
        targets: Mapping[int, str] | None = None,
        step_targets: Sequence[str] = (),
    ) -> None:
        self.state = State.RUNNING
        self.arc: Arc | None = None  # the row last taken
        self.commands = commands
        self.steps = steps
        self.times = [times] * len(steps) if isinstance(times, float | int) else times
        self.policy = policy
        self.targets = targets or {}
        self.step_targets = step_targets
        self.step = 0  # 0: none was sent yet
        self.again = False  # whether the step has its time once more, for processes that had not been asked
        self.step_at = 0.0  # when it was sent
        self.told = 0  # the signal that first told muinit to stop; 0: none has
        self.told_at = 0.0
        self.ended: list[Command] = []  # in the order of their end
        self.decider: Command | None = None  # the command whose code is the exit status
        self.code = 0
        # These are for the last line, and decide nothing.
        self.asked = False  # whether a step other than SIGKILL has been sent
        self.killing = False  # whether a step of SIGKILL was sent after that
        self.killed: list[tuple[int, str]] = []  # pid and name of orphans that this SIGKILL ended
        self.left: tuple[tuple[int, str], ...] = ()  # pid and name of orphans of a command that began the stop with 0
        self._effects: list[Effect] = []

    def handle(self, event: Event) -> Decision:
        """Take one event to completion, and return what was decided.

        Raises MachineError in EXITED, where nothing can happen any more; nothing is changed then.
        """
        before = self.stage
        self._effects = []
        CHART.events[event.name].trigger(self, event)
        assert self.arc is not None
        return Decision(event, before, self.stage, self.arc.guard, tuple(self._effects))

    @property
    def stage(self) -> Stage:
        """The state, with the step where one is in force."""
        if self.state in (State.TERMINATING, State.DRAINING):
            return Stage(self.state, self.step, len(self.steps), again=self.again)
        return Stage(self.state)

    @property
    def can_ask_late(self) -> bool:
        """Whether processes that have not had the step's signal would be asked at the timeout of the step.

        They would if SIGKILL comes next, or if no step is left: the exit of a PID 1 is a SIGKILL for all. They are
        asked once per step, and not after SIGKILL has been sent.
        """
        sent, coming = self.steps[: self.step], self.steps[self.step : self.step + 1]
        return not self.again and SIGKILL not in sent and (not coming or coming[0] == SIGKILL)

    @property
    def spared(self) -> tuple[int, ...]:
        """The pids of the living sidecars, as long as the steps leave them out."""
        if self.state is State.DRAINING or not any(command.alive and not command.sidecar for command in self.commands):
            return ()
        return tuple(command.pid for command in self.commands if command.sidecar and command.alive and command.pid)

    # Guards

    def last_command(self, event: CommandEnded) -> bool:
        """Whether no command but sidecars is left alive after these."""
        return all(command.sidecar for command in self._living_after(event))

    def leaves_sidecars(self, event: CommandEnded) -> bool:
        """Whether only sidecars are left alive after these, at least one."""
        return bool(self._living_after(event)) and self.last_command(event)

    def sidecars_left(self, event: Timeout) -> bool:
        """Whether a sidecar is alive that the steps have left out so far."""
        return bool(self.spared)

    def may_go_on(self, event: CommandEnded) -> bool:
        """Whether all of these may end, and have ended with 0, so that the others go on."""
        ends = ((self.commands[index], ending) for index, ending in event.endings)
        return all(command.may_end and command.code_of(ending) == 0 for command, ending in ends)

    def some_unasked(self, event: Timeout) -> bool:
        """Whether a process would be killed, or left alive, that has not been asked to stop."""
        return bool(event.unasked) and self.can_ask_late

    def step_left(self, event: Event) -> bool:
        """Whether there is a step after the one in force."""
        return self.step < len(self.steps)

    # Actions

    def relay(self, event: Forward) -> None:
        """Pass the signal on."""
        signum = event.signum
        named = any(signum in command.forward for command in self.commands)
        reached = [it for it in self.commands if it.alive and (signum in it.forward or not named)]
        for command in reached:
            self._remember(command, signum, own=False)
        some = tuple((it.pid, it.forward[signum]) for it in reached if it.pid) if named else None
        self._effects.append(Relay(signum, CHILD if named else self.targets.get(signum, CHILD), some))

    def obey(self, event: Terminate) -> None:
        """Remember that muinit was told to stop: what it sends from now on is not its own initiative."""
        if not self.told:
            self.told, self.told_at = event.signum, event.at

    def start_steps(self, event: Event) -> None:
        """Send step 1, also if it was sent before."""
        self._start_step(1, event)

    def start_steps_for_all(self, event: Event) -> None:
        """Send step 1, also to what was left out."""
        self._start_step(1, event, ())

    def start_next_step(self, event: Event) -> None:
        """Send the next step."""
        self._start_step(self.step + 1, event)

    def _start_step(self, step: int, event: Event, spared: tuple[int, ...] | None = None) -> None:
        """Send the signal of a step to every child but those that are spared, and set the clock."""
        self.step, self.again = step, False
        signum = self._step_signum
        self.step_at = event.at
        spared = self.spared if spared is None else spared
        reached = [command for command in self.commands if command.alive and command.pid not in spared]
        for command in reached:
            self._remember(command, command.step_signal(step, signum), own=not self.told)
        self.asked |= signum != SIGKILL
        self.killing |= signum == SIGKILL and self.asked
        self._send_step(reached, spared)
        last_kill = signum == SIGKILL and not self.step_left(event)
        self._effects.append(SetClock(max(self._time, KILL_SECONDS) if last_kill else self._time))

    def send_step_to_adopted(self, event: OrphansAdopted) -> None:
        """Send the step's signal to orphans that have not had it yet. The clock runs on."""
        pids = tuple(pid for pid in event.pids if pid not in event.asked)
        if pids and self._step_signum == SIGKILL:
            self._send_step((), self.spared)
        elif pids:
            self._effects.append(SendStep(self._step_signum, SIGCONT, pids=pids))

    def send_step_to_unasked(self, event: Timeout) -> None:
        """Send the step's signal to descendants that have not had it yet, and give everybody the step's time once more.

        A shell that waits for a program in its foreground keeps SIGTERM to itself, and so do mysqld_safe and npm.
        """
        self.again = True
        steps = {command.pid: command.step_signal(self.step, self._step_signum) for command in self.commands}
        found: dict[int, list[int]] = {}
        for pid, top in zip(event.unasked, event.below or event.unasked, strict=True):
            found.setdefault(steps.get(top, self._step_signum), []).append(pid)
        self._effects += [SendStep(signum, SIGCONT, pids=tuple(pids)) for signum, pids in found.items()]
        self._effects.append(SetClock(self._time))

    def record(self, event: CommandEnded) -> None:
        """Remember how the commands ended."""
        only_sidecars = self.state is State.DRAINING or self.last_command(event)
        for index, ending in event.endings:
            command = self.commands[index]
            command.ending = ending
            # After the others, a sidecar ends because it is stopped. One that could not be started has begun the stop.
            command.counts = not (command.sidecar and only_sidecars) or bool(ending.failure)
            command.ended_at = event.at
            command.step = self.step
            command.step_at = self.step_at
            command.told = self.told
            self.ended.append(command)
        ended = [self.commands[index] for index, _ in event.endings]
        if not self.step and any(command.stops and not command.code for command in ended):
            self.left = tuple(zip(event.left, event.names or [""] * len(event.left), strict=True))

    def record_orphans(self, event: OrphansEnded) -> None:
        """Remember the orphans that muinit's SIGKILL ended after they had been asked to stop."""
        names = event.names or [""] * len(event.endings)
        dead = zip(event.endings, names, strict=True)
        self.killed += [(pid, name) for (pid, ending), name in dead if self.killing and ending.signum == SIGKILL]

    def choose_code(self, event: CommandEnded) -> None:
        """The exit status is that of the command that the policy finds, else 0."""
        self.decider = POLICIES[self.policy]([command for command in self.ended if command.counts])
        if self.decider is not None:
            self.code = self.decider.code

    def suspend(self, event: Event) -> None:
        """Ctrl-Z suspends all commands, and then muinit, so that the shell gets its terminal back."""
        self._effects.append(SuspendAll())

    def resume(self, event: Event) -> None:
        """A SIGCONT to muinit is meant for the commands too."""
        self._effects.append(ResumeAll())

    def finish(self, event: Event) -> None:
        """Exit, because nothing is left."""
        self._effects.append(Exit(self.code))

    def give_up(self, event: Event) -> None:
        """Exit with 1, because something outlived the last step, whatever the commands did."""
        self.decider = None
        self.code = 1
        self._effects.append(Exit(self.code, gave_up=True))

    # What actions share

    @property
    def _step_signum(self) -> int:
        return self.steps[self.step - 1]

    @property
    def _time(self) -> float:
        return self.times[self.step - 1]

    def _send_step(self, reached: Sequence[Command], spared: tuple[int, ...]) -> None:
        if self._step_signum == SIGKILL:
            # A killed parent cannot stop its children any more, so kill the whole tree, and again at each adoption.
            self._effects.append(SendStep(SIGKILL, target=TREE, spared=spared))
            return
        target = self.step_targets[self.step - 1] if self.step_targets else CHILD
        own = tuple((it.pid, *it.steps[self.step - 1]) for it in reached if it.pid and self.step <= len(it.steps))
        # A stopped process does not act on a signal before it is continued (signal(7)).
        self._effects.append(SendStep(self._step_signum, SIGCONT, target=target, own=own, spared=spared))

    def _remember(self, command: Command, signum: int, *, own: bool) -> None:
        command.own_signals[signum] = own

    def _living_after(self, event: CommandEnded) -> list[Command]:
        """The commands that are alive after these ends."""
        ended = [index for index, _ in event.endings]
        return [it for index, it in enumerate(self.commands) if it.alive and index not in ended]
