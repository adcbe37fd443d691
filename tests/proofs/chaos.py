"""Chaos on the real kernel: random trees of real processes get random signals, and each run is checked.

python -m tests.proofs.chaos [--runs N] [--seed S] [--jobs J]: run N trees, with the seeds S, S + 1, ... A failure
prints its seed, which makes the same tree, options and signals again. What the kernel does with them can differ.

A run passes if all of this is true:

- The run ends within the time of its steps. Nothing but our own SIGTERM at the end makes sure that it stops at all.
- No process is alive then. Or the time of a last step that is not SIGKILL ran out, and muinit exits 1 and names every
  process that is alive.
- The trace is a way through the table. It names the end of each command, and the script of the command can end so.
- The exit status is the one that follows from the trace by the rule.
- The trace in a file says the same as the one on stderr, and its replay leads to the same end.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import random
import re
import select
import signal
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, Any, NamedTuple

from muinit import signals
from tests.cast import traces
from tests.cast.harness import ROOT, Run, status, tagged
from tests.conftest import why_no_namespace
from tests.proofs.edges import EDGES, ROWS
from tests.tools.progress import progress

Acts = list[tuple[Any, ...]]
Node = tuple[str, dict[int, Acts], Acts]

TREE = [sys.executable, "-I", "-S", str(ROOT / "tests/cast/tree.py")]
SCRIPT = 0.25  # seconds from the opening of the gate to our SIGTERM
STALL = 0.5  # seconds; if muinit wakes this much later than it asked, the machine did not let it run
MARGIN = 20.0  # seconds beyond the time of the steps, for a busy machine
NOT_FOUND = ["muinit-no-such-program"]
TERM, KILL, STOP, INT, HUP = signal.SIGTERM, signal.SIGKILL, signal.SIGSTOP, signal.SIGINT, signal.SIGHUP
USR1, USR2, CONT, TSTP = signal.SIGUSR1, signal.SIGUSR2, signal.SIGCONT, signal.SIGTSTP
RT = signal.SIGRTMIN + 3


# What a seed decides


class Plan(NamedTuple):
    """Everything that a seed decides."""

    steps: list[int]
    timeout: float
    forward: list[int]  # if empty, the default of -s counts
    commands: list[Node | None]  # None is a program that does not exist
    gated: bool  # whether nothing happens before all processes are up
    signals: list[tuple[float, str, int]]  # (seconds after that, name of a process or "" for muinit, signal)
    label: bool  # whether the output is labelled

    @property
    def options(self) -> str:
        words = ["--trace-states", "-k", ",".join(map(str, self.steps)), "-t", f"{self.timeout:g}"]
        words += ["--label"] if self.label else []
        return " ".join([*words, "-s", ",".join(map(str, self.forward))] if self.forward else words)

    @property
    def seconds(self) -> float:
        """The time of all steps. A last step of SIGKILL has at least 1 second, and one step can have its time twice."""
        last = max(self.timeout, 1.0) if self.steps[-1] == KILL else self.timeout
        again = self.timeout if self.steps[0] != KILL else 0.0
        return self.timeout * (len(self.steps) - 1) + last + again


class Gardener:
    """Makes a plan from a seed."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.names: list[str] = []

    def plan(self) -> Plan:
        dice = self.dice
        commands = [None if dice.random() < 0.04 else self.node(0) for _ in range(dice.choice((1, 2, 2, 3, 4)))]
        steps = [dice.choice((TERM, TERM, TERM, HUP, INT, USR1, TSTP)) for _ in range(dice.choice((0, 1, 1, 2)))]
        if not steps or dice.random() < 0.8:
            steps.append(KILL)
        if dice.random() < 0.05:
            dice.shuffle(steps)
        return Plan(
            steps=[int(number) for number in steps],
            timeout=dice.choice((0, 0.01, 0.05, 0.1, 0.3)),
            forward=[int(n) for n in dice.choice(((), (), (HUP,), (INT, USR1), (RT, USR2, HUP)))],
            commands=commands,
            gated=dice.random() < 0.8,
            signals=sorted(self.signal() for _ in range(dice.choice((0, 0, 1, 2, 4)))),
            label=dice.random() < 0.2,
        )

    def signal(self) -> tuple[float, str, int]:
        dice = self.dice
        at = dice.choice((0.0, dice.uniform(0, 0.2)))
        if self.names and dice.random() < 0.5:
            return at, dice.choice(self.names), int(dice.choice((KILL, KILL, TERM, STOP, STOP, CONT, HUP)))
        return at, "", int(dice.choice((TERM, TERM, INT, INT, HUP, USR1, USR2, RT, signal.SIGWINCH, signal.SIGSEGV)))

    def node(self, depth: int, *, late: bool = False) -> Node:
        """A process and the processes that it starts. `late` means that it is started when all are up."""
        dice = self.dice
        name = f"k{len(self.names)}"
        self.names.append(name)
        acts: Acts = []
        if dice.random() < 0.2:
            acts.append(("setsid",))
        if dice.random() < 0.2:
            acts.append(("ignore", int(dice.choice((TERM, TERM, HUP, INT, USR1)))))
        if not late:
            acts += [self.birth(depth) for _ in range(dice.choice((0, 0, 1, 1, 2))) if depth < 3]
            acts.append(("up",))
        traps = {int(number): self.reaction(depth, number) for number in (TERM, HUP, INT, RT) if dice.random() < 0.4}
        for _ in range(dice.choice((0, 1, 1, 2, 3))):
            acts += [("sleep", dice.choice((0, round(dice.uniform(0, 0.25), 3)))), self.deed(depth)]
        return name, traps, acts

    def birth(self, depth: int, *, late: bool = False) -> tuple[Any, ...]:
        return self.dice.choice(("fork", "daemon")), self.node(depth + 1, late=late)

    def reaction(self, depth: int, number: int) -> Acts:
        """What a process does when this signal comes. At the end it may exit with 128 + n, as a JVM does."""
        dice = self.dice
        acts: Acts = [self.birth(depth, late=True)] if depth < 3 and dice.random() < 0.3 else []
        if dice.random() < 0.3:
            acts.append(("sleep", round(dice.uniform(0, 0.15), 3)))
        return [*acts, *dice.choice(([], [self.end()], *[[("exit", 128 + number)]] * 2, [("stop",)], [("comet", 5)]))]

    def deed(self, depth: int) -> tuple[Any, ...]:
        """What a process does of its own accord."""
        dice = self.dice
        kind = dice.random()
        if kind < 0.25 and depth < 3:
            return self.birth(depth, late=True)
        if kind < 0.55:
            return self.end()
        if kind < 0.7:
            return ("exec", dice.choice(self.programs()))
        return dice.choice((("stop",), ("close",), ("comet", dice.randrange(1, 30))))

    def end(self) -> tuple[Any, ...]:
        dice = self.dice
        if dice.random() < 0.25:
            return "die", int(dice.choice((KILL, TERM, HUP, USR1, signal.SIGPIPE)))
        return "exit", self.code()

    def code(self) -> int:
        """An exit code: an ordinary one, or one with which a JVM or a shell reports that a signal killed it."""
        own = self.dice.randrange(10, 90)
        return int(self.dice.choice((0, 0, 0, 0, own, own, 128 + TERM, 128 + KILL)))

    def programs(self) -> list[list[str]]:
        return [
            ["sleep", "60"],
            ["sh", "-c", f"sleep 0.05; exit {self.code()}"],
            ["sh", "-c", "trap '' TERM; sleep 60; exit 98"],
            ["sh", "-c", "sleep 60 & setsid sleep 60 & wait; exit 98"],
        ]


