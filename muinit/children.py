"""Our children and their descendants: start them, list them, signal them, reap them."""

import _signal
import os
from errno import EACCES, ELIBBAD, ELOOP, ENOENT, ENOEXEC, ENOTDIR

from muinit import signals
from muinit.lastresort import WALL, Started

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from muinit.caller import Caller
    from muinit.labels import Labels
    from muinit.procfs import Procfs
    from muinit.terminal import Terminal

    Process = tuple[str, int, int, int]  # state, parent, group, start time

PR_SET_PDEATHSIG = 1  # prctl(2), linux/prctl.h, as is
PR_SET_CHILD_SUBREAPER = 36
# What stops a program at which Ctrl-Z was typed: nano and mutt catch it, and stop themselves with the second one.
TYPED_STOPS = (_signal.SIGTSTP, _signal.SIGSTOP)
_EXEC_ERRORS = (ENOENT, ENOTDIR, EACCES, ELOOP, ELIBBAD, ENOEXEC)  # an interpreter can cause these


class Children:
    """The processes below us, as the kernel and /proc tell of them.

    A child is safe to signal: only we can reap it, and until then no other process gets its pid. A grandchild is reaped
    by its own parent, so by now its pid may belong to another process. The start time tells the two apart.
    """

    def __init__(self, caller: "Caller", procfs: "Procfs", terminal: "Terminal") -> None:
        self._pid = os.getpid()
        self._caller = caller
        self._procfs = procfs
        self._terminal = terminal
        self._commands: set[int] = set()  # pids that spawn() has returned and reap() has not
        self._groups: set[int] = set()  # of commands that ended, if no /proc lists what is left in them
        self._start_times: dict[int, int] = {}  # by pid, of the descendants that are not our children
        self._all_listed = False  # whether the last list of children was that of /proc
        self._typed_stop = False
        self.labels: Labels | None = None  # whose process is a child of ours, but no command and no orphan
        self.started: Started | None = None  # the command that was started last
        self.adopts = False  # whether orphans become our children

    # Start

    def adopt_orphans(self) -> bool:
        """Become the parent of every orphan among our descendants, as PID 1 is; return whether we are.

        Raises OSError if no descriptor is left.
        """
        self.adopts = self._pid == 1 or self._become_subreaper()
        return self.adopts

    def _become_subreaper(self) -> bool:
        done = prctl(PR_SET_CHILD_SUBREAPER, 1)
        if not done:
            os.close(os.open("/", os.O_PATH | os.O_CLOEXEC))  # raises if a lack of descriptors was the reason
        return done

    def spawn(self, argv: list[str]) -> int:
        """Start a command in the world that our caller made, and return its pid.

        It uses posix_spawn(3), because no Python code runs between its fork and its exec. With os.fork and exec, a
        SIGTERM that comes between the two is lost (measured: 135 of 150 times). Raises OSError with the errno of fork
        or exec; its `filename2` is the interpreter of the command, if that was what could not be executed.
        """
        try:
            return self._spawn(argv[0], argv)
        except ValueError:  # Python refuses an empty name, and a name with a NUL in it; no file has either
            raise FileNotFoundError(ENOENT, os.strerror(ENOENT), argv[0]) from None
        except OSError as error:
            if error.errno not in _EXEC_ERRORS:
                raise
            errno = error.errno
        return self._search(argv, errno)

    def _search(self, argv: list[str], errno: int) -> int:
        """Try the paths of a command one by one: execvp(3) failed with `errno`, but does not say at which path."""
        from muinit import executable

        blamed = None
        for path in executable.candidates(argv[0], self._caller.environment):
            try:
                return self._spawn(path, argv)
            except OSError as error:
                if error.errno == ENOEXEC and executable.is_shell_script(path):
                    return self._spawn_shell(path, argv)
                if error.errno == errno:
                    blamed = blamed or executable.culprit(path, errno)
                if error.errno not in (ENOENT, ENOTDIR, EACCES):  # after these execvp(3) goes on searching
                    break
        raise OSError(errno, os.strerror(errno), argv[0], None, blamed or None)

    def _spawn_shell(self, script: str, argv: list[str]) -> int:
        """Start a script without "#!" in a shell, as execvp(3) does and posix_spawnp(3) does not."""
        shell = "/bin/sh"
        operand = f"./{script}" if script[0] in "-+" else script  # or the shell would take it for an option
        try:
            return self._spawn(shell, [shell, operand, *argv[1:]])
        except OSError as error:
            raise OSError(error.errno, error.strerror, argv[0], None, shell) from None

    def _spawn(self, file: str, argv: list[str]) -> int:
        first = not self._commands
        redirected = self.labels.file_actions(len(self._commands)) if self.labels else []
        nothing = (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0)
        # Allocated before the fork: after it nothing may fail until the pid is kept.
        self.started = started = Started(self.started)
        started.pid = pid = os.posix_spawnp(
            file,
            argv,
            self._caller.environment,
            file_actions=[*([nothing] if self._terminal.present and not first else []), *redirected],
            setpgroup=0,  # what is sent to its group, or typed at its terminal, is not for us
            setsigmask=self._caller.mask,  # we have blocked everything
            # Python ignores these two at start and does not record what they were. Commands get the default, which is
            # the usual case.
            setsigdef=signals.IGNORED_BY_PYTHON,
        )
        self._commands.add(pid)
        if self._terminal.present and first:
            self._terminal.owner = pid
            if self._terminal.give():
                # The command may have read the terminal before we could give it, and been stopped (SIGTTIN): wake it.
                # The foreground can only go to a group that exists.
                self.kill(-pid, _signal.SIGCONT)
        return pid

    # List

    def pids(self, spared: "Collection[int]" = ()) -> list[int]:
        """The pids of our children that were not reaped, including adopted ones.

        Without a /proc: the commands, and, as negative numbers, the groups of those that ended. kill(2) takes both. A
        group keeps its number for as long as it has members. Children in `spared` and in their groups are left out.
        """
        pids = self._pids()
        return [pid for pid in pids if not self._is_spared(pid, spared)] if spared else pids

    def _is_spared(self, pid: int, spared: "Collection[int]") -> bool:
        return pid in spared or self.group(pid) in spared

    def _pids(self) -> list[int]:
        self._start_times = {}  # a new child may have the pid of an old descendant
        self._all_listed = False
        if self._procfs.usable:
            try:
                found = self._procfs.children()
                self._all_listed = True
                return [pid for pid in found if pid != self._labeller]
            except OSError:
                pass
        self._groups = {group for group in self._groups if self._is_there(-group)}
        return [*sorted(self._commands), *sorted(-group for group in self._groups)]

    @property
    def _labeller(self) -> int:
        return self.labels.pid if self.labels else 0

    def _is_there(self, pid: int) -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
        return True

    def whole_tree(self, spared: "Collection[int]" = ()) -> tuple[list[int], list[int]]:
        """The process groups that are ours alone, as negative numbers, and all living descendants, parents first.

        Children in `spared` and in their groups are left out, and so is what descends from them.

        Both come from one look at /proc; without one they are the groups of the commands, and our children. A look is
        no snapshot: a process that keeps forking and exiting may appear in no list. But a signal to a group reaches
        all its members at once, even those that fork meanwhile. While a child of ours is in a group, even as a zombie
        that we have not reaped, no other process can get a group of that number.
        """
        tree, processes = self._look(spared)
        alive = [pid for pid in tree if pid not in processes or processes[pid][0] not in "ZX"]
        if not processes:
            return [-pid for pid in sorted(self._commands.difference(spared))], alive
        ours = set(tree)
        shared = {group for pid, (_, _, group, _) in processes.items() if pid not in ours} | {os.getpgrp()}
        groups = {group for _, parent, group, _ in processes.values() if parent == self._pid}
        return sorted(-group for group in groups - shared), alive

    def living(self, spared: "Collection[int]" = ()) -> dict[int, tuple[int, int]]:
        """The pids of our living descendants, each with its start time and the child of ours that it descends from.

        None without a /proc. Children in `spared` and in their groups are left out, and so is what descends from them.
        """
        tree, processes = self._look(spared)
        above: dict[int, int] = {}
        for pid in tree:  # parents come first
            above[pid] = above.get(processes[pid][1], pid) if pid in processes else pid
        return {
            pid: (processes[pid][3], above[pid]) for pid in tree if pid in processes and processes[pid][0] not in "ZX"
        }

    def _look(self, spared: "Collection[int]") -> "tuple[list[int], dict[int, Process]]":
        """Our descendants, including zombies, and what /proc says of every process, if it says anything."""
        children = self._pids()
        try:
            processes = self._procfs.processes() if self._procfs.usable else {}
        except OSError:  # no descriptor is left; but as parents die, their children become ours
            processes = {}
        offspring: dict[int, list[int]] = {}
        for pid, (_, parent, _, _) in processes.items():
            if pid == self._labeller:
                continue
            offspring.setdefault(parent, []).append(pid)
        # Children in the first list may be hidden from the second (hidepid=2); those in the second alone are new.
        tree = list(dict.fromkeys([*children, *offspring.get(self._pid, ())]))
        if spared:
            tree = [pid for pid in tree if not self._is_spared(pid, spared)]
        own = set(tree)
        for pid in tree:  # grows while we walk it
            tree += (child for child in offspring.get(pid, ()) if child not in own)
        self._start_times = {pid: processes[pid][3] for pid in tree if pid not in own}
        return tree, processes

    def group(self, pid: int) -> int:
        """The process group of a process; 0 if it is gone."""
        try:
            return os.getpgid(pid)
        except OSError:
            return 0

    # Signal

    def kill(self, pid: int, signum: int) -> None:
        """Send a signal; to a process group if `pid` is negative. Raises PermissionError.

        If the process is gone, that is an answer and not an error.
        """
        try:
            if pid in self._start_times:
                self._kill_if_the_same(pid, signum)
            else:
                os.kill(pid, signum)
        except ProcessLookupError:
            pass

    def _kill_if_the_same(self, pid: int, signum: int) -> None:
        """Signal a descendant that is not our child, unless its pid belongs to another process by now."""
        fd = open_pidfd(pid)  # from here on the process behind `fd` cannot change
        try:
            if self._procfs.started(pid) == self._start_times[pid] and not _signal_by(fd, signum):
                os.kill(pid, signum)
        finally:
            if fd is not None:
                os.close(fd)

    def may_signal(self, pid: int) -> bool:
        """Whether we are permitted to signal a process (kill(2), signal 0)."""
        try:
            self.kill(pid, 0)
        except PermissionError:
            return False
        return True

    def suspend(self) -> None:
        """Send SIGTSTP to the groups of all commands."""
        for pid in sorted(self._commands):
            self._try_to_kill(-pid, _signal.SIGTSTP)

    def resume(self) -> None:
        """Send SIGCONT to all children, and to the groups of those that are commands."""
        for pid in self.pids():
            self._try_to_kill(-pid if pid in self._commands else pid, _signal.SIGCONT)

    def _try_to_kill(self, pid: int, signum: int) -> None:
        """Send a signal, and go on if we are not permitted to: the other processes must still get theirs."""
        try:
            self.kill(pid, signum)
        except PermissionError:
            pass

    # Reap

    def reap(self) -> tuple[list[tuple[int, int]], bool]:
        """Take every status there is: (pid, wait status) in the kernel's order, and whether no child is left.

        SIGCHLD means "ask waitpid(2) until it has no more", never "one child": it coalesces.
        """
        statuses: list[tuple[int, int]] = []
        while True:
            try:
                # Without __WALL, waitpid(2) does not see a child that was made with another exit signal than SIGCHLD
                # (clone(2)). We can have inherited one from a program that became us by exec. Others get SIGCHLD as
                # their exit signal when we adopt them.
                pid, status = os.waitpid(-1, os.WNOHANG | WALL | (os.WUNTRACED if self._terminal.given else 0))
            except ChildProcessError:
                return statuses, True
            if pid == 0:
                return statuses, bool(self._labeller) and self._only_the_labeller_is_left()
            if pid == self._labeller:
                self._labeller_ended(status)
            elif os.WIFSTOPPED(status):
                self._typed_stop |= pid == self._terminal.owner and os.WSTOPSIG(status) in TYPED_STOPS
            else:
                self._forget(pid)
                statuses.append((pid, status))

    def _only_the_labeller_is_left(self) -> bool:
        """Whether we have no child but the process that labels, which is waited for last."""
        if self._pids() or self.labels is None:
            return False
        if self._all_listed:
            return True
        # There may be orphans that nothing lists. If none of them can write, the labeller has nothing more to do. When
        # it has ended, waitpid(2) knows whether somebody else is left.
        if self.labels.has_writers():
            return False
        self.labels.end()
        return self._has_no_child()

    def _has_no_child(self) -> bool:
        try:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT | WALL)
        except ChildProcessError:
            return True
        return False

    def _labeller_ended(self, status: int) -> None:
        if self.labels and not os.WIFSTOPPED(status):
            self.labels.pid, self.labels.status = 0, status

    def _forget(self, pid: int) -> None:
        if pid == self._terminal.owner:
            self._terminal.take()
            self._terminal.owner = 0
        if pid in self._commands:
            self._commands.remove(pid)
            if not self._procfs.usable:
                self._groups.add(pid)

    def typed_stop(self) -> bool:
        """Whether the first command was stopped from the terminal that we gave it, since this was last asked."""
        typed, self._typed_stop = self._typed_stop, False
        return typed


