"""python -m tests.tools.pictures: make the pictures of the docs, with a real browser: of a real run, and of a game."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Browser, Page

from statechart.pictures import page
from statechart.traces.read import read
from tests.cast.harness import AS_INIT, MUINIT, ROOT, wait_for
from tests.conftest import PATH
from tests.pictures.browser import chromium
from tests.process.test_daemons import LOOPBACK, reserved_port

WHERE = ROOT / "docs/pictures"
COMMAND = (
    "./muinit -t 0.5 -s HUP --trace-file run.jsonl --- lighttpd -D -f lighttpd.conf --- dnsmasq -k -C dnsmasq.conf"
)
COMMAND += " --- ./worker --- ./legacy"

# The run shows a daemon that no command stops, a crash, and a program that ignores SIGTERM.
SCRIPTS = {
    "worker": "trap : HUP\n(./indexer &)\nsleep 2\nkill -SEGV $$",
    "indexer": "trap '' HUP\nwhile :; do sleep 60; done",
    "legacy": "trap '' HUP TERM\nwhile :; do sleep 60; done",
}


def run(web: int, names: int) -> None:
    """Run COMMAND in the current directory, with these ports, and send muinit two SIGHUPs on the way."""
    os.symlink(MUINIT[0], "muinit")
    for name, script in SCRIPTS.items():
        Path(name).write_text(f"#!/bin/sh\n{script}\n")
        os.chmod(name, 0o755)
    where = f'server.bind = "{LOOPBACK}"\nserver.port = {web}\n'
    Path("lighttpd.conf").write_text(f'server.document-root = "/var/empty"\n{where}')
    words = ["no-resolv", "no-hosts", "user=root", "bind-interfaces", "pid-file"]
    Path("dnsmasq.conf").write_text("\n".join([*words, f"port={names}", f"listen-address={LOOPBACK}"]))
    process = subprocess.Popen([*AS_INIT, *COMMAND.split()], env={**os.environ, "PATH": PATH}, stderr=subprocess.PIPE)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    init = int(wait_for(lambda: children.read_text().split())[0])
    for moment in (0.7, 0.6):
        time.sleep(moment)
        os.kill(init, signal.SIGHUP)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 139, said


def shoot(on: Page, path: Path) -> None:
    """Take a picture of the head of the page and of the timeline."""
    box = on.locator("svg.timeline").bounding_box()
    assert box
    on.screenshot(path=path, clip={"x": 0, "y": 0, "width": 1168, "height": box["y"] + box["height"] + 8})


GAME = ["job-is-adopted", "worker-exits-3", "job-exits-0", "time-is-up"]


def shoot_game(browser: Browser) -> None:
    """Take pictures of the page on which the lifecycle is played, after a few events."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "play.html")
        subprocess.run([sys.executable, "-m", "statechart", "play", "-o", path], check=True)
        for scheme in ("light", "dark"):
            on = browser.new_page(color_scheme=scheme, viewport={"width": 1180, "height": 870})
            on.goto(path.as_uri())
            for name in GAME:
                on.locator(f"#{name}").click()
            on.evaluate("document.activeElement.blur()")
            on.screenshot(path=WHERE / f"play-{scheme}.png")
            on.close()


def main() -> None:
    """Write the trace and its pictures."""
    WHERE.mkdir(exist_ok=True)
    home = Path.cwd()
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        with reserved_port() as web, reserved_port() as names:
            run(web, names)
        trace = Path("run.jsonl").read_text()
        os.chdir(home)
    (WHERE / "run.jsonl").write_text(trace)
    text, lacks = page.html(read(trace.splitlines(keepends=True)))
    assert not lacks
    with chromium() as browser:
        shoot_game(browser)
        for scheme in ("light", "dark"):
            on = browser.new_page(color_scheme=scheme, viewport={"width": 1168, "height": 900}, device_scale_factor=1.4)
            on.set_content(text)
            shoot(on, WHERE / f"run-{scheme}.png")
            on.close()
            on = browser.new_page(color_scheme=scheme, viewport={"width": 1168, "height": 900}, device_scale_factor=1.2)
            on.set_content(text)
            on.locator(".diagram svg").screenshot(path=WHERE / f"way-{scheme}.png")
            on.close()


if __name__ == "__main__":
    main()
