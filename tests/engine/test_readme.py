"""The README's Dockerfile, built and run as it stands: a static site, and SFTP for those who write it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cast.harness import PATIENCE, wait_for
from tests.conftest import program
from tests.engine.engine import LONG_STEPS, Container, Engine, run
from tests.engine.recipes import clients

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

PAGE = "import urllib.request as u; print(u.urlopen('http://127.0.0.1/', timeout=5).read().decode())"
SSH = "import socket; print(socket.create_connection(('127.0.0.1', 22), 5).recv(64))"
ZOMBIES = "cat /proc/[0-9]*/status 2>/dev/null | grep -c '^State:.Z'; true"


@pytest.fixture
def site(engine: Engine, readme_image: str) -> Iterator[Container]:
    with Container(engine, f"--env={LONG_STEPS}", readme_image) as it:
        serves(it)
        yield it


def page(site: Container) -> str:
    """The front page, as a client in the container's network gets it."""
    return run(site.enter("/usr/bin/env", "python3", "-I", "-c", PAGE)).stdout


def serves(site: Container) -> None:
    """Wait until both daemons serve."""
    wait_for(lambda: "<html" in page(site))
    wait_for(lambda: "SSH-2.0-" in run(site.enter("/usr/bin/env", "python3", "-I", "-c", SSH)).stdout)


def daemons(site: Container) -> dict[str, int]:
    """The pids of muinit's children, in the container, by their names."""
    children = site.execute("cat", "/proc/1/task/1/children").split()
    return {site.execute("cat", f"/proc/{pid}/comm"): int(pid) for pid in children}


def test_a_file_that_is_put_by_sftp_is_served(site: Container, tmp_path: Path) -> None:
    """A client logs in with a key. The host key is made when the first client comes."""
    key = tmp_path / "key"
    subprocess.run([program("ssh-keygen", "openssh-client"), "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    site.execute(
        "sh",
        "-c",
        f"umask 77; mkdir /root/.ssh; echo '{key.with_suffix('.pub').read_text()}' >/root/.ssh/authorized_keys",
    )
    (tmp_path / "index.html").write_text("<html>put by SFTP</html>")
    options = ["-oStrictHostKeyChecking=no", "-oUserKnownHostsFile=/dev/null", f"-oConnectTimeout={PATIENCE:.0f}"]
    sftp = site.enter(program("sftp", "openssh-client"), *options, "-b", "-", "-i", str(key), "root@127.0.0.1")
    done = run(sftp, input=f"put {tmp_path}/index.html /var/www/html/index.html\n")
    assert done.returncode == 0, done.stderr
    assert "put by SFTP" in page(site)


def test_a_stop_ends_both_at_once_with_0_and_it_can_be_started_again(site: Container) -> None:
    """Both stop in order. They exit with 1, lighttpd because of its clients, and `-e 1` says that it is no failure."""
    for again in (True, False):
        with clients(site, 80):
            site.stop()
        assert site.inspect("State.ExitCode") == "0"
        assert "SIGKILL" not in site.said
        if again:
            site.start()
            serves(site)


@pytest.mark.parametrize("victim", ["lighttpd", "dropbear"])
def test_killing_either_daemon_ends_both(site: Container, victim: str) -> None:
    """The exit status is that of the killed daemon, and the last line of the log names it."""
    both = daemons(site)
    assert both.keys() == {"lighttpd", "dropbear"}
    site.execute_last("sh", "-c", f"kill -KILL {both[victim]}")
    assert site.end() == 137
    (other,) = both.keys() - {victim}
    assert site.last_line.startswith(f"muinit: exit 137: pid {both[victim]} ({victim} ")
    assert "died of SIGKILL (137)" in site.last_line
    assert f"so muinit stopped the rest: pid {both[other]} ({other} " in site.last_line


def test_no_zombie_is_left_of_a_thousand_orphans(site: Container) -> None:
    site.execute("sh", "-c", "i=0; while [ $i -lt 1000 ]; do (true &); i=$((i+1)); done")
    wait_for(lambda: site.execute("sh", "-c", ZOMBIES) == "0")
    assert daemons(site).keys() == {"lighttpd", "dropbear"}


def test_what_podman_exec_left_is_adopted_reaped_and_stopped(site: Container) -> None:
    """It does not decide the exit status."""
    site.execute("sh", "-c", "(exit 7) & (sh -c 'kill -SEGV $$' &); sleep 600 & ")
    wait_for(lambda: daemons(site).keys() == {"lighttpd", "dropbear", "sleep"})
    assert site.execute("sh", "-c", ZOMBIES) == "0"
    site.stop()
    assert site.inspect("State.ExitCode") == "0"
    assert "SIGKILL" not in site.said
