"""What clients find at a real server that is told to stop: once it is not ready, it is never ready again."""

import signal
import subprocess
from itertools import groupby

from attempts import told

PATIENT = 60.0  # seconds that a server may leave a client without an answer; its end is an answer as well
GONE = ("waiting", "refused")


def goes_for_good(
    target: str,
    server: "subprocess.Popen[bytes]",
    number: int = signal.SIGTERM,
    *,
    seconds: float = PATIENT,
    **options: str,
) -> list[tuple[str, str]]:
    """Stop a server by a signal, and see that no gate opens on it from the first attempt on that is not ready.

    Attempts are made one after another until it has ended, and beyond. Return what they found, without repetitions.
    Where somebody else stops the server, ``server`` is the process of that, and the signal is 0.
    """
    seen = [told(target, seconds, **options)]
    server.send_signal(number)
    while server.poll() is None:
        seen.append(told(target, seconds, **options))
    seen += [told(target, seconds, **options) for _ in range(3)]
    found = [each for each, _ in groupby(seen)]
    assert [state for state, _ in groupby(state for state, _ in found)] == ["ready", "waiting"], found
    assert found[-1] == GONE, found
    return found
