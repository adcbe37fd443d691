"""--label: each line of output begins with the name of its command, and nothing that was written is lost."""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from muinit.labels import Labels
from tests.cast.harness import AS_INIT, MUINIT, PATIENCE, Run, kid, kill_all, status, wait_for

Start = Callable[..., Run]


def output(*argv: str, prefix: Sequence[str] = ()) -> subprocess.CompletedProcess[bytes]:
    """What a run with these arguments writes."""
    return subprocess.run([*prefix, *MUINIT, *argv], capture_output=True, timeout=120, check=False)


@pytest.fixture
def prefix(pid1: bool) -> list[str]:
    """Run muinit as PID 1 and not."""
    return AS_INIT if pid1 else []


def said(*argv: str, prefix: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*prefix, *MUINIT, *argv], capture_output=True, text=True, timeout=PATIENCE, check=False)


def labeller(muinit: int) -> int:
    """The process that labels the output of this muinit."""
    children = Path(f"/proc/{muinit}/task/{muinit}/children")
    found: list[int] = wait_for(
        lambda: [int(pid) for pid in children.read_text().split() if status(int(pid))["Name"] == "muinit-label"]
    )
    return found[0]


@contextmanager
def running(*argv: str, stdout: int = subprocess.PIPE) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([*MUINIT, *argv], stdout=stdout, stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE)


def waiting(pipe: IO[bytes] | None) -> int:
    """How many bytes nobody has read yet."""
    assert pipe is not None
    found = array("i", [0])
    fcntl.ioctl(pipe.fileno(), termios.FIONREAD, found)
    return found[0]


def read_until(process: subprocess.Popen[bytes], word: bytes) -> bytes:
    """What the process writes to stdout, up to this word."""
    assert process.stdout is not None
    found = b""
    while word not in found:
        ready, _, _ = select.select([process.stdout], [], [], PATIENCE)
        assert ready, found
        data = os.read(process.stdout.fileno(), 65536)
        assert data, found
        found += data
    return found


# The lines


def test_each_line_has_the_name_of_its_command(prefix: list[str]) -> None:
    """Names are padded; stdout stays stdout, and stderr stays stderr; a last line without a newline gets one."""
    first = ["--name", "web", "sh", "-c", "echo one; echo two; echo wrong >&2; printf three; sleep 60"]
    done = output("--label", "-q", "---", *first, "---", "--name", "mail", "sh", "-c", "sleep 0.5", prefix=prefix)
    assert done.stdout.decode().splitlines() == ["web  | one", "web  | two", "web  | three"]
    assert done.stderr.decode().splitlines() == ["web  | wrong"]


def test_programs_of_one_name_are_told_apart() -> None:
    done = output("--label", "-q", "---", "--may-end", "echo", "a", "---", "--may-end", "/bin/echo", "b")
    assert sorted(done.stdout.decode().splitlines()) == ["echo   | a", "echo-2 | b"]


def test_a_name_with_a_slash_is_left_as_it_is() -> None:
    assert output("--label", "-q", "---", "--name", "web/api", "/bin/echo", "a").stdout == b"web/api | a\n"


def test_the_last_line_of_muinit_is_the_last_of_all(prefix: list[str]) -> None:
    """Kubernetes shows it as the message of the container (FallbackToLogsOnError)."""
    script = "i=0; while [ $i -lt 2000 ]; do echo line $i >&2; i=$((i+1)); done; exit 3"
    done = output("--label", "---", "sh", "-c", script, prefix=prefix)
    assert done.returncode == 3
    *lines, last = done.stderr.decode().splitlines()
    assert lines == [f"sh | line {n}" for n in range(2000)]
    assert last.startswith("muinit: exit 3: ")


def test_bytes_that_are_no_text_pass_through() -> None:
    script = r"printf '\377\000\376\n\303\n'"
    assert output("--label", "-q", "---", "sh", "-c", script).stdout == b"sh | \xff\x00\xfe\nsh | \xc3\n"


