"""The benchmark: what it makes of its samples, and that every program of the field is given its files."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tools import docs
from tests.tools.bench import field, many, peers, shown


@pytest.mark.parametrize("power", [1, 2])
def test_growth_is_told_from_the_times(power: int) -> None:
    fit = many.growth({count: [20.0 + 3 * count**power] for count in many.COUNTS})
    assert round(fit.power, 1) == power
    if power == 1:
        assert round(fit.each, 6) == 3


def test_a_time_that_does_not_grow_has_no_power() -> None:
    assert many.growth({count: [5.0] for count in many.COUNTS}) == (0.0, 0.0)


def test_a_figure_has_the_median_and_the_quartiles() -> None:
    assert shown.figure([1.0]) == "1"
    assert shown.figure([1.0, 2.0, 3.0, 4.0, 100.0]) == "3 (2 to 4)"


@pytest.mark.parametrize("program", field.PROGRAMS, ids=lambda program: program.name)
@pytest.mark.parametrize("count", [1, 3])
def test_a_program_is_told_how_often_to_run_the_command(program: field.Program, count: int, tmp_path: Path) -> None:
    """In its arguments, in one file, or in a folder for each."""
    argv = program.configure(tmp_path, count)
    said = [*argv, *(path.read_text() for path in tmp_path.rglob("*") if path.is_file())]
    times = sum(text.count("./command") for text in said)
    assert times == count or f"numprocs={count}\n" in said[-1] or f"numprocesses = {count}\n" in said[-1]


def test_what_did_not_happen_has_an_empty_cell() -> None:
    """For example, honcho forwards no signal and reaps no orphan."""
    ours = {measure: [2.0] for table in peers.TABLES for measure in table}
    times, _ = peers.tables({"muinit": ours, "other": {peers.FIRST: [3.0, 3.0]}})
    assert "| other | 3 (3 to 3) ms, **1.5** |  |  |  |" in times
    assert docs.without_spread("3 (3 to 3) ms, **1.5**") == "3 ms"
