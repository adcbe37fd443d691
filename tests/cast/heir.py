"""A caller that starts a kid and then becomes another program, which inherits the child: heir.py FLAGS RULES ARGV...

FLAGS are those of clone(2): 17, which is SIGCHLD, makes a child as fork(2) does, and 0 one without an exit signal.
"""

import os
import sys

sys.path.insert(0, __file__.rpartition("/tests/")[0])
from tests.cast import kid

kid.clone(sys.argv[1], sys.argv[2])
os.execvp(sys.argv[3], sys.argv[3:])