def test_a_long_line_is_split_and_its_pieces_are_marked() -> None:
    script = "import sys; sys.stdout.write('x' * 150_000 + '\\nend\\n')"
    done = output("--label", "-q", "---", "--name", "a", sys.executable, "-c", script)
    pieces = done.stdout.decode().splitlines()
    assert [(piece[:4], len(piece) - 4) for piece in pieces] == [
        ("a | ", 65536),
        ("a + ", 65536),
        ("a + ", 150_000 - 2 * 65536),
        ("a | ", 3),
    ]


def test_10_mb_in_one_line() -> None:
    script = "import sys; sys.stdout.write('x' * 10_000_000)"
    pieces = output("--label", "-q", "---", "--name", "a", sys.executable, "-c", script).stdout.decode().splitlines()
    assert pieces[0].startswith("a | ")
    assert all(piece.startswith("a + ") for piece in pieces[1:])
    assert sum(len(piece) - 4 for piece in pieces) == 10_000_000


def test_a_million_lines_from_four_writers(prefix: list[str]) -> None:
    """None is lost, none is mixed with another, and those of one command come in their order."""
    commands = [word for name in "abcd" for word in ("---", "--may-end", "--name", name, "seq", "250000")]
    done = output("--label", *commands, prefix=prefix)
    assert (done.returncode, done.stderr) == (0, b"")
    lines = [line.split(" | ") for line in done.stdout.decode().splitlines()]
    assert Counter(name for name, _ in lines) == dict.fromkeys("abcd", 250_000)
    for name in "abcd":
        assert [int(number) for one, number in lines if one == name] == list(range(1, 250_001))


def test_what_a_command_wrote_before_it_died_is_out(prefix: list[str]) -> None:
    script = "import os, signal; print('x' * 100, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    done = output("--label", "-q", "---", "--name", "a", sys.executable, "-c", script, prefix=prefix)
    assert done.stdout.decode() == f"a | {'x' * 100}\n"


def test_commands_have_a_colour_each_on_a_terminal() -> None:
    for environment, coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
        ours, theirs = pty.openpty()
        argv = [*MUINIT, "--label", "-q", "---", "--name", "a", "echo", "x", "---", "--name", "b", "sleep", "60"]
        variables = {**os.environ, "TERM": "xterm", **environment}
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=theirs, check=False, env=variables)
        os.close(theirs)
        assert done.returncode == 0
        shown = os.read(ours, 4096)
        os.close(ours)
        assert shown == (b"\x1b[36ma |\x1b[0m x\r\n" if coloured else b"a | x\r\n")


