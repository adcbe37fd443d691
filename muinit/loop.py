"""The loop: wait, turn what the kernel says into events, let the lifecycle decide, do what it decided.

One turn looks at these things, in this order. The order decides exit codes.

1. Wait, for a signal or for the deadline. Signals stay blocked for the rest of the turn, so the turn is about what had
   come by now.
2. Names. If somebody reads a trace, look for new children now: a zombie still has its name. This decides nothing.
3. Signals, lowest number first. So SIGINT (2) and SIGTERM (15) come before SIGCHLD (17), which is the request to reap.
   If muinit is told to stop and a command ends in the same wake, then muinit was told first: what it sends to the other
   commands is not its own initiative, and their deaths by it count.
4. The dead: every status that there is, whether or not SIGCHLD came. All that ended together are one event, because the
   dead must be known before the others are signalled: a signal to a zombie succeeds, and would be taken for the cause
   of its death. Such a death would not count.
5. Adopted orphans. This comes after the dead, because the dead leave their children to us. It comes before the clock,
   because the next step may be SIGKILL, and an orphan must be asked to stop before that.
6. The clock comes last. A child that ended just in time is not out of time: it is not killed, and muinit does not give
   up on it, which would make the exit status 1. For the same reason the dead are reaped once more before it: an orphan
   that was adopted in 5 may have ended already.

What happens after the lifecycle has said exit is dropped.
"""

from __future__ import annotations

import os

from muinit import signals
from statechart.chart import RUNNING
from statechart.effects import CHILD, GROUP, TREE, Exit, Relay, ResumeAll, SendStep, SetClock, SuspendAll
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
    from statechart.events import Event
    from statechart.lifecycle import Decision, Lifecycle


SEARCHES = 5  # /proc is no snapshot: one search may miss a process that keeps forking and exiting


