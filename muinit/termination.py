"""Where Kubernetes reads why a container ended: its termination message."""

from __future__ import annotations

import os

MOST = 4096  # bytes that the kubelet reads (kubernetes.io, "Determine the Reason for Pod Failure")
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class TerminationLog:
    """The file at `path`, as seen from the directory in which this is made: muinit leaves it."""

    def __init__(self, path: str) -> None:
        try:
            self.path = os.path.abspath(path)
        except FileNotFoundError:  # the directory was removed
            self.path = path

    def write(self, text: str) -> None:
        """Write a sentence in place of what stands there, 4096 bytes of it at most. Raises OSError."""
        data = text.encode(errors="replace")[:MOST].decode(errors="ignore").encode()
        fd = os.open(self.path, _FLAGS, 0o666)
        try:
            os.write(fd, data)
        finally:
            os.close(fd)
