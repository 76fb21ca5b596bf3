"""What the pods of the examples wait for, in podman's network: names, listeners, an API server, each when it is told.

    python -m shipping.neighbours FOLDER

Every line of stdin is a list as JSON, a word and what it is about; it is done, and answered by a line of JSON. It ends
with stdin.
"""

import json
import socketserver
import sys
import threading
import time
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any, Self

from kinds.nameserver import Nameserver
from kube.apiserver import ApiServer, Rule

from .database import ASKED, PORT
from .podman import Podman

HERE = "127.0.0.1"  # where a resolver asks that no file tells of a nameserver, and where everything listens


class Neighbours:
    """The program in podman's network, for the length of a block."""

    def __init__(self, podman: Podman, folder: Path) -> None:
        """Keep in ``folder`` what the API server needs."""
        tests = Path(__file__).parents[1]
        program = [sys.executable, "-m", "shipping.neighbours", folder]
        self._command = podman.inside("env", f"PYTHONPATH={tests}", *program)

    def __enter__(self) -> Self:
        """Start it: every name is unknown, nothing listens."""
        self._program = Popen(self._command, stdin=PIPE, stdout=PIPE, text=True)
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self._program.communicate(timeout=60)

    def __call__(self, *words: Any) -> Any:
        """Have it do something; return what it answers."""
        assert self._program.stdin
        assert self._program.stdout
        self._program.stdin.write(json.dumps(words) + "\n")
        self._program.stdin.flush()
        return json.loads(self._program.stdout.readline())

    def resolve(self, *names: str) -> None:
        """Let these names be known."""
        self("resolve", *names)

    def listen(self, port: int) -> float:
        """Let a port be listened at, by a database or by what speaks HTTP, as it is; return when it was not yet."""
        return float(self("listen", port))

    def ask(self, port: int, path: str) -> int:
        """Return the status with which a path is answered, 0 where nobody answers."""
        return int(self("ask", port, path))

    def serve_cluster(self, files: Path, rules: list[dict[str, Any]]) -> dict[str, str]:
        """Start an API server, and write what a kubelet mounts for an account with these rules of a Role.

        Return the variables that the kubelet sets.
        """
        variables: dict[str, str] = self("cluster", str(files), rules)
        return variables

    def put(self, thing: dict[str, Any]) -> float:
        """Let the API server have an object; return when it had not yet."""
        return float(self("put", thing))

    def leave(self) -> None:
        """Let nothing listen any more, and no name be known."""
        self("leave")


class _Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


class _Database(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.request.recv(1024)
        self.request.sendall(ASKED)


_SPOKEN: dict[int, type[socketserver.BaseRequestHandler]] = {PORT: _Database}


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        pass  # whoever came has hung up


class _Served:
    """What is there so far."""

    def __init__(self, folder: Path, names: Nameserver) -> None:
        self._folder, self._names = folder, names
        self._listeners: list[_Server] = []
        self._cluster: ApiServer | None = None

    def resolve(self, *names: str) -> None:
        self._names.zone |= {(f"{name}.", "A"): [HERE] for name in names}

    def listen(self, port: int) -> float:
        not_yet = time.time()
        listener = _Server((HERE, port), _SPOKEN.get(port, _Answers))
        threading.Thread(target=listener.serve_forever, args=(0.02,), daemon=True).start()
        self._listeners.append(listener)
        return not_yet

    def ask(self, port: int, path: str) -> int:
        connection = HTTPConnection(HERE, port, timeout=10)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except OSError:
            return 0
        finally:
            connection.close()

    def cluster(self, files: str, rules: list[dict[str, Any]]) -> dict[str, str]:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._cluster = ApiServer(self._folder)
        granted = [
            Rule(tuple(rule["verbs"]), tuple(rule["apiGroups"]), tuple(rule["resources"]), "default", tuple(names))
            for rule in rules
            for names in [rule.get("resourceNames", ())]
        ]
        token = self._cluster.allow("system:serviceaccount:default:shop", *granted)
        return self._cluster.in_cluster_files(Path(files), token=token)

    def put(self, thing: dict[str, Any]) -> float:
        assert self._cluster
        not_yet = time.time()
        self._cluster.put(thing)
        return not_yet

    def leave(self) -> None:
        for listener in self._listeners:
            listener.shutdown()
            listener.server_close()
        self._listeners.clear()
        self._names.zone.clear()
        if self._cluster:
            self._cluster.close()
        self._cluster = None


def main() -> None:
    """Do what stdin says."""
    with Nameserver(address=HERE, port=53) as names:
        served = _Served(Path(sys.argv[1]), names)
        for line in sys.stdin:
            what, *about = json.loads(line)
            sys.stdout.write(json.dumps(getattr(served, what)(*about)) + "\n")
            sys.stdout.flush()
        served.leave()


if __name__ == "__main__":
    main()
