"""One way to say a command, an orphan, an ending, an event, a time."""

from __future__ import annotations

from statechart.effects import SendStep
from statechart.words.text import cut, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from statechart.effects import Effect
    from statechart.events import Ending
    from statechart.lifecycle import Command

    Signame = Callable[[int], str]

TITLE_LENGTH = 40  # characters of a command line that are shown
MOST_NAMES = 5  # processes that are named one by one


def title(argv: Sequence[str]) -> str:
    """The command line, cut to TITLE_LENGTH, with every character escaped that would move a cursor."""
    text = printable(" ".join(argv)[: TITLE_LENGTH + 1])  # escaping makes it no shorter
    return text if len(text) <= TITLE_LENGTH else cut(text, TITLE_LENGTH - 3) + "..."


def command(it: Command) -> str:
    """What every line calls a command: "pid 8 (sshd -D)"; if it has no pid, "command (/usr/sbin/sshd -D)"."""
    if it.pid is None:  # the path may be what is wrong, so it is shown, unless the user has given a name
        numbered = it.name.rpartition("-")[0] == it.argv[0].rpartition("/")[2]
        return f"command ({title([it.argv[0] if numbered or not it.name else it.name, *it.argv[1:]])})"
    return f"pid {it.pid} ({title([program(it), *it.argv[1:]])})"


def program(it: Command) -> str:
    """Its name: the one that it was given, or the program's."""
    return it.name or it.argv[0].rpartition("/")[2]


def orphan(pid: int, name: str = "") -> str:
    """What every line calls an orphan: "pid 12 (sleep)", "group 12"."""
    return (f"pid {pid}" if pid > 0 else f"group {-pid}") + (f" ({title([name])})" if name else "")


def orphans(pids: Sequence[int], names: Sequence[str]) -> list[str]:
    """The same for several; `names` may be empty, if they are not known."""
    return [orphan(pid, name) for pid, name in zip(pids, names or [""] * len(pids), strict=True)]


def first_few(names: Sequence[str]) -> str:
    """Names as one list: "a, b", "a, b, c, d, e and 2 more"."""
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more


def effects_in_words(effects: Sequence[Effect], signame: Signame) -> list[str]:
    """What effects do, in words. If processes are asked late with different signals, it says which get which."""
    late = [effect for effect in effects if isinstance(effect, SendStep) and effect.pids is not None]
    return [
        f"{', '.join(map(signame, effect.signums))} to {first_few(orphans(effect.pids, ()))}"
        if isinstance(effect, SendStep) and effect.pids is not None and len(late) > 1
        else effect.words(signame)
        for effect in effects
    ]


def ending(it: Ending, signame: Signame, whose: str = "") -> str:
    """How a process ended: "exited 3", "died of SIGSEGV with a core dump", "was not found".

    `whose` is said of the signal: "died of muinit's SIGTERM", "exited 143 on muinit's SIGTERM".
    """
    if it.failure:
        return it.failure
    if it.signum:
        return f"died of {whose}{signame(it.signum)}" + (" with a core dump" if it.core else "")
    return f"exited {it.code}" + (f" on {whose}{signame(it.death)}" if whose else "")


def short_ending(it: Ending, signame: Signame) -> str:
    """The same for a picture: "exit 3", "SIGSEGV (core)", "was not found"."""
    if it.failure or not it.signum:
        return printable(it.failure) or f"exit {it.code}"
    return signame(it.signum) + (" (core)" if it.core else "")


def guarded(event: str, guard: str) -> str:
    """An event with the guard of its row: "timeout [step_left]"."""
    return event + (f" [{guard}]" if guard else "")


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
