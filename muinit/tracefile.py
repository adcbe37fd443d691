"""The file of --trace-file: lines of JSON, written so that PID 1 never waits for their reader and never fails.

What cannot be written now (a pipe is full, nobody has opened the FIFO yet, the disk is full) is kept, and written
when it can be. When 256 KiB are kept, lines are dropped, and the trace says so. What can never be written any more,
because the last reader of a pipe that we were given has gone, ends the trace. A FIFO can have one reader after another.
"""

from __future__ import annotations

import os
import stat
from errno import EAGAIN, EBADF, EDQUOT, EFBIG, ENOSPC

from muinit.stderr import LONGEST, descriptor, forget_signal, nonblocking, ready

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_MOST = 262144
_FLAGS = os.O_TRUNC | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_PASSING = (EAGAIN, ENOSPC, EDQUOT, EFBIG)  # EFBIG: others can raise our limit of a file's size, prlimit(2)


def open_file(path: str) -> int:
    """Open what --trace-file names: a file, a FIFO, or, as a number, a descriptor that we were given.

    Returns a descriptor above 2 that no command inherits. Raises OSError. To be called before anything else
    opens a descriptor: what was not given would be taken for given.
    """
    import fcntl

    given = descriptor(path)
    opened = _open(path) if given is None else given
    if fcntl.fcntl(opened, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        raise OSError(EBADF, "not open for writing")
    fd = fcntl.fcntl(opened, fcntl.F_DUPFD_CLOEXEC, 3)
    if given is None or given > 2:  # the commands have our standard descriptors too
        os.close(opened)
    return fd


def _open(path: str) -> int:
    try:
        fifo = stat.S_ISFIFO(os.stat(path).st_mode)
    except OSError:
        fifo = False
    if not fifo:
        return os.open(path, os.O_WRONLY | os.O_CREAT | _FLAGS, 0o666)
    # To be its reader as well is the way neither to wait for one nor to end with one (fifo(7)).
    return os.open(path, os.O_RDWR | _FLAGS)


class TraceFile:
    """The open file. `say` gets the one warning when a line cannot be written."""

    def __init__(self, fd: int, say: Callable[[str], None]) -> None:
        from json import JSONEncoder

        self._encode = JSONEncoder(separators=(",", ":"), allow_nan=False).encode
        self._fd = fd if not os.get_blocking(fd) else nonblocking(fd)
        self._blocks = os.get_blocking(self._fd)
        if self._fd != fd:
            os.close(fd)
        self._say = say
        self._kept = b""
        self._dropped = 0
        self._warned = False
        self._over = False

    def line(self, entry: Mapping[str, object]) -> None:
        """Write one entry, or keep it, or count it."""
        if self._over:
            return
        self._flush()
        data = self._encode(entry).encode() + b"\n"
        if self._dropped:
            data = self._encode({"dropped": self._dropped}).encode() + b"\n" + data
        if self._kept and len(self._kept) + len(data) > _MOST:
            self._dropped += 1
        else:
            self._kept += data
            self._dropped = 0
            self._flush()

    def end(self) -> None:
        """Say it if something is still kept, which is lost now."""
        self._flush()
        if self._kept and not self._warned:
            self._say("warning: cannot write the end of the trace: its reader is too slow")

    def _flush(self) -> None:
        waiting, written = memoryview(self._kept), 0
        try:
            while written < len(waiting) and (not self._blocks or ready(self._fd)):
                written += os.write(self._fd, waiting[written : written + LONGEST])
        except OSError as error:
            forget_signal()
            if error.errno not in _PASSING:
                written, self._over = len(waiting), True
            if error.errno != EAGAIN and not self._warned:
                self._warned = True
                self._say(f"warning: cannot write the trace: {error.strerror}")
        self._kept = self._kept[written:]
