"""http://HOST:PORT/PATH and https://HOST:PORT/PATH: a server that answers a request as wanted."""

import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from gatekeeper.model import Outcome
from gatekeeper.probes._answer import FieldPattern, StatusRange, Wanted, field_pattern, judge, status_range
from gatekeeper.probes._aside import reachable
from gatekeeper.probes._connect import addresses, connect_to_any, over_endpoints
from gatekeeper.probes._local import contents, file_path
from gatekeeper.probes._miss import MissError
from gatekeeper.probes._options import Options, build, later, option
from gatekeeper.probes._race import Endpoints, endpoints, over_peers
from gatekeeper.probes._request import as_typed, credentials, field, method, proxy
from gatekeeper.probes._socketfile import socket_path
from gatekeeper.probes._target import rest_of
from gatekeeper.probes._tls import Trust, server_name
from gatekeeper.probes._url import Url, read_url
from gatekeeper.resolve import Peer
from gatekeeper.values import flag, whole

if TYPE_CHECKING:
    from gatekeeper.probes._http import Call
    from gatekeeper.probes._json import Assertion
    from gatekeeper.probes._pattern import Pattern

_MOST_REDIRECTS = 20
_ANSWERED_WITHIN = 1.0  # seconds after which a server that is connected and silent no longer holds back the next one
_TLS_ONLY = ("ca", "cert", "key", "server_name", "insecure")
_CLASHES = (
    ("body_file", "body"),
    ("insecure", "ca"),
    ("proxy", "unix"),
    ("endpoints", "unix"),
    ("endpoints", "proxy"),
)
_PATTERN = later("_pattern", "pattern")


@dataclass(frozen=True, slots=True, eq=False, repr=False)  # with as many fields, both would cost the start
class Http:
    """An HTTP server that answers a request as wanted."""

    EXAMPLE: ClassVar[str] = "api=http://api:8080/healthz status=200,204"
    OVER_THE_NETWORK: ClassVar[bool] = True

    url: Url
    method: str = option(method, "method of the request", default="GET")
    status: tuple[StatusRange, ...] = option(
        status_range, "codes that are wanted: 204, 200-299, 2xx", default=(StatusRange(200, 399),), commas=True
    )
    header: tuple[tuple[bytes, bytes], ...] = option(
        field, "header field to send, 'NAME: VALUE'", default=(), many=True, secret=True
    )
    body: bytes | None = option(as_typed, "body to send", secret=True)
    body_file: str | None = option(file_path, "file whose contents are the body, read at each attempt", local=True)
    expect_body: "Pattern | None" = option(_PATTERN, "regular expression that the body must match (64 KiB of it)")
    expect_json: tuple["Assertion", ...] = option(
        later("_json", "Assertion"),
        """what JSON must say (RFC 9535): '$.status == "ok"'; what it compares must be there""",
        default=(),
        many=True,
    )
    expect_header: tuple[FieldPattern, ...] = option(
        field_pattern, "header field that must be there, NAME or 'NAME: REGEX'", default=(), many=True
    )
    redirects: int = option(whole(0, _MOST_REDIRECTS), "how many redirects to follow; headers stay behind", default=0)
    ca: str | None = option(
        file_path, "PEM file or folder of the certificates to trust", local=True, unset="the system's"
    )
    cert: str | None = option(file_path, "PEM file of the client's certificate", local=True)
    key: str | None = option(file_path, "PEM file of its key", local=True, unset="in cert")
    server_name: str | None = option(server_name, "name that the certificate must be for", unset="the host")
    insecure: bool = option(flag, "do not verify the certificate", default=False)
    auth_file: str | None = option(
        file_path,
        "file with user:password, a bearer token or the whole value of Authorization, read at each attempt",
        local=True,
    )
    proxy: Url | None = option(proxy, "HTTP proxy to use, http://HOST:PORT", secret=True)
    unix: str | None = option(socket_path, "socket file to connect to", local=True, unset="the host")
    http2: bool = option(flag, "HTTP/2: offered in the TLS handshake on https, spoken at once on http", default=False)
    endpoints: Endpoints = option(endpoints, "how many of the addresses must pass: any, all or a number", default="any")

    @classmethod
    def parse(cls, target: str, options: Options) -> Self:
        """Make the probe of a target; raises `BadOptionsError`."""

        def read() -> Mapping[str, Any]:
            return {"url": read_url(target)}

        return build(cls, options, read, _clashes(target, options))

    async def attempt(self) -> Outcome:
        """Make one request, and the ones that its redirects ask for; each resolves and connects anew."""
        try:
            call = await self._call()
            if self.unix or self.proxy:
                return await self._ask(call, None)
            if self.endpoints == "any":
                return await self._ask_any(call)
            return await over_endpoints(
                self.url.host, self.url.port, self.endpoints, lambda peer: self._ask(call, peer)
            )
        except MissError as miss:
            return miss.outcome

    async def _call(self) -> "Call":
        from gatekeeper.probes._http import Call  # noqa: PLC0415 - loads httpx, which a declaration does not need

        for path in (self.auth_file, self.body_file, self.ca, self.cert, self.key, self.unix):
            if path and not path.startswith("@"):
                await reachable(path)
        fields, auth = self.header, self.url.user
        if self.auth_file:
            found = credentials(self.auth_file)
            if isinstance(found, tuple):
                auth = found
            else:
                fields = (*fields, (b"Authorization", found))
        body = contents("body_file", self.body_file) if self.body_file else self.body
        return Call(self.method, fields, body, auth, self.redirects)

    async def _ask_any(self, call: "Call") -> Outcome:
        """Ask the address that is first to take a connection, then the others where it is not ready."""
        peers = await addresses(self.url.host, self.url.port)
        sock, first = await connect_to_any(peers)
        connected = {first: sock}
        with sock:  # who takes it closes it; where nobody came to that, it is closed here
            return await over_peers(
                sorted(peers, key=lambda peer: peer != first),
                "any",
                lambda peer: self._ask(call, peer, connected.pop(peer, None)),
                head_start=_ANSWERED_WITHIN,
            )

    async def _ask(self, call: "Call", peer: Peer | None, connected: socket.socket | None = None) -> Outcome:
        from gatekeeper.probes._http import fetch  # noqa: PLC0415 - as above
        from gatekeeper.probes._route import Route  # noqa: PLC0415 - as above

        trust = Trust(self.ca, self.cert, self.key, self.insecure)
        sockets = [connected] if connected else None
        route = Route(self.url, peer, self.unix, self.proxy, trust, self.server_name, self.http2, sockets)
        async with fetch(call, route) as answer:
            wanted = Wanted(self.status, self.expect_header, self.expect_body, self.expect_json, bool(self.auth_file))
            return await judge(wanted, answer)


