"""A MongoDB as its documents have it, because the real one is in no package here: real drivers take it for one.

MongoDB Wire Protocol (OP_MSG, and OP_QUERY for a first hello), MongoDB Handshake, Authentication (SCRAM-SHA-256, RFC
7677), Enumerate Collections, Server Sessions. Its BSON is the driver's own, not that of gatekeeper.
"""

import base64
import hashlib
import hmac
import os
import socket
import ssl
import struct
import threading
from typing import Any

import bson

_OP_REPLY, _OP_QUERY, _OP_MSG = 1, 2004, 2013
ROUNDS = 4096


class MongoServer:
    """Answers every command; as a manner of `badness.serving`, it is called with each client."""

    def __init__(
        self,
        hello: dict[str, Any],
        *,
        users: dict[str, str] | None = None,
        collections: dict[str, list[str]] | None = None,
        errors: dict[str, int] | None = None,
        silent: tuple[str, ...] = (),
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Take what it says of itself, who may log in, what it has, and which commands fail or are left unanswered."""
        self.hello = {"ok": 1.0, "maxWireVersion": 21, "minWireVersion": 0, "localTime": bson.datetime_ms.DatetimeMS(0)}
        self.hello |= {"topologyVersion": {"processId": bson.ObjectId(), "counter": bson.Int64(6)}}
        self.hello |= {"maxBsonObjectSize": 16777216, "maxMessageSizeBytes": 48000000, "maxWriteBatchSize": 100000}
        self.hello |= hello
        self.users, self.collections = users, collections or {}
        self.errors, self.silent, self.tls = errors or {}, silent, tls
        self.heard: list[dict[str, Any]] = []

    def __call__(self, client: socket.socket, over: threading.Event) -> None:
        """Serve a client until it leaves."""
        if self.tls:
            with self.tls.wrap_socket(client, server_side=True) as secured:
                self._serve(secured, over)
        else:
            self._serve(client, over)

    def _serve(self, client: socket.socket, over: threading.Event) -> None:
        talk = _Talk(self)
        while head := _exactly(client, 16):
            length, request, _, operation = struct.unpack("<iiii", head)
            if operation not in (_OP_MSG, _OP_QUERY):
                return
            data = _exactly(client, length - 16)
            if operation == _OP_MSG:
                assert data[4] == 0
                asked = bson.decode(data[5:])
            else:
                asked = bson.decode(data[data.index(b"\0", 4) + 9 :])
            self.heard.append(asked)
            answer = talk.answered(asked)
            if answer is None:
                over.wait()
                return
            body = bson.encode(answer)
            if operation == _OP_MSG:
                said, kind = struct.pack("<IB", 0, 0) + body, _OP_MSG
            else:
                said, kind = struct.pack("<iqii", 8, 0, 0, 1) + body, _OP_REPLY
            client.sendall(struct.pack("<iiii", 16 + len(said), 1, request, kind) + said)


class _Talk:
    """One client: whether it has logged in."""

    def __init__(self, server: MongoServer) -> None:
        self.server = server
        self.known = False
        self.first = self.nonce = ""
        self.user = ""

    def answered(self, asked: dict[str, Any]) -> dict[str, Any] | None:
        """Return the answer to a command, None for silence."""
        command = next(iter(asked))
        if command in self.server.silent:
            return None
        if command in self.server.errors:
            return {"ok": 0.0, "errmsg": f"SECRET of {command}", "code": self.server.errors[command]}
        if command in ("hello", "isMaster", "ismaster"):
            known = {"saslSupportedMechs": ["SCRAM-SHA-256"]} if "saslSupportedMechs" in asked else {}
            return self.server.hello | known
        if command in ("saslStart", "saslContinue"):
            return self.scram(command, asked)
        if self.server.users is not None and not self.known:
            return {"ok": 0.0, "errmsg": f"Command {command} requires authentication", "code": 13}
        return self.found(asked) if command == "listCollections" else {"ok": 1.0}

    def found(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Return the collections of a database."""
        wanted = asked.get("filter", {}).get("name")
        names = [name for name in self.server.collections.get(asked["$db"], []) if wanted in (None, name)]
        batch = [{"name": name, "type": "collection"} for name in names]
        cursor = {"id": bson.Int64(0), "ns": f"{asked['$db']}.$cmd.listCollections", "firstBatch": batch}
        return {"ok": 1.0, "cursor": cursor}

    def scram(self, command: str, asked: dict[str, Any]) -> dict[str, Any]:
        """Return the next step of a login."""
        payload = bytes(asked["payload"]).decode()
        if command == "saslStart":
            assert asked["mechanism"] == "SCRAM-SHA-256"
            self.first = payload.split(",", 2)[2]
            fields = dict(part.split("=", 1) for part in self.first.split(","))
            self.user, self.nonce = fields["n"], fields["r"] + base64.b64encode(os.urandom(9)).decode()
            said = f"r={self.nonce},s={base64.b64encode(b'0123456789abcdef').decode()},i={ROUNDS}"
            self.first += "," + said
            return {"ok": 1.0, "conversationId": 1, "done": False, "payload": said.encode()}
        if not payload:
            return {"ok": 1.0, "conversationId": 1, "done": True, "payload": b""}
        without, _, proof = payload.rpartition(",p=")
        message = f"{self.first},{without}".encode()
        password = (self.server.users or {}).get(self.user, "").encode()
        salted = hashlib.pbkdf2_hmac("sha256", password, b"0123456789abcdef", ROUNDS)
        key = hmac.digest(salted, b"Client Key", "sha256")
        signature = hmac.digest(hashlib.sha256(key).digest(), message, "sha256")
        right = bytes(a ^ b for a, b in zip(key, signature, strict=True))
        if not password or base64.b64decode(proof) != right:
            return {"ok": 0.0, "errmsg": "Authentication failed.", "code": 18, "codeName": "AuthenticationFailed"}
        self.known = True
        proof = base64.b64encode(hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), message, "sha256")).decode()
        return {"ok": 1.0, "conversationId": 1, "done": False, "payload": f"v={proof}".encode()}


def _exactly(client: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count and (more := client.recv(count - len(data))):
        data += more
    return data if len(data) == count else b""
