"""A container engine for the tests: Podman, in namespaces of its own that leave nothing behind."""

from __future__ import annotations

import os
import subprocess
import tempfile
import uuid
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.cast.harness import PATIENCE, ROOT, wait_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Self

Done = subprocess.CompletedProcess[str]
# For the environment of a container that is stopped. Before a step runs out, the engine kills what muinit has missed.
LONG_STEPS = "MUINIT_OPTIONS=--timeout=60"
MACHINE = ["--rootfs", "/:O"]  # in place of an image: this machine's root; what a container changes in it is dropped


class Engine:
    """Podman in mount and PID namespaces of its own. Use it as a context manager: at the end they are gone."""

    def __init__(self) -> None:
        """Make the namespaces. Raises OSError with the reason why they cannot be made."""
        self._files = tempfile.TemporaryDirectory()
        self.directory = Path(self._files.name)  # empty outside of the engine's mount namespace
        self._world = subprocess.Popen(
            ["unshare", "--mount", str(ROOT / "tests/engine/world"), str(self.directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._world.stdout is not None
        if self._world.stdout.readline() != "ready\n":
            why = self._world.communicate()[1].strip()
            self._files.cleanup()
            raise OSError(why)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._world.communicate()  # closes its stdin, and waits until it has ended
        self._files.cleanup()

    @cached_property
    def inside(self) -> list[str]:
        """The command line that runs a command inside, where the engine is."""
        init = self._world.pid
        for _ in ("unshare --pid", "PID 1"):
            init = int(Path(f"/proc/{init}/task/{init}/children").read_text())
        return ["nsenter", "--target", str(init), "--mount", "--pid", "--"]

    def podman(self, *argv: str, cgroups: bool = False) -> list[str]:
        """The command line that runs podman. Containers have cgroups of their own only if `cgroups`."""
        config = self.directory / f"{'enabled' if cgroups else 'disabled'}.conf"
        environment = [f"CONTAINERS_CONF={config}", f"TMPDIR={self.directory}", f"PATH={os.environ['PATH']}:/usr/sbin"]
        podman = ["podman", "--root", f"{self.directory}/root", "--runroot", f"{self.directory}/runroot"]
        # Where crun has to make cgroups, it raises RLIMIT_MEMLOCK, which needs CAP_SYS_RESOURCE.
        podman += ["--runtime", "runc"] if cgroups else []
        return [*self.inside, "env", *environment, *podman, *argv]

    def do(self, *argv: str, code: int = 0, timeout: float = PATIENCE, **popen: Any) -> Done:
        """Run podman to its end, which must be this exit status."""
        done = run(self.podman(*argv), timeout=timeout, **popen)
        assert done.returncode == code, f"{argv} exited {done.returncode}: {done.stdout}{done.stderr}"
        return done

    def run(self, *argv: str, cgroups: bool = False, **popen: Any) -> Done:
        """Run a container in the foreground, to its end. `argv` is the command line after `podman run`."""
        return run(self.podman("run", "--rm", *argv, cgroups=cgroups), **popen)


def run(argv: Sequence[str], timeout: float = PATIENCE, **popen: Any) -> Done:
    """Run a command, with an empty stdin unless `popen` says otherwise."""
    popen = {"stdin": subprocess.DEVNULL, **popen} if "input" not in popen else popen
    return subprocess.run(argv, capture_output=True, text=True, timeout=timeout, check=False, **popen)


class Container:
    """A container in the background. Use it as a context manager: at the end it is removed."""

    def __init__(self, engine: Engine, *argv: str, cgroups: bool = False) -> None:
        """Start it. `argv` is the command line after `podman run`."""
        self.engine = engine
        self.name = f"test-{uuid.uuid4().hex[:12]}"
        self._cgroups = cgroups
        self._do("run", "--detach", "--name", self.name, *argv)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            print(self.said)
        self._do("rm", "--force", "--time", "0", self.name)

    def _do(self, *argv: str, timeout: float = PATIENCE) -> str:
        done = run(self.engine.podman(*argv, cgroups=self._cgroups), timeout)
        assert done.returncode == 0, f"{argv} exited {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def inspect(self, what: str) -> str:
        return self._do("inspect", "--format", f"{{{{.{what}}}}}", self.name)

    @property
    def said(self) -> str:
        """What `podman logs` prints: stdout and stderr."""
        done = run(self.engine.podman("logs", self.name, cgroups=self._cgroups))
        return done.stdout + done.stderr

    @property
    def last_line(self) -> str:
        return self.said.splitlines()[-1]

    def hear(self, *words: str) -> None:
        """Wait until all of these stand in the logs."""
        wait_for(lambda: set(words) <= set(self.said.split()))

    def start(self) -> None:
        self._do("start", self.name)

    def kill(self, name: str) -> None:
        """Send a signal to PID 1."""
        self._do("kill", "--signal", name, self.name)

    def execute(self, *argv: str) -> str:
        return self._do("exec", self.name, *argv)

    def execute_last(self, *argv: str) -> None:
        """Run a program that makes the container end. That may kill the program before it has exited."""
        run(self.engine.podman("exec", self.name, *argv, cgroups=self._cgroups))

    def stop(self) -> None:
        """Stop it. What does not end within 10 s is killed by the engine, and exits 137."""
        self._do("stop", self.name)

    def end(self, within: float = PATIENCE) -> int:
        """Wait until it has ended, and return its exit status."""
        return int(self._do("wait", self.name, timeout=within))

    @property
    def init(self) -> int:
        """The pid of its PID 1, inside of the engine's namespaces."""
        return int(self.inspect("State.Pid"))

    def enter(self, *argv: str) -> list[str]:
        """The command line that runs a program of this machine in the network of the container."""
        return [*self.engine.inside, "nsenter", "--target", str(self.init), "--net", "--", *argv]
