"""The loop on a kernel that answers by script: what no real kernel does on demand."""

from __future__ import annotations

from collections.abc import Callable, Container

import pytest

from muinit.loop import Loop
from statechart.lifecycle import Command, Lifecycle

SIGINT, SIGKILL, SIGTERM, SIGCHLD, SIGCONT = 2, 9, 15, 17, 18


class Scripted:
    """A kernel with two commands, 7 and 8. Each wake is an action on it that returns the signals that came."""

    def __init__(self, *wakes: Callable[[Scripted], list[int]]) -> None:
        self.wakes = iter(wakes)
        self.alive = [7, 8]
        self.dead: list[tuple[int, int]] = []
        self.sent: list[tuple[int, int]] = []
        self.on_kill: dict[tuple[int, int], Callable[[], object]] = {}
        self.forbidden: set[int] = set()
        self.clock = 0.0

    def die(self, pid: int, status: int) -> None:
        self.alive.remove(pid)
        self.dead.append((pid, status))

    def run(self, steps: tuple[int, ...] = (SIGTERM, SIGKILL), forward: Container[int] = (SIGINT,)) -> tuple[int, str]:
        """Run the real loop on it: the exit status, and what was said."""
        said: list[str] = []
        life = Lifecycle([Command(["a"], 7), Command(["b"], 8)], steps, 2.0)
        loop = Loop(self, life, forward, said.append, started_at=0.0)  # type: ignore[arg-type]
        return loop.run().code, "\n".join(said)

    # What the loop uses of a kernel

    def now(self) -> float:
        return self.clock

    def wait(self, seconds: float | None) -> list[int]:
        self.waited = seconds
        return next(self.wakes)(self)

    def children(self) -> list[int]:
        return list(self.alive)

    descendants = children

    def groups(self) -> list[int]:
        return []

    def kill(self, pid: int, signum: int) -> None:
        if pid in self.forbidden:
            raise PermissionError
        self.sent.append((pid, signum))
        if signum == SIGKILL and pid in self.alive:
            self.die(pid, SIGKILL)
        self.on_kill.pop((pid, signum), lambda: None)()

    def reap(self) -> tuple[list[tuple[int, int]], bool]:
        dead, self.dead = self.dead, []
        return dead, not self.alive

    def typed_stop(self) -> bool:
        return False

    def describe(self, pid: int) -> str:
        return f"pid {pid}"


def comes(*signums: int) -> Callable[[Scripted], list[int]]:
    return lambda _: list(signums)


def ends(pid: int, status: int, *signums: int) -> Callable[[Scripted], list[int]]:
    def wake(kernel: Scripted) -> list[int]:
        kernel.die(pid, status)
        return list(signums)

    return wake


def time_passes(kernel: Scripted) -> list[int]:
    assert kernel.waited is not None
    kernel.clock += kernel.waited
    return []


@pytest.mark.parametrize("when", [SIGTERM, SIGCONT, SIGINT])
def test_an_orphan_that_comes_while_signals_are_sent_gets_the_steps_signal(when: int) -> None:
    """It may be in a list of children already for the SIGCONT, or for a signal forwarded meanwhile."""
    kernel = Scripted(comes(SIGTERM), comes(SIGINT), time_passes, comes())
    kernel.on_kill[7, when] = lambda: kernel.alive.append(9)
    assert kernel.run()[0] == 137
    assert kernel.sent.index((9, SIGTERM)) < kernel.sent.index((9, SIGKILL))


def test_signals_are_taken_in_the_order_in_which_they_came() -> None:
    """A ends, then SIGTERM: A's end sends the step, SIGTERM sends it again. The other way round it is sent once."""
    first = Scripted(ends(7, 0, SIGCHLD, SIGTERM), ends(8, SIGTERM, SIGCHLD))
    second = Scripted(ends(7, 0, SIGTERM, SIGCHLD), ends(8, SIGTERM, SIGCHLD))
    assert first.run()[0] == second.run()[0] == 143
    assert first.sent.count((8, SIGTERM)) == 2
    assert second.sent.count((8, SIGTERM)) == 1


def test_who_ended_just_in_time_is_not_out_of_time() -> None:
    """The clock has run out, and so has the last child: nobody is killed, and nothing is given up."""

    def both(kernel: Scripted) -> list[int]:
        kernel.die(7, 0)
        kernel.die(8, 0)
        return time_passes(kernel)

    kernel = Scripted(comes(SIGTERM), both)
    assert kernel.run(steps=(SIGTERM,))[0] == 0


def test_sigterm_is_a_stop_even_if_it_is_to_be_forwarded() -> None:
    kernel = Scripted(comes(SIGTERM), time_passes, comes())
    assert kernel.run(forward=(SIGTERM,))[0] == 137


def test_a_clock_runs_out_once() -> None:
    kernel = Scripted(comes(SIGTERM), time_passes, comes(), comes())
    kernel.on_kill[7, SIGKILL] = lambda: kernel.alive.append(9)
    kernel.on_kill[9, SIGKILL] = lambda: None
    assert kernel.run(steps=(SIGTERM, SIGKILL))[0] == 137


def test_an_orphan_with_the_pid_of_one_that_was_reaped_is_another() -> None:
    def again(kernel: Scripted) -> list[int]:
        kernel.alive.append(9)
        return []

    kernel = Scripted(comes(SIGTERM), comes(), ends(9, 0, SIGCHLD), again, time_passes, comes())
    kernel.on_kill[7, SIGCONT] = lambda: kernel.alive.append(9)
    kernel.run()
    assert kernel.sent.count((9, SIGTERM)) == 2


def test_who_may_not_be_signalled_is_named_once() -> None:
    kernel = Scripted(comes(SIGTERM), ends(7, 0, SIGCHLD), time_passes, time_passes)
    kernel.forbidden = {8}
    code, said = kernel.run(steps=(SIGTERM, SIGINT))
    assert code == 1
    assert said == "warning: not permitted to signal pid 8"
    assert (7, SIGTERM) in kernel.sent
