"""What Python runs before all else in the self-contained tree, as site, which is frozen into it, has it.

It imports what is built in, and nothing else: it is a part of every start.
"""  # noqa: INP001 - a module of the tree, not of ours

import posix
import sys

_PACKAGES = f"{sys.prefix}/lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"


class LeftOut:
    """Says of a module that was left out of the tree that it was, and where the list is."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:  # noqa: ARG004 - as importlib calls it
        """Find nothing; raise ModuleNotFoundError for what the list holds."""
        place = f"{sys.prefix}/share/left-out.txt"
        try:
            with open(place, encoding="ascii") as file:
                left_out = file.read().split("\n")
        except OSError:
            return
        if name in left_out:
            message = f"{name} was left out of this image; {place} lists what was, and the distroless image has it"
            raise ModuleNotFoundError(message, name=name)


def _put_back() -> None:
    """Give the variables for the loader, which the launcher put aside, their names back."""
    for name in [name for name in posix.environ if name.startswith(b"\1D_")]:
        value = posix.environ.pop(name)
        posix.unsetenv(name)
        posix.environ[b"L" + name[1:]] = value
        posix.putenv(b"L" + name[1:], value)


def _take_name() -> None:
    """Be called what we are in the list of processes, where the loader's name would stand."""
    try:
        descriptor = posix.open("/proc/self/comm", posix.O_WRONLY | posix.O_CLOEXEC)
    except OSError:
        return  # no /proc
    try:
        posix.write(descriptor, b"gatekeeper")
    finally:
        posix.close(descriptor)


_put_back()
_take_name()
if _PACKAGES not in sys.path:  # Debian's Python looks elsewhere
    sys.path.append(_PACKAGES)
sys.meta_path.append(LeftOut)
