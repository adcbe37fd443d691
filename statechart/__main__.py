"""python -m statechart: print the lifecycle, read back from the machine that runs."""

from __future__ import annotations

import argparse
import sys
from typing import NoReturn

from statechart import diagram


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, and exit 1, as muinit's are."""

    def error(self, message: str) -> NoReturn:
        """Exit with what is wrong."""
        sys.exit(f"{self.prog}: {message}")


def main() -> None:
    """Print on stdout the format that was asked for."""
    parser = Parser(prog="python -m statechart", description="Print the lifecycle of muinit.")
    chosen = parser.add_mutually_exclusive_group()
    for output, words in (
        (diagram.mermaid, "a Mermaid state diagram (the default)"),
        (diagram.table, "a table of events by states, in Markdown"),
        (diagram.dot, "a graph for Graphviz"),
    ):
        chosen.add_argument(f"--{output.__name__}", dest="output", action="store_const", const=output, help=words)
    print((parser.parse_args().output or diagram.mermaid)())


if __name__ == "__main__":
    main()
