"""Fixtures for what several kinds are tested with."""

import subprocess
import sys
from collections.abc import Callable

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
def as_nobody() -> Callable[..., str]:
    """Return a function that attempts once as an ordinary user, and returns state and reason."""

    def attempt(target: str, *options: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", _ATTEMPT, target, *options], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return attempt
