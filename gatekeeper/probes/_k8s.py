"""What names objects of Kubernetes in a declaration, as text: a target, a condition. Knows no cluster."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from gatekeeper.probes._target import unescaped
from gatekeeper.values import BadValueError, quoted

TARGETS = "k8s://job/migrate, k8s://shop/deployment/web or k8s://pods?selector=app=db"
_WORD = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._:-]*[A-Za-z0-9])?", re.ASCII)  # RBAC objects have colons
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
_KEY = rf"(?:[a-z0-9](?:[a-z0-9.-]{{0,251}}[a-z0-9])?/)?{_LABEL}"
_VALUES = rf"\(\s*(?:{_LABEL})?(?:\s*,\s*(?:{_LABEL})?)*\s*\)"
# What kubectl takes behind -l (api-concepts of labels, "Label selectors"; apimachinery, labels.Parse).
_WANTED = rf"\s*(?:==?|!=)\s*(?:{_LABEL})?|\s*[<>]\s*-?[0-9]+|\s+(?:in|notin)\s*{_VALUES}"
_TERM = rf"\s*(?:!\s*{_KEY}|{_KEY}(?:{_WANTED})?)\s*"
_SELECTOR = re.compile(rf"{_TERM}(?:,{_TERM})*", re.ASCII)
_CONDITION = re.compile(r"([A-Za-z0-9][A-Za-z0-9._/-]*)(?:=(True|False|Unknown))?", re.ASCII)


def condition(text: str) -> tuple[str, str]:
    """Return type and status of ``TYPE`` or ``TYPE=STATUS``; raises `BadValueError`."""
    match = _CONDITION.fullmatch(text)
    if not match:
        message = f"{quoted(text)} is no condition: write TYPE or TYPE=True, False or Unknown, as in Available"
        raise BadValueError(message)
    return match[1], match[2] or "True"


def object_of(rest: str) -> Mapping[str, Any]:
    """Return the parts of ``[NAMESPACE/]RESOURCE[.GROUP]/NAME`` or ``…?selector=LABELS``; raises `BadValueError`."""
    path, mark, query = rest.partition("?")
    asked = dict(parse_qsl(query, keep_blank_values=True)) if mark else {}
    selector = asked.pop("selector", "")
    words = [unescaped(word) for word in path.split("/")]
    if asked or (mark and not selector):
        message = f"takes ?selector=LABELS and nothing else behind ?: write {TARGETS}"
        raise BadValueError(message)
    most = 2 if selector else 3
    if not most - 1 <= len(words) <= most or not all(words) or "@" in path:  # behind which may stand a password
        message = f"names no object: write {TARGETS}"
        raise BadValueError(message)
    name = "" if selector else words.pop()
    word, _, group = words.pop().lower().partition(".")
    namespace = words[0] if words else None
    if not _WORD.fullmatch(word) or (group and not _WORD.fullmatch(group)) or (name and not _NAME.fullmatch(name)):
        message = f"{quoted(path)} names no object: write {TARGETS}"
        raise BadValueError(message)
    if namespace is not None and not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", namespace):
        message = f"{quoted(namespace)} is no namespace: lower-case letters, digits and -"
        raise BadValueError(message)
    if selector and (len(selector) > 2000 or not _SELECTOR.fullmatch(selector)):  # noqa: PLR2004 - a URL's worth
        message = (
            f"{quoted(selector)} is no selector: write LABELS as kubectl has them, app=db,tier!=web or app in (a,b)"
        )
        raise BadValueError(message)
    return {"namespace": namespace, "word": word, "group": group or None, "name": name, "selector": selector}
