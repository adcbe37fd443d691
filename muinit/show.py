"""What --help, --version and --diagram print. Loaded only when one of them is asked for."""

from __future__ import annotations

from muinit import usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from muinit.cli import Options


class CannotShowError(Exception):
    """Why not, in one line."""


def text(options: Options) -> str:
    """What was asked for. Raises CannotShow."""
    return usage.TEXT if options.show == "--help" else usage.VERSION
