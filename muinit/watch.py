"""What reports every decision: -v, --trace-states, --trace-file. Loaded only if one of them is asked for."""

from __future__ import annotations

import os
from time import time

from muinit import __version__, signals
from muinit.options import VERBOSE
from muinit.stderr import has_colours
from muinit.tracefile import TraceFile
from statechart.meanings import FORWARD, STOP
from statechart.traces import write
from statechart.words import decision as words
from statechart.words.story import Story

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from muinit.options import Options
    from muinit.stderr import Stderr
    from statechart.lifecycle import Decision, Lifecycle


class Watch:
    """The reports on a run: on stderr for people, in a file for machines.

    An error in one of them is printed once. It stops neither the run nor the other reports.
    """

    def __init__(self, lifecycle: Lifecycle, options: Options, stderr: Stderr, file: int | None) -> None:
        self._lifecycle = lifecycle
        self._tracing = options.trace_states
        self._colour = options.trace_states and has_colours(2)
        self._story = Story(lifecycle, signals.name) if options.verbosity == VERBOSE else None
        self._stderr = stderr
        self._file = None if file is None else TraceFile(file, stderr.line)

    def started(self, argv: Sequence[str], meanings: Mapping[int, str], ago: float) -> None:
        """Report the start, so many seconds `ago`. `argv` is muinit's own, `meanings` says what each signal means."""

        def header() -> Mapping[str, object]:
            about = {"muinit": __version__, "argv": argv, "pid": os.getpid(), "time": time() - ago}
            forward, stop_on = ([n for n, what in meanings.items() if what == which] for which in (FORWARD, STOP))
            return write.header(self._lifecycle, forward, stop_on, signals.by_name(), **about)

        self._tell(lambda: words.start(self._lifecycle, colour=self._colour), Story.start, header)

    def decided(self, decision: Decision) -> None:
        """Report a decision."""
        self._tell(
            lambda: words.line(self._lifecycle, decision, signals.name, colour=self._colour),
            lambda story: story.lines(decision),
            lambda: write.entry(decision, signals.name),
        )

    def ended(self, code: int, why: str, survivors: Sequence[str], at: float) -> None:
        """Report the end in the file, `at` seconds after the start. The last line on stderr is printed elsewhere."""

        def end(file: TraceFile) -> None:
            file.line({"t": write.nanoseconds(at), "exit": code, "why": why, "survivors": [*survivors]})
            file.end()

        if self._file:
            self._stderr.attempt("--trace-file", end, self._file)

    def _tell(
        self,
        line: Callable[[], str],
        lines: Callable[[Story], Iterable[str]],
        entry: Callable[[], Mapping[str, object]],
    ) -> None:
        def tell(story: Story) -> None:
            for each in lines(story):
                self._stderr.line(each)

        if self._tracing:
            self._stderr.attempt("--trace-states", lambda: self._stderr.line(line(), escaped=self._colour))
        if self._story:
            self._stderr.attempt("--verbose", tell, self._story)
        if self._file:
            self._stderr.attempt("--trace-file", lambda file: file.line(entry()), self._file)
