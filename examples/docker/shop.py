"""A program that starts at once and trusts that what it needs is there: the wait is not its business."""  # noqa: INP001 - a program, not a module

import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer


class Shop(BaseHTTPRequestHandler):
    """Greets everybody."""

    def do_GET(self) -> None:
        """Answer with a greeting."""
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"open for business\n")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    server = HTTPServer(("", 8000), Shop)
    sys.stderr.write(f"shop: process {os.getpid()} listens on port 8000\n")
    server.serve_forever()
