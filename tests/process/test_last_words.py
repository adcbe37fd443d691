"""What muinit says at its exit and, if asked, during the run; where it says this, and in which colours."""

from __future__ import annotations

import json
import os
import pty
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from muinit.termination import TerminationLog
from tests.cast.harness import MUINIT, PATIENCE, ROOT, UNSHARE, Run, kid, kill_all, wait_for
from tests.conftest import need, why_no_namespace
from tests.process.test_tracefile import NAMES_OF_STDOUT, as_init

TIME = r"[\d.]+ s"


# -q, -v


def test_quiet_and_verbose() -> None:
    """A failure is one line, and none with -q; if all is well, only -v prints; of -q and -v the last one counts."""
    true, false = ["---", "true"], ["---", "false"]
    for options, command, lines in [
        ("", true, 0),
        ("", false, 1),
        ("-q", false, 0),
        ("-v", true, 4),
        ("-vq", false, 0),
        ("-qv", false, 4),
    ]:
        done = subprocess.run([*MUINIT, *options.split(), *command], capture_output=True, text=True, check=False)
        assert done.stderr.count("\n") == lines, (options, command, done.stderr)


def test_a_verbose_run_tells_its_story(run: Callable[..., Run]) -> None:
    """It has a line for each start, end, adoption, reaped orphan and step, and the last line even at exit 0."""
    with run(kid("A", "orphan O,TERM=ignore", "TERM=exit 0"), kid("B", "USR1=exit 0"), options="-v -t 1") as it:
        it.ready("A", "B", "O")
        it.kill("B", signal.SIGUSR1)
        it.hear("B USR1", "A TERM")
        assert it.end() == 0
        a, b, o = (it.pids[name] for name in "ABO")
        title = r"\(python[\d.]*(?:-2)? .*?\)"
        expected = [
            rf"started pid {a} {title}",
            rf"started pid {b} {title}",
            rf"adopted pid {o} \(python[\d.]*\)",
            rf"pid {b} {title} exited 0 after {TIME}",
            r"step 1 of 2: SIGTERM, SIGCONT to every child; waiting up to 1 s",
            rf"pid {a} {title} exited 0 after {TIME}, {TIME} into step 1 of 2 \(SIGTERM\)",
            r"step 2 of 2: SIGKILL to every descendant; waiting up to 1 s",
            rf"reaped pid {o} \(python[\d.]*\), which died of SIGKILL",
            rf"exit 0: no command failed; pid {b} {title} exited 0 after {TIME}, so muinit stopped the rest: .*",
        ]
        lines = iter(it.err.splitlines())
        for pattern in expected:
            assert any(re.fullmatch(f"muinit: {pattern}", line) for line in lines), (pattern, it.err)


BETWEEN_TWO_LOOKS = """
import sys
from muinit import __main__ as m, loop
look = loop.Loop._look_at_the_dead
def late(self):
    look(self)
    loop.Loop._look_at_the_dead = look
    with open({gate!r}, "w") as gate: gate.write("go\\n")
    while len(self._kernel.children()) < 2: pass
loop.Loop._look_at_the_dead = late
sys.argv[0] = "muinit"
m.run()
"""


