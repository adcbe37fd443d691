"""The recipes of the pages: each Dockerfile is built and run as it stands, with the real programs of Debian."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from tests.cast.harness import MUINIT, PATIENCE, ROOT, wait_for
from tests.conftest import need
from tests.engine.conftest import SLIM
from tests.engine.engine import Container, Engine, run
from tests.tools import docs

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

RECIPES = {page.stem: page.read_text() for page in docs.RECIPES}
WITH_IMAGE = [page for page, text in RECIPES.items() if "```dockerfile" in text]
PYZ = ROOT / "dist/muinit.pyz"
GET = """import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=20).read().decode(), end="")"""

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


@pytest.fixture
def start(engine: Engine, build: Callable[..., str], tmp_path: Path) -> Start:
    """Build the image of a page, from its own files and those that a user would bring, and start a container."""
    need("muinit.pyz", "" if PYZ.exists() else "make dist builds it")

    def start(page: str, brought: Mapping[str, str] = MappingProxyType({}), *argv: str) -> Container:
        context = tmp_path / page
        context.mkdir()
        (context / "muinit.pyz").write_bytes(PYZ.read_bytes())
        (context / "muinit.pyz").chmod(0o755)
        for name, text in {**files(page), **brought}.items():
            (context / name).write_text(text)
            (context / name).chmod(0o755 if text.startswith("#!") else 0o644)
        image = build(page, dockerfile(page).replace("python:3-slim", SLIM, 1), context)
        return Container(engine, *argv, image)

    return start


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
    """Kill a command. The program that does it may be killed itself, because the container then ends."""
    run(it.engine.podman("exec", it.name, "sh", "-c", f"kill -KILL {child(it, name)}"))


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


# What all pages have


@pytest.mark.parametrize("page", WITH_IMAGE)
def test_a_stop_takes_as_long_as_the_page_says(page: str) -> None:
    """The time on the page for `docker stop` is longer."""
    text = " ".join(RECIPES[page].split())
    (longest,) = re.findall(r" stop takes at most (\d+) s", text)
    for within, code in ((int(longest), 0), (int(longest) - 1, 1)):
        argv = [*MUINIT, "--diagram", "table", "--within", str(within), *command(page)]
        assert run(argv).returncode == code
    for limit in re.findall(r"docker stop -t (\d+)", text):
        assert int(limit) > int(longest)


@pytest.mark.parametrize("page", WITH_IMAGE)
def test_each_file_that_is_copied_is_on_the_page_or_yours(page: str) -> None:
    copied = re.findall(r"^COPY (.*) \S+$", dockerfile(page), flags=re.MULTILINE)
    for name in " ".join(copied).split():
        assert name in {*files(page), "muinit.pyz"} or f"`{name}` is your" in RECIPES[page]


# nginx and PHP-FPM

# Says that it has begun, and waits until it may go on.
SLOW_PHP = "<?php touch('/tmp/begun'); while (!file_exists('/tmp/go')) { clearstatcache(); } echo 'whole';"


def test_a_php_request_is_answered_during_a_stop(start: Start) -> None:
    """The server takes no new requests, and PHP-FPM lives until it has answered the last one."""
    with start("php") as it:
        wait_for(lambda: get(it, "http://127.0.0.1/") == "PHP under muinit\n")
        it.execute("sh", "-c", f'echo "{SLOW_PHP}" >/srv/slow.php')
        answer = Later(get, it, "http://127.0.0.1/slow.php")
        wait_for(lambda: it.execute("sh", "-c", "ls /tmp/begun || true"))
        it.kill("TERM")
        wait_for(lambda: not listens(it, 80))
        it.execute("touch", "/tmp/go")
        assert answer.result() == "whole"
        assert it.end() == 0
        assert "SIGKILL" not in it.said


def test_nginx_does_not_outlive_php(start: Start) -> None:
    with start("php") as it:
        wait_for(lambda: get(it, "http://127.0.0.1/") == "PHP under muinit\n")
        kill(it, "php-fpm")
        assert it.end() == 137
        assert "(php-fpm -F -y /etc/php-fpm.conf) died of SIGKILL (137)" in it.last_line


# An app behind a proxy

# A WSGI application that says that it has begun, and waits until it may go on.
SLOW_APP = """\
import os, time

