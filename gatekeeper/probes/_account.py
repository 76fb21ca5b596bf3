"""Servers that one can log in to: as whom, with what password, by which driver; and whether to do it at all.

Whoever gives a password wants to know that it is taken. The driver is the field's own, an extra of this package, and
loaded for that alone; that a server is up is known before, without a word of credentials.
"""

import os
import re
import ssl
import sys
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import ClassVar, NamedTuple, Self

from gatekeeper.model import Outcome, Reason, State, waiting
from gatekeeper.probes._connect import connect_to
from gatekeeper.probes._dialog import Dialog
from gatekeeper.probes._dsn import Place
from gatekeeper.probes._local import contents, file_path
from gatekeeper.probes._miss import MissError, during
from gatekeeper.probes._options import BadOptionsError, Options, option
from gatekeeper.probes._server import Server
from gatekeeper.probes._socketfile import connect_file
from gatekeeper.probes._stream import SocketStream
from gatekeeper.probes._tls import context_of
from gatekeeper.resolve import Peer
from gatekeeper.values import Secret, flag

_MOST = 64 * 1024  # bytes of a password


class At(NamedTuple):
    """Where a driver connects: an address and a port, or a socket file; ``name`` is the host that was declared."""

    host: str
    port: int
    unix: str | None
    name: str


async def loaded(module: str) -> None:
    """Return once a module is loaded, aside: a driver takes part of a second, and seconds where a pod has little CPU.

    Others are attempted and signals heard meanwhile. Raises `MissError` where no thread is left.
    """
    if not _is_loaded(module):
        from gatekeeper.probes._aside import aside  # noqa: PLC0415 - once for each driver

        with during("loading a driver"):
            await aside("loading a driver", partial(import_module, module))


def _installed(module: str) -> bool:
    """Tell whether a module can be loaded, without loading anything of it: an older driver may lack it."""
    top, *inner = module.split(".")
    spec = find_spec(top)
    if not spec or not inner:
        return spec is not None
    stems = [os.path.join(folder, *inner) for folder in spec.submodule_search_locations or () if os.path.isdir(folder)]
    return not stems or any(os.path.exists(stem) or os.path.exists(f"{stem}.py") for stem in stems)


def _lacking(driver: str, extra: str) -> str | None:
    """Return what is missing for a login, which may be a driver that is as new as its extra has it."""
    if not _installed(driver):
        return "a driver"
    if not extra:  # it comes with gatekeeper
        return None
    from importlib import metadata  # noqa: PLC0415 - for who logs in

    row = rf"(?P<name>[\w.-]+)\b.*?>=(?P<version>[\d.]+).*\bextra == .{extra}\b"
    try:
        for found in filter(None, (re.match(row, each) for each in metadata.requires("gatekeeper-agent") or ())):
            if _numbers(metadata.version(found["name"])) < _numbers(found["version"]):
                return f"{found['name']} {found['version']} or newer"
    except metadata.PackageNotFoundError:  # where a package came without its metadata, its modules are all there is
        return None
    return None


def _numbers(version: str) -> list[int]:
    return [int(each) for each in [*re.findall(r"\d+", version), "0", "0"][:2]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Account(Server):
    """A server that one can log in to."""

    DRIVER: ClassVar[str] = ""  # the module, where one is needed: one that older drivers have not
    EXTRA: ClassVar[str] = ""  # of the package, by which it is installed
    LOOKS: ClassVar[tuple[str, ...]] = ()  # the options that only somebody who has logged in can see to
    IN_ONE: ClassVar[bool] = False  # whether `speak` logs in as well, in the same conversation

    password_file: str | None = option(
        file_path, "file with the password, read at each attempt; without it and a password nobody logs in", local=True
    )
    login: bool | None = option(flag, "log in", unset="with a password")

    @classmethod
    def parse(cls, target: str, options: Options) -> Self:
        """Make the probe of a target; raises `BadOptionsError`."""
        probe = Server.parse.__func__(cls, target, options)  # type: ignore[attr-defined]  # slots: no super() here
        wrong = []
        if probe.login is False:
            wrong += [(key, "needs login: leave out login=no") for key in cls.LOOKS if key in options]
        if probe.password_file and probe.dsn.password:
            wrong.append(("password_file", "is a second password: leave one out"))
        lacks = _lacking(cls.DRIVER, cls.EXTRA) if probe.logs_in and cls.DRIVER else None
        if lacks:
            looks = [key for key in cls.LOOKS if key in options]
            without = f"without, leave out {', '.join(looks)}" if looks else "login=no looks whether it is up without"
            wrong.append(("", f"logging in needs {lacks}: pip install 'gatekeeper-agent[{cls.EXTRA}]'; {without}"))
        if wrong:
            raise BadOptionsError(*wrong)
        return probe  # type: ignore[no-any-return]

    @property
    def logs_in(self) -> bool:
        """Whether to log in once the server is up."""
        if self.login is not None:
            return self.login
        given = (self.dsn.password, self.password_file, *(getattr(self, key) for key in self.LOOKS))
        return any(each not in (None, (), False) for each in given)

    def password(self) -> Secret | None:
        """Return the password as it is now; raises `MissError` where its file cannot be read or is empty."""
        if self.password_file is None:
            return self.dsn.password
        read = contents("password_file", self.password_file, _MOST).decode("utf-8", "surrogateescape")
        password = read.removesuffix("\n").removesuffix("\r")
        if not password:  # whoever writes it is not there yet; a login would fail, and count
            raise MissError(waiting(Reason.NOT_FOUND, f"password_file {self.password_file} (is empty)"))
        return Secret(password)

    def tls_context(self) -> ssl.SSLContext | None:
        """Return what a driver speaks TLS with, None where it shall not; raises `MissError`."""
        return context_of(self.trust) if self.wants_tls else None

    async def connected(self, at: At) -> Dialog:
        """Connect once more, TLS included, for a driver that takes a connection as it is; raises `MissError`."""
        if at.unix:
            stream = SocketStream(connect_file(at.unix), at.unix)
        else:
            sock, peer = await connect_to(at.host, at.port)
            stream = SocketStream(sock, str(peer))
        dialog = Dialog(stream)
        try:
            if self.wants_tls:
                await self.secure(dialog, at.name)
        except BaseException:
            dialog.close()
            raise
        return dialog

    async def log_in(self, at: At) -> Outcome:
        """Log in, and look at what was asked for; not called where `speak` does it in one."""
        raise NotImplementedError

    async def attempt_at(self, place: Place, peer: Peer) -> Outcome:
        """Look whether the server is up at one address, and log in there."""
        outcome = await Server.attempt_at(self, place, peer)
        return await self._and_log_in(outcome, At(peer.address[0], place.port, None, place.host))

    async def attempt_at_file(self, path: str) -> Outcome:
        """Look whether the server is up over a socket file, and log in there."""
        outcome = await Server.attempt_at_file(self, path)
        return await self._and_log_in(outcome, At(path, 0, path, "localhost"))

    async def _and_log_in(self, outcome: Outcome, at: At) -> Outcome:
        if outcome.state is not State.READY or not self.logs_in or self.IN_ONE:
            return outcome
        if self.DRIVER:
            await loaded(self.DRIVER)
        return await self.log_in(at)


def _is_loaded(module: str) -> bool:
    """Tell whether a module is loaded to its end: whoever imports it before that waits."""
    found = sys.modules.get(module)
    return found is not None and not getattr(found.__spec__, "_initializing", False)
