"""grpc://HOST:PORT, grpcs://HOST:PORT: a server that says over gRPC that it serves (grpc.health.v1)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from gatekeeper.probes._grpc import HealthServer


@dataclass(frozen=True, slots=True, kw_only=True)
class Grpc(HealthServer):
    """A server that says over gRPC that it serves, as a whole or one service of it."""

    EXAMPLE: ClassVar[str] = "orders=grpc://orders:50051 service=shop.Orders"
    PORTS: ClassVar[Mapping[str, int]] = {"grpc": 0, "grpcs": 0}
    SECURE: ClassVar[frozenset[str]] = frozenset({"grpcs"})
