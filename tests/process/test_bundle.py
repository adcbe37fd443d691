"""The folder that `make bundle` builds runs where there is no Python.

The root of these tests has a shell, a few programs, the C library, and the bundle. It has nothing else.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.cast.harness import AS_INIT, ROOT, Run
from tests.conftest import need, why_no_namespace

BUNDLE = ROOT / "dist/muinit"
C_LIBRARY = ("libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "libutil.so.1")
EVERYTHING = "-v --trace-states --trace-file=/tmp/trace --termination-log=/tmp/log"
TALKS = ["sh", "-c", "trap 'echo TERM; exit 7' TERM; echo ready; while :; do sleep 0.01; done"]
# Leaves orphans behind, and waits until the kernel knows no zombie.
ORPHANS = """
i=0; while [ $i -lt 200 ]; do (: &); i=$((i + 1)); done
while grep -q '^State:.Z' /proc/[0-9]*/status 2>/dev/null; do :; done
(sleep 60 &)
echo reaped; exit 3
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root without Python."""
    if not (BUNDLE / "muinit").exists():
        pytest.skip("dist/muinit is not built: make bundle")
    need("a PID namespace", why_no_namespace())
    root = tmp_path_factory.mktemp("root")
    for name in ("proc", "tmp", "dev", "usr/local/bin"):
        (root / name).mkdir(parents=True)
    (root / "dev/null").touch()  # a file will do for a shell
    for name in ("sh", "sleep", "env", "grep"):
        program = Path(str(shutil.which(name)))
        put(program, root / "bin" / name)
        shown = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
        for library in map(Path, re.findall(r"/\S+", shown)):
            put(library, root / str(library)[1:])
            if library.name == C_LIBRARY[0]:
                for part in C_LIBRARY:
                    put(library.with_name(part), root / str(library.with_name(part))[1:])
    shutil.copytree(BUNDLE, root / "opt/muinit", symlinks=True)
    (root / "usr/local/bin/muinit").symlink_to("/opt/muinit/muinit")
    assert not [*root.rglob("python3*")]
    return root


def put(path: Path, target: Path) -> None:
    """Copy a file, not a link to it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, target)


class Bundled(Run):
    program = ["/usr/local/bin/muinit"]  # noqa: RUF012


Start = Callable[..., Bundled]


@pytest.fixture
def as_init(root: Path) -> Start:
    """Start the bundle as PID 1 in that root."""
    return partial(Bundled, prefix=[*AS_INIT, f"--root={root}"])


@pytest.fixture(params=["process", "pid1"])
def run(root: Path, request: pytest.FixtureRequest) -> Start:
    """Start the bundle in that root, as PID 1 and as a child of a shell."""
    shell = [] if request.param == "pid1" else ["/bin/sh", "-c", 'trap : TERM; "$@"; exit $?', "sh"]
    return partial(Bundled, prefix=[*AS_INIT, f"--root={root}", *shell])


def test_it_reaps_orphans_and_gives_the_exit_code(run: Start) -> None:
    with run(["sh", "-c", ORPHANS], ["sleep", "60"]) as it:
        it.hear("reaped")
        assert it.end() == 3
        assert re.match(r"muinit: exit 3: pid \d+ \(sh -c \\ni=0; ", it.err)
        assert it.err.count("\n") == 1


def test_it_stops_its_commands(as_init: Start) -> None:
    with as_init(TALKS) as it:
        it.hear("ready")
        it.signal(signal.SIGTERM)
        it.hear("TERM")
        assert it.end() == 7


def test_a_command_that_is_not_there(run: Start) -> None:
    with run(["python3"]) as it:
        assert it.end() == 127


def test_the_commands_get_the_environment_unchanged(as_init: Start) -> None:
    """Python and its loader look at none of these variables: they are for the commands."""
    given = {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": "/x", "PYTHONPATH": "/x", "PYTHONHOME": "/x", "LC_ALL": "C"}
    with as_init(["/bin/env"], env=given) as it:
        it.hear_in_order(*(f"{name}={value}" for name, value in given.items()), it.tag)
        assert it.end() == 0
        assert not it.err


def test_every_option_works(run: Start, root: Path) -> None:
    """Nothing that muinit imports late is missing."""
    cut = "a\u0301" * 100  # a long line is cut, but not before an accent: that needs unicodedata
    with run(["sh", "-c", "exit 3", cut], options=EVERYTHING) as it:
        assert it.end() == 3
        assert it.err.count("exit 3: pid ") == 1
        assert "error" not in it.err
        assert "warning" not in it.err
    assert '"exit":3' in (root / "tmp/trace").read_text()
    assert "exit 3: pid " in (root / "tmp/log").read_text()
    for option in ("--help", "--version", "--diagram=mermaid", "--diagram=dot", "--diagram=table"):
        with run(options=option) as it:
            assert it.end() == 0
            assert not it.err


def test_an_internal_error_is_explained(as_init: Start, root: Path) -> None:
    part = root / "opt/muinit/lib/statechart/words/verdict.pyc"
    away = part.rename(part.with_suffix(".away"))
    try:
        with as_init(["sleep", "60"]) as it:
            assert it.end() == 1
            assert "muinit: internal error: ModuleNotFoundError: No module named 'statechart.words.verdict'" in it.err
            assert ", in _supervise | " in it.err
    finally:
        away.rename(part)


def test_it_needs_only_an_old_c_library(root: Path) -> None:
    """docs/install.md names the version."""
    files = [path.read_bytes() for path in (root / "opt/muinit").rglob("*") if path.is_file()]
    found = {tuple(map(int, version.split(b"."))) for data in files for version in re.findall(rb"GLIBC_([\d.]+)", data)}
    named = re.search(r"glibc (\d+)\.(\d+)", (ROOT / "docs/install.md").read_text())
    assert named
    assert max(found) == (int(named[1]), int(named[2]))
