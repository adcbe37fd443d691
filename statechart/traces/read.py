"""A trace read back: lines of JSON, as `statechart.traces.write` writes them. A running init never loads this."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from statechart import effects, events
from statechart.chart import State
from statechart.effects import EFFECTS, Effect
from statechart.events import EVENTS, Ending, Event
from statechart.lifecycle import POLICIES, Command, Decision, Lifecycle
from statechart.traces.write import SCHEMA
from statechart.values import Stage

A = TypeVar("A")
Entry = dict[str, Any]
Numbers = Mapping[str, int]  # of the signals, by name

ENDLESS = float("inf")


class TraceError(Exception):
    """What is wrong with a trace, or no longer true, and in which line."""

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
    """The contents of a trace."""

    header: dict[str, Any]
    decisions: list[tuple[int, Decision]] = field(default_factory=list)  # with the number of the line
    dropped: list[tuple[int, int]] = field(default_factory=list)  # the line, and how many are missing there
    end: End | None = None  # None: the trace ends before the run

    def begin(self) -> Lifecycle:
        """Return the run before its first event."""
        return _lifecycle(self.header)

    def signame(self, number: int) -> str:
        """The name of a signal on the machine where the trace was recorded."""
        return next((name for name, known in self.header["signals"].items() if known == number), f"signal {number}")


def read(lines: Iterable[str]) -> Trace:
    """Read the lines of a trace. A last line that was cut off is left out. Raises TraceError."""
    trace: Trace | None = None
    number = 1
    for number, line in enumerate(lines, 1):
        if not line.endswith("\n"):
            break
        try:
            entry = json.loads(line)
            if trace is None:
                trace = _header(entry)
            else:
                _add(trace, number, entry)
        except json.JSONDecodeError:
            raise TraceError(number, "this is not JSON") from None
        except RecursionError:
            raise TraceError(number, "the JSON is nested too deeply") from None
        except (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError) as error:
            raise TraceError(number, f"this does not follow schema {SCHEMA}: {error!r}") from None
    if trace is None:
        raise TraceError(number, "there is no header: the trace is empty, or cut off")
    return trace


def _header(entry: Any) -> Trace:
    if type(entry["schema"]) is not int or entry["schema"] != SCHEMA:
        theirs = f"schema {entry['schema']}, of muinit {entry.get('muinit')}"
        raise TraceError(1, f"{theirs}; this version reads schema {SCHEMA}")
    trace = Trace(entry)
    trace.begin()
    return trace


def _add(trace: Trace, number: int, entry: Any) -> None:
    if "event" in entry:
        decision = _decision(entry, trace.header["signals"])
        if isinstance(decision.event, events.CommandEnded):
            commands = range(len(trace.header["commands"]))
            if any(index not in commands for index, _ in decision.event.endings):
                raise IndexError("there is no such command")
        trace.decisions.append((number, decision))
    elif "schema" in entry:
        raise ValueError("a second header: is this the trace of two runs?")
    elif "dropped" in entry:
        trace.dropped.append((number, int(entry["dropped"])))
    else:
        end = _a(int, entry["t"]) / 1e9, _a(int, entry["exit"]), _a(str, entry["why"])
        trace.end = End(number, *end)


# What follows raises KeyError, TypeError or ValueError where an entry is not what `write` has written.


def _lifecycle(entry: Entry) -> Lifecycle:
    _some(str, entry["argv"])
    _a(str, entry["muinit"])
    _a(int, entry["pid"])
    _amount(entry["time"])
    numbers = {name: _a(int, number) for name, number in entry["signals"].items()}
    steps, _, _ = ([numbers[name] for name in _a(list, entry[key])] for key in ("steps", "forward", "stop_on"))
    commands = []
    for each in _a(list, entry["commands"]):
        pid = each["pid"]
        reads_nothing = _a(bool, each["reads_nothing"])
        argv, pid = _some(str, each["argv"]), None if pid is None else _a(int, pid)
        success = [_a(int, code) for code in _a(list, each["success"])]
        name, may_end, sidecar = _a(str, each["name"]), _a(bool, each["may_end"]), _a(bool, each["sidecar"])
        own = [(numbers[step["signal"]], _target(step["target"])) for step in _a(list, each["steps"])]
        commands.append(
            Command(
                argv,
                pid,
                reads_nothing=reads_nothing,
                name=name,
                success=success,
                may_end=may_end,
                sidecar=sidecar,
                steps=own,
                forward={numbers[name]: _target(target) for name, target in each["forward"].items()},
            )
        )
    if _a(str, entry["exit_status"]) not in POLICIES:
        raise ValueError(f"{entry['exit_status']!r} is not a policy")
    targets = {numbers[name]: _target(target) for name, target in entry["targets"].items()}
    times = [_seconds(time) for time in _a(list, entry["times"])]
    step_targets = [_target(target) for target in _a(list, entry["step_targets"])]
    if not len(times) == len(step_targets) == len(steps):
        raise ValueError("there is not a time and a target for each step")
    return Lifecycle(commands, _some(int, steps), times, entry["exit_status"], targets, step_targets)


def _decision(entry: Entry, numbers: Numbers) -> Decision:
    asked_for = tuple(_effect(each, numbers) for each in _a(list, entry["effects"]))
    before, after = stage(entry["before"]), stage(entry["after"])
    return Decision(_event(entry, numbers), before, after, _a(str, entry["guard"]), asked_for)


def stage(text: str) -> Stage:
    """The stage that is written "TERMINATING [step 1 of 2, again]"."""
    name, _, step = _a(str, text).partition(" [step ")
    number, _, rest = step.removesuffix("]").partition(" of ")
    of, _, again = rest.partition(", ")
    if name in State.__members__ and all(count.isdecimal() for count in (number, of) if count):
        found = Stage(State[name], int(number or 0), int(of or 0), again=bool(again))
        if str(found) == text:
            return found
    raise ValueError(f"{text!r} is not a stage")


def _event(entry: Entry, numbers: Numbers) -> Event:
    kind = EVENTS[entry["event"]]
    attributes: dict[str, Any] = {}
    for member, field_kind, *names in kind.fields:
        attributes.update(zip(names, EVENT_FIELDS[field_kind](numbers, entry[member]), strict=True))
    return kind.of(_a(int, entry["t"]) / 1e9, **attributes)


def _effect(entry: Entry, numbers: Numbers) -> Effect:
    kind = EFFECTS[entry["effect"]]
    members = {
        attribute: EFFECT_FIELDS[field_kind](numbers, entry[member]) for member, field_kind, attribute in kind.fields
    }
    return kind.of(**members)


def _endings(whose: str, entries: Any, numbers: Numbers) -> tuple[tuple[int, Ending], ...]:
    return tuple((_a(int, each[whose]), _ending(each, numbers)) for each in _a(list, entries))


def _ending(entry: Entry, numbers: Numbers) -> Ending:
    signum = numbers[entry["signal"]] if entry["signal"] is not None else 0
    return Ending(_a(int, entry["code"]), signum, core=_a(bool, entry["core"]), failure=_a(str, entry["failure"]))


def _pids(entries: Any) -> tuple[int, ...]:
    return tuple(_a(int, each["pid"]) for each in _a(list, entries))


def _names(entries: Any) -> tuple[str, ...]:
    return tuple(_a(str, each["name"]) for each in _a(list, entries))


def _asked(entries: Any) -> tuple[int, ...]:
    return tuple(each["pid"] for each in entries if _a(bool, each["asked"]))


def _seconds(seconds: float | None) -> float:
    """Seconds; null means without end."""
    return ENDLESS if seconds is None else _amount(seconds)


def _a(kind: type[A], value: Any) -> A:
    if type(value) is not kind:
        raise TypeError(f"{value!r} is not of type {kind.__name__}")
    return value


def _target(value: Any) -> str:
    if _a(str, value) not in effects.TARGETS:
        raise ValueError(f"{value!r} is not a target")
    return str(value)


def _amount(value: Any) -> float:
    if type(value) not in (int, float) or not 0 <= value < ENDLESS:
        raise TypeError(f"{value!r} is not a number of 0 or more")
    return float(value)


def _some(kind: type[A], values: Any) -> list[A]:
    """One or more of a kind."""
    if not _a(list, values):
        raise ValueError("the list is empty")
    return [_a(kind, value) for value in values]


# How each kind of field is read; of an event, the values of all its attributes.
EVENT_FIELDS: dict[str, Callable[[Numbers, Any], tuple[Any, ...]]] = {
    events.SIGNAL: lambda numbers, name: (numbers[name],),
    events.COMMANDS_ENDED: lambda numbers, entries: (_endings("command", entries, numbers),),
    events.ORPHANS_ENDED: lambda numbers, entries: (_endings("pid", entries, numbers), _names(entries)),
    events.ADOPTED: lambda _, entries: (_pids(entries), _asked(entries), _names(entries)),
    events.PROCESSES: lambda _, entries: (_pids(entries), _names(entries)),
    events.PIDS: lambda _, pids: (tuple(_a(int, pid) for pid in _a(list, pids)),),
}
EFFECT_FIELDS: dict[str, Callable[[Numbers, Any], Any]] = {
    effects.SIGNAL: lambda numbers, name: numbers[name],
    effects.SIGNALS: lambda numbers, names: tuple(_some(int, [numbers[name] for name in _a(list, names)])),
    effects.PIDS: lambda _, pids: None if pids is None else tuple(_a(int, pid) for pid in _a(list, pids)),
    effects.FLAG: lambda _, flag: _a(bool, flag),
    effects.SECONDS: lambda _, seconds: _seconds(seconds),
    effects.CODE: lambda _, code: _a(int, code),
    effects.TARGET: lambda _, target: _target(target),
    effects.SOME: lambda _, some: (
        None if some is None else tuple((_a(int, each["pid"]), _target(each["target"])) for each in _a(list, some))
    ),
    effects.SIDECARS: lambda _, pids: tuple(_a(int, pid) for pid in _a(list, pids)),
    effects.OWN: lambda numbers, entries: tuple(
        (_a(int, each["pid"]), numbers[each["signal"]], _target(each["target"])) for each in _a(list, entries)
    ),
}
