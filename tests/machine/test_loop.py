"""The loop on a kernel that follows a script, and so does what no real kernel does on demand."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from muinit import signals
from muinit.loop import Loop
from statechart.lifecycle import Command, Lifecycle
from statechart.meanings import meanings

SIGHUP, SIGINT, SIGKILL, SIGTERM, SIGCHLD, SIGCONT = 1, 2, 9, 15, 17, 18


class Scripted:
    """A kernel with two commands, 7 and 8. At each wake an action changes it, and returns the signals that came."""

    def __init__(self, *wakes: Callable[[Scripted], list[int]]) -> None:
        self.wakes = iter(wakes)
        self.alive = [7, 8]
        self.dead: list[tuple[int, int]] = []
        self.sent: list[tuple[int, int]] = []
        self.on_kill: dict[tuple[int, int], Callable[[], object]] = {}
        self.forbidden: set[int] = set()
        self.grandchildren: list[int] = []
        self.later: dict[int, int] = {}  # start times of processes whose pid was used before
        self.clock = 0.0

    def die(self, pid: int, status: int) -> None:
        self.alive.remove(pid)
        self.dead.append((pid, status))

    def run(self, steps: tuple[int, ...] = (SIGTERM, SIGKILL), forward: tuple[int, ...] = ()) -> tuple[int, str]:
        """Run the real loop on it. Return the exit status and what was said."""
        said: list[str] = []
        lifecycle = Lifecycle([Command(["a"], 7), Command(["b"], 8)], steps, 2.0)
        meaning = meanings(signals.by_name(), forward, init=True)
        loop = Loop(self, lifecycle, meaning, said.append, started_at=0.0)  # type: ignore[arg-type]
        return loop.run().code, "\n".join(said)

    # What the loop uses of a kernel

    def now(self) -> float:
        return self.clock

    def wait(self, seconds: float | None) -> list[int]:
        self.waited = seconds
        return next(self.wakes)(self)

    def children(self, spared: tuple[int, ...] = ()) -> list[int]:
        return [pid for pid in self.alive if pid not in spared]

    def whole_tree(self, spared: tuple[int, ...] = ()) -> tuple[list[int], list[int]]:
        return [], self.children(spared)

    def group(self, pid: int) -> int:
        return pid

    def living(self, spared: tuple[int, ...] = ()) -> dict[int, tuple[int, int]]:
        return {pid: (pid * 100, pid) for pid in [*self.children(spared), *self.grandchildren]}

    def start_time(self, pid: int) -> int:
        return self.later.get(pid, pid * 100)

    def may_signal(self, pid: int) -> bool:
        return pid not in self.forbidden

    def name(self, pid: int) -> str:
        return f"p{pid}"

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

    def mend_labels(self, say: Callable[[str], None]) -> None:
        pass

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
    """It may be in the list of children already when SIGCONT follows, or when a signal is forwarded meanwhile."""
    kernel = Scripted(comes(SIGTERM), comes(SIGINT), time_passes, comes())
    kernel.on_kill[7, when] = lambda: kernel.alive.append(9)
    assert kernel.run()[0] == 137
    assert kernel.sent.index((9, SIGTERM)) < kernel.sent.index((9, SIGKILL))


def test_a_signal_that_nobody_named_is_said_once() -> None:
    kernel = Scripted(comes(SIGHUP), comes(SIGHUP, 10), ends(7, 0, SIGCHLD), ends(8, 0, SIGCHLD))
    code, said = kernel.run()
    assert code == 0
    assert said == "\n".join(
        f"warning: ignored SIG{name}, because muinit is PID 1 and no option names it: "
        f"-s {name} forwards it, --stop-on {name} stops the commands"
        for name in ("HUP", "USR1")
    )


def test_the_unasked_are_asked_before_they_are_killed() -> None:
    """A grandchild gets the step's signal when the time of the step is up. Adopted later, it does not get it again."""
    kernel = Scripted(comes(SIGTERM), time_passes, comes(), time_passes, comes())
    kernel.grandchildren = [9]
    kernel.on_kill[9, SIGCONT] = lambda: kernel.alive.append(9)
    kernel.run()
    assert [signum for pid, signum in kernel.sent if pid == 9] == [SIGTERM, SIGCONT, SIGKILL]
    assert kernel.sent.count((7, SIGTERM)) == 1


def test_a_later_process_with_the_pid_of_one_that_was_asked_is_asked() -> None:
    kernel = Scripted(comes(SIGTERM), time_passes, comes(), time_passes, comes())
    kernel.grandchildren = [9]
    kernel.on_kill[9, SIGCONT] = lambda: kernel.alive.append(9)
    kernel.later = {9: 901}
    kernel.run()
    assert [signum for pid, signum in kernel.sent if pid == 9] == [SIGTERM, SIGCONT] * 2 + [SIGKILL]


def test_nobody_waits_for_one_that_may_not_be_asked() -> None:
    kernel = Scripted(comes(SIGTERM), time_passes, comes())
    kernel.grandchildren = [9]
    kernel.forbidden = {9}
    kernel.run()
    assert kernel.clock == 2.0


def test_a_child_that_ended_just_in_time_is_not_out_of_time() -> None:
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


def test_one_that_slips_through_a_search_is_named_by_the_next() -> None:
    """/proc is no snapshot: a search may miss a process."""
    kernel = Scripted(comes(SIGTERM), time_passes)
    looks = iter([[], [], [7]])
    kernel.whole_tree = lambda _=(): ([], next(looks))  # type: ignore[method-assign, assignment]
    lifecycle = Lifecycle([Command(["a"], 7), Command(["b"], 8)], (SIGTERM,), 2.0)
    meaning = meanings(signals.by_name(), init=True)
    loop = Loop(kernel, lifecycle, meaning, lambda _: None, started_at=0.0)  # type: ignore[arg-type]
    assert loop.run().gave_up
    assert loop.survivors() == ["pid 7"]


def test_what_the_last_look_has_killed_is_reaped_before_the_time_is_up() -> None:
    """An orphan is adopted as the time of the last step runs out, and dies of its signal at once: nothing is left."""

    def late(kernel: Scripted) -> list[int]:
        kernel.die(8, 0)
        kernel.alive.append(9)
        return time_passes(kernel)

    kernel = Scripted(comes(SIGTERM), ends(7, 0, SIGCHLD), late)
    kernel.on_kill[9, SIGCONT] = lambda: kernel.die(9, SIGTERM)
    assert kernel.run(steps=(SIGTERM,))[0] == 0


def test_a_child_that_may_not_be_signalled_is_named_once() -> None:
    kernel = Scripted(comes(SIGTERM), ends(7, 0, SIGCHLD), time_passes, time_passes)
    kernel.forbidden = {8}
    code, said = kernel.run(steps=(SIGTERM, SIGINT))
    assert code == 1
    why = "it runs as another user, and muinit needs CAP_KILL for that"
    assert said == f"warning: not permitted to signal pid 8: {why}"
    assert (7, SIGTERM) in kernel.sent
