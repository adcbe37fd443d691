"""The lifecycle of muinit is the table in this file.

Two rules of this file:

1. Every change of state is a row here, and nowhere else.
2. The table is total: each live state decides each event, and a "nothing" is a row with its reason.

A run passes through the states in this order, and through each at most once. A state that has nothing to do is left in
the same turn. The state depends on *which processes are still alive*:

    RUNNING      Every command is alive, except those that may end and ended with 0. No clock runs.
    TERMINATING  Step n of N was sent, and at least one command is still alive. Sidecars live on.
    DRAINING     No command but sidecars is left, or their steps have run out. The exit code is chosen. Orphans and
                 sidecars remain, and the steps go on for them; if a sidecar is alive, they begin again.
    EXITED       Nothing is left, or the time of the last step ran out. An event here is an error.

The step is a counter beside the state, not a state, because the steps come from the command line. A step can be given
its time once more ("step 1 of 2, again"), for processes that had not been asked to stop.

What can happen, and how muinit learns of it:

    forward          A signal that is to be forwarded came in.
    terminate        A signal that stops muinit came in; `statechart.meanings` says which signals do.
    command_ended    waitpid(2) gave the status of one or more commands, as many as had ended by then.
    orphans_adopted  Children that muinit did not start were seen. It looks while a step is in force or a trace is read.
    orphans_ended    waitpid(2) gave the status of such children, while a step is in force or a trace is read.
    timeout          The clock that the last step set ran out. The event has the processes not asked yet.
    suspend          The command that owns the terminal has stopped, as by Ctrl-Z, or SIGTSTP came in.
    resume           SIGCONT came in.
    drained          waitpid(2) said ECHILD: no child of any kind is left.

What is decided elsewhere, and why:

    which signal means what                      statechart.meanings: the command line needs it before any chart
    whether an end counts; what is asked late    statechart.lifecycle: the guards and the rule of the exit status
    in which order things are looked at, and     muinit.loop: only the loop knows what the kernel said together;
      which ends are one event                     all that had ended by one look are one `command_ended`
    when orphans are looked for                  muinit.loop: reading /proc takes time, and in RUNNING nothing needs it
    whether a stop of a process is a Ctrl-Z      muinit.children: the terminal's owner, stopped by TSTP or STOP
    126 and 127                                  muinit.__main__: a command that was not started has no wait status
    a muinit that is broken                      muinit.lastresort: it must not need this table
    what comes after EXITED                      muinit.loop: it drops what else happened in the turn of the exit

The guards and actions are methods of `statechart.lifecycle.Lifecycle`, each under the name that stands here. Each is
given the event. A guard is a claim that is true or false now. An action computes effects or remembers something; it
never touches the world. The rows of a cell are tried from top to bottom. Actions run before the state changes, so an
action that raises leaves the state as it was.
"""

from __future__ import annotations

from enum import Enum

# The only import of `transitions`, and only of its core: `transitions.extensions` imports asyncio, ssl and subprocess,
# which cost 60 ms and 11 MiB (measured, 0.9.3).
from transitions import EventData, Machine, MachineError, Transition

TYPE_CHECKING = False  # `typing` would cost every container 0.4 MiB (measured, Python 3.11)
if TYPE_CHECKING:
    from typing import Any


__all__ = ["ARCS", "CHART", "Arc", "Chart", "MachineError", "State", "arc"]


class State(Enum):
    """Which processes are still alive. The values are the names, because they are printed."""

    RUNNING = "RUNNING"
    TERMINATING = "TERMINATING"
    DRAINING = "DRAINING"
    EXITED = "EXITED"


RUNNING, TERMINATING, DRAINING, EXITED = State
STOPPING = [TERMINATING, DRAINING]
LIVE = [RUNNING, *STOPPING]
STAY = None


