"""How long a shared watch rests between two requests, so that no server is flooded, however it behaves."""

from random import uniform
from typing import NamedTuple

_NO_RIGHT = (401, 403, 404)


class Pauses(NamedTuple):
    """Times in seconds; all but the limits are jittered."""

    shortest: float = 0.05  # after the first failure; doubled by each that follows
    longest: float = 5.0
    settled: float = 5.0  # a watch that held for so long makes the failures before it forgotten
    poll: float = 1.5  # between two lists where watching is not allowed
    # After the first time that permission is denied or there is no such resource; doubled as well. A server that starts
    # may say so for a moment, and a gate that closes after a second of it must have asked more than once.
    refused: float = 0.3
    asked: float = 60.0  # at most, where a server names the time
    watch: float = 120.0  # that a watch is asked to last
    late: float = 10.0  # that it may last beyond, and that the head of an answer may take
    list: float = 60.0  # that a list may take in all


PAUSES = Pauses()


class Rests:
    """The pauses of one watch, which grow with its failures."""

    def __init__(self, pauses: Pauses) -> None:
        """Begin with none."""
        self._pauses = pauses
        self.failures = 0

    def after_failure(self, status: int = 0, retry_after: float | None = None) -> float:
        """Return the seconds to rest after one more failure, a ``status`` of HTTP or none."""
        pauses, doubled = self._pauses, 2 ** min(self.failures, 16)
        self.failures += 1
        shortest = max(pauses.refused, pauses.shortest) if status in _NO_RIGHT else pauses.shortest
        pause = jittered(min(shortest * doubled, pauses.longest))
        if retry_after is None:
            return pause
        return max(pause, min(retry_after, pauses.asked) * uniform(1, 1.2))  # noqa: S311 - no secret

    def after_list(self) -> float:
        """Return the seconds between two lists where watching is not allowed."""
        return jittered(self._pauses.poll)

    def forget(self) -> None:
        """Take the failures so far as over."""
        self.failures = 0


def jittered(seconds: float) -> float:
    """Return more or less these seconds, so that a thousand who fail together do not come back together."""
    return seconds * uniform(0.7, 1.3)  # noqa: S311 - no secret
