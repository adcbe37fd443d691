"""Which signals exist on this machine, and what they are called. What each means to muinit is in `statechart.meanings`.

The numbers come from `_signal`, the C module beneath `signal`. `signal` turns each of them into a member of an enum,
which costs 5 ms before the first command is started (measured, Python 3.11).
"""

import _signal

SIGKILL: int = _signal.SIGKILL
SIGSTOP: int = _signal.SIGSTOP
RTMIN: int = _signal.SIGRTMIN
RTMAX: int = _signal.SIGRTMAX

# Without 32 and 33: the C library keeps them for its threads.
ALL: frozenset[int] = frozenset(map(int, _signal.valid_signals()))

NUMBERS: dict[str, int] = {
    name[3:]: int(number)
    for name, number in sorted(vars(_signal).items())
    if name.startswith("SIG") and not name.startswith("SIG_")
}
# If a number has two names, print the one in the table of signal(7).
_NAMES = {number: name for name, number in NUMBERS.items()} | {
    NUMBERS[name]: name for name in ("ABRT", "CHLD", "IO", "SYS")
}


def name(number: int) -> str:
    """The name of a signal as people write it: SIGTERM, SIGRTMIN+3; "signal 16" if Python knows no name."""
    if number in _NAMES:
        return f"SIG{_NAMES[number]}"
    return f"SIGRTMIN+{number - RTMIN}" if RTMIN < number < RTMAX else f"signal {number}"


def number(word: str) -> int:
    """The number of a signal: from TERM, SIGTERM, RTMIN+3, RTMAX-2 (in either case) or a number.

    Raises ValueError if `word` is not a signal that can be sent to a process.
    """
    base, plus, offset = word.upper().removeprefix("SIG").partition("+")
    if not plus:
        base, minus, offset = base.partition("-")
        plus = minus
    if not word.isascii():  # the upper case of some other letters is ASCII
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
    """The number of every signal of this machine by its name, in the order of the numbers."""
    return {name(number): number for number in sorted(ALL)}
