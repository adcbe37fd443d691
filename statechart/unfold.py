"""The lifecycle as it runs with given options: the machine unfolded, by running it.

In every situation that a run can get into, the real `Lifecycle` is handed each kind of event that the world can
produce there. Where a row of the table acts, that is an edge from one stage to another.
"""

from __future__ import annotations

from statechart.chart import State
from statechart.diagram import START
from statechart.effects import Exit, Relay, SetClock
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
from statechart.lifecycle import Command, Lifecycle
from statechart.report import seconds
from statechart.trace import guarded, words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from statechart.effects import Effect
    from statechart.events import Event
    from statechart.lifecycle import Taken
    from statechart.trace import Signame

    Edge = tuple[str, str, str]  # the stage before, the event with its guard, the stage after

ENDLESS = float("inf")
DOCKER, KUBERNETES = 10, 30  # seconds that each gives a stop by default
RUNNING, EXITED = State.RUNNING.name, State.EXITED.name
SIGTERM, ORPHAN, GRANDCHILD = 15, 1, -1  # any signal, and any pids, would do

GAP = "\N{NO-BREAK SPACE}"  # from a line to its label: an SVG would not show a space
UP, DOWN = ["tailport=n", "headport=s"], ["tailport=s"]
MOST = 6  # signals that a caption names
WIDE = 50  # characters; a label beyond that has two lines
TAKEN = ["class=taken", "penwidth=3"]
UNTAKEN = ["class=untaken", "penwidth=0.5", "color=gray60", "fontcolor=gray60"]


def edge(taken: Taken) -> Edge:
    """The edge that was taken, in the words of a trace."""
    return taken.before, guarded(taken.event.name, taken.guard), taken.after


class Unfolded:
    """Every stage that a run can get into, and every edge between them.

    `steps` and `timeout` are those of `Lifecycle`, `forward` the numbers of the signals that are passed on. More than
    two `commands` find nothing that two do not find.

    `states` has for each stage what its step sent and the clock that it set, in words; nothing where no step is in
    force. `edges` has the effects of each edge in words. `longest` is how many seconds a stop takes, 0 to infinity,
    if nobody heeds the signals; another `terminate` starts it over.
    """

    def __init__(
        self,
        steps: Sequence[int],
        timeout: float,
        forward: Collection[int],
        signame: Signame,
        commands: int = 2,
        *,
        stop: Collection[int] = (SIGTERM,),
    ) -> None:
        self._steps = steps
        self._timeout = timeout
        self._forward = forward
        self.stop = [signame(number) for number in sorted(stop, key=lambda number: number != SIGTERM)]
        self._signame = signame
        self._commands = commands
        self.states: dict[str, list[str]] = {}
        self.edges: dict[Edge, list[str]] = {}
        self._search()
        self.longest = self._wait()

    def _begin(self) -> Lifecycle:
        pids = range(ORPHAN + 1, ORPHAN + 1 + self._commands)
        return Lifecycle([Command((), pid) for pid in pids], tuple(self._steps), self._timeout)

    def _search(self) -> None:
        """Find the states and the edges, breadth first: every event is handed to a copy of the run."""
        begin = _Situation(self._begin())
        found = {begin.key: begin}
        ways: dict[Edge, list[tuple[Effect, ...]]] = {}
        situations = [begin]
        for before in situations:  # grows
            for event in before.possible(self._forward):
                here, taken = before.after(event)
                if here.acted:
                    ways.setdefault(edge(taken), []).append(taken.effects)
                if here.key not in found:
                    found[here.key] = here
                    situations.append(here)
        for here in sorted(found.values(), key=_Situation.place):
            self.states[here.run.stage] = [words(effect, self._signame) for effect in here.sent]
        order = {stage: place for place, stage in enumerate(self.states)}
        for key in sorted(ways, key=lambda key: order[key[0]]):
            self.edges[key] = [self._words(alike) for alike in zip(*ways[key], strict=True)]

    def _words(self, alike: Sequence[Effect]) -> str:
        """An effect in words; `alike` is what it was each time that its edge was found."""
        relayed = dict.fromkeys(self._signame(effect.signum) for effect in alike if isinstance(effect, Relay))
        if relayed:
            return words(alike[0], lambda _: " or ".join(relayed))
        if isinstance(alike[0], Exit) and not alike[0].gave_up:
            return "exit with the code of the first command that failed, else 0"
        return " or ".join(dict.fromkeys(words(effect, self._signame) for effect in alike))

    def _wait(self) -> float:
        """The sum of the clocks from `terminate` to the exit, when each runs out."""
        run, total = self._begin(), 0.0
        event: Event = Terminate(SIGTERM)
        while run.state is not State.EXITED:
            total += sum(effect.seconds for effect in run.handle(event).effects if isinstance(effect, SetClock))
            event = Timeout(GRANDCHILD)
        return total


