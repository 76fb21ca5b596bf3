"""Names to addresses: what a name, a missing name and a hanging nameserver do to an attempt."""

import asyncio
import resource
import socket

import namespace
import pytest

from gatekeeper.resolve import Peer, resolve


def test_a_literal_is_never_looked_up() -> None:
    """Addresses of both families come back as they are."""
    assert asyncio.run(resolve("127.0.0.1", 80)) == (Peer(socket.AF_INET, ("127.0.0.1", 80)),)
    assert asyncio.run(resolve("::1", 80)) == (Peer(socket.AF_INET6, ("::1", 80, 0, 0)),)


def test_peers_show_as_host_and_port() -> None:
    """IPv6 addresses are shown in brackets."""
    assert str(Peer(socket.AF_INET, ("10.0.0.7", 5432))) == "10.0.0.7:5432"
    assert str(Peer(socket.AF_INET6, ("::1", 5432, 0, 0))) == "[::1]:5432"


def test_names_in_the_hosts_file_are_found() -> None:
    """The name localhost comes from /etc/hosts, as for any application."""
    assert Peer(socket.AF_INET, ("127.0.0.1", 80)) in asyncio.run(resolve("localhost", 80))


def test_lack_of_descriptors_is_not_taken_for_a_missing_name() -> None:
    """With no descriptor left the resolver says 'no such name', which must not count as gone."""

    async def run() -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
        try:
            await resolve("localhost", 80)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    with pytest.raises(OSError, match="Too many open files"):
        asyncio.run(run())


@pytest.mark.root
@pytest.mark.needs("unshare", "ip")
def test_a_name_that_does_not_exist_is_definitely_gone() -> None:
    """NXDOMAIN is definite, an answer is an address, and silence is neither."""
    script = """
import asyncio, threading
from gatekeeper.probes.tcp import Tcp
from gatekeeper.resolve import UnresolvedError, resolve

async def run():
    print([str(peer) for peer in await resolve("ok.test", 80)])
    try:
        await resolve("nosuch.test", 80)
    except UnresolvedError as error:
        print(error.definite)
    outcome = await Tcp.parse("tcp://nosuch.test:80", {}).attempt()
    print(outcome.reason, outcome.gone)
asyncio.run(run())
"""
    assert namespace.run_with_nameserver(script).splitlines() == ["['127.0.0.9:80']", "True", "unresolved True"]


@pytest.mark.root
@pytest.mark.needs("unshare", "ip")
def test_what_getaddrinfo_only_calls_gone_is_not_taken_for_gone() -> None:
    """Whoever waits for an end is not told of one by an error of a nameserver."""
    script = """
import gatekeeper

for name, timeout in (("formerr.test", 2), ("half.test", 2), ("nosuch.test", 30)):
    try:
        print(gatekeeper.wait(f"tcp://{name}:80 invert", timeout=timeout).dependencies[0].why)
    except gatekeeper.NotReady as error:
        print(error.report.dependencies[0].reason)
"""
    assert namespace.run_with_nameserver(script).splitlines() == [
        "unresolved",
        "unresolved",
        "ready: gone: unresolved nosuch.test (Name or service not known)",
    ]


@pytest.mark.root
@pytest.mark.needs("unshare", "ip")
def test_no_nameserver_at_all_is_not_gone() -> None:
    """A resolver that cannot be asked leaves open whether the name exists."""
    script = """
        import asyncio
        from gatekeeper.probes.tcp import Tcp
        outcome = asyncio.run(Tcp.parse("tcp://nosuch.test:80", {}).attempt())
        print(outcome.reason, outcome.gone)
    """
    assert namespace.run(script) == "unresolved False"


