"""temporal://HOST[:PORT]: a Temporal whose frontend serves workflows, by its gRPC health."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from gatekeeper.probes._grpc import HealthServer


@dataclass(frozen=True, slots=True, kw_only=True)
class Temporal(HealthServer):
    """A Temporal whose frontend serves workflows."""

    EXAMPLE: ClassVar[str] = "workflows=temporal://temporal-frontend"
    PORTS: ClassVar[Mapping[str, int]] = {"temporal": 7233}
    SERVICE: ClassVar[str] = "temporal.api.workflowservice.v1.WorkflowService"
