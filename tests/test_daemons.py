"""Real daemons from Debian's packages, as PID 1: they serve, they stop at once, and none outlives the other."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import struct
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import need, why_no_namespace
from tests.harness import Run, status, tagged, wait_for

PATH = os.environ["PATH"] + ":/usr/sbin:/sbin"
LOOPBACK = "127.0.0.1"


def program(name: str) -> str:
    path = shutil.which(name, path=PATH)
    need(name, "" if path else "it is not installed: make daemons")
    assert path
    return path


def free_port() -> int:
    with socket.socket() as one:
        one.bind((LOOPBACK, 0))
        return int(one.getsockname()[1])


Daemon = tuple[list[str], Callable[[], bool]]  # a command, and whether it serves


def dnsmasq(_: Path) -> Daemon:
    port = free_port()
    command = [program("dnsmasq"), "-k", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--pid-file"]
    command += ["--user=root", f"--port={port}", f"--listen-address={LOOPBACK}", "--bind-interfaces"]
    command += ["--address=/muinit.test/192.0.2.7"]
    name = b"".join(bytes([len(label)]) + label for label in (b"muinit", b"test", b""))
    query = struct.pack("!6H", 7, 0x0100, 1, 0, 0, 0) + name + struct.pack("!2H", 1, 1)

    def serves() -> bool:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(0.5)
            client.connect((LOOPBACK, port))
            client.send(query)
            return client.recv(512).endswith(socket.inet_aton("192.0.2.7"))

    return command, serves


def banner(port: int, expected: bytes) -> bool:
    with socket.create_connection((LOOPBACK, port), 0.5) as client:
        return client.recv(64).startswith(expected)


def sshd(directory: Path) -> Daemon:
    port, key = free_port(), directory / "ssh_host_key"
    command = [program("sshd"), "-D", "-f", "/dev/null", "-h", str(key), "-p", str(port)]
    command += [f"-oListenAddress={LOOPBACK}", "-oPidFile=none", "-oUsePAM=no"]
    os.makedirs("/run/sshd", exist_ok=True)  # sshd insists on its empty directory
    subprocess.run([program("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    return command, lambda: banner(port, b"SSH-2.0-OpenSSH")


def dropbear(directory: Path) -> Daemon:
    port, key = free_port(), directory / "dropbear_key"
    subprocess.run(
        [program("dropbearkey"), "-t", "ed25519", "-f", str(key)],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    command = [program("dropbear"), "-FEjks", "-r", str(key), "-p", f"{LOOPBACK}:{port}"]
    return command, lambda: banner(port, b"SSH-2.0-dropbear")


def lighttpd(directory: Path) -> Daemon:
    port = free_port()
    (directory / "index.html").write_text("<h1>served under muinit</h1>")
    (directory / "lighttpd.conf").write_text(
        f'server.document-root = "{directory}"\nserver.bind = "{LOOPBACK}"\nserver.port = {port}\n'
        'index-file.names = ("index.html")\nmimetype.assign = (".html" => "text/html")\n'
    )

    def serves() -> bool:
        with urllib.request.urlopen(f"http://{LOOPBACK}:{port}/", timeout=0.5) as page:
            return b"served under muinit" in page.read()

    return [program("lighttpd"), "-D", "-f", str(directory / "lighttpd.conf")], serves


# Two daemons, and the exit status after SIGTERM: dropbear exits 1 on it, the others 0.
PAIRS = [(dnsmasq, sshd, 0), (lighttpd, dropbear, 1)]


@pytest.fixture(params=PAIRS, ids=lambda pair: f"{pair[0].__name__}-{pair[1].__name__}")
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Run, int]]:
    if os.geteuid() != 0:
        pytest.skip("daemons as PID 1 need root")
    need("a PID namespace", why_no_namespace())
    first, second, code = request.param
    (one, one_serves), (other, other_serves) = first(tmp_path), second(tmp_path)
    it = Run(one, other, pid1=True)
    with it:
        wait_for(one_serves)
        wait_for(other_serves)
        yield it, code


def name(pid: int) -> str:
    return status(pid)["Name"]


def test_sigterm_ends_both_at_once(pair: tuple[Run, int]) -> None:
    it, code = pair
    it.signal(signal.SIGTERM)
    assert it.end() == code
    assert "SIGKILL" not in it.err


@pytest.mark.parametrize("victim", [0, 1])
def test_killing_one_ends_the_other(pair: tuple[Run, int], victim: int) -> None:
    it, _ = pair
    children = Path(f"/proc/{it.init}/task/{it.init}/children").read_text().split()
    assert len(children) == 2, [name(pid) for pid in tagged(it.tag)]
    killed = name(int(children[victim]))
    os.kill(int(children[victim]), signal.SIGKILL)
    assert it.end() == 137
    last = it.err.splitlines()[-1]
    assert last.startswith(f"muinit: exit 137: pid {victim + 2} ({killed} ")
    assert " died of SIGKILL (137) after " in last
