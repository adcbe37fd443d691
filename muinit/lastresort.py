"""The last resort: muinit is broken, and stops everything that it has started.

It sends SIGTERM, waits, and sends SIGKILL, as in any stop: a bug in the init is no reason to crash a database. What
broke muinit may break this as well: a lack of memory or of descriptors, or a bug in something that is called here. So
each step may fail, and the next one is taken all the same. Some steps allocate nothing in CPython, where the integers
up to 256 always exist: those that signal the commands and their groups, that wait, and that see whether a child is
left. Nothing is imported.
"""

import os
from select import POLLOUT, poll
from time import monotonic, sleep

from muinit import signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from muinit.children import Children
    from muinit.selfpipe import SelfPipe
    from muinit.terminal import Terminal

_TICK_SECONDS = 0.04
_ASKING_SECONDS = 10.0  # as long as `docker stop` waits
_KILLING_SECONDS = 2.0  # because a process that forks while it is killed may be missed at first
_MOST_ASKING_TICKS = int(_ASKING_SECONDS / _TICK_SECONDS)
_MOST_KILLING_TICKS = int(_KILLING_SECONDS / _TICK_SECONDS)
TRIES = 250
WALL = 0x40000000  # __WALL, waitid(2): also children that clone(2) made with another exit signal than SIGCHLD
_REAP = os.WEXITED | os.WNOHANG | WALL
_LOOK = _REAP | os.WNOWAIT
_STDERR = poll()
_STDERR.register(2, POLLOUT)


class Started:
    """A command that was started. They form a chain, because a loop over a list would allocate an iterator."""

    __slots__ = ("before", "pid")

    def __init__(self, before: "Started | None") -> None:
        self.before = before
        self.pid = 0  # until it is started

    def is_alive(self) -> bool:
        """Whether it is our living child. If so, nobody else has its pid."""
        try:
            return bool(self.pid) and os.waitid(os.P_PID, self.pid, _LOOK) is None
        except BaseException:
            return False


class LastResort:
    """Made before the first command is started: later there may be no memory for it."""

    __slots__ = (
        *("_ask_until", "_asked", "_asking", "_begun", "_children", "_half"),
        *("_kill_until", "_killing", "_reserve", "_self_pipe", "_terminal", "_unasked"),
    )

    def __init__(self, children: "Children", self_pipe: "SelfPipe", terminal: "Terminal") -> None:
        self._children = children
        self._self_pipe = self_pipe
        self._terminal = terminal
        # Once freed, a block of less than 128 KiB stays in our heap (malloc(3)), whatever RLIMIT_AS has become.
        self._reserve: bytes | None = bytes(122_880)
        self._asked: set[int] = set()
        self._asking = _MOST_ASKING_TICKS  # ticks left
        self._half = 0
        self._killing = _MOST_KILLING_TICKS
        self._ask_until = self._kill_until = float("inf")  # on the monotonic clock
        self._unasked: Started | None = None
        self._begun = False

    def stop(self, grace: float) -> bool:
        """Stop all our descendants, and return whether nothing is left of them.

        Our children get SIGTERM, including those that become ours in the meantime. After half of `grace` (seconds, up
        to 10), all other descendants get it. After the whole of it everything gets SIGKILL, for up to 2 s. All signals
        stay blocked: a second SIGTERM shortens nothing. At the end the terminal is taken back.

        This can raise anything: MemoryError if there is no memory for the frame of a call (CPython 3.10 allocates
        frames), or what the handler of an earlier signal raises. Call it again, and it goes on from where it was.
        """
        self._reserve = None
        if not self._begun:
            self._begun = True
            self._unasked = self._children.started
            _attempt(self._set_clock, grace)
            _attempt(self._self_pipe.close)  # reading /proc needs a descriptor
            if not self._children.adopts:  # then a process is out of reach once its parent has ended
                self._ask_everybody()
        self._ask_commands()
        while self._asking and not self._is_over():
            try:
                if self._asking == self._half:
                    self._ask_everybody()
                self._each(_attempt(self._children.pids), self._ask)
            except BaseException:  # no memory for the calls
                pass
            self._asking = _wait(self._asking, self._ask_until)
        while self._killing and not self._is_over():
            try:
                for pids in _attempt(self._children.whole_tree) or ():
                    self._each(pids, self._kill)
                self._each(_attempt(self._children.pids), self._kill)  # this needs less memory than whole_tree()
            except BaseException:
                pass
            self._kill_commands()
            self._killing = _wait(self._killing, self._kill_until)
        _attempt(self._terminal.take)
        return self._is_over()

    def _set_clock(self, grace: float) -> None:
        seconds = min(grace, _ASKING_SECONDS)
        self._asking = min(int(seconds / _TICK_SECONDS + 0.99), _MOST_ASKING_TICKS)
        self._half = self._asking // 2
        self._ask_until = monotonic() + seconds
        self._kill_until = self._ask_until + _KILLING_SECONDS

    def _is_over(self) -> bool:
        """Reap what has ended; return whether no child is left."""
        try:
            return self._children.reap()[1]
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
            except BaseException:  # no memory for the answer, whatever it is
                failures += 1
        return failures == tries

    # "Ask" means SIGTERM, and "kill" means SIGKILL

    def _ask_commands(self) -> None:
        while self._unasked is not None:
            command = self._unasked
            if command.is_alive():
                _send(os.kill, command.pid, signals.SIGTERM)
                _send(os.kill, command.pid, signals.SIGCONT)
            self._unasked = command.before
            self._asked.add(command.pid)

    def _kill_commands(self) -> None:
        command = self._children.started
        while command is not None:
            if command.is_alive():
                _send(os.killpg, command.pid, signals.SIGKILL)
                _send(os.kill, command.pid, signals.SIGKILL)
            command = command.before

    def _ask_everybody(self) -> None:
        if found := _attempt(self._children.whole_tree):
            _, descendants = found
            self._each(descendants, self._ask)

    def _each(self, pids: "list[int] | None", act: "Callable[[int], None]") -> None:
        for pid in pids or ():
            act(pid)

    def _ask(self, pid: int) -> None:
        if pid not in self._asked:
            _send(self._children.kill, pid, signals.SIGTERM)
            _send(self._children.kill, pid, signals.SIGCONT)
            _attempt(self._asked.add, pid)

    def _kill(self, pid: int) -> None:
        _send(self._children.kill, pid, signals.SIGKILL)


def _send(send: "Callable[[int, int], None]", pid: int, signum: int) -> None:
    try:
        send(pid, signum)
    except BaseException:
        pass


def _attempt(action: "Callable[..., Any]", *arguments: object) -> "Any":
    """What the action returns, or `None` if it fails. For actions that may allocate, as this call does."""
    try:
        return action(*arguments)
    except BaseException:
        return None


def _wait(ticks: int, until: float) -> int:
    """Wait for a tick; return how many are left of them."""
    sleep(_TICK_SECONDS)
    try:
        return 0 if monotonic() >= until else ticks - 1
    except BaseException:
        return ticks - 1


def say(text: str) -> None:
    """Write a line to stderr, if that can be done at once. Raises nothing."""
    _attempt(_write, text) or _attempt(_write)


def _write(text: str = "internal error: out of memory") -> object:
    return _STDERR.poll(0) and os.write(2, b"muinit: %b\n" % text.encode("ascii", "backslashreplace")[:4000])
