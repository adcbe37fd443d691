"""The pictures of real runs in a real Chromium: everything is where the trace says, and can be read."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from statechart.pictures import page as pages
from statechart.pictures.timeline import SAME
from statechart.traces.read import read
from statechart.words.phrases import seconds
from tests.conftest import need, program
from tests.pictures.browser import RUNS, Seen, chromium, seen, why_no_chromium
from tests.pictures.test_timeline import hostile

pytestmark = [
    pytest.mark.untraced,
    pytest.mark.xdist_group("browser"),  # one Chromium for all
]
NAMES = [*RUNS, "cut"]
NEAR = 0.5  # pixels


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    need("Chromium", why_no_chromium())
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def shown(browser: Browser, traces: dict[str, Path]) -> Iterator[dict[str, Seen]]:
    """The page of each run, loaded once for all tests."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(seen(browser, path.with_suffix(".html"))) for name, path in traces.items()}


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The trace of each run, with its picture and page beside it."""
    directory = tmp_path_factory.mktemp("traces")
    found = {name: directory / f"{name}.jsonl" for name in NAMES}
    with ThreadPoolExecutor() as pool:
        for _ in pool.map(lambda name: RUNS[name](found[name]), RUNS):
            pass
    text = found["busy"].read_bytes()
    found["cut"].write_bytes(text[: len(text) * 3 // 4])
    for path in found.values():
        trace = read(path.read_text().splitlines(keepends=True))
        path.with_suffix(".svg").write_text(pages.svg(trace))
        path.with_suffix(".html").write_text(pages.html(trace)[0])
    return found


# What the trace says, read without the code that draws it


class Told:
    """Lanes, marks and stages, from the lines of a trace."""

    def __init__(self, path: Path) -> None:
        lines = [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
        self.header, *self.entries = lines
        commands = self.header["commands"]
        self.lanes: list[dict[str, Any]] = [{"pid": each["pid"], "start": 0, "marks": []} for each in commands]
        self.stages: list[tuple[int, str]] = [(0, "RUNNING")]
        self.came: list[tuple[str, int]] = []
        self.exit = self.entries[-1] if "exit" in self.entries[-1] else None
        self.last = self.entries[-1]["t"]
        for entry in self.entries[: -1 if self.exit else None]:
            self.take(entry)

    def take(self, entry: dict[str, Any]) -> None:
        at = entry["t"]
        if entry["after"] != self.stages[-1][1]:
            self.stages.append((at, entry["after"]))
        if entry["event"] in ("forward", "terminate", "suspend", "resume"):
            self.came.append((entry["event"], at))
        for ending in entry.get("endings", []):
            if "command" in ending:
                lane = self.lanes[ending["command"]]
            else:
                lane = next((lane for lane in self.lanes if lane["pid"] == ending["pid"]), None) or self.unseen(ending)
            lane |= {"end": at, **ending}
        self.lanes += [{"pid": each["pid"], "start": at, "marks": []} for each in entry.get("adopted", [])]
        for effect in entry["effects"]:
            kind = {"relay": "relay", "suspend": "suspend", "resume": "resume", "step": "step"}.get(effect["effect"])
            if effect["effect"] == "step" and effect["signals"] == ["SIGKILL"]:
                kind = "kill"
            chosen = self.lanes[: len(self.header["commands"])] if kind == "suspend" else self.lanes
            for lane in chosen if kind else []:
                reached = lane["pid"] and "end" not in lane
                if reached and (not effect.get("pids") or lane["pid"] in effect["pids"]):
                    lane["marks"].append((kind, at))

    def unseen(self, ending: dict[str, Any]) -> dict[str, Any]:
        """Add a lane for an orphan that muinit did not see before its end."""
        self.lanes.append({"pid": ending["pid"], "start": None, "marks": []})
        return self.lanes[-1]


GEOMETRY = """() => {
  const svg = document.querySelector("svg.timeline");
  const box = (on) => {
    const {left, right, top, bottom} = on.getBoundingClientRect();
    return {left, right, top, bottom};
  };
  const all = (what, inside) => [...(inside || svg).querySelectorAll(what)].map((on) => ({
    ...on.dataset, ...box(on), mark: on.dataset.kind, kind: on.getAttribute("class"), text: on.textContent,
    name: on.querySelector("[data-tip]")?.dataset.tip || on.querySelector("title")?.textContent,
    parts: [...on.querySelectorAll(".bar, rect, path")].map(box),
    label: [...on.querySelectorAll("text")].map(box),
  }));
  const marks = all(".marks");
  svg.querySelectorAll(".marks").forEach((on, n) => { marks[n].marks = all(".mark", on); });
  return {
    svg: box(svg), ticks: all("line.tick"), texts: all("text.tick"), knots: all("line.knot"), cuts: all(".cut"),
    lanes: all(".lane"), bars: all(".lane .bar"), marks, signals: all(".signals .mark"),
    segments: all(".segment"), every: all("text"),
  };
}"""


class Axis:
    """Pixels for times, interpolated between the knots. A time that is left out has both within SAME pixels."""

    def __init__(self, knots: list[dict[str, Any]]) -> None:
        self.times = [int(knot["time"]) for knot in knots]
        self.x: list[float] = [(knot["left"] + knot["right"]) / 2 for knot in knots]

    def shows(self, x: float, at: int) -> bool:
        """Whether a time is at its place."""
        after, until = bisect_left(self.times, at), bisect_right(self.times, at)
        if after < until:  # a state that takes no time still has a width
            return self.x[after] - NEAR <= x <= self.x[until - 1] + NEAR
        share = (at - self.times[after - 1]) / (self.times[after] - self.times[after - 1])
        room = self.x[after] - self.x[after - 1]
        return near(x, self.x[after - 1] + share * room, min(room, SAME))


def near(one: float, other: float, more: float = 0.0) -> bool:
    return abs(one - other) <= NEAR + more


@pytest.mark.parametrize("name", NAMES)
def test_everything_in_the_page_is_where_the_trace_says(
    name: str, traces: dict[str, Path], shown: dict[str, Seen]
) -> None:
    in_its_place(shown[name], Told(traces[name]))


@pytest.mark.parametrize("name", NAMES)
def test_everything_in_the_picture_is_where_the_trace_says(
    name: str, traces: dict[str, Path], browser: Browser
) -> None:
    with seen(browser, traces[name].with_suffix(".svg")) as it:
        in_its_place(it, Told(traces[name]))


def in_its_place(it: Seen, told: Told) -> None:
    drawn = it.page.evaluate(GEOMETRY)
    assert not it.wrong
    axis_is_honest(drawn)
    axis = Axis(drawn["knots"])
    assert axis.times[0] == 0
    assert axis.times[-1] == told.last
    lanes_are_lives(drawn, told, axis)
    band_is_stages(drawn, told, axis)
    marks_are_notes(drawn["signals"], told.came)
    assert all(axis.shows(middle(mark["parts"][-1]), int(mark["time"])) for mark in drawn["signals"])
    texts_can_be_read(drawn)


def marks_are_notes(marks: list[dict[str, Any]], notes: list[tuple[str, int]]) -> None:
    """Each note has its mark. Marks of one kind that would overlap are drawn as one, which says how many it is."""
    assert [int(mark["time"]) for mark in marks] == sorted(int(mark["time"]) for mark in marks)
    left = [*notes]
    for mark in marks:
        same = [at for kind, at in left if kind == mark["mark"]][: int(mark["count"])]
        assert (same[0], same[-1], len(same)) == (int(mark["time"]), int(mark["until"]), int(mark["count"]))
        for at in same:
            left.remove((mark["mark"], at))
    assert not left


def middle(box: dict[str, float]) -> float:
    return (box["left"] + box["right"]) / 2


def axis_is_honest(drawn: dict[str, Any]) -> None:
    axis = Axis(drawn["knots"])
    assert axis.x == sorted(axis.x)
    assert axis.times == sorted(axis.times)
    for tick, text in zip(drawn["ticks"], drawn["texts"], strict=True):
        at = int(tick["time"])
        assert axis.shows(middle(tick), at)
        assert near(middle(text), middle(tick))
        assert text["text"].endswith(" s"), "these runs are short"
        assert abs(float(text["text"].split()[0]) * 1e9 - at) <= 0.5e6
    even = [cut for cut in drawn["cuts"] if "even" in cut["kind"]]
    pace = [(cut["right"] - cut["left"]) / (int(cut["end"]) - int(cut["start"])) for cut in even]
    longest = max(pace)
    for cut, each in zip(even, pace, strict=True):
        assert each == pytest.approx(longest, abs=2 * NEAR / (int(cut["end"]) - int(cut["start"])))
    said = any("not to scale" in text["text"] for text in drawn["every"])
    assert said == any("even" not in cut["kind"] for cut in drawn["cuts"])


def lanes_are_lives(drawn: dict[str, Any], told: Told, axis: Axis) -> None:
    assert [lane["pid"] for lane in drawn["lanes"]] == [str(each["pid"] or "") for each in told.lanes]
    rows = zip(told.lanes, drawn["lanes"], drawn["bars"], drawn["marks"], strict=True)
    for each, lane, bar, marks in rows:
        if each["pid"] and each["start"] is not None:
            end = each.get("end", told.last)
            assert (int(lane["start"]), int(lane["end"])) == (each["start"], end)
            assert axis.shows(bar["left"], each["start"])
            assert axis.shows(bar["right"], end) if "end" in each else near(bar["right"], drawn["cuts"][-1]["right"])
        else:
            assert lane["start"] == ""
            assert axis.shows(middle(bar), each.get("end", 0))
        marks_are_notes(marks["marks"], each["marks"])
        assert 0 < marks["label"][0]["left"] - bar["right"] < 15
        for mark in marks["marks"]:
            shape = mark["parts"][-1]
            assert axis.shows(middle(shape), int(mark["time"]))
            assert bar["left"] - NEAR <= middle(shape) <= bar["right"] + NEAR
            assert bar["top"] <= (shape["top"] + shape["bottom"]) / 2 <= bar["bottom"]
        fate = each.get("failure") or each.get("signal") or f"exit {each['code']}" if "end" in each else "still alive"
        assert lane["name"].find(fate) > 0 or not each["pid"]
        assert marks["text"].startswith(fate if "end" in each or each["pid"] else "was not started")
    decides = [lane["pid"] for lane in drawn["lanes"] if "decides" in lane["kind"]]
    if told.exit:
        codes = [str(each["pid"] or "") for each in told.lanes if each.get("code") == told.exit["exit"]]
        assert len(decides) == 1
        assert decides[0] in codes
    else:
        assert not decides


def band_is_stages(drawn: dict[str, Any], told: Told, axis: Axis) -> None:
    segments = drawn["segments"]
    assert [(int(each["start"]), each["stage"]) for each in segments] == told.stages
    for each, after in pairwise(segments):
        assert each["end"] == after["start"]
        assert near(each["parts"][0]["right"], after["parts"][0]["left"])
    for each in segments:
        box = each["parts"][0]
        assert axis.shows(box["left"], int(each["start"]))
        last = drawn["cuts"][-1]["right"]
        assert near(box["right"], last) if each is segments[-1] else axis.shows(box["right"], int(each["end"]))
        assert box["right"] - box["left"] > 10, "a state that takes no time is seen"
    assert int(segments[-1]["end"]) == told.last


def texts_can_be_read(drawn: dict[str, Any]) -> None:
    texts = sorted(drawn["every"], key=lambda text: float(text["top"]))
    outer = drawn["svg"]
    for n, text in enumerate(texts):
        assert outer["left"] <= text["left"]
        assert text["right"] <= outer["right"]
        assert outer["top"] <= text["top"]
        assert text["bottom"] <= outer["bottom"]
        for other in texts[n + 1 :]:
            if other["top"] >= text["bottom"] - 1:
                break
            apart = other["left"] >= text["right"] - NEAR or other["right"] <= text["left"] + NEAR
            assert apart, f"{text['text']} lies on {other['text']}"
    for segment in drawn["segments"]:
        for label in segment["label"]:
            assert segment["left"] < label["left"]
            assert label["right"] < segment["right"]


# Words


@pytest.mark.parametrize("name", NAMES)
def test_the_exit_code_and_the_reason_are_shown(name: str, traces: dict[str, Path], shown: dict[str, Seen]) -> None:
    told, page = Told(traces[name]), shown[name].page
    words = page.locator("header").inner_text()
    head = page.get_by_role("heading", level=1)
    assert head.is_visible()
    if told.exit:
        assert words.split("\n")[0] == f"exit {told.exit['exit']}"
        assert f"exit {told.exit['exit']}: {head.inner_text()}" == told.exit["why"]
    else:
        assert words.startswith("no end")
        assert told.stages[-1][1] in head.inner_text()
    assert page.locator("tbody tr").count() == len(told.entries) - bool(told.exit)


def tooltip(page: Page) -> str:
    tip = page.locator("#tip")
    return tip.inner_text() if tip.is_visible() else ""


def test_hovering_tells_more(traces: dict[str, Path], shown: dict[str, Seen]) -> None:
    told, it = Told(traces["busy"]), shown["busy"]
    page = it.page
    assert tooltip(page) == ""
    page.locator(".lane .bar").nth(1).hover(position={"x": 3, "y": 5})
    said = tooltip(page).split("\n")
    assert said[0].startswith(f"pid {told.lanes[1]['pid']}: ")
    assert f"exit 7 at {seconds(told.lanes[1]['end'] / 1e9)} ({told.lanes[1]['end']:,} ns)" in said
    assert said[-1] == "its exit code is that of muinit"
    page.locator(".signals .terminate").hover()
    assert tooltip(page).startswith("SIGTERM\n")
    page.locator(".marks").nth(0).locator(".kill").nth(0).hover()
    assert tooltip(page).startswith("SIGKILL\nsent, TERMINATING [step 3 of 3]\nat ")
    page.locator(".segment").nth(2).hover()
    assert tooltip(page).split("\n")[:2] == ["TERMINATING [step 2 of 3]", "SIGTERM, 1 s"]
    page.mouse.move(1, 1)
    assert tooltip(page) == ""
    assert not it.wrong


def test_the_keyboard_tells_more(traces: dict[str, Path], shown: dict[str, Seen]) -> None:
    told, page = Told(traces["two"]), shown["two"].page
    page.locator("section").nth(0).focus()
    heard = [tooltip(page)]
    for _ in range(11):  # five stages, two lanes, three marks, and out of the picture
        page.keyboard.press("Tab")
        heard.append(tooltip(page))
    firsts = [words.partition("\n")[0].partition(":")[0] for words in heard]
    pids = [f"pid {lane['pid']}" for lane in told.lanes]
    stages = [stage for _, stage in told.stages]
    assert firsts == ["", *stages, *pids, "SIGTERM, SIGCONT", "SIGKILL", "", ""][: len(firsts)]
    page.locator(".lane .life").nth(0).focus()
    tip, bar = page.locator("#tip").bounding_box(), page.locator(".lane .bar").nth(0).bounding_box()
    assert tip
    assert bar
    assert tip["y"] >= bar["y"] + bar["height"]
    page.keyboard.press("Escape")
    assert tooltip(page) == ""


def test_without_scripts_the_titles_tell_more(traces: dict[str, Path], browser: Browser) -> None:
    with seen(browser, traces["two"].with_suffix(".html"), java_script_enabled=False) as it:
        titles = it.page.locator(".life > title")
        assert titles.count() == 2
        assert "exit 3 at" in (titles.nth(1).text_content() or "")
        assert it.page.locator(".lane .bar").nth(0).is_visible()


# Looks


CONTRASTS = """() => {
  const linear = (c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const light = (colour) => {
    const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map((c) => linear(c / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (one, other) => {
    const [a, b] = [light(one), light(other)].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05);
  };
  const style = (on) => getComputedStyle(on);
  const paper = style(document.body).backgroundColor;
  const found = [];
  for (const on of document.querySelectorAll("h1, h2, .code, dt, dd, th, td, summary, main p, .stays"))
    found.push(["text", on.tagName, ratio(style(on).color, paper)]);
  for (const on of document.querySelectorAll("svg text")) {
    const under = on.closest(".segment") ? style(on.closest(".segment").querySelector("rect")).fill : paper;
    found.push(["text", on.textContent, ratio(style(on).fill, under)]);
  }
  for (const on of document.querySelectorAll(".lane .bar")) {
    const drawn = on.closest(".alive, .unseen, .missing") ? style(on).stroke : style(on).fill;
    found.push(["shape", on.closest(".lane").dataset.outcome, ratio(drawn, paper)]);
  }
  return {paper: light(paper), found};
}"""


@pytest.mark.parametrize("name", NAMES)
def test_it_can_be_read_in_light_and_dark(name: str, shown: dict[str, Seen]) -> None:
    it = shown[name]
    for scheme in ("light", "dark"):
        it.page.emulate_media(color_scheme=scheme)
        looks = it.page.evaluate(CONTRASTS)
        assert (looks["paper"] > 0.5) == (scheme == "light")
        assert len(looks["found"]) > 20
        assert not [each for each in looks["found"] if each[2] < (4.5 if each[0] == "text" else 3)]
    assert not it.wrong


def test_the_edges_that_were_taken_are_heavier(shown: dict[str, Seen]) -> None:
    widths = """() => [...document.querySelectorAll(".diagram .edge")].map((on) => [
      on.getAttribute("class"), on.dataset.name.replace(/:[ns]/g, ""),
      parseFloat(getComputedStyle(on.querySelector("path")).strokeWidth)])"""
    page = shown["two"].page
    edges = page.evaluate(widths)
    assert page.locator(".diagram svg").bounding_box()
    taken = {title: width for kind, title, width in edges if "untaken" not in kind}
    steps = ["start->RUNNING", "RUNNING->TERMINATING_1", "TERMINATING_1->TERMINATING_2", "TERMINATING_2->DRAINING_2"]
    assert set(steps) < set(taken)
    assert len(taken) == 5
    assert min(taken.values()) >= 2 * max(width for kind, _, width in edges if "untaken" in kind)


def test_a_picture_can_be_shown_in_another_page(traces: dict[str, Path], browser: Browser) -> None:
    picture = traces["two"].with_suffix(".svg")
    holder = picture.with_suffix(".img.html")
    holder.write_text(f'<!doctype html><img src="{picture.name}">')
    page = browser.new_page()
    page.goto(holder.as_uri())
    assert page.evaluate("[document.images[0].naturalWidth, document.images[0].complete]") == [1120, True]
    page.close()


# Safety


@pytest.mark.parametrize("suffix", [".html", ".svg"])
def test_hostile_names_do_nothing(suffix: str, tmp_path: Path, browser: Browser) -> None:
    path = tmp_path / f"run{suffix}"
    path.write_text(hostile(pages.svg if suffix == ".svg" else lambda found: pages.html(found)[0]))
    with seen(browser, path) as it:
        it.page.on("dialog", lambda dialog: it.wrong.append(dialog.message))
        assert it.page.evaluate("document.querySelectorAll('img, iframe, [onerror]').length") == 0
        assert it.page.evaluate("document.scripts.length") == (suffix == ".html")
        assert "<img src=x" in (it.page.locator(".lane").nth(0).text_content() or "")
        assert not it.wrong


def test_the_command_makes_the_same_page(traces: dict[str, Path], tmp_path: Path) -> None:
    program("dot", "graphviz")
    out = tmp_path / "run.html"
    argv = [sys.executable, "-m", "statechart", "timeline", str(traces["two"]), "-o", str(out)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert done.stdout + done.stderr == ""
    assert out.read_text() == traces["two"].with_suffix(".html").read_text()
    assert not re.search(r"\b(src|href)=", out.read_text())
