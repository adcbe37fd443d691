"""Why muinit exits: one line for someone who has never seen muinit.

    exit 3: pid 8 (sshd -D) exited 3 after 1.2 s, so muinit stopped the rest: pid 7 (dnsmasq -k) died of muinit's
    SIGTERM (143), 0.02 s into step 1 of 2 (SIGTERM)

It says which command gave the exit code and how that one ended, what began the stop, and what became of each command.
"""

from __future__ import annotations

from statechart.lifecycle import SIGKILL
from statechart.words.phrases import MOST_NAMES, command, ending, first_few, orphan, seconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from statechart.lifecycle import Command, Lifecycle
    from statechart.words.phrases import Signame

AT_ONCE = 1.0  # seconds; a program that has nothing to read ends in a fraction of it


class Verdict:
    """What there is to say about a run, at any time during it.

    `out_of_memory` says that the kernel has counted an OOM kill during the run.
    """

    def __init__(self, lifecycle: Lifecycle, signame: Signame, *, out_of_memory: bool = False) -> None:
        self._lifecycle = lifecycle
        self._signame = signame
        self._out_of_memory = out_of_memory

    def sentence(self, survivors: Sequence[str], at: float) -> str:
        """Why the run exits, `at` seconds after its start. `survivors` describes the processes that are left alive."""
        lifecycle = self._lifecycle
        first = next(
            (it for it in lifecycle.ended if not it.step and it.stops and it.counts), None
        )  # its end began the stop
        stopped = ", so muinit stopped the rest" if any(it.step or it.alive for it in lifecycle.commands) else ""
        if lifecycle.decider is not None:
            what = self.fate(lifecycle.decider, total=True)
        elif lifecycle.code:
            signum = lifecycle.steps[lifecycle.step - 1]
            alive = ", ".join(survivors) or "a process that cannot be identified"
            what = f"still alive {seconds(at - lifecycle.step_at)} into {self._step(lifecycle.step, signum)}: {alive}"
        else:
            what = "no command failed"
        if first is None and lifecycle.told:
            what += f"; {self._signame(lifecycle.told)} had told muinit to stop after {seconds(lifecycle.told_at)}"
        elif first is not None and first is not lifecycle.decider:
            what += f"; {self.fate(first)}{stopped}"
        else:
            what += stopped
        if first is not None and lifecycle.told:
            what += f"; then {self._signame(lifecycle.told)} told muinit to stop, after {seconds(lifecycle.told_at)}"
        rest = [*self._fates([it for it in lifecycle.commands if it not in (lifecycle.decider, first)])]
        if lifecycle.killed:
            killed = first_few([orphan(*it) for it in lifecycle.killed])
            rest.append(f"muinit's SIGKILL ended {killed}, which had been asked to stop")
        return f"exit {lifecycle.code}: {what}" + (f": {'; '.join(rest)}" if rest else "")

    def noteworthy(self) -> bool:
        """Whether there is something to say although the exit status is 0.

        There is if muinit's SIGKILL ended a process that had been asked to stop, or if the command that began the stop
        by exiting 0 may have done so by mistake.
        """
        lifecycle = self._lifecycle
        killed = lifecycle.killing and any(
            it.ending and it.ending.signum == SIGKILL and SIGKILL in it.own_signals for it in lifecycle.commands
        )
        return killed or bool(lifecycle.killed) or any(self._mistake(it) for it in lifecycle.ended)

    def fate(self, it: Command, *, total: bool = False) -> str:
        """What became of a command, and when. With `total`, also its whole time if a step ended it."""
        if it.ending is None:
            return f"{command(it)} {'is still alive' if it.alive else 'was not started'}"
        text = f"{command(it)} {self._end(it)}"
        if it.pid and (total or not it.step):
            text += f" after {seconds(it.ended_at)}"
        if it.step:
            text += f", {seconds(it.ended_at - it.step_at)} into {self._step_of(it)}"
        if self._out_of_memory and it.ending.death == SIGKILL not in it.own_signals:
            text += " (the kernel has counted an OOM kill in this cgroup)"
        mistake = self._mistake(it)
        return f"{text} ({mistake})" if mistake else text

    def _mistake(self, it: Command) -> str:
        """What may be wrong if this command began the stop by exiting 0, and what to do; "" if nothing seems wrong."""
        assert it.ending is not None
        if it.step or it.code or not it.stops or not it.counts:
            return ""
        if self._lifecycle.left:
            left = first_few([orphan(*process) for process in self._lifecycle.left])
            return f"it may have gone to the background, because it left {left}; a command must stay in the foreground"
        if it.reads_nothing and it.ended_at < AT_ONCE:
            return "it may have ended because it had nothing to read; only the first command reads the terminal"
        return ""

    def _end(self, it: Command) -> str:
        """How it ended, on whose signal, and the code if a signal killed it: "died of muinit's SIGTERM (143)"."""
        assert it.ending is not None
        whose = ""
        if it.ending.death in it.own_signals:  # we sent it
            steps = {*self._lifecycle.steps, *(signum for signum, _ in it.steps)}
            whose = "muinit's " if it.step and it.ending.death in steps else "a forwarded "
        return ending(it.ending, self._signame, whose) + (f" ({it.ending.code})" if it.ending.signum else "")

    def _fates(self, commands: Sequence[Command]) -> Iterator[str]:
        """What became of each, failures first; of many, those that ended alike are counted."""
        commands = sorted(commands, key=lambda it: not (it.ending and it.failed))
        yield from map(self.fate, commands[:MOST_NAMES])
        alike: dict[tuple[str, str], list[Command]] = {}
        for it in commands[MOST_NAMES:]:
            what = self._end(it) if it.ending else "are still alive" if it.alive else "were not started"
            alike.setdefault((what, self._step_of(it)), []).append(it)
        for (what, step), those in alike.items():
            longest = max(it.ended_at - it.step_at for it in those)
            when = f", at most {seconds(longest)} into {step}" if step else ""
            yield f"{len(those)} more {what}{when}" if len(those) > 1 else self.fate(those[0])

    def _step_of(self, it: Command) -> str:
        """The step in which it ended, with the signal that it got; a sidecar may have been left out. "" for none."""
        if not it.step:
            return ""
        signum = it.step_signal(it.step, self._lifecycle.steps[it.step - 1])
        return self._step(it.step, signum if signum in it.own_signals else 0)

    def _step(self, number: int, signum: int) -> str:
        return f"step {number} of {len(self._lifecycle.steps)}" + (f" ({self._signame(signum)})" if signum else "")
