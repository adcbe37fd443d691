"""The man page, the help and the README say the same of every option, and a formatter shows all of the page."""

from __future__ import annotations

import re
import subprocess
from importlib import metadata
from typing import NamedTuple

import pytest

from muinit import help as usage
from muinit.options import OPTIONS, Option
from tests.conftest import program
from tests.tools import docs, man

SOURCE = man.SOURCE.read_text()
PAGE = man.PAGE.read_text()
SECTIONS = [
    *("NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "ENVIRONMENT", "SIGNALS", "TERMINATION", "EXIT STATUS"),
    *("EXAMPLES", "SEE ALSO"),
]

each_row = pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.long)


class Said(NamedTuple):
    """What a text says of an option."""

    short: str
    long: str
    metavar: str
    description: str
    default: str


LIST = {
    Said(option.short, option.long, option.metavar, option.description, usage.DEFAULTS.get(option.field, ""))
    for option in OPTIONS
}
FLAGS = r"(?:(-\w), )? *(--[\w-]+)(?: ?)(\S*)"


def plain(source: str) -> str:
    """The source of a man page without its fonts and escapes."""
    source = re.sub(r"\\f[BIR]|\\&", "", source)
    return source.replace(r"\-", "-").replace(r"\(aq", "'").replace(r"\(ga", "`").replace(r"\e", "\\")


def listed(text: str) -> set[Said]:
    """The options that the help, or a part of it, has in its lists."""
    rows = re.findall(rf"^  (?=[ -]){FLAGS} +(\S.*?)(?:; default: (\S+))?$", text, flags=re.MULTILINE)
    return {Said(*row) for row in rows}


def paged(source: str) -> set[Said]:
    """The options of the man page: a line with the spellings and the value, then a paragraph."""
    section = re.search(r"^\.SH OPTIONS\n(.*?)^\.SH ", plain(source), flags=re.MULTILINE | re.DOTALL)
    assert section
    found = set()
    for head, text in re.findall(r"^\.TP\n(.*)\n((?:[^.].*\n)+)", section[1], flags=re.MULTILINE):
        spelled = re.fullmatch(FLAGS, head)
        said = re.fullmatch(r"(.*?)\.(?: Default: (\S+)\.)?", " ".join(text.split()))
        assert spelled, head
        assert said, head
        short, long, metavar = spelled.groups("")
        found.add(Said(short, long, metavar, said[1][0].lower() + said[1][1:], said[2] or ""))
    return found


def test_the_help_the_readme_and_the_man_page_say_the_same_of_every_option() -> None:
    """Spellings, value, description and default are those of the list, and there is no other option."""
    assert listed(usage.TEXT) == LIST
    assert listed(docs.written("options")) == LIST
    assert listed(docs.written("help")) == LIST
    assert paged(PAGE) == LIST


def test_the_page_is_what_is_generated() -> None:
    assert man.page(SOURCE) == PAGE, f"{man.PAGE.name} is out of date: run 'make docs'"


def test_the_sections_are_in_the_usual_order() -> None:
    """Their order is that of man-pages(7)."""
    assert re.findall(r"^\.SH (.*)$", PAGE, flags=re.MULTILINE) == SECTIONS


@each_row
def test_an_option_without_a_paragraph_is_named(option: Option) -> None:
    source = re.sub(rf"^## {option.long}\n.*?(?=^#)", "", SOURCE, flags=re.MULTILINE | re.DOTALL)
    with pytest.raises(man.MissingError, match=rf"^man\.md has no paragraph about {option.long}: expected"):
        man.page(source)
    with pytest.raises(man.MissingError, match=rf"^man\.md has no paragraph about {option.long}: expected"):
        man.page(SOURCE.replace(f"## {option.long}\n", f"## {option.long}\n\n## --removed\n"))


def test_a_paragraph_without_an_option_is_named() -> None:
    with pytest.raises(man.MissingError, match=r"^man\.md has a paragraph about --old, which is not an option$"):
        man.page(SOURCE.replace("## --help\n", "## --old\n\nIt did something.\n\n## --help\n"))


def test_every_word_of_the_source_is_on_the_page() -> None:
    """What is written in man.md, without its markup, stands on the page in the same order."""
    text = re.sub(r"^#+ |`|\*+", "", SOURCE.replace("# OPTIONS", ""), flags=re.MULTILINE)
    words = [word for word in text.split() if word not in {option.long for option in OPTIONS}]
    left = iter(re.sub(r"^\.\S+", "", plain(PAGE), flags=re.MULTILINE).replace('"', "").split())
    assert [word for word in words if word not in left] == []


def test_the_forms_of_the_help_are_in_the_synopsis() -> None:
    forms = [line.removeprefix("Usage:").strip() for line in usage.USAGE.splitlines()]
    assert len(forms) == 2
    assert [form for form in forms if f"\n{form}\n" not in plain(PAGE)] == []


def test_a_line_of_text_is_never_taken_for_a_request() -> None:
    """To the formatter, a line is a request if it begins with a dot or an apostrophe."""
    words = "a" * 70
    assert man.page(f"# NAME\n\n{words} .profile 'x' \\n -").splitlines()[3:] == [
        words,
        r"\&.profile \(aqx\(aq \en \-",
        *man.page("# NAME\n").splitlines()[3:],
    ]


def test_no_formatter_warns() -> None:
    argv = [program("mandoc", "mandoc"), "-T", "lint", "-W", "warning", str(man.PAGE)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


@pytest.mark.parametrize("width", [60, 80, 200])
def test_no_line_of_the_page_is_lost_when_it_is_rendered(width: int) -> None:
    argv = [program("mandoc", "mandoc"), "-T", "utf8", "-O", f"width={width}", str(man.PAGE)]
    shown = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    shown = re.sub(r".\x08", "", shown)  # bold and underlined characters are typed twice
    for said in LIST:
        flags = f"{said.short}, {said.long}" if said.short else said.long
        value = said.metavar if said.metavar.startswith("[=") else f" {said.metavar}".rstrip()
        assert re.search(rf"^ +{re.escape(flags + value)}$", shown, flags=re.MULTILINE), said.long
        default = f" Default: {said.default}." if said.default else ""
        assert f"{said.description[1:]}.{default}" in " ".join(shown.split())
    text = "".join(line for line in PAGE.splitlines(keepends=True) if not line.startswith("."))
    words = iter(shown.split())
    assert [word for word in plain(text).split() if word not in words] == []


def test_the_page_is_installed() -> None:
    """`man` finds the page beside the program: in share/man beside bin. A checkout has an older copy there."""
    files = metadata.files("muinit") or []
    (page,) = [file for file in files if str(file).endswith("share/man/man1/muinit.1")]
    assert page.read_text().splitlines()[0] == PAGE.splitlines()[0]
