"""The terminal on stdin. One process group can own it: ours, or that of the first command.

A process of any other group that reads the terminal is stopped (SIGTTIN, termios(3)), and nobody continues it.
"""

import os


class Terminal:
    """The terminal, if stdin is one. We change its foreground only while it is ours to give."""

    def __init__(self) -> None:
        self.present = os.isatty(0)
        self.owner = 0  # the first command, while it lives
        self._given = False

    @property
    def given(self) -> bool:
        """Whether the owner has the foreground, from us."""
        return self._given

    def give(self) -> bool:
        """Give the owner the foreground if we have it; return whether it was given.

        SIGTTOU, which a tcsetpgrp(3) from the background brings, is blocked: all signals are.
        """
        try:
            if self.owner and os.tcgetpgrp(0) == os.getpgrp():
                if os.getpgrp() == 0:  # a group of another PID namespace: it could not be taken back by this number
                    os.setpgid(0, 0)
                os.tcsetpgrp(0, self.owner)
                self._given = True
                return True
        except OSError:  # not our controlling terminal, or it hung up
            pass
        return False

    def take(self) -> None:
        """Take back what was given."""
        if self._given:
            self._given = False
            try:
                os.tcsetpgrp(0, os.getpgrp())
            except OSError:
                pass
