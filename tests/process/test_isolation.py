"""Modules and variables that a container has for its commands do not reach muinit, and reach the commands unchanged."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import zipapp
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import transitions

from tests.cast.harness import AS_INIT, MUINIT, PATIENCE, ROOT, Run, is_deaf, kid, status, wait_for
from tests.conftest import need, why_no_namespace
from tests.tools.early import execed

PYTHON = sys.executable
VERSION = f"python{sys.version_info[0]}.{sys.version_info[1]}"
BASE = f"{sys.base_prefix}/bin/{VERSION}"  # not a venv's, which ignores the user's site-packages
SITE = f"lib/{VERSION}/site-packages"
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
EVERYTHING = ["-v", "--trace-states", "--trace-file=/dev/null", "--termination-log=/dev/null"]
SHOWN = [["--help"], ["--version"], *([f"--diagram={drawn}"] for drawn in ("mermaid", "dot", "svg", "table"))]
WAYS = ("PYTHONPATH", "python -m", "script")
LOOK = ["sh", "-c", "tr '\\0' '\\n' </proc/$PPID/cmdline; exit 3"]  # prints muinit's command line, one word per line

# A fake of any module. When it is imported, it writes the pid of the process and its own name to FOLDER/marks.
FAKE = """\
import posix
fd = posix.open({marks!r}, posix.O_WRONLY | posix.O_APPEND | posix.O_CREAT)
posix.write(fd, b"%d {name}\\n" % posix.getpid())
posix.close(fd)
"""


def top_level(modules: Iterable[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules} - {"__main__", *sys.builtin_module_names}


@cache
def loaded() -> frozenset[str]:
    """The modules that muinit loads: with every option, after an internal error or wrong usage, and to print SHOWN."""
    broken = "def broken(*_): raise RuntimeError\nm._supervise = broken\n"
    runs = [("", [*EVERYTHING, "---", "sh", "-c", "exit 3"]), (broken, ["---", "true"]), ("", ["--bad"])]
    found: set[str] = set()
    for patch, argv in [*runs, *[("", argv) for argv in SHOWN]]:
        script = f"import sys; from muinit import __main__ as m\n{patch}sys.argv = ['muinit', *{argv}]\nm.main()\n"
        script += "print(); print(*sys.modules)"
        done = subprocess.run([PYTHON, "-I", "-c", script], capture_output=True, text=True, check=True)
        found |= top_level(done.stdout.splitlines()[-1].split())
    assert {"logging", "_ctypes", "json", "traceback", "transitions", "six", "statechart"} <= found
    return frozenset(found)


@cache
def loaded_before_us(way: str, python: str = PYTHON) -> frozenset[str]:
    """The modules that Python loads before muinit's first line, as far as it may find fakes of them in this way."""
    if way == "script":  # Python adds a script's folder to its path after it has loaded its own modules
        return frozenset({"muinit"})
    with TemporaryDirectory() as folder:
        (Path(folder) / "show.py").write_text("import sys; print(*sys.modules)")
        argv = [python, "-m", "show"] if way == "python -m" else [python, "show.py"]
        done = subprocess.run(argv, cwd=folder, env=CLEAN, capture_output=True, text=True, check=True)
    return frozenset({*top_level(done.stdout.split()), "muinit"})


def names(way: str, python: str = PYTHON) -> list[str]:
    """The modules of which muinit must not import a fake, and two that Python's library tries to import."""
    return sorted((loaded() | {"org", "msvcrt"}) - loaded_before_us(way, python))


def fake(folder: Path, *names: str, package: bool = False) -> Path:
    """Put fake modules with these names into a folder, and return the folder."""
    folder.mkdir(exist_ok=True)
    for name in names:
        file = folder / name / "__init__.py" if package else folder / f"{name}.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(FAKE.format(marks=str(folder / "marks"), name=name))
    return folder


def marks(folder: Path) -> list[list[str]]:
    """The imports from this folder: for each the pid of the process and the name of the module."""
    path = folder / "marks"
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def run_in(way: str, folder: Path) -> tuple[list[str], dict[str, Any]]:
    """How to start muinit so that the modules in this folder may reach it: a command line and arguments for Popen."""
    if way == "PYTHONPATH":
        return MUINIT, {"env": {**CLEAN, "PYTHONPATH": str(folder)}}
    if way == "python -m":
        return [PYTHON, "-m", "muinit"], {"env": CLEAN, "cwd": folder}
    shutil.copy(MUINIT[0], folder / "muinit")
    return [str(folder / "muinit")], {"env": CLEAN}


