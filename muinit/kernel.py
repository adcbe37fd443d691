"""Every system call that muinit makes for its children and its signals, and nothing else."""

import _signal
import os
from errno import ENOENT, ENOEXEC
from select import POLLIN, poll
from time import monotonic

from muinit import signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_PR_SET_CHILD_SUBREAPER = 36  # prctl(2), linux/prctl.h
_LONGEST_WAIT = 86400.0  # seconds; poll(2) takes an int of milliseconds, and waiting again is free
_O_PATH = os.O_PATH | os.O_CLOEXEC


class Kernel:
    """The kernel as muinit sees it. `mask` is the set of blocked signals that our caller had."""

    def __init__(self, mask: "Iterable[int]") -> None:
        self._mask = mask
        self._pid = os.getpid()
        self._environment = _callers_environment()
        self._started: set[int] = set()  # those of spawn() that reap() has not given yet
        self._caught: frozenset[int] = frozenset()
        self._delivered: set[int] = set()
        self._proc = _proc_is_ours(self._pid)
        # Started with stdin, stdout or stderr closed, our pipe would become one of them, and what is written
        # to stderr would be read as signals. The children see them closed, as they were.
        while (fd := os.open("/", _O_PATH)) <= 2:
            pass
        os.close(fd)
        # Ignored, as some callers leave it, SIGCHLD makes the kernel reap: every exit status would be lost (wait(2)).
        _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)

    @property
    def is_init(self) -> bool:
        """Whether we are PID 1 of our PID namespace."""
        return self._pid == 1

    def now(self) -> float:
        """The monotonic clock, in seconds."""
        return monotonic()

    # Children

    def adopt_orphans(self) -> bool:
        """Become the parent of every orphan among our descendants, as PID 1 is; return whether we are."""
        if self.is_init:
            return True
        import ctypes  # 2 ms and 0.3 MiB that a PID 1 does not pay

        prctl = ctypes.CDLL(None).prctl
        return bool(prctl(_PR_SET_CHILD_SUBREAPER, *map(ctypes.c_ulong, (1, 0, 0, 0))) == 0)

    def spawn(self, argv: list[str]) -> int:
        """Start a command in the world that our caller made, and return its pid.

        posix_spawn(3), because nothing of Python runs between its fork and its exec: a SIGTERM in that window
        is lost with os.fork and exec (measured: 135 of 150). Raises OSError with the errno of fork or exec.
        """
        if not argv[0]:  # Python refuses it with a ValueError
            raise FileNotFoundError(ENOENT, os.strerror(ENOENT))
        try:
            return self._spawn(argv[0], argv)
        except OSError as error:
            if error.errno != ENOEXEC:
                raise
        # A script without "#!": execvp(3) gives it to the shell, posix_spawnp(3) does not.
        return self._spawn("/bin/sh", ["/bin/sh", self._find(argv[0]), *argv[1:]])

    def _spawn(self, file: str, argv: list[str]) -> int:
        pid = os.posix_spawnp(
            file,
            argv,
            self._environment,
            setpgroup=0,  # a signal to its group, or from its terminal, is not for us
            setsigmask=self._mask,  # we block everything
            setsigdef=signals.IGNORED_BY_PYTHON,  # as they were before Python started, we hope: it does not tell
        )
        self._started.add(pid)
        return pid

    def _find(self, file: str) -> str:
        if "/" in file:
            return file
        paths = (os.path.join(directory, file) for directory in os.get_exec_path(self._environment))
        return next((path for path in paths if os.path.isfile(path) and os.access(path, os.X_OK)), file)

    def leave_directory(self) -> None:
        """Move to the root, so that we keep no file system busy."""
        os.chdir("/")

    def reap(self) -> tuple[list[tuple[int, int]], bool]:
        """Take every status there is: (pid, wait status) in the kernel's order, and whether no child is left.

        SIGCHLD says "ask waitpid(2) until it has no more", never "one child": it coalesces.
        """
        reaped: list[tuple[int, int]] = []
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return reaped, True
            if pid == 0:
                return reaped, False
            self._started.discard(pid)
            reaped.append((pid, status))

    def children(self) -> list[int]:
        """The pids of our children that were not reaped, adopted ones too; parents come before what they left.

        Without a /proc that is ours, only the commands.
        """
        if self._proc:
            try:
                with open("/proc/thread-self/children", "rb") as file:
                    return [int(pid) for pid in file.read().split()]
            except OSError:  # a kernel without CONFIG_PROC_CHILDREN
                return _parents().get(self._pid, [])
        return sorted(self._started)

    def descendants(self) -> list[int]:
        """The pids of our children, of their children, and so on; parents come first."""
        tree = self.children()
        if self._proc:
            parents = _parents()
            for pid in tree:  # grows while we walk it
                tree += parents.get(pid, ())
        return tree

    def kill(self, pid: int, signum: int) -> None:
        """Send a signal. That nobody is there any more is an answer. Raises PermissionError."""
        try:
            os.kill(pid, signum)
        except ProcessLookupError:
            pass

    def kill_everything(self) -> None:
        """SIGKILL all descendants until none is left, for a second: the last resort of a muinit that is broken."""
        deadline = monotonic() + 1
        while not self.reap()[1] and monotonic() < deadline:
            for pid in self.descendants():
                self.kill(pid, signals.SIGKILL)
            _signal.sigtimedwait([signals.SIGCHLD], 0.1)

    def describe(self, pid: int) -> str:
        """What the process table says of a process: "pid 12 (sshd, state D)"."""
        name, state, _ = _stat(pid) if self._proc else ("?", "?", 0)
        return f"pid {pid} ({name}, state {state})"

    # Signals

    def catch(self, numbers: "Iterable[int]") -> None:
        """From now on `wait` returns these signals; all others stay blocked."""
        self._caught = frozenset(numbers)
        self._pipe, write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._poll = poll()
        self._poll.register(self._pipe, POLLIN)
        _signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
        for number in self._caught:
            _signal.signal(number, self._deliver)

    def _deliver(self, number: int, _frame: object) -> None:
        # The pipe is the news. This is for the day on which it is full: then the kernel drops the byte.
        self._delivered.add(number)

    def ignored(self, number: int) -> bool:
        """Whether our caller had this signal ignored (`nohup` does)."""
        return bool(_signal.getsignal(number) == _signal.SIG_IGN)

    def wait(self, seconds: float | None) -> list[int]:
        """Wait for signals, at most so many seconds (`None`: without end), and return them in order of arrival.

        Signals arrive only in here. Everywhere else they are blocked, so no system call of ours is interrupted.
        """
        milliseconds = None if seconds is None else -int(-min(seconds, _LONGEST_WAIT) * 1000 // 1)  # rounded up
        _signal.pthread_sigmask(_signal.SIG_UNBLOCK, self._caught)
        self._poll.poll(milliseconds)
        _signal.pthread_sigmask(_signal.SIG_BLOCK, self._caught)
        arrived: list[int] = []
        try:
            while data := os.read(self._pipe, 65536):
                arrived += data
        except BlockingIOError:
            pass
        arrived += self._delivered.difference(arrived)
        self._delivered.clear()
        return arrived


def _callers_environment() -> dict[str, str]:
    """Return the environment that muinit was started with.

    Python adds LC_CTYPE to it, or replaces it, where the locale is "C" (PEP 538), and a container's is. Only
    /proc/self/environ still says what execve(2) was given.
    """
    environment = dict(os.environ)
    if environment.get("LC_CTYPE") in ("C.UTF-8", "C.utf8", "UTF-8"):
        try:
            with open("/proc/self/environ", "rb") as file:
                entries = file.read().split(b"\0")
        except OSError:
            return environment
        del environment["LC_CTYPE"]
        for entry in entries:
            if entry.startswith(b"LC_CTYPE="):
                environment["LC_CTYPE"] = os.fsdecode(entry).partition("=")[2]
    return environment


def _proc_is_ours(pid: int) -> bool:
    """Whether /proc shows our own PID namespace: the pids of another one are other processes."""
    try:
        return os.readlink("/proc/self") == str(pid)
    except OSError:
        return False


def _parents() -> dict[int, list[int]]:
    """The children of each process in /proc."""
    parents: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            _, _, parent = _stat(int(entry))
            parents.setdefault(parent, []).append(int(entry))
    return parents


def _stat(pid: int) -> tuple[str, str, int]:
    """The name, state and parent of a process (proc(5)); ("?", "?", 0) where it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            stat = file.read()
    except OSError:
        return "?", "?", 0
    # The name stands in parentheses, and can have blanks and parentheses of its own.
    head, _, tail = stat.rpartition(b")")
    state, parent = tail.split()[:2]
    return head.partition(b"(")[2].decode(errors="replace"), state.decode(), int(parent)
