"""The command line. One row of OPTIONS describes an option: the parser, the help and the docs follow from it.

The grammar: an option before the first separator is for all commands; an option after a separator, before the first
word of the command, is for that command. Two shapes:

    muinit [OPTIONS] --- [OPTIONS] COMMAND [ARG...] [--- [OPTIONS] COMMAND [ARG...]]...
    muinit [OPTIONS] -- COMMAND [ARG...]          one command, in which '---' is an ordinary word, as tini has it

The parser is our own, because `argparse` costs 10 ms before the first command is started, and `getopt` 8 (measured,
Python 3.11).
"""

from muinit import signals
from statechart.options import STEPS, TARGETS, TIMEOUT, UsageError
from statechart.options import numbers as _signals
from statechart.options import seconds as _seconds
from statechart.options import steps as _steps
from statechart.options import targeted as _targeted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

SEPARATOR, ONE = "---", "--"
VARIABLE = "MUINIT_OPTIONS"  # options in the environment

TERMINATION_LOG = "/dev/termination-log"  # where Kubernetes looks, unless terminationMessagePath says otherwise
FORMATS = ("mermaid", "dot", "svg", "table")
POLICIES = ("first-failed", "first-ended", "original")
QUIET, VERBOSE = -1, 1
EVERY_SIGNAL = 0  # in place of a number: `-s all`
LABEL_SECONDS = 2.0  # that the reader of labelled output has at most, at the end
NAME_LENGTH = 32  # characters

FOR_ALL, FOR_ONE, FOR_BOTH = "all", "one", "both"  # where an option can stand


# Converters: from the flag as it was typed, and its value, to the value of the field. They raise UsageError.


def _own_steps(flag: str, value: str) -> list[tuple[int, str]]:
    steps = _steps(flag, value)
    if any(time is not None for _, _, time in steps):
        raise UsageError(f"{flag} '{value}' of one command: expected no times, because the steps are common to all")
    if any(number == signals.SIGKILL for number, _, _ in steps):
        raise UsageError(f"{flag} '{value}' of one command: expected signals other than KILL, which is for all at once")
    return [(number, target) for number, target, _ in steps]


def _forward(flag: str, value: str) -> list[tuple[int, str]]:
    from statechart.meanings import cannot_be_forwarded

    names, targets = zip(*(_targeted(flag, value, word) for word in value.split(",")), strict=True)
    named = [name for name in names if name.lower() != "all"]
    numbers = iter(_possible(flag, ",".join(named), cannot_be_forwarded) if named else [])
    found = [EVERY_SIGNAL if name.lower() == "all" else next(numbers) for name in names]
    return [*zip(found, targets, strict=True)]


def _own_forward(flag: str, value: str) -> list[tuple[int, str]]:
    found = _forward(flag, value)
    if any(number == EVERY_SIGNAL for number, _ in found):
        raise UsageError(
            f"{flag} '{value}' of one command: expected names of signals, because 'all' is for all commands"
        )
    if any(number in (signals.SIGTERM, signals.SIGCONT) for number, _ in found):
        raise UsageError(
            f"{flag} '{value}' of one command: expected signals other than TERM, which stops all (see -k), and CONT, "
            "which resumes all"
        )
    return found


def _stop_on(flag: str, value: str) -> list[int]:
    from statechart.meanings import cannot_stop

    return _possible(flag, value, cannot_stop)


def _possible(flag: str, value: str, why_not: "Callable[[str], str]") -> list[int]:
    numbers = _signals(flag, value)
    for number in numbers:
        if why := why_not(signals.name(number)):
            rest = ", ".join(name[3:] for name in signals.by_name() if why_not(name))
            raise UsageError(f"{flag} '{value}': {signals.name(number)} {why}; expected signals other than {rest}")
    return numbers