def instead(argv: Sequence[str], *, pid1: bool = False) -> list[str]:
    """A prefix that runs this command line in place of the installed muinit."""
    return [*(AS_INIT if pid1 else []), "sh", "-c", f'shift; exec {shlex.join(argv)} "$@"', "sh"]


def said(argv: Sequence[str], *words: str, code: int = 3, **popen: Any) -> subprocess.CompletedProcess[str]:
    popen = {"capture_output": True, "text": True, "errors": "surrogateescape", "timeout": PATIENCE, **popen}
    done = subprocess.run([*argv, *words], check=False, **popen)
    assert done.returncode == code, done.stderr
    return done


def was_executed_again(argv: Sequence[str], **popen: Any) -> bool:
    return "\n-X\nmuinit=" in said(argv, "-q", "---", *LOOK, **popen).stdout


# Modules of the commands


@pytest.mark.parametrize("package", [False, True], ids=["files", "packages"])
@pytest.mark.parametrize("way", WAYS)
def test_no_module_of_the_commands_is_imported(way: str, package: bool, pid1: bool, tmp_path: Path) -> None:
    """The command imports it and sees its variables; muinit does not import it, not even when it imports late."""
    folder = fake(tmp_path, *names(way), package=package)
    argv, popen = run_in(way, folder)
    script = "import os, sys; sys.path.insert(0, sys.argv[1]); import transitions\n"
    script += "print(os.environ.get('PYTHONPATH')); sys.exit(3)"
    command = [PYTHON, "-I", "-S", "-c", script, str(folder)]
    with Run(command, ["sleep", "60"], options=" ".join(EVERYTHING), prefix=instead(argv, pid1=pid1), **popen) as it:
        init = "1" if pid1 else str(it.process.pid)
        assert it.line() == popen["env"].get("PYTHONPATH", "None")
        assert it.end() == 3
        assert "Traceback" not in it.err
        assert "warning" not in it.err
    imported = marks(folder)
    assert [name for _, name in imported] == ["transitions"]
    assert imported[0][0] != init


@pytest.mark.parametrize("way", WAYS)
def test_help_version_diagrams_and_errors_are_isolated_too(way: str, tmp_path: Path) -> None:
    folder = fake(tmp_path, *names(way))
    argv, popen = run_in(way, folder)
    for option in SHOWN:
        assert said(argv, *option, code=0 if option != ["--diagram=svg"] or shutil.which("dot") else 1, **popen)
    assert "unknown option '--bad'" in said(argv, "--bad", code=1, **popen).stderr
    assert not marks(folder)


@pytest.mark.parametrize("way", WAYS)
def test_no_module_is_imported_if_it_is_the_only_one_there(way: str, tmp_path: Path) -> None:
    """A module may be found only if others are missing, so each has its own folder and its own run."""

    def broken(name: str) -> str:
        folder = fake(tmp_path / name, name)
        argv, popen = run_in(way, folder)
        done = subprocess.run(
            [*argv, "-q", "--trace-file=/dev/null", "---", "sh", "-c", "exit 3"],
            capture_output=True,
            timeout=PATIENCE,
            check=False,
            **popen,
        )
        return name if done.returncode != 3 or done.stderr or marks(folder) else ""

    assert len(names(way)) > 30
    with ThreadPoolExecutor(2) as pool:
        assert not [*filter(None, pool.map(broken, names(way)))]


# A fake that works like the real module, and could leave anything behind. When `encodings` is imported, there is no
# open() yet.
WRAPPER = """\
{fake}
fd = posix.open({file!r}, posix.O_RDONLY)
{path}
exec(compile(posix.read(fd, 1000000), {file!r}, "exec"))
posix.close(fd)
"""


@pytest.mark.parametrize("way", ["PYTHONPATH", "python -m"])
def test_what_python_imports_before_muinits_first_line_leaves_nothing_behind(way: str, tmp_path: Path) -> None:
    """Such a module either breaks Python, or muinit executes Python again, without it."""
    survived = []
    for name in sorted(loaded_before_us(way) - {"muinit"}):
        file = getattr(__import__(name), "__file__", None)
        if not file or not file.endswith(".py"):
            continue
        package = file.endswith("/__init__.py")
        folder = fake(tmp_path / name, name, package=package)
        ours = folder / name / "__init__.py" if package else folder / f"{name}.py"
        path = f"__path__.append({os.path.dirname(file)!r})" if package else ""
        ours.write_text(WRAPPER.format(fake=ours.read_text(), file=file, path=path))
        argv, popen = run_in(way, folder)
        done = subprocess.run(
            [*argv, "-q", "---", *LOOK], capture_output=True, text=True, timeout=PATIENCE, check=False, **popen
        )
        if marks(folder) and done.returncode == 3:
            survived.append(name)
            assert "-I" in done.stdout.split("\n"), name
    assert survived, loaded_before_us(way)


