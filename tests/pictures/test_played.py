"""The page on which the lifecycle is played, in a real Chromium: it shows what the machine does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from statechart.pictures import page as pages
from statechart.pictures.play import Game
from statechart.pictures.search import box
from statechart.traces.read import read, stage
from statechart.traces.replay import replay
from statechart.words.phrases import seconds
from tests.cast.harness import PATIENCE
from tests.cast.traces import checked
from tests.conftest import need, program
from tests.pictures.browser import Seen, chromium, seen, two, why_no_chromium
from tests.pictures.played import NANO, Moment, history
from tests.pictures.test_browser import CONTRASTS
from tests.pictures.test_play import game_of

pytestmark = [
    pytest.mark.untraced,
    pytest.mark.xdist_group("played"),  # one Chromium for all
]
HISTORIES = 12
COPY = {"permissions": ["clipboard-read", "clipboard-write"]}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    need("Chromium", why_no_chromium())
    program("dot", "graphviz")
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def games(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Game, Path]]:
    found = {}
    for words in ("", "-k INT:0,TERM:90"):
        game = game_of(words)
        path = tmp_path_factory.mktemp("play") / "play.html"
        path.write_text(pages.play(game)[0])
        found[words] = (game, path)
    return found


@pytest.fixture
def shown(browser: Browser, games: dict[str, tuple[Game, Path]]) -> Iterator[Seen]:
    with seen(browser, games[""][1], **COPY) as it:
        yield it
        assert not it.wrong


SHOWN = """() => {
  const text = (on) => on.textContent.trim();
  const texts = (what) => [...document.querySelectorAll(what)].map(text);
  const named = (what) => [...document.querySelectorAll(what)].map((on) => on.dataset.name.replace(/:[ns]/g, ""));
  return {
    stage: text(document.getElementById("stage")), time: text(document.getElementById("time")),
    clock: text(document.getElementById("clock")), exit: text(document.getElementById("exit")),
    event: texts("#said .event").join(), sent: texts("#said .sent"), story: texts("#said .story"),
    why: texts("#said .why").join(),
    taken: [...document.querySelectorAll("#rows .taken td")].map(text), tried: texts("#rows tbody td:first-child"),
    docs: texts("#docs dt"),
    possible: [...document.querySelectorAll("#happenings button[aria-disabled=false]")].map((on) => on.id),
    here: named(".diagram .here"), took: named(".diagram .took:not(text)"), label: texts(".diagram text.took"),
    history: texts("#history tr"), current: texts("#history tr[aria-current]").length,
  };
}"""


def state(it: Seen) -> Any:
    return it.page.evaluate(SHOWN)


def press(page: Page, *names: str) -> None:
    """Press buttons, also those that say that they are disabled: otherwise Playwright waits until they are not."""
    for name in names:
        page.locator(f'[id="{name}"]').click(force=True)


def told(it: Seen, words: str) -> None:
    """Wait until the page says this."""
    expect(it.page.locator("#shared")).to_contain_text(words, timeout=PATIENCE * 1000)


def is_shown(found: dict[str, Any], moment: Moment, before: str) -> None:
    """What the page shows is what the machine did."""
    assert found["stage"] == moment.stage
    assert found["time"] == seconds(moment.at / NANO)
    assert found["clock"] == ("none" if moment.due is None else f"until {seconds(moment.due / NANO)}")
    assert found["event"] == f"{seconds(moment.at / NANO)}: {moment.event}"
    assert found["sent"] == moment.effects
    assert found["story"] == [f"muinit: {line}" for line in moment.story]
    assert found["exit"] == ("—" if moment.exit is None else str(moment.exit))
    assert found["why"] == (f"muinit: {moment.why}" if moment.why else "")
    assert set(found["possible"]) == moment.possible
    assert found["taken"][0] == moment.entry["guard"]
    assert found["taken"][0] in found["tried"]
    assert found["here"] == [box(stage(moment.stage))]
    if found["taken"][2].startswith("nothing: "):
        assert found["took"] == found["label"] == []
    else:
        assert found["took"] == [f"{box(stage(before))}->{box(stage(moment.stage))}"]
        assert found["label"] == [moment.event.partition(": ")[0]]


@pytest.mark.parametrize("words", ["", "-k INT:0,TERM:90"])
def test_random_histories_are_those_of_the_machine(
    words: str, browser: Browser, games: dict[str, tuple[Game, Path]]
) -> None:
    game, path = games[words]
    with seen(browser, path, **COPY) as it:
        for seed in range(HISTORIES):
            press(it.page, "anew") if seed else None
            before, moments = "RUNNING", []
            for happening, pace, moment in history(game, Random(seed)):
                it.page.locator("#pace").fill(str(pace / NANO))
                press(it.page, happening.name)
                found = state(it)
                is_shown(found, moment, before)
                before = moment.stage
                moments.append(moment)
            assert len(found["history"]) == len(moments) + 1
            press(it.page, "copy-trace")
            told(it, "Copied the trace.")
            lines = it.page.evaluate("navigator.clipboard.readText()").splitlines(keepends=True)
            assert [json.loads(line) for line in lines[1:-1]] == [moment.entry for moment in moments]
            assert checked(lines)[-1]["why"] == moments[-1].why
        assert not it.wrong


DEATH = ["worker-exits-3", "time-is-up-and-the-job-was-not-asked", "web-dies-of-SIGTERM"]


def test_back_and_forward_and_another_way(shown: Seen) -> None:
    seen_then = [state(shown)]
    for name in DEATH:
        press(shown.page, name)
        seen_then.append(state(shown))
    assert seen_then[-1]["stage"] == "DRAINING [step 1 of 2, again]"
    for expected in reversed(seen_then[:-1]):
        press(shown.page, "back")
        found = state(shown)
        assert {**found, "history": 0} == {**expected, "history": 0}
        assert found["history"] == seen_then[-1]["history"], "what was gone back from can be gone to again"
    press(shown.page, "back")  # there is nothing before the start
    for expected in seen_then[1:]:
        press(shown.page, "forward")
        assert {**state(shown), "history": 0} == {**expected, "history": 0}
    press(shown.page, "forward", "anew", "muinit-SIGTERM-arrives")
    assert len(state(shown)["history"]) == 2
    press(shown.page, "forward")
    assert state(shown)["event"] == "0.1 s: terminate: SIGTERM"


def test_what_cannot_happen_does_nothing(shown: Seen) -> None:
    before = state(shown)
    press(shown.page, "time-is-up", "children-are-all-gone", "back", "forward")
    assert state(shown) == before


def test_a_link_restores_the_history(shown: Seen, browser: Browser, games: dict[str, tuple[Game, Path]]) -> None:
    shown.page.locator("#pace").fill("0.3")
    press(shown.page, *DEATH, "copy-link")
    told(shown, "Copied the link.")
    link = shown.page.evaluate("navigator.clipboard.readText()")
    assert link == shown.page.url
    assert link.endswith("#worker-exits-3@0.3,time-is-up-and-the-job-was-not-asked@2.3,web-dies-of-SIGTERM@2.6")
    with seen(browser, games[""][1]) as other:
        other.page.evaluate("(hash) => { location.hash = hash; }", link.partition("#")[2])
        expect(other.page.locator("#time")).to_have_text("2.6 s", timeout=PATIENCE * 1000)
        assert state(other) == state(shown)
        other.page.reload()
        assert state(other) == state(shown)
        assert not other.wrong


@pytest.mark.parametrize(
    ("link", "stage_then", "said"),
    [
        ("#web-exits-3@0.1,web-exits-3@0.2", "TERMINATING [step 1 of 2]", "web-exits-3@0.2"),
        ("#nobody@1", "RUNNING", "nobody@1"),
        ("#<img src=x onerror=alert(1)>", "RUNNING", "<img src=x onerror=alert(1)>"),
        ("#%E0%A4%A", "RUNNING", "%E0%A4%A"),
    ],
)
def test_a_link_that_does_not_fit(link: str, stage_then: str, said: str, shown: Seen) -> None:
    shown.page.evaluate("(hash) => { location.hash = hash; }", link)
    told(shown, said)
    assert state(shown)["stage"] == stage_then


def test_the_times_of_a_link_stay_within_the_clock(shown: Seen) -> None:
    """An event cannot come before the one before it, nor after the clock has run out."""
    link = "web-exits-3@5,muinit-SIGINT-arrives@1,time-is-up@99,muinit-SIGINT-arrives@99"
    shown.page.evaluate("(hash) => { location.hash = hash; }", link)
    expect(shown.page.locator("#time")).to_have_text("9 s", timeout=PATIENCE * 1000)
    assert [line.split(" s")[0] for line in state(shown)["history"]] == ["0", "5", "5", "7", "9"]


def test_the_keyboard_is_enough(shown: Seen) -> None:
    page = shown.page
    page.locator('[id="back"]').focus()
    for _ in range(20):
        if page.evaluate("document.activeElement.id") == "web-exits-3":
            break
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert state(shown)["stage"] == "TERMINATING [step 1 of 2]"
    assert page.evaluate("document.activeElement.id") == "web-exits-3", "the focus stays"
    assert page.locator('[id="web-exits-3"]').get_attribute("aria-disabled") == "true"
    page.keyboard.press("Space")
    assert len(state(shown)["history"]) == 2
    page.keyboard.press("ArrowLeft")
    assert state(shown)["stage"] == "RUNNING"
    page.keyboard.press("ArrowRight")
    assert state(shown)["stage"] == "TERMINATING [step 1 of 2]"
    page.locator("#pace").focus()
    page.keyboard.press("ArrowLeft")
    assert state(shown)["stage"] == "TERMINATING [step 1 of 2]", "in a field, the arrows move the cursor"
    page.locator("#history button").nth(0).focus()
    page.keyboard.press("Enter")
    assert state(shown)["stage"] == "RUNNING"
    assert page.evaluate("document.activeElement.textContent") == "start"


def test_a_screen_reader_hears_what_happened(shown: Seen) -> None:
    press(shown.page, "web-exits-3")
    said = shown.page.locator("[aria-live=polite]")
    assert said.locator("p").all_inner_texts()[:3] == [
        "0.1 s: command_ended: pid 7 (web) exited 3",
        "RUNNING → TERMINATING [step 1 of 2]",
        "SIGTERM, SIGCONT to every child",
    ]
    nameless = """() => [...document.querySelectorAll("button, input, [tabindex]")].filter((on) =>
      !(on.getAttribute("aria-label") || on.labels?.length || on.textContent.trim())).length"""
    assert shown.page.evaluate(nameless) == 0
    assert shown.page.get_by_role("button", name="web exits 3").count() == 1
    assert shown.page.get_by_role("img", name="The lifecycle").count() == 1


def test_a_recorded_trace_is_stepped_through(shown: Seen, tmp_path: Path) -> None:
    press(shown.page, "web-exits-3")
    played = state(shown)
    trace = tmp_path / "run.jsonl"
    two(trace)
    header, *entries, end = map(json.loads, trace.read_text().splitlines())
    shown.page.locator("#open").set_input_files(trace)
    told(shown, "Opened run.jsonl.")
    assert shown.page.locator("#recorded").inner_text() == " ".join(header["argv"])
    assert not shown.page.locator("#happenings").is_visible()
    found = state(shown)
    assert (found["stage"], found["possible"], found["event"]) == ("RUNNING", [], "")
    for entry in entries:
        press(shown.page, "forward")
        found = state(shown)
        assert found["stage"] == entry["after"]
        assert found["time"] == seconds(entry["t"] / NANO)
        assert found["event"].startswith(f"{found['time']}: {entry['event']}")
        assert found["taken"][0] == entry["guard"]
        assert found["here"] == [box(stage(entry["after"]))]
        assert [words.partition(" ")[0] for words in found["sent"]] == [it["effect"] for it in entry["effects"]]
    assert found["exit"] == "3"
    assert found["why"] == f"muinit: {end['why']}"
    press(shown.page, "close")
    assert state(shown) == played


def test_a_trace_of_other_steps_with_a_gap_and_without_an_end(shown: Seen, tmp_path: Path) -> None:
    step = {"effect": "step", "signals": ["SIGHUP"], "pids": None, "target": "child"}
    first, second = "TERMINATING [step 1 of 5]", "TERMINATING [step 2 of 5]"
    lines = [
        {"schema": 1, "argv": ["muinit"]},
        {"t": 1, "event": "terminate", "signal": "SIGTERM", "before": "RUNNING", "guard": "", "after": first}
        | {"effects": [step, {"effect": "clock", "seconds": None}]},
        {"dropped": 7},
        {"t": 9, "event": "timeout", "unasked": [], "before": first, "guard": "step_left", "after": second}
        | {"effects": []},
    ]
    trace = tmp_path / "cut.jsonl"
    trace.write_text("".join(f"{json.dumps(line)}\n" for line in lines) + '{"t": 10, "ev')
    shown.page.locator("#open").set_input_files(trace)
    told(shown, "Opened cut.jsonl.")
    press(shown.page, "forward")
    found = state(shown)
    assert (found["stage"], found["here"], found["took"], found["clock"]) == (first, [], [], "none")
    assert found["sent"] == ["step signals SIGHUP, target child", "clock"]
    press(shown.page, "forward")
    assert "7 lines were dropped here" in state(shown)["event"]
    press(shown.page, "forward", "forward")
    assert state(shown)["stage"] == second


@pytest.mark.parametrize(("text", "said"), [("", "of schema 1"), ("{\n", "JSON"), ("[]\n{}\n", "of schema 1")])
def test_a_file_that_is_not_a_trace(text: str, said: str, shown: Seen, tmp_path: Path) -> None:
    trace = tmp_path / "x.jsonl"
    trace.write_text(text)
    shown.page.locator("#open").set_input_files(trace)
    told(shown, "x.jsonl cannot be read: ")
    told(shown, said)
    press(shown.page, "web-exits-3")
    assert state(shown)["stage"] == "TERMINATING [step 1 of 2]"


def test_a_trace_can_be_saved_and_opened_again(shown: Seen, tmp_path: Path) -> None:
    press(shown.page, *DEATH)
    with shown.page.expect_download() as download:
        press(shown.page, "save-trace")
    assert download.value.suggested_filename == "played.jsonl"
    download.value.save_as(tmp_path / "played.jsonl")
    with (tmp_path / "played.jsonl").open() as file:
        assert str(replay(read(file)).stage) == "DRAINING [step 1 of 2, again]"
    shown.page.locator("#open").set_input_files(tmp_path / "played.jsonl")
    told(shown, "Opened played.jsonl")
    press(shown.page, "forward", "forward", "forward")
    assert state(shown)["stage"] == "DRAINING [step 1 of 2, again]"


def test_it_can_be_read_in_light_and_dark_and_on_a_narrow_screen(shown: Seen) -> None:
    press(shown.page, *DEATH)
    for scheme in ("light", "dark"):
        shown.page.emulate_media(color_scheme=scheme)
        looks = shown.page.evaluate(CONTRASTS)
        assert (looks["paper"] > 0.5) == (scheme == "light")
        assert len(looks["found"]) > 20
        assert not [each for each in looks["found"] if each[2] < 4.5]
    for width in (320, 600, 1000, 1600):
        shown.page.set_viewport_size({"width": width, "height": 900})
        assert shown.page.evaluate("document.documentElement.scrollWidth") <= width


def test_without_graphviz_the_states_are_a_list(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "play.html"
    with monkeypatch.context() as patched:
        patched.setenv("PATH", str(tmp_path))
        path.write_text(pages.play(game_of("-k KILL"))[0])
    with seen(browser, path) as it:
        here = it.page.locator("#stages .here")
        assert here.inner_text() == "RUNNING"
        press(it.page, "web-exits-3")
        assert here.inner_text() == "TERMINATING [step 1 of 1]"
        assert not it.wrong


def test_a_press_is_answered_at_once(shown: Seen) -> None:
    """When the press returns, the page shows the new state: nothing is left for later."""
    seen = shown.page.evaluate("""() => ["web-exits-3", "back"].map((id) => {
      document.getElementById(id).click();
      return document.querySelector("#stage").textContent;
    })""")
    assert seen == ["TERMINATING [step 1 of 2]", "RUNNING"]