def test_a_first_command_that_has_the_terminal_is_not_labelled() -> None:
    argv = [*MUINIT, "--label", "-q", "---", "sh", "-c", "test -t 1 && echo free", "---", "sleep", "60"]
    ours, theirs = pty.openpty()
    done = subprocess.run(argv, stdin=theirs, stdout=theirs, check=False, start_new_session=True)
    os.close(theirs)
    assert done.returncode == 0
    assert os.read(ours, 4096) == b"free\r\n"
    os.close(ours)


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_a_stream_that_our_caller_has_closed_stays_closed(closed: str) -> None:
    script = "import os\nfor fd in 1, 2:\n try: os.fstat(fd); os.write(fd, b'open\\n')\n except OSError: pass"
    shell = f'exec "$@" {closed}'
    done = subprocess.run(
        ["sh", "-c", shell, "sh", *MUINIT, "--label", "-q", "---", "--name", "a", sys.executable, "-c", script],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0
    assert done.stdout == (b"" if ">&-" in closed.split() else b"a | open\n")
    assert done.stderr == (b"" if "2>&-" in closed.split() else b"a | open\n")


# The labeller


def test_the_labeller_is_no_command_and_no_orphan(run: Start) -> None:
    """No step, target or signal reaches it, and it is not waited for as a child: all is said, and then it ends."""
    with run(kid("A", "TERM=exit 0", "INT=say"), options="--label -k TERM@tree,KILL -v") as it:
        it.line()
        it.signal(signal.SIGINT)
        assert it.line().endswith("| A INT")
        it.signal(signal.SIGTERM)
        assert it.line().endswith("| A TERM")
        assert it.end() == 0
        assert "muinit-label" not in it.err
        assert "warning" not in it.err


def test_a_command_never_sees_the_pipes(run: Start) -> None:
    """Only its own two streams: what others write does not depend on it."""
    script = "import os; print(sorted(os.listdir('/proc/self/fd')), flush=True)"
    with run([sys.executable, "-c", script], options="--label -q") as it:
        assert it.line().endswith("['0', '1', '2', '3']"), "3 is the folder itself"
        assert it.end() == 0


def test_if_the_labeller_is_killed_another_one_goes_on() -> None:
    script = "import sys\nfor n in range(10**9):\n print(n, flush=True); sys.stdin.readline()"
    argv = ["--label", "---", "--name", "a", sys.executable, "-c", script]
    process = subprocess.Popen([*MUINIT, *argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stderr is not None
    try:
        read_until(process, b"a | 0\n")
        os.kill(labeller(process.pid), signal.SIGKILL)
        warning = process.stderr.readline().decode()
        assert re.fullmatch(
            r"muinit: warning: .* died of SIGKILL: \d+ bytes may be lost; another one goes on\n", warning
        )
        process.stdin.write(b"\n")
        process.stdin.flush()
        read_until(process, b"a | 1\n")
        os.kill(labeller(process.pid), signal.SIGKILL)
        assert b"the output of the commands is closed" in process.stderr.readline()
        process.stdin.write(b"\n")
        process.stdin.flush()
        assert process.wait(PATIENCE) in (1, 120), "the command gets EPIPE; the codes are Python's for that"
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(("status", "how"), [(139, "died of SIGSEGV"), (11, "died of SIGSEGV"), (256, "exited 1")])
def test_how_a_labeller_died_is_said(status: int, how: str) -> None:
    """139: with a core dump."""
    it = Labels(["a"])
    for _ in range(2):  # after the first one, there is another
        os.kill(it.pid, signal.SIGKILL)
        os.waitpid(it.pid, 0)
        it.status = status
        said: list[str] = []
        it.mend(said.append)
        assert said[0].startswith(f"warning: the process that labels the output {how}: ")


def test_what_stands_in_the_pipe_survives_the_labeller() -> None:
    """The labeller is stopped, the command writes and ends, the labeller is killed: another one finds all lines."""
    argv = ["--label", "---", "--name", "a", "sh", "-c", "echo ready; read x; seq 1000; exit 5"]
    process = subprocess.Popen([*MUINIT, *argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    read_until(process, b"a | ready\n")
    helper = labeller(process.pid)
    os.kill(helper, signal.SIGSTOP)
    wait_for(lambda: status(helper)["State"].startswith("T"))
    assert process.stdin is not None
    process.stdin.write(b"\n")
    process.stdin.flush()
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    wait_for(lambda: children.read_text().split() == [str(helper)] or not children.exists())
    os.kill(helper, signal.SIGKILL)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 5
    lines = out.decode().splitlines()
    # If muinit was past its loop, nobody goes on; then it says what is lost.
    assert lines == [f"a | {n}" for n in range(1, 1001)] or b"bytes that the commands wrote are lost" in err


# Our reader


def test_a_reader_that_stops_for_a_while_loses_nothing() -> None:
    """The commands are slowed down, as by any full pipe."""
    with running("--label", "---", "--name", "a", "sh", "-c", "seq 100000; exec sleep 60") as process:
        assert process.stdout is not None
        # A full pipe has 16 pages. On average they are at least half full: a write shares a page if it fits.
        wait_for(lambda: waiting(process.stdout) > 32_000)
        found = read_until(process, b"a | 100000\n")
        assert found == b"".join(b"a | %d\n" % n for n in range(1, 100_001))


def test_if_our_reader_goes_away_the_commands_see_it() -> None:
    """As without --label: the write fails with EPIPE."""
    script = (
        "import os, signal, sys, time\n"
        "signal.signal(signal.SIGPIPE, signal.SIG_IGN)\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])\n"
        "os.write(1, b'ready\\n')\n"
        "signal.sigwait([signal.SIGINT])\n"
        "for _ in range(10**6):\n"
        "  try: os.write(1, b'x\\n')\n"
        "  except BrokenPipeError: sys.exit(9)\n"
    )
    process = subprocess.Popen(
        [*MUINIT, "-q", "--label", "---", sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    read_until(process, b"ready\n")
    assert process.stdout is not None
    process.stdout.close()
    process.send_signal(signal.SIGINT)  # forwarded once muinit is in its loop: then only the labeller can wake it
    assert process.wait(PATIENCE) == 9
    assert process.stderr is not None
    process.stderr.close()


def test_signals_and_steps_do_not_wait_for_a_reader() -> None:
    """Nobody reads stdout. SIGTERM stops the commands all the same, and muinit says what was lost."""
    read_end, write_end = os.pipe()
    with running("--label", "-t", "0.5", "---", "--name", "a", "yes", stdout=write_end) as process:
        os.close(write_end)
        waiting = select.poll()
        waiting.register(read_end, select.POLLIN)
        assert waiting.poll(PATIENCE * 1000)
        process.terminate()
        assert process.wait(PATIENCE) == 143
        assert process.stderr is not None
        *_, warning, last = process.stderr.read().decode().splitlines()
        assert re.fullmatch(r"muinit: warning: \d+ bytes that the commands wrote are lost, because .*", warning)
        assert last.startswith("muinit: exit 143: ")
    os.close(read_end)


def test_a_full_disk_loses_lines_and_nothing_else() -> None:
    """/dev/full gives ENOSPC for each write, as a full disk does."""
    with Path("/dev/full").open("wb") as full:
        argv = [*MUINIT, "--label", "---", "sh", "-c", "echo lost; echo said >&2; exit 4"]
        done = subprocess.run(argv, stdout=full, stderr=subprocess.PIPE, check=False, timeout=PATIENCE)
    assert done.returncode == 4
    assert b"sh | said\n" in done.stderr
    assert b"warning: 5 bytes that the commands wrote are lost" in done.stderr


def test_a_daemon_that_keeps_the_pipe_delays_nothing() -> None:
    """It survives the steps, which have no SIGKILL; muinit takes what there is, and exits."""
    script = "trap '' TERM; echo here; sleep 5 & echo $!; exit 0"
    done = output("--label", "-k", "TERM", "-t", "0.2", "---", "sh", "-c", f"({script}) & wait; exit 0")
    lines = done.stdout.decode().splitlines()
    assert lines[0] == "sh | here"
    assert done.returncode == 1
    kill_all([int(lines[1].removeprefix("sh | "))])


def test_too_few_descriptors_start_nothing(tmp_path: Path) -> None:
    started = tmp_path / "started"
    commands = [word for _ in range(20) for word in ("---", "touch", str(started))]
    done = said("--label", *commands, prefix=["prlimit", "--nofile=40"])
    assert done.returncode == 1
    assert done.stderr == (
        "muinit: --label: 20 commands need 80 descriptors and a process, but: "
        f"{os.strerror(errno.EMFILE)}; expected a higher limit (ulimit -n, ulimit -u)\n"
    )
    assert not started.exists()


def test_the_longest_stop_counts_the_wait_for_the_reader() -> None:
    assert "at most 8 s" in said("--diagram", "table", "--label").stdout
    assert "at most 6 s" in said("--diagram", "table").stdout
