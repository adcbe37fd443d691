"""What /proc says of our descendants (proc(5)), where there is a /proc and it is ours."""

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    Stat = tuple[str, str, int, int, int, int]  # name, state, parent, group, number of threads, start time


class Procfs:
    """The /proc of our own PID namespace. `usable` says whether there is one."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._children: int | None = None
        self.usable = False
        # In the /proc of another PID namespace we are another number or nobody, and so is everyone else.
        try:
            self.usable = os.readlink("/proc/self") == str(self._pid)
            # Kept open: it is asked for at every wake while we stop, and then a descriptor may be short.
            self._children = os.open("/proc/thread-self/children", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:  # for the file, a kernel without CONFIG_PROC_CHILDREN
            pass
        except OSError:
            self.usable = False

    def children(self) -> list[int]:
        """The pids of our children, adopted ones too; zombies until they are reaped."""
        if self._children is None:
            return [pid for pid, process in self.processes().items() if process[1] == self._pid]
        os.lseek(self._children, 0, os.SEEK_SET)
        data = b""
        while more := os.read(self._children, 4096):  # the kernel gives no more at once: some 735 children
            data += more
        return parse_children(data)

    def processes(self) -> dict[int, tuple[str, int, int, int]]:
        """Every process that we may see: state, parent, group, and start time, which tells it from a later one."""
        found = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit() and (stat := _stat(entry)):
                _, _, parent, group, _, started = stat
                found[int(entry)] = (_state(entry, stat), parent, group, started)
        return found

    def started(self, pid: int) -> int:
        """The start time of a process in clock ticks since boot; 0 where it is gone."""
        stat = _stat(pid)
        return stat[5] if stat else 0

    def name(self, pid: int) -> str:
        """The name of a process, also of a zombie: "sshd"; "" where it is gone."""
        from statechart.words.text import printable  # loaded before the first process is named

        stat = _stat(pid)
        return printable(stat[0]) if stat else ""

    def describe(self, pid: int) -> str:
        """The name and state of a process: "sshd, state D"."""
        stat = _stat(pid)
        return f"{self.name(pid)}, state {_state(pid, stat)}" if stat else "gone"


def _stat(process: int | str) -> "Stat | None":
    """What is known of a process, or of a thread ("12/task/13"); None where it is gone."""
    try:
        with open(f"/proc/{process}/stat", "rb") as file:
            return parse_stat(file.read())
    except OSError:
        return None


def _state(process: int | str, stat: "Stat") -> str:
    """The state of a process, which is Z or X once all its threads have ended.

    The kernel gives that of the first thread alone. Where it has ended and others live, we give that of one of them.
    """
    _, state, _, _, number, _ = stat
    if state != "Z" or number <= 1:
        return state
    try:
        threads = os.listdir(f"/proc/{process}/task")
    except OSError:  # no descriptor left: it had living threads a moment ago
        return "?"
    found = (_stat(f"{process}/task/{thread}") for thread in threads)
    return next((thread[1] for thread in found if thread and thread[1] not in "ZX"), state)


def parse_stat(data: bytes) -> "Stat | None":
    """What stands in a file /proc/PID/stat; None where it is not whole, as that of a process that is going."""
    # The name stands in parentheses, and can have blanks, line ends and parentheses of its own.
    head, _, tail = data.rpartition(b")")
    name, fields = head.partition(b"(")[2].decode(errors="replace"), tail.split()
    try:
        parent, group, threads, started = (int(fields[index]) for index in (1, 2, 17, 19))
        return name, fields[0].decode(errors="replace"), parent, group, threads, started
    except (IndexError, ValueError):
        return None


def parse_children(data: bytes) -> list[int]:
    """The pids in a file /proc/PID/task/TID/children; what is no pid is left out."""
    return [int(word) for word in data.split() if word.isdigit() and len(word) < 20]
