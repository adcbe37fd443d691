"""The lifecycle with given options: the diagram shows what really runs."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muinit import signals
from muinit.options import parse
from statechart.chart import State
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
from statechart.lifecycle import POLICIES, Command, Decision, Lifecycle
from statechart.pictures import search
from statechart.pictures.diagram import rows
from statechart.pictures.search import Unfolded
from statechart.values import Stage
from tests.cast.harness import MUINIT, PATIENCE, Run, alive, kid, status, wait_for
from tests.conftest import program
from tests.proofs import verify

HUP, INT, KILL, TERM = 1, 2, 9, 15
STOP = [3, TERM, 30, 37]  # by default
T, D = "TERMINATING [step {} of {}]", "DRAINING [step {} of {}]"
Row = tuple[str, str, str, str]  # the state before, the event, its guard, the state after

ACTING: set[Row] = {(arc.source, name, arc.guard, arc.dest or arc.source) for name, arc in rows() if arc.actions}


def unfolded(options: str = "", commands: int = 2, *roles: str) -> Unfolded:
    parsed = parse(["--diagram", *options.split()])
    steps = [number for number, _, _ in parsed.steps]
    return Unfolded(steps, parsed.times, parsed.forwarded or [INT], signals.name, [""] * commands + [*roles], stop=STOP)


def worded(edges: Iterable[search.Edge]) -> list[tuple[str, str, str]]:
    return [(str(before), event, str(after)) for before, event, after in edges]


def rows_of(found: Unfolded) -> set[Row]:
    split = ((before, *event.partition(" "), after) for before, event, after in worded(found.edges))
    return {
        (before.partition(" ")[0], event, guard.strip("[]"), after.partition(" ")[0])
        for before, event, _, guard, after in split
    }


DEFAULTS = unfolded()
TIMES = "\N{MULTIPLICATION SIGN}"


# What the search finds


MAY_END = {row for row in ACTING if row[2] == "may_go_on"}
SIDECARS = {row for row in ACTING if row[2] in ("leaves_sidecars", "sidecars_left")}
SIDECARS |= {("DRAINING", "command_ended", "", "DRAINING")}


@pytest.mark.parametrize("options", ["", "-t 0", "-k TERM,INT,KILL -t 5 -s HUP,INT", "-k HUP,HUP,KILL,TERM"])
def test_the_edges_are_the_rows_that_act(options: str) -> None:
    assert rows_of(unfolded(options)) == ACTING - MAY_END - SIDECARS
    assert rows_of(unfolded(options, 2, "may-end")) == ACTING - SIDECARS
    assert rows_of(unfolded(options, 2, "sidecar")) == ACTING - MAY_END
    assert rows_of(unfolded(options, 2, "sidecar", "may-end")) == ACTING


NOBODY_IS_ASKED_LATE = {row for row in ACTING if row[2] == "some_unasked"}
NO_CLOCK = {row for row in ACTING if row[1] == "timeout"}
NO_STEP_LEFT = {row for row in ACTING if row[2] == "step_left"}
NO_OTHER_COMMAND = {
    ("RUNNING", "command_ended", "", "TERMINATING"),
    ("TERMINATING", "command_ended", "", "TERMINATING"),
}


@pytest.mark.parametrize(
    ("options", "commands", "missing"),
    [
        ("-t inf", 2, NO_CLOCK),
        ("-k KILL", 2, NO_STEP_LEFT | NOBODY_IS_ASKED_LATE),
        ("-k KILL,HUP,HUP,KILL", 2, NOBODY_IS_ASKED_LATE),
        ("-k TERM -t 0", 2, NO_STEP_LEFT),
        ("", 1, NO_OTHER_COMMAND),
        ("-k TERM -t inf", 1, NO_CLOCK | NO_OTHER_COMMAND),
    ],
)
def test_rows_that_the_options_cannot_reach_are_not_edges(options: str, commands: int, missing: set[Row]) -> None:
    assert rows_of(unfolded(options, commands)) == ACTING - MAY_END - SIDECARS - missing


def stages(steps: int, reached: int, again: int = 0) -> list[str]:
    """All stages up to step `reached`. `again` is the step whose time can run once more."""
    reach = [str(n) for n in range(1, reached + 1)]
    found = ["RUNNING"]
    for state in (T, D):
        for n in reach:
            found.append(state.format(n, steps))
            found += [state.format(n, f"{steps}, again")] if n == str(again) else []
    return [*found, "EXITED"]


def test_the_stages_are_in_the_order_of_a_run() -> None:
    assert [*map(str, unfolded("-k " + ",".join(["INT"] * 11)).states)] == stages(11, 11, again=11)
    assert [*map(str, unfolded("-k INT,INT,KILL,INT").states)] == stages(4, 4, again=2)
    assert [*map(str, unfolded("-t inf").states)] == stages(2, 1)


def test_a_state_says_what_its_step_sent_and_how_long_it_waits() -> None:
    states = unfolded("-k TERM,KILL -t 0.5").states
    assert {str(stage): words for stage, words in states.items()} == {
        "RUNNING": [],
        "TERMINATING [step 1 of 2]": ["SIGTERM, SIGCONT to every child", "clock 0.5 s"],
        "TERMINATING [step 1 of 2, again]": ["SIGTERM, SIGCONT to those not asked yet", "clock 0.5 s"],
        "TERMINATING [step 2 of 2]": ["SIGKILL to every descendant", "clock 1 s"],
        "DRAINING [step 1 of 2]": ["SIGTERM, SIGCONT to every child", "clock 0.5 s"],
        "DRAINING [step 1 of 2, again]": ["SIGTERM, SIGCONT to those not asked yet", "clock 0.5 s"],
        "DRAINING [step 2 of 2]": ["SIGKILL to every descendant", "clock 1 s"],
        "EXITED": [],
    }


def test_the_work_grows_no_faster_than_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each event is handled once, without a replay of all the events before it, so 400 steps take one second."""
    handled = 0
    handle = Lifecycle.handle

    def counted(run: Lifecycle, event: Event) -> Decision:
        nonlocal handled
        handled += 1
        return handle(run, event)

    monkeypatch.setattr(Lifecycle, "handle", counted)
    counts = []
    for number in (20, 40):
        handled = 0
        Unfolded([TERM] * number, 2.0, [INT], signals.name)
        counts.append(handled)
    assert counts[1] <= counts[0] * 2
    assert counts[1] < 40 * 40


