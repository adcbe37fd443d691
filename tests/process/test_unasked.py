"""Nothing is killed without being asked first: if a wrapper keeps a signal to itself, its programs get it too."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.cast.harness import ROOT, Run, kid

Start = Callable[..., Run]

AGAIN = r"timeout \[some_unasked\]: not asked yet: (.*?) / SIGTERM, SIGCONT to those not asked yet; clock"


def asked_late(it: Run) -> list[str]:
    """The names of the processes that were asked late. The trace has at most one such line for a stop."""
    lines = re.findall(AGAIN, it.err)
    assert len(lines) <= 1, it.err
    return re.findall(r"pid \d+ \((.*?)\)", lines[0]) if lines else []


def test_the_program_of_a_shell_that_delays_its_trap_is_asked(run: Start) -> None:
    """Bash runs a trap only after the program in its foreground has ended (bash(1), SIGNALS)."""
    script = 'trap "echo trapped; exit 0" TERM; echo ready; sleep 30'
    with run(["bash", "-c", script], options="-t 1 --trace-states") as it:
        it.hear("ready")
        it.signal(signal.SIGTERM)
        it.hear("trapped")
        assert it.end() == 0
        assert asked_late(it) == ["sleep"]


def test_a_wrapper_that_ignores_sigterm_ends_with_its_program(run: Start) -> None:
    """As with mysqld_safe and npm, the program shuts down in good order, and the wrapper ends after it."""
    wrapper = "import signal, sys, subprocess as s; signal.signal(15, lambda *_: None); sys.exit(s.call(sys.argv[1:]))"
    with run([sys.executable, "-c", wrapper, *kid("B", "TERM=exit 0")], options="-t 1 --trace-states") as it:
        it.ready("B")
        it.stop("B")
        assert len(asked_late(it)) == 1
        assert "SIGKILL" not in it.err


@pytest.mark.parametrize(
    "lacks",
    [
        "del os.pidfd_open",
        "del _signal.pidfd_send_signal",
        "def refused(*_): raise OSError(38, 'Function not implemented')\nos.pidfd_open = refused",
        "def refused(*_): raise OSError(38, 'Function not implemented')\n_signal.pidfd_send_signal = refused",
    ],
)
def test_python_or_a_sandbox_may_not_know_pidfds(lacks: str) -> None:
    """Conda's Python does not (python-trio/trio#2855), nor uv's before June 2026 (python-build-standalone#193)."""
    script = f"import os, _signal, sys; from muinit import __main__ as m\n{lacks}\nsys.argv[0] = 'muinit'; m.run()"
    command = kid("A", "TERM=ignore", "kid B,TERM=say", "kid C,TERM=ignore")
    argv = [sys.executable, "-c", script, "-t", "1", "---", *command]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, stderr=subprocess.PIPE, cwd=ROOT) as it:
        assert it.stdout is not None
        assert it.stderr is not None
        assert sorted(it.stdout.readline().split()[0] for _ in "ABC") == ["A", "B", "C"]
        it.terminate()
        assert it.stdout.read() == "B TERM\n", "B was asked late, and nobody has survived"
        assert it.wait() == 137
        assert "internal error" not in it.stderr.read()


def test_every_descendant_is_asked_once(run: Start) -> None:
    """D is an orphan and is asked with A; A asks nobody, so B and C are asked late; then all are killed."""
    tree = "kid B,TERM=say", "kid C,TERM=say", "orphan D,TERM=say"
    with run(kid("A", *tree, "TERM=say"), options="-t 1 --trace-states") as it:
        it.ready("A", "B", "C", "D")
        it.signal(signal.SIGTERM)
        it.hear("A TERM", "B TERM", "C TERM", "D TERM")
        assert it.line_or_end() is None, "nobody is asked twice"
        assert it.end() == 137
        assert len(asked_late(it)) == 2, "D was adopted, and asked with A"


