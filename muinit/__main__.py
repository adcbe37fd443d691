"""The life of muinit, from its first line to its exit status.

Importing this module blocks every signal. So only a process that becomes muinit may import it.
"""

# Before any other import: from here on the kernel keeps every signal until we ask for it. A signal that comes earlier
# is lost on PID 1, and kills any other process (signal(7), pid_namespaces(7)).
from _signal import SIG_BLOCK, pthread_sigmask, valid_signals

CALLERS_MASK = pthread_sigmask(SIG_BLOCK, valid_signals())

from posix import environ, getppid

PARENT = getppid()

import sys
from _frozen_importlib_external import PathFinder

CALLERS_MASK = getattr(sys.modules["__main__"], "CALLERS_MASK", CALLERS_MASK)  # muinit.pyz has blocked them before us
PARENT = getattr(sys.modules["__main__"], "PARENT", PARENT)

# PYTHON... variables, a sitecustomize and modules in the current folder are for the commands. Did any of them reach
# this interpreter? Until that is known, only modules that are built into Python are imported.

# Variables that change nothing in muinit, each without its leading PYTHON:
_HARMLESS = (
    *(b"", b"UNBUFFERED", b"DONTWRITEBYTECODE", b"HASHSEED", b"IOENCODING", b"UTF8", b"NOUSERSITE", b"SAFEPATH"),
    *(b"NODEBUGRANGES", b"ASYNCIODEBUG", b"BREAKPOINT", b"STARTUP"),
)
# Images invent names that begin with PYTHON_ (PYTHON_VERSION), and those are harmless. Python itself reads only these,
# and some that change nothing in muinit:
_READ = (
    *(b"_GIL", b"_JIT", b"_TLBC", b"_FROZEN_MODULES", b"_LAZY_IMPORTS", b"_PERF_JIT_SUPPORT", b"_PRESITE"),
    *(b"_PYMALLOC_HUGEPAGES", b"_CONTEXT_AWARE_WARNINGS", b"_THREAD_INHERIT_CONTEXT"),
)
# Whether sys.path begins with the folder of the script or, for `python -m`, with the current folder. The option -P,
# which sets safe_path, came with Python 3.11.
_HAS_FOLDER = not (sys.flags.isolated or getattr(sys.flags, "safe_path", False))
# For muinit.pyz it begins with a folder in that file, always. Nothing of the commands is in there.
_IS_ZIP = sys.path[0].startswith(getattr(__spec__ and __spec__.loader, "archive", None) or "\0")


def _is_clean() -> bool:
    """Whether nothing that is meant for the commands has reached this interpreter."""
    if not sys.flags.ignore_environment:
        names = [name[6:] for name, value in environ.items() if value and name.startswith(b"PYTHON")]
        if any(name in _READ if name.startswith(b"_") else name not in _HARMLESS for name in names):
            return False
    # A sitecustomize may have removed the variable that led to it (OpenTelemetry's does), or its folder. Python's own
    # part of sys.path begins with an entry like /usr/lib/python311.zip.
    first = sys.path[int(_HAS_FOLDER or _IS_ZIP)]
    file = getattr(sys.modules.get("sitecustomize"), "__file__", None)
    if not (first.endswith(".zip") and "/python3" in first) or (file and file.rpartition("/")[0] not in sys.path):
        return False
    if user := getattr(sys.modules.get("site"), "USER_SITE", None):  # its usercustomize and .pth files have run
        from os.path import abspath  # site has loaded os

        if abspath(user) in sys.path:
            return False
    if _IS_ZIP or not _HAS_FOLDER:
        return True
    # `python -m` imports a lot before our first line. Did any of that come from the current folder?
    loaded = {name.partition(".")[0] for name in sys.modules} - {*sys.builtin_module_names, "__main__"}
    if __file__.rpartition("/")[0].rpartition("/")[0] in sys.path[1:]:  # a checkout that is also installed
        loaded -= {"muinit", "statechart"}
    specs = (PathFinder.find_spec(name, sys.path[:1]) for name in loaded)
    return not any(spec and spec.origin for spec in specs)


if "muinit" in sys._xoptions or not (sys.flags.isolated or _is_clean()):  # noqa: SLF001
    from muinit import isolated

    CALLERS_MASK, PARENT = isolated.isolate(CALLERS_MASK, PARENT)
elif _HAS_FOLDER and not _IS_ZIP:
    del sys.path[0]

import _signal
import os
from errno import EMFILE, ENFILE, ENOENT, ENOTDIR

