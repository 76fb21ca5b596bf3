"""What stdout shows: the table of ``check``, the plan, the kinds. Every page is made as text first."""

import contextlib
import os
from collections.abc import Sequence
from typing import Any

from gatekeeper.model import Dependency, Plan, Setting
from gatekeeper.options import COMMON, COMMON_DEFAULTS
from gatekeeper.probes import KINDS, load
from gatekeeper.probes._options import defaults_of, options_of
from gatekeeper.screen import table
from gatekeeper.values import shown
from gatekeeper.verdict import Verdict

_WIDTH = 80  # cells of a terminal
_STDOUT = 1


def check_page(verdict: Verdict) -> str:
    """Return one row for each dependency and the summary."""
    rows = [["NAME", "STATE", "REASON", "TIME", "DETAIL"]]
    rows += [
        [report.name, report.state, report.reason, shown(report.waited) if report.waited else "-", report.detail]
        for report in verdict.dependencies
    ]
    return f"{table(rows)}{verdict.summary}\n"


def plan_page(plan: Plan) -> str:
    """Return every dependency with every value and its origin, then the gate's."""
    text = ""
    for dependency in plan.dependencies:
        text += (
            f"{dependency.name}: {dependency.target} ({dependency.origin})\n{_settings(_all_settings(dependency))}\n"
        )
    return f"{text}{_inference(plan)}gate:\n{_settings(plan.settings)}"


def plan_data(plan: Plan) -> dict[str, Any]:
    """Return the same as plain data, ready for JSON."""
    return {
        "dependencies": [
            {
                "name": dependency.name,
                "kind": dependency.kind,
                "target": dependency.target,
                "required": not dependency.optional,
                "origin": dependency.origin,
                "options": _data(_all_settings(dependency)),
            }
            for dependency in plan.dependencies
        ],
        "gate": _data(plan.settings),
        **({"inference": _inference_data(plan)} if plan.inference else {}),
    }


def _inference(plan: Plan) -> str:
    """Return what the environment was found to tell, and what was left out, or nothing where nobody asked."""
    if plan.inference is None:
        return ""
    found = [
        [f"  {name}", target, f"from {', '.join(variables)}", "; ".join(filter(None, (note, _replaced(plan, name))))]
        for name, target, variables, note in plan.inference.found
    ]
    left = [[f"  {variable}", why] for variable, why in plan.inference.left_out]
    told = f"inferred from the environment:\n{table(found)}" if found else "inferred from the environment: nothing\n"
    return f"{told}left out:\n{table(left)}" if left else told


def _inference_data(plan: Plan) -> dict[str, Any]:
    assert plan.inference is not None  # noqa: S101 - asked only where there is one
    found = [
        {**each._asdict(), "variables": list(each.variables), "replaced_by": _origin(plan, each.name)}
        for each in plan.inference.found
    ]
    return {"found": found, "left_out": [each._asdict() for each in plan.inference.left_out]}


def _replaced(plan: Plan, name: str) -> str:
    origin = _origin(plan, name)
    return f"replaced by {origin}" if origin else ""


def _origin(plan: Plan, name: str) -> str | None:
    """Return who declared what was inferred too, None where nobody did."""
    origins = [each.origin for each in plan.dependencies if each.name == name]
    return next((each for each in origins if not each.startswith("variable ")), None)


def _all_settings(dependency: Dependency) -> list[Setting]:
    """Return the settings of a dependency and what counts for those that were not made."""
    made = {setting.key for setting in dependency.settings}
    defaults = dict(COMMON_DEFAULTS)
    for kind in dict.fromkeys(alternative.kind for alternative in dependency.alternatives):
        defaults |= defaults_of(load(kind))
    return [
        *dependency.settings,
        *(Setting(key, text, "default") for key, text in defaults.items() if key not in made),
    ]


def kinds_page() -> str:
    """Return a row for each kind."""
    first: dict[str, str] = {}
    rows = [["KIND", "READY WHEN"]]
    for kind, maker in KINDS.items():
        same = first.setdefault(maker, kind)
        over_tls = kind == "https" or kind in getattr(load(kind), "SECURE", ())
        as_first = f"the same as {same}{', over TLS' if over_tls else ''}"
        rows.append([kind, _first_line(load(kind)) if same == kind else as_first])
    return _folded(rows) + "\n`gatekeeper kinds KIND` shows its options and an example.\n"


def kind_page(kind: str) -> str:
    """Return one kind with its options, its own and those that every kind takes, and an example."""
    maker = load(kind)
    defaults = defaults_of(maker)
    own = [["  " + name, f"{option.help} [{defaults[name]}]"] for name, option in options_of(maker).items()]
    common = [["  " + name, option.help] for name, option in COMMON.items()]
    shared = f"every kind takes:\n{_folded(common)}"
    driver = (
        f"  logging in needs pip install 'gatekeeper-agent[{maker.EXTRA}]'\n\n" if getattr(maker, "EXTRA", "") else ""
    )
    return f"{kind}: {_first_line(maker)}\n\n  {example(kind)}\n\n{driver}{kind} takes:\n{_folded(own)}\n{shared}"


def example(kind: str) -> str:
    """Return a declaration of a kind that works; where several kinds are one, in the words of this one if it can be."""
    maker = load(kind)
    text: str = maker.EXAMPLE
    ports = getattr(maker, "PORTS", {"http": 0} if kind == "https" else {})
    own = "+" in kind or "starttls" in text  # nor does what finds hosts in DNS take them, nor what is TLS ask for it
    return text if own or not ports else text.replace(f"{next(iter(ports))}://", f"{kind}://")


def as_json(data: dict[str, Any]) -> str:
    """Return one JSON object as text."""
    import json  # noqa: PLC0415 - for --output json only

    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


def put(text: str) -> None:
    """Write all of it to stdout; a reader that went away is its own business. Raises OSError (a full disk)."""
    data = text.encode(errors="backslashreplace")
    with contextlib.suppress(BrokenPipeError):
        while data:
            data = data[os.write(_STDOUT, data) :]


def _first_line(maker: type) -> str:
    return (maker.__doc__ or "").partition("\n")[0].rstrip(".")


def _folded(rows: Sequence[Sequence[str]]) -> str:
    """Return rows of two columns, the second one folded so that a terminal of the usual width holds it."""
    import textwrap  # noqa: PLC0415 - for the pages on kinds only

    width = max(len(name) for name, _ in rows)
    return table(
        [
            [name if place == 0 else "", part]
            for name, text in rows
            for place, part in enumerate(textwrap.wrap(text, _WIDTH - width - 2, break_on_hyphens=False) or [""])
        ]
    )


def _settings(settings: Sequence[Setting]) -> str:
    return table([["  " + setting.key, setting.text, setting.origin] for setting in settings]) if settings else ""


def _data(settings: Sequence[Setting]) -> dict[str, dict[str, str]]:
    return {setting.key: {"value": setting.text, "origin": setting.origin} for setting in settings}
