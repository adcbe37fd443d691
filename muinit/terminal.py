"""The terminal on stdin. One process group is in its foreground: ours, or the group of the first command.

If a process of any other group reads the terminal, it is stopped (SIGTTIN, termios(3)), and nobody continues it.
"""

import os


class Terminal:
    """The terminal, if stdin is one. We change its foreground only while our own group is in it."""

    def __init__(self) -> None:
        self.present = os.isatty(0)
        self.owner = 0  # the first command, while it lives
        self._given = False

    @property
    def given(self) -> bool:
        """Whether we have given the owner the foreground."""
        return self._given

    def give(self) -> bool:
        """Give the owner the foreground if we have it; return whether it was given.

        tcsetpgrp(3) from the background sends SIGTTOU. It is blocked, as all signals are.
        """
        try:
            if self.owner and os.tcgetpgrp(0) == os.getpgrp():
                if os.getpgrp() == 0:  # our group is of another PID namespace; by this number we could not take it back
                    os.setpgid(0, 0)
                os.tcsetpgrp(0, self.owner)
                self._given = True
                return True
        except OSError:  # it is not our controlling terminal, or it hung up
            pass
        return False

    def take(self) -> None:
        """Take the foreground back, if it was given."""
        if self._given:
            self._given = False
            try:
                os.tcsetpgrp(0, os.getpgrp())
            except OSError:
                pass
