"""What clients find at a real server that is told to stop: once it is not ready, it is never ready again."""

import signal
import subprocess
from itertools import cycle, groupby

from attempts import told

PATIENT = 60.0  # seconds that a server may leave a client without an answer; its end is an answer as well
GONE = ("waiting", "refused")


def goes_for_good(
    server: "subprocess.Popen[bytes]", *targets: str, number: int = signal.SIGTERM, seconds: float = PATIENT
) -> None:
    """Stop a server by a signal; see that no gate opens on it from the first attempt on that is not ready, nor fails.

    Attempts are made one after another, at each of the targets in turn, until it has ended, and beyond. Where somebody
    else stops the server, ``server`` is the process of that, and the signal is 0.
    """
    seen = [told(target, seconds) for target in targets]
    server.send_signal(number)
    for target in cycle(targets):
        seen.append(told(target, seconds))
        if server.poll() is not None:
            break
    seen += [told(target, seconds) for target in targets * 2]
    assert [ready for ready, _ in groupby(state == "ready" for state, _ in seen)] == [True, False], seen
    assert not [each for each in seen if each[0] == "failed"], seen
    assert seen[-1] == GONE, seen
