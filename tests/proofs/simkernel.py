"""A simulated kernel: its processes, signals and clock exist only in memory, and move only as `random` says.

`SimKernel` is `muinit.kernel.Kernel` with every system call replaced. What the rooms behind that door compute from the
answers (`children`, `whole_tree`, `describe`, `typed_stop`, `resume`) is the real code. Three rules of this file:

1. Between any two system calls of muinit the world may move on (`gap`). This is where races come from.
2. Everything that is random is drawn with `random()`, and 0.0 is the quiet answer. If `random` always returns 0.0,
   nothing happens between two calls. hypothesis shrinks towards that.
3. A time in a program is only a hint: the next action may come early, in a gap, because a real clock could have been
   slow there. So muinit cannot rely on the order of what two programs do.

Every process remembers what muinit sent to it (`Process.sent`), for the properties that check it.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from errno import EAGAIN
from math import ceil, inf

from muinit.children import TYPED_STOPS, Children
from muinit.kernel import Kernel
from muinit.procfs import Procfs
from muinit.selfpipe import in_order
from muinit.signals import RTMIN, SIGCHLD, SIGCONT, SIGKILL, SIGTSTP, name
from muinit.terminal import Terminal

SIGSTOP, SIGTTIN, SIGTTOU, SIGURG, SIGWINCH = 19, 21, 22, 23, 28
STOPS = frozenset({SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU})
HARMLESS = frozenset({SIGCHLD, SIGCONT, SIGURG, SIGWINCH})  # ignored if the disposition is the default (signal(7))

TICK = 1e-5  # seconds that a system call takes
HORIZON = 1.0  # seconds; the most by which something may come early
MOST_CALLS = 20_000  # system calls of one run; a run that makes more counts as endless

RUNNING, STOPPED, ZOMBIE, GONE = "RTZX"


class EndlessError(AssertionError):
    """The run would never end."""


@dataclass(slots=True)
class Do:
    """Something that a process does, from its script or because a signal came. `SimKernel` performs it.

    The verbs are: exit n, die of n, fork a child, daemon (a double fork), setsid, stop, and setuid (after which muinit
    may not signal the process any more). A reaction can also be: ignore, and say (a handler that only says the signal).
    """

    verb: str
    number: int = 0
    child: Program | None = None

    def __str__(self) -> str:
        return " ".join(
            [self.verb, *([str(self.number)] if self.number else []), *([str(self.child)] if self.child else [])]
        )


@dataclass(slots=True)
class Program:
    """What a process does: its reactions to signals (else the default), and its script of timed actions, in order."""

    name: str
    reactions: Mapping[int, Do] = field(default_factory=dict)
    script: Sequence[tuple[float, Do]] = ()
    blocked: frozenset[int] = frozenset()
    reaps: float = 0.0  # seconds from a child's death until it is reaped; inf: never
    subreaper: bool = False
    stuck: bool = False  # in a system call that nothing interrupts: it never dies
    dying: float = 0.0  # seconds that its death takes

    def __str__(self) -> str:
        words = [f"{name(signum)}={reaction}" for signum, reaction in self.reactions.items()]
        words += [f"{name(signum)} blocked" for signum in sorted(self.blocked)]
        words += [f"{after:g} s {what}" for after, what in self.script]
        words += [f"reaps after {self.reaps:g} s"] if self.reaps else []
        words += [f"dies in {self.dying:g} s"] if self.dying else []
        words += ["subreaper"] if self.subreaper else []
        words += ["stuck"] if self.stuck else []
        return f"{self.name}({', '.join(words)})"


class Process:
    """A process. `serial` tells it from a later process with the same pid, as the start time does in Linux."""

    __slots__ = (
        "beyond",
        "beyond_since",
        "blocked",
        "children",
        "command",
        "died",
        "doom",
        "due",
        "group",
        "left_group",
        "next",
        "ours",
        "parent",
        "pending",
        "pid",
        "program",
        "queued",
        "sent",
        "serial",
        "session",
        "state",
        "status",
        "unreported",
    )

    def __init__(self, pid: int, serial: int, program: Program, parent: Process | None) -> None:
        self.pid = pid
        self.serial = serial
        self.program = program
        self.parent = parent
        self.children: list[Process] = []
        self.group: int = parent.group if parent else pid
        self.session: int = parent.session if parent else pid
        self.left_group = 0  # the call before which it left the group that it was born in
        self.ours: bool = parent is not None and parent.ours  # a descendant of muinit
        self.state = RUNNING
        self.pending: list[int] = []
        self.blocked = program.blocked
        self.next = 0  # the place in its script
        self.due = False  # it was stopped when its next action was due
        self.queued = False  # whether it has something to act on
        self.doom = 0  # the signal that it is dying of; then it runs no more
        self.status = 0  # as wait(2) reports it
        self.beyond_since: int = parent.beyond_since if parent else 0  # the call before which it became so
        self.beyond: bool = parent is not None and parent.beyond  # another user's: muinit may not signal it
        self.unreported = 0  # the signal that stopped it, until its parent has been told
        self.command = -1  # its index, if it is a command
        self.died = 0  # the number of the call before which it became a zombie child of muinit
        self.sent: list[tuple[int, int, bool]] = []  # by muinit: (number of the call, signal, was it alive?)

    @property
    def alive(self) -> bool:
        return self.state in (RUNNING, STOPPED)


class SimProcfs(Procfs):
    """The /proc of the simulated kernel. Each look at it takes many system calls."""

    def __init__(self, kernel: SimKernel, *, usable: bool) -> None:
        self._kernel = kernel
        self.usable = usable
        self.looks = 0

    def children(self) -> list[int]:
        self._kernel.gap()
        return [child.pid for child in self._kernel.us.children]

    def processes(self) -> dict[int, tuple[str, int, int, int]]:
        kernel, found = self._kernel, {}
        self.looks += 1
        kernel.freed = []
        for pid in sorted(kernel.table):
            kernel.gap()
            process = kernel.table.get(pid)
            if process is not None:
                parent = process.parent.pid if process.parent else 0
                found[pid] = (process.state, parent, process.group, process.serial)
        kernel.freed = None
        return found

    def started(self, pid: int) -> int:
        self._kernel.gap()
        process = self._kernel.table.get(pid)
        return process.serial if process else 0

    def name(self, pid: int) -> str:
        self._kernel.gap()
        process = self._kernel.table.get(pid)
        return process.program.name if process else ""

    def describe(self, pid: int) -> str:
        self._kernel.gap()
        process = self._kernel.table.get(pid)
        return f"{process.program.name}, state {process.state}" if process else "gone"


class SimTerminal(Terminal):
    """The terminal of the simulated kernel; muinit's own group is 1."""

    def __init__(self, *, present: bool) -> None:
        self.present = present
        self.owner = 0
        self._given = False
        self.foreground = 1

    def give(self) -> bool:
        if self.owner and self.present and self.foreground == 1:
            self.foreground = self.owner
            self._given = True
            return True
        return False

    def take(self) -> None:
        if self._given:
            self._given = False
            self.foreground = 1


