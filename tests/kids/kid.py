"""A child that shakes hands: it says that it is ready, and each signal that it gets.

kid.py NAME [RULE...], where a rule is one of

  SIGNAL=say          say its name
  SIGNAL=ignore       ignore it
  SIGNAL=exit N       say its name and exit N
  SIGNAL=die          say its name and die of it
  setsid              in a session of its own
  exit N              exit N as soon as it is ready
  kid RULE,RULE,...   start another kid (the first word is its name); RULE as above, but for kid
  orphan RULE,...     the same, as a daemon: by a child that exits at once
"""

import os
import signal
import sys


def be(name: str, rules: list[str]) -> None:
    def say(word: str) -> None:
        os.write(1, f"{name} {word}\n".encode())

    # Taken with sigwait(3), not with handlers and pause(2): a signal between the two would wait for the next one.
    actions: dict[int, tuple[str, str]] = {}
    end = ""
    for rule in rules:
        verb, _, rest = rule.partition(" ")
        word, _, action = rule.partition("=")
        if action and verb not in ("kid", "orphan"):
            number = signal.SIGRTMIN + int(word[6:]) if word.startswith("RTMIN") else getattr(signal, f"SIG{word}")
            if action == "ignore":
                signal.signal(number, signal.SIG_IGN)
            else:
                actions[number] = (word, action)
                signal.pthread_sigmask(signal.SIG_BLOCK, [number])
        elif verb == "setsid":
            os.setsid()
        elif verb == "exit":
            end = rest
        elif verb == "kid" and os.fork() == 0:
            be(*split(rest))
        elif verb == "orphan" and os.fork() == 0:
            if os.fork() == 0:
                be(*split(rest))
            os._exit(0)
    say(f"ready {os.getpid()}")
    if end:
        os._exit(int(end))
    while True:
        if not actions:
            signal.pause()
        signum = signal.sigwait(actions)
        word, action = actions[signum]
        say(word)
        if action.startswith("exit"):
            os._exit(int(action.split()[1]))
        if action == "die":
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signum])
            os.kill(os.getpid(), signum)


def split(rules: str) -> tuple[str, list[str]]:
    name, *rest = rules.split(",")
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    return name, rest


if __name__ == "__main__":
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    be(sys.argv[1], sys.argv[2:])