def application(environ, start_response):
    if environ["PATH_INFO"] == "/slow":
        open("/tmp/begun", "w").close()
        while not os.path.exists("/tmp/go"):
            time.sleep(0.01)
    start_response("200 OK", [])
    return [b"whole"]
"""


def test_an_answer_passes_the_proxy_during_a_stop(start: Start) -> None:
    """The app listens no more, and its last answer still gets out."""
    with start("proxy", {"app.py": SLOW_APP}) as it:
        wait_for(lambda: get(it, "http://127.0.0.1/") == "whole")
        answer = Later(get, it, "http://127.0.0.1/slow")
        wait_for(lambda: it.execute("sh", "-c", "ls /tmp/begun || true"))
        it.kill("TERM")
        wait_for(lambda: not listens(it, 8000))
        assert listens(it, 80)
        it.execute("touch", "/tmp/go")
        assert answer.result() == "whole"
        assert it.end() == 0
        assert "SIGKILL" not in it.said


def test_an_app_does_not_outlive_its_proxy(start: Start) -> None:
    with start("proxy", {"app.py": SLOW_APP}) as it:
        wait_for(lambda: get(it, "http://127.0.0.1/") == "whole")
        kill(it, "haproxy")
        assert it.end() == 137
        assert "(proxy -db -f haproxy.cfg) died of SIGKILL (137)" in it.last_line


# An app that waits for its database

# It uses the database once, at the stop again, and says so.
DATABASE_APP = """\
#!/bin/sh
trap 'psql -c "INSERT INTO t VALUES (2)"; exit' TERM
psql -c "CREATE TABLE IF NOT EXISTS t (n int)" && echo app started
while :; do sleep 0.1; done
"""

# A client outside of the container, which muinit cannot stop. It logs in, and stays until the database has an error.
CLIENT = """\
import socket, struct
one = socket.create_connection(("127.0.0.1", 5432), 20)
words = b"user\\0postgres\\0\\0"
one.sendall(struct.pack("!2I", 8 + len(words), 196608) + words)
data = b""
while not data.endswith(b"Z\\0\\0\\0\\5I"):
    data += one.recv(4096)
