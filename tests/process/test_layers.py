"""Who may import whom."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cast.harness import ROOT

CHART = sorted((ROOT / "statechart").rglob("*.py"))
INIT = sorted((ROOT / "muinit").rglob("*.py"))
PURE = {"__future__", "collections", "enum", "statechart", "transitions"}
READ_FIRST = {"statechart", "statechart.options", "statechart.signals"}  # before the first command is started
# What `python -m statechart` loads, and a running init does not.
TOOLS = {
    "statechart/signals.py": {"_signal"},  # the running init too: their numbers differ between machines
    "statechart/__main__.py": {"argparse", "os", "sys", "typing"},
    "statechart/traces/read.py": {"dataclasses", "json", "typing"},
    "statechart/traces/replay.py": {"importlib"},
    "statechart/words/text.py": {"unicodedata"},
    "statechart/pictures/printers.py": {"dataclasses"},
    "statechart/pictures/world.py": {"dataclasses"},
    "statechart/pictures/scale.py": {"dataclasses", "itertools"},
    "statechart/pictures/lives.py": {"dataclasses", "itertools"},
    "statechart/pictures/timeline.py": {"dataclasses", "datetime", "itertools", "shlex", "unicodedata"},
    "statechart/pictures/page.py": {
        "base64",
        "contextlib",
        "functools",
        "hashlib",
        "jinja2",
        "json",
        "markupsafe",
        "os",
        "shlex",
        "shutil",
        "subprocess",
        "xml",
    },
}
# Imports lead down: from a floor to itself and to those below it.
FLOORS = ["statechart", "statechart.words", "statechart.traces", "statechart.pictures"]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


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


@pytest.mark.parametrize("path", CHART, ids=name_of)
def test_statechart_is_pure(path: Path) -> None:
    assert imports(path) <= PURE | TOOLS.get(name_of(path), set())


@pytest.mark.parametrize("path", [path for path in CHART if path.name != "__main__.py"], ids=name_of)
def test_imports_lead_down(path: Path) -> None:
    floor = FLOORS.index(name_of(path.parent).replace("/", "."))
    for module in modules(path):
        if module.partition(".")[0] == "statechart":
            package = module if module in FLOORS else module.rpartition(".")[0]
            assert FLOORS.index(package) <= floor, f"{name_of(path)} imports {module}"


def test_statechart_does_not_import_muinit() -> None:
    assert [name_of(path) for path in CHART if "muinit" in imports(path)] == []


def test_transitions_is_imported_in_one_module() -> None:
    assert [name_of(path) for path in CHART + INIT if "transitions" in imports(path)] == ["statechart/chart.py"]


def test_the_two_halves_meet_in_the_loop_and_where_it_is_set_up_or_shown() -> None:
    joined = {path.stem for path in INIT if "statechart" in imports(path)}
    assert joined == {"__main__", "help", "loop", "options", "procfs", "show", "signals", "stderr", "watch"}
    for name in ("procfs.py", "stderr.py"):  # they say what a machine told them, and decide nothing
        found = {module for module in modules(ROOT / "muinit" / name) if "statechart" in module}
        assert found == {"statechart.words.text"}


EVERYTHING = ["-v", "--trace-states", "--trace-file=/dev/null", "--termination-log=/dev/null"]


@pytest.mark.parametrize("options", [["-q"], EVERYTHING], ids=["-q", "everything"])
def test_what_the_running_init_loads(options: list[str]) -> None:
    """Everything that is needed later is loaded before muinit goes idle; and nothing that only draws or replays."""
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
    loaded = {module.partition(".")[2] for module in idle if module.startswith("statechart.")}
    for_readers = {"traces", "traces.write", "words.decision", "words.story"}
    always = {"chart", "effects", "events", "lifecycle", "meanings", "options", "signals", "values"}
    always |= {"words", "words.phrases", "words.text", "words.verdict"}
    assert loaded - for_readers == always
    too_dear = {
        "transitions.extensions",
        "argparse",
        "asyncio",
        "dataclasses",
        "dis",  # which only the real `inspect` imports
        "jinja2",
        "muinit.show",
        "signal",
        "ssl",
        "subprocess",
        "textwrap",  # which only the real `traceback` imports
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
    assert not modules & {"enum", "json", "re", "signal", "transitions", "ctypes", "_ctypes", "typing", "math"}
    assert {module for module in modules if module.startswith("statechart")} == READ_FIRST


@pytest.mark.parametrize("use", ["import inspect", "import inspect\ninspect.isclass", "from inspect import isclass"])
def test_a_postponed_module_is_loaded_when_it_is_used(use: str) -> None:
    """And one that was loaded before is left alone."""
    script = (
        "import json, sys; from muinit.postponed import postpone; postpone('inspect', 'json')\n"
        f"{use}\n"
        "print('dis' in sys.modules)\n"
        "from inspect import isclass\n"
        "assert isclass(int) and isclass is sys.modules['inspect'].isclass\n"
        "assert json is sys.modules['json']"
    )
    done = subprocess.run([sys.executable, "-S", "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout == f"{'isclass' in use}\n"


def test_signals_are_blocked_on_the_first_line() -> None:
    body = ast.parse((ROOT / "muinit/__main__.py").read_text()).body
    assert isinstance(body[0], ast.Expr)  # the docstring
    assert isinstance(body[1], ast.ImportFrom)
    assert body[1].module == "_signal"
    assert ast.unparse(body[2]) == "CALLERS_MASK = pthread_sigmask(SIG_BLOCK, valid_signals())"
    assert len(ast.parse((ROOT / "muinit/__init__.py").read_text()).body) == 2  # docstring and version
