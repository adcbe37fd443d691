"""Lines on stderr that never block and never fail, because PID 1 must not wait for a reader of its log."""

from __future__ import annotations

import _signal
import os
import stat
from select import POLLOUT, poll

from muinit import signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    T = TypeVar("T")

_STDERR = 2
_STANDARD = {"/dev/stdin": "0", "/dev/stdout": "1", "/dev/stderr": "2"}
LINE_BYTES = 4096  # PIPE_BUF: up to this size a pipe takes a line whole or not at all (pipe(7))
LAST_LINE_BYTES = 2047  # Kubernetes shows the last 2048 bytes of a log (FallbackToLogsOnError)


class Stderr:
    """Our stderr. A line that cannot be written at once is dropped. The next line that is written has the count."""

    def __init__(self) -> None:
        self._dropped = 0
        self._fd: int | None = None
        self._failed: set[str] = set()

    def line(self, text: str, *, escaped: bool = False, most: int = LINE_BYTES) -> None:
        """Write one line of at most so many bytes, after the name of the program.

        Characters that would break the line are escaped, unless the caller has done that, and has added colours.
        """
        from statechart.words.text import cut, printable  # here, because this module is loaded before the first child

        if not escaped:
            text = printable(text)
        dropped = f" ({self._dropped} lines dropped before this one)" if self._dropped else ""
        data, room = text.encode(errors="replace"), most - len(f"muinit: {dropped}\n")
        if len(data) > room:
            text = cut(text, len(data[: room - 3].decode(errors="ignore"))) + "..."
        data = f"muinit: {text}{dropped}\n".encode(errors="replace")
        if self._fd is None:
            self._fd = nonblocking(_STDERR)
        try:
            if self._fd == _STDERR and not ready(_STDERR):
                raise BlockingIOError
            os.write(self._fd, data)
        except OSError:  # EAGAIN, EPIPE, EFBIG, ENOSPC, EBADF: no reason to end a container
            self._dropped += 1
            forget_signal()
        else:
            self._dropped = 0

    def last_line(self, text: str) -> None:
        """Write the last line of all. The reason stands at its beginning, and must not be cut off."""
        self.line(text, most=LAST_LINE_BYTES)

    def attempt(self, what: str, report: Callable[..., T], *arguments: object) -> T | None:
        """Return what `report` returns, or None if it raises: a report that fails must never stop the run.

        `what` is the name of the report for people. The error is printed once, and that report is not called again.
        """
        if what not in self._failed:
            try:
                return report(*arguments)
            except Exception as error:  # noqa: BLE001
                self._failed.add(what)
                try:
                    self.line(f"warning: an error in muinit: it goes on without {what}; please report {error!r}")
                except Exception:  # noqa: BLE001, S110 - printing may fail in the same way
                    pass
        return None


def has_colours(fd: int) -> bool:
    """Whether a descriptor is a terminal, and no variable asks for plain text (no-color.org)."""
    return os.isatty(fd) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def descriptor(path: str) -> int | None:
    """The descriptor that a number, or a path like /dev/stdout, names; `None` for any other path."""
    number = _STANDARD.get(path, path).removeprefix("/proc/self/fd/").removeprefix("/dev/fd/")
    return int(number[:9]) if number.isascii() and number.isdecimal() else None


def nonblocking(fd: int) -> int:
    """A descriptor of the same file that does not block; the same descriptor if there cannot be one.

    O_NONBLOCK belongs to the open file description, which the children and our caller share, so muinit must not set it.
    It opens the file again instead.
    """
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):  # a regular file never blocks, and a new descriptor would start at 0
            return os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:  # there is no /proc, it is a socket, or it is another user's terminal
        pass
    return fd


def ready(fd: int) -> bool:
    """Whether a write of up to PIPE_BUF bytes would not block."""
    waiting = poll()
    waiting.register(fd, POLLOUT)
    return bool(waiting.poll(0))


def forget_signal() -> None:
    """Discard the SIGPIPE or SIGXFSZ of our own failed write: if -s names it, it must not reach the commands."""
    _signal.sigtimedwait(signals.IGNORED_BY_PYTHON, 0)