def test_a_module_that_a_command_writes_later_is_not_imported(pid1: bool, tmp_path: Path) -> None:
    """When a command ends, muinit imports more modules, but does not look for them where the commands write."""
    folder = fake(tmp_path / "late", *names("python -m"))
    (folder / "marks").unlink(missing_ok=True)
    here = tmp_path / "here"
    here.mkdir()
    argv, popen = run_in("python -m", here)
    copy = ["sh", "-c", f"cp {folder}/*.py {here}; exit 3"]
    with Run(copy, options=" ".join(EVERYTHING), prefix=instead(argv, pid1=pid1), **popen) as it:
        assert it.end() == 3
    assert not marks(here)
    assert not marks(folder)


# Variables

HARMLESS = {
    "PYTHONUNBUFFERED": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONHASHSEED": "0",
    "PYTHONIOENCODING": "utf-8",
    "PYTHONUTF8": "1",
    "PYTHONNOUSERSITE": "1",
    "PYTHONSAFEPATH": "1",
    "PYTHONNODEBUGRANGES": "1",
    "PYTHONASYNCIODEBUG": "1",
    "PYTHONBREAKPOINT": "0",
    "PYTHONSTARTUP": "/startup.py",
    "PYTHON_VERSION": "3.13.1",
    "PYTHON_SHA256": "0",
    "PYTHON_PIP_VERSION": "24.0",
    "PYTHON_SETUPTOOLS_VERSION": "65.5.1",
    "PYTHON_GET_PIP_URL": "x",
    "PYTHON_COLORS": "1",
    "PYTHON_CPU_COUNT": "1",
    "PYTHON": "python3",
    "PYTHONPATH": "",  # the same as not set
}
OURS_TO_LEAVE = {
    "PYTHONPATH": "/nowhere",
    "PYTHONTRACEMALLOC": "9",
    "PYTHONDEVMODE": "1",
    "PYTHONMALLOC": "debug",
    "PYTHONFAULTHANDLER": "1",
    "PYTHONWARNINGS": "error",
    "PYTHONUSERBASE": "/nowhere",
    "PYTHONINSPECT": "1",
    "PYTHONOPTIMIZE": "2",
    "PYTHONPYCACHEPREFIX": "/dev/null",  # nothing can be written there
    "PYTHONCASEOK": "1",
    "PYTHONCOERCECLOCALE": "0",
    "PYTHONPROFILEIMPORTTIME": "1",
    "PYTHONVERBOSE": "1",
    "PYTHONDEBUG": "1",
    "PYTHONDUMPREFS": "1",
    "PYTHONMALLOCSTATS": "1",
    "PYTHONWARNDEFAULTENCODING": "1",
    "PYTHONINTMAXSTRDIGITS": "640",
    "PYTHONPERFSUPPORT": "1",
    "PYTHONPLATLIBDIR": "lib",
    "PYTHONHOME": f"{sys.base_prefix}:{sys.base_exec_prefix}",
    "PYTHONOFTOMORROW": "1",
    "PYTHON_PERF_JIT_SUPPORT": "1",
    "PYTHON_PRESITE": "x",
    "PYTHON_LAZY_IMPORTS": "all",
    "PYTHON_FROZEN_MODULES": "off",
}


def test_an_image_with_only_harmless_variables_pays_nothing() -> None:
    # In the locale "C" Python adds LC_CTYPE to its own environment, and muinit asks muinit.isolated what it was before.
    env = {**CLEAN, **HARMLESS, "LC_ALL": "C.UTF-8"}
    env.pop("LC_CTYPE", None)
    assert not was_executed_again(MUINIT, env=env)
    imports = said([PYTHON, "-X", "importtime", *MUINIT], "---", "sh", "-c", "exit 3", env=env).stderr
    assert "muinit.kernel" in imports
    assert "muinit.isolated" not in imports
    assert not was_executed_again([PYTHON, "-m", "muinit"], env=CLEAN, cwd="/")


@pytest.mark.parametrize("name", OURS_TO_LEAVE)
def test_a_variable_of_python_is_for_the_commands_alone(name: str) -> None:
    """It reaches the commands but not muinit, which takes every unknown PYTHON... name for a variable of Python."""
    script = f"{LOOK[-1].partition(';')[0]}; echo ${name}; exit 3"
    done = said(MUINIT, "-q", "---", "sh", "-c", script, env={**CLEAN, name: OURS_TO_LEAVE[name]})
    assert "\n-X\nmuinit=" in done.stdout
    assert done.stdout.endswith(f"\n{OURS_TO_LEAVE[name]}\n")


