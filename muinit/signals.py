"""Which signals exist, and what they are called. What each means to muinit is in `statechart.meanings`.

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
SIGSTOP: int = _signal.SIGSTOP
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

# Python ignores these two when it starts.
IGNORED_BY_PYTHON = frozenset({NUMBERS["PIPE"], NUMBERS["XFSZ"]})


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


def by_name() -> dict[str, int]:
    """Every signal of this machine, in the order of the numbers."""
    return {name(number): number for number in sorted(ALL)}
