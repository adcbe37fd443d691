"""The events of a trace are fed to the machine again, and what it decides is compared."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from statechart.chart import MachineError
from statechart.lifecycle import Lifecycle
from statechart.traces.read import Trace, TraceError
from statechart.words.decision import line


def replay(trace: Trace) -> Lifecycle:
    """Feed the events to the machine, and return the run. Raises TraceError where a stage or an effect differs."""
    lifecycle = trace.begin()
    gap, missing = trace.dropped[0] if trace.dropped else (0, 0)
    for number, recorded in trace.decisions:
        if gap and number > gap:
            raise TraceError(gap, f"{missing} lines were dropped here, so what follows cannot be replayed")
        try:
            here = lifecycle.handle(recorded.event)
            what = "" if here == recorded else line(lifecycle, here, trace.signame)
        except MachineError:
            what = f"nothing, after {lifecycle.stage}"
        if what:
            raise TraceError(number, _differs(trace, line(lifecycle, recorded, trace.signame), what))
    if trace.end and trace.end.code != lifecycle.code:
        here_ends = f"exit {lifecycle.code} in {lifecycle.stage}"
        raise TraceError(trace.end.line, _differs(trace, f"exit {trace.end.code}", here_ends))
    return lifecycle


def installed() -> str:
    """The version of muinit that is installed."""
    try:
        return version("muinit")
    except PackageNotFoundError:
        return "not installed"


def _differs(trace: Trace, recorded: str, here: str) -> str:
    ours = installed()
    theirs = trace.header["muinit"]
    versions = f"recorded by muinit {theirs}, this is {ours}" if theirs != ours else f"both are muinit {ours}"
    return f"this differs from the recording ({versions})\nrecorded: {recorded}\nhere:     {here}"
