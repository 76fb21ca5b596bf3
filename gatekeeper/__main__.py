"""The front door. Nothing is imported before `main` is called, so that what is quick stays quick."""


def main() -> None:
    """Run gatekeeper on the arguments of this process."""
    _leave_at_signals()
    import gc  # noqa: PLC0415 - the front door stays free of imports
    import sys  # noqa: PLC0415 - built in
    import time  # noqa: PLC0415 - built in

    began = time.monotonic()
    _keep_out_the_application()
    gc.disable()  # loading leaves no garbage that is worth looking for
    try:
        if sys.argv[1:2] in (["notify"], ["status"]):
            from gatekeeper.quick import main as run  # noqa: PLC0415 - the front door stays free of imports
        else:
            from gatekeeper.cli import main as run  # noqa: PLC0415 - the front door stays free of imports
    except BaseException as error:  # noqa: BLE001 - no memory, no descriptors, a half of an installation
        _give_up(error)
    gc.freeze()
    gc.set_threshold(50_000, 10, 10)  # nor does what a first attempt loads, and that counts as part of the start
    gc.enable()
    run(began)


def _keep_out_the_application() -> None:
    """Load nothing from PYTHONPATH: it is there for the application, whose modules may have the names of ours."""
    import os  # noqa: PLC0415 - loaded by Python itself
    import sys  # noqa: PLC0415 - built in

    folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    named = {os.path.abspath(path) for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path} - {folder}
    sys.path[:] = [path for path in sys.path if os.path.abspath(path) not in named]


def _leave_at_signals() -> None:
    """Leave at a signal that comes while the rest is loaded: PID 1 would lose it, and SIGINT print a traceback."""
    import os  # noqa: PLC0415 - loaded by Python itself
    import signal  # noqa: PLC0415 - the front door stays free of imports

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda number, _: os._exit(128 + number))


def _give_up(error: BaseException) -> None:
    """Say that gatekeeper cannot be loaded, and leave with the status of a fault."""
    import os  # noqa: PLC0415 - loaded by Python itself

    try:
        os.write(2, f"gatekeeper: a fault in gatekeeper: it cannot be loaded ({type(error).__name__})\n".encode())
    finally:
        os._exit(70)


if __name__ == "__main__":
    main()
