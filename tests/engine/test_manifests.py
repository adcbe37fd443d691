"""The YAML files of the guides follow the published schemas, and give muinit the time that it needs.

They are here because only `make engine` installs the schemas, which are large.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cast.harness import MUINIT, ROOT
from tests.conftest import need
from tests.engine.engine import Done, run
from tests.tools import docs

pytestmark = pytest.mark.engine

FILES = {
    f"{page}-{number}": text
    for page in ("docker", "kubernetes")
    for number, (language, text) in enumerate(docs.fences((ROOT / f"docs/{page}.md").read_text()))
    if language == "yaml"
}


@pytest.fixture(params=FILES)
def text(request: pytest.FixtureRequest) -> str:
    for module in ("check_jsonschema", "kubernetes_validate"):
        found = importlib.util.find_spec(module)
        need(f"the package {module}", "" if found else "make engine installs it, for Python 3.11 and newer")
    return FILES[request.param]


def checked(text: str, folder: Path) -> Done:
    """The end of the validator for this text."""
    (folder / "file.yaml").write_text(text)
    if text.startswith("services:"):
        argv = ["check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    else:
        argv = ["kubernetes_validate", "--strict"]
    return run([sys.executable, "-m", *argv, f"{folder}/file.yaml"])


def test_it_follows_the_schema(text: str, tmp_path: Path) -> None:
    done = checked(text, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_wrong_name_would_be_found(text: str, tmp_path: Path) -> None:
    for name in ("stop_grace_period", "terminationGracePeriodSeconds"):
        if name in text:
            assert checked(text.replace(name, f"{name}x"), tmp_path).returncode != 0


def containers(value: Any) -> Any:
    """Each service or pod of a file, wherever it is."""
    if isinstance(value, dict):
        if "stop_grace_period" in value or "terminationGracePeriodSeconds" in value:
            yield value
        for inner in value.values():
            yield from containers(inner)


def test_the_platform_waits_longer_than_a_stop_takes(text: str) -> None:
    yaml: Any = pytest.importorskip("yaml")
    (one,) = containers(yaml.safe_load(text))
    if "stop_grace_period" in one:
        argv, seconds = one["command"], int(one["stop_grace_period"].removesuffix("s"))
    else:
        (container,) = one["containers"]
        assert container["command"] == ["muinit"]
        argv, seconds = container["args"], one["terminationGracePeriodSeconds"]
        hook = container.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", ["sleep", "0"])
        assert hook[0] == "sleep"
        seconds -= int(hook[1])
    done = run([*MUINIT, "--diagram", "table", "--within", str(seconds), *argv])
    assert done.returncode == 0, done.stderr


def test_the_guides_say_how_long_a_stop_takes(text: str) -> None:
    yaml: Any = pytest.importorskip("yaml")
    (one,) = containers(yaml.safe_load(text))
    argv = one["command"] if "command" in one else one["containers"][0]["args"]
    longest = run([*MUINIT, "--diagram", "table", *argv]).stdout.partition(" takes ")[2].partition(":")[0]
    pages = " ".join(" ".join((ROOT / f"docs/{page}.md").read_text().split()) for page in ("docker", "kubernetes"))
    assert re.search(rf" stop takes {longest}\b", pages)
