"""What users of other inits rely on: one command after `--`, forwarding, rewriting, exit codes, names and roles."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from muinit import signals
from tests.cast import traces
from tests.cast.harness import KID, MUINIT, PATIENCE, Run, is_deaf, kid, kill_all, wait_for

Start = Callable[..., Run]


def said(*argv: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    environment = None if env is None else {**os.environ, **env}
    return subprocess.run(
        [*MUINIT, *argv], capture_output=True, text=True, timeout=PATIENCE, check=False, env=environment
    )


# One command


def test_after_two_dashes_everything_is_the_command() -> None:
    done = said("--", "printf", "%s ", "---", "--", "-h")
    assert (done.returncode, done.stdout, done.stderr) == (0, "--- -- -h ", "")


# MUINIT_OPTIONS


def test_the_variable_has_options_and_is_not_for_the_commands(tmp_path: Path) -> None:
    """A muinit inside would otherwise write into the same trace."""
    trace = tmp_path / "run.jsonl"
    inner = [*MUINIT, "---", "sh", "-c", "echo ${MUINIT_OPTIONS-none}; echo $OTHER"]
    done = said("--", *inner, env={"MUINIT_OPTIONS": f"-v --trace-file '{trace}'", "OTHER": "stays"})
    assert (done.returncode, done.stdout) == (0, "none\nstays\n")
    assert "muinit: exit 0: " in done.stderr
    assert traces.of(trace)


def test_what_is_wrong_with_the_variable_starts_nothing(tmp_path: Path) -> None:
    done = said("---", "touch", str(tmp_path / "started"), env={"MUINIT_OPTIONS": "-k NOPE"})
    assert done.returncode == 1
    assert done.stderr.startswith("muinit: MUINIT_OPTIONS: -k 'NOPE': 'NOPE' is not a signal; expected names")
    assert not (tmp_path / "started").exists()


# Signals


CLAIMED = {"TERM", "TSTP", "CONT", "CHLD"}  # what -s all leaves to others
FAULTS = {"SEGV", "BUS", "FPE", "ILL", "TRAP", "SYS", "ABRT"}
ALL = sorted(
    number
    for name, number in signals.by_name().items()
    if name.removeprefix("SIG") not in CLAIMED | FAULTS | {"KILL", "STOP"}
)


def test_all_signals_arrive_once_and_in_order(run: Start) -> None:
    """The real-time ones and ALRM too."""
    with run([*KID, "A", *[f"{number}=say" for number in ALL], "TERM=exit 0"], options="-s all") as it:
        it.ready("A")
        for number in ALL:
            it.signal(number)
        it.hear_in_order(*(f"A {number}" for number in ALL))
        it.stop("A")
    assert len(ALL) > 45


def test_a_signal_that_stops_is_not_forwarded_by_all(run: Start) -> None:
    """What --stop-on names wins; its default does not."""
    with run(kid("A", "QUIT=say", "HUP=say", "TERM=exit 0"), options="-s all --stop-on HUP") as it:
        it.ready("A")
        it.signal(signal.SIGQUIT)
        it.hear("A QUIT")
        it.signal(signal.SIGHUP)
        it.hear("A TERM")
        assert it.end() == 0


@pytest.mark.parametrize(
    ("options", "sent", "heard"),
    [
        ("-s USR1 -r HUP:USR1", "HUP", "USR1"),
        ("-s USR1,USR2 -r USR1:USR2,USR2:USR1", "USR1", "USR2"),
        ("-s USR1,USR2 -r USR1:USR2 -r USR2:USR1", "USR2", "USR1"),
        ("-s USR1,USR2 -r HUP:USR1 -r HUP:USR2", "HUP", "USR2"),
        ("-s USR1,USR2 -r 1:10,10:12", "HUP", "USR1"),
        ("-s RTMAX -r HUP:RTMAX", "HUP", "64"),
        ("-s HUP -r RTMAX:1", "RTMAX", "HUP"),
    ],
)
def test_a_signal_is_treated_as_another(options: str, sent: str, heard: str, run: Start) -> None:
    """Swaps work, nothing is chained, and of two rules for one signal the last one counts."""
    with run(kid("A", "HUP=say", "USR1=say", "USR2=say", "64=say", "TERM=exit 0"), options=options) as it:
        it.ready("A")
        it.signal(signals.number(sent))
        it.hear(f"A {heard}")
        it.stop("A")


def test_a_signal_is_dropped(run: Start) -> None:
    with run(kid("A", "HUP=say", "USR1=say", "TERM=exit 0"), options="-s HUP,USR1 -r HUP:0") as it:
        it.ready("A")
        it.signal(signal.SIGHUP)
        it.signal(signal.SIGUSR1)
        it.hear("A USR1")
        it.stop("A")


def test_another_signal_stops_in_place_of_sigterm(run: Start) -> None:
    """SIGTERM is dropped, and the signal that stops says so in the last line."""
    with run(kid("A", "USR1=say", "TERM=exit 3"), options="-s USR1 -r TERM:0,HUP:QUIT --stop-on QUIT") as it:
        it.ready("A")
        it.signal(signal.SIGTERM)
        it.signal(signal.SIGUSR1)
        it.hear("A USR1")
        it.signal(signal.SIGHUP)
        it.hear("A TERM")
        assert it.end() == 3
        assert "; SIGQUIT had told muinit to stop after " in it.err


def test_the_death_of_the_parent_is_a_signal(tmp_path: Path) -> None:
    command = " ".join([*MUINIT, "-p", "HUP", "---", *KID, "A", "TERM=exit\\ 0"])
    script = f"{command} & echo $! > {tmp_path / 'pid'}; read go"
    with subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as shell:
        assert shell.stdout is not None
        assert shell.stdin is not None
        assert shell.stdout.readline().startswith(b"A ready")
        shell.kill()
        assert shell.stdout.readline() == b"A TERM\n"
        assert shell.stdout.read() == b""
    pid = int((tmp_path / "pid").read_text())
    wait_for(lambda: not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text().split()[2])


def test_a_parent_that_died_before_is_noticed() -> None:
    """It may go between muinit's first line and prctl(2)."""
    script = (
        "import sys; from muinit import __main__ as m\n"
        "m.PARENT = 1 << 22\n"
        "sys.argv = ['muinit', '-p', 'HUP', '---', 'sleep', '60']; sys.exit(m.main())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 143
    assert "; SIGHUP had told muinit to stop after " in done.stderr


# Exit status


@pytest.mark.parametrize(
    ("options", "command", "code"),
    [
        ("", "exit 15", 15),
        ("-e 15", "exit 15", 0),
        ("-e 14,16", "exit 15", 15),
        ("-e TERM", "exit 143", 0),
        ("-e TERM", "kill -TERM $$", 0),
        ("-e 127", "exit 127", 0),
        ("-e 127,126,1", "no-such-program; exit $?", 0),
    ],
)
def test_a_code_that_means_success(options: str, command: str, code: int) -> None:
    assert said(*options.split(), "--", "sh", "-c", command).returncode == code
    assert said("---", *options.split(), "sh", "-c", command).returncode == code


def test_codes_of_a_command_are_its_own_and_add_up() -> None:
    exits = ["sh", "-c", "exit 15"]
    waits = ["sh", "-c", "trap 'exit 16' TERM; sleep 60 & wait"]
    assert said("-e", "16", "---", "-e", "15", *exits, "---", *waits).returncode == 0
    assert said("-e", "15", "---", *exits, "---", "-e", "16", *waits).returncode == 0
    assert said("---", *exits, "---", "-e", "15,16", *waits).returncode == 15


def test_what_muinit_itself_says_is_never_success(run: Start) -> None:
    """127 and 126 of a command that was not started, and 1 if something outlived the steps."""
    assert said("-e", "127,126,1", "---", "/nowhere/x").returncode == 127
    assert said("-e", "127,126,1", "---", "/etc").returncode == 126
    with run(kid("A", "TERM=ignore"), options="-e 1 -k TERM -t 0.1") as it:
        it.ready("A")
        it.signal(signal.SIGTERM)
        assert it.process.wait(PATIENCE) == 1
        kill_all(it.survivors())


def test_the_policy_is_that_of_the_command_line() -> None:
    commands = ["---", "sleep", "60", "---", "true"]
    assert said(*commands).returncode == 0
    assert said("--exit-status", "original", *commands).returncode == 143
    commands = ["---", "sh", "-c", "trap 'exit 3' TERM; sleep 60 & wait", "---", "sh", "-c", "sleep 0.2"]
    assert said(*commands).returncode == 3
    assert said("--exit-status", "first-ended", *commands).returncode == 0


def test_commands_that_ended_together_count_in_the_order_of_the_command_line() -> None:
    """Both have ended before muinit looks."""
    script = (
        "import os, sys; from muinit import __main__ as m, kernel\n"
        "spawn = kernel.Kernel.spawn\n"
        "def dead(self, argv):\n"
        "    pid = spawn(self, argv); os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT); return pid\n"
        "kernel.Kernel.spawn = dead\n"
        "sys.argv = ['muinit', '---', 'sh', '-c', 'exit 5', '---', 'sh', '-c', 'exit 4']; sys.exit(m.main())"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, check=False).returncode == 5


# Names


def test_a_name_stands_in_place_of_the_program_in_every_message(tmp_path: Path) -> None:
    trace = tmp_path / "run.jsonl"
    web = ["--name", "web", "sh", "-c", "exit 3"]
    done = said("-v", "--trace-states", "--trace-file", str(trace), "---", *web, "---", "sleep", "60")
    assert done.returncode == 3
    lines = [line for line in done.stderr.splitlines() if "exit 3)" in line]
    assert len(lines) > 3
    assert all("(web -c exit 3)" in line for line in lines)
    assert "(sleep 60)" in done.stderr
    header = traces.of(trace)[0]
    assert [command["name"] for command in header["commands"]] == ["web", ""]
    missing = said("---", "--name", "web", "/nowhere/x")
    assert missing.stderr == "muinit: exit 127: command (web) was not found\n"


# Roles


def test_a_command_that_may_end_stops_nobody_by_its_end_with_0(run: Start) -> None:
    with run(["--may-end", *kid("A", "exit 0")], kid("B", "INT=say", "TERM=exit 3")) as it:
        it.ready("A", "B")
        wait_for(lambda: it.is_reaped("A"))
        it.signal(signal.SIGINT)
        it.hear("B INT")
        it.kill("B", signal.SIGTERM)
        it.hear("B TERM")
        assert it.end() == 3
        assert "pid " in it.err


@pytest.mark.parametrize(
    ("options", "rules", "code"),
    [("", "HUP=exit 4", 4), ("-e 4", "HUP=exit 4", 0), ("", "HUP=exit 0", 0)],
)
def test_a_command_that_may_end_stops_the_others_if_it_fails(options: str, rules: str, code: int, run: Start) -> None:
    """What counts as 0 counts as 0 here too."""
    with run(["--may-end", *options.split(), *kid("A", rules)], kid("B", "TERM=exit 0")) as it:
        it.ready("A", "B")
        it.kill("A", signal.SIGHUP)
        it.hear("A HUP")
        if not code:
            wait_for(lambda: it.is_reaped("A"))
            it.signal(signal.SIGTERM)
        it.hear("B TERM")
        assert it.end() == code


def test_the_run_ends_with_the_last_command_that_may_end(run: Start) -> None:
    with run(["--may-end", *kid("A", "exit 0")], ["--may-end", *kid("B", "TERM=exit 0")]) as it:
        it.ready("A", "B")
        it.kill("B", signal.SIGTERM)
        it.hear("B TERM")
        assert it.end() == 0
        assert it.err == ""


def test_what_a_command_that_may_end_left_is_not_blamed_on_another() -> None:
    """The guess that a command went to the background names only what that command left."""
    with Run(["--may-end", *kid("A", "kid C,setsid", "USR1=exit 0")], kid("B", "USR1=exit 0"), options="-t 1") as it:
        it.ready("A", "B", "C")
        for name in ("A", "B"):
            wait_for(lambda: not is_deaf(it.init))  # in its loop, and done with what came before
            it.kill(name, signal.SIGUSR1)
            it.hear(f"{name} USR1")
            wait_for(lambda name=name: it.is_reaped(name))
        assert (it.end(), it.err) == (0, "")


# Steps with their own time


def test_a_step_has_its_own_time(run: Start, tmp_path: Path) -> None:
    trace = tmp_path / "run.jsonl"
    options = f"-k INT:1,TERM,KILL:5 -t 1.5 --trace-file {trace}"
    with run(kid("A", "INT=say", "TERM=say"), options=options) as it:
        it.ready("A")
        it.signal(signal.SIGTERM)
        it.hear_in_order("A INT", "A TERM")
        assert it.end() == 137
    header, *events, _ = traces.of(trace)
    assert header["times"] == [1.0, 1.5, 5.0]
    clocks = [effect["seconds"] for event in events for effect in event["effects"] if effect["effect"] == "clock"]
    assert clocks == [1.0, 1.5, 5.0]
    done = said("--diagram", "table", "-k", "INT:1,TERM,KILL:5", "-t", "1.5")
    assert done.stdout.startswith("A stop takes at most 9 s: ")


# A stop that takes too long


@pytest.mark.parametrize(
    ("options", "within", "code"), [("", "6", 0), ("", "5.9", 1), ("-t inf", "600", 1), ("-k KILL", "2", 0)]
)
def test_a_build_can_check_how_long_a_stop_takes(options: str, within: str, code: int) -> None:
    done = said("--diagram", "table", *options.split(), "--within", within)
    assert done.returncode == code
    assert done.stdout.startswith("A stop ")
    assert done.stderr == "" if not code else done.stderr.startswith(f"muinit: --within {within}: a stop can take ")


# Which processes get a forwarded signal


def test_a_signal_to_the_group_reaches_a_grandchild_while_the_child_ignores_it(run: Start) -> None:
    with run(kid("A", "HUP=ignore", "TERM=exit 0", "kid B,HUP=say,TERM=exit 0"), options="-s HUP@group") as it:
        it.ready("A", "B")
        it.signal(signal.SIGHUP)
        it.hear("B HUP")
        it.stop("A", "B")


@pytest.mark.parametrize("target", ["child", "group", "tree"])
def test_each_target_has_its_processes_and_each_process_one_signal(target: str, run: Start) -> None:
    """B is in the group of A, C has left it, O is an orphan in a group of its own."""
    others = ["kid B,HUP=say,TERM=exit 0", "kid C,setsid,HUP=say,TERM=exit 0", "orphan O,setsid,HUP=say,TERM=exit 0"]
    with run(kid("A", "HUP=say", "TERM=exit 0", *others), options=f"-s HUP@{target},USR1@tree") as it:
        it.ready("A", "B", "C", "O")
        it.signal(signal.SIGHUP)
        reached = {"child": "AO", "group": "ABO", "tree": "ABCO"}[target]
        it.hear(*(f"{name} HUP" for name in reached))
        it.stop(*"ABCO")


def test_every_signal_can_have_a_target_and_one_of_its_own() -> None:
    options = ["-s", "all@group,HUP@tree", "--diagram", "table"]
    table = said(*options).stdout
    assert "to the process group of every child" in table
    assert "SIGHUP to every descendant" in table


# Which processes a step asks


@pytest.mark.parametrize("target", ["child", "group", "tree"])
def test_each_target_of_a_step_has_its_processes_and_each_process_one_signal(target: str, run: Start) -> None:
    """The others are asked late, before SIGKILL."""
    others = ["kid B,TERM=say", "kid C,setsid,TERM=say"]
    with run(kid("A", "TERM=say", *others), options=f"-k TERM@{target}:1,KILL --trace-states") as it:
        it.ready("A", "B", "C")
        it.signal(signal.SIGTERM)
        it.hear("A TERM", "B TERM", "C TERM")
        assert it.end() == 137
        late = {"child": ["B", "C"], "group": ["C"], "tree": []}[target]
        asked = [line for line in it.err.splitlines() if "not asked yet:" in line]
        assert len(asked) == bool(late)
        named = asked[0].partition("not asked yet: ")[2].partition(" / ")[0] if asked else ""
        assert {name for name in "ABC" if f"pid {it.pids[name]} " in named} == set(late)
        assert (
            "to " + {"child": "every child", "group": "the process group", "tree": "every descendant"}[target] in it.err
        )


def test_a_process_that_a_step_reached_is_not_asked_again_when_it_is_adopted(run: Start) -> None:
    options = "-k TERM@tree:5,KILL --trace-states"
    with run(kid("A", "TERM=exit 0", "kid B,setsid,TERM=say,INT=exit 0"), options=options) as it:
        it.ready("A", "B")
        it.signal(signal.SIGTERM)
        it.hear("A TERM", "B TERM")
        wait_for(lambda: " already asked" in it.err)
        it.kill("B", signal.SIGINT)
        it.hear("B INT")
        assert it.end() == 0
