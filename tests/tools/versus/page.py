"""All cells as a page that needs nothing else, and as a table in Markdown."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from hashlib import sha256

from jinja2 import Environment, PackageLoader, StrictUndefined

from tests.tools import docs
from tests.tools.versus import draw
from tests.tools.versus.field import Init, Story
from tests.tools.versus.judge import Cell, better

SIGN = {"good": "✓", "bad": "✗", "on": "↻"}


@dataclass
class Field:
    """Everything that was found: a cell for each story and init, and what the inits are."""

    stories: list[Story]
    inits: list[Init]
    cells: dict[tuple[str, str], Cell]  # by the names of story and init
    versions: dict[str, str]
    setups: dict[str, list[tuple[str, str]]]  # each init's command line and files
    left_out: list[str]  # what could not be run, and why
    machine: str

    def cell(self, story: Story, init: Init) -> Cell:
        return self.cells[story.name, init.name]

    def better(self, story: Story, init: Init) -> str:
        ours = self.cells.get((story.name, "muinit"))
        return better(self.cell(story, init), ours) if ours else ""

    @property
    def times(self) -> int:
        return len(next(iter(self.cells.values())).runs)


def took(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"


def key(story: Story, init: Init) -> str:
    return f"{story.name}-{init.name.replace(' ', '')}"


def html(field: Field) -> str:
    templates = Environment(
        loader=PackageLoader("tests.tools.versus"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {"took": took, "px": lambda number: f"{number:.1f}".removesuffix(".0")}
    style = templates.get_template("versus.css").render()
    return templates.get_template("versus.html").render(
        field=field,
        hash=b64encode(sha256(style.encode()).digest()).decode(),
        picture=draw.picture,
        key=key,
        sign=SIGN,
    )


def markdown(field: Field) -> str:
    """The table, where runs differ, and where a peer is better, for those who cannot see the page."""
    head = ["", *(story.title for story in field.stories)]
    rows = [[f"**{init.name}**", *(text(field.cell(story, init)) for story in field.stories)] for init in field.inits]
    parts = [docs.table(head, *rows)]
    differ = [f"{named(cell)}: {cell.differs}." for cell in field.cells.values() if cell.differs]
    parts.append(f"Where the {field.times} runs differ:" if differ else f"The {field.times} runs of no cell differ.")
    if differ:
        parts.append(bullets(differ))
    best = [
        f"{named(field.cell(story, init))}: {found}."
        for init in field.inits
        for story in field.stories
        if (found := field.better(story, init))
    ]
    if best:
        parts += ["Where a peer is better than muinit, or does something else on purpose:", bullets(best)]
    rows = [[init.name, field.versions[init.name], f"`{field.setups[init.name][0][1]}`"] for init in field.inits]
    parts.append(docs.table(["init", "version", "command line, when told to stop"], *rows))
    parts += [f"Left out: {why}." for why in field.left_out]
    parts.append(f"Measured {field.machine}.")
    return "\n\n".join(parts)


def bullets(lines: list[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def named(cell: Cell) -> str:
    return f"{cell.init.name}, {cell.story.title}"


def text(cell: Cell) -> str:
    return f"{SIGN[cell.kind]} {cell.short}; exit {cell.exits}; {took(cell.seconds)}"
