"""python -m statechart: print the lifecycle of the machine that runs, or play it; replay and draw traces."""

from __future__ import annotations

import argparse
import os
import sys
from typing import NoReturn

from statechart.options import STEPS, TIMEOUT
from statechart.pictures import diagram

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

    from statechart.traces.read import Trace


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line and exit 1, like those of muinit."""

    def error(self, message: str) -> NoReturn:
        """Exit, and say what is wrong."""
        sys.exit(f"{self.prog}: {message}")


def main() -> None:
    """Print the lifecycle in a format, or read a trace."""
    parser = Parser(prog="python -m statechart", description="The lifecycle of muinit, and the traces of its runs.")
    chosen = parser.add_mutually_exclusive_group()
    for output, words in (
        (diagram.mermaid, "print a Mermaid state diagram (the default)"),
        (diagram.table, "print a table of events by states, in Markdown"),
        (diagram.dot, "print a graph for Graphviz"),
    ):
        chosen.add_argument(f"--{output.__name__}", dest="output", action="store_const", const=output, help=words)
    written = "a file that muinit --trace-file has written; - is stdin"
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    replay = commands.add_parser("replay", help="feed the events of a trace to the machine, and compare")
    replay.add_argument("trace", help=written)
    timeline = commands.add_parser("timeline", help="draw the run of a trace")
    timeline.add_argument("trace", help=written)
    timeline.add_argument("-o", "--output", required=True, metavar="FILE", help="a page (.html) or a picture (.svg)")
    play = commands.add_parser("play", help="make a page on which the lifecycle can be played")
    play.add_argument("-k", "--stop-signals", metavar="SIGNALS", default=STEPS, help="the steps, as muinit has them")
    play.add_argument("-t", "--timeout", metavar="SECONDS", default=TIMEOUT, help="how long to wait after each step")
    play.add_argument("-o", "--output", required=True, metavar="FILE", help="a page (.html)")
    options = parser.parse_args()
    if options.command == "replay":
        _replay(options.trace)
    elif options.command == "timeline":
        _timeline(options.trace, options.output)
    elif options.command == "play":
        _play(options.stop_signals, options.timeout, options.output)
    else:
        _print((options.output or diagram.mermaid)())


def _print(text: str) -> None:
    """Print on stdout. If that fails, exit and say why."""
    try:
        sys.stdout.write(text.encode(errors="backslashreplace").decode() + "\n")
        sys.stdout.flush()
    except (OSError, UnicodeEncodeError) as error:
        # Otherwise Python would try again to write its buffer when it exits, and exit with 120.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(f"python -m statechart: cannot write to stdout: {error}")


def _replay(path: str) -> None:
    from statechart.traces.read import TraceError
    from statechart.traces.replay import replay

    found = _read(path)
    try:
        lifecycle = replay(found)
    except TraceError as error:
        sys.exit(f"{path}:{error.line}: {error.what}")
    end = f"exit {lifecycle.code}" if found.end else f"{lifecycle.stage}, and no last line"
    _print(f"{path}: {len(found.decisions)} events replayed, all states and effects as recorded; {end}")


def _timeline(path: str, output: str) -> None:
    suffix = _suffix(output, "html", "svg")
    page = _page("timeline")
    found = _read(path)
    _write(output, *(page.html(found) if suffix == "html" else (page.svg(found), "")))


def _play(stop_signals: str, timeout: str, output: str) -> None:
    from statechart.options import UsageError, seconds, steps

    _suffix(output, "html")
    try:
        parsed = steps("-k", stop_signals)
        each = seconds("-t", timeout)
    except UsageError as error:
        sys.exit(f"python -m statechart: play {error}")
    page = _page("play")
    from statechart.pictures.play import Game, TooManyError

    given = (("-k", stop_signals, STEPS), ("-t", timeout, TIMEOUT))
    game = Game(
        [number for number, _, _ in parsed],
        [each if time is None else time for _, _, time in parsed],
        [target for _, target, _ in parsed],
        argv=["muinit", *(word for flag, value, default in given if value != default for word in (flag, value))],
    )
    try:
        text, lacks = page.play(game)
    except TooManyError as error:
        sys.exit(f"python -m statechart: play -k '{stop_signals}': {error}")
    _write(output, text, lacks)


def _suffix(output: str, *known: str) -> str:
    """The suffix of a file's name. If it is not known, exit."""
    suffix = output.rpartition(".")[2]
    if suffix not in known:
        endings = " or ".join(f".{each}" for each in known)
        sys.exit(f"python -m statechart: {output}: expected a name that ends in {endings}")
    return suffix


def _page(command: str) -> ModuleType:
    """The module that makes pages. Without Jinja2, exit and say what to install."""
    try:
        from statechart.pictures import page
    except ModuleNotFoundError as error:
        if error.name not in ("jinja2", "markupsafe"):
            raise
        sys.exit(f"python -m statechart: {command} needs Jinja2: pip install 'muinit[timeline]'")
    return page


def _write(output: str, text: str, lacks: str) -> None:
    """Write a page, and say what it lacks. If that fails, exit and say why."""
    from statechart.pictures import page

    try:
        page.write(output, text)
    except OSError as error:
        sys.exit(f"python -m statechart: {output}: {error.strerror}")
    if lacks:
        print(f"python -m statechart: {lacks}", file=sys.stderr)


def _read(path: str) -> Trace:
    """Read a trace. If that fails, exit and say why."""
    from statechart.traces.read import TraceError, read

    try:
        with open(0 if path == "-" else path, encoding="utf-8", errors="replace") as file:
            return read(file)
    except OSError as error:
        sys.exit(f"python -m statechart: {path}: {error.strerror}")
    except TraceError as error:
        sys.exit(f"{path}:{error.line}: {error.what}")


if __name__ == "__main__":
    main()
