"""The names of signals are compared with the standard library, and the self-pipe runs on the real kernel."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from muinit import signals
from tests.cast.harness import kernel_says


def test_names_and_numbers_are_those_of_the_standard_library() -> None:
    for known in signal.Signals:
        assert signals.number(known.name) == known
        assert signals.number(known.name[3:].lower()) == known
        assert signals.name(known) == known.name
    assert frozenset(signal.valid_signals()) == signals.ALL


@pytest.mark.parametrize("number", sorted(signals.ALL))
def test_every_name_that_is_printed_can_be_typed(number: int) -> None:
    word = signals.name(number)
    assert signals.number(word.removeprefix("signal ")) == number


def test_signals_that_came_before_muinit_looked_are_kept() -> None:
    assert kernel_says("me(15, 1); k.catch([1, 15]); print(k.wait(0), k.wait(0))") == "[1, 15] []"


def test_pending_signals_come_lowest_number_first() -> None:
    """The kernel has the same order; it keeps TERM from overtaking a USR1 that was sent before it."""
    everything = "sorted(signal.valid_signals() - {9, 19, 18})"  # CONT discards a pending TSTP, and TSTP a pending CONT
    script = f"k.catch({everything}); me(*reversed({everything})); print(k.wait(0) == {everything}, k.wait(0))"
    assert kernel_says(script) == "True []"


def test_a_signal_sent_before_the_stop_is_taken_before_it() -> None:
    """Another process sends both signals while muinit waits, by two system calls in a row, sixty times."""
    script = (
        "k.catch([10, 15])\n"
        "wrong = 0\n"
        "for _ in range(60):\n"
        "    sender = os.fork()\n"
        "    if sender == 0:\n"
        "        os.kill(os.getppid(), 10); os.kill(os.getppid(), 15); os._exit(0)\n"
        "    got = []\n"
        "    while len(got) < 2: got += k.wait(5)\n"
        "    wrong += got != [10, 15]\n"
        "    os.waitpid(sender, 0)\n"
        "print(wrong)"
    )
    assert kernel_says(script) == "0"


def test_tens_of_thousands_of_queued_signals_are_all_taken() -> None:
    """As many are sent as the kernel queues: if the limit allows it, more than the 64 KiB that a pipe usually holds."""
    script = (
        "import resource\n"
        "k.catch([36])\n"
        "limit = resource.getrlimit(resource.RLIMIT_SIGPENDING)[0]\n"
        "sent = 0\n"
        "for _ in range(70000 if limit < 0 else min(70000, limit // 2)): os.kill(os.getpid(), 36); sent += 1\n"
        "got = k.wait(0)\n"
        "print(len(got) == sent, set(got), sent > 1000)"
    )
    assert kernel_says(script) == "True {36} True"


def test_a_signal_that_is_not_caught_stays_blocked() -> None:
    assert kernel_says("k.catch([1]); me(15, 1); print(k.wait(0), signal.sigpending() >= {15})") == "[1] True"


def test_real_time_signals_are_counted() -> None:
    assert kernel_says("k.catch([34]); me(34, 34, 34); print(k.wait(0))") == "[34, 34, 34]"


def test_waiting_ends_when_its_time_has_run_out() -> None:
    assert kernel_says("k.catch([1]); t = k.now(); print(k.wait(0.05), 0.05 <= k.now() - t < 5)") == "[] True"


def test_waiting_without_a_time_ends_with_a_signal() -> None:
    assert kernel_says("k.catch([14]); signal.setitimer(signal.ITIMER_REAL, 0.05); print(k.wait(None))") == "[14]"


def test_a_time_that_is_too_long_for_poll_is_not_an_error() -> None:
    script = "k.catch([14]); signal.setitimer(signal.ITIMER_REAL, 0.05); print(k.wait(float('inf')), k.wait(0))"
    assert kernel_says(script) == "[14] []"


def test_a_full_pipe_loses_no_signal() -> None:
    """If the pipe is full when TERM comes, the kernel drops its byte, but the signal is not lost."""
    script = (
        "import fcntl\n"
        "k.catch([1, 15])\n"
        "write_end = signal.set_wakeup_fd(-1); signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)\n"
        "while True:\n"
        "    try: os.write(write_end, bytes([1]) * 4096)\n"
        "    except BlockingIOError: break\n"
        "me(15)\n"
        "got = k.wait(0)\n"
        "print(set(got), got.count(15), k.wait(0))"
    )
    assert kernel_says(script) == "{1, 15} 1 []"


def test_closed_standard_descriptors_do_not_become_the_pipe() -> None:
    script = "k.catch([1]); print(os.dup(1) > 2)"
    argv = ["sh", "-c", 'exec "$@" 0<&- 2>&-', "sh", sys.executable, "-c"]
    prologue = "import os\nfrom muinit.kernel import Kernel\nk = Kernel([])\n"
    done = subprocess.run(
        [*argv, prologue + script.replace("os.dup(1) > 2", "k._self_pipe._read_end > 2")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "True"
