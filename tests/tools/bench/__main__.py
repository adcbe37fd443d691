"""python -m tests.tools.bench [--runs N] [--write]: measure what muinit costs, beside its floor and its peers.

It prints Markdown tables, and draws dist/bench-light.svg and bench-dark.svg. With --write, the tables go into
docs/measurements.md, the most important rows into README.md, and the pictures into docs/pictures/, all from one run.
"""

from __future__ import annotations

import argparse
import os
import platform

from tests.cast.harness import ROOT
from tests.tools import docs
from tests.tools.bench import floor, labels, many, peers, plot, ways

BLOCKS = ("bench", "bench-ways", "bench-peers", "bench-many", "bench-labels")
MOST = 3  # runs with a thousand commands, which take long


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.tools.bench", description=(__doc__ or "").partition(": ")[2].partition("\n")[0]
    )
    parser.add_argument("--runs", type=int, default=15, help="how often each program is measured; default: 15")
    parser.add_argument("--write", action="store_true", help="write the tables and the pictures into docs/")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    system = f"Python {platform.python_version()}, Linux {platform.release().split('-')[0]}"
    system += f", {os.cpu_count()} cores {platform.machine()}"

    def block(runs: int, *parts: str) -> str:
        how = f"Measured with {system}; medians of at least {runs} runs, "
        how += "with the quartiles in parentheses; `make bench`."
        return "\n\n".join([*parts, f"{how}\nBefore this run, the load of the machine was {load:.1f}."])

    for name in BLOCKS if options.write else ():
        docs.find(name)  # it raises now, and not when everything has been measured
    programs, few = peers.there(), min(options.runs, MOST)
    texts = dict.fromkeys(BLOCKS, "")
    texts["bench"] = block(options.runs, floor.table(options.runs))
    texts["bench-ways"] = block(options.runs, ways.table(options.runs))
    samples = peers.measured(programs, options.runs)
    texts["bench-peers"] = block(options.runs, *peers.tables(samples), *peers.missing())
    starts, stops = many.measured(programs, few)
    texts["bench-many"] = block(few, many.table(starts, "all started after"), many.table(stops, "all stopped after"))
    texts["bench-labels"] = block(options.runs, labels.table(options.runs))
    print("\n\n".join(texts.values()))
    if options.write:
        docs.write(texts)
        docs.write({"price": docs.price()})
    folder = ROOT / ("docs/pictures" if options.write else "dist")
    folder.mkdir(exist_ok=True)
    plot.draw(folder, samples, starts, stops)


if __name__ == "__main__":
    main()
