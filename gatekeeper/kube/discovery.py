"""What a resource is called: from what a person writes (``deploy``, ``deployment.apps``) to the path of the API.

What every cluster has is known here, and asks nobody; all else is asked for and held for some seconds.
"""

import asyncio
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from gatekeeper.kube.access import Access
from gatekeeper.kube.client import ApiError, Client

HELD = 10.0  # seconds: a definition may be made while we wait for it
_OURS = """
/v1 pods pod po Pod
/v1 services service svc Service
/v1 secrets secret - Secret
/v1 configmaps configmap cm ConfigMap
/v1 events event ev Event
/v1 endpoints endpoints ep Endpoints
/v1 serviceaccounts serviceaccount sa ServiceAccount
/v1 persistentvolumeclaims persistentvolumeclaim pvc PersistentVolumeClaim
/v1 replicationcontrollers replicationcontroller rc ReplicationController
/v1 persistentvolumes persistentvolume pv PersistentVolume cluster
/v1 namespaces namespace ns Namespace cluster
/v1 nodes node no Node cluster
apps/v1 deployments deployment deploy Deployment
apps/v1 statefulsets statefulset sts StatefulSet
apps/v1 daemonsets daemonset ds DaemonSet
apps/v1 replicasets replicaset rs ReplicaSet
batch/v1 jobs job - Job
batch/v1 cronjobs cronjob cj CronJob
discovery.k8s.io/v1 endpointslices endpointslice - EndpointSlice
networking.k8s.io/v1 ingresses ingress ing Ingress
networking.k8s.io/v1 networkpolicies networkpolicy netpol NetworkPolicy
autoscaling/v2 horizontalpodautoscalers horizontalpodautoscaler hpa HorizontalPodAutoscaler
policy/v1 poddisruptionbudgets poddisruptionbudget pdb PodDisruptionBudget
coordination.k8s.io/v1 leases lease - Lease
storage.k8s.io/v1 storageclasses storageclass sc StorageClass cluster
scheduling.k8s.io/v1 priorityclasses priorityclass pc PriorityClass cluster
apiextensions.k8s.io/v1 customresourcedefinitions customresourcedefinition crd CustomResourceDefinition cluster
apiregistration.k8s.io/v1 apiservices apiservice - APIService cluster
rbac.authorization.k8s.io/v1 roles role - Role
rbac.authorization.k8s.io/v1 rolebindings rolebinding - RoleBinding
rbac.authorization.k8s.io/v1 clusterroles clusterrole - ClusterRole cluster
rbac.authorization.k8s.io/v1 clusterrolebindings clusterrolebinding - ClusterRoleBinding cluster
"""


class Resource(NamedTuple):
    """A resource of the API; ``group`` is empty for the core."""

    group: str
    version: str
    plural: str
    namespaced: bool
    kind: str

    def path(self, namespace: str = "", name: str = "") -> str:
        """Return the path of a list, or of one object; without a namespace that of all of them."""
        start = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        inside = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"{start}{inside}/{self.plural}{f'/{name}' if name else ''}"


# Of each loop, as its time is its own: what was answered, and until when that holds.
_answers: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[Access, str], tuple[float, Any]]] = (
    WeakKeyDictionary()
)


def known(group: str | None, name: str) -> Resource | None:
    """Return a resource that every cluster has, by its plural, singular, short name or kind in any case."""
    wanted = name.lower()
    for line in _OURS.strip().splitlines():
        where, plural, singular, short, kind, *scope = line.split()
        its_group, _, version = where.rpartition("/")
        if wanted in (plural, singular, short) and group in (None, its_group):
            return Resource(its_group, version, plural, not scope, kind)
    return None


async def resource(client: Client, group: str | None, name: str) -> Resource | None:
    """Return a resource by its plural, singular, short name or kind; None where the server has none of that name.

    Without a group the first group that has it counts, in the server's order. Raises `ApiError` and `MissError`.
    """
    if found := known(group, name):
        return found
    groups = (await _asked(client, "/apis") or {}).get("groups") or []
    for each in groups:
        if group in (None, each.get("name")):
            preferred = (each.get("preferredVersion") or {}).get("groupVersion") or ""
            others = [version.get("groupVersion") for version in each.get("versions") or []]
            # A resource may not be there in the version that its group prefers.
            for place in dict.fromkeys([preferred, *others]):
                if place and (found := _among(await _asked(client, f"/apis/{place}"), place, name.lower())):
                    return found
    return None


def _among(listed: Any, place: str, name: str) -> Resource | None:  # noqa: ANN401 - a document of the server
    group, _, version = place.rpartition("/")
    for each in (listed or {}).get("resources") or []:
        plural, kind = str(each.get("name")), str(each.get("kind"))
        words = (plural, each.get("singularName"), kind.lower(), *(each.get("shortNames") or ()))
        if "/" not in plural and name in words:
            return Resource(group, version, plural, bool(each.get("namespaced")), kind)
    return None


async def _asked(client: Client, path: str) -> Any:  # noqa: ANN401 - a document of the server
    """Return a document; None where it is not there, or its group's own server is not (503), which hides no other."""
    loop = asyncio.get_running_loop()
    answers = _answers.setdefault(loop, {})
    until, answer = answers.get((client.access, path), (0.0, None))
    if loop.time() < until:
        return answer
    try:
        answer = await client.get(path)
    except ApiError as error:
        if path == "/apis" or error.status not in (404, 503):
            raise
        answer = None
    answers[client.access, path] = (loop.time() + HELD, answer)
    return answer
