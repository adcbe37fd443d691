"""A real Chromium, and real runs to look at."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from tests.cast.harness import Run, kid, status, wait_for

# For Debian's Chromium. As root it needs --no-sandbox, and it must not use the network.
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
QUIET += ["--disable-component-update", "--disable-sync"]


def why_no_chromium() -> str:
    """Why no page can be shown here, or ""."""
    if not shutil.which("chromium"):
        return "chromium is not installed: apt-get install chromium"
    # playwright runs a node of its own, which needs libatomic.so.1. Fresh machines do not have that library.
    argv = [sys.executable, "-m", "playwright", "--version"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return f"playwright does not run: {done.stderr.strip()}" if done.returncode else ""


@contextmanager
def chromium() -> Iterator[Browser]:
    path = shutil.which("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=QUIET)
        yield browser
        browser.close()


@dataclass
class Seen:
    """A page, and whatever is wrong with it: errors, and requests for anything but itself."""

    page: Page
    wrong: list[str] = field(default_factory=list)


@contextmanager
def seen(browser: Browser, path: Path, **context: Any) -> Iterator[Seen]:
    """Load a file, and collect what is wrong with it."""
    with_context = browser.new_context(**{"viewport": {"width": 1200, "height": 900}, **context})
    it = Seen(with_context.new_page())
    it.page.on("console", lambda message: it.wrong.append(message.text))
    it.page.on("pageerror", lambda error: it.wrong.append(str(error)))
    it.page.on("request", lambda request: it.wrong.extend({request.url} - {path.as_uri()}))
    with_context.route(lambda url: url != path.as_uri(), lambda route: route.abort())
    it.page.goto(path.as_uri())
    yield it
    with_context.close()


# Runs


def two(trace: Path) -> None:
    """One of two commands fails, and the other ignores SIGTERM."""
    fails = ["sh", "-c", "sleep 0.3; exit 3"]
    with Run(kid("deaf", "TERM=ignore"), fails, options=f"-q -t 0.3 --trace-file {trace}") as run:
        assert run.end() == 3


def forty(trace: Path) -> None:
    """One of 40 commands dies of SIGSEGV, and one ignores SIGTERM."""
    sleeps = [["sleep", str(100 + n)] for n in range(37)]
    others = [["true", "long", "x" * 50], ["sh", "-c", "kill -SEGV $$"], kid("deaf", "TERM=ignore")]
    with Run(*others[2:], *sleeps, *others[:2], options=f"-q -t 0.3 --trace-file {trace}") as run:
        run.end()


def busy(trace: Path) -> None:
    """Three steps, forwarded signals, orphans, Ctrl-Z without a terminal, and a stop from outside."""
    says = ["USR1=say", "INT=ignore", "TERM=ignore"]
    commands = [
        kid("a", *says, "HUP=say", "orphan b,HUP=ignore,INT=ignore,TERM=ignore,USR1=ignore", "orphan c,USR1=exit 0"),
        kid("d", *says[:2], "HUP=exit 7"),
        kid("e", *says[:2], "HUP=ignore", "TERM=exit 143"),
    ]
    options = f"-q -t 1 -k HUP,TERM,KILL -s INT,USR1 --trace-file {trace}"
    with Run(*commands, options=options) as run:
        run.ready("a", "b", "c", "d", "e")

        def adopted() -> bool:
            run.signal(signal.SIGCHLD)  # muinit looks for orphans when SIGCHLD says that a child has ended
            return trace.read_text().partition("\n")[2].count('"name":') == 2

        wait_for(adopted)
        run.signal(signal.SIGUSR1)
        run.hear("a USR1", "c USR1", "d USR1", "e USR1")
        wait_for(lambda: "orphans_ended" in trace.read_text())
        run.signal(signal.SIGINT)
        run.signal(signal.SIGTSTP)
        # A SIGCONT that comes before it has stopped is lost. If nobody could continue it, it does not stop.
        wait_for(lambda: status(run.init)["State"].startswith("T") or "resume" in trace.read_text())
        run.signal(signal.SIGCONT)
        wait_for(lambda: "resume" in trace.read_text())
        run.signal(signal.SIGTERM)
        assert run.end() == 7


def missing(trace: Path) -> None:
    """One of three commands does not exist."""
    with Run(["sleep", "100"], ["/no/such/thing"], ["sleep", "101"], options=f"-q --trace-file {trace}") as run:
        assert run.end() == 127


RUNS = {run.__name__: run for run in (two, forty, busy, missing)}
