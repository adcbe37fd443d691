"""The recipe with a browser. It is in a file of its own, because its image takes long to build: workers share files."""

from __future__ import annotations

import re

import pytest

from tests.cast.harness import wait_for
from tests.engine.engine import Container
from tests.engine.recipes import Start, kill

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

# It needs its display at once. It lets a browser show a page, which answers how large its screen is. On SIGTERM it does
# that again and exits with 0. If the test makes a file, it kills the browser, and exits with the code that comes next.
APP = """\
#!/usr/bin/env python3
import http.server, os, signal, socket, subprocess, sys, threading, time

class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path.startswith("/screen/"):
            answers.append(self.path.rpartition("/")[2])
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<script>fetch('/screen/' + screen.width + 'x' + screen.height)</script>")

    def log_message(self, *_):
        pass

def look(when):
    browser = subprocess.Popen(["chromium", "http://127.0.0.1:8000"])
    while not answers:
        assert browser.poll() is None, f"the browser exited {browser.returncode}"
        time.sleep(0.01)
    print(when, answers.pop(), flush=True)
    return browser

def close(browser):
    browser.terminate()
    browser.wait()

socket.socket(socket.AF_UNIX).connect("/tmp/.X11-unix/X99")
answers, told = [], []
signal.signal(signal.SIGTERM, lambda *_: told.append("to stop"))
server = http.server.ThreadingHTTPServer(("127.0.0.1", 8000), Page)
threading.Thread(target=server.serve_forever, daemon=True).start()
browser = look("first")
while not told and not os.path.exists("/tmp/kill"):
    time.sleep(0.01)
if told:
    close(browser)
    close(look("last"))
    sys.exit(0)
browser.kill()
browser.wait()
while not os.path.exists("/tmp/code"):
    time.sleep(0.01)
sys.exit(int(open("/tmp/code").read()))
"""
# Xvfb then starts late enough for the app to find only what the killed one has left.
SLOW_RM = """#!/bin/sh
sleep 0.5; exec /bin/rm "$@"
"""


def sees(it: Container, *words: str) -> None:
    """Wait until the app has said these words each time that it looked at the screen."""
    wait_for(lambda: re.findall(r"^(\w+) 1920x1080$", it.said, flags=re.MULTILINE) == [*words], 60)


def test_a_browser_has_its_display_until_the_app_has_ended(start: Start) -> None:
    with start("browser", {"app": APP}, "--env=MUINIT_OPTIONS=-v") as it:
        sees(it, "first")
        it.kill("TERM")
        assert it.end() == 0
        sees(it, "first", "last")
        # Chromium's crash reporter can hang in its handler if SIGTERM comes 1.5 ms after its start: 3 of 10 did.
        assert {*re.findall(r"\((\S+).*\),? which died of SIGKILL", it.said)} <= {"chrome_crashpad"}
        assert "died of muinit's SIGKILL" not in it.said


def test_a_container_with_a_display_starts_again_after_it_was_killed(start: Start) -> None:
    """The app waits for the new display, even if that comes late. It also ends with its display."""
    with start("browser", {"app": APP}) as it:
        sees(it, "first")
        it.execute("sh", "-c", f"echo '{SLOW_RM}' >/usr/local/bin/rm; chmod +x /usr/local/bin/rm")
        it.kill("KILL")
        assert it.end() == 137
        it.start()
        sees(it, "first", "first")
        kill(it, "Xvfb")
        assert it.end() == 137
        assert "(display -c rm -f /tmp/.X99-lock; exec...) died of SIGKILL (137)" in it.last_line


def test_nothing_is_left_of_a_browser_and_the_app_decides(start: Start) -> None:
    """Not even zombies are left of a browser that was killed."""
    with start("browser", {"app": APP}, "--env=MUINIT_OPTIONS=-v") as it:
        sees(it, "first")
        names = ["sh", "-c", "cat /proc/[0-9]*/comm || true"]
        assert "chrom" in it.execute(*names)
        it.execute("touch", "/tmp/kill")
        wait_for(lambda: "chrom" not in it.execute(*names))
        assert "muinit: adopted pid" in it.said
        it.execute_last("sh", "-c", "echo 3 >/tmp/code.part; mv /tmp/code.part /tmp/code")
        assert it.end() == 3
        assert "SIGKILL" not in it.said
