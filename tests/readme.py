"""The blocks of the README that a program writes: each has one source, and a test compares them.

python -m tests.readme: write them anew.
"""

from __future__ import annotations

import re
import subprocess

from muinit import usage
from statechart import diagram
from tests import exit_table
from tests.harness import MUINIT, ROOT

README = ROOT / "README.md"
SAMPLE = ["-t", "0.5", "--trace-states", "---", "sh", "-c", "trap '' TERM; exec sleep 60", "---", "sh", "-c"]
SAMPLE += ["sleep 0.2; exit 3"]


def sample() -> str:
    """The trace of a real run, as a terminal would show it."""
    done = subprocess.run([*MUINIT, *SAMPLE], capture_output=True, text=True, check=False)
    words = (
        f"'{word}'" if " " in word and "'" not in word else f'"{word}"' if " " in word else word for word in SAMPLE
    )
    return f"$ muinit {' '.join(words)}; echo $?\n{done.stderr}{done.returncode}"


def without_chance(trace: str) -> str:
    """A trace without its times and pids, which are others in each run."""
    trace = re.sub(r"^(muinit: +)[\d.]+ s", r"\1T s", trace, flags=re.MULTILINE)
    return re.sub(r"pid \d+|after [\d.]+ s|[\d.]+ s into", "", trace)


def blocks() -> dict[str, str]:
    """Each block that has a source in the program, by its name."""
    return {
        "sample": f"```console\n{sample()}\n```",
        "diagram": f"```mermaid\n{diagram.mermaid()}\n```",
        "help": f"```text\n{usage.TEXT}```",
        "exit-status": exit_table.table(),
        "table": diagram.table(),
    }


def marked(name: str) -> re.Pattern[str]:
    return re.compile(rf"(<!-- {name}: [^>]*-->\n)(.*?)(\n<!-- /{name} -->)", re.DOTALL)


def written(name: str) -> str:
    """What stands in the README between the markers of a block."""
    found = marked(name).search(README.read_text())
    assert found, f"README.md has no block '{name}'"
    return found[2]


def write(new: dict[str, str]) -> None:
    """Put these blocks into the README."""
    text = README.read_text()
    for name, block in new.items():
        found = marked(name).search(text)
        assert found, f"README.md has no block '{name}'"
        text = text[: found.start(2)] + block + text[found.end(2) :]
    README.write_text(text)


if __name__ == "__main__":
    write(blocks())
