"""What --help and --version print. Loaded only if it is asked for."""

from __future__ import annotations

from muinit import __version__
from muinit.options import OPTIONS
from statechart import meanings

SECTIONS = """\
COMMANDS
  Commands start after the first '---' and are separated by '---'; nothing
  else in them is special. Each one runs in its own process group. A command
  must stay in the foreground: when one ends, muinit stops the others.
  Nothing is ever restarted.

SIGNALS
  SIGNALS is a list of names or numbers, separated by commas: TERM, SIGTERM,
  15, RTMIN+3. An option that is given again adds to its list.
  The signals of -s go to every command and to every orphan that muinit has
  adopted. SIGTERM is not forwarded: it starts the termination, or starts it
  over. So do the signals of --stop-on. If your platform or your base image
  stops the container with another signal, name it there: WINCH (httpd), USR1
  (haproxy), INT (Fly.io, Nomad). If you name signals, they replace the
  default, and no signal can be named for both options.
  Any other signal that would kill a process also stops muinit. But if muinit
  is PID 1, it ignores such a signal, as the kernel does, and says so once.
  SIGKILL and SIGSTOP cannot be caught. SIGCHLD and the signals of a fault
  (SIGSEGV, SIGABRT, ...) cannot be named.

TERMINATION
  When a command ends or muinit is told to stop, muinit stops what is left in
  steps: it sends the signal of a step, waits up to the timeout, and goes on
  to the next step. It stops waiting as soon as nothing is left. The signal
  goes to the commands and to adopted orphans; SIGKILL goes to all
  descendants. If SIGKILL is next, or no step is left, and some descendants
  have not had the signal (a shell can keep it to itself), they get it now,
  and the timeout runs once more.
  -t 0 takes the next step at once; -t inf waits for ever. After SIGKILL as
  the last step, muinit waits at least 1 second.

EXIT STATUS
  The status of the first command that failed, else 0. The status of a command
  is its exit code, or 128+n if signal n killed it; 127 if it was not found,
  126 if it could not be executed. A death by a signal that muinit sent
  because another command had ended is not a failure. If muinit itself was
  told to stop, such deaths count: 143 after SIGTERM. 1 means wrong usage, an
  internal error, or that something outlived the last step.

DIAGRAM
  --diagram prints the lifecycle as it runs with the other options, and how
  long a stop can take at most. Compare that with the -t of docker stop or
  with terminationGracePeriodSeconds. FORMAT is mermaid (the default), dot,
  svg (which needs Graphviz), or table.
"""


def _defaults() -> dict[str, str]:
    """What stands behind "default:" for each field that has a default worth naming."""
    forward, stop_on = meanings.defaults()
    typed = {option.field: option.default for option in OPTIONS if option.default}
    return typed | {"forward": forward, "stop_on": stop_on}


def _options() -> str:
    """The list of options, a line each, the long names below one another."""
    lines, defaults = [], _defaults()
    for option in OPTIONS:
        value = option.metavar if option.metavar.startswith("[=") else f" {option.metavar}"
        flags = f"{option.short or '  '}{',' if option.short else ' '} {option.long}{value}"
        default = f"; default: {defaults[option.field]}" if option.field in defaults else ""
        lines.append(f"  {flags:30} {option.description}{default}\n")
    return "".join(lines)


VERSION = f"muinit {__version__}\n"
TEXT = f"""\
Usage: muinit [OPTIONS] --- COMMAND [ARG...] [--- COMMAND [ARG...]]...

A small init for containers that run more than one program: it starts every
command, forwards signals, reaps orphans, and when one command ends it ends
the others.

OPTIONS
{_options()}
{SECTIONS}"""