def _rewrite(flag: str, value: str) -> list[tuple[int, int]]:
    from statechart.meanings import cannot_be_forwarded

    pairs = []
    for word in value.split(","):
        source, colon, target = word.partition(":")
        if not (source and colon and target):
            raise UsageError(
                f"{flag} '{value}': '{word}' is not FROM:TO; expected two signals, as in {flag} HUP:TERM, "
                f"or FROM:0 to drop a signal"
            )
        numbers = _possible(flag, source, cannot_be_forwarded)
        numbers += [0] if target == "0" else _possible(flag, target, cannot_be_forwarded)
        pairs.append((numbers[0], numbers[1]))
    return pairs


def _signal(flag: str, value: str) -> int:
    from statechart.meanings import cannot_be_forwarded

    numbers = _possible(flag, value, cannot_be_forwarded)
    if len(numbers) > 1:
        raise UsageError(f"{flag} '{value}': expected one signal")
    return numbers[0]


def _codes(flag: str, value: str) -> list[int]:
    codes = []
    for word in value.split(","):
        try:
            code = int(word) if word.isascii() and word.isdigit() else 128 + signals.number(word)
        except ValueError:
            code = 256
        if code > 255:
            raise UsageError(
                f"{flag} '{value}': '{word}' is not an exit code; expected codes (0 to 255) "
                "or names of signals (TERM is 143), separated by commas"
            )
        codes.append(code)
    return codes


def _policy(flag: str, value: str) -> str:
    if value not in POLICIES:
        raise UsageError(f"{flag} '{value}': expected one of {', '.join(POLICIES)}")
    return value


def _name(flag: str, value: str) -> str:
    if not 1 <= len(value) <= NAME_LENGTH or not value.isprintable() or " " in value:
        raise UsageError(f"{flag} '{value}': expected 1 to {NAME_LENGTH} printable characters without blanks")
    return value


def _path(flag: str, value: str) -> str:
    if not value:
        raise UsageError(f"{flag} '': expected a path")
    return value


def _format(flag: str, value: str) -> str:
    if value not in FORMATS:
        raise UsageError(f"{flag} '{value}': expected a format ({', '.join(FORMATS)})")
    return value


class Option:
    """A row of the list.

    With a `metavar` the option takes a value. `[=X]` is optional and must follow a "="; `[X]` is optional and must not
    begin with "-"; `without` is what counts if the value was left out. `convert` is given the flag and the value as
    they were typed, and returns what to store in the `field` of Options. If that is a list, it is added to the list
    there. Without a metavar, `constant` is stored. `default` counts as if it had been typed.
    `scope` says where the option can stand. After a separator `convert_for_one` counts in place of `convert`.
    """

    __slots__ = (
        *("constant", "convert", "convert_for_one", "default", "description", "field"),
        *("long", "metavar", "scope", "short", "without"),
    )

    def __init__(
        self,
        short: str,
        long: str,
        metavar: str,
        description: str,
        field: str,
        convert: "Callable[[str, str], Any] | None" = None,
        *,
        constant: object = True,
        default: str | None = None,
        without: str = "",
        scope: str = FOR_ALL,
        convert_for_one: "Callable[[str, str], Any] | None" = None,
    ) -> None:
        self.short = short
        self.long = long
        self.metavar = metavar
        self.description = description
        self.field = field
        self.convert = convert
        self.constant = constant
        self.default = default
        self.without = without
        self.scope = scope
        self.convert_for_one = convert_for_one or convert


