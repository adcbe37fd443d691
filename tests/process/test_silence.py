"""When muinit prints the last line: its kills are never silent, mistakes are explained, an orderly end is silent."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from muinit import oom
from tests.cast.harness import MUINIT, PATIENCE, Run, kid, wait_for
from tests.conftest import need

Start = Callable[..., Run]


def test_a_command_that_had_to_be_killed_is_reported_at_exit_0(run: Start) -> None:
    with run(kid("A", "USR1=exit 0"), kid("B", "TERM=say"), options="-t 1") as it:
        it.ready("A", "B")
        it.kill("A", signal.SIGUSR1)
        it.hear("A USR1", "B TERM")
        assert it.end() == 0
        assert re.fullmatch(r"muinit: exit 0: no command failed; .* died of muinit's SIGKILL \(137\), .*\n", it.err)


def test_an_orphan_that_had_to_be_killed_is_named(run: Start) -> None:
    with run(kid("A", "orphan B,TERM=say", "TERM=exit 0"), options="-t 1") as it:
        it.ready("A", "B")
        it.stop("A", "B")
        name = rf"pid {it.pids['B']} \(python[\d.]*\)"
        assert re.search(rf"; muinit's SIGKILL ended {name}, which had been asked to stop$", it.err.rstrip())


def test_many_orphans_are_counted(run: Start) -> None:
    orphans = [f"orphan B{n},TERM=ignore" for n in range(8)]
    with run(kid("A", *orphans, "TERM=exit 0"), options="-t 1") as it:
        it.ready("A", *(f"B{n}" for n in range(8)))
        it.stop("A")
        assert re.search(r"SIGKILL ended (pid \d+ \(python[\d.]*\)(, )?){5} and 3 more, which", it.err)


@pytest.mark.parametrize("options", ["-k KILL", "-q -t 0.1"])
def test_a_kill_is_silent_if_the_user_asked_for_that(run: Start, options: str) -> None:
    """With -k KILL the user has chosen the kill, so it is no news; -q silences everything."""
    with run(kid("A", "USR1=exit 0"), kid("B", "TERM=ignore"), options=options) as it:
        it.ready("A", "B")
        it.kill("A", signal.SIGUSR1)
        it.hear("A USR1")
        assert it.end() == 0
        assert it.err == ""


def test_an_orderly_end_is_silent(run: Start) -> None:
    """Orphans that were asked to stop and did so are not reported either."""
    with run(kid("A", "USR1=exit 0"), kid("B", "orphan C", "orphan D,TERM=exit 3", "TERM=exit 0")) as it:
        it.ready("A", "B", "C", "D")
        it.kill("A", signal.SIGUSR1)
        it.hear("A USR1", "B TERM", "D TERM")
        assert it.end() == 0
        assert it.err == ""


# A command that goes to the background


@pytest.mark.parametrize("options", ["", "-v", "--trace-states"])
def test_a_daemon_in_the_background_is_explained(run: Start, options: str) -> None:
    """Like nginx without "daemon off", the command exits with 0, and everything is stopped."""
    with run(kid("A", "kid B,TERM=exit 0", "USR1=exit 0"), options=options) as it:
        it.ready("A", "B")
        it.kill("A", signal.SIGUSR1)
        it.hear("A USR1", "B TERM")
        assert it.end() == 0
        last = it.err.splitlines()[-1]
        assert last.startswith("muinit: exit 0: no command failed; ")
        assert f"(it may have gone to the background, because it left pid {it.pids['B']} (python" in last
        assert "; a command must stay in the foreground)" in last


def test_a_daemon_that_leaves_its_session_is_explained_too(run: Start) -> None:
    with run(["setsid", "-f", "sleep", "60"]) as it:
        assert it.end() == 0
        assert "may have gone to the background, because it left pid" in it.err


def test_an_orphan_that_was_there_before_is_not_blamed_on_a_later_end(run: Start) -> None:
    with run(kid("A", "orphan B", "TERM=exit 0"), kid("C", "USR1=exit 0"), options="--trace-states") as it:
        it.ready("A", "B", "C")

        def adopted() -> bool:
            it.signal(signal.SIGCONT)  # muinit looks for orphans when it wakes
            return "orphans_adopted" in it.err

        wait_for(adopted)
        it.kill("C", signal.SIGUSR1)
        it.hear("C USR1", "A TERM")
        assert it.end() == 0
        assert "background" not in it.err


def test_an_orphan_of_a_living_command_is_not_blamed_on_another(run: Start) -> None:
    """The orphan is in the process group of A, so C did not leave it behind."""
    script = """trap 'sh -c "sleep 60 &"; echo A has one' USR2; echo A ready $$; while :; do sleep 60 & wait; done"""
    with run(["sh", "-c", script], kid("C", "USR1=exit 0")) as it:
        it.ready("A", "C")
        it.kill("A", signal.SIGUSR2)
        it.hear("A has one")
        it.kill("C", signal.SIGUSR1)
        it.hear("C USR1")
        assert it.end() == 0
        assert it.err == ""


@pytest.mark.parametrize("options", [[], ["--trace-file", "/dev/null"]])
def test_a_child_inherited_from_the_caller_is_not_blamed_on_a_command(options: list[str]) -> None:
    """With a trace, muinit looks at its children earlier."""
    argv = ["sh", "-c", 'sleep 60 & exec "$@"', "sh", *MUINIT, *options, "---", "true"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_no_command_is_blamed_if_muinit_was_told_to_stop(run: Start) -> None:
    with run(kid("A", "TERM=exit 0", "kid B,TERM=exit 0")) as it:
        it.ready("A", "B")
        it.stop("A", "B")
        assert it.err == ""


def test_a_command_that_fails_is_not_said_to_be_in_the_background(run: Start) -> None:
    with run(kid("A", "kid B", "USR1=exit 3")) as it:
        it.ready("A", "B")
        it.kill("A", signal.SIGUSR1)
        it.hear("A USR1")
        assert it.end() == 3
        assert "background" not in it.err


# An OOM kill

CGROUP = """
mount -t tmpfs none /sys/fs/cgroup && mkdir /sys/fs/cgroup/memory
mount -t cgroup -o memory none /sys/fs/cgroup/memory
here=/sys/fs/cgroup/memory/$1; shift
mkdir "$here" && echo 100M > "$here/memory.limit_in_bytes"
"""
PRIVATE = ["unshare", "--mount", "sh", "-ec"]
HOG = [sys.executable, "-I", "-S", "-c", "bytearray(1 << 30)"]


@pytest.fixture
def cgroup() -> str:
    """The name for a memory cgroup of version 1 with a limit. `in_cgroup` makes it and removes it."""
    name = f"muinit-test-{os.getpid()}"
    probe = f'{CGROUP}\nrmdir "$here"'
    done = subprocess.run([*PRIVATE, probe, "sh", name], capture_output=True, text=True, check=False, timeout=PATIENCE)
    need("a memory cgroup", done.stderr.strip() if done.returncode else "")
    return name


def in_cgroup(name: str, before: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a new cgroup, after `before`, which is a shell command in the same cgroup."""
    script = f"""{CGROUP}
set +e
sh -c 'echo $$ > "$0/cgroup.procs"; {before}; exec "$@"' "$here" "$@"
code=$?
until rmdir "$here" 2>/dev/null; do sleep 0.01; done  # its last process may still be on its way out
exit $code
"""
    argv = [*PRIVATE, script, "sh", name, *words]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=PATIENCE * 3)


