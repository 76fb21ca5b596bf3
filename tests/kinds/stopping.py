"""What clients find at a real server that is told to stop: once it is not ready, it is never ready again."""

import signal
import subprocess
from itertools import groupby

from attempts import told

PATIENT = 60.0  # seconds that a server may leave a client without an answer; its end is an answer as well
GONE = ("waiting", "refused")


def goes_for_good(
    target: str, server: "subprocess.Popen[bytes]", number: int = signal.SIGTERM, *, seconds: float = PATIENT
) -> None:
    """Stop a server by a signal, and see that no gate opens on it from the first attempt on that is not ready.

    Attempts are made one after another until it has ended, and beyond. Where somebody else stops the server,
    ``server`` is the process of that, and the signal is 0.
    """
    seen = [told(target, seconds)]
    server.send_signal(number)
    while server.poll() is None:
        seen.append(told(target, seconds))
    seen += [told(target, seconds) for _ in range(3)]
    assert [ready for ready, _ in groupby(state == "ready" for state, _ in seen)] == [True, False], seen
    assert seen[-1] == GONE, seen
