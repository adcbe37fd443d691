"""The recipes of the pages: each Dockerfile is built and run as it stands, with the real programs of Debian."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.cast.harness import MUINIT, wait_for
from tests.engine.engine import run
from tests.engine.recipes import (
    RECIPES,
    WITH_IMAGE,
    Later,
    Start,
    clients,
    command,
    dockerfile,
    files,
    get,
    kill,
    listens,
)

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

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
        it.execute_last("touch", "/tmp/go")
        assert answer.result() == "whole"
        assert it.end() == 0
        assert "SIGKILL" not in it.said


# Works on after its answer.
LATE_PHP = """<?php
echo 'answered';
fastcgi_finish_request();
touch('/tmp/begun');
while (!file_exists('/tmp/go')) { clearstatcache(); }
touch('/tmp/done');
"""


def test_php_finishes_what_it_does_after_an_answer(start: Start) -> None:
    """The web server has ended by then."""
    with start("php") as it:
        wait_for(lambda: get(it, "http://127.0.0.1/") == "PHP under muinit\n")
        it.execute("sh", "-c", f'echo "{LATE_PHP}" >/srv/late.php')
        assert get(it, "http://127.0.0.1/late.php") == "answered"
        wait_for(lambda: it.execute("sh", "-c", "ls /tmp/begun || true"))
        it.kill("TERM")
        wait_for(lambda: "Finishing ..." in it.said)
        it.execute_last("touch", "/tmp/go")
        assert it.end() == 0
        assert "SIGKILL" not in it.said
        it.start()
        it.execute("ls", "/tmp/done")


def test_clients_of_nginx_do_not_hold_up_a_stop(start: Start) -> None:
    with start("php") as it:
        wait_for(lambda: get(it, "http://127.0.0.1/") == "PHP under muinit\n")
        with clients(it, 80):
            it.kill("TERM")
            assert it.end() == 0
        assert "SIGKILL" not in it.said


def test_nginx_can_be_told_to_wait_no_longer(start: Start) -> None:
    """The further step of recipes.md. It comes long before nginx gives up its clients by itself."""
    argv = ["-v", "-k", "TERM:0.1,TERM:60,KILL", *command("php")[2:]]
    with start("php", command=argv) as it:
        wait_for(lambda: get(it, "http://127.0.0.1/") == "PHP under muinit\n")
        with clients(it, 80):
            it.kill("TERM")
            assert it.end() == 0
        assert "muinit: step 2 of 3: SIGTERM" in it.said


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
        it.execute_last("touch", "/tmp/go")
        assert answer.result() == "whole"
        assert it.end() == 0
        assert "SIGKILL" not in it.said


def test_clients_of_a_proxy_do_not_hold_up_a_stop(start: Start) -> None:
    with start("proxy", {"app.py": SLOW_APP}) as it:
        wait_for(lambda: get(it, "http://127.0.0.1/") == "whole")
        with clients(it, 80):
            it.kill("TERM")
            assert it.end() == 0
        assert "SIGKILL" not in it.said


def test_an_app_does_not_outlive_its_proxy(start: Start) -> None:
    with start("proxy", {"app.py": SLOW_APP}) as it:
        wait_for(lambda: get(it, "http://127.0.0.1/") == "whole")
        kill(it, "haproxy")
        assert it.end() == 137
        assert "(proxy -db -f haproxy.cfg) died of SIGKILL (137)" in it.last_line


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