def test_an_oom_kill_is_reported(cgroup: str) -> None:
    done = in_cgroup(cgroup, "true", *MUINIT, "---", *HOG, "---", "sleep", "60")
    assert done.returncode == 137, done.stderr
    assert "died of SIGKILL (137) after " in done.stderr
    assert " (the kernel has counted an OOM kill in this cgroup), so muinit stopped the rest: " in done.stderr


# Become a muinit that loads the rest of itself only when a command has ended.
SLOW = """import os, sys
from muinit import __main__ as m
class Slow:
    def find_spec(self, name, *_):
        if name == "muinit.loop":
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
sys.meta_path.insert(0, Slow())
sys.argv = ["muinit", *sys.argv[1:]]
m.run()
"""


def test_an_oom_kill_right_after_the_start_is_reported(cgroup: str) -> None:
    done = in_cgroup(cgroup, "true", sys.executable, "-c", SLOW, "---", *HOG)
    assert done.returncode == 137, done.stderr
    assert " (the kernel has counted an OOM kill in this cgroup)" in done.stderr


def test_an_old_oom_kill_does_not_explain_a_new_death(cgroup: str) -> None:
    """The counter belongs to the cgroup, and a restarted container can be in the same cgroup."""
    hog = " ".join(f"'{word}'" for word in HOG).replace("'", '"')
    done = in_cgroup(cgroup, f'{hog}; cat "$0/memory.oom_control" >&2', *MUINIT, "---", "sh", "-c", "kill -9 $$")
    assert "\noom_kill 1\n" in done.stderr
    assert done.returncode == 137
    assert "OOM" not in done.stderr


def test_only_more_kills_than_before_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the counter can no longer be read, or muinit is in another cgroup by now, that explains no death."""
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("oom_kill 1\n")
    other.write_text("oom_kill 7\n")
    monkeypatch.setattr(oom, "_counters", lambda: iter([str(tmp_path / "none"), str(one), str(other)]))
    counter = oom.Counter()
    assert not counter.has_grown()
    monkeypatch.setattr(oom, "_counters", lambda: iter([str(other)]))
    assert not counter.has_grown()
    one.write_text("oom_kill 2\n")
    assert counter.has_grown()
    one.write_text("oom_kill 0\n")
    assert not counter.has_grown()
    one.unlink()
    assert not counter.has_grown()
    monkeypatch.setattr(oom, "_counters", lambda: iter([]))
    assert not oom.Counter().has_grown()


@pytest.mark.parametrize(
    ("data", "number"),
    [
        (b"low 0\nhigh 0\nmax 3\noom 1\noom_kill 7\noom_group_kill 2\n", 7),
        (b"oom_kill_disable 0\nunder_oom 0\noom_kill 2\n", 2),
    ],
)
def test_the_counter_is_read_in_both_versions_of_cgroups(data: bytes, number: int) -> None:
    assert oom.counted(data) == number


@pytest.mark.parametrize("data", [b"", b"oom_kill", b"oom_kill \n", b"oom_kill x\n", b"oom_kill_disable 0\n"])
def test_data_without_a_counter_is_an_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"oom_kill|invalid literal|index"):
        oom.counted(data)
