"""A decision as plain data, for a file, and back: schema 1 of `--trace-file`, see trace.schema.json.

Signals are names, because their numbers are not the same on every machine; the header has both. Times are
nanoseconds since the start, seconds without end are null.
"""

from __future__ import annotations

from statechart.effects import Exit, Relay, ResumeAll, SetClock, Step, SuspendAll
from statechart.events import (
    CommandEnded,
    Drained,
    Ending,
    Forward,
    OrphansAdopted,
    OrphansEnded,
    Resume,
    Suspend,
    Terminate,
    Timeout,
)
from statechart.lifecycle import Command, Lifecycle, Taken

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any, TypeVar

    from statechart.effects import Effect
    from statechart.events import Event
    from statechart.trace import Signame

    A = TypeVar("A")
    Entry = dict[str, Any]

SCHEMA = 1
ENDLESS = float("inf")
PLAIN = {kind.name: kind for kind in (Drained, Suspend, Resume)}


# Written


def header(
    run: Lifecycle, forward: Iterable[int], stop_on: Iterable[int], numbers: Mapping[str, int], **about: object
) -> Entry:
    """The first line: the schema, what `about` says of the run, what the machine was given, all signals by name."""
    names = {number: name for name, number in numbers.items()}
    return {
        "schema": SCHEMA,
        **about,
        "steps": [names[number] for number in run.steps],
        "timeout": _or_null(run.timeout),
        "forward": [names[number] for number in forward],
        "stop_on": [names[number] for number in stop_on],
        "commands": [
            {"pid": command.pid, "argv": list(command.argv), "reads_nothing": command.reads_nothing}
            for command in run.commands
        ],
        "signals": dict(numbers),
    }


def taken(step: Taken, signame: Signame) -> Entry:
    """The line for one event taken."""
    return {
        "t": nanoseconds(step.event.at),
        "event": step.event.name,
        **_fields(step.event, signame),
        "before": step.before,
        "guard": step.guard,
        "after": step.after,
        "effects": [_effect(effect, signame) for effect in step.effects],
    }


def nanoseconds(seconds: float) -> int:
    """A time as it stands in a trace."""
    return round(seconds * 1e9)


def _fields(event: Event, signame: Signame) -> Entry:
    if isinstance(event, Forward | Terminate):
        return {"signal": signame(event.signum)}
    if isinstance(event, CommandEnded):
        endings = [{"command": index, **_ending(ending, signame)} for index, ending in event.endings]
        return {"endings": endings, "left": [{"pid": pid, "name": name} for pid, name in event.left]}
    if isinstance(event, OrphansEnded):
        dead = zip(event.endings, _names(event.names, event.endings), strict=True)
        return {"endings": [{"pid": pid, "name": name, **_ending(ending, signame)} for (pid, ending), name in dead]}
    if isinstance(event, OrphansAdopted):
        adopted = zip(event.pids, _names(event.names, event.pids), strict=True)
        return {"adopted": [{"pid": pid, "name": name, "asked": pid in event.asked} for pid, name in adopted]}
    if isinstance(event, Timeout):
        unasked = zip(event.unasked, _names(event.names, event.unasked), strict=True)
        return {"unasked": [{"pid": pid, "name": name} for pid, name in unasked]}
    return {}


def _names(names: tuple[str, ...], each: Sequence[object]) -> Sequence[str]:
    """A name for each, "" where there are none."""
    return names or [""] * len(each)


def _ending(ending: Ending, signame: Signame) -> Entry:
    signal = signame(ending.signum) if ending.signum else None
    return {"code": ending.code, "signal": signal, "core": ending.core, "failure": ending.failure}


def _effect(effect: Effect, signame: Signame) -> Entry:
    if isinstance(effect, Relay):
        return {"effect": "relay", "signal": signame(effect.signum)}
    if isinstance(effect, Step):
        pids = None if effect.pids is None else list(effect.pids)
        return {"effect": "step", "signals": [*map(signame, effect.signums)], "pids": pids, "tree": effect.tree}
    if isinstance(effect, SetClock):
        return {"effect": "clock", "seconds": _or_null(effect.seconds)}
    if isinstance(effect, Exit):
        return {"effect": "exit", "code": effect.code, "gave_up": effect.gave_up}
    return {"effect": "suspend" if isinstance(effect, SuspendAll) else "resume"}


def _or_null(seconds: float) -> float | None:
    return None if seconds == ENDLESS else seconds


# Read: each raises KeyError, TypeError or ValueError where an entry is not what was written.


