"""What all other kinds make of a real server: none takes it for one of its own, and none gives it up for good."""

import asyncio

from attempts import probe_of

from gatekeeper.model import Probe, State
from gatekeeper.probes import KINDS, load
from gatekeeper.probes._server import Server

PATIENT = 0.5  # seconds for two of whom each may wait for the other's first word
ASKING = {KINDS[kind]: kind for kind in reversed(KINDS) if issubclass(load(kind), Server)}.values()


def is_nothing_else(port: int, *kinds: str, speaks_first: bool = False) -> None:
    """See that a server is ready for the kinds of its protocol alone, which go by their first names.

    Of one that speaks first all others are to learn at once that it is another protocol, unless it hangs up on them.
    """
    assert set(kinds) <= set(ASKING)
    probes = [probe_of(f"{kind}://127.0.0.1:{port}") for kind in ASKING if kind not in kinds]

    async def run() -> set[str]:
        return set(await asyncio.gather(*(_reason(probe, 60.0 if speaks_first else PATIENT) for probe in probes)))

    reasons = asyncio.run(run())
    assert not speaks_first or reasons <= {"wrong_protocol", "closed", "reset"}


async def _reason(probe: Probe, seconds: float) -> str:
    try:
        async with asyncio.timeout(seconds):
            outcome = await probe.attempt()
    except TimeoutError:
        return "silence"
    assert outcome.state is State.WAITING, outcome
    return str(outcome.reason)
