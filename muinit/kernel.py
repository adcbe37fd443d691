"""The one door to the kernel: all that a running muinit asks of it. The simulation replaces it as a whole.

It has these parts: `caller` (what we were given), `children` (start, list, signal, reap), `selfpipe` (signals),
`procfs`, `terminal` and `labels`.
"""

import _signal
import os
from time import monotonic

from muinit.caller import Caller, keep_standard_descriptors_closed
from muinit.children import PR_SET_PDEATHSIG, Children, prctl
from muinit.lastresort import LastResort
from muinit.procfs import Procfs
from muinit.selfpipe import SelfPipe
from muinit.terminal import Terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

_RESERVED_BYTES = 6 << 20  # of address space; the modules that are loaded later take 4 MiB (Python 3.11, measured)


class Kernel:
    """The kernel as muinit sees it. `mask` is the set of signals that our caller had blocked."""

    def __init__(self, mask: "Iterable[int]") -> None:
        keep_standard_descriptors_closed()  # before anything is opened
        self._pid = os.getpid()
        self._caller = Caller(mask)
        self._procfs = Procfs()
        self._terminal = Terminal()
        self._children = Children(self._caller, self._procfs, self._terminal)
        # Made before the commands are started: if no descriptor or memory is left for these, nothing is started.
        self._self_pipe = SelfPipe()
        self._last_resort = LastResort(self._children, self._self_pipe, self._terminal)
        bytes(_RESERVED_BYTES)  # not touched, so this costs nothing; raises MemoryError
        # Some callers leave SIGCHLD ignored. Then the kernel reaps, and every exit status is lost (wait(2)).
        _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)

    def now(self) -> float:
        """The monotonic clock, in seconds."""
        return monotonic()

    # Where we run

    @property
    def is_init(self) -> bool:
        """Whether we are PID 1 of our PID namespace."""
        return self._pid == 1

    @property
    def sees_orphans(self) -> bool:
        """Whether there is a /proc that lists them."""
        return self._procfs.usable

    @property
    def has_terminal(self) -> bool:
        """Whether stdin is a terminal: then the first command gets it, and the others read from /dev/null."""
        return self._terminal.present

    @property
    def init_is_deaf(self) -> bool:
        """Whether PID 1 does nothing about SIGTERM: the kernel shields it from signals that it does not handle."""
        return self._procfs.usable and self._procfs.leaves(1, _signal.SIGTERM)

    def ignored(self, number: int) -> bool:
        """Whether our caller had this signal ignored."""
        return self._caller.ignored(number)

    def follow_parent(self, signum: int, parent: int) -> bool:
        """Ask for this signal when our parent dies; return whether we will get it.

        `parent` is its pid at our first line. The kernel means the thread that started us (prctl(2)).
        """
        done = prctl(PR_SET_PDEATHSIG, signum)
        if done and os.getppid() != parent:  # it died before we could ask
            os.kill(self._pid, signum)
        return done

    def leave_directory(self) -> None:
        """Move to the root, so that we keep no file system busy."""
        try:
            os.chdir("/")
        except PermissionError:  # a root directory that we may not enter: then the file system is kept busy
            pass

    # Children and their descendants

    def adopt_orphans(self) -> bool:
        """Become the parent of every orphan among our descendants; return whether we are. Raises OSError."""
        return self._children.adopt_orphans()

    def spawn(self, argv: list[str]) -> int:
        """Start a command, and return its pid. Raises OSError."""
        return self._children.spawn(argv)

    def label(self, names: "Sequence[str]") -> None:
        """Label what the commands will write: "" for one that is left alone. Raises OSError."""
        from muinit.labels import Labels

        self._children.labels = Labels(names)

    def all_started(self) -> None:
        """No further command will be started."""
        if self._children.labels:
            self._children.labels.started()

    def mend_labels(self, say: "Callable[[str], None]") -> None:
        """If the process that labels has died, start another one, and say so."""
        if self._children.labels:
            self._children.labels.mend(say)

    def finish_labels(self, patience: float) -> str:
        """Wait until the labelled output is out, while somebody reads it; return what was lost, or ""."""
        return self._children.labels.finish(patience, self.now) if self._children.labels else ""

    def reap(self) -> tuple[list[tuple[int, int]], bool]:
        """Take every status there is: (pid, wait status) in the kernel's order, and whether no child is left."""
        return self._children.reap()

    def children(self, spared: "Collection[int]" = ()) -> list[int]:
        """The pids of our children that were not reaped, including adopted ones; a negative number is a group.

        Here and in what follows, children in `spared` and in their groups are left out, and what descends from them.
        """
        return self._children.pids(spared)

    def whole_tree(self, spared: "Collection[int]" = ()) -> tuple[list[int], list[int]]:
        """The groups that are ours alone, as negative numbers, and all living descendants, from one look at /proc."""
        return self._children.whole_tree(spared)

    def living(self, spared: "Collection[int]" = ()) -> dict[int, tuple[int, int]]:
        """The pids of our living descendants, each with its start time and the child of ours that it descends from."""
        return self._children.living(spared)

    def start_time(self, pid: int) -> int:
        """The start time of a process, which tells it from a later one with the same pid; 0 if it is gone."""
        return self._procfs.started(pid)

    def group(self, pid: int) -> int:
        """The process group of a process; 0 if it is gone."""
        return self._children.group(pid)

    def kill(self, pid: int, signum: int) -> None:
        """Send a signal, to a process group if `pid` is negative. Raises PermissionError."""
        self._children.kill(pid, signum)

    def may_signal(self, pid: int) -> bool:
        """Whether we are permitted to signal a process."""
        return self._children.may_signal(pid)

    def name(self, pid: int) -> str:
        """The name of a process, "" if /proc does not know."""
        return self._procfs.name(pid) if self._procfs.usable else ""

    def describe(self, pid: int) -> str:
        """What the process table says of a process: "pid 12 (sshd, state D)"."""
        if pid < 0:
            return f"process group {-pid}"
        return f"pid {pid} ({self._procfs.describe(pid)})" if self._procfs.usable else f"pid {pid}"

    def stop_everything(self, grace: float = 0.0) -> bool:
        """The last resort of a muinit that is broken: see LastResort.stop."""
        return self._last_resort.stop(grace)

    # The terminal

    def typed_stop(self) -> bool:
        """Whether the first command was stopped from the terminal that we gave it, since this was last asked."""
        return self._children.typed_stop()

    def suspend(self) -> bool:
        """Suspend the commands, and then us, as Ctrl-Z does; return when we are continued.

        Return False if we did not stop, because no process could continue us: we are PID 1, or our parent is not a
        shell with job control. The kernel knows: SIGTSTP does not stop an orphaned process group (setpgid(2)).
        """
        self._children.suspend()
        # Ctrl-Z is meant for the whole pipeline that we are part of, but reached only the group of the first command.
        whom = 0 if self._terminal.given else self._pid
        self._terminal.take()
        _signal.signal(_signal.SIGTSTP, _signal.SIG_DFL)
        os.kill(whom, _signal.SIGTSTP)
        _signal.pthread_sigmask(_signal.SIG_UNBLOCK, [_signal.SIGTSTP])  # here we stop
        _signal.pthread_sigmask(_signal.SIG_BLOCK, [_signal.SIGTSTP])
        self._self_pipe.catch_again(_signal.SIGTSTP)
        return _signal.SIGCONT in _signal.sigpending()

    def resume(self) -> None:
        """Give the terminal to its owner if it is ours again, and continue all children."""
        self._terminal.give()
        self._children.resume()

    def take_terminal(self) -> None:
        """Take the foreground back before we exit."""
        self._terminal.take()

    # Signals

    def catch(self, numbers: "Iterable[int]") -> None:
        """From now on `wait` returns these signals; all others stay blocked."""
        self._self_pipe.catch(numbers)

    def pending(self, numbers: "Iterable[int]") -> bool:
        """Whether one of these signals has come. `wait` will return it, once it is caught."""
        return not _signal.sigpending().isdisjoint(numbers)

    def wait(self, seconds: float | None) -> list[int]:
        """Wait for signals, at most so many seconds (`None`: without end), and return them, lowest number first."""
        return self._self_pipe.wait(seconds)