from muinit import lastresort, signals
from muinit.options import LABEL_SECONDS, NAME_LENGTH, QUIET, VARIABLE, VERBOSE, Options, parse
from muinit.kernel import Kernel
from statechart.options import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from muinit.oom import Counter
    from muinit.termination import TerminationLog
    from muinit.stderr import Stderr
    from muinit.watch import Watch
    from statechart.events import Ending
    from statechart.lifecycle import Command, Lifecycle


def main() -> int:
    """Be muinit: read sys.argv, start the commands, supervise them; return the exit status."""
    options = log = kernel = None
    sys.stderr = None  # Python writes there about errors in finalizers, and would wait for a reader
    try:
        try:
            options = parse(sys.argv[1:], os.fsdecode(environ.get(VARIABLE.encode(), b"")))
            if options.show:
                return _show(options)
            log = _open_log(options.termination_log)
            trace = _open_trace(options.trace_file)
            kernel = Kernel(_blocked(options))
            return _supervise(kernel, options, trace, log)
        except UsageError as error:
            return _complain(str(error), log or _open_log(error.termination_log))
    except BaseException as error:  # muinit itself is broken. Whatever it is, no process may be left behind.
        stopped, tries = kernel is None or options is None, 0
        while kernel is not None and options is not None and tries < lastresort.TRIES:
            try:
                stopped = kernel.stop_everything(options.timeout)
                break
            except BaseException:  # call it again: it goes on from where it was
                tries += 1
        _finish_labels(kernel)
        return _complain(_internal_error(error, stopped=stopped), log)


def _finish_labels(kernel: Kernel | None) -> None:
    """Let out what the commands wrote before muinit broke."""
    try:
        if kernel is not None:
            kernel.finish_labels(LABEL_SECONDS)
    except BaseException:  # noqa: S110 - there is something worse to say
        pass


def _internal_error(error: BaseException, *, stopped: bool) -> str:
    """What went wrong, and what to do about it. The traceback comes last, because a long line is cut."""
    try:
        what = "out of memory" if isinstance(error, MemoryError) else f"{type(error).__name__}: {error}".rstrip(": ")
        left = "" if stopped else "; not everything that was started could be stopped"
        report = "please report this line, and a trace (--trace-file PATH) if it happens again"
        if isinstance(error, OSError) and error.errno in (EMFILE, ENFILE):
            report = "expected a higher limit of open files (ulimit -n)"
        return f"internal error: {what}{left}; {report}: {_traceback(error)}"
    except BaseException:
        return "internal error"


def _traceback(error: BaseException) -> str:
    try:
        from traceback import format_exception

        return "".join(format_exception(error)).strip().replace("\n", " | ")
    except BaseException:  # the import may need what we have run out of
        return "no traceback"


def _open_log(path: str) -> "TerminationLog | None":
    if not path:
        return None
    from muinit.termination import TerminationLog

    return TerminationLog(path)


def _open_trace(path: str) -> int | None:
    if not path:
        return None
    from muinit import tracefile

    try:
        return tracefile.open_file(path)
    except OSError as error:
        raise UsageError(f"--trace-file '{path}': {error.strerror}") from None


def _supervise(kernel: Kernel, options: Options, trace: int | None, log: "TerminationLog | None") -> int:
    started_at = kernel.now()
    adopts = kernel.adopt_orphans()
    followed = not options.parent_death or kernel.follow_parent(options.parent_death, PARENT)
    inherited = kernel.children()  # a program that became us by exec may have had some
    if options.label:
        _label(kernel, options)
    pids, refusal = _start(kernel, options)
    kernel.all_started()
    early = kernel.reap()[0] if refusal else []

    # While the commands load, so do we: the first command does not wait for that.
    from muinit import oom
    from muinit.stderr import Stderr

    stderr = Stderr()
    say, attempt = stderr.line, stderr.attempt
    memory = attempt("the OOM counter", oom.Counter)  # before a command has had the time to use up the memory

    from muinit.postponed import postpone

    # `transitions` imports `inspect` for a check of models that ours never needs, and `logging` imports `traceback` for
    # errors in its handlers. That would cost every container 1.2 MiB, and 12 of 21 ms (measured, Python 3.11).
    postpone("inspect", "traceback")
    from muinit.loop import Loop
    from statechart.lifecycle import Lifecycle
    from statechart.meanings import NOTHING
    from statechart.words.verdict import Verdict

    attempt("the warnings", lambda: _warn(kernel, say, adopts=adopts, followed=followed, deaf_to=_deaf_to(options)))
    attempt("the termination log", _write, log, "", say)
    kernel.leave_directory()
    meanings = _meanings(kernel, options)
    kernel.catch(number for number, what in meanings.items() if what != NOTHING)

    numbers, step_targets, _ = zip(*options.steps, strict=True)
    lifecycle = Lifecycle(
        _commands(kernel, options, pids),
        numbers,
        options.times,
        options.exit_status,
        options.targets,
        step_targets,
    )
    watch = attempt("the trace", _watch, lifecycle, options, stderr, trace)
    if watch is not None:
        watch.started(sys.argv, meanings, kernel.now() - started_at)
    told = watch.decided if watch else None
    loop = Loop(
        kernel,
        lifecycle,
        meanings,
        say,
        started_at=started_at,
        watch=told,
        attempt=attempt,
        inherited=inherited,
        rewrite=dict(options.rewrite),
    )
    end = loop.run((pids.index(None), _refused(refusal)) if refusal else None, early)
    kernel.take_terminal()
    if lost := attempt("--label", kernel.finish_labels, min(options.timeout, LABEL_SECONDS)):
        say(lost)

    survivors = loop.survivors() if end.gave_up else []
    at = kernel.now() - started_at
    why = attempt("the reason", _why, lifecycle, survivors, at, memory) or f"exit {end.code}"
    if watch is not None:
        watch.ended(end.code, why, survivors, at)
    verdict = Verdict(lifecycle, signals.name)
    asked, silent = options.verbosity == VERBOSE, options.verbosity == QUIET
    if asked or (not silent and (end.code or attempt("the reason", verdict.noteworthy))):
        attempt("the last line", stderr.last_line, why)
    attempt("the termination log", _write, log, why, say)
    return end.code


