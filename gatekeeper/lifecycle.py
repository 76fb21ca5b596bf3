"""Where a program stands that is tended: one state machine, with the words of systemd. Pure: no clock, no I/O.

             gate opens          READY=1           RELOADING=1
    WAITING ------------> STARTING ------> READY <-------------> RELOADING
       |                     |               |       READY=1        |
       | gate stays shut     +---------------+----------+-----------+
       |                                     | STOPPING=1, or told to stop, or out of time
       v                                     v
     FAILED <--------------------------- STOPPING ---> ENDED
              out of time, or a status other than 0         exit status 0, or told to stop

As in systemd, STOPPING is final: whatever is said afterwards, nothing that is dying becomes ready again.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple


class Phase(StrEnum):
    """The states, and the words by which they are told."""

    WAITING = "waiting"
    STARTING = "starting"
    READY = "ready"
    RELOADING = "reloading"
    STOPPING = "stopping"
    FAILED = "failed"
    ENDED = "ended"


class Event(StrEnum):
    """What moves a program from one state to the next."""

    OPENED = "the gate opened"
    CLOSED = "the gate stays shut"
    SAID_READY = "READY=1"
    SAID_RELOADING = "RELOADING=1"
    SAID_STOPPING = "STOPPING=1"
    TOLD_TO_STOP = "told to stop"
    OUT_OF_TIME = "out of time"
    EXITED = "exit status 0"
    FAILED = "another exit status"


class Life(NamedTuple):
    """The state, and what a state alone does not tell of the way there."""

    phase: Phase = Phase.WAITING
    been_ready: bool = False
    told_to_stop: bool = False
    out_of_time: bool = False

    @property
    def ready(self) -> bool:
        """Tell whether the program does its work; while it reloads it does, as systemd has it."""
        return self.phase in (Phase.READY, Phase.RELOADING)

    @property
    def alive(self) -> bool:
        """Tell whether there is no reason to put an end to it: what a liveness probe asks."""
        return self.phase is not Phase.FAILED and not self.out_of_time


_ALIVE = (Phase.STARTING, Phase.READY, Phase.RELOADING)
_NEXT = {
    (Phase.WAITING, Event.OPENED): Phase.STARTING,
    (Phase.WAITING, Event.CLOSED): Phase.FAILED,
    (Phase.STARTING, Event.SAID_READY): Phase.READY,
    (Phase.READY, Event.SAID_RELOADING): Phase.RELOADING,
    (Phase.RELOADING, Event.SAID_READY): Phase.READY,
    **{(phase, Event.SAID_STOPPING): Phase.STOPPING for phase in _ALIVE},
    **{(phase, Event.TOLD_TO_STOP): Phase.STOPPING for phase in (*_ALIVE, Phase.STOPPING)},
    **{(phase, Event.OUT_OF_TIME): Phase.STOPPING for phase in (*_ALIVE, Phase.STOPPING)},
    **{(phase, Event.EXITED): Phase.ENDED for phase in (*_ALIVE, Phase.STOPPING)},
    **{(phase, Event.FAILED): Phase.FAILED for phase in (*_ALIVE, Phase.STOPPING)},
}


def event_of(said: Mapping[str, str]) -> Event | None:
    """Return what a message says of the state: of several things the one that goes furthest, as systemd has it."""
    for key, event in (
        ("STOPPING", Event.SAID_STOPPING),
        ("READY", Event.SAID_READY),
        ("RELOADING", Event.SAID_RELOADING),
    ):
        if said.get(key) == "1":
            return event
    return None


def after(life: Life, event: Event) -> Life:
    """Return where a program stands after an event; an event that means nothing in a state changes nothing."""
    phase = _NEXT.get((life.phase, event), life.phase)
    told = life.told_to_stop or (event is Event.TOLD_TO_STOP and phase is Phase.STOPPING)
    late = life.out_of_time or (event is Event.OUT_OF_TIME and phase is Phase.STOPPING)
    if phase in (Phase.ENDED, Phase.FAILED) and phase is not life.phase and life.phase is not Phase.WAITING:
        # Who was told to stop may die of the signal that told it; who was out of time has failed whatever its status.
        phase = Phase.FAILED if late or (phase is Phase.FAILED and not told) else Phase.ENDED
    return Life(phase, life.been_ready or phase is Phase.READY, told, late)
