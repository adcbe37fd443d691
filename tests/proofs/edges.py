"""The edges of the diagram, the rows of the table, and which of them a line of `--trace-states` shows."""

from __future__ import annotations

from statechart.pictures import diagram
from statechart.words.phrases import guarded

START = "[*] -> RUNNING: start"
EDGES = {f"{source} -> {dest}: {label}" for source, dest, label, _ in diagram.edges()} | {START}
# These include the rows that do nothing: a trace shows them too.
ROWS = {START} | {
    f"{arc.source} -> {arc.dest or arc.source}: {guarded(event, arc.guard)}" for event, arc in diagram.rows()
}


def edge_of(line: str) -> str:
    """The row that this line of the trace shows."""
    _, _, rest = line.partition(" s  ")
    states, _, event = rest.partition("  ")
    source, _, dest = states.partition(" -> ")
    label = event.strip().partition(" / ")[0]
    head = label.partition(":")[0]
    return f"{source.partition(' [')[0]} -> {dest.partition(' [')[0]}: {head}"
