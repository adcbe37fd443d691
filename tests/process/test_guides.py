"""What the guides say: their commands and scripts are run, and each platform's signal stops muinit in time."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
from pathlib import Path

import pytest

from tests.cast.harness import KID, MUINIT, PATIENCE, ROOT, Run, kid
from tests.conftest import need, why_no_namespace
from tests.process.test_coming_from import Row, code, table
from tests.tools import docs

GUIDES = {name: (ROOT / f"docs/{name}.md").read_text() for name in ("docker", "kubernetes", "platforms")}
SCRIPTS = [text for language, text in docs.fences(GUIDES["docker"]) if language == "sh"]
PLATFORMS = table("platforms.md", "platform | sends | waits, in seconds")


@pytest.mark.parametrize("name", GUIDES)
def test_each_check_of_the_time_passes_and_could_fail(name: str) -> None:
    """With half of the time, it fails."""
    lines = re.findall(r"^(?:RUN )?(muinit --diagram .*--within (\d+).*?) >", GUIDES[name], flags=re.MULTILINE)
    assert bool(lines) is (name != "platforms")
    for line, within in lines:
        _, *words = shlex.split(line)
        assert ends([*words]) == 0
        words[words.index("--within") + 1] = str(int(within) // 2)
        assert ends([*words]) == 1


def ends(words: list[str]) -> int:
    """The exit status of a muinit that starts nothing."""
    return subprocess.run([*MUINIT, *words], capture_output=True, check=False, timeout=PATIENCE).returncode


# The table of platforms


@pytest.mark.parametrize("cells", PLATFORMS, ids=lambda cells: cells[0])
def test_a_platform_stops_it_in_time(cells: list[str]) -> None:
    _, sends, seconds, here = cells
    row = Row("", code(here), "")
    _, *words = shlex.split(row.here)
    assert ends(["--diagram", "table", "--within", seconds, *words]) == 0
    with row.run(X=kid("X", "TERM=exit 0"), Y=kid("Y", "TERM=exit 0")) as it:
        it.ready("X", "Y")
        it.signal(signal.Signals[f"SIG{sends.partition(',')[0]}"])
        it.hear("X TERM", "Y TERM")
        assert it.end() == 0


# The entrypoint script


class Script(Run):
    """A script that is PID 1, in a folder with the programs that it names."""

    def __init__(self, text: str, folder: Path) -> None:
        for name in ("web", "worker", "migrate"):
            rules = ["exit 0"] if name == "migrate" else ["TERM=exit 0", "USR1=exit 3"]
            starts = f'[ $# = 0 ] || echo "{name} $*"\nexec {shlex.join([*KID, name, *rules])}\n'
            (folder / name).write_text(f"#!/bin/sh\n{starts}")
            (folder / name).chmod(0o755)
        (folder / "entrypoint").write_text(text)
        path = f"{folder}:{Path(MUINIT[0]).parent}:{os.environ['PATH']}"
        self.program = ["sh", "./entrypoint"]
        super().__init__(pid1=True, cwd=folder, env={**os.environ, "PATH": path, "PORT": "8080"})


@pytest.fixture
def before(tmp_path: Path) -> Script:
    """The script as many images have it."""
    need("a PID namespace", why_no_namespace())
    return Script(SCRIPTS[0], tmp_path)


@pytest.fixture
def after(tmp_path: Path) -> Script:
    """The script with muinit."""
    need("a PID namespace", why_no_namespace())
    return Script(SCRIPTS[1], tmp_path)


def test_nobody_notices_that_a_worker_has_died_and_a_stop_does_not_reach_it(before: Script) -> None:
    with before as it:
        it.ready("migrate", "web", "worker")
        it.kill("worker", signal.SIGUSR1)
        it.hear("worker USR1")
        it.signal(signal.SIGTERM)
        it.hear("web TERM")
        assert it.end() == 0


def test_a_stop_does_not_reach_the_worker(before: Script) -> None:
    with before as it:
        it.ready("migrate", "web", "worker")
        it.signal(signal.SIGTERM)
        it.hear("web TERM")
        assert it.line_or_end() is None


def test_with_muinit_a_stop_reaches_both(after: Script) -> None:
    with after as it:
        it.ready("migrate", "web", "worker")
        it.stop("web", "worker")


def test_with_muinit_the_end_of_one_ends_the_other(after: Script) -> None:
    with after as it:
        it.ready("migrate", "web", "worker")
        it.kill("worker", signal.SIGUSR1)
        it.hear("worker USR1", "web TERM")
        assert it.end() == 3


def test_a_variable_needs_a_shell(tmp_path: Path) -> None:
    need("a PID namespace", why_no_namespace())
    (line,) = re.findall(r"`(muinit --- sh -c [^`]+)`", GUIDES["docker"])
    with Script(f"exec {line}", tmp_path) as it:
        lines = {it.line() for _ in range(3)}
        assert "web --port 8080" in lines
        it.stop("web", "worker")


# The termination log


def test_the_cause_is_in_the_first_1000_bytes(tmp_path: Path) -> None:
    """Twelve containers of a pod share 12 KiB."""
    long = ["---", "sh", "-c", "sleep 60", "word " * 400]
    argv = [*MUINIT, f"--termination-log={tmp_path}/log", *long, "---", "sh", "-c", "exit 3", "x" * 2000, *long]
    assert subprocess.run(argv, stderr=subprocess.PIPE, check=False, timeout=PATIENCE).returncode == 3
    assert b"exited 3 after " in (tmp_path / "log").read_bytes()[:1000]
