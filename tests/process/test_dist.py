"""muinit.pyz runs wherever there is a Python, and is all that it should be."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import signal
import sys
import zipfile
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import pytest
import transitions

import tests.process.test_isolation as isolation
from tests.cast.harness import AS_INIT, MUINIT, ROOT, Run, kid
from tests.release import pyz

pytestmark = pytest.mark.xdist_group("dist")  # muinit.pyz is built once for all
SITE = Path(transitions.__file__).parent.parent
EPOCH = 1_700_000_000
SHOWN = [["--help"], ["--version"], *([f"--diagram={drawn}"] for drawn in ("mermaid", "dot", "table"))]

pythons = cache(pyz.found_pythons)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """muinit.pyz, under the name that it has in an image."""
    path = tmp_path_factory.mktemp("bin") / "muinit"
    pyz.build(ROOT, SITE, path, pythons(), EPOCH)
    return path


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the sources."""
    for name in pyz.OURS:
        shutil.copytree(ROOT / name, tmp_path / "copy" / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "LICENSE", tmp_path / "copy")
    return tmp_path / "copy"


def found_first(python: str, folder: Path) -> dict[str, str]:
    """An environment in which `python3` is this interpreter, by a link in a new folder."""
    folder.mkdir()
    (folder / "python3").symlink_to(Path(python).resolve())
    return {**isolation.CLEAN, "PATH": f"{folder}:{os.environ['PATH']}"}


def folder_of(python: str) -> str:
    """What the folder with byte code for this interpreter is called."""
    script = "import sys; from importlib.util import MAGIC_NUMBER as magic\n"
    script += "print(f'{sys.implementation.cache_tag}-{int.from_bytes(magic[:2], \"little\")}')"
    return isolation.said([python, "-c", script], code=0).stdout.strip()


def byte_code(built: Path) -> dict[str, str]:
    """The folders of byte code in this file, and the interpreters that compiled it, as the file itself lists them."""
    listed = re.search(r"^BYTE_CODE = (.*)$", zipfile.ZipFile(built).read("__main__.py").decode(), re.MULTILINE)
    assert listed
    return dict(ast.literal_eval(listed[1]))


# What it does


def test_it_runs_on_every_python_with_nothing_installed(built: Path, tmp_path: Path) -> None:
    for python in pythons():
        argv = [python, "-I", "-S", str(built)]
        for options in SHOWN:
            assert isolation.said(argv, *options, code=0).stdout == isolation.said(MUINIT, *options, code=0).stdout
        trace = tmp_path / "trace"
        isolation.said(argv, "--trace-file", str(trace), "---", "sh", "-c", "exit 3")
        assert json.loads(trace.read_text().splitlines()[-1])["exit"] == 3


def test_every_python_runs_its_byte_code_and_is_isolated(built: Path, tmp_path: Path) -> None:
    for number, python in enumerate(pythons()):
        env = {**found_first(python, tmp_path / str(number)), "PYTHONPATH": "/nowhere"}
        words = isolation.said([str(built)], "-q", "---", *isolation.LOOK, env=env).stdout.split("\n")
        assert "-I" in words
        assert (f"{built}/{folder_of(python)}" if folder_of(python) in byte_code(built) else str(built)) in words


def test_another_python_runs_the_sources(tmp_path: Path) -> None:
    path = tmp_path / "muinit"
    assert pyz.build(ROOT, SITE, path, [], EPOCH) == {}
    assert isolation.said([sys.executable, "-I", "-S", str(path)], "--version", code=0).stdout.startswith("muinit ")
    env = {**found_first(sys.executable, tmp_path / "bin"), "PYTHONPATH": "/nowhere"}
    assert f"\n{path}\n" in isolation.said([str(path)], "-q", "---", *isolation.LOOK, env=env).stdout


def test_nothing_is_decompressed_before_the_first_command_starts(built: Path) -> None:
    argv = [sys.executable, "-I", "-S", "-X", "importtime", str(built)]
    times = isolation.said(argv, "---", "true", code=0).stderr
    loaded = [line.rpartition("|")[2].strip() for line in times.splitlines()]
    assert loaded.index("muinit.kernel") < loaded.index("zlib") < loaded.index("statechart.chart")


