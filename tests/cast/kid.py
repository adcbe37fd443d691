"""A command that shakes hands with a test: it says that it is ready, and names each signal that it gets.

kid.py NAME [RULE...], where a rule is one of

  SIGNAL=say          say its name
  SIGNAL=ignore       ignore it
  SIGNAL=exit N       say its name and exit N
  SIGNAL=die          say its name and die of it
  SIGNAL=stop         say its name, and stop by SIGSTOP, as nano and mutt do on SIGTSTP
  setsid              start a session of its own
  headless            end the first thread and live on in another, so that the process looks like a zombie
  exit N              exit N as soon as it is ready
  kid NAME,RULE,...   start another kid, with any of the rules above
  orphan NAME,RULE,...  the same, but as a daemon, from a child that exits at once
  clone FLAGS NAME,RULE,...  the same, but with clone(2) and these flags: with 0 the kid sends no signal when it ends

With KID_SECONDS=0.4 in the environment it waits so long before it acts. A test that fails then needs a quick machine.
"""

import os
import signal
import sys
import time

SECONDS = float(os.environ.get("KID_SECONDS", "0"))


def be(name: str, rules: list[str]) -> None:
    def say(word: str) -> None:
        os.write(1, f"{name} {word}\n".encode())

    # Signals are taken with sigwait(3). With a handler and pause(2), one that comes just before pause(2) would be
    # noticed only when the next one comes.
    actions: dict[int, tuple[str, str]] = {}
    end, headless = "", False
    for rule in rules:
        verb, _, rest = rule.partition(" ")
        word, _, action = rule.partition("=")
        if action and verb not in ("kid", "orphan", "clone"):
            number = number_of(word)
            if action == "ignore":
                signal.signal(number, signal.SIG_IGN)
            else:
                actions[number] = (word, action)
                signal.pthread_sigmask(signal.SIG_BLOCK, [number])
        elif verb == "setsid":
            os.setsid()
        elif verb == "exit":
            end = rest
        elif verb == "headless":
            headless = True
        elif verb == "clone":
            clone(*rest.split(" ", 1))
        elif verb == "kid" and os.fork() == 0:
            be(*split(rest))
        elif verb == "orphan" and os.fork() == 0:
            parent = os.getpid()
            if os.fork() == 0:
                while os.getppid() == parent:  # an orphan that is ready has been adopted
                    os.sched_yield()
                be(*split(rest))
            os._exit(0)

    def live() -> None:
        while headless and first_thread() != "Z":
            pass
        say(f"ready {os.getpid()}")
        if end:
            os._exit(int(end))
        while True:
            act()

    def act() -> None:
        if not actions:
            signal.pause()
        signum = signal.sigwait(actions)
        word, action = actions[signum]
        time.sleep(SECONDS)
        say(word)
        if action.startswith("exit"):
            os._exit(int(action.split()[1]))
        if action == "die":
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signum])
            os.kill(os.getpid(), signum)
        if action == "stop":
            os.kill(os.getpid(), signal.SIGSTOP)

    if headless:
        import threading

        threading.Thread(target=live).start()
        system_call("exit", 0)
    live()


def number_of(word: str) -> int:
    """The number of a signal: 10, USR1, RTMIN+1."""
    if word.isdigit():
        return int(word)
    return signal.SIGRTMIN + int(word[6:]) if word.startswith("RTMIN") else int(getattr(signal, f"SIG{word}"))


def first_thread() -> str:
    """The state of our first thread."""
    with open("/proc/self/stat") as file:
        return file.read().rpartition(")")[2].split()[0]


def clone(flags: str, rules: str) -> None:
    """Start another kid with these flags of the system call."""
    if system_call("clone", int(flags, 0), 0, 0, 0, 0) == 0:
        be(*split(rules))


def system_call(name: str, *arguments: int) -> int:
    import ctypes

    numbers = {"x86_64": {"exit": 60, "clone": 56}, "aarch64": {"exit": 93, "clone": 220}}
    return int(ctypes.CDLL(None).syscall(numbers[os.uname().machine][name], *map(ctypes.c_long, arguments)))


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