class Loop:
    """One run on one kernel.

    `meanings` says what each signal means, by number; `rewrite`, which other signal it counts as. `say` writes a line
    for people. `watch` is called for each decision; if there is one, orphans are watched from the start. `attempt`
    calls functions that only report, so that an error there does not end the run (`muinit.stderr.Stderr.attempt`).
    `inherited` are the children that we had before we started any. `started_at` is the kernel's clock at the start.
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
        rewrite: Mapping[int, int] | None = None,
        started_at: float,
    ) -> None:
        self._kernel = kernel
        self._lifecycle = lifecycle
        self._meanings = meanings
        self._rewrite = rewrite or {}
        self._say = say
        self._watch = watch
        self._started_at = started_at
        self._commands = {command.pid: index for index, command in enumerate(lifecycle.commands) if command.pid}
        self._known = set(self._commands)  # children that were seen, or that the step in force has reached
        self._attempt = attempt
        self._inherited = inherited
        self._fresh: list[int] = []  # orphans that were first seen in this turn
        self._names: dict[int, str] = {}  # of the orphans that a report may name
        self._asked: dict[int, int] = {}  # descendants that got the step's signal late, with their start times
        self._refused: set[int] = set()  # children that we may not signal
        self._ignored: set[int] = set()  # signals that we have said we ignore
        self._deadline: float | None = None  # on the kernel's clock
        self._exit: Exit | None = None
        self._on_signal: dict[str, Callable[[int], None]] = {  # by the meaning of the signal
            REAP: lambda _: self._reap(),
            FORWARD: self._forward,
            STOP: self._stop,
            SUSPEND: self._suspend,
            RESUME: self._resume,
            SHIELDED: self._ignore,
        }
        self._perform: dict[str, Callable[..., None]] = {  # by the name of the effect
            Relay.name: self._relay,
            SendStep.name: self._step,
            SetClock.name: self._set_clock,
            SuspendAll.name: self._suspend_all,
            ResumeAll.name: self._resume_all,
            Exit.name: self._end,
        }

    def run(self, failure: tuple[int, Ending] | None = None, early: Iterable[tuple[int, int]] = ()) -> Exit:
        """Supervise until the lifecycle says exit.

        `failure` is the command that could not be started; `early` are the statuses of those that ended before it.
        """
        self._begin(failure, early)
        while self._exit is None:
            self._fresh = []
            arrived = self._kernel.wait(self._time_left())  # 1. wait
            self._look_at_the_dead()  # 2. names
            self._arrived(arrived)  # 3. signals
            self._reap()  # 4. the dead
            self._look_for_adopted()  # 5. adopted orphans
            self._look_at_the_clock()  # 6. the clock
        return self._exit

    def _begin(self, failure: tuple[int, Ending] | None, early: Iterable[tuple[int, int]]) -> None:
        """Handle what has happened since the first command was started."""
        self._look_at_the_dead()
        orphans = self._untold()
        endings = self._endings(early)
        self._reap([*endings, failure] if failure else endings)
        if self._lifecycle.state is RUNNING:
            self._known.update(orphans)  # so that no command that ends later is said to have left them

    def survivors(self) -> list[str]:
        """Descriptions of what is still alive."""
        for _ in range(SEARCHES):
            groups, alive = self._kernel.whole_tree()
            if alive:
                break
        return [self._describe(pid) for pid in alive or groups]

    # What the kernel says

    def _arrived(self, signums: Iterable[int]) -> None:
        for signum in signums:
            self._on_signal[self._meanings[signum]](self._rewrite.get(signum, signum))

    def _forward(self, signum: int) -> None:
        self._handle(Forward(signum, at=self._now()))

    def _stop(self, signum: int) -> None:
        self._handle(Terminate(signum, at=self._now()))

    def _suspend(self, _signum: int = signals.SIGTSTP) -> None:
        self._handle(Suspend(at=self._now()))

    def _resume(self, _signum: int = signals.SIGCONT) -> None:
        self._handle(Resume(at=self._now()))

    def _ignore(self, signum: int) -> None:
        if signum not in self._ignored:
            self._ignored.add(signum)
            name = signals.name(signum)
            word = name.removeprefix("SIG").removeprefix("signal ")
            cure = f"-s {word} forwards it, --stop-on {word} stops the commands"
            self._say(f"warning: ignored {name}, because muinit is PID 1 and no option names it: {cure}")

    def _endings(self, statuses: Iterable[tuple[int, int]]) -> list[tuple[int, Ending]]:
        endings, orphans = [], []
        for pid, status in statuses:
            self._forget(pid)
            if pid in self._commands:
                endings.append((self._commands.pop(pid), ending(status)))
            else:
                orphans.append((pid, ending(status)))
        if orphans and (self._watch or self._lifecycle.state is not RUNNING):
            names = tuple(self._names.pop(pid, "") for pid, _ in orphans)
            self._handle(OrphansEnded(*orphans, names=names, at=self._now()))
        return sorted(endings, key=lambda each: each[0])  # the order of the command line

    def _forget(self, pid: int) -> None:
        """A child was reaped: from now on its pid may belong to another process."""
        self._known.discard(pid)
        self._refused.discard(pid)
        self._asked.pop(pid, None)

    def _reap(self, early: Iterable[tuple[int, Ending]] = ()) -> None:
        statuses, drained = self._kernel.reap()
        endings = [*early, *self._endings(statuses)]
        if endings:
            left = self._left_behind(endings)
            self._handle(CommandEnded(*endings, left=left, names=tuple(map(self._name, left)), at=self._now()))
            if self._lifecycle.state is RUNNING:  # those that ended may end
                self._look_at_the_dead()
                self._known.update(self._untold())  # so that no command that ends later is said to have left them
        self._kernel.mend_labels(self._say)
        if self._kernel.typed_stop():
            self._suspend()
        if drained:
            self._handle(Drained(at=self._now()))

    def _left_behind(self, endings: Iterable[tuple[int, Ending]]) -> tuple[int, ...]:
        """The orphans that the dead may have left behind: those new in this turn, if a command ended with 0."""
        self._look_at_the_dead()  # children of the dead that are now ours, before a step signals them
        commands = self._lifecycle.commands
        if self._lifecycle.state is not RUNNING or all(commands[index].code_of(ending) for index, ending in endings):
            return ()
        known = {*self._known.difference(self._fresh), *self._inherited}
        left = [pid for pid in self._kernel.children() if pid not in known]
        # An orphan in the process group of a living command belongs to that command.
        return tuple(pid for pid in left if self._kernel.group(pid) not in self._commands)

    def _look_at_the_dead(self) -> None:
        if self._watch:
            self._look_for_adopted()  # a zombie still has its name; once it is reaped, nobody knows it

    def _untold(self) -> list[int]:
        """New children, unless there is a trace: that tells of each child before it is known."""
        return [] if self._watch else self._new_children()

    def _new_children(self) -> list[int]:
        return [pid for pid in self._kernel.children(self._spared) if pid not in self._known]

    @property
    def _spared(self) -> tuple[int, ...]:
        """The sidecars that the steps leave out now."""
        return () if self._lifecycle.state is RUNNING else self._lifecycle.spared

    def _look_for_adopted(self) -> None:
        wanted = self._exit is None and (self._watch or self._lifecycle.state is not RUNNING)
        if wanted and (adopted := self._new_children()):
            self._known.update(adopted)
            self._fresh += adopted
            names = tuple(map(self._name, adopted)) if self._watch else ()
            self._names.update(zip(adopted, names, strict=False))
            asked = tuple(pid for pid in adopted if pid in self._asked and self._was_asked(pid))
            self._handle(OrphansAdopted(*adopted, asked=asked, names=names, at=self._now()))

    def _was_asked(self, pid: int) -> bool:
        """Whether this is the process that was asked, and not a later one with the same pid."""
        return self._kernel.start_time(pid) == self._asked[pid]

    def _look_at_the_clock(self) -> None:
        if self._deadline is not None and self._time_left() == 0:
            self._reap()  # an orphan may have died of the signal that it got when it was adopted, a moment ago
            self._time_is_up()

    def _time_is_up(self) -> None:
        self._deadline = None
        unasked = self._unasked()
        self._asked.update((pid, started) for pid, (started, _) in unasked.items())
        names = tuple(map(self._name, unasked)) if self._watch else ()
        own = any(command.steps for command in self._lifecycle.commands)
        below = tuple(above for _, above in unasked.values()) if own else ()
        self._handle(Timeout(*unasked, below=below, names=names, at=self._now()))

    def _unasked(self) -> dict[int, tuple[int, int]]:
        """The living descendants that should still get the step's signal, as `Kernel.living` has them."""
        if not self._lifecycle.can_ask_late:
            return {}
        found = self._kernel.living(self._spared).items()
        return {pid: about for pid, about in found if self._asked.get(pid) != about[0] and self._can_ask(pid)}

    def _can_ask(self, pid: int) -> bool:
        """Whether a descendant has not been seen as our child, and we are permitted to signal it."""
        return pid not in self._known and self._kernel.may_signal(pid)

    # What the lifecycle decides

    def _handle(self, event: Event) -> None:
        if self._exit is not None:
            return
        decision = self._lifecycle.handle(event)
        if self._watch:
            self._watch(decision)
        for effect in decision.effects:
            self._perform[effect.name](effect)

    def _relay(self, relay: Relay) -> None:
        if relay.some is None:
            self._signal(self._targeted(relay.target), [relay.signum])
            return
        for pid, target in relay.some:
            self._signal(self._below_one(pid, target), [relay.signum])

    def _below_one(self, command: int, target: str) -> list[int]:
        """The pids that a signal for one command goes to."""
        if target == TREE and (tree := [pid for pid, (_, above) in self._kernel.living().items() if above == command]):
            return tree
        if target == GROUP and -command in self._kernel.whole_tree()[0]:
            return [-command]
        return [command]

    def _targeted(self, target: str) -> list[int]:
        """The pids that a forwarded signal goes to. Each process is in one of them at most once."""
        if target == CHILD:
            return self._kernel.children()
        groups, tree = self._kernel.whole_tree()
        if target == TREE and tree:
            return tree
        # Strangers can be in the group of a child: then the signal is for the child alone.
        return [
            *groups,
            *(pid for pid in self._kernel.children() if -self._kernel.group(pid) not in groups and pid > 0),
        ]

    def _set_clock(self, clock: SetClock) -> None:
        self._deadline = self._kernel.now() + clock.seconds

    def _suspend_all(self, _: SuspendAll) -> None:
        if not self._kernel.suspend():
            self._resume()

    def _resume_all(self, _: ResumeAll) -> None:
        self._kernel.resume()

    def _end(self, end: Exit) -> None:
        self._exit = end

    def _step(self, step: SendStep) -> None:
        if step.pids is not None:
            self._signal(step.pids, step.signums)
            return
        # Listed once: a process adopted later has not received this signal yet, even if it gets the SIGCONT.
        children = self._kernel.children(step.spared)
        self._known = set(children)  # a child that the list missed, as /proc can, will be seen as adopted
        self._asked = {}
        if signals.SIGKILL in step.signums:
            groups, alive = self._kernel.whole_tree(step.spared)
            if self._lifecycle.killing:  # the last line will name the orphans among them, and the dead have no name
                self._names.update((pid, self._name(pid)) for pid in alive if pid not in self._names)
            self._signal([*groups, *alive] or children, step.signums)
            return
        # Looked up before anything is sent: a command that ends at once leaves its children to us, as orphans.
        below = self._below(children, step)
        own = {pid: signum for pid, signum, _ in step.own}
        first, *rest = step.signums
        for pid, above in [*zip(children, children, strict=True), *below]:
            self._signal([pid], [own.get(above, first), *rest])

    def _below(self, children: Collection[int], step: SendStep) -> list[tuple[int, int]]:
        """The living descendants that a step goes to beside the children, each with the child that it descends from.

        Each gets the signal by itself, and not through its group: a process that is forked meanwhile would get it
        unseen, and then once more.
        """
        targets = {pid: target for pid, _, target in step.own}
        if {step.target, *targets.values()} == {CHILD}:
            return []
        groups = {self._kernel.group(pid) for pid in children if pid > 0 and pid not in targets}
        found = []
        for pid, (started, above) in self._kernel.living(step.spared).items():
            target = targets.get(above, step.target)
            near = [above] if above in targets else groups
            if pid not in self._known and (target == TREE or (target == GROUP and self._kernel.group(pid) in near)):
                self._asked[pid] = started
                found.append((pid, above))
        return found

    def _signal(self, pids: Iterable[int], signums: Iterable[int]) -> None:
        for pid in pids:
            try:
                for signum in signums:
                    self._kernel.kill(pid, signum)
            except PermissionError:
                if pid > 0 and pid not in self._refused:
                    self._refused.add(pid)
                    why = "it runs as another user, and muinit needs CAP_KILL for that"
                    self._say(f"warning: not permitted to signal {self._describe(pid)}: {why}")

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
