"""Run the bench and print its rows on stdout as they are done, progress on stderr.

A reach that is missed is for people to judge on a machine that may be busy: exit 0, or 1 with --strict. A number is
worth nothing alone; each stands beside the others of the same run.
"""

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from . import burden, lateness, readiness, starting
from .field import MissingError, tools
from .processes import stamp_command
from .rounds import Bench
from .table import Reach, Row

ROWS: dict[str, Callable[[Bench], Row]] = {
    "port": lateness.port,
    "http": lateness.http,
    "there": starting.there,
    "http-there": starting.http_there,
    "memory": burden.memory,
    "thousand": starting.thousand,
    "refused": burden.refused,
    "postgres": readiness.postgres,
    "redis": readiness.redis,
    "mysql": readiness.mysql,
}


def main() -> int:
    """Fetch the tools, measure the rows that were asked for, print them; return the exit status."""
    wanted = _arguments()
    start = time.monotonic()
    _progress("fetching and installing the tools")
    try:
        found, left_out = tools()
    except MissingError as missing:
        sys.stderr.write(f"bench: gatekeeper cannot be installed: {missing}\n")
        return 1
    _print(f"gatekeeper's bench: Python {platform.python_version()}, {platform.system()} {platform.release()}")
    _print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}; medians, with (smallest..largest)")
    _print("tools, with their own defaults: " + ", ".join(f"{tool.name} {tool.version}" for tool in found))
    _print("".join(f"{line}\n" for line in left_out))
    reaches: list[Reach] = []
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench({tool.name: tool for tool in found}, Path(folder), stamp_command(Path(folder)), wanted.times)
        for name in wanted.only or ROWS:
            _progress(f"measuring {name}")
            row = ROWS[name](bench)
            reaches += row.reaches
            _print(f"{row}\n")
    missed = sum(not reach.met for reach in reaches)
    _print(f"{len(reaches) - missed} of {len(reaches)} reaches met, in {time.monotonic() - start:.0f} s")
    return 1 if missed and wanted.strict else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description="Measure gatekeeper beside the field's tools.")
    parser.add_argument(
        "--quick", action="store_const", const=0.25, default=1.0, dest="times", help="a quarter of the runs"
    )
    parser.add_argument(
        "--times", type=float, default=1.0, metavar="N", help="so many times the runs, on a noisy machine"
    )
    parser.add_argument("--only", action="append", choices=ROWS, metavar="ROW", help=f"one of: {', '.join(ROWS)}")
    parser.add_argument("--strict", action="store_true", help="exit 1 when a reach is missed")
    return parser.parse_args()


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _progress(text: str) -> None:
    sys.stderr.write(f"bench: {text} …\n")


if __name__ == "__main__":
    sys.exit(main())
