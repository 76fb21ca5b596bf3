"""A command being tended, once the gate is open: its start, what it says of itself, its time limits, its end.

What happens becomes an event of `lifecycle`, and what follows from that happens here: who is told, what is armed, who
is sent a signal.
"""

import asyncio
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from gatekeeper.announce.received import Sender
from gatekeeper.announce.relay import Relay, pass_on
from gatekeeper.announce.sdnotify import Notifier
from gatekeeper.handover.become import Stock
from gatekeeper.job import Job
from gatekeeper.lifecycle import Event, Life, Phase, after, event_of
from gatekeeper.limit import LONGEST, MICROSECONDS, Limit, number_of
from gatekeeper.values import shown

KIN_PATIENCE = 5.0  # seconds that processes which the command left behind have for their end, where none were set
STATUS_AT_MOST_EVERY = 0.1
_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)


class Rules(NamedTuple):
    """How a command is tended. Times are seconds, None for no limit.

    ``relays`` says whether it is given a NOTIFY_SOCKET of ours; otherwise it counts as ready once it has been started.
    ``readiness`` says whether what it says of its readiness goes on to the service manager.
    """

    start_timeout: float | None = None
    stop_timeout: float | None = None
    watchdog: float | None = None
    access: str = "all"
    relays: bool = True
    readiness: bool = True


class Ended(NamedTuple):
    """How it ended: the exit status to pass on, and why in a line where it was not the command's own doing.

    ``late`` where it was out of time while it started or worked, whatever its status.
    """

    status: int
    reason: str | None = None
    late: bool = False
    not_executed: bool = False


