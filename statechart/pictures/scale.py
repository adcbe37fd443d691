"""The axis of a timeline: the place of each moment of a run on a line of pixels.

A run lasts for hours and stops within milliseconds. So long gaps in which nothing happens are cut short if they leave
no room for the rest, and moments that are too close are pulled apart. Everything else has the same scale.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, pairwise

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

EVEN, STRETCHED, BROKEN = "even", "stretched", "broken"  # to scale; wider than to scale; cut short

SECOND = 1_000_000_000  # all times here are nanoseconds
DOMINANT = 10  # a gap that is so many times as long as all the rest leaves no room for it
QUIET = SECOND // 4  # the least time that the rest counts for
MOST_BREAKS = 24
BREAK = 92.0  # pixels
WIDEST = 150.0  # pixels for a gap, if the rest is shorter than QUIET
BETWEEN_TICKS = 90.0  # pixels
FINE = [digit * 10**zeros for zeros in range(9) for digit in (1, 2, 5)]
COARSE = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400]
STEPS = [*FINE, *(seconds * SECOND for seconds in COARSE)]


@dataclass(frozen=True)
class Scale:
    """Moments on a line: `x` has their places, `kinds` says how each gap between two of them is drawn."""

    times: list[int]
    x: list[float]
    kinds: list[str]

    def gaps(self, *kinds: str) -> Iterator[int]:
        """The numbers of the gaps of these kinds; gap n is between the moments n and n + 1."""
        return (number for number, kind in enumerate(self.kinds) if kind in kinds)


@dataclass(frozen=True)
class Tick:
    """A place on the axis, and the time to write there."""

    x: float
    at: int
    text: str


def scale(times: Sequence[int], least: Sequence[float], width: float) -> Scale:
    """Lay moments, in the order of time, on a line of `width`. `least` has the least width of each gap."""
    gaps = [after - before for before, after in pairwise(times)]
    broken = _broken(gaps)
    rest = [number for number in range(len(gaps)) if number not in broken]
    cut = min(BREAK, width / 2 / len(broken)) if broken else 0.0
    room = width - cut * len(broken)
    if broken and sum(gaps[number] for number in rest) < QUIET:
        room = min(room, width * 2 / 3, WIDEST * len(rest))
        cut = (width - room) / len(broken)
    widths, kinds = [cut] * len(gaps), [BROKEN] * len(gaps)
    shared = _share([gaps[number] for number in rest], [least[number] for number in rest], room)
    for number, (share, kind) in zip(rest, shared, strict=True):
        widths[number], kinds[number] = share, kind
    x = [*accumulate(widths, initial=0.0)]
    return Scale([*times], [min(place, width) for place in x[:-1]] + [width], kinds)


def _broken(gaps: Sequence[int]) -> set[int]:
    """The gaps to cut short: those that dominate what is left without them, but never all."""
    longest = sorted(range(len(gaps)), key=lambda number: -gaps[number])
    left = sum(gaps)
    found = 0
    for count, number in enumerate(longest[: min(MOST_BREAKS, len(gaps) - 1)], 1):
        left -= gaps[number]
        if gaps[number] > DOMINANT * max(left, QUIET):
            found = count
    return set(longest[:found])


def _share(gaps: Sequence[int], least: Sequence[float], room: float) -> list[tuple[float, str]]:
    """Share the room to scale, but give no gap less than its least width."""
    wanted = sum(least)
    if wanted > room:
        least = [each * room / wanted for each in least]
    order = sorted(range(len(gaps)), key=lambda number: -least[number] / max(gaps[number], 1e-9))
    left, time = room, sum(gaps)
    fixed = 0
    for number in order:  # those that are most in need of their least width come first
        if time > 0 and gaps[number] * left >= least[number] * time:
            break
        left -= least[number]
        time -= gaps[number]
        fixed += 1
    shares = [(gap * left / time if time > 0 else 0.0, EVEN) for gap in gaps]
    more = room / (room - left) if fixed == len(gaps) and room > left else 1.0
    for number in order[:fixed]:
        shares[number] = least[number] * more, STRETCHED
    return shares


def ticks(on: Scale, first: Iterable[int], letter: float) -> list[Tick]:
    """The times to write on the axis, as many as fit: both ends, the moments `first`, then round times. Each once.

    `letter` is the width of a character.
    """
    last = on.times.index(on.times[-1])
    ends = [moment for gap in on.gaps(BROKEN) for moment in (gap, gap + 1)]
    wanted = [_tick(on, moment) for moment in (0, last, *ends, *first)]
    found: list[Tick] = []
    for tick in [*wanted, *_round(on)]:
        if all(abs(tick.x - other.x) >= _room(tick, other, letter) and tick.text != other.text for other in found):
            found.append(tick)
    return sorted(found, key=lambda tick: tick.x)


def _room(tick: Tick, other: Tick, letter: float) -> float:
    return ((len(tick.text) + len(other.text)) / 2 + 2) * letter


def _tick(on: Scale, moment: int) -> Tick:
    return Tick(on.x[moment], on.times[moment], clock(on.times[moment], 3))


def _round(on: Scale) -> Iterator[Tick]:
    """Round times on the parts that are to scale."""
    even = [*on.gaps(EVEN)]
    time = sum(on.times[gap + 1] - on.times[gap] for gap in even)
    pixels = sum(on.x[gap + 1] - on.x[gap] for gap in even)
    if not time or pixels <= 0:
        return
    apart = BETWEEN_TICKS * time / pixels
    step = next((step for step in STEPS if step >= apart), STEPS[-1] * (int(apart) // STEPS[-1] + 1))
    digits = max(0, 9 - (len(str(step)) - 1)) if step < SECOND else 0
    for start, end in _runs(even):
        since, until = on.times[start], on.times[end + 1]
        for at in range(-(-since // step) * step, until + 1, step):
            yield Tick(on.x[start] + (at - since) * pixels / time, at, clock(at, digits))


def _runs(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """The first and the last number of each unbroken sequence."""
    known = set(numbers)
    starts = [number for number in numbers if number - 1 not in known]
    ends = [number for number in numbers if number + 1 not in known]
    return [*zip(starts, ends, strict=True)]


def clock(at: int, digits: int) -> str:
    """A time on the axis: "0.25 s", "0:01:30", "3:20:01.204", "5 d 0:00:00"."""
    unit = 10 ** (9 - digits)
    whole, part = divmod((at + unit // 2) // unit * unit, SECOND)
    fraction = f".{part:09}"[: digits + 1].rstrip("0").rstrip(".")
    if whole < 60:
        return f"{whole}{fraction} s"
    minutes, seconds = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return (f"{days} d " if days else "") + f"{hours}:{minutes:02}:{seconds:02}{fraction}"
