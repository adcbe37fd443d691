"""How commands are stopped: the steps of `-k` and the seconds of `-t`. `python -m statechart` has these options too.

This is loaded before the first command is started, so it imports nothing but the numbers of the signals.
"""

from statechart import signals

STEPS = "TERM,KILL"
TIMEOUT = "2"  # seconds

TARGETS = ("child", "group", "tree")  # as statechart.effects has them


class UsageError(Exception):
    """What is wrong with the command line, in one line: the option, the value, what is accepted."""

    termination_log = ""  # where to write the error as well, if that option came before it


# Converters: from the flag as it was typed, and its value. They raise UsageError.


def numbers(flag: str, value: str) -> list[int]:
    """The numbers of one or more signals."""
    if not value:
        raise UsageError(f"{flag} '': expected at least one signal, as in {flag} TERM,KILL")
    found = []
    for word in value.split(","):
        try:
            found.append(signals.number(word))
        except ValueError:
            raise UsageError(
                f"{flag} '{value}': '{word}' is not a signal; expected names (TERM, SIGTERM, RTMIN+3) "
                f"or numbers (1 to {signals.RTMAX}, except 32 and 33), separated by commas"
            ) from None
    return found


def steps(flag: str, value: str) -> list[tuple[int, str, float | None]]:
    """The steps: numbers of signals, targets, and seconds; None where the step has no time of its own."""
    words, targets, times = [], [], []
    for word in value.split(","):
        rest, colon, time = word.partition(":")
        name, target = targeted(flag, value, rest)
        if colon and not _is_time(time):
            why = f"'{time}' is not a time; expected seconds after the ':', as in {flag} INT:5,KILL"
            raise UsageError(f"{flag} '{value}': {why}")
        words.append(name)
        targets.append(target)
        times.append(float(time) if colon else None)
    found = numbers(flag, ",".join(words))
    if signals.SIGSTOP in found:
        # Any other signal can end a program: it can catch all of them but SIGKILL, and that one kills it.
        raise UsageError(
            f"{flag} '{value}': SIGSTOP stops no program for good, and cannot be caught; "
            "expected signals other than STOP"
        )
    if any(number == signals.SIGKILL and target != TARGETS[0] for number, target in zip(found, targets, strict=True)):
        raise UsageError(f"{flag} '{value}': KILL takes no target, because it always goes to every descendant")
    return [*zip(found, targets, times, strict=True)]


def targeted(flag: str, value: str, word: str) -> tuple[str, str]:
    """The two parts of SIGNAL@TARGET; a signal alone goes to every child."""
    name, at, target = word.partition("@")
    if at and target not in TARGETS:
        expected = f"expected one of {', '.join(TARGETS)} after the '@', as in {flag} HUP@group"
        raise UsageError(f"{flag} '{value}': '{target}' is not a target; {expected}")
    return name, target or TARGETS[0]


def seconds(flag: str, value: str) -> float:
    """Seconds, 0 to infinity."""
    if not _is_time(value):
        raise UsageError(f"{flag} '{value}': expected seconds, 0 or more (2, 0.5, inf)")
    return float(value)


def _is_time(value: str) -> bool:
    return (value.isascii() and value.replace(".", "", 1).isdigit()) or value == "inf"
