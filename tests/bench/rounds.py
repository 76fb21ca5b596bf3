"""What the rows share: the tools, and the rounds in which they take turns.

Tools take turns, so that what else this machine does falls on all of them; only numbers of one run are compared. A
tool that fails one run has no number in that row, and the row says why.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from .field import Tool
from .processes import FailedRunError

OURS = "gatekeeper"
MANY = 1000

Measured = TypeVar("Measured")


class Bench(NamedTuple):
    """What every row needs: the tools by name, a folder for files, COMMAND, and how many times the usual runs."""

    tools: Mapping[str, Tool]
    folder: Path
    command: Sequence[str]
    times: float

    def rounds(self, usual: int) -> int:
        """Return how many rounds a row has, at least one."""
        return max(1, round(usual * self.times))

    def of_http(self) -> dict[str, Callable[[int], list[str]]]:
        """Return how each tool that knows HTTP waits for an endpoint."""
        return {name: tool.http for name, tool in self.tools.items() if tool.http is not None}

    def of_many(self) -> dict[str, Tool]:
        """Return the tools that wait for a thousand dependencies in one call."""
        return {name: tool for name, tool in self.tools.items() if tool.most >= MANY}

    def without(self, able: Mapping[str, object], what: str) -> list[str]:
        """Say which tools are not in a row because they cannot do ``what``."""
        return [f"{name}: left out: it {what}" for name in self.tools if name not in able]


def in_turns(
    names: Sequence[str], rounds: int, measure: Callable[[str, int], Measured]
) -> tuple[dict[str, list[Measured]], list[str]]:
    """Measure every name once a round, each round beginning with another; return the results and what failed."""
    results: dict[str, list[Measured]] = {name: [] for name in names}
    notes: list[str] = []
    for turn in range(rounds):
        first = turn % len(names)
        for name in [*names[first:], *names[:first]]:
            if name in results:
                try:
                    results[name].append(measure(name, turn))
                except FailedRunError as failed:
                    del results[name]
                    notes.append(f"{name}: no number: round {turn + 1} failed: {failed}")
    return results, notes


def wait_for_ports(bench: Bench, tool: Tool, ports: Sequence[int]) -> list[str]:
    """Return the call that waits for ``ports``: by a plan file where the tool has one, or all as arguments."""
    if tool.plan is None:
        return tool.tcp(ports)
    plan = bench.folder / f"plan-of-{len(ports)}.yaml"
    lines = [f"  port-{port}: tcp://127.0.0.1:{port}\n" for port in ports]
    plan.write_text("".join(["dependencies:\n", *lines]))
    return tool.plan(plan)
