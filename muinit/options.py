"""The command line. One row of OPTIONS describes an option: the parser, the help and the docs follow from it.

The parser is our own, because `argparse` costs 10 ms before the first command is started, and `getopt` 8 (measured,
Python 3.11).
"""

from muinit import signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

SEPARATOR = "---"

STEPS = "TERM,KILL"
TIMEOUT = "2"  # seconds
TERMINATION_LOG = "/dev/termination-log"  # where Kubernetes looks, unless terminationMessagePath says otherwise
FORMATS = ("mermaid", "dot", "svg", "table")
QUIET, VERBOSE = -1, 1


class UsageError(Exception):
    """What is wrong with the command line, in one line: the option, the value, what is accepted."""

    termination_log = ""  # where to write the error as well, if that option came before it


# Converters: from the flag as it was typed, and its value, to the value of the field. They raise UsageError.


def _signals(flag: str, value: str) -> list[int]:
    if not value:
        raise UsageError(f"{flag} '': expected at least one signal, as in {flag} TERM,KILL")
    numbers = []
    for word in value.split(","):
        try:
            numbers.append(signals.number(word))
        except ValueError:
            raise UsageError(
                f"{flag} '{value}': '{word}' is not a signal; expected names (TERM, SIGTERM, RTMIN+3) "
                f"or numbers (1 to {signals.RTMAX}, except 32 and 33), separated by commas"
            ) from None
    return numbers


def _steps(flag: str, value: str) -> list[int]:
    numbers = _signals(flag, value)
    if signals.SIGSTOP in numbers:
        # Any other signal can end a program: it can catch all of them but SIGKILL, and that one kills it.
        raise UsageError(
            f"{flag} '{value}': SIGSTOP stops no program for good, and cannot be caught; "
            "expected signals other than STOP"
        )
    return numbers


def _forward(flag: str, value: str) -> list[int]:
    from statechart.meanings import cannot_be_forwarded

    return _possible(flag, value, cannot_be_forwarded)


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


def _seconds(flag: str, value: str) -> float:
    digits = value.replace(".", "", 1)
    if not (value.isascii() and digits.isdigit()) and value != "inf":
        raise UsageError(f"{flag} '{value}': expected seconds, 0 or more (2, 0.5, inf)")
    return float(value)


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
    """

    __slots__ = ("constant", "convert", "default", "description", "field", "long", "metavar", "short", "without")

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


OPTIONS = (
    Option("-h", "--help", "", "show this help and exit", "show", constant="help"),
    Option("-V", "--version", "", "show the version and exit", "show", constant="version"),
    Option("-k", "--stop-signals", "SIGNALS", "the termination steps", "steps", _steps, default=STEPS),
    # The defaults of these two depend on our caller, and are in statechart.meanings.
    Option("-s", "--forward-signals", "SIGNALS", "signals to forward", "forward", _forward),
    Option("", "--stop-on", "SIGNALS", "also stop on these", "stop_on", _stop_on),
    Option("-t", "--timeout", "SECONDS", "how long to wait after each step", "timeout", _seconds, default=TIMEOUT),
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
)
_BY_FLAG = {flag: option for option in OPTIONS for flag in (option.short, option.long) if flag}


class Options:
    """What was asked for: a field for each row, and the commands."""

    __slots__ = ("commands", *sorted({option.field for option in OPTIONS}))

    def __init__(self) -> None:
        self.commands: list[list[str]] = []
        self.steps: list[int] = []  # signal numbers, in order
        self.forward: list[int] = []  # signal numbers; empty: the default
        self.stop_on: list[int] = []  # signal numbers; empty: the default
        self.timeout = 0.0  # seconds, 0 to infinity
        self.verbosity = 0  # or QUIET or VERBOSE
        self.trace_states = False
        self.trace_file = ""  # a path, or the number of a descriptor; "": none
        self.termination_log = ""  # a path; "": none
        self.show = ""  # "help", "version" or a format of the diagram, to be printed instead of a run; "": a run


def parse(argv: list[str]) -> Options:
    """Read the arguments after the program's name. Raises UsageError."""
    first = argv.index(SEPARATOR) if SEPARATOR in argv else len(argv)
    options = Options()
    try:
        _read(options, argv[:first], argv[first:])
    except UsageError as error:
        error.termination_log = options.termination_log
        raise
    return options


def _read(options: Options, words: list[str], rest: list[str]) -> None:
    typed = set()
    while words:
        option, value = _next_option(words)
        typed.add(option.field)
        setattr(options, option.field, [*getattr(options, option.field), *value] if isinstance(value, list) else value)
        if options.show in ("help", "version"):  # whatever else was typed
            return
    for option in OPTIONS:
        if option.convert and option.default and option.field not in typed:
            setattr(options, option.field, option.convert(option.long, option.default))
    options.commands = _commands(rest)
    if not options.commands and not options.show:
        raise UsageError(f"no command: expected '{SEPARATOR} COMMAND [ARG...]'")
    if both := set(options.forward) & set(options.stop_on):
        names = ", ".join(map(signals.name, sorted(both)))
        raise UsageError(f"-s and --stop-on both name {names}: expected each signal in only one of them")


def _next_option(words: list[str]) -> "tuple[Option, Any]":
    """Take one option off the front, with its value for the field."""
    word = words.pop(0)
    if word.startswith("--"):
        flag, equals, value = word.partition("=")
    else:
        flag, value = word[:2], word[2:]
        equals = value
    option = _BY_FLAG.get(flag)
    if option is None:
        what = f"unknown option '{word}'"
        if word[:1] != "-" or word == "-":
            what = f"unexpected argument '{word}' before '{SEPARATOR}'"
        known = ", ".join(option.long for option in OPTIONS)
        raise UsageError(f"{what}: expected options ({known}), then '{SEPARATOR} COMMAND [ARG...]'")
    if option.convert:
        return option, option.convert(flag, value if equals else _value_of(flag, option, words))
    if equals and flag == option.long:
        raise UsageError(f"{flag} takes no value, but was given '{value}'")
    if equals:
        words.insert(0, f"-{value}")  # -qV is -q -V
        if value.startswith("-"):
            raise UsageError(f"unknown option '{word}': expected -{flag[1]} alone, or with other letters")
    return option, option.constant


def _value_of(flag: str, option: Option, words: list[str]) -> str:
    """The value that follows, or the one that counts if it was left out."""
    if option.without and (option.metavar.startswith("[=") or not words or words[0].startswith("-")):
        return option.without
    if not words:
        raise UsageError(f"{flag} needs a value: {flag} {option.metavar}")
    return words.pop(0)


def _commands(words: list[str]) -> list[list[str]]:
    commands: list[list[str]] = []
    for word in words:
        if word == SEPARATOR:
            commands.append([])
        else:
            commands[-1].append(word)
    return [command for command in commands if command]
