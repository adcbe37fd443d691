"""The man page: the list of options, and the words of man.md beside this file.

man.md has the sections in order. In OPTIONS, the heading of a paragraph is the long name of an option; the spellings,
the value, the description and the default come from `muinit.options.OPTIONS`. Its markup is a little Markdown:

    # SECTION             ## TERM (of a list, with what follows)
    `literal`  **bold**   *something to fill in*
    four spaces           an example, as it is
"""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import muinit
from muinit.help import DEFAULTS, USAGE
from muinit.options import FOR_ONE, OPTIONS, Option
from tests.cast.harness import ROOT

SOURCE = Path(__file__).with_name("man.md")
PAGE = ROOT / "docs/muinit.1"
DATE = "2026-11-26"  # of the words; man pages show it at the bottom
WIDTH = 78  # columns of the source, as `mandoc -T lint` has it
ONE = "One command"
MARKUP = re.compile(r"`([^`]+)`|\*\*([^*]+)\*\*|\*([^*]+)\*")


class MissingError(Exception):
    """An option without a paragraph, or a paragraph without an option."""


def page(source: str) -> str:
    """The man page, in the macros of man(7)."""
    lines = [
        '.\\" Written by "make docs" from muinit/options.py and tests/tools/man.md.',
        f'.TH MUINIT 1 "{DATE}" "muinit {muinit.__version__}"',
    ]
    for title, text in sections(source).items():
        lines.append(f".SH {title}")
        if title == "OPTIONS":
            lines += _options(text)
        else:
            lines += _text(text)
        if title == "NAME":
            lines += [".SH SYNOPSIS", *_synopsis()]
    return "\n".join(lines) + "\n"


def sections(source: str) -> dict[str, str]:
    """The text of each section."""
    _, *parts = re.split(r"^# (.*)\n", source, flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def details(text: str) -> tuple[str, dict[str, str]]:
    """What stands before the first term of a section, and the text under each term."""
    before, *parts = re.split(r"^## (.*)\n", text, flags=re.MULTILINE)
    return before, dict(zip(parts[::2], parts[1::2], strict=True))


def _synopsis() -> list[str]:
    """The lines of `muinit --help`. A bracket, an ellipsis and a word in capitals are not literal."""
    lines = []
    for form in USAGE.replace("Usage:", "").splitlines():
        words = re.sub(r"[A-Z]{3,}", r"*\g<0>*", form.strip())
        lines += [".br", inline(re.sub(r"muinit|(?<![\w-])--+", r"**\g<0>**", words))]
    return lines[1:]


def _options(text: str) -> list[str]:
    """The options, in the order of the list: those that stand before the commands, then those of one command alone."""
    intro, told = details(text)
    known = [option.long for option in OPTIONS]
    if missing := [long for long in known if not told.get(long, "").strip()]:
        raise MissingError(f"{SOURCE.name} has no paragraph about {', '.join(missing)}: expected '## {missing[0]}'")
    if strange := [long for long in told if long not in known]:
        raise MissingError(f"{SOURCE.name} has a paragraph about {', '.join(strange)}, which is not an option")
    lines = [*_text(intro), '.SS "All commands"']
    for option in sorted(OPTIONS, key=lambda option: option.scope == FOR_ONE):
        if option.scope == FOR_ONE and f'.SS "{ONE}"' not in lines:
            lines.append(f'.SS "{ONE}"')
        lines += [".TP", _head(option), *_filled(_summary(option)), *_text(told[option.long], indented=True)]
    return lines


def _head(option: Option) -> str:
    """The spellings of an option, and its value."""
    flags = ", ".join(f"**{flag}**" for flag in (option.short, option.long) if flag)
    value = re.sub(r"\w+", r"*\g<0>*", option.metavar)
    return inline(flags + (value if value.startswith("[=") else f" {value}".rstrip()))


def _summary(option: Option) -> str:
    """The description of an option, as a sentence, and its default."""
    default = f" Default: {DEFAULTS[option.field]}." if option.field in DEFAULTS else ""
    return f"{option.description[0].upper()}{option.description[1:]}.{default}"


def _text(text: str, *, indented: bool = False) -> list[str]:
    """Paragraphs, examples and the terms of a list. `indented`: they go on in the paragraph of a term."""
    lines: list[str] = []
    for block in re.split(r"\n{2,}(?!    )|(?<=\n)\n(?=    )", text.strip("\n")):
        if block.startswith("    "):
            lines += [".PP", ".RS 4", ".EX", *(escaped(line[4:]) for line in block.splitlines()), ".EE", ".RE"]
        elif block.startswith("## "):
            lines += [".TP", inline(f"**{block[3:]}**")]
        elif block:
            begin = [] if lines and lines[-2:-1] == [".TP"] else [".IP" if indented else ".PP"]
            lines += [*begin, *_filled(block)]
    return lines[1:] if lines[:1] == [".PP"] else lines


def _filled(text: str) -> list[str]:
    """A paragraph in lines of the usual length. A font goes on in the next line."""
    lines = textwrap.wrap(inline(text), WIDTH, break_long_words=False, break_on_hyphens=False)
    return [_not_a_request(line) for line in lines]


def _not_a_request(line: str) -> str:
    """A line of text that begins with a dot or an apostrophe would be a request to the formatter."""
    return f"\\&{line}" if line[:1] in (".", "'") else line


def inline(text: str) -> str:
    """Text of one line: literals and bold words are bold, what is to be filled in is underlined."""
    parts, end = [], 0
    for match in MARKUP.finditer(text):
        literal, bold, italic = match.groups()
        font, word = ("I", italic) if italic else ("B", literal or bold)
        parts += [escaped(text[end : match.start()]), f"\\f{font}{escaped(word)}\\fR"]
        end = match.end()
    return "".join([*parts, escaped(text[end:])])


def escaped(text: str) -> str:
    """A minus is the character that people type and search for, not a hyphen (groff_char(7))."""
    return text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")


def write() -> None:
    """Write the page again."""
    PAGE.write_text(page(SOURCE.read_text()))
