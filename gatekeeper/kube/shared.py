"""One informer for all who want to know the same of a cluster, so that they cost one list and one watch."""

import asyncio
from weakref import WeakKeyDictionary

from gatekeeper.kube import parts
from gatekeeper.kube.access import Access
from gatekeeper.kube.informer import Informer, Keep
from gatekeeper.kube.pauses import PAUSES, Pauses

_Key = tuple[Access, str, str, str, Pauses, Keep]

# Of each loop, because a task and its connection belong to one; a loop that has gone takes them along.
_shared: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[_Key, Informer]] = WeakKeyDictionary()


def informer(
    access: Access,
    path: str,
    label_selector: str = "",
    field_selector: str = "",
    *,
    keep: Keep = parts.whole,
    pauses: Pauses = PAUSES,
) -> Informer:
    """Return the informer of the running loop for a list; who asks for the same is given the same.

    ``path`` is that of a list, as ``/apis/apps/v1/namespaces/shop/deployments``; ``keep`` returns what is kept of an
    object. To be held while it is used.
    """
    shared = _shared.setdefault(asyncio.get_running_loop(), {})
    key = (access, path, label_selector, field_selector, pauses, keep)
    if key not in shared:
        shared[key] = Informer(*key, forget=lambda: shared.pop(key, None))
    return shared[key]