def codes(node: Node | None) -> set[int]:
    """The exit codes that the script of a command can lead to."""
    if node is None:
        return {127}
    _, traps, acts = node
    found = {98}
    for verb, arg in [(act[0], act[-1]) for acts in [acts, *traps.values()] for act in acts]:
        if verb == "exit":
            found.add(arg)
        elif verb == "comet":
            found.add(0)
        elif verb == "exec" and (match := re.search(r"exit (\d+)$", arg[-1])):
            found.add(int(match[1]))
    return found


def ups(node: Node | None) -> int:
    """How many processes of the tree report that they are up."""
    if node is None:
        return 0
    acts = node[2]
    return sum(1 if act[0] == "up" else ups(act[1]) if act[0] in {"fork", "daemon"} else 0 for act in acts)


# What must be true of a run


class Line(NamedTuple):
    """One line of the trace, read as text."""

    at: float
    before: str
    after: str
    event: str  # with its guard
    detail: str
    effects: list[str]

    @property
    def edge(self) -> str:
        return f"{self.before.partition(' [')[0]} -> {self.after.partition(' [')[0]}: {self.event}"


LINE = re.compile(r"muinit: +(\d+\.\d{3}) s  (.+?) -> (.+?)  +(\w+(?: \[\w+\])?)(?:: (.*?))?(?: / (.*))?")
LATE = "timeout [some_unasked]"
IGNORED = re.compile(r"muinit: warning: ignored (SIG\S+), because muinit is PID 1 and no option names it: .*")
ENDING = re.compile(r"(?:pid (\d+) )?\(.*?\) (exited|died of|was not found)(?: (signal \d+|[\w+]+))?")
EARLY_INT = {1}  # the exit code of a Python that gets SIGINT while it still loads
ROUNDING = 0.0011  # seconds: two numbers that are rounded to milliseconds