def test_a_python_that_is_too_old_is_told_in_one_line(built: Path, tmp_path: Path) -> None:
    """Such a Python cannot be expected on a machine, so this one says that it is old."""
    start = zipfile.ZipFile(built).read("__main__.py").decode()
    (tmp_path / "old.py").write_text(start.replace("import sys\n", "import sys\nsys.version_info = (3, 9, 2)\n", 1))
    done = isolation.said([sys.executable, str(tmp_path / "old.py")], code=1)
    assert done.stderr == f"muinit: expected Python 3.10 or newer, found 3.9: {sys.executable}\n"


def test_in_a_clean_environment_it_is_not_executed_again(built: Path, tmp_path: Path) -> None:
    """The folder at the head of sys.path is in the file itself, so nothing of the commands can be in it."""
    folder = isolation.fake(tmp_path / "app", *isolation.names("python -m", isolation.BASE))
    env = found_first(isolation.BASE, tmp_path / "bin")
    assert not isolation.was_executed_again([str(built)], env=env, cwd=folder)
    assert isolation.was_executed_again([str(built)], env={**env, "PYTHONPATH": "/nowhere"}, cwd=folder)
    assert not isolation.marks(folder)


def test_no_module_of_the_commands_is_imported(built: Path, tmp_path: Path) -> None:
    folder = isolation.fake(tmp_path / "app", *isolation.names("python -m", isolation.BASE))
    env = {**found_first(isolation.BASE, tmp_path / "bin"), "PYTHONPATH": str(folder)}
    done = isolation.said([str(built)], *isolation.EVERYTHING, "---", "sh", "-c", "exit 3", env=env)
    assert "exit 3: pid" in done.stderr
    assert "warning" not in done.stderr
    assert not isolation.marks(folder)


def test_the_commands_get_the_mask_of_the_caller(built: Path, pid1: bool) -> None:
    """The first lines of muinit.pyz have blocked all signals before muinit.__main__ looks."""
    blocked = isolation.SIGNALS.format(blocked="[signal.SIGUSR1, signal.SIGRTMAX]")
    prefix = [*(AS_INIT if pid1 else []), sys.executable, "-I", "-c", blocked]
    grep = ["grep", "^Sig[BIC]", "/proc/self/status"]
    for env in (isolation.CLEAN, {**isolation.CLEAN, "PYTHONPATH": "/nowhere"}):
        packed, installed = (
            isolation.said([*prefix, *argv], "---", *grep, code=0, env=env)
            for argv in ([sys.executable, str(built)], MUINIT)
        )
        assert packed.stdout == installed.stdout


@pytest.fixture
def run(built: Path, pid1: bool, tmp_path: Path) -> Callable[..., Run]:
    """Start the file itself, as an ordinary process and as PID 1."""

    class Packed(Run):
        program = [str(built)]  # noqa: RUF012

    return partial(Packed, pid1=pid1, env=found_first(sys.executable, tmp_path / "bin"))


def test_it_stops_its_commands_and_says_so(run: Callable[..., Run]) -> None:
    with run(["sleep", "60"], kid("A", "TERM=exit 0")) as it:
        it.ready("A")
        it.signal(signal.SIGTERM)
        assert it.end() == 143
        assert "muinit: exit 143: pid " in it.err


def test_it_gives_the_exit_code_and_leaves_no_orphan(run: Callable[..., Run]) -> None:
    with run(["sh", "-c", "(sleep 60 &); exit 3"], ["sleep", "60"]) as it:
        assert it.end() == 3


def test_an_internal_error_names_the_line(copy: Path, tmp_path: Path) -> None:
    """Byte code has no sources to show, but says where they are: in the file itself."""
    main = copy / "muinit/__main__.py"
    text = main.read_text().replace("    started_at = kernel.now()\n", "    raise RuntimeError('broken')\n", 1)
    main.write_text(text)
    pyz.build(copy, SITE, tmp_path / "muinit", [sys.executable], EPOCH)
    done = isolation.said([sys.executable, str(tmp_path / "muinit")], "---", "true", code=1)
    line = text.splitlines().index("    raise RuntimeError('broken')") + 1
    assert "muinit: internal error: RuntimeError: broken; " in done.stderr
    assert f'File "muinit.pyz/muinit/__main__.py", line {line}, in _supervise' in done.stderr


