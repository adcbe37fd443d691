"""The blocks of the README that a program writes: each has one source, and a test compares them.

python -m tests.readme: write them anew.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from muinit import help as usage
from muinit import signals
from statechart import meanings
from statechart.pictures import diagram
from tests import exit_table
from tests.harness import MUINIT, ROOT

README = ROOT / "README.md"
STUBBORN = """sh -c "trap '' TERM; exec sleep 60\""""
SAMPLE = f"muinit -t 0.5 --trace-states --- {STUBBORN} --- sh -c 'sleep 0.2; exit 3'"
STORY = f"muinit -v -t 0.5 --- {STUBBORN} --- sh -c '(sleep 50 &); sleep 0.3; exit 3'"
UNASKED = """muinit -v -t 0.5 --- bash -c 'trap "echo saved; exit 0" TERM; sleep 60' &"""
TRACE = "muinit -q --trace-file run.jsonl --- sleep 60 --- sh -c 'exit 3'"
LONGEST = "muinit --diagram table -k TERM,INT,KILL -t 5"


def run(command: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    argv = [*MUINIT, *shlex.split(command)[1:]]
    return subprocess.run(argv, capture_output=True, text=True, check=False, cwd=cwd)


def sample(command: str) -> str:
    """What a real run says, as a terminal would show it."""
    done = run(command)
    return f"$ {command}; echo $?\n{done.stderr}{done.returncode}"


def unasked() -> str:
    """A stop in which a shell keeps the signal to itself."""
    script = f"{UNASKED}\nsleep 0.3; kill $!; wait $!; echo $?"
    path = f"{Path(MUINIT[0]).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
        env={**os.environ, "PATH": path},
    )
    first, second = script.splitlines()
    return f"$ {first}\n$ {second}\n{done.stdout}"


def trace_file() -> str:
    """Two lines of a real trace, and what is said when it is replayed."""
    with tempfile.TemporaryDirectory() as directory:
        run(TRACE, Path(directory))
        lines = (Path(directory) / "run.jsonl").read_text().splitlines()
        replay = [sys.executable, "-m", "statechart", "replay", "run.jsonl"]
        done = subprocess.run(replay, capture_output=True, text=True, check=True, cwd=directory)
    looked = f"$ {TRACE}\n$ sed -n '2p;$p' run.jsonl\n{lines[1]}\n{lines[-1]}\n"
    return f"{looked}$ python -m statechart replay run.jsonl\n{done.stdout}"


WORDS = {
    meanings.FORWARD: "forwarded to every command and every adopted orphan",
    meanings.STOP: "starts the termination steps, or starts them over",
    meanings.SUSPEND: "suspends the commands, then muinit: see [the terminal](#the-terminal)",
    meanings.RESUME: "resumes the commands",
    meanings.REAP: "reap: ask the kernel until it has no more",
    meanings.SHIELDED: "ignored, as the kernel does it, and said once",
    meanings.NOTHING: "nothing",
}


def signal_table() -> str:
    """What each signal means where no option names one, and which options can name it; alike ones in one row."""
    rows: dict[tuple[str, ...], list[str]] = {}
    known = signals.by_name()
    as_init, as_other = (meanings.meanings(known, init=init) for init in (True, False))
    for name, number in known.items():
        named = [
            "no" if name == "SIGTERM" or why_not(name) else "yes"
            for why_not in (meanings.cannot_be_forwarded, meanings.cannot_stop)
        ]
        row = WORDS[as_init[number]], WORDS[as_other[number]], *named
        rows.setdefault(row, []).append(name.removeprefix("SIG"))
    lines = ["| signals | as PID 1 | as another process | `-s` | `--stop-on` |", "| --- | --- | --- | --- | --- |"]
    for row, names in rows.items():
        lines.append(f"| {_ranges(names)} | {' | '.join(row)} |")
    senders = [f"| {name.removeprefix('SIG')} | {who} |" for name, who in meanings.SENDERS.items()]
    return "\n".join([*lines, "", "| signal | who sends it |", "| --- | --- |", *senders])


def _ranges(names: list[str]) -> str:
    """The names, with the real-time signals, of which there are thirty, in a few words."""
    plain = [name for name in names if not name.startswith("RT")]
    others = [name for name in names if name.startswith("RT")]
    return ", ".join(plain + (others if len(others) < 3 else ["the other real-time signals"]))


def without_chance(trace: str) -> str:
    """A trace without its times and pids, which are others in each run."""
    trace = re.sub(r"^(muinit: +)[\d.]+ s", r"\1T s", trace, flags=re.MULTILINE)
    return re.sub(r"pid \d+|after [\d.]+ s|[\d.]+ s into|(?<=\"t\":)\d+|\d+ events", "", trace)


def blocks() -> dict[str, str]:
    """Each block that has a source in the program, by its name."""
    return {
        "sample": f"```console\n{sample(SAMPLE)}\n```",
        "diagram": f"```mermaid\n{diagram.mermaid()}\n```",
        "help": f"```text\n{usage.TEXT}```",
        "longest": f"```console\n$ {LONGEST} | head -1\n{run(LONGEST).stdout.splitlines()[0]}\n```",
        "story": f"```console\n{sample(STORY)}\n```",
        "trace-file": f"```console\n{trace_file()}```",
        "signals": signal_table(),
        "unasked": f"```console\n{unasked()}```",
        "exit-status": exit_table.table(),
        "table": diagram.table(),
    }


def marked(name: str) -> re.Pattern[str]:
    return re.compile(rf"(<!-- {name}: [^>]*-->\n)(.*?)(\n<!-- /{name} -->)", re.DOTALL)


def written(name: str) -> str:
    """What stands in the README between the markers of a block."""
    found = marked(name).search(README.read_text())
    assert found, f"README.md has no block '{name}'"
    return found[2]


def write(new: dict[str, str]) -> None:
    """Put these blocks into the README."""
    text = README.read_text()
    for name, block in new.items():
        found = marked(name).search(text)
        assert found, f"README.md has no block '{name}'"
        text = text[: found.start(2)] + block + text[found.end(2) :]
    README.write_text(text)


if __name__ == "__main__":
    write(blocks())
