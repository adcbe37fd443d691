"""muinit on a real terminal: a pty with its own session, with and without a shell that has job control."""

from __future__ import annotations

import fcntl
import os
import re
import select
import shlex
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from tests.cast.harness import AS_INIT, MUINIT, PATIENCE, kid, status, wait_for
from tests.conftest import need, why_no_namespace

BASH = ["bash", "--norc", "--noprofile", "-i"]


class Screen:
    """A program that leads a session on a terminal. The test types on its keyboard and reads its screen.

    If `ctty` is false, the session has no controlling terminal: the terminal is only its stdin, stdout and stderr.
    """

    def __init__(self, *argv: str, ctty: bool = True) -> None:
        self.master, slave = os.openpty()
        self.seen = ""
        self.process = subprocess.Popen(
            argv,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=(lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0)) if ctty else None,  # noqa: PLW1509
            env={
                **os.environ,
                "PS1": "shell> ",
                "TERM": "dumb",
                "LC_ALL": "C.UTF-8",  # bash reports stopped jobs in the user's language
                "PATH": os.path.dirname(MUINIT[0]) + ":" + os.environ["PATH"],
            },
        )
        os.close(slave)

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def see(self, pattern: str) -> re.Match[str]:
        """Wait until this is on the screen, and forget everything up to its end.

        A pattern for what a kid says includes the end of the line: a shell also shows command lines, which contain the
        same words.
        """
        deadline = time.monotonic() + PATIENCE
        while not (found := re.search(pattern, self.seen)):
            ready, _, _ = select.select([self.master], [], [], max(deadline - time.monotonic(), 0))
            assert ready, f"did not see {pattern!r}, but {self.seen!r}"
            try:
                self.seen += os.read(self.master, 65536).decode()
            except OSError as error:  # no process has the terminal open any more
                raise AssertionError(f"did not see {pattern!r}, but {self.seen!r}") from error
        self.seen = self.seen[found.end() :]
        return found

    def foreground(self) -> int:
        return os.tcgetpgrp(self.master)

    def end(self) -> int:
        """Wait for the end, and return the exit status as a shell would show it."""
        while True:  # a session leader cannot exit until its output is read
            with suppress(OSError, subprocess.TimeoutExpired):
                while select.select([self.master], [], [], 0)[0]:
                    self.seen += os.read(self.master, 65536).decode()
            with suppress(subprocess.TimeoutExpired):
                code = self.process.wait(0.05)
                return code if code >= 0 else 128 - code

    def close(self) -> None:
        if self.process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.kill()
            self.process.wait()
        os.close(self.master)


@pytest.fixture
def screen() -> Iterator[Callable[..., Screen]]:
    screens: list[Screen] = []

    def start(*argv: str, ctty: bool = True) -> Screen:
        screens.append(Screen(*argv, ctty=ctty))
        return screens[-1]

    yield start
    for one in screens:
        one.close()


@pytest.fixture
def muinit(pid1: bool, screen: Callable[..., Screen]) -> Callable[..., Screen]:
    """Start muinit on a terminal. A test runs twice: once as a session leader, once as PID 1."""
    if not pid1:
        return partial(screen, *MUINIT)
    # As in a container, PID 1 leads the session that has the terminal. No other session may have it before: only root
    # could take it away.
    return partial(screen, *AS_INIT, "setsid", "--ctty", *MUINIT, ctty=False)


def test_the_first_command_reads_the_terminal(muinit: Callable[..., Screen]) -> None:
    it = muinit("---", "sh", "-c", "read word; echo got $word; exit 3")
    it.type("hello\n")
    it.see("got hello\r\n")
    assert it.end() == 3


def test_the_other_commands_read_nothing(muinit: Callable[..., Screen]) -> None:
    it = muinit("---", "sleep", "60", "---", "sh", "-c", "cat; echo end of input; exit 4")
    it.see("end of input")
    assert it.end() == 4


def test_a_command_that_ended_because_it_read_nothing_is_explained(muinit: Callable[..., Screen]) -> None:
    it = muinit("---", *kid("A", "TERM=exit 0"), "---", "cat")
    it.see(r"\(it may have ended because it had nothing to read; only the first command reads the terminal\)")
    assert it.end() == 0


def test_a_terminal_that_changes_its_size_is_not_mentioned(muinit: Callable[..., Screen]) -> None:
    """The kernel sends WINCH to whoever has the foreground, and for moments that is muinit."""
    it = muinit("---", "sh", "-c", "kill -WINCH $PPID; exit 3")
    assert "WINCH" not in it.see(r"(?s)^(.*)muinit: exit 3: ")[1]
    assert it.end() == 3


