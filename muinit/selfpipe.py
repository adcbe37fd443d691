"""The self-pipe: signals become bytes in a pipe, and the loop reads them with a deadline.

Every signal is blocked, except while muinit waits. So the kernel keeps each one until muinit asks, and no system
call of ours is ever interrupted. How can one thread wait for signals, but only so long?

signalfd(2) is made for this. It is a descriptor, so poll(2) can wait for it, and it gives pending signals in the
kernel's order. Python's standard library does not have it. It could be called through `_ctypes`, as muinit calls
prctl(2), but without prctl(2) muinit can do: a Python that has no libffi could not be PID 1 then.

sigtimedwait(2) is in the standard library, needs no handler, gives the kernel's order, and costs a quarter of what we
do: 5 against 21 microseconds for one signal (measured, Python 3.11). But it gives one signal at a time. To take all
that came, one asks until there are no more, and a process that sends without pause makes this endless. And it waits
for signals alone: nothing else can ever wake the loop.

The wakeup descriptor (`signal.set_wakeup_fd`) won. Python's C handler writes the number of each signal into a pipe,
and poll(2) waits for that pipe. The signals are blocked again before the pipe is read, so a wake is a closed set,
whatever is sent meanwhile. It has two weaknesses, and both are dealt with here:

- A full pipe drops a byte. So the pipe is made large, and a Python handler notes the number as well.
- The order in the pipe is wrong. `in_order` repairs it.

The rule of order: the signals of one wake are taken lowest number first, as the kernel itself gives them to a process.
"""

import _signal
import os
from select import POLLIN, poll

from muinit import signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_PIPE_BYTES = 1048576  # one byte a signal: ten times as many as RLIMIT_SIGPENDING usually lets anybody queue
_READ_BYTES = 512
_LONGEST_WAIT_SECONDS = 86400.0  # poll(2) takes an int of milliseconds; to wait again costs nothing


class SelfPipe:
    """The pipe, both ends, and the handlers that write to it. All signals are blocked when it is made."""

    def __init__(self) -> None:
        self._read_end, self._write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._caught: frozenset[int] = frozenset()
        self._delivered: set[int] = set()

    def catch(self, numbers: "Iterable[int]") -> None:
        """From now on `wait` returns these signals; all others stay blocked."""
        import fcntl

        try:
            fcntl.fcntl(self._write_end, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        except OSError:  # the user has too many pipes (pipe-user-pages-soft, pipe(7)): then 64 KiB must do
            pass
        self._caught = frozenset(numbers)
        self._poll = poll()
        self._poll.register(self._read_end, POLLIN)
        _signal.set_wakeup_fd(self._write_end, warn_on_full_buffer=False)
        for number in self._caught:
            _signal.signal(number, self._deliver)

    def catch_again(self, number: int) -> None:
        """Catch a signal that had its default action for a moment, if it was caught before."""
        if number in self._caught:
            _signal.signal(number, self._deliver)

    def _deliver(self, number: int, _frame: object) -> None:
        # The byte in the pipe wakes us. This set is for the case that the pipe is full, and the byte was dropped.
        self._delivered.add(number)

    def wait(self, seconds: float | None) -> list[int]:
        """Wait for signals, at most so many seconds (`None`: without end), and return them in order.

        Signals are delivered only in here. Everywhere else they are blocked.
        """
        # Rounded up: rounded down, the last millisecond would be spent in a busy loop.
        milliseconds = None if seconds is None else -int(-min(seconds, _LONGEST_WAIT_SECONDS) * 1000 // 1)
        _signal.pthread_sigmask(_signal.SIG_UNBLOCK, self._caught)
        self._poll.poll(milliseconds)
        _signal.pthread_sigmask(_signal.SIG_BLOCK, self._caught)
        arrived: list[int] = []
        try:
            while len(data := os.read(self._read_end, _READ_BYTES)) == _READ_BYTES:
                arrived += data
            arrived += data
        except BlockingIOError:  # nothing is left
            pass
        arrived += self._delivered.difference(arrived)
        self._delivered.clear()
        return in_order(arrived)

    def close(self) -> None:
        """Catch nothing any more, and give back both descriptors."""
        _signal.set_wakeup_fd(-1)
        _signal.pthread_sigmask(_signal.SIG_BLOCK, signals.ALL)
        os.close(self._write_end)
        os.close(self._read_end)


def in_order(arrived: "Iterable[int]") -> list[int]:
    """The signals of one wake, lowest number first.

    The pipe has them the other way round. When several are pending, the kernel puts the frame of each handler on top
    of the frame before, so the handler of the last one runs first. TERM would overtake the USR1 that was sent before
    it (measured: 29 of 60 times).
    """
    return sorted(arrived)
