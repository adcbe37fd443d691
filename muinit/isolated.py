"""Start the same interpreter again, isolated (`python -I`) from what the container provides for its commands.

PYTHONPATH and other PYTHON... variables, a sitecustomize, the user's site-packages and the files of the current folder
are for the commands. Only execve(2) undoes what they have already done to this process: it ends threads, frees memory,
closes descriptors and resets handlers. The pid, the blocked signals and the pending signals stay. `muinit.__main__`
decides whether this is needed. The commands get the environment, the signal mask and the descriptors of our caller
unchanged.

This module runs in the interpreter that we leave, so it imports only modules that are built into Python.
"""

import posix
import sys
from _frozen_importlib_external import PathFinder
from _signal import SIG_DFL, SIGCHLD, signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

# Python keeps -X options that it does not know in sys._xoptions. No command sees them.
_MARK = "muinit"
_FILE = __file__ if __file__.startswith("/") else f"{posix.getcwd()}/{__file__}"
_ROOT = _FILE.rpartition("/")[0].rpartition("/")[0]  # the folder, or the zip file, that holds the package muinit


def isolate(mask: set[int], parent: int) -> tuple[set[int], int]:
    """Become an isolated interpreter; return the signal mask of our caller, and our parent at our first line.

    `mask` and `parent` are those that this process found.

    It returns in the new interpreter. If that cannot be executed, it writes a warning and returns in this one. Then
    PYTHONPATH and the current folder are at the end of sys.path. Before execve(2), a signal may still go to a thread
    that a sitecustomize has started: we can block signals only in our own thread.
    """
    options: dict[str, str | bool] = sys._xoptions  # noqa: SLF001
    if _MARK in options:
        del sys.argv[0], sys.path[0]  # this file, and its _ROOT
        homes = {name: str(options.get(f"{_MARK}.{name}", _ROOT)) for name in _OURS}
        sys.meta_path.insert(0, _Finder(homes))
        _rename(sys.argv[0].rpartition("/")[2])
        bits, parent = int(str(options[_MARK]), 16), int(str(options[f"{_MARK}.parent"]))
        return {number for number in range(bits.bit_length()) if bits >> number & 1}, parent
    why = _execute(mask, parent)
    foreign, own = _split_path()
    sys.path[:] = own + foreign
    from muinit.stderr import Stderr

    what = "muinit is not isolated from the PYTHON... variables and modules of its commands"
    cure = "if a variable breaks muinit, set it for the command alone, as in '--- env PYTHONPATH=/app COMMAND'"
    Stderr().line(f"warning: {what}: {why}; {cure}")
    return mask, parent


# The packages that we import besides Python's own library, each with a part that only the real one has: a command may
# have a transitions.py, too.
_OURS = {"muinit": "muinit.isolated", "statechart": "statechart.chart", "transitions": "transitions.core", "six": "six"}


class _Finder:
    """For sys.meta_path: finds these packages and nothing else in their folders."""

    def __init__(self, homes: dict[str, str]) -> None:
        self._homes = homes

    def find_spec(self, name: str, _path: object = None, target: object = None) -> "ModuleSpec | None":
        home = self._homes.get(name)
        return PathFinder.find_spec(name, [home], target) if home else None  # type: ignore[arg-type]


def _split_path() -> tuple[list[str], list[str]]:
    """sys.path in two parts: the folder of the script and PYTHONPATH, then Python's own library and what follows."""
    zips = (entry.endswith(".zip") and "/python3" in entry for entry in sys.path)  # as in _is_clean()
    first = next((i for i, found in enumerate(zips) if found), 0)
    return sys.path[:first], sys.path[first:]


def _homes() -> dict[str, str]:
    """The folder of each of our packages: beside the others if possible, else where Python finds it.

    PYTHONPATH and the current folder come last.
    """
    foreign, own = _split_path()
    homes: dict[str, str] = {}
    for name, part in _OURS.items():
        for folder in (_ROOT, *homes.values(), *own, *foreign):
            spec = PathFinder.find_spec(name, [folder])
            if spec and (part == name or PathFinder.find_spec(part, spec.submodule_search_locations or [])):
                homes[name] = folder or posix.getcwd()
                break
    return homes


