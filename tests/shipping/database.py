"""A database, as far as a gate asks it: PostgreSQL's word to whoever wants a session (its manual, 55.2.1 and 55.7).

    python3 database.py [now]

It listens once it is sent SIGUSR1, or now, and says when. Its text is a program for images that have a Python.
"""

import contextlib
import os
import signal
import socket
import sys
import threading
import time

PORT = 5432
ASKED = b"R" + bytes((0, 0, 0, 8, 0, 0, 0, 3))  # for a password


def serve(listener: socket.socket) -> None:
    """Answer everybody, until the listener is closed."""
    with contextlib.suppress(OSError):
        while True:
            client, _ = listener.accept()
            with client, contextlib.suppress(OSError):  # whoever came may have hung up
                client.recv(1024)
                client.sendall(ASKED)


def answer(listener: socket.socket) -> None:
    """Begin to listen, and answer for as long as the process lives."""
    listener.listen()
    threading.Thread(target=serve, args=(listener,), daemon=True).start()


def main() -> None:
    """Listen when it is time to."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    os.write(1, b"there\n")
    if "now" not in sys.argv:
        signal.sigwait([signal.SIGUSR1])
    listener = socket.create_server(("", PORT))
    os.write(1, f"{time.time()}\n".encode())
    serve(listener)


if __name__ == "__main__":
    main()
