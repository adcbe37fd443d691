"""tree.py NODE GATE: a tree of processes that follow a script.

NODE is a Python literal, (name, {signum: acts}, acts): the name of the process, what it does when it gets a signal,
and what it does on its own. It lives on when it has nothing more to do. An act is one of

  ("fork", node)     start a child
  ("daemon", node)   start a daemon, from a child that leads a session and exits at once
  ("comet", n)       fork and exit, n times in a row; the last child does the remaining acts
  ("setsid",)        lead a session, if the kernel allows it
  ("ignore", n)      ignore a signal; processes that are forked later ignore it too
  ("up",)            write a line to stdout, and wait until the descriptor GATE reports end of file
  ("sleep", s)       wait s seconds, and act on signals meanwhile
  ("stop",)          stop by SIGSTOP
  ("close",)         close every descriptor
  ("exec", argv)     become another program; the signals that we act on stay blocked
  ("exit", n)        exit
  ("die", n)         die of a signal
"""

import _signal
import os
import sys
from time import monotonic

TYPE_CHECKING = False  # importing `typing` would cost every tree 18 ms
if TYPE_CHECKING:
    from typing import Any

    from tests.proofs.chaos import Acts, Node

FOREVER = 3600.0


def live(node: "Node") -> None:
    name, traps, acts = node
    # Signals are taken with sigtimedwait(2) and not by handlers, so one that comes at the wrong moment is kept.
    _signal.pthread_sigmask(_signal.SIG_SETMASK, list(traps))
    with open("/proc/self/comm", "w") as comm:
        comm.write(name)
    for act in acts:
        perform(traps, *act)
    while True:
        perform(traps, "sleep", FOREVER)


def perform(traps: "dict[int, Acts]", verb: str, arg: "Any" = None) -> None:
    if verb == "fork":
        if os.fork() == 0:
            live(arg)
    elif verb == "daemon":
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                live(arg)
            os._exit(0)
    elif verb == "comet":
        for _ in range(arg):
            if os.fork():
                os._exit(0)
    elif verb == "setsid":
        try:
            os.setsid()
        except PermissionError:  # we lead a process group already
            pass
    elif verb == "ignore":
        _signal.signal(arg, _signal.SIG_IGN)
    elif verb == "up":
        os.write(1, b".\n")
        os.read(GATE, 1)
    elif verb == "sleep":
        deadline = monotonic() + arg
        while (left := deadline - monotonic()) > 0:
            came = _signal.sigtimedwait(list(traps), left)
            # After a stop and a SIGCONT, if the time is over, CPython 3.11 returns a siginfo that was never filled.
            for act in traps.get(came.si_signo, ()) if came else ():
                perform(traps, *act)
    elif verb == "stop":
        os.kill(os.getpid(), _signal.SIGSTOP)
    elif verb == "close":
        os.closerange(0, 64)
    elif verb == "exec":
        os.execvp(arg[0], arg)
    elif verb == "exit":
        os._exit(arg)
    elif verb == "die":
        if arg != _signal.SIGKILL:
            _signal.signal(arg, _signal.SIG_DFL)
            _signal.pthread_sigmask(_signal.SIG_UNBLOCK, [arg])
        os.kill(os.getpid(), arg)
    else:
        raise AssertionError(verb)


if __name__ == "__main__":
    GATE = int(sys.argv[2])
    try:
        if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
            _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
        live(eval(sys.argv[1]))
    except Exception as error:  # noqa: BLE001 - 99 tells this from a process that was killed
        os.write(2, f"tree.py is broken: {error!r}\n".encode())
        os._exit(99)
