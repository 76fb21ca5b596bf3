"""The rows of starting: everything is there already; how long until the gate is open and the program has left?"""

from collections.abc import Callable, Mapping

from . import servers
from .field import PYTHON
from .processes import run
from .rounds import MANY, OURS, Bench, in_turns, wait_for_ports
from .table import Reach, Row, Series

FLOOR = "import asyncio"


def there(bench: Bench) -> Row:
    """Measure a gate whose one port listens already, beside the floor under any asyncio program."""
    with servers.ports() as awaited:
        awaited.open()
        argvs = {name: tool.tcp(awaited.numbers) for name, tool in bench.tools.items()}
        title = "there: one TCP dependency that is there already, start to exit"
        return _start_to_exit(bench, title, argvs, 1.5, awaited.drain)


def http_there(bench: Bench) -> Row:
    """Measure the same for an HTTP endpoint that answers 200 already."""
    with servers.endpoint() as awaited:
        awaited.open()
        argvs = {name: wait(awaited.server_port) for name, wait in bench.of_http().items()}
        title = "http-there: one HTTP dependency that is there already, start to exit"
        row = _start_to_exit(bench, title, argvs, 2.2, awaited.requests.clear)
    return row._replace(notes=[*row.notes, *bench.without(argvs, "knows no HTTP")])


def thousand(bench: Bench) -> Row:
    """Measure what a thousand ports that all listen cost more than one."""
    able = bench.of_many()
    with servers.ports(MANY) as awaited:
        awaited.open()
        one = {name: wait_for_ports(bench, tool, awaited.numbers[:1]) for name, tool in able.items()}
        many = {name: wait_for_ports(bench, tool, awaited.numbers) for name, tool in able.items()}

        def seconds(name: str, _: int) -> tuple[float, float]:
            walls = run(one[name]).wall, run(many[name]).wall
            awaited.drain()
            return walls

        results, notes = in_turns(list(able), bench.rounds(5), seconds)
    ones = {name: [few for few, _ in pairs] for name, pairs in results.items()}
    alls = {name: [wall for _, wall in pairs] for name, pairs in results.items()}
    more = {name: Series.difference(alls[name], ones[name], "s") for name in results}
    return Row(
        "thousand: 1,000 TCP dependencies that are all there, start to exit",
        {
            "one": {name: Series.of(values, "s") for name, values in ones.items()},
            "1,000": {name: Series.of(values, "s") for name, values in alls.items()},
            "more": more,
        },
        [Reach("at most 1.5 s more than one", more[OURS].typical if OURS in more else None, 1.5, "s")],
        [*notes, *bench.without(able, "waits for one dependency only")],
    )


def _start_to_exit(
    bench: Bench, title: str, argvs: Mapping[str, list[str]], limit: float, settle: Callable[[], None]
) -> Row:
    """Time each call beside Python's own start with asyncio, in the environment in which gatekeeper is installed."""
    calls = {FLOOR: [str(PYTHON), "-I", "-c", "import asyncio"], **argvs}

    def milliseconds(name: str, _: int) -> float:
        wall = run(calls[name]).wall * 1000
        settle()
        return wall

    results, notes = in_turns(list(calls), bench.rounds(16), milliseconds)
    ratios = {name: Series.ratio(values, results[FLOOR]) for name, values in results.items()}
    return Row(
        f"{title}, against python -I -c 'import asyncio'",
        {"takes": {name: Series.of(values, "ms") for name, values in results.items()}, "of the floor": ratios},
        [Reach(f"at most {limit} times", ratios[OURS].typical if OURS in ratios else None, limit, "times")],
        notes,
    )
