"""Histories of the lifecycle: a test hands over events, and compares all their effects."""

from __future__ import annotations

import math
from itertools import permutations, product

import pytest

from statechart.chart import State
from statechart.effects import Exit, Relay, ResumeAll, SendStep, SetClock, SuspendAll
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
from statechart.values import Stage

HUP, INT, KILL, TERM, CONT = 1, 2, 9, 15, 18
STOP_ALL = (SendStep(TERM, CONT), SetClock(2.0))
KILL_ALL = (SendStep(KILL, target="tree"), SetClock(2.0))


def begin(count: int = 2, steps: tuple[int, ...] = (TERM, KILL), timeout: float = 2.0) -> Lifecycle:
    return Lifecycle([Command([f"c{n}"], 100 + n) for n in range(count)], steps, timeout)


def ended(index: int, code: int) -> CommandEnded:
    return CommandEnded((index, Ending(code)))


def killed(index: int, signum: int) -> CommandEnded:
    return CommandEnded((index, Ending(128 + signum, signum)))


def play(run: Lifecycle, *events: Event) -> list[tuple[object, ...]]:
    return [run.handle(event).effects for event in events]


def test_muinit_exits_when_its_only_command_has_ended() -> None:
    run = begin(1)
    assert play(run, ended(0, 0), Drained()) == [STOP_ALL, (Exit(0),)]
    assert run.state is State.EXITED


def test_when_one_command_ends_the_others_are_stopped_in_steps() -> None:
    run = begin(3)
    assert play(run, ended(1, 3), Timeout(), killed(0, TERM), killed(2, KILL), Drained()) == [
        STOP_ALL,
        KILL_ALL,
        (),
        (),
        (Exit(3),),
    ]
    assert run.decider is run.commands[1]


def test_the_stage_names_state_and_step() -> None:
    run = begin()
    assert str(run.stage) == "RUNNING"
    run.handle(Terminate(TERM))
    assert str(run.stage) == "TERMINATING [step 1 of 2]"
    run.handle(Timeout())
    assert str(run.stage) == "TERMINATING [step 2 of 2]"


def test_sigterm_restarts_the_steps_at_step_1() -> None:
    run = begin()
    assert play(run, Terminate(TERM), Timeout(), Terminate(TERM)) == [STOP_ALL, KILL_ALL, STOP_ALL]


def test_a_forwarded_signal_goes_to_every_child_and_changes_nothing() -> None:
    run = begin()
    decision = run.handle(Forward(HUP))
    assert (decision.before, decision.after, decision.effects) == (
        Stage(State.RUNNING),
        Stage(State.RUNNING),
        (Relay(HUP),),
    )


def test_orphans_are_left_alone_while_the_commands_run() -> None:
    assert play(begin(), OrphansAdopted(7)) == [()]


def test_an_orphan_adopted_during_a_step_gets_that_steps_signal() -> None:
    run = begin()
    assert play(run, Terminate(TERM), OrphansAdopted(7, 8)) == [STOP_ALL, (SendStep(TERM, CONT, pids=(7, 8)),)]


def test_sigkill_goes_to_the_whole_tree_again_when_an_orphan_is_adopted() -> None:
    run = begin()
    assert play(run, Terminate(TERM), Timeout(), OrphansAdopted(7))[2] == (SendStep(KILL, target="tree"),)


def test_the_steps_go_on_for_orphans_after_the_last_command() -> None:
    run = begin(1)
    assert play(run, ended(0, 4), OrphansAdopted(7), Timeout(), Drained()) == [
        STOP_ALL,
        (SendStep(TERM, CONT, pids=(7,)),),
        KILL_ALL,
        (Exit(4),),
    ]


def test_sigterm_restarts_the_steps_for_orphans() -> None:
    run = begin(1)
    assert play(run, ended(0, 0), Timeout(), Terminate(TERM)) == [STOP_ALL, KILL_ALL, STOP_ALL]
    assert run.state is State.DRAINING


def test_when_the_last_step_runs_out_muinit_gives_up_with_1() -> None:
    run = begin(1)
    assert play(run, Terminate(TERM), Timeout(), Timeout())[2] == (Exit(1, gave_up=True),)
    run = begin(1)
    assert play(run, ended(0, 0), Timeout(), Timeout())[2] == (Exit(1, gave_up=True),)


