"""The pages say what the program says, their links lead somewhere, and their commands run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import muinit
from statechart import __main__ as statechart
from tests.cast.harness import ROOT
from tests.proofs import simulate, verify
from tests.tools import docs

TEXTS = {page: page.read_text() for page in docs.PAGES}
BLOCKS = docs.blocks()
MEASURED = {"bench", "bench-labels", "bench-many", "bench-peers", "bench-ways", "early", "versus"}  # by other targets
STEM = {page.stem: page for page in docs.PAGES}


@pytest.mark.parametrize("name", BLOCKS)
def test_the_pages_show_what_the_program_prints(name: str) -> None:
    shown, printed = docs.written(name), BLOCKS[name]
    if name in docs.RUNS:
        shown, printed = docs.without_chance(shown), docs.without_chance(printed)
    assert shown == printed, f"{docs.find(name)[0].name} is out of date: run 'make docs'"


def test_every_block_has_a_source() -> None:
    names = [name for text in TEXTS.values() for name in re.findall(r"^<!-- ([\w-]+): written by", text, re.MULTILINE)]
    assert sorted(names) == sorted([*BLOCKS, *MEASURED])


# Links


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: page.stem)
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for link in docs.links(TEXTS[page]):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name} links to {link}, which does not exist"
        if anchor:
            assert anchor in docs.anchors(target.read_text()), f"{page.name} links to {link}: no such heading"


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, waiting = {docs.README}, [docs.README]
    while waiting:
        page = waiting.pop()
        found = {(page.parent / link.partition("#")[0]).resolve() for link in docs.links(TEXTS[page])}
        new = (found & set(TEXTS)) - reached
        reached |= new
        waiting += new
    assert reached == set(TEXTS)


def test_the_anchors_are_those_of_github() -> None:
    page = "# `make verify`: every state\n\n```sh\n# no heading\n```\n\n## What is *not* there, and why?\n"
    assert docs.anchors(page) == {"make-verify-every-state", "what-is-not-there-and-why"}


# What a reader sees


def test_the_readme_is_short() -> None:
    assert len(TEXTS[docs.README].splitlines()) <= 260


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: page.stem)
def test_samples_fit_a_screen(page: Path) -> None:
    shown = [text for language, text in docs.fences(TEXTS[page]) if language != "mermaid"]
    assert [line for text in shown for line in text.splitlines() if len(line) > docs.WIDTH] == []


def test_the_readme_has_one_block_of_commands_for_a_fresh_machine() -> None:
    """tests/tools/fresh runs the only code block with make commands."""
    blocks = [text for _, text in docs.fences(TEXTS[docs.README]) if "make " in text]
    assert blocks == ["make demo\nmake test\n"]


def test_every_target_that_the_pages_name_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    found = re.findall(r"^make ([a-z-]+)$|['`]make ([a-z]+)", "\n".join(TEXTS.values()), flags=re.MULTILINE)
    named = {name for names in found for name in names if name}
    assert named >= {"demo", "test", "docs"}
    assert named <= targets


def test_every_option_is_explained_and_not_only_listed() -> None:
    explained = "".join(map(docs.prose, TEXTS.values()))
    listed = re.findall(r"^  (?:(-\w),|   ) (--[\w-]+)", docs.written("options"), flags=re.MULTILINE)
    assert len(listed) > 10
    assert [long for short, long in listed if long not in explained and f"`{short or long}" not in explained] == []


# The design and the proofs


def test_the_rules_are_numbered_without_a_gap() -> None:
    numbers = [int(number) for number in re.findall(r"^(\d+)\. \*\*", TEXTS[STEM["design"]], flags=re.MULTILINE)]
    assert len(numbers) > 20
    assert numbers == list(range(1, len(numbers) + 1))


def test_every_property_of_the_proofs_is_listed_with_its_rule() -> None:
    text = TEXTS[STEM["design"]]
    rows = [line.strip("|").split("|") for line in re.findall(r"^\| \d.*\|$", text, flags=re.MULTILINE)]
    rules = {int(number) for row in rows for number in row[0].split(",")}
    assert rules == set(map(int, re.findall(r"^(\d+)\. \*\*", text, flags=re.MULTILINE)))
    verified, simulated = ({name for row in rows for name in re.findall(r"`([\w.]+)`", row[n])} for n in (1, 2))
    properties = {*verify.PROPERTIES, *verify.IN_EXITED, verify.exit_is_always_in_reach}
    assert verified == {holds.__name__ for holds in properties}
    methods = {f"World.{method.__name__}" for method in (simulate.World.passes_on, simulate.World.stops_us)}
    assert simulated == {holds.__name__ for holds in simulate.PROPERTIES} | methods


def test_every_check_that_the_table_of_proofs_names_exists() -> None:
    section = TEXTS[STEM["proofs"]].partition("## Which statement is proven by what")[2].partition("\n## ")[0]
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    properties = {holds.__name__ for holds in (*verify.PROPERTIES, *simulate.PROPERTIES)}
    named = re.findall(r"`(\w+)`", section)
    assert len(named) > 20
    programs = {"verify", "simulate", "chaos", "early"}
    assert [name for name in named if name not in properties | programs and f"def {name}(" not in tests] == []


def test_every_rule_that_is_cited_exists() -> None:
    rules = set(re.findall(r"^(\d+)\. \*\*", TEXTS[STEM["design"]], flags=re.MULTILINE))
    sources = [path for folder in ("statechart", "muinit", "tests") for path in (ROOT / folder).rglob("*.py")]
    texts = [*(path.read_text() for path in sources), *TEXTS.values()]
    cited = [found for text in texts for found in re.findall(r"design\.md, rules? ([\d, and]+)", text)]
    assert cited
    assert {number for found in cited for number in re.findall(r"\d+", found)} <= rules


# The layout


def test_every_package_is_in_the_layout() -> None:
    roots = [ROOT / name for name in ("statechart", "muinit", "tests")]
    packages = {path.parent.relative_to(ROOT) for root in roots for path in root.rglob("__init__.py")}
    text = TEXTS[STEM["contributing"]]
    assert [str(package) for package in packages if f"`{package}/" not in text] == []


# What the lifecycle prints


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
    done = subprocess.run(argv, capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.startswith("digraph lifecycle {")


# Files beside the pages


def test_the_changelog_has_this_version() -> None:
    assert f"\n## {muinit.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_an_image_gets_nothing_that_git_ignores() -> None:
    """COPY takes the whole folder, and a pattern without `**/` matches only in the top folder."""
    ignored = [line.strip("/") for line in (ROOT / ".gitignore").read_text().split()]
    found = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert sorted(found) == sorted([".git", *(f"**/{name}" for name in ignored)])
