"""python -m tests.tools.versus: run the same stories under several inits, and draw what happened.

It writes dist/versus.html, the table of docs/versus.md, and docs/pictures/versus-*.png if there is a Chromium.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.cast.harness import ROOT
from tests.conftest import why_no_namespace
from tests.pictures.browser import chromium, why_no_chromium
from tests.tools import docs
from tests.tools.progress import progress
from tests.tools.versus import page
from tests.tools.versus.field import INITS, STORIES, Init, Story, prepare
from tests.tools.versus.judge import Cell
from tests.tools.versus.run import play, why_no_memory

PAGE = ROOT / "dist/versus.html"
PICTURES = ROOT / "docs/pictures"
AT_A_TIME = 4  # most of a run is waiting


def found(stories: list[Story], inits: list[Init], times: int) -> page.Field:
    """Run every story under every init, so many times, as far as they can run here."""
    left_out = [f"{init.name}: {why}" for init in inits if (why := init.why_not())]
    inits = [init for init in inits if not init.why_not()]
    if any(story.eats for story in stories) and (why := why_no_memory()):
        left_out += [f"{story.title}: {why}" for story in stories if story.eats]
        stories = [story for story in stories if not story.eats]
    pairs = [(story, init) for story in stories for init in inits]
    with ThreadPoolExecutor(AT_A_TIME) as pool, progress("runs", len(pairs) * times, ticking=False) as count:
        # One round after the other: what disturbs the machine for a while does not disturb all runs of a cell.
        runs = list(count(pool.map(lambda pair: play(*pair), pairs * times)))
    cells = {
        (story.name, init.name): Cell(story, init, runs[number :: len(pairs)])
        for number, (story, init) in enumerate(pairs)
    }
    versions = {init.name: init.says() for init in inits}
    setups = {init.name: setup(STORIES[0], init) for init in inits}
    system = f"with Python {platform.python_version()} on Linux {platform.release().partition('-')[0]}"
    machine = f"{system}, {os.cpu_count()} cores, {times} runs of each cell, {AT_A_TIME} at a time"
    return page.Field(stories, inits, cells, versions, setups, left_out, machine)


def setup(story: Story, init: Init) -> list[tuple[str, str]]:
    """The command line of an init, and the files that it needs, by their names."""
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        argv = prepare(story, init, home, home / "log")
        files = sorted(path for path in home.rglob("*") if path.is_file() and path.name not in story.programs)
        shown = [(str(path.relative_to(home)), path.read_text()) for path in files]
    return [("command line", " ".join(argv)), *shown]


def shoot() -> None:
    """Take pictures of the table."""
    with chromium() as browser:
        for scheme in ("light", "dark"):
            on = browser.new_page(color_scheme=scheme, viewport={"width": 1150, "height": 900})
            on.goto(PAGE.as_uri())
            on.locator("#field").screenshot(path=PICTURES / f"versus-{scheme}.png")
            on.close()


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.tools.versus", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--runs", type=int, default=3, metavar="N", help="runs of each cell; default: 3")
    options = parser.parse_args()
    if why := why_no_namespace():
        parser.exit(1, f"no PID namespace can be made here: {why}\n")
    field = found(STORIES, INITS, options.runs)
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page.html(field))
    docs.write({"versus": page.markdown(field)})
    print(f"written: {PAGE.relative_to(ROOT)}, docs/versus.md")
    print(*(f"left out: {why}" for why in field.left_out), sep="\n", end="")
    if why := why_no_chromium():
        print(f"no pictures: {why}")
    else:
        shoot()


if __name__ == "__main__":
    main()
