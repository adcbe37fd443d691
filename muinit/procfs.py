"""What /proc says of our descendants (proc(5)), where there is a /proc and it is ours."""

import os


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
        while more := os.read(self._children, 65536):
            data += more
        return [int(pid) for pid in data.split()]

    def processes(self) -> dict[int, tuple[str, int, int, int]]:
        """Every process that we may see: state, parent, group, and start time, which tells it from a later one."""
        found = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit() and (fields := self._stat(int(entry))):
                found[int(entry)] = (fields[1], int(fields[2]), int(fields[3]), int(fields[20]))
        return found

    def started(self, pid: int) -> int:
        """The start time of a process in clock ticks since boot; 0 where it is gone."""
        fields = self._stat(pid)
        return int(fields[20]) if fields else 0

    def name(self, pid: int) -> str:
        """The name of a process, also of a zombie: "sshd"; "" where it is gone."""
        fields = self._stat(pid)
        return printable(fields[0]) if fields else ""

    def describe(self, pid: int) -> str:
        """The name and state of a process: "sshd, state D"."""
        fields = self._stat(pid)
        return f"{printable(fields[0])}, state {fields[1]}" if fields else "gone"

    @staticmethod
    def _stat(pid: int) -> list[str]:
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                stat = file.read().decode(errors="replace")
        except OSError:
            return []
        # The name stands in parentheses, and can have blanks and parentheses of its own.
        head, _, tail = stat.rpartition(")")
        return [head.partition("(")[2], *tail.split()]


def printable(text: str) -> str:
    """A text with nothing in it that moves a cursor or ends a line: a process can call itself anything, prctl(2)."""
    return text if text.isprintable() else text.encode("unicode_escape").decode()