def open_pidfd(pid: int) -> int | None:
    """A descriptor of a process (pidfd_open(2)); None if there is none. Raises ProcessLookupError."""
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        raise
    # No descriptor is left, or a sandbox does not know the call, or Python was built on a system that did not: so are
    # those of Conda, and those of uv before June 2026.
    except (OSError, AttributeError):
        return None


def _signal_by(fd: int | None, signum: int) -> bool:
    """Send a signal to the process behind `fd`; return False if that cannot be done. Raises ProcessLookupError."""
    if fd is None:
        return False
    try:
        _signal.pidfd_send_signal(fd, signum)
    except ProcessLookupError:
        raise
    except (OSError, AttributeError):  # kill(2) will say if we are not permitted to
        return False
    return True


def prctl(option: int, value: int) -> bool:
    """Set an option of this process (prctl(2)); return whether that worked."""
    try:
        # The C module beneath `ctypes`. `ctypes` itself would take 2.5 ms more before the first command is started, and
        # 0.3 MiB (measured, Python 3.11), and would make memory that can be written and executed: SELinux may deny it.
        from _ctypes import call_function, dlopen, dlsym

        program = dlopen(None, os.RTLD_NOW)  # type: ignore[arg-type]  # typeshed does not know that it takes None
        return bool(call_function(dlsym(program, "prctl"), (option, value, 0, 0, 0)) == 0)
    except (ImportError, OSError, MemoryError):  # a Python without libffi has no _ctypes
        return False
