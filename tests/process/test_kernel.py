"""The door to the kernel, on the real kernel; and a stderr that never blocks."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cast.harness import MUINIT, PATIENCE, Run, kernel_says, kid, status, wait_for


def test_an_environment_that_python_refuses_is_no_error() -> None:
    """Some callers have "=value" in it."""
    argv = [sys.executable, "-c", "import os, sys; os.execve(sys.argv[1], sys.argv[1:], {b'=': b'x', b'A': b'b'})"]
    done = subprocess.run([*argv, *MUINIT, "---", "/usr/bin/env"], capture_output=True, text=True, check=False)
    assert done.stdout == "A=b\n", done.stderr


def test_waiting_is_never_shorter_than_asked() -> None:
    """Rounded down to milliseconds, it would spin until the time is up."""
    assert kernel_says("k.catch([1]); t = k.now(); k.wait(0.0019); print(k.now() - t >= 0.0019)") == "True"


def test_a_sigpipe_of_our_own_is_not_forwarded() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    argv = [*MUINIT, "-s", "PIPE,INT", "--trace-states", "---", *kid("A", "PIPE=say", "INT=exit 0")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=write_end) as process:
        os.close(write_end)
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"A ready")
        process.send_signal(signal.SIGPIPE)
        assert process.stdout.readline() == b"A PIPE\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == b"A INT\n"
        assert process.wait(PATIENCE) == 0


def test_a_long_line_is_cut_where_it_shows() -> None:
    commands = [word for n in range(400) for word in ("---", "sh", "-c", f"exit 0; {n}")]
    argv = [*MUINIT, "--trace-states", *commands]
    done = subprocess.run(argv, capture_output=True, timeout=PATIENCE, check=False)
    first = done.stderr.splitlines()[0]
    assert len(first) == 4095
    assert first.endswith(b"...")


@pytest.mark.parametrize("letter", ["\u20ac", "e\u0301", "\n"], ids=["three bytes", "two characters", "an escape"])
def test_a_long_line_is_cut_between_letters(letter: str) -> None:
    """Wherever the cut falls, and even if the number of dropped lines follows it."""
    expected = {"\u20ac": "\u20ac", "e\u0301": "e\u0301", "\n": "\\n"}[letter]
    for before in range(6):
        script = (
            "from muinit.stderr import Stderr\n"
            "s = Stderr(); r, w = os.pipe(); os.dup2(os.open('/dev/full', os.O_WRONLY), 2); s.line('lost')\n"
            f"os.dup2(w, 2); s._fd = None; s.line('x' * {before} + {letter!r} * 4000); os.write(1, os.read(r, 9999))"
        )
        line = kernel_says(script)
        found = re.fullmatch(r"muinit: (x*)(.*)\.\.\. \(1 lines dropped before this one\)", line)
        assert found, line
        assert found[1] == "x" * before
        assert found[2] == expected * (len(found[2]) // len(expected))
        assert 4096 - len(expected.encode()) < len(line.encode()) + 1 <= 4096


def test_sigchld_ignored_by_the_caller_loses_no_status() -> None:
    argv = ["sh", "-c", "trap '' CHLD; exec \"$@\"", "sh", *MUINIT, "-q", "---", "sh", "-c", "exit 7"]
    assert subprocess.run(argv, timeout=PATIENCE, check=False).returncode == 7


def test_muinit_moves_to_the_root_and_its_commands_do_not(tmp_path: Path) -> None:
    with Run(kid("A"), cwd=tmp_path) as it:
        it.ready("A")
        assert os.readlink(f"/proc/{it.pids['A']}/cwd") == str(tmp_path)
        it.signal(signal.SIGINT)
        assert it.end() == 130
    with Run(kid("A", "INT=say"), cwd=tmp_path) as it:
        it.ready("A")
        it.signal(signal.SIGINT)
        it.hear("A INT")
        assert os.readlink(f"/proc/{it.init}/cwd") == "/"
        it.signal(signal.SIGTERM)
        it.end()


def test_every_command_has_a_process_group_of_its_own() -> None:
    with Run(kid("A"), kid("B")) as it:
        it.ready("A", "B")
        assert {os.getpgid(pid) for pid in it.pids.values()} == set(it.pids.values())
        it.signal(signal.SIGTERM)
        it.end()


def test_commands_have_none_of_our_descriptors() -> None:
    with Run(kid("A")) as it:
        it.ready("A")
        assert sorted(map(int, os.listdir(f"/proc/{it.pids['A']}/fd"))) == [0, 1, 2]
        it.signal(signal.SIGTERM)
        it.end()


def test_the_tree_lists_parents_first_and_everyone_once() -> None:
    script = (
        "import time\n"
        "r, w = os.pipe()\n"
        "os.set_inheritable(w, True)\n"
        "a = k.spawn(['sh', '-c', f'sleep 60 & echo $! >&{w}; wait'])\n"
        "b = int(os.read(r, 99))\n"
        "c = k.spawn(['sleep', '60'])\n"
        "print(k.children() == [a, c], k.whole_tree()[1] == [a, c, b])\n"
        "k.stop_everything()"
    )
    assert kernel_says(script) == "True True"


def test_a_descendant_is_signalled_only_if_it_is_still_the_same() -> None:
    """Its parent reaps it, not muinit, so another process may have its pid by now. The start time tells."""
    script = (
        "r, w = os.pipe(); os.set_inheritable(w, True)\n"
        "k.spawn(['sh', '-c', f'sleep 60 & echo $! >&{w}; wait'])\n"
        "b = int(os.read(r, 99)); k.whole_tree()\n"
        "fd = os.pidfd_open(b); import select; died = select.poll(); died.register(fd)\n"
        "k._children._start_times[b] -= 1; k.kill(b, signal.SIGKILL)\n"
        "print(died.poll(100), end=' ')\n"
        "k.whole_tree(); k.kill(b, signal.SIGKILL); print(len(died.poll(20_000)))\n"
        "k.stop_everything(0)"
    )
    assert kernel_says(script) == "[] 1"


def test_more_children_than_a_page_of_proc_holds() -> None:
    """The kernel gives the list one page at a time."""
    script = (
        "pids = []\n"
        "def once():\n"
        "    with open('/proc/thread-self/children', 'rb', buffering=0) as file: return file.read(65536).split()\n"
        "while len(once()) == len(pids) < 2100:\n"
        "    for _ in range(100):\n"
        "        pids.append(os.fork())\n"
        "        if pids[-1] == 0: signal.pause()\n"
        "print(len(once()) < len(pids), k.children() == pids)\n"
        "for pid in pids: os.kill(pid, 9)\n"
        "for pid in pids: os.waitpid(pid, 0)"
    )
    assert kernel_says(script) == "True True"


def test_a_subreaper_that_the_kernel_refuses_is_noticed() -> None:
    script = "import _ctypes\n_ctypes.call_function = lambda *_: -1\nprint(k.adopt_orphans())"
    assert kernel_says(script) == "False"
    assert kernel_says("print(k.adopt_orphans())") == "True"


def test_a_refused_subreaper_is_said() -> None:
    script = (
        "import _ctypes, sys; from muinit import __main__ as m\n"
        "_ctypes.call_function = lambda *_: -1\n"
        "sys.argv = ['muinit', '---', 'true']; sys.exit(m.main())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert done.returncode == 0
    assert "warning: prctl(PR_SET_CHILD_SUBREAPER) failed" in done.stderr


def test_all_children_are_resumed() -> None:
    """Also an orphan that was stopped: a person who continues muinit means all its children."""
    with Run(kid("A", "orphan O,setsid,CONT=say,TERM=exit 0", "CONT=say", "TERM=exit 0")) as it:
        it.ready("A", "O")
        it.kill("O", signal.SIGSTOP)
        wait_for(lambda: status(it.pids["O"])["State"].startswith("T"))
        it.signal(signal.SIGCONT)
        it.hear("A CONT", "O CONT")
        it.signal(signal.SIGTERM)
        while it.line_or_end():
            pass
        it.end()


def test_a_process_is_described_whatever_its_name() -> None:
    script = (
        "import shutil\n"
        "shutil.copy('/bin/sleep', '/tmp/a) (b'); a = k.spawn(['/tmp/a) (b', '60']); os.unlink('/tmp/a) (b')\n"
        "while 'python' in k.describe(a): pass\n"
        "print(k.describe(a).replace(str(a), 'PID'), k.describe(2**22 + 1))\n"
        "k.stop_everything()"
    )
    assert re.fullmatch(r"pid PID \(a\) \(b, state [RDS]\) pid 4194305 \(gone\)", kernel_says(script))


def test_a_signal_that_stops_stops_the_starting_after_the_first() -> None:
    """SIGTERM does, and so does any signal that stops this run. SIGINT is forwarded to the commands once they run."""
    script = (
        "from muinit import __main__ as m, options\n"
        "def started(*words):\n"
        "    pids, _ = m._start(k, options.parse([*words, *['---', 'true'] * 3]))\n"
        "    return len(pids) - pids.count(None)\n"
        "me(signal.SIGINT, signal.SIGWINCH)\n"
        "print(started(), started('--stop-on', 'WINCH'), started('--stop-on', 'INT'))\n"
        "me(signal.SIGQUIT); print(started(), started('-s', 'QUIT'))\n"
        "me(signal.SIGTERM); print(started('-s', 'QUIT'))"
    )
    assert kernel_says(script) == "3 1 1\n1 3\n1"


def test_signalling_nobody_is_no_error() -> None:
    assert kernel_says("k.kill(2**22 + 1, 15); k.kill(-(2**22) - 1, 15)") == ""


# stderr


def test_a_reader_that_went_away_does_not_stop_us() -> None:
    read_end, write_end = os.pipe()
    process = subprocess.Popen([*MUINIT, "--trace-states", "---", "sh", "-c", "exit 5"], stderr=write_end)
    os.close(write_end)
    os.close(read_end)
    assert process.wait(PATIENCE) == 5


def test_a_full_pipe_that_nobody_reads_does_not_stop_us_and_lines_are_counted() -> None:
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    filled = 0
    try:
        while True:
            filled += os.write(write_end, b"x" * 4096)
    except BlockingIOError:
        pass
    os.set_blocking(write_end, True)
    argv = [*MUINIT, "--trace-states", "---", *kid("A", "INT=say")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=write_end) as process:
        os.close(write_end)
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"A ready")
        for _ in range(2):  # after the second it has tried to say at least the first
            process.send_signal(signal.SIGINT)
            assert process.stdout.readline() == b"A INT\n"
        while filled:
            filled -= len(os.read(read_end, filled))
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 143
    with os.fdopen(read_end) as pipe:
        lines = pipe.read().splitlines()
    dropped = re.search(r" \((\d) lines dropped before this one\)$", lines[0])
    assert dropped
    assert int(dropped[1]) >= 2  # the start, and the first SIGINT
    assert int(dropped[1]) + len(lines) == 7  # a second SIGINT, SIGTERM, the command's end, the end, and why


@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full"])
def test_no_stderr_to_write_to_does_not_stop_us(redirection: str) -> None:
    argv = ["sh", "-c", f'exec "$@" {redirection}', "sh", *MUINIT, "--trace-states", "---", "sh", "-c", "exit 5"]
    assert subprocess.run(argv, timeout=PATIENCE, check=False).returncode == 5


def test_lines_are_appended_to_a_file(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("before\n")
    with log.open("a") as file:
        subprocess.run(
            [*MUINIT, "---", "sh", "-c", "echo mine >&2; exit 5"], stderr=file, timeout=PATIENCE, check=False
        )
    lines = log.read_text().splitlines()
    assert lines[:2] == ["before", "mine"]
    assert lines[2].startswith("muinit: exit 5: ")
