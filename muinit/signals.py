"""The signals that muinit itself uses, by name. What both packages need of signals is in `statechart.signals`."""

import _signal

from statechart.signals import ALL, NUMBERS, RTMAX, RTMIN, SIGKILL, SIGSTOP, by_name, name, number

__all__ = ["ALL", "NUMBERS", "RTMAX", "RTMIN", "SIGKILL", "SIGSTOP", "by_name", "name", "number"]

SIGHUP: int = _signal.SIGHUP
SIGINT: int = _signal.SIGINT
SIGTERM: int = _signal.SIGTERM
SIGCHLD: int = _signal.SIGCHLD
SIGCONT: int = _signal.SIGCONT
SIGTSTP: int = _signal.SIGTSTP

# Python ignores these two when it starts, and does not record what they were before.
IGNORED_BY_PYTHON = frozenset({NUMBERS["PIPE"], NUMBERS["XFSZ"]})
