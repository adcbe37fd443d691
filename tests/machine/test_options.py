"""The command line: every option in every spelling, and one clear line for each mistake."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import muinit
from muinit import help as usage
from muinit import options, signals
from muinit.options import FOR_ALL, FOR_ONE, OPTIONS, QUIET, VERBOSE, CommandLine, Option, Options, parse
from statechart import effects, lifecycle, meanings
from statechart.options import TARGETS, UsageError
from tests.cast.harness import AS_INIT, MUINIT, PATIENCE, ROOT, status, wait_for
from tests.conftest import need, why_no_namespace

COMMAND = ["---", "true"]


def test_the_defaults() -> None:
    options = parse(COMMAND)
    assert [command.argv for command in options.commands] == [["true"]]
    assert (options.steps, options.times) == ([(15, "child", None), (9, "child", None)], [2.0, 2.0])
    assert options.forward == []  # that means SIGINT, unless the caller ignored it
    assert options.timeout == 2.0
    assert not options.trace_states
    assert not options.verbosity
    assert options.trace_file == options.termination_log == options.show == ""


@pytest.mark.parametrize(
    ("words", "field", "value"),
    [
        ("-k 15", "steps", [(15, "child", None)]),
        ("-k TERM,sigint,9", "steps", [(15, "child", None), (2, "child", None), (9, "child", None)]),
        (
            "-k RTMIN,RTMIN+3,SIGRTMAX-1,RTMAX",
            "steps",
            [(34, "child", None), (37, "child", None), (63, "child", None), (64, "child", None)],
        ),
        ("-kINT -k KILL", "steps", [(2, "child", None), (9, "child", None)]),
        ("--stop-signals HUP --stop-signals=QUIT", "steps", [(1, "child", None), (3, "child", None)]),
        ("-s USR1,10,SIGUSR2", "forwarded", [10, 10, 12]),
        ("-s 1 -s 2", "forwarded", [1, 2]),
        ("--forward-signals=WINCH", "forwarded", [28]),
        ("-k INT:2,TERM:0.5,KILL", "steps", [(2, "child", 2.0), (15, "child", 0.5), (9, "child", None)]),
        ("-k INT@group:2,TERM@tree,KILL:3", "steps", [(2, "group", 2.0), (15, "tree", None), (9, "child", 3.0)]),
        ("-k INT:2,TERM:0.5,KILL -t 7", "times", [2.0, 0.5, 7.0]),
        ("-k INT:inf", "times", [math.inf]),
        ("-s HUP@group,INT@tree,USR1@child,USR2", "forwarded", [1, 2, 10, 12]),
        ("-s HUP@group,INT@tree,USR1@child,USR2", "targets", {1: "group", 2: "tree"}),
        ("-s all", "forward", [(0, "child")]),
        ("-s all", "targets", {}),
        ("-k WINCH,TSTP,CONT", "steps", [(28, "child", None), (20, "child", None), (18, "child", None)]),
        ("-t 0", "timeout", 0.0),
        ("-t 0.25", "timeout", 0.25),
        ("-t5", "timeout", 5.0),
        ("-t inf", "timeout", math.inf),
        ("--timeout=.5", "timeout", 0.5),
        ("--trace-states", "trace_states", True),
        ("-q", "verbosity", QUIET),
        ("--quiet", "verbosity", QUIET),
        ("-v", "verbosity", VERBOSE),
        ("--verbose", "verbosity", VERBOSE),
        ("-q -v", "verbosity", VERBOSE),
        ("-vq", "verbosity", QUIET),
        ("--trace-file run.jsonl", "trace_file", "run.jsonl"),
        ("--trace-file=-q", "trace_file", "-q"),
        ("--termination-log", "termination_log", "/dev/termination-log"),
        ("--termination-log -q", "verbosity", QUIET),
        ("--termination-log=here", "termination_log", "here"),
        ("--diagram", "show", "mermaid"),
        ("--diagram -q", "show", "mermaid"),
        ("--diagram dot -t 5", "show", "dot"),
        ("--diagram=svg", "show", "svg"),
        ("-t 5 --diagram table", "timeout", 5.0),
        ("--diagram table -t 5", "timeout", 5.0),
        ("-qh", "show", "help"),
        ("--diagram -V", "show", "version"),
        ("-V -k nonsense", "show", "version"),
    ],
)
def test_options(words: str, field: str, value: object) -> None:
    assert getattr(parse([*words.split(), *COMMAND]), field) == value


# Every row of OPTIONS

each_row = pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.long)
VALUES = {  # by metavar
    "SIGNALS": "HUP",
    "SIGNAL": "HUP",
    "SECONDS": "7",
    "PATH": "x",
    "[=PATH]": "x",
    "[FORMAT]": "dot",
    "FROM:TO": "HUP:TERM",
    "CODES": "3,TERM",
    "POLICY": "original",
    "NAME": "web",
}
BESIDE = {"--within": ["--diagram"]}  # what an option needs


def read(option: Option, words: list[str]) -> Any:
    """The field of an option after these words, before the commands or, if it is for one, before that command."""
    if option.scope == FOR_ONE:
        return getattr(parse(["---", *words, "true", *COMMAND]).commands[0], option.field)
    return getattr(parse([*BESIDE.get(option.long, []), *words, *COMMAND]), option.field)


def test_every_field_has_a_row_and_every_row_a_field() -> None:
    assert {option.field for option in OPTIONS if option.scope != FOR_ONE} | {"commands"} == set(Options.__slots__)
    assert {option.field for option in OPTIONS if option.scope != FOR_ALL} | {"argv"} == set(CommandLine.__slots__)
    assert all(hasattr(Options(), name) for name in Options.__slots__), "each has a type and a first value"
    assert all(hasattr(CommandLine(), name) for name in CommandLine.__slots__), "each has a type and a first value"
    flags = [flag for option in OPTIONS for flag in (option.short, option.long) if flag]
    assert len(flags) == len(set(flags))


@each_row
def test_a_row_is_read_in_each_of_its_spellings(option: Option) -> None:
    before = read(option, [])
    value = VALUES.get(option.metavar, "")
    spellings = [[f"{option.long}={value}" if value else option.long]]
    spellings += [[f"{option.short}{value}"]] if option.short else []
    if value and not option.metavar.startswith("[="):
        spellings += [[flag, value] for flag in (option.long, option.short) if flag]
    for words in spellings:
        found = read(option, words)
        assert found != before
        convert = option.convert_for_one if option.scope == FOR_ONE else option.convert
        assert found == (convert(option.long, value) if convert else option.constant)
    if option.without and option.convert:
        left_out = read(option, [option.long])
        assert left_out == option.convert(option.long, option.without)


@each_row
def test_a_row_stands_where_its_scope_says(option: Option) -> None:
    """In any other place it is an error that says where it belongs."""
    words = [f"{option.long}={VALUES[option.metavar]}" if option.metavar else option.long]
    if option.scope == FOR_ALL:
        message = f"^{option.long} is for all commands: expected it before the first '---'$"
        with pytest.raises(UsageError, match=message):
            parse(["---", *words, "true"])
    elif option.scope == FOR_ONE:
        with pytest.raises(UsageError, match=f"^{option.long} is for one command: expected it after the '---' of that"):
            parse([*words, *COMMAND])
    else:
        assert option.convert_for_one
        value = VALUES[option.metavar].split(",")[0]
        found = getattr(parse(["---", f"{option.long}={value}", "true"]).commands[0], option.field)
        assert found == option.convert_for_one(option.long, value)


@each_row
def test_a_row_is_in_the_help(option: Option) -> None:
    """The help shows its spellings, its value, its words, and the default that counts if it is left out."""
    (line,) = [line for line in usage.TEXT.splitlines() if line[6:].startswith(option.long)]
    value = option.metavar if option.metavar.startswith("[=") else f" {option.metavar}".rstrip()
    assert line.startswith(f"  {option.short}, {option.long}{value}" if option.short else f"      {option.long}{value}")
    assert option.description in line
    if option.default and option.convert:
        assert line.endswith(f"{option.description}; default: {option.default}")
        assert getattr(parse(COMMAND), option.field) == option.convert(option.long, option.default)


def test_the_defaults_in_the_help_are_those_that_apply() -> None:
    """If -s and --stop-on are left out, their lists are empty, and the signals that the help names apply."""
    known = meanings.meanings(signals.by_name(), init=True)
    for long, what in (("--forward-signals", meanings.FORWARD), ("--stop-on", meanings.STOP)):
        (line,) = [line for line in usage.TEXT.splitlines() if f"{long} SIGNALS" in line]
        said = parse([f"{long}={line.rpartition('default: ')[2]}", *COMMAND])
        numbers = {number for number, meaning in known.items() if meaning == what} - {signals.SIGTERM}
        assert {*said.forwarded, *said.stop_on} == numbers


@pytest.mark.parametrize(
    ("argv", "commands"),
    [
        (["---", "a", "-x", "---", "b"], [["a", "-x"], ["b"]]),
        (["---", "---", "a", "---", "---"], [["a"]]),
        (["---", "a", "--", "----", "-k", "-", ""], [["a", "--", "----", "-k", "-", ""]]),
        (["---", "a\nb", "\udcff", "--help"], [["a\nb", "\udcff", "--help"]]),
        (["--", "a", "---", "b", "--"], [["a", "---", "b", "--"]]),
        (["--", "--help"], [["--help"]]),
        (["---", "--", "-x", "--", "---", "-e", "3", "--", "--name"], [["-x", "--"], ["--name"]]),
        (["---", "-", "---", "-e3", "-"], [["-"], ["-"]]),
    ],
)
def test_commands_are_word_for_word(argv: list[str], commands: list[list[str]]) -> None:
    assert [command.argv for command in parse(argv).commands] == commands


BAD = [
    ("-k ---", "-k needs a value: -k SIGNALS"),
    ("-r HUP", "-r 'HUP': 'HUP' is not FROM:TO; expected two signals"),
    ("-r HUP:", "-r 'HUP:': 'HUP:' is not FROM:TO"),
    ("-r KILL:TERM", "-r 'KILL': SIGKILL cannot be caught; expected signals other than "),
    ("-r TERM:CHLD", "-r 'CHLD': SIGCHLD is how muinit learns that a child has ended"),
    ("-r HUP:x", "-r 'x': 'x' is not a signal"),
    ("-r TERM:0", "-r TERM:0 drops the signal that stops muinit: expected --stop-on SIGNALS beside it"),
    ("-p KILL", "-p 'KILL': SIGKILL cannot be caught"),
    ("-p HUP,INT", "-p 'HUP,INT': expected one signal"),
    ("-e 256", "-e '256': '256' is not an exit code; expected codes (0 to 255) or names of signals (TERM is 143)"),
    ("-e -1", "-e '-1': '-1' is not an exit code"),
    ("-e=3", "-e '=3': '=3' is not an exit code"),
    ("-e 3,,4", "-e '3,,4': '' is not an exit code"),
    ("--exit-status last", "--exit-status 'last': expected one of first-failed, first-ended, original"),
    ("--within 3", "--within is for --diagram: expected --diagram beside it"),
    ("-s all,KILL", "-s 'KILL': SIGKILL cannot be caught"),
    (
        "-s HUP@all",
        "-s 'HUP@all': 'all' is not a target; expected one of child, group, tree after the '@', as in -s HUP@",
    ),
    ("-s @group", "-s '': expected at least one signal"),
    ("--name web", "--name is for one command: expected it after the '---' of that command"),
    ("--may-end", "--may-end is for one command: expected it after the '---' of that command"),
    ("-x", "unknown option '-x': expected options (--help, "),
    ("--frobnicate", "unknown option '--frobnicate'"),
    ("-qx", "unknown option '-x'"),
    ("-q-quiet", "unknown option '-q-quiet'"),
    ("-k \u017fIGTERM", "is not a signal"),
    ("-", "unexpected argument '-' before '---': expected '-- -' for a single command"),
    ("word", "unexpected argument 'word' before '---'"),
    ("-k", "-k needs a value: -k SIGNALS"),
    ("--timeout", "--timeout needs a value: --timeout SECONDS"),
    ("--quiet=yes", "--quiet takes no value, but was given 'yes'"),
    ("--trace-file", "--trace-file needs a value: --trace-file PATH"),
    ("--trace-file=", "--trace-file '': expected a path"),
    ("--termination-log=", "--termination-log '': expected a path"),
    ("--termination-log x", "unexpected argument 'x' before '---'"),
    ("--diagram png", "--diagram 'png': expected a format (mermaid, dot, svg, table)"),
    ("--diagram=", "--diagram '': expected a format (mermaid, dot, svg, table)"),
    ("--diagram -k NOPE", "-k 'NOPE': 'NOPE' is not a signal"),
    ("--stop-signals=", "--stop-signals '': expected at least one signal"),
    ("-k NOPE", "-k 'NOPE': 'NOPE' is not a signal; expected names (TERM, SIGTERM, RTMIN+3) or numbers (1 to 64"),
    ("-k 0", "-k '0': '0' is not a signal"),
    ("-k 65", "-k '65': '65' is not a signal"),
    ("-k -1", "-k '-1': '-1' is not a signal"),
    ("-k 32", "-k '32': '32' is not a signal"),
    ("-k RTMIN+31", "'RTMIN+31' is not a signal"),
    ("-k RTMAX+1", "'RTMAX+1' is not a signal"),
    ("-k TERM+1", "'TERM+1' is not a signal"),
    ("-k RTMIN+", "'RTMIN+' is not a signal"),
    ("-k _DFL", "'_DFL' is not a signal"),
    ("-k SIGSIGTERM", "'SIGSIGTERM' is not a signal"),
    ("-k TERM:x", "-k 'TERM:x': 'x' is not a time; expected seconds after the ':', as in -k INT:5,KILL"),
    ("-k TERM:", "-k 'TERM:': '' is not a time"),
    ("-k :5", "-k '': expected at least one signal"),
    ("-k TERM,:5", "-k 'TERM,': '' is not a signal"),
    ("-k TERM@all", "-k 'TERM@all': 'all' is not a target; expected one of child, group, tree after the '@'"),
    ("-k @group", "-k '': expected at least one signal"),
    ("-k TERM,KILL@tree", "-k 'TERM,KILL@tree': KILL takes no target, because it always goes to every"),
    ("-k 15;9", "'15;9' is not a signal"),
    ("-k 15,,9", "-k '15,,9': '' is not a signal"),
    ("-k \u0661", "is not a signal"),
    ("-k STOP", "-k 'STOP': SIGSTOP stops no program for good, and cannot be caught; expected signals other than STOP"),
    ("-k TERM,sigstop,KILL", "-k 'TERM,sigstop,KILL': SIGSTOP stops no program for good"),
    ("--stop-signals=19", "--stop-signals '19': SIGSTOP stops no program for good"),
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
    ("--stop-on INT,,QUIT", "--stop-on 'INT,,QUIT': '' is not a signal"),
    ("--stop-on=", "--stop-on '': expected at least one signal"),
    ("--stop-on", "--stop-on needs a value: --stop-on SIGNALS"),
    ("-s HUP,USR1 --stop-on USR1,HUP,2", "-s and --stop-on both name SIGHUP, SIGUSR1: expected each signal in"),
    ("-s TERM --stop-on 15", "-s and --stop-on both name SIGTERM"),
    *[
        (f"-s {name}", f"SIG{name} means that muinit itself is broken")
        for name in ["SEGV", "BUS", "FPE", "ILL", "TRAP", "SYS", "ABRT"]
    ],
]


@pytest.mark.parametrize(("words", "message"), BAD, ids=[words for words, _ in BAD])
def test_bad_input_gives_one_line_that_says_what_is_accepted(words: str, message: str) -> None:
    with pytest.raises(UsageError) as error:
        parse([*words.split(" "), *COMMAND])
    assert message in str(error.value)
    assert "\n" not in str(error.value)


BAD_COMMANDS = [
    ("--- -t 5 ---", "-t is for all commands: expected it before the first '---'"),
    ("--- -s HUP ---", "no command after '-s HUP': expected COMMAND [ARG...]"),
    ("--- -s all a", "-s 'all' of one command: expected names of signals, because 'all' is for all commands"),
    ("--- -s KILL a", "-s 'KILL': SIGKILL cannot be caught"),
    ("-s HUP@group --- -s HUP a", "-s names SIGHUP@group for all commands, and SIGHUP@child for one of them: expected"),
    ("-s HUP --- a --- -s HUP@tree b", "-s names SIGHUP@child for all commands, and SIGHUP@tree for one of them: exp"),
    ("--- -s TERM a", "-s 'TERM' of one command: expected signals other than TERM, which stops all (see -k), and CONT"),
    ("--- -s HUP,CONT a", "-s 'HUP,CONT' of one command: expected signals other than TERM, which stops all (see -k), "),
    ("--stop-on HUP --- -s HUP a", "-s and --stop-on both name SIGHUP"),
    ("--- -k QUIT:5 a", "-k 'QUIT:5' of one command: expected no times, because the steps are common to all"),
    ("--- -k KILL a", "-k 'KILL' of one command: expected signals other than KILL, which is for all at once"),
    ("--- -k STOP a", "-k 'STOP': SIGSTOP stops no program for good"),
    ("--- -k QUIT@all a", "-k 'QUIT@all': 'all' is not a target"),
    ("--- -k QUIT,INT a", "-k 'QUIT,INT' of one command: expected at most 1 signals, one for each step of 'TERM,KILL'"),
    ("-k KILL --- -k INT a", "-k 'INT' of one command: expected at most 0 signals, one for each step of 'KILL' before"),
    ("--- --sidecar a", "--sidecar stands at every command: expected a command without it, for which sidecars run"),
    ("--- --sidecar --may-end a --- b", "--sidecar and --may-end stand at one command: expected only one of them"),
    ("--- --role=sidecar a", "unknown option '--role=sidecar' of a command: expected --stop-signals"),
    ("--- -e 3 ---", "no command after '-e 3': expected COMMAND [ARG...]"),
    ("--- a --- --may-end", "no command after '--may-end': expected COMMAND [ARG...]"),
    (
        "--- -x",
        (
            "unknown option '-x' of a command: expected --stop-signals, --forward-signals, --success-codes, --name, "
            "--may-end, --sidecar; or '-- -x'"
        ),
    ),
    ("--- --name web a --- --name web b", "--name 'web' stands at two commands: expected names that differ"),
    (f"--- --name {'x' * 33} a", "expected 1 to 32 printable characters without blanks"),
    ("--- --name= a", "--name '': expected 1 to 32 printable characters without blanks"),
    ("--- --name a\nb a", "expected 1 to 32 printable characters without blanks"),
    ("--- -e 300 a", "-e '300': '300' is not an exit code"),
    ("bash", "unexpected argument 'bash' before '---': expected '-- bash' for a single command, or '---' before each"),
]


@pytest.mark.parametrize(("words", "message"), BAD_COMMANDS, ids=[words for words, _ in BAD_COMMANDS])
def test_what_is_wrong_with_a_command_is_one_line(words: str, message: str) -> None:
    with pytest.raises(UsageError) as error:
        parse(words.split(" "))
    assert message in str(error.value)


# MUINIT_OPTIONS


def test_the_variable_is_read_before_the_command_line() -> None:
    """The command line wins. A list on it replaces the list in the variable; the others stay."""
    options = parse(["-t", "5", "-k", "INT", *COMMAND], "-t 1 -k 'HUP,KILL' --stop-on HUP --trace-states")
    assert (options.timeout, options.steps, options.stop_on, options.trace_states) == (
        5.0,
        [(2, "child", None)],
        [1],
        True,
    )
    assert parse(COMMAND, "-k HUP -k KILL").steps == [(1, "child", None), (9, "child", None)]
    assert parse(COMMAND, "--trace-file 'a b'").trace_file == "a b"
    assert parse(COMMAND, "  ").steps == [(15, "child", None), (9, "child", None)]


@pytest.mark.parametrize(
    ("variable", "message"),
    [
        ("-k NOPE", "MUINIT_OPTIONS: -k 'NOPE': 'NOPE' is not a signal"),
        ("-t", "MUINIT_OPTIONS: -t needs a value"),
        ("'", "MUINIT_OPTIONS: No closing quotation; expected options, in words as a shell splits them"),
        ("-q ---", "MUINIT_OPTIONS: '---' cannot stand here; expected options, and no commands"),
        ("-- true", "MUINIT_OPTIONS: '--' cannot stand here"),
        ("-h", "MUINIT_OPTIONS: --help cannot stand here; expected options of a run"),
        ("-qV", "MUINIT_OPTIONS: --version cannot stand here"),
        ("--name web", "MUINIT_OPTIONS: --name is for one command"),
        ("true", "MUINIT_OPTIONS: unexpected argument 'true'"),
    ],
)
def test_what_is_wrong_with_the_variable_is_one_line_that_names_it(variable: str, message: str) -> None:
    with pytest.raises(UsageError) as error:
        parse(COMMAND, variable)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize("argv", [[], ["---"], ["---", "---"], ["--"], ["-t", "1"]])
def test_at_least_one_command_is_needed(argv: list[str]) -> None:
    with pytest.raises(UsageError, match="no command: expected '--- COMMAND"):
        parse(argv)


def muinit_says(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*MUINIT, *argv], capture_output=True, text=True, timeout=PATIENCE, check=False)


def test_bad_input_exits_1_and_starts_nothing(tmp_path: Path) -> None:
    done = muinit_says("-k", "a\nb", "---", "touch", str(tmp_path / "started"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("muinit: -k 'a\\nb': 'a\\nb' is not a signal; expected names")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_is_on_stdout(flag: str) -> None:
    done = muinit_says(flag)
    assert (done.returncode, done.stdout, done.stderr) == (0, usage.TEXT, "")
    for section in ("COMMANDS", "SIGNALS", "TERMINATION", "EXIT STATUS"):
        assert f"\n{section}\n" in usage.TEXT
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

LONG = ["--diagram", "-k", ",".join(["15"] * 100)]  # more than a pipe holds
ENDLESS = ["--diagram", "-k", ",".join(["15"] * 40_000)]


def starts_to_write(argv: list[str], *prefix: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([*prefix, *MUINIT, *argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.read(1)
    return process


def computes(argv: list[str]) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([*MUINIT, *argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def lets_signals_in() -> bool:
        """Whether it has computed for longer than any start takes, has no handler of SIGINT, and blocks nothing."""
        caught, blocked = (int(status(process.pid)[name], 16) for name in ("SigCgt", "SigBlk"))
        cpu = int(Path(f"/proc/{process.pid}/schedstat").read_text().split()[0]) / 1e9
        return cpu > 1 and not caught >> (signal.SIGINT - 1) & 1 and not blocked

    wait_for(lets_signals_in)
    return process


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize(
    ("start", "argv"), [(starts_to_write, LONG), (computes, ENDLESS)], ids=["writing", "computing"]
)
def test_printing_can_be_interrupted(
    start: Callable[[list[str]], subprocess.Popen[bytes]], argv: list[str], signum: int
) -> None:
    process = start(argv)
    process.send_signal(signum)
    assert process.wait(PATIENCE) == -signum
    assert process.communicate()[1] == b""


def test_printing_can_be_interrupted_as_pid_1() -> None:
    """PID 1 handles SIGTERM while it prints, because the kernel drops signals that PID 1 does not handle."""
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


def test_a_reader_that_closes_the_pipe_is_not_an_error() -> None:
    """Like other programs, `muinit --help | head -1` prints nothing on stderr."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    process = subprocess.Popen([*MUINIT, "--help"], stdout=write_end, stderr=subprocess.PIPE)
    os.close(write_end)
    _, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err) == (-signal.SIGPIPE, b"")


def test_the_lists_that_the_machine_has_too_are_the_same() -> None:
    """The options are read before the machine is imported, so they name its words a second time."""
    assert tuple(effects.TARGETS) == TARGETS
    assert tuple(lifecycle.POLICIES) == options.POLICIES
    assert options.EVERY_SIGNAL == meanings.EVERY_SIGNAL
    schema = json.loads((ROOT / "statechart/traces/trace.schema.json").read_text())["$defs"]
    assert schema["target"]["enum"] == [*TARGETS]
    assert schema["header"]["properties"]["exit_status"]["enum"] == [*options.POLICIES]