def _execute(mask: set[int], parent: int) -> str:
    """Execute muinit in an isolated interpreter. Returns only if that fails: the reason, for people."""
    if sys.orig_argv[1:2] == ["-I"]:  # a program that embeds Python and ignores -I would execute itself without end
        return f"{sys.executable} does not know -I"
    try:
        environment = callers_environment()
        interpreter = _interpreter(environment)
        argv = [sys.executable or interpreter, "-I"]
        argv += ["-B"] if sys.flags.dont_write_bytecode else []
        argv += ["-S"] if sys.flags.no_site else []
        argv += ["-X", f"{_MARK}={sum(1 << number for number in mask):x}", "-X", f"{_MARK}.parent={parent}"]
        for name, home in _homes().items():
            if home != _ROOT:
                argv += ["-X", f"{_MARK}.{name}={home}"]
        argv.append(_FILE if posix.access(_FILE, posix.R_OK) else _ROOT)  # a zip file is executed by its __main__.py
        posix.execve(interpreter, [*argv, *sys.argv], environment)
    except OSError as error:
        return f"{sys.executable} -I: {error.strerror}"


def _interpreter(environment: dict[bytes, bytes]) -> str:
    """The file of an interpreter that starts with -I. Raises OSError if none does.

    After execve(2) it would be too late to find out, and two things can go wrong. Python takes argv[0] for its own
    path, but some callers put another word there. And Python may find its library only with the help of PYTHONHOME. If
    one of these is possible, we first try the interpreter in a child.
    """
    this = ""
    try:
        this = posix.readlink("/proc/self/exe")
        one, other = posix.stat(this), posix.stat(sys.executable)
        same = (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
    except OSError:
        same = False
    if same and not any(environment.get(name) for name in (b"PYTHONHOME", b"PYTHONPLATLIBDIR")):
        return sys.executable
    signal(SIGCHLD, SIG_DFL)  # some callers leave it ignored, and then waitpid(2) has no status
    closed = [(posix.POSIX_SPAWN_CLOSE, fd) for fd in (0, 1, 2)]
    script = "import logging, sys; sys.exit(not sys.flags.isolated)"  # logging needs a good part of the library
    for file in filter(None, (this, sys.executable)):
        argv = [sys.executable or file, "-I", "-c", script]
        pid = posix.posix_spawn(file, argv, environment, file_actions=closed)
        if posix.waitpid(pid, 0)[1] == 0:
            return file
    raise OSError(0, "it does not start")


def _rename(name: str) -> None:
    """Keep our name for ps(1) and pkill(1): the kernel had named us after the script, and now after Python."""
    if name != "__main__.py":  # with `python -m` the name was Python's before, too
        try:
            with open("/proc/self/comm", "wb") as file:
                file.write(name.encode("utf-8", "surrogateescape"))
        except OSError:
            pass


def callers_environment() -> dict[bytes, bytes]:
    """The environment that this process was executed with, in order.

    If the locale is "C", as in most containers, Python changes LC_CTYPE (PEP 538), and a sitecustomize may change more.
    Without a /proc, or if a program has overwritten the memory behind /proc/self/environ (setproctitle does), this is
    the environment as it is now.
    """
    entries = [name + b"=" + value for name, value in posix.environ.items()]
    try:
        with open("/proc/self/environ", "rb") as file:
            given = file.read().split(b"\0")[:-1]
        if all(given):
            entries = given
    except OSError:
        pass
    environment: dict[bytes, bytes] = {}
    for entry in entries:
        name, equals, value = entry.partition(b"=")
        if name and equals:  # Python passes on only NAME=VALUE; if two have the same name, getenv(3) finds the first
            environment.setdefault(name, value)
    return environment


if __name__ == "__main__":  # we are the new interpreter; isolate() takes this folder off the path again
    sys.path.insert(0, _ROOT)
    from muinit.__main__ import run

    run()