@pytest.mark.root
@pytest.mark.needs("unshare", "ip")
def test_hanging_names_delay_no_other_name() -> None:
    """With more names hanging than asyncio has threads, another is still resolved at once, and the exit is free."""
    script = """
import asyncio, threading
from gatekeeper.probes.tcp import Tcp
from gatekeeper.resolve import UnresolvedError, resolve

async def run():
    stuck = [asyncio.ensure_future(resolve(f"hang{n}.test", 80)) for n in range(40)]
    await asyncio.sleep(0.2)
    async with asyncio.timeout(10):
        print([str(peer) for peer in await resolve("ok.test", 80)])
    for task in stuck:
        task.cancel()
    print({type(end).__name__ for end in await asyncio.gather(*stuck, return_exceptions=True)})
asyncio.run(run())
"""
    assert namespace.run_with_nameserver(script).splitlines() == ["['127.0.0.9:80']", "{'CancelledError'}"]


@pytest.mark.root
@pytest.mark.needs("unshare", "ip")
def test_a_name_that_still_hangs_is_joined_and_not_asked_again() -> None:
    """Attempts that time out one after the other leave one thread behind, and one question to the nameserver."""
    script = """
import asyncio, threading
from gatekeeper.probes.tcp import Tcp
from gatekeeper.resolve import UnresolvedError, resolve

async def run():
    probe = Tcp.parse("tcp://hang.test:80", {})
    for _ in range(5):
        try:
            async with asyncio.timeout(0.1):
                await probe.attempt()
        except TimeoutError as error:
            print(error.__context__.__notes__)
    print(sum(thread.name.startswith("resolve") for thread in threading.enumerate()), len(set(asked)) <= 2)
asyncio.run(run())
"""
    assert namespace.run_with_nameserver(script).splitlines() == ["['resolving hang.test']"] * 5 + ["1 True"]


@pytest.mark.root
@pytest.mark.needs("unshare", "ip")
def test_a_lost_datagram_does_not_cost_the_resolver_s_own_patience() -> None:
    """A name whose first questions get lost is asked once more, long before getaddrinfo(3) would do so itself."""
    script = """
import asyncio
from gatekeeper.resolve import resolve

async def run():
    loop = asyncio.get_running_loop()
    began = loop.time()
    first = asyncio.ensure_future(resolve("lost-ok.test", 80))
    second = asyncio.ensure_future(resolve("lost-ok.test", 80))
    async with asyncio.timeout(20):
        print([str(peer) for peer in await first] == [str(peer) for peer in await second] == ["127.0.0.9:80"])
    print(loop.time() - began < 15)
asyncio.run(run())
"""
    assert namespace.run_with_nameserver(script).splitlines() == ["True", "True"]


@pytest.mark.root
@pytest.mark.needs("unshare", "ip")
def test_a_nameserver_that_restarts_is_asked_until_it_answers() -> None:
    """While look-ups hang a new one is begun again and again, of all names together no more than there is room for."""
    script = """
import asyncio, threading
from gatekeeper import resolve as module
from gatekeeper.resolve import MOST_AGAIN, MOST_AT_ONCE, resolve

module.PATIENCE = 0.05

def threads(name=""):
    return sum(thread.name.startswith(f"resolve {name}") for thread in threading.enumerate())

async def run():
    one = asyncio.ensure_future(resolve("hang.test", 80))
    while threads() < MOST_AT_ONCE:
        await asyncio.sleep(0.01)
    more = [asyncio.ensure_future(resolve(f"hang{n}.test", 80)) for n in range(40)]
    while threads() < 41 + MOST_AGAIN:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)
    print(threads() - 41 - MOST_AGAIN, threads("hang.test") - MOST_AT_ONCE)
    for task in (one, *more):
        task.cancel()
asyncio.run(run())
"""
    assert namespace.run_with_nameserver(script) == "0 0"


@pytest.mark.root
@pytest.mark.needs("unshare", "ip")
def test_an_answer_that_nobody_waited_for_is_not_used_later() -> None:
    """Each attempt resolves anew: what an abandoned look-up found is old by then."""
    script = """
import asyncio
from gatekeeper.resolve import UnresolvedError, resolve

async def run():
    try:
        async with asyncio.timeout(0):
            await resolve("ok.test", 80)
    except TimeoutError:
        pass
    while not asked:
        await asyncio.sleep(0.01)
    before = len(asked)
    await asyncio.sleep(0.3)
    await resolve("ok.test", 80)
    print(len(asked) > before)
asyncio.run(run())
"""
    assert namespace.run_with_nameserver(script) == "True"
