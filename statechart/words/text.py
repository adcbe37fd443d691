"""Text that others wrote, made safe to print: the one place where it is escaped and cut."""

from __future__ import annotations

_ESCAPES = {"x": 4, "u": 6, "U": 10}  # characters of an escape sequence by its letter; the others have 2


def printable(text: str) -> str:
    """The text with every character escaped that would move a cursor or end a line, and no other."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def cut(text: str, end: int) -> str:
    """The first `end` characters of a printable text, or a few less where the cut would fall into something.

    Letters keep the accents that follow them as characters of their own, and escape sequences stay whole.
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
    from unicodedata import category  # 1 MiB that only a cut before such a letter pays

    return category(char).startswith("M")
