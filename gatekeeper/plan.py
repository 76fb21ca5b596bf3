"""What declarations mean: text becomes one Plan, or every problem of it at once. Probes nothing.

Sources come highest first: what an earlier one says replaces what a later one says, a dependency always whole.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gatekeeper.declaration import BadDeclarationError, Declaration, Given, Problem, Source, Target
from gatekeeper.model import Alternative, Dependency, GateOptions, Inference, Plan, Setting
from gatekeeper.options import COMMON, GATE
from gatekeeper.order import check_order
from gatekeeper.probes import KINDS, as_kind, load
from gatekeeper.probes._options import BadOptionsError, options_of
from gatekeeper.values import BadValueError, Option, nearest, safe_target

OPTIONAL_TIMEOUT = "10s"
_TYPO = 0.8  # how near a word must be to one of ours that it is no secret
_INHERITED_BY_KINDS = ("context",)
_INHERITED = ("attempt_timeout", "interval", "max_interval", "successes", "stable_for")


def make_plan(sources: Sequence[Source], problems: Iterable[Problem] = ()) -> Plan:
    """Return the plan; raises `BadDeclarationError` with every problem, those that were found before included."""
    found = list(problems)
    options, settings = _gate_options(sources, found)
    declared = _by_name(sources, settings, found)
    made = [_dependency(name, text, settings, found) for name, text in declared.items()]
    dependencies = [dependency for dependency in made if dependency]
    check_order(declared, found)
    inference = next((source.inference for source in sources if source.inference), None)
    if not declared and not found:
        how = "name one as an argument (tcp://db:5432), in GATEKEEPER_DEPENDENCIES, or in a plan file (--file)"
        found.append(Problem("dependencies", f"there is none: {how}{_looked_at(inference)}"))
    if found:
        raise BadDeclarationError(list(dict.fromkeys(found)), options)
    return Plan(tuple(dependencies), options, tuple(settings.values()), inference)


def _looked_at(inference: Inference | None) -> str:
    if inference is None:
        return ""
    told = ", ".join(f"{each.variable} {each.why}" for each in inference.left_out)
    return f"; the environment tells of none ({told or 'no variable has a name that would'})"


def _gate_options(sources: Sequence[Source], problems: list[Problem]) -> tuple[GateOptions, dict[str, Setting]]:
    values: dict[str, Any] = {}
    settings = {key: Setting(key, row.default, "default") for key, row in GATE.items()}
    for source in sources:
        for given in source.settings:
            row = GATE.get(given.key)
            if row is None:
                known = [*(key for key in GATE if key != "file"), "dependencies"]  # a file names no other
                problems.append(Problem(given.place, f"unknown option{nearest(given.key, known) or _known(known)}"))
                continue
            value = _read(row.option, given, problems)
            if given.key not in values:
                values[given.key] = value
                settings[given.key] = Setting(given.key, _text(row.option, given), given.place)
    _check_pauses(values, settings["max_interval"].origin, problems)
    return GateOptions(**{key: value for key, value in values.items() if value is not _BAD}), settings


def _by_name(sources: Sequence[Source], gate: Mapping[str, Setting], problems: list[Problem]) -> dict[str, Declaration]:
    """Return the declarations by name, in the order in which files, variables and arguments say them."""
    named: dict[str, Declaration] = {}
    for source in reversed(sources):
        here: dict[str, Declaration] = {}
        for declaration in source.dependencies:
            name = _name(declaration)
            if name in here:
                first = here[name].origin
                problems.append(
                    Problem(declaration.origin, f"the name {name} is used by {first} already: give it another")
                )
                _dependency(name, declaration, gate, problems)  # for what else is wrong with it
            here.setdefault(name, declaration)
            if name in named and _targets(named[name]) != _targets(declaration) and not declaration.name:
                other = named[name].origin
                what = f"looks like {other} where nothing secret is shown, and is another: name it, as in NAME=TARGET"
                problems.append(Problem(declaration.origin, what))
        named.update(here)
    return named


def _name(declaration: Declaration) -> str:
    """Return the name that was given, or what may be shown of the target; the place where there is no usable one."""
    shown = "|".join(safe_target(target.url) for target in declaration.targets)
    return declaration.name or shown or declaration.origin


def _targets(declaration: Declaration) -> list[str]:
    return [target.url for target in declaration.targets]


def _dependency(
    name: str, text: Declaration, gate: Mapping[str, Setting], problems: list[Problem]
) -> Dependency | None:
    before = len(problems)
    meant = _meant_by_kind(text)
    common = {given.key: given for given in text.options if given.key in COMMON and given.key not in meant}
    own = tuple(given for given in text.options if given.key not in common)
    alternatives = [_alternative(target, own, gate, problems) for target in text.targets]
    values, settings = _common(common, gate, problems)
    own_settings = [made[1] for made in alternatives if made]
    if not text.targets:  # that has been told; which options there are depends on the kind
        known = sorted({key for kind in KINDS for key in options_of(load(kind))} | COMMON.keys())
        problems.extend(
            Problem(each.place, f"no kind has an option {each.key}{nearest(each.key, known)}")
            for each in own
            if each.key not in known and any(each.values)
        )
    elif values.get("need", 1) > len(text.targets):
        place = common["need"].place
        problems.append(Problem(place, f"{values['need']} are needed of {len(text.targets)}: write at most that many"))
    if not common.keys().isdisjoint(("interval", "max_interval")):
        _check_pauses(values, common["max_interval"].place if "max_interval" in common else text.origin, problems)
    problems += [Problem(place, what) for place, what in _contradictions(values, alternatives, gate, text)]
    if len(problems) > before:
        return None
    return Dependency(
        name=name,
        origin=text.origin,
        alternatives=tuple(made[0] for made in alternatives if made),
        settings=(*settings, *dict.fromkeys(setting for each in own_settings for setting in each)),
        **values,
    )


def _meant_by_kind(text: Declaration) -> frozenset[str]:
    """Return the options that would be the dependency's, but for its one target, whose kind gives them a meaning."""
    if len(text.targets) != 1 or not any(given.key == "need" for given in text.options):
        return frozenset()
    kind = as_kind(text.targets[0].url).partition(":")[0].lower()
    return frozenset(options_of(load(kind)) if kind in KINDS else ()) & COMMON.keys()