def test_an_orphan_that_was_asked_as_a_grandchild_is_not_asked_again(run: Start) -> None:
    """C is asked late as a child of A; when A dies, muinit adopts C and does not ask it again."""
    with run(kid("A", "kid C,TERM=say", "TERM=ignore"), kid("X", "TERM=ignore"), options="-t 3 --trace-states") as it:
        it.ready("A", "C", "X")
        it.signal(signal.SIGTERM)
        it.hear("C TERM")
        it.kill("A", signal.SIGKILL)
        assert it.line_or_end() is None, "C is not asked twice"
        assert it.end() == 137
        assert "already asked" in it.err


def test_a_new_stop_asks_everybody_again(run: Start) -> None:
    with run(kid("A", "kid B,TERM=say", "TERM=say"), options="-t 3 --trace-states") as it:
        it.ready("A", "B")
        it.signal(signal.SIGTERM)
        it.hear_in_order("A TERM", "B TERM")
        it.signal(signal.SIGTERM)
        it.hear_in_order("A TERM", "B TERM")
        assert it.end() == 137
        assert len(re.findall(AGAIN, it.err)) == 2


def test_a_stop_takes_no_longer_if_everybody_was_asked(run: Start) -> None:
    with run(kid("A", "TERM=say"), kid("B", "orphan C,TERM=say", "TERM=exit 0"), options="-t 1 --trace-states") as it:
        it.ready("A", "B", "C")
        it.signal(signal.SIGTERM)
        assert it.end() == 137
        assert not asked_late(it)
        assert "again" not in it.err


def test_the_last_step_asks_too(run: Start) -> None:
    """If -k does not end with KILL, muinit exits next, and when PID 1 exits, the kernel sends SIGKILL to everything."""
    with run(kid("A", "kid B,TERM=exit 0", "TERM=say"), options="-k TERM -t 3 --trace-states") as it:
        it.ready("A", "B")
        it.signal(signal.SIGTERM)
        it.hear("A TERM", "B TERM")
        it.kill("A", signal.SIGKILL)
        assert it.end() == 137


@pytest.mark.parametrize("options", ["-k KILL -t 1", "-t inf", "-k TERM,INT -t 3"])
def test_there_is_no_more_than_one_extension(run: Start, options: str) -> None:
    """There is none if SIGKILL is the first step or the time never ends, else one, before SIGKILL or the exit."""
    with run(kid("A", "kid B,TERM=say,INT=say", "TERM=say", "INT=say"), options=f"{options} --trace-states") as it:
        it.ready("A", "B")
        it.signal(signal.SIGTERM)
        if "inf" in options:
            it.hear("A TERM")
            it.kill("B", signal.SIGKILL)
            it.kill("A", signal.SIGKILL)
        elif "INT" in options:
            it.hear_in_order("A TERM", "A INT", "B INT")
            it.kill("B", signal.SIGKILL)
            it.kill("A", signal.SIGKILL)
        assert it.end() in (1, 137)
        assert it.err.count("some_unasked") == (1 if "INT" in options else 0)


def test_a_timeout_of_zero_still_asks_everybody(run: Start) -> None:
    """With -t 0, processes that were not asked yet are asked and then killed at once."""
    with run(kid("A", "kid B,TERM=ignore", "TERM=ignore"), options="-t 0 --trace-states") as it:
        it.ready("A", "B")
        it.signal(signal.SIGTERM)
        assert it.end() == 137
        assert it.err.count("clock 0 s") == 2


def test_a_stopped_program_is_continued(run: Start) -> None:
    with run(kid("A", "kid B,TERM=exit 0", "TERM=say"), options="-t 1") as it:
        it.ready("A", "B")
        it.kill("B", signal.SIGSTOP)
        it.signal(signal.SIGTERM)
        it.hear_in_order("A TERM", "B TERM")
        assert it.end() == 137


def test_the_programs_of_an_orphan_are_asked_too(run: Start) -> None:
    """They are asked even in DRAINING, when the command has ended and its orphan keeps the signal to itself."""
    with run(kid("A", "TERM=exit 0", "orphan B,TERM=say,kid C"), options="-t 1 --trace-states") as it:
        it.ready("A", "B", "C")
        it.stop("A", "B")
        assert "DRAINING [step 1 of 2, again]" in it.err
        assert len(asked_late(it)) == 1
