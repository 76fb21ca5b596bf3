"""What a plan needs to be allowed in a cluster, as manifests to apply: ``gatekeeper plan --rbac``. Asks no cluster."""

import os
import re

from gatekeeper.declaration import BadDeclarationError, Problem
from gatekeeper.kube import rights
from gatekeeper.model import Plan
from gatekeeper.values import quoted

RBAC = "--rbac"
_UNKNOWN = "only a cluster knows its group: write the plural and the group, as in certificates.cert-manager.io"
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")


def roles(plan: Plan) -> str:
    """Return the Roles and their bindings as YAML; raises `BadDeclarationError` for what only a cluster knows.

    They are for the service account and the namespace that POD_SERVICE_ACCOUNT and POD_NAMESPACE name, else for the
    one called default: whoever applies them reads in the first lines for whom they are.
    """
    account = os.environ.get("POD_NAMESPACE") or "default", os.environ.get("POD_SERVICE_ACCOUNT") or "default"
    wanted: list[rights.Right] = []
    problems = [
        Problem(variable, f"{quoted(word)} is no name of the API: lower-case letters, digits, - and .")
        for variable, word in zip(("POD_NAMESPACE", "POD_SERVICE_ACCOUNT"), account, strict=True)
        if not _NAME.fullmatch(word)
    ]
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
        wanted.append(rights.to_set_a_condition(account[0]))
    if plan.options.event:
        wanted += [rights.to_make_an_event(account[0]), rights.to_find_the_uid(account[0])]
    if problems:
        raise BadDeclarationError(problems)
    if not wanted:
        return "# nothing of this plan needs a right in the cluster\n"
    whom = f"# For the service account {account[1]} of namespace {account[0]}; POD_NAMESPACE and POD_SERVICE_ACCOUNT "
    return f"{whom}name another.\n{rights.manifests(wanted, account)}"
