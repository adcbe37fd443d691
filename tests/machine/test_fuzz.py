"""Every parser of bytes that others write raises no error except its own, whatever the bytes are."""

from __future__ import annotations

import os
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from unittest import mock

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from muinit import isolated, signals
from muinit.loop import ending
from muinit.options import OPTIONS, parse
from muinit.procfs import parse_children, parse_stat
from muinit.stderr import descriptor
from statechart.options import UsageError
from statechart.pictures.timeline import picture
from statechart.traces import read, replay
from statechart.traces.read import TraceError
from statechart.words.text import cut, printable
from tests.cast.harness import ROOT
from tests.machine.test_replay import recorded

# The same examples in every run.
always = settings(max_examples=100, deadline=None, derandomize=True, database=None)

ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()), max_size=40)  # lone surrogates and NUL too
PIECES = ["", "-", "--", "---", "=", ",", ".", "+", "0", "9" * 5000, "1e5", "inf", "TERM", "SIGKILL", "RTMIN+3", "a"]
PIECES += ["\udcff", "\0", "\n", "\u017fIGTERM", "\u0661", "\u00b2"]
FLAGS = [flag for option in OPTIONS for flag in (option.short, option.long) if flag]
WORDS = st.one_of(
    ANY_TEXT,
    st.sampled_from(FLAGS + PIECES),
    st.lists(st.sampled_from(FLAGS + PIECES), max_size=5).map("".join),
)


@always
@given(st.lists(WORDS, max_size=8))
def test_arguments(argv: list[str]) -> None:
    with suppress(UsageError):
        options = parse(argv)
        assert options.show or (options.commands and all(options.commands))
        assert {number for number, _, _ in options.steps} | set(options.forwarded) - {0} <= signals.ALL
        assert options.timeout >= 0


@always
@given(st.one_of(ANY_TEXT, st.lists(st.sampled_from([*PIECES, *signals.NUMBERS]), max_size=4).map("".join)))
def test_names_of_signals(word: str) -> None:
    with suppress(ValueError):
        number = signals.number(word)
        assert number in signals.ALL
        with suppress(ValueError):  # some signals have no name in Python
            assert signals.number(signals.name(number)) == number


STAT = Path("/proc/self/stat").read_bytes()
DIGITS = st.sampled_from(
    [b"0", b"-1", b"9" * 5000, b"18446744073709551615", b"1_0", b"Z", b"x", b"", b")", b"(", b"\xff", b"\n"]
)


@st.composite
def stats(draw: st.DrawFn) -> bytes:
    """A real /proc/PID/stat with any name, up to three fields replaced, and perhaps cut off somewhere."""
    fields = STAT.rpartition(b")")[2].split()
    for _ in range(draw(st.integers(0, 3))):
        fields[draw(st.integers(0, len(fields) - 1))] = draw(DIGITS)
    line = b"12 (" + draw(st.binary(max_size=16)) + b") " + b" ".join(fields) + b"\n"
    return line[: draw(st.integers(0, len(line)))] if draw(st.booleans()) else line


@always
@given(st.one_of(st.binary(max_size=200), stats()))
@example(b"")
@example(b"1 (a) b")
@example(b")(")
def test_proc_pid_stat(data: bytes) -> None:
    stat = parse_stat(data)
    assert stat is None or all(
        isinstance(each, kind) for each, kind in zip(stat, (str, str, int, int, int, int), strict=True)
    )


@always
@given(st.binary(min_size=1, max_size=15))
def test_any_name_of_a_process_is_read_whole(name: bytes) -> None:
    tail = STAT.rpartition(b")")[2]
    stat = parse_stat(b"12 (" + name + b")" + tail)
    assert stat is not None
    assert stat[0] == name.decode(errors="replace")
    assert stat[2:] == tuple(int(tail.split()[index]) for index in (1, 2, 17, 19))


@always
@given(
    st.one_of(
        st.binary(max_size=100), st.lists(st.one_of(DIGITS, st.integers(1, 2**22).map(b"%d".__mod__))).map(b" ".join)
    )
)
def test_proc_children(data: bytes) -> None:
    pids = parse_children(data)
    assert all(pid >= 0 for pid in pids)
    assert pids == [int(word) for word in data.split() if word.isdigit() and len(word) < 20]


def test_wait_statuses() -> None:
    """Every wait status of a dead process gives its code (waitpid(2) gives others only for stopped processes)."""
    for status in range(0x10000):
        if os.WIFEXITED(status) or os.WIFSIGNALED(status):
            how = ending(status)
            assert how.code == (128 + how.signum if how.signum else os.WEXITSTATUS(status))


ENTRIES = [b"LC_CTYPE=C.UTF-8", b"LC_CTYPE", b"=x", b"A=b=c", b"", b"\xff=\xfe", b"LC_CTYPE=\xff", b"A"]


@always
@given(st.one_of(st.binary(max_size=60), st.lists(st.sampled_from(ENTRIES)).map(b"\0".join)))
def test_proc_self_environ(data: bytes) -> None:
    """The first NAME=VALUE of each name counts; if the file was overwritten, Python's environment counts instead."""
    with (
        mock.patch("posix.environ", {b"P": b"Q"}),
        mock.patch.object(isolated, "open", create=True, return_value=BytesIO(data)),
    ):
        found = isolated.callers_environment()
    entries = data.split(b"\0")[:-1]
    if not all(entries):  # an empty entry: setproctitle has overwritten the environment
        assert found == {b"P": b"Q"}
    else:
        pairs = [entry.partition(b"=") for entry in entries]
        assert found == {name: value for name, equals, value in reversed(pairs) if name and equals}


@always
@given(st.one_of(ANY_TEXT, st.sampled_from(["/dev/fd/", "/proc/self/fd/", ""]).flatmap(lambda p: WORDS.map(p.__add__))))
def test_paths_of_descriptors(path: str) -> None:
    number = descriptor(path)
    assert number is None or 0 <= number < 10**9


@always
@given(st.text(st.characters(codec=None, exclude_categories=()), max_size=80), st.integers(0, 60))
def test_text_is_printable_and_cut(text: str, end: int) -> None:
    shown = printable(text)
    assert shown.isprintable()
    head = cut(shown, end)
    assert shown.startswith(head)
    assert len(head) <= end
    head.encode()


LINES = [line.encode() for line in recorded()]
REAL = (ROOT / "docs/pictures/run.jsonl").read_bytes().splitlines(keepends=True)


@st.composite
def traces(draw: st.DrawFn) -> bytes:
    """A trace with bytes changed, removed, inserted or cut off, and with lines missing or repeated."""
    lines = [*draw(st.sampled_from([LINES, REAL]))]
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.integers(0, len(lines) - 1))
        lines[place : place + 1] = draw(st.sampled_from([[], [lines[place]] * 2]))
        lines = lines or [b""]
    data = b"".join(lines)
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(data)))
        size = draw(st.integers(0, 9))
        data = (
            data[:start]
            + draw(st.one_of(st.binary(max_size=4), st.sampled_from([b"null", b"-1", b"1e999", b"[]", b'"'])))
            + data[start + size :]
        )
    return data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data


@settings(always, suppress_health_check=list(HealthCheck))
@given(st.one_of(st.binary(max_size=99), traces()))
@example(b"[" * 100_000 + b"\n")
@example(LINES[0] + b"[]\n" + b"null\n")
def test_traces(data: bytes) -> None:
    lines = data.decode(errors="replace").splitlines(keepends=True)
    with suppress(TraceError):
        found = read.read(lines)
        picture(found)
        replay.replay(found)
