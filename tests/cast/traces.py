"""Check a file of --trace-file: each line follows the schema, and a replay gives the same again."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from statechart.traces.read import read
from statechart.traces.replay import replay
from statechart.words.decision import line
from tests.cast.harness import ROOT


def strict(schema: Any) -> Any:
    """The schema, made to allow only what it names. Readers skip unknown members, but muinit must write none."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {"additionalProperties": False} if schema.get("type") == "object" and "properties" in schema else {}
    return closed | {key: strict(each) for key, each in schema.items()}


SCHEMA = strict(json.loads((ROOT / "statechart/traces/trace.schema.json").read_text()))
KINDS = {kind: Draft202012Validator({"$ref": f"#/$defs/{kind}", "$defs": SCHEMA["$defs"]}) for kind in SCHEMA["$defs"]}


def kind(entry: dict[str, Any]) -> str:
    return next(
        (kind for word, kind in (("schema", "header"), ("event", "event"), ("exit", "end")) if word in entry), "dropped"
    )


def checked(lines: Iterable[str]) -> list[dict[str, Any]]:
    """The entries of a trace, which must be valid and complete."""
    lines = list(lines)
    entries = [json.loads(line) for line in lines]
    for entry in entries:
        KINDS[kind(entry)].validate(entry)
    assert [kind(entry) for entry in entries] == ["header", *["event"] * (len(entries) - 2), "end"]
    times = [entry["t"] for entry in entries[1:]]
    assert times == sorted(times)
    assert all(one["after"] == two["before"] for one, two in pairwise(entries[1:-1]))
    assert replay(read(lines)).code == entries[-1]["exit"]
    return entries


def of(path: Path) -> list[dict[str, Any]]:
    with path.open() as file:
        return checked(file)


def as_told(path: Path) -> list[str]:
    """The lines that --trace-states prints for the events of a trace."""
    with path.open() as file:
        found = read(file)
    run = found.begin()
    return [line(run, decision, found.signame) for _, decision in found.decisions]