def run_of(entry: Entry) -> Lifecycle:
    """The run of a header, before its first event."""
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
        commands.append(Command(argv, pid, reads_nothing=reads_nothing))
    return Lifecycle(commands, _some(int, steps), _seconds_of(entry["timeout"]))


def taken_of(entry: Entry, numbers: Mapping[str, int]) -> Taken:
    """The decision of a line; `numbers` has those of the signals."""
    before, after, guard = (_a(str, entry[name]) for name in ("before", "after", "guard"))
    effects = tuple(_effect_of(each, numbers) for each in _a(list, entry["effects"]))
    return Taken(_event_of(entry, numbers), before, after, guard, effects)


def _event_of(entry: Entry, numbers: Mapping[str, int]) -> Event:
    name, at = entry["event"], _a(int, entry["t"]) / 1e9
    event: Event
    if name == Forward.name:
        event = Forward(numbers[entry["signal"]], at=at)
    elif name == Terminate.name:
        event = Terminate(numbers[entry["signal"]], at=at)
    elif name == CommandEnded.name:
        left = zip(*_named(entry, "left"), strict=True)
        event = CommandEnded(*_endings_of(entry, "command", numbers), left=tuple(left), at=at)
    elif name == OrphansEnded.name:
        _, names = _named(entry, "endings")
        event = OrphansEnded(*_endings_of(entry, "pid", numbers), names=names, at=at)
    elif name == OrphansAdopted.name:
        pids, names = _named(entry, "adopted")
        asked = tuple(each["pid"] for each in entry["adopted"] if _a(bool, each["asked"]))
        event = OrphansAdopted(*pids, asked=asked, names=names, at=at)
    elif name == Timeout.name:
        pids, names = _named(entry, "unasked")
        event = Timeout(*pids, names=names, at=at)
    else:
        event = PLAIN[name](at=at)
    return event


def _named(entry: Entry, key: str) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Pids and names."""
    each = _a(list, entry[key])
    return tuple(_a(int, one["pid"]) for one in each), tuple(_a(str, one["name"]) for one in each)


def _endings_of(entry: Entry, whose: str, numbers: Mapping[str, int]) -> list[tuple[int, Ending]]:
    return [(_a(int, each[whose]), _ending_of(each, numbers)) for each in _a(list, entry["endings"])]


def _ending_of(entry: Entry, numbers: Mapping[str, int]) -> Ending:
    signum = numbers[entry["signal"]] if entry["signal"] is not None else 0
    return Ending(_a(int, entry["code"]), signum, core=_a(bool, entry["core"]), failure=_a(str, entry["failure"]))


def _effect_of(entry: Entry, numbers: Mapping[str, int]) -> Effect:
    name = entry["effect"]
    effect: Effect
    if name == "relay":
        effect = Relay(numbers[entry["signal"]])
    elif name == "step":
        pids = None if entry["pids"] is None else tuple(_a(int, pid) for pid in _a(list, entry["pids"]))
        signums = _some(int, [numbers[name] for name in _a(list, entry["signals"])])
        effect = Step(*signums, pids=pids, tree=_a(bool, entry["tree"]))
    elif name == "clock":
        effect = SetClock(_seconds_of(entry["seconds"]))
    elif name == "exit":
        effect = Exit(_a(int, entry["code"]), gave_up=_a(bool, entry["gave_up"]))
    elif name in ("suspend", "resume"):
        effect = SuspendAll() if name == "suspend" else ResumeAll()
    else:
        raise ValueError(f"unknown effect {name!r}")
    return effect


def end_of(entry: Entry) -> tuple[float, int, str]:
    """Of the last line the seconds since the start, the exit status and the sentence."""
    return _a(int, entry["t"]) / 1e9, _a(int, entry["exit"]), _a(str, entry["why"])


def _seconds_of(seconds: float | None) -> float:
    """Seconds, where null is without end."""
    return ENDLESS if seconds is None else _amount(seconds)


def _a(kind: type[A], value: Any) -> A:
    if type(value) is not kind:
        raise TypeError(f"{value!r} is no {kind.__name__}")
    return value


def _amount(value: Any) -> float:
    if type(value) not in (int, float) or not 0 <= value < ENDLESS:
        raise TypeError(f"{value!r} is no amount")
    return float(value)


def _some(kind: type[A], values: Any) -> list[A]:
    """One or more of a kind."""
    if not _a(list, values):
        raise ValueError("there must be one")
    return [_a(kind, value) for value in values]
