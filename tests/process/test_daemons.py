"""Real daemons from Debian packages under muinit as PID 1: they serve, stop at once, and neither outlives the other."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cast.harness import AS_INIT, PATIENCE, Run, status, tagged, wait_for
from tests.cast.traces import checked
from tests.conftest import need, program, why_no_namespace

LOOPBACK = "127.0.0.1"
# An ordinary user keeps their uid. A daemon with uid 0 would try to drop privileges that it does not have.
INIT = [word.replace("--map-root-user", "--map-current-user") for word in AS_INIT]


@contextmanager
def reserved_port() -> Iterator[int]:
    """A port for a daemon, which no other socket gets. The daemon can listen on it, as both set SO_REUSEADDR."""
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind((LOOPBACK, 0))
        yield one.getsockname()[1]


Daemon = tuple[list[str], Callable[[], bool]]  # a command, and a function that tells whether it serves


def dnsmasq(_: Path, port: int) -> Daemon:
    command = [program("dnsmasq", "dnsmasq-base"), "-k", "--conf-file=/dev/null", "--no-resolv", "--no-hosts"]
    command += ["--pid-file", f"--port={port}", f"--listen-address={LOOPBACK}", "--bind-interfaces"]
    command += ["--address=/muinit.test/192.0.2.7", *(["--user=root"] if os.geteuid() == 0 else [])]
    name = b"".join(bytes([len(label)]) + label for label in (b"muinit", b"test", b""))
    query = struct.pack("!6H", 7, 0x0100, 1, 0, 0, 0) + name + struct.pack("!2H", 1, 1)

    def serves() -> bool:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(1)  # a datagram can be lost
            client.connect((LOOPBACK, port))
            client.send(query)
            return client.recv(512).endswith(socket.inet_aton("192.0.2.7"))

    return command, serves


def banner(port: int, expected: bytes) -> bool:
    with socket.create_connection((LOOPBACK, port), PATIENCE) as client:
        return client.recv(64).startswith(expected)


def sshd(directory: Path, port: int) -> Daemon:
    key = directory / "ssh_host_key"
    command = [program("sshd", "openssh-server"), "-D", "-f", "/dev/null", "-h", str(key), "-p", str(port)]
    command += [f"-oListenAddress={LOOPBACK}", "-oPidFile=none", "-oUsePAM=no"]
    if os.geteuid() == 0:
        os.makedirs("/run/sshd", exist_ok=True)  # sshd does not start without this empty directory
    keygen = program("ssh-keygen", "openssh-client")
    subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    return command, lambda: banner(port, b"SSH-2.0-OpenSSH")


def dropbear(directory: Path, port: int) -> Daemon:
    key = directory / "dropbear_key"
    subprocess.run(
        [program("dropbearkey", "dropbear-bin"), "-t", "ed25519", "-f", str(key)],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    command = [program("dropbear", "dropbear-bin"), "-FEjks", "-r", str(key), "-p", f"{LOOPBACK}:{port}"]
    return command, lambda: banner(port, b"SSH-2.0-dropbear")


def lighttpd(directory: Path, port: int) -> Daemon:
    (directory / "index.html").write_text("<h1>served under muinit</h1>")
    (directory / "lighttpd.conf").write_text(
        f'server.document-root = "{directory}"\nserver.bind = "{LOOPBACK}"\nserver.port = {port}\n'
        'index-file.names = ("index.html")\nmimetype.assign = (".html" => "text/html")\n'
    )

    def serves() -> bool:
        with urllib.request.urlopen(f"http://{LOOPBACK}:{port}/", timeout=PATIENCE) as page:
            return b"served under muinit" in page.read()

    return [program("lighttpd", "lighttpd"), "-D", "-f", str(directory / "lighttpd.conf")], serves


Maker = Callable[[Path, int], Daemon]
Pair = tuple[Maker, Maker]


@pytest.fixture(params=[(dnsmasq, sshd), (lighttpd, dropbear)], ids=lambda pair: "-".join(one.__name__ for one in pair))
def pair(request: pytest.FixtureRequest) -> Pair:
    need("a PID namespace", why_no_namespace())
    pair: Pair = request.param
    return pair


@contextmanager
def serving(pair: Pair, directory: Path, options: str = "") -> Iterator[Run]:
    """Run both daemons under one muinit, which is PID 1, and wait until they serve."""
    with reserved_port() as first, reserved_port() as second:
        one, one_serves = pair[0](directory, first)
        other, other_serves = pair[1](directory, second)
        with Run(one, other, options=options, prefix=INIT) as it:
            wait_for(one_serves)
            wait_for(other_serves)
            yield it


def name(pid: int) -> str:
    return status(pid)["Name"]


def test_sigterm_ends_both_at_once(pair: Pair, tmp_path: Path) -> None:
    """The run was told to stop, so its exit status is that of the first daemon that fails.

    Whether one fails can depend on its version. And lighttpd exits with 1 while it still has a connection.
    """
    trace = tmp_path / "run.jsonl"
    with serving(pair, tmp_path, f"-t 60 --trace-file {trace}") as it:
        it.signal(signal.SIGTERM)
        code = it.end()
        assert "SIGKILL" not in it.err
    entries = checked(trace.read_text().splitlines(keepends=True))
    endings = [ending for entry in entries for ending in entry.get("endings", [])]
    codes = [ending["code"] for ending in endings if "command" in ending]  # not of an orphan, as dropbear can leave one
    assert len(codes) == 2
    assert code == next((each for each in codes if each), 0)


@pytest.mark.parametrize("victim", [0, 1])
def test_killing_one_ends_the_other(pair: Pair, victim: int, tmp_path: Path) -> None:
    with serving(pair, tmp_path) as it:
        children = Path(f"/proc/{it.init}/task/{it.init}/children").read_text().split()
        assert len(children) == 2, [name(pid) for pid in tagged(it.tag)]
        killed = name(int(children[victim]))
        os.kill(int(children[victim]), signal.SIGKILL)
        assert it.end() == 137
        last = it.err.splitlines()[-1]
        assert last.startswith(f"muinit: exit 137: pid {victim + 2} ({killed} ")
        assert " died of SIGKILL (137) after " in last
