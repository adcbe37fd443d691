"""The blocks of README.md and docs/ that a program writes. Each has one source, and a test compares the two.

python -m tests.tools.docs writes all of them again, and the man page.

A block is on one page, between two markers with its name. Samples come from real runs in a real shell.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from muinit import signals
from statechart import meanings
from tests.cast.harness import MUINIT, ROOT
from tests.tools import exit_table, man

README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]
RECIPES = sorted((ROOT / "docs/recipes").glob("*.md"))
WIDTH = 100  # columns of a sample: more do not fit on a screen beside the margins of a web page

FOLD = "2>&1 | fold -sw 96"
STUBBORN = """sh -c "trap '' TERM; exec sleep 60\""""
SAMPLE = f"muinit -v --- sleep 60 --- sh -c 'sleep 1; exit 3' {FOLD}"
STORY = f"muinit -v -t 0.5 --- {STUBBORN} --- sh -c '(sleep 50 &); exit 3' \\\n    {FOLD}"
STATES = f"muinit -t 0.5 --trace-states --- {STUBBORN} --- sh -c 'exit 3' \\\n    {FOLD}"
UNASKED = f"""timeout --foreground 0.3 \\
    muinit -v -t 0.5 --- bash -c 'trap "echo saved; exit 0" TERM; sleep 60' \\
    {FOLD}"""
LONGEST = "muinit --diagram table -k TERM,INT,KILL -t 5 | head -1 | fold -sw 96"
TRACE = [
    "muinit -q --trace-file run.jsonl --- sleep 60 --- sh -c 'exit 3'",
    "sed -n '2p;$p' run.jsonl | fold -w 96",
    "python -m statechart replay run.jsonl",
]
LABELS = """muinit --label --- --name web sh -c 'echo started; sleep 1' \\
    --- --name worker sh -c 'sleep 0.2; echo "no job" >&2; sleep 60'"""
PRICED = ("muinit", "tini", "supervisord")  # in README.md
RUNS = (
    "sample",
    "story",
    "states",
    "trace-file",
    "unasked",
    "labels",
)  # samples whose times and pids differ in each run


def shell(command: str, cwd: Path = ROOT) -> str:
    """What a command prints on stdout and stderr, without the spaces that fold leaves at the ends of lines."""
    done = subprocess.run(
        ["sh", "-c", command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        cwd=cwd,
        env={**os.environ, "PATH": f"{Path(MUINIT[0]).parent}:{os.environ['PATH']}"},
    )
    return "\n".join(line.rstrip() for line in done.stdout.splitlines())


def session(*commands: str) -> str:
    """Commands and what they print, as a terminal would show them."""
    with tempfile.TemporaryDirectory() as directory:
        shown = [f"$ {command}\n{shell(command, Path(directory))}".rstrip() for command in commands]
    return fenced("console", "\n".join(shown))


def fenced(language: str, text: str) -> str:
    return f"```{language}\n{text.rstrip()}\n```"


def synopsis() -> str:
    """The first lines of --help, and the lists of options."""
    paragraphs = shell("muinit --help").split("\n\n")
    return "\n\n".join([paragraphs[0], *(each for each in paragraphs if each.startswith("OPTIONS"))])


# Signals


def signal_table() -> str:
    """What each signal means if no option names it, and which options can name it. Like signals share a row."""
    rows: dict[tuple[str, ...], list[str]] = {}
    known = signals.by_name()
    as_init, as_other = (meanings.meanings(known, init=init) for init in (True, False))
    for name, number in known.items():
        named = [
            "no" if name == "SIGTERM" or why_not(name) else "yes"
            for why_not in (meanings.cannot_be_forwarded, meanings.cannot_stop)
        ]
        row = meanings.WORDS[as_init[number]], meanings.WORDS[as_other[number]], *named
        rows.setdefault(row, []).append(name.removeprefix("SIG"))
    cells = [[_ranges(names), *row] for row, names in rows.items()]
    return table(["signals", "as PID 1", "as another process", "`-s`", "`--stop-on`"], *cells)


def _ranges(names: list[str]) -> str:
    """The names of signals. There are thirty real-time signals, so they share a few words."""
    plain = [name for name in names if not name.startswith("RT")]
    others = [name for name in names if name.startswith("RT")]
    return ", ".join(plain + (others if len(others) < 3 else ["the other real-time signals"]))


def senders() -> str:
    """Which program sends which signal."""
    rows = ([name.removeprefix("SIG"), who] for name, who in meanings.SENDERS.items())
    return table(["signal", "who sends it"], *rows)


def table(*rows: list[str]) -> str:
    """A table in Markdown; the first row is its head."""
    head, *rest = rows
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rest])


