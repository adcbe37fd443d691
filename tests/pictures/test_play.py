"""The page on which the lifecycle is played, without a browser: its data says what the machine does."""

from __future__ import annotations

import json
import re
import sys
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import pytest

from statechart import __main__ as command_line
from statechart import options
from statechart.chart import CHART
from statechart.pictures import page, play
from statechart.pictures.diagram import rows
from statechart.pictures.play import Game
from statechart.traces.read import read
from statechart.traces.replay import replay
from statechart.words.phrases import guarded
from tests.pictures.played import Directly, FromData, history

pytestmark = pytest.mark.xdist_group("play")  # the data is computed once for all
MEBIBYTE = 1 << 20
HISTORIES = 150
SOME = ["", "-k HUP@tree,KILL -t 0.5", "-k KILL:0,INT:90,KILL:0", "-k KILL -t inf", "-k INT,TERM -t 4000"]


def game_of(words: str) -> Game:
    given = dict(zip(words.split()[::2], words.split()[1::2], strict=True))
    steps = options.steps("-k", given.get("-k", options.STEPS))
    each = options.seconds("-t", given.get("-t", options.TIMEOUT))
    numbers, targets, times = zip(*steps, strict=True)
    return Game(numbers, [each if time is None else time for time in times], targets, argv=["muinit", *words.split()])


@cache
def data_of(words: str) -> Any:
    return json.loads(json.dumps(game_of(words).data()))


@pytest.mark.untraced
@pytest.mark.parametrize("words", SOME)
def test_the_data_says_what_the_machine_does(words: str) -> None:
    game, data = game_of(words), data_of(words)
    for seed in range(HISTORIES):
        played = FromData(data)
        assert played.possible == {each.name for each in Directly(game.world).possible}
        for happening, _, moment in history(game, Random(seed)):
            assert played.take(happening.name, moment.at) == moment, f"seed {seed}"


@pytest.mark.untraced
@pytest.mark.parametrize("words", SOME)
def test_the_trace_of_a_history_is_accepted_by_replay(words: str) -> None:
    game, header = game_of(words), data_of(words)["header"]
    for seed in range(HISTORIES // 10):
        moments = [moment for _, _, moment in history(game, Random(seed))]
        last = moments[-1]
        end = {"t": last.at, "exit": last.exit, "why": last.why, "survivors": last.survivors}
        lines = [f"{json.dumps(each)}\n" for each in (header, *(moment.entry for moment in moments), end)]
        assert replay(read(lines)).code == last.exit


@pytest.mark.untraced
def test_every_row_that_two_commands_can_take_is_taken() -> None:
    data = data_of("")
    taken = set()
    for (look, _), moves in zip(data["situations"], data["moves"], strict=True):
        state = data["looks"][look]["stage"].partition(" ")[0]
        for number, outcome in zip(moves[::3], moves[2::3], strict=True):
            event = data["happenings"][number]["entry"]["event"]
            taken.add((state, guarded(event, data["outcomes"][outcome][1])))
    all_rows = {(arc.source, guarded(name, arc.guard)) for name, arc in rows()}
    cannot_happen = {
        *((state, "drained") for state in ("RUNNING", "TERMINATING")),  # a command is a child
        ("RUNNING", "timeout"),
        ("DRAINING", "command_ended"),
        ("TERMINATING", "command_ended [leaves_sidecars]"),  # neither of the two is a sidecar
        ("TERMINATING", "timeout [sidecars_left]"),
        ("RUNNING", "command_ended [may_go_on]"),  # neither of the two may end
    }
    assert taken == all_rows - cannot_happen - {("RUNNING", "command_ended [last_command]")}
    assert {event for _, event in taken if "[" not in event} == set(CHART.events)


@pytest.mark.untraced
def test_every_guard_and_action_says_what_it_is() -> None:
    words = data_of("")["words"]
    assert set(words) == {name for _, arc in rows() for name in (arc.guard, *arc.actions) if name}
    assert all(sentence.endswith(".") for sentence in words.values())


def test_names_of_happenings_are_fit_for_links() -> None:
    names = [it.name for it in game_of("-k 40,TERM,KILL").world.happenings]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9+-]+", name) for name in names)
    assert "web-dies-of-SIGRTMIN+6" in names


@pytest.mark.untraced
def test_the_page_is_small_and_needs_nothing_else() -> None:
    text, _ = page.play(game_of(""))
    answers = sum(map(len, data_of("")["moves"])) // 3
    assert len(text.encode()) / answers * play.MOST_MOVES < MEBIBYTE
    assert not re.search(r"\b(src|href)=|https?://(?!www\.w3\.org)", text)
    assert "default-src 'none'" in text
    assert text.count("<script") == text.count("</script") == 2


def test_the_diagram_has_every_stage_and_every_edge() -> None:
    game = game_of("")
    drawing = game.drawing()
    assert [box.title for box in drawing.boxes] == [*map(str, game.unfolded.states)]
    assert [arrow.label for arrow in drawing.arrows] == [event for _, event, _ in game.unfolded.edges]
    ids = {box.id for box in drawing.boxes}
    assert ids >= {end for arrow in drawing.arrows for end in (arrow.source, arrow.target)} | {drawing.end}


def test_without_graphviz_the_states_are_a_list(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    page._templates.cache_clear()  # a test without coverage may have been the first to make them
    text, lacks = page.play(game_of("-k KILL"))
    assert lacks == page.GRAPHVIZ
    assert lacks in text
    assert '<ol id="stages">' in text
    assert page.play(game_of("-t inf -k " + ",".join(["HUP"] * 13)))[1] == (
        "The diagram is left out: 13 steps are more than it can show."
    )


# The command


def run_tool(monkeypatch: pytest.MonkeyPatch, *words: object) -> None:
    monkeypatch.setattr(sys, "argv", ["statechart", *map(str, words)])
    command_line.main()


def test_the_command_writes_a_page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    out = tmp_path / "play.html"
    run_tool(monkeypatch, "play", "-k", "TERM@group:inf", "--timeout", "1", "-o", out)
    text = out.read_text()
    assert "muinit -k TERM@group:inf -t 1 --- web --- worker" in text
    run_tool(monkeypatch, "play", "-k", options.STEPS, "-t", "inf", "-o", out)
    assert "<code>muinit -t inf --- web --- worker</code>" in out.read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("-k TERM,NOPE -o x.html", "play -k 'TERM,NOPE': 'NOPE' is not a signal; expected names"),
        ("-k TERM@nobody -o x.html", "play -k 'TERM@nobody': 'nobody' is not a target"),
        ("-t soon -o x.html", "play -t 'soon': expected seconds, 0 or more (2, 0.5, inf)"),
        ("-o x.svg", "x.svg: expected a name that ends in .html"),
        ("-t inf -k KILL -o /no/such/folder/x.html", "/no/such/folder/x.html: No such file or directory"),
        ("-o x.html", "play -k 'TERM,KILL': more than 3,000 answers, which a page cannot hold; expected fewer signals"),
    ],
)
def test_an_error_is_one_line(words: str, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(play, "MOST_MOVES", 3000)
    with pytest.raises(SystemExit) as exited:
        run_tool(monkeypatch, "play", *words.split())
    assert str(exited.value).startswith(f"python -m statechart: {said}")
    assert "\n" not in str(exited.value)
    assert not [*tmp_path.iterdir()]


def test_without_jinja(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "statechart.pictures.page")
    monkeypatch.delattr("statechart.pictures.page")
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(SystemExit, match="play needs Jinja2: pip install"):
        run_tool(monkeypatch, "play", "-o", "x.html")
