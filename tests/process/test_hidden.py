"""Processes that are hard to see, on the real kernel: none survives, and none is taken for dead while it lives."""

from __future__ import annotations

import os
import platform
import signal
import sys
from collections.abc import Callable

import pytest

from tests.cast.harness import AS_INIT, ROOT, Run, kernel_says, kid, wait_for
from tests.conftest import need, why_no_namespace

HEIR = [sys.executable, "-I", "-S", str(ROOT / "tests/cast/heir.py")]
CHLD, USR1, CLONE_PARENT = 17, 10, 0x8000


@pytest.fixture(autouse=True)
def _system_calls() -> None:
    need("raw system calls", "" if platform.machine() in ("x86_64", "aarch64") else "their numbers are not known here")


# A process whose first thread has ended: /proc/PID/stat shows it as a zombie


def test_a_command_whose_first_thread_has_ended_is_alive(run: Callable[..., Run]) -> None:
    with run(kid("A", "headless", "INT=say", "TERM=exit 3"), kid("B", "INT=ignore", "TERM=exit 0")) as it:
        it.ready("A", "B")
        it.signal(signal.SIGINT)
        it.hear("A INT")
        it.signal(signal.SIGTERM)
        it.hear("A TERM", "B TERM")
        assert it.end() == 3


@pytest.mark.parametrize("rule", ["orphan", "kid"])
def test_a_deaf_descendant_whose_first_thread_has_ended_is_killed(run: Callable[..., Run], rule: str) -> None:
    with run(kid("A", f"{rule} O,headless,setsid,TERM=ignore", "TERM=ignore"), options="-t 0.2") as it:
        it.ready("A", "O")
        assert it.outside(it.pids["O"]) in it.survivors(), "a run that left it alive would be noticed"
        it.signal(signal.SIGTERM)
        assert it.end() == 137


def test_a_survivor_whose_first_thread_has_ended_is_named() -> None:
    """The last line shows the state of a thread that is alive."""
    with Run(kid("A", "orphan O,headless,setsid,TERM=ignore"), options="-k TERM -t 0.2") as it:
        it.ready("A", "O")
        it.signal(signal.SIGTERM)
        assert it.process.wait(20) == 1
        assert f"(SIGTERM): pid {it.pids['O']} (python" in it.err
        assert "state S)" in it.err
        os.kill(it.pids["O"], signal.SIGKILL)
        wait_for(lambda: not it.survivors())


def test_a_zombie_is_not_a_living_descendant() -> None:
    """Neither a zombie with a single thread nor one that had several counts as alive."""
    script = (
        "import time\n"
        "a = k.spawn(['true']); b = k.spawn([sys.executable, '-c', 'import threading as t, time, os\\n"
        "t.Thread(target=time.sleep, args=(9,)).start(); os._exit(0)'])\n"
        "os.waitid(os.P_PID, a, os.WEXITED | os.WNOWAIT); os.waitid(os.P_PID, b, os.WEXITED | os.WNOWAIT)\n"
        "print(k.children() == [a, b], k.whole_tree()[1], k.describe(a).endswith('(true, state Z)'))"
    )
    assert kernel_says("import sys\n" + script) == "True [] True"


# Children that waitpid(2) does not report by default


@pytest.fixture(params=["process", "pid1"])
def heir(request: pytest.FixtureRequest) -> Callable[..., Run]:
    """Start a program that makes a child by clone(2) with these flags, and then becomes muinit."""
    if request.param == "pid1":
        need("a PID namespace", why_no_namespace())
    before = AS_INIT if request.param == "pid1" else []
    return lambda flags, rules, *args, **kw: Run(*args, prefix=[*before, *HEIR, str(flags), rules], **kw)


@pytest.mark.parametrize("flags", [0, USR1, CHLD])
def test_an_inherited_child_is_stopped_like_an_orphan(heir: Callable[..., Run], flags: int) -> None:
    """It gets the signal of the step, and muinit notices its end, whatever signal the kernel sends at that end."""
    with heir(flags, "H,TERM=exit 0", kid("A", "USR1=exit 0"), options="-t inf") as it:
        it.ready("A", "H")
        it.kill("A", signal.SIGUSR1)
        it.hear("A USR1", "H TERM")
        assert it.end() == 0


@pytest.mark.parametrize("flags", [0, CHLD])
def test_an_inherited_child_that_is_deaf_is_killed(heir: Callable[..., Run], flags: int) -> None:
    with heir(flags, "H,TERM=ignore", ["true"], options="-t 0.2 --trace-states") as it:
        it.ready("H")
        assert it.end() == 0
        assert "timeout [step_left]" in it.err


@pytest.mark.parametrize("flags", [0, CHLD])
def test_an_inherited_child_that_survives_is_named(heir: Callable[..., Run], flags: int) -> None:
    with heir(flags, "H,TERM=ignore", ["true"], options="-k TERM -t 0.2") as it:
        it.ready("H")
        assert it.process.wait(20) == 1
        assert f"pid {it.pids['H']} (python" in it.err
        if not it.pid1:
            os.kill(it.pids["H"], signal.SIGKILL)
        wait_for(lambda: not it.survivors())


def test_the_end_of_an_inherited_child_does_not_end_the_run(heir: Callable[..., Run]) -> None:
    with heir(0, "H,exit 5", kid("A", "TERM=exit 4"), options="-v") as it:
        it.ready("A", "H")
        wait_for(lambda: "which exited 5" in it.err)
        it.signal(signal.SIGTERM)
        it.hear("A TERM")
        assert it.end() == 4


def test_a_job_of_the_shell_that_became_muinit_is_stopped() -> None:
    with Run(["true"], prefix=["sh", "-c", 'sleep 1000 & exec "$@"', "sh"]) as it:
        assert it.end() == 0


@pytest.mark.parametrize("flags", [0, USR1, CLONE_PARENT, CLONE_PARENT | USR1], ids=hex)
@pytest.mark.parametrize("rule", ["TERM=exit 0", "TERM=ignore"])
def test_a_child_that_sends_no_sigchld_is_stopped(run: Callable[..., Run], flags: int, rule: str) -> None:
    """A command makes it, or with CLONE_PARENT a sibling, which is muinit's own child and is stopped like an orphan."""
    with run(kid("A", f"clone {flags} C,setsid,{rule}", "TERM=exit 3"), options="-t 1") as it:
        it.ready("A", "C")
        it.signal(signal.SIGTERM)
        it.hear("A TERM", *(["C TERM"] if "exit" in rule else []))
        assert it.end() == 3