def _clashes(target: str, options: Options) -> list[tuple[str, str]]:
    """Return the options that do not go together, or not with the target."""
    given = {key for key, texts in options.items() if texts not in (("false",), ("no",), ("off",), ("0",))}
    plain = target.lower().startswith("http:")
    wrong = [(one, f"and {other} exclude each other") for one, other in _CLASHES if {one, other} <= given]
    if plain and "redirects" not in given:
        wrong += [(key, "is for https:// only") for key in _TLS_ONLY if key in given]
    if plain and {"proxy", "http2"} <= given:
        wrong.append(("http2", "goes through a proxy for https:// only"))
    if "key" in given and "cert" not in given:
        wrong.append(("key", "needs cert, the certificate that it belongs to"))
    if not any(text.strip(" ,") for text in options.get("status", ("200",))):
        wrong.append(("status", "names no status: write 204, 200-299 or 2xx"))
    if sum(text.lower().startswith("host:") for text in options.get("header", ())) > 1:
        wrong.append(("header", "gives Host more than once"))
    if "HEAD" in [text.strip().upper() for text in options.get("method", ())]:
        wrong += [(key, "needs a body, and HEAD has none") for key in ("expect_body", "expect_json") if key in given]
    return wrong + _doubled_credentials(target, options)


def _doubled_credentials(target: str, options: Options) -> list[tuple[str, str]]:
    authority = re.split(r"[/?#]", rest_of(target), maxsplit=1)[0]
    ways = ["auth_file"] if "auth_file" in options else []
    ways += (
        ["header"]
        if any(re.match(r"authorization\s*:", text, re.IGNORECASE) for text in options.get("header", ()))
        else []
    )
    ways += [""] if "@" in authority else []
    return [(ways[0], "gives credentials that are given in another way too")] if len(ways) > 1 else []
