"""A tree of processes that follow a script: tree.py NODE GATE.

NODE is a Python literal, (name, {signum: acts}, acts): what the process is called, what it does when a signal
comes, what it does of its own accord. It lives on when it has no more to do. An act is one of

  ("fork", node)     start a child
  ("daemon", node)   start a daemon: by a child that leads a session and exits at once
  ("comet", n)       fork and exit, n times in a row: the rest of the acts is the last one's
  ("setsid",)        lead a session, where the kernel lets us
  ("ignore", n)      ignore a signal, and so will those forked from here on
  ("up",)            write a byte to stdout, and wait until the descriptor GATE is at its end
  ("sleep", s)       let s seconds go by
  ("stop",)          stop, as by SIGSTOP
  ("close",)         close every descriptor
  ("exec", argv)     become another program, with the signals blocked that we act on
  ("exit", n)        exit
  ("die", n)         die of a signal
"""

import _signal
import os
import sys
from time import monotonic

TYPE_CHECKING = False  # `typing` would cost every tree 18 ms
if TYPE_CHECKING:
    from typing import Any

    from tests.proofs.chaos import Acts, Node

FOREVER = 3600.0


def live(node: "Node") -> None:
    name, traps, acts = node
    # Signals are taken with sigtimedwait(2), not by handlers: what comes at the wrong moment is kept.
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
        except PermissionError:  # we lead a group
            pass
    elif verb == "ignore":
        _signal.signal(arg, _signal.SIG_IGN)
    elif verb == "up":
        os.write(1, b".")
        os.read(GATE, 1)
    elif verb == "sleep":
        deadline = monotonic() + arg
        while (left := deadline - monotonic()) > 0:
            came = _signal.sigtimedwait(list(traps), left)
            # Stopped and continued, and then late, CPython 3.11 hands out what was never written.
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
    except Exception as error:  # noqa: BLE001 - told from a process that was killed
        os.write(2, f"tree.py is broken: {error!r}\n".encode())
        os._exit(99)
