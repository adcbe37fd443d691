"""The forms in which muinit comes into a container: installed, and what `make dist` and `make bundle` have built."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.cast.harness import ROOT


class Form:
    """A file or folder of this machine that becomes one of the container, and the command that starts muinit there."""

    def __init__(self, name: str, start: str, built: Path | None = None, inside: str = "") -> None:
        self.name = name
        self.start = start.split()
        self.volumes = [f"--volume={built}:{inside}:ro"] if built else []
        self.exists = built is None or built.exists()


FORMS = (
    Form("installed", "muinit"),
    Form("hardened", "env --block-signal python3 -I -m muinit --unblock"),
    Form("pyz", "/usr/local/bin/muinit.pyz", ROOT / "dist/muinit.pyz", "/usr/local/bin/muinit.pyz"),
    Form("bundle", "/opt/muinit/muinit", ROOT / "dist/muinit", "/opt/muinit"),
)


def existing() -> Iterator[Form]:
    """Those that are there: what was not built is not tested."""
    return (form for form in FORMS if form.exists)
