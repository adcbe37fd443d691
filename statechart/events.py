"""What can happen.

Every event has a time, `at`, in seconds since the start of muinit on the monotonic clock. It is for the reader, as
are the names of orphans: they decide nothing, and two events that differ in them alone are equal.
"""

from __future__ import annotations

from statechart.values import Value

_FOR_THE_READER = ("at", "names")


class Event(Value):
    """What all events share."""

    __slots__ = ("at",)
    name = ""  # of the event in the chart

    def __init__(self, *, at: float = 0.0) -> None:
        self.at = at

    def _fields(self) -> tuple[object, ...]:
        return tuple(getattr(self, name) for name in self.__slots__ if name not in _FOR_THE_READER)


class Forward(Event):
    """A signal to pass on came in."""

    __slots__ = ("signum",)
    name = "forward"

    def __init__(self, signum: int, *, at: float = 0.0) -> None:
        super().__init__(at=at)
        self.signum = signum


class Terminate(Event):
    """SIGTERM came in, or a signal that would have killed us."""

    __slots__ = ("signum",)
    name = "terminate"

    def __init__(self, signum: int, *, at: float = 0.0) -> None:
        super().__init__(at=at)
        self.signum = signum


class Ending(Value):
    """How a command ended.

    `code` is its exit code, or 128 + `signum` where a signal killed it (POSIX shells, and container engines,
    say it so). `failure` says in words why it could not be started; the code is 127 or 126 then.
    """

    __slots__ = ("code", "core", "failure", "signum")

    def __init__(self, code: int, signum: int = 0, *, core: bool = False, failure: str = "") -> None:
        self.code = code
        self.signum = signum
        self.core = core
        self.failure = failure

    @property
    def death(self) -> int:
        """The signal it died of, by the kernel's word or, where it exits 128 + n, by its own; else 0."""
        return self.signum or max(self.code - 128, 0)


class CommandEnded(Event):
    """Commands ended: (index of the command, how), in the order in which waitpid(2) gave them.

    All that had ended by then are one event, because who is dead must be known before the others are signalled:
    a signal to a zombie succeeds, and would be taken for what killed it.
    """

    __slots__ = ("endings",)
    name = "command_ended"

    def __init__(self, *endings: tuple[int, Ending], at: float = 0.0) -> None:
        super().__init__(at=at)
        self.endings = endings


class OrphansAdopted(Event):
    """Children that we did not start have become ours. A negative number is a process group, as in kill(2).

    `names` are those of their programs, "" where nobody knows; there is one for each, or none at all.
    """

    __slots__ = ("names", "pids")
    name = "orphans_adopted"

    def __init__(self, *pids: int, names: tuple[str, ...] = (), at: float = 0.0) -> None:
        super().__init__(at=at)
        self.pids = pids
        self.names = names


class OrphansEnded(Event):
    """Children that we did not start have ended: (pid, how). Told only where somebody reads it."""

    __slots__ = ("endings",)
    name = "orphans_ended"

    def __init__(self, *endings: tuple[int, Ending], at: float = 0.0) -> None:
        super().__init__(at=at)
        self.endings = endings


class Timeout(Event):
    """The clock ran out."""

    __slots__ = ()
    name = "timeout"


class Drained(Event):
    """No child of any kind is left."""

    __slots__ = ()
    name = "drained"


class Suspend(Event):
    """Ctrl-Z: the command that owns the terminal was stopped from it, or SIGTSTP came in."""

    __slots__ = ()
    name = "suspend"


class Resume(Event):
    """SIGCONT came in, or there was nobody who could have stopped us."""

    __slots__ = ()
    name = "resume"