def test_ctrl_c_arrives_exactly_once(muinit: Callable[..., Screen]) -> None:
    """The command in the foreground gets SIGINT from the terminal, and muinit must not send another one."""
    it = muinit("---", *kid("A", "INT=say", "QUIT=exit 5"), "---", *kid("B", "INT=say"))
    it.see("A ready|B ready")
    it.see("A ready|B ready")
    for _ in range(3):
        it.type("\x03")
        it.see(r"A INT\r\n")
    it.type("\x1c")
    it.see(r"A QUIT\r\n")
    assert it.end() == 5
    assert "INT" not in it.seen


def test_a_death_by_ctrl_c_counts(muinit: Callable[..., Screen]) -> None:
    it = muinit("---", *kid("A"), "---", *kid("B", "TERM=exit 0"))
    it.see("ready")
    it.see("ready")
    it.type("\x03")
    it.see(r"B TERM\r\n")
    assert it.end() == 130


def test_after_the_first_command_ctrl_c_is_forwarded_to_the_others(muinit: Callable[..., Screen]) -> None:
    it = muinit("-t", "60", "---", *kid("A", "USR1=exit 0"), "---", *kid("B", "INT=exit 0", "TERM=say"))
    it.see("ready")
    it.see("ready")
    wait_for(lambda: it.foreground() != it.process.pid)
    os.kill(it.foreground(), signal.SIGUSR1)
    it.see(r"B TERM\r\n")
    it.type("\x03")
    it.see(r"B INT\r\n")
    assert it.end() == 0


def test_bash_under_muinit_has_job_control(muinit: Callable[..., Screen]) -> None:
    it = muinit("---", *BASH, "---", "sleep", "60")
    first = it.see(r"[^\n]*shell> ")
    assert "no job control" not in first[0]
    it.type("sleep 50\n")
    it.see("sleep 50")
    wait_for(lambda: status(it.foreground()).get("Name") == "sleep")
    it.type("\x1a")
    it.see("Stopped +sleep 50")
    it.see("shell> ")
    it.type("fg\n")
    it.see("sleep 50\r\n")
    wait_for(lambda: status(it.foreground()).get("Name") == "sleep")
    it.type("\x03")
    it.see("shell> ")
    it.type("exit 7\n")
    assert it.end() == 7


def test_muinit_undoes_ctrl_z_if_no_shell_can_continue_it(muinit: Callable[..., Screen]) -> None:
    it = muinit("--trace-states", "---", *kid("A", "CONT=say", "TERM=exit 6"))
    it.see("A ready")
    it.type("\x1a")
    it.see(r"suspend / SIGTSTP to every command, then to us")
    it.see(r"A CONT\r\n")
    os.kill(it.foreground(), signal.SIGTERM)
    it.see(r"A TERM\r\n")
    assert it.end() == 6


def test_a_program_that_catches_ctrl_z_and_stops_itself_does_not_keep_the_terminal(
    muinit: Callable[..., Screen],
) -> None:
    """As nano and mutt do, and `suspend` of bash. Nothing that is typed then reaches anybody until it goes on."""
    it = muinit("---", *kid("A", "TSTP=stop", "INT=exit 6"))
    it.see("A ready")
    it.type("\x1a")
    it.see(r"A TSTP\r\n")
    it.type("\x03")
    it.see(r"A INT\r\n")
    assert it.end() == 6


# Under a shell that has job control


@pytest.fixture
def shell(screen: Callable[..., Screen]) -> Screen:
    it = screen(*BASH)
    it.see("shell> ")
    return it


def words(*commands: list[str]) -> str:
    return " ".join("--- " + shlex.join(command) for command in commands)


def test_ctrl_z_suspends_commands_and_muinit_and_fg_resumes_both(shell: Screen) -> None:
    shell.type(f"muinit {words(kid('A', 'CONT=say', 'INT=exit 3'), kid('B', 'CONT=say', 'TERM=exit 0'))}\n")
    pids = sorted(int(shell.see(r"[AB] ready (\d+)\r\n")[1]) for _ in range(2))
    for _ in range(2):
        shell.type("\x1a")
        shell.see(r"\[1\]\+ +Stopped +muinit")
        shell.see("shell> ")
        for pid in [*pids, int(status(pids[0])["PPid"])]:
            wait_for(lambda pid=pid: status(pid)["State"].startswith("T"))
        shell.type("fg\n")
        shell.see(r"[AB] CONT\r\n")
        shell.see(r"[AB] CONT\r\n")
    wait_for(lambda: shell.foreground() == pids[0])
    shell.type("\x03")
    shell.see(r"A INT\r\n")
    shell.see("shell> ")
    shell.type("echo status $?\n")
    shell.see("status 3\r\n")