def test_an_orphan_that_is_adopted_while_muinit_starts_is_reported(tmp_path: Path) -> None:
    """It was known, and nobody was told, if it came between two looks. A picture of a run lacked it once."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    argv = [sys.executable, "-c", BETWEEN_TWO_LOOKS.format(gate=str(gate)), "-v", "---"]
    command = ["sh", "-c", f"read word < {gate}; (sleep 60 &); exec sleep 60"]
    with subprocess.Popen([*argv, *command], stderr=subprocess.PIPE, text=True, cwd=ROOT) as it:
        assert it.stderr is not None
        try:
            assert it.stderr.readline().startswith("muinit: started ")
            it.send_signal(signal.SIGCHLD)
            assert re.fullmatch(r"muinit: adopted pid \d+ \(s(h|leep)\)\n", it.stderr.readline())
        finally:
            it.terminate()
        assert it.wait(PATIENCE) == 143


def test_orphans_that_come_and_go_are_reported(run: Callable[..., Run]) -> None:
    """While all commands run, an orphan is adopted and reaped without further effect, and -v names it."""
    with run(["sh", "-c", "(sh -c 'exit 7' &); exec sleep 60"], kid("B"), options="-v") as it:
        it.ready("B")
        wait_for(lambda: re.search(r"^muinit: reaped pid \d+ \(sh\), which exited 7$", it.err, re.MULTILINE))
        assert re.search(r"^muinit: adopted pid \d+ \(sh\)$", it.err, re.MULTILINE)
        it.signal(signal.SIGTERM)
        assert it.end() == 143


# --trace-states in colours


def on_a_terminal(environment: dict[str, str], *commands: str) -> str:
    """What muinit writes if its stderr is a terminal."""
    master, slave = pty.openpty()
    clean = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
    subprocess.run(
        [*MUINIT, "--trace-states", *(commands or ("---", "sh", "-c", "exit 3"))],
        stdin=subprocess.DEVNULL,
        stderr=slave,
        env={**clean, "TERM": "xterm", **environment},
        check=False,
    )
    os.close(slave)
    said = b""
    with suppress(OSError):  # EIO: no process has the terminal open any more
        while data := os.read(master, 65536):
            said += data
    os.close(master)
    return said.decode().replace("\r\n", "\n")


def test_colours_are_used_only_on_a_terminal_and_can_be_switched_off() -> None:
    coloured = on_a_terminal({})
    assert re.search(r"\x1b\[2m +0\.\d{3} s\x1b\[0m  \x1b\[2m\[\*\]\x1b\[0m -> \x1b\[32mRUNNING\x1b\[0m  ", coloured)
    assert coloured.splitlines()[-1].startswith("muinit: exit 3: ")
    assert "\x1b" in on_a_terminal({"NO_COLOR": ""}), "only a NO_COLOR that is not empty counts (no-color.org)"
    plain = on_a_terminal({"NO_COLOR": "1"})
    assert "\x1b" not in plain
    assert "\x1b" not in on_a_terminal({"TERM": "dumb"})
    argv = [*MUINIT, "--trace-states", "---", "sh", "-c", "exit 3"]
    assert "\x1b" not in subprocess.run(argv, stderr=subprocess.PIPE, text=True, check=False).stderr
    shape = re.compile(r"pid \d+|[\d.]+ s\b")
    assert shape.sub("", re.sub(r"\x1b\[\d*m", "", coloured)) == shape.sub("", plain), "nothing else is different"


def test_a_coloured_line_that_is_cut_switches_its_colour_off() -> None:
    """An escape sequence in a command line still does not reach the terminal."""
    argv = ["---", "sh", "-c", "exit 0", "\x1b[2J"]
    said = on_a_terminal({}, *(argv * 200))
    assert "\x1b[2J" not in said
    first = said.splitlines()[0]
    assert len(first.encode()) < 4096
    assert first.endswith("...")


def test_the_last_line_has_less_than_2048_bytes() -> None:
    """Kubernetes shows the last 2048 bytes of a log, and the reason must be among them."""
    for reason in ("x" * 3000, "\u20ac" * 3000, "\n" * 3000):
        script = f"from muinit.stderr import Stderr; Stderr().last_line('exit 3: ' + {reason!r})"
        said = subprocess.run([sys.executable, "-c", script], stderr=subprocess.PIPE, check=True).stderr
        assert 2000 < len(said) < 2048
        assert said.startswith(b"muinit: exit 3: ")
        assert said.endswith(b"...\n")
        assert said.decode().count("\n") == 1


# --termination-log


def test_the_termination_log_has_the_last_line(run: Callable[..., Run], tmp_path: Path) -> None:
    """The log gets it also at exit 0, and if -q keeps it from stderr, in place of its old contents."""
    path = tmp_path / "log"
    for options, code in [("", 3), ("", 0), ("-q", 4), ("-v", 0)]:
        path.write_text("x" * 10_000)
        with run(["sh", "-c", f"exit {code}"], kid("B"), options=f"{options} --termination-log={path}") as it:
            assert it.end() == code
            assert path.read_text().startswith(f"exit {code}: ")
            said = f"muinit: {path.read_text()}\n"
            assert it.err.endswith(said) == (options == "-v" or (code > 0 and options == ""))


def test_the_termination_log_of_kubernetes() -> None:
    """It is the file /dev/termination-log, which the kubelet has made."""
    need("a mount namespace", why_no_namespace())
    script = 'mount -t tmpfs none /dev; : > /dev/termination-log; "$@"; cat /dev/termination-log'
    argv = [*UNSHARE, "--mount", "sh", "-ec", script, "sh", *MUINIT, "--termination-log", "---", "true"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert re.fullmatch(rf"exit 0: no command failed; pid \d+ \(true\) exited 0 after {TIME}", done.stdout)


def test_a_relative_path_of_a_termination_log_counts_from_where_muinit_was_started(tmp_path: Path) -> None:
    """It counts from there although muinit has left that directory."""
    subprocess.run([*MUINIT, "--termination-log=here", "---", "true"], cwd=tmp_path, check=True)
    assert (tmp_path / "here").read_text().startswith("exit 0: ")


def test_a_termination_log_that_cannot_be_written_causes_one_warning(run: Callable[..., Run], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path, why in [
        ("/nowhere/log", "No such file or directory"),
        ("/dev/full", "No space left on device"),
        (f"{tmp_path}", "Is a directory"),
        (f"{tmp_path}/fifo", "No such device or address"),
    ]:
        with run(["sh", "-c", "exit 3"], options=f"--termination-log={path}") as it:
            assert it.end() == 3
            assert it.err.count("muinit: exit 3: ") == 1
            assert it.err.count("\n") == 2
            assert f"muinit: warning: cannot write the termination log {path}: {why}\n" in it.err


def test_a_termination_log_in_a_directory_that_is_gone(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    script = 'cd gone; rmdir ../gone; "$@"'
    argv = ["sh", "-c", script, "sh", *MUINIT, "--termination-log=log", "---", "sh", "-c", "exit 3"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "\nmuinit: exit 3: " in done.stderr
    assert done.stderr.count("muinit: warning: cannot write the termination log log: No such file or directory\n") == 1


def test_the_termination_log_has_at_most_4096_bytes_and_no_broken_characters(tmp_path: Path) -> None:
    """The kubelet reads at most 4096 bytes (kubernetes.io: Customizing the termination message)."""
    log = TerminationLog(str(tmp_path / "log"))
    for before in range(3):  # characters of three bytes: one cut is between two of them, two cuts are inside one
        log.write("x" * before + "\u20ac" * 2000)
        text = (tmp_path / "log").read_text()
        assert text == "x" * before + "\u20ac" * ((4096 - before) // 3)
    log.write("a\udcffb")
    assert (tmp_path / "log").read_text() == "a?b"


@pytest.mark.parametrize("name", NAMES_OF_STDOUT)
def test_a_termination_log_that_is_stdout_is_not_emptied(name: str, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/dev/stdout")
    (tmp_path / "out").write_text("before\n")
    with (tmp_path / "out").open("a") as out:
        argv = [*as_init(name), *MUINIT, f"--termination-log={name}", "---", "sh", "-c", "echo hello; exit 3"]
        done = subprocess.run(argv, stdout=out, stderr=subprocess.DEVNULL, check=False, cwd=tmp_path)
        assert done.returncode == 3
    before, hello, why = (tmp_path / "out").read_text().splitlines()
    assert (before, hello) == ("before", "hello")
    assert why.startswith("exit 3: ")


def test_a_termination_log_follows_no_link(run: Callable[..., Run], tmp_path: Path) -> None:
    """A command may have planted a link in this or an earlier run of the container; muinit warns and goes on."""
    victim, log = tmp_path / "victim", tmp_path / "log"
    victim.write_text("precious")
    options = f"--termination-log={log}"
    log.symlink_to(victim)
    with run(["sh", "-c", "exit 3"], options=options) as it:
        assert it.end() == 3
        why = "is a symbolic link; expected the file itself"
        assert it.err.count(f"muinit: warning: cannot write the termination log {log}: {why}\n") == 1
        assert it.err.count("warning") == 1
    log.unlink()
    with run(["sh", "-c", 'rm "$1"; ln -s "$2" "$1"; exit 3', "sh", str(log), str(victim)], options=options) as it:
        assert it.end() == 3
        assert f"cannot write the termination log {log}: was removed\n" in it.err
    log.unlink()
    os.mkfifo(log)
    with run(["sh", "-c", 'rm "$1"; ln -s "$2" "$1"; exit 3', "sh", str(log), str(victim)], options=options) as it:
        assert it.end() == 3
        assert f"cannot write the termination log {log}: {why}\n" in it.err
    log.unlink()
    os.mkfifo(log)
    with run(["sh", "-c", 'rm "$1"; cp "$2" "$1"; exit 3', "sh", str(log), str(victim)], options=options) as it:
        assert it.end() == 3
        assert f"cannot write the termination log {log}: is no longer a FIFO\n" in it.err
    assert victim.read_text() == log.read_text() == "precious"
    log.unlink()
    log.hardlink_to(victim)
    with run(["sh", "-c", "exit 3"], options=options) as it:
        assert it.end() == 3
        assert f"{log}: has 2 hard links; expected a file with one name\n" in it.err
    assert victim.read_text() == "precious"


def test_a_termination_log_can_be_a_fifo(tmp_path: Path) -> None:
    """The reader of the FIFO may come while muinit runs."""
    os.mkfifo(tmp_path / "log")
    with Run(kid("A", "TERM=exit 3"), options="--termination-log=log", cwd=tmp_path) as it:
        it.ready("A")
        reader = os.open(tmp_path / "log", os.O_RDONLY | os.O_NONBLOCK)
        it.signal(signal.SIGTERM)
        assert it.end() == 3
        assert os.read(reader, 9) == b"exit 3: p"
        os.close(reader)


def test_the_log_and_the_trace_can_be_one_descriptor(tmp_path: Path) -> None:
    with (tmp_path / "out").open("w") as out:
        number = out.fileno()
        argv = [*MUINIT, f"--trace-file={number}", f"--termination-log=/dev/fd/{number}", "---", "true"]
        done = subprocess.run(argv, pass_fds=[number], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "out").read_text().splitlines()[-1].startswith("exit 0: ")


def test_a_termination_log_that_takes_only_a_part_causes_a_warning(tmp_path: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, resource.RLIM_INFINITY))

    argv = [*MUINIT, f"--termination-log={tmp_path}/log", "---", "sh", "-c", "exit 3"]
    done = subprocess.run(argv, stderr=subprocess.PIPE, text=True, preexec_fn=limit, check=False)
    assert (done.returncode, (tmp_path / "log").read_text()) == (3, "exit 3: pi")
    assert done.stderr.endswith(f"muinit: warning: cannot write the termination log {tmp_path}/log: File too large\n")


def test_wrong_usage_is_in_the_termination_log(tmp_path: Path) -> None:
    argv = [*MUINIT, f"--termination-log={tmp_path}/log", "-t", "soon", "---", "true"]
    done = subprocess.run(argv, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, f"muinit: {(tmp_path / 'log').read_text()}\n")
    assert done.stderr.startswith("muinit: -t 'soon': expected seconds")


def test_a_line_break_in_the_name_of_a_process_is_escaped(tmp_path: Path) -> None:
    script = (
        "import os, signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); open('/proc/self/comm', 'w').write('a\\nb');"
        "print('A ready', os.getpid(), flush=True); signal.pause()"
    )
    command = [sys.executable, "-I", "-S", "-c", script]
    with Run(command, options=f"-k TERM -t 0.1 --termination-log={tmp_path}/log") as it:
        it.ready("A")
        it.signal(signal.SIGTERM)
        assert it.process.wait(20) == 1
        assert f"pid {it.pids['A']} (a\\nb, state S)" in (tmp_path / "log").read_text()
        kill_all(it.survivors())
        wait_for(lambda: not it.survivors())


def test_an_internal_error_is_in_the_termination_log(tmp_path: Path) -> None:
    path = tmp_path / "log"
    script = (
        "import sys; from muinit import __main__ as m\n"
        "def broken(*_): raise RuntimeError('it broke')\n"
        "m._supervise = broken\n"
        f"sys.argv = ['muinit', '--termination-log={path}', '---', 'true']; sys.exit(m.main())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert path.read_text().startswith("internal error: ")
    assert done.stderr == f"muinit: {path.read_text()}\n"


# An error in what only reports stops nothing


@pytest.mark.parametrize(
    ("options", "broken", "what"),
    [
        ("--trace-states", "from statechart.words import decision; decision.line = bug", "--trace-states"),
        ("--trace-states", "from statechart.words import decision; decision.start = bug", "--trace-states"),
        ("-v", "from statechart.words.story import Story; Story.lines = bug", "--verbose"),
        ("-v", "from statechart.words.story import Story; Story._step = bug", "--verbose"),
        ("-v", "from statechart.words.story import Story; Story.__init__ = bug", "the trace"),
        ("--trace-file=/dev/null", "from statechart.traces import write; write.header = bug", "--trace-file"),
        ("--trace-file=/dev/null", "from statechart.traces import write; write.entry = bug", "--trace-file"),
        ("--trace-file=/dev/null", "from muinit.tracefile import TraceFile; TraceFile.line = bug", "--trace-file"),
        ("--trace-file=/dev/null", "from muinit.tracefile import TraceFile; TraceFile.end = bug", "--trace-file"),
        ("--trace-file=/dev/null", "from muinit.tracefile import TraceFile; TraceFile.__init__ = bug", "the trace"),
        ("--trace-states", "sys.modules['muinit.watch'] = None", "the trace"),
        ("-q", "from statechart.words.verdict import Verdict; Verdict.sentence = bug", "the reason"),
        (
            "-q",
            "from statechart.words.verdict import Verdict as V; V.noteworthy = V.sentence = bug",
            "the reason",
        ),
        ("--termination-log=/dev/null", "m._write = bug", "the termination log"),
        ("", "from muinit import oom; oom.Counter = bug", "the OOM counter"),
    ],
)
def test_an_error_in_a_report_is_said_once_and_stops_nothing(options: str, broken: str, what: str) -> None:
    script = (
        "import sys; from muinit import __main__ as m\n"
        "def bug(*_, **__): raise RuntimeError('a bug')\n"
        f"{broken}\n"
        f"sys.argv = ['muinit', *{options.split()}, *sys.argv[1:]]; sys.exit(m.main())"
    )
    argv = [sys.executable, "-c", script, "---", "sh", "-c", "exit 3", "---", "sleep", "60"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "internal error" not in done.stderr
    assert done.stderr.count("an error in muinit: it goes on without") == 1, done.stderr
    assert f"muinit: warning: an error in muinit: it goes on without {what}; please report " in done.stderr


def test_an_error_in_reading_names_stops_nothing() -> None:
    script = (
        "import sys; from muinit import __main__ as m; from muinit.kernel import Kernel\n"
        "def bug(*_): raise RuntimeError('a bug')\n"
        "Kernel.name = Kernel.describe = bug\n"
        "sys.argv[0] = 'muinit'; sys.exit(m.main())"
    )
    stubborn = "trap '' TERM; sleep 60 > /dev/null 2>&1 & exit 0"
    for options, code in ([], 0), (["--trace-states"], 0), (["-k", "TERM"], 1):
        argv = [sys.executable, "-c", script, *options, "-t", "0.1", "---", "sh", "-c", stubborn]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == code
        assert done.stderr.count("an error in muinit: it goes on without the names of processes; ") == 1, done.stderr
        assert re.search(r"pid \d+", done.stderr.splitlines()[-1])
    for pid in map(int, re.findall(r"alive .*: pid (\d+)", done.stderr)):
        os.kill(pid, signal.SIGKILL)


def test_an_error_in_writing_to_stderr_stops_nothing() -> None:
    script = (
        "import sys; from muinit import __main__ as m, stderr\n"
        "def bug(*_, **__): raise RuntimeError('a bug')\n"
        "stderr.Stderr.line = bug\n"
        "sys.argv = ['muinit', '--trace-states', '-v', '---', 'sh', '-c', 'exit 3']; sys.exit(m.main())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (3, "")


def test_an_error_in_one_report_does_not_affect_the_others(tmp_path: Path) -> None:
    script = (
        "import sys; from muinit import __main__ as m\n"
        "from statechart.words.story import Story\n"
        "def bug(*_, **__): raise RuntimeError('a bug')\n"
        "Story.lines = bug\n"
        f"sys.argv = ['muinit', '-v', '--trace-states', '--trace-file={tmp_path}/run', '---', 'sh', '-c', 'exit 3']\n"
        "sys.exit(m.main())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "RUNNING -> DRAINING" in done.stderr
    assert "DRAINING [step 1 of 2] -> EXITED" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("muinit: exit 3: ")
    assert json.loads((tmp_path / "run").read_text().splitlines()[-1])["exit"] == 3
