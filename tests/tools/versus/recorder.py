"""A program of the stories: it appends to a file what happens to it, and needs 0.3 s to clean up before it exits.

python -I -S recorder.py FILE NAME [deaf] [code=N] [eats] [orphan=NAME] [daemon=NAME]

Each line is: nanoseconds of CLOCK_MONOTONIC, pid, name, and what happened. A program whose last line is neither
"exits N" nor about memory was killed. SIGUSR1 is the cue of the story: the program exits with N, or eats memory.
`orphan` starts a process that is nobody's child, with a child of its own; `daemon` one in a session of its own.
"""

from __future__ import annotations

import os
import signal
import sys
import time

CLEANING = 0.3
FOREVER = 3600.0  # seconds: longer than any story
CUE = signal.SIGUSR1
ASKED = [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP]


def main(file: str, name: str, *traits: str) -> None:
    has = dict(trait.partition("=")[::2] for trait in traits)
    for number in [CUE, *ASKED]:
        signal.signal(number, lambda *_: None)  # a shell may have told its background jobs to ignore some
    signal.pthread_sigmask(signal.SIG_BLOCK, [CUE, *ASKED])
    log = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    if "orphan" in has:
        start_unowned(file, has["orphan"], "child=helper")
    if "daemon" in has:
        start_unowned(file, has["daemon"], session=True)
    if "child" in has and not os.fork():
        return main(file, has["child"])

    def say(word: str) -> None:
        os.write(log, f"{time.monotonic_ns()} {os.getpid()} {name} {word}\n".encode())

    say("started")
    end = None
    while True:
        left = FOREVER if end is None else max(end - time.monotonic(), 0)
        got = signal.sigtimedwait([CUE, *ASKED], left)
        if got is None:
            say("cleaned up")
            say("exits 0")
            os._exit(0)
        if got.si_signo != CUE:
            say(f"got {signal.Signals(got.si_signo).name}")
            if "deaf" not in has and end is None:
                end = time.monotonic() + CLEANING
        elif "eats" in has:
            say("eats memory")
            eat()
        else:
            say(f"exits {has.get('code', 0)}")
            os._exit(int(has.get("code", 0)))


def start_unowned(file: str, name: str, *traits: str, session: bool = False) -> None:
    """Start a recorder by a double fork, so that PID 1 becomes its parent."""
    if middle := os.fork():
        os.waitpid(middle, 0)
        return
    if session:  # as daemon(3) does it
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for number in range(3):
            os.dup2(null, number)
    if not os.fork():
        main(file, name, *traits)
    os._exit(0)


def eat() -> None:
    """Take memory until the kernel kills us."""
    eaten = []
    while True:
        eaten.append(b"x" * 2**20)


if __name__ == "__main__":
    main(*sys.argv[1:])
