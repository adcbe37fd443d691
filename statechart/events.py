"""What can happen. Each kind of event is described here, once.

    name    what the chart, traces and pictures call it
    fields  what it carries, in order: the member in a trace, the kind of the value, the attributes that hold it
    story   its line of `muinit -v`, with {} for what it carries; "" for an event that is not worth a line
    mark    what its mark in a picture of a run means; "" for an event that has no mark of its own

The kinds of the fields determine how an event is written and read (`statechart.traces`), worded (`statechart.words`)
and drawn (`statechart.pictures.lives`). A test walks all kinds of events and fields.

Every event has a time, `at`, in seconds since the start of muinit on the monotonic clock. Times and names of processes
are for the reader: they decide nothing, and two events that differ only in them are equal.
"""

from __future__ import annotations

from statechart.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_FOR_THE_READER = ("at", "names")

# The kinds of fields, and the attributes of each.
SIGNAL = "signal"  # the number of a signal
COMMANDS_ENDED = "commands ended"  # ((index of the command, Ending), ...)
ORPHANS_ENDED = "orphans ended"  # ((pid, Ending), ...), names
ADOPTED = "adopted"  # pids, asked, names
PROCESSES = "processes"  # pids, names
PIDS = "pids"  # (pid, ...)


class Event(Value):
    """What all events share."""

    __slots__ = ("at",)
    name = ""
    fields: tuple[tuple[str, ...], ...] = ()
    story = ""
    mark = ""

    def __init__(self, *, at: float = 0.0) -> None:
        self.at = at

    @classmethod
    def of(cls, at: float, **attributes: Any) -> Event:
        """Make one from its attributes by name."""
        event = object.__new__(cls)
        event.at = at
        for name, value in attributes.items():
            setattr(event, name, value)
        return event

    def _fields(self) -> tuple[object, ...]:
        return tuple(getattr(self, name) for name in self.__slots__ if name not in _FOR_THE_READER)


class Forward(Event):
    """A signal that is to be forwarded came in."""

    __slots__ = ("signum",)
    name = "forward"
    fields = (("signal", SIGNAL, "signum"),)
    story = "forwarding {}"
    mark = "came in, forwarded"

    def __init__(self, signum: int, *, at: float = 0.0) -> None:
        super().__init__(at=at)
        self.signum = signum


class Terminate(Event):
    """A signal that stops muinit came in; `statechart.meanings` says which signals do."""

    __slots__ = ("signum",)
    name = "terminate"
    fields = (("signal", SIGNAL, "signum"),)
    story = "told to stop by {}"
    mark = "came in: stop"

    def __init__(self, signum: int, *, at: float = 0.0) -> None:
        super().__init__(at=at)
        self.signum = signum


class Ending(Value):
    """How a command ended.

    `code` is its exit code, or 128 + `signum` if a signal killed it, as POSIX shells and container engines have it.
    `failure` says in words why it could not be started; then the code is 127 or 126.
    """

    __slots__ = ("code", "core", "failure", "signum")

    def __init__(self, code: int, signum: int = 0, *, core: bool = False, failure: str = "") -> None:
        self.code = code
        self.signum = signum
        self.core = core
        self.failure = failure

    @property
    def death(self) -> int:
        """The signal that it died of: the kernel says so, or the program does by an exit code of 128 + n; else 0."""
        return self.signum or max(self.code - 128, 0)


class CommandEnded(Event):
    """Commands ended: (index of the command, how it ended), in the order of the command line.

    All that had ended by then are one event, because muinit must know which commands are dead before it signals the
    others: a signal to a zombie succeeds, and would be taken for the cause of its death.

    `left` are the pids of living orphans that were first seen with this end, `names` the names of their programs.
    muinit looks for them only if an end with 0 may begin the stop.
    """

    __slots__ = ("endings", "left", "names")
    name = "command_ended"
    fields = (("endings", COMMANDS_ENDED, "endings"), ("left", PROCESSES, "left", "names"))
    story = "{}"

    def __init__(
        self,
        *endings: tuple[int, Ending],
        left: tuple[int, ...] = (),
        names: tuple[str, ...] = (),
        at: float = 0.0,
    ) -> None:
        super().__init__(at=at)
        self.endings = endings
        self.left = left
        self.names = names


class OrphansAdopted(Event):
    """Children that muinit did not start have become its own. A negative number is a process group, as in kill(2).

    `asked` are those among them that had the signal of the step in force before they were adopted. `names` are the
    names of their programs: one for each, "" if it is not known, or none at all.
    """

    __slots__ = ("asked", "names", "pids")
    name = "orphans_adopted"
    fields = (("adopted", ADOPTED, "pids", "asked", "names"),)
    story = "adopted {}"

    def __init__(self, *pids: int, asked: tuple[int, ...] = (), names: tuple[str, ...] = (), at: float = 0.0) -> None:
        super().__init__(at=at)
        self.pids = pids
        self.asked = asked
        self.names = names


class OrphansEnded(Event):
    """Children that muinit did not start have ended: (pid, how it ended).

    `names` are the names of their programs: one for each, "" if it is not known, or none at all.
    """

    __slots__ = ("endings", "names")
    name = "orphans_ended"
    fields = (("endings", ORPHANS_ENDED, "endings", "names"),)
    story = "reaped {}"

    def __init__(self, *endings: tuple[int, Ending], names: tuple[str, ...] = (), at: float = 0.0) -> None:
        super().__init__(at=at)
        self.endings = endings
        self.names = names


class Timeout(Event):
    """The clock ran out.

    `unasked` are the living descendants that have not had the signal of the step in force, and that muinit may signal.
    It looks for them only if the chart could ask them now (`Lifecycle.can_ask_late`). `below` says of each from which
    child of muinit it descends; it is empty if no command has steps of its own.
    """

    __slots__ = ("below", "names", "unasked")
    name = "timeout"
    fields = (("unasked", PROCESSES, "unasked", "names"), ("below", PIDS, "below"))
    story = "not asked to stop yet: {}"

    def __init__(
        self, *unasked: int, below: tuple[int, ...] = (), names: tuple[str, ...] = (), at: float = 0.0
    ) -> None:
        super().__init__(at=at)
        self.unasked = unasked
        self.below = below
        self.names = names


class Drained(Event):
    """No child of any kind is left."""

    __slots__ = ()
    name = "drained"


class Suspend(Event):
    """Ctrl-Z: the command that owns the terminal was stopped from it, or SIGTSTP came in."""

    __slots__ = ()
    name = "suspend"
    story = "suspend: {}"
    mark = "suspend"


class Resume(Event):
    """SIGCONT came in; or muinit could not be suspended, because nobody could have resumed it."""

    __slots__ = ()
    name = "resume"
    story = "resume: {}"
    mark = "resume"


EVENTS: dict[str, type[Event]] = {kind.name: kind for kind in Event.__subclasses__()}
