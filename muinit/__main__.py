"""The life of muinit, from its first line to its exit status.

Importing this module blocks every signal: it is for those who become muinit, and nobody else.
"""

# Before any other import, for what arrives from here on is kept by the kernel until we ask; PID 1 would otherwise
# never hear of it, and any other process would die of it (signal(7), pid_namespaces(7)).
from _signal import SIG_BLOCK, pthread_sigmask, valid_signals

CALLERS_MASK = pthread_sigmask(SIG_BLOCK, valid_signals())

import os
import sys
from errno import ENOENT, ENOTDIR

from muinit import cli, signals
from muinit.kernel import Kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from statechart.events import Ending


def main() -> int:
    """Be muinit: read sys.argv, start the commands, supervise them; return the exit status."""
    try:
        options = cli.parse(sys.argv[1:])
    except cli.UsageError as error:
        return _complain(str(error))
    if options.show:
        return _show(options.show)
    kernel = None
    try:
        kernel = Kernel(CALLERS_MASK)
        return _supervise(kernel, options)
    except BaseException as error:  # muinit itself is broken. Whatever it is, nobody may be left behind.
        if kernel is not None:
            kernel.kill_everything()
            kernel.take_terminal()
        return _complain(f"internal error: {_traceback(error)}")


def _traceback(error: BaseException) -> str:
    try:
        from traceback import format_exception

        return "".join(format_exception(error)).strip().replace("\n", " | ")
    except Exception:  # what we have run out of may be what an import needs
        return repr(error)


def _supervise(kernel: Kernel, options: cli.Options) -> int:
    started_at = kernel.now()
    adopting = kernel.adopt_orphans()
    pids, refusal = _start(kernel, options.commands)
    before = kernel.reap()[0] if refusal else []

    # The commands load, and so do we: 25 ms that the first one does not wait for.
    from muinit.loop import Loop
    from muinit.stderr import Stderr
    from statechart import report
    from statechart.lifecycle import Command, Lifecycle

    say = Stderr().line
    if not adopting:
        say("warning: prctl(PR_SET_CHILD_SUBREAPER) failed: orphans are not ours, and may be left behind")
    if not kernel.sees_orphans:
        say("warning: no /proc of our PID namespace: orphans that left the group of their command are not stopped")
    kernel.leave_directory()
    forward = options.forward or [number for number in (signals.SIGINT,) if not kernel.ignored(number)]
    # What PID 1 does not catch, or our caller had ignored or blocked, kills nobody.
    unasked = set() if kernel.is_init else {signals.SIGTSTP, *signals.DEADLY}
    unasked = {number for number in unasked - CALLERS_MASK if not kernel.ignored(number)}
    kernel.catch({signals.SIGCHLD, signals.SIGCONT, signals.SIGTERM, *forward, *unasked})

    commands = [Command(argv, pid) for argv, pid in zip(options.commands, pids, strict=True)]
    life = Lifecycle(commands, options.steps, options.timeout)
    loop = Loop(kernel, life, forward, say, tracing=options.trace, started_at=started_at)
    end = loop.run((pids.index(None), _refused(refusal)) if refusal else None, before)
    kernel.take_terminal()
    if end.code and not options.quiet:
        say(report.verdict(life, loop.survivors() if end.gave_up else [], signals.name))
    return end.code


def _start(kernel: Kernel, commands: list[list[str]]) -> tuple[list[int | None], OSError | None]:
    """Start the commands in order, up to the first that cannot be: their pids, and what the kernel said."""
    pids: list[int | None] = []
    refusal = None
    for argv in commands:
        try:
            pids.append(kernel.spawn(argv) if refusal is None else None)
        except OSError as error:
            refusal = error
            pids.append(None)
    return pids, refusal


def _refused(error: OSError) -> "Ending":
    """127 where there is nothing to execute, 126 where it cannot be (POSIX: sh, env, nohup)."""
    from statechart.events import Ending

    if error.errno in (ENOENT, ENOTDIR):
        return Ending(127, failure="was not found")
    return Ending(126, failure=f"could not be executed: {error.strerror}")


def _show(what: str) -> int:
    """Print the help text or the version on stdout."""
    from muinit import usage

    try:
        # Not sys.stdout: what it cannot write it tries again when Python exits, and then the status is 120.
        os.write(1, (usage.TEXT if what == "--help" else usage.VERSION).encode())
    except OSError as error:
        return _complain(f"cannot write to stdout: {error.strerror}")
    return 0


def _complain(what: str) -> int:
    """Say what is wrong, and return the exit status for it."""
    try:
        from muinit.stderr import Stderr

        Stderr().line(what)
    except Exception:  # as above
        os.write(2, f"muinit: {what}\n".encode())
    return 1


def run() -> "NoReturn":
    """Be muinit, and exit: without Python's own exit, in which PYTHONINSPECT, say, has another status in mind."""
    os._exit(main())


if __name__ == "__main__":
    run()
