"""What --help and --version print. Loaded only when it is asked for."""

from __future__ import annotations

from muinit import __version__
from muinit.cli import OPTIONS

SECTIONS = """\
COMMANDS
  Commands start after the first '---' and are separated by '---'; nothing
  else in them is special. Each one runs in its own process group. A command
  should stay in the foreground: when one ends, muinit stops the others.
  None is ever restarted.

SIGNAL FORWARDING
  The signals of -s go to every command, and to every orphan that muinit has
  adopted. SIGTERM is not forwarded: it starts the termination, or starts it
  over. So does any other signal that would have killed muinit; as PID 1 it
  ignores those, as the kernel does. SIGKILL and SIGSTOP cannot be forwarded,
  nor SIGALRM, SIGCHLD and the signals of a fault (SIGSEGV, SIGABRT, ...).
  SIGNALS is a list of names or numbers, separated by commas:
  TERM, SIGTERM, 15, RTMIN+3. -k or -s given again adds to the list.

SUBPROCESS TERMINATION
  When a command ends, or SIGTERM comes, muinit stops what is left in steps:
  it sends the signal of the step and waits up to the timeout; then comes the
  next step. It never waits longer than until nothing is left. A signal goes
  to the commands and to adopted orphans; SIGKILL goes to all descendants.
  -t 0 means the next step at once, -t inf to wait without end; a last step
  of SIGKILL has at least 1 second.

EXIT STATUS
  That of the first command that failed, else 0: its exit code, or 128+n if
  signal n killed it; 127 if it was not found, 126 if it could not be
  executed. A death by a signal that muinit sent because another command had
  ended is no failure. If muinit was told to stop, it is: 143 after SIGTERM.
  1: wrong usage, an internal error, or something outlived the last step.

DIAGRAM
  --diagram prints the lifecycle as it runs with the other options, and how
  long a stop can take at most, so that it can be compared with the -t of
  docker stop or with terminationGracePeriodSeconds. FORMAT is mermaid, which
  is the default, dot, svg, for which Graphviz must be installed, or table.
"""


def _options() -> str:
    """The list of options, a line each, the long names below one another."""
    lines = []
    for short, long, metavar, words in OPTIONS:
        flags = f"{short or '  '}{',' if short else ' '} {long}{'' if metavar.startswith('[=') else ' '}{metavar}"
        lines.append(f"  {flags:30} {words}\n")
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
