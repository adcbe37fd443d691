"""Compare the ways to install muinit: how large each is, when its first child starts, how much memory it takes.

python -m tests.release.measure [--runs N] prints a table, after `make dist bundle`. It takes muinit as PID 1 from the
environment of `make bench`. Figures are medians. The programs run in turn, so their ratios are better than the figures.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import median

from tests.cast.harness import AS_INIT, ROOT
from tests.tools import bench, docs

PYTHON = str(bench.VENV / "bin/python")
PACKAGES = ("muinit", "statechart", "transitions", "six.py")
WAYS = {
    "wheel, `python3 -I -m muinit`": [PYTHON, "-I", "-m", "muinit"],
    "`python3 -I muinit.pyz`": [PYTHON, "-I", str(ROOT / "dist/muinit.pyz")],
    "bundle": [str(ROOT / "dist/muinit/muinit")],
}


def size(path: Path) -> int:
    """The bytes of a file, or of the files in a folder; without caches of other interpreters' byte code."""
    return sum(each.stat().st_size for each in [path, *path.rglob("*")] if each.is_file())


def sizes() -> list[int]:
    """The bytes that each way takes in an image, without Python itself."""
    site = next(bench.VENV.glob("lib/python*/site-packages"))
    return [sum(size(site / name) for name in PACKAGES), size(ROOT / "dist/muinit.pyz"), size(ROOT / "dist/muinit")]


def table(runs: int) -> str:
    starts: list[list[float]] = [[] for _ in WAYS]
    memory: list[list[float]] = [[] for _ in WAYS]
    for turn in range(runs):
        for number, argv in enumerate(WAYS.values()):
            starts[number].append(bench.first_child([*AS_INIT, *argv, "-q", "---", *bench.STAMP]))
            if turn % 5 == 0:
                memory[number].append(bench.rss_as_init([*argv, "-q", "---", *bench.ASLEEP]))
    first = median(starts[0])
    rows = [
        [
            way,
            f"{bytes_ / (1 << 20):.1f} MiB",
            f"{median(start):.1f} ms",
            f"{median(start) / first:.2f}",
            f"{median(resident):.1f} MiB",
        ]
        for way, bytes_, start, resident in zip(WAYS, sizes(), starts, memory, strict=True)
    ]
    return docs.table(["", "size", "first child after", "ratio", "resident memory"], *rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.release.measure", description="Compare ways to install muinit."
    )
    parser.add_argument("--runs", type=int, default=100, help="how often each is started; default: 100")
    print(table(parser.parse_args().runs))


if __name__ == "__main__":
    main()