def _contradictions(
    values: Mapping[str, Any],
    made: Sequence[tuple[Alternative, tuple[Setting, ...]] | None],
    gate: Mapping[str, Setting],
    text: Declaration,
) -> list[tuple[str, str]]:
    """Return what no attempt could ever satisfy: where, and what would be right."""
    probes = [each[0].probe for each in made if each]
    limit = values.get("attempt_timeout", _quiet(COMMON["attempt_timeout"], (gate["attempt_timeout"].text,)))
    found = []
    if values.get("invert") and any(getattr(probe, "absent", False) in (True, "ready") for probe in probes):
        found.append((text.origin, "absent and invert undo each other: keep one"))
    if isinstance(limit, float) and any((getattr(probe, "linger", None) or 0) >= limit for probe in probes):
        found.append((text.origin, "linger is no shorter than attempt_timeout, so that no attempt can end: change one"))
    return found


def _common(
    given: Mapping[str, Given], gate: Mapping[str, Setting], problems: list[Problem]
) -> tuple[dict[str, Any], list[Setting]]:
    """Return the options that every kind takes as values and as text, the gate's where the dependency is silent."""
    values: dict[str, Any] = {}
    settings: list[Setting] = []
    for key, option in COMMON.items():
        if key in given:
            values[key] = _read(option, given[key], problems)
            settings.append(Setting(key, _text(option, given[key]), given[key].place))
        elif key in _INHERITED:
            setting = gate[key]
            settings.append(setting)
            if setting.origin != "default":
                values[key] = _quiet(option, (setting.text,))
    if values.get("optional") and "timeout" not in given:
        values["timeout"] = _quiet(COMMON["timeout"], (OPTIONAL_TIMEOUT,))
        settings.insert(0, Setting("timeout", OPTIONAL_TIMEOUT, "default"))
    elif "timeout" not in given:
        settings.insert(0, gate["timeout"])
    return {key: value for key, value in values.items() if value is not _BAD}, settings