def _label(kernel: Kernel, options: Options) -> None:
    """Label the output of all commands, but not of one that has the terminal."""
    from statechart.words.text import printable

    names = [
        printable(name or command.argv[0].rpartition("/")[2])[:NAME_LENGTH]
        for name, command in zip(_names(options), options.commands, strict=True)
    ]
    try:
        kernel.label(["", *names[1:]] if kernel.has_terminal else names)
    except OSError as error:
        needs = f"{len(names)} commands need {4 * len(names)} descriptors and a process"
        raise UsageError(
            f"--label: {needs}, but: {error.strerror}; expected a higher limit (ulimit -n, ulimit -u)"
        ) from None


def _blocked(options: Options) -> "set[int]":
    """The signals that our caller has blocked for the commands. With --unblock, its mask is for us alone."""
    return set() if options.unblock else CALLERS_MASK


def _deaf_to(options: Options) -> list[int]:
    """The signals of the stop that the commands cannot hear, because our caller has blocked them."""
    return sorted(_blocked(options) & {signals.SIGTERM, *(number for number, _, _ in options.steps)})


def _warn(kernel: Kernel, say: "Callable[[str], None]", *, adopts: bool, followed: bool, deaf_to: list[int]) -> None:
    """Say what muinit cannot do here."""
    if deaf_to:
        names = ", ".join(map(signals.name, deaf_to))
        lost = f"muinit was started with {names} blocked, and so are its commands: they may not stop when asked"
        say(f"warning: {lost}; use --unblock to start them with no signal blocked")
    if PARENT == 1 and kernel.init_is_deaf:  # `ENTRYPOINT muinit ...` is run by a shell, which stays PID 1
        lost = f"PID 1 ({kernel.name(1)}) does not handle SIGTERM, so stopping the container does not reach muinit"
        say(f"warning: {lost}; start muinit with 'exec muinit', or use ENTRYPOINT [\"muinit\", ...] without a shell")
    if not followed:
        say("warning: prctl(PR_SET_PDEATHSIG) failed: muinit will not notice when its parent dies")
    if not adopts:
        lost = "orphans do not become muinit's children, and may be left behind"
        cure = "run muinit as PID 1, or with a Python whose ctypes works"
        say(f"warning: prctl(PR_SET_CHILD_SUBREAPER) failed: {lost}; {cure}")
    if not kernel.sees_orphans:
        lost = "orphans that left the group of their command are not stopped, and only commands are asked to stop"
        say(f"warning: no /proc of our PID namespace: {lost} before SIGKILL; mount proc on /proc")


def _commands(kernel: Kernel, options: Options, pids: list[int | None]) -> "list[Command]":
    from statechart.lifecycle import Command

    return [
        Command(
            command.argv,
            pid,
            reads_nothing=bool(number) and kernel.has_terminal,
            name=name,
            success=frozenset(options.success + command.success),
            may_end=command.may_end,
            sidecar=command.sidecar,
            steps=command.steps,
            forward={number: target for number, target in command.forward if number in options.named},
        )
        for number, (command, pid, name) in enumerate(zip(options.commands, pids, _names(options), strict=True))
    ]


def _names(options: Options) -> list[str]:
    """The names of the commands that are not those of their programs: given, or with a number to tell them apart."""
    names: list[str] = [command.name for command in options.commands]
    taken = set(names)
    for index, command in enumerate(options.commands):
        if not command.name:
            name = wanted = command.argv[0].rpartition("/")[2]
            number = 1
            while name in taken:
                number += 1
                name = f"{wanted}-{number}"
            taken.add(name)
            names[index] = name if number > 1 else ""
    return names


