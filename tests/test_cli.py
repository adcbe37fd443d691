"""The command line: every option in every spelling, and one clear line for what is wrong."""

from __future__ import annotations

import math
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import muinit
from muinit import cli, usage
from muinit.cli import UsageError, parse
from tests.conftest import need, why_no_namespace
from tests.harness import AS_INIT, MUINIT, PATIENCE, status, wait_for

COMMAND = ["---", "true"]


def test_the_defaults() -> None:
    options = parse(COMMAND)
    assert options.commands == [["true"]]
    assert options.steps == [15, 9]
    assert options.forward == []  # SIGINT, unless the caller had it ignored
    assert options.timeout == 2.0
    assert not options.trace
    assert not options.quiet
    assert not options.verbose
    assert options.trace_file == options.termination_log == ""


@pytest.mark.parametrize(
    ("words", "field", "value"),
    [
        ("-k 15", "steps", [15]),
        ("-k TERM,sigint,9", "steps", [15, 2, 9]),
        ("-k RTMIN,RTMIN+3,SIGRTMAX-1,RTMAX", "steps", [34, 37, 63, 64]),
        ("-kINT -k KILL", "steps", [2, 9]),
        ("--stop-signals HUP --stop-signals=QUIT", "steps", [1, 3]),
        ("-s USR1,10,SIGUSR2", "forward", [10, 10, 12]),
        ("-s 1 -s 2", "forward", [1, 2]),
        ("--forward-signals=WINCH", "forward", [28]),
        ("-k WINCH,TSTP,CONT", "steps", [28, 20, 18]),
        ("-t 0", "timeout", 0.0),
        ("-t 0.25", "timeout", 0.25),
        ("-t5", "timeout", 5.0),
        ("-t inf", "timeout", math.inf),
        ("--timeout=.5", "timeout", 0.5),
        ("--trace-states", "trace", True),
        ("-q", "quiet", True),
        ("--quiet", "quiet", True),
        ("-v", "verbose", True),
        ("--verbose", "verbose", True),
        ("-q -v", "quiet", False),
        ("-vq", "verbose", False),
        ("--trace-file run.jsonl", "trace_file", "run.jsonl"),
        ("--trace-file=-q", "trace_file", "-q"),
        ("--termination-log", "termination_log", "/dev/termination-log"),
        ("--termination-log -q", "quiet", True),
        ("--termination-log=here", "termination_log", "here"),
        ("--diagram", "show", "--diagram"),
        ("--diagram", "diagram", "mermaid"),
        ("--diagram -q", "diagram", "mermaid"),
        ("--diagram dot -t 5", "diagram", "dot"),
        ("--diagram=svg", "diagram", "svg"),
        ("-t 5 --diagram table", "timeout", 5.0),
        ("--diagram table -t 5", "timeout", 5.0),
        ("-qh", "show", "--help"),
        ("--diagram -V", "show", "--version"),
        ("-V -k nonsense", "show", "--version"),
    ],
)
def test_options(words: str, field: str, value: object) -> None:
    assert getattr(parse([*words.split(), *COMMAND]), field) == value


@pytest.mark.parametrize(
    ("argv", "commands"),
    [
        (["---", "a", "-x", "---", "b"], [["a", "-x"], ["b"]]),
        (["---", "---", "a", "---", "---"], [["a"]]),
        (["---", "a", "--", "----", "-k", "-", ""], [["a", "--", "----", "-k", "-", ""]]),
        (["---", "a\nb", "\udcff", "--help"], [["a\nb", "\udcff", "--help"]]),
    ],
)
def test_commands_are_word_for_word(argv: list[str], commands: list[list[str]]) -> None:
    assert parse(argv).commands == commands


