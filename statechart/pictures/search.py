"""The lifecycle as it runs with given options: a search through every situation that a run can get into.

In each situation the real `Lifecycle` is given each kind of event that the world can produce there. Where a row of the
table acts, that is an edge from one stage to another.
"""

from __future__ import annotations

from statechart.chart import State
from statechart.effects import TARGETS, Exit, Relay, SetClock
from statechart.events import (
    CommandEnded,
    Drained,
    Ending,
    Forward,
    OrphansAdopted,
    OrphansEnded,
    Resume,
    Suspend,
    Terminate,
    Timeout,
)
from statechart.lifecycle import MAY_END, SIDECAR, Command, Lifecycle
from statechart.pictures import printers
from statechart.pictures.printers import Arrow, Box, Drawing
from statechart.values import Stage
from statechart.words.phrases import guarded, seconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
    from typing import Any, Protocol, TypeVar

    from statechart.effects import Effect
    from statechart.events import Event
    from statechart.lifecycle import Decision
    from statechart.words.phrases import Signame

    Edge = tuple[Stage, str, Stage]  # the stage before, the event with its guard, the stage after
    E = TypeVar("E")

    class Situation(Protocol):
        """A run after some events."""

        @property
        def key(self) -> Hashable:
            """What decides what can come next: two situations with the same key go on in the same way."""

        def after(self, event: Any) -> tuple[Any, Decision]:
            """The situation after one more event, and the decision. This situation stays as it is."""

    S = TypeVar("S", bound=Situation)

ENDLESS = float("inf")
DOCKER, KUBERNETES = 10, 30  # seconds that each gives a stop by default
SIGTERM, ORPHAN, GRANDCHILD = 15, 1, -1  # any signal, and any pids, would do
MOST_SIGNALS = 6  # that a caption names
CODES = {  # that each policy of the exit status finds
    "first-failed": "the code of the first command that failed",
    "first-ended": "the code of the first command that ended",
    "original": "the first code other than 0",
}


def edge(decision: Decision) -> Edge:
    """The edge that a decision took."""
    return decision.before, guarded(decision.event.name, decision.guard), decision.after


def explore(
    begin: S, possible: Callable[[S], Iterable[E]], found: dict[Hashable, S]
) -> Iterator[tuple[S, E, S, Decision]]:
    """Give each situation every event that is possible there, breadth first, and yield what comes of it.

    `found` is filled with the situations, by their keys.
    """
    found[begin.key] = begin
    situations = [begin]
    for before in situations:  # grows
        for event in possible(before):
            here, decision = before.after(event)
            key = here.key
            if key not in found:
                found[key] = here
                situations.append(here)
            yield before, event, here, decision