def _watch(lifecycle: "Lifecycle", options: Options, stderr: "Stderr", trace: int | None) -> "Watch | None":
    """The reports on each decision that the options ask for; None if they ask for none."""
    if not (options.verbosity == VERBOSE or options.trace_states or trace is not None):
        return None
    from muinit.watch import Watch

    return Watch(lifecycle, options, stderr, trace)


def _why(lifecycle: "Lifecycle", survivors: list[str], at: float, memory: "Counter | None") -> str:
    from statechart.words.verdict import Verdict

    killed = any(command.ending and command.ending.death == signals.SIGKILL for command in lifecycle.commands)
    out_of_memory = killed and memory is not None and memory.has_grown()
    return Verdict(lifecycle, signals.name, out_of_memory=out_of_memory).sentence(survivors, at)


def _meanings(kernel: Kernel, options: Options) -> dict[int, str]:
    """What each signal means to this run, by number."""
    from statechart.meanings import meanings

    return meanings(
        signals.by_name(),
        options.forwarded,
        options.stop_on,
        named=options.named,
        init=kernel.is_init,
        terminal=kernel.has_terminal,
        ignored={number for number in signals.ALL if kernel.ignored(number)},
        blocked=_blocked(options),
        rewrite=dict(options.rewrite),
    )


def _start(kernel: Kernel, options: Options) -> tuple[list[int | None], OSError | None]:
    """Start the commands in order. Return their pids, and the error of the one that could not be started.

    Start no more after that one, or once a signal that stops us has come. But always start the first command that is no
    sidecar: its end gives the exit status, and a run that started nothing would look like a success.
    """
    pids: list[int | None] = []
    refusal = None
    stop: list[int] = []
    first = True
    for command in options.commands:
        if not first and not stop:  # the first command does not wait for this
            from statechart.meanings import STOP

            stop = [number for number, meaning in _meanings(kernel, options).items() if meaning == STOP]
        over = refusal is not None or kernel.pending(stop)
        first = first and command.sidecar
        try:
            pids.append(None if over else kernel.spawn(command.argv))
        except OSError as error:
            refusal = error
            pids.append(None)
    return pids, refusal


def _refused(error: OSError) -> "Ending":
    """127 if there is nothing to execute, 126 if it cannot be executed (as POSIX has it for sh, env and nohup)."""
    from statechart.words.text import printable
    from statechart.events import Ending

    missing = error.errno in (ENOENT, ENOTDIR)
    if error.filename2:
        interpreter = f"its interpreter '{printable(str(error.filename2))}'"
        if missing:
            return Ending(127, failure=f"could not be started: {interpreter} was not found")
        return Ending(126, failure=f"could not be executed: {interpreter}: {error.strerror}")
    if missing:
        return Ending(127, failure="was not found")
    return Ending(126, failure=f"could not be executed: {error.strerror}")


def _write(log: "TerminationLog | None", text: str, say: "Callable[[str], None]") -> None:
    """Write the reason for exiting into the termination log, or "" to try whether that works. If it fails, warn."""
    if log is not None:
        try:
            log.write(text)
        except OSError as error:
            say(f"warning: cannot write the termination log {log.path}: {error.strerror}")


def _show(options: Options) -> int:
    """Print on stdout what was asked for in place of a run."""
    from muinit import show

    try:
        show.let_signals_in(_blocked(options))
        # Not sys.stdout: what it cannot write it tries to write again when Python exits, and then the status is 120.
        text, wrong = show.text(options)
        data = text.encode()
        while data:
            data = data[os.write(1, data) :]
    except show.CannotShowError as error:
        return _complain(str(error))
    except BrokenPipeError:  # other programs die of SIGPIPE here, but Python ignores it
        return show.die(_signal.SIGPIPE)
    except OSError as error:
        return _complain(f"cannot write to stdout: {error.strerror}")
    return _complain(wrong) if wrong else 0


def _complain(what: str, log: "TerminationLog | None" = None) -> int:
    """Say what is wrong, and return the exit status for it."""
    say = lastresort.say
    try:
        from muinit.stderr import Stderr

        say = Stderr().line
        say(what)
    except BaseException:  # the import may need what we have run out of
        lastresort.say(what)
    _write(log, what, say)
    return 1


def run() -> "NoReturn":
    """Be muinit, and exit at once. Python's own way out can change the status (PYTHONINSPECT does)."""
    code = 1
    try:
        code = main()
    finally:
        os._exit(code)


if __name__ == "__main__":
    run()
