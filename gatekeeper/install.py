"""Put the self-contained agent into a folder, from where a container whose image has no Python can execute it.

Only the tree that the image carries can be copied: its launcher finds the rest beside itself. The folder may be shared
by containers that already run what is in it, so nothing that is there and whole is touched.
"""

import contextlib
import fcntl
import os
import stat
import sys
from collections.abc import Iterator

from gatekeeper import __version__
from gatekeeper.declaration import BadDeclarationError, Problem

# In this order they come; the first says whose they are, the last that all are there. They leave the other way round.
_PARTS = ("share", "libexec", "lib", "bin")
_SUM = "share/tree.sha256"
_PROGRAM = "bin/gatekeeper"
_UNFINISHED = ".gatekeeper-"
_BLOCK = 1 << 20  # bytes; most files are read at once


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
    with _opened(folder) as descriptor:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # others may fill it at the same time
            _clear(folder)
            if _is_there(tree, folder):
                return f"gatekeeper {__version__} is in {folder} already\n"
            _check_place(folder, descriptor)
            _replace(tree, folder)
        except OSError as error:  # names files that nobody has heard of, or none
            raise OSError(error.errno, error.strerror, folder) from error
    return f"gatekeeper {__version__} is now {os.path.join(folder, _PROGRAM)}\n"


def _refused(place: str, message: str) -> BadDeclarationError:
    return BadDeclarationError([Problem(place, message)])


@contextlib.contextmanager
def _opened(folder: str) -> Iterator[int]:
    """Make the folder where it is not there, and give its descriptor."""
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
        yield descriptor
    finally:
        os.close(descriptor)


def _is_there(tree: str, folder: str) -> bool:
    """Tell whether the folder has the same tree, to its last file."""
    if not os.path.exists(os.path.join(folder, _PROGRAM)):
        return False
    try:
        with open(os.path.join(tree, _SUM), "rb") as ours, open(os.path.join(folder, _SUM), "rb") as theirs:
            return ours.read() == theirs.read()
    except FileNotFoundError:
        return False


def _check_place(folder: str, descriptor: int) -> None:
    """Refuse a folder that holds what is another's, or that cannot be written to."""
    place = f"install {folder}"
    others = [name for name in _PARTS if os.path.lexists(os.path.join(folder, name))]
    if others and not os.path.exists(os.path.join(folder, _SUM)):
        raise _refused(place, f"holds {', '.join(others)} that is not gatekeeper's; name an empty folder")
    if os.fstatvfs(descriptor).f_flag & os.ST_RDONLY:
        raise _refused(place, "is mounted read-only; mount it writable in the container that installs")
    if not os.access(folder, os.W_OK):
        raise _refused(place, f"user {os.geteuid()} may not write there; set the volume's owner or fsGroup")


def _replace(tree: str, folder: str) -> None:
    """Copy beside what is there, then put it in its place, the program last."""
    new, old = (os.path.join(folder, _UNFINISHED + name) for name in ("new", "old"))
    mask = os.umask(0)  # every user is to read it, and nobody to write to it
    try:
        for path in (new, old):
            os.mkdir(path, 0o755)
        for part in _PARTS:
            _copy_folder(os.path.join(tree, part), os.path.join(new, part))
        for part in reversed(_PARTS):
            with contextlib.suppress(FileNotFoundError):
                os.rename(os.path.join(folder, part), os.path.join(old, part))
        for part in _PARTS:
            os.rename(os.path.join(new, part), os.path.join(folder, part))
    finally:
        os.umask(mask)
        _clear(folder)


def _clear(folder: str) -> None:
    """Remove what was left unfinished, by us or by one who was ended, as far as we may."""
    import shutil  # noqa: PLC0415 - for this one command

    for name in os.listdir(folder):
        if name.startswith(_UNFINISHED):
            shutil.rmtree(os.path.join(folder, name), ignore_errors=True)


def _copy_folder(source: str, target: str) -> None:
    """Copy a folder; with nothing between us and the system, because it holds a thousand small files."""
    os.mkdir(target, 0o755)
    with os.scandir(source) as entries:
        for entry in entries:
            path = f"{target}/{entry.name}"
            if entry.is_symlink():
                os.symlink(os.readlink(entry.path), path)
            elif entry.is_dir():
                _copy_folder(entry.path, path)
            else:
                _copy_file(entry.path, path)


def _copy_file(source: str, target: str) -> None:
    file = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        mode = 0o555 if os.fstat(file).st_mode & stat.S_IXUSR else 0o444
        copy = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            while block := os.read(file, _BLOCK):
                while block:
                    block = block[os.write(copy, block) :]
        finally:
            os.close(copy)
    finally:
        os.close(file)
