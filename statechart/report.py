"""Why muinit exits, in one line."""

from __future__ import annotations

from statechart.trace import how, who

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from statechart.lifecycle import Command, Lifecycle
    from statechart.trace import Signame

MOST = 5  # others that are named; the rest are counted


def verdict(run: Lifecycle, survivors: Sequence[str], signame: Signame) -> str:
    """The sentence for an exit that is not 0: who decided it, how, when, and what became of the others.

    `survivors` are descriptions of what outlived the last step.
    """
    signum = run.decider.told if run.decider else run.told
    told = f"told to stop by {signame(signum)}; " if signum else ""
    if run.decider is None:
        alive = ", ".join(survivors) or "nobody that we can name"
        last = signame(run.steps[-1])
        first = f"exit {run.code}: {told}the time of the last step ({last}) ran out and left alive: {alive}"
    else:
        after = f" after {run.decider.ended_at:.3g} s" if run.decider.pid else ""
        first = f"exit {run.code}: {told}{_fate(run, run.decider, signame)}{after}"
    others = [_fate(run, command, signame) for command in run.commands if command is not run.decider]
    if len(others) > MOST:
        others[MOST:] = [f"and {len(others) - MOST} more"]
    return "; ".join([first, *others])


def _fate(run: Lifecycle, command: Command, signame: Signame) -> str:
    if command.ending is not None:
        step = f" in step {command.step} of {len(run.steps)}" if command.step else ""
        return f"{who(command)} {how(command.ending, signame)}{step}"
    return f"{who(command)} is left alive" if command.alive else f"{who(command)} was not started"
