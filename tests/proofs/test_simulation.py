"""The simulation runs some thousand histories, it finds bugs, and its kernel does what the real one does."""

from __future__ import annotations

import os
import random
import re
import signal
from collections.abc import Iterable
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from muinit import signals
from muinit.loop import Loop
from muinit.options import parse
from statechart.effects import Relay, SendStep, SetClock, SuspendAll
from statechart.events import Drained, Ending, Event, OrphansEnded
from statechart.lifecycle import Command, Decision, Lifecycle
from statechart.meanings import NOTHING, meanings
from statechart.words.decision import line, start
from tests.cast.harness import PATIENCE, Run, is_deaf, kid, status, wait_for
from tests.proofs.simkernel import Do, Program, SimKernel
from tests.proofs.simulate import BrokenError, play, play_seed

SEEDS = 4000  # `make simulate` plays these and many more
MOST_SEEDS = 15000


def test_seeds() -> None:
    """Every property holds in the history of every seed."""
    for seed in range(SEEDS):
        play_seed(seed)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.randoms(use_true_random=False))
def test_hypothesis_finds_no_failure(rand: random.Random) -> None:
    """Every property also holds if hypothesis draws the histories; it would shorten a history that fails."""
    play(rand.random)


def test_a_seed_replays_exactly() -> None:
    """A history depends on nothing but its seed."""
    for seed in range(20):
        first: list[str] = []
        again: list[str] = []
        play_seed(seed, log=first.append)
        play_seed(seed, log=again.append)
        assert first == again
        assert len(first) > 3


def test_a_child_that_has_the_pid_of_a_former_descendant_is_signalled() -> None:
    """An adopted C that has the pid of B, a former grandchild, is signalled: B's start time no longer counts."""
    kernel = SimKernel(lambda: 0.0, pids=3)
    script = [
        (at, Do("fork", child=Program(name, script=[(0.5, Do("exit"))]))) for at, name in ((0.0, "B"), (1.0, "C"))
    ]
    kernel.catch({signals.SIGCHLD})
    kernel.start(Program("A", script=[*script, (0.0, Do("exit"))]))
    kernel.wait(0.1)
    assert kernel.whole_tree()[1] == [2, 3]
    kernel.wait(None)
    kernel.reap()
    assert kernel.children() == [3]
    kernel.kill(3, signals.SIGTERM)
    (orphan,) = kernel.us.children
    assert orphan.program.name == "C"
    assert [signum for _, signum, _ in orphan.sent] == [signals.SIGTERM]


def test_sigkill_takes_one_look_at_proc() -> None:
    """Whenever SIGKILL goes to the whole tree, one look at /proc finds both the groups and the descendants."""
    kernel = SimKernel(lambda: 0.0)
    lifecycle = Lifecycle([Command(["A"], kernel.start(program("A", "kid B,setsid")))], [signals.SIGKILL], 2.0)
    meaning = meanings(signals.by_name(), init=True)
    kernel.catch(number for number, what in meaning.items() if what != NOTHING)
    kernel.at(1.0, kernel.outside, ("muinit", signals.SIGTERM))
    kills: list[SendStep] = []

    def watch(taken: Decision) -> None:
        kills.extend(effect for effect in taken.effects if isinstance(effect, SendStep))

    Loop(kernel, lifecycle, meaning, print, watch=watch, started_at=0.0).run()
    assert [step.target for step in kills] == ["tree", "tree"], "to A and B, and to B again when it is adopted"
    assert kernel._procfs.looks == len(kills)


# Bugs that are put into the loop. Each class overrides the methods of `Loop` in which its bug is.


class RelayMakesChildrenKnown(Loop):
    """A relayed signal makes children known, as if a step had reached them."""

    def _relay(self, relay: Relay) -> None:
        self._known.update(self._kernel.children())
        super()._relay(relay)


class SecondListCountsAsReached(Loop):
    """After a step the children are listed again, and the second list counts as reached."""

    def _step(self, step: SendStep) -> None:
        super()._step(step)
        if step.pids is None:
            self._known.update(self._kernel.children())