def test_ctrl_z_does_not_suspend_the_labeller(shell: Screen) -> None:
    shell.type(f"muinit --label {words(kid('A'))} --- --name b {shlex.join(kid('B', 'CONT=say'))}\n")
    pids = [int(shell.see(r"(A|b \| B) ready (\d+)\r\n")[2]) for _ in range(2)]
    init = int(status(pids[0])["PPid"])
    (labeller,) = {*map(int, Path(f"/proc/{init}/task/{init}/children").read_text().split())} - {*pids}
    shell.type("\x1a")
    shell.see("shell> ")
    for pid in [*pids, init]:
        wait_for(lambda pid=pid: status(pid)["State"].startswith("T"))
    assert not status(labeller)["State"].startswith("T")
    shell.type("fg\n")
    shell.see(r"b \| B CONT\r\n")
    os.kill(init, signal.SIGTERM)
    shell.see("shell> ")


def test_bg_resumes_the_commands_without_the_terminal(shell: Screen) -> None:
    shell.type(f"muinit {words(kid('A', 'CONT=say', 'TERM=exit 3'))}\n")
    pid = int(shell.see(r"A ready (\d+)\r\n")[1])
    shell.type("\x1a")
    shell.see("Stopped +muinit")
    shell.see("shell> ")
    shell.type("bg\n")
    shell.see(r"A CONT\r\n")
    assert shell.foreground() == shell.process.pid
    os.kill(int(status(pid)["PPid"]), signal.SIGTERM)
    shell.see(r"A TERM\r\n")
    shell.type("wait %1; echo status $?\n")
    shell.see("status 3\r\n")


def test_in_the_background_muinit_is_never_stopped(shell: Screen) -> None:
    """Its first command is stopped if it reads, as any job is; a shell does not tell a running job about `fg`."""
    shell.type("stty tostop; muinit --trace-states --- sh -c 'read word; echo got $word; exit 3' &\n")
    pid = int(shell.see(r"start: pid (\d+) \(sh")[1])  # written from the background, with TOSTOP set
    wait_for(lambda: status(pid)["State"].startswith("T"))
    init = int(status(pid)["PPid"])
    assert not status(init)["State"].startswith("T")
    shell.type("fg\n")
    wait_for(lambda: shell.foreground() == init)
    shell.type("\x1a")
    shell.see("Stopped +muinit")
    shell.see("shell> ")
    shell.type("fg\n")
    wait_for(lambda: shell.foreground() == pid)
    shell.type("hello\n")
    shell.see("got hello")
    shell.see("shell> ")
    shell.type("echo status $?\n")
    shell.see("status 3\r\n")


def test_the_foreground_is_given_back_to_the_shell(shell: Screen) -> None:
    shell.type("muinit --- true; read word; echo then $word\n")
    shell.type("again\n")
    shell.see("then again\r\n")


@pytest.mark.parametrize(
    "bug",
    ["", "Loop._arrived = lambda *_: 1 / 0"],
    ids=["it gives up", "an internal error"],
)
def test_the_foreground_is_taken_back_from_a_command_that_is_alive(screen: Callable[..., Screen], bug: str) -> None:
    """A shell without job control does not take it back itself, and could not read in the background."""
    script = f"import sys; from muinit import __main__ as m; from muinit.loop import Loop\n{bug}\nsys.exit(m.main())"
    shell = ["sh", "-c", '"$@"; echo code $?; read word; echo then $word', "sh"]
    commands = ["---", *kid("A", "TERM=ignore"), "---", *kid("B", "TERM=ignore", "USR1=exit 0")]
    it = screen(*shell, sys.executable, "-c", script, "-k", "TERM", "-t", "0", *commands)
    pids: dict[str, int] = {}
    try:
        while len(pids) < 2:
            found = it.see(r"(A|B) ready (\d+)\r\n")
            pids[found[1]] = int(found[2])
        os.kill(pids["B"], signal.SIGUSR1)
        it.see("code 1")
        it.type("again\n")
        it.see("then again\r\n")
    finally:
        for pid in pids.values():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def test_pid_1_in_a_group_of_another_namespace_takes_the_terminal_back(screen: Callable[..., Screen]) -> None:
    """Its group has no number here (getpgrp(2) returns 0), so it makes its own before it gives the terminal away."""
    need("a PID namespace", why_no_namespace())
    it = screen(
        *AS_INIT, *MUINIT, "-t", "60", "---", *kid("A", "USR1=exit 0"), "---", *kid("B", "INT=exit 0", "TERM=say")
    )
    it.see("ready")
    it.see("ready")
    wait_for(lambda: it.foreground() != it.process.pid)
    os.kill(it.foreground(), signal.SIGUSR1)
    it.see(r"B TERM\r\n")
    it.type("\x03")
    it.see(r"B INT\r\n")


