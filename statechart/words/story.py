"""What happens, as it happens, in plain words: the lines of `muinit -v`."""

from __future__ import annotations

from statechart.effects import Relay, SendStep, SetClock
from statechart.events import ADOPTED, COMMANDS_ENDED, ORPHANS_ENDED, PROCESSES, SIGNAL
from statechart.words.phrases import command, effects_in_words, ending, orphans, seconds
from statechart.words.verdict import Verdict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from statechart.effects import Effect
    from statechart.lifecycle import Decision, Lifecycle
    from statechart.words.phrases import Signame


class Story:
    """The lines of one run."""

    def __init__(self, lifecycle: Lifecycle, signame: Signame) -> None:
        self._lifecycle = lifecycle
        self._signame = signame

    def start(self) -> list[str]:
        """A line for each command that was started."""
        return [f"started {command(it)}" for it in self._lifecycle.commands if it.pid]

    def lines(self, decision: Decision) -> list[str]:
        """The lines for one decision: what happened, then the step that it began."""
        return [*self._event(decision), *self._step(decision)]

    def _event(self, decision: Decision) -> list[str]:
        event = decision.event
        if event.fields:
            _, kind, *attributes = event.fields[0]
            values = (getattr(event, name) for name in attributes)
            items = ITEMS[kind](self._lifecycle, self._signame, decision, *values)
        else:
            items = effects_in_words(decision.effects, self._signame)
        return [event.story.format(item) for item in items if event.story]

    def _step(self, decision: Decision) -> list[str]:
        clocks = [effect.seconds for effect in decision.effects if isinstance(effect, SetClock)]
        sent = [effect for effect in decision.effects if isinstance(effect, SendStep)]
        what = "; ".join(effects_in_words(sent, self._signame))
        return [f"{decision.after.words}: {what}; waiting {_up_to(it)}{seconds(it)}" for it in clocks if sent]


def _relays(decision: Decision) -> list[Effect]:
    return [effect for effect in decision.effects if isinstance(effect, Relay)]


def _adopted(
    signame: Signame, decision: Decision, pids: Sequence[int], asked: Sequence[int], names: Sequence[str]
) -> list[str]:
    sent = [signame(effect.signums[0]) for effect in decision.effects if isinstance(effect, SendStep)]
    also = f", and sent it {sent[0]}" if sent else ""
    named = zip(pids, orphans(pids, names), strict=True)
    return [f"{name}{' (already asked to stop)' if pid in asked else also}" for pid, name in named]


# What fills the {} of a story: the first field of the event in words, by the kind of the field. Each item is a line.
ITEMS: dict[str, Callable[..., Iterable[str]]] = {
    SIGNAL: lambda _, signame, decision, signum: effects_in_words(_relays(decision), signame) or [signame(signum)],
    COMMANDS_ENDED: lambda lifecycle, signame, _, endings: [
        Verdict(lifecycle, signame).fate(lifecycle.commands[index], total=True) for index, _ in endings
    ],
    ORPHANS_ENDED: lambda _, signame, __, endings, names: [
        f"{name}, which {ending(how, signame)}"
        for name, (_, how) in zip(orphans([pid for pid, _ in endings], names), endings, strict=True)
    ],
    ADOPTED: lambda _, *values: _adopted(*values),
    PROCESSES: lambda _, __, ___, pids, names: [", ".join(orphans(pids, names))] if pids else [],
}


def _up_to(clock: float) -> str:
    return "up to " if clock < float("inf") else ""
