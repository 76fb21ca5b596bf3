"""Metrics in Prometheus' text format, version 0.0.4. Pure: reports and a state in, text out.

By hand: the client library of Prometheus takes several times as long to load as all of us, for a dozen lines of text.
"""

from collections.abc import Collection, Iterable, Sequence

from gatekeeper.model import State
from gatekeeper.verdict import Report

Sample = tuple[dict[str, str], float]


def text(
    reports: Sequence[Report],
    phase: str,
    phases: Iterable[str],
    *,
    is_open: bool,
    waited: float,
    lost: Collection[str] = (),
) -> str:
    """Return the metrics of a gate, ``waited`` seconds old, of its dependencies, and of what is tended behind it."""
    named = [({"name": report.name, "kind": report.kind}, report) for report in reports]
    families: list[tuple[str, str, str, list[Sample]]] = [
        ("gatekeeper_gate_open", "gauge", "Whether the gate is open.", [({}, is_open)]),
        ("gatekeeper_gate_waited_seconds", "gauge", "How long the gate has been waited for.", [({}, waited)]),
        (
            "gatekeeper_phase",
            "gauge",
            "The phase of the program that is tended: 1 for the one that it is in.",
            [({"phase": each}, each == phase) for each in phases],
        ),
        (
            "gatekeeper_dependency_attempts_total",
            "counter",
            "How often a dependency has been attempted.",
            [(labels, report.attempts) for labels, report in named],
        ),
        (
            "gatekeeper_dependency_waited_seconds",
            "gauge",
            "How long a dependency has been waited for.",
            [(labels, report.waited) for labels, report in named],
        ),
        (
            "gatekeeper_dependency_state",
            "gauge",
            "Where a dependency stood at last while the gate was shut: 1 for that state.",
            [({**labels, "state": state.value}, state is report.state) for labels, report in named for state in State],
        ),
        (
            "gatekeeper_dependency_lost",
            "gauge",
            "Whether a dependency has been lost since the gate has opened.",
            [(labels, report.name in lost) for labels, report in named],
        ),
    ]
    return "".join(_family(*family) for family in families)


def _family(name: str, kind: str, text: str, samples: Sequence[Sample]) -> str:
    lines = [f"{name}{_labels(labels)} {float(value):g}\n" for labels, value in samples]
    return f"# HELP {name} {text}\n# TYPE {name} {kind}\n{''.join(lines)}"


def _labels(labels: dict[str, str]) -> str:
    pairs = [f'{key}="{_escaped(value)}"' for key, value in labels.items()]
    return "{" + ",".join(pairs) + "}" if pairs else ""


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