def test_without_a_terminal_on_stdin_ctrl_c_and_ctrl_z_come_through_muinit(shell: Screen) -> None:
    shell.type(f"muinit -t 60 {words(kid('A', 'INT=say', 'CONT=say', 'TERM=exit 4'))} < /dev/null\n")
    pid = int(shell.see(r"A ready (\d+)\r\n")[1])
    init = int(status(pid)["PPid"])
    wait_for(lambda: int(status(init)["SigCgt"], 16) & 1 << (signal.SIGTSTP - 1))
    shell.type("\x03")
    shell.see(r"A INT\r\n")
    for _ in range(2):
        shell.type("\x1a")
        shell.see("Stopped +muinit")
        wait_for(lambda: status(pid)["State"].startswith("T"))
        shell.see("shell> ")
        shell.type("fg\n")
        shell.see(r"A CONT\r\n")
    assert "A INT" not in shell.seen
    os.kill(init, signal.SIGTERM)
    shell.see(r"A TERM\r\n")
    shell.see("shell> ")


def goes_on_and_stops(shell: Screen, pid: int) -> None:
    """The shell has the terminal back. `fg` continues A, which has this pid, and a SIGTERM to muinit stops it."""
    shell.see("Stopped +muinit")
    shell.see("shell> ")
    shell.type("fg\n")
    shell.see(r"A CONT\r\n")
    os.kill(int(status(pid)["PPid"]), signal.SIGTERM)
    shell.see(r"A TERM\r\n")


def test_a_program_that_stops_itself_gives_the_terminal_to_the_shell(shell: Screen) -> None:
    shell.type(f"muinit {words(kid('A', 'TSTP=stop', 'CONT=say', 'TERM=exit 4'), kid('B'))}\n")
    pid = int(shell.see(r"A ready (\d+)\r\n")[1])
    shell.type("\x1a")
    shell.see(r"A TSTP\r\n")
    goes_on_and_stops(shell, pid)


def test_ctrl_z_suspends_the_pipeline_that_muinit_is_part_of(shell: Screen) -> None:
    shell.type(f"muinit {words(kid('A', 'CONT=say', 'TERM=exit 4'))} | cat\n")
    pid = int(shell.see(r"A ready (\d+)\r\n")[1])
    shell.type("\x1a")
    goes_on_and_stops(shell, pid)
    shell.see("shell> ")


def test_sigtstp_to_muinit_suspends_only_it_and_its_commands(shell: Screen) -> None:
    shell.type(f"(muinit {words(kid('A', 'CONT=say', 'TERM=exit 4'))} < /dev/null; echo then) | cat &\n")
    pid = int(shell.see(r"A ready (\d+)\r\n")[1])
    init = int(status(pid)["PPid"])
    wait_for(lambda: int(status(init)["SigCgt"], 16) & 1 << (signal.SIGTSTP - 1))
    os.kill(init, signal.SIGTSTP)
    wait_for(lambda: status(pid)["State"].startswith("T") and status(init)["State"].startswith("T"))
    assert not status(int(status(init)["PPid"]))["State"].startswith("T")
    os.kill(init, signal.SIGCONT)
    shell.see(r"A CONT\r\n")
    os.kill(init, signal.SIGTERM)
    shell.see(r"A TERM\r\n")
    shell.see("then")


def test_without_a_terminal_all_commands_read_stdin() -> None:
    """If stdin is not a terminal, all commands get it unchanged."""
    argv = [
        *MUINIT,
        "---",
        "sh",
        "-c",
        "sleep 0.2; read a; echo 1 $a; sleep 60",
        "---",
        "sh",
        "-c",
        "read a; echo 2 $a; sleep 0.5",
    ]
    done = subprocess.run(argv, input="x\ny\n", capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, (done.stderr, sys.argv)
    assert "2 x" in done.stdout
