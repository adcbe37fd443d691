"""muinit runs in unusual places. A test makes each place in a namespace of its own."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.cast.harness import AS_INIT, MUINIT, PATIENCE, ROOT, UNSHARE, Run, kid, status, wait_for
from tests.conftest import need, why_no_namespace

PID1 = [*UNSHARE, "--mount", "--pid", "--fork", "--kill-child"]
PROCESS = [*UNSHARE, "--mount"]
NO_PROC = "mount -t tmpfs none /proc"
# If the project itself lies in /tmp, it must stay visible.
NO_TMP = "mount -t tmpfs -o ro none /tmp"
if ROOT.is_relative_to("/tmp"):
    NO_TMP = "mount --bind /tmp /tmp; mount -o remount,bind,ro /tmp"
PLACES = {
    "no /proc": NO_PROC,
    "a /proc of another namespace": "true",
    "hidepid=2": "mount -t proc -o hidepid=2 proc /proc",
    "no children file": "mount -t proc proc /proc; mount -t tmpfs none /proc/$$/task/$$",
    "read-only root, no /tmp": f"mount -t proc proc /proc; {NO_TMP}; mount -o remount,bind,ro /",
    "no /dev": "mount -t proc proc /proc; mount -t tmpfs -o ro none /dev",
    "an ordinary user": 'mount -t proc proc /proc; set -- unshare --user --map-user=1000 --map-group=1000 "$@"',
    "no capabilities": 'mount -t proc proc /proc; set -- setpriv --bounding-set=-all --inh-caps=-all "$@"',
}
BLIND = {"no /proc", "a /proc of another namespace"}
WARNING = (
    "muinit: warning: no /proc of our PID namespace: orphans that left the group of their command are not stopped, "
    "and only commands are asked to stop before SIGKILL; mount proc on /proc\n"
)


def within(place: str, namespaces: list[str]) -> list[str]:
    """A prefix that runs the rest of the command line in this place."""
    return [*namespaces, "sh", "-ec", f'{PLACES[place]}; exec "$@"', "sh"]


@cache
def why_no_place(place: str) -> str:
    """Why this place cannot be made here, or "" if it can. Containers refuse some mounts even to root."""
    done = subprocess.run([*within(place, PID1), "true"], capture_output=True, text=True, check=False)
    return done.stderr.strip()


@pytest.fixture(autouse=True)
def _namespaces() -> None:
    need("a PID namespace", why_no_namespace())


@pytest.fixture(params=[place for place in PLACES if place != "no /dev"])
def place(request: pytest.FixtureRequest) -> str:
    need(request.param, why_no_place(request.param))
    return str(request.param)


def without_kill() -> list[str]:
    """A prefix that takes CAP_KILL away, so that muinit may not signal a child with another uid."""
    need("another uid", "" if os.geteuid() == 0 else "only root can give one to a child")
    return ["setpriv", "--bounding-set=-kill", "--inh-caps=-all"]


def test_it_starts_forwards_and_stops(place: str) -> None:
    with Run(kid("A", "INT=say"), kid("B", "INT=say", "TERM=exit 0"), prefix=within(place, PID1)) as it:
        it.ready("A", "B")
        it.signal(signal.SIGINT)
        it.hear("A INT", "B INT")
        it.signal(signal.SIGTERM)
        it.hear("B TERM")
        assert it.end() == 143
        assert it.err.startswith(WARNING) == (place in BLIND)
        assert it.err.count("warning") <= 1


def test_output_is_labelled(place: str) -> None:
    commands = [["--name", "a", *kid("A", "TERM=exit 0")], ["--name", "b", *kid("B", "TERM=exit 3")]]
    with Run(*commands, options="--label -t 60", prefix=within(place, PID1)) as it:
        assert sorted(it.line().rpartition(" ")[0] for _ in "AB") == ["a | A ready", "b | B ready"]
        it.signal(signal.SIGTERM)
        it.hear("a | A TERM", "b | B TERM")
        assert it.end() == 3


def test_an_orphan_outlives_its_labelled_command(place: str, tmp_path: Path) -> None:
    outlives(place, PID1, tmp_path)


def test_an_orphan_outlives_its_labelled_command_without_proc_in_an_ordinary_process(tmp_path: Path) -> None:
    outlives("no /proc", PROCESS, tmp_path)


def outlives(place: str, namespaces: list[str], tmp_path: Path) -> None:
    """Whether it still has the pipe, or has closed its output as daemons do: muinit waits for it, and loses nothing."""
    quiet = f"setsid sh -c 'sleep 0.4; echo done >{tmp_path}/F' >/dev/null 2>&1 &"
    loud = "setsid sh -c 'sleep 0.2; echo x' &"
    script = f"trap '' TERM; {quiet} {loud} exit 0"
    argv = [*within(place, namespaces), *MUINIT, "--label", "-t", "60", "---", "sh", "-c", script]
    tmp_path.chmod(0o777)
    done = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stdout) == (0, "sh | x\n"), done.stderr
    if place in BLIND:
        assert (tmp_path / "F").read_text() == "done\n"


def test_an_orphan_in_its_commands_group_gets_the_step(place: str) -> None:
    commands = kid("A", "kid C,TERM=say,USR1=exit 0", "USR1=exit 3"), kid("B", "TERM=exit 0")
    with Run(*commands, options="-t 60", prefix=within(place, PID1)) as it:
        it.ready("A", "B", "C")
        it.kill("A", signal.SIGUSR1)
        it.hear("A USR1", "B TERM", "C TERM")
        it.kill("C", signal.SIGUSR1)
        it.hear("C USR1")
        assert it.end() == 3


def test_sigkill_reaches_groups_and_trees(place: str) -> None:
    rules = "TERM=ignore"
    escaped = "" if place in BLIND else f"orphan D,{rules},setsid"
    command = kid("A", f"kid B,{rules}", f"orphan C,{rules}", *([escaped] if escaped else []), rules)
    with Run(command, options="-t 0.1", prefix=within(place, PID1)) as it:
        it.ready("A", "B", "C", *(["D"] if escaped else []))
        it.signal(signal.SIGTERM)
        assert it.end() == 137


def test_without_proc_muinit_gives_up_on_an_orphan_out_of_reach() -> None:
    """The orphan cannot be listed, so muinit cannot name it; the kernel kills it when PID 1 exits."""
    with Run(kid("A", "orphan B,setsid", "TERM=exit 0"), options="-t 1", prefix=within("no /proc", PID1)) as it:
        it.ready("A", "B")
        it.signal(signal.SIGTERM)
        it.hear("A TERM")
        assert it.end() == 1
        assert ": a process that cannot be identified; " in it.err


def test_it_stops_as_an_ordinary_process_without_proc() -> None:
    with Run(kid("A", "kid B,TERM=ignore", "TERM=ignore"), options="-t 0.1", prefix=within("no /proc", PROCESS)) as it:
        it.ready("A", "B")
        it.signal(signal.SIGTERM)
        assert it.end() == 137


def test_an_empty_device_directory_is_not_an_error() -> None:
    with Run(kid("A"), kid("B"), prefix=within("no /dev", PID1)) as it:
        it.ready("A", "B")
        it.signal(signal.SIGTERM)
        assert it.end() == 143


def test_a_child_that_changed_its_uid_causes_one_warning_and_is_named() -> None:
    """Without CAP_KILL muinit gets EPERM at each step, because the child has another uid."""
    without = without_kill()
    other = ["setpriv", "--reuid=65534", "--clear-groups", "sh", "-c", "echo A ready $$; exec sleep 60"]
    with Run(
        other,
        options="-k TERM,HUP,KILL -t 0.1",
        prefix=[*PID1, "sh", "-c", 'mount -t proc proc /proc; exec "$@"', "sh", *without],
    ) as it:
        it.ready("A")
        it.signal(signal.SIGTERM)
        assert it.end() == 1
        who = f"pid {it.pids['A']} (sleep, state S)"
        assert it.err.count(f"warning: not permitted to signal {who}") == 1
        assert f"(SIGKILL): {who}" in it.err


def test_a_child_that_changed_its_uid_does_not_break_suspend_and_resume() -> None:
    without = without_kill()
    other = ["setpriv", "--reuid=65534", "--clear-groups", "sh", "-c", "echo A ready $$; exec sleep 60"]
    with Run(other, kid("B", "INT=say"), options="-k HUP -t 0", prefix=without) as it:
        it.ready("A", "B")
        it.signal(signal.SIGTSTP)
        it.signal(signal.SIGCONT)
        it.signal(signal.SIGINT)
        it.hear("B INT")
        it.signal(signal.SIGTERM)
        assert it.process.wait(20) == 1
        assert "internal error" not in it.err
        it.kill("A", signal.SIGKILL)
        wait_for(lambda: not it.survivors())


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "60"])
    yield process
    process.kill()
    process.wait()


@pytest.mark.parametrize("trap", ["", "trap : TERM; ", "trap '' TERM; "], ids=["deaf", "traps", "ignores"])
def test_a_shell_that_is_pid_1_and_leaves_sigterm_to_the_kernel_causes_a_warning(trap: str) -> None:
    """`ENTRYPOINT muinit ...` makes such a shell. A shell that does something about SIGTERM causes none."""
    need("a PID namespace", why_no_namespace())
    script = f"{trap}{MUINIT[0]} --- true; exit 5"
    done = subprocess.run([*AS_INIT, "sh", "-c", script], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 5
    lost = "PID 1 (sh) does not handle SIGTERM, so stopping the container does not reach muinit"
    cure = "start muinit with 'exec muinit', or use ENTRYPOINT [\"muinit\", ...] without a shell"
    assert done.stderr == ("" if trap else f"muinit: warning: {lost}; {cure}\n")


def test_a_kernel_that_tells_less_of_a_process_stops_nothing(tmp_path: Path) -> None:
    """GVisor's /proc/PID/status has no line about signals."""
    need("a PID namespace", why_no_namespace())
    script = (
        f"grep -v ^Sig /proc/1/status >{tmp_path}/status; mount --bind {tmp_path}/status /proc/1/status; "
        f"{MUINIT[0]} --- true; exit 5"
    )
    argv = [*UNSHARE, "--mount", "--mount-proc", "--pid", "--fork", "--kill-child", "sh", "-c", script]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stderr) == (5, "")


def test_in_a_shared_pid_namespace_only_descendants_are_touched(bystander: subprocess.Popen[bytes]) -> None:
    with Run(kid("X")) as other, Run(kid("A", "TERM=ignore"), options="-t 0.1") as it:
        other.ready("X")
        it.ready("A")
        it.signal(signal.SIGTERM)
        assert it.end() == 137
        assert bystander.poll() is None
        wait_for(lambda: status(other.pids["X"])["State"].startswith("S"))
        other.signal(signal.SIGTERM)
        assert other.end() == 143