class SimLabels:
    """The process of --label on the simulated kernel. It is a child of muinit, but none of its processes (`ours`)."""

    def __init__(self, kernel: SimKernel) -> None:
        self._kernel = kernel
        self.pid = 0
        self.status: int | None = None
        self.process: Process | None = None
        self._left = 2
        self._start()

    def _start(self) -> None:
        self._left -= 1
        kernel = self._kernel
        self.process = kernel.fork(kernel.us, Program("labeller"))
        if self.process:
            self.process.ours, self.pid = False, self.process.pid
            self.process.group = self.process.session = self.pid

    def mend(self, say: Callable[[str], None]) -> None:
        """Start another one, once."""
        if self.status is not None and self._left:
            self.status = None
            self._start()
            say("warning: another labeller goes on")

    def file_actions(self, _: int) -> list[tuple[int, int, int]]:
        return []

    def has_writers(self) -> bool:
        """Half of the processes have closed their output, as daemons do."""
        others = (each for each in self._kernel.table.values() if each.ours and each is not self._kernel.us)
        return any(each.state != ZOMBIE and each.serial % 2 for each in others)

    def end(self) -> None:
        if self.process and self.pid:
            self._kernel.release(self.process)
        self.pid = 0

    def finish(self, _patience: float, _now: Callable[[], float]) -> str:
        return ""


