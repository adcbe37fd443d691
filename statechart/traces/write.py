"""A decision as a line of JSON: schema 1 of `--trace-file`, see trace.schema.json. `statechart.traces.read` reads it.

Signals are written by name, because their numbers differ between machines; the header has both. Times are nanoseconds
since the start. Seconds without end are null.
"""

from __future__ import annotations

from statechart import effects, events

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from statechart.effects import Effect
    from statechart.events import Ending
    from statechart.lifecycle import Decision, Lifecycle
    from statechart.words.phrases import Signame

    Entry = dict[str, Any]

SCHEMA = 1


def header(
    lifecycle: Lifecycle, forward: Iterable[int], stop_on: Iterable[int], numbers: Mapping[str, int], **about: object
) -> Entry:
    """The first line: the schema, what `about` says of the run, the options that matter, all signals by name."""
    names = {number: name for name, number in numbers.items()}
    return {
        "schema": SCHEMA,
        **about,
        "steps": [names[number] for number in lifecycle.steps],
        "step_targets": list(lifecycle.step_targets) or [effects.CHILD] * len(lifecycle.steps),
        "times": [_or_null(time) for time in lifecycle.times],
        "forward": [names[number] for number in forward],
        "stop_on": [names[number] for number in stop_on],
        "targets": {names[number]: target for number, target in lifecycle.targets.items() if number in names},
        "exit_status": lifecycle.policy,
        "commands": [
            {
                "pid": command.pid,
                "argv": list(command.argv),
                "name": command.name,
                "success": sorted(command.success),
                "may_end": command.may_end,
                "sidecar": command.sidecar,
                "forward": {names[number]: target for number, target in command.forward.items()},
                "steps": [{"signal": names[number], "target": target} for number, target in command.steps],
                "reads_nothing": command.reads_nothing,
            }
            for command in lifecycle.commands
        ],
        "signals": dict(numbers),
    }


def entry(decision: Decision, signame: Signame) -> Entry:
    """The line for one decision."""
    event = decision.event
    members = {
        member: EVENT_FIELDS[kind](signame, *(getattr(event, name) for name in attributes))
        for member, kind, *attributes in event.fields
    }
    return {
        "t": nanoseconds(event.at),
        "event": event.name,
        **members,
        "before": str(decision.before),
        "guard": decision.guard,
        "after": str(decision.after),
        "effects": [_effect(effect, signame) for effect in decision.effects],
    }


def nanoseconds(seconds: float) -> int:
    """A time as it stands in a trace."""
    return round(seconds * 1e9)


def _effect(effect: Effect, signame: Signame) -> Entry:
    members = {
        member: EFFECT_FIELDS[kind](signame, getattr(effect, attribute)) for member, kind, attribute in effect.fields
    }
    return {"effect": effect.name, **members}


def _processes(pids: Sequence[int], names: Sequence[str]) -> list[Entry]:
    return [{"pid": pid, "name": name} for pid, name in zip(pids, names or [""] * len(pids), strict=True)]


def _ending(ending: Ending, signame: Signame) -> Entry:
    signal = signame(ending.signum) if ending.signum else None
    return {"code": ending.code, "signal": signal, "core": ending.core, "failure": ending.failure}


def _dead(signame: Signame, endings: Sequence[tuple[int, Ending]], names: Sequence[str]) -> list[Entry]:
    processes = _processes([pid for pid, _ in endings], names)
    return [process | _ending(ending, signame) for process, (_, ending) in zip(processes, endings, strict=True)]


def _or_null(seconds: float) -> float | None:
    return None if seconds == float("inf") else seconds


# How each kind of field is written; `statechart.traces.read` has the same kinds.
EVENT_FIELDS: dict[str, Callable[..., Any]] = {
    events.SIGNAL: lambda signame, signum: signame(signum),
    events.COMMANDS_ENDED: lambda signame, endings: [
        {"command": index, **_ending(ending, signame)} for index, ending in endings
    ],
    events.ORPHANS_ENDED: _dead,
    events.ADOPTED: lambda _, pids, asked, names: [
        process | {"asked": process["pid"] in asked} for process in _processes(pids, names)
    ],
    events.PROCESSES: lambda _, pids, names: _processes(pids, names),
    events.PIDS: lambda _, pids: [*pids],
}
EFFECT_FIELDS: dict[str, Callable[[Signame, Any], Any]] = {
    effects.SIGNAL: lambda signame, signum: signame(signum),
    effects.SIGNALS: lambda signame, signums: [*map(signame, signums)],
    effects.PIDS: lambda _, pids: None if pids is None else [*pids],
    effects.FLAG: lambda _, flag: flag,
    effects.SECONDS: lambda _, seconds: _or_null(seconds),
    effects.CODE: lambda _, code: code,
    effects.TARGET: lambda _, target: target,
    effects.SOME: lambda _, some: None if some is None else [{"pid": pid, "target": target} for pid, target in some],
    effects.SIDECARS: lambda _, pids: [*pids],
    effects.OWN: lambda signame, own: [
        {"pid": pid, "signal": signame(signum), "target": target} for pid, signum, target in own
    ],
}
