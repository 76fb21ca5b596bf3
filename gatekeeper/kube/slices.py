"""Where the endpoints of a Service are listed, and which right that takes. Judges nothing."""

from gatekeeper.kube.access import Access
from gatekeeper.kube.discovery import Resource
from gatekeeper.kube.informer import Informer
from gatekeeper.kube.rights import Right
from gatekeeper.kube.shared import informer

_SLICES = Resource("discovery.k8s.io", "v1", "endpointslices", namespaced=True, kind="EndpointSlice")
_LABEL = "kubernetes.io/service-name"


def slices(way: Access, namespace: str, name: str) -> Informer:
    """Return the shared watch of a service's EndpointSlices."""
    return informer(way, _SLICES.path(namespace), f"{_LABEL}={name}")


def right_to_slices(namespace: str) -> Right:
    """Return what must be granted: the names of slices are made up, so that none can be named."""
    return Right(_SLICES.group, _SLICES.plural, namespace)
