"""The picture of a run: what is drawn where, checked without a browser."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muinit import signals
from statechart import __main__ as command_line
from statechart.chart import EXITED, RUNNING
from statechart.events import (
    CommandEnded,
    Drained,
    Ending,
    Event,
    Forward,
    OrphansAdopted,
    OrphansEnded,
    Resume,
    Suspend,
    Terminate,
    Timeout,
)
from statechart.lifecycle import Command, Lifecycle
from statechart.pictures import page, timeline
from statechart.pictures.scale import BROKEN, EVEN, MOST_BREAKS, SECOND, STRETCHED, clock, scale, ticks
from statechart.pictures.timeline import LETTER, SAME, WIDTH, Lane, Mark, Picture, cells, fit, picture
from statechart.traces import write
from statechart.traces.read import Trace, read
from statechart.traces.replay import replay
from statechart.words.text import printable
from tests.cast.harness import ROOT
from tests.conftest import program

PICTURES = ROOT / "docs/pictures"
HOSTILE = "</script></style><img src=x onerror=alert(1)>\"'&\x00\x1b[2J\udcff\u202e\u05d0"


def written(*events: Event, count: int = 2, end: int | None = None, **about: object) -> list[str]:
    """The lines of a trace, as muinit writes them, without a last line if `end` is None and the run does not exit."""
    run = Lifecycle([Command([f"/bin/c{n}", "-x"], 100 + n) for n in range(count)], (15, 9), 2.0)
    return lines_of(run, events, end, **about)


def lines_of(run: Lifecycle, events: Iterable[Event], end: int | None = None, **about: object) -> list[str]:
    numbers = {signals.name(number): number for number in signals.ALL}
    first = {"muinit": "0", "argv": ["muinit"], "pid": 7, "time": 1.5e9}
    entries = [{**write.header(run, [signals.SIGINT], [signals.SIGTERM], numbers, **first), **about}]
    entries += [write.entry(run.handle(event), signals.name) for event in events]
    if end is not None or run.state is EXITED:
        entries.append({"t": end or entries[-1]["t"] + 1000, "exit": run.code, "why": f"exit {run.code}: so"})
    return [json.dumps(entry) + "\n" for entry in entries]


def drawn(*events: Event, **more: object) -> Picture:
    return picture(read(written(*events, **more)))  # type: ignore[arg-type]


def lane(of: Picture, pid: int | None) -> Lane:
    return next(lane for lane in of.lanes if lane.pid == pid)


def marks(of: Lane) -> list[tuple[str, int]]:
    return [(mark.kind, mark.at // SECOND) for mark in of.marks]


# The axis

GAPS = st.lists(st.integers(0, 10**6) | st.integers(0, 10**15), min_size=1, max_size=60)


@given(GAPS, st.floats(300, 2000), st.data())
def test_the_axis_is_in_order_and_uses_its_whole_width(gaps: list[int], width: float, data: st.DataObject) -> None:
    times = [sum(gaps[:n]) for n in range(len(gaps) + 1)]
    least = data.draw(st.lists(st.floats(1, 60), min_size=len(gaps), max_size=len(gaps)))
    on = scale(times, least, width)
    assert on.x[0] == 0
    assert on.x[-1] == width
    widths = [after - before for before, after in pairwise(on.x)]
    assert all(each >= 0 for each in widths)
    rest = [n for n, kind in enumerate(on.kinds) if kind != BROKEN]
    room = sum(widths[n] for n in rest)
    assert rest, "something is always to scale"
    enough = min(1, room / sum(least[n] for n in rest))
    assert all(widths[n] >= least[n] * enough - 1e-6 for n in rest)
    even = [(gaps[n], widths[n]) for n, kind in enumerate(on.kinds) if kind == EVEN]
    pace = max((wide / gap for gap, wide in even), default=0.0)
    assert all(abs(wide - gap * pace) <= 1e-6 * width for gap, wide in even), "to one scale"
    stretched = [(gaps[n], widths[n]) for n, kind in enumerate(on.kinds) if kind == STRETCHED]
    assert all(wide >= gap * pace - 1e-6 * width for gap, wide in stretched), "wider than to scale"
    broken = [gaps[n] for n, kind in enumerate(on.kinds) if kind == BROKEN]
    assert len(broken) <= MOST_BREAKS
    assert all(gap > 10 * max(sum(gaps[n] for n in rest), SECOND // 4) for gap in broken)


@given(GAPS, st.floats(300, 2000))
def test_a_tick_is_at_its_time_and_names_it(gaps: list[int], width: float) -> None:
    times = [sum(gaps[:n]) for n in range(len(gaps) + 1)]
    on = scale(times, [14.0] * len(gaps), width)
    found = ticks(on, [1], LETTER)
    assert (found[0].x, found[0].at) == (0, 0)
    for tick in found:
        at = [n for n, time in enumerate(times) if time <= tick.at]
        if times[at[-1]] == tick.at:
            assert any(abs(on.x[n] - tick.x) < 1e-6 for n in at if times[n] == tick.at)
        else:
            gap = at[-1]
            assert on.kinds[gap] == EVEN
            share = (tick.at - times[gap]) / (times[gap + 1] - times[gap])
            assert abs(on.x[gap] + share * (on.x[gap + 1] - on.x[gap]) - tick.x) < 1e-5 * width
    for left, right in pairwise(found):
        assert right.x - left.x >= (len(left.text) + len(right.text) + 4) / 2 * LETTER - 1e-6
        assert left.text != right.text


def test_hours_do_not_hide_the_stop() -> None:
    times = [0, 3600 * SECOND, 3600 * SECOND + 50_000_000, 3601 * SECOND]
    on = scale(times, [14.0] * 3, 800)
    assert on.kinds == [BROKEN, EVEN, EVEN]
    assert on.x[1] < 100
    short = scale([0, 3600 * SECOND, 3600 * SECOND + 300_000, 3600 * SECOND + 600_000], [14.0] * 3, 800)
    assert short.kinds == [BROKEN, EVEN, EVEN]
    assert short.x[1] == 500, "what lasts no time gets no page"


def test_gaps_share_the_width_if_there_is_too_little() -> None:
    assert scale([0, 1, 2], [600.0, 200.0], 400).x == [0, 300, 400]


def test_several_long_gaps_are_all_cut_short() -> None:
    days = [n * 86400 * SECOND for n in range(6)]
    on = scale([*days, days[-1] + SECOND, days[-1] + 2 * SECOND], [14.0] * 7, 800)
    assert on.kinds == [BROKEN] * 5 + [EVEN] * 2


@pytest.mark.parametrize(
    ("at", "digits", "text"),
    [
        (0, 3, "0 s"),
        (213_529_646, 3, "0.214 s"),
        (250_000_000, 2, "0.25 s"),
        (59_999_900_000, 3, "0:01:00"),
        (90_500_000_000, 1, "0:01:30.5"),
        (12_001_204_000_000, 3, "3:20:01.204"),
        (5 * 86400 * SECOND, 0, "5 d 0:00:00"),
    ],
)
def test_a_time_on_the_axis(at: int, digits: int, text: str) -> None:
    assert clock(at, digits) == text


# A run

RUN = [
    OrphansAdopted(200, -201, names=("daemon", ""), at=1),
    Forward(2, at=2),
    Suspend(at=3),
    Resume(at=4),
    OrphansEnded((200, Ending(0)), (300, Ending(1)), at=5),
    CommandEnded((0, Ending(3)), at=6),
    OrphansAdopted(202, names=("late",), at=7),
    Timeout(at=8),
    OrphansEnded((202, Ending(137, 9)), at=9),
    CommandEnded((1, Ending(137, 9)), at=10),
    Drained(at=11),
]


def test_a_whole_run() -> None:
    run = drawn(*RUN, end=12 * SECOND)
    assert [(each.stage, each.span.start // SECOND, each.span.end // SECOND) for each in run.band] == [
        ("RUNNING", 0, 6),
        ("TERMINATING [step 1 of 2]", 6, 8),
        ("TERMINATING [step 2 of 2]", 8, 10),
        ("DRAINING [step 2 of 2]", 10, 11),
        ("EXITED", 11, 12),
    ]
    assert [each.look for each in run.band] == ["running", "terminating", "terminating even", "draining even", "exited"]
    assert (run.title, run.code, run.why) == ("exit 3", 3, "so")
    assert [(each.kind, each.at // SECOND) for each in run.signals] == [("forward", 2), ("suspend", 3), ("resume", 4)]
    told = [(each.label, each.name, each.outcome, each.text, each.decides) for each in run.lanes]
    assert told == [
        ("pid 100", "c0 -x", "failed", "exit 3, decides", True),
        ("pid 101", "c1 -x", "stopped", "SIGKILL", False),
        ("pid 200", "daemon", "well", "exit 0", False),
        ("group 201", "", "unseen", "end not seen", False),
        ("pid 300", "", "failed", "exit 1", False),
        ("pid 202", "late", "stopped", "SIGKILL", False),
    ]
    spans = [(each.start, each.span.start // SECOND, each.span.end // SECOND) for each in run.lanes]
    assert spans == [(True, 0, 6), (True, 0, 10), (True, 1, 5), (True, 1, 12), (False, 5, 5), (True, 7, 9)]
    assert marks(run.lanes[0]) == [("relay", 2), ("suspend", 3), ("resume", 4)]
    assert marks(run.lanes[1]) == [("relay", 2), ("suspend", 3), ("resume", 4), ("step", 6), ("kill", 8)]
    assert marks(run.lanes[2]) == [("relay", 2), ("resume", 4)]
    assert marks(run.lanes[3]) == [("relay", 2), ("resume", 4), ("step", 6), ("kill", 8)]
    assert marks(run.lanes[5]) == [("step", 7), ("kill", 8)]
    assert run.lanes[0].tip.splitlines()[-1] == "its exit code is that of muinit"
    assert run.lanes[4].tip.splitlines() == ["pid 300", "first seen at its end", "exit 1 at 5 s (5,000,000,000 ns)"]
    assert {key.kind for key in run.legend} >= {"well", "failed", "stopped", "unseen", "decides", "relay", "kill"}
    assert "killed" not in {key.kind for key in run.legend}
    assert [row.event for row in run.rows][5:7] == ["command_ended", "orphans_adopted"]
    assert run.rows[5].detail == "pid 100 (c0 -x) exited 3"
    assert run.rows[5].effects == "SIGTERM, SIGCONT to every child; clock 2 s"


def test_outcomes_follow_the_rule_of_the_exit_status() -> None:
    told = drawn(Terminate(15, at=1), CommandEnded((0, Ending(143, 15)), (1, Ending(0)), at=2), Drained(at=3))
    assert [(each.outcome, each.text) for each in told.lanes] == [("killed", "SIGTERM, decides"), ("well", "exit 0")]
    excused = drawn(CommandEnded((0, Ending(0)), at=1), CommandEnded((1, Ending(143)), at=2), Drained(at=3))
    assert [(each.outcome, each.text) for each in excused.lanes] == [("well", "exit 0"), ("stopped", "exit 143")]
    crash = drawn(CommandEnded((0, Ending(139, 11, core=True)), at=1))
    assert [each.text for each in crash.lanes] == ["SIGSEGV (core)", "still alive"]
    assert crash.lanes[0].outcome == "killed"


def test_a_command_that_was_never_started() -> None:
    run = Lifecycle([Command(["a"], 100), Command(["/b"], None), Command(["c"], None)], (15, 9), 2.0)
    events = [CommandEnded((1, Ending(127, failure="was not found")), at=1), CommandEnded((0, Ending(143, 15)), at=2)]
    of = picture(read(lines_of(run, [*events, Drained(at=3)])))
    _, missing, never = of.lanes
    assert (missing.start, missing.span.end, missing.outcome, missing.text) == (
        False,
        SECOND,
        "missing",
        "was not found, decides",
    )
    assert (never.start, never.span.end, never.outcome, never.text) == (False, 0, "missing", "was not started")
    assert missing.tip.splitlines()[:2] == ["command: /b", "was not found"]


def test_giving_up_leaves_processes_alive() -> None:
    of = drawn(Terminate(15, at=1), Timeout(at=3), Timeout(at=4))
    assert (of.title, {each.outcome for each in of.lanes}) == ("exit 1", {"alive"})


def test_a_trace_without_an_end() -> None:
    of = drawn(Terminate(15, at=1))
    assert of.code is None
    assert (of.title, of.why) == ("no end", "the trace ends in TERMINATING [step 1 of 2]: nothing is known of the rest")
    assert [each.text for each in of.lanes] == ["still alive"] * 2
    assert of.band[-1].span.width > 20
    empty = drawn()
    assert [each.stage for each in empty.band] == [RUNNING.name]


def test_dropped_lines_are_a_gap_in_the_band() -> None:
    lines = written(*RUN, end=12 * SECOND)
    del lines[6:9]
    lines.insert(6, '{"dropped": 3}\n')
    of = picture(read(lines))
    stages = [(each.stage, each.look, each.span.start // SECOND) for each in of.band]
    assert stages[:3] == [
        ("RUNNING", "running", 0),
        ("3 lines dropped", "lost", 5),
        ("TERMINATING [step 2 of 2]", "terminating even", 9),
    ]
    assert of.facts[-1][0] == "colours"
    assert [(each.outcome, each.decides) for each in of.lanes[:2]] == [("unseen", False), ("killed", False)]
    last = [*lines[:4], '{"dropped": 2}\n']
    assert picture(read(last)).band[-1].look == "lost"


def test_a_trace_of_another_version_is_coloured_by_exit_codes() -> None:
    lines = written(CommandEnded((0, Ending(3)), at=1), CommandEnded((1, Ending(143, 15)), at=2), Drained(at=3))
    other = [line.replace('"guard": "last_command"', '"guard": "other"') for line in lines]
    of = picture(read(other))
    assert [(each.outcome, each.decides) for each in of.lanes] == [("failed", False), ("killed", False)]
    impossible = [*lines[:-1], lines[-2].replace("drained", "suspend"), lines[-1]]
    assert picture(read(impossible)).facts[-1][0] == "colours"


def test_a_time_that_goes_back_counts_as_the_one_before() -> None:
    lines = [line.replace('"t": 2000000000', '"t": 500') for line in written(*RUN, end=12 * SECOND)]
    assert [*dict.fromkeys(at for _, at in picture(read(lines)).knots)][:3] == [0, SECOND, 3 * SECOND]


@pytest.mark.untraced
def test_thousands_of_orphans_make_a_small_page() -> None:
    events: list[Event] = []
    for n in range(3000):
        pid = 1000 + n
        events.append(OrphansAdopted(pid, names=("sleep",), at=1 + n / 1000))
        events.append(OrphansEnded((pid, Ending(0)), at=1 + n / 1000 + 0.0002))
    found = read(written(*events, CommandEnded((0, Ending(0)), (1, Ending(0)), at=5), Drained(at=5.1)))
    of = picture(found)
    assert len(of.lanes) == 2 + 40 + 1
    assert of.lanes[-1].name == "and 2960 more orphans"
    assert sum(mark.count for mark in of.lanes[-1].marks) == 2960 * 2
    assert of.left_out == 5002
    assert of.band[-1].span.width > 10
    text, _ = page.html(found)
    assert len(text) < 500_000
    assert "5002 more" in text


def test_the_rest_of_the_orphans_get_marks_too() -> None:
    pids = range(1000, 1045)
    of = drawn(OrphansAdopted(*pids, at=1), Forward(2, at=2), OrphansEnded((1044, Ending(0)), (5, Ending(0)), at=3))
    assert marks(of.lanes[-1]) == [("adopted", 1), ("relay", 2), ("reaped", 3)]
    assert [mark.tip.splitlines()[0] for mark in of.lanes[-1].marks] == ["5 adopted", "SIGINT", "2 reaped"]


def test_many_signals_become_one_mark() -> None:
    of = drawn(*(Forward(2, at=1 + n / 1000) for n in range(3000)))
    assert sum(mark.count for mark in of.signals) == 3000
    assert len(of.signals) < 400
    assert all(mark.until >= mark.at for mark in of.signals)


HISTORY = st.lists(st.tuples(st.integers(0, 9), st.floats(1e-6, 1e5)), max_size=25)


@given(HISTORY, st.integers(1, 4))
def test_any_run_has_a_picture(history: list[tuple[int, float]], count: int) -> None:
    lines = written(*possible(history, count), count=count)
    for found in (read(lines), read(lines[: len(lines) // 2 + 1])):
        tells_the_trace(found, picture(found))


def possible(history: list[tuple[int, float]], count: int) -> list[Event]:
    """Events that can happen in this order. The numbers of the history choose them."""
    run = Lifecycle([Command(["c"], 100 + n) for n in range(count)], (15, 9), 2.0)
    orphans: list[int] = []
    events: list[Event] = []
    now = 0.0
    for number, later in history:
        now += later
        alive = [n for n, command in enumerate(run.commands) if command.alive]
        choice: list[Event] = [Forward(2, at=now), Terminate(15, at=now), Suspend(at=now), Resume(at=now)]
        choice += [Timeout(at=now)] if run.step else []
        choice += [CommandEnded((n, Ending(n)), at=now) for n in alive[:1]]
        choice += [CommandEnded(*((n, Ending(143, 15)) for n in alive), at=now)] if alive else [Drained(at=now)]
        choice += [OrphansAdopted(1000 + len(events), names=("o",), at=now)]
        choice += [OrphansEnded((orphans[0], Ending(0)), at=now)] if orphans else []
        event = choice[number % len(choice)]
        if isinstance(event, OrphansAdopted):
            orphans += event.pids
        elif isinstance(event, OrphansEnded):
            orphans.pop(0)
        run.handle(event)
        events.append(event)
        if run.state is EXITED:
            break
    return events


def tells_the_trace(found: Trace, of: Picture) -> None:
    """Check what is true of any picture."""
    assert of.band[0].span.x == of.left
    assert abs(of.band[-1].span.x + of.band[-1].span.width - of.right) < 1e-6
    for left, right in pairwise(of.band):
        assert abs(left.span.x + left.span.width - right.span.x) < 1e-6
        assert left.span.end == right.span.start
    stages = ["RUNNING", *(str(decision.after) for _, decision in found.decisions)]
    assert [each.stage for each in of.band] == [
        stage for n, stage in enumerate(stages) if not n or stages[n - 1] != stage
    ]
    for each in of.band:
        assert cells(each.text) * LETTER <= each.span.width
    for each_lane in of.lanes:
        span = each_lane.span
        assert of.left - 1e-6 <= span.x
        assert span.x + span.width <= of.right + 1e-6
        assert span.x + span.width + cells(each_lane.text) * LETTER < WIDTH
        for mark in each_lane.marks:
            assert span.start <= mark.at <= span.end
            assert span.x - 1e-6 <= mark.x <= span.x + span.width + 1e-6
    heights = [each_lane.y for each_lane in of.lanes]
    assert all(after - before >= 20 for before, after in pairwise(heights))
    for mark in [*of.signals, *(mark for each_lane in of.lanes for mark in each_lane.marks)]:
        assert any(0 <= mark.x - x < SAME and at <= mark.at for x, at in of.knots)
        for (x, at), (following, later) in pairwise(of.knots):
            assert not at < mark.at < later or following - x < SAME, "a time between two knots is close to both"


# Words


def test_text_that_does_not_fit_is_cut() -> None:
    assert fit("abc", 3 * LETTER) == "abc"
    assert fit("abcd", 3 * LETTER) == "ab…"
    assert fit("日本語", 4 * LETTER) == "日…"
    assert fit("abc", 1) == ""
    assert cells("e\u0301") == 1


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=80))
def test_wrapped_lines_fit(text: str) -> None:
    assert all(cells(line) * LETTER <= 200 for line in timeline.wrap(text, 200))


def test_every_word_of_a_sentence_is_kept() -> None:
    assert " ".join(timeline.wrap("so it is said, once and again", 60)) == "so it is said, once and again"


# Hostile text


def hostile(form: Callable[[Trace], str]) -> str:
    run = Lifecycle([Command([HOSTILE, HOSTILE], 100), Command(["x"], 101)], (15, 9), 2.0)
    events = [
        OrphansAdopted(200, names=(HOSTILE,), at=1),
        CommandEnded((0, Ending(126, failure=HOSTILE)), at=2),
        Forward(2, at=3),
    ]
    lines = lines_of(run, events, 4 * SECOND, muinit=HOSTILE, argv=[HOSTILE], time=1e30)
    lines[-1] = json.dumps({"t": 4 * SECOND, "exit": 1, "why": HOSTILE}) + "\n"
    named = [line.replace('"SIGINT"', json.dumps(HOSTILE)) for line in lines]
    return form(read(named))


@pytest.mark.parametrize("form", [page.svg, lambda found: page.html(found)[0]], ids=["svg", "html"])
def test_hostile_text_cannot_break_out(form: Callable[[Trace], str]) -> None:
    text = hostile(form)
    assert "<img" not in text
    assert "<b>&" not in text
    assert text.isascii() or not set(text) & set("\x00\x1b\udcff\u202e")
    assert text.encode()
    assert "&lt;/script&gt;" in text
    assert text.count("<script") == text.count("</script") <= 1


def test_a_template_writes_nothing_that_is_not_printable() -> None:
    assert page._templates().from_string("{{ it }}").render(it="\x1b<\udcff\n") == r"\x1b&lt;\udcff" + "\n"


def test_an_svg_is_xml() -> None:
    root = ET.fromstring(hostile(page.svg))
    assert HOSTILE.partition("\x00")[0] in "".join(root.itertext())


def test_the_page_needs_nothing_else() -> None:
    program("dot", "graphviz")
    text, lacks = page.html(read(written(*RUN, end=12 * SECOND)))
    assert not lacks
    assert "default-src 'none'" in text
    assert not {"src=", "url(h", "@import", "@font"} & set(text.split())
    assert [line for line in text.split('"') if line.startswith(("http:", "https:"))] == ["http://www.w3.org/2000/svg"]


# The diagram


def test_the_edges_taken_are_marked() -> None:
    program("dot", "graphviz")
    drawing, lacks = page.diagram(read(written(*RUN, end=12 * SECOND)))
    assert not lacks
    root = ET.fromstring(drawing)
    groups = [(group.get("class"), re.sub(":[ns]", "", group.get("data-name", ""))) for group in root.iter("g")]
    assert ("edge taken", "TERMINATING_1->TERMINATING_2") in groups
    assert ("edge untaken", "DRAINING_1->DRAINING_2") in groups
    heavy = ["untaken" not in str(kind) for kind, _ in groups[1:]]
    assert heavy == sorted(heavy), "on top"
    assert not [node for node in root.iter() if node.get("id") or node.get("style") or node.get("fill")]


def test_only_shapes_are_taken_over() -> None:
    graph = b'<g class="graph" id="i"><title>n</title><polygon points="1"/><text>&lt;</text></g>'
    said = b'<svg viewBox="0" onload="x"><a href="x"><g/></a>' + graph + b"</svg>"
    assert page._only_shapes(said) == '<svg viewBox="0"><g class="graph" data-name="n"><text>&lt;</text></g></svg>'


def test_the_diagram_is_what_dot_draws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The diagram is the output of dot (here a fake one, so that the test also runs without Graphviz)."""
    drawing = tmp_path / "dot"
    drawing.write_text("""#!/bin/sh\necho '<svg viewBox="0"><g class="graph"><text>drawn</text></g></svg>'\n""")
    drawing.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert page.diagram(read(written(*RUN))) == ('<svg viewBox="0"><g class="graph"><text>drawn</text></g></svg>', "")


