"""The loop: wait, turn what the kernel says into events, let the lifecycle decide, do what it decided."""

from __future__ import annotations

import os

from muinit import signals
from statechart.chart import RUNNING
from statechart.effects import Exit, Relay, ResumeAll, SetClock, Step, SuspendAll
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

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable

    from muinit.kernel import Kernel
    from statechart.effects import Effect
    from statechart.events import Event
    from statechart.lifecycle import Lifecycle, Taken


SEARCHES = 5  # /proc is no snapshot: one that forks and exits again and again can slip through a search


class Loop:
    """One run on one kernel.

    `forward` are the signals to pass on, `say` writes a line for people, `watch` is told of each event taken, and
    of what becomes of orphans, `started_at` is the kernel's clock at the start.
    """

    def __init__(
        self,
        kernel: Kernel,
        life: Lifecycle,
        forward: Container[int],
        say: Callable[[str], None],
        *,
        watch: Callable[[Taken], None] | None = None,
        started_at: float,
    ) -> None:
        self._kernel = kernel
        self._life = life
        self._forward = forward
        self._say = say
        self._watch = watch
        self._started_at = started_at
        self._commands = {command.pid: index for index, command in enumerate(life.commands) if command.pid}
        self._known = set(self._commands)  # children that were seen, or that the step in force has reached
        self._refused: set[int] = set()  # children that we may not signal
        self._deadline: float | None = None  # on the kernel's clock
        self._exit: Exit | None = None

    def run(self, failure: tuple[int, Ending] | None = None, before: Iterable[tuple[int, int]] = ()) -> Exit:
        """Supervise until the lifecycle says exit.

        `failure` is the command that could not be started, `before` what reap() gave just before it failed.
        """
        self._look_at_the_dead()
        endings = self._endings(before)
        self._reap([*endings, failure] if failure else endings)
        while self._exit is None:
            arrived = self._kernel.wait(self._time_left())
            self._look_at_the_dead()
            for signum in arrived:
                self._arrived(signum)
            self._reap()
            self._look_for_adopted()
            if self._deadline is not None and self._time_left() == 0:
                self._reap()  # those whom the look has just killed
                self._deadline = None
                self._handle(Timeout(at=self._now()))
        return self._exit

    def survivors(self) -> list[str]:
        """Descriptions of what is still alive."""
        for _ in range(SEARCHES):
            if found := self._kernel.descendants():
                break
        return [self._kernel.describe(pid) for pid in found or self._kernel.groups()]

    # What the kernel says

    def _arrived(self, signum: int) -> None:
        if signum == signals.SIGCHLD:
            self._reap()
        elif signum == signals.SIGCONT:
            self._handle(Resume(at=self._now()))
        elif signum in self._forward and signum != signals.SIGTERM:
            self._handle(Forward(signum, at=self._now()))
        elif signum == signals.SIGTSTP:
            self._handle(Suspend(at=self._now()))
        else:
            self._handle(Terminate(signum, at=self._now()))

    def _endings(self, statuses: Iterable[tuple[int, int]]) -> list[tuple[int, Ending]]:
        endings, orphans = [], []
        for pid, status in statuses:
            self._known.discard(pid)
            self._refused.discard(pid)
            if pid in self._commands:
                endings.append((self._commands.pop(pid), ending(status)))
            elif self._watch:
                orphans.append((pid, ending(status)))
        if orphans:
            self._handle(OrphansEnded(*orphans, at=self._now()))
        return endings

    def _reap(self, before: Iterable[tuple[int, Ending]] = ()) -> None:
        statuses, drained = self._kernel.reap()
        endings = [*before, *self._endings(statuses)]
        if endings:
            if self._watch:
                self._look_for_adopted()  # whom the dead have left to us, before a step reaches them
            self._handle(CommandEnded(*endings, at=self._now()))
        if self._kernel.typed_stop():
            self._handle(Suspend(at=self._now()))
        if drained:
            self._handle(Drained(at=self._now()))

    def _look_at_the_dead(self) -> None:
        if self._watch:
            self._look_for_adopted()  # a zombie still has its name

    def _look_for_adopted(self) -> None:
        if self._exit is None and (self._watch or self._life.state is not RUNNING):
            adopted = [pid for pid in self._kernel.children() if pid not in self._known]
            if adopted:
                self._known.update(adopted)
                names = tuple(map(self._kernel.name, adopted)) if self._watch else ()
                self._handle(OrphansAdopted(*adopted, names=names, at=self._now()))

    # What the lifecycle decides

    def _handle(self, event: Event) -> None:
        if self._exit is not None:
            return
        taken = self._life.handle(event)
        if self._watch:
            self._watch(taken)
        for effect in taken.effects:
            self._perform(effect)

    def _perform(self, effect: Effect) -> None:
        if isinstance(effect, Relay):
            self._signal(self._kernel.children(), [effect.signum])
        elif isinstance(effect, Step):
            # Listed once: who is adopted from here on has not had the signal, whatever else it gets.
            children = self._kernel.children() if effect.pids is None else effect.pids
            if effect.pids is None:
                self._known = set(children)  # and whoever the list has missed, as /proc can, comes back as adopted
            tree = [*self._kernel.groups(), *self._kernel.descendants()] if effect.tree else []
            self._signal(tree or children, effect.signums)
        elif isinstance(effect, SetClock):
            self._deadline = self._kernel.now() + effect.seconds
        elif isinstance(effect, SuspendAll):
            if not self._kernel.suspend():
                self._arrived(signals.SIGCONT)
        elif isinstance(effect, ResumeAll):
            self._kernel.resume()
        else:
            self._exit = effect

    def _signal(self, pids: Iterable[int], signums: Iterable[int]) -> None:
        for pid in pids:
            try:
                for signum in signums:
                    self._kernel.kill(pid, signum)
            except PermissionError:
                if pid > 0 and pid not in self._refused:
                    self._refused.add(pid)
                    self._say(f"warning: not permitted to signal {self._kernel.describe(pid)}")

    # The clock

    def _now(self) -> float:
        return self._kernel.now() - self._started_at

    def _time_left(self) -> float | None:
        return None if self._deadline is None else max(self._deadline - self._kernel.now(), 0)


def ending(status: int) -> Ending:
    """What a wait status says (wait(2))."""
    code = os.waitstatus_to_exitcode(status)
    return Ending(code) if code >= 0 else Ending(128 - code, -code, core=os.WCOREDUMP(status))
