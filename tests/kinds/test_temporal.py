"""temporal: the health of its frontend, by a real server of gRPC that has the same health service."""

from pathlib import Path

import attempts
from realservers import paused
from stopping import goes_for_good
from test_grpc import NOT_SERVING, SERVING, TEMPORAL, Server, attempt, ending, told

from gatekeeper.model import Reason, State


def test_a_temporal_is_ready_once_its_frontend_serves_workflows() -> None:
    """The server as a whole does not count: another of its services may be the first to be up."""
    server = Server()
    with server.at("127.0.0.1:0") as port:
        target = f"temporal://127.0.0.1:{port}"
        assert told(attempt(target)) == (State.WAITING, Reason.NOT_FOUND)
        server.health.set(TEMPORAL, NOT_SERVING)
        assert told(attempt(target)) == (State.WAITING, Reason.STARTING)
        server.health.set(TEMPORAL, SERVING)
        assert told(attempt(target)) == (State.READY, Reason.READY)


def test_a_temporal_that_is_paused_or_ends_is_not_ready(tmp_path: Path) -> None:
    """Paused, its port accepts still."""
    with ending(tmp_path, TEMPORAL) as (port, process):
        target = f"temporal://127.0.0.1:{port}"
        with paused(process):
            assert attempts.attempt(target, 0.2) == f"waiting for an answer from 127.0.0.1:{port}"
        goes_for_good(process, target)
