"""Fixtures that start muinit as an ordinary process, and as PID 1 of its own PID namespace."""

from __future__ import annotations

import compileall
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from functools import cache, partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.cast.harness import AS_INIT, ROOT, Run

# On a busy machine an example may take any time.
settings.register_profile("muinit", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("muinit")

COVERED = ("machine", "pictures", "tools")  # the folders with tests that run `statechart` in their own process
PATH = os.environ["PATH"] + ":/usr/sbin:/sbin"  # on Debian the PATH of ordinary users lacks these two


def pytest_configure(config: pytest.Config) -> None:
    """Let muinit run from byte code, as it does where it is installed.

    CPython's compiler crashes, or damages the heap, if its memory runs out (python/cpython#151112), and some tests take
    the memory away. Of 3,000 allocations that failed, with the 99 after them, 9 crashed Python 3.13.0 while it compiled
    our modules, and none did when it had their byte code.
    """
    if not hasattr(config, "workerinput"):
        for package in ("muinit", "statechart"):
            compileall.compile_dir(ROOT / package, quiet=1)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Measure coverage only where it can find something: it makes Python two to three times slower.

    Not by `no_cover` of pytest-cov: in a worker of xdist two coverages are running, and when it stops one, the other
    resumes.
    """
    tracer = sys.gettrace()
    if item.get_closest_marker("untraced") or item.path.parent.name not in COVERED:
        sys.settrace(None)
    try:
        return (yield)
    finally:
        sys.settrace(tracer)


@cache
def why_no_namespace() -> str:
    """Why mount and PID namespaces cannot be made here, or "" if they can."""
    if not shutil.which(AS_INIT[0]):
        return "unshare is not installed: apt-get install util-linux"
    done = subprocess.run([*AS_INIT, "true"], capture_output=True, text=True, check=False)
    return done.stderr.strip() if done.returncode else ""


def need(what: str, why_not: str) -> None:
    """Skip the test if there is a reason why not; in CI let it fail instead."""
    if why_not:
        assert not os.environ.get("CI"), f"CI must be able to run this: {what}: {why_not}"
        pytest.skip(f"{what}: {why_not}")


def program(name: str, package: str) -> str:
    """The path of a program from this Debian package."""
    path = shutil.which(name, path=PATH)
    need(name, "" if path else f"it is not installed: apt-get install {package}")
    assert path
    return path


@pytest.fixture(params=[False, True], ids=["process", "pid1"])
def pid1(request: pytest.FixtureRequest) -> bool:
    """Whether muinit is PID 1 of a PID namespace. A test runs twice: once with False, once with True."""
    if request.param:
        need("a PID namespace", why_no_namespace())
    return bool(request.param)


@pytest.fixture
def run(pid1: bool) -> Callable[..., Run]:
    """Start muinit with these commands. A test runs twice: once as an ordinary process, once as PID 1."""
    return partial(Run, pid1=pid1)


@pytest.fixture
def public_path() -> Iterator[Path]:
    """A directory that other users can enter. They cannot enter the directories that pytest makes."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        yield Path(directory)