def test_a_later_event_does_not_change_an_earlier_situation() -> None:
    """The search copies a run together with everything that an event can change in it."""

    def told(value: object) -> object:
        slots = getattr(value, "__slots__", None)
        if slots is not None:
            return [(name, told(getattr(value, name))) for name in slots]
        return [told(each) for each in value] if isinstance(value, list | tuple) else repr(value)

    begin = search._Situation(Lifecycle([Command([], 2), Command([], 3)], [TERM, KILL], 2.0))
    for first in begin.possible([INT]):
        before, _ = begin.after(first)
        seen = told(before.lifecycle)
        assert before.lifecycle.arc is not begin.lifecycle.arc
        for second in before.possible([INT]):
            after, _ = before.after(second)
            assert all(any(each is command for command in after.lifecycle.commands) for each in after.lifecycle.ended)
        assert told(before.lifecycle) == seen
    assert begin.lifecycle.arc is None


FIRST, LAST = ["SIGTERM, SIGCONT to every child", "clock 2 s"], ["SIGKILL to every descendant", "clock 2 s"]
LATE = ["SIGTERM, SIGCONT to those not asked yet", "clock 2 s"]
CODE = ["exit with the code of the first command that failed, else 0"]
ON = ["SIGCONT to every child"]


def test_the_edges_of_the_defaults() -> None:
    t1, t2, d1, d2 = T.format(1, 2), T.format(2, 2), D.format(1, 2), D.format(2, 2)
    t1a, d1a = T.format(1, "2, again"), D.format(1, "2, again")
    assert list(zip(worded(DEFAULTS.edges), DEFAULTS.edges.values(), strict=True)) == [
        (("RUNNING", "forward", "RUNNING"), ["SIGINT to every child"]),
        (("RUNNING", "terminate", t1), FIRST),
        (("RUNNING", "command_ended", t1), FIRST),
        (("RUNNING", "command_ended [last_command]", d1), FIRST),
        (("RUNNING", "suspend", "RUNNING"), ["SIGTSTP to every command, then to us"]),
        (("RUNNING", "resume", "RUNNING"), ON),
        ((t1, "forward", t1), ["SIGINT to every child"]),
        ((t1, "terminate", t1), FIRST),
        ((t1, "command_ended", t1), []),
        ((t1, "command_ended [last_command]", d1), []),
        ((t1, "orphans_adopted", t1), ["SIGTERM, SIGCONT to those not asked yet"]),
        ((t1, "orphans_ended", t1), []),
        ((t1, "timeout [step_left]", t2), LAST),
        ((t1, "timeout [some_unasked]", t1a), LATE),
        ((t1, "resume", t1), ON),
        ((t1a, "forward", t1a), ["SIGINT to every child"]),
        ((t1a, "terminate", t1), FIRST),
        ((t1a, "command_ended", t1a), []),
        ((t1a, "command_ended [last_command]", d1a), []),
        ((t1a, "orphans_adopted", t1a), ["SIGTERM, SIGCONT to those not asked yet"]),
        ((t1a, "orphans_ended", t1a), []),
        ((t1a, "timeout [step_left]", t2), LAST),
        ((t1a, "resume", t1a), ON),
        ((t2, "forward", t2), ["SIGINT to every child"]),
        ((t2, "terminate", t1), FIRST),
        ((t2, "command_ended", t2), []),
        ((t2, "command_ended [last_command]", d2), []),
        ((t2, "orphans_adopted", t2), ["SIGKILL to every descendant"]),
        ((t2, "orphans_ended", t2), []),
        ((t2, "timeout", "EXITED"), ["exit 1, giving up"]),
        ((t2, "resume", t2), ON),
        ((d1, "forward", d1), ["SIGINT to every child"]),
        ((d1, "terminate", d1), FIRST),
        ((d1, "orphans_adopted", d1), ["SIGTERM, SIGCONT to those not asked yet"]),
        ((d1, "orphans_ended", d1), []),
        ((d1, "timeout [step_left]", d2), LAST),
        ((d1, "timeout [some_unasked]", d1a), LATE),
        ((d1, "resume", d1), ON),
        ((d1, "drained", "EXITED"), CODE),
        ((d1a, "forward", d1a), ["SIGINT to every child"]),
        ((d1a, "terminate", d1), FIRST),
        ((d1a, "orphans_adopted", d1a), ["SIGTERM, SIGCONT to those not asked yet"]),
        ((d1a, "orphans_ended", d1a), []),
        ((d1a, "timeout [step_left]", d2), LAST),
        ((d1a, "resume", d1a), ON),
        ((d1a, "drained", "EXITED"), CODE),
        ((d2, "forward", d2), ["SIGINT to every child"]),
        ((d2, "terminate", d1), FIRST),
        ((d2, "orphans_adopted", d2), ["SIGKILL to every descendant"]),
        ((d2, "orphans_ended", d2), []),
        ((d2, "timeout", "EXITED"), ["exit 1, giving up"]),
        ((d2, "resume", d2), ON),
        ((d2, "drained", "EXITED"), CODE),
    ]