class SimChildren(Children):
    """The children of muinit on the simulated kernel."""

    def __init__(self, kernel: SimKernel, procfs: SimProcfs, terminal: SimTerminal) -> None:
        self._kernel = kernel
        self._pid = 1
        self._procfs: SimProcfs = procfs
        self._terminal: SimTerminal = terminal
        self._commands: set[int] = set()
        self._groups: set[int] = set()
        self._start_times: dict[int, int] = {}
        self._all_listed = False
        self._typed_stop = False
        self.labels: SimLabels | None = None  # type: ignore[assignment]

    def start(self, program: Program) -> int:
        """Do what spawn() does, with a program instead of an argv."""
        kernel = self._kernel
        kernel.gap()
        first = not self._commands
        process = kernel.fork(kernel.us, program)
        if process is None:
            raise BlockingIOError(EAGAIN, "Resource temporarily unavailable")
        process.group = process.pid
        process.command = len(kernel.commands)
        kernel.commands.append(process)
        self._commands.add(process.pid)
        if self._terminal.present and first:
            self._terminal.owner = process.pid
            if self._terminal.give():
                self.kill(-process.pid, SIGCONT)
        return process.pid

    def reap(self) -> tuple[list[tuple[int, int]], bool]:
        kernel = self._kernel
        statuses: list[tuple[int, int]] = []
        while True:
            kernel.gap()  # one waitpid(2)
            children = kernel.us.children
            for child in children:
                if child.state == ZOMBIE or (child.unreported and self._terminal.given):
                    break
            else:
                kernel.reaps.append(kernel.calls)
                return statuses, not children or (bool(self._labeller) and self._only_the_labeller_is_left())
            if child.state == ZOMBIE and child.pid == self._labeller:
                kernel.release(child)
                self._labeller_ended(child.status)
            elif child.state == ZOMBIE:
                self._forget(child.pid)
                (kernel.reaped if child.command >= 0 else kernel.reaped_orphans).append(child)
                kernel.release(child)
                statuses.append((child.pid, child.status))
            else:
                self._typed_stop |= child.pid == self._terminal.owner and child.unreported in TYPED_STOPS
                child.unreported = 0

    def _has_no_child(self) -> bool:
        self._kernel.gap()
        return not self._kernel.us.children

    def _is_there(self, pid: int) -> bool:
        self._kernel.gap()
        return bool(self._kernel.members(-pid))

    def group(self, pid: int) -> int:
        self._kernel.gap()
        table = self._kernel.table
        return table[pid].group if pid in table else 0

    def kill(self, pid: int, signum: int) -> None:
        kernel = self._kernel
        kernel.gap()
        try:
            if pid in self._start_times:
                self._kill_if_the_same(pid, signum)
            elif pid < 0:
                kernel.send_from_us(kernel.members(-pid), signum)
            else:
                kernel.send_from_us([kernel.table[pid]] if pid in kernel.table else [], signum)
        except ProcessLookupError:
            pass
        except PermissionError:
            if pid in kernel.table:
                kernel.refused.add((kernel.table[pid], signum))
            raise

    def _kill_if_the_same(self, pid: int, signum: int) -> None:
        kernel = self._kernel
        process = kernel.table.get(pid)  # pidfd_open(2): from here on it means this process or none
        kernel.gap()
        if process is not None and process.serial == self._start_times[pid] and process.state != GONE:
            kernel.gap()
            kernel.send_from_us([] if process.state == GONE else [process], signum)