def test_a_parent_that_died_before_muinit_was_executed_again_is_noticed(tmp_path: Path) -> None:
    """The parent at muinit's first line counts, and not the one that the second interpreter finds."""
    env = {**CLEAN, "PYTHONPATH": str(fake(tmp_path, "anything"))}
    words = said(MUINIT, "-q", "---", *LOOK, env=env).stdout.split("\n")
    assert f"muinit.parent={os.getpid()}" in words
    words[words.index(f"muinit.parent={os.getpid()}")] = "muinit.parent=4194303"
    again = [*words[: words.index("-q")], "-p", "HUP", "---", "sleep", "60"]
    assert "; SIGHUP had told muinit to stop after " in said([PYTHON, *again[1:]], code=143).stderr


def test_options_of_the_interpreter_are_respected(tmp_path: Path) -> None:
    """`-E` means no variables, `-s` no site-packages of the user, and `-P` no folder of the script."""
    env = {**CLEAN, "PYTHONPATH": str(fake(tmp_path / "a", *names("PYTHONPATH")))}
    assert not was_executed_again([PYTHON, "-E", *MUINIT], env=env)
    here = fake(tmp_path / "b", *names("python -m"))
    said([PYTHON, "-E", "-m", "muinit"], "-v", "---", "sh", "-c", "exit 3", env=env, cwd=here)
    words = said([PYTHON, "-B", *MUINIT], "-q", "---", *LOOK, env=env).stdout.split("\n")
    assert words[1:3] == ["-I", "-B"]
    site = next(path for path in sys.path if path.endswith("site-packages"))
    without_site = {**env, "PYTHONPATH": f"{env['PYTHONPATH']}:{ROOT}:{site}"}
    words = said([PYTHON, "-S", *MUINIT], "-q", "---", *LOOK, env=without_site).stdout.split("\n")
    assert words[1:3] == ["-I", "-S"]
    assert not was_executed_again([PYTHON, "-I", "-m", "muinit"], env=env)
    assert not marks(tmp_path / "a") + marks(here)


# What a sitecustomize does before muinit's first line

SITECUSTOMIZE = """\
import os, signal, sys, threading, time
kept = bytearray(50_000_000)
kept_open = os.open("/dev/zero", os.O_RDONLY)
signal.signal(signal.SIGUSR2, print)
sys.meta_path.insert(0, type("Agent", (), {"find_spec": lambda *_: None}))
os.environ["AGENT"] = "1"
threading.Thread(target=time.sleep, args=[1000], daemon=True).start()
"""


def test_an_agent_leaves_no_trace(pid1: bool, tmp_path: Path) -> None:
    """A sitecustomize with a thread, memory, a descriptor, a handler and variables affects only the commands."""
    (tmp_path / "sitecustomize.py").write_text(SITECUSTOMIZE)
    script = "import time, threading; print(threading.active_count(), flush=True); time.sleep(60)"
    command = [PYTHON, "-c", script]

    def facts(env: dict[str, str]) -> tuple[int, int, dict[str, str], str, bytes]:
        with Run(command, kid("A"), pid1=pid1, env=env) as it:
            heard = sorted([it.line(), it.line()])
            now = wait_for(lambda: None if is_deaf(it.init) else status(it.init))
            proc = Path(f"/proc/{it.init}")
            descriptors = len(os.listdir(proc / "fd"))
            comm = (proc / "comm").read_text()
            environment = (proc / "environ").read_bytes().replace(it.tag.encode(), b"")
            it.signal(signal.SIGTERM)
            assert it.end() == 143
            assert it.err.count("\n") == 1
            return int(heard[0]), descriptors, now, comm, environment

    threads, descriptors, now, comm, environment = facts({**CLEAN, "PYTHONPATH": str(tmp_path)})
    others, descriptors_of_clean, clean, comm_of_clean, environment_of_clean = facts(CLEAN)
    assert (threads, others) == (2, 1)
    assert now["Threads"] == "1"
    assert abs(kilobytes(now["VmRSS"]) - kilobytes(clean["VmRSS"])) < 1500
    assert kilobytes(now["VmHWM"]) < 40_000
    assert descriptors == descriptors_of_clean
    assert comm == comm_of_clean == "muinit\n"
    assert environment.replace(b"PYTHONPATH=" + bytes(tmp_path) + b"\0", b"") == environment_of_clean
    for which in ("SigBlk", "SigIgn", "SigCgt"):
        assert signals(now[which]) == signals(clean[which])


