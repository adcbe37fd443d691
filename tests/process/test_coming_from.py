"""What the tables of the pages promise to people who come from other inits, row by row, on real processes."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pytest

from muinit.options import POLICIES
from tests.cast.harness import MUINIT, PATIENCE, ROOT, Run, kid, wait_for

PAGES = ROOT / "docs"


class Row(NamedTuple):
    """A row of the page: a command line of another program, ours, and what it does."""

    wrote: str
    here: str
    does: str

    def argv(self, **commands: list[str]) -> list[str]:
        """Our command line, with these commands in place of X and Y."""
        program, *words = shlex.split(self.here)
        assert program == "muinit"
        assert {word for word in words if word in ("X", "Y")} == set(commands)
        return [*MUINIT, *(part for word in words for part in commands.get(word, [word]))]

    def run(self, **commands: list[str]) -> Run:
        """Start it."""
        return Line(self.argv(**commands))

    def said(self, **commands: list[str]) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        argv = self.argv(**commands)
        return subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE, check=False)

    def longest(self) -> str:
        """The first line of its diagram: how long a stop can take."""
        options = shlex.split(self.here.partition(" --")[0])[1:]
        argv = [*MUINIT, "--diagram", "table", *options]
        return (
            subprocess.run(argv, capture_output=True, text=True, check=True).stdout.partition(";")[0].partition(":")[0]
        )


class Line(Run):
    """A run of a whole command line."""

    def __init__(self, argv: list[str]) -> None:
        self.program = argv
        super().__init__()


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def code(cell: str) -> str:
    """A cell without the marks around each piece of code."""
    return cell.replace("`", "")


def table(page: str, head: str) -> list[list[str]]:
    """The cells of the tables with this head."""
    text = (PAGES / page).read_text()
    found = re.findall(rf"^\| {re.escape(head)} \|.*\n\| ---.*\n((?:\|.*\n)+)", text, flags=re.MULTILINE)
    return [cells(line) for rows in found for line in rows.splitlines()]


ROWS = [Row(code(wrote), code(here), does) for wrote, here, does in table("coming-from.md", "you wrote")]

Check = Callable[[Row], None]


# The checks


def passes_everything_on(row: Row) -> None:
    """Signals that others would die of, and SIGTERM more than once; nothing is killed."""
    with row.run(X=kid("X", "HUP=say", "QUIT=say", "WINCH=say", "RTMIN+3=say", "TERM=say", "USR1=exit 7")) as it:
        it.ready("X")
        for name, number in [("HUP", 1), ("QUIT", 3), ("WINCH", 28), ("RTMIN+3", 37), ("TERM", 15), ("TERM", 15)]:
            it.signal(number)
            it.hear(f"X {name}")
        it.signal(signal.SIGUSR1)
        it.hear("X USR1")
        assert it.end() == 7
    never_kills(row)


def never_kills(row: Row) -> None:
    """As tini, dumb-init and catatonit, which only pass on signals."""
    assert row.longest() == "A stop can take for ever"
    assert Row("", row.here.replace(" -t inf", ""), "").longest().startswith("A stop takes at most ")


def adopts_and_reaps(row: Row) -> None:
    never_kills(row)
    with row.run(X=kid("X", "orphan O,exit 0", "TERM=exit 0")) as it:
        it.ready("X", "O")
        wait_for(lambda: it.is_reaped("O"))
        it.stop("X")


def counts_143_as_0(row: Row) -> None:
    assert row.said(X=["sh", "-c", "exit 143"]).returncode == 0
    assert row.said(X=["sh", "-c", "exit 142"]).returncode == 142
    with row.run(X=kid("X")) as it:
        it.ready("X")
        it.signal(signal.SIGTERM)
        assert it.end() == 0


def follows_its_parent(row: Row) -> None:
    command = shlex.join(row.argv(X=kid("X", "TERM=exit 0")))
    with subprocess.Popen(
        ["sh", "-c", f"{command} & read go"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as shell:
        assert shell.stdout is not None
        assert shell.stdout.readline().startswith(b"X ready")
        shell.kill()
        assert shell.stdout.readline() == b"X TERM\n"
        assert shell.stdout.read() == b""


def reaches_the_group(row: Row) -> None:
    """SIGTERM too: X keeps it to itself, and ends only when its child has ended."""
    never_kills(row)
    with row.run(X=kid("X", "HUP=ignore", "TERM=ignore", "CHLD=exit 0", "kid Y,HUP=say,TERM=exit 0")) as it:
        it.ready("X", "Y")
        it.signal(signal.SIGHUP)
        it.hear("Y HUP")
        it.signal(signal.SIGTERM)
        it.hear("Y TERM", "X CHLD")
        assert it.end() == 0


def says_what_happens(row: Row) -> None:
    commands = {name: ["sh", "-c", "exit 0"] for name in ("X", "Y") if f" {name}" in row.here}
    done = row.said(**commands)
    assert done.returncode == 0
    assert re.search(r"^muinit: started pid \d+ \(sh -c exit 0\)$", done.stderr, flags=re.MULTILINE)
    assert "\nmuinit: exit 0: " in done.stderr
    assert done.stdout == ""


def says_what_it_reaped(row: Row) -> None:
    with row.run(X=kid("X", "orphan O,exit 0", "TERM=exit 0")) as it:
        it.ready("X", "O")
        wait_for(lambda: f"muinit: reaped pid {it.pids['O']} " in it.err)
        it.stop("X")


def stops_one_with_quit(row: Row) -> None:
    with row.run(X=kid("X", "QUIT=exit 0", "TERM=say"), Y=kid("Y", "QUIT=say", "TERM=exit 0")) as it:
        it.ready("X", "Y")
        it.signal(signal.SIGTERM)
        it.hear("X QUIT", "Y TERM")
        assert it.end() == 0


def stops_with_quit_alone(row: Row) -> None:
    never_kills(row)
    with row.run(X=kid("X", "QUIT=exit 0", "TERM=say")) as it:
        it.ready("X")
        it.signal(signal.SIGTERM)
        it.hear("X QUIT")
        assert it.end() == 0


def stops_with_quit(row: Row) -> None:
    names = ["X", "Y"]
    with row.run(**{name: kid(name, "QUIT=exit 0", "TERM=say") for name in names}) as it:
        it.ready(*names)
        it.signal(signal.SIGTERM)
        it.hear(*(f"{name} QUIT" for name in names))
        assert it.end() == 0
    with row.run(**{name: kid(name, "QUIT=ignore") for name in names}) as it:
        it.ready(*names)
        it.signal(signal.SIGTERM)
        assert it.end() == 137


def rewrites(row: Row) -> None:
    never_kills(row)
    with row.run(X=kid("X", "INT=say", "QUIT=say", "TERM=exit 0")) as it:
        it.ready("X")
        it.signal(signal.SIGINT)
        it.hear("X QUIT")
        it.stop("X")


def drops(row: Row) -> None:
    never_kills(row)
    with row.run(X=kid("X", "HUP=say", "USR1=say", "TERM=exit 0")) as it:
        it.ready("X")
        it.signal(signal.SIGHUP)
        it.signal(signal.SIGUSR1)
        it.hear("X USR1")
        it.stop("X")


def waits_for_sigint(row: Row) -> None:
    with row.run() as it:
        children = Path(f"/proc/{it.process.pid}/task/{it.process.pid}/children")
        wait_for(lambda: children.read_text().split())
        assert it.process.poll() is None
        it.signal(signal.SIGINT)
        assert it.end() == 143
        assert "SIGINT had told muinit to stop" in it.err


def one_end_stops_the_other(row: Row) -> None:
    for rule, expected in (("USR1=exit 0", 0), ("USR1=exit 3", 3)):
        for first, second in (("X", "Y"), ("Y", "X")):
            with row.run(**{first: kid(first, rule), second: kid(second, "TERM=die")}) as it:
                it.ready("X", "Y")
                it.kill(first, signal.SIGUSR1)
                it.hear(f"{first} USR1", f"{second} TERM")
                assert it.end() == expected


def has_a_shell(row: Row) -> None:
    done = row.said(Y=["sleep", "60"])
    assert (done.returncode, done.stdout) == (0, f"{os.environ['HOME']}\n")


def each_runs_to_its_end(row: Row) -> None:
    with row.run(X=kid("X", "USR1=exit 0"), Y=kid("Y", "INT=say", "USR1=exit 0", "TERM=say")) as it:
        it.ready("X", "Y")
        it.kill("X", signal.SIGUSR1)
        it.hear("X USR1")
        wait_for(lambda: it.is_reaped("X"))
        it.signal(signal.SIGINT)
        it.hear("Y INT")
        it.kill("Y", signal.SIGUSR1)
        it.hear("Y USR1")
        assert it.end() == 0


def runs_each_to_its_end_by_name(row: Row) -> None:
    done = row.said(X=["echo", "one"], Y=["sh", "-c", "sleep 0.3; echo two"])
    assert (done.returncode, done.stdout) == (0, "web | one\ndb  | two\n")
    done = row.said(X=["sh", "-c", "exit 3"], Y=["sleep", "60"])
    assert done.returncode == 3
    assert "(web -c exit 3) exited 3" in done.stderr
    assert "(db 60) died of muinit's SIGTERM" in done.stderr


def only_a_failure_stops_the_other(row: Row) -> None:
    each_runs_to_its_end(row)
    with row.run(X=kid("X", "USR1=exit 4"), Y=kid("Y", "TERM=exit 0")) as it:
        it.ready("X", "Y")
        it.kill("X", signal.SIGUSR1)
        it.hear("X USR1", "Y TERM")
        assert it.end() == 4


def takes_the_first_end(row: Row) -> None:
    for first, second in (("X", "Y"), ("Y", "X")):
        for rule, expected in (("USR1=exit 0", 0), ("USR1=exit 3", 3)):
            with row.run(**{first: kid(first, rule), second: kid(second, "TERM=exit 5")}) as it:
                it.ready("X", "Y")
                it.kill(first, signal.SIGUSR1)
                it.hear(f"{first} USR1", f"{second} TERM")
                assert it.end() == expected


def kills_after_half_a_second(row: Row) -> None:
    with row.run(X=kid("X", "USR1=exit 0"), Y=kid("Y", "TERM=ignore")) as it:
        it.ready("X", "Y")
        it.kill("X", signal.SIGUSR1)
        it.hear("X USR1")
        assert it.end() == 0
        assert re.search(r"died of muinit's SIGKILL \(137\), [\d.]+ s into step 2 of 2", it.err)
        assert it.seconds > 0.5
    assert row.longest() == "A stop takes at most 2 s"


def calls_it_by_its_name(row: Row) -> None:
    done = row.said(X=["sh", "-c", "exit 3"])
    assert done.returncode == 3
    assert "(web -c exit 3) exited 3" in done.stderr


def counts_2_of_one_as_0(row: Row) -> None:
    exits, waits = ["sh", "-c", "exit 2"], ["sleep", "60"]
    assert row.said(X=exits, Y=waits).returncode == 0
    assert row.said(X=waits, Y=exits).returncode == 2


def has_ten_seconds(row: Row) -> None:
    assert row.longest() == "A stop takes at most 30 s"  # for two steps, and once more for those not asked before
    assert row.said(X=["sh", "-c", "exit 3"]).returncode == 3


def stops_one_first(row: Row) -> None:
    with row.run(X=kid("X", "TERM=say", "USR1=exit 0"), Y=kid("Y", "TERM=exit 0")) as it:
        it.ready("X", "Y")
        it.signal(signal.SIGTERM)
        it.hear("X TERM")
        it.kill("X", signal.SIGUSR1)
        it.hear("X USR1", "Y TERM")
        assert it.end() == 0


def stops_the_groups(row: Row) -> None:
    with row.run(
        X=kid("X", "TERM=ignore", "CHLD=exit 0", "kid A,TERM=exit 0"),
        Y=kid("Y", "TERM=ignore", "CHLD=exit 0", "kid B,TERM=exit 0"),
    ) as it:
        it.ready("X", "A", "Y", "B")
        it.signal(signal.SIGTERM)
        it.hear("A TERM", "X CHLD", "B TERM", "Y CHLD")
        assert it.end() == 0


def has_a_variable(row: Row) -> None:
    assert row.said(X=["sh", "-c", "echo $A"], Y=["sleep", "60"]).stdout == "B\n"


def starts_in_a_folder(row: Row) -> None:
    assert row.said(X=["pwd"], Y=["sleep", "60"]).stdout == "/srv\n"


def becomes_another_user(row: Row) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    assert row.said(X=["id", "-un"], Y=["sleep", "60"]).stdout == "nobody\n"


def writes_where_muinit_writes(row: Row) -> None:
    assert row.said(X=["echo", "X"], Y=["sleep", "60"]).stdout == "X\n"


def follows_its_command(row: Row) -> None:
    for code in (0, 3):
        with row.run(X=kid("X", f"USR1=exit {code}"), Y=kid("Y", "TERM=exit 5")) as it:
            it.ready("X", "Y")
            it.kill("X", signal.SIGUSR1)
            it.hear("X USR1", "Y TERM")
            assert it.end() == code


def starts_one_after_the_other(row: Row) -> None:
    """X and Y are programs in PATH here."""
    for code, said in ((0, "X\nY\n"), (3, "X\n")):
        with TemporaryDirectory() as folder:
            for name, then in (("X", code), ("Y", 4)):
                path = Path(folder) / name
                path.write_text(f"#!/bin/sh\necho {name}\nexit {then}\n")
                path.chmod(0o755)
            argv, env = row.argv(), {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
            done = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE, check=False, env=env)
        assert (done.returncode, done.stdout) == (code or 4, said)


def starts_nothing_again(row: Row) -> None:
    with row.run(X=kid("X", "USR1=exit 3"), Y=kid("Y", "TERM=exit 0")) as it:
        it.ready("X", "Y")
        it.kill("X", signal.SIGUSR1)
        it.hear("X USR1", "Y TERM")
        assert it.line_or_end() is None
        assert it.end() == 3


CHECKS: dict[str, Check] = {
    "tini -- X": passes_everything_on,
    "tini -s -- X": adopts_and_reaps,
    "tini -e 143 -- X": counts_143_as_0,
    "tini -p SIGTERM -- X": follows_its_parent,
    "tini -v -- X": says_what_happens,
    "tini -g -- X": reaches_the_group,
    "tini -w -- X": says_what_it_reaped,
    "dumb-init X": reaches_the_group,
    "dumb-init --single-child X": passes_everything_on,
    "dumb-init -c -r 15:3 X": stops_with_quit_alone,
    "dumb-init -c --rewrite 2:3 X": rewrites,
    "dumb-init -c -r 1:0 X": drops,
    "dumb-init -c -v X": says_what_happens,
    "catatonit -- X": passes_everything_on,
    "catatonit -P": waits_for_sigint,
    "multirun X Y": one_end_stops_the_other,
    "multirun -v X Y": says_what_happens,
    "multirun 'echo $HOME' Y": has_a_shell,
    "concurrently --names web,db X Y": runs_each_to_its_end_by_name,
    "concurrently --kill-others X Y": one_end_stops_the_other,
    "concurrently --kill-others-on-fail X Y": only_a_failure_stops_the_other,
    "concurrently --kill-others --success first X Y": takes_the_first_end,
    "concurrently --kill-others --kill-timeout 500 X Y": kills_after_half_a_second,
    "[program:web], command=X": calls_it_by_its_name,
    "exitcodes=0,2": counts_2_of_one_as_0,
    "stopsignal=QUIT": stops_with_quit,
    "stopsignal=QUIT of one program": stops_one_with_quit,
    "stopwaitsecs=10": has_ten_seconds,
    "priority=": stops_one_first,
    "stopasgroup=true": stops_the_groups,
    'environment=A="B"': has_a_variable,
    "directory=/srv": starts_in_a_folder,
    "user=nobody": becomes_another_user,
    "stdout_logfile=/dev/stdout": writes_where_muinit_writes,
    "autorestart=true": starts_nothing_again,
    "web/run that executes X": calls_it_by_its_name,
    "a finish script that halts the container": one_end_stops_the_other,
    "X as CMD, Y as a service": follows_its_command,
    "down-signal with SIGQUIT": stops_one_with_quit,
    "timeout-kill with 10000": has_ten_seconds,
    "a oneshot X on which Y depends": starts_one_after_the_other,
    "s6-setuidgid nobody X": becomes_another_user,
}


def test_every_row_has_a_check() -> None:
    assert [row.wrote for row in ROWS] == [*CHECKS]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.wrote)
def test_a_row_does_what_it_says(row: Row) -> None:
    assert row.does
    CHECKS[row.wrote](row)


# The table of policies in exit-status.md


@pytest.mark.parametrize("cells", table("exit-status.md", "`--exit-status`"), ids=lambda cells: cells[0])
def test_a_policy_gives_the_exit_status_that_the_page_says(cells: list[str]) -> None:
    policy, _, dies, exits_3 = cells
    option = ["--exit-status", code(policy).partition(",")[0]]
    for rule, expected in (("TERM=die", dies), ("TERM=exit 3", exits_3)):
        with Line([*MUINIT, *option, "---", *kid("A", "USR1=exit 0"), "---", *kid("B", rule)]) as it:
            it.ready("A", "B")
            it.kill("A", signal.SIGUSR1)
            it.hear("A USR1", "B TERM")
            assert it.end() == int(expected)


def test_the_table_has_every_policy() -> None:
    rows = table("exit-status.md", "`--exit-status`")
    assert [code(row[0]).partition(",")[0] for row in rows] == [*POLICIES]
