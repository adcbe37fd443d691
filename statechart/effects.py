"""What can be asked for. The loop performs them in order."""

from __future__ import annotations

from statechart.values import Value


class Relay(Value):
    """Send `signum` to every child there is."""

    __slots__ = ("signum",)
    name = "relay"

    def __init__(self, signum: int) -> None:
        self.signum = signum


class Step(Value):
    """Send `signums`, in order, to each of the processes in `pids`, or to every child there is (`None`).

    With `tree`, to all their descendants as well. A child that this has not reached is not under the step yet:
    it must come back as adopted.
    """

    __slots__ = ("pids", "signums", "tree")
    name = "step"

    def __init__(self, *signums: int, pids: tuple[int, ...] | None = None, tree: bool = False) -> None:
        self.signums = signums
        self.pids = pids
        self.tree = tree


class SetClock(Value):
    """Let `timeout` happen in so many seconds from now; a later clock replaces an earlier one."""

    __slots__ = ("seconds",)
    name = "clock"

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


class SuspendAll(Value):
    """Suspend the commands, and then ourselves."""

    __slots__ = ()
    name = "suspend"


class ResumeAll(Value):
    """Continue every child, and give the terminal to its owner."""

    __slots__ = ()
    name = "resume"


class Exit(Value):
    """Exit with `code`; `gave_up` where something was left alive."""

    __slots__ = ("code", "gave_up")
    name = "exit"

    def __init__(self, code: int, *, gave_up: bool = False) -> None:
        self.code = code
        self.gave_up = gave_up


Effect = Relay | Step | SetClock | SuspendAll | ResumeAll | Exit
