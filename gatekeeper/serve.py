"""``gatekeeper serve``: `run` without a child, for a native sidecar: hold the pod's start, then hear a neighbour.

The neighbour speaks to a socket file in a folder that both have mounted. Its process id is not visible from here, and
so its user decides whether it is heard. It may end and come again, and then begins anew: nothing here ends with it.
"""

import os
from collections.abc import Callable, Mapping

from gatekeeper import log
from gatekeeper.announce import ending
from gatekeeper.announce.received import Sender
from gatekeeper.announce.relay import Relay, pass_on
from gatekeeper.declaration import BadDeclarationError, Problem
from gatekeeper.gate import in_loop
from gatekeeper.lifecycle import Event, Life, Phase, after, event_of
from gatekeeper.limit import LONGEST, MICROSECONDS, Limit, number_of
from gatekeeper.model import GateOptions, Plan
from gatekeeper.options import spelled
from gatekeeper.run import Voices, answering, held, keeping
from gatekeeper.signals import OTHERS_THAT_END, Signals
from gatekeeper.values import shown
from gatekeeper.verdict import Verdict
from gatekeeper.whole import Whole


def serve(plan: Plan, voices: Voices, signals: Signals, began: float) -> Verdict:
    """Hold, then hear the neighbour until a signal ends it, and return the verdict over the gate."""
    signals.take_over(OTHERS_THAT_END)  # whichever it is, no socket file is to be left behind

    async def through() -> Verdict:
        whole = Whole(starts_with_the_gate=True)
        async with answering(plan.options, whole, voices.logger) as changed:
            neighbour = Neighbour(plan.options, whole, voices, changed)
            neighbour.listen()
            try:
                verdict = await held(plan, whole, voices, signals, began)
                verdict = ending.announce(verdict, plan.options, voices.logger, voices.notifier, tending=True)
                whole.verdict = verdict
                whole.life = after(whole.life, Event.OPENED if verdict else Event.CLOSED)
                changed()
                if voices.pod:  # when the pod's own probes can see it already: this may take its time
                    await voices.pod.ended(verdict)
                if verdict:
                    async with keeping(plan, whole, voices, changed):
                        neighbour.begin()
                        await signals.wait()
            finally:
                neighbour.close()
            return verdict

    return in_loop(through())


class Neighbour:
    """A program in another container that says how it is."""

    def __init__(self, options: GateOptions, whole: Whole, voices: Voices, changed: Callable[[], None]) -> None:
        """Take where to note what it says, and who is told."""
        self._options, self._whole, self._voices, self._changed = options, whole, voices, changed
        self._relay: Relay | None = None
        self._starting = Limit(lambda: self._over(f"not ready after {shown(options.start_timeout)} (--start-timeout)"))
        self._watchdog_every = options.watchdog
        self._watchdog = Limit(lambda: self._over(f"its watchdog was silent after {shown(self._watchdog_every)}"))

    def listen(self) -> None:
        """Have the socket there before anything is probed; raises `BadDeclarationError`."""
        if self._options.notify in ("ready", "off"):
            return
        path = self._options.notify_socket
        try:
            os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
            self._relay = Relay(path, may_speak=self._may_not_speak, hear=self._hear, note=self._voices.logger.note)
        except OSError as error:
            what = f"{path} cannot be listened at: {error.strerror}; name a folder that both containers have mounted"
            raise BadDeclarationError([Problem(spelled("notify_socket"), what)], self._options) from None

    def begin(self) -> None:
        """Hear it from now on, or take it for ready where nobody is to be heard."""
        if self._relay:
            self._starting.arm(self._options.start_timeout)
            return
        self._became(Event.SAID_READY)
        if self._options.notify == "ready":
            self._voices.notifier.ready()

    def close(self) -> None:
        """Hear nothing any more."""
        for limit in (self._starting, self._watchdog):
            limit.disarm()
        if self._relay:
            self._relay.close()

    def _may_not_speak(self, sender: Sender) -> str | None:
        if not self._whole.verdict:
            return "the gate is not open yet"
        if self._options.notify_access == "none":
            return "nobody may speak (--notify-access=none)"
        if sender.uid in (0, os.geteuid(), *self._options.notify_uid):
            return None
        return f"user {sender.uid} may not speak: --notify-uid={sender.uid} lets it"

    def _hear(self, said: Mapping[str, str]) -> None:
        event = event_of(said)
        if event is Event.SAID_READY and self._whole.life.phase not in (Phase.STARTING, Phase.RELOADING, Phase.READY):
            # It has come again, and begins anew.
            self._whole.life = Life(Phase.STARTING, been_ready=self._whole.life.been_ready)
            self._whole.said = self._whole.why = ""
            self._watchdog_every = self._options.watchdog
        again = event is Event.SAID_RELOADING and self._whole.life.phase is Phase.RELOADING
        moved = event is not None and self._became(event)
        pass_on(said, self._voices.notifier, readiness=(moved or again) and self._options.notify == "auto")
        if "STATUS" in said:
            self._whole.said = said["STATUS"]
            self._changed()
        self._heed_times(said, moved=moved)

    def _heed_times(self, said: Mapping[str, str], *, moved: bool) -> None:
        """Put off or trip what a tended command's times would, too; what has moved is no longer starting."""
        usec, extended = number_of(said.get("WATCHDOG_USEC")), number_of(said.get("EXTEND_TIMEOUT_USEC"))
        if usec is not None:
            self._watchdog_every = usec / MICROSECONDS or None
        if moved:
            self._starting.disarm()
        if said.get("WATCHDOG") == "trigger":
            self._over("it triggered its watchdog")
        elif not self._whole.life.ready:
            self._watchdog.disarm()
        elif moved or usec is not None or said.get("WATCHDOG") == "1":
            self._watchdog.arm(self._watchdog_every)
        if extended:
            for limit in (self._starting, self._watchdog):
                limit.put_off(min(extended / MICROSECONDS, LONGEST))

    def _became(self, event: Event) -> bool:
        before, self._whole.life = self._whole.life, after(self._whole.life, event)
        if self._whole.life == before:
            return False
        if self._whole.life.been_ready and not before.been_ready:
            ending.tell_descriptor(self._options, self._voices.logger)
        level = "error" if self._whole.why else "info"
        detail = self._whole.why or None
        self._voices.logger.say(level, log.COMMAND, state=self._whole.life.phase.value, detail=detail)
        self._changed()
        return True

    def _over(self, why: str) -> None:
        """Take it for dead: its liveness probe then has it started anew."""
        self._whole.why = why
        self._became(Event.OUT_OF_TIME)
