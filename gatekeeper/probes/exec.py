"""exec:COMMAND ARGUMENT…: a command that exits as wanted. No shell runs it; its output never reaches our streams."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from gatekeeper.model import Outcome, Reason, ready, waiting
from gatekeeper.probes._aside import reachable
from gatekeeper.probes._command import Run, last_line
from gatekeeper.probes._connect import outcome_of
from gatekeeper.probes._miss import MissError, during
from gatekeeper.probes._options import Options, build, later, option
from gatekeeper.probes._target import words
from gatekeeper.values import whole

if TYPE_CHECKING:
    from gatekeeper.probes._pattern import Pattern

_NO_SHELL = "its first word has a =, and no shell runs it: to set a variable, write env NAME=VALUE COMMAND"
# 126 and up are what shells, timeout(1) and env(1) say of themselves, not what the command says.
_OWN_WORD = range(1, 126)
_PATTERN = later("_pattern", "pattern")


@dataclass(frozen=True, slots=True)
class Exec:
    """A command that exits as wanted."""

    EXAMPLE: ClassVar[str] = "migrated=exec:'python manage.py migrate --check' attempt_timeout=20s"

    argv: tuple[str, ...]
    exit: tuple[int, ...] = option(whole(0, 255), "exit statuses that count as ready", default=(0,), commas=True)
    expect: "Pattern | None" = option(_PATTERN, "regular expression that the first 64 KiB of its output must match")

    @classmethod
    def parse(cls, target: str, options: Options) -> Self:
        """Make the probe of a target; raises `BadOptionsError`."""

        def read() -> Mapping[str, Any]:
            return {"argv": words(target.partition(":")[2])}

        return build(cls, options, read)

    async def attempt(self) -> Outcome:
        """Run the command once; on cancellation it is killed with its process group."""
        try:
            if "/" in self.argv[0]:
                await reachable(self.argv[0])
            run = Run(self.argv)
        except OSError as error:
            return self._unstarted(error)
        except MissError as miss:
            return miss.outcome
        try:
            with during(lambda: f"running {self._name}{_said(run)}"):
                async with run:
                    return await self._judged(await run.ended(), run)
        except MissError as miss:
            return miss.outcome

    @property
    def _name(self) -> str:
        # Whoever writes NAME=VALUE before a command means a variable, which often is a secret.
        first = self.argv[0]
        return "the command" if "=" in first else first

    async def _judged(self, status: int | None, run: Run) -> Outcome:
        if status is None:
            return waiting(Reason.COMMAND_FAILED, "exit status unknown: another part of this process has reaped it")
        ended = f"exit {status}" if status >= 0 else f"signal {-status}"
        if status not in self.exit:
            return waiting(Reason.COMMAND_FAILED, f"{ended}{_said(run)}", gone=status in _OWN_WORD)
        if self.expect and not await self.expect.found_in(run.head, "its output"):
            return waiting(Reason.UNWANTED_ANSWER, f"{ended}, no match in {len(run.head)} bytes{_said(run)}")
        return ready(ended)

    def _unstarted(self, error: OSError) -> Outcome:
        # All of these may pass: a volume is mounted late, a mode is changed, a file is still being written.
        name = self._name
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            hint = "or the interpreter that it names" if name == self.argv[0] else _NO_SHELL
            return waiting(Reason.NOT_FOUND, f"{name} ({hint})")
        if isinstance(error, PermissionError):
            return waiting(Reason.FORBIDDEN, f"{name} (not executable)")
        exhausted = outcome_of(error, name)
        if exhausted.reason is Reason.EXHAUSTED:
            return exhausted
        return waiting(Reason.COMMAND_FAILED, f"{name} cannot be executed ({error.strerror})")


def _said(run: Run) -> str:
    line = last_line(run.tail)
    return f": {line}" if line else ""
