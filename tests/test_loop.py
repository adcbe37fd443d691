"""The loop on a kernel that answers by script: what no real kernel does on demand."""

from __future__ import annotations

import pytest

from muinit.loop import Loop
from statechart.lifecycle import Command, Lifecycle

SIGINT, SIGKILL, SIGTERM, SIGCONT = 2, 9, 15, 18


class Scripted:
    """A kernel that adopts `orphan` while signal number `when` is being sent, and where command 7 then ends."""

    def __init__(self, when: int) -> None:
        self.when = when
        self.alive = [7]
        self.dead: list[tuple[int, int]] = []
        self.sent: list[tuple[int, int]] = []
        self.waits = iter([[SIGTERM], [SIGINT], [], [], []])
        self.clock = 0.0

    def now(self) -> float:
        return self.clock

    def wait(self, seconds: float | None) -> list[int]:
        arrived = next(self.waits)
        if not arrived and seconds:
            self.clock += seconds
        return arrived

    def children(self) -> list[int]:
        return list(self.alive)

    descendants = children

    def kill(self, pid: int, signum: int) -> None:
        self.sent.append((pid, signum))
        if signum == self.when and pid == 7:
            self.alive.append(8)
        if signum == SIGKILL and pid in self.alive:
            self.alive.remove(pid)
            self.dead.append((pid, SIGKILL))

    def reap(self) -> tuple[list[tuple[int, int]], bool]:
        dead, self.dead = self.dead, []
        return dead, not self.alive

    def describe(self, pid: int) -> str:
        return f"pid {pid}"


@pytest.mark.parametrize("when", [SIGTERM, SIGCONT, SIGINT])
def test_an_orphan_that_comes_while_signals_are_sent_gets_the_steps_signal(when: int) -> None:
    """It may be in a list of children already for the SIGCONT, or for a signal forwarded meanwhile."""
    kernel = Scripted(when)
    life = Lifecycle([Command(["a"], 7)], [SIGTERM, SIGKILL], 2.0)
    end = Loop(kernel, life, {SIGINT}, lambda _: None, tracing=False, started_at=0.0).run()  # type: ignore[arg-type]
    assert (8, SIGTERM) in kernel.sent
    assert kernel.sent.index((8, SIGTERM)) < kernel.sent.index((8, SIGKILL))
    assert end.code == 137
