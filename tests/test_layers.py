"""Which module may import which."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness import ROOT

CHART = sorted((ROOT / "statechart").glob("*.py"))
INIT = sorted((ROOT / "muinit").glob("*.py"))
PURE = {"__future__", "collections", "enum", "statechart", "transitions"}
# For `python -m statechart` alone: no running init loads these modules.
TOOLS = {
    "__main__.py": {"argparse", "os", "sys", "typing"},
    "replay.py": {"dataclasses", "importlib", "json", "typing"},
    "scale.py": {"dataclasses", "itertools"},
    "lives.py": {"dataclasses", "itertools"},
    "text.py": {"unicodedata"},
    "timeline.py": {"dataclasses", "datetime", "itertools", "shlex", "unicodedata"},
    "page.py": {
        "base64",
        "contextlib",
        "functools",
        "hashlib",
        "jinja2",
        "markupsafe",
        "os",
        "shutil",
        "subprocess",
        "xml",
    },
}


def modules(path: Path) -> set[str]:
    """The modules that a file imports, except those for the type checker alone."""
    found = set()
    tree = ast.parse(path.read_text())
    typing = {
        node
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and isinstance(branch.test, ast.Name) and branch.test.id == "TYPE_CHECKING"
        for node in ast.walk(branch)
    }
    for node in ast.walk(tree):
        if node in typing:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def imports(path: Path) -> set[str]:
    """The top-level packages that a file imports, except those for the type checker alone."""
    return {module.partition(".")[0] for module in modules(path)}


@pytest.mark.parametrize("path", CHART, ids=lambda path: path.name)
def test_statechart_is_pure(path: Path) -> None:
    assert imports(path) <= PURE | TOOLS.get(path.name, set())


def test_transitions_is_imported_in_one_module() -> None:
    assert [path.name for path in CHART + INIT if "transitions" in imports(path)] == ["chart.py"]


def test_the_two_halves_meet_in_the_loop_and_where_it_is_set_up_or_shown() -> None:
    joined = [path.name for path in INIT if "statechart" in imports(path)]
    assert joined == ["__main__.py", "cli.py", "loop.py", "procfs.py", "show.py", "stderr.py", "watch.py"]
    for name in ("procfs.py", "stderr.py"):  # they use the words of statechart, and none of its decisions
        assert {module for module in modules(ROOT / "muinit" / name) if "statechart" in module} == {"statechart.text"}


EVERYTHING = ["-v", "--trace-states", "--trace-file=/dev/null", "--termination-log=/dev/null"]


@pytest.mark.parametrize("options", [["-q"], EVERYTHING], ids=["-q", "everything"])
def test_what_the_running_init_loads(options: list[str]) -> None:
    """All that is needed later is loaded before muinit goes idle, and nothing that only draws or replays."""
    script = (
        "import sys; from muinit import __main__ as m, kernel\n"
        "wait = kernel.Kernel.wait\n"
        "def idle(self, seconds):\n"
        "    loaded.append(set(sys.modules)); os.write(end, b'go\\n'); return wait(self, seconds)\n"
        "kernel.Kernel.wait = idle; loaded = []\n"
        "import os; start, end = os.pipe(); os.dup2(start, 0)\n"
        f"sys.argv = ['muinit', *{options}, '---', 'sh', '-c', 'read go; exit 3']\n"
        "code = m.main(); print(*(loaded[0])); print(*(set(sys.modules) - loaded[0])); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 3
    idle, later = (set(line.split()) for line in done.stdout.split("\n")[:2])
    assert "transitions.core" in idle
    own = {path.name.removesuffix(".py") for path in CHART} - {"__init__", "__main__"}
    loaded = {module.partition(".")[2] for module in idle if module.startswith("statechart.")}
    for_readers = {"record", "story"}
    always = {"chart", "effects", "events", "lifecycle", "meanings", "report", "text", "trace", "values"}
    assert loaded - for_readers == always < own
    too_dear = {
        "transitions.extensions",
        "argparse",
        "asyncio",
        "dataclasses",
        "jinja2",
        "muinit.show",
        "signal",
        "ssl",
        "subprocess",
        "typing",
    }
    assert not idle & too_dear
    if options != EVERYTHING:
        assert not idle & {"json", "muinit.termination", "muinit.tracefile", "muinit.watch"}
        assert not loaded & for_readers
    assert not later


@pytest.mark.parametrize("options", [["-q"], EVERYTHING], ids=["-q", "everything"])
def test_nothing_slow_is_loaded_before_the_first_child(options: list[str]) -> None:
    script = (
        "import sys; from muinit import __main__ as m, kernel\n"
        "def spawn(self, argv): print(*sys.modules); sys.exit(0)\n"
        "kernel.Kernel.spawn = spawn; kernel.Kernel.adopt_orphans = lambda self: True\n"
        f"sys.argv = ['muinit', *{options}, '---', 'true']; before = set(sys.modules); m.main()"
    )
    loaded = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path += {sys.path!r}\n{script}"],
        capture_output=True,
        text=True,
        check=False,
    )
    modules = set(loaded.stdout.split())
    assert "muinit.kernel" in modules
    assert not modules & {"enum", "json", "re", "signal", "statechart", "transitions", "ctypes", "typing", "math"}


def test_signals_are_blocked_on_the_first_line() -> None:
    body = ast.parse((ROOT / "muinit/__main__.py").read_text()).body
    assert isinstance(body[0], ast.Expr)  # the docstring
    assert isinstance(body[1], ast.ImportFrom)
    assert body[1].module == "_signal"
    assert ast.unparse(body[2]) == "CALLERS_MASK = pthread_sigmask(SIG_BLOCK, valid_signals())"
    assert len(ast.parse((ROOT / "muinit/__init__.py").read_text()).body) == 2  # docstring and version
