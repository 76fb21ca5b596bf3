"""The other way in, for commands that speak over a socket and leave: a script or a probe calls them again and again.

No event loop and no engine is loaded for them. Otherwise as in `gatekeeper.cli`: whatever goes wrong ends in the status
of a fault, without a traceback.
"""

import os
import sys
from typing import NoReturn

from gatekeeper.declaration import BadDeclarationError
from gatekeeper.exits import EX_NOT_READY, EX_OK, EX_SOFTWARE, EX_USAGE
from gatekeeper.handover.become import become, secure_standard_descriptors, take_stock
from gatekeeper.handover.leave import leave

_STDOUT, _STDERR = 1, 2


def main(began: float) -> NoReturn:  # noqa: ARG001 - these have no deadline that could count from there
    """Run one of our quick commands and leave the process."""
    status = EX_SOFTWARE
    try:
        status = _guarded(sys.argv[1], sys.argv[2:])
    finally:
        leave(status)


def _guarded(name: str, argv: list[str]) -> int:
    try:
        return _notify(argv) if name == "notify" else _status(argv)
    except BadDeclarationError as error:
        _say("".join(f"gatekeeper: {problem}\n" for problem in error.problems))
        return EX_USAGE
    except BaseException as error:  # noqa: BLE001 - whatever it is, it must not print a traceback
        _say(f"gatekeeper: a fault in gatekeeper, please report it: {type(error).__name__}\n")
        return EX_SOFTWARE


def _status(argv: list[str]) -> int:
    from gatekeeper import ask  # noqa: PLC0415 - for this one command

    question = ask.read(argv, os.environ)
    if not question.path:
        return _help("status")
    heard = ask.ask(question)
    _say(heard.text + "\n", _STDOUT)
    return EX_OK if heard.yes else EX_NOT_READY


def _notify(argv: list[str]) -> int:
    from gatekeeper import notify  # noqa: PLC0415 - for this one command

    secure_standard_descriptors()
    stock = take_stock()
    said = notify.read(argv)
    if said.wants_help:
        return _help("notify")
    problem = notify.say(said, os.environ)
    if problem:
        _say(f"gatekeeper: {problem}\n")
        if not said.command:
            return EX_NOT_READY
    if not said.command:
        return EX_OK
    failure = become(said.command, os.environ, stock, ())
    _say(f"gatekeeper: {failure.reason}\n")
    return failure.status


def _help(command: str) -> int:
    from gatekeeper.pages import put  # noqa: PLC0415 - for a page
    from gatekeeper.usage import help_page  # noqa: PLC0415 - as above

    put(help_page(command))
    return EX_OK


def _say(text: str, descriptor: int = _STDERR) -> None:
    try:
        os.write(descriptor, text.encode(errors="backslashreplace"))
    except OSError:  # nobody listens
        return
