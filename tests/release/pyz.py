"""Make muinit.pyz: one file with muinit and all that it needs, for any supported Python.

Python does not look for __pycache__ in a zip file, and compiling the sources at each start would take too long. So the
file has a folder of byte code for each interpreter that was at hand, and the sources for all others.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
import zipfile
from collections.abc import Sequence
from importlib.metadata import Distribution
from modulefinder import ModuleFinder
from pathlib import Path

OURS = ("muinit", "statechart")
THEIRS = ("transitions", "six")
LIMIT = 1 << 20  # bytes
# The official Python images have python3 in /usr/local/bin, Debian in /usr/bin; env finds both. It cannot pass -I,
# because the env of busybox passes no options. So muinit itself sees to it that it is isolated.
SHEBANG = b"#!/usr/bin/env python3\n"
# Where muinit is executed again to be isolated, the folder of byte code is executed.
AGAIN = "from muinit.__main__ import run\n\nrun()\n"
START = Path(__file__).with_name("start.py")
# What is loaded before the first command starts is not compressed. Otherwise Python would have to import zlib first: it
# takes time, and until muinit is isolated it could be a module that is meant for the commands.
EARLY = "__init__ __main__ caller children isolated kernel lastresort options procfs selfpipe signals terminal"
EARLY_HERE = "__init__ options signals"
STORED = (
    "__main__",
    *(f"muinit/{name}" for name in EARLY.split()),
    *(f"statechart/{name}" for name in EARLY_HERE.split()),
)


class DistError(Exception):
    """Why it cannot be built, in one line."""


def found_pythons() -> list[str]:
    """The interpreters at hand, one for each supported version of CPython."""
    script = Path(__file__).parent.parent / "tools/pythons"
    return subprocess.run([script], stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()


def build(root: Path, site: Path, target: Path, pythons: Sequence[str], epoch: int) -> dict[str, str]:
    """Make the file `target` from the sources in `root`, and from the libraries in `site`.

    `epoch` is the time that everything in the file gets. Returns the folders of byte code, with their interpreters. If
    the file would be too large, it has no byte code for the oldest of these interpreters.
    """
    with tempfile.TemporaryDirectory() as folder:
        sources, compiled = Path(folder, "sources"), Path(folder, "compiled")
        names = copy_modules(root, site, sources)
        copy_licences(root, site, sources / "licences")
        Path(sources, "__main__.py").write_text(AGAIN)
        done = sorted(compile_all(sources, compiled, ["__main__.py", *names], python) for python in pythons)
        byte_code = {name: interpreter for _, name, interpreter in done}
        while True:
            start = START.read_text().replace("BYTE_CODE = {}", f"BYTE_CODE = {byte_code}")
            Path(sources, "__main__.py").write_text(start)
            write(target, [sources, *(compiled / name for name in byte_code)], epoch)
            if target.stat().st_size <= LIMIT:
                return byte_code
            if not byte_code:
                raise DistError(f"{target.name} has more than {LIMIT} bytes")
            del byte_code[next(iter(byte_code))]


def find_modules(root: Path, site: Path) -> ModuleFinder:
    """Find every module that muinit can import. Those of Python's library are not found, and end as `badmodules`."""
    finder = ModuleFinder([str(root), str(site)])
    for module in ("muinit.__main__", "muinit.isolated"):
        finder.import_hook(module)
    return finder


def copy_modules(root: Path, site: Path, target: Path) -> list[str]:
    """Copy every module that muinit can import, and no other. Return the names of the files."""
    names = []
    for name, module in sorted(find_modules(root, site).modules.items()):
        path = getattr(module, "__file__", None)
        if not path:  # built into Python
            continue
        if name.partition(".")[0] not in OURS + THEIRS:
            raise DistError(f"muinit can import {name}, which is not to be in muinit.pyz")
        home = root if name.partition(".")[0] in OURS else site
        names.append(str(Path(path).relative_to(home)))
        (target / names[-1]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target / names[-1])
    return names


def compile_all(sources: Path, target: Path, names: list[str], python: str) -> tuple[int, str, str]:
    """Compile for this interpreter; return the version of its byte code, and the names of the folder and of itself."""
    script = str(Path(__file__).with_name("compile.py"))
    # Without positions in lines, which only help to show sources, byte code is a fifth smaller.
    argv = [python, "-s", "-S", "-X", "no_debug_ranges", script, str(sources), str(target), *names]
    done = subprocess.run(argv, env={"PYTHONHASHSEED": "0"}, stdout=subprocess.PIPE, text=True, check=True)
    folder, _, interpreter = done.stdout.strip().partition(" ")
    return int(folder.rpartition("-")[2]), folder, interpreter


def copy_licences(root: Path, site: Path, target: Path) -> None:
    """Copy our licence, and those of the libraries."""
    target.mkdir()
    shutil.copy(root / "LICENSE", target / "muinit.txt")
    for name in THEIRS:
        found = [
            file
            for distribution in Distribution.discover(name=name, path=[str(site)])
            for file in distribution.files or []
            if file.name.startswith("LICEN")
        ]
        if not found:
            raise DistError(f"{name} in {site} has no licence")
        shutil.copy(str(found[0].locate()), target / f"{name}.txt")


def write(target: Path, folders: list[Path], epoch: int) -> None:
    """Write an executable zip file. It has the files of the first folder, and the other folders."""
    with open(target, "wb") as file:
        file.write(SHEBANG)
        with zipfile.ZipFile(file, "w") as archive:
            for folder in folders:
                for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                    module = path.relative_to(folder).with_suffix("").as_posix()
                    name = path.relative_to(folder if folder == folders[0] else folder.parent).as_posix()
                    info = zipfile.ZipInfo(name, time.gmtime(epoch)[:6])
                    info.external_attr = 0o644 << 16
                    info.compress_type = zipfile.ZIP_STORED if module in STORED else zipfile.ZIP_DEFLATED
                    archive.writestr(info, path.read_bytes(), compresslevel=9)
    target.chmod(0o755)
