"""A small world that can be played: two commands, and a process that one of them leaves behind.

What happens there is handed to the real `Lifecycle`. This module says only what can happen, and when.
"""

from __future__ import annotations

from dataclasses import dataclass

from statechart import signals
from statechart.chart import State
from statechart.effects import SendStep
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
from statechart.lifecycle import SIGKILL, Command, Lifecycle
from statechart.pictures.places import NOW, place
from statechart.pictures.search import copied

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence

    from statechart.events import Event
    from statechart.lifecycle import Decision

SIGINT, SIGTERM = 2, 15  # the same on every Linux architecture (signal(7))
COMMANDS = {"web": 7, "worker": 8}  # names and pids
JOB, JOB_PID = "job", 9  # a child of the worker
ENDLESS = float("inf")

# What is known of the job, and how a page says it.
UNSEEN, ASKED, ADOPTED, REAPED = "unseen", "asked", "adopted", "reaped"
JOBS = {
    UNSEEN: "a child of the worker, if there is one",
    ASKED: f"pid {JOB_PID}, asked to stop; not yet adopted",
    ADOPTED: f"pid {JOB_PID}, an orphan that muinit has adopted",
    REAPED: f"pid {JOB_PID} was reaped",
}


@dataclass(frozen=True)
class Happening:
    """Something that can happen: to whom, in words, and when it is possible; and what becomes of the job."""

    whom: str
    words: str
    event: Event
    possible: Callable[[Scene], bool]
    job: str = ""

    @property
    def name(self) -> str:
        """What links call it: "web-exits-0"."""
        return f"{self.whom} {self.words}".replace(",", "").replace(" ", "-")


class Scene:
    """A run after some events, and what is known of the job."""

    def __init__(self, lifecycle: Lifecycle, job: str = UNSEEN) -> None:
        self.lifecycle = lifecycle
        self.job = job
        self.key = self._key()

    @property
    def alive(self) -> list[Command]:
        """The commands that are alive."""
        return [command for command in self.lifecycle.commands if command.alive]

    @property
    def signum(self) -> int:
        """What the step in force has sent; 0 if none is."""
        return self.lifecycle.steps[self.lifecycle.step - 1] if self.lifecycle.step else 0

    @property
    def clock(self) -> bool:
        """Whether a clock runs that will run out."""
        return bool(self.lifecycle.step) and self.lifecycle.times[self.lifecycle.step - 1] < ENDLESS

    def _key(self) -> Hashable:
        """What decides what can come next, and which sentence will be said.

        What became of a dead command is a place in that sentence, so only this of it counts: whether it failed, and
        with which code while that can still become the exit status.
        """
        run, alive = self.lifecycle, self.alive
        first = next((command for command in run.ended if not command.step), None)
        dead = [command.ending and command.failed and (command.code if alive else True) for command in run.commands]
        kills = (run.asked, run.killing) if self.job != REAPED else ()
        sent = [tuple(sorted(command.own_signals.items())) for command in alive[:1]]
        places = tuple(command and run.commands.index(command) for command in (run.decider, first))
        return run.stage, self.job, run.told, run.code, places, *dead, *sent, *kills, bool(run.killed)

    def after(self, event: Happening) -> tuple[Scene, Decision]:
        """The scene after something has happened, and the decision. This scene stays as it is."""
        lifecycle = copied(self.lifecycle)
        lifecycle.step_at, lifecycle.told_at = place("step"), place("told")
        for command in lifecycle.commands:
            command.ended_at = place("ended")
        decision = lifecycle.handle(event.event)
        return Scene(lifecycle, self.job_after(event, decision)), decision

    def job_after(self, event: Happening, decision: Decision) -> str:
        """What is known of the job then. When a step begins, it has not had the signal of that step."""
        began = any(isinstance(effect, SendStep) and effect.pids is None for effect in decision.effects)
        return event.job or (UNSEEN if self.job == ASKED and began else self.job)

    @property
    def gave_up(self) -> bool:
        """Whether the run has ended although something is alive."""
        return bool(self.lifecycle.code) and self.lifecycle.decider is None

    def survivors(self) -> list[str]:
        """What is left alive, as muinit describes it from /proc."""
        left = {
            name: pid for (name, pid), it in zip(COMMANDS.items(), self.lifecycle.commands, strict=True) if it.alive
        }
        left |= {JOB: JOB_PID} if self.job in (ASKED, ADOPTED) else {}
        # Only a process that waits for the disk outlives SIGKILL.
        state = "D" if self.lifecycle.steps[-1] == SIGKILL else "S"
        return [f"pid {pid} ({name}, state {state})" for name, pid in left.items()]


