"""Signals that arrive while muinit starts: muinit always ends, and nothing survives."""

from __future__ import annotations

import signal

import pytest

from tests.conftest import need, why_no_namespace
from tests.tools.early import Fate, early

DELAYS = range(0, 51, 2)  # milliseconds after the start


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_early_signal(number: int) -> None:
    """A signal kills Python before muinit's first line, when nothing has been started, and is kept from then on."""
    for delay in DELAYS:
        fate = early(number, delay, pid1=False)
        assert fate in {Fate.KILLED, Fate.KEPT} or number == signal.SIGINT  # Python may drop a SIGINT while it starts


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_early_signal_to_pid_1(number: int) -> None:
    """Before muinit's first line the kernel drops it (PID 1 has no default actions); a second signal ends muinit."""
    need("a PID namespace", why_no_namespace())
    for delay in DELAYS:
        early(number, delay, pid1=True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_early_signal_after_env_to_pid_1(number: int) -> None:
    """Once env has blocked all signals, each one is kept. Before that, the kernel drops it; a second one is kept."""
    need("a PID namespace", why_no_namespace())
    for delay in DELAYS:
        assert early(number, delay, pid1=True, blocked=True) is not Fate.KILLED
