"""Readiness for s6: a newline on a descriptor, and no harm from a bad one."""

import os

from gatekeeper.announce.s6 import newline_on


def test_a_newline_is_written_and_the_descriptor_closed() -> None:
    """The supervisor reads a newline, then the end."""
    ours, theirs = os.pipe()
    assert newline_on(theirs) is None
    assert os.read(ours, 10) == b"\n"
    assert os.read(ours, 10) == b""
    os.close(ours)


def test_a_descriptor_that_is_not_open_is_told() -> None:
    """A descriptor that nobody passed is a problem to tell, not an error."""
    ours, theirs = os.pipe()
    os.close(ours)
    os.close(theirs)
    assert newline_on(theirs) == f"descriptor {theirs}: Bad file descriptor"


def test_a_supervisor_that_is_gone_is_told_and_the_descriptor_closed() -> None:
    """A hung-up pipe neither kills nor raises."""
    ours, theirs = os.pipe()
    os.close(ours)
    assert newline_on(theirs) == f"descriptor {theirs}: Broken pipe"
    assert newline_on(theirs) == f"descriptor {theirs}: Bad file descriptor"


def test_a_full_pipe_is_not_waited_for() -> None:
    """A pipe without room loses the newline, and is closed all the same."""
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)
    try:
        while True:
            os.write(theirs, bytes(4096))
    except BlockingIOError:
        os.set_blocking(theirs, True)
    assert newline_on(theirs) == f"descriptor {theirs}: nobody reads it"
    while os.read(ours, 65536):
        pass
    os.close(ours)
