"""A container with a terminal or a pipe as stdin: the first command reads from it."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import struct
import termios
from collections.abc import Iterator

import pytest

from tests.engine.engine import Engine
from tests.process.test_terminal import Screen

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

BASH = ["---", "bash", "--norc", "--noprofile"]


class Recorder(Screen):
    """A screen that remembers all that was on it."""

    recorded = ""

    def see(self, pattern: str) -> re.Match[str]:
        found = super().see(pattern)
        self.recorded += found.string[: found.end()]
        return found


@pytest.fixture
def screen(engine: Engine, app_image: str) -> Iterator[Recorder]:
    """`podman run -it`, with bash first and another command beside it."""
    argv = ["run", "--rm", "--interactive", "--tty", "--env=PS1=shell> "]
    one = Recorder(*engine.podman(*argv, app_image, "muinit", *BASH, "---", "kid", "A", "TERM=exit 0"))
    one.see(r"(?s)A ready \d+\r\n.*shell> |shell> .*A ready \d+\r\n")
    yield one
    one.close()


def test_a_shell_has_its_terminal_and_job_control(screen: Recorder) -> None:
    """Ctrl-C and Ctrl-Z reach the shell's jobs and nothing else, and its exit stops the rest."""
    screen.type("kid J CONT=say 'INT=exit 9'\n")
    screen.see(r"J ready \d+\r\n")
    screen.type("\x1a")
    screen.see(r"Stopped +kid J")
    screen.type("fg\n")
    screen.see(r"J CONT\r\n")
    screen.type("\x03")
    screen.see(r"J INT\r\n")
    screen.type("echo code=$?\n")
    screen.see(r"code=9\r\n")
    screen.type("exit 5\n")
    screen.see(r"A TERM\r\n")
    screen.see(r"muinit: exit 5: pid \d+ \(bash ")
    assert screen.end() == 5


def test_a_terminal_that_changes_its_size_is_the_shells_business(screen: Recorder) -> None:
    """The engine sets its size when it starts, too. muinit, which is PID 1, never mentions the WINCH."""
    fcntl.ioctl(screen.master, termios.TIOCSWINSZ, struct.pack("4H", 33, 77, 0, 0))
    os.kill(screen.process.pid, signal.SIGWINCH)  # as the kernel does, where podman leads the foreground
    size = ""
    while size != "33 77":
        screen.type("stty size\n")
        size = screen.see(r"(\d+ \d+)\r\n")[1]
    screen.type("exit 0\n")
    assert screen.end() == 0
    assert "muinit: " not in screen.recorded + screen.seen


def test_a_pipe_reaches_the_first_command(engine: Engine, app_image: str) -> None:
    done = engine.run("--interactive", app_image, "muinit", "---", "cat", "---", "sleep", "600", input="one\ntwo\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, "one\ntwo\n", "")
