"""Images that name another STOPSIGNAL than TERM, which `docker stop` then sends."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.engine.engine import LONG_STEPS, Container, Engine

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

COMMAND = ["---", "kid", "A", "TERM=exit 0", "HUP=say"]


@pytest.fixture(params=["QUIT", "WINCH", "USR1", "RTMIN+3"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def image(build: Callable[..., str], app_image: str, name: str, tmp_path: Path) -> str:
    """Images of nginx have QUIT, of httpd WINCH, of haproxy USR1, and of systemd RTMIN+3."""
    entrypoint = json.dumps(["muinit", "-s", "HUP"])
    return build("stopsignal", f"FROM {app_image}\nSTOPSIGNAL SIG{name}\nENTRYPOINT {entrypoint}\n", tmp_path)


def test_it_stops_muinit_if_it_is_named_or_a_default(engine: Engine, image: str, name: str) -> None:
    options = [] if name in ("QUIT", "RTMIN+3") else ["--stop-on", name]
    with Container(engine, f"--env={LONG_STEPS}", image, *options, *COMMAND) as it:
        it.hear("ready")
        it.stop()
        assert it.inspect("State.ExitCode") == "0"
        assert "A TERM" in it.said
        assert "muinit:" not in it.said


def test_otherwise_muinit_says_what_to_write(engine: Engine, image: str, name: str) -> None:
    """The engine kills the container in the end, and its log has the reason."""
    others = "USR2" if name in ("QUIT", "RTMIN+3") else "QUIT"
    with Container(engine, image, "--stop-on", others, *COMMAND) as it:
        it.hear("ready")
        engine.do("stop", "--time", "1", it.name)
        assert it.inspect("State.ExitCode") == "137"
        cure = f"-s {name} forwards it, --stop-on {name} stops the commands"
        reason = "because muinit is PID 1 and no option names it"
        assert f"muinit: warning: ignored SIG{name}, {reason}: {cure}" in it.said.splitlines()
