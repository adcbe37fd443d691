"""A trace as a picture: the place and the words of everything, in pixels. The templates say how it is drawn.

From top to bottom: the axis, a band with the states, the signals that came in, a lane for each command, and one for
each adopted orphan.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import pairwise
from shlex import join
from unicodedata import combining, east_asian_width

from statechart.chart import State
from statechart.effects import EFFECTS
from statechart.events import EVENTS
from statechart.pictures.lives import NAME_LENGTH, Life, Lives, Note, Phase
from statechart.pictures.scale import BROKEN, EVEN, STRETCHED, Scale, Tick, scale, ticks
from statechart.traces.write import nanoseconds
from statechart.words.decision import event_detail_effects
from statechart.words.phrases import orphan, seconds
from statechart.words.text import cut, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from statechart.lifecycle import Decision
    from statechart.traces.read import Trace

WIDTH = 1120
LETTER = 6.7  # pixels; a bit more than the width of a character in a monospaced font of 11 pixels
GAP = 10  # pixels between things that do not belong together
AXIS, BAND, SIGNALS, LANE, HEAD, LINE = 40, 28, 30, 22, 26, 20  # heights
NAMES, PIDS, FATES = 240, 40, 60  # the most room for names; the least for pids, and for how lanes ended
CODE = 16  # the width of a character of the exit code
KEY = 44  # the width of an entry of the legend, without its words
APART = 14.0  # pixels between two events
NARROWEST = 30.0  # pixels of a state
SAME = 3.0  # pixels; marks of one kind that are closer are drawn as one
MOST_ROWS = 1000  # of the table of events
MILLISECONDS = 10_000_000  # nanoseconds; shorter times are given in milliseconds
MOST_WORDS = 2000  # characters of our own command line
DECIDES = ", decides"
SHORT = {State.DRAINING.name, State.EXITED.name}
CUTS = {EVEN: "to scale", STRETCHED: "drawn wider than to scale", BROKEN: "cut short"}

BARS = {
    "well": "exited 0",
    "failed": "exited with another code",
    "killed": "died of a signal",
    "stopped": "ended by muinit's own signal",
    "missing": "not started",
    "alive": "still alive",
    "unseen": "end not seen",
    "decides": "its exit code is that of muinit",
}
MARKS = {
    **{kind.name: kind.mark for kind in EVENTS.values() if kind.mark},
    **{kind.name: kind.mark for kind in EFFECTS.values() if kind.mark},
    "kill": "SIGKILL",
    "adopted": "adopted",
    "reaped": "ended",
    "dashed": "time is not to scale where the axis is dashed",
}


@dataclass(frozen=True)
class Span:
    """A stretch of time in the picture, in nanoseconds and in pixels."""

    start: int
    end: int
    x: float
    width: float


@dataclass(frozen=True)
class Segment:
    """A stretch of the band, for one stage."""

    span: Span
    stage: str
    look: str
    text: str
    tip: str


@dataclass(frozen=True)
class Mark:
    """A mark at a time. If several are drawn as one, `until` is the time of the last."""

    kind: str
    at: int
    until: int
    x: float
    count: int
    label: str
    tip: str


@dataclass(frozen=True)
class Lane:
    """A life as a bar; as a point at its end, if it was never started or its start was not seen."""

    kind: str
    pid: int | None
    label: str
    name: str
    y: float
    start: bool
    span: Span
    outcome: str
    text: str
    decides: bool
    marks: list[Mark]
    tip: str


@dataclass(frozen=True)
class Key:
    """An entry of the legend."""

    kind: str
    words: str
    x: float
    y: float


@dataclass(frozen=True)
class Cut:
    """A part of the axis: to scale or not."""

    kind: str
    span: Span
    text: str
    tip: str


@dataclass(frozen=True)
class Row:
    """A line of the table of events."""

    at: int
    time: str
    before: str
    after: str
    event: str
    detail: str
    effects: str


@dataclass(frozen=True)
class Picture:
    """All that is drawn."""

    title: str
    code: int | None
    why: str
    beside: float  # the title, where the lines of why begin
    lines: list[str]
    facts: list[tuple[str, str]]
    left: float
    right: float
    names: float
    bottom: float  # of the lanes
    height: float
    band: list[Segment]
    signals: list[Mark]
    lanes: list[Lane]
    heads: list[tuple[float, str]]
    ticks: list[Tick]
    knots: list[tuple[float, int]]
    cuts: list[Cut]
    legend: list[Key]
    rows: list[Row]
    left_out: int


def picture(found: Trace) -> Picture:
    """The picture of a trace."""
    return _Painter(found).picture()


def fit(text: str, width: float) -> str:
    """The text, cut to fit into so many pixels."""
    whole = text
    while text and cells(text) * LETTER > width:
        whole = whole[:-1]
        text = whole + "…" if whole else ""
    return text


def wrap(text: str, width: float) -> Iterator[str]:
    """The text in lines that fit into so many pixels."""
    line = ""
    for word in text.split(" "):
        if line and cells(f"{line} {word}") * LETTER > width:
            yield fit(line, width)
            line = word
        else:
            line += f" {word}" if line else word
    yield fit(line, width)


def cells(text: str) -> int:
    """The width of a text in columns of a monospaced font."""
    return sum(0 if combining(char) else 2 if east_asian_width(char) in "WF" else 1 for char in text)


class _Painter:
    """What the parts of a picture share."""

    def __init__(self, found: Trace) -> None:
        self._found = found
        self._lives = lives = Lives(found)
        self._all = [*lives.commands, *lives.orphans, *([lives.rest] if lives.rest else [])]
        pids = max([cells(_pid(life)) * LETTER for life in self._all], default=0)
        names = min(NAMES, max([cells(self._name(life)) * LETTER for life in self._all], default=0))
        self._pids = max(PIDS, pids) + GAP * 2  # where names begin
        self._left = self._pids + names + GAP
        self._right, self._scale = self._fitted()

    def picture(self) -> Picture:
        """All of it."""
        lives = self._lives
        y = float(AXIS + BAND + SIGNALS * bool(lives.signals))
        lanes: list[Lane] = []
        heads: list[tuple[float, str]] = []
        for head, group in (("commands", lives.commands), ("adopted orphans", self._all[len(lives.commands) :])):
            if group:
                heads.append((y, head))
                lanes += [self._lane(life, y + HEAD + n * LANE) for n, life in enumerate(group)]
                y += HEAD + len(group) * LANE
        band = [self._segment(phase, until) for phase, until in pairwise([*lives.phases, Phase(lives.last, None)])]
        signals = [*self._marks(lives.signals)]
        kinds = {lane.outcome for lane in lanes} | {mark.kind for lane in lanes for mark in lane.marks}
        kinds |= {mark.kind for mark in signals}
        kinds |= {"decides" for lane in lanes if lane.decides}
        kinds |= {"dashed" for kind in self._scale.kinds if kind != EVEN}
        legend = [*self._legend(kinds, y + GAP + LINE)]
        changes = (phase.moment for phase in lives.phases)
        rows = self._found.decisions
        left_out = max(len(rows) - MOST_ROWS, 0)
        if left_out:
            rows = [*rows[: MOST_ROWS // 2], *rows[-MOST_ROWS // 2 :]]
        end = self._found.end
        ends = f"the trace ends in {lives.phases[-1].name}: nothing is known of the rest"
        why = cut(printable(end.why).removeprefix(f"exit {end.code}: "), MOST_WORDS) if end else ends
        name = f"exit {end.code}"[:CODE] if end else "no end"
        beside = GAP * 3 + len(name) * CODE
        return Picture(
            title=name,
            code=end.code if end else None,
            why=why,
            beside=beside,
            lines=[*wrap(why, WIDTH - beside - GAP)],
            facts=[*self._facts()],
            left=self._left,
            right=self._right,
            names=self._pids,
            bottom=y,
            height=legend[-1].y + LINE if legend else y,
            band=band,
            signals=signals,
            lanes=lanes,
            heads=heads,
            ticks=[Tick(self._left + tick.x, tick.at, tick.text) for tick in ticks(self._scale, changes, LETTER)],
            knots=[*self._knots()],
            cuts=[*self._cuts()],
            legend=legend,
            rows=[self._row(decision) for _, decision in rows],
            left_out=left_out,
        )

    # The axis

    def _fitted(self) -> tuple[float, Scale]:
        """The longest axis that leaves room for the words behind the bars."""
        ends = [(self._end(life), (cells(fit(_fate(life), NAMES)) + 1) * LETTER + GAP) for life in self._all]
        right = float(WIDTH - FATES)
        while True:
            on = scale(self._lives.times, [*self._least(right - self._left)], right - self._left)
            if all(self._left + on.x[moment] + width <= WIDTH for moment, width in ends):
                return right, on
            right -= GAP

    def _end(self, life: Life) -> int:
        """The moment at which a life ends in the picture."""
        if life.kind == "rest":
            return life.notes[-1].moment
        if life.end is None:
            return 0 if life.outcome == "missing" else self._lives.last
        return life.end

    def _least(self, room: float) -> Iterator[float]:
        """The least width of each gap between two moments, so that every event and every state can be seen."""
        phases = {phase.moment: phase for phase in self._lives.phases}
        gaps = range(self._lives.last)
        apart = min(APART, room * 0.4 / len(gaps))
        changes = [gap for gap in gaps if gap + 1 in phases or gap + 1 == self._lives.last]
        wide = {gap: _narrowest(phases[gap]) if gap in phases else NARROWEST for gap in changes}
        less = min(1.0, room * 0.4 / sum(wide.values()))
        times = self._lives.times
        for gap in gaps:
            yield wide[gap] * less if gap in wide else apart * (times[gap] < times[gap + 1])

    def _x(self, moment: int) -> float:
        return self._left + self._scale.x[moment]

    def _span(self, start: int, end: int) -> Span:
        times = self._scale.times
        return Span(times[start], times[end], self._x(start), self._x(end) - self._x(start))

    def _knots(self) -> Iterator[tuple[float, int]]:
        """Where events are on the axis. Of those that are too close to be told apart, the first and the last."""
        places = dict.fromkeys(zip(self._scale.x, self._scale.times, strict=True))
        last = -SAME
        for (x, at), (following, _) in pairwise([*places, (WIDTH + SAME, 0)]):
            if following - last >= SAME:
                yield self._left + x, at
                last = x

    def _cuts(self) -> Iterator[Cut]:
        """The axis in parts of one kind. Parts that are too small to be told apart count as not to scale."""
        parts: list[tuple[str, int, int]] = []
        for gap, kind in enumerate(self._scale.kinds):
            last, start, end = parts[-1] if parts else (BROKEN, 0, 0)
            narrow = min(self._span(start, end).width, self._span(gap, gap + 1).width) < SAME
            if BROKEN not in (kind, last) and (kind == last or narrow):
                parts[-1] = last if kind == last else STRETCHED, start, gap + 1
            else:
                parts.append((kind, gap, gap + 1))
        for kind, start, end in parts:
            span = self._span(start, end)
            lasted = lasting(span.end - span.start)
            text = lasted if kind == BROKEN and (cells(lasted) + 2) * LETTER <= span.width else ""
            yield Cut(kind, span, text, f"{lasted}, {CUTS[kind]}")

    # The band

    def _segment(self, phase: Phase, until: Phase) -> Segment:
        span = self._span(phase.moment, until.moment)
        stage = phase.stage
        texts, look = [phase.name], "lost"
        if stage is not None:
            look = stage.state.name.lower() + (" even" if stage.step and not stage.step % 2 else "")
        if stage is not None and stage.step:
            state, step, number = stage.state.name, stage.words, f"{stage.step}/{stage.of}"
            texts = [f"{state} {step}", f"{state} {number}", state, number]
            if phase.step:
                texts.insert(0, f"{state} {step}: {phase.step}")
        text = next((text for text in texts if (cells(text) + 1) * LETTER <= span.width), "")
        lines = [phase.name, *([phase.step] if phase.step else []), f"from {exact(span.start)}"]
        lines.append(f"to {exact(span.end)}: {lasting(span.end - span.start)}")
        return Segment(span, phase.name, look, text, "\n".join(lines))

    # The lanes

    def _name(self, life: Life) -> str:
        if life.kind == "rest":
            return f"and {self._lives.orphans_seen - len(self._lives.orphans)} more orphans"
        return life.name

    def _lane(self, life: Life, y: float) -> Lane:
        start = None if life.outcome == "missing" else life.start
        end = self._end(life)
        return Lane(
            kind=life.kind,
            pid=life.pid,
            label=_pid(life),
            name=fit(self._name(life), NAMES),
            y=y,
            start=start is not None,
            span=self._span(end if start is None else start, end),
            outcome=life.outcome,
            text=fit(_fate(life), NAMES),
            decides=life.decides,
            marks=[*self._marks(life.notes)],
            tip=self._tip(life, end),
        )

    def _tip(self, life: Life, end: int) -> str:
        times = self._lives.times
        lines = [f"{_pid(life) or 'command'}: {life.whole}".removesuffix(": ")]
        if life.kind == "rest":
            return self._name(life)
        if life.outcome == "missing":
            lines += [life.text]
        elif life.start is None:
            lines += ["first seen at its end", f"{life.text} at {exact(times[end])}"]
        else:
            lines += [f"{'adopted' if life.kind == 'orphan' else 'started'} at {exact(times[life.start])}"]
            lines += [f"{life.text} at {exact(times[end])}"]
            lines += [f"lived {lasting(times[end] - times[life.start])}"]
        lines += [BARS["stopped"]] if life.outcome == "stopped" else []
        lines += [BARS["decides"]] if life.decides else []
        return "\n".join(lines)

    def _marks(self, notes: Sequence[Note]) -> Iterator[Mark]:
        """The marks of notes. Notes of one kind that would overlap share a mark."""
        groups: list[list[Note]] = []
        latest: dict[str, list[Note]] = {}
        for note in notes:
            group = latest.get(note.kind)
            if group and self._x(note.moment) - self._x(group[0].moment) < SAME:
                group.append(note)
            else:
                latest[note.kind] = [note]
                groups.append(latest[note.kind])
        following = [*(self._x(group[0].moment) for group in groups[1:]), float(WIDTH)]
        for group, until in zip(groups, following, strict=False):
            yield self._mark(group, until)

    def _mark(self, group: Sequence[Note], until: float) -> Mark:
        first, last = group[0], group[-1]
        times = self._lives.times
        x = self._x(first.moment)
        texts = [*dict.fromkeys(note.text for note in group)]
        text = cut(", ".join(texts), NAME_LENGTH) + (f" x {len(group)}" if len(group) > 1 else "")
        label = text if (cells(text) + 2) * LETTER <= until - x - GAP else ""
        when = f"at {exact(times[first.moment])}"
        if len(group) > 1:
            when += f" to {exact(times[last.moment])}"
        tip = "\n".join(line for line in (text, first.detail, when) if line)
        return Mark(first.kind, times[first.moment], times[last.moment], x, len(group), label, tip)

    # What stands around it

    def _legend(self, kinds: set[str], y: float) -> Iterator[Key]:
        """The legend: the meaning of each colour and shape that is used."""
        for group in (BARS, MARKS):
            x = float(GAP)
            for kind, words in group.items():
                if kind in kinds:
                    width = cells(words) * LETTER + KEY
                    if x + width > WIDTH - GAP:
                        x, y = float(GAP), y + LINE
                    yield Key(kind, words, x, y)
                    x += width
            y += LINE

    def _facts(self) -> Iterator[tuple[str, str]]:
        header = self._found.header
        yield "command line", cut(printable(join(header["argv"])), MOST_WORDS)
        yield "started", _date(header["time"])
        yield "lasted", lasting(self._lives.times[-1])
        lifecycle = self._lives.lifecycle
        steps = zip(map(self._lives.signame, lifecycle.steps), map(seconds, lifecycle.times), strict=True)
        yield "steps", " → ".join(f"{name} {time}" for name, time in steps)
        yield "forwarded", printable(", ".join(header["forward"])) or "nothing"
        commands, orphans = len(self._lives.commands), self._lives.orphans_seen
        counted = f"{commands} command{'s' * (commands != 1)}, {orphans or 'no'} orphan{'s' * (orphans != 1)} adopted"
        yield "processes", counted
        yield "muinit", printable(f"{header['muinit']}, pid {header['pid']}")
        if not self._lives.certain:
            yield (
                "colours",
                "by exit code alone: lines are missing, or this version of muinit decides differently",
            )

    def _row(self, decision: Decision) -> Row:
        said = event_detail_effects(self._lives.lifecycle, decision, self._lives.signame)
        shown = [cut(printable(text), NAME_LENGTH) for text in (str(decision.before), str(decision.after), *said)]
        return Row(nanoseconds(decision.event.at), f"{decision.event.at:.3f} s", *shown)


def exact(at: int) -> str:
    """A time, and the same time exactly."""
    return f"{lasting(at)} ({at:,} ns)"


def lasting(time: int) -> str:
    """A number of nanoseconds, as people say it."""
    return seconds(time / 1e9) if time >= MILLISECONDS or not time else f"{time / 1e6:.3g} ms"


def _pid(life: Life) -> str:
    return orphan(life.pid) if life.pid else ""


def _fate(life: Life) -> str:
    return life.text + (DECIDES if life.decides else "")


def _narrowest(phase: Phase) -> float:
    """The least width of a phase in which nothing happens: room for a short name, or for "1/2"."""
    name = phase.stage.state.name if phase.stage else phase.name
    return (len(name) + 1.5) * LETTER if name in SHORT else NARROWEST


def _date(time: float) -> str:
    try:
        return datetime.fromtimestamp(time, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OSError, OverflowError, ValueError):  # a year that has more than four digits
        return "unknown"