class ClockBeforeTheDead(Loop):
    """The clock is checked before the dead are reaped."""

    def _arrived(self, signums: Iterable[int]) -> None:
        super()._arrived(signums)
        if self._deadline is not None and self._time_left() == 0:
            self._time_is_up()


class OneChildPerWake(Loop):
    """If several statuses come together, only the first is taken."""

    def _endings(self, statuses: Iterable[tuple[int, int]]) -> list[tuple[int, Ending]]:
        return super()._endings(list(statuses)[:1])


class NobodyLooksForAdopted(Loop):
    """The loop does not look for adopted orphans."""

    def _look_for_adopted(self) -> None:
        pass


class SomeAreKnownUntold(Loop):
    """A child that comes between two looks is known before a trace tells of it."""

    def _untold(self) -> list[int]:
        return self._new_children()


class AdoptedAreNotSignalled(Loop):
    """Adopted orphans are known, but not signalled."""

    def _step(self, step: SendStep) -> None:
        if step.pids is None:
            super()._step(step)


class ReapedIsStillKnown(Loop):
    """A child that was reaped is still known."""

    def _forget(self, pid: int) -> None:
        known = self._known & {pid}
        super()._forget(pid)
        self._known |= known


class DrainedIsNotNoticed(Loop):
    """The loop does not notice that no child is left."""

    def _handle(self, event: Event) -> None:
        if not isinstance(event, Drained):
            super()._handle(event)


class ChildrenAreListedOnce(Loop):
    """The list of children is made once."""

    _list: list[int] | None = None

    def _new_children(self) -> list[int]:
        if self._list is None:
            self._list = self._kernel.children()
        return [pid for pid in self._list if pid not in self._known]


class StoppedChildIsNotContinued(Loop):
    """No SIGCONT follows the signal of a step, so a stopped child cannot act on the signal."""

    def _step(self, step: SendStep) -> None:
        super()._step(SendStep(*step.signums[:1], pids=step.pids, target=step.target))


class RelayReachesCommandsOnly(Loop):
    """A relayed signal reaches only the commands."""

    def _relay(self, relay: Relay) -> None:
        self._signal(self._commands, [relay.signum])


class RefusalEndsTheRound(Loop):
    """If muinit may not signal a child, the children after it are not signalled either."""

    def _signal(self, pids: Iterable[int], signums: Iterable[int]) -> None:
        for pid in pids:
            super()._signal([pid], signums)
            if pid in self._refused:
                break


class RefusalIsToldEachTime(Loop):
    """A child that muinit may not signal is named at each signal."""

    def _signal(self, pids: Iterable[int], signums: Iterable[int]) -> None:
        self._refused.clear()
        super()._signal(pids, signums)


class ClockIsNotSetAgain(Loop):
    """If a step begins again, its clock is not set again."""

    def _set_clock(self, clock: SetClock) -> None:
        if self._deadline is None:
            super()._set_clock(clock)


class SignalCountsOnce(Loop):
    """A signal that came several times counts only once."""

    def _arrived(self, signums: Iterable[int]) -> None:
        super()._arrived(sorted(set(signums)))


class StopIsForwarded(Loop):
    """A signal that tells muinit to stop is forwarded instead."""

    def _stop(self, signum: int) -> None:
        self._forward(signum)


class NobodyIsAskedLate(Loop):
    """No descendant is asked late."""

    def _unasked(self) -> dict[int, tuple[int, int]]:
        return {}


class EverybodyIsAskedLate(Loop):
    """All descendants are asked late, even those that have had the step's signal."""

    def _can_ask(self, pid: int) -> bool:
        return self._kernel.may_signal(pid)


class ForbiddenAreWaitedFor(Loop):
    """The loop waits for descendants that muinit may not signal."""

    def _can_ask(self, pid: int) -> bool:
        return pid not in self._known


class AskedLateIsForgotten(Loop):
    """The loop forgets which descendants were asked late."""

    def _time_is_up(self) -> None:
        super()._time_is_up()
        self._asked = {}


class AskedLateOutlivesTheStep(Loop):
    """The loop remembers which descendants were asked late, even after the step."""

    def _step(self, step: SendStep) -> None:
        asked = self._asked
        super()._step(step)
        self._asked = {**asked, **self._asked}


