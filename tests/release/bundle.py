"""Build a folder with muinit and a Python of its own, for images that have none: dist/muinit/.

`make bundle` runs python -m tests.release.bundle in an environment that has exactly the packages of freeze.txt and
runtime.txt. The freezer is cx_Freeze; docs/measurements.md compares it with others.
"""

from __future__ import annotations

import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path

from cx_Freeze import Executable, Freezer

from muinit import __version__
from tests.release import pyz

ROOT = Path(__file__).parent.parent.parent
TARGET = ROOT / "dist/muinit"
# Parts of Python's library import these, but only for what muinit does not use. They would take as much space again.
UNUSED = "argparse bz2 csv datetime decimal email fractions hashlib importlib.metadata ipaddress lzma pathlib"
UNUSED += " pickle random shutil socket statistics tarfile tempfile urllib zipfile zlib"


def main() -> None:
    site = Path(sysconfig.get_path("purelib"))
    if used := {*UNUSED.split()} & {*pyz.find_modules(ROOT, site).badmodules}:
        sys.exit(f"make bundle: muinit imports {', '.join(used)}, which UNUSED in tests/release/bundle.py leaves out")
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "muinit.py")
        script.write_text(pyz.AGAIN)
        # Without a zip file it starts more quickly, and does not need zlib.
        freezer = Freezer(
            [Executable(script, target_name="muinit")],
            excludes=UNUSED.split(),
            target_dir=TARGET,
            compress=False,
            optimize=2,
            silent=2,
        )
        freezer.freeze()
    pyz.copy_licences(ROOT, site, TARGET / "licences")
    pythons = Path(sysconfig.get_path("stdlib"), "LICENSE.txt")
    if pythons.exists():
        shutil.copy(pythons, TARGET / "licences/python.txt")
    size = sum(path.stat().st_size for path in TARGET.rglob("*") if path.is_file())
    print(f"{TARGET.relative_to(ROOT)}: muinit {__version__}, {size / (1 << 20):.1f} MiB")


if __name__ == "__main__":
    main()