@pytest.mark.parametrize("hiding", ["", "sys.path.remove(os.path.dirname(__file__))\n"])
def test_an_agent_that_hides_itself_leaves_no_trace_either(hiding: str, tmp_path: Path) -> None:
    """It deletes PYTHONPATH, which brought it, to keep the variable from other programs; the commands get it anyway."""
    (tmp_path / "sitecustomize.py").write_text(f"{SITECUSTOMIZE}del os.environ['PYTHONPATH']\n{hiding}")
    command = ["sh", "-c", "echo $PYTHONPATH; grep Threads /proc/$PPID/status; exit 3"]
    done = said(MUINIT, "-q", "---", *command, env={**CLEAN, "PYTHONPATH": str(tmp_path)})
    assert done.stdout == f"{tmp_path}\nThreads:\t1\n"


def signals(text: str) -> set[int]:
    """The signals of a mask in /proc/PID/status, without the two that the C library keeps for itself."""
    return {number for number in signal.valid_signals() if int(text, 16) >> (number - 1) & 1}


def kilobytes(text: str) -> int:
    return int(text.split(maxsplit=1)[0])


def test_the_trace_has_the_arguments_that_were_given(tmp_path: Path) -> None:
    argv = [*MUINIT, "-q", f"--trace-file={tmp_path / 'trace'}"]
    env = {**CLEAN, "PYTHONPATH": "/nowhere"}
    said(argv, "---", "sh", "-c", "exit 3", "\udcff", env=env)
    header = (tmp_path / "trace").read_text().splitlines()[0]
    said(argv, "---", "sh", "-c", "exit 3", "\udcff", env=CLEAN)
    clean = (tmp_path / "trace").read_text().splitlines()[0]
    assert header[header.index('"argv"') : header.index('"pid"')] == clean[clean.index('"argv"') : clean.index('"pid"')]


# What the commands get

ENVIRONMENTS = {
    "no locale": [b"B=2", b"A=1", b"PATH=" + os.environb[b"PATH"]],
    "C": [b"A=1", b"LC_ALL=C", b"PATH=" + os.environb[b"PATH"]],
    "POSIX": [b"LC_CTYPE=POSIX", b"PATH=" + os.environb[b"PATH"]],
    "UTF-8": [b"LC_CTYPE=C.UTF-8", b"A=1", b"PATH=" + os.environb[b"PATH"]],
    "empty": [],
    "odd": [b"A=1", b"=x", b"name", b"=C:=x", b"B=\xff\xfe", b"A=2", b"C=", b"\xff=1", b"D=a=b\n"],
}
# Executes argv[2:] with the environment in argv[1] (hexadecimal digits). os.execve() would refuse the odd entries.
EXECUTE = """\
import ctypes, os, sys
entries = bytes.fromhex(sys.argv[1]).split(b"\\0")[:-1]
def array(words): return (ctypes.c_char_p * (len(words) + 1))(*words, None)
ctypes.CDLL(None).execve(sys.argv[2].encode(), array([os.fsencode(word) for word in sys.argv[2:]]), array(entries))
"""


@pytest.mark.parametrize("extra", [[], [b"PYTHONPATH=/nowhere"]], ids=["clean", "PYTHONPATH"])
@pytest.mark.parametrize("entries", ENVIRONMENTS.values(), ids=ENVIRONMENTS)
def test_the_environment_of_the_commands_is_the_callers(entries: list[bytes], extra: list[bytes]) -> None:
    """They are equal byte by byte, except that Python passes on only NAME=VALUE, and each name once."""
    given = [*entries[:1], *extra, *entries[1:]]
    data = b"".join(entry + b"\0" for entry in given)
    argv = [PYTHON, "-I", "-c", EXECUTE, data.hex(), *MUINIT, "-q", "---", "/bin/cat", "/proc/self/environ"]
    passed = [entry for entry in given if entry.find(b"=") > 0 and entry != b"A=2"]
    for prefix in [[], AS_INIT] if not why_no_namespace() else [[]]:
        assert subprocess.run([*prefix, *argv], capture_output=True, check=True).stdout.split(b"\0")[:-1] == passed


def test_the_environment_of_the_commands_without_proc() -> None:
    """Without /proc muinit cannot see whether Python has set LC_CTYPE; everything else is the caller's."""
    if os.geteuid() != 0:
        pytest.skip("only root can hide /proc")
    need("a PID namespace", why_no_namespace())
    hide = ["unshare", "--mount", "sh", "-ec", 'mount -t tmpfs none /proc; exec "$@"', "sh", "env", "-i"]
    for entries in (["A=1", "LC_ALL=C", "PYTHONPATH=/nowhere"], ["A=1", "LANG=C.UTF-8", "PYTHONPATH=/nowhere", "B=2"]):
        done = subprocess.run([*hide, *entries, *MUINIT, "-q", "---", "/usr/bin/env"], capture_output=True, check=True)
        assert done.stdout.decode().split() == entries


