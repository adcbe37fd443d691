"""What events, effects and decisions are made of, and the stage of a run.

Not `dataclasses`: importing it and making eleven of them costs every container 0.25 MiB (measured, Python 3.11).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from statechart.chart import State


class Value:
    """A record: equal to another of its class if all fields are equal, and printed with its fields."""

    __slots__: tuple[str, ...] = ()

    def _fields(self) -> tuple[object, ...]:
        return tuple(getattr(self, name) for name in self.__slots__)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and isinstance(other, Value) and self._fields() == other._fields()

    def __hash__(self) -> int:
        return hash((type(self), self._fields()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self._fields()))})"


class Stage(Value):
    """Where a run is: its state and, while a step is in force, step `step` of `of`.

    `again`: the step has its time once more. In RUNNING and EXITED no step is in force, and both numbers are 0.
    """

    __slots__ = ("again", "of", "state", "step")

    def __init__(self, state: State, step: int = 0, of: int = 0, *, again: bool = False) -> None:
        self.state = state
        self.step = step
        self.of = of
        self.again = again

    def __str__(self) -> str:
        """As every line says it: "TERMINATING [step 1 of 2, again]"."""
        return self.state.name + (f" [{self.words}]" if self.step else "")

    @property
    def words(self) -> str:
        """The step in force: "step 1 of 2, again"; "" where none is."""
        return f"step {self.step} of {self.of}" + (", again" if self.again else "") if self.step else ""

    @property
    def rank(self) -> tuple[int, bool]:
        """Its place among the stages of its state."""
        return self.step, self.again
