"""Which signals exist, what they are called, and what muinit does with each.

The numbers come from `_signal`, the C module beneath `signal`: `signal` turns each of them into an enum
first, and that is 5 ms before the first command is started (measured, Python 3.11).
"""

import _signal

SIGHUP: int = _signal.SIGHUP
SIGINT: int = _signal.SIGINT
SIGKILL: int = _signal.SIGKILL
SIGTERM: int = _signal.SIGTERM
SIGCHLD: int = _signal.SIGCHLD
SIGCONT: int = _signal.SIGCONT
SIGTSTP: int = _signal.SIGTSTP
RTMIN: int = _signal.SIGRTMIN
RTMAX: int = _signal.SIGRTMAX

# 32 and 33 are missing here: the C library keeps them for its threads.
ALL: frozenset[int] = frozenset(map(int, _signal.valid_signals()))

NUMBERS: dict[str, int] = {
    name[3:]: int(number)
    for name, number in sorted(vars(_signal).items())
    if name.startswith("SIG") and not name.startswith("SIG_")
}
# Where a number has two names, the one of signal(7)'s own table is printed.
_NAMES = {number: name for name, number in NUMBERS.items()} | {
    NUMBERS[name]: name for name in ("ABRT", "CHLD", "IO", "SYS")
}


def _numbers(*names: str) -> frozenset[int]:
    return frozenset(NUMBERS[name] for name in names)


# Those that -s cannot name: the kernel keeps some for itself, muinit others.
UNCATCHABLE = _numbers("KILL", "STOP")
OWN = _numbers("ALRM", "CHLD")
# "muinit itself is broken." They stay blocked: a real fault kills, blocked or not; one that is sent does nothing.
FAULTS = _numbers("SEGV", "BUS", "FPE", "ILL", "TRAP", "SYS", "ABRT")
UNFORWARDABLE = UNCATCHABLE | OWN | FAULTS

# Those whose default is not to kill (signal(7)).
_HARMLESS = _numbers("CHLD", "CONT", "URG", "WINCH", "STOP", "TSTP", "TTIN", "TTOU")
# Python ignores these two, and so must muinit: a reader of its stderr that goes away would else end the run.
IGNORED_BY_PYTHON = _numbers("PIPE", "XFSZ")
DEADLY = ALL - _HARMLESS - FAULTS - UNCATCHABLE - IGNORED_BY_PYTHON


def name(number: int) -> str:
    """The name of a signal as people write it: SIGTERM, SIGRTMIN+3; "signal 16" where Python knows no name."""
    if number in _NAMES:
        return f"SIG{_NAMES[number]}"
    return f"SIGRTMIN+{number - RTMIN}" if RTMIN < number < RTMAX else f"signal {number}"


def number(word: str) -> int:
    """The number of a signal: from TERM, SIGTERM, RTMIN+3, RTMAX-2 (in either case) or a number.

    Raises ValueError where `word` is no signal that a process can be sent.
    """
    base, plus, offset = word.upper().removeprefix("SIG").partition("+")
    if not plus:
        base, minus, offset = base.partition("-")
        plus = minus
    if not word.isascii():  # some other letters are these in upper case
        raise ValueError(word)
    if word.isdigit():
        value = int(word)
    elif not plus and base in NUMBERS:
        value = NUMBERS[base]
    elif offset.isdigit() and (base, plus) in (("RTMIN", "+"), ("RTMAX", "-")):
        value = NUMBERS[base] + int(plus + offset)
        if not RTMIN <= value <= RTMAX:
            raise ValueError(word)
    else:
        raise ValueError(word)
    if value not in ALL:
        raise ValueError(word)
    return value
