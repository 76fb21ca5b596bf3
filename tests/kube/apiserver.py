"""An API server for tests, over real TLS: who asks, what he may, lists in pages, watches, changes; and misbehaviour.

Written after the Kubernetes API reference (api-concepts; meta/v1 Status, ListMeta, WatchEvent; rbac/v1), not after what
our client likes. It runs in a thread with a loop of its own, so that a test may block, or drive a loop.
"""

import asyncio
import base64
import contextlib
import copy
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from kinds.certificates import Pair, authority, leaf
from kube.discovered import RESOURCES, Resource, aggregated, discovered
from kube.selecting import matches, merge, misunderstood, named

Object = dict[str, Any]
PATIENCE = 10.0
ADMIN = "admin-token"
_NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME, which Python has no name for


class Rule(NamedTuple):
    """What a user may do; ``*`` is anything, an empty namespace is all of them (a ClusterRoleBinding)."""

    verbs: tuple[str, ...] = ("*",)
    groups: tuple[str, ...] = ("*",)
    resources: tuple[str, ...] = ("*",)
    namespace: str = ""
    names: tuple[str, ...] = ()


class Asked(NamedTuple):
    """A request as the log has it; ``user`` is empty for one that showed no token that is known."""

    method: str
    path: str
    query: dict[str, str]
    user: str
    body: bytes = b""
    fields: dict[str, str] = {}  # noqa: RUF012 - of a record nobody changes

    @property
    def verb(self) -> str:
        """The verb of RBAC, as far as the request line tells it."""
        if self.method != "GET":
            return {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}[self.method]
        return "watch" if self.query.get("watch") in ("1", "true") else "list or get"


class Trick(NamedTuple):
    """A misbehaviour: ``what`` it is, for which requests, how many times it is left to do (negative: always)."""

    what: str
    applies: Callable[[Asked], bool]
    options: dict[str, Any]
    left: list[int]


class _No(Exception):  # noqa: N818 - an answer, not an error of ours
    def __init__(self, code: int, reason: str, message: str, **details: Any) -> None:
        super().__init__(message)
        self.code, self.reason, self.message, self.details = code, reason, message, details


class _NoPageError(Exception):
    """Raised for a path that no API is behind: the answer is Go's own, without a Status object."""


class _HangUp(Exception):  # noqa: N818 - as above
    pass


class Target(NamedTuple):
    """What a path names."""

    resource: Resource
    namespace: str
    name: str
    sub: str


