"""Each way to write ENTRYPOINT and CMD: muinit stops both commands in order, or says what to write."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cast.harness import ROOT, wait_for
from tests.engine.engine import LONG_STEPS, Container, Engine
from tests.engine.forms import FORMS

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

Build = Callable[..., str]

ONE = ["kid", "A", "TERM=exit 0"]
TWO = ["---", *ONE, "---", "kid", "B", "TERM=exit 0"]
SHELL = "--- kid A 'TERM=exit 0' --- kid B 'TERM=exit 0'"
SCRIPT = "RUN printf '#!/bin/sh\\nset -e\\nexport READY=1\\nexec \"$@\"\\n' >/entrypoint && chmod +x /entrypoint\n"

# A Dockerfile after its FROM line, and the words after `podman run IMAGE`.
SHAPES: dict[str, tuple[str, list[str]]] = {
    "ENTRYPOINT with everything": (f"ENTRYPOINT {json.dumps(['muinit', *TWO])}", []),
    "ENTRYPOINT and CMD": (f'ENTRYPOINT ["muinit"]\nCMD {json.dumps(TWO)}', []),
    "ENTRYPOINT with options, and CMD": (f'ENTRYPOINT ["muinit", "-t", "60"]\nCMD {json.dumps(TWO)}', []),
    "ENTRYPOINT, and the commands at the start": ('ENTRYPOINT ["muinit"]', TWO),
    "CMD alone": (f"CMD {json.dumps(['muinit', *TWO])}", []),
    "no CMD": ("", ["muinit", *TWO]),
    "an absolute path": (f"ENTRYPOINT {json.dumps(['/usr/local/bin/muinit', *TWO])}", []),
    "python -m": (f"ENTRYPOINT {json.dumps(['python3', '-m', 'muinit', *TWO])}", []),
    "a shell with exec": (f"ENTRYPOINT exec muinit {SHELL}", []),
    "a shell that does something first": (f"ENTRYPOINT cd /srv && exec muinit {SHELL}", []),
    "CMD in a shell with exec": (f"CMD exec muinit {SHELL}", []),
    "bash, which executes its last command": (f"ENTRYPOINT {json.dumps(['bash', '-c', f'muinit {SHELL}'])}", []),
    "a script that ends with exec": (f'{SCRIPT}ENTRYPOINT ["/entrypoint", "muinit"]\nCMD {json.dumps(TWO)}', []),
    "muinit before a script": (f"{SCRIPT}ENTRYPOINT {json.dumps(['muinit', '---', '/entrypoint', *TWO[1:]])}", []),
    "options in a variable": (f'ENV MUINIT_OPTIONS="-t 60"\nENTRYPOINT {json.dumps(["muinit", *TWO])}', []),
    "the options of Python": (f"ENV PYTHONPATH=/srv PYTHONUNBUFFERED=1\nENTRYPOINT {json.dumps(['muinit', *TWO])}", []),
    "one command": ('ENTRYPOINT ["muinit", "--"]', ONE),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_that_works(engine: Engine, app_image: str, build: Build, tmp_path: Path, shape: str) -> None:
    """Both commands get SIGTERM and exit 0, and so does the container."""
    lines, argv = SHAPES[shape]
    image = build("shape", f"FROM {app_image}\nENV {LONG_STEPS}\n{lines}\n", tmp_path)
    names = ["A"] if shape == "one command" else ["A", "B"]
    with Container(engine, image, *argv) as it:
        it.hear(*names)
        it.stop()
        assert it.inspect("State.ExitCode") == "0"
        assert sorted(line for line in it.said.splitlines() if line.endswith(" TERM")) == [
            f"{one} TERM" for one in names
        ]
        assert "muinit:" not in it.said


def test_behind_the_init_of_the_engine(engine: Engine, app_image: str) -> None:
    """With --init another program is PID 1, and muinit adopts and stops all the same."""
    with Container(engine, "--init", f"--env={LONG_STEPS}", app_image, "muinit", *TWO, "orphan O,TERM=exit 7") as it:
        wait_for(lambda: it.said.count("ready") == 3)
        assert "muinit" not in it.execute("cat", "/proc/1/cmdline").split("\0")[0]
        it.stop()
        assert it.inspect("State.ExitCode") == "0"
        assert it.said.count("TERM") == 3
        assert "muinit:" not in it.said


@pytest.mark.parametrize("line", [f"muinit {SHELL}; echo done", f"muinit {SHELL}"], ids=["; echo", ""])
@pytest.mark.parametrize("word", ["ENTRYPOINT", "CMD"])
def test_a_shell_that_stays_keeps_sigterm(
    engine: Engine, app_image: str, build: Build, tmp_path: Path, word: str, line: str
) -> None:
    """Where a shell stays PID 1, muinit cannot be reached, and says at once what to write. The engine kills it all."""
    image = build("shape", f"FROM {app_image}\n{word} {line}\n", tmp_path)
    with Container(engine, image) as it:
        it.hear("A", "B")
        shell = it.execute("cat", "/proc/1/comm")
        if shell == "muinit":  # there are shells that execute a last command
            return
        engine.do("stop", "--time", "1", it.name)
        assert it.inspect("State.ExitCode") == "137"
        assert "TERM\n" not in it.said
        assert it.said.count("muinit: ") == 1
        assert f"muinit: warning: PID 1 ({shell}) does not handle SIGTERM, so stopping the container" in it.said
        assert "; start muinit with 'exec muinit', or use ENTRYPOINT [\"muinit\", ...] without a shell" in it.said


BASH = ["bash", "-c", "exit 5"]
WRONG = {
    "a command without separator": (BASH, "unexpected argument 'bash' before '---': expected '-- bash' for a single"),
    "nothing": ([], "no command: expected '--- COMMAND [ARG...]', or '-- COMMAND [ARG...]' for one"),
    "all in one word": (["--- bash --- true"], "unknown option '--- bash --- true': expected options ("),
    "a separator without command": (["---"], "no command: expected '--- COMMAND [ARG...]'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_told(engine: Engine, app_image: str, case: str) -> None:
    argv, message = WRONG[case]
    done = engine.run(app_image, "muinit", *argv)
    assert done.returncode == 1
    assert done.stderr.startswith(f"muinit: {message}")
    assert done.stderr.count("\n") == 1


def test_what_the_message_says_works(engine: Engine, app_image: str) -> None:
    assert engine.run(app_image, "muinit", "--", *BASH).returncode == 5


def test_a_program_that_is_not_there(engine: Engine, app_image: str) -> None:
    done = engine.run(app_image, "muinit", "---", "kid", "A", "TERM=exit 0", "---", "no-such-program")
    assert done.returncode == 127
    assert "muinit: exit 127: command (no-such-program) was not found" in done.stderr


# The hardened ENTRYPOINT


@pytest.mark.parametrize("page", ["README.md", "docs/environments.md"])
def test_the_hardened_entrypoint_is_that_of_the_docs(page: str) -> None:
    (hardened,) = (form for form in FORMS if form.name == "hardened")
    assert f"ENTRYPOINT {json.dumps(hardened.start)}" in (ROOT / page).read_text()


KILL_ME = "import os, signal; os.kill(os.getpid(), signal.SIGTERM)\n"  # site.py executes such a line


@pytest.mark.parametrize("form", ["hardened", "installed"])
def test_a_sigterm_that_comes_while_python_starts(engine: Engine, app_image: str, tmp_path: Path, form: str) -> None:
    """The hardened ENTRYPOINT keeps it, and stops the commands in steps. Without it, the kernel drops the signal."""
    (start,) = (each.start for each in FORMS if each.name == form)
    where = "import muinit, os; print(os.path.dirname(os.path.dirname(muinit.__file__)))"
    packages = engine.run(app_image, "python3", "-I", "-c", where).stdout.strip()
    (tmp_path / "kill.pth").write_text(KILL_ME)
    with Container(engine, f"--volume={tmp_path}/kill.pth:{packages}/kill.pth:ro", app_image, *start, "-v", *TWO) as it:
        if form == "installed":
            it.hear("A", "B")
            assert "told to stop" not in it.said
            it.stop()
        assert it.end() in (0, 143)  # 143 if a kid died before it was ready
        assert "muinit: told to stop by SIGTERM" in it.said
        assert "SIGKILL to" not in it.said
