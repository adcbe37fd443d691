"""`env --block-signal muinit --unblock`: no signal is lost, not even while Python starts."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cast.harness import AS_INIT, MUINIT, Run, kid
from tests.process.test_isolation import CLEAN, PYTHON, said

Start = Callable[..., Run]

BLOCKED = ["env", "--block-signal"]
STOP_ME = ["sh", "-c", 'kill -TERM $$; exec "$@"', "sh"]
SITECUSTOMIZE = "import os, signal; os.kill(os.getpid(), signal.SIGTERM)\n"  # Python imports it while it starts


def start(prefix: list[str], options: str, *, pid1: bool, env: dict[str, str] | None = None) -> Run:
    command = ["sh", "-c", "echo ready; exec sleep 60"]
    return Run(command, options=options, prefix=[*(AS_INIT if pid1 else []), *prefix], env=env or CLEAN)


def test_a_sigterm_that_came_before_python_started_stops_the_commands_in_steps(pid1: bool) -> None:
    with start([*BLOCKED, *STOP_ME], "-v --unblock", pid1=pid1) as it:
        assert it.end() == 143
        assert "muinit: told to stop by SIGTERM\nmuinit: step 1 of 2: SIGTERM, SIGCONT to every child" in it.err


def test_a_sigterm_that_comes_while_python_starts_stops_the_commands_in_steps(tmp_path: Path, pid1: bool) -> None:
    """The mask survives another start of Python too, which a sitecustomize makes necessary."""
    (tmp_path / "sitecustomize.py").write_text(SITECUSTOMIZE)
    with start(BLOCKED, "-v --unblock", pid1=pid1, env={**CLEAN, "PYTHONPATH": str(tmp_path)}) as it:
        assert it.end() == 143
        assert "muinit: told to stop by SIGTERM\nmuinit: step 1 of 2: SIGTERM, SIGCONT to every child" in it.err


def test_without_env_that_sigterm_is_lost(tmp_path: Path, pid1: bool) -> None:
    """The kernel drops it if Python is PID 1. Any other process dies of it, before it has started anything."""
    (tmp_path / "sitecustomize.py").write_text(SITECUSTOMIZE)
    with start([], "-v", pid1=pid1, env={**CLEAN, "PYTHONPATH": str(tmp_path)}) as it:
        if pid1:
            assert it.line() == "ready"
            assert "told to stop" not in it.err
            it.signal(signal.SIGTERM)
        assert it.end() == 143
        assert ("started pid" in it.err) == pid1


@pytest.mark.parametrize("where", ["the command line", "MUINIT_OPTIONS"])
@pytest.mark.parametrize("again", [{}, {"PYTHONPATH": "/nowhere"}], ids=["", "again"])
def test_the_commands_start_with_nothing_blocked(again: dict[str, str], where: str, pid1: bool) -> None:
    """That holds if Python had to be started again, too."""
    options = ["--unblock"] if where == "the command line" else []
    env = {**CLEAN, **again, **({} if options else {"MUINIT_OPTIONS": "--unblock"})}
    prefix = [*(AS_INIT if pid1 else []), *BLOCKED, *MUINIT]
    done = said(prefix, *options, "---", "grep", "SigBlk", "/proc/self/status", code=0, env=env)
    assert (done.stdout, done.stderr) == ("SigBlk:\t0000000000000000\n", "")


@pytest.mark.parametrize(
    ("prefix", "options", "told"), [(BLOCKED, "--unblock", "SIGUSR1"), (["env", "--block-signal=USR1"], "", "SIGTERM")]
)
def test_no_signal_counts_as_blocked_by_the_caller(prefix: list[str], options: str, told: str) -> None:
    """A USR1 that the caller of muinit has blocked does nothing; with --unblock it stops muinit."""
    with Run(kid("A", "TERM=exit 3"), options=options, prefix=prefix) as it:
        it.ready("A")
        it.signal(signal.SIGUSR1)
        if told == "SIGTERM":
            it.signal(signal.SIGTERM)
        assert it.end() == 3
        assert f"; {told} had told muinit to stop" in it.err


def test_pid_1_mentions_a_signal_that_was_blocked_for_unblock() -> None:
    with Run(kid("A", "TERM=exit 0"), options="--unblock", prefix=[*AS_INIT, *BLOCKED]) as it:
        it.ready("A")
        it.signal(signal.SIGHUP)
        it.signal(signal.SIGTERM)
        assert it.end() == 0
        assert it.err.startswith("muinit: warning: ignored SIGHUP, because muinit is PID 1 and no option names it")


WARNING = (
    "muinit: warning: muinit was started with {} blocked, and so are its commands: they may not stop when asked; "
    "use --unblock to start them with no signal blocked\n"
)


@pytest.mark.parametrize(
    ("blocked", "options", "named"),
    [
        ("TERM", [], "SIGTERM"),
        ("TERM", ["-q", "-k", "INT,KILL"], "SIGTERM"),
        ("INT,TERM,USR1", ["-k", "INT,KILL"], "SIGINT, SIGTERM"),
        ("INT,USR1", [], ""),
        ("INT,TERM", ["--unblock"], ""),
    ],
)
def test_a_blocked_sigterm_is_warned_of(blocked: str, options: list[str], named: str) -> None:
    """Its commands are deaf to it, and must be killed. One line says the cause and the cure."""
    done = said(["env", f"--block-signal={blocked}", PYTHON, "-I", "-m", "muinit"], *options, "---", "true", code=0)
    assert done.stderr == (WARNING.format(named) if named else "")


def test_muinit_itself_obeys_a_sigterm_that_its_caller_has_blocked(run: Start) -> None:
    """Its commands do not, so it has to kill them."""

    def block() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])

    with run(["sleep", "60"], options="-t 0.1", preexec_fn=block) as it:
        it.signal(signal.SIGTERM)
        assert it.end() == 137
        assert it.err.startswith(WARNING.format("SIGTERM"))
