"""What happens, as it happens, in plain words: the lines of `muinit -v`."""

from __future__ import annotations

from statechart import report
from statechart.effects import SetClock, Step
from statechart.events import CommandEnded, Forward, OrphansAdopted, OrphansEnded, Resume, Suspend, Terminate, Timeout
from statechart.trace import how, orphan, who, words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from statechart.lifecycle import Lifecycle, Taken
    from statechart.trace import Signame


class Story:
    """The lines of one run."""

    def __init__(self, run: Lifecycle, signame: Signame) -> None:
        self._run = run
        self._signame = signame

    def started(self) -> list[str]:
        """A line for each command that was started."""
        return [f"started {who(command)}" for command in self._run.commands if command.pid]

    def taken(self, taken: Taken) -> list[str]:
        """The lines for one event taken: what happened, then the step that it began."""
        return [*self._event(taken), *self._step(taken)]

    def _event(self, taken: Taken) -> list[str]:
        event, signame = taken.event, self._signame
        lines = []
        if isinstance(event, Forward):
            lines = [f"forwarding {signame(event.signum)} to every child"]
        elif isinstance(event, Terminate):
            lines = [f"told to stop by {signame(event.signum)}"]
        elif isinstance(event, CommandEnded):
            commands = [self._run.commands[index] for index, _ in event.endings]
            lines = [report.fate(self._run, command, signame, total=True) for command in commands]
        elif isinstance(event, OrphansAdopted):
            names = dict(zip(event.pids, event.names, strict=False))
            sent = [signame(effect.signums[0]) for effect in taken.effects if isinstance(effect, Step)]
            also = f", and sent it {sent[0]}" if sent else ""
            lines = [
                f"adopted {orphan(pid, names.get(pid, ''))}{' (already asked to stop)' if pid in event.asked else also}"
                for pid in event.pids
            ]
        elif isinstance(event, OrphansEnded):
            dead = zip(event.endings, event.names or [""] * len(event.endings), strict=True)
            lines = [f"reaped {orphan(pid, name)}, which {how(ending, signame)}" for (pid, ending), name in dead]
        elif isinstance(event, Timeout) and event.unasked:
            unasked = map(orphan, event.unasked, event.names or [""] * len(event.unasked))
            lines = [f"not asked to stop yet: {', '.join(unasked)}"]
        elif isinstance(event, Suspend | Resume):
            lines = [f"{event.name}: {words(effect, signame)}" for effect in taken.effects]
        return lines

    def _step(self, taken: Taken) -> list[str]:
        clocks = [effect.seconds for effect in taken.effects if isinstance(effect, SetClock)]
        sent = [effect for effect in taken.effects if isinstance(effect, Step)]
        number = f"step {self._run.step} of {len(self._run.steps)}" + (", again" if self._run.again else "")
        return [
            f"{number}: {words(effect, self._signame)}; waiting {_up_to(clock)}{report.seconds(clock)}"
            for effect, clock in zip(sent, clocks, strict=False)
        ]


def _up_to(clock: float) -> str:
    return "up to " if clock < float("inf") else ""
