"""The README says what the program says, and its commands run."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

import muinit
from statechart import __main__ as statechart
from statechart.pictures import diagram
from tests import readme
from tests.harness import ROOT

TEXT = readme.README.read_text()
BLOCKS = readme.blocks()


@pytest.mark.parametrize("name", BLOCKS)
def test_the_readme_shows_what_the_program_prints(name: str) -> None:
    shown, printed = readme.written(name), BLOCKS[name]
    if name in ("sample", "story", "trace-file", "unasked"):
        shown, printed = readme.without_chance(shown), readme.without_chance(printed)
    assert shown == printed, "the README is out of date: run 'make docs'"


@pytest.mark.parametrize(
    ("option", "first", "last"),
    [
        ("", "stateDiagram-v2", "    EXITED --> [*]"),
        ("--mermaid", "stateDiagram-v2", "    EXITED --> [*]"),
        ("--table", "| event | RUNNING | TERMINATING | DRAINING |", " | **EXITED** finish |"),
        ("--dot", "digraph lifecycle {", "}"),
    ],
)
def test_the_lifecycle_is_printed(
    option: str, first: str, last: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["statechart", *option.split()])
    statechart.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == first
    assert lines[-1].endswith(last)


def test_a_wrong_format_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["statechart", "--png"])
    with pytest.raises(SystemExit, match=r"^python -m statechart: unrecognized arguments: --png$"):
        statechart.main()


def test_the_module_runs() -> None:
    argv = [sys.executable, "-m", "statechart", "--dot"]
    assert subprocess.run(argv, capture_output=True, text=True, check=True, cwd=ROOT).stdout == diagram.dot() + "\n"


def test_the_changelog_knows_this_version() -> None:
    assert f"\n## {muinit.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_every_target_that_the_readme_names_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    found = re.findall(r"^make ([a-z-]+)$|'make ([a-z]+)|`make ([a-z]+)", TEXT, flags=re.MULTILINE)
    named = {name for names in found for name in names if name}
    assert named >= {"demo", "test", "docs"}
    assert named <= targets


def test_an_image_gets_nothing_that_git_ignores() -> None:
    """COPY takes the whole folder; a pattern without `**/` means the top folder alone to it."""
    ignored = [line.strip("/") for line in (ROOT / ".gitignore").read_text().split()]
    found = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert sorted(found) == sorted([".git", *(f"**/{name}" for name in ignored)])


def test_every_option_is_in_the_readme() -> None:
    from muinit.options import OPTIONS

    assert all(option.long in TEXT for option in OPTIONS)


def test_every_file_that_the_readme_shows_or_links_to_exists() -> None:
    links = re.findall(r'\]\(([^)#]+)|src(?:set)?="([^"]+)"', TEXT)
    paths = {path for pair in links for path in pair if path and not path.startswith("https:")}
    assert {"tests/pictures/run-light.png", "statechart/traces/trace.schema.json"} <= paths
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_every_module_is_in_the_map_of_the_readme() -> None:
    for package in ("statechart", "muinit"):
        names = {path.name for path in (ROOT / package).glob("*.py")} - {"__init__.py", "__main__.py"}
        assert [name for name in names if f"  {name} " not in TEXT] == []
