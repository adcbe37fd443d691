"""The first code of muinit.pyz, as its __main__.py."""

import sys

if sys.version_info < (3, 10):
    found = "%d.%d" % sys.version_info[:2]
    sys.exit("muinit: expected Python 3.10 or newer, found " + found + ": " + sys.executable)

# As in muinit.__main__, which takes both from here: from now on the kernel keeps every signal.
from _signal import SIG_BLOCK, pthread_sigmask, valid_signals

CALLERS_MASK = pthread_sigmask(SIG_BLOCK, valid_signals())

from posix import getppid

PARENT = getppid()

from _frozen_importlib_external import MAGIC_NUMBER

# The folders of byte code in this file, and the interpreters that compiled it. All other interpreters run the sources.
BYTE_CODE = {}  # type: dict[str, str]

FOLDER = "%s-%d" % (sys.implementation.cache_tag, int.from_bytes(MAGIC_NUMBER[:2], "little"))
if FOLDER in BYTE_CODE:
    sys.path[0] += "/" + FOLDER

from muinit.__main__ import run

run()