def test_signals_that_are_forwarded_alike_are_one_edge() -> None:
    found = unfolded("-s HUP,INT,WINCH,HUP")
    assert found.edges[Stage(State.RUNNING), "forward", Stage(State.RUNNING)] == [
        "SIGHUP, SIGINT or SIGWINCH to every child"
    ]
    assert found.edges.keys() == DEFAULTS.edges.keys()


def test_nothing_to_forward_is_no_edge() -> None:
    found = Unfolded([TERM], 2.0, [], signals.name)
    assert not [event for _, event, _ in found.edges if event == "forward"]


STEPS = st.lists(st.sampled_from([TERM, INT, HUP, KILL]), min_size=1, max_size=4)
TIMEOUTS = st.sampled_from([0.0, 0.3, 2.0, math.inf])


def can_happen(run: Lifecycle, clock: float | None) -> Iterator[Event]:
    """What can happen to a run. Signals and endings come in two kinds: one that counts and one that does not."""
    alive = [index for index, command in enumerate(run.commands) if command.alive]
    yield from (Forward(HUP), Forward(INT), Terminate(TERM), Terminate(10))
    yield from (CommandEnded((index, Ending(code))) for index in alive for code in (0, 3))
    if len(alive) > 1:
        yield CommandEnded(*((index, Ending(0)) for index in alive[1:]))
        yield CommandEnded(*((index, Ending(137, 9)) for index in reversed(alive)))
    yield from (OrphansAdopted(50), OrphansAdopted(51, 52, asked=(51,)), OrphansEnded((50, Ending(0))))
    yield from (Suspend(), Resume())
    if clock is not None and clock < math.inf:
        yield from (Timeout(), Timeout(60))
    if not alive:
        yield Drained()


@pytest.mark.untraced
@settings(deadline=None)
@given(data=st.data(), steps=STEPS, timeout=TIMEOUTS, commands=st.integers(1, 4))
def test_no_run_leaves_the_diagram(data: st.DataObject, steps: list[int], timeout: float, commands: int) -> None:
    found = Unfolded(steps, timeout, [HUP, INT], signals.name, commands=[""] * commands)
    again = steps.index(KILL) if KILL in steps else len(steps)
    last = len(steps) if timeout < math.inf else 1
    assert [*map(str, found.states)] == stages(len(steps), last, again if timeout < math.inf else 0)
    run, clock = Lifecycle([Command(["a"], 2 + n) for n in range(commands)], steps, timeout), None
    stop = 0.0
    while run.state is not State.EXITED and data.draw(st.integers(0, 20)):
        event = data.draw(st.sampled_from(list(can_happen(run, clock))))
        decision = run.handle(event)
        clocks = [effect.seconds for effect in decision.effects if hasattr(effect, "seconds")]
        clock = clocks[0] if clocks else None if isinstance(event, Timeout) else clock
        stop = sum(clocks, 0.0 if run.step <= 1 and clocks and not run.again else stop)
        assert stop <= found.longest
        assert run.arc
        assert (search.edge(decision) in found.edges) == bool(run.arc.actions)
        assert run.stage in found.states


