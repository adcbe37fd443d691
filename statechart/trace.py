"""A decision in one line, for people.

    0.000 s  [*] -> RUNNING                                              start: pid 7 (dnsmasq -k), pid 8 (sshd -D)
    1.204 s  RUNNING -> TERMINATING [step 1 of 2]                        command_ended: pid 8 (sshd -D) exited 3 / ...

Left the time since the start, the state before and after, and the event with its guard: that is one edge of the
diagram. Right of the slash what is done about it.
"""

from __future__ import annotations

from statechart.effects import Relay, ResumeAll, SetClock, Step, SuspendAll
from statechart.events import CommandEnded, Ending, Event, Forward, OrphansAdopted, OrphansEnded, Terminate, Timeout
from statechart.text import cut, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from statechart.effects import Effect
    from statechart.lifecycle import Command, Lifecycle, Taken

    Signame = Callable[[int], str]

LONGEST = 40  # characters of a command line that are shown

DIM, PLAIN = "\x1b[2m", "\x1b[0m"
COLOURS = {
    "[*]": DIM,
    "RUNNING": "\x1b[32m",
    "TERMINATING": "\x1b[33m",
    "DRAINING": "\x1b[35m",
    "EXITED": "\x1b[1m",
}  # ECMA-48


def title(argv: Sequence[str]) -> str:
    """The command line, cut to 40 characters, with nothing in it that moves a cursor."""
    text = printable(" ".join(argv)[: LONGEST + 1])  # escaped, it is no shorter
    return text if len(text) <= LONGEST else cut(text, LONGEST - 3) + "..."


def who(command: Command) -> str:
    """The command as it is called in every line: by pid, name and arguments; by its path where it has no pid."""
    if command.pid is None:
        return f"command ({title(command.argv)})"
    return f"pid {command.pid} ({title([command.argv[0].rpartition('/')[2], *command.argv[1:]])})"


def how(ending: Ending, signame: Signame) -> str:
    """How it ended: "exited 3", "died of SIGSEGV, core dumped", "was not found"."""
    if ending.failure:
        return ending.failure
    if ending.signum:
        return f"died of {signame(ending.signum)}" + (", core dumped" if ending.core else "")
    return f"exited {ending.code}"


def started(run: Lifecycle, *, colour: bool = False) -> str:
    """The first line of a trace."""
    names = ", ".join(who(command) for command in run.commands if command.pid)
    return _line(run, 0.0, ("[*]", "RUNNING"), f"start: {names or 'nothing'}", colour=colour)


def taken(run: Lifecycle, step: Taken, signame: Signame, *, colour: bool = False) -> str:
    """The line for one event taken; `colour` asks for the states in colours, as terminals know them."""
    event, detail, effects = parts(run, step, signame)
    text = event + (f": {detail}" if detail else "") + (f" / {effects}" if effects else "")
    return _line(run, step.event.at, (step.before, step.after), text, colour=colour)


def parts(run: Lifecycle, step: Taken, signame: Signame) -> tuple[str, str, str]:
    """What a line says: the event with its guard, what is known of it, and the effects."""
    effects = "; ".join(words(effect, signame) for effect in step.effects)
    return guarded(step.event.name, step.guard), _detail(step.event, run.commands, signame), effects


def guarded(event: str, guard: str) -> str:
    """An event as a row of the table is called: "timeout [step_left]"."""
    return event + (f" [{guard}]" if guard else "")


def _line(run: Lifecycle, at: float, states: tuple[str, str], text: str, *, colour: bool) -> str:
    last = len(run.steps)
    room = len(f"TERMINATING [step {last} of {last}]") * 2 - sum(map(len, states))
    if not colour:
        return f"{at:11.3f} s  {' -> '.join(states)}{' ' * room}  {text}"
    painted = " -> ".join(f"{COLOURS[state.partition(' ')[0]]}{state}{PLAIN}" for state in states)
    return f"{DIM}{at:11.3f} s{PLAIN}  {painted}{' ' * room}  {text}"


def orphan(pid: int, name: str = "") -> str:
    """An orphan as it is called in every line: "pid 12 (sleep)", "group 12"."""
    return (f"pid {pid}" if pid > 0 else f"group {-pid}") + (f" ({title([name])})" if name else "")


def _detail(event: Event, commands: Sequence[Command], signame: Signame) -> str:
    if isinstance(event, Forward | Terminate):
        return signame(event.signum)
    if isinstance(event, CommandEnded):
        return ", ".join(f"{who(commands[index])} {how(ending, signame)}" for index, ending in event.endings)
    if isinstance(event, OrphansAdopted):
        names = zip(event.pids, event.names or [""] * len(event.pids), strict=True)
        return ", ".join(orphan(pid, name) + (" asked before" if pid in event.asked else "") for pid, name in names)
    if isinstance(event, OrphansEnded):
        return ", ".join(f"{orphan(pid)} {how(ending, signame)}" for pid, ending in event.endings)
    if isinstance(event, Timeout) and event.unasked:
        return "not asked yet: " + ", ".join(map(orphan, event.unasked, event.names or [""] * len(event.unasked)))
    return ""


def words(effect: Effect, signame: Signame) -> str:
    """What an effect does: "SIGTERM, SIGCONT to every child", "clock 2 s"."""
    if isinstance(effect, Relay):
        return f"{signame(effect.signum)} to every child"
    if isinstance(effect, Step):
        whom = "every child" if effect.pids is None else "those not asked yet"
        names = ", ".join(map(signame, effect.signums))
        return f"{names} to {'every descendant' if effect.tree else whom}"
    if isinstance(effect, SetClock):
        return f"clock {effect.seconds:g} s"
    if isinstance(effect, SuspendAll):
        return "SIGTSTP to every command, then to us"
    if isinstance(effect, ResumeAll):
        return "SIGCONT to every child"
    return f"exit {effect.code}" + (", giving up" if effect.gave_up else "")
