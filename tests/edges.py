"""The edges of the diagram, and the one that a line of `--trace-states` shows."""

from __future__ import annotations

from statechart import diagram

EDGES = {f"{source} -> {dest}: {label}" for source, dest, label, _ in diagram.edges()} | {"[*] -> RUNNING: start"}


def edge_of(line: str) -> str:
    """The edge of the diagram that a line of the trace shows."""
    _, _, rest = line.partition(" s  ")
    states, _, event = rest.partition("  ")
    source, _, dest = states.partition(" -> ")
    label = event.strip().partition(" / ")[0]
    head = label.partition(":")[0]
    return f"{source.partition(' [')[0]} -> {dest.partition(' [')[0]}: {head}"
