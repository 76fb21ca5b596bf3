"""The rows of lateness: a dependency turns up after a while; how long until COMMAND runs its first instruction?"""

import random

from . import servers
from .processes import FailedRunError, run, stamped
from .rounds import OURS, Bench, in_turns
from .table import Reach, Row, Series

ROUNDS = 12


def port(bench: Bench) -> Row:
    """Measure how late COMMAND starts once a port listens."""
    delays = _delays(bench.rounds(ROUNDS))

    def late(name: str, turn: int) -> float:
        tool = bench.tools[name]
        with servers.ports() as awaited, servers.opening(awaited, delays[turn]):
            ended = run(tool.then(tool.tcp(awaited.numbers), bench.command))
        return _milliseconds(awaited.opened_at, stamped(ended))

    results, notes = in_turns(list(bench.tools), len(delays), late)
    lates = {name: Series.of(values, "ms") for name, values in results.items()}
    rivals = {name: series.typical for name, series in lates.items() if name != OURS}
    best = min(rivals, key=lambda name: rivals[name], default=None)
    ours = lates[OURS].typical if OURS in lates else None
    ahead = rivals[best] / ours if best and ours else None
    return Row(
        "port: a port that opens after 0.5 to 3 s, from its listen() to COMMAND's first instruction",
        {"late by": lates},
        [
            Reach("median under 35 ms", ours, 35, "ms"),
            Reach(f"4 times ahead of the best of them ({best})", ahead, 4, "times", at_least=True),
        ],
        notes,
    )


def http(bench: Bench) -> Row:
    """Measure how late COMMAND starts once an endpoint answers 200, and how often it was asked until then."""
    delays = _delays(bench.rounds(ROUNDS))
    waits = bench.of_http()

    def late_and_rate(name: str, turn: int) -> tuple[float, float]:
        with servers.endpoint() as awaited, servers.opening(awaited, delays[turn]):
            argv = waits[name](awaited.server_port)
            ended = run(bench.tools[name].then(argv, bench.command))
        return _milliseconds(awaited.opened_at, stamped(ended)), awaited.rate()

    results, notes = in_turns(list(waits), len(delays), late_and_rate)
    lates = {name: Series.of([late for late, _ in pairs], "ms") for name, pairs in results.items()}
    rates = {name: Series.of([rate for _, rate in pairs], "/s") for name, pairs in results.items()}
    return Row(
        "http: an endpoint that turns from 503 to 200 after 0.5 to 3 s, from the turn to COMMAND's first instruction",
        {"late by": lates, "requests": rates},
        [
            Reach("median under 110 ms", lates[OURS].typical if OURS in lates else None, 110, "ms"),
            Reach("in no run over 10 requests a second", max(rates[OURS].values) if OURS in rates else None, 10, "/s"),
        ],
        [*notes, *bench.without(waits, "knows no HTTP")],
    )


def _delays(count: int) -> list[float]:
    """Spread ``count`` delays evenly over 0.5 to 3 s, from a random start and in no order: the same for every tool.

    Most tools poll by a fixed clock, so what one run shows is where in the period the dependency turned up. Even steps
    reach every part of the period alike; delays drawn one by one would make a dozen runs a lottery.
    """
    step = 2.5 / count
    start = 0.5 + step * random.random()
    delays = [start + step * part for part in range(count)]
    random.shuffle(delays)
    return delays


def _milliseconds(turned: int, started: int) -> float:
    """Return how long after the turn COMMAND started; raise FailedRunError where it started before."""
    if not turned or started < turned:
        msg = "COMMAND ran before the dependency was there"
        raise FailedRunError(msg)
    return (started - turned) / 1e6
