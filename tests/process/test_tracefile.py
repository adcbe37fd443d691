"""--trace-file: what the trace contains, and that muinit never waits for its reader."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import stat
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from muinit.tracefile import TraceFile
from statechart.chart import State
from statechart.traces.read import read
from statechart.traces.replay import replay
from tests.cast import traces
from tests.cast.harness import AS_INIT, MUINIT, PATIENCE, Run, kid, wait_for
from tests.conftest import need, why_no_namespace
from tests.process.test_anywhere import PROCESS, within


def test_a_run_is_written_down(run: Callable[..., Run], tmp_path: Path) -> None:
    """Each kind of event is a line that follows the schema, and a replay leads to the same states and effects."""
    path = tmp_path / "run.jsonl"
    family = kid("A", "USR1=say", "TERM=say", "INT=exit 4", "orphan O,USR1=say,TERM=ignore,INT=ignore")
    other = kid("B", "USR1=say", "TERM=exit 7")
    options = f"-k TERM,INT,KILL -t 1 -s USR1 --trace-file {path}"
    with run(family, other, options=options) as it:
        it.ready("A", "B", "O")
        it.signal(signal.SIGUSR1)
        it.hear("A USR1", "B USR1", "O USR1")
        it.kill("B", signal.SIGTERM)
        it.hear("B TERM", "A TERM", "A INT")
        assert it.end() == 7
        header, *events, end = traces.of(path)
        assert header["steps"] == ["SIGTERM", "SIGINT", "SIGKILL"]
        assert (header["times"], header["forward"]) == ([1.0] * 3, ["SIGUSR1"])
        assert header["argv"] == [*MUINIT, *options.split(), "---", *family, "---", *other]
        assert [command["pid"] for command in header["commands"]] == [it.pids["A"], it.pids["B"]]
        assert header["commands"][0]["argv"] == family
        assert header["pid"] == (1 if it.pid1 else it.process.pid)
        assert {"forward", "command_ended", "orphans_adopted", "orphans_ended", "timeout", "drained"} == {
            event["event"] for event in events
        }
        adopted = [(each["pid"], each["name"]) for event in events for each in event.get("adopted", ())]
        assert any(pid == it.pids["O"] and name.startswith("python") for pid, name in adopted)
        died = [each for event in events for each in event.get("endings", ()) if each.get("pid") == it.pids["O"]]
        assert [(each["code"], each["signal"]) for each in died] == [(137, "SIGKILL")]
        assert it.err == f"muinit: {end['why']}\n"
        assert end["exit"] == 7


def test_a_file_that_is_emptied_during_the_run_has_no_hole(tmp_path: Path) -> None:
    """With copytruncate logrotate empties a file; the next line is written at its beginning, not at the old offset."""
    path = tmp_path / "run.jsonl"
    with Run(kid("A", "INT=say", "TERM=exit 3"), options=f"--trace-file {path}") as it:
        it.ready("A")
        it.signal(signal.SIGINT)
        it.hear("A INT")
        wait_for(lambda: b'"forward"' in path.read_bytes().partition(b"\n")[2])
        os.truncate(path, 0)
        it.signal(signal.SIGTERM)
        assert it.end() == 3
    assert path.read_bytes().startswith(b'{"t":')


def test_people_and_programs_are_told_the_same(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    options = f"-q -t 0.1 --trace-states --trace-file {path}"
    with Run(kid("A", "exit 3"), kid("B", "TERM=ignore"), options=options) as it:
        assert it.end() == 3
        told = [line.removeprefix("muinit: ") for line in it.err.splitlines()]
        assert told[1:] == traces.as_told(path)
        assert len(told) > 3


def test_an_infinite_timeout_is_null(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    with Run(kid("A", "TERM=exit 0"), options=f"-t inf --trace-file {path}") as it:
        it.ready("A")
        it.signal(signal.SIGTERM)
        assert it.end() == 0
    header, *events, _ = traces.of(path)
    assert header["times"] == [None, None]
    assert events[0]["effects"][1] == {"effect": "clock", "seconds": None}


def test_a_line_is_ascii_whatever_the_command_line_contains(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    argv = ["sh", "-c", "exit 0", "a\nb", "\udcff\udc80", "\u2028</script>", "\x1b[2J"]
    subprocess.run([*MUINIT, "--trace-file", path, "---", *argv], check=True)
    assert path.read_bytes().isascii()
    assert traces.of(path)[0]["commands"][0]["argv"] == argv


def test_each_line_is_written_at_once(tmp_path: Path) -> None:
    """A trace is complete up to the moment at which muinit gets SIGKILL."""
    path = tmp_path / "run.jsonl"
    with Run(kid("A", "USR1=say"), options=f"-s USR1 --trace-file {path}") as it:
        it.ready("A")
        it.signal(signal.SIGUSR1)
        it.hear("A USR1")
        lines = path.read_text().splitlines(keepends=True)
        assert [json.loads(line).get("event") for line in lines] == [None, "forward"]
        it.signal(signal.SIGKILL)
        it.process.wait(PATIENCE)
        os.kill(it.pids["A"], signal.SIGKILL)
        wait_for(lambda: not it.survivors())
    with path.open() as file:
        assert replay(read(file)).state is State.RUNNING


def test_an_old_trace_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_text("old\n" * 10000)
    subprocess.run([*MUINIT, "--trace-file", path, "---", "true"], check=True)
    traces.of(path)


# A descriptor


def test_a_descriptor_for_the_trace_is_not_passed_on_to_the_commands() -> None:
    reader, writer = os.pipe()
    look = ["sh", "-c", f"readlink /proc/self/fd/{writer} || true"]
    argv = [*MUINIT, "--trace-file", str(writer), "---", *look]
    with subprocess.Popen(argv, pass_fds=[writer], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        os.close(writer)
        with open(reader) as file:
            entries = traces.checked(file)
        assert process.communicate() == (b"", b"")
        assert process.returncode == 0
    assert entries[0]["commands"][0]["argv"] == look


NAMES_OF_STDOUT = [
    *("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "/proc/thread-self/fd/1", "/proc/self/task/../fd/1"),
    *("/proc/1/fd/1", "link", "out"),
]


def as_init(name: str) -> list[str]:
    """A prefix that makes muinit PID 1, if this name of its descriptor requires that."""
    if "/1/" not in name:
        return []
    need("a PID namespace", why_no_namespace())
    return AS_INIT


@pytest.mark.parametrize("name", ["1", *NAMES_OF_STDOUT])
@pytest.mark.parametrize("mode", ["a", "r+"])
def test_stdout_stays_what_it_was_for_the_commands(name: str, mode: str, tmp_path: Path) -> None:
    """A trace to stdout, by any name, does not empty the file, and muinit and a command do not overwrite each other."""
    path = tmp_path / "out"
    path.write_text("before\n")
    (tmp_path / "link").symlink_to("/dev/stdout")
    with path.open(mode) as file:
        file.seek(0, os.SEEK_END)
        argv = [*as_init(name), *MUINIT, "--trace-file", name, "---", "sh", "-c", "echo hello"]
        subprocess.run(argv, stdout=file, check=True, cwd=tmp_path)
    lines = path.read_text().splitlines(keepends=True)
    assert lines[0] == "before\n"
    assert lines.count("hello\n") == 1
    traces.checked(line for line in lines if line.startswith("{"))


def test_stderr_is_not_stdout_although_both_are_one_file(tmp_path: Path) -> None:
    """Each has its own offset in the file: stdout is at the start, and stderr, which gets the trace, at the end."""
    (tmp_path / "out").write_text("before\n")
    script = 'exec "$@" 1<> out 2>> out'
    argv = ["sh", "-c", script, "sh", *MUINIT, "--trace-file=/proc/thread-self/fd/2", "---", "true"]
    subprocess.run(argv, check=True, cwd=tmp_path)
    before, *lines = (tmp_path / "out").read_text().splitlines(keepends=True)
    assert before == "before\n"
    traces.checked(lines)


@pytest.mark.parametrize("name", ["/dev/stdin", "/proc/thread-self/fd/0", "in"])
def test_stdin_is_not_written_to(name: str, tmp_path: Path) -> None:
    """If muinit opened stdin again, it would empty the file, or take input from the pipe."""
    (tmp_path / "in").write_text("precious")
    with (tmp_path / "in").open() as file:
        argv = [*MUINIT, "--trace-file", name, "---", "true"]
        done = subprocess.run(argv, stdin=file, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, f"muinit: --trace-file '{name}': not open for writing\n")
    assert (tmp_path / "in").read_text() == "precious"


@pytest.mark.parametrize("name", ["/dev/stdin", "/proc/thread-self/fd/0"])
def test_a_trace_to_a_pipe_that_is_stdin_is_refused(name: str) -> None:
    argv = [*MUINIT, "--trace-file", name, "---", "cat"]
    done = subprocess.run(argv, input="hello", capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"muinit: --trace-file '{name}': not open for writing\n"


# What a command may have put in the place of the file


def test_only_its_owner_can_read_the_file(tmp_path: Path) -> None:
    """A trace contains command lines, which can hold secrets, so an old file is made private too."""
    for name, mode in (("new", None), ("old", 0o666), ("mine", 0o600)):
        path = tmp_path / name
        if mode is not None:
            path.touch()
            path.chmod(mode)
        subprocess.run([*MUINIT, "--trace-file", path, "---", "true"], check=True, umask=0)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        traces.of(path)


def test_a_file_that_cannot_be_made_private_is_refused(public_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    path = public_path / "run.jsonl"
    path.touch()
    path.chmod(0o666)
    os.chown(path, 65534, 65534)
    prefix = ["setpriv", "--bounding-set=-fowner", "--inh-caps=-fowner"]  # root, but without what chmod(2) needs here
    done = subprocess.run([*prefix, *MUINIT, "--trace-file", path, "---", "true"], stderr=subprocess.PIPE, check=False)
    why = "others can read it, and chmod 0600 failed: Operation not permitted"
    assert done.stderr.decode() == f"muinit: --trace-file '{path}': {why}\n"
    assert done.returncode == 1


def trap_link(path: Path, victim: Path) -> str:
    path.symlink_to(victim)
    return "is a symbolic link; expected the file itself"


def trap_dangling(path: Path, victim: Path) -> str:
    path.symlink_to(victim.with_name("nothing"))
    return "is a symbolic link; expected the file itself"


def trap_hard_link(path: Path, victim: Path) -> str:
    path.hardlink_to(victim)
    return "has 2 hard links; expected a file with one name"


def trap_socket(path: Path, _: Path) -> str:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
    return "No such device or address"


def trap_directory(path: Path, _: Path) -> str:
    path.mkdir()
    return "Is a directory"


def trap_of_another_user(path: Path, _: Path) -> str:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    path.touch()
    os.chown(path, 65534, 65534)
    path.parent.chmod(0o1777)
    if Path("/proc/sys/fs/protected_regular").read_text().strip() != "0":
        return "Permission denied"  # by the kernel
    return "belongs to another user (uid 65534), in a directory that everybody can write to"


@pytest.mark.parametrize(
    "trap", [trap_link, trap_dangling, trap_hard_link, trap_socket, trap_directory, trap_of_another_user]
)
def test_a_trap_is_refused(trap: Callable[[Path, Path], str], tmp_path: Path) -> None:
    victim, path, started = tmp_path / "victim", tmp_path / "run", tmp_path / "started"
    victim.write_text("precious")
    why = trap(path, victim)
    argv = [*MUINIT, "--trace-file", str(path), "---", "touch", str(started)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, f"muinit: --trace-file '{path}': {why}\n")
    assert victim.read_text() == "precious"
    assert not started.exists()
    assert not victim.with_name("nothing").exists()


@pytest.mark.parametrize("fd", [0, 1, 2])
def test_the_trace_does_not_take_the_number_of_a_closed_standard_descriptor(fd: int, tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    script = f"exec {fd}>&-; exec {MUINIT[0]} --trace-file {path} --- sh -c 'test ! -e /proc/self/fd/{fd}'"
    subprocess.run(["sh", "-c", script], check=True, stdin=subprocess.DEVNULL)
    traces.of(path)


def test_a_header_of_millions_of_bytes_is_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC)
    TraceFile(fd, print).line({"argv": ["x" * 20_000_000]})
    assert path.read_text() == '{"argv":["' + "x" * 20_000_000 + '"]}\n'
    os.close(fd)


# Nobody reads, or nothing can be written


def fifo(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "fifo")
    return tmp_path / "fifo"


def test_muinit_does_not_wait_for_a_fifo_that_nobody_reads(run: Callable[..., Run], tmp_path: Path) -> None:
    with run(kid("A", "exit 3"), options=f"-q --trace-file {fifo(tmp_path)}") as it:
        assert it.end() == 3
        assert it.err == ""


def test_a_fifo_whose_reader_comes_later_gives_the_whole_trace(tmp_path: Path) -> None:
    path = fifo(tmp_path)
    with Run(kid("A", "TERM=exit 5"), options=f"-q --trace-file {path}") as it:
        it.ready("A")
        reader = os.open(path, os.O_RDONLY)
        it.signal(signal.SIGTERM)
        with open(reader) as file:
            assert traces.checked(file)[-1]["exit"] == 5
        assert it.end() == 5


def test_a_fifo_can_have_one_reader_after_another(tmp_path: Path) -> None:
    path = fifo(tmp_path)
    first = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with Run(kid("A", "USR1=say", "TERM=exit 5"), options=f"-q -s USR1 --trace-file {path}") as it:
        it.ready("A")
        wait_for(lambda: os.read(first, 65536))
        os.close(first)
        it.signal(signal.SIGUSR1)
        it.hear("A USR1")
        with open(path) as second:
            it.signal(signal.SIGTERM)
            lines = second.read().splitlines()
        assert it.end() == 5
    assert [json.loads(line).get("event", "end") for line in lines] == [
        *("forward", "terminate", "command_ended", "drained", "end")
    ]


def full_pipe() -> tuple[int, int]:
    """Both ends of a pipe that is full."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writer, b"\n")
    os.set_blocking(writer, True)
    return reader, writer


