"""The lifecycle as a diagram and as a table, read back from the machine that runs."""

from __future__ import annotations

from statechart.chart import CHART, Arc, State
from statechart.pictures import printers
from statechart.pictures.printers import Arrow, Box, Drawing
from statechart.words.phrases import guarded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


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


def _drawing() -> Drawing:
    boxes = [Box(state.name, state.name) for state in State]
    arrows = [Arrow(source, dest, f"{label} / {', '.join(actions)}") for source, dest, label, actions in edges()]
    return Drawing(boxes, arrows, State.EXITED.name)


def mermaid() -> str:
    """The diagram in Mermaid."""
    return printers.mermaid(_drawing())


def dot() -> str:
    """The diagram for Graphviz."""
    return printers.dot(_drawing())


def table() -> str:
    """Every event in every live state, as a Markdown table. A row that does nothing says why."""
    live = [state.name for state in State if state is not State.EXITED]
    cells: dict[tuple[str, str], list[str]] = {}
    for name, arc in rows():
        guard = f"*{arc.guard}*: " if arc.guard else ""
        dest = f"**{arc.dest}** " if arc.dest and arc.dest != arc.source else ""
        does = ", ".join(arc.actions) or f"nothing: {arc.why}"
        cells.setdefault((name, arc.source), []).append(f"{guard}{dest}{does}")
    body = [[f"`{name}`", *("<br>".join(cells[name, state]) for state in live)] for name in CHART.events]
    return printers.table(["event", *live], body, padded=False)
