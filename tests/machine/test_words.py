"""What muinit says, word for word."""

from __future__ import annotations

import math
import re
import signal

import pytest

from statechart.effects import CHILD, SendStep
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
from statechart.words import decision as words
from statechart.words import phrases
from statechart.words.story import Story
from statechart.words.verdict import Verdict


def name(signum: int) -> str:
    return signal.Signals(signum).name


def life(count: int = 2) -> Lifecycle:
    return Lifecycle([Command([f"/bin/c{n}", "-x"], 100 + n) for n in range(count)], (15, 9), 2.0)


def transcript(run: Lifecycle, *events: Event) -> str:
    lines = [words.start(run)]
    lines += [words.line(run, run.handle(event), name) for event in events]
    return "\n".join(" ".join(line.split()) for line in lines)


TRANSCRIPT = """
0.000 s [*] -> RUNNING start: pid 100 (c0 -x), pid 101 (c1 -x)
0.125 s RUNNING -> RUNNING suspend / SIGTSTP to every command, then to us
0.250 s RUNNING -> RUNNING resume / SIGCONT to every child
0.500 s RUNNING -> RUNNING forward: SIGINT / SIGINT to every child
1.250 s RUNNING -> TERMINATING [step 1 of 2] \
command_ended: pid 100 (c0 -x) exited 3 / SIGTERM, SIGCONT to every child; clock 2 s
1.500 s TERMINATING [step 1 of 2] -> TERMINATING [step 1 of 2] \
orphans_adopted: pid 200, group 201 / SIGTERM, SIGCONT to those not asked yet
2.500 s TERMINATING [step 1 of 2] -> TERMINATING [step 1 of 2, again] \
timeout [some_unasked]: not asked yet: pid 300 (sleep) / SIGTERM, SIGCONT to those not asked yet; clock 2 s
2.750 s TERMINATING [step 1 of 2, again] -> TERMINATING [step 1 of 2, again] \
orphans_adopted: pid 300 already asked
3.250 s TERMINATING [step 1 of 2, again] -> TERMINATING [step 2 of 2] \
timeout [step_left] / SIGKILL to every descendant; clock 2 s
3.500 s TERMINATING [step 2 of 2] -> TERMINATING [step 1 of 2] \
terminate: SIGTERM / SIGTERM, SIGCONT to every child; clock 2 s
5.500 s TERMINATING [step 1 of 2] -> TERMINATING [step 2 of 2] \
timeout [step_left] / SIGKILL to every descendant; clock 2 s
5.750 s TERMINATING [step 2 of 2] -> DRAINING [step 2 of 2] \
command_ended [last_command]: pid 101 (c1 -x) died of SIGSEGV with a core dump
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
        Timeout(300, names=("sleep",), at=2.5),
        OrphansAdopted(300, asked=(300,), at=2.75),
        Timeout(at=3.25),
        Terminate(15, at=3.5),
        Timeout(at=5.5),
        CommandEnded((1, Ending(139, 11, core=True)), at=5.75),
        Drained(at=6),
    )
    assert lines == TRANSCRIPT.strip()


def test_the_columns_are_aligned() -> None:
    run = life()
    lines = [words.start(run)] + [words.line(run, run.handle(event), name) for event in (Terminate(15), Timeout())]
    assert {line.index(word) for line, word in zip(lines, ("start", "terminate", "timeout"), strict=True)} == {71}


def test_giving_up() -> None:
    last = transcript(life(), Terminate(15), Timeout(), Timeout()).splitlines()[-1]
    assert last == "0.000 s TERMINATING [step 2 of 2] -> EXITED timeout / exit 1, giving up"


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["sshd", "-D"], "sshd -D"),
        (["sh", "-c", "x" * 100], "sh -c " + "x" * 31 + "..."),
        (["a\x1b[2J\n"], r"a\x1b[2J\n"),
        (["café", "\udcff"], r"café \udcff"),
        (["x" * 40], "x" * 40),
        (["x" * 36 + "\n", "yyy"], "x" * 36 + "..."),
        (["x" * 35 + "\n", "yyy"], "x" * 35 + r"\n..."),
        (["x" * 34 + "\x1b[1m"], "x" * 34 + "..."),
        (["x" * 28 + "\U000e0001yyyy"], "x" * 28 + "..."),
        (["x" * 36 + "e\u0301\u0323yyyy"], "x" * 36 + "..."),
        (["x" * 34 + "e\u0301\u0323yyyy"], "x" * 34 + "e\u0301\u0323..."),
        (["\u0301" * 50], "..."),
        (["x" * 36 + "\\"], "x" * 36 + "\\"),
    ],
)
def test_a_title_is_short_and_cannot_move_the_cursor(argv: list[str], words: str) -> None:
    assert phrases.title(argv) == words


def test_colours_do_not_move_the_columns() -> None:
    run = life()
    for step in (
        run.handle(Terminate(15)),
        run.handle(CommandEnded((0, Ending(0)), (1, Ending(0)))),
        run.handle(Drained()),
    ):
        line = words.line(run, step, name, colour=True)
        assert "\x1b[" in line
        assert re.sub(r"\x1b\[\d*m", "", line) == words.line(run, step, name)
        assert line.count("\x1b[0m") == line.count("\x1b[") / 2


def test_the_columns_are_aligned_for_many_steps() -> None:
    run = Lifecycle([Command(["a"], 1)], [15] * 10, 0.0)
    lines = [words.start(run), words.line(run, run.handle(Terminate(15)), name)]
    lines += [words.line(run, run.handle(Timeout()), name) for _ in range(9)]
    assert len({line.index(word) for line, word in zip(lines, ["start", "term", *["timeout"] * 9], strict=True)}) == 1


# The last line


def verdict(run: Lifecycle, *events: Event, survivors: tuple[str, ...] = (), at: float = 9.0) -> str:
    for event in events:
        run.handle(event)
    return Verdict(run, name).sentence(survivors, at)


def test_the_last_line_of_a_failure() -> None:
    events = CommandEnded((0, Ending(3)), at=1.5), CommandEnded((1, Ending(143, 15)), at=1.6), Drained()
    assert verdict(life(), *events) == (
        "exit 3: pid 100 (c0 -x) exited 3 after 1.5 s, so muinit stopped the rest: "
        "pid 101 (c1 -x) died of muinit's SIGTERM (143), 0.1 s into step 1 of 2 (SIGTERM)"
    )


def test_the_last_line_names_the_orphans_that_had_to_be_killed() -> None:
    killed = [((pid, Ending(137, 9)), "sleep" if pid == 200 else "") for pid in range(200, 207)]
    dead = OrphansEnded(*(ending for ending, _ in killed), names=tuple(name for _, name in killed))
    run = life(1)
    said = verdict(run, CommandEnded((0, Ending(0)), at=1), Timeout(at=3), dead, Drained())
    assert said == (
        "exit 0: no command failed; pid 100 (c0 -x) exited 0 after 1 s: muinit's SIGKILL ended pid 200 (sleep), "
        "pid 201, pid 202, pid 203, pid 204 and 2 more, which had been asked to stop"
    )
    assert Verdict(run, name).noteworthy()


def test_a_command_that_had_to_be_killed_is_noteworthy() -> None:
    run = life()
    verdict(run, CommandEnded((0, Ending(0))), Timeout(), CommandEnded((1, Ending(137, 9))), Drained())
    assert Verdict(run, name).noteworthy()
    orderly = life()
    verdict(orderly, CommandEnded((0, Ending(0))), CommandEnded((1, Ending(143, 15))), Drained())
    assert not Verdict(orderly, name).noteworthy()


def test_the_last_line_of_a_command_in_the_background() -> None:
    run = life(1)
    assert verdict(run, CommandEnded((0, Ending(0)), left=(200,), names=("nginx",), at=0.5), Drained()) == (
        "exit 0: no command failed; pid 100 (c0 -x) exited 0 after 0.5 s (it may have gone to the background, "
        "because it left pid 200 (nginx); a command must stay in the foreground)"
    )
    assert Verdict(run, name).noteworthy()
    failed = life(1)
    assert "background" not in verdict(failed, CommandEnded((0, Ending(3)), left=(200,), names=("nginx",)), Drained())


def test_the_last_line_of_a_command_that_had_no_input() -> None:
    for at, mistaken in (0.1, True), (5.0, False):
        run = Lifecycle([Command(["bash"], 100), Command(["cat"], 101, reads_nothing=True)], (15, 9), 2.0)
        events = CommandEnded((1, Ending(0)), at=at), CommandEnded((0, Ending(143, 15)), at=at), Drained()
        words = "(it may have ended because it had nothing to read; only the first command reads the terminal)"
        assert (words in verdict(run, *events)) == mistaken
        assert Verdict(run, name).noteworthy() == mistaken


def test_the_last_line_of_an_oom_kill() -> None:
    """The last line mentions an OOM kill only to explain a SIGKILL (137) that muinit did not send."""
    words = "(the kernel has counted an OOM kill in this cgroup)"
    killed: list[Event] = [Terminate(15), Timeout(), CommandEnded((0, Ending(137, 9)))]
    cases: list[tuple[list[Event], bool]] = [
        (killed[2:], True),
        ([CommandEnded((0, Ending(137)))], True),
        ([CommandEnded((0, Ending(3)))], False),
        (killed, False),
    ]
    for events, told in cases:
        run = life(1)
        for event in [*events, Drained()]:
            run.handle(event)
        assert (words in Verdict(run, name, out_of_memory=True).sentence((), 9.0)) == told
        assert words not in Verdict(run, name).sentence((), 9.0)


def test_the_last_line_when_no_process_was_left_to_stop() -> None:
    assert verdict(life(1), CommandEnded((0, Ending(139, 11, core=True)), at=0.25), Drained()) == (
        "exit 139: pid 100 (c0 -x) died of SIGSEGV with a core dump (139) after 0.25 s"
    )
    assert verdict(life(), CommandEnded((1, Ending(4)), (0, Ending(5)), at=2), Drained()) == (
        "exit 4: pid 101 (c1 -x) exited 4 after 2 s: pid 100 (c0 -x) exited 5 after 2 s"
    )


def test_the_last_line_when_the_command_that_failed_was_being_stopped() -> None:
    events = CommandEnded((0, Ending(0)), at=1.5), Timeout(at=3.5), CommandEnded((1, Ending(7)), at=3.75), Drained()
    assert verdict(life(), *events) == (
        "exit 7: pid 101 (c1 -x) exited 7 after 3.75 s, 0.25 s into step 2 of 2 (SIGKILL); "
        "pid 100 (c0 -x) exited 0 after 1.5 s, so muinit stopped the rest"
    )


def test_the_last_line_when_muinit_was_told_to_stop() -> None:
    events = Terminate(15, at=1.5), CommandEnded((0, Ending(0)), (1, Ending(143, 15)), at=2), Drained()
    assert verdict(life(), *events) == (
        "exit 143: pid 101 (c1 -x) died of muinit's SIGTERM (143) after 2 s, 0.5 s into step 1 of 2 (SIGTERM); "
        "SIGTERM had told muinit to stop after 1.5 s: pid 100 (c0 -x) exited 0, 0.5 s into step 1 of 2 (SIGTERM)"
    )


def test_the_last_line_names_the_first_signal_that_told_muinit_to_stop() -> None:
    events = Terminate(1, at=1), Terminate(15, at=2), CommandEnded((0, Ending(129, 1)), (1, Ending(0)), at=3), Drained()
    assert "; SIGHUP had told muinit to stop after 1 s: " in verdict(life(), *events)


def test_the_last_line_does_not_blame_a_signal_that_came_after_the_failure() -> None:
    ended = CommandEnded((0, Ending(3)), at=1), Terminate(15, at=1.5), CommandEnded((1, Ending(143, 15)), at=2)
    assert verdict(life(), *ended, Drained()) == (
        "exit 3: pid 100 (c0 -x) exited 3 after 1 s, so muinit stopped the rest; then SIGTERM told muinit to stop, "
        "after 1.5 s: pid 101 (c1 -x) died of muinit's SIGTERM (143), 0.5 s into step 1 of 2 (SIGTERM)"
    )


def test_the_last_line_tells_of_a_later_signal_that_made_the_death_count() -> None:
    events = CommandEnded((0, Ending(0)), at=1), Terminate(15, at=1.5), CommandEnded((1, Ending(143, 15)), at=2)
    assert verdict(life(), *events, Drained()) == (
        "exit 143: pid 101 (c1 -x) died of muinit's SIGTERM (143) after 2 s, 0.5 s into step 1 of 2 (SIGTERM); "
        "pid 100 (c0 -x) exited 0 after 1 s, so muinit stopped the rest; then SIGTERM told muinit to stop, after 1.5 s"
    )


def test_the_last_line_tells_our_sigkill_from_others_after_being_told_to_stop() -> None:
    """137 after `docker stop` comes from muinit's SIGKILL and not from the kernel's OOM killer."""
    told = Terminate(15, at=1), Timeout(at=3)
    ours = verdict(life(1), *told, CommandEnded((0, Ending(137, 9)), at=3.5))
    assert "died of muinit's SIGKILL (137) after 3.5 s, 0.5 s into step 2 of 2 (SIGKILL); " in ours
    theirs = verdict(life(1), told[0], CommandEnded((0, Ending(137, 9)), at=1.5))
    assert "died of SIGKILL (137) after 1.5 s, 0.5 s into step 1 of 2 (SIGTERM); " in theirs
    passed_on = verdict(life(1), told[0], Forward(2, at=1.25), CommandEnded((0, Ending(130, 2)), at=1.5))
    assert "died of a forwarded SIGINT (130) after 1.5 s, " in passed_on


def test_the_last_line_says_that_a_signal_was_forwarded() -> None:
    events = Forward(2), CommandEnded((0, Ending(130, 2)), (1, Ending(130)), at=1), Drained()
    assert verdict(life(), *events) == (
        "exit 130: pid 100 (c0 -x) died of a forwarded SIGINT (130) after 1 s: "
        "pid 101 (c1 -x) exited 130 on a forwarded SIGINT after 1 s"
    )


def test_the_last_line_when_nothing_failed() -> None:
    events = CommandEnded((0, Ending(0)), at=1.5), CommandEnded((1, Ending(143)), at=1.6), Drained()
    assert verdict(life(), *events) == (
        "exit 0: no command failed; pid 100 (c0 -x) exited 0 after 1.5 s, so muinit stopped the rest: "
        "pid 101 (c1 -x) exited 143 on muinit's SIGTERM, 0.1 s into step 1 of 2 (SIGTERM)"
    )
    told = Terminate(15, at=1), CommandEnded((0, Ending(0)), at=1.25), Drained()
    assert verdict(life(1), *told) == (
        "exit 0: no command failed; SIGTERM had told muinit to stop after 1 s: "
        "pid 100 (c0 -x) exited 0, 0.25 s into step 1 of 2 (SIGTERM)"
    )


@pytest.mark.parametrize(
    ("code", "failure"), [(127, "was not found"), (126, "could not be executed: Permission denied")]
)
def test_the_last_line_when_a_command_could_not_be_started(code: int, failure: str) -> None:
    run = Lifecycle([Command(["x"], 7), Command(["/x/a"], None), Command(["b"], None)], (15, 9), 2.0)
    events = CommandEnded((1, Ending(code, failure=failure))), CommandEnded((0, Ending(143, 15)), at=0.5), Drained()
    assert verdict(run, *events) == (
        f"exit {code}: command (/x/a) {failure}, so muinit stopped the rest: "
        "pid 7 (x) died of muinit's SIGTERM (143), 0.5 s into step 1 of 2 (SIGTERM); command (b) was not started"
    )


def test_the_last_line_names_survivors() -> None:
    events = CommandEnded((0, Ending(3)), at=1), Timeout(at=3), Timeout(at=5)
    assert verdict(life(), *events, survivors=("pid 9 (x, state D)",), at=5) == (
        "exit 1: still alive 2 s into step 2 of 2 (SIGKILL): pid 9 (x, state D); "
        "pid 100 (c0 -x) exited 3 after 1 s, so muinit stopped the rest: pid 101 (c1 -x) is still alive"
    )
    assert "(SIGKILL): a process that cannot be identified; " in verdict(life(), *events)


def test_many_commands_that_ended_alike_are_counted_together_and_failures_come_first() -> None:
    run = life(40)
    run.commands = [*run.commands, Command(["y"], None), Command(["z"], None)]
    events: list[Event] = [
        CommandEnded((0, Ending(3)), at=1),
        CommandEnded(*((n, Ending(143, 15)) for n in range(1, 35)), at=1.5),
    ]
    events += [CommandEnded((39, Ending(5)), at=2), CommandEnded((38, Ending(0)), at=2), Timeout(), Timeout()]
    text = verdict(run, *events)
    assert "so muinit stopped the rest: pid 139 (c39 -x) exited 5, 1 s into step 1 of 2 (SIGTERM); pid 101" in text
    assert text.endswith(
        "; 30 more died of muinit's SIGTERM (143), at most 0.5 s into step 1 of 2 (SIGTERM); 3 more are still alive; "
        "pid 138 (c38 -x) exited 0, 1 s into step 1 of 2 (SIGTERM); 2 more were not started"
    )


@pytest.mark.parametrize(
    ("time", "words"),
    [
        (0.0, "0 s"),
        (0.0004, "0 s"),
        (0.5, "0.5 s"),
        (9.9994, "9.999 s"),
        (9.9996, "10 s"),
        (10, "10 s"),
        (42.55, "42.5 s"),
        (59.97, "60 s"),
        (60, "1 min 0 s"),
        (3599.9, "59 min 59 s"),
        (12000, "3 h 20 min"),
        (435600, "5 d 1 h"),
        (math.inf, "for ever"),
    ],
)
def test_times_as_people_say_them(time: float, words: str) -> None:
    assert phrases.seconds(time) == words


# muinit -v


@pytest.mark.parametrize("number", [1, 9])
def test_who_is_asked_late_with_which_signal_is_said_if_they_differ(number: int) -> None:
    """Of many, the first five."""
    late = [SendStep(3, 18, pids=tuple(range(300, 300 + number))), SendStep(15, 18, pids=(400,))]
    some = "pid 300, pid 301, pid 302, pid 303, pid 304 and 4 more" if number > 1 else "pid 300"
    told = [f"SIGQUIT, SIGCONT to {some}", "SIGTERM, SIGCONT to pid 400"]
    assert phrases.effects_in_words(late, name) == told
    assert phrases.effects_in_words(late[1:], name) == ["SIGTERM, SIGCONT to those not asked yet"]
    run = Lifecycle([Command(["a"], 100, steps=[(3, CHILD)]), Command(["b"], 101)], (15, 9), 2.0)
    story = Story(run, name)
    story.lines(run.handle(Terminate(15)))
    decision = run.handle(Timeout(300, 400, below=(100, 101), at=2))
    line = "SIGQUIT, SIGCONT to pid 300; SIGTERM, SIGCONT to pid 400"
    assert story.lines(decision)[-1] == f"step 1 of 2, again: {line}; waiting up to 2 s"
    assert f" / {line}; clock 2 s" in words.line(run, decision, name)


def test_a_whole_story() -> None:
    run = Lifecycle([*life().commands, Command(["no"], None)], (15, 9), 2.0)
    story = Story(run, name)
    events = [
        CommandEnded((2, Ending(127, failure="was not found"))),
        OrphansAdopted(200, -201, names=("sleep", ""), at=1),
        Forward(2, at=1),
        Suspend(at=1),
        Resume(at=1),
        Terminate(15, at=1.5),
        OrphansEnded((200, Ending(143, 15)), (300, Ending(0)), names=("sleep", ""), at=2),
        CommandEnded((0, Ending(3)), at=2),
        Timeout(400, names=("mysqld",), at=3.5),
        OrphansAdopted(400, names=("mysqld",), asked=(400,), at=3.5),
        Timeout(at=3.5),
        OrphansAdopted(200),
        CommandEnded((1, Ending(137, 9)), at=3.75),
        Drained(at=4),
    ]
    lines = story.start() + [line for event in events for line in story.lines(run.handle(event))]
    assert "\n".join(lines) == STORY.strip()


STORY = """
started pid 100 (c0 -x)
started pid 101 (c1 -x)
command (no) was not found
step 1 of 2: SIGTERM, SIGCONT to every child; waiting up to 2 s
adopted pid 200 (sleep), and sent it SIGTERM
adopted group 201, and sent it SIGTERM
forwarding SIGINT to every child
resume: SIGCONT to every child
told to stop by SIGTERM
step 1 of 2: SIGTERM, SIGCONT to every child; waiting up to 2 s
reaped pid 200 (sleep), which died of SIGTERM
reaped pid 300, which exited 0
pid 100 (c0 -x) exited 3 after 2 s, 0.5 s into step 1 of 2 (SIGTERM)
not asked to stop yet: pid 400 (mysqld)
step 1 of 2, again: SIGTERM, SIGCONT to those not asked yet; waiting up to 2 s
adopted pid 400 (mysqld) (already asked to stop)
step 2 of 2: SIGKILL to every descendant; waiting up to 2 s
adopted pid 200, and sent it SIGKILL
pid 101 (c1 -x) died of muinit's SIGKILL (137) after 3.75 s, 0.25 s into step 2 of 2 (SIGKILL)
"""


def test_a_suspend_is_told() -> None:
    run = life()
    assert Story(run, name).lines(run.handle(Suspend())) == ["suspend: SIGTSTP to every command, then to us"]


def test_an_endless_wait_is_told() -> None:
    run = Lifecycle(life().commands, (15, 9), math.inf)
    lines = Story(run, name).lines(run.handle(Terminate(15)))
    assert lines[1] == "step 1 of 2: SIGTERM, SIGCONT to every child; waiting for ever"
