"""On whose side a hook runs, and the way to the container's: its network, and the files that its resolver reads.

prestart and createRuntime run in the runtime's namespaces, createContainer in the container's with the runtime's root
folder, startContainer in the container as it will be (runtime-spec, config.md). A hook is not told which it is. Where
that cannot be found out, or the way is barred, the gate stays shut: on the wrong side it would look at another network.
To be called before any thread is started and any name looked up.
"""

import ctypes
import errno
import os
import sys
from enum import Enum

from gatekeeper.declaration import BadDeclarationError, Problem
from gatekeeper.hook.bundle import Bundle
from gatekeeper.hook.state import PLACE, State

RESOLVED_BY = ("/etc/resolv.conf", "/etc/hosts")
# linux/sched.h, linux/mount.h
_CLONE_NEWNS, _CLONE_NEWNET = 0x00020000, 0x40000000
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 0x40000


class Side(Enum):
    """Where a hook runs; the value names the stages of the bundle that it may be."""

    RUNTIME = ("prestart", "createRuntime", "poststart")
    BETWEEN = ("createContainer",)
    CONTAINER = ("startContainer",)


class BarredError(Exception):
    """Raised where the way to the container's side is barred; its message is for people."""


def side_of(state: State) -> Side:
    """Return on whose side this process runs; raises `BadDeclarationError` where that cannot be told.

    Process 1 of our own process namespace is the container's own, and so is one that crun calls 0.
    """
    if state.pid is None:
        raise BadDeclarationError([Problem(PLACE, "names no process: whose network is meant cannot be told")])
    if state.pid > 1 and not _shares_namespaces(_listed(state.pid), state.bundle):
        return Side.RUNTIME
    made = state.status == "creating" or (state.status == "created" and state.pid == 0)  # runc's word and crun's
    return Side.BETWEEN if made else Side.CONTAINER


def enter(side: Side, state: State, bundle: Bundle | None) -> None:
    """Go where the container's network is, and see the resolver's files as it will; raises `BarredError`."""
    if side is Side.RUNTIME:
        _enter_network(_listed(state.pid or 0))
    if bundle:
        _see_files(bundle)


def _listed(pid: int) -> int:
    """Return the number under which /proc has a process of ours; raises `BadDeclarationError` where it has none.

    In createContainer of runc, /proc is the runtime's still, where the number that we know means another process.
    """
    try:
        if os.readlink("/proc/self") == str(os.getpid()):
            return pid
        same = [int(name) for name in os.listdir("/proc") if name.isdigit() and _is(name, pid)]
    except OSError as error:
        what = f"names process {pid}, and there is no /proc in which to look for it: {error.strerror}"
        raise BadDeclarationError([Problem(PLACE, what)]) from None
    if not same:
        raise BadDeclarationError([Problem(PLACE, f"names process {pid}, which is nowhere to be seen")])
    return same[0]


def _is(name: str, pid: int) -> bool:
    """Tell whether an entry of /proc is the process that has this number in our process namespace."""
    try:
        if not os.path.samestat(_namespace(name, "pid"), _namespace("self", "pid")):
            return False
        with open(f"/proc/{name}/status", "rb") as file:
            numbers = next(line for line in file if line.startswith(b"NSpid:"))
    except (OSError, StopIteration):  # it is over, or one at which we may not look
        return False
    return int(numbers.split()[-1]) == pid


def _shares_namespaces(pid: int, bundle: str) -> bool:
    try:
        return all(os.path.samestat(_namespace(pid, kind), _namespace("self", kind)) for kind in ("mnt", "net"))
    except OSError as error:
        # A container's user may not look at its first process (runc). Whoever makes a container sees its bundle.
        if isinstance(error, PermissionError) and _is_absent(bundle):
            return True
        what = f"names process {pid}, at whose namespaces this user may not look: {error.strerror}"
        raise BadDeclarationError([Problem(PLACE, what)]) from None


def _is_absent(path: str) -> bool:
    try:
        os.lstat(path)
    except OSError as error:
        return error.errno == errno.ENOENT
    return False


def _namespace(pid: int | str, kind: str) -> os.stat_result:
    return os.stat(f"/proc/{pid}/ns/{kind}")


def _enter_network(pid: int) -> None:
    try:
        descriptor = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            if not os.path.samestat(os.fstat(descriptor), _namespace("self", "net")):
                _set_namespace(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        message = f"the network of the container may not be entered ({error.strerror}): this needs CAP_SYS_ADMIN"
        raise BarredError(message) from None


def _set_namespace(descriptor: int) -> None:
    if sys.version_info >= (3, 12):
        os.setns(descriptor, _CLONE_NEWNET)
    else:
        _call("setns", descriptor, _CLONE_NEWNET)


def _see_files(bundle: Bundle) -> None:
    """Lay what the container's resolver reads over what ours reads, in mounts that nobody else sees."""
    try:
        _call("unshare", _CLONE_NEWNS)
        _call("mount", b"none", b"/", None, ctypes.c_ulong(_MS_REC | _MS_PRIVATE), None)
        for path in RESOLVED_BY:
            source = os.fsencode(bundle.source_of(path))
            _call("mount", source, os.fsencode(path), None, ctypes.c_ulong(_MS_BIND), None)
    except OSError as error:
        message = (
            f"the container's {' and '.join(RESOLVED_BY)} cannot be seen ({error.strerror}): this needs CAP_SYS_ADMIN"
        )
        raise BarredError(message) from None
    # Neither nscd nor systemd-resolved of the host, which would answer through sockets of theirs (nsswitch.conf(5)).
    configure = getattr(ctypes.CDLL(None), "__nss_configure_lookup", None)  # not in musl, which asks neither
    if configure:
        configure(b"hosts", b"files dns")


def _call(name: str, *arguments: object) -> None:
    """Call a function of the C library that returns 0; raises OSError."""
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
