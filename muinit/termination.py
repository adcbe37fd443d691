"""Where Kubernetes reads why a container ended: its termination message."""

from __future__ import annotations

import os
import stat
from errno import EAGAIN, EINVAL, ENOENT

from muinit import files
from muinit.stderr import nonblocking, ready

MOST_BYTES = 4096  # that the kubelet reads (kubernetes.io, "Determine the Reason for Pod Failure")


class TerminationLog:
    """The file at `path`, opened before a command can put something else there.

    If the path names a descriptor from our caller, like /dev/stdout, muinit appends to it and does not empty it. A FIFO
    is only opened when there is something to write, because its reader may come later.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._refusal: OSError | None = None
        self._fd: int | None = None
        self._fifo = ""
        self._shared = False
        plain = path if "/" in path else f"./{path}"  # a plain number is the name of a file here
        try:
            given = files.inherited(plain)
            if given is not None:
                self._fd, self._shared = files.above_stderr(given), True
            elif files.is_fifo(plain):
                self._fifo = os.path.join(os.getcwd(), path)  # because muinit will leave this directory
            else:
                fd = files.open_at(plain, os.O_WRONLY | os.O_CREAT, 0o666)
                self._fd = files.above_stderr(fd)
                os.close(fd)
        except OSError as error:
            self._refusal = error

    def write(self, text: str) -> None:
        """Replace the contents by a sentence, at most 4096 bytes of it. An empty sentence changes nothing.

        Raises OSError. If the file could not be opened, the first call raises that error, and later ones do nothing.
        """
        refusal, self._refusal = self._refusal, None
        if refusal is not None:
            raise refusal
        data = text.encode(errors="replace")[:MOST_BYTES].decode(errors="ignore").encode()
        if not data or (self._fd is None and not self._fifo):
            return
        fd = self._ready()
        if self._shared:
            data += b"\n"
        try:
            while data:
                data = data[os.write(fd, data) :]
        finally:
            if fd != self._fd:
                os.close(fd)

    def _ready(self) -> int:
        """A descriptor that does not block, at the position to write to."""
        if self._fd is None:
            fd = files.open_at(self._fifo, os.O_WRONLY, 0)
            if not stat.S_ISFIFO(os.fstat(fd).st_mode):
                os.close(fd)
                raise OSError(EINVAL, "is no longer a FIFO")
            return fd
        if self._shared:
            fd = nonblocking(self._fd)
            if fd == self._fd and not ready(fd):
                raise BlockingIOError(EAGAIN, os.strerror(EAGAIN))
            return fd
        file = os.fstat(self._fd)
        if file.st_nlink == 0:
            raise FileNotFoundError(ENOENT, "was removed")
        if stat.S_ISREG(file.st_mode):
            os.ftruncate(self._fd, 0)
            os.lseek(self._fd, 0, os.SEEK_SET)
        return self._fd