class World:
    """What can happen with these steps and times; they are those of `Lifecycle`."""

    def __init__(self, steps: Sequence[int], times: Sequence[float], step_targets: Sequence[str] = ()) -> None:
        self.steps = steps
        self.times = times
        self.step_targets = step_targets
        self.happenings = [*self._to_commands(), *self._to_the_job(), *self._to_muinit(), *self._to_the_clock()]

    def begin(self) -> Scene:
        """The start: both commands run, and muinit has not seen the job."""
        commands = [Command([name], pid) for name, pid in COMMANDS.items()]
        return Scene(Lifecycle(commands, self.steps, self.times, step_targets=self.step_targets))

    def possible(self, scene: Scene) -> Iterator[Happening]:
        """What can happen next."""
        if scene.lifecycle.state is not State.EXITED:
            yield from (it for it in self.happenings if it.possible(scene))

    def _to_commands(self) -> Iterator[Happening]:
        for index, name in enumerate(COMMANDS):
            for words, how, signum in self._endings([SIGINT, *self.steps, SIGKILL]):

                def possible(scene: Scene, index: int = index, signum: int = signum) -> bool:
                    command = scene.lifecycle.commands[index]
                    return command.alive and (signum in (0, SIGKILL) or signum in command.own_signals)

                yield Happening(name, words, CommandEnded((index, how), at=NOW), possible)
        left = CommandEnded((1, Ending(0)), left=(JOB_PID,), names=(JOB,), at=NOW)
        yield Happening(
            *("worker", "exits 0, and the job is left", left),
            lambda scene: scene.lifecycle.commands[1].alive and not scene.lifecycle.step and scene.job == UNSEEN,
            ADOPTED,
        )

    def _to_the_job(self) -> Iterator[Happening]:
        for words, asked, job in (("is adopted", (), UNSEEN), ("is adopted, already asked", (JOB_PID,), ASKED)):

            def adoptable(scene: Scene, job: str = job) -> bool:
                return scene.job == job

            yield Happening(JOB, words, OrphansAdopted(JOB_PID, asked=asked, names=(JOB,), at=NOW), adoptable, ADOPTED)
        for words, how, signum in self._endings(self.steps):

            def possible(scene: Scene, signum: int = signum) -> bool:
                return scene.job == ADOPTED and (not signum or signum == scene.signum)

            yield Happening(JOB, words, OrphansEnded((JOB_PID, how), names=(JOB,), at=NOW), possible, REAPED)

    def _to_muinit(self) -> Iterator[Happening]:
        events = {
            f"{signals.name(SIGTERM)} arrives": Terminate(SIGTERM, at=NOW),
            f"{signals.name(SIGINT)} arrives": Forward(SIGINT, at=NOW),
            "Ctrl-Z is typed": Suspend(at=NOW),
            "SIGCONT arrives": Resume(at=NOW),
        }
        for words, event in events.items():
            yield Happening("muinit", words, event, lambda _: True)

    def _to_the_clock(self) -> Iterator[Happening]:
        late = Timeout(JOB_PID, names=(JOB,), at=NOW)
        yield Happening("time", "is up", Timeout(at=NOW), lambda scene: scene.clock)
        yield Happening(
            *("time", "is up, and the job was not asked", late),
            lambda scene: scene.clock and scene.job == UNSEEN and scene.lifecycle.can_ask_late,
            ASKED,
        )
        yield Happening(
            *("children", "are all gone", Drained(at=NOW)), lambda scene: not scene.alive and scene.job != ADOPTED
        )

    def _endings(self, signums: Iterable[int]) -> Iterator[tuple[str, Ending, int]]:
        """How a process can end: in words, and of which signal, or 0."""
        yield from ((f"exits {code}", Ending(code), 0) for code in (0, 3))
        for signum in dict.fromkeys(signums):
            yield f"dies of {signals.name(signum)}", Ending(128 + signum, signum), signum
