"""A signal that comes while muinit starts: it always ends, and nothing survives."""

from __future__ import annotations

import signal
import time

import pytest

from tests.conftest import need, why_no_namespace
from tests.harness import Run, kid

DELAYS = range(0, 51, 2)  # milliseconds after the start


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_early_signal(number: int) -> None:
    """Before Python runs our first line the signal kills it, and nothing was started; from then on it is kept."""
    for delay in DELAYS:
        with Run(kid("A"), options="-q") as it:
            time.sleep(delay / 1000)
            it.signal(number)
            assert it.end() in (143, 128 + number), f"after {delay} ms"


def test_early_signal_to_pid_1() -> None:
    """Before Python runs our first line the kernel drops it (PID 1 has no default actions): a second one must do."""
    need("a PID namespace", why_no_namespace())
    for delay in DELAYS:
        with Run(kid("A", "INT=say"), options="-q", pid1=True) as it:
            init = it.init
            time.sleep(delay / 1000)
            try:
                it.signal(signal.SIGTERM)
                it.ready("A")
                it.signal(signal.SIGTERM)
            except (AssertionError, OSError, ValueError, IndexError):
                pass  # it ended before A was ready, or before the second
            assert it.end() == 143, f"after {delay} ms, pid {init}"
