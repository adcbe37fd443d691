"""What muinit says, word for word."""

from __future__ import annotations

import signal

import pytest

from statechart import report, trace
from statechart.events import (
    CommandEnded,
    Drained,
    Ending,
    Event,
    Forward,
    OrphansAdopted,
    Resume,
    Suspend,
    Terminate,
    Timeout,
)
from statechart.lifecycle import Command, Lifecycle


def name(signum: int) -> str:
    return signal.Signals(signum).name


def life(count: int = 2) -> Lifecycle:
    return Lifecycle([Command([f"/bin/c{n}", "-x"], 100 + n) for n in range(count)], (15, 9), 2.0)


def transcript(run: Lifecycle, *events: Event) -> str:
    lines = [trace.started(run.commands)]
    lines += [trace.taken(run.handle(event), run.commands, name) for event in events]
    return "\n".join(" ".join(line.split()) for line in lines)


TRANSCRIPT = """
0.000 s [*] -> RUNNING start: pid 100 (c0 -x), pid 101 (c1 -x)
0.125 s RUNNING -> RUNNING suspend / SIGTSTP to every command, then to us
0.250 s RUNNING -> RUNNING resume / SIGCONT to every child
0.500 s RUNNING -> RUNNING forward: SIGINT / SIGINT to every child
1.250 s RUNNING -> TERMINATING [step 1 of 2] \
command_ended: pid 100 (c0 -x) exited 3 / SIGTERM, SIGCONT to every child; clock 2 s
1.500 s TERMINATING [step 1 of 2] -> TERMINATING [step 1 of 2] \
orphans_adopted: pid 200, group 201 / SIGTERM, SIGCONT to the adopted
3.250 s TERMINATING [step 1 of 2] -> TERMINATING [step 2 of 2] \
timeout [step_left] / SIGKILL to every descendant; clock 2 s
3.500 s TERMINATING [step 2 of 2] -> TERMINATING [step 1 of 2] \
terminate: SIGTERM / SIGTERM, SIGCONT to every child; clock 2 s
5.500 s TERMINATING [step 1 of 2] -> TERMINATING [step 2 of 2] \
timeout [step_left] / SIGKILL to every descendant; clock 2 s
5.750 s TERMINATING [step 2 of 2] -> DRAINING [step 2 of 2] \
command_ended [last_command]: pid 101 (c1 -x) died of SIGSEGV, core dumped
6.000 s DRAINING [step 2 of 2] -> EXITED drained / exit 3
"""


def test_a_whole_transcript() -> None:
    lines = transcript(
        life(),
        Suspend(at=0.125),
        Resume(at=0.25),
        Forward(2, at=0.5),
        CommandEnded((0, Ending(3)), at=1.25),
        OrphansAdopted(200, -201, at=1.5),
        Timeout(at=3.25),
        Terminate(15, at=3.5),
        Timeout(at=5.5),
        CommandEnded((1, Ending(139, 11, core=True)), at=5.75),
        Drained(at=6),
    )
    assert lines == TRANSCRIPT.strip()


def test_the_columns_are_aligned() -> None:
    run = life()
    lines = [trace.started(run.commands)] + [
        trace.taken(run.handle(event), run.commands, name) for event in (Terminate(15), Timeout())
    ]
    assert {line.index(word) for line, word in zip(lines, ("start", "terminate", "timeout"), strict=True)} == {68}


def test_giving_up() -> None:
    last = transcript(life(), Terminate(15), Timeout(), Timeout()).splitlines()[-1]
    assert last == "0.000 s TERMINATING [step 2 of 2] -> EXITED timeout / exit 1, giving up"


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["sshd", "-D"], "sshd -D"),
        (["sh", "-c", "x" * 100], "sh -c " + "x" * 31 + "..."),
        (["a\x1b[2J\n"], r"a\x1b[2J\n"),
        (["caf\xe9", "\udcff"], r"caf\xe9 \udcff"),
    ],
)
def test_a_title_is_short_and_moves_no_cursor(argv: list[str], words: str) -> None:
    assert trace.title(argv) == words


def verdict(run: Lifecycle, *events: Event, survivors: tuple[str, ...] = ()) -> str:
    for event in events:
        run.handle(event)
    return report.verdict(run, survivors, name)


def test_the_last_line_of_a_failure() -> None:
    events = CommandEnded((0, Ending(3)), at=1.5), CommandEnded((1, Ending(143, 15)), at=1.6), Drained()
    expected = "exit 3: pid 100 (c0 -x) exited 3 after 1.5 s; pid 101 (c1 -x) died of SIGTERM in step 1 of 2"
    assert verdict(life(), *events) == expected


def test_the_last_line_when_we_were_told_to_stop() -> None:
    events = Terminate(15), CommandEnded((0, Ending(0)), (1, Ending(143, 15)), at=2), Drained()
    assert verdict(life(), *events) == (
        "exit 143: told to stop by SIGTERM; pid 101 (c1 -x) died of SIGTERM in step 1 of 2 after 2 s; "
        "pid 100 (c0 -x) exited 0 in step 1 of 2"
    )


def test_the_last_line_does_not_blame_a_stop_that_came_later() -> None:
    events = CommandEnded((0, Ending(3)), at=1), Terminate(15), CommandEnded((1, Ending(143, 15)), at=2), Drained()
    assert verdict(life(), *events).startswith("exit 3: pid 100 (c0 -x) exited 3 after 1 s; ")


def test_the_last_line_when_a_command_could_not_be_started() -> None:
    run = Lifecycle([Command(["/x/a"], None), Command(["b"], None)], (15, 9), 2.0)
    events = CommandEnded((0, Ending(126, failure="could not be executed: Permission denied"))), Drained()
    assert verdict(run, *events) == ("exit 126: (/x/a) could not be executed: Permission denied; (b) was not started")


def test_the_last_line_names_survivors() -> None:
    events = CommandEnded((0, Ending(3))), Timeout(), Timeout()
    assert verdict(life(), *events, survivors=("pid 9 (x, state D)",)) == (
        "exit 1: the time of the last step (SIGKILL) ran out and left alive: pid 9 (x, state D); "
        "pid 100 (c0 -x) exited 3; pid 101 (c1 -x) is left alive"
    )


def test_many_others_are_counted() -> None:
    endings = [(n, Ending(n)) for n in range(40)]
    assert verdict(life(40), CommandEnded(*endings)).endswith("; pid 105 (c5 -x) exited 5; and 34 more")