def read(line: str) -> Line | None:
    match = LINE.fullmatch(line)
    if match is None:
        return None
    at, before, after, event, detail, effects = match.groups(default="")
    return Line(float(at), before, after, event, detail, effects.split("; ") if effects else [])


def endings(line: Line) -> list[tuple[str, str, int]]:
    """(pid or "", the signal it died of or "", the code) of each command that ended, from a line of the trace."""
    found = []
    for pid, how, what in ENDING.findall(line.detail) if line.event.startswith("command_ended") else ():
        signame = what if how == "died of" else ""
        code = 128 + signals.number(signame.removeprefix("signal ")) if signame else int(what or 127)
        found.append((pid, signame, code))
    return found


def by_the_rule(trace: list[Line]) -> int:
    """The exit status that this history must have: docs/design.md, rules 20, 21 and 22, stated again.

    It is the code of the first command that failed, else 0. A command failed if its code is not 0. But a death by a
    signal is no failure if muinit sent that signal to the command and the last time did so on its own initiative. A
    code of 128 + n is a death by signal n. Before muinit is told to stop, everything that it sends is its own
    initiative, except what it forwards. If muinit gave up, the exit status is 1.
    """
    alive: set[str] = set(re.findall(r"pid (\d+) \(", trace[0].detail))
    own: dict[tuple[str, str], bool] = {}  # (pid, signal) -> was it sent on our own initiative?
    told = False
    status = 0
    for line in trace:
        for pid, signame, code in endings(line):
            death = signame or (signals.name(code - 128) if code > 128 else "")
            if not own.get((pid, death), False):
                status = status or code
            alive.discard(pid)
        told = told or line.event == "terminate"
        for effect in line.effects:
            if effect.endswith("giving up"):
                return 1
            words, _, whom = effect.partition(" to every ")
            for signame in words.split(", ") if whom else ():
                own.update({(pid, signame): not told and line.event != "forward" for pid in alive})
    return status


def check_trace(plan: Plan, trace: list[Line]) -> None:
    """Check that the trace is a way through the table, within the time of the steps, to the end of every command."""
    assert trace, "no trace"
    for line in trace:
        assert line.edge in ROWS, f"not a row of the table: {line.edge}"
    for one, two in pairwise(trace):
        assert one.after == two.before, f"from {one.after} to {two.before}"
        assert one.at <= two.at
    assert (trace[0].before, trace[-1].after) == ("[*]", "EXITED")

    clock = 0.0
    for line in trace:
        if line.event.startswith("timeout"):
            assert line.at >= clock - ROUNDING, f"the step ended at {line.at}, before its time was over at {clock}"
        clock = next((line.at + float(e.split()[1]) for e in line.effects if e.startswith("clock ")), clock)
    began = max(line.at for line in trace if line.event == "terminate" or line.before in {"[*]", "RUNNING"})
    assert trace[-1].at - began <= plan.seconds + MARGIN, f"the steps took from {began} to {trace[-1].at}"

    late = [line.event for line in trace if any("to every" in effect for effect in line.effects) or LATE in line.event]
    assert (LATE, LATE) not in pairwise(late), "a step had its time more than twice"

    gave_up = trace[-1].event == "timeout"
    started = re.findall(r"pid (\d+) \(", trace[0].detail)
    ended = [ending for line in trace for ending in endings(line)]
    pids = [pid for pid, _, _ in ended if pid]
    assert len(set(pids)) == len(pids), f"ended twice: {pids}"
    assert set(pids) <= set(started), f"ended, but never started: {pids}, {started}"
    assert gave_up or set(pids) == set(started), f"started {started}, ended {pids}"
    for pid, signame, code in ended:
        if pid and not signame:
            possible = codes(plan.commands[started.index(pid)]) | (set() if plan.gated else EARLY_INT)
            assert code in possible, f"pid {pid} exited {code}; its script can exit {possible}"


