"""What all other kinds make of a real server: none takes it for one of its own, and none gives it up for good."""

import asyncio

from attempts import probe_of

from gatekeeper.model import Probe, State
from gatekeeper.probes import KINDS, load
from gatekeeper.probes._server import Server

PATIENT = 0.5  # seconds for two of whom each may wait for the other's first word
ASKING = {KINDS[kind]: kind for kind in reversed(KINDS) if issubclass(load(kind), Server)}.values()


def is_nothing_else(port: int, *kinds: str) -> set[str]:
    """See that a server is ready for the kinds of its protocol alone; return the reasons that all others tell.

    ``kinds`` go by their first names. Silence counts as a reason, for it has one: each of two may wait for the other's
    first word.
    """
    assert set(kinds) <= set(ASKING)
    probes = [probe_of(f"{kind}://127.0.0.1:{port}") for kind in ASKING if kind not in kinds]

    async def run() -> set[str]:
        return set(await asyncio.gather(*map(_reason, probes)))

    return asyncio.run(run())


async def _reason(probe: Probe) -> str:
    try:
        async with asyncio.timeout(PATIENT):
            outcome = await probe.attempt()
    except TimeoutError:
        return "silence"
    assert outcome.state is State.WAITING, outcome
    return str(outcome.reason)
