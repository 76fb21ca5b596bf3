"""Variables that look like a server that is needed and are none: noise, a program's own address, files of the web.

A list of names and endings that is closed, and stands in docs/inference.md: whoever means one of these names it whole.
"""

import re

from gatekeeper.infer.places import is_address
from gatekeeper.options import PREFIX

# As Kubernetes takes names; another cannot be told on one line, and nobody means it.
_NAME = re.compile(r"[A-Za-z_.-][A-Za-z0-9_.-]*", re.ASCII)
_NOISE = re.compile(rf"{PREFIX}.*|.*PROXY|SSH_.*|HOSTNAME|(OLD)?PWD|PATH|.*_PATH|NOTIFY_SOCKET", re.IGNORECASE)
_OWN = re.compile(
    r"(APP|APPLICATION|BASE|ROOT|SITE|HOME|HOMEPAGE|SELF|NEXTAUTH|ASSET|VIRTUAL|FLASK_RUN|UVICORN|GUNICORN)_(URL|URI|HOST)"
    r"|(.*_)?(PUBLIC|EXTERNAL|ADVERTISED?|CALLBACK|REDIRECT|LOGOUT|LISTEN|BIND)_(URL|URI|ADDR|ADDRESS|HOST|ENDPOINT)S?"
    r"|(.*_)?(ROOT|HOSTNAME)_URL|(FRONTEND|CLIENT|AIRFLOW__(WEBSERVER|API)__BASE)_URL"
    r"|(.*_)?(ALLOWED|TRUSTED)_HOSTS",
    re.IGNORECASE,
)
# What bundlers put into the pages that they make.
_BROWSER = re.compile(r"(NEXT_PUBLIC|NUXT_PUBLIC|EXPO_PUBLIC|VITE|REACT_APP|VUE_APP|GATSBY)_.*", re.IGNORECASE)
_DATAGRAMS = re.compile(r"(.*_)?((DOGSTATSD|STATSD)_(URL|HOST|ADDR|ADDRESS|SERVER)|JAEGER_AGENT_HOST)", re.IGNORECASE)
_PACKAGES = re.compile(r"(PIP|UV|NPM_CONFIG|YARN|POETRY|CONDA|CARGO|BUNDLE|GEM)_.*", re.IGNORECASE)
_FILE = re.compile(
    r"https?://(?P<host>[^/?#@:]+)(:[0-9]+)?/[^?#]*"
    r"\.(tar(\.\w+)?|t?gz|txz|bz2|xz|zst|zip|jar|whl|deb|rpm|apk|asc|sig|sha\d+|py|sh|exe|png|jpe?g|gif|svg|ico|pdf)([?#].*)?",
    re.IGNORECASE | re.DOTALL,
)
_NEARBY = re.compile(r"[^.]+|.*\.(local|internal|svc|lan|localhost|test)\.?", re.IGNORECASE)


def is_noise(name: str) -> bool:
    """Tell whether a variable is one that every environment has, or ours: it is not even told of."""
    return not _NAME.fullmatch(name) or bool(_NOISE.fullmatch(name))


def why_not(name: str, value: str) -> str:
    """Return why a variable is passed over although it may name a server, empty where it is not."""
    plain = re.sub("[.-]", "_", name)
    if _OWN.fullmatch(plain):
        return f"tells by its name where the program itself is to be found: {_way_in(name)}"
    if _BROWSER.fullmatch(plain):
        return f"is for a browser: {_way_in(name)}"
    if _DATAGRAMS.fullmatch(plain) and "tcp://" not in value:
        return f"is for datagrams by its name, which no connection can be made for: {_way_in(name)}"
    if _PACKAGES.fullmatch(plain):
        return f"is a setting of a package manager: {_way_in(name)}"
    found = _FILE.fullmatch(value.strip())
    if found and not _NEARBY.fullmatch(found["host"]) and not is_address(found["host"]):
        return f"names a file of the web: {_way_in(name)}"
    return ""


def _way_in(name: str) -> str:
    return f"--from-env='*,{name}' names it"