@pytest.mark.parametrize("place", ["with /proc", "no /proc"])
def test_muinit_does_not_wait_for_a_full_pipe_and_writes_what_it_kept_when_there_is_room(place: str) -> None:
    """Without /proc muinit cannot open the pipe again as non-blocking, so it asks before it writes."""
    prefix = []
    if place == "no /proc":
        need("a mount namespace", why_no_namespace())
        prefix = within(place, PROCESS)
    reader, writer = full_pipe()
    with Run(kid("A", "USR1=say"), options=f"-q -s USR1 --trace-file {writer}", prefix=prefix, pass_fds=[writer]) as it:
        os.close(writer)
        it.ready("A")
        it.signal(signal.SIGUSR1)
        it.hear("A USR1")
        assert not os.read(reader, 1 << 20).strip(), "the run went on, but nothing could be written"
        it.signal(signal.SIGTERM)
        with open(reader) as file:
            entries = traces.checked(line for line in file if line.strip())
        assert it.end() == 143
    assert [entry["event"] for entry in entries[1:3]] == ["forward", "terminate"]


def test_a_reader_that_goes_away_causes_one_warning(run: Callable[..., Run]) -> None:
    """There is no SIGPIPE and no end, only one warning, and the run goes on, even if -s names SIGPIPE."""
    reader, writer = os.pipe()
    options = f"-s USR1,PIPE --trace-file {writer}"
    with run(kid("A", "USR1=say", "PIPE=say", "TERM=exit 0"), options=options, pass_fds=[writer]) as it:
        os.close(writer)
        it.ready("A")
        os.close(reader)
        for _ in range(3):
            it.signal(signal.SIGUSR1)
            it.hear("A USR1")
        it.signal(signal.SIGTERM)
        assert it.end() == 0
        assert it.err == "muinit: warning: cannot write the trace: Broken pipe\n"


