"""The main job in ten seconds, on dependencies that it starts itself: nothing outside of loopback is touched.

A database that is slow to listen, an API that answers 503 while it starts, and a file that a migration leaves behind.
The gate holds until all three are there, and only then becomes the program.
"""

import os
import shlex
import socket
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DATABASE_AFTER, MIGRATED_AFTER, API_AFTER = 2.0, 4.0, 6.0
_PROGRAM = "import os; print(f'hello from the program, process {os.getpid()}: everything it needs is there')"


def demo() -> int:
    """Run the demonstration and return the exit status of the gate."""
    with tempfile.TemporaryDirectory() as folder, _database() as database, _api() as api:
        migrated = os.path.join(folder, "migrated")
        timers = [
            threading.Timer(DATABASE_AFTER, database.listen),
            threading.Timer(MIGRATED_AFTER, lambda: open(migrated, "x").close()),
            threading.Timer(API_AFTER, api.RequestHandlerClass.ready.set),  # type: ignore[attr-defined]  # see _api
        ]
        arguments = [
            "wait",
            "--timeout=30s",
            f"db=tcp://127.0.0.1:{database.getsockname()[1]}",
            f"api=http://127.0.0.1:{api.server_address[1]}/healthz",
            f"migrated=file://{migrated} after=db",
            "--",
            sys.executable,
            "-c",
            _PROGRAM,
        ]
        _say("$ gatekeeper " + shlex.join(arguments[:-2]) + " …\n")
        threading.Thread(target=api.serve_forever, daemon=True).start()
        for timer in timers:
            timer.start()
        try:
            return _status_of([sys.executable, "-P", "-m", "gatekeeper", *arguments], _environment())
        finally:
            for timer in timers:
                timer.cancel()
            api.shutdown()


def _database() -> socket.socket:
    """Return a socket that is bound and refuses connections until it listens."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    return sock


def _api() -> ThreadingHTTPServer:
    """Return a server that answers 503 until it is ready."""

    class Handler(BaseHTTPRequestHandler):
        ready = threading.Event()

        def do_GET(self) -> None:
            self.send_response(200 if self.ready.is_set() else 503)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing: the gate says it all."""

    return ThreadingHTTPServer(("127.0.0.1", 0), Handler)


def _environment() -> dict[str, str]:
    """Return the environment without what is declared for a gate of the caller's, and with the way to this package."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("GATEKEEPER_", "NOTIFY_SOCKET"))}
    return ours | {"PYTHONPATH": os.path.dirname(os.path.dirname(os.path.abspath(__file__)))}


def _status_of(command: list[str], environ: dict[str, str]) -> int:
    """Run a command and return its status; a signal that ends us ends it as well, and it may take its leave."""
    with subprocess.Popen(command, env=environ) as process:  # noqa: S603 - our own program
        try:
            return process.wait()
        except BaseException:
            process.terminate()
            raise


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
