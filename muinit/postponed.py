"""Modules that a library imports and muinit hardly ever uses: they are loaded when something is asked of them."""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def postpone(*names: str) -> None:
    """Let `import` give stand-ins for these modules, if they are not loaded yet, until something is asked of them."""
    for name in names:
        sys.modules.setdefault(name, _StandIn(name))


class _StandIn(type(sys)):  # type: ignore[misc]  # the type of modules
    """Loads the module in whose place it stands when an attribute is asked for, and gives that of the module."""

    def __getattr__(self, attribute: str) -> "Any":
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(__import__(self.__name__), attribute)
