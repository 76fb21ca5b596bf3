"""What a plan needs to be allowed in a cluster, as manifests to apply: ``gatekeeper plan --rbac``. Asks no cluster."""

import os

from gatekeeper.declaration import BadDeclarationError, Problem
from gatekeeper.kube import rights
from gatekeeper.model import Plan

RBAC = "--rbac"
_UNKNOWN = "only a cluster knows its group: write the plural and the group, as in certificates.cert-manager.io"


def roles(plan: Plan) -> str:
    """Return the Roles and their bindings as YAML; raises `BadDeclarationError` for what only a cluster knows.

    They are for the service account and the namespace that POD_SERVICE_ACCOUNT and POD_NAMESPACE name, else for the
    one called default: whoever applies them reads in the first lines for whom they are.
    """
    account = os.environ.get("POD_NAMESPACE") or "default", os.environ.get("POD_SERVICE_ACCOUNT") or "default"
    wanted: list[rights.Right] = []
    problems: list[Problem] = []
    for dependency in plan.dependencies:
        for alternative in dependency.alternatives:
            for asked in ("needs_rights", *(("exports_need",) if plan.options.export_env else ())):
                needs = getattr(alternative.probe, asked, None)
                found = needs(account[0]) if needs else ()
                if found is None:
                    problems.append(Problem(alternative.place or dependency.origin, _UNKNOWN))
                else:
                    wanted += found
    if plan.options.pod_condition:
        wanted.append(rights.Right("", "pods/status", account[0], verbs=("patch",)))
    if plan.options.event:
        wanted += [
            rights.Right("", "events", account[0], verbs=("create",)),
            rights.Right("", "pods", account[0], verbs=("get",)),
        ]
    if problems:
        raise BadDeclarationError(problems)
    if not wanted:
        return "# nothing of this plan needs a right in the cluster\n"
    whom = f"# For the service account {account[1]} of namespace {account[0]}; POD_NAMESPACE and POD_SERVICE_ACCOUNT "
    return f"{whom}name another.\n{rights.manifests(wanted, account)}"
