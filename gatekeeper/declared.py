"""From what was said to a plan: arguments, environment, annotations and plan file, with every problem told at once.

Looks at files and descriptors that are to be written in the end, and changes nothing.
"""

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from gatekeeper.announce import files
from gatekeeper.declaration import BadDeclarationError, Given, Problem, Source
from gatekeeper.declare.argv import parse_arguments
from gatekeeper.declare.line import read_value
from gatekeeper.declare.sources import Reader, gather
from gatekeeper.declare.substitute import Surroundings
from gatekeeper.model import GateOptions, Plan
from gatekeeper.options import GATE, OF_SERVE, OF_THE_ENVIRONMENT, OF_THE_POD, OF_THE_TENDED, spelled, variable
from gatekeeper.plan import make_plan
from gatekeeper.values import BadValueError


class Declared(NamedTuple):
    """What the arguments of ``wait``, ``check`` and ``plan`` amount to; no plan where only help is wanted."""

    plan: Plan | None
    command: tuple[str, ...] | None


def declared(
    command_name: str,
    argv: Sequence[str],
    given: Collection[int] = (),
    annotations: Source | None = None,
    found: Iterable[Problem] = (),
    read_for_annotations: Reader | None = None,
) -> Declared:
    """Return what the arguments of one of our commands declare; raises `BadDeclarationError`.

    ``given`` are the descriptors that the process was given, ``annotations`` what those of a container declare, and
    ``found`` what is wrong with them; a plan file that they name is read by ``read_for_annotations``.
    """
    problems = list(found)
    # A hook may run where the files are those of the host, and is told the annotations.
    environ = os.environ if command_name == "hook" else surroundings(argv)
    arguments = parse_arguments(argv, problems, environ)
    if arguments.wants_help:
        return Declared(None, None)
    if arguments.command is not None and command_name not in ("wait", "run"):
        problems.append(Problem("--", f"{command_name} starts no command: write gatekeeper wait … -- COMMAND"))
    if arguments.command is None and command_name == "run":
        problems.append(Problem("run", "no command follows: write gatekeeper run … -- COMMAND [ARG]..."))
    if command_name in ("wait", "check", "hook"):
        problems += [
            Problem(given.place, f"{command_name} tends no command: write gatekeeper run … -- COMMAND")
            for given in arguments.source.settings
            if given.key in OF_THE_TENDED
        ]
    if command_name in ("check", "hook"):
        problems += [
            Problem(given.place, f"{command_name} tells no API server: it is for wait, run and serve")
            for given in arguments.source.settings
            if given.key in OF_THE_POD
        ]
    if command_name == "hook":
        told = "a hook is told the annotations by its runtime: leave it out"
        problems += [Problem(given.place, told) for given in arguments.source.settings if given.key == "pod_info"]
    sources = gather(arguments.source, environ, problems, annotations, read_for_annotations)
    sources += _inferred(command_name, sources, os.environ, problems)
    plan = make_plan(sources, problems)
    problems = [*_unusable(plan.options, given), *_not_exported(plan, command_name, arguments.command)]
    if command_name in ("run", "serve"):
        problems += _unkept(command_name, plan)
    if problems:
        raise BadDeclarationError(problems, plan.options)
    return Declared(plan, arguments.command)


def surroundings(argv: Sequence[str]) -> Surroundings:
    """Return our environment with the pod that we run in; nothing of that is read before it is asked for."""

    def named() -> Given | None:
        settings = parse_arguments(argv, [], os.environ).source.settings
        given = [each for each in settings if each.key == "pod_info" and each.values]
        place = variable("pod_info")
        if not given and (text := os.environ.get(place)) and (read := read_value(text, place, [], os.environ)):
            given = [Given("pod_info", (read,), place)]
        return given[-1] if given else None

    def of_api() -> Mapping[str, Any] | str:
        from gatekeeper.kube.own import own_object  # noqa: PLC0415 - most runs ask no API server

        return own_object()

    return Surroundings(os.environ, named, of_api)