print("connected", flush=True)
print(one.recv(4096))
"""


def test_a_database_is_shut_down_in_order_with_a_client_connected(start: Start) -> None:
    """The app starts when the database answers, and has it for its last words. A client that stays is disconnected."""
    with start("database", {"app": DATABASE_APP}) as it:
        wait_for(lambda: "app started" in it.said)
        argv = it.enter("/usr/bin/env", "python3", "-I", "-c", CLIENT)
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as client:
            assert client.stdout is not None
            assert client.stdout.readline() == "connected\n"
            it.kill("TERM")
            assert it.end() == 0
            assert "57P01" in client.stdout.read()  # "terminating connection due to administrator command"
        assert "INSERT 0 1" in it.said
        assert "database system is shut down" in it.said
        assert "SIGKILL" not in it.said
        it.start()
        wait_for(lambda: it.said.count("app started") == 2)
        assert "not properly shut down" not in it.said
        kill(it, "postgres")
        assert it.end() == 137
        it.start()
        wait_for(lambda: it.said.count("app started") == 3)
        assert "not properly shut down" in it.said  # so these are the words


# cron beside an app

CRON_APP = """\
#!/bin/sh
trap 'exit 0' TERM
echo app started
while :; do sleep 0.1; done
"""
# A job that is busy when the container is stopped. It says that it was asked, and does the rest of its work.
LONG_JOB = """\
@reboot root trap 'echo job asked; sleep 0.3; echo job done; exit 0' TERM; echo job started; while :; do sleep 0.1; done
"""


def test_a_job_of_cron_ends_in_order(start: Start, tmp_path: Path) -> None:
    (tmp_path / "long").write_text(LONG_JOB.replace("root ", "root exec >/proc/1/fd/1; "))
    with start("cron", {"app": CRON_APP}, f"--volume={tmp_path}/long:/etc/cron.d/long:ro") as it:
        wait_for(lambda: {"app started", "job started", "cache cleared"} <= set(it.said.splitlines()))
        it.kill("TERM")
        assert it.end() == 0
        assert {"job asked", "job done"} <= set(it.said.splitlines())
        assert "SIGKILL" not in it.said
        it.start()
        wait_for(lambda: it.said.count("app started") == 2)
        kill(it, "cron")
        assert it.end() == 137
        assert it.said.count("cache cleared") == 1


# A batch job with helpers

# It needs the cache, and ends with the code that the test puts there.
JOB = """\
#!/bin/sh
until redis-cli ping 2>/dev/null | grep -q PONG; do sleep 0.05; done
echo job started
until code=$(redis-cli get code) && [ "$code" ]; do sleep 0.05; done
exit "$code"
"""


@pytest.mark.parametrize("code", [0, 3])
def test_a_job_decides_whatever_the_helpers_do(start: Start, code: int) -> None:
    """One helper has failed before, and the other one is stopped."""
    with start("batch", {"job": JOB, "metrics": "#!/bin/sh\necho no metrics >&2\nexit 9\n"}) as it:
        wait_for(lambda: {"job started", "no metrics"} <= set(it.said.splitlines()))
        it.execute("redis-cli", "set", "code", str(code))
        assert it.end() == code
        assert "SIGKILL" not in it.said


def test_a_job_ends_with_the_helper_that_it_needs(start: Start) -> None:
    with start("batch", {"job": JOB, "metrics": "#!/bin/sh\nexec sleep 600\n"}) as it:
        wait_for(lambda: "job started" in it.said)
        kill(it, "redis")
        assert it.end() == 137
        assert "(cache --save " in it.last_line


# gunicorn, Celery and Redis

# The page's task, but it says that it has begun, and waits until it may go on.
WAITS = """\
    import os, time
    open("/tmp/begun", "w").close()
    while not os.path.exists("/tmp/go"):
        time.sleep(0.01)
    return 2 * number"""
SLOW_TASK = files("celery")["tasks.py"].replace("    return 2 * number", WAITS)


def test_the_last_task_is_finished_during_a_stop(start: Start) -> None:
    """The worker still has the queue when it stores the result, and the web answers its last request with it."""
    with start("celery") as it:
        url = "http://127.0.0.1:8000/?21"
        wait_for(lambda: get(it, url) == "42\n", 60)
        it.execute("sh", "-c", f"cat >/srv/tasks.py <<'EOF'\n{SLOW_TASK}\nEOF")
        assert it.stop() < 5
        assert it.inspect("State.ExitCode") == "0"
        it.start()
        wait_for(lambda: listens(it, 8000))
        answer = Later(get, it, url)
        wait_for(lambda: it.execute("sh", "-c", "ls /tmp/begun || true"))
        it.kill("TERM")
        wait_for(lambda: not listens(it, 8000))
        it.execute("touch", "/tmp/go")
        assert answer.result() == "42\n"
        assert it.end() == 0
        assert "SIGKILL" not in it.said


# An app that logs to syslog

SYSLOG_APP = """\
#!/bin/sh
trap 'logger -t app last words; exit 0' TERM
logger -t app first words
while :; do sleep 0.1; done
"""


def test_the_first_and_the_last_words_are_logged(start: Start) -> None:
    with start("syslog", {"app": SYSLOG_APP}) as it:
        wait_for(lambda: "app: first words" in it.said)
        assert "last words" not in it.said
        it.kill("TERM")
        assert it.end() == 0
        assert "app: last words" in it.said
        assert "SIGKILL" not in it.said
