"""Put the self-contained agent into a folder, from where a container whose image has no Python can execute it.

Only the tree that the image carries can be copied: its launcher finds the rest beside itself. The folder may be shared
by containers that already run what is in it, so nothing that is there and whole is touched.
"""

import contextlib
import fcntl
import os
import sys
from collections.abc import Iterator

from gatekeeper import __version__
from gatekeeper.declaration import BadDeclarationError, Problem

# In this order they come; the first says whose they are, the last that all are there. They leave the other way round.
_PARTS = ("share", "libexec", "lib", "bin")
_SUM = "share/tree.sha256"
_PROGRAM = "bin/gatekeeper"
_UNFINISHED = ".gatekeeper-"


def install(argv: list[str]) -> str:
    """Copy the tree that this process runs from into the folder that ``argv`` names; return what was done, as a line.

    Raises `BadDeclarationError` for a folder that will not do and where there is no tree, and `OSError`.
    """
    if len(argv) != 1 or not argv[0]:
        raise BadDeclarationError([Problem("install", "takes one DIR, the folder to be filled")])
    folder, tree = argv[0], sys.prefix
    if not os.path.exists(os.path.join(tree, _SUM)):
        why = (
            f"the Python in {tree} cannot be taken elsewhere; run this in gatekeeper's default image, whose Python can"
        )
        raise BadDeclarationError([Problem("install", why)])
    with _locked(folder):
        if _is_there(tree, folder):
            return f"gatekeeper {__version__} is in {folder} already\n"
        try:
            _replace(tree, folder)
        except OSError as error:  # the copy names files that nobody has heard of, or none
            raise OSError(error.errno, error.strerror, folder) from error
    return f"gatekeeper {__version__} is now {os.path.join(folder, _PROGRAM)}\n"


def _refused(place: str, message: str) -> BadDeclarationError:
    return BadDeclarationError([Problem(place, message)])


@contextlib.contextmanager
def _locked(folder: str) -> Iterator[None]:
    """Make the folder, see that it will do, and keep others from filling it at the same time."""
    place = f"install {folder}"
    try:
        os.makedirs(folder, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileExistsError, NotADirectoryError):
        raise _refused(place, "is no folder") from None
    except OSError as error:
        raise _refused(place, f"cannot be made or opened: {error.strerror}") from None
    try:
        if os.fstatvfs(descriptor).f_flag & os.ST_NOEXEC:
            raise _refused(place, "nothing can be executed there, it is mounted noexec; name a volume that is not")
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        others = [name for name in _PARTS if os.path.lexists(os.path.join(folder, name))]
        if others and not os.path.exists(os.path.join(folder, _SUM)):
            raise _refused(place, f"holds {', '.join(others)} that is not gatekeeper's; name an empty folder")
        if not os.access(folder, os.W_OK) and not others:
            raise _refused(place, f"user {os.geteuid()} may not write there; set the volume's owner or fsGroup")
        yield
    finally:
        os.close(descriptor)


def _is_there(tree: str, folder: str) -> bool:
    """Tell whether the folder has the same tree, to its last file."""
    if not os.path.exists(os.path.join(folder, _PROGRAM)):
        return False
    with open(os.path.join(tree, _SUM), "rb") as ours, open(os.path.join(folder, _SUM), "rb") as theirs:
        return ours.read() == theirs.read()


def _replace(tree: str, folder: str) -> None:
    """Copy beside what is there, then put it in its place, the program last."""
    import shutil  # noqa: PLC0415 - for this one command

    for name in os.listdir(folder):
        if name.startswith(_UNFINISHED):  # by one who was ended
            shutil.rmtree(os.path.join(folder, name))
    new, old = (os.path.join(folder, _UNFINISHED + name) for name in ("new", "old"))
    for path in (new, old):
        os.mkdir(path)
    try:
        for part in _PARTS:
            _copy(tree, new, part)
        for part in reversed(_PARTS):
            with contextlib.suppress(FileNotFoundError):
                os.rename(os.path.join(folder, part), os.path.join(old, part))
        for part in _PARTS:
            os.rename(os.path.join(new, part), os.path.join(folder, part))
    finally:
        for path in (new, old):
            shutil.rmtree(path, ignore_errors=True)


def _copy(tree: str, new: str, part: str) -> None:
    """Copy one part, for every user to read and nobody to write, whatever our umask is."""
    import shutil  # noqa: PLC0415 - for this one command

    for folder, folders, names in os.walk(os.path.join(tree, part)):
        to = os.path.join(new, os.path.relpath(folder, tree))
        os.mkdir(to)
        os.chmod(to, 0o755)  # noqa: S103 - who may not enter it cannot start anything
        for name in (*folders, *names):
            source, target = os.path.join(folder, name), os.path.join(to, name)
            if os.path.islink(source):
                os.symlink(os.readlink(source), target)
            elif name in names:
                shutil.copyfile(source, target)
                os.chmod(target, 0o555 if os.access(source, os.X_OK) else 0o444)
