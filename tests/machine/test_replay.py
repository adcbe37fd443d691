"""A trace is a test: its events are fed to the machine again, and every difference is reported."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

import muinit
from muinit import signals
from statechart import __main__ as statechart
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
from statechart.lifecycle import Command, Lifecycle
from statechart.pictures.timeline import picture
from statechart.traces import replay, write
from statechart.traces.read import TraceError, read
from tests.cast import traces
from tests.cast.harness import ROOT

NUMBERS = {signals.name(number): number for number in signals.ALL}
EVENTS: list[Event] = [
    Forward(2, at=0.25),
    Suspend(at=0.5),
    Resume(at=0.75),
    OrphansAdopted(200, -201, names=("sleep", ""), at=1),
    CommandEnded((1, Ending(139, 11, core=True)), (2, Ending(126, failure="could not be executed")), at=1.5),
    OrphansEnded((200, Ending(143, 15)), at=1.75),
    Terminate(34, at=2),
    Timeout(at=4),
    OrphansAdopted(202, at=4.5),
    CommandEnded((0, Ending(137, 9)), at=5),
    Drained(at=6),
]


def recorded(timeout: float = 2.0, events: list[Event] = EVENTS) -> list[str]:
    """The lines of a trace in which everything happens."""
    run = Lifecycle([Command(["/bin/a"], 100), Command(["b"], 101), Command(["c"], None)], [15, 9], timeout)
    about = {"muinit": muinit.__version__, "argv": ["muinit"], "pid": 1, "time": 1e9}
    entries = [write.header(run, [2], [15], NUMBERS, **about)]
    entries += [write.entry(run.handle(event), signals.name) for event in events]
    if run.state is State.EXITED:
        entries.append({"t": 6000000000, "exit": run.code, "why": "exit 139: ...", "survivors": []})
    return [json.dumps(entry) + "\n" for entry in entries]


@pytest.mark.parametrize("timeout", [2.0, 0.0, math.inf])
def test_a_trace_is_replayed(timeout: float) -> None:
    traces.checked(recorded(timeout))
    found = read(recorded(timeout))
    run = replay.replay(found)
    assert (run.state, run.code, run.times) == (State.EXITED, 139, [timeout] * 2)
    assert [decision.event for _, decision in found.decisions] == EVENTS
    assert [decision.event.at for _, decision in found.decisions] == [event.at for event in EVENTS]
    adopted = found.decisions[3][1].event
    assert isinstance(adopted, OrphansAdopted)
    assert adopted.names == ("sleep", "")


def test_signals_are_those_of_the_computer_that_recorded_the_trace() -> None:
    """On another computer signals can have other numbers (SIGUSR1, for example) and other names."""
    lines = [line.replace('"SIGINT": 2', '"SIGINT": 99') for line in recorded()]
    found = read(lines)
    assert found.decisions[0][1].event == Forward(99)
    assert found.signame(99) == "SIGINT"
    assert found.signame(98) == "signal 98"
    replay.replay(found)


def test_a_trace_that_was_cut_off_is_replayed_as_far_as_it_goes() -> None:
    lines = recorded()
    for length in range(len(lines[0]), len("".join(lines)), 50):
        text = "".join(lines)[:length]
        found = read(text.splitlines(keepends=True))
        assert found.end is None
        assert replay.replay(found).ended == [] or len(found.decisions) > 4


# Differences


def changed(number: int, **members: object) -> list[str]:
    """The trace, with these members changed in one line."""
    lines = recorded()
    lines[number - 1] = json.dumps({**json.loads(lines[number - 1]), **members}) + "\n"
    return lines


def difference(lines: list[str]) -> tuple[int, list[str]]:
    with pytest.raises(TraceError) as error:
        replay.replay(read(lines))
    return error.value.line, error.value.what.splitlines()


@pytest.mark.parametrize(
    ("number", "members"),
    [
        (6, {"after": "TERMINATING [step 2 of 2]"}),
        (6, {"before": "TERMINATING [step 1 of 2]"}),
        (6, {"guard": "last_command"}),
        (6, {"effects": []}),
        (2, {"effects": [{"effect": "relay", "signal": "SIGTERM", "target": "child", "some": None}]}),
        (12, {"effects": [{"effect": "exit", "code": 139, "gave_up": True}]}),
        (13, {"exit": 0}),
    ],
)
def test_the_first_line_that_differs_is_shown_as_recorded_and_as_replayed(number: int, members: dict[str, Any]) -> None:
    line, (what, before, now) = difference(changed(number, **members))
    assert line == number
    assert what == f"this differs from the recording (both are muinit {muinit.__version__})"
    assert before.startswith("recorded: ")
    assert now.startswith("here:     ")
    assert before.removeprefix("recorded: ") != now.removeprefix("here:     ")


def test_a_difference_names_the_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = changed(6, effects=[])
    lines[0] = lines[0].replace(f'"muinit": "{muinit.__version__}"', '"muinit": "0.0.7"')
    assert (
        difference(lines)[1][0]
        == f"this differs from the recording (recorded by muinit 0.0.7, this is {muinit.__version__})"
    )

    def unknown(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(replay, "version", unknown)
    assert (
        difference(lines)[1][0] == "this differs from the recording (recorded by muinit 0.0.7, this is not installed)"
    )


def test_a_changed_table_makes_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = recorded()
    monkeypatch.setattr(Lifecycle, "start_next_step", lambda *_: None)
    line, (_, before, now) = difference(lines)
    assert line == 9
    assert "TERMINATING [step 1 of 2] -> TERMINATING [step 2 of 2]" in before
    assert "TERMINATING [step 1 of 2] -> TERMINATING [step 1 of 2]" in now


def test_events_after_the_exit_make_a_difference() -> None:
    lines = recorded()
    line, (_, before, now) = difference([*lines[:-1], lines[1]])
    assert line == 13
    assert before.endswith("forward: SIGINT / SIGINT to every child")
    assert now == "here:     nothing, after EXITED"


# Files that are not traces


@pytest.mark.parametrize(
    ("lines", "what"),
    [
        ([], "line 1: there is no header: the trace is empty, or cut off"),
        (['{"schema": 1'], "line 1: there is no header: the trace is empty, or cut off"),
        (["hello\n"], "line 1: this is not JSON"),
        (["[" * 200_000 + "\n"], "line 1: the JSON is nested too deeply"),
        ([*recorded()[:1], "[" * 200_000 + "\n"], "line 2: the JSON is nested too deeply"),
        (recorded()[:1] * 2, "line 2: this does not follow schema 1: ValueError('a second header: "),
        (['{"schema":true}\n'], "line 1: schema True, of muinit None; this version reads schema 1"),
        (["3\n"], "line 1: this does not follow schema 1: "),
        (["{}\n"], "line 1: this does not follow schema 1: KeyError('schema')"),
        (['{"schema":2,"muinit":"3.0"}\n'], "line 1: schema 2, of muinit 3.0; this version reads schema 1"),
        ([*recorded()[:1], "[]\n"], "line 2: this does not follow schema 1: "),
        (
            changed(1, times=[-1, 2]),
            "line 1: this does not follow schema 1: TypeError('-1 is not a number of 0 or more')",
        ),
        (
            changed(1, targets={"SIGINT": "us"}),
            "line 1: this does not follow schema 1: ValueError(\"'us' is not a target",
        ),
        (changed(1, exit_status="us"), "line 1: this does not follow schema 1: ValueError(\"'us' is not a policy"),
        (
            changed(1, times=[2]),
            "line 1: this does not follow schema 1: ValueError('there is not a time and a target ",
        ),
        (changed(1, argv=[]), "line 1: this does not follow schema 1: ValueError('the list is empty')"),
        (changed(1, pid="1"), "line 1: this does not follow schema 1: TypeError("),
        (changed(2, after="MUSING"), "line 2: this does not follow schema 1: ValueError(\"'MUSING' is not a stage"),
        (changed(2, after="DRAINING [step x of 2]"), "line 2: this does not follow schema 1: ValueError("),
        (changed(2, after="DRAINING [step 01 of 2]"), "line 2: this does not follow schema 1: ValueError("),
        (changed(2, event="explode"), "line 2: this does not follow schema 1: KeyError('explode')"),
        (changed(2, signal="SIGFOO"), "line 2: this does not follow schema 1: KeyError('SIGFOO')"),
        (changed(2, effects=[{"effect": "explode"}]), "line 2: this does not follow schema 1: KeyError('explode')"),
        (
            changed(11, endings=[{"command": 3, "code": 0, "signal": None, "core": False, "failure": ""}]),
            "line 11: this does not follow schema 1: IndexError('there is no such command')",
        ),
    ],
)
def test_a_file_that_is_not_a_trace_is_an_error_with_a_line_number(lines: list[str], what: str) -> None:
    with pytest.raises(TraceError) as error:
        replay.replay(read(lines))
    assert str(error.value).startswith(what)
    assert "\n" not in str(error.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.integers(0, len(EVENTS) + 1), st.data())
def test_any_line_is_an_error_or_can_be_replayed_and_drawn(number: int, data: st.DataObject) -> None:
    """A trace, however broken, raises no exception except TraceError."""
    lines = recorded()
    entry = json.loads(lines[number])
    keys = list(entry)
    key = data.draw(st.sampled_from(keys))
    if isinstance(entry[key], list) and entry[key] and isinstance(entry[key][0], dict) and data.draw(st.booleans()):
        inner = entry[key][0]
        inner[data.draw(st.sampled_from(sorted(inner)))] = data.draw(JSON)
    else:
        entry[key] = data.draw(JSON)
    lines[number] = json.dumps(entry) + "\n"
    with suppress(TraceError):
        found = read(lines)
        picture(found)
        replay.replay(found)


def test_a_trace_with_a_gap_is_replayed_up_to_the_gap() -> None:
    lines = recorded()
    with pytest.raises(TraceError, match=r"^line 3: 12 lines were dropped here, so what follows cannot be replayed$"):
        replay.replay(read([*lines[:2], '{"dropped":12}\n', *lines[2:]]))


# python -m statechart replay


def test_the_command_says_that_everything_is_as_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run.jsonl"
    path.write_text("".join(recorded()))
    monkeypatch.setattr(sys, "argv", ["statechart", "replay", str(path)])
    statechart.main()
    assert capsys.readouterr().out == f"{path}: 11 events replayed, all states and effects as recorded; exit 139\n"
    path.write_text("".join(recorded()[:4]))
    statechart.main()
    assert capsys.readouterr().out.endswith(
        "3 events replayed, all states and effects as recorded; RUNNING, and no last line\n"
    )


def test_the_command_fails_if_something_differs_or_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.jsonl"
    path.write_text("".join(changed(6, effects=[])))
    monkeypatch.setattr(sys, "argv", ["statechart", "replay", str(path)])
    with pytest.raises(SystemExit, match=rf"^{path}:6: this differs from the recording"):
        statechart.main()
    path.unlink()
    with pytest.raises(SystemExit, match=rf"^python -m statechart: {path}: No such file or directory$"):
        statechart.main()


def test_the_command_reads_stdin() -> None:
    argv = [sys.executable, "-m", "statechart", "replay", "-"]
    text = "".join(recorded())
    done = subprocess.run(argv, input=text, capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "-: 11 events replayed, all states and effects as recorded; exit 139\n"


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("replay - <&-", "python -m statechart: -: Bad file descriptor"),
        (
            "replay trace > /dev/full",
            "python -m statechart: cannot write to stdout: [Errno 28] No space left on device",
        ),
        ("--table > /dev/full", "python -m statechart: cannot write to stdout: [Errno 28] No space left on device"),
    ],
)
def test_an_error_of_reading_or_writing_is_one_line(how: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "trace").write_text("".join(recorded()))
    argv = ["sh", "-c", f'"$0" -m statechart {how}', sys.executable]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, f"{said}\n")


def test_a_path_that_is_not_valid_text_can_be_printed(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/\xff"
    with open(path, "w") as file:
        file.write("".join(recorded()))
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
    argv = [os.fsencode(sys.executable), b"-m", b"statechart", b"replay", path]
    done = subprocess.run(argv, capture_output=True, check=True, env=environment)
    assert b"11 events replayed" in done.stdout


def test_a_full_stdout_is_left_alone_at_the_exit(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a write error /dev/null replaces stdout, because Python would otherwise try again and exit with 120."""

    class Full:
        def write(self, _: str) -> None:
            raise OSError(28, "No space left on device")

    class Os:
        """A stand-in for `os`, because pytest itself uses the real dup2."""

        devnull = os.devnull
        O_WRONLY = os.O_WRONLY
        replaced: ClassVar[list[tuple[str, int]]] = []

        @staticmethod
        def open(path: str, _: int) -> str:
            return path

        @classmethod
        def dup2(cls, path: str, to: int) -> None:
            cls.replaced.append((path, to))

    monkeypatch.setattr(sys, "argv", ["statechart"])
    monkeypatch.setattr(sys, "stdout", Full())
    monkeypatch.setattr(statechart, "os", Os)
    with pytest.raises(SystemExit, match="cannot write to stdout"):
        statechart.main()
    assert Os.replaced == [(os.devnull, 1)]