# What it is


def test_it_holds_what_muinit_needs_and_no_more(built: Path) -> None:
    archive = zipfile.ZipFile(built)
    sources = {name for name in archive.namelist() if name.endswith(".py")}
    theirs = {"transitions/__init__.py", "transitions/core.py", "transitions/version.py", "six.py"}
    assert {name for name in sources if not name.startswith(("muinit/", "statechart/"))} == {"__main__.py", *theirs}
    assert {f"{path.relative_to(ROOT)}" for path in (ROOT / "muinit").glob("*.py")} <= sources
    for folder in byte_code(built):
        names = {name.partition("/")[2] for name in archive.namelist() if name.startswith(folder)}
        assert names == {f"{name}c" for name in sources}
    for name in ("muinit", "transitions", "six"):
        assert "Permission is hereby granted" in archive.read(f"licences/{name}.txt").decode()


def test_it_is_small_and_executable(built: Path) -> None:
    assert built.stat().st_size <= 1 << 20
    assert built.stat().st_mode & 0o777 == 0o755
    assert built.read_bytes().startswith(b"#!/usr/bin/env python3\nPK")


def test_the_same_sources_give_the_same_bytes(built: Path, copy: Path, tmp_path: Path) -> None:
    pyz.build(copy, SITE, tmp_path / "again", pythons(), EPOCH)
    assert (tmp_path / "again").read_bytes() == built.read_bytes()


def test_it_lists_the_interpreters_and_leaves_out_the_oldest(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If byte code for all of them took more than the limit, the oldest would run the sources."""
    interpreters = byte_code(built)
    assert interpreters
    assert set(interpreters) <= {folder_of(python) for python in pythons()}
    assert all(interpreter.startswith("CPython 3.") for interpreter in interpreters.values())
    monkeypatch.setattr(pyz, "LIMIT", built.stat().st_size - 1)
    kept = pyz.build(ROOT, SITE, tmp_path / "muinit", pythons(), EPOCH)
    assert kept == dict([*interpreters.items()][1:])
    monkeypatch.setattr(pyz, "LIMIT", 1000)
    with pytest.raises(pyz.DistError, match=r"^muinit has more than 1000 bytes$"):
        pyz.build(ROOT, SITE, tmp_path / "muinit", [], EPOCH)


def test_signals_are_blocked_on_the_first_line_that_every_python_can_run() -> None:
    body = ast.parse(pyz.START.read_text()).body
    first = [ast.unparse(each) for each in body[1:5]]
    assert first[0] == "import sys"
    assert first[1].startswith("if sys.version_info < (3, 10):")
    assert first[2:] == [ast.unparse(each) for each in ast.parse((ROOT / "muinit/__main__.py").read_text()).body[1:3]]


# What it is built with


@pytest.mark.parametrize("group", ["build", "freeze"])
def test_what_builds_a_release_is_pinned_by_hash(group: str) -> None:
    """And in the versions of pyproject.toml."""
    text = (ROOT / f"tests/release/{group}.txt").read_text()
    named = re.search(rf"^{group} = (\[.*\])$", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert named
    assert [name for name in ast.literal_eval(named[1]) if f"\n{name} \\\n" not in text] == [], "run 'make lock'"
    pins = re.findall(r"^[\w.-]+==.*(?:\n    --hash=sha256:[0-9a-f]{64}.*)+$", text, re.MULTILINE)
    assert len(pins) == len(re.findall(r"^[\w.-]+", text, re.MULTILINE)) > 1


def test_the_sbom_has_what_is_pinned() -> None:
    bom = json.loads((ROOT / "docs/muinit.cdx.json").read_text())
    pinned = re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "tests/release/runtime.txt").read_text(), re.MULTILINE)
    assert {(each["name"], each["version"]) for each in bom["components"]} == set(pinned)
    assert {name for name, _ in pinned} == set(pyz.THEIRS)
