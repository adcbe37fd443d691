"""Signals that arrive while muinit starts: what becomes of them, and when muinit begins to keep them.

python -m tests.tools.early [--runs N] sends SIGTERM and SIGINT 0 to 60 ms after the exec of muinit, N times each, as
PID 1 and as an ordinary process. It prints what became of them, and how long muinit takes to block its signals. Then
it does the same with `env --block-signal muinit --unblock`, where env blocks them before Python starts.

Before that moment muinit has no say. The kernel drops the signal if the process is PID 1, and otherwise the process
dies of it. As soon as Python has a handler for SIGINT, it turns SIGINT into a KeyboardInterrupt. At some places of its
start it drops that exception: it prints "Failed checking if argv[0] is an import path entry" and goes on. None of this
leaves anything behind.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import signal
import time
from enum import Enum
from pathlib import Path
from statistics import median

from tests.cast.harness import AS_INIT, PATIENCE, Run, is_deaf
from tests.conftest import why_no_namespace
from tests.tools import docs
from tests.tools.progress import progress

TERM, INT, USR1 = signal.SIGTERM, signal.SIGINT, signal.SIGUSR1
BLOCKED = ["env", "--block-signal"]
LONGEST = 60.0  # milliseconds
WINDOWS = 100  # measurements of the window
# This command dies of both signals from its first line on. (Python would print a traceback after an early SIGINT.)
COMMAND = ["sh", "-c", "trap 'echo pong' USR1; echo ready; sleep 60 & while :; do wait; done"]


class Fate(Enum):
    """What became of an early signal."""

    KEPT = "kept and obeyed"
    DROPPED = "dropped"
    KILLED = "ended Python before muinit's first line"


def launch(options: str, *, pid1: bool, blocked: bool) -> Run:
    """Start muinit; if `blocked`, let env block all signals first."""
    prefix = [*(AS_INIT if pid1 else []), *(BLOCKED if blocked else [])]
    return Run(COMMAND, options=f"{options}{' --unblock' if blocked else ''}", prefix=prefix)


def early(number: int, milliseconds: float, *, pid1: bool, blocked: bool = False) -> Fate:
    """Send a signal that many milliseconds after the exec of muinit, or of the env that blocks all signals first.

    muinit must end, and nothing may survive. If the signal was dropped, a SIGTERM that is sent when the command is
    ready must end muinit.
    """
    with launch("--trace-states -s INT,USR1", pid1=pid1, blocked=blocked) as it:
        pid, start = execed(it)
        time.sleep(max(start + milliseconds / 1000 - time.monotonic(), 0))
        os.kill(pid, number)
        deaf = (pid1 or number == INT) and answers(it, pid)
        if deaf:
            os.kill(pid, TERM)
        code = it.end()
        said = it.err
        if deaf:
            fate, right = Fate.DROPPED, [128 + TERM]
        elif "[*] -> RUNNING" not in said:
            fate, right = Fate.KILLED, [128 + number]
            if number == INT:
                right.append(1)  # Python's own code, if KeyboardInterrupt comes before it is fully set up
        else:
            fate, right = Fate.KEPT, [128 + (number if number == INT else TERM)]
        assert code in right, f"{fate} after {milliseconds} ms, but exit {code}: {said}"
        return fate


def execed(it: Run) -> tuple[int, float]:
    """The pid of muinit, and the time on the monotonic clock when its exec was seen."""
    if not it.pid1:
        return it.process.pid, it.started  # Popen returns after the exec
    children = Path(f"/proc/{it.process.pid}/task/{it.process.pid}/children")
    pid = ""
    command_line = b""
    deadline = time.monotonic() + PATIENCE
    while not command_line or command_line.startswith(AS_INIT[0].encode()):  # no sleep: this is measured
        assert time.monotonic() < deadline, "muinit does not start"
        pid = pid or children.read_text().strip()
        command_line = Path(f"/proc/{pid}/cmdline").read_bytes() if pid else b""
    return int(pid), time.monotonic()


def answers(it: Run, pid: int) -> bool:
    """Whether muinit lives on as if no signal had come; false once it has ended.

    Its command becomes ready, and answers a forwarded signal, twice. Between the two answers, muinit acts on every
    signal that came before the first one.
    """
    if it.line_or_end() is None:
        return False
    for _ in range(2):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, USR1)
        if it.line_or_end() is None:
            return False
    return True


def window(*, pid1: bool, blocked: bool) -> float | None:
    """Milliseconds from the exec of muinit, or of env, to the moment when it blocks its signals.

    None if that moment was missed: on a busy machine we may not run in the few milliseconds until muinit waits.
    """
    with launch("-q", pid1=pid1, blocked=blocked) as it:
        pid, start = execed(it)
        deaf = False
        while not deaf and time.monotonic() < start + 1:  # no sleep: this is measured
            deaf = is_deaf(pid)
        milliseconds = (time.monotonic() - start) * 1000
        assert it.line() == "ready"
        os.kill(pid, TERM)
        assert it.end() == 128 + TERM
        return milliseconds if deaf else None


def main() -> None:
    """Measure, and print the results in Markdown."""
    parser = argparse.ArgumentParser(prog="python -m tests.tools.early", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=500, metavar="N", help="runs per signal and mode; default: 500")
    parser.add_argument("--write", action="store_true", help="write the results into docs/measurements.md")
    options = parser.parse_args()
    runs = options.runs
    lines: list[str] = []
    why = why_no_namespace()
    modes = {
        f"{name}{', after env' if blocked else ''}": {"pid1": pid1, "blocked": blocked}
        for name, pid1 in [("PID 1", True), ("an ordinary process", False)]
        for blocked in (False, True)
        if not (pid1 and why)
    }
    lines.append(f"| as | signal | runs | {' | '.join(fate.value for fate in Fate)} | latest signal not kept |")
    lines.append("|" + " --- |" * (4 + len(Fate)))
    delays = [LONGEST * run / max(runs - 1, 1) for run in range(runs)]
    with progress("runs", len(modes) * (2 * runs + WINDOWS), ticking=False) as count:
        for mode, how in modes.items():
            for number in (TERM, INT):
                fates = [early(number, delay, **how) for delay in count(delays)]
                counts = " | ".join(str(fates.count(fate)) for fate in Fate)
                lost = [delay for delay, fate in zip(delays, fates, strict=True) if fate is not Fate.KEPT]
                latest = max(lost, default=0)
                lines.append(f"| {mode} | {signal.Signals(number).name} | {runs} | {counts} | {latest:.1f} ms |")
        lines.append("")
        for mode, how in modes.items():
            times = sorted(seen for _ in count(range(WINDOWS)) if (seen := window(**how)) is not None)
            lines.append(
                f"As {mode}: all signals are blocked {median(times):.1f} ms after the exec "
                f"(median of {len(times)}; 9 of 10 within {times[len(times) * 9 // 10 - 1]:.1f} ms)."
            )
    lines.append(
        f"Each run ended, and nothing survived. Measured with Python {platform.python_version()} "
        f"on Linux {platform.release().partition('-')[0]}, {os.cpu_count()} cores."
    )
    if why:
        lines.append(f"Not as PID 1: {why}")
    print("\n".join(lines))
    if options.write:
        docs.write({"early": "\n".join(lines)})


if __name__ == "__main__":
    main()
