"""Long work shows on a terminal that it is alive, and prints only its result anywhere else."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.cast.harness import ROOT

WORK = """
import sys
from tests.tools.progress import progress
with progress("things", 3) as count:
    for thing in count(["a", "b", "c"]):
        print(thing, flush=True)
        if thing == "b":
            sys.stdin.readline()
assert {loaded} == ("rich" in sys.modules)
"""
# Each target, with as little to do as possible.
TARGETS = {
    "verify": "from tests.proofs import verify; del verify.SHORT[3:]; sys.argv.append('--short'); verify.main()",
    "simulate": "from tests.proofs import simulate; simulate.main(['--runs', '300', '--jobs', '2'])",
    "chaos": "from tests.proofs import chaos; sys.argv += ['--runs', '3', '--jobs', '2']; chaos.main()",
    "early": "from tests.tools import early; early.WINDOWS = 2; sys.argv += ['--runs', '2']; early.main()",
    "bench": "from tests.tools.bench import __main__ as bench, floor, labels, many, peers, ways\n"
    "for take in ('first_child', 'last_of_many', 'rss', 'rss_as_init', 'wake_ups', 'storm', 'forwarded'):\n"
    "    setattr(floor, take, lambda argv: 1.0)\n"
    "ways.ways = lambda: [ways.Way('a', [], []), ways.Way('b', [], [])]\n"
    "peers.there = lambda: peers.PROGRAMS[:2]\n"
    "peers.figures = lambda program: {measure: 1.0 for table in peers.TABLES for measure in table}\n"
    "peers.wake_ups = lambda programs: {}\n"
    "many.figures = lambda program, count: (1.0, 1.0)\n"
    "labels.figures = lambda program: [1.0] * 7\n"
    "bench.plot.draw = lambda *_: None\n"
    "sys.argv += ['--runs', '2']; bench.main()",
}


class Seen(NamedTuple):
    """What a program wrote to its stdout, and what it showed on the terminal that is its stderr."""

    out: str
    frames: list[str]


def python(script: str) -> list[str]:
    return [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{script}"]


def on_a_terminal(script: str, tmp_path: Path, *, out: bool = False) -> Seen:
    """Run a script with stderr on a terminal, and stdout in a file or, with `out`, on the terminal too.

    Its stdin is closed when the spinner has moved during one thing. The script waits for that.
    """
    master, slave = os.openpty()
    with open(tmp_path / "out", "w+") as file:
        environ = {**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
        with subprocess.Popen(
            python(script), stdin=subprocess.PIPE, stdout=slave if out else file, stderr=slave, env=environ
        ) as process:
            os.close(slave)
            assert process.stdin is not None
            data = b""
            while chunk := read(master):
                data += chunk
                if len(spinners(screens(data.decode(errors="ignore")), "33%")) > 1:
                    process.stdin.close()
            os.close(master)
        assert process.returncode == 0, data
        return Seen((tmp_path / "out").read_text(), screens(data.decode()))


def read(master: int) -> bytes:
    try:
        return os.read(master, 65536)
    except OSError:  # EIO: no process has the terminal open any more
        return b""


def screens(data: str) -> list[str]:
    """What a terminal shows after each piece of text that was sent to it."""
    lines, row, column = [""], 0, 0
    seen = []
    for piece in re.findall(r"\x1b\[\??[\d;]*[a-zA-Z]|[\r\n]|[^\x1b\r\n]+", data):
        if piece == "\r":
            column = 0
        elif piece == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif not piece.startswith("\x1b"):
            lines[row] = lines[row][:column].ljust(column) + piece + lines[row][column + len(piece) :]
            column += len(piece)
        elif piece.endswith("A"):
            row -= int(piece[2:-1] or 1)
        elif piece == "\x1b[2K":
            lines[row] = ""
        else:
            assert piece[-1] in "mhl", f"what does {piece!r} do?"  # colours (m), show and hide the cursor (h, l)
        seen.append("\n".join(lines).rstrip())
    return seen


def spinners(frames: list[str], percent: str) -> set[str]:
    """The faces that the spinner had at this percentage."""
    return {line.split()[0] for frame in frames for line in frame.splitlines() if percent in line}


def in_a_pipe(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(python(script), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)


def test_a_bar_moves_and_is_wiped(tmp_path: Path) -> None:
    """The bar counts what is done, its clock and its spinner move in between, and stdout has only the result."""
    seen = on_a_terminal(WORK.format(loaded=True), tmp_path)
    assert seen.out == "a\nb\nc\n"
    frames = "\n".join(seen.frames)
    for percent in ("0%", "33%", "100%"):
        assert percent in frames
    assert len(spinners(seen.frames, "33%")) > 1, "nothing moves while one thing is done"
    assert not seen.frames[-1]


def test_the_result_stays_on_the_same_terminal(tmp_path: Path) -> None:
    """Text that is printed while the bar is shown appears above it, and stays."""
    assert on_a_terminal(WORK.format(loaded=True), tmp_path, out=True).frames[-1] == "a\nb\nc"


def test_a_log_has_only_the_result() -> None:
    """In a pipe there is no bar, and the library that draws it is not even loaded."""
    done = in_a_pipe(WORK.format(loaded=False))
    assert (done.stdout, done.stderr) == ("a\nb\nc\n", "")


@pytest.mark.parametrize("name", TARGETS)
def test_each_target_shows_that_it_is_alive(name: str, tmp_path: Path) -> None:
    """A terminal shows a bar, which is gone at the end; the result is the same as in a log, which has no bar."""
    logged = in_a_pipe(TARGETS[name])
    seen = on_a_terminal(TARGETS[name], tmp_path)
    bars = {match[0] for frame in seen.frames if (match := re.search(r"\d+%", frame))}
    assert len(bars) > 1, bars
    assert not seen.frames[-1]
    assert not logged.stderr
    assert without_chance(seen.out) == without_chance(logged.stdout)


def without_chance(result: str) -> list[str]:
    """The words of a result, without its figures, which differ in each run."""
    return re.findall(r"[a-zA-Z]+", re.sub(r"exit codes: .*", "", result))
