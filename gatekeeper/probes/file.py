"""file:///path: a file that exists, or is gone, or holds what it should. Looks at it, and never changes it."""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from gatekeeper.model import Outcome, Reason, Signal, ready, waiting
from gatekeeper.probes._aside import reachable
from gatekeeper.probes._miss import MissError
from gatekeeper.probes._options import BadOptionsError, Options, build, later, option
from gatekeeper.probes._target import absolute_path
from gatekeeper.values import flag

if TYPE_CHECKING:
    from gatekeeper.probes._pattern import Pattern

MOST_READ = 1024 * 1024
_PATTERN = later("_pattern", "pattern")


@dataclass(frozen=True, slots=True)
class File:
    """A file that exists, or is gone, or holds what it should."""

    EXAMPLE: ClassVar[str] = "certs=file:///etc/tls/tls.crt nonempty"

    path: str
    absent: bool = option(flag, "ready when it is not there", default=False)
    nonempty: bool = option(flag, "it must hold something", default=False)
    contains: "Pattern | None" = option(_PATTERN, "regular expression that its first MiB must match")

    @classmethod
    def parse(cls, target: str, options: Options) -> Self:
        """Make the probe of a target (RFC 8089); raises `BadOptionsError`."""

        def read() -> Mapping[str, Any]:
            return {"path": absolute_path(target, "file:///path/to/file")}

        probe = build(cls, options, read)
        if probe.absent and (probe.nonempty or probe.contains):
            raise BadOptionsError(("absent", "contradicts nonempty and contains"))
        return probe

    async def attempt(self) -> Outcome:
        """Look at the file once."""
        try:
            await reachable(self.path)
            status = os.stat(self.path)  # noqa: PTH116, ASYNC116, RUF100 - pathlib would be loaded for this alone
            if self.absent:
                return waiting(Reason.STILL_THERE, self.path, cheap=True)
            unwanted = await self._miss(status) if self.nonempty or self.contains else None
        except OSError as error:
            return self._outcome_of(error)
        except MissError as miss:
            return miss.outcome
        # What must stay as it is while the file is watched for stability.
        mark = (status.st_size, status.st_mtime_ns, status.st_ino, status.st_dev)
        return unwanted or ready(self.path, mark=mark)

    async def watch(self) -> Signal | None:
        """Return a signal that tells when the file comes, goes or changes; None where the kernel does not tell."""
        await reachable(self.path)
        from gatekeeper.probes._inotify import watch  # noqa: PLC0415 - loads ctypes, needed only while waiting

        return watch(self.path, inside=self.nonempty)

    def _outcome_of(self, error: OSError) -> Outcome:
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            if self.absent:
                return ready(self.path)
            dangling = " (a link to nothing)" if os.path.islink(self.path) else ""
            return waiting(Reason.NOT_FOUND, self.path + dangling, cheap=True, gone=True)
        if isinstance(error, PermissionError):
            return waiting(Reason.FORBIDDEN, self.path, cheap=True)
        return waiting(Reason.UNREACHABLE, f"{self.path} ({error.strerror})")

    async def _miss(self, status: os.stat_result) -> Outcome | None:
        """Return why the content will not do, None where it does; raises OSError and `MissError`."""
        if stat.S_ISDIR(status.st_mode) and not self.contains:
            with os.scandir(self.path) as entries:
                return None if any(entries) else self._unwanted("empty")
        if not stat.S_ISREG(status.st_mode):
            return self._unwanted("not a regular file")
        if status.st_size and not self.contains:
            return None
        content = self._head()
        if not content and self.nonempty:
            return self._unwanted("empty")
        if self.contains and not await self.contains.found_in(content, self.path):
            return self._unwanted(f"no match in its first {len(content)} bytes")
        return None

    def _head(self) -> bytes:
        # O_NONBLOCK, as a FIFO may have taken the file's place since stat(2), and would hold the whole process.
        handle = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        with open(handle, "rb", buffering=0) as file:
            content = b""
            while len(content) < MOST_READ and (more := file.read(MOST_READ - len(content))):
                content += more
        return content

    def _unwanted(self, why: str) -> Outcome:
        return waiting(Reason.UNWANTED_ANSWER, f"{self.path} ({why})", cheap=True)