def test_a_full_disk_causes_one_warning(run: Callable[..., Run]) -> None:
    with run(kid("A", "exit 3"), kid("B", "TERM=ignore"), options="-q -t 0.1 --trace-file /dev/full") as it:
        assert it.end() == 3
        assert it.err == "muinit: warning: cannot write the trace: No space left on device\n"


def test_a_limit_on_the_size_of_the_file_may_be_raised_later(tmp_path: Path) -> None:
    """What the limit does not let through is kept, and the trace is complete once the limit is raised."""
    path = tmp_path / "run.jsonl"

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))

    with Run(kid("A", "USR1=say"), options=f"-s USR1 --trace-file {path}", preexec_fn=limit) as it:
        it.ready("A")
        it.signal(signal.SIGUSR1)
        it.hear("A USR1")
        assert path.stat().st_size == 1000
        resource.prlimit(it.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        it.signal(signal.SIGTERM)
        assert it.end() == 143
        # the limit also applies to stderr, which is a file
        assert it.err.startswith("muinit: warning: cannot write the trace: File too large\n")
    assert traces.of(path)[-1]["exit"] == 143


def test_lines_that_cannot_be_kept_are_counted() -> None:
    reader, writer = full_pipe()
    said: list[str] = []
    file = TraceFile(os.dup(writer), said.append)
    for number in range(3000):
        file.line({"number": number, "padding": "x" * 100})
    os.set_blocking(reader, False)
    got = b""
    while b'"last"' not in got:
        got += os.read(reader, 1 << 20)
        file.line({"last": True})
    entries = [json.loads(line) for line in got.splitlines() if line.strip()]
    numbers = [entry["number"] for entry in entries if "number" in entry]
    (dropped,) = (entry for entry in entries if "dropped" in entry)
    assert numbers == list(range(len(numbers)))
    assert len(numbers) + dropped["dropped"] in (3000, 3001)
    kept = sum(len(json.dumps(entry, separators=(",", ":"))) + 1 for entry in entries[: len(numbers)])
    assert 262_144 - 200 < kept <= 262_144
    assert entries.index(dropped) == len(numbers)
    assert not said, "a pipe that is full is no reason to warn"
    os.close(reader)
    os.close(writer)


def test_a_single_line_may_be_longer_than_what_is_kept() -> None:
    """A command line can be that long, and without the header a trace would be worth nothing."""
    reader, writer = full_pipe()
    file = TraceFile(os.dup(writer), print)
    file.line({"header": "x" * 1_000_000})
    os.set_blocking(reader, False)
    got = b""
    while b"end" not in got:
        got += os.read(reader, 1 << 20)
        file.line({"end": True})
    assert len(got.strip().splitlines()[0]) == 1_000_013
    os.close(reader)
    os.close(writer)


def test_an_end_that_cannot_be_written_is_reported() -> None:
    reader, writer = full_pipe()
    with Run(kid("A", "exit 3"), options=f"-q --trace-file {writer}", pass_fds=[writer]) as it:
        assert it.end() == 3
        assert it.err == "muinit: warning: cannot write the end of the trace: its reader is too slow; use a file\n"
    os.close(reader)
    os.close(writer)


# Bad input


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/nowhere/run.jsonl", "No such file or directory"),
        ("/", "Is a directory"),
        ("9", "Bad file descriptor"),
        ("123456789012", "Bad file descriptor"),
        ("0", "not open for writing"),
        ("/dev/stdin", "not open for writing"),
        ("/proc/self/status/x", "Not a directory"),
    ],
)
def test_a_trace_that_cannot_be_written_is_reported_before_anything_starts(path: str, why: str, tmp_path: Path) -> None:
    log, started = tmp_path / "log", tmp_path / "started"
    argv = [*MUINIT, "--trace-file", path, f"--termination-log={log}", "---", "touch", str(started)]
    with open("/dev/null") as nothing:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, stdin=nothing)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"muinit: --trace-file '{path}': {why}\n"
    assert log.read_text() == f"--trace-file '{path}': {why}"
    assert not started.exists()


@pytest.mark.parametrize("fd", range(3, 12))
def test_a_descriptor_that_muinit_opened_itself_cannot_be_named(fd: int) -> None:
    """The self-pipe is such a descriptor: muinit would read a trace in it as signals."""
    done = subprocess.run(
        [*MUINIT, "--trace-file", str(fd), "---", "true"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (1, f"muinit: --trace-file '{fd}': Bad file descriptor\n")


@pytest.mark.parametrize("fd", range(3, 6))
def test_the_descriptor_of_the_termination_log_cannot_be_named(fd: int, tmp_path: Path) -> None:
    """It is already open when muinit opens the trace."""
    argv = [*MUINIT, f"--termination-log={tmp_path}/log", "--trace-file", str(fd), "---", "true"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, f"muinit: --trace-file '{fd}': Bad file descriptor\n")
