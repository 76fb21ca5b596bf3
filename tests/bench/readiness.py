"""The rows of readiness: a server listens long before it serves; when does each tool open its gate?

Most of the field looks at the port. Early is counted against the server's own word, and so is late.
"""

import shutil

from .processes import run, stamped
from .rounds import OURS, Bench, in_turns
from .serving import HELD, SERVERS, copied
from .table import Reach, Row, Series

ROUNDS = 3
EXACTLY = 5  # milliseconds within which the server's word is heard
SHARE = 0.06  # of the time waited, jitter included, that a pause behind an application's answer lasts
START = 0.15  # seconds to see and to hand over on this kind of machine


def postgres(bench: Bench) -> Row:
    """Measure how early and late each tool opens for a PostgreSQL that recovers for some seconds."""
    return _readiness(bench, "postgres", f"a PostgreSQL that recovers for {HELD:g} s", HELD, "postgres")


def redis(bench: Bench) -> Row:
    """Measure the same for a Redis that loads its data for some seconds."""
    return _readiness(bench, "redis", f"a Redis that loads for {HELD:g} s", HELD, "")


def mysql(bench: Bench) -> Row:
    """Measure the same for a MariaDB that starts."""
    return _readiness(bench, "mysql", "a MariaDB that starts", HELD, "mysql")


def _readiness(bench: Bench, kind: str, what: str, held: float, user: str) -> Row:
    title = f"{kind}: {what}, from its own word that it serves to COMMAND's first instruction; early is below 0"
    server = SERVERS[kind]
    if not shutil.which(server.program):
        return Row(title, {}, [], [f"left out: {server.program} is not on this machine"])
    made = bench.folder / kind
    made.mkdir()
    if user:
        shutil.chown(bench.folder, user)
        shutil.chown(made, user)
    server.make(made)

    def late(name: str, _turn: int) -> float:
        tool = bench.tools[name]
        with copied(made, user) as folder, server.run(folder) as telling:
            wait = tool.server(kind, telling.port) if tool.server else tool.tcp([telling.port])
            opened = stamped(run(tool.then(wait, bench.command)))
            return (opened - telling.served_at()) / 1e6

    results, notes = in_turns(list(bench.tools), bench.rounds(ROUNDS), late)
    ours = results.get(OURS)
    most = (SHARE * held + START) * 1000
    return Row(
        title,
        {"opened after": {name: Series.of(values, "ms") for name, values in results.items()}},
        [
            Reach(
                f"never early (as exactly as {EXACTLY} ms)", min(ours) if ours else None, -EXACTLY, "ms", at_least=True
            ),
            Reach("late by no more than the pace says", max(ours) if ours else None, most, "ms"),
        ],
        notes,
    )
