"""How many processes the kernel has killed in our cgroup because memory ran out (cgroups(7))."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_V2, _V1 = "/sys/fs/cgroup", "/sys/fs/cgroup/memory"


def kills() -> int | None:
    """The number of OOM kills in our cgroup since it was made; None if the kernel does not tell.

    Version 2 counts them in memory.events, with the cgroups below; version 1 in memory.oom_control, since Linux 4.13.
    """
    for path in _counters():
        try:
            with open(path, "rb") as file:
                return counted(file.read())
        except (OSError, ValueError):
            pass
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