# Does what setproctitle does: puts another text into the memory that /proc/self/environ shows.
OVERWRITE = """\
import ctypes, os
fields = open("/proc/self/stat").read().rpartition(")")[2].split()
start, end = int(fields[47]), int(fields[48])
ctypes.memset(start, 0, end - start)
ctypes.memmove(start, b"agent: x=1", 10)
"""


def test_the_environment_of_the_commands_where_a_module_has_overwritten_it(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(OVERWRITE)
    env = {"A": "1", "LC_ALL": "C", "PYTHONPATH": str(tmp_path), "B": "2"}
    out = said(MUINIT, "-q", "---", "/usr/bin/env", code=0, env=env).stdout
    assert out.splitlines() == [f"{name}={value}" for name, value in env.items()]


# Blocks some signals, ignores one and sends one to itself, and then executes argv[1:].
SIGNALS = """\
import os, signal, sys
for number in (signal.SIGPIPE, signal.SIGXFSZ): signal.signal(number, signal.SIG_DFL)
signal.signal(signal.SIGHUP, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, {blocked})
os.kill(os.getpid(), signal.SIGUSR1)
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.mark.parametrize("blocked", ["[signal.SIGUSR1, signal.SIGRTMIN, signal.SIGRTMAX]", "signal.valid_signals()"])
def test_the_signals_of_the_commands_are_the_callers(blocked: str, pid1: bool) -> None:
    prefix = [*(AS_INIT if pid1 else []), PYTHON, "-I", "-c", SIGNALS.format(blocked=blocked)]
    grep = ["grep", "^Sig[BIC]", "/proc/self/status"]
    dirty, clean = (
        said([*prefix, *MUINIT], "---", *grep, code=0, env=env) for env in ({**CLEAN, "PYTHONPATH": "/nowhere"}, CLEAN)
    )
    assert dirty.stdout == clean.stdout
    mask = int(dirty.stdout.split()[1], 16)
    assert mask >> (signal.SIGUSR1 - 1) & 1
    assert mask >> (signal.SIGRTMAX - 1) & 1
    ignored = int(dirty.stdout.split()[3], 16)
    assert (ignored >> (signal.SIGHUP - 1) & 1, ignored >> (signal.SIGPIPE - 1) & 1) == (1, 0)
    assert dirty.stderr == clean.stderr
    assert ("SIGTERM blocked" in clean.stderr) == ("valid_signals" in blocked)


def test_a_pending_signal_is_kept(pid1: bool) -> None:
    """A signal that is blocked and pending when muinit starts is still pending after Python has started again."""
    prefix = [*(AS_INIT if pid1 else []), PYTHON, "-I", "-c", SIGNALS.format(blocked="[signal.SIGUSR1]")]
    with Run(
        kid("A", "TERM=exit 0"),  # it has SIGUSR1 blocked too, as its caller had
        options="-s USR1 --trace-states",
        prefix=prefix,
        env={**CLEAN, "PYTHONPATH": "/nowhere"},
    ) as it:
        it.ready("A")
        wait_for(lambda: "forward" in it.err)
        it.signal(signal.SIGTERM)
        assert it.end() == 0


def test_a_signal_that_comes_while_python_starts_again_is_kept(pid1: bool) -> None:
    """On its first line muinit blocks all signals, and they stay blocked in the next interpreter."""
    for _ in range(20):
        with Run(["sleep", "60"], pid1=pid1, env={**CLEAN, "PYTHONPATH": "/nowhere"}) as it:
            init, _ = execed(it)
            while not is_deaf(init):  # no sleep: the signals are blocked for only some milliseconds
                pass
            os.kill(init, signal.SIGTERM)
            assert it.end() == 143


# Where muinit is installed


def install(folder: Path, *packages: str) -> Path:
    """Copy muinit and the packages that it needs into a folder: all of them, or those named. Return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in packages or ("muinit", "statechart", "transitions", "six.py"):
        source = {
            "transitions": Path(transitions.__file__).parent,
            "six.py": Path(transitions.__file__).parent.parent / "six.py",
        }.get(name, ROOT / name)
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder)
    return folder