def is_news(trace: list[Line], last: list[str]) -> bool:
    """Whether muinit must speak at exit 0: its SIGKILL ended a process that was asked, or a command left orphans."""
    asked = killing = False
    for line in trace:
        if killing and "died of SIGKILL" in line.detail:
            return True
        asked = asked or any(effect.endswith(", SIGCONT to every child") for effect in line.effects)
        killing = killing or (asked and "SIGKILL to every descendant" in line.effects)
    return any("may have gone to the background" in line for line in last)


def check_file(path: Path, said: list[str]) -> None:
    """Check that the file follows the schema, says the same as stderr, and is replayed to the same end."""
    traces.of(path)
    told = [line.removeprefix("muinit: ") for line in said if read(line)][1:]
    for one, two in zip(told, traces.as_told(path), strict=True):
        # On stderr, muinit cuts a line that is so long that a pipe would not take it whole.
        assert one == two or (len(one) > 4000 and two.startswith(one.removesuffix("..."))), f"{one}, but {two}"


class Result(NamedTuple):
    """What is counted of a run that passed."""

    code: int
    gave_up: bool
    edges: list[str]


def check(plan: Plan, code: int, said: list[str], left: list[tuple[int, float]]) -> Result:
    """Check one run that has ended.

    `code` is the exit status of muinit, and `said` are the lines of its stderr. `left` are the processes that are still
    alive, each with its pid and the time of its birth on the clock of the trace.
    """
    trace = [line for line in map(read, said) if line]
    others = [line for line in said if line.startswith("muinit:") and not read(line)]
    check_trace(plan, trace)
    assert code == by_the_rule(trace), f"exit {code}, but the rule says {by_the_rule(trace)} for this trace"
    assert trace[-1].effects[0].partition(",")[0] == f"exit {code}"
    ignored = [match[1] for match in map(IGNORED.fullmatch, others) if match]
    assert sorted(set(ignored)) == sorted(ignored), "a signal that is ignored was named twice"
    assert len(others) - len(ignored) == (code != 0 or is_news(trace, others[-1:])), f"said {others}"
    others = others[-1:] if len(others) > len(ignored) else []
    assert all(line.startswith(f"muinit: exit {code}: ") for line in others)
    assert not [line for line in said if line.startswith("tree.py")]
    gave_up = trace[-1].event == "timeout"
    if gave_up:
        clock = max(line.at for line in trace if line.effects[-1:] and line.effects[-1].startswith("clock "))
        stalled = trace[-1].at - clock > max(plan.timeout, 1.0) + STALL
        assert plan.steps[-1] != KILL or stalled, "something outlived SIGKILL"
        assert re.search(r" into step [^:]*: (pid|process group) \d", others[0]), "the survivors are not named"
        # A process that was born after muinit had looked is not named.
        left = [(pid, born) for pid, born in left if f"pid {pid} (" not in others[0] and born < trace[-1].at]
    assert not left, f"left alive{' and not named' if gave_up else ''}: {left}"
    return Result(code, gave_up, [line.edge for line in trace])


# A run


def play(seed: int, *, pid1: bool) -> Result:
    """Play one run. If something is not true of it, raise AssertionError with the seed and with what was seen."""
    plan = Gardener(seed).plan()
    said: list[str] = []
    read_end, write_end = os.pipe()
    with open(read_end, "rb", 0) as gate, open(write_end, "wb", 0) as opener, NamedTemporaryFile("w+") as file:
        options = f"{plan.options} --trace-file {file.name}"
        commands = [[*TREE, repr(node), str(read_end)] if node else NOT_FOUND for node in plan.commands]
        if not plan.gated:
            opener.close()
        try:
            with Run(*commands, options=options, pid1=pid1, pass_fds=[read_end]) as it:
                gate.close()
                start = birth(it.process.pid)
                try:
                    drive(it, plan, opener)
                    code = it.process.wait(plan.seconds + MARGIN)
                    # PID 1 ends after all others in its namespace. So whatever is left counts as born long before.
                    left = [(pid, -1 if pid1 else birth(pid) - start) for pid in it.survivors()]
                finally:
                    it.clear()
                    said = it.err.splitlines()
                result = check(plan, code, said, left)
                check_file(Path(file.name), said)
                return result
        except Exception as error:
            how = "as PID 1" if pid1 else "as an ordinary process"
            raise AssertionError("\n".join([f"seed {seed}, {how}: {error!r}", f"{plan}", *said])) from error


