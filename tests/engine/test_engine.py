"""The engine of the tests itself: it leaves nothing behind."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.cast.harness import ROOT, wait_for
from tests.engine.engine import MACHINE, Container, Engine, run

pytestmark = pytest.mark.engine


def inhabitants(namespace: str) -> list[str]:
    """The processes in a mount namespace."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            if os.readlink(f"/proc/{pid}/ns/mnt") == namespace:
                found.append(pid)
    return found


def namespaces(engine: Engine) -> list[str]:
    """The mount namespaces that the engine has made."""
    return [os.readlink(f"/proc/{pid}/ns/mnt") for pid in (engine.inside[2], engine._world.pid)]


def test_the_engine_leaves_nothing_behind(engine: Engine) -> None:
    """Its mounts end with its mount namespaces, and those end with the last process in them."""
    mounts = Path("/proc/self/mounts").read_text()
    with Engine() as other:
        Container(other, *MACHINE, "sleep", "60")
        worlds = namespaces(other)
    assert not any(map(inhabitants, worlds))
    assert not other.directory.exists()
    assert Path("/proc/self/mounts").read_text() == mounts
    assert engine.run(*MACHINE, "echo", "alive").stdout == "alive\n"


KILLED = """\
from tests.engine.engine import *
from tests.engine.test_engine import namespaces
engine = Engine()
Container(engine, *MACHINE, "sleep", "60")
print(*namespaces(engine), engine.directory, flush=True)
os.kill(os.getpid(), 9)
"""


@pytest.mark.usefixtures("engine")
def test_the_engine_leaves_no_process_behind_if_the_tests_are_killed() -> None:
    done = run([sys.executable, "-c", KILLED], cwd=ROOT)
    assert done.returncode == -signal.SIGKILL, done.stderr
    *worlds, directory = done.stdout.split()
    wait_for(lambda: not any(map(inhabitants, worlds)))
    Path(directory).rmdir()  # it is empty
