"""What selectors select and patches change, as an API server does it (apimachinery: labels, fields, strategicpatch)."""

import re
from collections.abc import Iterator
from typing import Any

Object = dict[str, Any]
_WORD = r"[A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?"
_REQUIREMENT = (
    rf"!?(?:[a-z0-9.-]+/)?{_WORD}(?:\s*(?:=|==|!=)\s*(?:{_WORD})?|\s*[<>]\s*\d+|\s+(?:not)?in\s*\([\w., -]*\))?"
)


def matches(thing: Object, query: dict[str, str]) -> bool:
    """Tell whether an object is selected by the selectors of a query."""
    return _labelled(thing, query.get("labelSelector", "")) and _fielded(thing, query.get("fieldSelector", ""))


def _labelled(thing: Object, selector: str) -> bool:
    """Tell whether labels match ``a=b``, ``a!=b``, ``a``, ``!a`` and ``a in (b;c)``, commas between them."""
    labels = thing["metadata"].get("labels") or {}
    for term in filter(None, _terms(selector)):
        if " in " in term or " notin " in term:
            key, _, listed = term.partition(" notin " if " notin " in term else " in ")
            inside = labels.get(key.strip()) in [each.strip() for each in listed.strip(" ()").split(",")]
            if inside == (" notin " in term):
                return False
        elif "!=" in term:
            key, _, value = term.partition("!=")
            if labels.get(key) == value:
                return False
        elif "=" in term:
            key, _, value = term.replace("==", "=").partition("=")
            if labels.get(key) != value:
                return False
        elif (term.removeprefix("!") in labels) == term.startswith("!"):
            return False
    return True


def _terms(selector: str) -> Iterator[str]:
    depth, term = 0, ""
    for character in selector:
        depth += (character == "(") - (character == ")")
        if character == "," and not depth:
            yield term.strip()
            term = ""
        else:
            term += character
    yield term.strip()


def named(query: dict[str, str]) -> str:
    """Return the one name that a field selector wants: a list or watch by it is authorised as of that name."""
    terms = [term.replace("==", "=").partition("=") for term in query.get("fieldSelector", "").split(",")]
    return next((value for key, _, value in terms if key == "metadata.name"), "")


def _fielded(thing: Object, selector: str) -> bool:
    for term in filter(None, selector.split(",")):
        negative = "!=" in term
        path, _, wanted = term.partition("!=" if negative else "=")
        found: Any = thing
        for key in path.split("."):
            found = (found or {}).get(key)
        if ((found or "") == wanted.lstrip("=")) == negative:
            return False
    return True


def misunderstood(selector: str) -> str:
    """Return the first requirement of a label selector that is none, empty where all are."""
    return next((term for term in filter(None, _terms(selector)) if not re.fullmatch(_REQUIREMENT, term)), "")


def merge(thing: Object, change: Object, *, strategic: bool) -> None:
    """Merge a change (RFC 7386); strategic, conditions are merged by their type (core/v1, patchMergeKey)."""
    for key, part in change.items():
        if part is None:
            thing.pop(key, None)
        elif isinstance(part, dict):
            merge(thing.setdefault(key, {}), part, strategic=strategic)
        elif strategic and key == "conditions":
            held = {each["type"]: each for each in thing.get(key, [])}
            for each in part:
                held[each["type"]] = held.get(each["type"], {}) | each
            thing[key] = list(held.values())
        else:
            thing[key] = part
