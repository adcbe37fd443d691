"""What a platform takes away from a container: muinit starts, adopts, stops and reaps all the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.cast.harness import wait_for
from tests.engine.engine import LONG_STEPS, Container, Engine, run
from tests.engine.forms import Form, existing

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

READ_ONLY = ["--read-only", "--read-only-tmpfs=false"]
NOBODY = ["--user=12345:12345"]  # the image has no such user
POWERLESS = ["--cap-drop=ALL", "--security-opt=no-new-privileges"]
LIMITS = {
    "none": [],
    "a read-only root": READ_ONLY,
    "a user without a name": NOBODY,
    "no capabilities": POWERLESS,
    "all of them": [*READ_ONLY, *NOBODY, *POWERLESS],
}
TWO = ["---", "kid", "A", "TERM=exit 0", "---", "kid", "B", "TERM=exit 0", "orphan O,TERM=exit 7"]
THREE = ["A", "B", "O"]


@pytest.mark.parametrize("limits", LIMITS)
@pytest.mark.parametrize("form", [*existing()], ids=lambda form: form.name)
def test_muinit_works_as_usual(engine: Engine, app_image: str, form: Form, limits: str) -> None:
    """It stops both commands and an orphan, says nothing, and exits with the code of the commands."""
    options = [f"--env={LONG_STEPS}", *LIMITS[limits], *form.volumes]
    with Container(engine, *options, app_image, *form.start, *TWO) as it:
        it.hear(*THREE, "ready")
        wait_for(lambda: it.said.count("ready") == 3)
        it.stop()
        assert it.inspect("State.ExitCode") == "0"
        assert "muinit:" not in it.said
        assert it.said.count("TERM") == 3


def test_in_the_pid_namespace_of_the_machine(engine: Engine, app_image: str) -> None:
    """With --pid=host muinit is not PID 1. Its orphans are still adopted and stopped, and nothing else is."""
    with (
        Container(engine, app_image, "kid", "stranger", "TERM=say") as stranger,
        Container(engine, "--pid=host", f"--env={LONG_STEPS}", app_image, "muinit", *TWO, cgroups=True) as it,
    ):
        stranger.hear("ready")
        wait_for(lambda: it.said.count("ready") == 3)
        parents = {word: it.execute("cat", f"/proc/{pid}/stat").split()[3] for word, pid in ready(it)}
        assert set(parents.values()) == {str(it.init)}
        assert it.init != 1
        it.stop()
        assert it.inspect("State.ExitCode") == "0"
        assert it.said.count("TERM") == 3
        left = run([*engine.inside, "cat", *(f"/proc/{pid}/stat" for _, pid in ready(it))])
        assert left.stdout == ""
        assert "TERM" not in stranger.said
        assert stranger.inspect("State.Running") == "true"


def ready(it: Container) -> list[tuple[str, str]]:
    """The names and pids of the kids that are ready."""
    return re.findall(r"^(\w+) ready (\d+)$", it.said, flags=re.MULTILINE)


# What the platform reads when the container has ended


def test_the_termination_log_on_a_read_only_root(engine: Engine, app_image: str, tmp_path: Path) -> None:
    """Kubernetes mounts a file there. It gets the last line."""
    (tmp_path / "log").touch()
    options = [*LIMITS["all of them"], f"--volume={tmp_path}/log:/dev/termination-log"]
    (tmp_path / "log").chmod(0o666)
    done = engine.run(*options, app_image, "muinit", "--termination-log", "---", "sh", "-c", "exit 3")
    assert done.returncode == 3
    assert done.stderr == f"muinit: {(tmp_path / 'log').read_text()}\n"


def test_a_termination_log_that_cannot_be_written_is_a_warning(engine: Engine, app_image: str) -> None:
    done = engine.run(*READ_ONLY, app_image, "muinit", "--termination-log=/var/log/reason", "---", "sh", "-c", "exit 3")
    assert done.returncode == 3
    assert done.stderr.startswith(
        "muinit: warning: cannot write the termination log /var/log/reason: Read-only file system\nmuinit: exit 3: "
    )
