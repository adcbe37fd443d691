"""What one command gets that the others do not: its last words later (--sidecar), its own signals (-k, -s)."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cast.harness import PATIENCE, Run, kid, kill_all, wait_for
from tests.cast.traces import checked

Start = Callable[..., Run]

PROXY = ["--sidecar", "--name", "proxy", *kid("S", "TERM=exit 0")]


def states(it: Run) -> list[str]:
    """The states of the run, in order, each with its step."""
    found = re.findall(r"-> (\w+(?: \[step [^]]*\])?) ", it.err)
    return list(dict.fromkeys(found))


# Sidecars


def test_a_sidecar_is_stopped_after_the_others(run: Start) -> None:
    """A still has its sidecar while it says its last words."""
    with run(PROXY, kid("A", "TERM=say", "HUP=exit 0"), options="-t 60 --trace-states") as it:
        it.ready("S", "A")
        it.signal(signal.SIGTERM)
        it.hear("A TERM")
        it.kill("A", signal.SIGHUP)
        it.hear_in_order("A HUP", "S TERM")
        assert it.end() == 0
        assert "SIGTERM, SIGCONT to every child but sidecars" in it.err


def test_the_last_end_of_a_command_stops_the_sidecar(run: Start) -> None:
    with run(PROXY, kid("A", "HUP=exit 3")) as it:
        it.ready("S", "A")
        it.kill("A", signal.SIGHUP)
        it.hear_in_order("A HUP", "S TERM")
        assert it.end() == 3


def test_the_end_of_a_sidecar_stops_the_others_and_counts(run: Start) -> None:
    with run(["--sidecar", *kid("S", "HUP=exit 5")], kid("A", "TERM=exit 0")) as it:
        it.ready("S", "A")
        it.kill("S", signal.SIGHUP)
        it.hear_in_order("S HUP", "A TERM")
        assert it.end() == 5


@pytest.mark.parametrize("rule", ["TERM=exit 7", "TERM=die", "TERM=ignore"])
def test_how_a_sidecar_ends_after_the_others_decides_nothing(rule: str, run: Start) -> None:
    with run(["--sidecar", *kid("S", rule)], kid("A", "TERM=exit 0"), options="-t 1") as it:
        it.ready("S", "A")
        it.signal(signal.SIGTERM)
        it.hear("A TERM")
        if "ignore" not in rule:
            it.hear("S TERM")
        assert it.end() == 0


def test_a_sidecar_beside_a_stubborn_command(run: Start) -> None:
    """A has to be killed; until then the sidecar and its child live, and the SIGKILL for A passes them by."""
    sidecar = ["--sidecar", *kid("S", "kid T,TERM=exit 0", "TERM=exit 0")]
    with run(sidecar, kid("A", "kid B,TERM=say", "TERM=say"), options="-t 3 --trace-states") as it:
        it.ready("S", "T", "A", "B")
        it.signal(signal.SIGTERM)
        it.hear_in_order("A TERM", "B TERM", "S TERM")  # B is asked late
        it.hear("T TERM")  # once its parent has exited it is an orphan
        assert it.end() == 137
        last = [state for state in states(it) if state.startswith("DRAINING")]
        assert last[0] == "DRAINING [step 1 of 2]"


def test_when_the_steps_of_the_others_are_over_the_sidecar_is_stopped_all_the_same(run: Start) -> None:
    """A outlives the steps, which have no SIGKILL. Then they begin again, for the sidecar too; A makes it 1."""
    with run(PROXY, kid("A", "TERM=say"), options="-k TERM -t 1 --trace-states") as it:
        it.ready("S", "A")
        it.signal(signal.SIGTERM)
        it.hear("A TERM")
        it.hear("A TERM", "S TERM")
        assert it.process.wait(PATIENCE) == 1
        assert "timeout [sidecars_left]" in it.err
        assert "exit 1: still alive" in it.err
        kill_all(it.survivors())


def test_a_command_that_ends_after_its_steps_still_counts(run: Start) -> None:
    """A outlives the steps, so they begin again. It ends then, and its code counts."""
    with run(PROXY, kid("A", "TERM=say", "HUP=exit 4"), options="-k TERM:2") as it:
        it.ready("S", "A")
        app = it.outside(it.pids["A"])
        it.signal(signal.SIGTERM)
        it.hear("A TERM")
        it.hear("A TERM", "S TERM")
        os.kill(app, signal.SIGHUP)
        it.hear("A HUP")
        assert it.end() == 4


def test_orphans_of_a_sidecar_live_as_long_as_it_and_others_do_not(run: Start) -> None:
    """T is an orphan in the group of the sidecar. U has left that group, so it is stopped with the commands."""
    sidecar = ["--sidecar", *kid("S", "orphan T,TERM=exit 0", "orphan U,setsid,TERM=exit 0", "TERM=exit 0")]
    with run(sidecar, kid("A", "orphan B,TERM=exit 0", "TERM=say", "HUP=exit 0"), options="-t 60") as it:
        it.ready("S", "T", "U", "A", "B")
        it.signal(signal.SIGTERM)
        it.hear("A TERM", "B TERM", "U TERM")
        wait_for(lambda: it.is_reaped("B") and it.is_reaped("U"))
        it.kill("A", signal.SIGHUP)
        it.hear("A HUP", "S TERM", "T TERM")
        assert it.end() == 0


def test_an_orphan_of_a_sidecar_that_has_died_is_stopped(run: Start) -> None:
    sidecar = ["--sidecar", *kid("S", "orphan T,TERM=exit 0", "HUP=exit 0")]
    with run(sidecar, kid("A", "TERM=say", "HUP=exit 0"), options="-t 60") as it:
        it.ready("S", "T", "A")
        it.signal(signal.SIGTERM)
        it.hear("A TERM")
        it.kill("S", signal.SIGHUP)
        it.hear_in_order("S HUP", "T TERM")
        it.kill("A", signal.SIGHUP)
        it.hear("A HUP")
        assert it.end() == 0


def test_a_second_sigterm_while_the_others_are_stopped_passes_the_sidecar_by(run: Start) -> None:
    with run(PROXY, kid("A", "TERM=say", "HUP=exit 0"), options="-t 60") as it:
        it.ready("S", "A")
        for _ in range(2):
            it.signal(signal.SIGTERM)
            it.hear("A TERM")
        it.kill("A", signal.SIGHUP)
        it.hear_in_order("A HUP", "S TERM")
        assert it.end() == 0


def test_a_second_sigterm_while_the_sidecar_is_stopped_stops_it_again(run: Start) -> None:
    with run(["--sidecar", *kid("S", "TERM=say", "HUP=exit 9")], kid("A", "TERM=exit 0"), options="-t 60") as it:
        it.ready("S", "A")
        it.signal(signal.SIGTERM)
        it.hear_in_order("A TERM", "S TERM")
        it.signal(signal.SIGTERM)
        it.hear("S TERM")
        it.kill("S", signal.SIGHUP)
        it.hear("S HUP")
        assert it.end() == 0


def test_a_sidecar_that_survives_makes_it_1(run: Start) -> None:
    with run(["--sidecar", *kid("S", "TERM=say")], kid("A", "TERM=exit 0"), options="-k TERM -t 1") as it:
        it.ready("S", "A")
        it.signal(signal.SIGTERM)
        it.hear_in_order("A TERM", "S TERM")
        assert it.process.wait(PATIENCE) == 1
        kill_all(it.survivors())


@pytest.mark.parametrize(
    ("commands", "code"),
    [
        ([["--sidecar", "/nowhere/proxy"], kid("A", "TERM=exit 0")], 127),
        ([kid("A", "TERM=exit 0"), ["--sidecar", "/nowhere/proxy"]], 127),
        ([["--sidecar", *kid("S", "TERM=exit 7")], ["/nowhere/app"]], 127),
    ],
)
def test_what_cannot_be_started_counts_beside_a_sidecar(commands: list[list[str]], code: int, run: Start) -> None:
    with run(*commands) as it:
        assert it.end() == code


def test_a_command_that_may_end_and_a_sidecar(run: Start) -> None:
    """When only the sidecar is left, it is stopped."""
    with run(["--may-end", *kid("A", "exit 0")], PROXY, kid("B", "HUP=exit 0")) as it:
        it.ready("A", "S", "B")
        wait_for(lambda: it.is_reaped("A"))
        it.kill("B", signal.SIGHUP)
        it.hear_in_order("B HUP", "S TERM")
        assert it.end() == 0


def test_the_trace_of_a_sidecar_can_be_replayed(run: Start, tmp_path: Path) -> None:
    trace = tmp_path / "run.jsonl"
    with run(PROXY, kid("A", "TERM=exit 3"), options=f"--trace-file {trace}") as it:
        it.ready("S", "A")
        it.signal(signal.SIGTERM)
        it.hear_in_order("A TERM", "S TERM")
        assert it.end() == 3
    entries = checked(trace.read_text().splitlines(keepends=True))
    assert [each["sidecar"] for each in entries[0]["commands"]] == [True, False]


# Signals of one command


def test_a_command_gets_its_own_signal_and_the_others_the_common_one(run: Start) -> None:
    with run(["-k", "QUIT", *kid("A", "QUIT=exit 0")], kid("B", "TERM=exit 0"), options="-v") as it:
        it.ready("A", "B")
        it.signal(signal.SIGTERM)
        it.hear("A QUIT", "B TERM")
        assert it.end() == 0
        assert "into step 1 of 2 (SIGQUIT)" in it.err
        assert f"SIGTERM, SIGCONT to every child, but SIGQUIT to pid {it.pids['A']}" in it.err


def test_a_death_by_its_own_signal_is_no_failure(run: Start) -> None:
    with run(["-k", "QUIT", *kid("A", "QUIT=die")], kid("B", "HUP=exit 0"), options="-v") as it:
        it.ready("A", "B")
        it.kill("B", signal.SIGHUP)
        it.hear("B HUP", "A QUIT")
        assert it.end() == 0
        assert "died of muinit's SIGQUIT" in it.err


def test_the_target_of_an_own_signal_is_below_the_command_alone(run: Start) -> None:
    """A and what descends from it get QUIT; of B and its child only B gets TERM, and its child is asked late."""
    first = ["-k", "QUIT@tree", *kid("A", "kid C,setsid,QUIT=exit 0", "QUIT=exit 0")]
    with run(first, kid("B", "kid D,TERM=exit 0", "TERM=say", "HUP=exit 0"), options="-t 3 -s HUP") as it:
        it.ready("A", "B", "C", "D")
        it.signal(signal.SIGTERM)
        it.hear("A QUIT", "C QUIT", "B TERM")
        it.hear("D TERM")
        it.signal(signal.SIGHUP)
        it.hear("B HUP")
        assert it.end() == 0


def test_what_is_asked_late_below_a_command_gets_the_signal_of_that_command(run: Start) -> None:
    first = ["-k", "QUIT", *kid("A", "kid C,QUIT=exit 0,TERM=exit 5", "QUIT=say", "HUP=exit 0")]
    with run(first, kid("B", "kid D,TERM=exit 0", "TERM=say", "HUP=exit 0"), options="-t 3 -s HUP") as it:
        it.ready("A", "B", "C", "D")
        it.signal(signal.SIGTERM)
        it.hear("A QUIT", "B TERM")
        it.hear("C QUIT", "D TERM")
        it.signal(signal.SIGHUP)
        it.hear("A HUP", "B HUP")
        assert it.end() == 0


def test_an_orphan_gets_the_common_signal(run: Start) -> None:
    with run(["-k", "QUIT", *kid("A", "orphan O,TERM=exit 0,QUIT=exit 5", "QUIT=exit 0")]) as it:
        it.ready("A", "O")
        it.signal(signal.SIGTERM)
        it.hear("A QUIT", "O TERM")
        assert it.end() == 0


def test_a_later_step_is_common_again(run: Start) -> None:
    first = ["-k", "QUIT", *kid("A", "QUIT=say", "INT=exit 0")]
    with run(first, kid("B", "TERM=say", "INT=exit 0"), options="-k TERM:1,INT:60") as it:
        it.ready("A", "B")
        it.signal(signal.SIGTERM)
        it.hear("A QUIT", "B TERM")
        it.hear("A INT", "B INT")
        assert it.end() == 0


@pytest.mark.parametrize("options", ["", " -s all", " -s all@group"])
@pytest.mark.parametrize(("target", "reached"), [("", ["A"]), ("@group", ["A", "C"]), ("@tree", ["A", "C", "E"])])
def test_a_signal_is_forwarded_to_the_command_that_names_it(
    target: str, reached: list[str], options: str, run: Start
) -> None:
    """HUP is for A alone: a name wins over `all`. INT, the default, still goes to both. -v says so."""
    first = kid(
        "A",
        "kid C,HUP=say,INT=ignore,TERM=exit 0",
        "kid E,setsid,HUP=say,TERM=exit 0",
        "HUP=say",
        "INT=say",
        "TERM=exit 0",
    )
    with run(
        ["-s", f"HUP{target}", *first],
        kid("B", "HUP=say", "INT=say", "TERM=exit 0"),
        options=f"-v -k TERM@tree{options}",
    ) as it:
        it.ready("A", "B", "C", "E")
        it.signal(signal.SIGHUP)
        it.hear(*(f"{name} HUP" for name in reached))
        it.signal(signal.SIGINT)
        it.hear("A INT", "B INT")
        it.stop("A", "B", "C", "E")
        whom = {"": "", "@group": " and its group", "@tree": " and its descendants"}[target]
        everybody = "the process group of every child" if "group" in options else "every child"
        assert f"forwarding SIGHUP to pid {it.pids['A']}{whom}\n" in it.err
        assert f"forwarding SIGINT to {everybody}\n" in it.err


def test_a_signal_of_one_command_stops_nobody_any_more(run: Start) -> None:
    """QUIT is among the signals that stop by default, until a command names it."""
    with run(["-s", "QUIT", *kid("A", "QUIT=say", "TERM=exit 0")], kid("B", "TERM=exit 0")) as it:
        it.ready("A", "B")
        it.signal(signal.SIGQUIT)
        it.hear("A QUIT")
        it.stop("A", "B")


def test_a_signal_that_is_forwarded_to_all_reaches_each_once(run: Start) -> None:
    with run(
        ["-s", "HUP", *kid("A", "HUP=say", "TERM=exit 0")], kid("B", "HUP=say", "TERM=exit 0"), options="-s HUP"
    ) as it:
        it.ready("A", "B")
        it.signal(signal.SIGHUP)
        it.hear("A HUP", "B HUP")
        it.stop("A", "B")


def test_own_signals_are_in_the_trace(run: Start, tmp_path: Path) -> None:
    trace = tmp_path / "run.jsonl"
    first = ["-k", "QUIT@tree", "-s", "HUP", *kid("A", "QUIT=exit 0", "HUP=say")]
    with run(first, kid("B", "TERM=exit 0"), options=f"--trace-file {trace}") as it:
        it.ready("A", "B")
        it.signal(signal.SIGHUP)
        it.hear("A HUP")
        it.signal(signal.SIGTERM)
        it.hear("A QUIT", "B TERM")
        assert it.end() == 0
    header, relayed, step, *_ = checked(trace.read_text().splitlines(keepends=True))
    pid = header["commands"][0]["pid"]
    assert header["commands"][0]["steps"] == [{"signal": "SIGQUIT", "target": "tree"}]
    assert relayed["effects"][0]["some"] == [{"pid": pid, "target": "child"}]
    assert step["effects"][0]["own"] == [{"pid": pid, "signal": "SIGQUIT", "target": "tree"}]
    assert json.dumps(step)


# Names


def test_names_that_collide_get_numbers(run: Start, tmp_path: Path) -> None:
    trace = tmp_path / "run.jsonl"
    with run(
        ["sleep", "60"], ["--name", "sleep-2", "sleep", "60"], ["sleep", "60"], options=f"-v --trace-file {trace}"
    ) as it:
        wait_for(lambda: it.err.count("started pid") == 3)
        it.signal(signal.SIGTERM)
        assert it.end() == 143
        assert re.findall(r"started pid \d+ \((.*?)\)", it.err) == ["sleep 60", "sleep-2 60", "sleep-3 60"]
    header, *_ = checked(trace.read_text().splitlines(keepends=True))
    assert [each["name"] for each in header["commands"]] == ["", "sleep-2", "sleep-3"]
