"""What /proc says of our descendants (proc(5)), if there is a /proc and it is ours."""

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    Stat = tuple[str, str, int, int, int, int]  # name, state, parent, group, number of threads, start time

_PART_BYTES = 4096  # no read of a list of children returns more: about 735 pids
_PID_BYTES = 11  # that a pid takes there at most, with the blank after it


class Procfs:
    """The /proc of our own PID namespace. `usable` says whether there is one."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._children: int | None = None
        self.usable = False
        # A /proc of another PID namespace is useless: its pids mean other processes, and ours may not be in it at all.
        try:
            self.usable = os.readlink("/proc/self") == str(self._pid)
            # Kept open: while we stop the commands we read it at every wake, and no descriptor may be left by then.
            self._children = os.open("/proc/thread-self/children", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:  # of the file: a kernel without CONFIG_PROC_CHILDREN
            pass
        except OSError:
            self.usable = False

    def children(self) -> list[int]:
        """The pids of our children, including adopted ones, and zombies until they are reaped."""
        if self._children is None:
            return [pid for pid, process in self.processes().items() if process[1] == self._pid]
        data = part = os.pread(self._children, _PART_BYTES, 0)
        while len(part) > _PART_BYTES - _PID_BYTES:  # there may have been no room for the next pid
            part = os.pread(self._children, _PART_BYTES, len(data))
            data += part
        return parse_children(data)

    def processes(self) -> dict[int, tuple[str, int, int, int]]:
        """Every process that we may see, by pid: state, parent, group, start time.

        The start time tells a process from a later one with the same pid.
        """
        found = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit() and (stat := _stat(entry)):
                _, _, parent, group, _, started = stat
                found[int(entry)] = (_state(entry, stat), parent, group, started)
        return found

    def started(self, pid: int) -> int:
        """The start time of a process in clock ticks since boot; 0 if it is gone."""
        stat = _stat(pid)
        return stat[5] if stat else 0

    def leaves(self, pid: int, signum: int) -> bool:
        """Whether a process leaves a signal to its default action: it neither handles nor blocks nor ignores it."""
        try:
            with open(f"/proc/{pid}/status", "rb") as file:
                fields = dict(line.partition(b":")[::2] for line in file.read().splitlines())
            sets = [int(fields[name], 16) for name in (b"SigBlk", b"SigIgn", b"SigCgt")]
        except (OSError, KeyError, ValueError):  # gVisor has no such lines
            return False
        return not any(each >> (signum - 1) & 1 for each in sets)

    def name(self, pid: int) -> str:
        """The name of a process, even of a zombie: "sshd"; "" if it is gone."""
        from statechart.words.text import printable  # by now it is loaded already

        stat = _stat(pid)
        return printable(stat[0]) if stat else ""

    def describe(self, pid: int) -> str:
        """The name and state of a process: "sshd, state D"."""
        stat = _stat(pid)
        return f"{self.name(pid)}, state {_state(pid, stat)}" if stat else "gone"


def _stat(process: int | str) -> "Stat | None":
    """What is known of a process, or of a thread ("12/task/13"); None if it is gone."""
    try:
        with open(f"/proc/{process}/stat", "rb") as file:
            return parse_stat(file.read())
    except OSError:
        return None


def _state(process: int | str, stat: "Stat") -> str:
    """The state of a process: Z or X only if all its threads have ended.

    The kernel gives the state of the first thread. If that one has ended and others live, we give the state of one of
    the others.
    """
    _, state, _, _, number, _ = stat
    if state != "Z" or number <= 1:
        return state
    try:
        threads = os.listdir(f"/proc/{process}/task")
    except OSError:  # no descriptor is left; a moment ago the process had living threads
        return "?"
    found = (_stat(f"{process}/task/{thread}") for thread in threads)
    return next((thread[1] for thread in found if thread and thread[1] not in "ZX"), state)


def parse_stat(data: bytes) -> "Stat | None":
    """What a file /proc/PID/stat says; None if it is incomplete, which happens while a process goes away."""
    # The name is in parentheses. It can contain spaces, line ends and parentheses.
    head, _, tail = data.rpartition(b")")
    name, fields = head.partition(b"(")[2].decode(errors="replace"), tail.split()
    try:
        parent, group, threads, started = (int(fields[index]) for index in (1, 2, 17, 19))
        return name, fields[0].decode(errors="replace"), parent, group, threads, started
    except (IndexError, ValueError):
        return None


def parse_children(data: bytes) -> list[int]:
    """The pids in a file /proc/PID/task/TID/children; anything else in it is left out."""
    return [int(word) for word in data.split() if word.isdigit() and len(word) < 20]
