"""Fixtures that start the engine, and make images without a registry of images."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import pytest

from tests.cast.harness import ROOT
from tests.conftest import PATH, need
from tests.engine import recipes
from tests.engine.engine import Container, Engine
from tests.tools import docs

PYZ = ROOT / "dist/muinit.pyz"
BASE = ROOT / f".venv/{os.environ.get('DEBIAN', 'trixie')}.tar"  # the target `engine` of the Makefile makes it
SLIM = "localhost/python:3-slim"
APP = """\
FROM localhost/python:3-slim
COPY . /src
RUN pip install /src
COPY tests/cast/kid.py /usr/local/bin/kid
RUN sed -i '1i #!/usr/bin/env -S python3 -I -S' /usr/local/bin/kid && chmod +x /usr/local/bin/kid
"""


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """One engine for all tests of this process."""
    need("a container engine", "" if os.geteuid() == 0 else "only root can run it here")
    pairs = (line.split(":") for line in (ROOT / "tests/engine/needed").read_text().split())
    missing = {package for name, package in pairs if not (shutil.which(name, path=PATH) or os.path.exists(name))}
    need("a container engine", f"missing: {' '.join(sorted(missing))}; make engine installs them" if missing else "")
    try:
        world = Engine()
    except OSError as error:
        need("a container engine", f"its namespaces cannot be made: {error}")
    with world:
        yield world


@pytest.fixture(scope="session")
def build(engine: Engine) -> Callable[[str, str], str]:
    """Build an image of this checkout from the text of a Dockerfile, and return its name."""
    need("an image with Python", "" if BASE.exists() else f"there is no {BASE}: make engine")
    engine.do("import", "--quiet", str(BASE), SLIM, timeout=120)

    def build(name: str, dockerfile: str, context: Path = ROOT) -> str:
        options = ["--isolation=chroot", "--network=host", "--quiet", "--tag", f"localhost/{name}", "--file", "-"]
        engine.do("build", *options, str(context), input=dockerfile, timeout=300)
        return f"localhost/{name}"

    return build


@pytest.fixture(scope="session")
def readme_image(build: Callable[[str, str], str]) -> str:
    """The image of the README's Dockerfile."""
    text = (ROOT / "README.md").read_text()
    (dockerfile,) = [block for _, block in docs.fences(text) if block.startswith("FROM python:3-slim\n")]
    return build("readme", dockerfile.replace("python:3-slim", SLIM, 1))


@pytest.fixture(scope="session")
def app_image(build: Callable[[str, str], str]) -> str:
    """An image with muinit and kid.py, which stands in for a program."""
    return build("app", APP)


@pytest.fixture
def start(engine: Engine, build: Callable[..., str], tmp_path: Path) -> recipes.Start:
    """Build the image of a page, from its own files and those that a user would bring, and start a container."""
    need("muinit.pyz", "" if PYZ.exists() else "make dist builds it")

    def start(
        page: str, brought: Mapping[str, str] = MappingProxyType({}), *argv: str, command: Sequence[str] = ()
    ) -> Container:
        context = tmp_path / page
        context.mkdir()
        (context / "muinit.pyz").write_bytes(PYZ.read_bytes())
        (context / "muinit.pyz").chmod(0o755)
        for name, text in {**recipes.files(page), **brought}.items():
            (context / name).write_text(text)
            (context / name).chmod(0o755 if text.startswith("#!") else 0o644)
        image = build(page, recipes.dockerfile(page).replace("python:3-slim", SLIM, 1), context)
        return Container(engine, *argv, image, *command)

    return start