class _Situation:
    """A run after some events, and what the step in force has sent."""

    def __init__(self, run: Lifecycle, sent: tuple[Effect, ...] = ()) -> None:
        self.run = run
        self.sent = () if run.state is State.EXITED else sent

    def after(self, event: Event) -> tuple[_Situation, Taken]:
        """The situation after one event more, and what was decided; this one stays as it is."""
        run = _copied(self.run, {})
        taken = run.handle(event)
        new = any(isinstance(effect, SetClock) for effect in taken.effects)
        return _Situation(run, taken.effects if new else self.sent), taken

    @property
    def acted(self) -> bool:
        """Whether the row that was taken last is one that acts."""
        return self.run.arc is not None and bool(self.run.arc.actions)

    @property
    def alive(self) -> tuple[int, ...]:
        """Which commands are alive."""
        return tuple(index for index, command in enumerate(self.run.commands) if command.alive)

    @property
    def key(self) -> object:
        """What decides what can come next, but for the exit code."""
        return self.run.stage, self.alive, self.sent

    def place(self) -> tuple[int, int, bool]:
        """Where its stage stands among the others: by state and step."""
        return list(State).index(self.run.state), self.run.step, self.run.again

    def possible(self, forward: Iterable[int]) -> Iterator[Event]:
        """What can happen next: of each kind of event what makes a difference."""
        if self.run.state is State.EXITED:
            return
        yield from map(Forward, forward)
        yield Terminate(SIGTERM)
        if self.alive:
            yield CommandEnded((self.alive[0], Ending(0)))
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


def _copied(value: Any, copies: dict[int, Any]) -> Any:
    """A copy of a run with all that it can change. `copy.deepcopy` would do, but takes ten times as long."""
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
    """In sentences: how long a stop can take, and what that asks of those who would end it with SIGKILL."""
    longest = unfolded.longest
    if longest == ENDLESS:
        default = f"by default {DOCKER} s after docker stop, {KUBERNETES} s in Kubernetes"
        return [f"A stop can take for ever: then the platform's SIGKILL ends it, {default}."]
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
    return [
        f"A stop takes at most {most}: docker stop -t and terminationGracePeriodSeconds must be longer; {default}.",
        f"{_or(unfolded.stop)} starts the steps. Another one starts them over, and the time too.",
    ]


def _or(names: Sequence[str]) -> str:
    """Join names: "A, B or C". An ordinary process can be stopped by fifty signals: then the first few."""
    if len(names) > MOST:
        names = [*names[:MOST], f"{len(names) - MOST} others"]
    return " or ".join([*[", ".join(names[:-1])] * (len(names) > 1), *names[-1:]])