def arc(
    event: str,
    source: State | list[State],
    dest: State | None,
    guard: str | None = None,
    *,
    do: tuple[str, ...] = (),
    why: str = "",
) -> dict[str, Any]:
    """One row, as the keywords of `Machine.add_transition`, which takes lists but raises on tuples (0.9.3)."""
    return {
        "trigger": event,
        "source": source,
        "dest": dest,
        "conditions": guard,
        "before": list(do),
        "why": why,
    }


# fmt: off
ARCS = [
    #   EVENT              FROM                    TO           GUARD           ACTIONS, or WHY NOTHING
    arc("forward",         LIVE,                   STAY,                        do=("relay",)),

    arc("terminate",       [RUNNING, TERMINATING], TERMINATING,                 do=("obey", "start_steps")),
    arc("terminate",       DRAINING,               STAY,                        do=("obey", "start_steps")),

    arc("command_ended",   RUNNING,                DRAINING,    "last_command", do=("record", "choose_code", "start_steps")),
    arc("command_ended",   RUNNING,                STAY,        "may_go_on",    do=("record",)),
    arc("command_ended",   RUNNING,                TERMINATING,                 do=("record", "start_steps")),
    arc("command_ended",   TERMINATING,            DRAINING,    "leaves_sidecars", do=("record", "choose_code", "start_steps")),
    arc("command_ended",   TERMINATING,            DRAINING,    "last_command", do=("record", "choose_code")),
    arc("command_ended",   TERMINATING,            STAY,                        do=("record",)),
    arc("command_ended",   DRAINING,               STAY,                        do=("record", "choose_code")),

    arc("orphans_adopted", RUNNING,                STAY,                        why="orphans may live as long as the commands run"),
    arc("orphans_adopted", STOPPING,               STAY,                        do=("send_step_to_adopted",)),

    arc("orphans_ended",   RUNNING,                STAY,                        why="an orphan decides nothing"),
    arc("orphans_ended",   STOPPING,               STAY,                        do=("record_orphans",)),

    arc("timeout",         RUNNING,                STAY,                        why="no clock runs before a step is sent"),
    arc("timeout",         STOPPING,               STAY,        "some_unasked", do=("send_step_to_unasked",)),
    arc("timeout",         STOPPING,               STAY,        "step_left",    do=("start_next_step",)),
    arc("timeout",         TERMINATING,            DRAINING,    "sidecars_left", do=("choose_code", "start_steps_for_all")),
    arc("timeout",         STOPPING,               EXITED,                      do=("give_up",)),

    arc("suspend",         RUNNING,                STAY,                        do=("suspend",)),
    arc("suspend",         STOPPING,               STAY,                        why="what is being stopped is not suspended"),

    arc("resume",          LIVE,                   STAY,                        do=("resume",)),

    arc("drained",         [RUNNING, TERMINATING], STAY,                        why="a living command is a child that is left"),
    arc("drained",         DRAINING,               EXITED,                      do=("finish",)),
]
# fmt: on


class Arc(Transition):
    """A row of the table in the machine. It knows its reason, and tells the model when it was taken."""

    def __init__(self, *args: Any, why: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.why = why

    def execute(self, event_data: EventData) -> bool:
        """Take this row if its guard holds; return whether it was taken."""
        taken = super().execute(event_data)
        if taken:
            model: Any = event_data.model
            model.arc = self
        return taken

    @property
    def guard(self) -> str:
        """The name of the guard; "" for a row that is always taken."""
        return "".join(str(condition.func) for condition in self.conditions)

    @property
    def actions(self) -> list[str]:
        """The names of the actions, in the order in which they run."""
        return [str(action) for action in self.before]


class Chart(Machine):
    """A machine of `Arc`s. It is flat, because nested states would need `transitions.extensions`."""

    transition_cls = Arc


# No model: `transitions` would add methods to it, which needs a `__dict__`, and would silently skip names that already
# exist. No auto transitions: to_EXITED() would be a back door around the table.
CHART = Chart(model=None, states=State, initial=RUNNING, transitions=ARCS, auto_transitions=False)
