"""A decision in one line, for people: what `--trace-states` prints.

    0.000 s  [*] -> RUNNING                                              start: pid 7 (dnsmasq -k), pid 8 (sshd -D)
    1.204 s  RUNNING -> TERMINATING [step 1 of 2]                        command_ended: pid 8 (sshd -D) exited 3 / ...

On the left: the time since the start, the stage before and after, and the event with its guard. Together they are one
edge of the diagram. On the right of the slash: what muinit does about it.
"""

from __future__ import annotations

from statechart.events import ADOPTED, COMMANDS_ENDED, ORPHANS_ENDED, PROCESSES, SIGNAL
from statechart.words.phrases import command, effects_in_words, ending, guarded, orphan, orphans

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from statechart.lifecycle import Decision, Lifecycle
    from statechart.words.phrases import Signame

DIM, PLAIN = "\x1b[2m", "\x1b[0m"
COLOURS = {
    "[*]": DIM,
    "RUNNING": "\x1b[32m",
    "TERMINATING": "\x1b[33m",
    "DRAINING": "\x1b[35m",
    "EXITED": "\x1b[1m",
}  # ECMA-48


def start(lifecycle: Lifecycle, *, colour: bool = False) -> str:
    """The first line of a trace."""
    names = ", ".join(command(it) for it in lifecycle.commands if it.pid)
    return _line(lifecycle, 0.0, ("[*]", "RUNNING"), f"start: {names or 'nothing'}", colour=colour)


def line(lifecycle: Lifecycle, decision: Decision, signame: Signame, *, colour: bool = False) -> str:
    """The line for one decision; with `colour` the stages are coloured for a terminal."""
    event, detail, effects = event_detail_effects(lifecycle, decision, signame)
    text = event + (f": {detail}" if detail else "") + (f" / {effects}" if effects else "")
    return _line(lifecycle, decision.event.at, (str(decision.before), str(decision.after)), text, colour=colour)


def event_detail_effects(lifecycle: Lifecycle, decision: Decision, signame: Signame) -> tuple[str, str, str]:
    """What a line says: the event with its guard, what the event carries, and the effects."""
    event = decision.event
    details = (
        DETAIL[kind](lifecycle, signame, *(getattr(event, name) for name in attributes))
        for _, kind, *attributes in event.fields[:1]
    )
    effects = "; ".join(effects_in_words(decision.effects, signame))
    return guarded(event.name, decision.guard), "".join(details), effects


# The first field of an event in words, by the kind of the field.
DETAIL: dict[str, Callable[..., str]] = {
    SIGNAL: lambda _, signame, signum: signame(signum),
    COMMANDS_ENDED: lambda lifecycle, signame, endings: ", ".join(
        f"{command(lifecycle.commands[index])} {ending(how, signame)}" for index, how in endings
    ),
    ORPHANS_ENDED: lambda _, signame, endings, __: ", ".join(
        f"{orphan(pid)} {ending(how, signame)}" for pid, how in endings
    ),
    ADOPTED: lambda _, __, pids, asked, names: ", ".join(
        name + (" already asked" if pid in asked else "") for pid, name in zip(pids, orphans(pids, names), strict=True)
    ),
    PROCESSES: lambda _, __, pids, names: f"not asked yet: {', '.join(orphans(pids, names))}" if pids else "",
}


def _line(lifecycle: Lifecycle, at: float, stages: tuple[str, str], text: str, *, colour: bool) -> str:
    last = len(lifecycle.steps)
    room = len(f"TERMINATING [step {last} of {last}]") * 2 - sum(map(len, stages))
    if not colour:
        return f"{at:11.3f} s  {' -> '.join(stages)}{' ' * room}  {text}"
    painted = " -> ".join(f"{COLOURS[stage.partition(' ')[0]]}{stage}{PLAIN}" for stage in stages)
    return f"{DIM}{at:11.3f} s{PLAIN}  {painted}{' ' * room}  {text}"