def edges_of_the_proof(setup: verify.Setup) -> set[search.Edge]:
    """Every edge that `make verify` visits in its own model of the world."""
    run = verify.begin(setup)
    world = verify.World(tuple(() for _ in range(setup.commands)))
    found, seen, waiting = set(), {verify.key(run, world)}, [(verify.save(run), world)]
    for saved, before in waiting:  # the loop appends to it
        for event in verify.possible(setup, before) if saved[0] is not State.EXITED else ():
            verify.put_back(run, saved)
            decision = run.handle(event)
            now = verify.after(setup, before, event, decision.effects)
            if run.arc and run.arc.actions:
                found.add(search.edge(decision))
            if verify.key(run, now) not in seen:
                seen.add(verify.key(run, now))
                waiting.append((verify.save(run), now))
    return found


@pytest.mark.untraced
@pytest.mark.parametrize("timeout", [2.0, math.inf])
@pytest.mark.parametrize("steps", [(TERM,), (TERM, KILL), (KILL, TERM)])
@pytest.mark.parametrize("commands", [1, 2])
def test_the_proof_takes_the_same_edges(commands: int, steps: tuple[int, ...], timeout: float) -> None:
    setup = verify.Setup(commands, commands, steps, timeout)
    assert set(Unfolded(steps, timeout, [HUP], signals.name, [""] * commands).edges) == edges_of_the_proof(setup)


# How long a stop can take


@pytest.mark.parametrize(
    ("options", "longest"),
    [
        ("", 6),
        ("-t 0", 1),  # SIGKILL as the last step has at least a second
        ("-t 0.2", 1.4),
        ("-k TERM -t 3", 6),
        ("-k TERM -t 0", 0),
        ("-k KILL,TERM -t 0.5", 1),
        ("-k KILL -t 0", 1),
        ("-k TERM,INT,KILL -t 5", 20),
        ("-t inf", math.inf),
        ("-k TERM -t inf", math.inf),
    ],
)
@pytest.mark.parametrize("commands", [1, 2])
def test_the_longest_stop(options: str, longest: float, commands: int) -> None:
    assert unfolded(options, commands).longest == longest


LONGER = "docker stop -t and terminationGracePeriodSeconds must be longer; "
AGAIN = "SIGTERM, SIGQUIT, SIGPWR or SIGRTMIN+3 starts the steps. Another one starts them over, and the time too."


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("", f"A stop takes at most 6 s: {LONGER}their defaults, 10 s and 30 s, are."),
        ("-k KILL -t 9.98", f"A stop takes at most 9.98 s: {LONGER}their defaults, 10 s and 30 s, are."),
        ("-k TERM -t 5", f"A stop takes at most 10 s: {LONGER}the default of docker stop, 10 s, is not."),
        ("-t 9.9", f"A stop takes at most 29.7 s: {LONGER}the default of docker stop, 10 s, is not."),
        ("-t 10", f"A stop takes at most 30 s: {LONGER}their defaults, 10 s and 30 s, are not."),
        ("-t 20", f"A stop takes at most 1 min 0 s (60 s): {LONGER}their defaults, 10 s and 30 s, are not."),
        ("-k TERM -t 40.3", f"A stop takes at most 1 min 21 s (81 s): {LONGER}their defaults, 10 s and 30 s, are not."),
        ("-t 5000", f"A stop takes at most 4 h 10 min (15000 s): {LONGER}their defaults, 10 s and 30 s, are not."),
    ],
)
def test_the_caption_compares_the_longest_stop_with_what_platforms_allow(options: str, words: str) -> None:
    assert search.caption(unfolded(options)) == [words, AGAIN]


def test_the_caption_names_a_few_of_many_signals_that_stop() -> None:
    many = Unfolded([TERM], 2.0, [], signals.name, stop=range(1, 16))
    words = "SIGTERM, SIGHUP, SIGINT, SIGQUIT, SIGILL, SIGTRAP or 9 others starts the steps. "
    assert search.caption(many)[1].startswith(words)
    assert search.caption(Unfolded([TERM], 2.0, [], signals.name))[1].startswith("SIGTERM starts the steps. ")


