"""Fixtures for what several kinds are tested with."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

_ATTEMPT = """
import asyncio, os, sys
from gatekeeper.probes import load
target = sys.argv[1]
options = {key: (text,) for key, _, text in (word.partition("=") for word in sys.argv[2:])}
probe = load(target.partition(":")[0]).parse(target, options)
asyncio.run(asyncio.sleep(0))  # loads what is needed while everything can still be read
if os.geteuid() == 0:  # root may do everything
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
outcome = asyncio.run(probe.attempt())
print(outcome.state, outcome.reason)
"""


@pytest.fixture
def as_nobody(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Give a function that attempts once as an ordinary user, and returns state and reason."""
    opened = [folder for folder in (tmp_path, *tmp_path.parents) if "pytest" in folder.name or folder == tmp_path]
    modes = {folder: folder.stat().st_mode for folder in opened}

    def attempt(target: str, *options: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", _ATTEMPT, target, *options], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    for folder in opened:
        folder.chmod(modes[folder] | 0o011)
    yield attempt
    for folder in opened:
        folder.chmod(modes[folder])
