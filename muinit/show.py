"""What --help, --version and --diagram print. Loaded only when one of them is asked for."""

from __future__ import annotations

import _signal

from muinit import signals, usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from muinit.cli import Options


class CannotShowError(Exception):
    """Why not, in one line."""


def text(options: Options) -> str:
    """What was asked for. Raises CannotShowError."""
    if options.show == "--diagram":
        return _diagram(options)
    return usage.TEXT if options.show == "--help" else usage.VERSION


def _diagram(options: Options) -> str:
    """The lifecycle with these options, in the format that they name. Raises CannotShowError."""
    from statechart import unfold
    from statechart.meanings import FORWARD, STOP, meanings

    meaning = meanings(signals.by_name(), options.forward, options.stop_on, init=True)
    unfolded = unfold.Unfolded(
        options.steps,
        options.timeout,
        [number for number, what in meaning.items() if what == FORWARD],
        signals.name,
        commands=1 if len(options.commands) == 1 else 2,
        stop=[number for number, what in meaning.items() if what == STOP],
    )
    if options.diagram == "svg":
        return _svg(unfold.dot(unfolded))
    output = {"mermaid": unfold.mermaid, "dot": unfold.dot, "table": unfold.table}[options.diagram]
    return output(unfolded) + "\n"


def _svg(graph: str) -> str:
    """The graph as Graphviz draws it. Raises CannotShowError."""
    import subprocess

    try:
        done = subprocess.run(
            ["dot", "-Tsvg"],  # noqa: S607
            input=graph.encode(),
            capture_output=True,
            check=False,
            preexec_fn=_unblock,
        )
    except FileNotFoundError:
        what = "--diagram svg needs dot, which is not in PATH: install the package graphviz,"
        raise CannotShowError(f"{what} or take --diagram dot and draw it elsewhere, with dot -Tsvg") from None
    except OSError as error:
        raise CannotShowError(f"--diagram svg: dot cannot be executed: {error.strerror}") from None
    if done.returncode:
        how = f"exited {done.returncode}" if done.returncode > 0 else f"died of {signals.name(-done.returncode)}"
        said = done.stderr.decode(errors="replace").strip().replace("\n", " | ") or "nothing"
        raise CannotShowError(f"--diagram svg: dot {how} and said: {said}")
    return done.stdout.decode(errors="replace")


def _unblock() -> None:
    """Let dot have its signals, such as that of Ctrl-C: what we block, as everything, is inherited."""
    _signal.pthread_sigmask(_signal.SIG_UNBLOCK, signals.ALL)