def test_the_caption_says_that_the_platform_ends_an_endless_stop() -> None:
    words = "A stop can take for ever: then the platform's SIGKILL ends it, "
    words += "by default 10 s after docker stop, 30 s in Kubernetes."
    found = unfolded("-t inf")
    assert search.caption(found) == [words, AGAIN]
    for output in (search.mermaid, search.dot, search.table):
        assert words in output(found)


def test_a_real_stop_that_every_process_ignores_takes_the_edges_and_the_clocks(tmp_path: Path) -> None:
    options, path = "-t 0.2", tmp_path / "trace"
    with Run(
        kid("A", "orphan B,TERM=ignore", "kid C,TERM=ignore", "TERM=ignore"), options=f"{options} --trace-file {path}"
    ) as it:
        it.ready("A", "B", "C")
        it.signal(signal.SIGTERM)
        it.end()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    taken = [line for line in lines if line.get("effects")]
    clocks = [effect["seconds"] for line in taken for effect in line["effects"] if effect["effect"] == "clock"]
    found = unfolded(options, commands=1)
    assert sum(clocks) == found.longest
    labels = (line["event"] + (f" [{line['guard']}]" if line["guard"] else "") for line in taken)
    assert {(line["before"], label, line["after"]) for line, label in zip(taken, labels, strict=True)} <= {
        *worded(found.edges)
    }


# Mermaid


def test_mermaid_of_the_defaults() -> None:
    lines = search.mermaid(DEFAULTS).splitlines()
    assert lines[:5] == [
        "---",
        f'title: "{" ".join(search.caption(DEFAULTS))}"',
        "---",
        "stateDiagram-v2",
        "    [*] --> RUNNING: start",
    ]
    assert lines[lines.index("    TERMINATING_1: TERMINATING [step 1 of 2]") :][:8] == [
        "    TERMINATING_1: TERMINATING [step 1 of 2]",
        "    TERMINATING_1: SIGTERM, SIGCONT to every child",
        "    TERMINATING_1: clock 2 s",
        "    TERMINATING_1: forward / SIGINT to every child",
        "    TERMINATING_1: terminate / step 1",
        "    TERMINATING_1: command_ended",
        "    TERMINATING_1: orphans_adopted / SIGTERM, SIGCONT to those not asked yet",
        "    TERMINATING_1: orphans_ended",
    ]
    code = "drained / exit with the code of the first command that failed, else 0"
    assert lines[lines.index("    EXITED: EXITED") :] == [
        "    EXITED: EXITED",
        "    RUNNING --> TERMINATING_1: terminate / step 1<br/><br/>command_ended / step 1",
        "    RUNNING --> DRAINING_1: command_ended [last_command] / step 1",
        "    TERMINATING_1 --> DRAINING_1: command_ended [last_command]",
        "    TERMINATING_1 --> TERMINATING_2: timeout [step_left] / step 2",
        "    TERMINATING_1 --> TERMINATING_1_AGAIN: timeout [some_unasked] / step 1, again",
        "    TERMINATING_1_AGAIN --> TERMINATING_1: terminate / step 1",
        "    TERMINATING_1_AGAIN --> DRAINING_1_AGAIN: command_ended [last_command]",
        "    TERMINATING_1_AGAIN --> TERMINATING_2: timeout [step_left] / step 2",
        "    TERMINATING_2 --> TERMINATING_1: terminate / step 1",
        "    TERMINATING_2 --> DRAINING_2: command_ended [last_command]",
        "    TERMINATING_2 --> EXITED: timeout / exit 1, giving up",
        "    DRAINING_1 --> DRAINING_2: timeout [step_left] / step 2",
        "    DRAINING_1 --> DRAINING_1_AGAIN: timeout [some_unasked] / step 1, again",
        f"    DRAINING_1 --> EXITED: {code}",
        "    DRAINING_1_AGAIN --> DRAINING_1: terminate / step 1",
        "    DRAINING_1_AGAIN --> DRAINING_2: timeout [step_left] / step 2",
        f"    DRAINING_1_AGAIN --> EXITED: {code}",
        "    DRAINING_2 --> DRAINING_1: terminate / step 1",
        f"    DRAINING_2 --> EXITED: timeout / exit 1, giving up<br/><br/>{code}",
        "    EXITED --> [*]",
    ]


def test_the_title_of_mermaid_is_a_string_whatever_a_command_is_called() -> None:
    """It is YAML 1.2, in which a string in double quotes is one of JSON."""
    note = 'In step 1, SIGQUIT goes to a"b\\c.'
    title = search.mermaid(Unfolded([TERM], 2.0, [], signals.name, notes=[note])).splitlines()[1]
    assert json.loads(title.removeprefix("title: ")).endswith(note)


