"""A diagram as text: Mermaid, DOT for Graphviz; and a table in Markdown.

`transitions` can draw too, but its Mermaid leaves out the actions and the end (0.9.3).
"""

from __future__ import annotations

from dataclasses import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

START = "[*]"
GAP = "\N{NO-BREAK SPACE}"  # between a line and its label: an SVG would not show a space
UP, DOWN = ["tailport=n", "headport=s"], ["tailport=s"]
WIDE = 50  # characters; a longer label gets two lines
TAKEN = ["class=taken", "penwidth=3"]
UNTAKEN = ["class=untaken", "penwidth=0.5", "color=gray60", "fontcolor=gray60"]


@dataclass(frozen=True)
class Box:
    """A state. `rank` is its place among the boxes that arrows lead back to."""

    id: str
    title: str
    lines: Sequence[str] = ()
    rank: tuple[int, bool] = (0, False)


@dataclass(frozen=True)
class Arrow:
    """A way from one box to another, or back to itself. `times` says how often a run took it."""

    source: str
    target: str
    label: str
    times: int = 0


@dataclass(frozen=True)
class Drawing:
    """Boxes and arrows between them. The first box is the start, and `end` is the last one.

    With `way`, a run has taken some of the arrows, and they are drawn heavy.
    """

    boxes: Sequence[Box]
    arrows: Sequence[Arrow]
    end: str
    caption: Sequence[str] = ()
    way: bool = False
    visited: frozenset[str] = field(default_factory=frozenset)


def mermaid(drawing: Drawing) -> str:
    """The drawing in Mermaid. An arrow that stays is a line in its box: Mermaid 11 draws only one loop per state."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for arrow in drawing.arrows:
        arrows.setdefault((arrow.source, arrow.target), []).append(arrow.label)
    title = " ".join(drawing.caption).replace("\\", "\\\\").replace('"', '\\"')  # a string of YAML
    lines = ["---", f'title: "{title}"', "---"] if drawing.caption else []
    lines += ["stateDiagram-v2", f"    {START} --> {drawing.boxes[0].id}: start"]
    for box in drawing.boxes:  # the first line is the title
        lines += [f"    {box.id}: {line}" for line in [box.title, *box.lines, *arrows.pop((box.id, box.id), [])]]
    lines += [f"    {source} --> {target}: {'<br/><br/>'.join(labels)}" for (source, target), labels in arrows.items()]
    return "\n".join([*lines, f"    {drawing.end} --> {START}"])


def dot(drawing: Drawing) -> str:
    """The drawing in DOT, where an arrow that stays is a line beside a loop.

    If a run has taken some of the arrows, these are heavy and of the class "taken", with their number, and so are the
    boxes of that run; everything else is thin, grey and of the class "untaken".
    """
    ranks = {box.id: box.rank for box in drawing.boxes}
    arrows: dict[tuple[str, str, bool], list[str]] = {}
    for arrow in drawing.arrows:
        label = arrow.label + (f" \N{MULTIPLICATION SIGN}{arrow.times}" if arrow.times else "")
        wrapped = label.replace(" / ", " /\n").split("\n") if len(label) > WIDE else [label]
        arrows.setdefault((arrow.source, arrow.target, bool(arrow.times)), []).extend(wrapped)

    def drawn(what: str, *attributes: str, taken: bool = True) -> str:
        look = [] if not drawing.way else TAKEN if taken else UNTAKEN
        return f"    {what} [{', '.join([*attributes, *look])}];"

    lines = ["digraph lifecycle {", '    graph [fontname="sans-serif", labelloc=t];']
    lines += ['    node [shape=box, style=rounded, fontname="sans-serif"];']
    lines += ['    edge [fontname="sans-serif", fontsize=10];']
    lines += [f"    label={_quoted(drawing.caption)};"] if drawing.caption else []
    start = f"label={_quoted([GAP + 'start'], 'l')}"
    lines += [drawn("start", "shape=point"), drawn(f"start -> {drawing.boxes[0].id}", start)]
    # In a cycle, dot draws the edge upwards that leads to the box which comes first here.
    for box in sorted(drawing.boxes, key=lambda box: (box.id == drawing.end, box.rank)):
        rings = ["peripheries=2"] if box.id == drawing.end else []
        taken = box.id in drawing.visited
        lines.append(drawn(box.id, f"label={_quoted([box.title, *box.lines])}", *rings, taken=taken))
    # Those that were taken come first: of two loops dot draws the second around the first, and through the words of a
    # label that has several lines.
    for (source, target, taken), labels in sorted(arrows.items(), key=lambda arrow: not arrow[0][2]):
        # Ports, because an edge would otherwise leave through the words beside the loop.
        ports = [] if source == target else UP if (0, False) < ranks[target] < ranks[source] else DOWN
        label = f"label={_quoted([GAP + label for label in labels], 'l')}"
        lines.append(drawn(f"{source} -> {target}", label, *ports, taken=taken))
    return "\n".join([*lines, "}"])


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, padded: bool) -> str:
    """A Markdown table; if it is padded, it can be read in a terminal."""
    rows = [head, *rows]
    widths = [max(map(len, column)) if padded else 0 for column in zip(*rows, strict=True)]
    rows.insert(1, ["-" * (width or 3) for width in widths])
    return "\n".join(f"| {' | '.join(map(str.ljust, row, widths))} |" for row in rows)


def _quoted(lines: Iterable[str], end: str = "n") -> str:
    """Lines as a string of DOT. With `end` "l" they are aligned on the left, otherwise centred."""
    escaped = (line.replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;") for line in lines)
    return '"' + "".join(f"{line}\\{end}" for line in escaped) + '"'
