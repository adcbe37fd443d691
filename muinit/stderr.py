"""Lines on stderr that never block and never fail: PID 1 does not wait for a reader of its log."""

from __future__ import annotations

import _signal
import os
import stat
from select import POLLOUT, poll

from muinit import signals

_STDERR = 2
_LONGEST = 4096  # PIPE_BUF: up to here a pipe takes a line whole or not at all (pipe(7))


class Stderr:
    """Our stderr. A line that cannot be written at once is dropped, and counted in the next that can."""

    def __init__(self) -> None:
        self._dropped = 0
        self._fd: int | None = None

    def line(self, text: str) -> None:
        """Write one line, with the name of the program before it; what would break or move the line is escaped."""
        if not text.isprintable():
            text = text.encode("unicode_escape").decode()
        dropped = f" ({self._dropped} lines dropped before this one)" if self._dropped else ""
        data = f"muinit: {text}{dropped}".encode()
        if len(data) >= _LONGEST:
            data = data[: _LONGEST - 4] + b"..."
        if self._fd is None:
            self._fd = _open()
        try:
            if self._fd == _STDERR and not _ready():
                raise BlockingIOError
            os.write(self._fd, data + b"\n")
        except OSError:  # EAGAIN, EPIPE, EFBIG, ENOSPC, EBADF: none is worth a container
            self._dropped += 1
            # If -s names the signal that came with it, it is pending, and was not meant for the commands.
            _signal.sigtimedwait(signals.IGNORED_BY_PYTHON, 0)
        else:
            self._dropped = 0


def _open() -> int:
    """A descriptor of stderr that does not block, or stderr itself.

    O_NONBLOCK belongs to the open file, which the children and our caller share: so not set, but opened anew.
    """
    try:
        if not stat.S_ISREG(os.fstat(_STDERR).st_mode):  # a file never blocks, and opened anew it would begin at 0
            return os.open(f"/proc/self/fd/{_STDERR}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:  # no /proc, a socket, somebody else's terminal
        pass
    return _STDERR


def _ready() -> bool:
    waiting = poll()
    waiting.register(_STDERR, POLLOUT)
    return bool(waiting.poll(0))