class SimKernel(Kernel):
    """The simulated kernel. muinit has pid 1 in it; being a subreaper instead would make no difference here.

    `random` returns floats from 0 to 1. `lively` is the chance that something happens in a gap. `pids` is the number of
    pids that there are, and `crowded` the chance that a pid that becomes free is given again at once. `proc` says
    whether there is a /proc, `terminal` whether stdin is a terminal, `stoppable` whether Ctrl-Z
    stops muinit, and `labels` whether a process labels the output.
    """

    def __init__(
        self,
        random: Callable[[], float],
        *,
        lively: float = 0.0,
        pids: int = 1000,
        crowded: float = 0.0,
        proc: bool = True,
        terminal: bool = False,
        stoppable: bool = True,
        labels: bool = False,
        log: Callable[[str], None] | None = None,
    ) -> None:
        self._random = random
        self._quiet = 1.0 - lively
        self._pids = pids
        self._roomy = 1.0 - crowded
        self._stoppable = stoppable
        self._log = log
        self.clock = 0.0
        self.calls = 0
        self._serial = 1
        self.us = Process(1, 1, Program("muinit", subreaper=True), None)
        self.us.ours = True
        self.table: dict[int, Process] = {1: self.us}
        self._last_pid = 1
        self.freed: list[int] | None = None  # while /proc is read: pids that became free; they are not given again yet
        self._strangers: list[Process] = []
        self._events: list[tuple[float, int, Callable[..., None], object]] = []
        self._sequence = 0
        self._ready: list[Process] = []  # processes that have something to act on
        self._news: list[int] = []  # signals pending for muinit
        # The rooms behind the door, for the real code that is used here
        self._pid = 1
        self._procfs: SimProcfs = SimProcfs(self, usable=proc)
        self._terminal: SimTerminal = SimTerminal(present=terminal)
        self._children: SimChildren = SimChildren(self, self._procfs, self._terminal)
        self._caught: frozenset[int] = frozenset()
        # What happened, for the properties that check it
        self.everybody: list[Process] = []
        self.commands: list[Process] = []
        self.reaped: list[Process] = []  # commands, in the order of reaping
        self.reaped_orphans: list[Process] = []
        self.reaps: list[int] = []  # the number of the last system call of each reap()
        self.wronged: list[str] = []  # signals to processes that are not our descendants
        self.refused: set[tuple[Process, int]] = set()  # (a process that we may not signal, the signal that we tried)
        self.reused = 0  # pids that were given a second time
        self.said: list[str] = []
        self.suspended = 0.0  # seconds
        self.unstopped = 0  # how often we did not stop, because nobody would have continued us
        self.sent = 0  # signals, by muinit
        self.on_wait: Callable[[], None] = lambda: None
        self.on_wake: Callable[[list[int]], None] = lambda _: None
        if labels:
            self._children.labels = SimLabels(self)

    @property
    def owner_of_the_terminal(self) -> Process | None:
        """The process that muinit has given the foreground, while it has it."""
        return self.table.get(self._terminal.owner) if self._terminal.given else None

    # The world

    def at(self, time: float, what: Callable[..., None], whom: object = None) -> None:
        """Let something happen at this time, or in a gap shortly before it."""
        self._sequence += 1
        heapq.heappush(self._events, (time, self._sequence, what, whom))

    def gap(self) -> None:
        """Stands before each system call of muinit: here the world may move on."""
        self.calls += 1
        if self.calls > MOST_CALLS:
            raise EndlessError(f"more than {MOST_CALLS} system calls")
        self.clock += TICK
        while self._random() > self._quiet and self._move(self.clock + HORIZON):
            pass

    def hush(self) -> None:
        """From now on nothing happens in a gap."""
        self._quiet = 1.0

    def settle(self) -> None:
        """Let all processes act on their signals while muinit does not look."""
        while self._ready:
            self._move(self.clock)

    def _move(self, until: float) -> bool:
        """Let one thing happen, if there is one up to this time. The clock does not move."""
        ready = self._ready
        if ready:
            index = int(self._random() * len(ready))
            process = ready[index]
            ready[index] = ready[-1]
            ready.pop()
            process.queued = False
            self._act(process)
            return True
        if self._events and self._events[0][0] <= until:
            _, _, what, whom = heapq.heappop(self._events)
            what(whom) if whom is not None else what()
            return True
        return False

    def _pass(self, until: float) -> bool:
        """Let the next thing happen, and move the clock to it. Return False if there is none up to this time."""
        if not self._ready and self._events and self._events[0][0] <= until:
            self.clock = max(self.clock, self._events[0][0])
        return self._move(until)

    def _note(self, process: Process, what: str) -> None:
        if self._log is not None:
            self._log(f"{self.clock:8.3f} s      pid {process.pid} ({process.program.name}) {what}")

    # Processes

    def _new_pid(self) -> int:
        """The next free pid, going round; now and then a random one, as other processes fork too. 0: none is free."""
        taken = set(self.table)
        for process in self.table.values():
            taken.add(process.group)
            taken.add(process.session)
        taken.update(self.freed or ())
        if not self._procfs.usable:
            # Without a /proc muinit knows a group only by its number. Real pids come again only after 32768 forks.
            taken.update(process.pid for process in self.commands)
        if self._random() > 0.7:
            self._last_pid = 1 + int(self._random() * self._pids)
        for _ in range(self._pids):
            self._last_pid = self._last_pid + 1 if self._last_pid < self._pids else 2
            if self._last_pid not in taken:
                return self._last_pid
        return 0

    def fork(self, parent: Process | None, program: Program) -> Process | None:
        """A new process, or None if no pid is free."""
        pid = self._new_pid()
        if pid == 0:
            return None
        self._serial += 1
        process = self.table[pid] = Process(pid, self._serial, program, parent)
        self.everybody.append(process)
        if parent is not None:
            parent.children.append(process)
            if parent is not self.us:
                self._note(parent, f"forks {pid} ({program.name})")
        self._schedule(process)
        return process

    def _schedule(self, process: Process) -> None:
        script = process.program.script
        if process.next < len(script):
            self.at(self.clock + script[process.next][0], self._step, process)

    def _step(self, process: Process) -> None:
        """Do the next action of the process's script."""
        if process.queued:  # with a signal pending, fork(2) fails; it is tried again after the signal
            self._ready.remove(process)
            process.queued = False
            self._act(process)
        if process.doom or not process.alive:
            return
        if process.state == STOPPED:
            process.due = True
            return
        what = process.program.script[process.next][1]
        process.next += 1
        self._do(process, what)
        if process.state == RUNNING:
            self._schedule(process)
        elif process.state == STOPPED:
            process.due = process.next < len(process.program.script)

    def _do(self, process: Process, what: Do) -> None:
        if what.verb == "exit":
            self._die(process, what.number << 8)
        elif what.verb == "die":
            self._die(process, what.number)
        elif what.verb in ("fork", "daemon"):
            assert what.child is not None
            child = what.child
            if what.verb == "daemon":
                child = Program(f"{child.name}'s parent", script=((0.0, Do("fork", child=child)), (0.0, Do("exit"))))
            self.fork(process, child)
        elif what.verb == "setsid":
            if process.group != process.pid:
                process.group = process.session = process.pid
                process.left_group = self.calls
        elif what.verb == "stop":
            self._stop(process, SIGSTOP)
        elif what.verb == "setuid":
            process.beyond = True
            process.beyond_since = self.calls

    def _act(self, process: Process) -> None:
        """Let the process die if it is dying, else act on the first of its signals."""
        if not process.alive:
            return
        if process.doom:
            if not process.program.stuck:
                if process.program.dying:
                    self.at(self.clock + process.program.dying, self._perish, process)
                else:
                    self._perish(process)
            return
        if process.state == STOPPED:
            return
        deliverable = [signum for signum in process.pending if signum not in process.blocked]
        if not deliverable:
            return
        signum = min(deliverable)
        process.pending.remove(signum)
        reaction = process.program.reactions.get(signum)
        if reaction is None:
            if signum in STOPS:
                self._stop(process, signum)
            elif signum not in HARMLESS:
                process.doom = signum
        elif reaction.verb != "ignore":
            word = f"{process.program.name} {name(signum).removeprefix('SIG')}"
            self.said.append(word)
            self._do(process, reaction)
        if process.doom or len(deliverable) > 1:
            self._queue(process)

    def _queue(self, process: Process) -> None:
        if not process.queued and process.alive:
            process.queued = True
            self._ready.append(process)

    def _stop(self, process: Process, signum: int) -> None:
        self._note(process, f"is stopped by {name(signum)}")
        process.state = STOPPED
        process.unreported = signum
        if process.parent is self.us:
            self.tell_us(SIGCHLD)

    def _perish(self, process: Process) -> None:
        self._die(process, process.doom)

    def _die(self, process: Process, status: int) -> None:
        """Make it a zombie. Its children go to the nearest subreaper, and its parent is told (exit(2))."""
        if not process.alive:
            return
        self._note(process, f"dies of {name(status)}" if status < 128 and status else f"exits {status >> 8}")
        process.state = ZOMBIE
        process.status = status
        if process.parent is not None:  # not a stranger
            reaper: Process | None = process.parent
            while reaper is not None and not reaper.program.subreaper:
                reaper = reaper.parent
            assert reaper is not None
            for child in process.children:
                child.parent = reaper
                reaper.children.append(child)
                if child.state == ZOMBIE:
                    self._mourn(child)
            process.children = []
            self._mourn(process)
        else:
            self.release(process)

    def _mourn(self, process: Process) -> None:
        """Tell the parent about a zombie."""
        parent = process.parent
        assert parent is not None
        if parent is self.us:
            process.died = self.calls
            self.tell_us(SIGCHLD)
        elif parent.program.reaps < inf:
            self.at(self.clock + parent.program.reaps, self._reaped_by_parent, (parent, process))

    def _reaped_by_parent(self, pair: tuple[Process, Process]) -> None:
        parent, child = pair
        if child.parent is parent and child.state == ZOMBIE and parent.state == RUNNING and not parent.doom:
            self.release(child)

    def release(self, process: Process) -> None:
        """Free the pid of a zombie that was reaped."""
        process.state = GONE
        del self.table[process.pid]
        if process.parent is not None:
            process.parent.children.remove(process)
        if self.freed is not None:
            self.freed.append(process.pid)
        elif process.ours and self._random() > self._roomy:
            self._last_pid = process.pid - 1  # the next process gets this pid,
            if self._random() > 0.4:  # and most often that is a stranger, at once
                self._stranger_comes(process.pid)

    def _stranger_comes(self, pid: int) -> None:
        """A process that does not descend from muinit gets this pid, if no process, group or session has it."""
        if any(pid in (one.pid, one.group, one.session) for one in self.table.values()):
            return
        if not self._procfs.usable and any(one.pid == pid for one in self.commands):
            return
        self._serial += 1
        self.reused += 1
        self.table[pid] = Process(pid, self._serial, Program("stranger"), None)
        self._note(self.table[pid], "is a stranger")
        self._strangers.append(self.table[pid])
        if len(self._strangers) > 2:
            self._die(self._strangers.pop(0), 0)

    # Signals

    def outside(self, whom: tuple[str, int]) -> None:
        """Somebody else sends a signal to muinit, the foreground, anybody, everybody, or the process of this name."""
        target, signum = whom
        labels = self._children.labels
        if target == "labeller":
            if labels and labels.pid and labels.process:
                self.send(labels.process, signum)
            return
        if target == "muinit":
            self.tell_us(signum)
        elif target == "foreground":
            if self._terminal.foreground == 1:
                self.tell_us(signum)
            else:
                for process in self.members(self._terminal.foreground):
                    self.send(process, signum)
        else:
            ours = [process for process in self.table.values() if process.ours and process is not self.us]
            if target == "anybody":
                ours = [ours[int(self._random() * len(ours))]] if ours else []
            elif target != "everybody":
                ours = [process for process in ours if process.program.name == target]
            for process in ours:
                self._note(process, f"gets {name(signum)} from outside")
                self.send(process, signum)

    def tell_us(self, signum: int) -> None:
        """A signal to muinit. It stays pending until wait(). Real-time signals queue, the others coalesce."""
        if signum >= RTMIN or signum not in self._news:
            self._news.append(signum)

    def send(self, process: Process, signum: int) -> None:
        """A signal to a process, as send_signal() in Linux delivers it. It succeeds on a zombie too."""
        if not process.alive or process.doom:
            return
        if signum in STOPS and SIGCONT in process.pending:
            process.pending.remove(SIGCONT)
        if signum == SIGCONT:
            process.pending = [one for one in process.pending if one not in STOPS]
            if process.state == STOPPED:
                self._continue(process)
        reaction = process.program.reactions.get(signum)
        if signum == SIGKILL:
            process.doom = SIGKILL
            self._queue(process)
            return
        blocked = signum in process.blocked and signum != SIGSTOP
        if not blocked and (reaction.verb == "ignore" if reaction else signum in HARMLESS):
            return
        if signum < RTMIN and signum in process.pending:
            return
        if blocked or process.state == STOPPED:
            process.pending.append(signum)
        elif reaction is None and signum not in STOPS:
            process.doom = signum  # from here on it runs no more (complete_signal())
            self._queue(process)
        else:
            process.pending.append(signum)
            self._queue(process)

    def _continue(self, process: Process) -> None:
        process.state = RUNNING
        process.unreported = 0
        if process.parent is self.us:
            self.tell_us(SIGCHLD)
        if process.pending:
            self._queue(process)
        if process.due:
            process.due = False
            self.at(self.clock, self._step, process)

    def members(self, group: int) -> list[Process]:
        return [process for process in self.table.values() if process.group == group and process is not self.us]

    def send_from_us(self, targets: Iterable[Process], signum: int) -> None:
        """What kill(2) does for muinit: ESRCH if there is no process, EPERM if we may signal none of them."""
        targets = list(targets)
        allowed = False
        for process in targets:
            if not process.ours or process is self.us:
                self.wronged.append(f"{name(signum)} to pid {process.pid} ({process.program.name})")
            if signum:
                self.sent += 1
                process.sent.append((self.calls, signum, process.alive))
            if not process.beyond or (signum == SIGCONT and process.session == self.us.session):
                allowed = True
                if not signum:  # signal 0 only asks whether we may
                    continue
                if self._log is not None:
                    self._note(process, f"is sent {name(signum)}" + ("" if process.alive else ", a zombie"))
                self.send(process, signum)
        if not targets:
            raise ProcessLookupError
        if not allowed:
            raise PermissionError  # for a group: only if we may signal none of its members

    # What muinit calls

    def now(self) -> float:
        self.gap()
        return self.clock

    def start(self, program: Program) -> int:
        """Do what spawn() does, with a program instead of an argv."""
        return self._children.start(program)

    def suspend(self) -> bool:
        self._children.suspend()
        self._terminal.take()
        self.gap()
        if SIGCONT in self._news:
            self._news.remove(SIGCONT)
        since = self.clock
        if self._stoppable:
            self.at(self.clock + 1.0, self.outside, ("muinit", SIGCONT))
            while SIGCONT not in self._news and self._pass(inf):
                pass
        self.suspended += self.clock - since
        self.gap()
        continued = SIGCONT in self._news
        self.unstopped += not continued
        return continued

    def catch(self, numbers: Iterable[int]) -> None:
        self._caught = frozenset(numbers)

    def wait(self, seconds: float | None) -> list[int]:
        self.on_wait()
        self.gap()
        deadline = inf if seconds is None else self.clock + ceil(seconds * 1000) / 1000 if seconds < inf else inf
        while not self._caught.intersection(self._news):
            if not self._pass(deadline):
                if deadline == inf:
                    raise EndlessError("muinit waits for ever")
                self.clock = max(self.clock, deadline)
                break
        while self._random() > self._quiet and self._move(self.clock + HORIZON):
            pass
        arrived = [signum for signum in self._news if signum in self._caught]
        self._news = []
        # The kernel stacks the frames of the handlers, lowest signal first. So the last handler runs first.
        arrived.sort(reverse=True)
        if len(arrived) > 1 and self._random() > 0.5:  # signals that came while we waited are handled as they came
            index = int(self._random() * len(arrived))
            arrived = arrived[index:] + arrived[:index]
        arrived = in_order(arrived)
        self.on_wake(arrived)
        return arrived
