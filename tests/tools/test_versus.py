"""The field side by side: the recorder, the judgement, and the page, from a few real runs of muinit and the script."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.cast.harness import PATIENCE, alive, status, wait_for
from tests.conftest import need, program, why_no_namespace
from tests.pictures.browser import chromium, seen, why_no_chromium
from tests.tools.versus import page
from tests.tools.versus.__main__ import found
from tests.tools.versus.field import INITS, STORIES, Init, Story
from tests.tools.versus.judge import Cell, Verdict, better, judge
from tests.tools.versus.recorder import CLEANING, CUE
from tests.tools.versus.run import Life, Run, Watch, play

STORY = {story.name: story for story in STORIES}
INIT = {init.name: init for init in INITS}


# The recorder


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log"
    path.touch()
    return path


def recorder(log: Path, *traits: str) -> subprocess.Popen[bytes]:
    file = Path(__file__).with_name("versus") / "recorder.py"
    process = subprocess.Popen([sys.executable, "-I", "-S", file, log, "web", *traits])
    wait_for(lambda: "web started" in log.read_text())
    return process


def words(log: Path) -> list[str]:
    return [line.split(maxsplit=2)[2] for line in log.read_text().splitlines()]


def test_a_program_cleans_up_and_writes_that_down(log: Path) -> None:
    process = recorder(log)
    process.terminate()
    wait_for(lambda: "got SIGTERM" in log.read_text())
    process.send_signal(signal.SIGQUIT)
    assert process.wait(PATIENCE) == 0
    assert words(log) == ["web started", "web got SIGTERM", "web got SIGQUIT", "web cleaned up", "web exits 0"]
    times = [int(line.split()[0]) / 1e9 for line in log.read_text().splitlines()]
    assert times[3] - times[1] >= CLEANING


def test_a_program_exits_on_its_cue(log: Path) -> None:
    process = recorder(log, "code=3")
    process.send_signal(CUE)
    assert process.wait(PATIENCE) == 3
    assert words(log) == ["web started", "web exits 3"]


def test_a_deaf_program_writes_down_what_it_ignores(log: Path) -> None:
    process = recorder(log, "deaf")
    process.terminate()
    wait_for(lambda: "got SIGTERM" in log.read_text())
    process.kill()
    process.wait(PATIENCE)
    assert words(log) == ["web started", "web got SIGTERM"]


# The judgement


def verdict(name: str, run: Run, init: str = "muinit") -> Verdict:
    return judge(STORY[name], INIT[init], run)


def life(name: str, *signals: str, code: int | None = 0) -> Life:
    cleaned = 0.3 if signals and code == 0 else None
    return Life(name, 2, -1, [(0.0, each) for each in signals], cleaned, code, 0.3)


WELL = [life("web", "SIGTERM"), life("worker", "SIGTERM")]
THREE = [life("web", "SIGTERM"), life("worker", code=3)]
DEAF = [life("web", "SIGTERM"), life("worker", "SIGTERM", code=None)]
UNASKED = [life("web", code=None), life("worker", code=None)]
CUT = [life("web", "SIGTERM", code=None), life("worker", "SIGTERM", code=None)]


@pytest.mark.parametrize(
    ("story", "lives", "code"),
    [
        *[("stop", WELL, 0), ("stop", WELL, 143), ("quit", WELL, 131)],
        *[("fails", THREE, 3), ("deaf", DEAF, 137), ("frozen", WELL, 0)],
    ],
)
def test_all_is_well_if_all_were_asked_and_the_status_is_true(story: str, lives: list[Life], code: int) -> None:
    found = verdict(story, Run(lives, 0.4, code))
    assert (found.reasons, found.short) == ([], ["all well"])


@pytest.mark.parametrize(
    ("story", "run", "reason"),
    [
        ("stop", Run(UNASKED, 0.1, 143), "web and worker were killed without being asked"),
        ("fails", Run([UNASKED[0], THREE[1]], 0.1, 3), "web was killed without being asked"),
        ("stop", Run(CUT, 0.1, 143), "web and worker were killed before the 0.3 s that cleaning up takes were over"),
        ("deaf", Run([CUT[0], DEAF[1]], 0.1, 143), "web was killed before the 0.3 s that cleaning up takes were over"),
        ("frozen", Run([WELL[0], UNASKED[1]], 2.0, 0), "worker was killed without being continued"),
        ("fails", Run(THREE, 0.4, 0), "exit 0, although worker exited 3"),
        ("oom", Run([WELL[0], life("worker", code=None)], 0.4, 0), "exit 0, although worker was killed"),
        ("done", Run(WELL, 0.4, 1), "exit 1, although nothing failed"),
        ("done", Run(WELL, 0.4, 143), "exit 143, although nothing failed"),
        ("stop", Run(WELL, 0.4, 131), "exit 131, although nothing failed"),
        ("stop", Run(WELL, 10, 137, killed=True), "PID 1 did not end, and was killed after 10 s, as docker stop does"),
    ],
)
def test_what_is_red_has_a_reason(story: str, run: Run, reason: str) -> None:
    assert verdict(story, run).reasons == [reason]


def test_a_program_that_was_killed_too_soon_to_write_down_its_signal_was_asked() -> None:
    """dumb-init signals the process group, and then exits at once; a daemon has a group of its own."""
    assert verdict("stop", Run(UNASKED, 0, 143), "dumb-init").short == ["2 cut off"]
    assert verdict("stop", Run(UNASKED, 0, 143), "tini").short == ["2 killed unasked"]
    lives = [*THREE[:1], life("daemon", code=None)]
    assert verdict("daemon", Run(lives, 0, 0), "dumb-init").short == ["1 killed unasked"]


def test_an_init_that_restarts_is_not_red() -> None:
    found = verdict("fails", Run([*THREE, life("worker", "SIGTERM")], 1.5, 0, stopped=1.0))
    assert (found.bad, found.short) == (False, ["restarts it"])
    assert verdict("done", Run(WELL, 2.5, 0, stopped=2.0)).short == ["goes on"]


def test_a_cell_shows_its_worst_run_and_says_how_the_runs_differ() -> None:
    cell = Cell(STORY["stop"], INIT["honcho"], [Run(WELL, 0.3, 0), Run(UNASKED, 0.1, 143), Run(WELL, 0.3, 0)])
    assert (cell.kind, cell.worst, cell.short) == ("bad", 1, "2 killed unasked (in 1 of 3 runs)")
    assert cell.exits == "0 or 143"
    why = "web and worker were killed without being asked"
    assert cell.differs == f"In 2 of 3 runs: exit 0; all well. In 1 of 3 runs: exit 143; {why}"


def test_it_is_said_where_a_peer_is_better() -> None:
    ours = Cell(STORY["stop"], INIT["muinit"], [Run(WELL, 2.3, 0)])
    peer = Cell(STORY["stop"], INIT["s6"], [Run(WELL, 0.3, 0)])
    assert better(peer, ours) == "faster than muinit, which takes 2.3 s"
    red = Cell(STORY["stop"], INIT["muinit"], [Run(UNASKED, 0.3, 0)])
    assert better(peer, red) == "better than muinit: all well"
    assert not better(red, peer)


# Real runs


@pytest.fixture(scope="module")
def few() -> page.Field:
    need("a PID namespace", why_no_namespace())
    program("bash", "bash")
    missing = replace(INIT["tini"], name="missing", program="/no/such/thing")
    return found([STORY["fails"], STORY["daemon"]], [INIT["script"], missing, INIT["muinit"]], 1)


def test_muinit_asks_all_before_it_exits() -> None:
    need("a PID namespace", why_no_namespace())
    run = play(STORY["stop"], INIT["muinit"])
    assert verdict("stop", run) == Verdict([], ["all well"], [])
    assert [(each.name, [name for _, name in each.signals], each.code) for each in run.lives] == [
        ("web", ["SIGTERM"], 0),
        ("worker", ["SIGTERM"], 0),
    ]


@pytest.mark.parametrize(
    ("story", "init", "expected"),
    [
        ("fails", "muinit", "✓ all well; exit 3"),
        ("fails", "script", "✗ 1 killed unasked; exit 3"),
        ("daemon", "muinit", "✓ all well; exit 0"),
        ("daemon", "script", "✗ 2 killed unasked; exit 0"),
    ],
)
def test_the_cells_of_muinit_and_of_the_script(few: page.Field, story: str, init: str, expected: str) -> None:
    cell = few.cells[story, init]
    assert page.text(cell).rpartition(";")[0] == expected, cell.run.said
    assert f" {page.text(cell)} |" in page.markdown(few)


def test_what_is_not_installed_is_left_out_with_the_reason(few: page.Field) -> None:
    why = "missing: /no/such/thing is not installed"
    assert few.left_out == [why]
    assert why in page.markdown(few)
    assert why in page.html(few)


def test_nothing_is_left_of_a_run_that_is_broken_off(tmp_path: Path) -> None:
    need("a PID namespace", why_no_namespace())
    watch = Watch(STORY["orphans"], INIT["muinit"], tmp_path)
    watch.until_ready(STORY["orphans"].names, "", 0)
    pids = list(watch.outside.values())
    assert len(pids) == 4
    watch.close()
    assert not any(alive(status(pid)) for pid in pids)


# The page


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    need("Chromium", why_no_chromium())
    with chromium() as started:
        yield started


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_has_a_cell_for_each_story_and_init(
    browser: Browser, few: page.Field, tmp_path: Path, scheme: str
) -> None:
    path = tmp_path / "versus.html"
    path.write_text(page.html(few))
    with seen(browser, path, color_scheme=scheme) as it:
        table = it.page.get_by_role("table")
        assert table.get_by_role("columnheader").all_inner_texts() == ["PID 1", *(s.title for s in few.stories)]
        assert table.get_by_role("rowheader").count() == len(few.inits)
        for story in few.stories:
            for init in few.inits:
                check(it.page.locator(f"td a[href='#{page.key(story, init)}']").inner_text(), few, story, init)
                figure = it.page.locator(f"#{page.key(story, init)}").inner_text()
                assert all(reason in figure for reason in few.cell(story, init).verdict.reasons)
                assert all(f"{name}: " in figure for name in ["PID 1", *story.names])
        it.page.keyboard.press("Tab")
        it.page.keyboard.press("Tab")
        assert it.page.evaluate("document.activeElement.hash") == f"#{page.key(few.stories[0], few.inits[0])}"
        it.page.keyboard.press("Enter")
        assert it.page.locator("figure:target").count() == 1
        assert it.page.evaluate("getComputedStyle(document.body).backgroundColor") != (
            "rgb(255, 255, 255)" if scheme == "dark" else "rgb(13, 17, 23)"
        )
        assert it.wrong == []


def check(shown: str, few: page.Field, story: Story, init: Init) -> None:
    cell = few.cell(story, init)
    assert page.SIGN[cell.kind] in shown
    assert cell.short in shown
    assert f"exit {cell.exits}" in shown
