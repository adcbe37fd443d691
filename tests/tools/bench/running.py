"""A program that runs with its commands, usually as PID 1 of a PID namespace, and what can be measured from outside.

A command is the shell script `command` in the folder in which the program is started. It writes into the FIFO `said`
there, because some programs keep the stdout of their commands to themselves. Another FIFO, `gate`, ends when we say so.
"""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

from tests.cast.harness import AS_INIT
from tests.tools.bench.field import Program, script

PATIENCE = 60.0  # seconds; only a program that is broken takes this long
SETTLED = 0.3  # seconds; nothing announces that a program has become idle, and this is not timed


class Running:
    """A program and its commands, each of which has said when it started."""

    def __init__(
        self, program: Program, process: subprocess.Popen[bytes], said: FileIO, gate: FileIO, commands: int, depth: int
    ) -> None:
        self._program = program
        self._process = process
        self._said = said
        self._gate = gate
        self._unread = b""
        self.stamps = [self.stamp() for _ in range(commands)]
        self.init = tree(process.pid)[depth]

    def stamp(self) -> int:
        """The time that a command writes next, in nanoseconds."""
        while b"\n" not in self._unread:
            assert select.select([self._said], [], [], PATIENCE)[0], f"{self._program.name}: its commands say nothing"
            self._unread += self._said.read(65536)
        line, _, self._unread = self._unread.partition(b"\n")
        return int(line)

    def open_gate(self) -> None:
        """Whoever reads from the gate goes on."""
        self._gate.close()

    def own(self) -> list[int]:
        """The pids of its processes that are no commands."""
        return [pid for pid in tree(self.init) if name_of(pid) not in ("command", "sleep")]

    def resident(self) -> float:
        """MiB resident of all its own processes."""
        return self._sum(r"(?m)^VmRSS:\s+(\d+)", "status") / 1024

    def proportional(self) -> float:
        """The same, but what several processes share is divided between them (PSS)."""
        return self._sum(r"(?m)^Pss: +(\d+)", "smaps_rollup") / 1024

    def wake_ups(self) -> int:
        """How often its own threads have gone to sleep so far."""
        return self._sum(r"(?m)^voluntary_ctxt_switches:\s+(\d+)", "task/*/status")

    def cpu(self) -> float:
        """Seconds that its own threads have run so far."""
        return self._sum(r"^(\d+)", "task/*/schedstat") / 1e9

    def _sum(self, pattern: str, file: str) -> int:
        """The sum of the numbers that match, in the files of this name in /proc, of all its own processes."""
        texts = [path.read_text() for pid in self.own() for path in Path(f"/proc/{pid}").glob(file)]
        return sum(int(number) for text in texts for number in re.findall(pattern, text))

    def forward(self) -> float:
        """Milliseconds from a signal to the program until its command has it."""
        start = time.time_ns()
        os.kill(self.init, signal.SIGUSR1)
        return (self.stamp() - start) / 1e6

    def children(self) -> int:
        """How many children it has, with those that it has not reaped."""
        return len(Path(f"/proc/{self.init}/task/{self.init}/children").read_text().split())

    def stop(self) -> float:
        """Milliseconds from SIGTERM until the program and its commands have ended."""
        start = time.perf_counter()
        os.kill(self.init, signal.SIGTERM)
        self._process.wait(PATIENCE)
        return (time.perf_counter() - start) * 1e3


def tree(pid: int, without: Collection[int] = ()) -> list[int]:
    """A process and its descendants."""
    if pid in without:
        return []
    found = [pid]
    with suppress(OSError):  # it has ended
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            found += [each for child in task.read_text().split() for each in tree(int(child), without)]
    return found


def kill_tree(pid: int) -> None:
    """Kill a process and its descendants. One that is PID 1 takes its whole namespace with it."""
    for each in tree(pid):
        with suppress(ProcessLookupError):
            os.kill(each, signal.SIGKILL)


def name_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


@contextmanager
def running(program: Program, work: str, commands: int = 1, prefix: Sequence[str] = AS_INIT) -> Iterator[Running]:
    """Start a program with so many commands, each of which does this work. At the end nothing of it is left.

    Without a prefix, it is an ordinary process.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        script(folder / "command", work)
        os.mkfifo(folder / "said")
        os.mkfifo(folder / "gate")
        argv = [*prefix, *program.configure(folder, commands)]
        null = subprocess.DEVNULL
        with (
            (folder / "said").open("r+b", buffering=0) as said,
            (folder / "gate").open("r+b", buffering=0) as gate,
            subprocess.Popen(argv, stdin=null, stdout=null, stderr=null, cwd=folder) as process,
        ):
            try:
                yield Running(program, process, said, gate, commands, depth=1 if prefix else 0)  # a child of unshare
            finally:
                kill_tree(process.pid)
