"""The front door. Nothing is imported before `main` is called, so that a quicker look may stand here one day."""


def main() -> None:
    """Run gatekeeper on the arguments of this process."""
    import gc  # noqa: PLC0415 - the front door stays free of imports
    import time  # noqa: PLC0415 - built in

    began = time.monotonic()
    gc.disable()  # loading leaves no garbage that is worth looking for
    from gatekeeper.cli import main as run  # noqa: PLC0415 - the front door stays free of imports

    gc.freeze()
    gc.enable()
    run(began)


if __name__ == "__main__":
    main()
