"""The exhaustive check finds no mistake in the lifecycle, and finds every mistake that is put into it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import pytest

from statechart import lifecycle
from statechart.chart import ARCS, CHART, RUNNING, Chart, State, arc
from statechart.events import Ending, Event
from statechart.lifecycle import Command, Lifecycle
from tests.proofs import verify
from tests.proofs.verify import KILL, TERM, Outcome, Outcomes, Saved, Setup, World

Row = dict[str, Any]

# These catch every mutant. The smallest come first, because most mutants are caught by the first ones. One has a time
# too short for a killed process to die; some have commands that may end, own signals, and sidecars.
BOUND = [Setup(1, 1, (TERM, KILL), 0.0), Setup(1, 1, (KILL,), 2.0, 1)]
BOUND += [Setup(1, 1, (TERM, KILL), 2.0, mine=((verify.INT, "group"),))]
BOUND += [Setup(2, 2, (KILL,), 2.0, sidecars=1), Setup(2, 2, (TERM,), 2.0, sidecars=1), Setup(3, 3, (KILL,), 2.0)]
BOUND += [Setup(2, 2, (TERM, KILL), 2.0, 1), Setup(2, 2, (TERM, KILL), 2.0, sidecars=1)]
BOUND += [Setup(3, 3, (KILL,), 2.0, sidecars=1)]

# The rows of the table: a row that starts from several states is listed once for each.
ROWS: list[Row] = [
    {**row, "source": source}
    for row in ARCS
    for source in (row["source"] if isinstance(row["source"], list) else [row["source"]])
]
ACTIONS = sorted({action for row in ROWS for action in row["before"]})

# Mutants that change nothing that can be observed, each with the reason. These survive, and no others.
EQUIVALENT = {
    "no command has ended yet, so no code is chosen": {
        "forward in RUNNING: choose_code added",
        "terminate in RUNNING: choose_code added",
        "orphans_adopted in RUNNING: choose_code added",
        "orphans_ended in RUNNING: choose_code added",
        "timeout in RUNNING: choose_code added",
        "drained in RUNNING: choose_code added",
        "suspend in RUNNING: choose_code added",
        "resume in RUNNING: choose_code added",
    },
    "no command has failed yet, so no code is chosen": {"command_ended in RUNNING [may_go_on]: choose_code added"},
    "no SIGKILL was sent, so none has ended an orphan": {
        "orphans_ended in RUNNING: record_orphans added",
        "command_ended in RUNNING [last_command]: record_orphans added",
        "command_ended in RUNNING [may_go_on]: record_orphans added",
        "command_ended in RUNNING: record_orphans added",
    },
    "every command has ended, so the same code is chosen again": {
        "forward in DRAINING: choose_code added",
        "terminate in DRAINING: choose_code added",
        "orphans_adopted in DRAINING: choose_code added",
        "orphans_ended in DRAINING: choose_code added",
        "timeout in DRAINING [some_unasked]: choose_code added",
        "timeout in DRAINING [step_left]: choose_code added",
        "drained in DRAINING: choose_code added",
        "suspend in DRAINING: choose_code added",
        "resume in DRAINING: choose_code added",
    },
    "neither of the two reads what the other writes": {
        "command_ended in RUNNING [last_command]: choose_code and start_steps swapped",
        "command_ended in TERMINATING [leaves_sidecars]: choose_code and start_steps swapped",
        "timeout in TERMINATING [sidecars_left]: choose_code and start_steps_for_all swapped",
    },
}


def title(row: Row) -> str:
    return f"{row['trigger']} in {row['source'].name}" + (f" [{row['conditions']}]" if row["conditions"] else "")


def mutants(row: Row) -> Iterator[tuple[str, list[Row]]]:
    """Every mutation of a row, each with the table that results."""
    others = [other for other in ROWS if other is not row]

    def but(**changes: object) -> list[Row]:
        return [{**row, **changes} if each is row else each for each in ROWS]

    yield "removed", others
    if row["conditions"]:
        yield "guard dropped", but(conditions=None)
        cell = [each for each in others if each["trigger"] == row["trigger"] and each["source"] is row["source"]]
        for other in cell:
            guarded = [{**other, "conditions": row["conditions"]} if each is other else each for each in others]
            name = other["conditions"] or "the last one"
            yield f"its guard on the other row ({name})", [*guarded, {**row, "conditions": None}]
        if any(ROWS.index(other) > ROWS.index(row) for other in cell[:-1]):
            yield "tried after the others", [*(each for each in others if each is not cell[-1]), row, cell[-1]]
    for state in State:
        if state is not (row["dest"] or row["source"]):
            yield f"to {state.name}", but(dest=state)
    actions = row["before"]
    for action in actions:
        yield f"{action} removed", but(before=[each for each in actions if each != action])
    for one, two in combinations(actions, 2):
        swap = {one: two, two: one}
        yield f"{one} and {two} swapped", but(before=[swap.get(each, each) for each in actions])
    for action in ACTIONS:
        if action not in actions:
            yield f"{action} added", but(before=[*actions, action])


def caught(outcomes: Outcomes = verify.outcomes) -> str:
    """The name of the property that the lifecycle, as it is now, violates; "" if it violates none."""
    violation = verify.verify(verify.explore(setup, outcomes) for setup in BOUND).violation
    return violation.name if violation else ""


# What comes of the events that no mutant has altered, by setup and state, then by the number of the event.
KNOWN: dict[tuple[Setup, Saved, World], dict[int, Outcome]] = {}


def all_but(cell: tuple[str, State]) -> Outcomes:
    """The outcomes if rows of this cell alone are altered: what other cells decide is computed once for all mutants."""

    def outcomes(setup: Setup, run: Lifecycle, saved: Saved, world: World) -> Iterator[Outcome]:
        known = KNOWN.setdefault((setup, saved, world), {})
        for number, (event, stray) in enumerate(verify.events(setup, world, saved[0])):
            if (event.name, saved[0]) == cell:
                yield verify.outcome(setup, run, saved, world, event, stray=stray)
                continue
            if number not in known:
                known[number] = verify.outcome(setup, run, saved, world, event, stray=stray)
            yield known[number]

    return outcomes


def install(monkeypatch: pytest.MonkeyPatch, rows: list[Row]) -> None:
    chart = Chart(model=None, states=State, initial=RUNNING, transitions=rows, auto_transitions=False)
    monkeypatch.setattr(lifecycle, "CHART", chart)


def test_a_short_run_finds_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """In a short run every property holds, and each was checked at least once."""
    monkeypatch.setattr(sys, "argv", ["verify", "--short"])
    verify.main()
    *lines, last = capsys.readouterr().out.splitlines()
    assert len(lines) == len(verify.PROPERTIES) + 2
    assert all(int(line.split()[0].replace(",", "")) for line in lines)
    assert last.endswith("all true")


def test_merging_states_hides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """If no two states count as the same, there are many more states, and still no property is violated."""
    setups = [Setup(1, 1, (TERM, KILL), 2.0), Setup(2, 1, (TERM, KILL), 2.0), Setup(2, 2, (KILL,), 2.0)]
    merged = verify.verify(map(verify.explore, setups))
    monkeypatch.setattr(verify, "key", lambda run, world: (verify.save(run), world))
    apart = verify.verify(map(verify.explore, setups))
    assert apart.violation is None
    assert apart.states > 10 * merged.states


def test_all_that_a_run_remembers_is_saved() -> None:
    """Every slot is saved, or known not to matter, because it never changes or decides nothing, as the times do."""
    assert set(Lifecycle.__slots__) == {
        *("state", "step", "again", "asked", "killing", "told", "code", "decider", "ended", "commands"),
        *("steps", "times", "step_targets", "targets", "policy", "arc", "_effects"),
        *("step_at", "told_at"),
        *("killed", "left"),  # only for the last line
    }
    known = {"ending", "counts", "step", "told", "own_signals"}
    never_changes = {"argv", "name", "pid", "reads_nothing", "success", "may_end", "sidecar", "steps", "forward"}
    assert set(Command.__slots__) == known | never_changes | {"ended_at", "step_at"}


def test_a_violation_is_printed_with_its_history(monkeypatch: pytest.MonkeyPatch) -> None:
    """A violation is printed with its shortest history, in the words of the trace, and the program exits 1."""
    (row,) = (row for row in ROWS if title(row) == "orphans_adopted in DRAINING")
    install(monkeypatch, [{**each, "before": []} if each is row else each for each in ROWS])
    monkeypatch.setattr(sys, "argv", ["verify", "--short"])
    with pytest.raises(SystemExit) as exit_:
        verify.main()
    what, setup, *history = str(exit_.value).splitlines()
    assert what == f"NOT TRUE: {verify.sentence('the_adopted_are_signalled')}"
    assert setup == "with commands: 1, steps: SIGTERM, 2 s each:"
    assert [line.split()[2] for line in history] == ["[*]", "RUNNING", "DRAINING"]


@pytest.mark.xdist_group("rows")  # so that KNOWN is filled once
@pytest.mark.parametrize("row", ROWS, ids=title)
def test_every_mutant_of_the_row_is_caught(row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row cannot be removed, and its guard, destination and actions cannot be altered, without a violation."""
    survivors = set()
    outcomes = all_but((row["trigger"], row["source"]))
    for what, rows in mutants(row):
        install(monkeypatch, rows)
        if not caught(outcomes):
            survivors.add(f"{title(row)}: {what}")
    known = set().union(*EQUIVALENT.values())
    assert survivors == {each for each in known if each.startswith(f"{title(row)}:")}


