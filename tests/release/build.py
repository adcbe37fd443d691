"""Build all that a release consists of: muinit.pyz, the wheel, the sdist, the SBOM and their checksums.

python -m tests.release.build [--sbom] [TARGET] builds them in the folder TARGET, by default `dist`. With --sbom it only
writes the SBOM, docs/muinit.cdx.json, which goes into the wheel. `make dist` and `make sbom` run this in an environment
that has exactly the packages of build.txt. An environment inside it has those of runtime.txt, for muinit.pyz.

Everything comes from a copy of the files that git knows, so that nothing else on a machine can get into a release.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from muinit import __version__
from tests.release import pyz

ROOT = Path(__file__).parent.parent.parent
SBOM = "docs/muinit.cdx.json"  # CycloneDX wants this ending
RUNTIME = Path(sys.prefix, "runtime")  # an environment with what muinit needs, and no more


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.release.build", description="Build a release.")
    parser.add_argument("target", nargs="?", type=Path, default=ROOT / "dist", help="the folder; default: dist")
    parser.add_argument("--sbom", action="store_true", help=f"only write {SBOM}")
    options = parser.parse_args()
    try:
        if options.sbom:
            (ROOT / SBOM).write_bytes(sbom())
        else:
            build(options.target)
    except pyz.DistError as error:
        sys.exit(f"make dist: {error}")
    except subprocess.CalledProcessError as error:
        sys.exit(f"make dist: {error}\n{error.stderr or ''}")


def build(target: Path) -> None:
    """Build everything into a folder. A bundle can be there, too."""
    epoch = int(git("log", "-1", "--format=%ct"))
    if sbom() != (ROOT / SBOM).read_bytes():
        raise pyz.DistError(f"{SBOM} is out of date: run 'make sbom'")
    target.mkdir(parents=True, exist_ok=True)
    for path in files(target):
        path.unlink()
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "muinit")
        export(copy)
        hatchling = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-t", "wheel", "-d", str(target)]
        environment = {**os.environ, "SOURCE_DATE_EPOCH": str(epoch)}
        subprocess.run(hatchling, cwd=copy, env=environment, capture_output=True, text=True, check=True)
        byte_code = pyz.build(copy, site(), target / "muinit.pyz", pyz.found_pythons(), epoch)
    shutil.copy(ROOT / SBOM, target)
    built = files(target)
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in built]
    (target / "SHA256SUMS").write_text("".join(sums))
    changed = git("status", "--porcelain", "--untracked-files=no")
    print(f"built from commit {git('log', '-1', '--format=%h')}{' with changes' if changed else ''}:")
    print("".join(f"{path.stat().st_size:8}  {path.name}\n" for path in built), end="")
    print(f"muinit.pyz has byte code of {', '.join(byte_code.values()) or 'no interpreter'}")


def files(folder: Path) -> list[Path]:
    """The files in a folder, in order."""
    return sorted(path for path in folder.iterdir() if path.is_file())


def git(*argv: str) -> str:
    if not (ROOT / ".git").exists():
        raise pyz.DistError("expected a git checkout, because a release has the time of its commit")
    return subprocess.run(["git", *argv], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout.strip("\n")


def export(target: Path) -> None:
    """Copy the files that git knows, as they are now, and with the same permissions everywhere."""
    for name in git("ls-files", "-z").rstrip("\0").split("\0"):
        copy = target / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, copy)
        copy.chmod(0o755 if os.access(ROOT / name, os.X_OK) else 0o644)


def site() -> Path:
    """The folder of the libraries that muinit needs."""
    return next(RUNTIME.glob("lib/python*/site-packages"))


def sbom() -> bytes:
    """The bill of materials: muinit and the libraries that it needs. The generator validates what it writes."""
    project = (ROOT / "pyproject.toml").read_text()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "pyproject.toml").write_text(
            # The generator does not ask the build backend for the version.
            project.replace('dynamic = ["version"]', f'version = "{__version__}"')
        )
        argv = [str(Path(sys.executable).with_name("cyclonedx-py")), "environment", str(RUNTIME)]
        argv += ["--pyproject", f"{folder}/pyproject.toml", "--output-reproducible", "--validate"]
        argv += ["--of", "JSON", "--sv", "1.6", "-o", f"{folder}/sbom"]
        environment = {name: value for name, value in os.environ.items() if name != "SOURCE_DATE_EPOCH"}
        subprocess.run(argv, env=environment, check=True)
        return (Path(folder) / "sbom").read_bytes() + b"\n"


if __name__ == "__main__":
    main()
