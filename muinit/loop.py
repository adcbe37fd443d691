"""The loop: wait, turn what the kernel says into events, let the lifecycle decide, do what it decided."""

from __future__ import annotations

import os

from muinit import signals
from statechart.chart import RUNNING
from statechart.effects import Exit, Relay, ResumeAll, SendStep, SetClock, SuspendAll
from statechart.events import (
    CommandEnded,
    Drained,
    Ending,
    Forward,
    OrphansAdopted,
    OrphansEnded,
    Resume,
    Suspend,
    Terminate,
    Timeout,
)
from statechart.meanings import FORWARD, REAP, RESUME, SHIELDED, STOP, SUSPEND

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from muinit.kernel import Kernel
    from statechart.effects import Effect
    from statechart.events import Event
    from statechart.lifecycle import Decision, Lifecycle


SEARCHES = 5  # /proc is no snapshot: one that forks and exits again and again can slip through a search


class Loop:
    """One run on one kernel.

    `meanings` says what each signal means, by number. `say` writes a line for people. `watch` is told of each event
    taken, and of what becomes of orphans. `attempt` calls what only reports, so that an error there stops nobody
    (`muinit.stderr.Stderr.attempt`). `inherited` are the children that we had before we started any.
    `started_at` is the kernel's clock at the start.
    """

    def __init__(
        self,
        kernel: Kernel,
        lifecycle: Lifecycle,
        meanings: Mapping[int, str],
        say: Callable[[str], None],
        *,
        watch: Callable[[Decision], None] | None = None,
        attempt: Callable[..., str | None] = lambda _, report, *arguments: report(*arguments),
        inherited: Collection[int] = (),
        started_at: float,
    ) -> None:
        self._kernel = kernel
        self._lifecycle = lifecycle
        self._meanings = meanings
        self._say = say
        self._watch = watch
        self._started_at = started_at
        self._commands = {command.pid: index for index, command in enumerate(lifecycle.commands) if command.pid}
        self._known = set(self._commands)  # children that were seen, or that the step in force has reached
        self._attempt = attempt
        self._inherited = inherited
        self._fresh: list[int] = []  # orphans that were first seen in this turn
        self._names: dict[int, str] = {}  # of orphans, as far as somebody may ask for them
        self._asked: dict[int, int] = {}  # descendants that had the step's signal late, with their start times
        self._refused: set[int] = set()  # children that we may not signal
        self._shielded: set[int] = set()  # signals that were said to be ignored
        self._deadline: float | None = None  # on the kernel's clock
        self._exit: Exit | None = None

    def run(self, failure: tuple[int, Ending] | None = None, before: Iterable[tuple[int, int]] = ()) -> Exit:
        """Supervise until the lifecycle says exit.

        `failure` is the command that could not be started, `before` what reap() gave just before it failed.
        """
        self._look_at_the_dead()
        orphans = [pid for pid in self._kernel.children() if pid not in self._known]
        endings = self._endings(before)
        self._reap([*endings, failure] if failure else endings)
        if self._lifecycle.state is RUNNING:
            self._known.update(orphans)  # no command that ends later has left them
        while self._exit is None:
            arrived = self._kernel.wait(self._time_left())
            self._fresh = []
            self._look_at_the_dead()
            for signum in arrived:
                self._arrived(signum)
            self._reap()
            self._look_for_adopted()
            if self._deadline is not None and self._time_left() == 0:
                self._reap()  # those whom the look has just killed
                self._deadline = None
                self._time_is_up()
        return self._exit

    def survivors(self) -> list[str]:
        """Descriptions of what is still alive."""
        for _ in range(SEARCHES):
            if found := self._kernel.descendants():
                break
        return [self._describe(pid) for pid in found or self._kernel.groups()]

    # What the kernel says

    def _arrived(self, signum: int) -> None:
        meaning = self._meanings[signum]
        if meaning == REAP:
            self._reap()
        elif meaning == FORWARD:
            self._handle(Forward(signum, at=self._now()))
        elif meaning == STOP:
            self._handle(Terminate(signum, at=self._now()))
        elif meaning == SUSPEND:
            self._handle(Suspend(at=self._now()))
        elif meaning == RESUME:
            self._handle(Resume(at=self._now()))
        elif meaning == SHIELDED and signum not in self._shielded:
            self._shielded.add(signum)
            name = signals.name(signum)
            word = name.removeprefix("SIG").removeprefix("signal ")
            cure = f"-s {word} forwards it, --stop-on {word} stops the commands"
            self._say(f"warning: ignored {name}, because muinit is PID 1 and no option names it: {cure}")

    def _endings(self, statuses: Iterable[tuple[int, int]]) -> list[tuple[int, Ending]]:
        endings, orphans = [], []
        for pid, status in statuses:
            self._known.discard(pid)
            self._refused.discard(pid)
            self._asked.pop(pid, None)
            if pid in self._commands:
                endings.append((self._commands.pop(pid), ending(status)))
            else:
                orphans.append((pid, ending(status)))
        if orphans and (self._watch or self._lifecycle.state is not RUNNING):
            names = tuple(self._names.pop(pid, "") for pid, _ in orphans)
            self._handle(OrphansEnded(*orphans, names=names, at=self._now()))
        return endings

    def _reap(self, before: Iterable[tuple[int, Ending]] = ()) -> None:
        statuses, drained = self._kernel.reap()
        endings = [*before, *self._endings(statuses)]
        if endings:
            left = self._left_behind(endings)
            self._handle(CommandEnded(*endings, left=left, names=tuple(map(self._name, left)), at=self._now()))
        if self._kernel.typed_stop():
            self._handle(Suspend(at=self._now()))
        if drained:
            self._handle(Drained(at=self._now()))

    def _left_behind(self, endings: Iterable[tuple[int, Ending]]) -> tuple[int, ...]:
        """The orphans that the dead may have left to us: first seen in this turn, where one ended with 0."""
        if self._watch:
            self._look_for_adopted()  # before a step reaches them
        if self._lifecycle.state is not RUNNING or all(ending.code for _, ending in endings):
            return ()
        known = {*self._known, *self._inherited}.difference(self._fresh)
        left = [pid for pid in self._kernel.children() if pid not in known]
        # One in the process group of a living command is that command's.
        return tuple(pid for pid in left if self._kernel.group(pid) not in self._commands)

    def _look_at_the_dead(self) -> None:
        if self._watch:
            self._look_for_adopted()  # a zombie still has its name

    def _look_for_adopted(self) -> None:
        if self._exit is None and (self._watch or self._lifecycle.state is not RUNNING):
            adopted = [pid for pid in self._kernel.children() if pid not in self._known]
            if adopted:
                self._known.update(adopted)
                self._fresh += adopted
                names = tuple(map(self._name, adopted)) if self._watch else ()
                self._names.update(zip(adopted, names, strict=False))
                asked = tuple(pid for pid in adopted if pid in self._asked and self._was_asked(pid))
                self._handle(OrphansAdopted(*adopted, asked=asked, names=names, at=self._now()))

    def _was_asked(self, pid: int) -> bool:
        """Whether it is the same process that was asked, and not a later one with its pid."""
        return self._kernel.start_time(pid) == self._asked[pid]

    def _time_is_up(self) -> None:
        unasked = {}
        if self._lifecycle.can_ask_late:
            unasked = self._kernel.living()
            unasked = {pid: started for pid, started in unasked.items() if pid not in self._known}
            unasked = {pid: started for pid, started in unasked.items() if self._kernel.may_signal(pid)}
            self._asked.update(unasked)
        names = tuple(map(self._name, unasked)) if self._watch else ()
        self._handle(Timeout(*unasked, names=names, at=self._now()))

    # What the lifecycle decides

    def _handle(self, event: Event) -> None:
        if self._exit is not None:
            return
        taken = self._lifecycle.handle(event)
        if self._watch:
            self._watch(taken)
        for effect in taken.effects:
            self._perform(effect)

    def _perform(self, effect: Effect) -> None:
        if isinstance(effect, Relay):
            self._signal(self._kernel.children(), [effect.signum])
        elif isinstance(effect, SendStep):
            self._step(effect)
        elif isinstance(effect, SetClock):
            self._deadline = self._kernel.now() + effect.seconds
        elif isinstance(effect, SuspendAll):
            if not self._kernel.suspend():
                self._arrived(signals.SIGCONT)
        elif isinstance(effect, ResumeAll):
            self._kernel.resume()
        elif isinstance(effect, Exit):
            self._exit = effect

    def _step(self, step: SendStep) -> None:
        if step.pids is not None:
            self._signal(step.pids, step.signums)
            return
        # Listed once: who is adopted from here on has not had the signal, whatever else it gets.
        children = self._kernel.children()
        self._known = set(children)  # and whoever the list has missed, as /proc can, comes back as adopted
        self._asked = {}
        if step.tree:
            groups, tree = self._kernel.groups(), self._kernel.descendants()
            if self._lifecycle.killing:  # the last line names the orphans among them, and the dead have no name
                self._names.update((pid, self._name(pid)) for pid in tree if pid not in self._names)
            children = [*groups, *tree] or children
        self._signal(children, step.signums)

    def _signal(self, pids: Iterable[int], signums: Iterable[int]) -> None:
        for pid in pids:
            try:
                for signum in signums:
                    self._kernel.kill(pid, signum)
            except PermissionError:
                if pid > 0 and pid not in self._refused:
                    self._refused.add(pid)
                    self._say(f"warning: not permitted to signal {self._describe(pid)}")

    # Names

    def _name(self, pid: int) -> str:
        return self._attempt("the names of processes", self._kernel.name, pid) or ""

    def _describe(self, pid: int) -> str:
        return self._attempt("the names of processes", self._kernel.describe, pid) or f"pid {pid}"

    # The clock

    def _now(self) -> float:
        return self._kernel.now() - self._started_at

    def _time_left(self) -> float | None:
        return None if self._deadline is None else max(self._deadline - self._kernel.now(), 0)


def ending(status: int) -> Ending:
    """What a wait status says (wait(2))."""
    code = os.waitstatus_to_exitcode(status)
    return Ending(code) if code >= 0 else Ending(128 - code, -code, core=os.WCOREDUMP(status))
