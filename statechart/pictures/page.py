"""Pictures of runs, and the page to play, each in one file that needs no other. Only this needs Jinja2 and Graphviz."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from base64 import b64encode
from collections import Counter
from contextlib import suppress
from functools import cache
from hashlib import sha256
from shlex import join
from xml.etree import ElementTree as ET

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from statechart.pictures import printers, search, timeline
from statechart.pictures.timeline import Picture
from statechart.pictures.world import COMMANDS, JOB
from statechart.words.text import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from statechart.pictures.play import Game
    from statechart.pictures.world import Happening
    from statechart.traces.read import Trace

GRAPHVIZ = "The diagram needs Graphviz: install the package graphviz, which has the program dot."
PATIENCE = 20  # seconds for dot
MOST_STEPS = 12  # in a diagram that can be read


def svg(found: Trace) -> str:
    """The timeline alone."""
    return _render("timeline.svg", timeline.picture(found), alone=True)


def html(found: Trace) -> tuple[str, str]:
    """The page; and in a line what it lacks, or ""."""
    drawn, lacks = diagram(found)
    picture = timeline.picture(found)
    style, script = _hash("timeline.css", "page.css"), _hash("timeline.js")
    page = _render("timeline.html", picture, alone=False, style=style, script=script, diagram=drawn, no_diagram=lacks)
    return page, lacks


def diagram(found: Trace) -> tuple[Markup, str]:
    """The lifecycle as SVG, with the way of the run drawn heavy; or nothing, and the reason."""
    lifecycle = found.begin()
    lacks = _cannot_draw(len(lifecycle.steps))
    if lacks:
        return Markup(), lacks
    numbers = found.header["signals"]
    forward, stop = ([numbers[name] for name in found.header[key]] for key in ("forward", "stop_on"))
    roles = ["", "", *(command.role for command in lifecycle.commands if command.role)]
    unfolded = search.Unfolded(
        lifecycle.steps,
        lifecycle.times,
        forward,
        lambda number: printable(found.signame(number)),
        roles,
        policy=lifecycle.policy,
        stop=stop,
        targets=lifecycle.targets,
        step_targets=lifecycle.step_targets,
    )
    return _drawn(search.dot(unfolded, Counter(search.edge(decision) for _, decision in found.decisions)))


def play(game: Game) -> tuple[str, str]:
    """The page on which the lifecycle is played; and in a line what it lacks, or ""."""
    lacks = _cannot_draw(len(game.world.steps))
    drawn, lacks = (Markup(), lacks) if lacks else _drawn(printers.dot(game.drawing()))
    groups: dict[str, list[Happening]] = {}
    for happening in game.world.happenings:
        groups.setdefault(happening.whom, []).append(happening)
    data = game.data()
    text = json.dumps(data, separators=(",", ":")).replace("<", r"\u003c")  # it stands in a script element
    page = _fill(
        "play.html",
        style=_hash("timeline.css", "page.css", "play.css"),
        script=_hash("play.js"),
        argv=join(game.argv),
        caption=search.caption(game.unfolded),
        groups=groups,
        processes=[*COMMANDS, JOB],
        counts=[len(data["situations"]), sum(map(len, data["moves"])) // 3],
        stages=[*data["boxes"]],
        data=Markup(text),  # noqa: S704 the line above has escaped it
        diagram=drawn,
        no_diagram=lacks,
    )
    return page, lacks


def _cannot_draw(steps: int) -> str:
    """Why there can be no diagram, or ""."""
    if steps > MOST_STEPS:
        return f"The diagram is left out: {steps} steps are more than it can show."
    return "" if shutil.which("dot") else GRAPHVIZ


def _drawn(graph: str) -> tuple[Markup, str]:
    """What dot draws; or nothing, and the reason."""
    try:
        done = subprocess.run(
            ["dot", "-Tsvg"],  # noqa: S607
            input=graph.encode(),
            capture_output=True,
            timeout=PATIENCE,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return Markup(), f"The diagram is left out: {error}"
    return _only_shapes(done.stdout), ""


SHAPES = {
    "svg": ("viewBox",),
    "g": ("class", "transform"),
    "polygon": ("points",),
    "polyline": ("points",),
    "path": ("d",),
    "ellipse": ("cx", "cy", "rx", "ry"),
    "text": ("x", "y", "text-anchor", "font-size"),
}


def _only_shapes(drawn: bytes) -> Markup:
    """What dot has drawn, without colours, fonts and ids: the page has its own."""
    root = ET.fromstring(drawn)  # noqa: S314 what dot has written
    return _shape(root)


def _shape(node: ET.Element) -> Markup:
    name = node.tag.rpartition("}")[2]
    if name not in SHAPES:
        return Markup()
    kept = [(key, node.get(key, "")) for key in SHAPES[name] if key in node.attrib]
    kept += [("data-name", printable(child.text or "")) for child in node if child.tag.endswith("title")]
    attributes = Markup().join(Markup(' {}="{}"').format(*pair) for pair in kept)
    inside = [*node]
    if node.get("class") == "graph":
        # dot draws a background first; drop it. What is drawn last is on top, so the edges that were taken go last.
        inside = [child for child in inside if not child.tag.endswith("polygon")]
        inside.sort(key=lambda child: "untaken" not in child.get("class", ""))
    inner = Markup().join(map(_shape, inside))
    words = printable(" ".join((node.text or "").split()))
    return Markup("<{0}{1}>{2}{3}</{0}>").format(name, attributes, words, inner)


def _render(name: str, picture: Picture, **more: object) -> str:
    size = {name.lower(): value for name, value in vars(timeline).items() if name.isupper()}
    return _fill(name, p=picture, size=size, **more)


def _fill(name: str, **more: object) -> str:
    return _templates().get_template(name).render(**more)


@cache
def _templates() -> Environment:
    """Everything that the templates write is escaped for XML, and odd characters are made visible."""
    templates = Environment(
        loader=PackageLoader("statechart.pictures"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
        finalize=lambda value: "\n".join(map(printable, value.split("\n"))) if type(value) is str else value,
    )
    templates.filters |= {"px": lambda number: f"{number:.2f}".rstrip("0").rstrip("."), "cells": timeline.cells}
    return templates


def _hash(*names: str) -> str:
    """The hash by which a Content-Security-Policy allows a text."""
    text = "".join(_templates().get_template(name).render() for name in names)
    return b64encode(sha256(text.encode()).digest()).decode()


def write(path: str, text: str) -> None:
    """Write a file, or replace it once the new one is complete. Raises OSError."""
    path = os.path.realpath(path)
    new = f"{path}.{os.getpid()}"
    try:
        with open(new, "x", encoding="utf-8") as file:
            file.write(text)
        os.replace(new, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(new)
        raise
