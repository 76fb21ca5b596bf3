"""What a call of the hook amounts to: a plan that ends before the runtime's patience does, and whose side we are on.

Decides nothing and changes nothing; whoever has no declaration of ours in its annotations is let through unseen.
"""

import os
import sys
import time
from collections.abc import Collection, Sequence
from typing import NamedTuple

from gatekeeper.declaration import BadDeclarationError, Problem, Source
from gatekeeper.declare.argv import parse_arguments
from gatekeeper.declare.file import read_plan
from gatekeeper.declare.pod import are_ours, of_annotations
from gatekeeper.declare.sources import Reader
from gatekeeper.declared import declared, surroundings
from gatekeeper.hook.bundle import Bundle, read_bundle
from gatekeeper.hook.confined import TRUST, confined
from gatekeeper.hook.enter import Side, side_of
from gatekeeper.hook.state import STOPPED, State, read_state
from gatekeeper.model import GateOptions, Plan, Setting
from gatekeeper.values import shown

DEFAULT = 100.0  # seconds: the kubelet lets a runtime take two minutes (runtimeRequestTimeout)
MARGIN = 1.0  # seconds for leaving before the runtime kills us, a quarter of its patience at most
# What engines say of the container that only keeps a pod's namespaces: it runs nothing that could need anything, and
# held, it would hold the pod before the first of its containers, which are held themselves.
_SANDBOX = {("io.kubernetes.cri-o.ContainerType", "sandbox"), ("io.kubernetes.cri.container-type", "sandbox")}
_LEAST = 0.05  # seconds; what is there at the first attempt may still be seen

_UNUSABLE = (
    "is no plan file that can be used, or asks for more than annotations may; on this machine, gatekeeper plan --file "
    f"says what is wrong with it, and {TRUST} in the hook's args allows everything"
)


class Called(NamedTuple):
    """What is to be done: a plan, and on whose side; ``bundle`` is None where its files are in their places."""

    plan: Plan
    side: Side
    state: State
    bundle: Bundle | None


def called(argv: Sequence[str], given: Collection[int]) -> Called | None:
    """Read the state on stdin and return what it asks for, None for nothing; raises `BadDeclarationError`."""
    side = None
    try:
        state = read_state()
        ours = are_ours(state.annotations) and _SANDBOX.isdisjoint(state.annotations)
        if state.status == STOPPED or not (ours or _declares(argv)):
            return None
        side = side_of(state)
        bundle = None if side is Side.CONTAINER else read_bundle(state.bundle)
        plan = _planned(argv, given, state, bundle)
    except BadDeclarationError as error:
        told = error.options or GateOptions()
        raise BadDeclarationError(list(error.problems), told if side is Side.CONTAINER else outside(told)) from None
    limit = bundle.limit(side.value, (sys.executable, *sys.orig_argv)) if bundle else None
    return Called(_spoken(bounded(plan, limit, _age()), bundle), side, state, bundle)


def _planned(argv: Sequence[str], given: Collection[int], state: State, bundle: Bundle | None) -> Plan:
    problems: list[Problem] = []
    # Outside of the container, the files around us are those of the host, and tell nothing of the pod.
    environ = bundle.environ if bundle else surroundings(())
    source = of_annotations(state.annotations, problems, environ)
    words = _without_trust(argv)
    if bundle and TRUST not in argv:
        plan = _confided(words, given, confined(source, problems), problems, bundle)
    else:
        plan = declared("hook", words, given, source, problems).plan
    assert plan, "who wants help calls no hook"  # noqa: S101 - see gatekeeper.cli
    return plan


def _confided(
    argv: Sequence[str], given: Collection[int], source: Source, problems: Sequence[Problem], bundle: Bundle
) -> Plan | None:
    """Return the plan of annotations that are not trusted, and of the plan file that they may name.

    Any file of the host may be named, and whoever annotated reads what is told: so it is only what is told without that
    file as well, and otherwise that it cannot be used.
    """
    read: list[str] = []

    def unseen(path: str, _: list[Problem]) -> Source:
        read.append(path)
        return Source()

    try:
        return declared("hook", argv, given, source, problems, _reader(bundle)).plan
    except BadDeclarationError as error:
        found = error.problems
    try:
        declared("hook", argv, given, source, problems, unseen)
        told: tuple[Problem, ...] = ()
        options = GateOptions()
    except BadDeclarationError as error:
        told, options = error.problems, error.options or GateOptions()
    own = [problem for problem in found if problem in told]
    if read and len(own) < len(found):
        own.append(Problem("dev.gatekeeper/file", _UNUSABLE))
    raise BadDeclarationError(own, options)


def _reader(bundle: Bundle) -> Reader:
    """Return what reads a plan file that annotations name: it may ask for no more than they may themselves."""

    def read(path: str, problems: list[Problem]) -> Source | None:
        plan = read_plan(path, None, problems, bundle.environ)
        return confined(plan, problems) if plan else None

    return read


def _without_trust(argv: Sequence[str]) -> list[str]:
    return [word for word in argv if word != TRUST]


def _declares(argv: Sequence[str]) -> bool:
    """Tell whether the arguments name something to wait for, or something that cannot be understood."""
    problems: list[Problem] = []
    arguments = parse_arguments(_without_trust(argv), problems, os.environ)
    named = arguments.source.dependencies or any(each.key == "file" for each in arguments.source.settings)
    return bool(named or problems)


def _spoken(plan: Plan, bundle: Bundle | None) -> Plan:
    """Return the plan of a hook: it says one line, and READY is the container's to say, never its hook's."""
    options = plan.options
    notify = "status" if options.notify == "auto" else options.notify
    told = "story" if options.log_format == "auto" and not options.verbose else options.log_format
    options = options._replace(notify=notify, log_format=told)
    return plan._replace(options=outside(options) if bundle else options)


def outside(options: GateOptions) -> GateOptions:
    """Return the options of a hook outside of the container: a termination message that lies there is another's."""
    return options if options.termination_log else options._replace(termination_log="off")


def bounded(plan: Plan, limit: float | None, age: float) -> Plan:
    """Return the plan with a deadline before a runtime with this limit kills us, who are of this age, in seconds."""
    setting = next(each for each in plan.settings if each.key == "timeout")
    chosen = plan.options.timeout
    timeout, origin = chosen, setting.origin
    if limit is not None:
        most = max(_LEAST, limit - min(MARGIN, limit / 4) - age)
        if origin == "default" or chosen is None or most < chosen:
            timeout, origin = most, f"the hook's own timeout of {shown(limit)}"
    elif origin == "default":
        timeout = DEFAULT
    made = Setting("timeout", shown(timeout), origin)
    settings = tuple(made if each.key == "timeout" else each for each in plan.settings)
    return plan._replace(options=plan.options._replace(timeout=timeout), settings=settings)


def _age() -> float:
    """Return the seconds that this process has used so far, from its fork: a runtime's patience began then."""
    try:
        with open("/proc/self/stat", "rb") as file:
            ticks = int(file.read().rpartition(b")")[2].split()[19])  # proc(5): starttime, field 22
    except (OSError, ValueError, IndexError):
        return 0.0
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return max(0.0, age)
