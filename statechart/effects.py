"""What the lifecycle can ask for; the loop performs it, in order. Each kind of effect is described here, once.

name    what traces and pictures call it
fields  what it carries: the member in a trace, the kind of the value, the attribute that holds it
words   what it does, for people
mark    what its mark in a picture of a run means; "" for an effect that has no mark of its own
"""

from __future__ import annotations

from statechart.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Signame = Callable[[int], str]

# The kinds of fields.
SIGNAL = "signal"  # the number of a signal
SIGNALS = "signals"  # numbers of signals
PIDS = "pids"  # (pid, ...), or None
FLAG = "flag"
SECONDS = "seconds"  # 0 to infinity
CODE = "code"  # an exit status
TARGET = "target"  # CHILD, GROUP or TREE
SOME = "some"  # ((pid of a command, target), ...), or None
SIDECARS = "sidecars"  # (pid, ...)
OWN = "own"  # ((pid of a command, number of its own signal, target), ...)

# Which processes get a signal: every child, the process group of every child, every descendant.
CHILD, GROUP, TREE = "child", "group", "tree"
TARGETS = {CHILD: "every child", GROUP: "the process group of every child", TREE: "every descendant"}
OWN_TARGETS = {CHILD: "pid {}", GROUP: "pid {} and its group", TREE: "pid {} and its descendants"}


class Effect(Value):
    """What all effects share."""

    __slots__ = ()
    name = ""
    fields: tuple[tuple[str, str, str], ...] = ()
    mark = ""

    @classmethod
    def of(cls, **attributes: Any) -> Effect:
        """Make one from its attributes by name."""
        effect = object.__new__(cls)
        for name, value in attributes.items():
            setattr(effect, name, value)
        return effect

    if TYPE_CHECKING:

        def words(self, signame: Signame) -> str:
            """What it does: "SIGTERM, SIGCONT to every child", "clock 2 s"."""


class Relay(Effect):
    """Send `signum` to every child there is, to their process groups, or to every descendant.

    `some` are the commands that it is for, each with its own target; `None` is all.
    """

    __slots__ = ("signum", "some", "target")
    name = "relay"
    fields = (("signal", SIGNAL, "signum"), ("target", TARGET, "target"), ("some", SOME, "some"))
    mark = "forwarded"

    def __init__(self, signum: int, target: str = CHILD, some: tuple[tuple[int, str], ...] | None = None) -> None:
        self.signum = signum
        self.target = target
        self.some = some

    def words(self, signame: Signame) -> str:
        if self.some is None:
            return f"{signame(self.signum)} to {TARGETS[self.target]}"
        whom = [OWN_TARGETS[target].format(pid) for pid, target in self.some]
        return f"{signame(self.signum)} to {', '.join(whom) or 'no command that is alive'}"


class SendStep(Effect):
    """Send the signals of a step, in order, to each process in `pids`; `None` is every child there is.

    If they are not for `pids`, `target` says which processes get them, each of them once. `own` has the commands that
    get another first signal, and for each the target of that: it is for nothing but the command and what descends from
    it. `spared` are the pids of sidecars that get nothing, nor does what descends from them or is in their groups. The
    loop must report a child that this misses as adopted, so that it gets the signals then.
    """

    __slots__ = ("own", "pids", "signums", "spared", "target")
    name = "step"
    fields = (
        ("signals", SIGNALS, "signums"),
        ("pids", PIDS, "pids"),
        ("target", TARGET, "target"),
        ("own", OWN, "own"),
        ("spared", SIDECARS, "spared"),
    )
    mark = "signal of a step"

    def __init__(
        self,
        *signums: int,
        pids: tuple[int, ...] | None = None,
        target: str = CHILD,
        own: tuple[tuple[int, int, str], ...] = (),
        spared: tuple[int, ...] = (),
    ) -> None:
        self.signums = signums
        self.pids = pids
        self.target = target
        self.own = own
        self.spared = spared

    def words(self, signame: Signame) -> str:
        whom = TARGETS[self.target] if self.pids is None else "those not asked yet"
        text = f"{', '.join(map(signame, self.signums))} to {whom}" + (" but sidecars" if self.spared else "")
        return text + "".join(
            f", but {signame(signum)} to {OWN_TARGETS[target].format(pid)}" for pid, signum, target in self.own
        )


class SetClock(Effect):
    """Let `timeout` happen so many seconds from now. A later clock replaces an earlier one."""

    __slots__ = ("seconds",)
    name = "clock"
    fields = (("seconds", SECONDS, "seconds"),)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def words(self, signame: Signame) -> str:
        return f"clock {self.seconds:g} s"


class SuspendAll(Effect):
    """Suspend the commands, and then muinit."""

    __slots__ = ()
    name = "suspend"
    mark = "suspend"

    def words(self, signame: Signame) -> str:
        return "SIGTSTP to every command, then to us"


class ResumeAll(Effect):
    """Continue every child, and give the terminal back to its owner."""

    __slots__ = ()
    name = "resume"
    mark = "resume"

    def words(self, signame: Signame) -> str:
        return "SIGCONT to every child"


class Exit(Effect):
    """Exit with `code`; `gave_up` says that something was left alive."""

    __slots__ = ("code", "gave_up")
    name = "exit"
    fields = (("code", CODE, "code"), ("gave_up", FLAG, "gave_up"))

    def __init__(self, code: int, *, gave_up: bool = False) -> None:
        self.code = code
        self.gave_up = gave_up

    def words(self, signame: Signame) -> str:
        return f"exit {self.code}" + (", giving up" if self.gave_up else "")


EFFECTS: dict[str, type[Effect]] = {kind.name: kind for kind in Effect.__subclasses__()}
