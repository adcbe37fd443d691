"""argv -> Options. The list of options feeds the parser, the help text and the README.

By hand, because `argparse` costs 10 ms before the first command is started and `getopt` 8 (measured, Python 3.11).
"""

from muinit import signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

SEPARATOR = "---"

# (short, long, metavar, help): an option with a metavar takes a value; in brackets, it can do without.
OPTIONS = (
    ("-h", "--help", "", "show this help and exit"),
    ("-V", "--version", "", "show the version and exit"),
    ("-k", "--stop-signals", "SIGNALS", "the termination steps; default: TERM,KILL"),
    ("-s", "--forward-signals", "SIGNALS", "signals to forward; default: INT"),
    ("", "--stop-on", "SIGNALS", "also stop on these; default: QUIT,PWR,RTMIN+3"),
    ("-t", "--timeout", "SECONDS", "how long to wait after each step; default: 2"),
    ("-q", "--quiet", "", "do not say why muinit exits"),
    ("-v", "--verbose", "", "say what happens, and why muinit exits"),
    ("", "--trace-states", "", "print a line for each event"),
    ("", "--trace-file", "PATH", "write a trace to PATH, as JSON lines"),
    ("", "--termination-log", "[=PATH]", "also write the reason for exiting to PATH"),
    ("", "--diagram", "[FORMAT]", "draw the lifecycle with these options and exit"),
)
_LONG = {long: (short, long, metavar) for short, long, metavar, _ in OPTIONS}
_SHORT = {short: (short, long, metavar) for short, long, metavar, _ in OPTIONS if short}

TERMINATION_LOG = "/dev/termination-log"  # where Kubernetes looks, unless terminationMessagePath says otherwise
FORMATS = ("mermaid", "dot", "svg", "table")
_WITHOUT_VALUE = {"--termination-log": TERMINATION_LOG, "--diagram": FORMATS[0]}


class UsageError(Exception):
    """What is wrong with the command line, in one line: the option, the value, what is accepted."""

    termination_log = ""  # where to write it as well, if that was said before


class Options:
    """What was asked for."""

    __slots__ = (
        *("commands", "diagram", "forward", "quiet", "show", "steps", "stop_on"),
        *("termination_log", "timeout", "trace", "trace_file", "verbose"),
    )

    def __init__(self) -> None:
        self.commands: list[list[str]] = []
        self.steps: list[int] = []  # signal numbers, in order
        self.forward: list[int] = []  # signal numbers; empty where the default is meant
        self.stop_on: list[int] = []  # likewise
        self.timeout = 2.0  # seconds, 0 to infinity
        self.quiet = False
        self.verbose = False
        self.trace = False
        self.trace_file = ""  # a path, or the number of a descriptor; "": none, as are
        self.termination_log = ""
        self.show = ""  # "--help" or "--version": nothing else counts then; or "--diagram"
        self.diagram = FORMATS[0]


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
    while words:
        typed, option, value = _next_option(words)
        if option in ("--help", "--version"):
            options.show = option
            return
        _SETTERS[option](options, typed, value)
    options.commands = _commands(rest)
    if not options.commands and not options.show:
        raise UsageError(f"no command: expected '{SEPARATOR} COMMAND [ARG...]'")
    if both := set(options.forward) & set(options.stop_on):
        names = ", ".join(map(signals.name, sorted(both)))
        raise UsageError(f"-s and --stop-on both name {names}: expected a signal in one of them only")
    options.steps = options.steps or [signals.SIGTERM, signals.SIGKILL]


def _next_option(words: list[str]) -> tuple[str, str, str]:
    """Take one option off the front: as it was typed, its long name, its value."""
    word = words.pop(0)
    if word.startswith("--"):
        flag, equals, value = word.partition("=")
        known = _LONG.get(flag)
    else:
        flag, value = word[:2], word[2:]
        equals = value
        known = _SHORT.get(flag)
    if known is None:
        what = "unknown option" if word.startswith("-") and word != "-" else f"argument before '{SEPARATOR}'"
        raise UsageError(f"{what} '{word}': expected options ({', '.join(_LONG)}), then '{SEPARATOR} COMMAND [ARG...]'")
    _, long, metavar = known
    if metavar and not equals:
        value = _value_of(flag, long, metavar, words)
    elif equals and not metavar and long == flag:
        raise UsageError(f"{flag} takes no value, but was given '{value}'")
    elif equals and not metavar:
        words.insert(0, f"-{value}")  # -qV is -q -V
        if value.startswith("-"):
            raise UsageError(f"unknown option '{word}': expected -{flag[1]} alone, or with other letters")
    return flag, long, value


