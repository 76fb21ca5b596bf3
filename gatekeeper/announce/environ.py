"""The variables of services as a file: what the kubelet reads (``fileKeyRef``, KEP-3721) and a shell's ``.`` as well.

Makes the text; `files` writes it.
"""

import re
from collections.abc import Mapping

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


def env_file(variables: Mapping[str, str]) -> str:
    """Return a line ``NAME='value'`` for each variable.

    The kubelet takes values in single quotes only and knows no escapes within them: a value with a quote, and a name
    that is none to a shell, raise ValueError. (kubernetes pkg/kubelet/util/env/env_util.go)
    """
    for name, value in variables.items():
        if not _NAME.fullmatch(name) or "'" in value or not value.isprintable():
            message = "a variable of a service cannot be told in an env file"
            raise ValueError(message)
    return "".join(f"{name}='{value}'\n" for name, value in variables.items())
