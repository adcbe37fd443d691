"""Compile sources into byte code for muinit.pyz, with the Python that runs this file.

compile.py SOURCES TARGET NAME... compiles the files NAME of the folder SOURCES into a new folder of TARGET, and prints
the name of that folder and of the interpreter. The same interpreter always writes the same bytes:

- Files are compiled in the order given, in one process. Byte code depends on what was compiled before.
- PYTHONHASHSEED must be set, because the order of sets depends on it.
- The byte code does not mention its source, neither its time nor its folder. Python is told not to look for it.

The byte code has neither docstrings nor assertions, which are there for readers and for mypy.
"""

import os
import platform
import py_compile
import sys
from importlib.util import MAGIC_NUMBER

if __name__ == "__main__":
    sources, target, *names = sys.argv[1:]
    folder = f"{sys.implementation.cache_tag}-{int.from_bytes(MAGIC_NUMBER[:2], 'little')}"
    for name in names:
        py_compile.compile(
            os.path.join(sources, name),
            os.path.join(target, folder, f"{name}c"),
            dfile=f"muinit.pyz/{name}",
            doraise=True,
            optimize=2,
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )
    print(folder, platform.python_implementation(), platform.python_version())
