"""Every system call that muinit makes for its children and its signals, and nothing else."""

import _signal
import os
from errno import EACCES, ELIBBAD, ELOOP, ENOENT, ENOEXEC, ENOTDIR
from select import POLLIN, poll
from time import monotonic

from muinit import signals
from muinit.lastresort import LastResort, Started
from muinit.procfs import Procfs
from muinit.terminal import Terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_PR_SET_CHILD_SUBREAPER = 36  # prctl(2), linux/prctl.h
_PIPE_SIZE = 1048576  # bytes, one a signal: ten times what RLIMIT_SIGPENDING usually lets anybody queue
_WALL = 0x40000000  # waitpid(2), linux/wait.h
_EXEC_ERRORS = (ENOENT, ENOTDIR, EACCES, ELOOP, ELIBBAD, ENOEXEC)  # those that an interpreter can be to blame for
_RESERVED = 6 << 20  # bytes of address space: what is loaded once the commands run takes 4 MiB (Python 3.11, measured)
_LONGEST_WAIT = 86400.0  # seconds; poll(2) takes an int of milliseconds, and waiting again is free


class Kernel:
    """The kernel as muinit sees it. `mask` is the set of blocked signals that our caller had."""

    def __init__(self, mask: "Iterable[int]") -> None:
        # Started with stdin, stdout or stderr closed, our pipe would become one of them, and what is written
        # to stderr would be read as signals. The children see them closed, as they were.
        while (fd := os.open("/", os.O_PATH | os.O_CLOEXEC)) <= 2:
            pass
        os.close(fd)
        self._mask = mask
        self._pid = os.getpid()
        self._environment = _callers_environment()
        self._procfs = Procfs()
        self._terminal = Terminal()
        self._commands: set[int] = set()  # those of spawn() that reap() has not given yet
        self._groups: set[int] = set()  # of commands that ended, where /proc cannot tell who is left in them
        self._others: dict[int, int] = {}  # descendants that are not our children: their start times
        self._caught: frozenset[int] = frozenset()
        self._delivered: set[int] = set()
        self._typed_stop = False
        self.started: Started | None = None  # the command that was started last
        self.adopts = False  # whether orphans become ours
        # Before the first child: if there is no descriptor left for it, nothing is started.
        self._pipe, self._write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._last_resort = LastResort(self)
        bytes(_RESERVED)  # not touched, so this costs nothing; raises MemoryError
        # Ignored, as some callers leave it, SIGCHLD makes the kernel reap: every exit status would be lost (wait(2)).
        _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)

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
        """Whether stdin is a terminal: then the first command has it, and the others read from /dev/null."""
        return self._terminal.present

    def now(self) -> float:
        """The monotonic clock, in seconds."""
        return monotonic()

    # Children

    def adopt_orphans(self) -> bool:
        """Become the parent of every orphan among our descendants, as PID 1 is; return whether we are.

        Raises OSError where no descriptor is left.
        """
        self.adopts = self.is_init or self._become_subreaper()
        return self.adopts

    def _become_subreaper(self) -> bool:
        try:
            import ctypes  # 2 ms and 0.3 MiB that a PID 1 does not pay

            prctl = ctypes.CDLL(None).prctl
            return bool(prctl(_PR_SET_CHILD_SUBREAPER, *map(ctypes.c_ulong, (1, 0, 0, 0))) == 0)
        # A Python without libffi has no _ctypes, and ctypes wants memory that can be executed, which SELinux may deny.
        except (ImportError, OSError, AttributeError, MemoryError):
            os.close(os.open("/", os.O_PATH | os.O_CLOEXEC))  # raises where a lack of descriptors was the reason
            return False

    def spawn(self, argv: list[str]) -> int:
        """Start a command in the world that our caller made, and return its pid.

        posix_spawn(3), because nothing of Python runs between its fork and its exec: a SIGTERM in that window
        is lost with os.fork and exec (measured: 135 of 150). Raises OSError with the errno of fork or exec; its
        `filename2` is the interpreter of the command, if that was what could not be executed.
        """
        try:
            return self._spawn(argv[0], argv)
        except ValueError:  # Python refuses an empty name and one with a NUL in it; no file has either
            raise FileNotFoundError(ENOENT, os.strerror(ENOENT), argv[0]) from None
        except OSError as error:
            if error.errno not in _EXEC_ERRORS:
                raise
            errno = error.errno
        return self._search(argv, errno)

    def _search(self, argv: list[str], errno: int) -> int:
        """Try the paths of a command one by one, because execvp(3), which failed with `errno`, does not name them."""
        from muinit import executable

        blamed = None
        for path in executable.candidates(argv[0], self._environment):
            try:
                return self._spawn(path, argv)
            except OSError as error:
                if error.errno == ENOEXEC and executable.is_shell_script(path):
                    return self._spawn_shell(path, argv)
                if error.errno == errno:
                    blamed = blamed or executable.culprit(path, errno)
                if error.errno not in (ENOENT, ENOTDIR, EACCES):  # after these execvp(3) searches on
                    break
        raise OSError(errno, os.strerror(errno), argv[0], None, blamed or None)

    def _spawn_shell(self, script: str, argv: list[str]) -> int:
        """A script without "#!": execvp(3) gives it to the shell, posix_spawnp(3) does not."""
        shell = "/bin/sh"
        operand = f"./{script}" if script[0] in "-+" else script  # or it would be an option
        try:
            return self._spawn(shell, [shell, operand, *argv[1:]])
        except OSError as error:
            raise OSError(error.errno, error.strerror, argv[0], None, shell) from None

    def _spawn(self, file: str, argv: list[str]) -> int:
        first = not self._commands
        nothing = (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0)
        # Before the fork: after it nothing may fail until the pid is kept.
        self.started = started = Started(self.started)
        started.pid = pid = os.posix_spawnp(
            file,
            argv,
            self._environment,
            file_actions=[nothing] if self._terminal.present and not first else [],
            setpgroup=0,  # a signal to its group, or from its terminal, is not for us
            setsigmask=self._mask,  # we block everything
            setsigdef=signals.IGNORED_BY_PYTHON,  # as they were before Python started, we hope: it does not tell
        )
        self._commands.add(pid)
        if self._terminal.present and first:
            self._terminal.owner = pid
            if self._terminal.give():
                # It may have looked for the terminal already, and been stopped: it cannot be given before it exists.
                self.kill(-pid, _signal.SIGCONT)
        return pid

    def leave_directory(self) -> None:
        """Move to the root, so that we keep no file system busy."""
        try:
            os.chdir("/")
        except PermissionError:  # an ordinary user in an odd root: then it is kept busy
            pass

    def reap(self) -> tuple[list[tuple[int, int]], bool]:
        """Take every status there is: (pid, wait status) in the kernel's order, and whether no child is left.

        SIGCHLD says "ask waitpid(2) until it has no more", never "one child": it coalesces.
        """
        statuses: list[tuple[int, int]] = []
        while True:
            try:
                # Without __WALL a child that was made without SIGCHLD as its exit signal is no child (clone(2)). We
                # can have inherited one from who became us by exec; any other is given that signal at its adoption.
                pid, status = os.waitpid(-1, os.WNOHANG | _WALL | (os.WUNTRACED if self._terminal.given else 0))
            except ChildProcessError:
                return statuses, True
            if pid == 0:
                return statuses, False
            if os.WIFSTOPPED(status):
                self._typed_stop |= pid == self._terminal.owner and os.WSTOPSIG(status) == _signal.SIGTSTP
            else:
                self._forget(pid)
                statuses.append((pid, status))

    def _forget(self, pid: int) -> None:
        if pid == self._terminal.owner:
            self._terminal.take()
            self._terminal.owner = 0
        if pid in self._commands:
            self._commands.remove(pid)
            if not self._procfs.usable:
                self._groups.add(pid)

    def children(self) -> list[int]:
        """The pids of our children that were not reaped, adopted ones too.

        Without a /proc the commands, and, as negative numbers, the groups of those that ended: kill(2) takes
        both. A group stays that of its command for as long as it has members.
        """
        self._others = {}  # an old one may have the pid of a new child
        if self._procfs.usable:
            try:
                return self._procfs.children()
            except OSError:
                pass
        self._groups = {group for group in self._groups if self._is_there(-group)}
        return [*sorted(self._commands), *sorted(-group for group in self._groups)]

    def _is_there(self, pid: int) -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
        return True

    def descendants(self) -> list[int]:
        """The pids of our children, of their children, and so on, that are alive; parents come first.

        Without a /proc only the children. /proc is no snapshot: who forks and exits all the time may slip through.
        """
        tree, processes = self._tree()
        return [pid for pid in tree if pid not in processes or processes[pid][0] not in "ZX"]

    def living(self) -> dict[int, int]:
        """The pids of our descendants that are alive, with their start times, from one look; none without a /proc."""
        tree, processes = self._tree()
        return {pid: processes[pid][3] for pid in tree if pid in processes and processes[pid][0] not in "ZX"}

    def start_time(self, pid: int) -> int:
        """The start time of a process, which tells it from a later one with its pid; 0 where it is gone."""
        return self._procfs.started(pid)

    def group(self, pid: int) -> int:
        """The process group of a process; 0 where it is gone."""
        try:
            return os.getpgid(pid)
        except OSError:
            return 0

    def may_signal(self, pid: int) -> bool:
        """Whether we are permitted to signal a process (kill(2), signal 0)."""
        try:
            self.kill(pid, 0)
        except PermissionError:
            return False
        return True

    def groups(self) -> list[int]:
        """The process groups of our children, as negative numbers, where nobody else is in them.

        A signal to a group reaches all its members at once, also those who fork while it is sent. And the group of
        a child, be it a zombie that we have not reaped, is not yet anybody else's.
        """
        tree, processes = self._tree()
        if not processes:
            return [-pid for pid in sorted(self._commands)]
        ours = set(tree)
        strange = {group for pid, (_, _, group, _) in processes.items() if pid not in ours} | {os.getpgrp()}
        groups = {group for _, parent, group, _ in processes.values() if parent == self._pid}
        return sorted(-group for group in groups - strange)

    def _tree(self) -> tuple[list[int], dict[int, tuple[str, int, int, int]]]:
        """Our descendants, zombies too, and what /proc says of every process, if it says anything."""
        children = self.children()
        try:
            processes = self._procfs.processes() if self._procfs.usable else {}
        except OSError:  # no descriptor left: as parents die, their children become ours
            processes = {}
        offspring: dict[int, list[int]] = {}
        for pid, (_, parent, _, _) in processes.items():
            offspring.setdefault(parent, []).append(pid)
        # Children by the first list may be hidden (hidepid=2); by the second they may have become ours since.
        tree = list(dict.fromkeys([*children, *offspring.get(self._pid, ())]))
        own = set(tree)
        for pid in tree:  # grows while we walk it
            tree += (child for child in offspring.get(pid, ()) if child not in own)
        self._others = {pid: processes[pid][3] for pid in tree if pid not in own}
        return tree, processes

    def kill(self, pid: int, signum: int) -> None:
        """Send a signal; to a process group where `pid` is negative. Raises PermissionError.

        That nobody is there any more is an answer.
        """
        try:
            if pid in self._others:
                self._kill_other(pid, signum)
            else:
                os.kill(pid, signum)  # the pid of a child that was not reaped is nobody else's
        except ProcessLookupError:
            pass

    def _try_to_kill(self, pid: int, signum: int) -> None:
        """The same, where those whom we may not signal are no reason to leave out the others."""
        try:
            self.kill(pid, signum)
        except PermissionError:
            pass

    def _kill_other(self, pid: int, signum: int) -> None:
        """Signal a descendant whose pid somebody else may have by now: its parent reaps it, not we."""
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        except OSError:  # no descriptor left, or a sandbox that does not know pidfd_open(2)
            fd = None
        try:
            if self._procfs.started(pid) != self._others[pid]:
                return
            if fd is None:
                os.kill(pid, signum)
            else:
                _signal.pidfd_send_signal(fd, signum)
        finally:
            if fd is not None:
                os.close(fd)

    def stop_everything(self, grace: float = 0.0) -> bool:
        """The last resort of a muinit that is broken: see LastResort.stop."""
        return self._last_resort.stop(grace)

    def release_signals(self) -> None:
        """Listen to no signal any more, and give back the two descriptors that this took."""
        _signal.set_wakeup_fd(-1)
        _signal.pthread_sigmask(_signal.SIG_BLOCK, signals.ALL)
        os.close(self._write_end)
        os.close(self._pipe)

    def name(self, pid: int) -> str:
        """The name of a process, "" where /proc does not know."""
        return self._procfs.name(pid) if self._procfs.usable else ""

    def describe(self, pid: int) -> str:
        """What the process table says of a process: "pid 12 (sshd, state D)"."""
        if pid < 0:
            return f"process group {-pid}"
        return f"pid {pid} ({self._procfs.describe(pid)})" if self._procfs.usable else f"pid {pid}"

    # The terminal

    def typed_stop(self) -> bool:
        """Whether the first command was stopped from the terminal that we gave it, since this was last asked."""
        typed, self._typed_stop = self._typed_stop, False
        return typed

    def suspend(self) -> bool:
        """Suspend the commands, and then us, as Ctrl-Z does; return when we are continued.

        Return False where nobody can continue us, so that we did not stop: as PID 1, or where no shell with job
        control is our parent. The default action of SIGTSTP knows (an orphaned process group, setpgid(2)).
        """
        for pid in self._commands:
            self._try_to_kill(-pid, _signal.SIGTSTP)
        # What is typed is for the whole pipeline that we are part of; it came to the first command alone.
        whom = 0 if self._terminal.given else self._pid
        self._terminal.take()
        _signal.signal(_signal.SIGTSTP, _signal.SIG_DFL)
        os.kill(whom, _signal.SIGTSTP)
        _signal.pthread_sigmask(_signal.SIG_UNBLOCK, [_signal.SIGTSTP])
        _signal.pthread_sigmask(_signal.SIG_BLOCK, [_signal.SIGTSTP])
        if _signal.SIGTSTP in self._caught:
            _signal.signal(_signal.SIGTSTP, self._deliver)
        return _signal.SIGCONT in _signal.sigpending()

    def resume(self) -> None:
        """Give the terminal to its owner if it is ours again, and continue the commands."""
        self._terminal.give()
        for pid in self.children():
            self._try_to_kill(-pid if pid in self._commands else pid, _signal.SIGCONT)

    def take_terminal(self) -> None:
        """Take the foreground back before we exit."""
        self._terminal.take()

    # Signals

    def catch(self, numbers: "Iterable[int]") -> None:
        """From now on `wait` returns these signals; all others stay blocked."""
        import fcntl

        try:
            fcntl.fcntl(self._write_end, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
        except OSError:  # pipe-user-pages-soft, pipe(7): then 64 KiB must do
            pass
        self._caught = frozenset(numbers)
        self._poll = poll()
        self._poll.register(self._pipe, POLLIN)
        _signal.set_wakeup_fd(self._write_end, warn_on_full_buffer=False)
        for number in self._caught:
            _signal.signal(number, self._deliver)

    def _deliver(self, number: int, _frame: object) -> None:
        # The pipe is the news. This is for the day on which it is full: then the kernel drops the byte.
        self._delivered.add(number)

    def ignored(self, number: int) -> bool:
        """Whether our caller had this signal ignored (`nohup` does)."""
        return bool(_signal.getsignal(number) == _signal.SIG_IGN)

    def pending(self, numbers: "Iterable[int]") -> bool:
        """Whether one of these signals has come, which `wait` will return; before `catch` it would not."""
        return not _signal.sigpending().isdisjoint(numbers)

    def wait(self, seconds: float | None) -> list[int]:
        """Wait for signals, at most so many seconds (`None`: without end), and return them, lowest number first.

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
        return in_order(arrived)


def in_order(arrived: "Iterable[int]") -> list[int]:
    """Sort the signals of one wake: lowest number first, as the kernel gives pending signals to a process.

    The pipe has them the other way round. The kernel puts the frame of each handler on top of the one before, so the
    last one runs first, and TERM would overtake the USR1 that was sent before it (measured: 29 of 60).
    """
    return sorted(arrived)


def _callers_environment() -> dict[str, str]:
    """Return the environment that muinit was started with.

    Python adds LC_CTYPE to it, or replaces it, where the locale is "C" (PEP 538), and a container's is. Only
    /proc/self/environ still says what execve(2) was given.
    """
    environment = dict(os.environ)
    environment.pop("", None)  # "=value": some callers have it, posix_spawn(3) by Python refuses it
    if environment.get("LC_CTYPE") in ("C.UTF-8", "C.utf8", "UTF-8"):
        from muinit.isolated import callers_environment

        given = callers_environment().get(b"LC_CTYPE")
        if given is None:
            del environment["LC_CTYPE"]
        else:
            environment["LC_CTYPE"] = os.fsdecode(given)
    return environment
