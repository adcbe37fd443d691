"""What --label costs, beside `cat`, which adds no label, and beside two peers: honcho and concurrently.

Two commands write as fast as they can into a program that labels their lines, and we read its output from a pipe, as a
container engine does. The programs run in turn. A peer that is not installed is left out, and the text says so.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple

from tests.tools import docs
from tests.tools.bench.field import VENV
from tests.tools.bench.running import PATIENCE, kill_tree, tree
from tests.tools.bench.shown import figure, ratio
from tests.tools.progress import progress

FILE_BYTES = 1_000_000
LATE_LINES = 50

# A command says its pid, waits at the gate, writes, and says that all is written. It does not end by itself, because
# honcho would then stop the other one.
COMMAND = """#!/bin/sh
echo "# $$"
read -r go < gate
{work}
echo @
exec sleep 600
"""
PROCFILE = "a: exec ./a\nb: exec ./b\n"
IN_BLOCKS, BY_ITSELF = "cat", "grep -h --line-buffered ''"
ONE_BY_ONE = f"""
import os, time
for _ in range({LATE_LINES}):
    time.sleep(0.01)
    os.write(1, b"!%d\\n" % time.monotonic_ns())
"""


class Program(NamedTuple):
    """A program that passes on what the commands a and b write."""

    name: str
    argv: list[str]
    files: int  # how many each command writes: a fast program needs many, or the time is too short to measure
    registry: str = ""  # that has it

    def is_installed(self) -> bool:
        return bool(shutil.which(self.argv[0]))


PROGRAMS = [
    Program("muinit", [f"{VENV}/bin/muinit", "-q", "--label", "---", "./a", "---", "./b"], 100),
    Program("cat", ["sh", "-c", "{ ./a & ./b; } | exec cat"], 100),
    Program("honcho", [f"{VENV}/bin/honcho", "start"], 1, "PyPI"),
    Program("concurrently", [f"{VENV}/node_modules/.bin/concurrently", "-n", "a,b", "./a", "./b"], 10, "npm"),
]


class Started:
    """A program whose two commands wait at the gate."""

    def __init__(self, process: subprocess.Popen[bytes], gate: int) -> None:
        self._process = process
        self._gate = gate
        said = b""
        while len(pids := re.findall(rb"# (\d+)\n", said)) < 2:
            said += self._read()
        self._commands = {int(pid) for pid in pids}

    def open_gate(self) -> None:
        os.write(self._gate, b"\n\n")  # a line for each command

    def output(self) -> Iterator[bytes]:
        """What it writes until both commands have written all."""
        ended = 0
        while ended < 2:
            data = self._read()
            ended += data.count(b"@")
            yield data

    def _read(self) -> bytes:
        assert self._process.stdout is not None
        assert select.select([self._process.stdout], [], [], PATIENCE)[0], "it writes nothing"
        data = os.read(self._process.stdout.fileno(), 1 << 20)
        assert data, "it has ended"
        return data

    def cpu(self) -> float:
        """Seconds that it has run, without its commands."""
        files = [file for process in self._own() for file in process.glob("task/*/schedstat")]
        return sum(int(file.read_text().split()[0]) for file in files) / 1e9

    def memory(self) -> float:
        """MiB of it without its commands. What several processes share is divided between them (PSS)."""
        texts = [(process / "smaps_rollup").read_text() for process in self._own()]
        return sum(int(size) for text in texts for size in re.findall(r"(?m)^Pss: +(\d+)", text)) / 1024

    def _own(self) -> list[Path]:
        return [Path(f"/proc/{pid}") for pid in tree(self._process.pid, without=self._commands)]


@contextmanager
def started(program: Program, work: str) -> Iterator[Started]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for command in (folder / "a", folder / "b"):
            command.write_text(COMMAND.format(work=work))
            command.chmod(0o755)
        (folder / "Procfile").write_text(PROCFILE)
        os.mkfifo(folder / "gate")
        gate = os.open(folder / "gate", os.O_RDWR)
        with subprocess.Popen(program.argv, stdout=subprocess.PIPE, cwd=folder) as process:
            try:
                yield Started(process, gate)
            finally:
                os.close(gate)
                kill_tree(process.pid)


def flood(program: Program, writer: str, length: int) -> tuple[float, float]:
    """Lines a second, and CPU seconds for a million lines. The length is in bytes, with the newline."""
    lines = FILE_BYTES // length
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"%b\n" % (b"x" * (length - 1)) * lines)
        file.flush()
        with started(program, f"{writer} {' '.join([file.name] * program.files)}") as it:
            cpu, start = it.cpu(), time.perf_counter()
            it.open_gate()
            for _ in it.output():
                pass
            seconds, cpu = time.perf_counter() - start, it.cpu() - cpu
    total = 2 * program.files * lines
    return total / seconds, cpu / total * 1e6


def one_by_one(program: Program) -> tuple[float, float]:
    """Milliseconds from the write of a line until it is read, and the memory of the program after that."""
    late = []
    with started(program, f"{VENV}/bin/python -I -c '{ONE_BY_ONE}'") as it:
        it.open_gate()
        for data in it.output():
            now = time.monotonic_ns()
            late += [now - int(written) for written in re.findall(rb"!(\d+)\n", data)]
        memory = it.memory()
    return median(late) / 1e6, memory


def figures(program: Program) -> list[float]:
    """One figure for each row of the table."""
    blocks, blocks_cpu = flood(program, IN_BLOCKS, 40)
    single, single_cpu = flood(program, BY_ITSELF, 40)
    long, _ = flood(program, IN_BLOCKS, 1000)
    return [blocks, single, long / 1000, blocks_cpu, single_cpu, *one_by_one(program)]


ROWS = [  # what it is, and its unit
    ("lines of 40 bytes a second, written in blocks", ""),
    ("the same, each written by itself", ""),
    ("MB a second, lines of 1000 bytes", ""),
    ("CPU for a million lines, written in blocks", " s"),
    ("the same, each written by itself", " s"),
    ("latency of one line", " ms"),
    ("memory", " MiB"),
]


def table(runs: int) -> str:
    """The medians of all programs with their quartiles, and the ratios to muinit."""
    programs = [program for program in PROGRAMS if program.is_installed()]
    missing = [f"{program.name} ({program.registry})" for program in PROGRAMS if program not in programs]
    with progress("labels", runs * len(programs), ticking=False) as each:
        taken = [[figures(program) for program in each(programs)] for _ in range(runs)]
    lines = []
    for row, (words, unit) in enumerate(ROWS):
        columns = [[run[column][row] for run in taken] for column in range(len(programs))]
        ours = median(columns[0])
        lines.append([words, *(f"{figure(values)}{unit}, **{ratio(median(values) / ours)}**" for values in columns)])
    text = docs.table(["", *(program.name for program in programs)], *lines)
    return f"{text}\n\nNot installed, and so not measured: {', '.join(missing)}." if missing else text
