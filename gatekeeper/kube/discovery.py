"""What a resource is called: from what a person writes (``deploy``, ``deployment.apps``) to the path of the API.

What every cluster has is known here, and asks nobody; all else is asked for and held for some seconds.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from gatekeeper.kube.access import Access
from gatekeeper.kube.answers import ApiError
from gatekeeper.kube.client import JSON, Client

# Seconds: a definition may be made while we wait for it. Of one group little is asked; all of them are much.
HELD_GROUP, HELD = 1.0, 5.0
# All groups with their resources at once (api-concepts, "Aggregated discovery"); an older server answers with its list.
_AGGREGATED = (
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,"
    "application/json"
)
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
    if group:
        return await _of_group(client, await _asked(client, f"/apis/{group}", HELD_GROUP), name.lower())
    whole = await _asked(client, "/apis", HELD, accept=_AGGREGATED)
    if _record(whole).get("kind") == "APIGroupDiscoveryList":
        return next((found for each in _records(whole, "items") if (found := _told(each, name.lower()))), None)
    for each in _records(whole, "groups"):  # a server before Kubernetes 1.27
        if found := await _of_group(client, each, name.lower()):
            return found
    return None


async def _of_group(client: Client, group: object, name: str) -> Resource | None:
    """Look in the versions of an APIGroup, its preferred one first: a resource may not be there in that one."""
    versions = [_record(group).get("preferredVersion"), *_records(group, "versions")]
    for place in dict.fromkeys(str(_record(each).get("groupVersion") or "") for each in versions):
        if place and (found := _among(await _asked(client, f"/apis/{place}", HELD_GROUP), place, name)):
            return found
    return None


def _among(listed: object, place: str, name: str) -> Resource | None:
    """Return a resource of an APIResourceList (meta/v1)."""
    group, _, version = place.rpartition("/")
    for each in _records(listed, "resources"):
        plural, kind = str(each.get("name")), str(each.get("kind"))
        if "/" not in plural and name in (plural, kind.lower(), *_words(each, "singularName", "shortNames")):
            return Resource(group, version, plural, bool(each.get("namespaced")), kind)
    return None


def _told(group: Mapping[str, Any], name: str) -> Resource | None:
    """Return a resource of an APIGroupDiscovery (apidiscovery.k8s.io/v2), whose preferred version is the first."""
    its_name = str(_record(group.get("metadata")).get("name") or "")
    for version in _records(group, "versions"):
        for each in _records(version, "resources"):
            plural, kind = str(each.get("resource")), str(_record(each.get("responseKind")).get("kind"))
            if name in (plural, kind.lower(), *_words(each, "singularResource", "shortNames")):
                return Resource(its_name, str(version.get("version")), plural, each.get("scope") == "Namespaced", kind)
    return None


def _words(each: Mapping[str, Any], one: str, several: str) -> list[object]:
    short = each.get(several)
    return [each.get(one), *(short if isinstance(short, list) else [])]


def _record(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _records(value: object, key: str) -> list[Mapping[str, Any]]:
    listed = _record(value).get(key)
    return [each for each in listed if isinstance(each, Mapping)] if isinstance(listed, list) else []


async def _asked(client: Client, path: str, held: float, accept: str = JSON) -> Any:  # noqa: ANN401 - a document
    """Return a document; None where it is not there, or its group's own server is not (503), which hides no other."""
    loop = asyncio.get_running_loop()
    answers = _answers.setdefault(loop, {})
    until, answer = answers.get((client.access, path), (0.0, None))
    if loop.time() < until:
        return answer
    try:
        answer = await client.get(path, accept=accept)
    except ApiError as error:
        if path == "/apis" or error.status not in (404, 503):
            raise
        answer = None
    answers[client.access, path] = (loop.time() + held, answer)
    return answer
