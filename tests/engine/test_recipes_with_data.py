"""The recipes with a database or a queue. They are in a file of their own, so that two workers share the work."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.cast.harness import wait_for
from tests.engine.recipes import Later, Start, clients, files, get, kill, listens

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

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
        assert "received fast shutdown request" in it.said  # on TERM it would wait for the client
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
        it.execute_last("redis-cli", "set", "code", str(code))
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
        it.stop()
        assert it.inspect("State.ExitCode") == "0"
        it.start()
        wait_for(lambda: listens(it, 8000))
        answer = Later(get, it, url)
        wait_for(lambda: it.execute("sh", "-c", "ls /tmp/begun || true"))
        it.kill("TERM")
        wait_for(lambda: not listens(it, 8000))
        it.execute_last("touch", "/tmp/go")
        assert answer.result() == "42\n"
        assert it.end() == 0
        assert "SIGKILL" not in it.said


def test_clients_of_gunicorn_do_not_hold_up_a_stop(start: Start) -> None:
    """It gives them the 25 seconds of its `--graceful-timeout`, and ends before the time of the step."""
    with start("celery", {}, "--env=MUINIT_OPTIONS=-v") as it:
        wait_for(lambda: get(it, "http://127.0.0.1:8000/?21") == "42\n", 60)
        with clients(it, 8000, "/?21"):
            it.kill("TERM")
            assert it.end(within=100) == 0
        assert "not asked to stop yet" not in it.said


# Postfix beside an app

# Its last words are a mail.
MAIL_APP = """\
#!/usr/bin/env python3
import signal, smtplib, sys

def stop(*_):
    with smtplib.SMTP("localhost") as server:
        server.sendmail("app@example.com", ["you@example.com"], "Subject: last words\\n\\nThe end.\\n")
    sys.exit(0)

signal.signal(signal.SIGTERM, stop)
smtplib.SMTP("localhost").quit()
print("app started", flush=True)
while True:
    signal.pause()
"""
# The server of the provider. It says the subject of a mail, and accepts the mail when the test says so.
PROVIDER = """\
import socket, sys
server = socket.create_server(("127.0.0.2", 587))
print("listening", flush=True)
server.settimeout(20)
one = server.accept()[0].makefile("rwb", buffering=0)
one.write(b"220 provider\\r\\n")
for line in one:
    if line == b"DATA\\r\\n":
        one.write(b"354 go on\\r\\n")
        mail = [*iter(one.readline, b".\\r\\n")]
        print([line.decode().strip() for line in mail if line.startswith(b"Subject: ")], flush=True)
        sys.stdin.readline()
    one.write(b"250 OK\\r\\n")
"""


def test_the_last_mail_is_passed_on_during_a_stop(start: Start) -> None:
    """The container ends with Postfix, too."""
    with start("mail", {"app": MAIL_APP}, "--add-host=smtp.example.com:127.0.0.2", "--env=MUINIT_OPTIONS=-v") as it:
        wait_for(lambda: "app started" in it.said)
        argv = it.enter("/usr/bin/env", "python3", "-I", "-c", PROVIDER)
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as provider:
            assert provider.stdin is not None
            assert provider.stdout is not None
            assert provider.stdout.readline() == "listening\n"
            it.kill("TERM")
            assert provider.stdout.readline() == "['Subject: last words']\n"
            wait_for(lambda: re.search(r"\(app .*\) exited 0", it.said))
            provider.stdin.write("accept it\n")
            provider.stdin.flush()
            assert it.end() == 0
        assert "SIGKILL" not in it.said
        it.start()
        wait_for(lambda: it.said.count("app started") == 2)
        assert not it.execute("postqueue", "-j")
        it.execute_last("sh", "-c", "kill -KILL $(cat /var/spool/postfix/pid/master.pid)")
        assert it.end() == 137
        assert "(relay) exited 137" in it.last_line