class Unfolded:
    """Every stage that a run can get into, and every edge between them.

    `steps` and `times` are those of `Lifecycle`, `forward` the numbers of the signals that are forwarded. `commands`
    has the role of each command; none stands for two without one. More than two of a role lead to nothing that two do
    not lead to.

    `output` is how many seconds muinit waits for the reader of its output at the end. `notes` are sentences for the
    caption.

    `states` has for each stage what its step sent and the clock that it set, in words; nothing if no step is in force.
    `edges` has the effects of each edge in words. `longest` is how many seconds a stop takes, 0 to infinity, if no
    process heeds the signals; another `terminate` starts it over.
    """

    def __init__(
        self,
        steps: Sequence[int],
        times: float | Sequence[float],
        forward: Collection[int],
        signame: Signame,
        commands: Sequence[str] = (),
        *,
        policy: str = "first-failed",
        stop: Collection[int] = (SIGTERM,),
        targets: Mapping[int, str] | None = None,
        step_targets: Sequence[str] = (),
        output: float = 0.0,
        notes: Sequence[str] = (),
    ) -> None:
        self.notes = notes
        self._steps = steps
        self._times = times
        self._targets = targets
        self._step_targets = step_targets
        self._forward = forward
        self.stop = [signame(number) for number in sorted(stop, key=lambda number: number != SIGTERM)]
        self._signame = signame
        self._policy = policy
        roles = ("", MAY_END, SIDECAR)
        self._commands = [role for role in roles for _ in range(min(commands.count(role), 2))]
        self.states: dict[Stage, list[str]] = {}
        self.edges: dict[Edge, list[str]] = {}
        self._search()
        self.longest = self._wait() + output

    def _begin(self) -> Lifecycle:
        roles = enumerate(self._commands or ["", ""], ORPHAN + 1)
        commands = [Command((), pid, may_end=role == MAY_END, sidecar=role == SIDECAR) for pid, role in roles]
        return Lifecycle(
            commands, tuple(self._steps), self._times, targets=self._targets, step_targets=self._step_targets
        )

    def _search(self) -> None:
        """Find the states and the edges: give each event to a copy of the run."""
        found: dict[Hashable, _Situation] = {}
        ways: dict[Edge, list[tuple[Effect, ...]]] = {}
        for _, _, here, decision in explore(_Situation(self._begin()), lambda it: it.possible(self._forward), found):
            if here.acted:
                ways.setdefault(edge(decision), []).append(decision.effects)
        for here in sorted(found.values(), key=_Situation.place):
            self.states[here.lifecycle.stage] = [effect.words(self._signame) for effect in here.sent]
        order = {stage: place for place, stage in enumerate(self.states)}
        for key in sorted(ways, key=lambda key: order[key[0]]):
            self.edges[key] = [self._words(alike) for alike in zip(*ways[key], strict=True)]

    def _words(self, alike: Sequence[Effect]) -> str:
        """An effect in words. `alike` has it once for each time that its edge was found."""
        relayed: dict[str, dict[str, None]] = {}
        for effect in alike:
            if isinstance(effect, Relay):
                relayed.setdefault(effect.target, {})[self._signame(effect.signum)] = None
        if relayed:
            names = ((target, _or([*signums])) for target, signums in relayed.items())
            return " or ".join(f"{these} to {TARGETS[target]}" for target, these in names)
        if isinstance(alike[0], Exit) and not alike[0].gave_up:
            return f"exit with {CODES[self._policy]}, else 0"
        return " or ".join(dict.fromkeys(effect.words(self._signame) for effect in alike))

    def _wait(self) -> float:
        """The sum of the clocks from `terminate` to the exit, if each of them runs out."""
        lifecycle, total = self._begin(), 0.0
        event: Event = Terminate(SIGTERM)
        while lifecycle.state is not State.EXITED:
            total += sum(effect.seconds for effect in lifecycle.handle(event).effects if isinstance(effect, SetClock))
            event = Timeout(GRANDCHILD)
        return total


class _Situation:
    """A run after some events, and what the step in force has sent."""

    def __init__(self, lifecycle: Lifecycle, sent: tuple[Effect, ...] = ()) -> None:
        self.lifecycle = lifecycle
        self.sent = () if lifecycle.state is State.EXITED else sent

    def after(self, event: Event) -> tuple[_Situation, Decision]:
        """The situation after one more event, and the decision. This situation stays as it is."""
        lifecycle = copied(self.lifecycle)
        decision = lifecycle.handle(event)
        new = any(isinstance(effect, SetClock) for effect in decision.effects)
        return _Situation(lifecycle, decision.effects if new else self.sent), decision

    @property
    def acted(self) -> bool:
        """Whether the last row that was taken acts."""
        return self.lifecycle.arc is not None and bool(self.lifecycle.arc.actions)

    @property
    def alive(self) -> tuple[int, ...]:
        """Which commands are alive."""
        return tuple(index for index, command in enumerate(self.lifecycle.commands) if command.alive)

    @property
    def key(self) -> Hashable:
        """Everything that decides what can come next, apart from the exit code."""
        return self.lifecycle.stage, self.alive, self.sent

    def place(self) -> tuple[int, int, bool]:
        """The place of its stage among the others, by state and step."""
        return list(State).index(self.lifecycle.state), self.lifecycle.step, self.lifecycle.again

    def possible(self, forward: Iterable[int]) -> Iterator[Event]:
        """What can happen next: of each kind of event, the ones that make a difference."""
        if self.lifecycle.state is State.EXITED:
            return
        yield from map(Forward, forward)
        yield Terminate(SIGTERM)
        if self.alive:
            yield CommandEnded((self.alive[0], Ending(0)))
            if any(command.role for command in self.lifecycle.commands):
                yield from (CommandEnded((index, Ending(code))) for index in self.alive for code in (0, 3))
            yield CommandEnded(*((index, Ending(0)) for index in self.alive))
        yield OrphansAdopted(ORPHAN)
        yield OrphansEnded((ORPHAN, Ending(0)))
        if any(isinstance(effect, SetClock) and effect.seconds < ENDLESS for effect in self.sent):
            yield Timeout()
            yield Timeout(GRANDCHILD)
        yield Suspend()
        yield Resume()
        if not self.alive:
            yield Drained()


_CHANGING = frozenset({Lifecycle, Command, list, dict, set})


