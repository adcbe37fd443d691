"""Why muinit exits, in a line for who never saw it.

    exit 3: pid 8 (sshd -D) exited 3 after 1.2 s, so muinit stopped the rest: pid 7 (dnsmasq -k) died of muinit's
    SIGTERM (143), 0.02 s into step 1 of 2 (SIGTERM)

Whose code it is and how that command ended; on whose initiative the rest was stopped; what became of each.
"""

from __future__ import annotations

from statechart.lifecycle import SIGKILL
from statechart.trace import orphan, who

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from statechart.lifecycle import Command, Lifecycle
    from statechart.trace import Signame

MOST = 5  # others that are told of one by one
AT_ONCE = 1.0  # seconds; a program that had nothing to read ends in a fraction of it


def verdict(
    run: Lifecycle, survivors: Sequence[str], at: float, signame: Signame, *, out_of_memory: bool = False
) -> str:
    """The sentence for a run that exits `at` seconds after its start; `survivors` describes what is left alive.

    `out_of_memory` says that the kernel has counted an OOM kill during the run.
    """
    first = next((command for command in run.ended if not command.step), None)  # whose end began the stop
    others = [command for command in run.commands if command not in (run.decider, first)]
    stopped = ", so muinit stopped the rest" if any(command.step or command.alive for command in run.commands) else ""
    if run.decider is not None:
        what = fate(run, run.decider, signame, total=True, out_of_memory=out_of_memory)
    elif run.code:
        alive = ", ".join(survivors) or "somebody who cannot be named"
        what = f"still alive {seconds(at - run.step_at)} into {_step(run, run.step, signame)}: {alive}"
    else:
        what = "no command failed"
    if first is None:
        what += f"; {signame(run.told)} had told muinit to stop after {seconds(run.told_at)}"
    elif first is not run.decider:
        what += f"; {fate(run, first, signame, out_of_memory=out_of_memory)}{stopped}"
    else:
        what += stopped
    if first is not None and run.told:
        what += f"; then {signame(run.told)} told muinit to stop, after {seconds(run.told_at)}"
    rest = _fates(run, others, signame, out_of_memory=out_of_memory)
    if run.killed:
        rest.append(
            f"muinit's SIGKILL ended {_some([orphan(*one) for one in run.killed])}, which had been asked to stop"
        )
    return f"exit {run.code}: {what}" + (f": {'; '.join(rest)}" if rest else "")


def noteworthy(run: Lifecycle) -> bool:
    """Whether there is something to say although the exit status is 0.

    A SIGKILL of ours ended somebody who had been asked to stop; or the end with 0 that began the stop may be a mistake.
    """
    killed = run.killing and any(
        command.ending and command.ending.signum == SIGKILL and SIGKILL in command.own_signals
        for command in run.commands
    )
    return killed or bool(run.killed) or any(_mistake(run, command) for command in run.ended)


def _mistake(run: Lifecycle, command: Command) -> str:
    """What may be wrong with a command whose end with 0 began the stop, and the cure; "" where nothing seems to be."""
    assert command.ending is not None
    if command.step or command.ending.code:
        return ""
    if run.left:
        left = _some([orphan(*one) for one in run.left])
        return f"it may have gone to the background, because it left {left}; a command must stay in the foreground"
    if command.reads_nothing and command.ended_at < AT_ONCE:
        return "it may have ended because it had nothing to read; only the first command reads the terminal"
    return ""


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    return ", ".join(names[:MOST]) + more


def fate(
    run: Lifecycle, command: Command, signame: Signame, *, total: bool = False, out_of_memory: bool = False
) -> str:
    """What became of a command, and when; with `total` also its whole time where a step ended it."""
    if command.ending is None:
        return f"{who(command)} {'is still alive' if command.alive else 'was not started'}"
    text = f"{who(command)} {end(run, command, signame)}"
    if command.pid and (total or not command.step):
        text += f" after {seconds(command.ended_at)}"
    if command.step:
        text += f", {seconds(command.ended_at - command.step_at)} into {_step(run, command.step, signame)}"
    if out_of_memory and command.ending.death == SIGKILL not in command.own_signals:
        text += " (the kernel has counted an OOM kill in this cgroup)"
    mistake = _mistake(run, command)
    return f"{text} ({mistake})" if mistake else text


def end(run: Lifecycle, command: Command, signame: Signame) -> str:
    """How it ended, with the code, and on whose signal: "died of muinit's SIGTERM (143)"."""
    ending = command.ending
    assert ending is not None
    if ending.failure:
        return f"{ending.failure} ({ending.code})"
    whose = ""
    if ending.death in command.own_signals:  # we sent it
        whose = "muinit's " if command.step and ending.death in run.steps else "a forwarded "
    if not ending.signum:
        return f"exited {ending.code}" + (f" on {whose}{signame(ending.death)}" if whose else "")
    core = " with a core dump" if ending.core else ""
    return f"died of {whose}{signame(ending.signum)}{core} ({ending.code})"


def seconds(time: float) -> str:
    """A time as people say it: "0.023 s", "42.5 s", "2 min 5 s", "3 h 20 min", "5 d 1 h", "for ever"."""
    if time < 10:
        return f"{time:.3f}".rstrip("0").rstrip(".") + " s"
    if time < 60:
        return f"{time:.1f}".removesuffix(".0") + " s"
    if time < 3600:
        return f"{time // 60:.0f} min {time % 60 // 1:.0f} s"
    if time < 86400:
        return f"{time // 3600:.0f} h {time % 3600 // 60:.0f} min"
    return f"{time // 86400:.0f} d {time % 86400 // 3600:.0f} h" if time < float("inf") else "for ever"


def _step(run: Lifecycle, number: int, signame: Signame) -> str:
    return f"step {number} of {len(run.steps)} ({signame(run.steps[number - 1])})"


def _fates(run: Lifecycle, others: Sequence[Command], signame: Signame, *, out_of_memory: bool) -> list[str]:
    """What became of each: one by one, failures first; of many, those who ended alike are counted."""
    others = sorted(others, key=lambda command: not (command.ending and command.failed))
    told = [fate(run, command, signame, out_of_memory=out_of_memory) for command in others[:MOST]]
    alike: dict[tuple[str, int], list[Command]] = {}
    for command in others[MOST:]:
        what = (
            end(run, command, signame) if command.ending else "are still alive" if command.alive else "were not started"
        )
        alike.setdefault((what, command.step), []).append(command)
    for (what, step), commands in alike.items():
        if len(commands) == 1:
            told.append(fate(run, commands[0], signame, out_of_memory=out_of_memory))
            continue
        longest = max(command.ended_at - command.step_at for command in commands)
        when = f", at most {seconds(longest)} into {_step(run, step, signame)}" if step else ""
        told.append(f"{len(commands)} more {what}{when}")
    return told