@settings(max_examples=30, deadline=None)
@given(steps=STEPS, timeout=TIMEOUTS)
def test_mermaid_can_read_each_line(steps: list[int], timeout: float) -> None:
    """The lexer of Mermaid 11 reads each line: descriptions have no colon or semicolon, two states have one arrow."""
    head, _, body = search.mermaid(Unfolded(steps, timeout, [INT], signals.name)).partition("stateDiagram-v2\n")
    assert re.fullmatch(r'---\ntitle: "[^"\\\n]+"\n---\n', head)
    arrows = []
    for line in body.splitlines():
        found = re.fullmatch(r"    (?:(\S+ --> \S+?)|\w+)(?:: [^:;\n]+)?", line)
        assert found, line
        arrows.append(found[1])
    arrows = [arrow for arrow in arrows if arrow]
    assert len(arrows) == len(set(arrows))
    assert not [arrow for arrow in arrows if arrow.split()[0] == arrow.split()[2]]


# The table


def test_the_table_has_a_row_for_each_edge() -> None:
    lines = search.table(DEFAULTS).splitlines()
    assert lines[:3] == [*search.caption(DEFAULTS), ""]
    cells = [[cell.strip() for cell in line.split("|")] for line in lines[3:]]
    assert cells[0] == ["", "from", "event", "to", "does", ""]
    assert all(set(cell) == {"-"} for cell in cells[1][1:5])
    assert [tuple(row[1:4]) for row in cells[2:]] == [
        (before, event, "stays" if before == after else after) for before, event, after in worded(DEFAULTS.edges)
    ]
    assert [row[4] for row in cells[2:]] == ["; ".join(words) or "no effect" for words in DEFAULTS.edges.values()]
    assert len({len(line) for line in lines[3:]}) == 1, "the columns are aligned"


# DOT


def attributes(graph: str) -> dict[str, list[str]]:
    """The attributes of everything that is drawn for each node and for each pair of nodes."""
    found: dict[str, list[str]] = {}
    for line in graph.splitlines():
        parts = re.fullmatch(r"    (\w+(?: -> \w+)?) \[(.*)\];", line)
        if parts and parts[1] not in ("graph", "node", "edge"):
            found.setdefault(parts[1], []).append(parts[2].replace("\N{NO-BREAK SPACE}", " "))
    return found


def test_dot_of_the_defaults() -> None:
    graph = search.dot(DEFAULTS)
    assert r'label="A stop takes at most 6 s: ' in graph
    assert "taken" not in graph
    assert TIMES not in graph
    found = attributes(graph)
    stages = ["RUNNING", "TERMINATING_1", "DRAINING_1", "TERMINATING_1_AGAIN", "DRAINING_1_AGAIN"]
    stages += ["TERMINATING_2", "DRAINING_2", "EXITED"]
    assert [name for name in found if "->" not in name] == ["start", *stages], "dot goes by their order"
    assert found["EXITED"] == [r'label="EXITED\n", peripheries=2']
    assert found["DRAINING_2"] == [r'label="DRAINING [step 2 of 2]\nSIGKILL to every descendant\nclock 2 s\n"']
    assert found["RUNNING -> TERMINATING_1"] == [r'label=" terminate / step 1\l command_ended / step 1\l", tailport=s']
    assert found["DRAINING_2 -> DRAINING_1"] == [r'label=" terminate / step 1\l", tailport=n, headport=s']
    code = r" drained /\l exit with the code of the first command that failed, else 0\l"
    assert found["DRAINING_2 -> EXITED"] == [rf'label=" timeout / exit 1, giving up\l{code}", tailport=s']
    arrows = {(before, after) for before, _, after in DEFAULTS.edges}
    assert len([name for name in found if "->" in name]) == len(arrows) + 1


def a_run() -> list[Decision]:
    run = Lifecycle([Command(["a"], 2), Command(["b"], 3)], [TERM, KILL], 2.0)
    events: list[Event] = [OrphansAdopted(50), Forward(INT), Forward(INT), CommandEnded((1, Ending(3)))]
    events += [Resume(), Timeout(), CommandEnded((0, Ending(137, 9))), OrphansEnded((50, Ending(137, 9))), Drained()]
    return [run.handle(event) for event in events]