def status(code: int, reason: str, message: str, details: Object | None = None) -> Object:
    """Return a Status object (meta/v1) that says no."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        **({"details": details} if details else {}),
        "code": code,
    }


class ApiServer:
    """The server; its methods may be called from any thread.

    ``users`` are tokens and the names that they stand for; ``rules`` are by user, and who has none may do nothing. The
    administrator's token is `ADMIN`.
    """

    def __init__(self, folder: Path, *, host: str = "127.0.0.1") -> None:
        """Start on a free port, with an authority of its own."""
        self.host, self.port = host, 0
        self.authority: Pair = authority(folder, "cluster authority")
        self.users = {ADMIN: "kubernetes-admin"}
        self.rules: dict[str, list[Rule]] = {"kubernetes-admin": [Rule()]}
        self.resources = list(RESOURCES)
        self.requests: list[Asked] = []
        self.told: list[float] = []  # when events were written, by the monotonic clock
        self.bookmark_every: float | None = 0.2
        self.aggregates = True  # a server of Kubernetes 1.27 or newer
        self._folder = folder
        self._objects: dict[tuple[Resource, str, str], Object] = {}
        self._history: list[tuple[int, str, Resource, Object, Object | None]] = []
        self._forgotten = 0
        self._version = 100
        self._uid = 0
        self._pages: dict[str, tuple[list[Object], int]] = {}
        self._tricks: list[Trick] = []
        self._streams: dict[asyncio.Task[None], asyncio.StreamWriter | None] = {}
        self._grew = asyncio.Condition()
        self._listener: socket.socket | None = None
        self._certificate = leaf(folder, self.authority, "127.0.0.1", "::1", "localhost", "kubernetes.default.svc")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="API server")
        self._thread.start()
        self.start()

    # How a test drives it.

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"https://[{self.host}]:{self.port}" if ":" in self.host else f"https://{self.host}:{self.port}"

    def start(self) -> None:
        """Listen, on the port of before where there was one."""
        self._on_loop(self._start())

    def stop(self) -> None:
        """Stop listening and hang up on everybody, as a server does that is replaced."""
        self._on_loop(self._stop())

    def close(self) -> None:
        """Stop for good."""
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def put(self, thing: Object, *, quiet: bool = False) -> Object:
        """Create or replace an object and return it as stored; ``quiet`` tells no watch, as a stalled one would."""
        return self._on_loop(self._put(copy.deepcopy(thing), quiet=quiet))

    def delete(self, kind: str, namespace: str, name: str) -> None:
        """Delete an object."""
        self._on_loop(self._delete(self._resource_of(kind), namespace, name))

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        """Return an object as it is stored."""
        return copy.deepcopy(self._objects.get((self._resource_of(kind), namespace, name)))

    def forget_history(self) -> None:
        """Compact: every resource version of before is too old for a watch, and every continue token expires."""
        self._on_loop(self._compact())

    def allow(self, user: str, *rules: Rule, token: str | None = None) -> str:
        """Let a user do this, and no more; return the token."""
        token = token or f"token-of-{user.rpartition(':')[2]}"
        self.users[token] = user
        self.rules[user] = list(rules)
        return token

    def misbehave(self, what: str, *, times: int = -1, verb: str = "", path: str = "", **options: Any) -> None:
        """Misbehave so many times (always by default), for requests of a verb and a part of a path.

        Before an answer: ``status`` (code, reason, retry_after), ``slow`` (seconds), ``stall``, ``reset``, ``html``,
        ``half`` (an answer cut in the middle), ``huge`` (size), ``plain_status`` (code, retry_after, without a Status
        object), ``says`` (body, with status 200), ``redirect`` (to).
        In a watch, once it has begun: ``error_event`` (code, reason), ``eof``, ``reset_line`` (after half an event),
        ``half_line`` (the same, with an end in good order), ``deaf`` (no event is sent any more), ``garbage_line``,
        ``huge_line`` (size), ``says_event`` (type, object), ``no_bookmarks``. And ``expire_continue`` in a list.
        """

        def applies(asked: Asked) -> bool:
            return verb in asked.verb and path in asked.path

        self._tricks.append(Trick(what, applies, options, [times]))

    def behave(self) -> None:
        """Misbehave no more."""
        self._tricks.clear()

    def hang_up(self, *, reset: bool = False) -> None:
        """End every connection that is open."""
        self._on_loop(self._hang_up(reset=reset))

    def other_certificate(self) -> bytes:
        """Come back with the certificate of another authority, and return that authority's own."""
        (self._folder / "other").mkdir(exist_ok=True)
        stranger = authority(self._folder / "other", "another authority")
        self._certificate = leaf(self._folder / "other", stranger, "127.0.0.1", "::1", "localhost")
        self.stop()
        self.start()
        return stranger.cert.read_bytes()

    def in_cluster_files(self, folder: Path, namespace: str = "default", token: str = ADMIN) -> dict[str, str]:
        """Write what the kubelet mounts into a folder; return the variables that it sets."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "token").write_text(token)
        (folder / "ca.crt").write_bytes(self.authority.cert.read_bytes())
        (folder / "namespace").write_text(namespace)
        return {"KUBERNETES_SERVICE_HOST": self.host, "KUBERNETES_SERVICE_PORT": str(self.port)}

    def kubeconfig(
        self, folder: Path, *, user: Object | None = None, cluster: Object | None = None, namespace: str = "default"
    ) -> Path:
        """Write a kubeconfig, of the administrator unless a user is given; return its path."""
        data = base64.b64encode(self.authority.cert.read_bytes()).decode()
        whole = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "here", "user": "me", "namespace": namespace}}],
            "clusters": [
                {"name": "here", "cluster": {"server": self.url, "certificate-authority-data": data} | (cluster or {})}
            ],
            "users": [{"name": "me", "user": {"token": ADMIN} if user is None else user}],
        }
        path = folder / "kubeconfig"
        path.write_text(json.dumps(whole))
        return path

    def asked(self, verb: str = "", path: str = "") -> list[Asked]:
        """Return the requests of a verb for a part of a path."""
        return [each for each in self.requests if verb in each.verb and path in each.path]

    def watching(self) -> int:
        """Return how many connections are open."""
        return len(self._streams)

    # What is stored.

    def _on_loop(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)

    def _resource_of(self, kind: str) -> Resource:
        return next(each for each in self.resources if kind in (each.kind, each.plural))

    async def _put(self, thing: Object, *, quiet: bool = False) -> Object:
        group = thing["apiVersion"].rpartition("/")[0]
        resource = next(each for each in self.resources if (each.group, each.kind) == (group, thing["kind"]))
        about = thing.setdefault("metadata", {})
        if resource.namespaced:
            about.setdefault("namespace", "default")
        key = (resource, about.get("namespace", ""), about["name"])
        before = self._objects.get(key)
        self._uid += before is None
        about.setdefault("uid", before["metadata"]["uid"] if before else f"uid-{self._uid}")
        about.setdefault("creationTimestamp", "2026-01-01T00:00:00Z")
        self._version += 1
        about["resourceVersion"] = str(self._version)
        self._objects[key] = thing
        if not quiet:
            await self._note("ADDED" if before is None else "MODIFIED", resource, thing, before)
        return copy.deepcopy(thing)

    async def _delete(self, resource: Resource, namespace: str, name: str) -> None:
        thing = copy.deepcopy(self._objects.pop((resource, namespace, name)))
        self._version += 1
        thing["metadata"]["resourceVersion"] = str(self._version)
        await self._note("DELETED", resource, thing, thing)

    async def _note(self, kind: str, resource: Resource, thing: Object, before: Object | None) -> None:
        self._history.append((self._version, kind, resource, copy.deepcopy(thing), before))
        async with self._grew:
            self._grew.notify_all()

    async def _compact(self) -> None:
        self._version += 1
        self._forgotten = self._version
        self._history.clear()
        self._pages.clear()

    # Connections.

    async def _start(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._certificate.cert, self._certificate.key)
        context.load_verify_locations(self.authority.cert)
        context.verify_mode = ssl.CERT_OPTIONAL  # as --client-ca-file has it
        context.verify_flags |= ssl.VerifyFlags(_NO_CHECK_TIME)  # judged after the handshake, and answered with 401
        self._context = context
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self._listener = socket.create_server((self.host, self.port), family=family, backlog=100)
        self._listener.setblocking(False)  # noqa: FBT003 - as Python has it
        self.port = self._listener.getsockname()[1]
        self._loop.add_reader(self._listener, self._accept, self._listener)

    async def _stop(self) -> None:
        if self._listener:
            self._loop.remove_reader(self._listener)
            self._listener.close()
            self._listener = None
        await self._hang_up()

    def _accept(self, listener: socket.socket) -> None:
        # Not asyncio's own server, nor sock_accept: they lose a connection whose handshake or arrival is interrupted.
        sock, _ = listener.accept()
        sock.setblocking(False)  # noqa: FBT003 - as Python has it
        task = self._loop.create_task(self._connected(sock))
        self._streams[task] = None
        task.add_done_callback(self._streams.pop)
        task.add_done_callback(lambda _: sock.close())  # it may have been cancelled before it began

    async def _hang_up(self, *, reset: bool = False) -> None:
        tasks = dict(self._streams)
        for task, writer in tasks.items():
            if reset and writer:
                writer.transport.abort()
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _connected(self, sock: socket.socket) -> None:
        task, reader = asyncio.current_task(), asyncio.StreamReader()
        assert task
        protocol = asyncio.StreamReaderProtocol(reader)
        writer = None
        quiet = (OSError, asyncio.IncompleteReadError, _HangUp, asyncio.CancelledError)
        with sock, contextlib.suppress(*quiet):
            try:
                transport, _ = await self._loop.connect_accepted_socket(
                    lambda: protocol, sock, ssl=self._context, ssl_shutdown_timeout=0.1
                )
                writer = self._streams[task] = asyncio.StreamWriter(transport, protocol, reader, self._loop)
                await self._serve(reader, writer, task)
            finally:
                if writer:
                    writer.close()
                    with contextlib.suppress(OSError):
                        await writer.wait_closed()

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, task: "asyncio.Task[None]"
    ) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, _ = head[0].split(" ")
        fields: dict[str, str] = {}
        for key, _, value in (line.partition(":") for line in head[1:] if line):
            before = fields.get(key.lower())
            fields[key.lower()] = f"{before}, {value.strip()}" if before else value.strip()  # RFC 9110, 5.3
        body = await reader.readexactly(int(fields.get("content-length", 0)))
        parts = urlsplit(target)
        user = self._user(fields, writer)
        asked = Asked(method, unquote(parts.path), dict(parse_qsl(parts.query)), user, body, fields)
        self.requests.append(asked)
        gone = asyncio.ensure_future(reader.read(1))
        gone.add_done_callback(lambda ended: ended.cancelled() or (ended.exception(), task.cancel()))
        try:
            await self._tricked(asked, writer)
            if not user:
                raise _No(401, "Unauthorized", "Unauthorized")
            await self._answer(asked._replace(user=self._impersonated(user, fields)), writer)
        except _No as no:
            said = status(no.code, no.reason, no.message, {k: v for k, v in no.details.items() if v} or None)
            await _send(writer, no.code, said, no.details.get("retryAfterSeconds"))
        except _NoPageError:
            await _send(writer, 404, b"404 page not found\n", kind="text/plain; charset=utf-8")
        finally:
            gone.cancel()

    def _user(self, fields: dict[str, str], writer: asyncio.StreamWriter) -> str:
        scheme, _, said = fields.get("authorization", "").partition(" ")
        if scheme == "Bearer":
            return self.users.get(said, "")
        if scheme == "Basic":
            return self.users.get(base64.b64decode(said).decode(), "")
        certificate = writer.get_extra_info("peercert") or {}
        if certificate and ssl.cert_time_to_seconds(certificate["notAfter"]) < time.time():
            return ""
        names = [value for part in certificate.get("subject", ()) for key, value in part if key == "commonName"]
        return names[0] if names else ""

    def _impersonated(self, user: str, fields: dict[str, str]) -> str:
        """Return as whom a request is to be taken, which its user must be allowed (authentication, "Impersonation")."""
        name = fields.get("impersonate-user", "")
        if not name:
            if any(key.startswith("impersonate-") for key in fields):
                raise _No(400, "BadRequest", "requested impersonation without impersonating a user")
            return user
        wanted = [("users", "", name)]
        if name.startswith("system:serviceaccount:"):
            namespace, account = name.split(":")[2:]
            wanted = [("serviceaccounts", namespace, account)]
        wanted += [("groups", "", each) for each in fields.get("impersonate-group", "").split(", ") if each]
        for plural, namespace, whom in wanted:
            resource = Resource("", "v1", plural, plural, namespaced=bool(namespace))
            self._authorize(user, "impersonate", Target(resource, namespace, whom, ""))
        return name

    def _trick(self, asked: Asked, *names: str) -> Trick | None:
        for trick in self._tricks:
            if trick.what in names and trick.left[0] and trick.applies(asked):
                trick.left[0] -= 1
                return trick
        return None

    async def _tricked(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        """Do what was asked for in place of an answer, or before one."""
        names = ("status", "plain_status", "slow", "stall", "reset", "html", "half", "huge", "says", "redirect")
        trick = self._trick(asked, *names)
        if trick is None:
            return
        options = trick.options
        match trick.what:
            case "status":
                code = options.get("code", 500)
                message = options.get("message", "the server says so")
                raise _No(code, options.get("reason", ""), message, retryAfterSeconds=options.get("retry_after"))
            case "slow":
                await asyncio.sleep(options.get("seconds", 0.2))
                return
            case "stall":
                await asyncio.Event().wait()
            case "reset":
                writer.transport.abort()
            case "html" | "plain_status":
                page, after = b"<html><body>proxy</body></html>", options.get("retry_after")
                await _send(writer, options.get("code", 200), page, after, kind="text/html")
            case _:
                await self._wrong_answer(trick, writer)
        raise _HangUp

    async def _wrong_answer(self, trick: Trick, writer: asyncio.StreamWriter) -> None:
        options = trick.options
        match trick.what:
            case "half":
                await _send(writer, 200, b'{"kind":"List","apiVersion":"v1","items":[{"meta', promised=4096)
            case "says":
                await _send(writer, 200, options["body"])
            case "redirect":
                writer.write(f"HTTP/1.1 307 X\r\nLocation: {options['to']}\r\nContent-Length: 0\r\n\r\n".encode())
                await writer.drain()
            case "huge":
                await _send(writer, 200, b'{"items":"' + b"x" * options["size"] + b'"}')

    # Answers.

    async def _answer(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        if asked.path.rstrip("/") in ("", "/api", "/apis") or (
            asked.path.count("/") <= 3 and discovered(self.resources, asked.path)
        ):
            whole = aggregated(self.resources) if self._wants_all(asked) else discovered(self.resources, asked.path)
            await _send(writer, 200, whole)
            return
        target = self._target(asked.path)
        verb = self._verb(asked, target)
        self._authorize(asked.user, verb, target._replace(name=target.name or named(asked.query)))
        self._understand(asked)
        if verb == "watch":
            await self._watch(asked, target, writer)
            return
        do = {"get": self._get, "list": self._list, "create": self._create, "patch": self._patch}.get(verb)
        if do is None:
            raise _No(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
        await _send(writer, 201 if verb == "create" else 200, await do(asked, target))

    def _wants_all(self, asked: Asked) -> bool:
        wanted = "v=v2;as=APIGroupDiscoveryList" in asked.fields.get("accept", "")
        return self.aggregates and wanted and asked.path.rstrip("/") == "/apis"

    def _target(self, path: str) -> Target:
        parts = [part for part in path.split("/") if part]
        group, version, rest = "", "", []
        if parts[:1] == ["api"] and len(parts) > 2:
            version, rest = parts[1], parts[2:]
        elif parts[:1] == ["apis"] and len(parts) > 3:
            group, version, rest = parts[1], parts[2], parts[3:]
        namespace = ""
        if rest[:1] == ["namespaces"] and len(rest) > 2 and rest[2] not in ("status", "finalize"):
            namespace, rest = rest[1], rest[2:]
        for each in self.resources:
            if rest and (each.group, each.version, each.plural) == (group, version, rest[0]):
                name, sub = [*rest[1:], "", ""][:2]
                return Target(each, namespace, name, sub)
        if any((each.group, each.version) == (group, version) for each in self.resources):
            raise _No(404, "NotFound", "the server could not find the requested resource")
        raise _NoPageError

    def _verb(self, asked: Asked, target: Target) -> str:
        if asked.method != "GET":
            return asked.verb
        if asked.verb == "watch":
            return "watch"
        return "get" if target.name else "list"

    def _authorize(self, user: str, verb: str, target: Target) -> None:
        """Allow what a rule allows (rbac/v1); a list by metadata.name counts as one of that name."""
        resource = target.resource
        plural = f"{resource.plural}/{target.sub}" if target.sub else resource.plural
        for rule in self.rules.get(user, []):
            if (
                {verb, "*"} & set(rule.verbs)
                and {resource.group, "*"} & set(rule.groups)
                and {plural, "*"} & set(rule.resources)
                and rule.namespace in ("", target.namespace)
                and (not rule.names or target.name in rule.names)
            ):
                return
        name = f' "{target.name}"' if target.name else ""
        qualified = f"{resource.plural}.{resource.group}" if resource.group else resource.plural
        scope = f'in the namespace "{target.namespace}"' if target.namespace else "at the cluster scope"
        message = (
            f'{qualified}{name} is forbidden: User "{user}" cannot {verb} resource "{plural}" '
            f'in API group "{resource.group}" {scope}'
        )
        raise _No(403, "Forbidden", message, name=target.name, group=resource.group, kind=resource.plural)

    async def _get(self, _: Asked, target: Target) -> Object:
        found = self._objects.get((target.resource, target.namespace, target.name))
        if found is None:
            plural, group = target.resource.plural, target.resource.group
            qualified = f"{plural}.{group}" if group else plural
            message = f'{qualified} "{target.name}" not found'
            raise _No(404, "NotFound", message, name=target.name, group=group, kind=plural)
        return found

    def _understand(self, asked: Asked) -> None:
        """Refuse a selector that is none, as the server does that parses it (apimachinery, labels)."""
        if wrong := misunderstood(asked.query.get("labelSelector", "")):
            raise _No(400, "BadRequest", f"unable to parse requirement: {wrong}")

    def _all(self, target: Target) -> list[Object]:
        return [
            thing
            for (resource, namespace, _), thing in sorted(self._objects.items(), key=lambda item: item[0][1:])
            if resource == target.resource and target.namespace in ("", namespace)
        ]

    async def _list(self, asked: Asked, target: Target) -> Object:
        limit, token = int(asked.query.get("limit", 0)), asked.query.get("continue", "")
        if token:
            if self._trick(asked, "expire_continue"):
                self._pages.clear()
            if token not in self._pages:
                message = "The provided continue parameter is too old to display a consistent list result."
                raise _No(410, "Expired", message)
            things, version = self._pages.pop(token)
        else:
            things, version = self._all(target), self._version
        # Pages are cut from what is stored: where there is more, nothing of it need be selected, and a page be empty.
        page: list[Object] = []
        rest = list(things)
        while rest and (not limit or len(page) < limit):
            thing = rest.pop(0)
            page += [thing] if matches(thing, asked.query) else []
        about: Object = {"resourceVersion": str(version)}
        if rest:
            more = base64.b64encode(f"{version}/{len(self.requests)}".encode()).decode()
            self._pages[more] = (rest, version)
            about["continue"] = more
            if not {"labelSelector", "fieldSelector"} & asked.query.keys():
                about["remainingItemCount"] = len(rest)
        # Items of a list carry no kind and apiVersion of their own.
        items = [{key: part for key, part in thing.items() if key not in ("kind", "apiVersion")} for thing in page]
        kind, version_name = f"{target.resource.kind}List", _api_version(target.resource)
        return {"kind": kind, "apiVersion": version_name, "metadata": about, "items": items}

    async def _create(self, asked: Asked, target: Target) -> Object:
        thing = json.loads(asked.body)
        about = thing.setdefault("metadata", {})
        if target.namespace:
            about["namespace"] = target.namespace
        if "name" not in about and "generateName" in about:
            about["name"] = f"{about['generateName']}{self._version:05x}"
        if (target.resource, target.namespace, about["name"]) in self._objects:
            raise _No(409, "AlreadyExists", f'{target.resource.plural} "{about["name"]}" already exists')
        return await self._put({"kind": target.resource.kind, "apiVersion": _api_version(target.resource), **thing})

    async def _patch(self, asked: Asked, target: Target) -> Object:
        thing, change = copy.deepcopy(await self._get(asked, target)), json.loads(asked.body)
        kind = asked.fields.get("content-type", "")
        if kind not in ("application/strategic-merge-patch+json", "application/merge-patch+json"):
            raise _No(415, "UnsupportedMediaType", f"the body of the request was in an unknown format - {kind}")
        if target.sub == "status":
            change = {key: part for key, part in change.items() if key in ("status", "metadata")}
        merge(thing, change, strategic="strategic" in kind)
        return await self._put(thing)

    async def _watch(self, asked: Asked, target: Target, writer: asyncio.StreamWriter) -> None:
        """Send what has changed since a resource version, and what changes (api-concepts, 'Efficient detection')."""
        said = asked.query.get("resourceVersion", "")
        since = int(said or 0)
        if since and since < self._forgotten:
            raise _No(410, "Expired", f"too old resource version: {since} ({self._forgotten})")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        await writer.drain()
        if not since:
            for thing in filter(lambda thing: matches(thing, asked.query), self._all(target)):
                await _event(writer, "ADDED", thing)
            since = self._version
        lasts = float(asked.query.get("timeoutSeconds", 1800))
        bookmarks = asked.query.get("allowWatchBookmarks") == "true" and not self._trick(asked, "no_bookmarks")
        if trick := self._trick(asked, "says_event"):
            await _event(writer, trick.options["type"], trick.options["object"])
        trick = self._trick(asked, "error_event", "eof", "reset_line", "half_line", "deaf", "garbage_line", "huge_line")
        if trick:
            await self._tricked_watch(trick, writer)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(lasts):
                while True:
                    since = await self._tell(asked, target, writer, since)
                    await self._wait_for_more(writer, target, since, bookmarks=bookmarks)
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    async def _tell(self, asked: Asked, target: Target, writer: asyncio.StreamWriter, since: int) -> int:
        for version, kind, resource, thing, before in list(self._history):
            if version <= since:
                continue
            since = version
            if resource != target.resource or target.namespace not in ("", thing["metadata"].get("namespace", "")):
                continue
            now, was = matches(thing, asked.query), before is not None and matches(before, asked.query)
            # What no longer matches a selector is told as deleted, what begins to match as added.
            if kind != "DELETED":
                kind = ("MODIFIED" if was else "ADDED") if now else ("DELETED" if was else "")  # noqa: PLW2901
            elif not was:
                continue
            if kind == "DELETED" and before is not None:  # as it was when it was last selected, of the new version
                about = {**before["metadata"], "resourceVersion": str(version)}
                thing = {**before, "metadata": about}  # noqa: PLW2901
            if kind:
                self.told.append(time.monotonic())
                await _event(writer, kind, thing)
        return since

    async def _wait_for_more(
        self, writer: asyncio.StreamWriter, target: Target, since: int, *, bookmarks: bool
    ) -> None:
        async with self._grew:
            try:
                async with asyncio.timeout(self.bookmark_every if bookmarks else None) as bound:
                    await self._grew.wait_for(lambda: self._history and self._history[-1][0] > since)
            except TimeoutError:
                if not bound.expired():
                    raise
        if bound.expired():
            about = {"resourceVersion": str(max(since, self._version)), "creationTimestamp": None}
            kind = {"kind": target.resource.kind, "apiVersion": _api_version(target.resource)}
            await _event(writer, "BOOKMARK", {**kind, "metadata": about})

    async def _tricked_watch(self, trick: Trick, writer: asyncio.StreamWriter) -> None:
        options = trick.options
        half = b'{"type":"MODIFIED","object":{"kind":"Pod","metadata":{"na'
        match trick.what:
            case "error_event":
                code, reason = options.get("code", 410), options.get("reason", "Expired")
                await _event(writer, "ERROR", status(code, reason, "too old resource version: 1 (2)"))
            case "reset_line":
                await _chunk(writer, half)
                writer.transport.abort()
                raise _HangUp
            case "half_line":
                await _chunk(writer, half)
            case "garbage_line":
                await _chunk(writer, b"<html>nonsense</html>\n")
            case "huge_line":
                for _ in range(options["size"] // 65536):
                    await _chunk(writer, b"x" * 65536)
            case "deaf":
                await asyncio.Event().wait()
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        raise _HangUp


@contextlib.contextmanager
def api_server(folder: Path, *, host: str = "127.0.0.1") -> Iterator[ApiServer]:
    """Give a server for the length of a block."""
    server = ApiServer(folder, host=host)
    try:
        yield server
    finally:
        server.close()


def wait_for(condition: Callable[[], object]) -> None:
    """Wait until a condition holds; fail where it does not come to that."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it has not come to that"
        time.sleep(0.005)


async def _send(
    writer: asyncio.StreamWriter,
    code: int,
    body: Object | bytes | None,
    retry_after: int | None = None,
    *,
    kind: str = "application/json",
    promised: int | None = None,
) -> None:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    retry = f"Retry-After: {retry_after}\r\n" if retry_after else ""
    length = promised or len(data)
    writer.write(
        f"HTTP/1.1 {code} X\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n{retry}\r\n".encode() + data
    )
    await writer.drain()


async def _chunk(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
    await writer.drain()


async def _event(writer: asyncio.StreamWriter, kind: str, thing: Object) -> None:
    await _chunk(writer, json.dumps({"type": kind, "object": thing}).encode() + b"\n")


def _api_version(resource: Resource) -> str:
    return f"{resource.group}/{resource.version}".lstrip("/")
