"""The last resort: muinit is broken, and stops everything that it has started.

SIGTERM, a wait, SIGKILL, as always: a bug in the init is no reason to crash a database. What broke muinit may break
this as well, be it a lack of memory or of descriptors or a bug in what is called here. So every step may fail, and the
others are taken all the same. The steps that reach the commands and their groups, that wait, and that tell whether a
child is left allocate nothing in CPython, where the integers up to 256 exist from the start. Nothing is imported.
"""

import os
from select import POLLOUT, poll
from time import monotonic, sleep

from muinit import signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from muinit.kernel import Kernel

_TICK = 0.04  # seconds
_LONGEST = 250  # ticks: 10 s, what `docker stop` waits
_KILLING = 50  # ticks: 2 s, because those who fork while they are killed may be missed at first
TRIES = 250
_WALL = 0x40000000  # waitid(2): children made by clone(2) without an exit signal, too
_REAP = os.WEXITED | os.WNOHANG | _WALL
_LOOK = _REAP | os.WNOWAIT
_STDERR = poll()
_STDERR.register(2, POLLOUT)


class Started:
    """A command that was started, in a chain: to loop over a list would allocate an iterator."""

    __slots__ = ("before", "pid")

    def __init__(self, before: "Started | None") -> None:
        self.before = before
        self.pid = 0  # not started yet, or not at all

    def is_alive(self) -> bool:
        """Whether it is our living child. If so, nobody else has its pid."""
        try:
            return bool(self.pid) and os.waitid(os.P_PID, self.pid, _LOOK) is None
        except BaseException:
            return False


class LastResort:
    """Made before the first command is started: later there may be no memory for it."""

    __slots__ = (
        *("_ask_until", "_asked", "_asking", "_begun", "_half", "_kernel"),
        *("_kill_until", "_killing", "_reserve", "_unasked"),
    )

    def __init__(self, kernel: "Kernel") -> None:
        self._kernel = kernel
        # A freed block of less than 128 KiB stays ours (malloc(3)), whatever RLIMIT_AS has become.
        self._reserve: bytes | None = bytes(122_880)
        self._asked: set[int] = set()
        self._asking = _LONGEST  # ticks left
        self._half = 0
        self._killing = _KILLING
        self._ask_until = self._kill_until = float("inf")  # on the monotonic clock
        self._unasked: Started | None = None
        self._begun = False

    def stop(self, grace: float) -> bool:
        """Stop all our descendants, and return whether nothing is left of them.

        Our children get SIGTERM, also those that become ours in the meantime. After half of `grace`, which is in
        seconds and counts up to 10, the other descendants get it. After all of it everything gets SIGKILL, for up to
        2 s. All signals stay blocked: a second SIGTERM shortens nothing. At the end the terminal is taken back.

        It can raise anything: MemoryError if a call has no frame (CPython 3.10 allocates those), what the handler of
        an earlier signal raises. Called again it goes on from where it was.
        """
        self._reserve = None
        if not self._begun:
            self._begun = True
            self._unasked = self._kernel.started
            _attempt(self._set_clock, grace)
            _attempt(self._kernel.release_signals)  # to read /proc takes a descriptor
            if not self._kernel.adopts:  # then a process is out of reach once its parent has ended
                self._each(self._kernel.descendants, self._ask)
        self._ask_commands()
        while self._asking and not self._is_over():
            try:
                if self._asking == self._half:
                    self._each(self._kernel.descendants, self._ask)
                self._each(self._kernel.children, self._ask)
            except BaseException:  # no memory for the calls
                pass
            self._asking = _wait(self._asking, self._ask_until)
        while self._killing and not self._is_over():
            try:
                self._each(self._kernel.descendants, self._kill)  # before their parents are gone
                self._each(self._kernel.groups, self._kill)
                self._each(self._kernel.children, self._kill)  # needs less memory than these two
            except BaseException:
                pass
            self._kill_commands()
            self._killing = _wait(self._killing, self._kill_until)
        _attempt(self._kernel.take_terminal)
        return self._is_over()

    def _set_clock(self, grace: float) -> None:
        seconds = min(grace, 10.0)
        self._asking = min(int(seconds / _TICK + 0.99), _LONGEST)
        self._half = self._asking // 2
        self._ask_until = monotonic() + seconds
        self._kill_until = self._ask_until + 2.0

    def _is_over(self) -> bool:
        """Reap what has ended; return whether no child is left."""
        try:
            return self._kernel.reap()[1]
        except BaseException:
            pass
        tries, failures = 0, 0
        while tries < TRIES:
            tries += 1
            try:
                if os.waitid(os.P_ALL, 0, _REAP) is None:
                    return False
            except ChildProcessError:
                return True
            except BaseException:  # no memory to tell us who was reaped, or that there is nobody
                failures += 1
        return failures == tries

    # Who is asked, who is killed

    def _ask_commands(self) -> None:
        while self._unasked is not None:
            command = self._unasked
            if command.is_alive():
                _send(os.kill, command.pid, signals.SIGTERM)
                _send(os.kill, command.pid, signals.SIGCONT)
            self._unasked = command.before
            self._asked.add(command.pid)

    def _kill_commands(self) -> None:
        command = self._kernel.started
        while command is not None:
            if command.is_alive():
                _send(os.killpg, command.pid, signals.SIGKILL)
                _send(os.kill, command.pid, signals.SIGKILL)
            command = command.before

    def _each(self, find: "Callable[[], list[int]]", act: "Callable[[int], None]") -> None:
        for pid in _attempt(find) or ():
            act(pid)

    def _ask(self, pid: int) -> None:
        if pid not in self._asked:
            _send(self._kernel.kill, pid, signals.SIGTERM)
            _send(self._kernel.kill, pid, signals.SIGCONT)
            _attempt(self._asked.add, pid)

    def _kill(self, pid: int) -> None:
        _send(self._kernel.kill, pid, signals.SIGKILL)


def _send(send: "Callable[[int, int], None]", pid: int, signum: int) -> None:
    try:
        send(pid, signum)
    except BaseException:
        pass


def _attempt(action: "Callable[..., Any]", *arguments: object) -> "Any":
    """What it returns, or `None` if it fails; for what may need memory, as the call does."""
    try:
        return action(*arguments)
    except BaseException:
        return None


def _wait(ticks: int, until: float) -> int:
    """Wait for a tick; return how many are left of them."""
    sleep(_TICK)
    try:
        return 0 if monotonic() >= until else ticks - 1
    except BaseException:
        return ticks - 1


def say(text: str) -> None:
    """Write a line to stderr, if that can be done at once. Raises nothing."""
    _attempt(_write, text) or _attempt(_write)


def _write(text: str = "internal error: out of memory") -> object:
    return _STDERR.poll(0) and os.write(2, b"muinit: %b\n" % text.encode("ascii", "backslashreplace")[:4000])