@pytest.mark.parametrize("pythonpath", ["", "/nowhere", "fakes"])
@pytest.mark.parametrize(
    "where",
    ["user", "user, editable", "PYTHONPATH", "PYTHONPATH, two", "checkout", "checkout, user", "checkout, PYTHONPATH"],
)
def test_an_installation_in_a_place_of_the_user_works(where: str, pythonpath: str, tmp_path: Path) -> None:
    """The place is that of `pip install --user` (also with `-e`), PYTHONPATH, or a checkout in the current folder.

    muinit uses nothing else in that place, and does not take a program's own transitions.py for the library.
    """
    user = install(tmp_path / "home/.local" / SITE, "six.py")
    checkout = install(tmp_path / "checkout", "muinit", "statechart")
    cwd = tmp_path / "cwd"
    cwd.mkdir()
    unclear = {"six"} if where == "PYTHONPATH, two" else set()  # a fake six.py looks like the library
    path = (
        [str(fake(tmp_path / "app", *set(names("python -m", BASE)) - unclear))]
        if pythonpath == "fakes"
        else [pythonpath] * 1
    )
    if where == "user":
        install(user, "muinit", "statechart", "transitions")
    elif where == "user, editable":
        install(user, "transitions")
        (user / "editable.pth").write_text(f"{checkout}\n")
    elif where == "PYTHONPATH":
        path.append(str(install(tmp_path / "target")))
    elif where == "PYTHONPATH, two":
        (user / "six.py").unlink()
        path += [str(checkout), str(install(tmp_path / "a", "transitions")), str(install(tmp_path / "b", "six.py"))]
    else:
        cwd = checkout
        if where == "checkout":
            install(checkout, "transitions")
        elif where == "checkout, user":
            install(user, "transitions")
        else:
            path.append(str(install(tmp_path / "target", "transitions")))
    if pythonpath == "fakes":
        theirs = [name for name in names("python -m", BASE) if name not in {"transitions", "six", "statechart"}]
        for folder in {cwd, tmp_path / "app", tmp_path / "target"} - {cwd if cwd == checkout else None}:
            fake(folder, *theirs)
    env = {**CLEAN, "HOME": str(tmp_path / "home"), "PYTHONPATH": ":".join(filter(None, path))}
    command = ["sh", "-c", 'echo "$PYTHONPATH"; exit 3']
    done = said([BASE, "-m", "muinit"], *EVERYTHING, "---", *command, env=env, cwd=cwd)
    assert done.stdout == env["PYTHONPATH"] + "\n"
    assert "exit 3: pid" in done.stderr
    assert "warning" not in done.stderr
    assert not [mark for folder in (cwd, tmp_path / "app", tmp_path / "target") for mark in marks(folder)]


def test_the_muinit_that_was_started_is_the_one_that_runs(tmp_path: Path) -> None:
    """No other installed muinit takes over, and nothing else in its folder is used, whatever Python tries to import."""
    folder = fake(install(tmp_path / "target"), "msvcrt")
    (folder / "statechart/__init__.py").write_text("print('its own', flush=True)")
    env = {**CLEAN, "PYTHONPATH": str(folder)}
    assert said(MUINIT, "---", "sh", "-c", "exit 3", env=env).stdout == "its own\n"
    assert "its own\n" in said([PYTHON, "-m", "muinit"], "---", "sh", "-c", "exit 3", env=CLEAN, cwd=folder).stdout
    said(MUINIT, "--diagram=svg", code=0 if shutil.which("dot") else 1, env=env)
    assert not marks(folder)


def test_muinit_does_not_use_the_users_site_packages(tmp_path: Path) -> None:
    """If muinit is installed elsewhere and there is a usercustomize, it executes Python again, without it."""
    user = tmp_path / "home/.local" / SITE
    target = install(tmp_path / "target")
    (install(user, "six.py") / "usercustomize.py").write_text(SITECUSTOMIZE)
    script = tmp_path / "muinit"
    script.write_text(
        f"#!{BASE}\nimport sys\nsys.path.append({str(target)!r})\nfrom muinit.__main__ import run\nrun()\n"
    )
    script.chmod(0o755)
    env = {**CLEAN, "HOME": str(tmp_path / "home")}
    assert was_executed_again([str(script)], env=env)
    assert "Threads:\t1\n" in said([str(script)], "---", "sh", "-c", "cat /proc/$PPID/status; exit 3", env=env).stdout


@pytest.mark.parametrize("options", [[], ["-I"]])
def test_muinit_runs_from_a_zip_file(options: list[str], tmp_path: Path) -> None:
    source = install(tmp_path / "source")
    zipapp.create_archive(source, tmp_path / "muinit.pyz", main="muinit.__main__:run")
    folder = fake(tmp_path / "app", *names("python -m", BASE))  # for a zip file Python loads the same modules first
    for env in (CLEAN, {**CLEAN, "PYTHONPATH": str(folder)}):
        done = said(
            [BASE, *options, "../muinit.pyz"],
            *EVERYTHING,
            "---",
            "sh",
            "-c",
            "exit 3",
            env=env,
            cwd=tmp_path / "source",
        )
        assert "exit 3: pid" in done.stderr
        assert "warning" not in done.stderr
    assert not marks(folder)


