"""Why a file was not executed.

execve(2) says ENOENT for a script whose interpreter is missing, and ENOEXEC for every file that it does not know. So
after it has failed, and only then, the file is read.
"""

import os
from errno import ELIBBAD, ENOENT, ENOEXEC, ENOTDIR

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Literal

    Read = Callable[[int, int], bytes]  # so many bytes from an offset: (size, offset)

_HEAD = 4096
_LINE = 256  # what the kernel reads of a "#!" line (BINPRM_BUF_SIZE, linux/binfmts.h)
_DEPTH = 5  # how many interpreters of interpreters it follows (fs/exec.c)
_ELF = b"\x7fELF"
_PT_INTERP = 3


def candidates(file: str, environment: dict[str, str]) -> list[str]:
    """The paths that execvp(3) tries for a command, in order. Each has a slash in it."""
    if "/" in file:
        return [file]
    return [os.path.join(directory or ".", file) for directory in os.get_exec_path(environment)]


def is_shell_script(path: str) -> bool:
    """Whether /bin/sh should run a file that the kernel does not know: it is text, and names no other interpreter.

    execvp(3) gives a shell every such file. A shell refuses those with a NUL in their first line (POSIX, sh):
    in a program for another machine it would find words, and run them.
    """
    head, needed = _look(path)
    return head is not None and not needed and b"\0" not in head.partition(b"\n")[0]


def culprit(path: str, errno: int) -> str:
    """The interpreter of a file, or that one's own, that made execve(2) fail with `errno`; "" if it was the file.

    "?" if one is missing, and the file cannot be read to learn which. The loader of an ELF program is its interpreter
    too (elf(5)).
    """
    seen = path
    for _ in range(_DEPTH if _is_executable(path) else 0):
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
    """The interpreter that the kernel starts for a file: named by "#!", or by an ELF program; else ""."""
    name = b""
    if head.startswith(b"#!"):
        line = head[2:_LINE].partition(b"\n")[0].replace(b"\t", b" ").lstrip(b" ")
        name = line.partition(b" ")[0]
    elif head.startswith(_ELF):
        name = _loader(head, read)
    return os.fsdecode(name.partition(b"\0")[0])


def _loader(head: bytes, read: "Read") -> bytes:
    """What the PT_INTERP entry of an ELF program says (elf(5)), be it for this machine or for another."""
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
            return read(min(number(entry, 32 if wide else 16, word), _HEAD), number(entry, word, word))
    return b""


def _look(path: str) -> tuple[bytes | None, str]:
    """The first bytes of a file, None where it cannot be read, and its interpreter."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return None, ""

    def read(size: int, offset: int) -> bytes:
        try:
            return os.pread(fd, size, offset)
        except (OSError, OverflowError):  # an offset that no file has
            return b""

    try:
        head = read(_HEAD, 0)
        return head, interpreter(head, read)
    finally:
        os.close(fd)


def _is_executable(path: str) -> bool:
    return os.path.isfile(path) and os.access(path, os.X_OK)
