"""The exit-status table: how two commands end, and how muinit exits. docs/exit-status.md shows it; a test plays it."""

from __future__ import annotations

import signal
from typing import NamedTuple

from tests.cast.harness import kid

OK = kid("A", "USR1=exit 0")
ON_TERM = "dies of our SIGTERM"


class Case(NamedTuple):
    """`do` is the signal that starts the case. It is sent to A or, if `told`, to muinit."""

    a: str
    b: str
    original: str
    code: int
    commands: tuple[list[str], list[str]]
    do: int = signal.SIGUSR1
    told: bool = False


CASES = [
    Case("exits 3", ON_TERM, "3", 3, (kid("A", "USR1=exit 3"), kid("B"))),
    Case("exits 0", ON_TERM, "143", 0, (OK, kid("B"))),
    Case("exits 0", "ignores SIGTERM, killed by us", "137", 0, (OK, kid("B", "TERM=ignore"))),
    Case("exits 0", "exits 143 on our SIGTERM (a JVM)", "143", 0, (OK, kid("B", "TERM=exit 143"))),
    Case("exits 0", "exits 7 on our SIGTERM", "7", 7, (OK, kid("B", "TERM=exit 7"))),
    Case("killed from outside (OOM)", ON_TERM, "137", 137, (kid("A"), kid("B")), signal.SIGKILL),
    Case("SIGTERM to muinit, both die of it", "", "", 143, (kid("A"), kid("B")), signal.SIGTERM, told=True),
    Case(
        "SIGTERM to muinit, both exit 0",
        "",
        "",
        0,
        (kid("A", "TERM=exit 0"), kid("B", "TERM=exit 0")),
        signal.SIGTERM,
        told=True,
    ),
    Case(
        "SIGTERM to muinit, both had to be killed",
        "",
        "",
        137,
        (kid("A", "TERM=ignore"), kid("B", "TERM=ignore")),
        signal.SIGTERM,
        told=True,
    ),
    Case("SIGINT forwarded, both die of it", "", "", 130, (kid("A"), kid("B")), signal.SIGINT, told=True),
    Case("not found", "never started, or stopped", "1", 127, (["muinit-no-such-program"], kid("B")), 0),
    Case("not executable", "never started, or stopped", "1", 126, (["/etc/passwd"], kid("B")), 0),
]


def table() -> str:
    """The table, in Markdown."""
    rows = [("A", "B", "original", "muinit"), ("---",) * 4, *((c.a, c.b, c.original, str(c.code)) for c in CASES)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