# The same interpreter


@pytest.mark.parametrize("name", ["", "muinit", "nobody", "/nowhere/python3"])
def test_the_name_of_the_interpreter_does_not_matter(name: str, pid1: bool, tmp_path: Path) -> None:
    """Python takes argv[0] for its own path, and may find another program there, or none."""
    folder = fake(tmp_path, *names("PYTHONPATH", BASE))
    call = f"import os, sys; os.execv({PYTHON!r}, [{name!r} or 'x', *{MUINIT}, *sys.argv[2:]])"
    if name == "":
        call = "import ctypes, os, sys; words = [b'', *map(os.fsencode, sys.argv[1:])]\n"
        call += f"ctypes.CDLL(None).execv({PYTHON!r}.encode(), (ctypes.c_char_p * (len(words) + 1))(*words, None))"
    prefix = [*(AS_INIT if pid1 else []), PYTHON, "-I", "-c", call]
    site = next(path for path in sys.path if path.endswith("site-packages"))
    env = {**CLEAN, "PYTHONPATH": f"{folder}:{ROOT}:{site}", "PATH": f"{Path(PYTHON).parent}:{CLEAN['PATH']}"}
    done = said([*prefix, *MUINIT], "-v", "---", *LOOK, env=env)
    assert "warning" not in done.stderr
    assert "\n-I\n" in done.stdout
    assert not marks(folder)


def test_an_interpreter_that_needs_pythonhome_goes_on(tmp_path: Path) -> None:
    """Python would not start without PYTHONHOME: muinit does not execute it and looks in the commands' folders last."""
    if os.geteuid() != 0:
        pytest.skip("only root can move Python away")
    if sys.base_prefix == "/usr":
        pytest.skip("Python shares its folder with all other programs")
    need("a PID namespace", why_no_namespace())
    home = tmp_path / "home"
    home.mkdir()
    hide = "mount --bind {0} {1}; mount -t tmpfs none {0}; cp {1}/bin/python3* {2}; shift; exec env {3} {2}/python3 {4}"
    site = Path(transitions.__file__).parent.parent
    late = fake(tmp_path / "app", *(set(names("PYTHONPATH", BASE)) - {"transitions", "six", "statechart"}))
    (tmp_path / "bin").mkdir()
    script = hide.format(
        sys.base_prefix,
        home,
        tmp_path / "bin",
        f"LD_LIBRARY_PATH={home}/lib PYTHONHOME={home} PYTHONPATH={late}:{ROOT}:{site}",
        f'{MUINIT[0]} "$@"',
    )
    prefix = ["unshare", "--mount", "sh", "-ec", script, "sh"]
    done = said([*prefix, *MUINIT], "---", "sh", "-c", "exit 3", env=CLEAN)
    assert done.stderr.count("warning: muinit is not isolated from") == 1
    assert "-I: it does not start; " in done.stderr
    assert not marks(late)


def test_a_path_that_is_not_utf_8(tmp_path: Path) -> None:
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/\xff")
    os.mkdir(folder)
    shutil.copy(MUINIT[0], f"{folder}/muinit\udcff")
    assert was_executed_again([f"{folder}/muinit\udcff"], env={**CLEAN, "PYTHONPATH": folder})


def test_an_execve_that_fails_is_not_fatal(tmp_path: Path) -> None:
    """Instead of ending, muinit warns and looks in the folders of the commands last."""
    folder = fake(tmp_path, *names("PYTHONPATH"))
    script = "import posix\ndef execve(*_): raise OSError(7, 'Argument list too long')\nposix.execve = execve\n"
    (folder / "sitecustomize.py").write_text(script)
    done = said(MUINIT, "-q", "---", *LOOK, env={**CLEAN, "PYTHONPATH": str(folder)})
    assert done.stderr.startswith("muinit: warning: muinit is not isolated from ")
    assert ": Argument list too long; if a variable breaks muinit, set it for the command alone" in done.stderr
    assert not marks(folder)


def test_python_is_not_executed_again_and_again() -> None:
    """It is executed at most once more, even if it is part of another program that does not know `-I`."""
    script = "import sys; sys.orig_argv[1:1] = ['-I']; from muinit import isolated; print(isolated._execute(set(), 1))"
    assert said([PYTHON, "-c", script], code=0).stdout.endswith(" does not know -I\n")
