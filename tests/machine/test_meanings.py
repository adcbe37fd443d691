"""What each signal means: the rule is written a second time here, and checked on the kernel and in real runs."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from itertools import product

import pytest

from muinit import signals
from statechart.meanings import (
    FORWARD,
    NOTHING,
    REAP,
    RESUME,
    SHIELDED,
    STOP,
    SUSPEND,
    cannot_be_forwarded,
    cannot_stop,
    meaning,
    meanings,
)
from tests.cast.harness import PATIENCE, Run, kid

Start = Callable[..., Run]

NUMBERS = signals.by_name()
NEVER = {"SIGKILL", "SIGSTOP", "SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGTRAP", "SIGSYS", "SIGABRT"}
ALWAYS = {"SIGTERM": STOP, "SIGCONT": RESUME, "SIGCHLD": REAP}
NOT_DEADLY = {"SIGURG", "SIGWINCH", "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGPIPE", "SIGXFSZ"}  # for muinit
DEFAULT_STOPS = {"SIGQUIT", "SIGPWR", "SIGRTMIN+3"}


def expected(
    name: str,
    *,
    forward: str,
    named: str,
    stop_on: str,
    init: bool,
    terminal: bool,
    ignored: bool,
    blocked: bool,
) -> str:
    """The meaning by docs/design.md, rule 5. `forward`, `named` and `stop_on` are "", this signal, or another one."""
    if name in NEVER:
        return NOTHING
    if name in ALWAYS:
        return ALWAYS[name]
    if name == stop_on:
        return STOP
    if name in (forward, named):
        return FORWARD
    if ignored:
        return NOTHING
    if name == "SIGINT" and not forward:
        return FORWARD
    if name in DEFAULT_STOPS and not stop_on:
        return STOP
    if blocked:
        return NOTHING
    if name == "SIGTSTP" and not init:
        return SUSPEND
    if name in NOT_DEADLY and not (name == "SIGWINCH" and init and not terminal):
        return NOTHING
    return SHIELDED if init else STOP


@pytest.mark.parametrize("name", NUMBERS)
def test_every_signal_in_every_case(name: str) -> None:
    other = "SIGUSR2" if name != "SIGUSR2" else "SIGUSR1"
    for forward, named, stop_on in product(("", name, other), repeat=3):
        for init, terminal, ignored, blocked in product((False, True), repeat=4):
            if name == stop_on in (forward, named):
                continue  # the command line refuses it
            case = {"init": init, "terminal": terminal, "ignored": ignored, "blocked": blocked}
            found = meaning(
                name,
                NUMBERS[name],
                forward=[NUMBERS[forward]] if forward else [],
                stop_on=[NUMBERS[stop_on]] if stop_on else [],
                named=[NUMBERS[named]] if named else [],
                init=init,
                terminal=terminal,
                ignored=ignored,
                blocked=blocked,
            )
            wanted = expected(name, forward=forward, named=named, stop_on=stop_on, **case)
            assert found == wanted, (forward, named, stop_on, case)


def test_rtmin_plus_3_is_number_37() -> None:
    """Container engines (Moby) send number 37 for RTMIN+3, even if the image's C library has another name for it."""
    assert signals.number("RTMIN+3") == 37
    assert meaning("SIGRTMIN+2", 37, init=True) == STOP


@pytest.mark.parametrize("name", NUMBERS)
def test_the_signals_that_the_options_refuse(name: str) -> None:
    assert bool(cannot_be_forwarded(name)) == (name in NEVER | {"SIGCHLD"})
    assert bool(cannot_stop(name)) == (name in NEVER | {"SIGCHLD", "SIGCONT"})


def test_what_pid_1_is_shielded_from_kills_other_processes() -> None:
    """A process without handlers dies of the signals that PID 1 is shielded from, and of few others."""
    found = meanings(NUMBERS, [NUMBERS["SIGURG"]], [NUMBERS["SIGURG"]], init=True)
    for number, what in found.items():
        name = signals.name(number)
        if name in {"SIGSTOP", "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGURG", "SIGWINCH"}:
            continue
        kid = subprocess.Popen(["sleep", "60"])
        kid.send_signal(number)
        deadly = what == SHIELDED or name in NEVER | {"SIGTERM", "SIGPIPE", "SIGXFSZ"}
        if not deadly:
            kid.kill()
        assert kid.wait(PATIENCE) == -(number if deadly else signal.SIGKILL), name


# Real runs


@pytest.mark.parametrize("name", ["TERM", "QUIT", "PWR", "RTMIN+3"])
def test_the_signals_that_stop_by_default(run: Start, name: str) -> None:
    """The signals with which images and LXC stop a container start the steps, also if muinit is PID 1."""
    with run(kid("A", "TERM=exit 0"), kid("B", "TERM=exit 5")) as it:
        it.ready("A", "B")
        it.signal(signals.number(name))
        it.hear("A TERM", "B TERM")
        assert it.end() == 5
        assert f"SIG{name} had told muinit to stop" in it.err