OPTIONS = (
    Option("-h", "--help", "", "show this help and exit", "show", constant="help"),
    Option("-V", "--version", "", "show the version and exit", "show", constant="version"),
    Option(
        *("-k", "--stop-signals", "SIGNALS", "the termination steps", "steps", _steps),
        default=STEPS,
        scope=FOR_BOTH,
        convert_for_one=_own_steps,
    ),
    # The defaults of these two depend on our caller, and are in statechart.meanings.
    Option(
        *("-s", "--forward-signals", "SIGNALS", "signals to forward", "forward", _forward),
        scope=FOR_BOTH,
        convert_for_one=_own_forward,
    ),
    Option("", "--stop-on", "SIGNALS", "also stop on these", "stop_on", _stop_on),
    Option("-r", "--rewrite", "FROM:TO", "treat one signal as another; FROM:0 drops it", "rewrite", _rewrite),
    Option("-p", "--parent-death", "SIGNAL", "treat it as received when our parent dies", "parent_death", _signal),
    Option("", "--unblock", "", "start the commands with no signal blocked", "unblock"),
    Option("-t", "--timeout", "SECONDS", "how long to wait after each step", "timeout", _seconds, default=TIMEOUT),
    Option("-e", "--success-codes", "CODES", "exit codes that count as 0", "success", _codes, scope=FOR_BOTH),
    Option(
        *("", "--exit-status", "POLICY", "whose exit status counts", "exit_status", _policy),
        default=POLICIES[0],
    ),
    Option("", "--name", "NAME", "what messages call the command", "name", _name, scope=FOR_ONE),
    Option("", "--may-end", "", "its end with 0 does not stop the others", "may_end", scope=FOR_ONE),
    Option("", "--sidecar", "", "stop it after the others", "sidecar", scope=FOR_ONE),
    Option("", "--label", "", "begin output lines with the command's name", "label"),
    Option("-q", "--quiet", "", "do not say why muinit exits", "verbosity", constant=QUIET),
    Option("-v", "--verbose", "", "say what happens, and why muinit exits", "verbosity", constant=VERBOSE),
    Option("", "--trace-states", "", "print a line for each event", "trace_states"),
    Option("", "--trace-file", "PATH", "write a trace to PATH, as JSON lines", "trace_file", _path),
    Option(
        *("", "--termination-log", "[=PATH]", "also write the reason for exiting to PATH", "termination_log", _path),
        without=TERMINATION_LOG,
    ),
    Option(
        *("", "--diagram", "[FORMAT]", "draw the lifecycle with these options and exit", "show", _format),
        without=FORMATS[0],
    ),
    Option("", "--within", "SECONDS", "with --diagram: fail if a stop takes longer", "within", _seconds),
)
_BY_FLAG = {flag: option for option in OPTIONS for flag in (option.short, option.long) if flag}


class CommandLine:
    """A command as it was typed: a field for each row of the list that can stand there, and its words."""

    __slots__ = ("argv", *sorted({option.field for option in OPTIONS if option.scope != FOR_ALL}))

    def __init__(self) -> None:
        self.argv: list[str] = []
        self.name = ""  # "": the program's
        self.success: list[int] = []  # exit codes that count as 0, beside those of all commands
        self.may_end = False
        self.sidecar = False
        self.forward: list[tuple[int, str]] = []  # signal numbers and targets, for this command alone
        self.steps: list[tuple[int, str]] = []  # signal numbers and targets, in place of those of the first steps


class Options:
    """What was asked for: a field for each row of the list that can stand before the commands, and these."""

    __slots__ = ("commands", *sorted({option.field for option in OPTIONS if option.scope != FOR_ONE}))

    def __init__(self) -> None:
        self.commands: list[CommandLine] = []
        self.steps: list[tuple[int, str, float | None]] = []  # signal numbers, targets, and seconds; None: timeout
        self.forward: list[tuple[int, str]] = []  # signal numbers or EVERY_SIGNAL, and targets; empty: the default
        self.stop_on: list[int] = []  # signal numbers; empty: the default
        self.rewrite: list[tuple[int, int]] = []  # signal numbers; 0 drops it; a later one for the same FROM counts
        self.parent_death = 0  # a signal number; 0: none
        self.unblock = False
        self.timeout = 0.0  # seconds, 0 to infinity
        self.success: list[int] = []  # exit codes that count as 0
        self.exit_status = ""  # one of POLICIES
        self.label = False
        self.verbosity = 0  # or QUIET or VERBOSE
        self.trace_states = False
        self.trace_file = ""  # a path, or the number of a descriptor; "": none
        self.termination_log = ""  # a path; "": none
        self.show = ""  # "help", "version" or a format of the diagram, to be printed instead of a run; "": a run
        self.within: float | None = None  # seconds, 0 to infinity

    @property
    def forwarded(self) -> list[int]:
        """The numbers of the signals to forward."""
        return [number for number, _ in self.forward]

    @property
    def named(self) -> list[int]:
        """The numbers of the signals to forward that are named for some commands alone. A name wins over `all`."""
        numbers = dict.fromkeys(number for command in self.commands for number, _ in command.forward)
        return [number for number in numbers if number not in self.forwarded]

    @property
    def targets(self) -> dict[int, str]:
        """Which processes get a forwarded signal, if not every child."""
        named = dict(self.forward)
        others = signals.ALL if EVERY_SIGNAL in named else ()
        return {
            number: target
            for number in [*named, *others]
            if (target := named.get(number, named.get(EVERY_SIGNAL, TARGETS[0]))) != TARGETS[0]
        }

    @property
    def times(self) -> list[float]:
        """How many seconds to wait after each step."""
        return [self.timeout if time is None else time for _, _, time in self.steps]


