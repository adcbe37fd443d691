"""What can be asked for. The loop performs them in order."""

from __future__ import annotations

from statechart.values import Value


class Signal(Value):
    """Send `signum` to the children in `pids`, or to every child there is (`None`).

    With `tree`, to all their descendants as well.
    """

    __slots__ = ("pids", "signum", "tree")

    def __init__(self, signum: int, pids: tuple[int, ...] | None = None, *, tree: bool = False) -> None:
        self.signum = signum
        self.pids = pids
        self.tree = tree


class SetClock(Value):
    """Let `timeout` happen in so many seconds from now; a later clock replaces an earlier one."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


class Exit(Value):
    """Exit with `code`; `gave_up` where something was left alive."""

    __slots__ = ("code", "gave_up")

    def __init__(self, code: int, *, gave_up: bool = False) -> None:
        self.code = code
        self.gave_up = gave_up


Effect = Signal | SetClock | Exit
