"""The rows of burden: nothing is there yet; what do memory and processors bear while a tool waits?"""

from . import servers
from .processes import FailedRunError, peak_memory, run
from .rounds import MANY, OURS, Bench, in_turns, wait_for_ports
from .table import Reach, Row, Series

SECONDS = 10


def memory(bench: Bench) -> Row:
    """Measure the peak memory of a wait for three ports that refuse; memory is not disturbed by company."""
    with servers.ports(3) as awaited:
        argvs = {
            name if tool.most > 1 else f"{name} (for one)": tool.tcp(awaited.numbers)
            for name, tool in bench.tools.items()
        }
        rounds = [peak_memory(argvs, after=2) for _ in range(bench.rounds(4))]
    notes = sorted({note for _, failed in rounds for note in failed})
    sizes = {
        name: Series.of([sizes[name] for sizes, _ in rounds], "MiB")
        for name in argvs
        if all(name in sizes for sizes, _ in rounds)
    }
    return Row(
        "memory: the peak (VmHWM) after 2 s of waiting for three TCP dependencies",
        {"resident": sizes},
        [Reach("at most 27 MiB", sizes[OURS].typical if OURS in sizes else None, 27, "MiB")],
        notes,
    )


def refused(bench: Bench) -> Row:
    """Measure the processor time of waiting ten seconds for a thousand ports that all refuse."""
    able = bench.of_many()
    with servers.ports(MANY) as awaited:
        argvs = {
            name: [*wait_for_ports(bench, tool, awaited.numbers), *tool.limit(SECONDS)] for name, tool in able.items()
        }

        def share(name: str, _: int) -> float:
            ended = run(argvs[name], statuses=range(1, 256))
            if ended.wall < SECONDS * 0.9:
                msg = f"it gave up after {ended.wall:.1f} s with exit status {ended.status}: {ended.complaint}"
                raise FailedRunError(msg)
            return ended.processor / ended.wall

        results, notes = in_turns(list(able), bench.rounds(2), share)
    shares = {name: Series.of(values, "cores") for name, values in results.items()}
    return Row(
        f"refused: 1,000 TCP dependencies that refuse, for {SECONDS} s: user and system time over the wall's",
        {"processor": shares},
        [Reach("at most a quarter of a core", shares[OURS].typical if OURS in shares else None, 0.25, "cores")],
        [*notes, *bench.without(able, "waits for one dependency only")],
    )