def copied(lifecycle: Lifecycle) -> Lifecycle:
    """A copy of a run and of all that it can change. `copy.deepcopy` would do, but takes ten times as long."""
    copy: Lifecycle = _copied(lifecycle, {})
    return copy


def _copied(value: Any, copies: dict[int, Any]) -> Any:
    kind = type(value)
    if kind in (Lifecycle, Command):
        copy = copies.get(id(value))
        if copy is None:
            copies[id(value)] = copy = object.__new__(kind)
            for name in kind.__slots__:
                part = getattr(value, name)
                setattr(copy, name, _copied(part, copies) if type(part) in _CHANGING else part)
        return copy
    if kind is list:
        return [_copied(each, copies) for each in value]
    return value.copy() if kind in (dict, set) else value


# Printed


def caption(unfolded: Unfolded) -> list[str]:
    """In sentences: how long a stop can take, what starts it, and what the options of single commands change."""
    return [
        _limits(unfolded.longest),
        f"{_or(unfolded.stop)} starts the steps. Another one starts them over, and the time too.",
        *unfolded.notes,
    ]


def _limits(longest: float) -> str:
    """How long a stop can take, and what that means for the limits of the platform."""
    if longest == ENDLESS:
        default = f"by default {DOCKER} s after docker stop, {KUBERNETES} s in Kubernetes"
        return f"A stop can take for ever: then the platform's SIGKILL ends it, {default}."
    if longest < DOCKER:
        default = f"their defaults, {DOCKER} s and {KUBERNETES} s, are"
    elif longest < KUBERNETES:
        default = f"the default of docker stop, {DOCKER} s, is not"
    else:
        default = f"their defaults, {DOCKER} s and {KUBERNETES} s, are not"
    most = seconds(longest)
    if longest >= 60:
        longest = -(-longest // 1)  # both are told in whole seconds
        most = f"{seconds(longest)} ({longest:.0f} s)"
    return f"A stop takes at most {most}: docker stop -t and terminationGracePeriodSeconds must be longer; {default}."


def _or(names: Sequence[str]) -> str:
    """Join names: "A, B or C". Fifty signals can stop an ordinary process; then only the first few are named."""
    if len(names) > MOST_SIGNALS:
        names = [*names[:MOST_SIGNALS], f"{len(names) - MOST_SIGNALS} others"]
    return " or ".join([*[", ".join(names[:-1])] * (len(names) > 1), *names[-1:]])


def mermaid(unfolded: Unfolded) -> str:
    """The diagram in Mermaid."""
    return printers.mermaid(_drawing(unfolded))


def dot(unfolded: Unfolded, taken: Mapping[Edge, int] | None = None) -> str:
    """The diagram for Graphviz; `taken` says how often a run took each edge."""
    return printers.dot(_drawing(unfolded, taken))


def table(unfolded: Unfolded) -> str:
    """The caption, and a row for each edge, as a Markdown table that can be read in a terminal."""
    rows = [
        (str(before), event, str(after) if after != before else "stays", "; ".join(effects) or "no effect")
        for (before, event, after), effects in unfolded.edges.items()
    ]
    return "\n".join([*caption(unfolded), "", printers.table(("from", "event", "to", "does"), rows, padded=True)])


def _drawing(unfolded: Unfolded, taken: Mapping[Edge, int] | None = None) -> Drawing:
    times = taken or {}
    ways = [key for key in times if times[key]]
    visited = {Stage(State.RUNNING), *(stage for before, _, after in ways for stage in (before, after))}
    boxes = [Box(box(stage), str(stage), sent, stage.rank) for stage, sent in unfolded.states.items()]
    arrows = [Arrow(box(key[0]), box(key[2]), _label(unfolded, key), times.get(key, 0)) for key in unfolded.edges]
    end = State.EXITED.name
    return Drawing(boxes, arrows, end, caption(unfolded), taken is not None, frozenset(map(box, visited)))


def _label(unfolded: Unfolded, key: Edge) -> str:
    """The event, and what is done. Of a step that is sent, only its number: the box of its stage says the rest."""
    _, event, after = key
    effects = unfolded.edges[key]
    if effects and effects == unfolded.states[after]:
        effects = [f"step {after.step}" + (", again" if after.again else "")]
    return f"{event} / {', '.join(effects)}" if effects else event  # Mermaid takes a semicolon for the end of the line


def box(stage: Stage) -> str:
    """What the pictures call a stage: TERMINATING_1, TERMINATING_1_AGAIN."""
    return stage.state.name + (f"_{stage.step}" if stage.step else "") + ("_AGAIN" if stage.again else "")