BAD = [
    ("-x", "unknown option '-x': expected options (--help, "),
    ("--frobnicate", "unknown option '--frobnicate'"),
    ("-qx", "unknown option '-x'"),
    ("-q-quiet", "unknown option '-q-quiet'"),
    ("-k \u017fIGTERM", "is no signal"),
    ("-", "argument before '---' '-'"),
    ("word", "argument before '---' 'word'"),
    ("-k", "-k needs a value: -k SIGNALS"),
    ("--timeout", "--timeout needs a value: --timeout SECONDS"),
    ("--quiet=yes", "--quiet takes no value, but was given 'yes'"),
    ("--trace-file", "--trace-file needs a value: --trace-file PATH"),
    ("--trace-file=", "--trace-file '': expected a path"),
    ("--termination-log=", "--termination-log '': expected a path"),
    ("--termination-log x", "argument before '---' 'x'"),
    ("--diagram png", "--diagram 'png': expected a format (mermaid, dot, svg, table)"),
    ("--diagram=", "--diagram '': expected a format (mermaid, dot, svg, table)"),
    ("--diagram -k NOPE", "-k 'NOPE': 'NOPE' is no signal"),
    ("--stop-signals=", "--stop-signals '': expected at least one signal"),
    ("-k NOPE", "-k 'NOPE': 'NOPE' is no signal; expected names (TERM, SIGTERM, RTMIN+3) or numbers (1 to 64"),
    ("-k 0", "-k '0': '0' is no signal"),
    ("-k 65", "-k '65': '65' is no signal"),
    ("-k -1", "-k '-1': '-1' is no signal"),
    ("-k 32", "-k '32': '32' is no signal"),
    ("-k RTMIN+31", "'RTMIN+31' is no signal"),
    ("-k RTMAX+1", "'RTMAX+1' is no signal"),
    ("-k TERM+1", "'TERM+1' is no signal"),
    ("-k RTMIN+", "'RTMIN+' is no signal"),
    ("-k _DFL", "'_DFL' is no signal"),
    ("-k SIGSIGTERM", "'SIGSIGTERM' is no signal"),
    ("-k 15:9", "'15:9' is no signal"),
    ("-k 15;9", "'15;9' is no signal"),
    ("-k 15,,9", "-k '15,,9': '' is no signal"),
    ("-k \u0661", "is no signal"),
    ("-k STOP", "-k 'STOP': SIGSTOP ends nobody, and cannot be caught; expected signals other than STOP"),
    ("-k TERM,sigstop,KILL", "-k 'TERM,sigstop,KILL': SIGSTOP ends nobody"),
    ("--stop-signals=19", "--stop-signals '19': SIGSTOP ends nobody"),
    ("-t -1", "-t '-1': expected seconds, 0 or more (2, 0.5, inf)"),
    ("-t 2s", "-t '2s': expected seconds"),
    ("-t nan", "-t 'nan': expected seconds"),
    ("-t 1_0", "-t '1_0': expected seconds"),
    ("-t .", "-t '.': expected seconds"),
    ("-t 1e3", "-t '1e3': expected seconds"),
    ("-s KILL", "-s 'KILL': SIGKILL cannot be caught; expected signals other than "),
    ("-s INT,STOP", "-s 'INT,STOP': SIGSTOP cannot be caught"),
    ("-s 17", "SIGCHLD is how muinit learns that a child has ended"),
    ("--stop-on KILL", "--stop-on 'KILL': SIGKILL cannot be caught; expected signals other than "),
    ("--stop-on CHLD", "SIGCHLD is how muinit learns that a child has ended"),
    ("--stop-on CONT", "SIGCONT resumes the commands"),
    ("--stop-on ABRT", "SIGABRT means that muinit itself is broken"),
    ("--stop-on INT,,QUIT", "--stop-on 'INT,,QUIT': '' is no signal"),
    ("--stop-on=", "--stop-on '': expected at least one signal"),
    ("--stop-on", "--stop-on needs a value: --stop-on SIGNALS"),
    ("-s HUP,USR1 --stop-on USR1,HUP,2", "-s and --stop-on both name SIGHUP, SIGUSR1: expected a signal in one"),
    ("-s TERM --stop-on 15", "-s and --stop-on both name SIGTERM"),
    *[
        (f"-s {name}", f"SIG{name} means that muinit itself is broken")
        for name in ["SEGV", "BUS", "FPE", "ILL", "TRAP", "SYS", "ABRT"]
    ],
]


