"""What of an object is kept: of one all of it, of many what tells how they stand. Pure.

Of five thousand pods the rest is a hundred megabytes, and a pod that waits has seldom that much.
"""

from collections.abc import Mapping
from typing import Any

Object = dict[str, Any]
_ABOUT = ("name", "namespace", "uid", "generation", "deletionTimestamp")


def whole(thing: Object) -> Object:
    """Return an object without the record of who changed what, which is often most of it and tells nobody here."""
    thing["metadata"].pop("managedFields", None)
    return thing


def standing(thing: Object) -> Object:
    """Return what `ready` looks at: names, numbers, conditions, the keys of data; neither templates nor any content."""
    about = thing["metadata"]
    kept: Object = {"metadata": {key: about[key] for key in _ABOUT if key in about}}
    for part in ("spec", "status"):
        of = thing.get(part)
        if isinstance(of, Mapping):
            kept[part] = {key: value for key, value in of.items() if _is_small(key, value)}
    for part in ("data", "binaryData"):
        if isinstance(thing.get(part), Mapping):
            kept[part] = dict.fromkeys(thing[part])
    return kept


def _is_small(key: str, value: object) -> bool:
    return key in ("conditions", "updateStrategy") or isinstance(value, str | int | float)