class KilledOrphansAreNotTold(Loop):
    """The lifecycle is told about the orphans that SIGKILL ends only if there is a trace."""

    def _handle(self, event: Event) -> None:
        if self._watch or not isinstance(event, OrphansEnded):
            super()._handle(event)


class StatusOfAnotherCommand(Loop):
    """The status of any command is taken for that of the command with the lowest pid."""

    def _endings(self, statuses: Iterable[tuple[int, int]]) -> list[tuple[int, Ending]]:
        wrong = ((min(self._commands) if pid in self._commands else pid, status) for pid, status in statuses)
        return super()._endings(wrong)


class SigkillGoesToChildrenOnly(Loop):
    """SIGKILL goes only to children."""

    def _step(self, step: SendStep) -> None:
        super()._step(SendStep(*step.signums, pids=step.pids))


class FailedSuspensionIsKept(Loop):
    """If muinit could not be suspended, the commands are not resumed."""

    def _suspend_all(self, _: SuspendAll) -> None:
        self._kernel.suspend()


class LabellerIsAnOrphan(Loop):
    """The process that labels counts as an orphan."""

    def _new_children(self) -> list[int]:
        labels = self._kernel._children.labels
        found = super()._new_children()
        return [*found, labels.pid] if labels and labels.pid and labels.pid not in self._known else found


class SidecarsAreNotSpared(Loop):
    """A step reaches sidecars like any command."""

    def _step(self, step: SendStep) -> None:
        super()._step(SendStep(*step.signums, pids=step.pids, target=step.target, own=step.own))


class WhatBelongsToASidecarIsNotSpared(Loop):
    """A step spares a sidecar, but not what descends from it or is in its group."""

    def _step(self, step: SendStep) -> None:
        super()._step(step)
        if step.pids is None and step.spared:
            _, alive = self._kernel.whole_tree()
            self._signal([pid for pid in alive if pid not in self._commands], step.signums)


class SparedAreKnown(Loop):
    """An orphan in the group of a sidecar counts as reached, also when the sidecar has died."""

    def _step(self, step: SendStep) -> None:
        super()._step(step)
        self._known.update(self._kernel.children())


class OwnSignalsAreIgnored(Loop):
    """A command with a signal of its own gets the common one."""

    def _step(self, step: SendStep) -> None:
        super()._step(SendStep(*step.signums, pids=step.pids, target=step.target, spared=step.spared))


class LateOnesGetTheCommonSignal(Loop):
    """What is asked late below a command with a signal of its own gets the common one."""

    def _unasked(self) -> dict[int, tuple[int, int]]:
        return {pid: (started, pid) for pid, (started, _) in super()._unasked().items()}


class OneCommandsSignalGoesToAll(Loop):
    """A signal that is for one command goes to all."""

    def _relay(self, relay: Relay) -> None:
        super()._relay(Relay(relay.signum, relay.target))


BUGS = [bug for bug in Loop.__subclasses__() if bug.__module__ == __name__]


def first_failure(loop: type[Loop] = Loop) -> str:
    """What is not true in the first seed that fails; "" if no seed fails."""
    for seed in range(MOST_SEEDS):
        try:
            play_seed(seed, loop=loop)
        except BrokenError as error:
            print(f"seed {seed}: {error}")
            return str(error)
    return ""


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_a_bug_in_the_loop_is_found(bug: type[Loop]) -> None:
    """Each of these bugs breaks a property within a few thousand seeds."""
    gone = [name for name, replaced in vars(bug).items() if callable(replaced) and not hasattr(Loop, name)]
    assert not gone, f"{bug.__name__} overrides methods that Loop does not have: {gone}"
    assert first_failure(bug)


def _choose_last(lifecycle: Lifecycle, _: object) -> None:
    codes = [command.ending.code for command in lifecycle.ended if command.failed and command.ending]
    lifecycle.code = codes[-1] if codes else 0