@pytest.mark.parametrize(("words", "message"), BAD, ids=[words for words, _ in BAD])
def test_bad_input_is_one_line_that_says_what_is_accepted(words: str, message: str) -> None:
    with pytest.raises(UsageError) as error:
        parse([*words.split(" "), *COMMAND])
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("argv", [[], ["---"], ["---", "---"], ["-t", "1"]])
def test_at_least_one_command_is_needed(argv: list[str]) -> None:
    with pytest.raises(UsageError, match="no command: expected '--- COMMAND"):
        parse(argv)


def muinit_says(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*MUINIT, *argv], capture_output=True, text=True, timeout=PATIENCE, check=False)


def test_bad_input_exits_1_and_starts_nothing(tmp_path: Path) -> None:
    done = muinit_says("-k", "a\nb", "---", "touch", str(tmp_path / "started"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("muinit: -k 'a\\nb': 'a\\nb' is no signal; expected names")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_is_on_stdout(flag: str) -> None:
    done = muinit_says(flag)
    assert (done.returncode, done.stdout, done.stderr) == (0, usage.TEXT, "")
    for section in ("COMMANDS", "SIGNALS", "TERMINATION", "EXIT STATUS"):
        assert f"\n{section}\n" in usage.TEXT
    for short, long, metavar, _ in cli.OPTIONS:
        flags = long + ("" if metavar.startswith("[=") else " ") + metavar
        assert (f"{short}, {flags}" if short else f"      {flags}") in usage.TEXT
    assert max(map(len, usage.TEXT.splitlines())) <= 80


@pytest.mark.parametrize("flag", ["-V", "--version"])
def test_version(flag: str) -> None:
    assert muinit_says(flag).stdout == f"muinit {muinit.__version__}\n"


def test_help_that_cannot_be_written_is_an_error() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([*MUINIT, "-h"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "muinit: cannot write to stdout: No space left on device\n"


# --help and --diagram end as other programs do

LONG = ["--diagram", "-k", ",".join(["15"] * 400)]  # more than a pipe holds
ENDLESS = ["--diagram", "-k", ",".join(["15"] * 40_000)]


def starts_to_write(argv: list[str], *prefix: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([*prefix, *MUINIT, *argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.read(1)
    return process


def computes(argv: list[str]) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([*MUINIT, *argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def lets_signals_in() -> bool:
        """Whether it is Python, which ignores SIGPIPE, and Python's own handler of SIGINT has given way."""
        ignored, caught, blocked = (int(status(process.pid)[name], 16) for name in ("SigIgn", "SigCgt", "SigBlk"))
        return bool(ignored >> (signal.SIGPIPE - 1) & 1) and not caught >> (signal.SIGINT - 1) & 1 and not blocked

    wait_for(lets_signals_in)
    return process


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize(
    ("start", "argv"), [(starts_to_write, LONG), (computes, ENDLESS)], ids=["writing", "computing"]
)
def test_what_prints_can_be_interrupted(
    start: Callable[[list[str]], subprocess.Popen[bytes]], argv: list[str], signum: int
) -> None:
    process = start(argv)
    process.send_signal(signum)
    assert process.wait(PATIENCE) == -signum
    assert process.communicate()[1] == b""


def test_what_prints_can_be_interrupted_as_pid_1() -> None:
    """The kernel shields it from signals that it does not handle."""
    need("a PID namespace", why_no_namespace())
    process = subprocess.Popen([*AS_INIT, *MUINIT, *ENDLESS], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    with open(f"/proc/{process.pid}/task/{process.pid}/children") as children:
        init = int(wait_for(lambda: children.seek(0) or children.read()))
    wait_for(lambda: int(status(init)["SigCgt"], 16) >> (signal.SIGTERM - 1) & 1)
    os.kill(init, signal.SIGTERM)
    _, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err) == (143, b"")


def test_a_signal_that_the_caller_ignores_interrupts_nothing() -> None:
    process = starts_to_write(LONG, "sh", "-c", 'trap "" INT; exec "$@"', "sh")
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=PATIENCE)[1] == b""
    assert process.returncode == 0


def test_a_reader_who_has_seen_enough_is_no_error() -> None:
    """As of any other program: `muinit --help | head -1` says nothing on stderr."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    process = subprocess.Popen([*MUINIT, "--help"], stdout=write_end, stderr=subprocess.PIPE)
    os.close(write_end)
    _, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err) == (-signal.SIGPIPE, b"")
