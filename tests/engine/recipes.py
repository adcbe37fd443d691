"""The recipes of the pages: their Dockerfiles and files, and what the tests do with a container of one."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.cast.harness import PATIENCE
from tests.engine.engine import Container, run
from tests.tools import docs

RECIPES = {page.stem: page.read_text() for page in docs.RECIPES}
WITH_IMAGE = [page for page, text in RECIPES.items() if "```dockerfile" in text]
GET = """import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=20).read().decode(), end="")"""
# Clients that stay connected: one says nothing, one stops in the middle of a request, one has had its answer.
CLIENTS = """import socket, sys
address = "127.0.0.1", int(sys.argv[1])
clients = [socket.create_connection(address, 20) for _ in range(3)]
clients[1].sendall(b"GET / HTTP/1.1\\r\\n")
clients[2].sendall(b"GET %s HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n" % sys.argv[2].encode())
assert clients[2].recv(4096).startswith(b"HTTP/1.1 200 ")
print("connected", flush=True)
sys.stdin.read()
"""

Start = Callable[..., Container]


def dockerfile(page: str) -> str:
    (text,) = [text for language, text in docs.fences(RECIPES[page]) if language == "dockerfile"]
    return text


def files(page: str) -> dict[str, str]:
    """The files of a page: each is a code block after a line with its name."""
    found = re.findall(r"^`([\w.-]+)`:\n\n```\w*\n(.*?)^```$", RECIPES[page], flags=re.DOTALL | re.MULTILINE)
    return dict(found)


def command(page: str) -> list[str]:
    """The words of CMD."""
    words: list[str] = json.loads(dockerfile(page).replace("\\\n", "").partition("\nCMD ")[2])
    return words


def get(it: Container, url: str) -> str:
    """What a client in the container's network gets from this address."""
    return run(it.enter("/usr/bin/env", "python3", "-I", "-c", GET, url)).stdout


def listens(it: Container, port: int) -> bool:
    connect = f"import socket; socket.create_connection(('127.0.0.1', {port}), 5)"
    return not run(it.enter("/usr/bin/env", "python3", "-I", "-c", connect)).returncode


def child(it: Container, name: str) -> str:
    """The pid of a command, in the container, by how the name of its program begins."""
    children = it.execute("cat", "/proc/1/task/1/children").split()
    (pid,) = [pid for pid in children if it.execute("cat", f"/proc/{pid}/comm").startswith(name)]
    return pid


def kill(it: Container, name: str) -> None:
    """Kill a command, so that the container ends."""
    it.execute_last("sh", "-c", f"kill -KILL {child(it, name)}")


@contextmanager
def clients(it: Container, port: int, path: str = "/") -> Iterator[None]:
    """Clients in the container's network that stay connected until the end of the block."""
    argv = it.enter("/usr/bin/env", "python3", "-I", "-c", CLIENTS, str(port), path)
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "connected\n"
        yield
        process.communicate()


class Later:
    """A function that runs in a thread."""

    def __init__(self, function: Callable[..., object], *argv: object) -> None:
        self._result: object = None
        self._thread = threading.Thread(target=lambda: setattr(self, "_result", function(*argv)), daemon=True)
        self._thread.start()

    def result(self) -> object:
        self._thread.join(2 * PATIENCE)
        assert not self._thread.is_alive()
        return self._result
