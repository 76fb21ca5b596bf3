"""The rights that looking at objects needs, as whoever may grant them writes them: rules, a Role, commands.

Looks at nothing. Exactly what the requests need: a list or watch of one name is granted for that name alone (RBAC,
"Referring to resources": it works where the request selects by metadata.name, as ours do).
"""

import json
import re
from binascii import Error, a2b_base64
from collections.abc import Iterable
from typing import NamedTuple

VERBS = ("get", "list", "watch")
NAME = "gatekeeper"
_ACCOUNT = re.compile(r"system:serviceaccount:([a-z0-9-]+):([a-z0-9.-]+)")


class Right(NamedTuple):
    """To look at a resource (its plural) of a group, in a namespace (or, empty, the cluster), of one name or any."""

    group: str
    resource: str
    namespace: str
    name: str = ""
    verbs: tuple[str, ...] = VERBS

    @property
    def full(self) -> str:
        """The resource as kubectl has it, ``jobs.batch``."""
        return f"{self.resource}.{self.group}" if self.group else self.resource


def account_of(message: str) -> tuple[str, str] | None:
    """Return namespace and name of the service account that an API server's refusal names."""
    match = _ACCOUNT.search(message)
    return (match[1], match[2]) if match else None


def account_of_token(token: str) -> tuple[str, str] | None:
    """Return namespace and name of the service account that a token is for (RFC 7519, 4.1.2), unverified."""
    try:
        claims = json.loads(a2b_base64(token.split(".")[1].translate({45: 43, 95: 47}) + "=="))
        return account_of(str(claims["sub"]))
    except (IndexError, KeyError, TypeError, ValueError, Error):
        return None


def commands(right: Right, account: tuple[str, str]) -> str:
    """Return the kubectl commands that grant a right to a service account: a (Cluster)Role and its binding."""
    kind, where = ("role", f" -n {right.namespace}") if right.namespace else ("clusterrole", "")
    title = f"{NAME}-{right.resource}{f'-{right.name}' if right.name else ''}"
    named = f" --resource-name={right.name}" if right.name else ""
    verbs = ",".join(right.verbs)
    subject = f"--serviceaccount={':'.join(account)}"
    return (
        f"kubectl create {kind} {title} --verb={verbs} --resource={right.full}{named}{where} && "
        f"kubectl create {kind}binding {title} --{kind}={title} {subject}{where}"
    )


def manifests(rights: Iterable[Right], account: tuple[str, str]) -> str:
    """Return the Roles and bindings of several rights as YAML, one Role for each namespace."""
    by_place: dict[str, list[Right]] = {}
    for right in dict.fromkeys(rights):
        by_place.setdefault(right.namespace, []).append(right)
    return "---\n".join(_manifest(place, those, account) for place, those in sorted(by_place.items()))


def _manifest(namespace: str, rights: list[Right], account: tuple[str, str]) -> str:
    kind = "Role" if namespace else "ClusterRole"
    about = f"metadata:\n  name: {NAME}\n" + (f"  namespace: {namespace}\n" if namespace else "")
    head = "apiVersion: rbac.authorization.k8s.io/v1\nkind: "
    rules = "".join(map(_rule, rights))
    return (
        f"{head}{kind}\n{about}rules:\n{rules}---\n{head}{kind}Binding\n{about}"
        f"roleRef:\n  apiGroup: rbac.authorization.k8s.io\n  kind: {kind}\n  name: {NAME}\n"
        f"subjects:\n  - kind: ServiceAccount\n    name: {account[1]}\n    namespace: {account[0]}\n"
    )


def _rule(right: Right) -> str:
    named = f'    resourceNames: ["{right.name}"]\n' if right.name else ""
    verbs = ", ".join(f'"{verb}"' for verb in right.verbs)
    return f'  - apiGroups: ["{right.group}"]\n    resources: ["{right.resource}"]\n{named}    verbs: [{verbs}]\n'