def _alternative(
    target: Target, shared: tuple[Given, ...], gate: Mapping[str, Setting], problems: list[Problem]
) -> tuple[Alternative, tuple[Setting, ...]] | None:
    """Return the probe of one target, with its own options as settings, or None where there were problems."""
    url = as_kind(target.url)
    kind = url.partition(":")[0].lower()
    if kind not in KINDS:
        from gatekeeper.probes._foreign import foreign  # noqa: PLC0415 - for a bad declaration alone

        problems.append(Problem(target.place, foreign(kind, url.partition(":")[2])))
        return None
    maker = load(kind)
    known = options_of(maker)
    of_gate = [Given(key, (gate[key].text,), gate[key].origin) for key in _INHERITED_BY_KINDS if key in known]
    given = {each.key: each for each in (*of_gate, *shared, *target.options) if each.place != "default"}
    unknown = [each for each in given.values() if each.key not in known]
    problems.extend(_unknown_option(kind, each, known) for each in unknown)
    try:
        usable = {key: each.values for key, each in given.items() if key in known}
        probe = maker.parse(url, usable)
    except BadOptionsError as error:
        for key, message in error.wrong:
            place = given[key].place if key in given else target.place
            problems.append(Problem(place, message if key in given or not key else f"{key}: {message}"))
        return None
    settings = tuple(Setting(key, _text(known[key], given[key]), given[key].place) for key in usable)
    return None if unknown else (Alternative(kind, safe_target(url), probe, target.place), settings)


def _unknown_option(kind: str, given: Given, known: Iterable[str]) -> Problem:
    key = given.key
    if key in COMMON:
        return Problem(given.place, f"{key} is said of the dependency, not of one of its alternatives")
    words = [*known, *COMMON]
    if not any(value.strip("=") for value in given.values) and not nearest(key, words, cutoff=_TYPO):
        # It may be the end of a secret whose quotes were forgotten: header=Authorization: Basic dXNlcg==
        place = given.place.removesuffix(f": {key}")
        what = f"{kind} has no such flag (it is not shown): put quotes around a value with spaces"
        return Problem(place, f"{what}{_known(words)}")
    hint = nearest(key, words)
    return Problem(given.place, f"{kind} has no option {key}{hint or _known(words)}")


def _check_pauses(values: Mapping[str, Any], place: str, problems: list[Problem]) -> None:
    shortest, longest = values.get("interval"), values.get("max_interval")
    if isinstance(shortest, float) and isinstance(longest, float) and shortest > longest:
        problems.append(Problem(place, "max_interval is shorter than interval: make it as long at least"))


_BAD = object()


def _read(option: Option, given: Given, problems: list[Problem]) -> Any:  # noqa: ANN401 - of as many types as options
    try:
        return option.read(given.values)
    except BadValueError as error:
        problems.append(Problem(given.place, str(error)))
        return _BAD


def _quiet(option: Option, texts: tuple[str, ...]) -> Any:  # noqa: ANN401 - of as many types as options
    """Read texts again that are complained of where they were said."""
    try:
        return option.read(texts)
    except BadValueError:
        return _BAD


def _text(option: Option, given: Given) -> str:
    return "***" if option.secret else ", ".join(given.values) or "true"


def _known(words: Iterable[str]) -> str:
    return f"; known are {', '.join(words)}"
