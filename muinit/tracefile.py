"""The file of --trace-file: lines of JSON, written so that PID 1 never waits for a reader and never fails.

Lines that cannot be written now, because a pipe is full, nobody has opened the FIFO yet or the disk is full, are kept
and written later. When 256 KiB are kept, further lines are dropped, and the trace says how many. The trace ends when
nothing can be written any more, because the last reader of a pipe has gone. A FIFO can have one reader after another.
"""

from __future__ import annotations

import os
import stat
from errno import EAGAIN, EDQUOT, EFBIG, ENOSPC

from muinit.stderr import LINE_BYTES, forget_signal, nonblocking, ready

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_MOST_KEPT = 262144  # bytes
_PASSING = (EAGAIN, ENOSPC, EDQUOT, EFBIG)  # EFBIG: another process can raise our limit of file sizes, prlimit(2)


def open_file(path: str) -> int:
    """Open the path of --trace-file: a file, a FIFO, or any name of a descriptor that our caller gave us.

    A file is emptied, and only its owner can read it then, because command lines can contain secrets. Returns a
    descriptor above 2 that no command inherits. Raises OSError.
    """
    from muinit import files

    given = files.inherited(path)
    if given is not None:
        fd = files.above_stderr(given)
        if given > 2:  # the commands get our standard descriptors too
            os.close(given)
        return fd
    # Open a FIFO for reading too: open() then does not wait for a reader, and the trace survives when one leaves
    # (fifo(7)).
    access = os.O_RDWR if files.is_fifo(path) else os.O_WRONLY | os.O_CREAT
    opened = files.open_at(path, access | os.O_APPEND, 0o600)
    try:
        if stat.S_ISREG(mode := os.fstat(opened).st_mode):
            if stat.S_IMODE(mode) != 0o600:
                _make_private(opened)
            os.ftruncate(opened, 0)
        return files.above_stderr(opened)
    finally:
        os.close(opened)


def _make_private(fd: int) -> None:
    try:
        os.fchmod(fd, 0o600)
    except OSError as error:
        raise OSError(error.errno, f"others can read it, and chmod 0600 failed: {error.strerror}") from None


class TraceFile:
    """The open file. `say` prints the one warning if a line cannot be written."""

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
        """Write one entry; if that is not possible now, keep it, or drop and count it."""
        if self._over:
            return
        self._flush()
        data = self._encode(entry).encode() + b"\n"
        if self._dropped:
            data = self._encode({"dropped": self._dropped}).encode() + b"\n" + data
        if self._kept and len(self._kept) + len(data) > _MOST_KEPT:
            self._dropped += 1
        else:
            self._kept += data
            self._dropped = 0
            self._flush()

    def end(self) -> None:
        """Write what is kept; warn if that is not possible, because it is lost then."""
        self._flush()
        if self._kept and not self._warned:
            self._say("warning: cannot write the end of the trace: its reader is too slow; use a file")

    def _flush(self) -> None:
        waiting, written = memoryview(self._kept), 0
        try:
            while written < len(waiting) and (not self._blocks or ready(self._fd)):
                written += os.write(self._fd, waiting[written : written + LINE_BYTES])
        except OSError as error:
            forget_signal()
            if error.errno not in _PASSING:
                written, self._over = len(waiting), True
            if error.errno != EAGAIN and not self._warned:
                self._warned = True
                self._say(f"warning: cannot write the trace: {error.strerror}")
        self._kept = self._kept[written:]
