"""The program with a fault in one of its steps, once for each kind of exception. Not a test: a test runs it.

``faulty.py FOLDER`` reads a JSON object on stdin, arguments for each step. A step is a function (``module:name.name``
of gatekeeper), and is replaced by one that raises. For each step and each exception a gatekeeper is forked, with a
folder of its own as working directory. Prints a list of what became of each: step, exception, exit status, whether the
step was reached, what stderr got, and the files that were left.
"""

import asyncio
import errno
import importlib
import inspect
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

EXCEPTIONS: dict[str, Callable[[], BaseException]] = {
    "RuntimeError": RuntimeError,
    "MemoryError": MemoryError,
    "EMFILE": lambda: OSError(errno.EMFILE, os.strerror(errno.EMFILE)),
    "TimeoutError": TimeoutError,
    "SystemExit": lambda: SystemExit(0),
    "KeyboardInterrupt": KeyboardInterrupt,
    "CancelledError": asyncio.CancelledError,
}
_AT_ONCE = 12


def _break(step: str, make: Callable[[], BaseException], reached: Path) -> None:
    module, _, path = step.partition(":")
    holder: Any = importlib.import_module(f"gatekeeper.{module}")
    *folders, name = path.split(".")
    for folder in folders:
        holder = getattr(holder, folder)
    whole = inspect.getattr_static(holder, name)
    plain = whole.__func__ if isinstance(whole, classmethod | staticmethod) else whole

    def fail(*_: object, **__: object) -> NoReturn:
        reached.touch()
        raise make()

    async def fail_later(*_: object, **__: object) -> NoReturn:
        fail()

    setattr(holder, name, fail_later if inspect.iscoroutinefunction(plain) else fail)


def _become_gatekeeper(step: str, make: Callable[[], BaseException], folder: Path, argv: list[str]) -> NoReturn:
    error = os.open(folder / "stderr", os.O_WRONLY | os.O_CREAT, 0o600)
    os.dup2(error, 2)
    os.close(error)
    os.chdir(folder)
    sys.argv = ["gatekeeper", *argv]
    try:
        _break(step, make, folder / "reached")
        from gatekeeper import cli  # noqa: PLC0415 - after the break, as a start would load it

        cli.main(time.monotonic())
    except BaseException as escaped:  # noqa: BLE001 - the interpreter would print it and leave with status 1
        sys.stderr.write(f"Traceback: {escaped!r}\n")
        sys.stderr.flush()
        os._exit(1)


def _forked(step: str, name: str, folder: Path, argv: list[str]) -> int:
    folder.mkdir(parents=True)
    child = os.fork()
    if not child:
        _become_gatekeeper(step, EXCEPTIONS[name], folder, argv)
    return child


def _found(step: str, name: str, status: int | str, folder: Path) -> list[Any]:
    files = sorted(path.name for path in folder.iterdir())
    return [step, name, status, "reached" in files, (folder / "stderr").read_text(), files]


def main() -> None:
    """Do what the module says."""
    plans: dict[str, list[str]] = json.load(sys.stdin)
    for name in ("gatekeeper.cli", "gatekeeper.probes.tcp", "structlog", "tenacity", "json", "random"):
        importlib.import_module(name)
    left = [(step, name, Path(sys.argv[1], step, name)) for step in plans for name in EXCEPTIONS]
    found, running = [], {}
    while left or running:
        if left and len(running) < _AT_ONCE:
            step, name, folder = left.pop()
            child = _forked(step, name, folder, plans[step])
            running[child] = step, name, folder
        else:
            child, status = os.wait()
            step, name, folder = running.pop(child)
            found.append(_found(step, name, os.waitstatus_to_exitcode(status), folder))
    print(json.dumps(found))  # noqa: T201 - the test reads it


if __name__ == "__main__":
    main()
