"""--label, on muinit's side: the pipes, and the process that reads them. muinit itself never touches the data.

muinit keeps the ends for reading open: if the labeller dies, the commands do not die of SIGPIPE, and another labeller
goes on. If that one dies too, the ends are closed.
"""

import fcntl
import os
from mmap import mmap
from time import monotonic

from muinit import labeller, signals
from muinit.children import open_pidfd
from muinit.labeller import CLOSED, LOST, PLACES, TAKEN, WRITTEN, Stream
from muinit.options import LABEL_SECONDS
from muinit.stderr import has_colours

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_COLOURS = [b"\x1b[%dm" % number for number in (36, 33, 32, 35, 34, 31)]  # ECMA-48
_LABELLERS = 2  # how many are started at most
_LOOK_SECONDS = 0.02  # how often muinit looks, at the end, whether the labeller still makes progress


class Labels:
    """The streams of the commands, and the labeller.

    `names` are those of the commands, "" for one whose output is not labelled. Raises OSError if there are not enough
    descriptors, or no process can be started.
    """

    def __init__(self, names: "Sequence[str]") -> None:
        self.pid = 0  # of the labeller; 0: there is none
        self.status: int | None = None  # of the labeller, once it has been reaped
        self._left = _LABELLERS
        self._shared = memoryview(mmap(-1, PLACES * 8)).cast("q")
        self._ends: list[list[tuple[int, int]]] = []  # for each command: (where its end for writing goes, that end)
        self._streams: list[tuple[int, Stream]] = []
        width = max(map(len, names))
        for index, name in enumerate(names):
            self._ends.append([self._stream(fd, index, f"{name:{width}}") for fd in (1, 2) if name and _is_open(fd)])
        self._alive, stop = os.pipe2(os.O_CLOEXEC)  # the labeller sees when this end is closed
        self._stop: int | None = stop
        self._start()

    def _stream(self, fd: int, index: int, label: str) -> tuple[int, int]:
        read_end, write_end = os.pipe2(os.O_CLOEXEC)
        colour = _COLOURS[index % len(_COLOURS)] if has_colours(fd) else b""
        self._streams.append((fd, Stream(read_end, label.encode(errors="replace"), colour)))
        return fd, write_end

    def _start(self) -> None:
        self._left -= 1
        self.status = None
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                labeller.be(self._streams, self._alive, self._shared)
                code = 0
            finally:
                os._exit(code)
        self.pid = pid

    # Start

    def file_actions(self, index: int) -> "list[tuple[int, int, int]]":
        """What posix_spawn(3) must do for a command."""
        return [(os.POSIX_SPAWN_DUP2, end, fd) for fd, end in self._ends[index]]

    def started(self) -> None:
        """All commands have been started: only they can write now."""
        for _, end in (each for ends in self._ends for each in ends):
            os.close(end)
        self._ends = []

    # During the run

    def mend(self, say: "Callable[[str], None]") -> None:
        """Start another labeller if this one has died, and close what its reader has closed."""
        for fd in (1, 2):
            if self._shared[CLOSED + fd - 1]:
                self._close(fd)
        if not self.status:  # it lives, or has ended well
            return
        died, exited = os.WIFSIGNALED(self.status), os.WEXITSTATUS(self.status)
        how = f"died of {signals.name(os.WTERMSIG(self.status))}" if died else f"exited {exited}"
        self.status, lost = None, self._unwritten()
        for place in (0, 1):
            self._shared[LOST + place] = self._shared[TAKEN + place] - self._shared[WRITTEN + place]
        if self._left and self._try_to_start():
            say(f"warning: the process that labels the output {how}: {lost} bytes may be lost; another one goes on")
        else:
            self._close(1)
            self._close(2)
            say(f"warning: the process that labels the output {how}: the output of the commands is closed")

    def _try_to_start(self) -> bool:
        try:
            self._start()
        except OSError:  # EAGAIN
            return False
        return True

    def _close(self, fd: int) -> None:
        for stream in [stream for to, stream in self._streams if to == fd]:
            os.close(stream.fd)
        self._streams = [each for each in self._streams if each[0] != fd]

    # The end

    def has_writers(self) -> bool:
        """Whether a process is left that can write into one of the pipes."""
        from select import POLLHUP, poll

        waiting = poll()
        for _, stream in self._streams:
            waiting.register(stream.fd, 0)
        ended = {fd for fd, what in waiting.poll(0) if what & POLLHUP}
        return any(stream.fd not in ended for _, stream in self._streams)

    def end(self, patience: float = LABEL_SECONDS, now: "Callable[[], float]" = monotonic) -> None:
        """Wait until all that was written is out, and the labeller has ended.

        It has `patience` seconds after each sign that somebody reads its output. Then it is killed.
        """
        from select import POLLIN, poll

        if self._stop is not None:
            os.close(self._stop)
            self._stop = None
        waiting = poll()
        fd = open_pidfd(self.pid) if self.pid else None
        if fd is not None:
            waiting.register(fd, POLLIN)
        written, deadline = -1, 0.0
        while self._is_running():
            if written != (written := self._written()):
                deadline = now() + patience
            elif now() >= deadline:
                os.kill(self.pid, signals.SIGKILL)
                os.waitpid(self.pid, 0)
                self.pid = 0
            waiting.poll(_LOOK_SECONDS * 1000)
        if fd is not None:
            os.close(fd)

    def finish(self, patience: float, now: "Callable[[], float]") -> str:
        """Wait as in `end`; return what was lost, in words, or ""."""
        self.end(patience, now)
        lost = self._unwritten() + sum(self._shared[LOST + place] for place in (0, 1)) + self._unread()
        if not lost:
            return ""
        return f"warning: {lost} bytes that the commands wrote are lost, because nobody took them in time"

    def _is_running(self) -> bool:
        if self.pid and os.waitpid(self.pid, os.WNOHANG)[0]:
            self.pid = 0
        return bool(self.pid)

    def _written(self) -> int:
        return sum(self._shared[WRITTEN + place] for place in (0, 1))

    def _unwritten(self) -> int:
        """How many bytes a labeller has read and not written."""
        taken, lost = (sum(self._shared[what + place] for place in (0, 1)) for what in (TAKEN, LOST))
        return taken - lost - self._written()

    def _unread(self) -> int:
        """How many bytes are still in the pipes."""
        from array import array
        from termios import FIONREAD

        found = array("i", [0])
        total = 0
        for _, stream in self._streams:
            fcntl.ioctl(stream.fd, FIONREAD, found)
            total += found[0]
        return total


def _is_open(fd: int) -> bool:
    """Whether our caller gave us this descriptor, and for writing."""
    try:
        return fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY
    except OSError:
        return False
