"""The drivers of logins: how they are loaded."""

import subprocess
import sys
from pathlib import Path

import certificates
import pytest
from badness import saying, serving

from gatekeeper.probes import load
from gatekeeper.probes._driver_tls import driver_context
from gatekeeper.probes._options import BadOptionsError
from gatekeeper.probes._tls import Trust

LOADING = """
import asyncio, sys, threading
from gatekeeper.probes import load

turned = threading.Event()

class Watch:
    def find_spec(self, name, *more):
        if name == "redis":
            asyncio_goes_on = turned.wait(20)
            print("the loop goes on" if asyncio_goes_on else "the loop is held", flush=True)

async def run():
    sys.meta_path.insert(0, Watch())
    attempt = asyncio.ensure_future(probe.attempt())
    while not any(thread.name == "loading a driver" for thread in threading.enumerate()) and not attempt.done():
        await asyncio.sleep(0.001)
    turned.set()
    print((await attempt).reason)

probe = load("redis").parse(f"redis://:s3cret@127.0.0.1:{sys.argv[1]}", {})
asyncio.run(run())
"""


def test_a_driver_is_loaded_without_holding_the_loop() -> None:
    """Others are attempted meanwhile."""
    answers = [b"+PONG\r\n", b"-ERR no\r\n", b"-WRONGPASS no\r\n"]
    with serving(saying(*answers)) as port:
        done = subprocess.run([sys.executable, "-c", LOADING, str(port)], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[0] == "the loop goes on", done.stderr


@pytest.mark.parametrize(
    ("kind", "package", "old", "needs"),
    [
        ("redis", "redis", "4.6.0", "redis 5 or newer"),
        ("mongodb", "pymongo", "4.9.1", "pymongo 4.13 or newer"),
        ("nats", "nats-py", "2.6.0", "nats-py 2.9 or newer"),
        ("postgres", "asyncpg", "0.27.0", "asyncpg 0.32 or newer"),
    ],
)
def test_a_driver_that_is_too_old_is_a_bad_declaration(
    kind: str, package: str, old: str, needs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an application may have pinned it: told before the wait, and not by a fault in it."""
    papers = tmp_path / f"{package.replace('-', '_')}-{old}.dist-info"
    papers.mkdir()
    (papers / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {old}\n")
    load(kind).parse(f"{kind}://u:p@h", {})
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(BadOptionsError, match=rf"logging in needs {needs}: pip install 'gatekeeper-agent\[{kind}\]'"):
        load(kind).parse(f"{kind}://u:p@h", {})
    load(kind).parse(f"{kind}://u:p@h", {"login": ("no",)})


def test_a_drivers_context_is_made_once_for_the_same_files(tmp_path: Path) -> None:
    """And once more for another name, or when a file is replaced."""
    authority = certificates.authority(tmp_path)
    trust = Trust(ca=str(authority.cert))
    made = driver_context(trust, "db.")
    assert driver_context(trust, "db") is made
    assert driver_context(trust, "other") is not made
    authority.cert.write_bytes(authority.cert.read_bytes() + b"\n")
    assert driver_context(trust, "db") is not made
