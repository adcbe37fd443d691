"""What our caller gave us. The commands must get it unchanged, whatever Python and muinit have done since.

The one exception is the variable MUINIT_OPTIONS, which is for muinit alone.

That is: the signal mask, the ignored signals, the environment and the descriptors.
"""

import _signal
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


class Caller:
    """The world as our caller made it. `mask` is the set of signals that it had blocked."""

    def __init__(self, mask: "Iterable[int]") -> None:
        self.mask = mask
        self.environment = _environment()

    def ignored(self, number: int) -> bool:
        """Whether our caller had this signal ignored (`nohup` does)."""
        return bool(_signal.getsignal(number) == _signal.SIG_IGN)


def keep_standard_descriptors_closed() -> None:
    """Occupy each of the numbers 0 to 2 that our caller left closed, so that nothing we open gets one of them.

    A pipe of ours would become our stderr, and we would read our own messages as signals. The commands find these
    numbers closed, as they were: what occupies them closes at exec.
    """
    while (fd := os.open("/", os.O_PATH | os.O_CLOEXEC)) <= 2:
        pass
    os.close(fd)


def _environment() -> dict[str, str]:
    """The environment that muinit was started with.

    Where the locale is "C", as in most containers, Python sets LC_CTYPE in its own environment (PEP 538). What
    execve(2) was given can then be read only in /proc/self/environ.
    """
    environment = dict(os.environ)
    environment.pop("MUINIT_OPTIONS", None)  # it was for us; a muinit inside would write into the same trace
    environment.pop("", None)  # some callers pass "=value", which Python's posix_spawn(3) refuses
    if environment.get("LC_CTYPE") in ("C.UTF-8", "C.utf8", "UTF-8"):
        from muinit.isolated import callers_environment

        given = callers_environment().get(b"LC_CTYPE")
        if given is None:
            del environment["LC_CTYPE"]
        else:
            environment["LC_CTYPE"] = os.fsdecode(given)
    return environment
