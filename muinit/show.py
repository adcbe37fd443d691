"""What --help, --version and --diagram print. Loaded only if one of them is asked for."""

from __future__ import annotations

import _signal
import os

from muinit import help as usage
from muinit import signals
from muinit.options import FORMATS, LABEL_SECONDS
from statechart.words.text import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from muinit.options import CommandLine, Options

SCOPES = {"child": "", "group": " and its process group", "tree": " and its descendants"}


class CannotShowError(Exception):
    """The reason why it cannot be shown, in one line."""


def let_signals_in(mask: Iterable[int]) -> None:
    """Unblock the signals that our caller had not blocked: from now on they end muinit, as they end any program."""
    from statechart.meanings import FORWARD, STOP, meanings

    # The kernel shields PID 1 from signals that it does not handle.
    action = _exit if os.getpid() == 1 else _signal.SIG_DFL
    for number, what in meanings(signals.by_name(), init=False).items():
        if what in (FORWARD, STOP) and _signal.getsignal(number) != _signal.SIG_IGN:
            _signal.signal(number, action)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, mask)


def _exit(signum: int, _frame: object) -> None:
    os._exit(128 + signum)


def die(signum: int) -> int:
    """Die of a signal, as any program does. PID 1 cannot: return the exit status that says so."""
    _signal.signal(signum, _signal.SIG_DFL)
    os.kill(os.getpid(), signum)
    return 128 + signum


def text(options: Options) -> tuple[str, str]:
    """The text that was asked for, and what is wrong with it, or "". Raises CannotShowError."""
    if options.show in FORMATS:
        return _diagram(options)
    return usage.TEXT if options.show == "help" else usage.VERSION, ""


def _diagram(options: Options) -> tuple[str, str]:
    """The lifecycle with these options, in the format that they name. Raises CannotShowError."""
    from statechart.meanings import FORWARD, STOP, meanings
    from statechart.pictures import search
    from statechart.words.phrases import seconds

    rewrite = dict(options.rewrite)
    meaning = meanings(
        signals.by_name(), options.forwarded, options.stop_on, named=options.named, init=True, rewrite=rewrite
    )
    unfolded = search.Unfolded(
        [number for number, _, _ in options.steps],
        options.times,
        [number for number, what in meaning.items() if what == FORWARD and number not in options.named],
        signals.name,
        commands=["may-end" if it.may_end else "sidecar" if it.sidecar else "" for it in options.commands],
        policy=options.exit_status,
        stop=[number for number, what in meaning.items() if what == STOP],
        targets=options.targets,
        step_targets=[target for _, target, _ in options.steps],
        output=min(options.timeout, LABEL_SECONDS) if options.label else 0.0,
        notes=[note for command in options.commands for note in _notes(command)],
    )
    too_long = ""
    if options.within is not None and unfolded.longest > options.within:
        too_long = f"--within {options.within:g}: a stop can take {seconds(unfolded.longest)}; expected fewer steps, a"
        too_long += " shorter --timeout, or a longer limit of the platform"
    if options.show == "svg":
        return _svg(search.dot(unfolded)), too_long
    output = {"mermaid": search.mermaid, "dot": search.dot, "table": search.table}[options.show]
    return output(unfolded) + "\n", too_long


def _notes(command: CommandLine) -> Iterable[str]:
    """What the options of one command change, in sentences."""
    name = printable(command.name or command.argv[0])
    for step, (number, target) in enumerate(command.steps, 1):
        yield f"In step {step}, {signals.name(number)} goes to {name}{SCOPES[target]}."
    for number, target in command.forward:
        yield f"{signals.name(number)} is forwarded to {name}{SCOPES[target]}."


def _svg(graph: str) -> str:
    """The graph as Graphviz draws it. Raises CannotShowError."""
    import subprocess

    from muinit.children import PR_SET_PDEATHSIG, prctl

    try:
        done = subprocess.run(
            ["dot", "-Tsvg"],  # noqa: S607
            input=graph.encode(),
            capture_output=True,
            check=False,
            preexec_fn=lambda: prctl(PR_SET_PDEATHSIG, signals.SIGKILL),  # it does not outlive us
        )
    except FileNotFoundError:
        what = "--diagram svg needs dot, which is not in PATH: install the package graphviz,"
        raise CannotShowError(f"{what} or use --diagram dot and draw it elsewhere with dot -Tsvg") from None
    except OSError as error:
        raise CannotShowError(f"--diagram svg: dot cannot be executed: {error.strerror}") from None
    if done.returncode:
        from statechart.events import Ending
        from statechart.words.phrases import ending

        how = ending(Ending(done.returncode, max(-done.returncode, 0)), signals.name)
        said = done.stderr.decode(errors="replace").strip().replace("\n", " | ") or "nothing"
        raise CannotShowError(f"--diagram svg: dot {how} and said: {said}")
    return done.stdout.decode(errors="replace")
