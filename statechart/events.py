"""What can happen.

Every event has a time, `at`, in seconds since the start of muinit on the monotonic clock. It is for the reader, as
are the names of processes: they decide nothing, and two events that differ only in them are equal.
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
    """A signal that stops us came in; `statechart.meanings` says which do."""

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

    `left` are the living orphans that were first seen with this end, by pid and name ("" where nobody knows it).
    They are looked for only where an end with 0 may begin the stop.
    """

    __slots__ = ("endings", "left")
    name = "command_ended"

    def __init__(self, *endings: tuple[int, Ending], left: tuple[tuple[int, str], ...] = (), at: float = 0.0) -> None:
        super().__init__(at=at)
        self.endings = endings
        self.left = left


class OrphansAdopted(Event):
    """Children that we did not start have become ours. A negative number is a process group, as in kill(2).

    `asked` are those among them that have had the signal of the step in force before they were ours. `names` are
    those of their programs, "" where nobody knows; there is one for each, or none at all.
    """

    __slots__ = ("asked", "names", "pids")
    name = "orphans_adopted"

    def __init__(self, *pids: int, asked: tuple[int, ...] = (), names: tuple[str, ...] = (), at: float = 0.0) -> None:
        super().__init__(at=at)
        self.pids = pids
        self.asked = asked
        self.names = names


class OrphansEnded(Event):
    """Children that we did not start have ended: (pid, how).

    `names` are those of their programs, "" where nobody knows; there is one for each, or none at all.
    """

    __slots__ = ("endings", "names")
    name = "orphans_ended"

    def __init__(self, *endings: tuple[int, Ending], names: tuple[str, ...] = (), at: float = 0.0) -> None:
        super().__init__(at=at)
        self.endings = endings
        self.names = names


class Timeout(Event):
    """The clock ran out.

    `unasked` are the living descendants that have not had the signal of the step in force, and that we may signal.
    They are looked for only where the chart could ask them now (`Lifecycle.can_ask_late`).
    """

    __slots__ = ("names", "unasked")
    name = "timeout"

    def __init__(self, *unasked: int, names: tuple[str, ...] = (), at: float = 0.0) -> None:
        super().__init__(at=at)
        self.unasked = unasked
        self.names = names


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
