"""Text from others is escaped and cut here, and nowhere else, so that it is safe to print."""

from __future__ import annotations

_ESCAPES = {"x": 4, "u": 6, "U": 10}  # the length of an escape sequence by its letter; others have 2


def printable(text: str) -> str:
    """The text; characters that would move a cursor or end a line are escaped, and no others."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def cut(text: str, end: int) -> str:
    """The first `end` characters of a printable text, or a few less, so that nothing is cut in two.

    A letter keeps its accents, which can be characters of their own, and escape sequences stay whole.
    """
    if len(text) <= end:
        return text
    while end and _is_mark(text[end]):
        end -= 1
    escape = text.rfind("\\", max(end - 9, 0), end)
    if escape >= 0 and escape + _ESCAPES.get(text[escape + 1 : escape + 2], 2) > end:
        end = escape
    return text[:end]


def _is_mark(char: str) -> bool:
    """Whether a character belongs to the one before it."""
    if char < "\u0300":  # the first mark of all
        return False
    from unicodedata import category  # this costs 1 MiB, and only a cut before such a character needs it

    return category(char).startswith("M")
