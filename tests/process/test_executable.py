"""A command that cannot be executed ends with 127 or 126, and one line names what is to blame."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muinit import executable
from muinit.executable import interpreter
from tests.cast.harness import MUINIT, PATIENCE, kernel_says


def program(path: Path, data: bytes, mode: int = 0o755) -> str:
    path.write_bytes(data)
    path.chmod(mode)
    return str(path)


def elf(machine: int, loader: bytes, *, wide: bool = True, order: str = "<") -> bytes:
    """An ELF program with one segment, PT_INTERP (elf(5)). The text after it would be a command to a shell."""
    size = 64 if wide else 52
    entry = 56 if wide else 32
    where = size + entry
    head = b"\x7fELF" + bytes([2 if wide else 1, 1 if order == "<" else 2, 1]) + bytes(9)
    word = "Q" if wide else "I"
    head += struct.pack(f"{order}HHI{word}{word}{word}IHHHHHH", 2, machine, 1, 0, size, 0, 0, size, entry, 1, 0, 0, 0)
    if wide:
        head += struct.pack(f"{order}IIQQQQQQ", 3, 4, where, 0, 0, len(loader) + 1, len(loader) + 1, 1)
    else:
        head += struct.pack(f"{order}IIIIIIII", 3, where, 0, 0, len(loader) + 1, len(loader) + 1, 4, 1)
    return head + loader + b"\0" + b"\ntouch started\n"


def run(*command: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # type: ignore[call-overload, no-any-return]
        [*MUINIT, "---", "--", *command], capture_output=True, text=True, timeout=PATIENCE, check=False, **options
    )


OURS = {"x86_64": 62, "aarch64": 183}.get(os.uname().machine, 0)
FOREIGN = 8  # MIPS


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"#!/bin/sh\r\necho hello\r\n", r"/bin/sh\r"),
        (b"#!/nowhere/interpreter\n", "/nowhere/interpreter"),
        (b"#! \t/nowhere/interpreter -x\n", "/nowhere/interpreter"),
        (b"#!/nowhere/interpreter", "/nowhere/interpreter"),
        (b"#!nowhere\xff\n", r"nowhere\udcff"),
        (b"#!/etc/passwd/x\n", "/etc/passwd/x"),
        (b"#!{script}\n", "/nowhere/inner"),
    ],
)
def test_a_missing_interpreter_is_named(data: bytes, named: str, tmp_path: Path) -> None:
    """The script itself was found, so the message names its interpreter."""
    inner = program(tmp_path / "inner", b"#!/nowhere/inner\n")
    script = program(tmp_path / "script", data.replace(b"{script}", inner.encode()))
    for name, options in ((script, {}), ("script", {"env": {"PATH": f"/nowhere:{tmp_path}"}})):
        done = run(name, **options)
        assert done.returncode == 127
        assert f") could not be started: its interpreter '{named}' was not found\n" in done.stderr
        assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("wide", [True, False])
def test_a_missing_loader_is_named(wide: bool, tmp_path: Path) -> None:
    """The loader is missing if a program for glibc runs in an image without glibc, or if it is a 32-bit program."""
    if not OURS:
        pytest.skip(f"no number for the machine {os.uname().machine}")
    machine = OURS if wide else {62: 3, 183: 40}[OURS]
    done = run(program(tmp_path / "program", elf(machine, b"/nowhere/ld.so", wide=wide)))
    if not wide and done.returncode == 126:
        pytest.skip("a kernel that runs no 32-bit programs")
    assert done.returncode == 127
    assert "could not be started: its interpreter '/nowhere/ld.so' was not found" in done.stderr


def test_an_interpreter_that_cannot_be_executed_is_named(tmp_path: Path) -> None:
    data = program(tmp_path / "data", b"", 0o644)
    for interp in (data, str(tmp_path)):
        done = run(program(tmp_path / "script", f"#!{interp}\n".encode()))
        assert done.returncode == 126
        assert f"could not be executed: its interpreter '{interp}': Permission denied" in done.stderr
    foreign = program(tmp_path / "foreign", elf(FOREIGN, b"/lib/ld.so.1"))
    done = run(program(tmp_path / "script", f"#!{foreign}\ntouch started\n".encode()), cwd=tmp_path)
    assert done.returncode == 126
    assert f"could not be executed: its interpreter '{foreign}': Exec format error" in done.stderr
    assert not (tmp_path / "started").exists(), "it is not a shell's script"


def test_a_127_of_env_is_an_exit_status_like_any_other(tmp_path: Path) -> None:
    done = run(program(tmp_path / "script", b"#!/usr/bin/env nosuch\n"))
    assert done.returncode == 127
    assert "exited 127" in done.stderr


# Files that are text, and files that are not


@pytest.mark.parametrize(
    "data",
    [
        elf(FOREIGN, b"/lib/ld.so.1"),
        elf(FOREIGN, b"/lib/ld.so.1", wide=False, order=">"),
        b"MZ\x90\0\3\0\ntouch started\n",
        b"\xcf\xfa\xed\xfe\7\0\0\1\ntouch started\n",
        b"\0asm\1\0\0\0\ntouch started\n",
        b"touch started #\0\n",
    ],
)
def test_a_file_that_is_not_text_is_not_given_to_a_shell(data: bytes, tmp_path: Path) -> None:
    done = run(program(tmp_path / "program", data), cwd=tmp_path)
    assert done.returncode == 126
    assert "could not be executed: Exec format error" in done.stderr
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize(
    "data", [b"", b"\n", b"echo ok", b"#!\necho ok\n", b"# \xff\n\0\n", b"exit 0\n\0\0", b"echo " * 9999]
)
def test_a_text_file_is_given_to_a_shell(data: bytes, tmp_path: Path) -> None:
    """A NUL after the first line does not matter: some installers are a script followed by an archive."""
    assert run(program(tmp_path / "script", data)).returncode in (0, 127)
    assert "executed" not in run(str(tmp_path / "script")).stderr


def test_a_script_without_an_interpreter_line_runs_under_sh(tmp_path: Path) -> None:
    script = program(tmp_path / "script", b'echo "$0" "$@"')
    for name, path in ((script, os.environ["PATH"]), ("script", f"/nowhere:{tmp_path}:{os.environ['PATH']}")):
        done = run(name, "a b", "-c", env={"PATH": path})
        assert (done.returncode, done.stdout, done.stderr) == (0, f"{script} a b -c\n", "")


@pytest.mark.parametrize("name", ["-c", "+x", "script"])
def test_the_name_of_a_script_is_not_taken_for_an_option(name: str, tmp_path: Path) -> None:
    """An empty entry of PATH means the current directory, and the shell gets such a script as ./NAME."""
    program(tmp_path / name, b'echo "$0" "$@"')
    for path in ("", "/nowhere:", ":/nowhere", "."):
        done = run(name, "a", env={"PATH": path}, cwd=tmp_path)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"./{name} a\n", "")
    (tmp_path / "-d").mkdir()
    program(tmp_path / "-d/script", b'echo "$0"')
    assert run("-d/script", cwd=tmp_path).stdout == "./-d/script\n"


def test_a_command_is_searched_for_as_execvp_does(tmp_path: Path) -> None:
    """A file that cannot be executed, or whose interpreter is missing, does not hide a file in a later directory."""
    for name in "abcd":
        (tmp_path / name).mkdir()
    program(tmp_path / "a/x", b"echo a", 0o644)
    (tmp_path / "b/x").mkdir()
    program(tmp_path / "c/x", b"#!/nowhere/i\n")
    program(tmp_path / "d/x", b"echo d")

    def found(*directories: str) -> subprocess.CompletedProcess[str]:
        return run("x", env={"PATH": ":".join(str(tmp_path / each) for each in directories)})

    assert found("a", "b", "c", "d").stdout == "d\n"
    assert "could not be executed: Permission denied" in found("a", "nowhere").stderr
    assert "could not be executed: Permission denied" in found("b").stderr
    assert "its interpreter '/nowhere/i' was not found" in found("nowhere", "c").stderr
    assert found("c", "a").returncode == 126
    assert "(x) was not found" in found("nowhere").stderr


def test_without_a_path_variable() -> None:
    assert run("true", env={}).returncode == 0
    assert run("nosuch", env={}).returncode == 127


def test_without_a_shell(tmp_path: Path) -> None:
    """A script without "#!" cannot run without /bin/sh, which the test hides because it cannot be removed here."""
    script = program(tmp_path / "script", b"echo a")
    says = kernel_says(
        "real = os.posix_spawnp\n"
        "def gone(file, *a, **k):\n"
        "    if file == '/bin/sh': raise FileNotFoundError(2, os.strerror(2), file)\n"
        "    return real(file, *a, **k)\n"
        "os.posix_spawnp = gone\n"
        "from muinit.__main__ import _refused\n"
        f"try: k.spawn([{script!r}])\n"
        "except OSError as e: print(_refused(e).code, _refused(e).failure)"
    )
    assert says == "127 could not be started: its interpreter '/bin/sh' was not found"


# What the kernel refuses


def named(tmp_path: Path, name: str) -> str:
    """Make something that cannot be executed, and return its name."""
    if name == "a loop":
        (tmp_path / "loop").symlink_to("loop")
        return str(tmp_path / "loop")
    if name == "a file without x":
        return program(tmp_path / "data", b"", 0o644)
    if name == "a FIFO":
        os.mkfifo(tmp_path / "fifo", 0o755)
        return str(tmp_path / "fifo")
    return name


@pytest.mark.parametrize(
    ("name", "code", "why"),
    [
        ("/nowhere/x", 127, "was not found"),
        ("nosuch", 127, "was not found"),
        ("", 127, "was not found"),
        ("/etc/passwd/x", 127, "was not found"),
        ("/tmp", 126, "Permission denied"),
        ("a file without x", 126, "Permission denied"),
        ("a FIFO", 126, "Permission denied"),
        ("a loop", 126, "Too many levels of symbolic links"),
        ("x" * 300, 126, "File name too long"),
        ("/" + "x/" * 3000, 126, "File name too long"),
    ],
)
def test_a_command_that_cannot_be_executed_is_explained(name: str, code: int, why: str, tmp_path: Path) -> None:
    done = run(named(tmp_path, name))
    assert done.returncode == code
    assert done.stderr.partition(",")[0].rstrip("\n").endswith(why)
    assert done.stderr.count("\n") == 1


def test_a_program_that_is_being_written(tmp_path: Path) -> None:
    shutil.copy("/bin/true", tmp_path / "busy")
    with (tmp_path / "busy").open("a"):
        done = run(str(tmp_path / "busy"))
    assert done.returncode == 126
    assert "could not be executed: Text file busy" in done.stderr


def test_an_argument_that_is_too_long() -> None:
    """The kernel takes at most 128 KiB for one argument (execve(2)), so only a Python caller can pass a longer one."""
    says = kernel_says("try: k.spawn(['true', 'x' * 200000])\nexcept OSError as e: print(e.strerror, e.filename2)")
    assert says == "Argument list too long None"


def test_a_name_with_a_nul() -> None:
    assert kernel_says("try: k.spawn(['a\\0b'])\nexcept FileNotFoundError as e: print(e.errno)") == "2"


def test_a_program_that_may_not_be_read(public_path: Path) -> None:
    """If muinit may not read the file, it knows neither which interpreter is missing nor whether the file is text."""
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    scripts = [program(public_path / "a", b"#!/nowhere/i", 0o711), program(public_path / "b", b"echo", 0o711)]
    says = kernel_says(
        "from muinit.__main__ import _refused; import muinit.executable, statechart.events, statechart.words.text\n"
        "os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)\n"
        f"for name in {scripts}:\n"
        "    try: k.spawn([name])\n"
        "    except OSError as e: print(_refused(e).code, _refused(e).failure)"
    )
    assert says.splitlines() == [
        "127 could not be started: its interpreter '?' was not found",
        "126 could not be executed: Exec format error",
    ]


# The parser of "#!" lines and ELF files


@given(st.binary() | st.binary().map(b"#!".__add__) | st.binary(min_size=60).map(b"\x7fELF".__add__))
def test_the_parser_does_not_fail_on_any_bytes(data: bytes) -> None:
    assert "\0" not in interpreter(data[:4096], lambda size, offset: data[offset : offset + size])


@given(st.data())
def test_the_parser_does_not_fail_on_a_broken_elf_file(data: st.DataObject) -> None:
    good = bytearray(elf(62, b"/lib/ld.so", wide=data.draw(st.booleans()), order=data.draw(st.sampled_from("<>"))))

    def read(size: int, offset: int) -> bytes:
        assert 0 <= size <= 1 << 32
        return bytes(good[offset : offset + size])

    assert interpreter(bytes(good), read) == "/lib/ld.so"
    for _ in range(data.draw(st.integers(1, 4))):
        good[data.draw(st.integers(4, len(good) - 1))] = data.draw(st.integers(0, 255))
    interpreter(bytes(good), read)


def test_an_offset_beyond_any_file_gives_no_interpreter(tmp_path: Path) -> None:
    data = elf(FOREIGN, b"/lib/ld.so")
    for offset in (b"\xff" * 8, b"\xff" * 7 + b"\x7f"):
        path = program(tmp_path / "program", data[:32] + offset + data[40:])
        assert executable._look(path)[1] == ""


def test_the_loader_of_a_real_program_is_found() -> None:
    _, loader = executable._look("/bin/sh")
    assert os.access(loader, os.X_OK)
