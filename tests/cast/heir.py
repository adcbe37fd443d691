"""heir.py FLAGS RULES ARGV...: start a kid, then become another program, which inherits the kid as its child.

FLAGS are those of clone(2). 17 is SIGCHLD and makes a child as fork(2) does. 0 makes a child without an exit signal.
"""

import os
import sys

sys.path.insert(0, __file__.rpartition("/tests/")[0])
from tests.cast import kid

kid.clone(sys.argv[1], sys.argv[2])
os.execvp(sys.argv[3], sys.argv[3:])
