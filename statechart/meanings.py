"""What each signal means to muinit. It is decided here, and nowhere else.

The loop, `--diagram`, the command line and the table of signals in the docs all ask this module. The rules use names,
because the numbers differ between machines; `meanings` translates them once, at the start.

The meanings are plain strings, because an Enum would have to be imported before the first command is started.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

FORWARD = "forward"  # pass it on to every child
STOP = "stop"  # start the termination steps, or start them over
SUSPEND = "suspend"  # Ctrl-Z
RESUME = "resume"  # fg, bg, `docker unpause`
REAP = "reap"  # ask waitpid(2) until it has no more
SHIELDED = "shielded"  # as PID 1 muinit ignores it, and says so once, because somebody may have meant to stop it
NOTHING = "nothing"  # it stays blocked, or never reaches muinit

EVERY_SIGNAL = 0  # among the numbers to forward: every signal that nothing else claims

UNCATCHABLE = frozenset({"SIGKILL", "SIGSTOP"})
# These mean that muinit itself is broken. They stay blocked: a real fault kills muinit all the same, and a signal that
# somebody sends does nothing (signal(7)).
FAULTS = frozenset({"SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGTRAP", "SIGSYS", "SIGABRT"})
# Python ignores these two, and muinit must too: otherwise the run would end when the reader of its stderr goes away.
WRITE_FAILED = frozenset({"SIGPIPE", "SIGXFSZ"})
# The default action of these is not to kill (signal(7)).
HARMLESS = frozenset({"SIGCHLD", "SIGCONT", "SIGURG", "SIGWINCH", "SIGTSTP", "SIGTTIN", "SIGTTOU"})

# What these always mean, whatever the options name.
ALWAYS = {"SIGCHLD": REAP, "SIGCONT": RESUME, "SIGTERM": STOP}

# What counts if the options name no signal. Base images and LXC stop a container with these, and the user of an image
# often does not know that. Engines mean number 37 when they say RTMIN+3 (moby's sys/signal), whatever the C library
# calls it: in musl it is RTMIN+2.
FORWARD_BY_DEFAULT = "SIGINT"
STOP_BY_DEFAULT = ("SIGQUIT", "SIGPWR")
STOP_BY_DEFAULT_NUMBER = 37

WORDS = {  # what each meaning does, for the docs
    FORWARD: "forwarded to every command and every adopted orphan",
    STOP: "starts the termination steps, or starts them over",
    SUSPEND: "suspends the commands, then muinit: see [the terminal](terminal.md)",
    RESUME: "resumes the commands",
    REAP: "tells muinit to reap: it asks the kernel until no dead child is left",
    SHIELDED: "ignored, as the kernel does it; muinit says so once",
    NOTHING: "no effect",
}
SENDERS = {  # the programs that stop or signal a container with it, for the docs
    "SIGTERM": "`docker stop`, Kubernetes, systemd",
    "SIGINT": "Ctrl-C; images of postgres, Fly.io and Nomad, to stop",
    "SIGQUIT": "images of nginx and php-fpm, to stop; Ctrl-\\",
    "SIGPWR": "LXC and Incus, to stop",
    "SIGRTMIN+3": "images of systemd, to stop",
    "SIGWINCH": "images of httpd, to stop; a terminal that changes its size",
    "SIGUSR1": "images of haproxy, to stop",
    "SIGHUP": "a terminal that closes; `kill -HUP`, to reload",
    "SIGTSTP": "Ctrl-Z",
    "SIGCONT": "`fg`, `bg`",
}


def defaults() -> tuple[str, str]:
    """What is forwarded, and what stops muinit, if no signal was named: "INT", "QUIT,PWR,RTMIN+3"."""
    return FORWARD_BY_DEFAULT[3:], ",".join([*(name[3:] for name in STOP_BY_DEFAULT), "RTMIN+3"])


def cannot_be_forwarded(name: str) -> str:
    """Return why `-s` cannot name this signal, or "" if it can."""
    if name in UNCATCHABLE:
        return "cannot be caught"
    if name == "SIGCHLD":
        return "is how muinit learns that a child has ended"
    return "means that muinit itself is broken" if name in FAULTS else ""


def cannot_stop(name: str) -> str:
    """Return why `--stop-on` cannot name this signal, or "" if it can."""
    return "resumes the commands" if name == "SIGCONT" else cannot_be_forwarded(name)


def meaning(  # noqa: C901, PLR0911 (a list of rules; the first one that fits counts)
    name: str,
    number: int,
    *,
    forward: Collection[int] = (),
    named: Collection[int] = (),
    stop_on: Collection[int] = (),
    init: bool,
    terminal: bool = False,
    ignored: bool = False,
    blocked: bool = False,
) -> str:
    """Return what one signal means to a run of muinit.

    `forward` and `stop_on` are the numbers that the user named; if there are none, the default counts. `named` are
    those that the user named for some commands alone: they change no default but their own. `init` says whether muinit
    is PID 1, `terminal` whether its stdin is one; `ignored` and `blocked`, whether its caller had ignored or blocked
    this signal.
    """
    if cannot_be_forwarded(name) and name != "SIGCHLD":
        return NOTHING
    if name in ALWAYS:
        return ALWAYS[name]
    # First what the user named. The command line refuses a signal that is in both lists.
    if number in stop_on:
        return STOP
    if number in forward or (EVERY_SIGNAL in forward and name != "SIGTSTP"):
        return FORWARD
    if number in named:
        return FORWARD
    # Then the defaults. They do not apply if the caller ignores the signal, as a shell's `&` does with INT and QUIT.
    if ignored:
        return NOTHING
    if name == FORWARD_BY_DEFAULT and not forward:
        return FORWARD
    if (name in STOP_BY_DEFAULT or number == STOP_BY_DEFAULT_NUMBER) and not stop_on:
        return STOP
    # Any other signal does what it does to any process: it suspends it, ends it, or does nothing. The kernel shields
    # PID 1 from all of these (pid_namespaces(7)), and a blocked signal has no effect.
    if blocked or name in WRITE_FAILED:
        return NOTHING
    if name == "SIGTSTP":
        return NOTHING if init else SUSPEND
    # WINCH kills no process. But if no terminal can have sent it, somebody means to stop the container, as images of
    # httpd are stopped.
    if name in HARMLESS and not (name == "SIGWINCH" and init and not terminal):
        return NOTHING
    return SHIELDED if init else STOP


def meanings(
    numbers: Mapping[str, int],
    forward: Collection[int] = (),
    stop_on: Collection[int] = (),
    *,
    named: Collection[int] = (),
    init: bool,
    terminal: bool = False,
    ignored: Collection[int] = (),
    blocked: Collection[int] = (),
    rewrite: Mapping[int, int] | None = None,
) -> dict[int, str]:
    """Return what every signal means to a run, by number. `numbers` has all signals of this machine by name.

    A signal that `rewrite` turns into another one means what that one means; one that it turns into 0 means nothing.
    """
    found = {
        number: meaning(
            name,
            number,
            forward=forward,
            named=named,
            stop_on=stop_on,
            init=init,
            terminal=terminal,
            ignored=number in ignored,
            blocked=number in blocked,
        )
        for name, number in numbers.items()
    }
    return {**found, **{source: found.get(target, NOTHING) for source, target in (rewrite or {}).items()}}
