"""Where Kubernetes reads why a container ended: its termination message."""

from __future__ import annotations

import os
from errno import EAGAIN, ENOENT

from muinit.stderr import descriptor, nonblocking, ready

MOST = 4096  # bytes that the kubelet reads (kubernetes.io, "Determine the Reason for Pod Failure")
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class TerminationLog:
    """The file at `path`, as seen from the directory in which this is made: muinit leaves it.

    A path that stands for one of our descriptors, like /dev/stdout, is written to, and not emptied.
    """

    def __init__(self, path: str) -> None:
        self._given = descriptor(path) if "/" in path else None  # a mere number is a file here
        try:
            self.path = os.path.abspath(path)
        except FileNotFoundError:  # the directory was removed: then "log" is not to become "/log"
            self.path = path

    def write(self, text: str) -> None:
        """Write a sentence in place of what stands there, 4096 bytes of it at most. Raises OSError."""
        data = text.encode(errors="replace")[:MOST].decode(errors="ignore").encode()
        if self._given is None:
            if not os.path.isabs(self.path):
                raise FileNotFoundError(ENOENT, os.strerror(ENOENT))
            fd = os.open(self.path, _FLAGS, 0o666)
        else:
            fd = nonblocking(self._given)
            data += b"\n"
        try:
            if fd == self._given and not ready(fd):
                raise BlockingIOError(EAGAIN, os.strerror(EAGAIN))
            while data:
                data = data[os.write(fd, data) :]
        finally:
            if fd != self._given:
                os.close(fd)
