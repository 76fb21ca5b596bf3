"""A command being tended, once the gate is open: its start, what it says of itself, its time limits, its end.

What happens becomes an event of `lifecycle`, and what follows from that happens here: who is told, what is armed, who
is sent a signal.
"""

import asyncio
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from gatekeeper.announce.received import Sender
from gatekeeper.announce.relay import Relay, pass_on
from gatekeeper.announce.sdnotify import Notifier
from gatekeeper.handover.become import Stock
from gatekeeper.handover.supervise import (
    Came,
    Family,
    Signalled,
    become_subreaper,
    continued,
    has_children,
    has_terminal,
    parent_of,
    signal_all,
    start,
    stopped_as_a_job,
)
from gatekeeper.lifecycle import Event, Life, Phase, after
from gatekeeper.values import shown

KIN_PATIENCE = 5.0  # seconds that processes which the command left behind have for their end, where none were set
STATUS_AT_MOST_EVERY = 0.1
_KILL_AGAIN = 0.001, 0.1  # seconds, more and more: for who was being born while the others were killed
_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
_MICROSECONDS = 1_000_000
_LONGEST = 10 * 365 * 86400.0


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


class Limit:
    """A time limit that may be armed, put off and disarmed."""

    def __init__(self, over: Callable[[], None]) -> None:
        """Call ``over`` when it is over."""
        self._over, self._loop = over, asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def arm(self, seconds: float | None) -> None:
        """Count from now; None disarms."""
        self.disarm()
        if seconds is not None:
            self._timer = self._loop.call_later(seconds, self._over)

    def put_off(self, seconds: float) -> None:
        """Where armed, be over in so many seconds at the earliest: never sooner than it would have been."""
        if self._timer and self._timer.when() < self._loop.time() + seconds:
            self.arm(seconds)

    def disarm(self) -> None:
        """Be never over."""
        if self._timer:
            self._timer.cancel()
        self._timer = None


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
        self._main: int | None = None
        self._first: int | None = None
        self._family = Family()
        self._stopped = False  # and we with it
        self._over: asyncio.Future[int] = self._loop.create_future()
        self._kin_gone: asyncio.Future[None] | None = None
        self._late_for: str | None = None
        self._killed_for: str | None = None
        self._watchdog_every = rules.watchdog
        self._starting = Limit(lambda: self._out_of_time("start", rules.start_timeout, signal.SIGTERM))
        self._stopping = Limit(self._out_of_patience)
        self._watchdog = Limit(lambda: self._out_of_time("watchdog", self._watchdog_every, signal.SIGABRT))
        self._status_timer: asyncio.TimerHandle | None = None
        self._look_again: asyncio.TimerHandle | None = None
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
        become_subreaper()
        Signalled(self._came, stock)
        if (number := received()) is not None:
            self._become(Event.TOLD_TO_STOP)
            why = f"ended by {signal.Signals(number).name} before the command was started"
            return Ended(128 + number, why, not_executed=True)
        given, own, removed = self._environment(environ, ours)
        failure = await start(command, given, stock, removed, own, forked=self._forked)
        if failure:
            self._become(Event.FAILED)
            return Ended(failure.status, failure.reason, not_executed=True)
        self._starting.arm(self._rules.start_timeout)
        if not self._rules.relays:
            self._ready()
        self._reap()
        status = await self._over
        for limit in (self._starting, self._watchdog, self._stopping):
            limit.disarm()
        self._become(Event.EXITED if status == 0 else Event.FAILED)
        await self._see_off_kin()
        if self._relay:
            self._relay.close()
        if self._status_timer:  # its last words are not too many
            self._status_timer.cancel()
            self._say_status()
        if ended_for := self._late_for or self._killed_for:
            return Ended(status, f"the command was ended: {ended_for}", late=self._late_for is not None)
        return Ended(status)

    def _forked(self, pid: int) -> None:
        self._main = self._first = pid

    def _environment(self, environ: Mapping[str, str], ours: set[str]) -> tuple[dict[str, str], list[str], set[str]]:
        """Return what the command is given, which of it is to be its process id, and what is removed."""
        given, removed, own = dict(environ), set(ours), []
        if self._rules.relays:
            self._relay = Relay(None, may_speak=self._may_not_speak, hear=self._hear, note=self._note)
            given["NOTIFY_SOCKET"] = self._relay.address
        if self._rules.watchdog is not None:
            usec = round(self._rules.watchdog * _MICROSECONDS)
            if environ.get("WATCHDOG_PID", str(os.getpid())) == str(
                os.getpid()
            ):  # the one outside is to be fed as well
                usec = min(usec, _number(environ.get("WATCHDOG_USEC")) or usec)
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
        if sender.pid in (self._main, os.getpid()):
            return None
        if self._access in ("main", "exec"):
            return "only the main process may speak (--notify-access=all lets its children)"
        return None if self._is_ours(sender.pid) else "its sender is gone already, or none of the command's processes"

    def _is_ours(self, pid: int) -> bool:
        us, seen = os.getpid(), 0
        if us == 1:  # whoever is to be seen from here at all is below us
            return pid > 1
        while pid > 1 and seen < 1000:  # noqa: PLR2004 - no family tree is so high; two that change places while we look
            pid, seen = parent_of(pid), seen + 1
            if pid == us:
                return True
        return False

    def _hear(self, said: Mapping[str, str]) -> None:
        """Take a message, part by part in the order that systemd has: who, what state, how much time."""
        if said.get("NOTIFYACCESS") in ("none", "main", "exec", "all"):
            self._access = said["NOTIFYACCESS"]
        if (pid := _number(said.get("MAINPID"))) and self._is_ours(pid):
            self._main = pid
        event = _event(said)
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
        if (usec := _number(said.get("WATCHDOG_USEC"))) is not None:
            self._watchdog_every = usec / _MICROSECONDS or None
            if self.life.ready:
                self._watchdog.arm(self._watchdog_every)
        if said.get("WATCHDOG") == "trigger":
            self._out_of_time("watchdog", None, signal.SIGABRT)
        elif said.get("WATCHDOG") == "1" and self.life.ready:
            self._watchdog.arm(self._watchdog_every)
        if usec := _number(said.get("EXTEND_TIMEOUT_USEC")):
            for limit in (self._starting, self._stopping, self._watchdog):
                limit.put_off(min(usec / _MICROSECONDS, _LONGEST))

    def _out_of_time(self, what: str, limit: float | None, number: signal.Signals) -> None:
        """End a command that took too long: a signal, and SIGKILL where it does not heed that in time either."""
        if self._late_for or self._over.done():
            return
        after_it = "" if limit is None else f" after {shown(limit)}"
        self._late_for = {
            "start": f"not ready{after_it} (--start-timeout)",
            "watchdog": f"its watchdog was silent{after_it}" if limit else "it triggered its watchdog",
        }[what]
        self.why = self._late_for
        self._become(Event.OUT_OF_TIME)
        self._send(number)
        self._stopping.arm(self._rules.stop_timeout if self._rules.stop_timeout is not None else KIN_PATIENCE)

    def _came(self, came: Came) -> None:
        """Send the command what we were sent, and reap what has ended."""
        if came.number == signal.SIGCHLD:
            self._reap()
            return
        # An editor that stops itself for a while stops its whole group: its own signal, sent back, would stop it again.
        from_itself = came.number == signal.SIGTSTP and self._is_ours(came.sender)
        if (came.from_terminal or from_itself) and self._is_in_our_group():
            return
        if came.number == signal.SIGCONT and self._has_been_continued():
            return
        self._send(came.number)
        if came.number in _ENDING and not self.life.told_to_stop and not self._late_for:
            if self._rules.readiness and self.life.phase is not Phase.STOPPING:
                self._notifier.send("STOPPING=1")
            self._become(Event.TOLD_TO_STOP)
            self._stopping.arm(self._rules.stop_timeout)

    def _is_in_our_group(self) -> bool:
        try:
            return self._main is not None and os.getpgid(self._main) == os.getpgrp()
        except ProcessLookupError:
            return False

    def _send(self, number: int) -> None:
        if self._main is not None and not self._over.done():  # its number may be somebody else's by now
            with suppress(ProcessLookupError, PermissionError):
                os.kill(self._main, number)

    def _reap(self) -> None:
        if self._relay:
            self._relay.drain()  # whoever has just ended may have said something before
        awaited = {pid for pid in (self._main, self._first) if pid is not None}
        again = self._family.reap(awaited)
        if self._look_again:
            self._look_again.cancel()
        self._look_again = None if again is None else self._loop.call_later(again, self._reap)
        if self._main is not None and self._main in self._family.statuses and not self._over.done():
            self._over.set_result(self._family.statuses[self._main])
        if self._kin_gone and not self._kin_gone.done() and not has_children():
            self._kin_gone.set_result(None)
        self._stop_with_command()

    def _stop_with_command(self) -> None:
        """Stop where the command was stopped as a job: for its shell the two of us are one, and it waits for us."""
        if self._main is None or self._over.done() or not stopped_as_a_job(self._main):
            return
        if self._is_in_our_group() and has_terminal():
            self._stopped = True
            os.kill(os.getpid(), signal.SIGSTOP)

    def _has_been_continued(self) -> bool:
        """Tell whether the shell that woke us has woken the command too: once more might undo the next Ctrl-Z."""
        if not self._stopped or self._main is None:
            return False
        self._stopped = False
        for _ in range(2):  # it may be stopped anew between the one question and the other
            self._stop_with_command()
            if self._stopped or continued(self._main):
                return True
        return False

    async def _see_off_kin(self) -> None:
        """End what the command left behind: as PID 1 it would be killed with us, elsewhere it would be nobody's."""
        patience = self._rules.stop_timeout if self._rules.stop_timeout is not None else KIN_PATIENCE
        self._kin_gone = self._loop.create_future()
        self._family.forget_probes()
        self._reap()
        if not self._kin_gone.done():
            signal_all(signal.SIGTERM)
            await asyncio.wait([self._kin_gone], timeout=patience)
        end = self._loop.time() + KIN_PATIENCE  # for those that the kernel itself holds
        pause, longest = _KILL_AGAIN
        while not self._kin_gone.done() and self._loop.time() < end:
            signal_all(signal.SIGKILL)
            await asyncio.wait([self._kin_gone], timeout=pause)
            pause = min(pause * 1.1, longest)

    def _out_of_patience(self) -> None:
        """Kill the command, and what belongs to it, where it was told to end and did not."""
        if not self._over.done() and not self._late_for:
            self.why = self._killed_for = (
                f"it did not end within {shown(self._rules.stop_timeout or 0)} (--stop-timeout)"
            )
            self._changed(self)
        self._send(signal.SIGKILL)
        signal_all(signal.SIGKILL)


def _event(said: Mapping[str, str]) -> Event | None:
    """Return what a message says of the state: of several, the one that goes furthest, as systemd has it."""
    for key, event in (
        ("STOPPING", Event.SAID_STOPPING),
        ("READY", Event.SAID_READY),
        ("RELOADING", Event.SAID_RELOADING),
    ):
        if said.get(key) == "1":
            return event
    return None


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 20 else None  # noqa: PLR2004 - 64 bits