def test_a_diagram_that_cannot_be_drawn_is_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = read(written(*RUN))
    steps = replace(
        found, header={**found.header, "steps": ["SIGTERM"] * 13, "times": [2.0] * 13, "step_targets": ["child"] * 13}
    )
    assert page.diagram(steps) == ("", "The diagram is left out: 13 steps are more than it can show.")
    broken = tmp_path / "dot"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "exit status 3" in page.diagram(found)[1]
    broken.unlink()
    text, lacks = page.html(found)
    assert "install the package graphviz" in lacks
    assert lacks in text


# The command line


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    file = tmp_path / "run.jsonl"
    file.write_text("".join(written(*RUN, end=12 * SECOND)))
    return file


def run_tool(monkeypatch: pytest.MonkeyPatch, *words: object) -> None:
    monkeypatch.setattr(sys, "argv", ["statechart", "timeline", *map(str, words)])
    command_line.main()


@pytest.mark.parametrize("suffix", ["html", "svg"])
def test_a_file_is_written(suffix: str, trace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = trace.with_name(f"run.{suffix}")
    out.write_text("old")
    link = trace.with_name(f"link.{suffix}")
    link.symlink_to(out)
    run_tool(monkeypatch, trace, "-o", link)
    assert out.read_text() == link.read_text() != "old"
    assert link.is_symlink()
    assert len(os.listdir(trace.parent)) == 3


def test_the_command_says_what_the_page_lacks(
    trace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    run_tool(monkeypatch, trace, "--output", trace.with_suffix(".html"))
    assert "install the package graphviz" in capsys.readouterr().err
    assert trace.with_suffix(".html").read_text().startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("run.jsonl -o run.png", "python -m statechart: run.png: expected a name that ends in .html or .svg"),
        ("none -o run.svg", "python -m statechart: none: No such file or directory"),
        ("bad -o run.svg", "bad:1: this is not JSON"),
        ("odd -o run.svg", "odd:1: this does not follow schema 1: ValueError('the list is empty')"),
        ("run.jsonl -o no/run.svg", "python -m statechart: no/run.svg: No such file or directory"),
        ("run.jsonl", "python -m statechart timeline: the following arguments are required: -o/--output"),
    ],
)
def test_an_error_is_one_line(words: str, said: str, trace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(trace.parent)
    Path("bad").write_text("so\n")
    Path("odd").write_text(trace.read_text().replace('["/bin/c0", "-x"]', "[]"))
    with pytest.raises(SystemExit) as error:
        run_tool(monkeypatch, *words.split())
    assert error.value.code == said
    assert not Path("run.svg").exists()


@pytest.mark.parametrize("lacking", ["jinja2", "statechart.pictures.scale"])
def test_without_jinja(lacking: str, trace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If Jinja2 is missing, the error says what to install; any other failed import is a bug, and is not hidden."""
    monkeypatch.setitem(sys.modules, lacking, None)
    for name in ("page", "timeline"):
        monkeypatch.delitem(sys.modules, f"statechart.pictures.{name}")
        monkeypatch.delattr(f"statechart.pictures.{name}")
    expected = SystemExit if lacking == "jinja2" else ModuleNotFoundError
    with pytest.raises(expected) as error:
        run_tool(monkeypatch, trace, "-o", trace.with_suffix(".svg"))
    said = "python -m statechart: timeline needs Jinja2: pip install 'muinit[timeline]'"
    assert (str(error.value) == said) == (lacking == "jinja2")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    old = tmp_path / "run.svg"
    old.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        page.write(str(old), "\udcff")
    assert old.read_text() == "old"
    assert os.listdir(tmp_path) == ["run.svg"]


def test_every_mark_and_outcome_has_a_name() -> None:
    of = drawn(*RUN, end=12 * SECOND)
    every: list[Mark] = [*of.signals, *(mark for each in of.lanes for mark in each.marks)]
    assert {mark.kind for mark in every} <= set(timeline.MARKS)
    assert {each.outcome for each in of.lanes} <= set(timeline.BARS)
    assert printable("a\nb") == r"a\nb"
    assert lane(of, 100).kind == "command"


# What docs/traces.md shows


def test_the_run_of_the_pictures_can_be_replayed() -> None:
    text = (PICTURES / "run.jsonl").read_text()
    found = read(text.splitlines(keepends=True))
    replay(found)
    assert found.end
    assert "tmp" not in text
    assert "venv" not in text
    of = picture(found)
    assert len(of.lanes) >= 5
    assert {mark.kind for mark in of.lanes[0].marks} == {"relay", "step"}


@pytest.mark.parametrize("name", ["run", "way", "play"])
def test_the_pictures_are_small(name: str) -> None:
    for scheme in ("light", "dark"):
        data = (PICTURES / f"{name}-{scheme}.png").read_bytes()
        assert data.startswith(b"\x89PNG")
        assert len(data) < 250_000