def _value_of(flag: str, long: str, metavar: str, words: list[str]) -> str:
    """The value that follows, or what the option means without one."""
    if long in _WITHOUT_VALUE and (metavar.startswith("[=") or not words or words[0].startswith("-")):
        return _WITHOUT_VALUE[long]
    if not words:
        raise UsageError(f"{flag} needs a value: {flag} {metavar}")
    return words.pop(0)


def _commands(words: list[str]) -> list[list[str]]:
    commands: list[list[str]] = []
    for word in words:
        if word == SEPARATOR:
            commands.append([])
        else:
            commands[-1].append(word)
    return [command for command in commands if command]


def _signals(flag: str, value: str) -> list[int]:
    if not value:
        raise UsageError(f"{flag} '': expected at least one signal, as in {flag} TERM,KILL")
    numbers = []
    for word in value.split(","):
        try:
            numbers.append(signals.number(word))
        except ValueError:
            raise UsageError(
                f"{flag} '{value}': '{word}' is no signal; expected names (TERM, SIGTERM, RTMIN+3) "
                f"or numbers (1 to {signals.RTMAX}, but 32 and 33), separated by commas"
            ) from None
    return numbers


def _set_steps(options: Options, flag: str, value: str) -> None:
    numbers = _signals(flag, value)
    if signals.SIGSTOP in numbers:
        # All others can be caught, so a program can end on them, or kill.
        raise UsageError(
            f"{flag} '{value}': SIGSTOP ends nobody, and cannot be caught; expected signals other than STOP"
        )
    options.steps += numbers


def _set_forward(options: Options, flag: str, value: str) -> None:
    from statechart.meanings import cannot_be_forwarded

    options.forward += _possible(flag, value, cannot_be_forwarded)


def _set_stop_on(options: Options, flag: str, value: str) -> None:
    from statechart.meanings import cannot_stop

    options.stop_on += _possible(flag, value, cannot_stop)


def _possible(flag: str, value: str, why_not: "Callable[[str], str]") -> list[int]:
    numbers = _signals(flag, value)
    for number in numbers:
        if why := why_not(signals.name(number)):
            rest = ", ".join(name[3:] for name in signals.by_name() if why_not(name))
            raise UsageError(f"{flag} '{value}': {signals.name(number)} {why}; expected signals other than {rest}")
    return numbers


def _set_timeout(options: Options, flag: str, value: str) -> None:
    digits = value.replace(".", "", 1)
    if not (value.isascii() and digits.isdigit()) and value != "inf":
        raise UsageError(f"{flag} '{value}': expected seconds, 0 or more (2, 0.5, inf)")
    options.timeout = float(value)


def _set_path(options: Options, flag: str, value: str) -> None:
    if not value:
        raise UsageError(f"{flag} '': expected a path")
    setattr(options, flag[2:].replace("-", "_"), value)


def _set_diagram(options: Options, flag: str, value: str) -> None:
    if value not in FORMATS:
        raise UsageError(f"{flag} '{value}': expected a format ({', '.join(FORMATS)})")
    options.show, options.diagram = flag, value


def _set_quiet(options: Options, _flag: str, _value: str) -> None:
    options.quiet, options.verbose = True, False


def _set_verbose(options: Options, _flag: str, _value: str) -> None:
    options.quiet, options.verbose = False, True


def _set_trace(options: Options, _flag: str, _value: str) -> None:
    options.trace = True


_SETTERS = {
    "--stop-signals": _set_steps,
    "--forward-signals": _set_forward,
    "--stop-on": _set_stop_on,
    "--timeout": _set_timeout,
    "--quiet": _set_quiet,
    "--verbose": _set_verbose,
    "--trace-states": _set_trace,
    "--trace-file": _set_path,
    "--termination-log": _set_path,
    "--diagram": _set_diagram,
}
