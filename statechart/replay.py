"""A trace read back, and what the machine makes of its events today. Never loaded by a running init."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

from statechart import record, trace
from statechart.chart import MachineError
from statechart.events import CommandEnded
from statechart.lifecycle import Lifecycle, Taken


class TraceError(Exception):
    """What is wrong with a trace, or is no longer so, and in which line."""

    def __init__(self, line: int, what: str) -> None:
        super().__init__(f"line {line}: {what}")
        self.line = line
        self.what = what


class End(NamedTuple):
    """The last line: its number, the seconds since the start, the exit status and the sentence."""

    line: int
    at: float
    code: int
    why: str


@dataclass
class Trace:
    """What stands in a trace."""

    header: dict[str, Any]
    taken: list[tuple[int, Taken]] = field(default_factory=list)  # with the number of the line
    dropped: list[tuple[int, int]] = field(default_factory=list)  # the line, and how many are missing there
    end: End | None = None  # None: the trace ends before the run

    def run(self) -> Lifecycle:
        """The run, before its first event."""
        return record.run_of(self.header)

    def signame(self, number: int) -> str:
        """What the machine on which it was recorded calls a signal."""
        return next((name for name, known in self.header["signals"].items() if known == number), f"signal {number}")


def read(lines: Iterable[str]) -> Trace:
    """Read the lines of a trace; a last one that was cut off is left out. Raises TraceError."""
    found: Trace | None = None
    number = 1
    for number, line in enumerate(lines, 1):
        if not line.endswith("\n"):
            break
        try:
            entry = json.loads(line)
            if found is None:
                found = _header(entry)
            else:
                _add(found, number, entry)
        except json.JSONDecodeError:
            raise TraceError(number, "no JSON") from None
        except RecursionError:
            raise TraceError(number, "JSON that is too deep") from None
        except (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError) as error:
            raise TraceError(number, f"not as schema {record.SCHEMA} has it: {error!r}") from None
    if found is None:
        raise TraceError(number, "no header: the trace is empty, or cut off")
    return found


def _header(entry: Any) -> Trace:
    if type(entry["schema"]) is not int or entry["schema"] != record.SCHEMA:
        theirs = f"schema {entry['schema']}, of muinit {entry.get('muinit')}"
        raise TraceError(1, f"{theirs}; this one reads schema {record.SCHEMA}")
    found = Trace(entry)
    found.run()
    return found


def _add(found: Trace, number: int, entry: Any) -> None:
    if "event" in entry:
        taken = record.taken_of(entry, found.header["signals"])
        if isinstance(taken.event, CommandEnded):
            commands = range(len(found.header["commands"]))
            if any(index not in commands for index, _ in taken.event.endings):
                raise IndexError("no such command")
        found.taken.append((number, taken))
    elif "schema" in entry:
        raise ValueError("a second header: is this the trace of two runs?")
    elif "dropped" in entry:
        found.dropped.append((number, int(entry["dropped"])))
    else:
        found.end = End(number, *record.end_of(entry))


def replay(found: Trace) -> Lifecycle:
    """Feed the events to the machine, and return the run. Raises TraceError where a state or an effect is another."""
    run = found.run()
    gap, missing = found.dropped[0] if found.dropped else (0, 0)
    for number, recorded in found.taken:
        if gap and number > gap:
            raise TraceError(gap, f"{missing} lines were dropped: what follows cannot be replayed")
        try:
            here = run.handle(recorded.event)
            what = "" if here == recorded else trace.taken(run, here, found.signame)
        except MachineError:
            what = f"nothing, after {run.stage}"
        if what:
            raise TraceError(number, _other(found, trace.taken(run, recorded, found.signame), what))
    if found.end and found.end.code != run.code:
        raise TraceError(found.end.line, _other(found, f"exit {found.end.code}", f"exit {run.code} in {run.stage}"))
    return run


def _other(found: Trace, recorded: str, here: str) -> str:
    try:
        ours = version("muinit")
    except PackageNotFoundError:
        ours = "not installed"
    theirs = found.header["muinit"]
    versions = f"recorded by muinit {theirs}, this is {ours}" if theirs != ours else f"both are muinit {ours}"
    return f"other than recorded ({versions})\nrecorded: {recorded}\nhere:     {here}"