class Tended:
    """A command that is tended. ``changed`` is called at each change of its life or of its status text."""

    def __init__(
        self,
        rules: Rules,
        notifier: Notifier,
        *,
        changed: Callable[["Tended"], None],
        note: Callable[[str], None],
        life: Life,
    ) -> None:
        """Start nothing yet."""
        self.life, self.status_text, self.why = life, "", ""
        self._rules, self._notifier, self._changed, self._note = rules, notifier, changed, note
        self._loop = asyncio.get_running_loop()
        self._access = rules.access
        self._job: Job | None = None
        self._late_for: str | None = None
        self._killed_for: str | None = None
        self._watchdog_every = rules.watchdog
        self._starting = Limit(lambda: self._out_of_time("start", rules.start_timeout, signal.SIGTERM))
        self._stopping = Limit(self._out_of_patience)
        self._watchdog = Limit(lambda: self._out_of_time("watchdog", self._watchdog_every, signal.SIGABRT))
        self._status_timer: asyncio.TimerHandle | None = None
        self._relay: Relay | None = None

    async def run(
        self,
        command: Sequence[str],
        environ: Mapping[str, str],
        stock: Stock,
        ours: set[str],
        received: Callable[[], int | None],
    ) -> Ended:
        """Start the command, tend it, and return how it ended once nothing of it is left.

        ``received`` returns the number of a signal that came before, which nobody has heeded yet.
        """
        job = self._job = Job(self._sent, self._drain, stock)
        if (number := received()) is not None:
            self._become(Event.TOLD_TO_STOP)
            why = f"ended by {signal.Signals(number).name} before the command was started"
            return Ended(128 + number, why, not_executed=True)
        given, own, removed = self._environment(environ, ours)
        failure = await job.start(command, given, removed, own)
        if failure:
            self._become(Event.FAILED)
            return Ended(failure.status, failure.reason, not_executed=True)
        self._starting.arm(self._rules.start_timeout)
        if not self._rules.relays:
            self._ready()
        status = await job.over
        for limit in (self._starting, self._watchdog, self._stopping):
            limit.disarm()
        self._become(Event.EXITED if status == 0 else Event.FAILED)
        await job.see_off_kin(self._stop_patience)
        if self._relay:
            self._relay.close()
        if self._status_timer:  # its last words are not too many
            self._status_timer.cancel()
            self._say_status()
        if ended_for := self._late_for or self._killed_for:
            return Ended(status, f"the command was ended: {ended_for}", late=self._late_for is not None)
        return Ended(status)

    @property
    def _stop_patience(self) -> float:
        return KIN_PATIENCE if self._rules.stop_timeout is None else self._rules.stop_timeout

    def _drain(self) -> None:
        if self._relay:
            self._relay.drain()

    def _environment(self, environ: Mapping[str, str], ours: set[str]) -> tuple[dict[str, str], list[str], set[str]]:
        """Return what the command is given, which of it is to be its process id, and what is removed."""
        given, removed, own = dict(environ), set(ours), []
        if self._rules.relays:
            self._relay = Relay(None, may_speak=self._may_not_speak, hear=self._hear, note=self._note)
            given["NOTIFY_SOCKET"] = self._relay.address
        if self._rules.watchdog is not None:
            usec = round(self._rules.watchdog * MICROSECONDS)
            if environ.get("WATCHDOG_PID", str(os.getpid())) == str(
                os.getpid()
            ):  # the one outside is to be fed as well
                usec = min(usec, number_of(environ.get("WATCHDOG_USEC")) or usec)
            given["WATCHDOG_USEC"] = str(usec)
            own.append("WATCHDOG_PID")
        # What was meant for us by our process id is meant for the command (sd_watchdog_enabled(3), sd_listen_fds(3)).
        own += [name for name in ("WATCHDOG_PID", "LISTEN_PID") if environ.get(name) == str(os.getpid())]
        return given, own, removed

    def _became(self, event: Event) -> bool:
        before = self.life
        self.life = after(before, event)
        if self.life == before:
            return False
        if self.life.phase is Phase.READY and not before.been_ready:
            self._starting.disarm()
            self._watchdog.arm(self._watchdog_every)
        if self.life.phase is Phase.STOPPING:
            self._starting.disarm()
            self._watchdog.disarm()
        return True

    def _become(self, event: Event) -> None:
        if self._became(event):
            self._changed(self)

    def _ready(self) -> None:
        self._become(Event.SAID_READY)
        if self._rules.readiness:
            self._notifier.ready()

    def _may_not_speak(self, sender: Sender) -> str | None:
        """Return why a sender may not speak (systemd.service(5), NotifyAccess=), or None."""
        if self._access == "none":
            return "nobody may speak"
        # systemd-notify(1) speaks for its parent, which is us where the command itself has become it; nobody else can
        # say that he is us (unix(7): CAP_SYS_ADMIN).
        if self._job and sender.pid in (self._job.main, os.getpid()):
            return None
        if self._access in ("main", "exec"):
            return "only the main process may speak (--notify-access=all lets its children)"
        if self._job and self._job.is_ours(sender.pid):
            return None
        return "its sender is gone already, or none of the command's processes"

    def _hear(self, said: Mapping[str, str]) -> None:
        """Take a message, part by part in the order that systemd has: who, what state, how much time."""
        if said.get("NOTIFYACCESS") in ("none", "main", "exec", "all"):
            self._access = said["NOTIFYACCESS"]
        if self._job and (pid := number_of(said.get("MAINPID"))) and self._job.is_ours(pid):
            self._job.main = pid
        event = event_of(said)
        # A reload that begins while another is going on is news to who asked for it (Type=notify-reload).
        again = event is Event.SAID_RELOADING and self.life.phase is Phase.RELOADING
        if event and (self._became(event) or again):
            if event is Event.SAID_STOPPING:
                self._stopping.arm(self._rules.stop_timeout)
            pass_on(
                {key: said[key] for key in ("STOPPING", "READY", "RELOADING", "MONOTONIC_USEC") if key in said},
                self._notifier,
                readiness=self._rules.readiness,
            )
        self._heed_times(said)
        changed = event is not None
        if "STATUS" in said and said["STATUS"] != self.status_text:
            self.status_text, changed = said["STATUS"], True
            self._pass_on_status()
        pass_on({key: value for key, value in said.items() if key != "STATUS"}, self._notifier, readiness=False)
        if changed:
            self._changed(self)

    def _pass_on_status(self) -> None:
        """Tell the service manager the newest text, a few times a second at most."""
        if self._status_timer is None:
            self._status_timer = self._loop.call_later(STATUS_AT_MOST_EVERY, self._say_status)

    def _say_status(self) -> None:
        self._status_timer = None
        self._notifier.status(self.status_text)

    def _heed_times(self, said: Mapping[str, str]) -> None:
        if (usec := number_of(said.get("WATCHDOG_USEC"))) is not None:
            self._watchdog_every = usec / MICROSECONDS or None
            if self.life.ready:
                self._watchdog.arm(self._watchdog_every)
        if said.get("WATCHDOG") == "trigger":
            self._out_of_time("watchdog", None, signal.SIGABRT)
        elif said.get("WATCHDOG") == "1" and self.life.ready:
            self._watchdog.arm(self._watchdog_every)
        if usec := number_of(said.get("EXTEND_TIMEOUT_USEC")):
            for limit in (self._starting, self._stopping, self._watchdog):
                limit.put_off(min(usec / MICROSECONDS, LONGEST))

    def _out_of_time(self, what: str, limit: float | None, number: signal.Signals) -> None:
        """End a command that took too long: a signal, and SIGKILL where it does not heed that in time either."""
        if self._late_for or not self._job or self._job.over.done():
            return
        after_it = "" if limit is None else f" after {shown(limit)}"
        self._late_for = {
            "start": f"not ready{after_it} (--start-timeout)",
            "watchdog": f"its watchdog was silent{after_it}" if limit else "it triggered its watchdog",
        }[what]
        self.why = self._late_for
        self._become(Event.OUT_OF_TIME)
        self._job.send(number)
        self._stopping.arm(self._stop_patience)

    def _sent(self, number: int) -> None:
        """Note a signal that was sent on: one that means an end begins it."""
        if number not in _ENDING or self.life.told_to_stop or self._late_for:
            return
        if self._rules.readiness and self.life.phase is not Phase.STOPPING:
            self._notifier.send("STOPPING=1")
        self._become(Event.TOLD_TO_STOP)
        self._stopping.arm(self._rules.stop_timeout)

    def _out_of_patience(self) -> None:
        """Kill the command, and what belongs to it, where it was told to end and did not."""
        if not self._job:
            return
        if not self._job.over.done() and not self._late_for:
            self.why = self._killed_for = (
                f"it did not end within {shown(self._rules.stop_timeout or 0)} (--stop-timeout)"
            )
            self._changed(self)
        self._job.kill_all()