def test_the_edges_that_a_run_took_are_heavy_and_counted() -> None:
    taken = Counter(map(search.edge, a_run()))
    found = attributes(search.dot(DEFAULTS, {**taken, (Stage(State.RUNNING), "resume", Stage(State.RUNNING)): 0}))
    heavy, thin = "class=taken, penwidth=3", "class=untaken, penwidth=0.5, color=gray60, fontcolor=gray60"
    assert found["RUNNING -> RUNNING"] == [
        rf'label=" forward / SIGINT to every child {TIMES}2\l", {heavy}',
        rf'label=" suspend / SIGTSTP to every command, then to us\l resume / SIGCONT to every child\l", {thin}',
    ]
    assert found["RUNNING -> TERMINATING_1"] == [
        rf'label=" command_ended / step 1 {TIMES}1\l", tailport=s, {heavy}',
        rf'label=" terminate / step 1\l", tailport=s, {thin}',
    ]
    assert found["start -> RUNNING"] == [rf'label=" start\l", {heavy}']
    states = {name: drawn[0].endswith(heavy) for name, drawn in found.items() if "->" not in name}
    assert not states.pop("DRAINING_1")
    assert found["DRAINING_1"][0].endswith(thin)
    assert all(states[name] for name in ("start", "RUNNING", "TERMINATING_1", "TERMINATING_2", "DRAINING_2", "EXITED"))
    acted = {key: number for key, number in taken.items() if key in DEFAULTS.edges}
    counts = re.findall(rf"{TIMES}(\d+)", search.dot(DEFAULTS, taken))
    assert sorted(map(int, counts)) == sorted(acted.values())
    assert all(drawn.endswith((heavy, thin)) for each in found.values() for drawn in each)


def test_a_run_that_has_taken_no_edge_is_in_running() -> None:
    found = attributes(search.dot(DEFAULTS, {}))
    assert {name for name, drawn in found.items() if "class=taken" in drawn[0]} == {
        "start",
        "RUNNING",
        "start -> RUNNING",
    }


def svg(graph: str) -> ET.Element:
    """What Graphviz draws, without a warning."""
    argv = [program("dot", "graphviz"), "-Tsvg"]
    done = subprocess.run(argv, input=graph, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert (done.returncode, done.stderr) == (0, "")
    return ET.fromstring(done.stdout)


def texts(picture: ET.Element) -> list[str]:
    return [(element.text or "").strip() for element in picture.iter("{http://www.w3.org/2000/svg}text")]


def test_the_picture_of_a_run_has_its_classes() -> None:
    picture = svg(search.dot(DEFAULTS, Counter(map(search.edge, a_run()))))
    classes = Counter(group.get("class", "") for group in picture.iter("{http://www.w3.org/2000/svg}g"))
    assert classes["node taken"] == 6
    assert classes["node untaken"] == 3
    assert classes["edge taken"] == 8
    assert classes["edge untaken"] > 7
    assert f"forward / SIGINT to every child {TIMES}2" in texts(picture)


def test_names_are_escaped() -> None:
    name = 'a"b\\N\\"&lt;&amp;<i>'
    assert f"forward / {name} to every child" in texts(svg(search.dot(Unfolded([TERM], 2.0, [INT], lambda _: name))))


@settings(max_examples=8, deadline=None)
@given(steps=STEPS, timeout=TIMEOUTS)
def test_graphviz_draws_the_diagram_for_all_options(steps: list[int], timeout: float) -> None:
    found = Unfolded(steps, timeout, [HUP, INT], signals.name)
    words = texts(svg(search.dot(found)))
    stages = [*map(str, found.states)]
    assert {*search.caption(found), *stages} <= {*words}
    nodes = [word for word in words if word.partition(" ")[0] in State.__members__]
    assert sorted(nodes) == sorted(stages)


# muinit --diagram


def says(*argv: str, path: str | None = None) -> tuple[int, str, str]:
    env = os.environ if path is None else {**os.environ, "PATH": path}
    done = subprocess.run([*MUINIT, *argv], capture_output=True, text=True, timeout=PATIENCE, check=False, env=env)
    return done.returncode, done.stdout, done.stderr


SOME = "-k TERM,INT,KILL -t 5 -s HUP,INT"


@pytest.mark.parametrize(
    ("argv", "printed"),
    [
        (["--diagram"], search.mermaid(DEFAULTS)),
        (["--diagram=mermaid"], search.mermaid(DEFAULTS)),
        (["--diagram", *SOME.split()], search.mermaid(unfolded(SOME))),
        (["--diagram", "dot", *SOME.split()], search.dot(unfolded(SOME))),
        (["-t", "inf", "--diagram", "table"], search.table(unfolded("-t inf"))),
        (["--diagram=table", "---", "true"], search.table(unfolded(commands=1))),
        (["--diagram=table", "---", "a", "---", "b", "---", "c"], search.table(DEFAULTS)),
        (["--diagram", "table", "-s", "CONT,TERM,HUP"], search.table(unfolded("-s HUP"))),
        (["--diagram", "table", "-s", "TERM"], search.table(Unfolded([TERM, KILL], 2.0, [], signals.name, stop=STOP))),
    ],
)
def test_muinit_prints_the_lifecycle_of_its_options(argv: list[str], printed: str) -> None:
    assert says(*argv) == (0, printed + "\n", "")


def test_a_diagram_starts_nothing(tmp_path: Path) -> None:
    assert says("--diagram", "---", "touch", str(tmp_path / "started"))[0] == 0
    assert not (tmp_path / "started").exists()


def test_svg_is_drawn_by_graphviz() -> None:
    expected = texts(svg(search.dot(unfolded(SOME))))
    code, out, err = says("--diagram=svg", *SOME.split())
    assert (code, err) == (0, "")
    assert texts(ET.fromstring(out)) == expected
    assert search.caption(unfolded(SOME))[0] in expected


def test_without_graphviz_one_line_says_what_to_do(tmp_path: Path) -> None:
    code, out, err = says("--diagram", "svg", path=str(tmp_path))
    assert (code, out) == (1, "")
    assert err == (
        "muinit: --diagram svg needs dot, which is not in PATH: install the package graphviz, "
        "or use --diagram dot and draw it elsewhere with dot -Tsvg\n"
    )


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo one >&2; echo two >&2; exit 3", "dot exited 3 and said: one | two"),
        ("kill -SEGV $$", "dot died of SIGSEGV and said: nothing"),
        ("", "dot cannot be executed: Permission denied"),
    ],
)
def test_a_dot_that_fails_gives_one_line(tmp_path: Path, script: str, why: str) -> None:
    fake_dot(tmp_path, script)
    assert says("--diagram", "svg", path=str(tmp_path)) == (1, "", f"muinit: --diagram svg: {why}\n")