def test_timeouts_of_zero_and_infinity_and_the_second_after_a_last_sigkill() -> None:
    run = begin(timeout=0.0)
    assert [effects[-1] for effects in play(run, Terminate(TERM), Timeout())] == [SetClock(0.0), SetClock(1.0)]
    run = begin(timeout=math.inf)
    assert [effects[-1] for effects in play(run, Terminate(TERM), Timeout())] == [SetClock(math.inf)] * 2
    run = begin(timeout=0.0, steps=(KILL, TERM))
    assert [effects[-1] for effects in play(run, Terminate(TERM), Timeout())] == [SetClock(0.0)] * 2


def test_events_that_decide_nothing() -> None:
    run = begin(1)
    assert play(run, Timeout(), Drained(), OrphansAdopted(3)) == [(), (), ()]
    assert run.state is State.RUNNING
    run.handle(Terminate(TERM))
    assert play(run, Drained()) == [()]


def test_ctrl_z_suspends_only_while_all_commands_run_and_sigcont_always_resumes() -> None:
    run = begin(1)
    assert play(run, Suspend(), Resume()) == [(SuspendAll(),), (ResumeAll(),)]
    assert play(run, Terminate(TERM), Suspend(), Resume())[1:] == [(), (ResumeAll(),)]
    assert play(run, ended(0, 0), Suspend(), Resume())[1:] == [(), (ResumeAll(),)]


# The exit status


def code(run: Lifecycle, *events: Event) -> int:
    play(run, *events, Drained())
    assert run.state is State.EXITED
    return run.code


def test_the_first_failure_decides() -> None:
    assert code(begin(3), ended(0, 0), ended(1, 5), ended(2, 6)) == 5


def test_a_death_by_our_own_signal_is_not_a_failure() -> None:
    assert code(begin(), ended(0, 0), killed(1, TERM)) == 0
    assert code(begin(), ended(0, 0), Timeout(), killed(1, KILL)) == 0
    assert code(begin(), ended(0, 0), ended(1, 143)) == 0


def test_a_death_by_any_other_signal_is_a_failure() -> None:
    assert code(begin(), ended(0, 0), killed(1, KILL)) == 137
    assert code(begin(), ended(0, 0), ended(1, 137)) == 137
    assert code(begin(), ended(0, 0), killed(1, CONT)) == 146


def test_a_code_that_a_command_chooses_while_being_stopped_counts() -> None:
    assert code(begin(), ended(0, 0), ended(1, 7)) == 7


def test_deaths_count_if_muinit_was_told_to_stop() -> None:
    assert code(begin(), Terminate(TERM), killed(0, TERM), killed(1, TERM)) == 143
    assert code(begin(), Terminate(TERM), Timeout(), killed(0, KILL), ended(1, 0)) == 137
    assert code(begin(), Terminate(TERM), ended(0, 0), ended(1, 0)) == 0


def test_deaths_count_from_the_moment_when_muinit_is_told_to_stop() -> None:
    assert code(begin(3), ended(0, 0), killed(1, TERM), Terminate(TERM), killed(2, TERM)) == 143
    assert code(begin(3), ended(0, 0), killed(1, TERM), killed(2, TERM)) == 0


def test_a_death_by_a_forwarded_signal_counts() -> None:
    assert code(begin(), Forward(INT), killed(0, INT), killed(1, INT)) == 130
    assert code(begin(), Forward(INT), ended(0, 0), killed(1, TERM)) == 0
    assert code(begin(), Forward(INT), ended(0, 0), killed(1, INT)) == 130


def test_if_muinit_sends_a_signal_again_the_last_time_counts() -> None:
    run = begin(steps=(INT, KILL))
    assert code(run, Forward(INT), ended(0, 0), killed(1, INT)) == 0
    run = begin(steps=(INT, KILL))
    assert code(run, ended(0, 0), Forward(INT), killed(1, INT)) == 130


def test_commands_that_ended_together_were_not_signalled() -> None:
    together = CommandEnded((0, Ending(0)), (1, Ending(143, TERM)))
    assert code(begin(), together) == 143


def test_a_command_that_could_not_be_started_decides() -> None:
    run = Lifecycle([Command(["a"], 100), Command(["b"], None), Command(["c"], None)], (TERM, KILL), 2.0)
    refused = CommandEnded((1, Ending(127, failure="was not found")))
    assert code(run, refused, killed(0, TERM)) == 127


