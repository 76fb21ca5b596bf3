"""exec:COMMAND ARGUMENT…: a command that exits as wanted. No shell runs it; its output never reaches our streams."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from gatekeeper.model import Outcome, Reason, ready, waiting
from gatekeeper.probes._command import Run, last_line
from gatekeeper.probes._connect import during, outcome_of
from gatekeeper.probes._options import Options, build, option
from gatekeeper.probes._target import words
from gatekeeper.values import pattern, whole

# 126 and up are what shells, timeout(1) and env(1) say of themselves, not what the command says.
_OWN_WORD = range(1, 126)


@dataclass(frozen=True, slots=True)
class Exec:
    """A command that exits as wanted."""

    EXAMPLE: ClassVar[str] = "migrated=exec:'python manage.py migrate --check' attempt_timeout=20s"

    argv: tuple[str, ...]
    exit: tuple[int, ...] = option(whole(0, 255), "exit statuses that count as ready", default=(0,), commas=True)
    expect: re.Pattern[bytes] | None = option(
        pattern, "regular expression that the first 64 KiB of its output must match"
    )

    @classmethod
    def parse(cls, target: str, options: Options) -> Self:
        """Make the probe of a target; raises `BadOptionsError`."""

        def read() -> Mapping[str, Any]:
            return {"argv": words(target.partition(":")[2])}

        return build(cls, options, read)

    async def attempt(self) -> Outcome:
        """Run the command once; on cancellation it is killed with its process group."""
        try:
            run = Run(self.argv)
        except OSError as error:
            return self._unstarted(error)
        with during(lambda: f"running {self.argv[0]}{_said(run)}"):
            async with run:
                return self._judged(await run.ended(), run)

    def _judged(self, status: int | None, run: Run) -> Outcome:
        if status is None:
            return waiting(Reason.COMMAND_FAILED, "exit status unknown: another part of this process has reaped it")
        ended = f"exit {status}" if status >= 0 else f"signal {-status}"
        if status not in self.exit:
            return waiting(Reason.COMMAND_FAILED, f"{ended}{_said(run)}", gone=status in _OWN_WORD)
        if self.expect and not self.expect.search(run.head):
            return waiting(Reason.UNWANTED_ANSWER, f"{ended}, no match in {len(run.head)} bytes{_said(run)}")
        return ready(ended)

    def _unstarted(self, error: OSError) -> Outcome:
        # All of these may pass: a volume is mounted late, a mode is changed, a file is still being written.
        name = self.argv[0]
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            return waiting(Reason.NOT_FOUND, f"{name} (or the interpreter that it names)")
        if isinstance(error, PermissionError):
            return waiting(Reason.FORBIDDEN, f"{name} (not executable)")
        exhausted = outcome_of(error, name)
        if exhausted.reason is Reason.EXHAUSTED:
            return exhausted
        return waiting(Reason.COMMAND_FAILED, f"{name} cannot be executed ({error.strerror})")


def _said(run: Run) -> str:
    line = last_line(run.tail)
    return f": {line}" if line else ""
