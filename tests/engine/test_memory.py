"""A container that runs out of memory: the kernel kills a command, and muinit says why."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from tests.conftest import need
from tests.engine.engine import Engine, run

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

LIMIT = 256 << 20  # bytes: enough for the engine, which is in the same cgroup


@pytest.fixture
def cgroups(engine: Engine) -> str:
    """A folder of the engine's mount namespace that has the memory controller as version 1 of cgroups has it."""
    folder = f"{engine.directory}/cgroups"
    mount = 'mkdir -p "$1/memory" && mount -t cgroup -o memory memory "$1/memory"'
    done = run([*engine.inside, "sh", "-c", mount, "sh", folder])
    need("a cgroup with a limit of memory", done.stderr.strip())
    return folder


@pytest.fixture
def limited(engine: Engine, cgroups: str) -> Iterator[str]:
    """A cgroup with little memory."""
    cgroup = f"{cgroups}/memory/muinit-{uuid.uuid4().hex[:12]}"
    make = f'mkdir "$1" && echo {LIMIT} >"$1/memory.limit_in_bytes"'
    assert run([*engine.inside, "sh", "-c", make, "sh", cgroup]).returncode == 0
    yield cgroup
    # conmon may still be in it for a moment.
    remove = 'until rmdir "$1"; do sleep 0.1; done'
    run([*engine.inside, "sh", "-c", remove, "sh", cgroup])


def test_an_oom_kill_is_told(engine: Engine, app_image: str, cgroups: str, limited: str) -> None:
    """A program reads a line that never ends. The kernel kills it, and the last line says that memory had run out."""
    command = ["muinit", "---", "tail", "/dev/zero", "---", "kid", "B", "TERM=exit 0"]
    # A container sees its own cgroup at the root of the mount.
    volumes = [f"--volume={cgroups}:/sys/fs/cgroup:ro", f"--volume={limited}:/sys/fs/cgroup/memory:ro"]
    podman = engine.podman("run", "--rm", *volumes, app_image, *command)
    enter = 'echo $$ >"$1/cgroup.procs"; shift; exec "$@"'
    done = run([*engine.inside, "sh", "-c", enter, "sh", limited, *podman[len(engine.inside) :]])
    assert done.returncode == 137
    last = done.stderr.splitlines()[-1]
    assert last.startswith("muinit: exit 137: pid 2 (tail /dev/zero) died of SIGKILL (137) after ")
    assert " (the kernel has counted an OOM kill in this cgroup), so muinit stopped the rest: pid 3 (kid B" in last
