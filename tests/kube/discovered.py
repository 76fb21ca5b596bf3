"""What an API server says of its resources (meta/v1 APIGroupList and APIResourceList; apidiscovery.k8s.io/v2)."""

from typing import Any, NamedTuple

Object = dict[str, Any]


class Resource(NamedTuple):
    """A kind of object as discovery tells it."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    short: tuple[str, ...] = ()


RESOURCES = [
    Resource("", "v1", "pods", "Pod", short=("po",)),
    Resource("", "v1", "services", "Service", short=("svc",)),
    Resource("", "v1", "secrets", "Secret"),
    Resource("", "v1", "configmaps", "ConfigMap", short=("cm",)),
    Resource("", "v1", "events", "Event", short=("ev",)),
    Resource("", "v1", "serviceaccounts", "ServiceAccount", short=("sa",)),
    Resource("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", short=("pvc",)),
    Resource("", "v1", "persistentvolumes", "PersistentVolume", namespaced=False, short=("pv",)),
    Resource("", "v1", "namespaces", "Namespace", namespaced=False, short=("ns",)),
    Resource("", "v1", "nodes", "Node", namespaced=False, short=("no",)),
    Resource("apps", "v1", "deployments", "Deployment", short=("deploy",)),
    Resource("apps", "v1", "statefulsets", "StatefulSet", short=("sts",)),
    Resource("apps", "v1", "daemonsets", "DaemonSet", short=("ds",)),
    Resource("apps", "v1", "replicasets", "ReplicaSet", short=("rs",)),
    Resource("batch", "v1", "jobs", "Job"),
    Resource("batch", "v1", "cronjobs", "CronJob", short=("cj",)),
    Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice"),
    Resource("networking.k8s.io", "v1", "ingresses", "Ingress", short=("ing",)),
    Resource("coordination.k8s.io", "v1", "leases", "Lease"),
    Resource(
        "apiextensions.k8s.io",
        "v1",
        "customresourcedefinitions",
        "CustomResourceDefinition",
        namespaced=False,
        short=("crd", "crds"),
    ),
]


def discovered(resources: list[Resource], path: str) -> Object | None:
    """Return what stands at a path of discovery, None where nothing does."""
    parts = [part for part in path.split("/") if part]
    groups = sorted({each.group for each in resources if each.group})
    if parts == ["api"]:
        return {"kind": "APIVersions", "versions": ["v1"]}
    if parts == ["apis"]:
        listed = [_group(resources, each) for each in groups]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed}
    if len(parts) == 2 and parts[0] == "apis" and parts[1] in groups:
        return {"kind": "APIGroup", "apiVersion": "v1", **_group(resources, parts[1])}
    group, version = ("", parts[1]) if parts[0] == "api" and len(parts) == 2 else ("", "")
    if parts[0] == "apis" and len(parts) == 3:
        group, version = parts[1:]
    found = [each for each in resources if (each.group, each.version) == (group, version)]
    if not found:
        return None
    listed = [
        {
            "name": each.plural,
            "singularName": each.kind.lower(),
            "namespaced": each.namespaced,
            "kind": each.kind,
            "verbs": ["create", "delete", "get", "list", "patch", "update", "watch"],
            **({"shortNames": list(each.short)} if each.short else {}),
        }
        for each in found
    ]
    listed += [{**each, "name": f"{each['name']}/status"} for each in listed]
    name = f"{group}/{version}".lstrip("/")
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": listed}


def aggregated(resources: list[Resource]) -> Object:
    """Return all groups with their resources (apidiscovery.k8s.io/v2)."""
    items: list[Object] = []
    for group in sorted({each.group for each in resources if each.group}):
        versions: dict[str, list[Object]] = {}
        for each in resources:
            if each.group == group:
                told = {
                    "resource": each.plural,
                    "responseKind": {"group": each.group, "version": each.version, "kind": each.kind},
                    "scope": "Namespaced" if each.namespaced else "Cluster",
                    "singularResource": each.kind.lower(),
                    "verbs": ["create", "delete", "get", "list", "patch", "update", "watch"],
                    **({"shortNames": list(each.short)} if each.short else {}),
                }
                versions.setdefault(each.version, []).append(told)
        listed = [{"version": key, "resources": those, "freshness": "Current"} for key, those in versions.items()]
        items.append({"metadata": {"name": group, "creationTimestamp": None}, "versions": listed})
    return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}


def _group(resources: list[Resource], name: str) -> Object:
    versions = list(dict.fromkeys(each.version for each in resources if each.group == name))
    listed = [{"groupVersion": f"{name}/{each}", "version": each} for each in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}