@pytest.mark.xdist_group("rows")  # so that KNOWN is filled once
@pytest.mark.parametrize("setup", BOUND[:5], ids=str)
def test_what_is_computed_once_is_what_the_machine_decides(setup: Setup) -> None:
    """Whichever cell is computed anew, the search finds the same, also after it has seen altered tables."""
    found = verify.explore(setup)
    for cell in {(row["trigger"], row["source"]) for row in ROWS}:
        assert verify.explore(setup, all_but(cell)) == found


@pytest.mark.parametrize("event", CHART.events)
def test_a_row_in_exited_is_caught(event: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row that starts from EXITED violates a property."""
    install(monkeypatch, [*ROWS, arc(event, State.EXITED, None)])
    assert caught() == "nothing_after_the_exit"


def test_a_state_without_a_way_out_is_found() -> None:
    """If 0 leads to 1 and 3, 1 leads to the exit 2, and 3 leads nowhere, then 3 is found."""
    assert verify.exit_is_always_in_reach({2}, [set(), {0}, {1}, {0}]) == {0, 1, 2}


def test_every_known_equivalent_mutant_is_made() -> None:
    """Every mutant that is listed as equivalent is one that is really made."""
    made = {f"{title(row)}: {what}" for row in ROWS for what, _ in mutants(row)}
    assert set().union(*EQUIVALENT.values()) <= made


remember = Lifecycle._remember


def last_failure(run: Lifecycle, _: Event) -> None:
    run.decider = next((command for command in reversed(run.ended) if command.failed), None)
    run.code = run.decider.ending.code if run.decider and run.decider.ending else 0


RULES: dict[str, tuple[object, str, object]] = {
    "every end is a failure": (Command, "failed", property(lambda _: True)),
    "no end is a failure": (Command, "failed", property(lambda _: False)),
    "every end but 0 is a failure": (Command, "failed", property(lambda command: command.ending.code != 0)),
    "128 + n is not a death by n": (Ending, "death", property(lambda ending: ending.signum)),
    "what we sent is not remembered": (Lifecycle, "_remember", lambda *_, **__: None),
    "everything is our initiative": (Lifecycle, "_remember", lambda run, it, n, **_: remember(run, it, n, own=True)),
    "nothing is our initiative": (Lifecycle, "_remember", lambda run, it, n, **_: remember(run, it, n, own=False)),
    "own signals are ignored": (Command, "step_signal", lambda _, __, common: common),
    "no sidecar is spared": (Lifecycle, "spared", property(lambda _: ())),
    "sidecars are always spared": (
        Lifecycle,
        "spared",
        property(lambda run: tuple(it.pid for it in run.commands if it.sidecar and it.alive)),
    ),
    "sidecars count as commands": (Lifecycle, "last_command", lambda run, event: not run._living_after(event)),
    "sidecars are never left": (Lifecycle, "leaves_sidecars", lambda *_: False),
    "stopped sidecars count": (Command, "counts", property(lambda _: True, lambda *_: None)),
    "any command counts as the last": (Lifecycle, "last_command", lambda *_: True),
    "no command counts as the last": (Lifecycle, "last_command", lambda *_: False),
    "there is always a step left": (Lifecycle, "step_left", lambda *_: True),
    "there is never a step left": (Lifecycle, "step_left", lambda *_: False),
    "processes are always asked late": (Lifecycle, "some_unasked", lambda *_: True),
    "no process is asked late": (Lifecycle, "some_unasked", lambda *_: False),
    "the loop always looks for processes to ask late": (Lifecycle, "can_ask_late", property(lambda _: True)),
    "the loop never looks for them": (Lifecycle, "can_ask_late", property(lambda _: False)),
    "the last failure decides": (Lifecycle, "choose_code", last_failure),
    "killed processes need no time to die": (lifecycle, "KILL_SECONDS", 0.0),
    "SIGKILL is like other signals": (lifecycle, "SIGKILL", 0),
    "stopped processes are not continued": (lifecycle, "SIGCONT", TERM),
}


@pytest.mark.parametrize("what", RULES)
def test_every_mutant_of_a_rule_is_caught(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every change to a rule violates a property: what fails, what is remembered, the guards, the numbers."""
    monkeypatch.setattr(*RULES[what])
    assert caught()