def mermaid(unfolded: Unfolded) -> str:
    """A Mermaid state diagram. An edge that stays is a line in its stage's box, under what the step has sent."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for key in unfolded.edges:
        arrows.setdefault((key[0], key[2]), []).append(_label(unfolded, key))
    lines = ["---", f'title: "{" ".join(caption(unfolded))}"', "---", "stateDiagram-v2"]
    lines.append(f"    {START} --> {RUNNING}: start")
    for stage, sent in unfolded.states.items():  # the first line is the title
        lines += [f"    {_id(stage)}: {line}" for line in [stage, *sent, *arrows.pop((stage, stage), [])]]
    for (before, after), labels in arrows.items():
        lines.append(f"    {_id(before)} --> {_id(after)}: {'<br/><br/>'.join(labels)}")
    lines.append(f"    {EXITED} --> {START}")
    return "\n".join(lines)


def dot(unfolded: Unfolded, taken: Mapping[Edge, int] | None = None) -> str:
    """The same for Graphviz, where an edge that stays is a line beside a loop.

    `taken` has how often a run took each edge: these have their number, and an arrow that is heavy and of the class
    "taken", as are the stages of that run; all else is thin, grey and of the class "untaken".
    """
    times = {key: number for key, number in (taken or {}).items() if number}
    visited = {RUNNING, *(stage for before, _, after in times for stage in (before, after))}
    arrows: dict[tuple[str, str, bool], list[str]] = {}
    for key in unfolded.edges:
        label = _label(unfolded, key) + (f" \N{MULTIPLICATION SIGN}{times[key]}" if key in times else "")
        wrapped = label.replace(" / ", " /\n").split("\n") if len(label) > WIDE else [label]
        arrows.setdefault((key[0], key[2], key in times), []).extend(wrapped)

    def drawn(what: str, *attributes: str, was: bool = True) -> str:
        how = [] if taken is None else TAKEN if was else UNTAKEN
        return f"    {what} [{', '.join([*attributes, *how])}];"

    lines = ["digraph lifecycle {", '    graph [fontname="sans-serif", labelloc=t];']
    lines += ['    node [shape=box, style=rounded, fontname="sans-serif"];']
    lines += ['    edge [fontname="sans-serif", fontsize=10];', f"    label={_quoted(caption(unfolded))};"]
    lines += [drawn("start", "shape=point"), drawn(f"start -> {RUNNING}", f"label={_quoted([GAP + 'start'], 'l')}")]
    # Of the edges in a cycle dot draws upwards the one that leads to a node which stands before the others here.
    for stage in sorted(unfolded.states, key=lambda stage: (stage == EXITED, _rank(stage))):
        label = f"label={_quoted([stage, *unfolded.states[stage]])}"
        lines.append(drawn(_id(stage), label, *(["peripheries=2"] if stage == EXITED else []), was=stage in visited))
    # Those taken come first: of two loops dot draws the second around the first, and through words of several lines.
    for (before, after, was), labels in sorted(arrows.items(), key=lambda arrow: not arrow[0][2]):
        # Ports, or an edge would leave through the words beside the loop.
        ports = [] if before == after else UP if (0, False) < _rank(after) < _rank(before) else DOWN
        label = f"label={_quoted([GAP + label for label in labels], 'l')}"
        lines.append(drawn(f"{_id(before)} -> {_id(after)}", label, *ports, was=was))
    return "\n".join([*lines, "}"])


def table(unfolded: Unfolded) -> str:
    """The caption, and a row for each edge, as a Markdown table that can be read in a terminal."""
    rows = [("from", "event", "to", "does")]
    for (before, event, after), effects in unfolded.edges.items():
        rows.append((before, event, after if after != before else "stays", "; ".join(effects) or "no effect"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, ("-" * widths[0], "-" * widths[1], "-" * widths[2], "-" * widths[3]))
    lines = [" | ".join(map(str.ljust, row, widths)) for row in rows]
    return "\n".join([*caption(unfolded), "", *(f"| {line} |" for line in lines)])


def _label(unfolded: Unfolded, key: Edge) -> str:
    """The event, and what is done; of a step that is sent only its number, for its stage says the rest."""
    _, event, after = key
    effects = unfolded.edges[key]
    if effects and effects == unfolded.states[after]:
        effects = [f"step {_step(after)}" + (", again" if _rank(after)[1] else "")]
    return f"{event} / {', '.join(effects)}" if effects else event  # to Mermaid a semicolon is the end of the line


def _step(stage: str) -> int:
    """The number of the step in force, 0 where none is."""
    return int(stage.partition("[step ")[2].partition(" ")[0] or 0)


def _rank(stage: str) -> tuple[int, bool]:
    """Its place among the stages of its state."""
    return _step(stage), "again" in stage


def _id(stage: str) -> str:
    """What the pictures call a stage: TERMINATING_1, TERMINATING_1_AGAIN."""
    number, again = _rank(stage)
    return stage.partition(" ")[0] + (f"_{number}" if number else "") + ("_AGAIN" if again else "")


def _quoted(lines: Iterable[str], end: str = "n") -> str:
    """Lines as a string of DOT; with `end` "l" they begin at the same place, else they are centred."""
    escaped = (line.replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;") for line in lines)
    return '"' + "".join(f"{line}\\{end}" for line in escaped) + '"'