def parse(argv: list[str], variable: str = "") -> Options:
    """Read the arguments after the program's name, and the value of MUINIT_OPTIONS. Raises UsageError."""
    options = Options()
    for option in OPTIONS:
        if option.convert and option.default:
            setattr(options, option.field, option.convert(option.long, option.default))
    try:
        if variable:
            _read_variable(options, variable)
        _read(options, list(argv))
    except UsageError as error:
        error.termination_log = options.termination_log
        raise
    return options


def _read_variable(options: Options, variable: str) -> None:
    import shlex  # which imports `re`: 5 ms that only those pay who use the variable

    try:
        reader = _Reader(shlex.split(variable), FOR_ALL)
        while reader.words and reader.words[0] not in (SEPARATOR, ONE):
            reader.next(options)
    except ValueError as error:
        raise UsageError(f"{VARIABLE}: {error}; expected options, in words as a shell splits them") from None
    except UsageError as error:
        raise UsageError(f"{VARIABLE}: {error}") from None
    if reader.words:
        raise UsageError(f"{VARIABLE}: '{reader.words[0]}' cannot stand here; expected options, and no commands")
    if options.show in ("help", "version"):
        raise UsageError(f"{VARIABLE}: --{options.show} cannot stand here; expected options of a run")


def _read(options: Options, words: list[str]) -> None:
    reader = _Reader(words, FOR_ALL)
    while reader.words and reader.words[0] not in (SEPARATOR, ONE):
        reader.next(options)
        if options.show in ("help", "version"):  # whatever else was typed
            return
    options.commands = [*_commands(reader.words)]
    _check(options)


def _check(options: Options) -> None:
    if not options.commands and not options.show:
        raise UsageError(f"no command: expected '{SEPARATOR} COMMAND [ARG...]', or '{ONE} COMMAND [ARG...]' for one")
    forwarded = [*options.forwarded, *(number for command in options.commands for number, _ in command.forward)]
    if both := set(forwarded) & set(options.stop_on):
        names = ", ".join(map(signals.name, sorted(both)))
        raise UsageError(f"-s and --stop-on both name {names}: expected each signal in only one of them")
    targets = dict(options.forward)
    for command in options.commands:
        for number, target in command.forward:
            if targets.get(number, target) != target:
                name = signals.name(number)
                pair = f"{name}@{targets[number]} for all commands, and {name}@{target} for one of them"
                raise UsageError(f"-s names {pair}: expected only one of them")
    if dict(options.rewrite).get(signals.SIGTERM) == 0 and not options.stop_on:
        raise UsageError("-r TERM:0 drops the signal that stops muinit: expected --stop-on SIGNALS beside it")
    if options.within is not None and options.show not in FORMATS:
        raise UsageError("--within is for --diagram: expected --diagram beside it")
    _check_commands(options)


def _check_commands(options: Options) -> None:
    commands = options.commands
    if any(command.sidecar and command.may_end for command in commands):
        raise UsageError("--sidecar and --may-end stand at one command: expected only one of them")
    if commands and all(command.sidecar for command in commands):
        raise UsageError("--sidecar stands at every command: expected a command without it, for which sidecars run")
    numbers = [number for number, _, _ in options.steps]
    most = numbers.index(signals.SIGKILL) if signals.SIGKILL in numbers else len(numbers)
    for command in commands:
        if len(command.steps) > most:
            names = ",".join(signals.name(number)[3:] for number, _ in command.steps)
            steps = ",".join(signals.name(number)[3:] for number in numbers)
            raise UsageError(
                f"-k '{names}' of one command: expected at most {most} signals, one for each step of '{steps}' "
                "before the first KILL"
            )
    given = [command.name for command in options.commands if command.name]
    if twice := [name for name in given if given.count(name) > 1]:
        raise UsageError(f"--name '{twice[0]}' stands at two commands: expected names that differ")


