"""When something runs out, muinit never hangs, loses no exit status and leaves no process behind."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cast.harness import MUINIT, PATIENCE, Run, kid, tagged, wait_for
from tests.conftest import need

PIDS = Path("/sys/fs/cgroup/pids")


def test_fork_fails_for_the_third_of_five_commands() -> None:
    """At the process limit of a cgroup, which container engines set, fork fails with EAGAIN."""
    need(
        "a pids cgroup",
        "" if os.access(PIDS, os.W_OK) and (PIDS / "cgroup.procs").exists() else f"no {PIDS} to write to",
    )
    group = PIDS / f"muinit-test-{os.getpid()}"
    group.mkdir()
    try:
        (group / "pids.max").write_text("3\n")  # muinit and two commands
        enter = ["sh", "-c", 'echo $$ > "$0"/cgroup.procs; exec "$@"', str(group)]
        commands = [kid(name, "TERM=exit 0") for name in "ABCDE"]
        with Run(*commands, prefix=enter) as it:
            assert it.end() == 126
            assert (
                f"({' '.join(commands[2])[:37]}...) could not be executed: Resource temporarily unavailable" in it.err
            )
            assert it.err.count("was not started") == 2
    finally:
        group.rmdir()


@pytest.mark.parametrize("limit", range(3, 14))
def test_no_descriptors_left(limit: int) -> None:
    """Whatever the limit, muinit works or says that it cannot; it never hangs and leaves no process behind."""

    def scarce() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))

    with Run(["sh", "-c", "sleep 0.1 & sleep 60"], ["sh", "-c", "sleep 0.2; exit 7"], preexec_fn=scarce) as it:
        code = it.end()
        assert code == 7 or (code in (1, 126, 127) and it.err), (code, it.err)
        if limit > 10:
            assert code == 7


def test_a_hundred_thousand_signals_in_a_burst() -> None:
    with Run(kid("A", "USR1=ignore", "INT=say", "TERM=exit 3"), options="-s USR1,INT") as it:
        it.ready("A")
        for _ in range(50_000):
            os.kill(it.process.pid, signal.SIGUSR1)
        it.signal(signal.SIGINT)
        for _ in range(50_000):
            os.kill(it.process.pid, signal.SIGUSR1)
        it.hear("A INT")
        it.signal(signal.SIGTERM)
        it.hear("A TERM")
        assert it.end() == 3


ORPHANS = 10_000
# Each orphan is a fork of a small shell, without exec. It waits for a writer that never comes.
LITTER = f"i=0; while [ $i -lt {ORPHANS} ]; do ( (read x < fifo) & ); i=$((i + 1)); done; exit 5"


def test_ten_thousand_orphans(tmp_path: Path) -> None:
    """The command leaves them behind while it runs; when it ends, all of them get SIGTERM."""
    os.mkfifo(tmp_path / "fifo")
    with Run(["sh", "-c", LITTER], options="-t 60 --trace-states", cwd=tmp_path) as it:
        assert it.process.wait(280) == 5
        assert not tagged(it.tag)
        assert "timeout" not in it.err


# Forks and exits forever, and ignores SIGTERM. A pid that was read from a list is dead by the time it is signalled.
COMET = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.setsid() if os.fork() == 0 else os._exit(0)
end = time.monotonic() + 60  # whatever becomes of the test
while time.monotonic() < end:
    if os.fork():
        os._exit(0)
"""


def test_a_process_that_forks_faster_than_it_can_be_listed_is_killed(pid1: bool) -> None:
    with Run([sys.executable, "-I", "-S", "-c", COMET], options="-t 0.2", pid1=pid1) as it:
        assert it.end() == 0


def test_a_daemon_that_keeps_stdout_open_does_not_make_muinit_wait() -> None:
    with Run(kid("A", "orphan B,TERM=ignore,setsid", "TERM=exit 0"), options="-k TERM -t 1") as it:
        it.ready("A", "B")
        it.signal(signal.SIGTERM)
        assert it.process.wait(PATIENCE) == 1
        assert f"(SIGTERM): pid {it.pids['B']} (" in it.err
        os.kill(it.pids["B"], signal.SIGKILL)
        wait_for(lambda: not it.survivors())


def test_muinit_under_nohup_ignores_hup() -> None:
    """The caller ignores HUP, so it neither stops muinit nor reaches the commands, which start with HUP ignored."""
    argv = ["nohup", *MUINIT, "---", *kid("A", "INT=say", "TERM=exit 4")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline().split()[2])
        process.send_signal(signal.SIGHUP)
        os.kill(pid, signal.SIGHUP)
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == b"A INT\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == b"A TERM\n"
        assert process.wait(PATIENCE) == 4
