"""The ways to install muinit: how large each is, when its first child starts as PID 1, how much memory it takes.

What `make dist` or `make bundle` would build is left out if it is not there.
"""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import NamedTuple

from tests.cast.harness import AS_INIT, ROOT
from tests.tools import docs
from tests.tools.bench import floor
from tests.tools.bench.field import PYTHON, VENV
from tests.tools.bench.shown import figure
from tests.tools.progress import progress

TIMES = 4  # as many runs as for the other tables, because the ratios are close to 1
PACKAGES = ("muinit", "statechart", "transitions", "six.py")


class Way(NamedTuple):
    """A way to install muinit: how it is started, and the files that it takes in an image, without Python itself."""

    words: str
    argv: list[str]
    files: list[Path]


def ways() -> list[Way]:
    site = next(VENV.glob("lib/python*/site-packages"))
    pyz, bundle = ROOT / "dist/muinit.pyz", ROOT / "dist/muinit"
    found = [
        Way("wheel, `python3 -I -m muinit`", [PYTHON, "-I", "-m", "muinit"], [site / name for name in PACKAGES]),
        Way("wheel, `muinit`", [f"{VENV}/bin/muinit"], [site / name for name in PACKAGES]),
        Way("`python3 -I muinit.pyz`", [PYTHON, "-I", str(pyz)], [pyz]),
        Way("bundle", [str(bundle / "muinit")], [bundle]),
    ]
    return [way for way in found if all(file.exists() for file in way.files)]


def size(path: Path) -> int:
    """The bytes of a file, or of the files in a folder."""
    return sum(each.stat().st_size for each in [path, *path.rglob("*")] if each.is_file())


def table(runs: int) -> str:
    found = ways()
    starts: list[list[float]] = [[] for _ in found]
    memory: list[list[float]] = [[] for _ in found]
    with progress("ways to install", TIMES * runs * len(found), ticking=False) as each:
        for turn in range(TIMES * runs):
            for number, way in enumerate(each(found)):
                starts[number].append(floor.first_child([*AS_INIT, *way.argv, "-q", "---", *floor.STAMP]))
                if turn % TIMES == 0:
                    memory[number].append(floor.rss_as_init([*way.argv, "-q", "---", "./command"]))
    first = median(starts[0])
    rows = [
        [
            way.words,
            f"{sum(map(size, way.files)) / (1 << 20):.1f} MiB",
            f"{figure(start)} ms",
            f"**{median(start) / first:.2f}**",
            f"{figure(resident)} MiB",
        ]
        for way, start, resident in zip(found, starts, memory, strict=True)
    ]
    return docs.table(["", "size", "first child after", "ratio", "resident memory"], *rows)
