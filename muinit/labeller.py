"""The process behind --label: it reads what the commands write, and writes each line with the name of its command.

It is forked from muinit, and never returns. Every signal is blocked in it, as in muinit, and it has a session of its
own. It ends by itself when nobody is left who could write, or when muinit is gone. One thread serves stdout and one
stderr, so that a stream that nobody reads does not stop the other.

What it has taken and written stands in memory that it shares with muinit, which reads it if the labeller has died, and
before muinit exits.
"""

import _signal
import os
import stat
from _thread import allocate_lock, start_new_thread
from select import POLLIN, POLLOUT, poll

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    Streams = Sequence[tuple[int, "Stream"]]

_LINE_BYTES = 65536  # a longer line is split
_ATOMIC_BYTES = 4096  # PIPE_BUF: a pipe takes so many bytes whole, whoever else writes to it (pipe(7))

# Places in the shared memory: one for what goes to stdout, one for stderr.
TAKEN, WRITTEN, LOST, CLOSED = 0, 2, 4, 6  # bytes read, written, and given up; whether the reader of it has gone
PLACES = 8


class Stream:
    """One stream of one command: where it is read, and what stands before its lines."""

    __slots__ = ("again", "fd", "first", "left", "split")

    def __init__(self, fd: int, label: bytes, colour: bytes) -> None:
        plain = b"\x1b[0m" if colour else b""
        self.fd = fd
        self.first = b"%b%b |%b " % (colour, label, plain)
        self.again = b"%b%b +%b " % (colour, label, plain)  # before the other pieces of a line that was split
        self.left = b""  # a line that is not finished
        self.split = False  # whether its beginning was written already

    def lines(self, data: bytes) -> bytes:
        """The lines that this finishes, each with its label; `b""` is the end of the stream."""
        text = self.left + (data or b"\n" if self.left else data)
        end = text.rfind(b"\n") + 1
        block = b""
        if end:
            begin = self.again if self.split else self.first
            block = begin + text[: end - 1].replace(b"\n", b"\n" + self.first) + b"\n"
            self.split = False
        self.left = text[end:]
        while len(self.left) >= _LINE_BYTES:
            block += (self.again if self.split else self.first) + self.left[:_LINE_BYTES] + b"\n"
            self.left, self.split = self.left[_LINE_BYTES:], True
        return block


def be(streams: "Streams", stop: int, shared: memoryview) -> None:
    """Label the streams, each for the descriptor (1 or 2) that it goes to, until all have ended.

    When nothing can be written to `stop` any more, take what there is, and return.
    """
    os.setsid()
    try:
        with open("/proc/self/comm", "w") as comm:
            comm.write("muinit-label")
    except OSError:  # there is no /proc
        pass
    _close_others({1, 2, stop, *(stream.fd for _, stream in streams)})
    if _are_one_file():  # two writers could write into each other's lines
        _Output(1, streams, stop, shared).serve()
        return
    to_stdout, to_stderr = ([each for each in streams if each[0] == fd] for fd in (1, 2))
    done = allocate_lock()
    done.acquire()

    def serve_stderr() -> None:
        try:
            _Output(2, to_stderr, stop, shared).serve()
        except BaseException:  # noqa: BLE001 - whatever it is, muinit starts another labeller
            os._exit(1)
        done.release()

    start_new_thread(serve_stderr, ())
    _Output(1, to_stdout, stop, shared).serve()
    done.acquire()


class _Output:
    """Our stdout or stderr, and the streams that go there."""

    def __init__(self, fd: int, streams: "Streams", stop: int, shared: memoryview) -> None:
        self._fd = fd
        self._streams = {stream.fd: (to - 1, stream) for to, stream in streams}
        self._stop = stop
        self._shared = shared
        self._muinit = os.getppid()
        # muinit and others may write to the same pipe. So whole lines are written in pieces that it takes at once.
        self._most = _ATOMIC_BYTES if _is_pipe(fd) else 1 << 30

    def serve(self) -> None:
        waiting = poll()
        for fd in (self._stop, *self._streams):
            waiting.register(fd, POLLIN)
        there = True
        while there and self._streams:
            ready = [fd for fd, _ in waiting.poll()]
            if self._stop in ready:
                self._finish(waiting)
                return
            for fd in ready:
                place, stream = self._streams[fd]
                data = os.read(fd, _LINE_BYTES)
                if not data:
                    waiting.unregister(fd)
                    os.close(fd)
                    del self._streams[fd]
                there = there and self._label(place, stream, data)
        if not there:
            self._close()

    def _finish(self, waiting: "poll") -> None:
        """Take what there is now, and no more: somebody who survived muinit's steps may write for ever."""
        waiting.unregister(self._stop)
        ready = [fd for fd, _ in waiting.poll(0)]
        for fd, (place, stream) in self._streams.items():
            if not (fd in ready and (data := os.read(fd, 1 << 20)) and not self._label(place, stream, data)):
                self._label(place, stream, b"")

    def _label(self, place: int, stream: Stream, data: bytes) -> bool:
        """Write the lines that this finishes; return whether somebody reads our output."""
        shared = self._shared
        shared[TAKEN + place] += len(data)
        left = len(stream.left) + len(data)
        there, written = self._write(stream.lines(data))
        shared[(WRITTEN if written else LOST) + place] += left - len(stream.left)
        return there

    def _write(self, block: bytes) -> tuple[bool, bool]:
        """Write whole lines; return whether there is a reader, and whether all was written."""
        start, whole = 0, True
        while start < len(block):
            end = block.rfind(b"\n", start, start + self._most) + 1 or block.find(b"\n", start) + 1
            try:
                start += os.write(self._fd, block[start:end])
            except BrokenPipeError:
                return False, False
            except BlockingIOError:  # somebody else has made it non-blocking
                waiting = poll()
                waiting.register(self._fd, POLLOUT)
                waiting.poll()
            except OSError:  # the disk is full: without labels the program would have lost it too
                start, whole = end, False
        return True, whole

    def _close(self) -> None:
        """Our reader has gone. Commands get EPIPE once nobody can read their streams: not we, and not muinit."""
        for fd, (place, _) in self._streams.items():
            os.close(fd)
            self._shared[CLOSED + place] = 1
        os.kill(self._muinit, _signal.SIGCHLD)


def _are_one_file() -> bool:
    try:
        one, two = os.fstat(1), os.fstat(2)
    except OSError:
        return False
    return (one.st_dev, one.st_ino) == (two.st_dev, two.st_ino)


def _is_pipe(fd: int) -> bool:
    try:
        return stat.S_ISFIFO(os.fstat(fd).st_mode)
    except OSError:
        return False


def _close_others(kept: "set[int]") -> None:
    """Close what we have inherited: nobody who waits for the end of one of these files must wait for us."""
    try:
        fds = [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:
        fds = [*range(256)]
    for fd in fds:
        if fd not in kept:
            try:
                os.close(fd)
            except OSError:
                pass