@pytest.mark.parametrize("name", ["INT", "WINCH", "USR1", "HUP", "RTMIN+1", "ALRM", "URG", "TSTP", "PIPE", "RTMAX"])
def test_a_signal_that_stop_on_names_stops(run: Start, name: str) -> None:
    """Stop signals differ: `docker stop` sends WINCH to httpd's image, USR1 to haproxy's; Fly.io and Nomad send INT."""
    with run(kid("A", "INT=say"), options=f"--stop-on {name}") as it:
        it.ready("A")
        it.signal(signals.number(name))
        assert it.end() == 143, "it dies of TERM, and it was told to"


@pytest.mark.parametrize("name", ["QUIT", "PWR", "RTMIN+3", "ALRM", "WINCH"])
def test_a_forwarded_signal_does_not_stop(run: Start, name: str) -> None:
    with run(kid("A", f"{name}=say", "TERM=exit 0"), options=f"-s {name}") as it:
        it.ready("A")
        it.signal(signals.number(name))
        it.hear(f"A {name}")
        it.signal(signal.SIGTERM)
        it.hear("A TERM")
        assert it.end() == 0


def test_naming_a_signal_replaces_the_default() -> None:
    with Run(kid("A", "TERM=exit 0"), options="--stop-on WINCH", pid1=True) as it:
        it.ready("A")
        it.signal(signal.SIGQUIT)
        it.signal(signal.SIGWINCH)
        it.hear("A TERM")
        assert it.end() == 0
        assert "ignored SIGQUIT" in it.err


def test_pid_1_says_once_what_it_ignores() -> None:
    with Run(kid("A", "TERM=exit 0", "USR2=say"), options="-s USR2", pid1=True) as it:
        it.ready("A")
        for number in (signal.SIGHUP, signal.SIGHUP, signal.SIGUSR1, signal.SIGINT, signal.SIGWINCH, signal.SIGHUP):
            it.signal(number)
            it.signal(signal.SIGUSR2)
            it.hear("A USR2")  # so muinit has seen the signal before it
        it.signal(signal.SIGTERM)
        it.hear("A TERM")
        assert it.end() == 0
        said = [line.partition(",")[0] for line in it.err.splitlines()]
        assert said == [f"muinit: warning: ignored SIG{name}" for name in ("HUP", "USR1", "INT", "WINCH")]
        assert "-s HUP forwards it, --stop-on HUP stops the commands" in it.err


@pytest.mark.parametrize("how", ["ignored", "blocked"])
def test_pid_1_does_not_mention_what_its_caller_ignored_or_blocked(how: str) -> None:
    def unwanted() -> None:
        if how == "ignored":
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
        else:
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])

    with Run(kid("A", "TERM=exit 0", "INT=say"), pid1=True, preexec_fn=unwanted) as it:
        it.ready("A")
        it.signal(signal.SIGHUP)
        it.signal(signal.SIGINT)
        it.hear("A INT")
        it.signal(signal.SIGTERM)
        it.hear("A TERM")
        assert it.end() == 0
        assert it.err == ""


def test_a_signal_that_the_caller_ignores_counts_only_if_it_is_named(run: Start) -> None:
    """A shell without job control starts `muinit &` with INT and QUIT ignored, and the defaults respect that."""

    def ignore() -> None:
        signal.signal(signal.SIGQUIT, signal.SIG_IGN)

    with run(kid("A", "TERM=exit 0", "INT=say"), preexec_fn=ignore) as it:
        it.ready("A")
        it.signal(signal.SIGQUIT)
        it.signal(signal.SIGINT)
        it.hear("A INT")
        it.signal(signal.SIGTERM)
        it.hear("A TERM")
        assert it.end() == 0
    with run(kid("A", "TERM=exit 0"), options="--stop-on QUIT", preexec_fn=ignore) as it:
        it.ready("A")
        it.signal(signal.SIGQUIT)
        it.hear("A TERM")
        assert it.end() == 0


def test_a_signal_forwarded_before_the_stop_is_not_lost(run: Start) -> None:
    """If USR1 and TERM come together, A acts on USR1 first, because the kernel delivers the lower number first."""
    for _ in range(10):
        with run(kid("A", "USR1=say", "TERM=exit 0"), options="-s USR1") as it:
            it.ready("A")
            it.signal(signal.SIGUSR1)
            it.signal(signal.SIGTERM)
            it.hear_in_order("A USR1", "A TERM")
            assert it.end() == 0
