"""Mermaid itself draws the diagrams: each state and each edge is there with its words, and nothing is cut."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Error, Page

from tests.cast.harness import MUINIT
from tests.conftest import need
from tests.pictures.browser import chromium, why_no_chromium
from tests.tools import docs

pytestmark = pytest.mark.xdist_group("mermaid")  # one Chromium for all
SCRIPT = Path(sys.prefix, "mermaid/node_modules/mermaid/dist/mermaid.min.js")
OPTIONS = ["", "-t 0 -k KILL", "-t inf", "-k HUP,TERM@tree,KILL -t 5 -s HUP,INT@group", "-k INT:0.5,INT,TERM:90 -s all"]
README = [text for language, text in docs.fences(docs.README.read_text()) if language == "mermaid"]

DRAW = """async (text) => {
  mermaid.initialize({startOnLoad: false, securityLevel: "strict"});
  document.body.innerHTML = (await mermaid.render("drawn", text)).svg;
  const svg = document.querySelector("svg");
  svg.style.width = `${svg.viewBox.baseVal.width}px`;
  const box = (on) => {
    const {left, right, top, bottom} = on.getBoundingClientRect();
    return {left, right, top, bottom};
  };
  const labels = (what) => [...svg.querySelectorAll(what)].map((on) => on.innerText);
  return {
    states: [...svg.querySelectorAll(".node.statediagram-state")].map((on) =>
      [...on.querySelectorAll(".nodeLabel")].map((label) => label.innerText).join("\\n")),
    edges: labels("span.edgeLabel"),
    title: svg.querySelector(".statediagramTitleText")?.textContent || "",
    drawing: box(svg),
    texts: [...svg.querySelectorAll("text, foreignObject")].map((on) => ({
      ...box(on), words: on.textContent,
      room: on.firstElementChild && {...box(on), inner: [...on.querySelectorAll("p")].map(box)},
    })),
  };
}"""


@pytest.fixture(scope="module")
def mermaid() -> Iterator[Page]:
    if not shutil.which("npm"):  # 300 MB on Debian: not even CI's fresh machines install it
        pytest.skip("Mermaid: npm is not installed: apt-get install npm, then make mermaid")
    need("Mermaid", "" if SCRIPT.exists() else "it is not installed: make mermaid")
    need("Chromium", why_no_chromium())
    with chromium() as browser:
        yield page_of(browser)


def page_of(browser: Browser) -> Page:
    page = browser.new_page(viewport={"width": 1600, "height": 900})
    page.set_content("<!doctype html>")
    page.add_script_tag(path=SCRIPT)
    return page


def printed(options: str) -> str:
    argv = [*MUINIT, "--diagram", "mermaid", *options.split()]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


class Told:
    """What the text says."""

    def __init__(self, text: str) -> None:
        self.title = "".join(re.findall(r'^title: "(.*)"$', text, flags=re.MULTILINE))
        boxes: dict[str, list[str]] = {}
        for name, line in re.findall(r"^    (\w+): (.*)$", text, flags=re.MULTILINE):
            boxes.setdefault(name, []).append(line)
        self.states = sorted(boxes.values())
        labels = re.findall(r"^    \S+ --> \S+: (.*)$", text, flags=re.MULTILINE)
        self.edges = sorted(label.split("<br/><br/>") for label in labels)


@pytest.mark.parametrize("text", [*README, *map(printed, OPTIONS)], ids=["README", *OPTIONS])
def test_mermaid_draws_every_state_and_edge_and_cuts_nothing(text: str, mermaid: Page) -> None:
    told, drawn = Told(text), mermaid.evaluate(DRAW, text)
    assert len(told.states) >= 4
    assert len(told.edges) >= 4
    assert sorted(lines(state) for state in drawn["states"]) == told.states
    assert sorted(joined(edge) for edge in drawn["edges"] if edge.strip()) == sorted(map("".join, told.edges))
    assert drawn["title"] == told.title
    for each in drawn["texts"]:
        inside(each, drawn["drawing"])
        for words in each["room"]["inner"] if each["room"] else ():
            inside({**words, "words": each["words"]}, each["room"])


def lines(words: str) -> list[str]:
    return [line for line in words.split("\n") if line]


def joined(words: str) -> str:
    return "".join(lines(words))


def inside(it: dict[str, Any], outer: dict[str, float]) -> None:
    assert it["left"] >= outer["left"] - 1, it["words"]
    assert it["right"] <= outer["right"] + 1, it["words"]
    assert it["top"] >= outer["top"] - 1, it["words"]
    assert it["bottom"] <= outer["bottom"] + 1, it["words"]


def test_a_text_that_is_not_a_diagram_is_an_error(mermaid: Page) -> None:
    """So the test above cannot pass on the picture that Mermaid draws of an error."""
    with pytest.raises(Error, match="Parse error"):
        mermaid.evaluate(DRAW, "stateDiagram-v2\n    RUNNING --> --> EXITED\n")
