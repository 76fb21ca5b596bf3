"""A program that does to itself what a gate does, and then becomes its arguments. Run by the tests, not imported."""

import json
import os
import signal
import socket
import sys
import threading

from gatekeeper.handover.become import become, secure_standard_descriptors, take_stock

OURS = ("GATEKEEPER_TIMEOUT", "GATEKEEPER_DEPENDENCIES")


def main() -> None:
    """Take stock, leave traces of every kind, become the command; print why that failed, and exit with its status."""
    secure_standard_descriptors()
    stock = take_stock()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, lambda *_: None)
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGTERM, signal.SIGUSR1, signal.SIGRTMIN})
    kept = [socket.socket(), socket.socketpair(), os.pipe(), os.open("/", os.O_RDONLY), os.eventfd(0)]
    signal.set_wakeup_fd(os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC))
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    if os.environ.pop("TEST_COMES_LATE", None):
        os.kill(os.getpid(), signal.SIGTERM)
    failure = become(sys.argv[1:], os.environ, stock, OURS)
    sys.stdout.write(json.dumps([failure.status, failure.reason, signal.getsignal(signal.SIGPIPE), len(kept)]))
    sys.stdout.flush()
    os._exit(failure.status)


main()