class _Reader:
    """Reads options off the front of `words`, those that can stand here."""

    def __init__(self, words: list[str], scope: str) -> None:
        self.words = words
        self._scope = scope
        self._typed: set[str] = set()

    def next(self, into: Options | CommandLine) -> None:
        """Read one option, and set its field."""
        word = self.words.pop(0)
        if word.startswith("--"):
            flag, equals, value = word.partition("=")
        else:
            flag, value = word[:2], word[2:]
            equals = value
        option = _BY_FLAG.get(flag)
        if option is None:
            raise UsageError(self._unknown(word))
        if option.scope not in (self._scope, FOR_BOTH):
            raise UsageError(self._misplaced(option, flag))
        new: Any = option.constant
        convert = option.convert_for_one if self._scope == FOR_ONE else option.convert
        if convert:
            new = convert(flag, value if equals else self._value_of(flag, option))
        elif equals and flag == option.long:
            raise UsageError(f"{flag} takes no value, but was given '{value}'")
        elif equals:
            self.words.insert(0, f"-{value}")  # -qV is -q -V
            if value.startswith("-"):
                raise UsageError(f"unknown option '{word}': expected -{flag[1]} alone, or with other letters")
        if isinstance(new, list) and option.field in self._typed:
            new = [*getattr(into, option.field), *new]
        self._typed.add(option.field)
        setattr(into, option.field, new)

    def _value_of(self, flag: str, option: Option) -> str:
        """The value that follows, or the one that counts where it was left out."""
        words = self.words
        if option.without and (option.metavar.startswith("[=") or not words or words[0].startswith("-")):
            return option.without
        if not words or words[0] in (SEPARATOR, ONE):
            raise UsageError(f"{flag} needs a value: {flag} {option.metavar}")
        return words.pop(0)

    def _unknown(self, word: str) -> str:
        known = ", ".join(option.long for option in OPTIONS if option.scope in (self._scope, FOR_BOTH))
        if self._scope == FOR_ONE:
            program = f"'{ONE} {word}' for a program of that name"
            return f"unknown option '{word}' of a command: expected {known}; or {program}"
        if word[:1] != "-" or word == "-":
            return (
                f"unexpected argument '{word}' before '{SEPARATOR}': expected '{ONE} {word}' for a single command, "
                f"or '{SEPARATOR}' before each command, after the options ({known})"
            )
        return f"unknown option '{word}': expected options ({known}), then '{SEPARATOR} COMMAND [ARG...]'"

    def _misplaced(self, option: Option, flag: str) -> str:
        if option.scope == FOR_ALL:
            return f"{flag} is for all commands: expected it before the first '{SEPARATOR}'"
        return f"{flag} is for one command: expected it after the '{SEPARATOR}' of that command"


def _commands(words: list[str]) -> "Sequence[CommandLine]":
    """The commands, from the first separator on."""
    if words[:1] == [ONE]:
        command = CommandLine()
        command.argv = words[1:]
        return [command] if command.argv else []
    parts: list[list[str]] = []
    for word in words:
        if word == SEPARATOR:
            parts.append([])
        else:
            parts[-1].append(word)
    return [_command(part) for part in parts if part]


def _command(words: list[str]) -> CommandLine:
    command, typed = CommandLine(), " ".join(words)
    reader = _Reader(words, FOR_ONE)
    while reader.words and reader.words[0].startswith("-") and reader.words[0] not in ("-", ONE):
        reader.next(command)
    command.argv = reader.words[1:] if reader.words[:1] == [ONE] else reader.words
    if not command.argv:
        raise UsageError(f"no command after '{typed}': expected COMMAND [ARG...]")
    return command