def fake_dot(directory: Path, script: str) -> None:
    path = directory / "dot"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755 if script else 0o644)


@pytest.mark.parametrize("whom", ["the group", "muinit"])
def test_ctrl_c_ends_a_dot_that_takes_too_long(tmp_path: Path, whom: str) -> None:
    fake_dot(
        tmp_path, f"read graph; echo $$ >{tmp_path}/new; /bin/mv {tmp_path}/new {tmp_path}/started; read forever <f"
    )
    os.mkfifo(tmp_path / "f")
    process = subprocess.Popen(
        [*MUINIT, "--diagram", "svg"],
        env={**os.environ, "PATH": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        cwd=tmp_path,
    )
    dot = int(wait_for((tmp_path / "started").read_text))
    if whom == "the group":
        os.killpg(process.pid, signal.SIGINT)  # as the terminal does
    else:
        process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err) == (-signal.SIGINT, "")
    wait_for(lambda: not alive(status(dot)))


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("--diagram png", "muinit: --diagram 'png': expected a format (mermaid, dot, svg, table)\n"),
        ("--diagram=", "muinit: --diagram '': expected a format (mermaid, dot, svg, table)\n"),
        ("--diagram -k NOPE", "muinit: -k 'NOPE': 'NOPE' is not a signal"),
        ("-t soon --diagram", "muinit: -t 'soon': expected seconds"),
        ("--diagram dot word", "muinit: unexpected argument 'word' before '---'"),
    ],
)
def test_a_wrong_option_gives_one_line_and_no_diagram(argv: str, message: str) -> None:
    code, out, err = says(*argv.split())
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith(message)


# What options of one command change


def table_of(*words: str) -> str:
    return subprocess.run([*MUINIT, "--diagram", "table", *words], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ("first-failed", "exit with the code of the first command that failed, else 0"),
        ("first-ended", "exit with the code of the first command that ended, else 0"),
        ("original", "exit with the first code other than 0, else 0"),
    ],
)
def test_the_exit_is_worded_by_its_policy(policy: str, words: str) -> None:
    assert words in table_of("--exit-status", policy)


def test_every_policy_has_its_words() -> None:
    assert search.CODES.keys() == POLICIES.keys()


def test_a_stop_with_a_sidecar_takes_twice_as_long() -> None:
    """That is more than docker waits, and the first line says so."""
    shown = table_of("---", "app", "---", "--sidecar", "proxy")
    assert shown.startswith("A stop takes at most 12 s: ")
    assert "the default of docker stop, 10 s, is not." in shown.splitlines()[0]
    assert "SIGTERM, SIGCONT to every child but sidecars" in shown


def test_the_signals_of_one_command_are_in_the_caption() -> None:
    shown = table_of("-k", "TERM,TERM,KILL", "---", "-k", "QUIT@group,INT", "-s", "HUP@tree", "nginx", "---", "worker")
    assert shown.splitlines()[2:5] == [
        "In step 1, SIGQUIT goes to nginx and its process group.",
        "In step 2, SIGINT goes to nginx.",
        "SIGHUP is forwarded to nginx and its descendants.",
    ]
