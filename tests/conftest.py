"""What a test needs of its machine: where that is missing it is left out by name, and where CI is set it fails."""

import gc
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


def pytest_configure() -> None:
    """Let signals end what the tests start, though nohup or a shell's background job left them ignored to us."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number is signal.SIGINT else signal.SIG_DFL)


_COVERAGE = "COVERAGE_PROCESS_CONFIG"  # by which coverage starts itself in processes that inherit it
_MEASURING = pytest.StashKey[str | None]()


def pytest_collection(session: pytest.Session) -> None:
    """Measure the processes that run tests, and not all that tests start: to load would take twice as long."""
    session.config.stash[_MEASURING] = os.environ.pop(_COVERAGE, None)


# Where the tests are shared out to several processes, those that share what is dear to make stay in one.
_TOGETHER = (
    "tests/gate/test_fail",
    "tests/hook/test_ready",
    "tests/hook/test_ru",
    "tests/hook/test_sides",
    "tests/kinds/test_amqp",
    "tests/kinds/test_kafka",
    "tests/kinds/test_ldap",
    "tests/kinds/test_mqtt",
    "tests/kinds/test_mysql",
    "tests/kinds/test_passwords",
    "tests/kinds/test_postgres",
    "tests/kinds/test_smtp",
    "tests/kinds/test_ssh",
    "tests/shipping/",
)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Share the tests out one by one, but for those of a place that has to stay together."""
    from xdist.scheduler import LoadScopeScheduling  # noqa: PLC0415 - may be missing where nothing is shared out

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return next((place for place in _TOGETHER if nodeid.startswith(place)), nodeid)

    return Scheduling(config, log)


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


@pytest.fixture(autouse=True)
def _collected() -> Iterator[None]:
    """Collect what a test leaves in circles: what it has not closed warns here, and a warning is an error.

    What lives on is set aside, so that each collection looks at what one test has made, and takes next to no time.
    """
    yield
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    """Let what was set aside be collected as well, in pytest's own last collection."""
    gc.unfreeze()


@pytest.fixture
def measured(pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have coverage measure what the test starts, where it measures at all; not for what has little time to load."""
    if measuring := pytestconfig.stash[_MEASURING]:
        monkeypatch.setenv(_COVERAGE, measuring)


@pytest.fixture
def open_path() -> Iterator[Path]:
    """Give a folder of the test's own, into which every user may go: those that pytest makes are closed to others."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)
