"""What a test needs of its machine: where that is missing it is left out by name, and where CI is set it fails."""

import os
import shutil
import signal

import pytest


def pytest_configure() -> None:
    """Let signals end what the tests start, though nohup or a shell's background job left them ignored to us."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number is signal.SIGINT else signal.SIG_DFL)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Leave out, or fail where CI is set, a test whose needs are not met."""
    missing = [program for mark in item.iter_markers("needs") for program in mark.args if not shutil.which(program)]
    if item.get_closest_marker("root") and os.geteuid() != 0:
        missing.append("root")
    if not missing:
        return
    reason = f"needs {', '.join(missing)}"
    if os.environ.get("CI"):
        pytest.fail(f"{reason}; where CI is set, nothing may be left out", pytrace=False)
    pytest.skip(reason)