MISJUDGED: dict[str, tuple[type, str, object]] = {
    "every end that is not 0 counts": (Command, "failed", property(lambda it: it.ending.code != 0)),
    "no death by a signal counts": (Command, "failed", property(lambda it: it.ending.code and not it.ending.death)),
    "being told to stop is forgotten": (Lifecycle, "obey", lambda *_: None),
    "the last command that failed decides": (Lifecycle, "choose_code", _choose_last),
}


@pytest.mark.parametrize("what", MISJUDGED)
def test_a_wrong_exit_status_is_found(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong exit status is found, because the simulation states the rule again, by what really happened."""
    monkeypatch.setattr(*MISJUDGED[what])
    assert first_failure().startswith("The exit status")


# The simulated kernel and the real one


class Scenario(NamedTuple):
    """Commands, as rules of `tests/cast/kid.py`, and deeds: one after another, a process gets a signal from outside."""

    what: str
    commands: tuple[tuple[str, ...], ...]
    deeds: tuple[tuple[str, str], ...] = ()
    options: str = ""
    own: tuple[str, ...] = ()  # the options of each command


# If two processes end by one signal, it is chance whether muinit sees their deaths together. So in these scenarios each
# ends alone, or both end while muinit is stopped.
SCENARIOS = [
    Scenario("a plain exit", (("A", "USR1=exit 3"), ("B",)), (("A", "USR1"),)),
    Scenario("told to stop, dies of the signal", (("A",),), (("muinit", "TERM"),)),
    Scenario(
        "told to stop, exits",
        (("A", "TERM=exit 0"), ("B", "TERM=say", "USR1=exit 143")),
        (("muinit", "TERM"), ("B", "USR1")),
    ),
    Scenario("ignores the signal, is killed", (("A", "TERM=ignore"),), (("muinit", "TERM"),), "-t 0.3"),
    Scenario(
        "two steps, then killed", (("A", "HUP=say", "TERM=say"),), (("muinit", "TERM"),), "-k HUP,TERM,KILL -t 0.3"
    ),
    Scenario(
        "told to stop again and again",
        (("A", "TERM=say", "USR1=exit 0"),),
        (("muinit", "TERM"),) * 3 + (("A", "USR1"),),
        "-t 60",
    ),
    Scenario("a survivor", (("A", "TERM=ignore"),), (("muinit", "TERM"),), "-k TERM -t 0.3"),
    Scenario(
        "an orphan is adopted in a step",
        (("A", "kid B,TERM=say,USR1=exit 0,setsid", "TERM=exit 0"),),
        (("muinit", "TERM"), ("B", "USR1")),
        "-t 60",
    ),
    Scenario(
        "an orphan outlives its step",
        (("A", "kid B,TERM=ignore,setsid", "TERM=exit 0"),),
        (("muinit", "TERM"),),
        "-t 0.3",
    ),
    Scenario(
        "a double fork, adopted before",
        (("A", "orphan B,TERM=say,USR1=exit 9", "TERM=exit 0"),),
        (("muinit", "TERM"), ("B", "USR1")),
        "-t 60",
    ),
    Scenario(
        "a double fork, killed from outside",
        (("A", "orphan B,INT=say", "INT=say", "TERM=exit 0"),),
        (("B", "KILL"), ("muinit", "INT"), ("muinit", "TERM")),
    ),
    Scenario("stopped, then continued", (("A", "TERM=exit 0"),), (("A", "STOP"), ("muinit", "TERM")), "-t 60"),
    Scenario("stopped, then killed from outside", (("A",), ("B",)), (("A", "STOP"), ("A", "KILL"))),
    Scenario(
        "a signal is forwarded",
        (("A", "INT=say", "HUP=say"), ("B", "INT=say", "HUP=say", "TERM=say", "USR1=exit 4")),
        (("muinit", "INT"), ("muinit", "HUP"), ("muinit", "INT"), ("muinit", "TERM"), ("B", "USR1")),
        "-s INT,HUP",
    ),
    Scenario("a signal is forwarded, and kills the command", (("A",),), (("muinit", "INT"),)),
    Scenario("a deadly signal tells to stop", (("A", "TERM=exit 0"),), (("muinit", "USR2"),)),
    Scenario("two end together", (("A", "USR1=exit 0"), ("B", "USR1=exit 5")), (("A B", "USR1"),)),
    Scenario(
        "a sidecar is stopped after the others",
        (("S", "TERM=exit 5"), ("A", "TERM=say", "USR1=exit 0")),
        (("muinit", "TERM"), ("A", "USR1")),
        "-t 60",
        ("--sidecar", ""),
    ),
    Scenario(
        "the steps of the others run out beside a sidecar",
        (("S", "TERM=exit 0"), ("A", "TERM=say")),
        (("muinit", "TERM"),),
        "-k TERM -t 0.3",
        ("--sidecar", ""),
    ),
    Scenario(
        "a command has a signal of its own",
        (("A", "USR2=exit 0"), ("B", "TERM=say", "USR1=exit 3")),
        (("muinit", "TERM"), ("B", "USR1")),
        "-t 60",
        ("-k USR2", ""),
    ),
    Scenario(
        "a signal is for one command",
        (("A", "HUP=say", "TERM=exit 0"), ("B", "HUP=say", "TERM=say", "USR1=exit 3")),
        (("muinit", "HUP"), ("muinit", "TERM"), ("B", "USR1")),
        "-t 60",
        ("-s HUP", ""),
    ),
    Scenario("two are killed together", (("A",), ("B",), ("C", "TERM=exit 0")), (("B A", "KILL"),)),
]


class Told(NamedTuple):
    """What can be compared: the trace without times and pids, the exit status, and the words of the kids."""

    trace: list[str]
    code: int
    words: list[str]


class Stage(NamedTuple):
    """The words of the kids and the number of lines of the trace, once all is quiet again after a deed."""

    words: list[str]
    lines: int


def program(name: str, *rules: str) -> Program:
    """A simulated program that does what kid.py does with these rules."""
    reactions, script, end = {}, [], []
    for rule in rules:
        verb, _, rest = rule.partition(" ")
        word, _, action = rule.partition("=")
        if verb in ("kid", "orphan"):
            child, *its = rest.split(",")
            script.append((0.0, Do("fork" if verb == "kid" else "daemon", child=program(child, *its))))
        elif action:
            what, _, number = action.partition(" ")
            reactions[signals.number(word)] = Do(what, int(number or signals.number(word)))
        elif verb == "setsid":
            script.append((0.0, Do("setsid")))
        else:
            end.append((0.0, Do("exit", int(rest))))
    return Program(name, reactions, [*script, *end])


def plain(lines: list[str], names: dict[int, str]) -> list[str]:
    """The lines of a trace without times, and with processes by their names.

    What depends on chance is left out: when orphans are seen while the commands run, and processes in the middle of a
    double fork, which have no name.
    """
    found = []
    for each in lines:
        head, _, text = each.removeprefix("muinit: ").partition(" s  ")
        if re.fullmatch(r" *\d+\.\d{3}", head):
            text = re.sub(r"pid (\d+)( \(.*?\))?", lambda match: names.get(int(match[1]), "nobody"), text)
            text = re.sub(r"nobody( (exited|died of) \w+)?(, |(?= /)|$)", "", " ".join(text.split()))
            if not re.match(r"RUNNING -> RUNNING orphans|.* orphans_\w+:( +/|,? ?$)", text):
                found.append(text.removesuffix(", "))
    return found


def simulated(scenario: Scenario) -> tuple[Told, list[Stage]]:
    """Play it on the simulated kernel, with nothing between system calls. Also return what was seen at each deed."""
    own = scenario.own or ("",) * len(scenario.commands)
    words = [word for its in own for word in ("---", *its.split(), "kid")]
    options = parse([*scenario.options.split(), *words])
    kernel = SimKernel(lambda: 0.0)
    commands = [
        Command(
            rules[:1], kernel.start(program(*rules)), sidecar=its.sidecar, steps=its.steps, forward=dict(its.forward)
        )
        for rules, its in zip(scenario.commands, options.commands, strict=True)
    ]
    lines: list[str] = []
    stages: list[Stage] = []
    names: dict[int, str] = {}

    def do(deed: tuple[str, str]) -> None:
        look()
        for whom in deed[0].split():
            kernel.outside((whom, signals.number(deed[1])))
        if " " in deed[0]:
            kernel.settle()
            kernel.tell_us(signals.SIGCONT)

    def look() -> None:
        names.update((process.pid, process.program.name) for process in kernel.table.values())
        stages.append(Stage(list(kernel.said), len(plain(lines, names))))

    for number, deed in enumerate(scenario.deeds):
        kernel.at(0.001 * (number + 1), do, deed)
    meaning = meanings(signals.by_name(), options.forwarded, options.stop_on, named=options.named, init=False)
    kernel.catch(number for number, what in meaning.items() if what != NOTHING)
    lifecycle = Lifecycle(commands, [number for number, _, _ in options.steps], options.times)
    lines.append(start(lifecycle))

    def watch(taken: Decision) -> None:
        lines.append(line(lifecycle, taken, signals.name))

    end = Loop(kernel, lifecycle, meaning, lines.append, watch=watch, started_at=0.0).run()
    look()
    return Told(plain(lines, names), end.code, sorted(kernel.said)), stages


def real(scenario: Scenario, stages: list[Stage]) -> Told:
    """Play it on real processes. Each deed waits until all that the simulation saw before it is seen here too."""
    own = scenario.own or ("",) * len(scenario.commands)
    kids = ([*its.split(), *kid(*rules)] for its, rules in zip(own, scenario.commands, strict=True))
    with Run(*kids, options=f"{scenario.options} --trace-states") as it:
        names = [
            name
            for rules in scenario.commands
            for name in re.findall(r"^\w+|(?<=kid )\w+|(?<=orphan )\w+", " ".join(rules))
        ]
        it.ready(*names)
        heard: list[str] = []
        for deed, stage in zip((*scenario.deeds, None), stages, strict=True):
            told = sorted(stage.words)
            for word in sorted(heard):
                told.remove(word)
            it.hear(*told)
            heard += told
            if deed is None:
                break
            pids = {pid: name for name, pid in it.pids.items()}
            wait_for(lambda lines=stage.lines, pids=pids: len(plain(said(it).splitlines(), pids)) >= lines)
            wait_for(lambda: not is_deaf(it.init))  # in the simulation, muinit waits when a deed is done
            act(it, *deed)
        code = it.process.wait(PATIENCE)
        err = it.err
        for name in names:  # the last step may have left some alive
            if status(it.pids[name]) and code == 1:
                it.kill(name, signal.SIGKILL)
        wait_for(lambda: not it.survivors())
        pids = {pid: name for name, pid in it.pids.items()}
        return Told(plain(err.splitlines(), pids), code, sorted(heard))


def said(it: Run) -> str:
    """What muinit has said so far."""
    return os.pread(it.stderr.fileno(), 1 << 20, 0).decode()


def act(it: Run, whom: str, word: str) -> None:
    """Send the signal from outside. If it stops or kills processes at once, wait until they are stopped or dead."""
    number = signals.number(word)
    if whom == "muinit":
        it.signal(number)
        return
    pids = [it.pids[name] for name in whom.split()]
    if len(pids) > 1:  # they must end while muinit does not look
        it.signal(signal.SIGSTOP)
        wait_for(lambda: status(it.init)["State"].startswith("T"))
    before = [status(pid).get("State", "") for pid in pids]
    assert all(before)
    for pid in pids:
        os.kill(pid, number)
    if len(pids) > 1:
        wait_for(lambda: all(status(pid)["State"].startswith("Z") for pid in pids))
        it.signal(signal.SIGCONT)
    elif number == signal.SIGSTOP:
        wait_for(lambda: status(pids[0])["State"].startswith("T"))
    elif number == signal.SIGKILL:
        wait_for(lambda: not status(pids[0]))


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.what)
def test_the_simulated_kernel_does_what_the_real_one_does(scenario: Scenario) -> None:
    """The same scenario gives the same trace, exit status and words of the kids on both kernels."""
    told, stages = simulated(scenario)
    assert len(told.trace) > 2
    assert real(scenario, stages) == told
