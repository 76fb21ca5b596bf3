"""The hook as a process, called as a runtime calls it: state on stdin, whoever listens on descriptors 1 and 2."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

GATEKEEPER = (sys.executable, "-m", "gatekeeper")
PATIENCE = 30  # seconds; nothing here takes so long, and a slow machine may
DEPENDENCIES = "dev.gatekeeper/dependencies"


def environment(**more: str) -> dict[str, str]:
    """Return the environment of this process without what would change the program's behaviour, and more."""
    ours = ("GATEKEEPER_", "NOTIFY_", "PYTHON")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)} | more


def inside(**annotations: str) -> dict[str, Any]:
    """Return the state that crun gives a startContainer hook: there is nothing to enter."""
    given = {f"dev.gatekeeper/{name.replace('_', '-')}": text for name, text in annotations.items()}
    return {"ociVersion": "1.0", "id": "x", "pid": 0, "root": "", "bundle": "/", "status": "starting"} | {
        "annotations": given | {"org.example/other": "says nothing"}
    }


def hook(
    state: Any, *words: str, env: Mapping[str, str] | None = None, before: Sequence[str] = (), **how: Any
) -> subprocess.CompletedProcess[str]:
    """Call the hook with a state, or with whatever text is given in its place."""
    text = state if isinstance(state, str) else json.dumps(state)
    command = [*before, *GATEKEEPER, "hook", *words]
    how = {"capture_output": True, "text": True, "timeout": PATIENCE} | how
    return subprocess.run(command, input=text, env=environment(**(env or {})), check=False, **how)