def _inferred(
    command_name: str, sources: Sequence[Source], environ: Mapping[str, str], problems: list[Problem]
) -> list[Source]:
    """Return what the environment tells of, where that was asked for: the lowest of the sources."""
    asked: dict[str, Given] = {}
    for each in (given for source in sources for given in source.settings if given.key in OF_THE_ENVIRONMENT):
        asked.setdefault(each.key, each)
    if not asked:
        return []
    if command_name == "hook":
        what = "a hook is given its runtime's environment, and not the container's: declare what is waited for"
        problems += [Problem(each.place, what) for each in asked.values()]
        return []
    from gatekeeper.infer.environ import infer  # noqa: PLC0415 - most runs infer nothing

    read: dict[str, tuple[str, ...]] = {}
    for key, each in asked.items():
        try:
            read[key] = GATE[key].option.read(each.values)
        except BadValueError:  # the plan tells of it
            return []
    declared_by_others = [each for source in sources for each in source.dependencies]
    return [infer(read.get("from_env", ()), read.get("needs", ()), environ, declared_by_others, problems)]


def _not_exported(plan: Plan, command_name: str, command: tuple[str, ...] | None) -> list[Problem]:
    """Return what would keep the variables of services from being told to anybody."""
    if not plan.options.export_env:
        return []
    place = next(each.origin for each in plan.settings if each.key == "export_env")
    if plan.options.export_env == "-" and command is None and command_name not in ("check", "plan"):
        return [Problem(place, "there is no COMMAND whose environment could have the variables: name a file")]
    made = [each for dependency in plan.dependencies for each in dependency.alternatives if each.kind == "service"]
    if made:
        return []
    return [Problem(place, "no dependency is a service, so that there are no variables of one: write service://NAME")]


def glimpse(argv: Sequence[str], environ: Mapping[str, str]) -> GateOptions:
    """Return where an end is to be told, as far as that can be seen without understanding anything else.

    For a fault on the way to a plan: whoever looks there must not find the story of an earlier run, or nothing.
    """
    seen: dict[str, str] = {}
    for key in ("report", "ready_file", "export_env", "termination_log"):
        option, words = spelled(key), list(argv[: argv.index("--")] if "--" in argv else argv)
        after = [words[index + 1] for index, word in enumerate(words[:-1]) if word == option]
        after += [word.removeprefix(f"{option}=") for word in words if word.startswith(f"{option}=")]
        if value := (after or [environ.get(variable(key), "")])[-1]:
            seen[key] = value
    return GateOptions(**seen)  # type: ignore[arg-type]  # these four are text


def _unkept(command_name: str, plan: Plan) -> list[Problem]:
    """Return what would be without effect on the command that is tended, or on the neighbour, wherever it was said."""
    options, found = plan.options, []
    if options.notify not in ("auto", "status"):
        who = "the command" if command_name == "run" else "the neighbour"
        told = f"with {spelled('notify')}={options.notify} nobody hears what {who} says: leave one out"
        limits = (("start_timeout", options.start_timeout), ("watchdog", options.watchdog))
        found += [(key, told) for key, limit in limits if limit is not None]
    if command_name == "serve" and options.stop_timeout is not None:
        found.append(("stop_timeout", "serve ends nobody, its neighbour is stopped by who started it: leave it out"))
    if command_name == "serve" and options.notify_access in ("main", "exec"):
        found.append(("notify_access", "serve cannot tell the processes of its neighbour apart: write all or none"))
    places = {setting.key: setting.origin for setting in plan.settings}
    if command_name == "run":
        own = "the command of run speaks at a socket of its own, which has no name: leave it out"
        found += [(key, own) for key in OF_SERVE if places.get(key, "default") != "default"]
    return [Problem(places[key], what) for key, what in found]


def _unusable(options: GateOptions, given: Collection[int]) -> list[Problem]:
    """Return what can be told of files and descriptors before anything is probed."""
    written = {
        "report": options.report,
        "ready_file": options.ready_file,
        "export_env": None if options.export_env == "-" else options.export_env,
        "termination_log": options.termination_log,
    }
    problems = [
        Problem(spelled(key), problem)
        for key, path in written.items()
        if key != "termination_log" and path
        if (problem := files.check_writable(path) or (key != "report" and files.check_removable(path)))
    ]
    if options.notify_fd is not None and options.notify_fd not in given:
        what = f"descriptor {options.notify_fd} is not open: name the one that the supervisor passed"
        problems.append(Problem(spelled("notify_fd"), what))
    places = [(key, os.path.realpath(path)) for key, path in written.items() if path and path != "off"]
    problems += [
        Problem(spelled(key), f"is the file of {spelled(other)} too: name another")
        for index, (key, path) in enumerate(places)
        for other, same in places[:index]
        if path == same and not path.startswith(("/dev/", "/proc/"))
    ]
    return problems
