"""How many processes the kernel has killed in our cgroup because memory ran out (cgroups(7))."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_V2, _V1 = "/sys/fs/cgroup", "/sys/fs/cgroup/memory"


class Counter:
    """The number of OOM kills in our cgroup when this was made: an earlier run may have had the same cgroup.

    Version 2 counts them in memory.events, with the cgroups below; version 1 in memory.oom_control, since Linux 4.13.
    """

    def __init__(self) -> None:
        self._path = ""
        for path in _counters():
            if (kills := _read(path)) is not None:
                self._path, self._before = path, kills
                break

    def has_grown(self) -> bool:
        """Whether the kernel has counted another one. False if it does not tell."""
        now = _read(self._path)
        return now is not None and now > self._before


def _read(path: str) -> int | None:
    """The value of a counter; None if there is none, or no descriptor is left."""
    try:
        with open(path, "rb") as file:
            return counted(file.read())
    except (OSError, ValueError):
        return None


def counted(data: bytes) -> int:
    """The value of "oom_kill N". Raises ValueError if there is no such line."""
    for line in data.splitlines():
        if line.startswith(b"oom_kill "):
            return int(line.removeprefix(b"oom_kill "))
    raise ValueError("no oom_kill")


def _counters() -> Iterator[str]:
    """Paths of the counter, the likeliest first: a container often sees its own cgroup at the root of the mount."""
    try:
        with open("/proc/self/cgroup", encoding="utf-8", errors="surrogateescape") as file:
            lines = file.read().splitlines()
    except OSError:
        return
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers == "":
            yield from (f"{_V2}{where}/memory.events" for where in (path.rstrip("/"), ""))
        elif "memory" in controllers.split(","):
            yield from (f"{_V1}{where}/memory.oom_control" for where in (path.rstrip("/"), ""))
