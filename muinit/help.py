"""What --help and --version print. Loaded only if it is asked for."""

from __future__ import annotations

from muinit import __version__
from muinit.options import FOR_BOTH, FOR_ONE, OPTIONS, Option
from statechart import meanings

NOTES = """\
COMMANDS
  Each command runs in its own process group and must stay in the foreground:
  when one ends, muinit stops the others. Nothing is ever restarted.
  With --label, a first command that has the terminal keeps it, unlabelled.
  '--' ends the options of a command: --- -- -x starts a program called -x.
  MUINIT_OPTIONS in the environment holds more OPTIONS, for muinit alone.

SIGNALS
  A list of names or numbers: TERM,SIGHUP,15,RTMIN+3. If you name signals,
  they replace the default. -s all forwards whatever nothing else claims;
  -s HUP@group forwards to process groups, -s HUP@tree to all descendants.
  SIGTERM always stops. Name with --stop-on what your platform or base image
  stops the container with: WINCH (httpd), USR1 (haproxy), INT (Fly.io).

TERMINATION
  muinit sends the signal of a step to the commands and to adopted orphans,
  waits up to the timeout, and takes the next step; SIGKILL goes to all
  descendants. Those that were not asked to stop are asked before SIGKILL.
  -k INT@group:5,TERM,KILL gives a step a target, and 5 seconds of its own.

EXIT STATUS
  The status of the first command that failed, else 0. A death by a signal
  that muinit sent because another command had ended is not a failure.
  127 and 126: a command could not be started. 1: wrong usage, an error in
  muinit, or something outlived the last step.
"""


def _defaults() -> dict[str, str]:
    """What stands behind "default:" for each field that has a default worth naming."""
    forward, stop_on = meanings.defaults()
    typed = {option.field: option.default for option in OPTIONS if option.default}
    return typed | {"forward": forward, "stop_on": stop_on}


def line(option: Option) -> str:
    """The line of an option."""
    value = option.metavar if option.metavar.startswith("[=") else f" {option.metavar}"
    flags = f"{option.short or '  '}{',' if option.short else ' '} {option.long}{value}"
    default = f"; default: {DEFAULTS[option.field]}" if option.field in DEFAULTS else ""
    return f"  {flags:30} {option.description}{default}\n"


def _both() -> str:
    """The options that stand in both places: "-k, -s and -e"."""
    *names, last = (option.short for option in OPTIONS if option.scope == FOR_BOTH)
    return f"{', '.join(names)} and {last}"


DEFAULTS = _defaults()
VERSION = f"muinit {__version__}\n"
USAGE = """\
Usage: muinit [OPTIONS] --- COMMAND [ARG...] [--- COMMAND [ARG...]]...
       muinit [OPTIONS] -- COMMAND [ARG...]
"""
TEXT = f"""\
{USAGE}
A small init for containers that run more than one program. "man muinit" says
more.

OPTIONS
{"".join(line(option) for option in OPTIONS if option.scope != FOR_ONE)}
OPTIONS of one command, after its '---', beside its own {_both()}
{"".join(line(option) for option in OPTIONS if option.scope == FOR_ONE)}
{NOTES}"""