# Blocks that are made from files


def price() -> str:
    """What a user compares first: some cells of the measurements."""
    lines = [line[2:-2].split(" | ") for line in written("bench-peers").splitlines() if line.startswith("| ")]
    head: list[str] = []
    cells: dict[str, dict[str, str]] = {}
    for name, *row in lines:  # of both tables
        head = row if name == "as PID 1" else head
        cells.setdefault(name, {}).update(zip(head, row, strict=True))
    wanted = ["first child after", "stopped after", "resident memory (RSS)", "idle wake-ups a second"]
    rows = [[name, *(without_spread(cells[name][word]) for word in wanted)] for name in PRICED if name in cells]
    return table(["as PID 1", *wanted], *rows)


def without_spread(cell: str) -> str:
    """Only the median of a figure: "19.1 (18.7 to 20) ms, **1.2**" is "19.1 ms"."""
    return re.sub(r" \(.*?\)|, \*\*.*", "", cell)


def modules() -> str:
    """Each module of the two packages, with the first sentence of its docstring."""
    parts = []
    for package in ("statechart", "muinit"):
        for folder in sorted({path.parent for path in (ROOT / package).rglob("*.py")}):
            paths = [path for path in sorted(folder.glob("*.py")) if path.name != "__init__.py"]
            name = folder.relative_to(ROOT).as_posix()
            rows = [[f"[`{path.name}`](../{name}/{path.name})", summary(path)] for path in paths]
            parts += [f"**`{name}/`**: {summary(folder / '__init__.py')}", table(["module", ""], *rows)]
    return "\n\n".join(parts)


def summary(path: Path) -> str:
    """The first line of a module's docstring."""
    docstring = ast.get_docstring(ast.parse(path.read_text())) if path.exists() else None
    return (docstring or "").partition("\n")[0]


def blocks() -> dict[str, str]:
    """Each block that has a source in the program, by its name."""
    return {
        "sample": session(SAMPLE),
        "diagram": fenced("mermaid", shell("python -m statechart --mermaid")),
        "options": fenced("text", synopsis()),
        "help": fenced("text", shell("muinit --help")),
        "longest": session(LONGEST),
        "story": session(STORY),
        "states": session(STATES),
        "trace-file": session(*TRACE),
        "signals": signal_table(),
        "senders": senders(),
        "unasked": session(UNASKED),
        "labels": session(LABELS),
        "exit-status": exit_table.table(),
        "table": shell("python -m statechart --table"),
        "price": price(),
        "modules": modules(),
    }


# The pages


def without_chance(text: str) -> str:
    """A sample without times and pids, which differ in each run, and without white space, which depends on them."""
    text = "".join(text.split())
    return re.sub(r"pid\d+|after[\d.]+s|[\d.]+sinto|(?<=muinit:)[\d.]+s|(?<=\"t\":)\d+|\d+events", "", text)


def marked(name: str) -> re.Pattern[str]:
    return re.compile(rf"(<!-- {name}: [^>]*-->\n)(.*?)(\n<!-- /{name} -->)", re.DOTALL)


def find(name: str) -> tuple[Path, re.Match[str]]:
    """The page that has a block, and the match of the block in it."""
    found = [(page, match) for page in PAGES for match in marked(name).finditer(page.read_text())]
    assert len(found) == 1, f"expected one block '{name}' in README.md and docs/, found {len(found)}"
    return found[0]


def written(name: str) -> str:
    """The text between the markers of a block."""
    return find(name)[1][2]


def write(new: dict[str, str]) -> None:
    """Put these blocks into their pages."""
    for name, block in new.items():
        page, match = find(name)
        text = page.read_text()
        page.write_text(text[: match.start(2)] + block + text[match.end(2) :])


def fences(text: str) -> Iterator[tuple[str, str]]:
    """The code blocks of a page: language and text."""
    for match in re.finditer(r"^```(\w*)\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE):
        yield match[1], match[2]


def prose(text: str) -> str:
    """A page without the blocks that programs write, and without code blocks."""
    text = re.sub(r"<!-- ([\w-]+): [^>]*-->.*?<!-- /\1 -->", "", text, flags=re.DOTALL)
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


def anchors(text: str) -> set[str]:
    """The anchors that GitHub makes for the headings of a page."""
    heads = re.findall(r"^#+ (.*)$", prose(text), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}


def links(text: str) -> set[str]:
    """The links and pictures of a page, except those that lead to another site."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    found = {part for pair in re.findall(r'\]\(([^)]+)\)|src(?:set)?="([^"]+)"', text) for part in pair if part}
    return {link for link in found if not link.startswith("https:")}


if __name__ == "__main__":
    write(blocks())
    man.write()
