"""Files to write to, at paths where a command may have put something else.

muinit is often root and its commands are not, and a container that is started again keeps the files of its last run.
So muinit follows no symbolic link in the last component of a path, and refuses a file with a second name. If the path
leads to a file that our caller has opened for us, under any name, muinit uses that descriptor: opening the file again
would empty it, or would start at its beginning.
"""

import fcntl
import os
import stat
from errno import EACCES, EBADF, EINVAL, ELOOP, EMLINK

from muinit.stderr import descriptor

_FLAGS = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_LOOKED_AT = 256  # descriptors; a higher one is only found by its plain number


def inherited(path: str) -> int | None:
    """Return our caller's descriptor that `path` names, or one that is open on the same file; `None` if there is none.

    Raises OSError (EBADF) if it is not open, does not come from our caller, or is not open for writing.
    """
    named = descriptor(path)
    try:
        there = None if named is not None else os.stat(path)
    except OSError:
        return None
    numbers = range(_LOOKED_AT) if named is None else [named]
    found = [number for number in numbers if _is_inherited(number, there)]
    writable = [number for number in found if fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY]
    if writable:
        # stdout and stderr can be open on the same file, each at its own position.
        return next((number for number in writable if path.endswith(f"/fd/{number}")), writable[0])
    if named is not None and not found:
        raise OSError(EBADF, os.strerror(EBADF))
    # A device is a fresh path even if we have it open for reading: stdin is often /dev/null.
    if found and (there is None or os.path.islink(path) or not stat.S_ISCHR(there.st_mode)):
        raise OSError(EBADF, "not open for writing")
    return None


def _is_inherited(number: int, there: os.stat_result | None) -> bool:
    """Whether our caller gave us this descriptor, open on the file `there` if one is given. Ours close on exec."""
    try:
        return os.get_inheritable(number) and (there is None or os.path.samestat(os.fstat(number), there))
    except (OSError, OverflowError):
        return False


def open_at(path: str, flags: int, mode: int) -> int:
    """Open a file, FIFO or character device, and no link to it, without waiting. Raises OSError, also for a refusal."""
    try:
        fd = os.open(path, flags | _FLAGS, mode)
    except OSError as error:
        if error.errno == ELOOP and os.path.islink(path):
            raise OSError(ELOOP, "is a symbolic link; expected the file itself") from None
        raise
    try:
        _refuse_traps(path, os.fstat(fd))
    except OSError:
        os.close(fd)
        raise
    return fd


def _refuse_traps(path: str, file: os.stat_result) -> None:
    if stat.S_ISCHR(file.st_mode):
        return
    if not (stat.S_ISREG(file.st_mode) or stat.S_ISFIFO(file.st_mode)):
        raise OSError(EINVAL, "expected a file, a FIFO or a character device")
    if file.st_nlink > 1:
        raise OSError(EMLINK, f"has {file.st_nlink} hard links; expected a file with one name")
    # The same rule as in the kernel if fs.protected_regular and fs.protected_fifos are set (proc_sys_fs(5)).
    directory = os.stat(os.path.dirname(path) or ".")
    shared = directory.st_mode & stat.S_ISVTX and directory.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if shared and file.st_uid not in (os.geteuid(), directory.st_uid):
        where = "in a directory that everybody can write to"
        raise OSError(EACCES, f"belongs to another user (uid {file.st_uid}), {where}")


def is_fifo(path: str) -> bool:
    """Whether there is a FIFO at this path."""
    try:
        return stat.S_ISFIFO(os.lstat(path).st_mode)
    except OSError:
        return False


def above_stderr(fd: int) -> int:
    """A descriptor of the same open file that is above 2, and that no command inherits."""
    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
