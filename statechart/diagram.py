"""The lifecycle as a picture and as a table, read back from the machine that runs.

`transitions` can draw too, but its Mermaid omits the actions and the end (0.9.3).
"""

from __future__ import annotations

from statechart.chart import CHART, Arc, State
from statechart.trace import guarded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

START = "[*]"


def rows() -> Iterator[tuple[str, Arc]]:
    """Each row of the machine with the name of its event, in the order in which it is tried."""
    for name, event in CHART.events.items():
        for arcs in event.transitions.values():
            for arc in arcs:
                assert isinstance(arc, Arc)
                yield name, arc


def edges() -> Iterator[tuple[str, str, str, list[str]]]:
    """(from, to, event with its guard, actions) for each row that does something."""
    for name, arc in rows():
        if arc.actions:
            yield arc.source, arc.dest or arc.source, guarded(name, arc.guard), arc.actions


def mermaid() -> str:
    """A Mermaid state diagram. A row that stays is a line in its state's box: Mermaid 11 draws one loop per state."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for source, dest, label, actions in edges():
        arrows.setdefault((source, dest), []).append(f"{label} / {', '.join(actions)}")
    lines = ["stateDiagram-v2", f"    {START} --> {CHART.initial}: start"]
    for state in (state.name for state in State):  # the first line is the title
        lines += [f"    {state}: {line}" for line in [state, *arrows.pop((state, state), [])]]
    lines += [f"    {source} --> {dest}: {'<br/><br/>'.join(labels)}" for (source, dest), labels in arrows.items()]
    lines.append(f"    {State.EXITED.name} --> {START}")
    return "\n".join(lines)


def dot() -> str:
    """The same for Graphviz."""
    lines = ["digraph lifecycle {", '    node [shape=box, style=rounded, fontname="sans-serif"];']
    lines += ['    edge [fontname="sans-serif", fontsize=10];', "    start [shape=point];"]
    lines.append(f'    start -> {CHART.initial} [label="start"];')
    for source, dest, label, actions in edges():
        lines.append(f'    {source} -> {dest} [label="{label} /\\n{", ".join(actions)}"];')
    lines += [f"    {State.EXITED.name} [peripheries=2];", "}"]
    return "\n".join(lines)


def table() -> str:
    """Every event in every live state, as a Markdown table; what does nothing stands there with its reason."""
    live = [state.name for state in State if state is not State.EXITED]
    cells: dict[tuple[str, str], list[str]] = {}
    for name, arc in rows():
        guard = f"*{arc.guard}*: " if arc.guard else ""
        dest = f"**{arc.dest}** " if arc.dest and arc.dest != arc.source else ""
        does = ", ".join(arc.actions) or f"nothing: {arc.why}"
        cells.setdefault((name, arc.source), []).append(f"{guard}{dest}{does}")
    heads = ["event", *live], ["---"] * (len(live) + 1)
    body = [[f"`{name}`", *("<br>".join(cells[name, state]) for state in live)] for name in CHART.events]
    return "\n".join(f"| {' | '.join(row)} |" for row in [*heads, *body])
