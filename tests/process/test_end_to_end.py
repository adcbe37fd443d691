"""muinit runs real commands, as an ordinary process and as PID 1."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cast.harness import AS_INIT, MUINIT, Run, kid, status, wait_for
from tests.proofs.edges import EDGES, ROWS, edge_of
from tests.tools.exit_table import CASES, Case

Start = Callable[..., Run]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.a}, {case.b}")
def test_exit_status_table(run: Start, case: Case) -> None:
    with run(*case.commands, options="-t 1") as it:
        if case.do:
            it.ready("A", "B")
            it.signal(case.do) if case.told else it.kill("A", case.do)
        assert it.end() == case.code
        assert (it.err == "") == (case.code == 0 and "killed by us" not in case.b)
        assert it.err.count("\n") <= 1


def test_a_command_that_cannot_be_started_stops_the_earlier_ones_and_no_later_one_starts(
    run: Start, tmp_path: Path
) -> None:
    with run(kid("A", "TERM=exit 0"), ["muinit-no-such-program"], ["touch", str(tmp_path / "it")]) as it:
        assert it.end() == 127
        assert "exit 127: command (muinit-no-such-program) was not found, so muinit stopped the rest: pid " in it.err
        assert re.search(r"; command \(touch .*\) was not started$", it.err)
    assert not (tmp_path / "it").exists()


def test_a_failure_before_a_command_that_cannot_be_started_decides(run: Start) -> None:
    with run(["sh", "-c", "exit 3"], *[["sleep", "60"]] * 60, ["muinit-no-such-program"]) as it:
        assert it.end() == 3


def test_the_first_failure_decides(run: Start) -> None:
    with run(kid("A", "TERM=exit 4"), kid("B", "USR1=exit 0"), kid("C", "TERM=exit 5", "CONT=say")) as it:
        it.ready("A", "B", "C")
        it.kill("C", signal.SIGSTOP)
        it.kill("B", signal.SIGUSR1)
        assert it.end() in (4, 5)


def test_a_death_before_muinit_first_looks_counts(run: Start) -> None:
    """Both commands end while muinit is still loading, so the SIGTERM cannot have come from muinit."""
    with run(["true"], ["sh", "-c", "kill -TERM $$"]) as it:
        assert it.end() == 143


def test_a_signal_that_the_caller_ignores_is_ignored(run: Start) -> None:
    """If `nohup` or a shell without job control ignores HUP and INT, HUP stops nothing and INT is not forwarded."""

    def ignore() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    with run(kid("A", "INT=say", "TERM=exit 4"), preexec_fn=ignore) as it:
        it.ready("A")
        it.signal(signal.SIGHUP)
        it.signal(signal.SIGINT)
        it.signal(signal.SIGTERM)
        it.hear("A TERM")  # no INT came before it
        assert it.end() == 4


def test_a_signal_that_the_caller_blocks_kills_nobody(run: Start) -> None:
    def block() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])

    with run(kid("A", "TERM=exit 4"), options="--trace-states", preexec_fn=block) as it:
        it.ready("A")
        it.signal(signal.SIGUSR1)
        it.signal(signal.SIGTERM)
        it.hear("A TERM")
        assert it.end() == 4
        assert "USR1" not in it.err


def test_the_environment_of_the_commands_does_not_change_how_muinit_ends(run: Start) -> None:
    with run(["sh", "-c", "exit 3"], options="-q", env={**os.environ, "PYTHONINSPECT": "1"}) as it:
        assert it.end() == 3
        assert it.err == ""


def test_silent_when_all_is_well(run: Start) -> None:
    with run(["true"], ["sleep", "100"]) as it:
        assert it.end() == 0
        assert it.err == ""


def test_quiet_is_silent_after_a_failure_too(run: Start) -> None:
    with run(["false"], options="-q") as it:
        assert it.end() == 1
        assert it.err == ""


def test_the_last_line_says_what_decided_and_how_the_others_ended(run: Start) -> None:
    with run(kid("A", "USR1=exit 3"), kid("B", "TERM=ignore"), options="-t 0.1") as it:
        it.ready("A", "B")
        it.kill("A", signal.SIGUSR1)
        assert it.end() == 3
        a, b = it.pids["A"], it.pids["B"]
        title = r"\(python[\d.]*(?:-2)? [^()]*\)"
        expected = (
            rf"muinit: exit 3: pid {a} {title} exited 3 after [\d.]+ s, so muinit stopped the rest: "
            rf"pid {b} {title} died of muinit's SIGKILL \(137\), [\d.]+ s into step 2 of 2 \(SIGKILL\)\n"
        )
        assert re.fullmatch(expected, it.err)


def test_each_step_waits_its_time(run: Start) -> None:
    with run(kid("A", "HUP=say", "TERM=say"), options="-k HUP,TERM,KILL -t 1 --trace-states") as it:
        it.ready("A")
        it.signal(signal.SIGTERM)
        it.hear("A HUP", "A TERM")
        assert it.end() == 137
        times = [float(line.split()[1]) for line in it.err.splitlines() if " s  " in line]
        rounding = 0.0011  # both times are rounded to milliseconds
        assert times[2] - times[1] >= 1 - rounding  # HUP to TERM
        assert times[3] - times[2] >= 1 - rounding  # TERM to KILL


def test_a_step_is_over_as_soon_as_nothing_is_left(run: Start) -> None:
    """When nothing is left, muinit does not wait for the rest of a timeout that is longer than a day."""
    with run(kid("A", "orphan B", "TERM=exit 0"), options="-t 99999 --trace-states") as it:
        it.ready("A", "B")
        it.signal(signal.SIGTERM)
        assert it.end() == 0
        assert it.err.splitlines()[-1].endswith("drained / exit 0")


def test_zero_timeout_means_the_next_step_at_once(run: Start) -> None:
    with run(kid("A", "TERM=ignore"), options="-t 0") as it:
        it.ready("A")
        it.signal(signal.SIGTERM)
        assert it.end() == 137


def test_infinite_timeout_waits(run: Start) -> None:
    with run(kid("A", "TERM=say", "USR1=exit 0"), options="-t inf") as it:
        it.ready("A")
        it.signal(signal.SIGTERM)
        it.hear("A TERM")
        it.kill("A", signal.SIGUSR1)
        it.hear("A USR1")
        assert it.end() == 0


def test_sigterm_restarts_the_steps(run: Start) -> None:
    with run(kid("A", "HUP=say", "TERM=say", "USR1=exit 0"), options="-k HUP,TERM -t 60") as it:
        it.ready("A")
        for _ in range(3):
            it.signal(signal.SIGTERM)
            it.hear("A HUP")
        it.kill("A", signal.SIGUSR1)
        it.hear("A USR1")
        assert it.end() == 0


def test_sigterm_restarts_the_steps_for_orphans_too(run: Start) -> None:
    with run(kid("A", "orphan B,TERM=say,USR1=exit 0", "USR1=exit 0"), options="-k TERM -t 60") as it:
        it.ready("A", "B")
        it.kill("A", signal.SIGUSR1)
        it.hear("A USR1", "B TERM")
        it.signal(signal.SIGTERM)
        it.hear("B TERM")
        it.kill("B", signal.SIGUSR1)
        it.hear("B USR1")
        assert it.end() == 0


def test_after_sigterm_no_more_commands_are_started(run: Start) -> None:
    """The commands that were started before the SIGTERM decide the exit status."""
    first = ["sh", "-c", "kill -TERM $PPID; exec sleep 60"]
    with run(first, *[["sh", "-c", "echo started; exec sleep 60"]] * 1000) as it:
        assert it.end() == 143
        assert it.err.count("was not started") > 0
        started = 0
        while it.line_or_end():
            started += 1
        assert started < 1000


def test_survivors_of_the_last_step_are_named(run: Start) -> None:
    with run(kid("A", "TERM=ignore"), options="-k TERM -t 0.1") as it:
        it.ready("A")
        pid, outside = it.pids["A"], it.outside(it.pids["A"])
        it.signal(signal.SIGTERM)
        assert it.process.wait(20) == 1
        assert f" into step 1 of 1 (SIGTERM): pid {pid} (" in it.err
        assert "state S)" in it.err
        if not it.pid1:  # the kernel kills what PID 1 leaves behind
            os.kill(outside, signal.SIGKILL)
        wait_for(lambda: not it.survivors())


def test_forwarded_signals_reach_every_command_and_orphan_and_stop_nothing(run: Start) -> None:
    rules = "INT=say", "HUP=say", "RTMIN+3=say"
    commands = kid("A", *rules), kid("B", "orphan C," + ",".join(rules), *rules)
    with run(*commands, options="-s INT,1 -s RTMIN+3") as it:
        it.ready("A", "B", "C")
        for number, word in ((signal.SIGINT, "INT"), (signal.SIGHUP, "HUP"), (signal.SIGRTMIN + 3, "RTMIN+3")):
            it.signal(number)
            it.hear(f"A {word}", f"B {word}", f"C {word}")
        it.signal(signal.SIGTERM)
        assert it.end() == 143


def test_a_deadly_signal_stops_muinit_gracefully_unless_it_is_pid_1(run: Start) -> None:
    with run(kid("A", "TERM=exit 0", "INT=say")) as it:
        it.ready("A")
        it.signal(signal.SIGUSR2)
        if it.pid1:
            it.signal(signal.SIGINT)
            it.hear("A INT")
            it.signal(signal.SIGTERM)
        it.hear("A TERM")
        assert it.end() == 0


def test_after_a_forwarded_signal_a_death_by_muinits_own_sigterm_does_not_count(run: Start) -> None:
    with run(kid("A", "INT=exit 0"), kid("B", "INT=say")) as it:
        it.ready("A", "B")
        it.signal(signal.SIGINT)
        assert it.end() == 0  # A exited 0; B died of muinit's SIGTERM, perhaps before it said anything


def test_fault_signals_are_not_forwarded_and_do_not_stop_muinit(run: Start) -> None:
    with run(kid("A", "INT=say")) as it:
        it.ready("A")
        for number in (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGALRM if it.pid1 else signal.SIGFPE):
            it.signal(number)
        it.signal(signal.SIGINT)
        it.hear("A INT")
        it.signal(signal.SIGTERM)
        assert it.end() == 143


def test_orphans_neither_end_the_run_nor_decide_its_code(run: Start) -> None:
    with run(kid("A", "orphan B,USR1=exit 9", "INT=say", "TERM=exit 0")) as it:
        it.ready("A", "B")
        outside = it.outside(it.pids["B"])
        it.kill("B", signal.SIGUSR1)
        it.hear("B USR1")
        wait_for(lambda: not status(outside))  # reaped
        it.signal(signal.SIGINT)
        it.hear("A INT")
        it.stop("A")


def test_an_orphan_adopted_during_a_step_gets_its_signal_at_once(run: Start) -> None:
    """While A lives, its child B gets no signal; when A ends, B is adopted and gets SIGTERM long before SIGKILL."""
    with run(kid("A", "kid B,TERM=say,USR1=exit 0,setsid", "TERM=exit 0"), options="-t 60") as it:
        it.ready("A", "B")
        it.signal(signal.SIGTERM)
        it.hear("A TERM", "B TERM")
        it.kill("B", signal.SIGUSR1)
        it.hear("B USR1")
        assert it.end() == 0


def test_an_orderly_parent_stops_its_own_children(run: Start) -> None:
    with run(kid("A", "kid B,TERM=say", "TERM=say", "USR1=exit 0"), options="-t 60") as it:
        it.ready("A", "B")
        it.signal(signal.SIGTERM)
        it.hear("A TERM")  # B gets nothing
        it.kill("B", signal.SIGKILL)
        it.kill("A", signal.SIGUSR1)
        it.hear("A USR1")
        assert it.end() == 0


def test_sigkill_reaches_the_whole_tree(run: Start) -> None:
    rules = "TERM=ignore"
    with run(kid("A", f"kid B,{rules},setsid", f"orphan C,{rules},setsid", rules), options="-t 0.1") as it:
        it.ready("A", "B", "C")
        it.signal(signal.SIGTERM)
        assert it.end() == 137


def test_a_stopped_command_is_continued_to_act_on_its_signal(run: Start) -> None:
    with run(kid("A", "TERM=exit 0"), options="-t 60") as it:
        it.ready("A")
        it.kill("A", signal.SIGSTOP)
        outside = it.outside(it.pids["A"])
        wait_for(lambda: status(outside)["State"].startswith("T"))
        it.stop("A")


def test_many_commands(run: Start) -> None:
    with run(*[kid(f"K{n}", "TERM=exit 0") for n in range(40)]) as it:
        it.ready(*[f"K{n}" for n in range(40)])
        it.signal(signal.SIGTERM)
        assert it.end() == 0


def test_every_trace_line_of_a_run_is_a_row_of_the_table(run: Start) -> None:
    seen = set()
    commands = kid("A", "orphan C,TERM=ignore", "INT=say", "USR1=exit 3"), kid("B", "INT=say", "kid D,TERM=ignore")
    with run(*commands, options="--trace-states -k TERM,HUP,KILL -t 0.1") as it:
        it.ready("A", "B", "C", "D")
        it.signal(signal.SIGINT)
        it.hear("A INT", "B INT")
        it.kill("A", signal.SIGUSR1)
        it.hear("A USR1")
        assert it.end() == 3
        lines = it.err.splitlines()
        for line in lines[:-1]:
            seen.add(edge_of(line))
    assert len(seen & EDGES) >= 6
    assert seen <= ROWS


# What a command gets from the caller


# `exit` comes last: bash would replace itself with `ls` if that were the last command.
SHOW = "pwd; tr '\\0' '\\n' < /proc/$$/environ; ls -1 /proc/$$/fd; exit"
# A caller may leave blocked signals, an ignored one, a umask, an open descriptor, a closed one, and no locale.
CALLER = (
    "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN);"
    "signal.signal(signal.SIGPIPE, signal.SIG_DFL); signal.signal(signal.SIGXFSZ, signal.SIG_DFL);"
    "signal.pthread_sigmask(signal.SIG_SETMASK, [signal.SIGUSR2, signal.SIGTERM]);"
    "os.umask(0o27); os.dup2(1, 17); os.close(0);"
    "os.execve(sys.argv[1], sys.argv[1:], {'PATH': '/usr/bin:/bin', 'ODD': 'a=b\\nc', 'EMPTY': ''})"
)


@pytest.mark.parametrize("command", [["/bin/sh", "-c", SHOW], ["/bin/cat", "/proc/self/status"]], ids=["sh", "cat"])
def test_a_command_starts_as_if_the_caller_had_started_it(tmp_path: Path, command: list[str], pid1: bool) -> None:
    """It gets the directory, environment, descriptors, umask, signal mask and dispositions that muinit started with."""

    def world(*prefix: str) -> list[str]:
        with (tmp_path / "world").open("w") as out:
            argv = [*(AS_INIT if pid1 else []), sys.executable, "-c", CALLER, *prefix, *command]
            subprocess.run(argv, cwd=tmp_path, stdout=out, check=True)
        lines = (tmp_path / "world").read_text().splitlines()
        if command[0] == "/bin/sh":
            return lines
        keys = {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}
        ignored = int(keys["SigIgn"], 16) & ~GLIBC
        return [keys["Umask"], keys["SigBlk"], f"{ignored:x}", keys["SigCgt"]]

    without = world()
    if command[0] == "/bin/sh":
        assert without == [str(tmp_path), "PATH=/usr/bin:/bin", "ODD=a=b", "c", "EMPTY=", "1", "17", "2"]
    else:
        assert without == ["0027", "0000000000004800", "1", "0000000000000000"]
    assert world(*MUINIT, "---") == without


# glibc's posix_spawn(3) makes every child ignore glibc's own two signals, 32 and 33. No program can use them.
GLIBC = 1 << 31 | 1 << 32
