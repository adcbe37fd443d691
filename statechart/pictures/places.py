"""Times that are not known yet. In a sentence they leave a place, which a page fills in with the times of its history.

The words of the program stay what they are: they are given such a time in place of a number of seconds.
"""

from __future__ import annotations


class Place(float):
    """A time by its name: formatted, it is "{name}"; the difference of two is "{name-other}"."""

    name = ""

    def __sub__(self, other: float) -> Place:
        assert isinstance(other, Place)
        return place(f"{self.name}-{other.name}")

    def __format__(self, spec: str) -> str:
        return f"{{{self.name}}}"


def place(name: str) -> Place:
    """The place of a time. As a number it is 0."""
    made = Place()
    made.name = name
    return made


NOW = place("now")
