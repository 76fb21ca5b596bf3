"""The commands that answer on stdout and hand nothing over: check, plan, kinds, demo, install, the pages of help."""

from collections.abc import Collection

from gatekeeper import __version__, pages
from gatekeeper.announce import ending, files
from gatekeeper.declaration import BadDeclarationError, Problem
from gatekeeper.declared import declared
from gatekeeper.demo import demo
from gatekeeper.exits import EX_NOT_READY, EX_OK, EX_SIGNAL, EX_SOFTWARE, EX_USAGE
from gatekeeper.gate import bypassed, looked
from gatekeeper.log import Lines, tell_problems
from gatekeeper.model import Plan
from gatekeeper.probes import KINDS
from gatekeeper.signals import Signals
from gatekeeper.usage import help_page
from gatekeeper.values import nearest, quoted
from gatekeeper.verdict import Cause, Verdict

_STDOUT = 1
_HELP = {"-h", "--help"}


def answered(name: str, argv: list[str], given: Collection[int], lines: Lines) -> int:
    """Run one of these commands and return the exit status.

    ``given`` are the descriptors that the process was given.
    """
    try:
        return _answer(name, argv, given, lines)
    except BadDeclarationError as error:
        tell_problems(lines, error.problems)
        ending.report_refusal(error)
        return EX_USAGE
    except OSError as error:  # a full disk, most likely
        where = error.filename or "standard output"
        lines.write(f"gatekeeper: {where} cannot be written: {error.strerror}\n", patient=True)
        return EX_SOFTWARE


def _answer(name: str, argv: list[str], given: Collection[int], lines: Lines) -> int:
    signals = Signals()
    with signals.lethal():
        if name == "demo" and not _HELP & set(argv):
            return show_demo(argv)
        if name == "install" and not _HELP & set(argv):
            from gatekeeper.install import install  # noqa: PLC0415 - for this one command

            pages.put(install(argv))
            return EX_OK
        if name == "inject" and not _HELP & set(argv):
            return _inject(argv, lines)
        if name == "plan" and "--rbac" in argv:
            from gatekeeper.granted import RBAC, roles  # noqa: PLC0415 - for this one option

            plan = declared(name, [word for word in argv if word != RBAC], given).plan
            pages.put(roles(plan) if plan else help_page(name))
            return EX_OK
        plan = declared(name, argv, given).plan if name in ("check", "plan") else None
        if name != "check" or plan is None:
            pages.put(_page(name, argv, plan))
            return EX_OK
    return _checked(plan, signals, lines)


def _page(name: str, argv: list[str], plan: Plan | None) -> str:
    """Return the page that is the whole answer of a command."""
    if name == "--version":
        return f"gatekeeper {__version__}\n"
    if name == "kinds" and not _HELP & set(argv):
        return _kinds(argv)
    if plan is None:
        return help_page(None if name == "help" else name)
    return pages.as_json(pages.plan_data(plan)) if plan.options.output == "json" else pages.plan_page(plan)


def _inject(argv: list[str], lines: Lines) -> int:
    from gatekeeper.inject.injected import injected  # noqa: PLC0415 - for this one command, and loads a parser

    text, warnings = injected(argv)
    lines.write("".join(f"gatekeeper: {warning}\n" for warning in warnings), patient=True)
    pages.put(text)
    return EX_OK


def _checked(plan: Plan, signals: Signals, lines: Lines) -> int:
    verdict = check(plan, signals)
    if verdict.cause is Cause.FAULT:
        lines.write(f"gatekeeper: {verdict.summary}\n", patient=True)
        return EX_SOFTWARE
    if verdict.cause is Cause.SIGNAL:
        return EX_SIGNAL + (signals.received or 0)
    return EX_OK if verdict else EX_NOT_READY


def check(plan: Plan, signals: Signals) -> Verdict:
    """Make one attempt at each dependency, print what came of it, and return the verdict."""
    options = plan.options
    verdict = bypassed(plan) if options.bypass else looked(plan, signals)
    if options.report:
        files.write_report(options.report, verdict)
    page = pages.as_json(verdict.as_dict()) if options.output == "json" else pages.check_page(verdict)
    if verdict.cause is Cause.SIGNAL:
        Lines(_STDOUT).write(page, patient=True)  # as far as it is read: a second signal could not end a write
    else:
        with signals.lethal():
            pages.put(page)
    return verdict


def _kinds(argv: list[str]) -> str:
    """Return the page of the kinds, or of the one that is named."""
    if len(argv) > 1:
        raise BadDeclarationError([Problem("kinds", "takes one KIND at most")])
    if not argv:
        return pages.kinds_page()
    if argv[0] not in KINDS:
        hint = nearest(argv[0], KINDS) or f"; known are {', '.join(KINDS)}"
        raise BadDeclarationError([Problem("kinds", f"unknown kind {quoted(argv[0])}{hint}")])
    return pages.kind_page(argv[0])


def show_demo(argv: list[str]) -> int:
    """Run the demonstration and return the exit status of its gate."""
    if argv:
        raise BadDeclarationError([Problem("demo", "takes no arguments")])
    return demo()
