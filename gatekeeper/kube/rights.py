"""The rights that requests to an API server need, as whoever may grant them writes them: rules, a Role, commands.

Looks at nothing. Exactly what the requests need: a list or watch of one name is granted for that name alone (RBAC,
"Referring to resources": it works where the request selects by metadata.name, as ours do). To ask which resources
there are everybody may (system:discovery).
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

NAME = "gatekeeper"
LOOKING = ("list", "watch")
_USER = re.compile(r'User "([A-Za-z0-9@._:/-]+)"')
_ACCOUNT = re.compile(r"system:serviceaccount:([a-z0-9-]+):([a-z0-9.-]+)")


class Right(NamedTuple):
    """To do this with a resource (its plural) of a group, in a namespace (or, empty, the cluster), of one name or any.

    ``guessed`` says that no cluster was asked whether that is its plural, and whether it is of a namespace.
    """

    group: str
    resource: str
    namespace: str
    name: str = ""
    verbs: tuple[str, ...] = LOOKING
    guessed: bool = False

    @property
    def full(self) -> str:
        """The resource as kubectl has it, ``jobs.batch``."""
        return f"{self.resource}.{self.group}" if self.group else self.resource


def to_set_a_condition(namespace: str) -> Right:
    """Return the right to set a condition of a pod: of any pod, since who waits has no Role of its own."""
    return Right("", "pods/status", namespace, verbs=("patch",))


def to_make_an_event(namespace: str) -> Right:
    """Return the right to make Events; of core/v1, which are those that `kubectl describe` lists."""
    return Right("", "events", namespace, verbs=("create",))


def to_find_the_uid(namespace: str) -> Right:
    """Return the right to look at the own pod, which who has POD_UID does not need."""
    return Right("", "pods", namespace, verbs=("get",))


def commands(right: Right, refusal: str, unnamed: tuple[str, str] | None = None) -> str:
    """Return the kubectl commands that grant a right: a (Cluster)Role, and its binding to whom a refusal names.

    A refusal that names nobody is one of the service account ``unnamed`` (its namespace and its name), or of USER.
    """
    kind, where = ("role", f" -n {right.namespace}") if right.namespace else ("clusterrole", "")
    title = f"{NAME}-{right.resource.replace('/', '-')}{f'-{right.name}' if right.name else ''}"
    named = f" --resource-name={right.name}" if right.name else ""
    verbs = ",".join(right.verbs)
    return (
        f"kubectl create {kind} {title} --verb={verbs} --resource={_asked(right)}{named}{where} && "
        f"kubectl create {kind}binding {title} --{kind}={title} {_subject(refusal, unnamed)}{where}"
    )


def manifests(rights: Iterable[Right], account: tuple[str, str]) -> str:
    """Return the Roles and bindings of several rights as YAML, one Role for each namespace."""
    by_place: dict[str, list[Right]] = {}
    wanted = dict.fromkeys(rights)
    for right in wanted:
        if not right.name or right._replace(name="") not in wanted:  # who may look at all of them needs no name
            by_place.setdefault(right.namespace, []).append(right)
    return "---\n".join(_manifest(place, those, account) for place, those in sorted(by_place.items()))


def _asked(right: Right) -> str:
    """Return a resource as kubectl create takes it: RESOURCE[.GROUP][/SUBRESOURCE]."""
    resource, slash, sub = right.resource.partition("/")
    return f"{resource}.{right.group}{slash}{sub}" if right.group else right.resource


def _subject(refusal: str, unnamed: tuple[str, str] | None) -> str:
    user = _USER.search(refusal)
    account = _ACCOUNT.fullmatch(user[1]) if user else None
    if account:
        return f"--serviceaccount={account[1]}:{account[2]}"
    if user or not unnamed:
        return f"--user={user[1] if user else 'USER'}"
    return f"--serviceaccount={':'.join(unnamed)}"


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
    doubt = "  # taken for the plural, of a namespace: a cluster was not asked" if right.guessed else ""
    named = f'    resourceNames: ["{right.name}"]\n' if right.name else ""
    verbs = ", ".join(f'"{verb}"' for verb in right.verbs)
    return (
        f'  - apiGroups: ["{right.group}"]\n    resources: ["{right.resource}"]{doubt}\n{named}    verbs: [{verbs}]\n'
    )
