"""Why a file was not executed.

execve(2) does not say. It fails with ENOENT if the interpreter of a script is missing, and with ENOEXEC for every
format that it does not know. So when it has failed, and only then, the file is read.
"""

import os
from errno import ELIBBAD, ENOENT, ENOEXEC, ENOTDIR

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Literal

    Read = Callable[[int, int], bytes]  # (size, offset) -> so many bytes from there

_HEAD_BYTES = 4096
_LINE_BYTES = 256  # as much as the kernel reads of a "#!" line (BINPRM_BUF_SIZE, linux/binfmts.h)
_MOST_INTERPRETERS = 5  # as many interpreters of interpreters as the kernel follows (fs/exec.c)
_ELF = b"\x7fELF"
_PT_INTERP = 3


def candidates(file: str, environment: dict[str, str]) -> list[str]:
    """The paths that execvp(3) tries for a command, in order. Each has a slash in it."""
    if "/" in file:
        return [file]
    return [os.path.join(directory or ".", file) for directory in os.get_exec_path(environment)]


def is_shell_script(path: str) -> bool:
    """Whether /bin/sh should run a file that the kernel does not know: it is text, and names no other interpreter.

    execvp(3) gives every such file to a shell. A shell refuses a file with a NUL in its first line (POSIX, sh): it
    may be a program for another machine, in which the shell would find words and run them.
    """
    head, needed = _look(path)
    return head is not None and not needed and b"\0" not in head.partition(b"\n")[0]


def culprit(path: str, errno: int) -> str:
    """The interpreter that made execve(2) of a file fail with `errno`; "" if the file itself did.

    It may be the interpreter of an interpreter. "?" means that one is missing, but that the file cannot be read to
    learn which. The loader of an ELF program is an interpreter, too (elf(5)).
    """
    seen = path
    for _ in range(_MOST_INTERPRETERS if _is_executable(path) else 0):
        head, needed = _look(seen)
        if head is None:
            return "?" if errno in (ENOENT, ENOTDIR) else ""
        if not needed or (errno == ENOEXEC and head.startswith(_ELF)):
            break
        if not _is_executable(needed):
            return needed
        seen = needed
    return seen if seen != path and errno in (ENOEXEC, ELIBBAD) else ""


def interpreter(head: bytes, read: "Read") -> str:
    """The interpreter that the kernel starts for a file, named by "#!" or by an ELF program; "" if there is none."""
    name = b""
    if head.startswith(b"#!"):
        line = head[2:_LINE_BYTES].partition(b"\n")[0].replace(b"\t", b" ").lstrip(b" ")
        name = line.partition(b" ")[0]
    elif head.startswith(_ELF):
        name = _loader(head, read)
    return os.fsdecode(name.partition(b"\0")[0])


def _loader(head: bytes, read: "Read") -> bytes:
    """What the PT_INTERP entry of an ELF program says (elf(5)), whatever machine the program is for."""
    order: Literal["big", "little"] = "big" if head[5:6] == b"\2" else "little"

    def number(data: bytes, offset: int, size: int) -> int:
        return int.from_bytes(data[offset : offset + size], order)

    wide = head[4:5] == b"\2"  # 64 bits
    word = 8 if wide else 4
    size, count = number(head, 54 if wide else 42, 2), number(head, 56 if wide else 44, 2)
    entries = read(size * count, number(head, 32 if wide else 28, word))
    for start in range(0, len(entries), size or 1):
        entry = entries[start : start + size]
        if number(entry, 0, 4) == _PT_INTERP:
            return read(min(number(entry, 32 if wide else 16, word), _HEAD_BYTES), number(entry, word, word))
    return b""


def _look(path: str) -> tuple[bytes | None, str]:
    """The first bytes of a file, `None` if it cannot be read, and its interpreter."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return None, ""

    def read(size: int, offset: int) -> bytes:
        try:
            return os.pread(fd, size, offset)
        except (OSError, OverflowError):  # the file names an offset that it does not have
            return b""

    try:
        head = read(_HEAD_BYTES, 0)
        return head, interpreter(head, read)
    finally:
        os.close(fd)


def _is_executable(path: str) -> bool:
    return os.path.isfile(path) and os.access(path, os.X_OK)
