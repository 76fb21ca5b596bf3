"""A command that says to its NOTIFY_SOCKET what a test tells it to, and the service manager outside that listens."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gate.program import PATIENCE, Listener, notify_socket
from run.tended import PYTHON, Tended, init, tending

# Executes what it is told, line by line, and says when that is done. It waits for a signal and for a line at once: one
# that comes just before a read blocks would be heeded by Python only when that read has ended.
_SPEAKER = r"""
import array, ctypes, json, os, select, signal, socket, subprocess, sys, time
sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
address = os.environ.get("NOTIFY_SOCKET", "")
where = "\0" + address[1:] if address.startswith("@") else address
def say(text, *descriptors):
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
    sock.sendmsg([text if isinstance(text, bytes) else text.encode()], rights, 0, where)
def closed(text, count=1):
    "Say something with the writing ends of pipes, and wait until the other side has closed them."
    pipes = [os.pipe() for _ in range(count)]
    say(text, *(writer for _, writer in pipes))
    for reader, writer in pipes:
        os.close(writer)
        os.read(reader, 1)
        os.close(reader)
def barrier(): closed("BARRIER=1")
def child(do):
    "Let a child do something, and wait for its end."
    pid = os.fork()
    if not pid:
        do()
        os._exit(0)
    os.waitpid(pid, 0)
def show(*words): os.write(1, " ".join(map(str, words)).encode() + b"\n")
came, coming = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
signal.set_wakeup_fd(coming)
def told():
    rest = b""
    while True:
        while b"\n" not in rest:
            if 0 in select.select([0, came], [], [])[0]:
                more = os.read(0, 65536)
                if not more: return
                rest += more
            else: os.read(came, 100)
        line, _, rest = rest.partition(b"\n")
        yield line
show(os.getpid(), address)
for line in told():
    exec(json.loads(line))
    show("done")
"""


class Speaker(Tended):
    """A command of a test's own that is tended, and what is heard outside."""

    def __init__(self, tended: Tended, outside: Listener) -> None:
        """Wait until it is there."""
        super().__init__(tended.process)
        self.outside = outside
        pid, _, self.address = self.line().partition(" ")
        self.command = int(pid)

    def tell(self, program: str) -> None:
        """Tell the command what to do."""
        assert self.process.stdin
        self.process.stdin.write(json.dumps(program) + "\n")
        self.process.stdin.flush()

    def do(self, program: str) -> list[str]:
        """Let the command do something, and return the lines that it shows meanwhile."""
        self.tell(program)
        shown = []
        while (line := self.line()) != "done":
            assert line, "the command has ended"
            shown.append(line)
        return shown

    def hear(self, *messages: str) -> list[str]:
        """Wait until each of these has been heard outside; return all that was heard since the last time."""
        heard: list[str] = []
        end = time.monotonic() + PATIENCE
        while not set(messages) <= set(heard):
            assert time.monotonic() < end, heard
            heard.append(self.outside.next())
        return heard

    def close(self) -> int:
        """Let the command end, with 0, and return the exit status."""
        assert self.process.stdin
        self.process.stdin.close()
        self.process.stdin = None
        return self.ended()

    def states(self) -> list[str]:
        """Return the states that were logged, once it has ended."""
        return [each["state"] for each in self.log() if each["event"] == "command.changed"]


@contextmanager
def speaking(folder: Path, *options: str, **env: str) -> Iterator[Speaker]:
    """Give a speaker that is tended with options, once the gate's own words are over."""
    with notify_socket(folder) as outside:
        given: dict[str, Any] = {"env": {"NOTIFY_SOCKET": outside.path, **env}, "stdin": -1}
        with tending(*init(*options), *PYTHON, _SPEAKER, **given) as tended:
            speaker = Speaker(tended, outside)
            outside.messages()
            yield speaker


def mentions(messages: list[str], text: str) -> bool:
    """Tell whether one of the messages has a text in it."""
    return any(text in each for each in messages)