def drive(it: Run, plan: Plan, opener: IO[bytes]) -> None:
    """Open the gate when all are up, send the signals of the plan, then SIGTERM. Stop as soon as muinit has ended."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.suppress(ProcessLookupError))  # muinit has ended
        end = init = os.pidfd_open(it.process.pid)
        stack.callback(os.close, end)
        if not wait_until_up(it, end, max(sum(map(ups, plan.commands)) if plan.gated else 1, 1)):
            return
        if it.pid1:
            children = Path(f"/proc/{it.process.pid}/task/{it.process.pid}/children").read_text()
            if not children:
                return
            init = os.pidfd_open(int(children))
            stack.callback(os.close, init)
        start = time.monotonic()
        opener.close()
        for at, name, number in [*plan.signals, (SCRIPT, "", TERM)]:
            if select.select([end], [], [], max(start + at - time.monotonic(), 0))[0]:
                return
            if name:
                send(it, name, number)
            else:
                signal.pidfd_send_signal(init, number)


def wait_until_up(it: Run, end: int, number: int) -> bool:
    """Wait until this many processes are up. Return False if muinit ends before that."""
    assert it.process.stdout is not None
    out = it.process.stdout.fileno()
    while number > 0:
        ready, _, _ = select.select([out, end], [], [], MARGIN)
        assert ready, f"{number} processes did not come up"
        if end in ready:
            return False
        number -= os.read(out, 4096).count(b"\n")
    return True


def send(it: Run, name: str, number: int) -> None:
    """Send a signal to the process of this name, if it is alive and no exec has renamed it."""
    for pid in tagged(it.tag):
        if status(pid).get("Name") == name:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def birth(pid: int) -> float:
    """When a process was born: seconds since the boot, rounded down to 10 ms. Infinity if the process is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return math.inf
    return int(stat.rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")


# Many runs


def main() -> None:
    """Play the runs, print what happened in them, and exit 1 if one of them failed."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.proofs.chaos", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--runs", type=int, default=1000, metavar="N", help="how many runs; default: 1000")
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="the seed of the first run; default: 1")
    parser.add_argument("--jobs", type=int, default=4, metavar="J", help="runs at a time; default: 4")
    args = parser.parse_args()
    if why := why_no_namespace():
        print(f"no run is as PID 1: {why}")
    start = time.monotonic()
    results: list[Result] = []
    failures: list[str] = []

    def one(seed: int) -> None:
        try:
            results.append(play(seed, pid1=as_pid1(seed) and not why))
        except AssertionError as error:
            failures.append(str(error))
            print(error, flush=True)

    seeds = range(args.seed, args.seed + args.runs)
    with ThreadPoolExecutor(args.jobs) as pool, progress("runs", len(seeds)) as count:
        list(count(pool.map(one, seeds)))
    edges = Counter(edge for result in results for edge in result.edges)
    common = Counter(result.code for result in results).most_common()
    print(f"{len(seeds)} runs, seeds {seeds[0]} to {seeds[-1]}, in {time.monotonic() - start:.0f} s")
    print(f"{sum(edges.values())} events took {len(EDGES & set(edges))} of the {len(EDGES)} edges of the diagram")
    print(f"{sum(result.gave_up for result in results)} runs gave up and named the survivors")
    print("exit codes:", ", ".join(f"{code} ({times} times)" for code, times in common))
    print(f"failed runs: {len(failures)}")
    sys.exit(bool(failures))


def as_pid1(seed: int) -> bool:
    """Whether muinit is PID 1 in the run of this seed: it is in every second one."""
    return seed % 2 == 0


if __name__ == "__main__":
    main()