def test_events_are_compared_without_their_time() -> None:
    assert Timeout(at=1.0) == Timeout(at=2.0)
    assert Forward(2) != Forward(3)
    assert Forward(2) != Terminate(2)
    assert len({Forward(2), Forward(2, at=9.0), Terminate(2)}) == 2
    assert repr(OrphansAdopted(7)) == "OrphansAdopted((), (7,))"
    assert repr(SendStep(9, target="tree")) == "SendStep((), None, (9,), (), 'tree')"


# Commands that may end


def test_a_command_that_may_end_and_ends_with_0_changes_nothing() -> None:
    run = Lifecycle([Command(["job"], 100, may_end=True), Command(["web"], 101)], (TERM, KILL), 2.0)
    decision = run.handle(CommandEnded((0, Ending(0))))
    assert (str(decision.after), decision.guard, decision.effects) == ("RUNNING", "may_go_on", ())
    assert run.handle(CommandEnded((1, Ending(3)))).after.state is State.DRAINING
    assert play(run, Drained()) == [(Exit(3),)]


@pytest.mark.parametrize("ending", [Ending(3), Ending(137, 9), Ending(127, failure="was not found")])
def test_any_other_end_of_a_command_that_may_end_begins_the_stop(ending: Ending) -> None:
    run = Lifecycle([Command(["job"], 100, may_end=True), Command(["web"], 101)], (TERM, KILL), 2.0)
    assert play(run, CommandEnded((0, ending))) == [STOP_ALL]


def test_a_batch_in_which_another_command_ended_begins_the_stop() -> None:
    commands = [Command(["job"], 100, may_end=True), Command(["web"], 101), Command(["mail"], 102)]
    run = Lifecycle(commands, (TERM, KILL), 2.0)
    assert play(run, CommandEnded((0, Ending(0)), (1, Ending(0)))) == [STOP_ALL]


def test_a_code_that_means_success_is_an_end_with_0() -> None:
    run = Lifecycle([Command(["job"], 100, may_end=True, success=[9]), Command(["web"], 101)], (TERM, KILL), 2.0)
    assert play(run, CommandEnded((0, Ending(9)))) == [()]
    started = Lifecycle([Command(["job"], None, may_end=True, success=[127]), Command(["web"], 101)], (TERM, KILL), 2.0)
    assert play(started, CommandEnded((0, Ending(127, failure="was not found")))) == [STOP_ALL]


# Which codes count, and whose is the exit status


@pytest.mark.parametrize("code", range(256))
def test_each_code_passes_and_counts_as_0_if_it_is_named(code: int) -> None:
    for success in ((), (code,), (code - 1, code + 1)):
        run = Lifecycle([Command(["a"], 100, success=success)], (15, 9), 2.0)
        run.handle(CommandEnded((0, Ending(code))))
        run.handle(Drained())
        assert run.code == (0 if code in success else code)


ENDINGS = [Ending(0), Ending(3), Ending(143, 15), Ending(143), Ending(137, 9)]


def by_hand(policy: str, ended: list[tuple[Ending, bool]], first_step: int) -> int:
    """The exit status, stated a second time: of endings in order, each with whether that command may end.

    The command at `first_step` began the stop; what muinit sent after it, SIGTERM, was its own initiative.
    """
    for place, (ending, may_end) in enumerate(ended):
        ours = place > first_step and ending.code == 143
        if policy == "first-failed" and ending.code and not ours:
            return ending.code
        if policy == "original" and ending.code:
            return ending.code
        if policy == "first-ended" and (ending.code or not may_end):
            return ending.code
    return 0


@pytest.mark.parametrize("policy", ["first-failed", "first-ended", "original"])
def test_each_policy_in_every_history_of_two_and_three(policy: str) -> None:
    tried = 0
    for count in (2, 3):
        for order in permutations(range(count)):
            for endings in product(ENDINGS, repeat=count):
                for roles in product((False, True), repeat=count):
                    run = Lifecycle(
                        [Command([str(n)], 100 + n, may_end=roles[n]) for n in range(count)], (15, 9), 2.0, policy
                    )
                    for index in order:
                        run.handle(CommandEnded((index, endings[index])))
                    run.handle(Drained())
                    ended = [(endings[index], roles[index]) for index in order]
                    stops = (n for n, (ending, may_end) in enumerate(ended) if ending.code or not may_end)
                    assert run.code == by_hand(policy, ended, next(stops, count)), (policy, order, endings, roles)
                    tried += 1
    assert tried > 5000
