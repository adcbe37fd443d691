"""A decision in one line, for people.

    0.000 s  [*] -> RUNNING                                              start: pid 7 (dnsmasq -k), pid 8 (sshd -D)
    1.204 s  RUNNING -> TERMINATING [step 1 of 2]                        command_ended: pid 8 (sshd -D) exited 3 / ...

Left the time since the start, the state before and after, and the event with its guard: that is one edge of the
diagram. Right of the slash what is done about it.
"""

from __future__ import annotations

from statechart.effects import Relay, ResumeAll, SetClock, Step, SuspendAll
from statechart.events import CommandEnded, Ending, Event, Forward, OrphansAdopted, Terminate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from statechart.effects import Effect
    from statechart.lifecycle import Command, Taken

    Signame = Callable[[int], str]

LONGEST = 40  # characters of a command line that are shown
WIDTH = len("TERMINATING [step 1 of 2] -> TERMINATING [step 2 of 2]")


def title(argv: Sequence[str]) -> str:
    """The command line, cut to 40 characters, with nothing in it that moves a cursor."""
    text = " ".join(argv)
    if len(text) > LONGEST:
        text = text[: LONGEST - 3] + "..."
    return text if text.isprintable() else text.encode("unicode_escape").decode()


def who(command: Command) -> str:
    """The command as it is called in every line: by pid, name and arguments; by its path where it has no pid."""
    if command.pid is None:
        return f"({title(command.argv)})"
    return f"pid {command.pid} ({title([command.argv[0].rpartition('/')[2], *command.argv[1:]])})"


def how(ending: Ending, signame: Signame) -> str:
    """How it ended: "exited 3", "died of SIGSEGV, core dumped", "was not found"."""
    if ending.failure:
        return ending.failure
    if ending.signum:
        return f"died of {signame(ending.signum)}" + (", core dumped" if ending.core else "")
    return f"exited {ending.code}"


def started(commands: Sequence[Command]) -> str:
    """The first line of a trace."""
    return _line(
        0.0, "[*] -> RUNNING", "start: " + (", ".join(who(command) for command in commands if command.pid) or "nothing")
    )


def taken(step: Taken, commands: Sequence[Command], signame: Signame) -> str:
    """The line for one event taken."""
    event = step.event.name + (f" [{step.guard}]" if step.guard else "")
    detail = _detail(step.event, commands, signame)
    effects = "; ".join(_words(effect, signame) for effect in step.effects)
    return _line(
        step.event.at,
        f"{step.before} -> {step.after}",
        event + (f": {detail}" if detail else "") + (f" / {effects}" if effects else ""),
    )


def _line(at: float, states: str, text: str) -> str:
    return f"{at:8.3f} s  {states:{WIDTH}}  {text}"


def _detail(event: Event, commands: Sequence[Command], signame: Signame) -> str:
    if isinstance(event, Forward | Terminate):
        return signame(event.signum)
    if isinstance(event, CommandEnded):
        return ", ".join(f"{who(commands[index])} {how(ending, signame)}" for index, ending in event.endings)
    if isinstance(event, OrphansAdopted):
        return ", ".join(f"pid {pid}" if pid > 0 else f"group {-pid}" for pid in event.pids)
    return ""


def _words(effect: Effect, signame: Signame) -> str:
    if isinstance(effect, Relay):
        return f"{signame(effect.signum)} to every child"
    if isinstance(effect, Step):
        whom = "every child" if effect.pids is None else "the adopted"
        names = ", ".join(map(signame, effect.signums))
        return f"{names} to {'every descendant' if effect.tree else whom}"
    if isinstance(effect, SetClock):
        return f"clock {effect.seconds:g} s"
    if isinstance(effect, SuspendAll):
        return "SIGTSTP to every command, then to us"
    if isinstance(effect, ResumeAll):
        return "SIGCONT to every child"
    return f"exit {effect.code}" + (", giving up" if effect.gave_up else "")
