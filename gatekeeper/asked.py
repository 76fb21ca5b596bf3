"""The commands that answer on stdout and hand nothing over: check, plan, kinds, demo.

Each raises `BadDeclarationError` for what cannot be understood, and OSError where the answer cannot be written.
"""

from gatekeeper import pages
from gatekeeper.announce import files
from gatekeeper.declaration import BadDeclarationError, Problem
from gatekeeper.demo import demo
from gatekeeper.gate import bypassed, looked
from gatekeeper.log import Lines
from gatekeeper.model import Plan
from gatekeeper.probes import KINDS
from gatekeeper.signals import Signals
from gatekeeper.values import nearest, quoted
from gatekeeper.verdict import Cause, Verdict

_STDOUT = 1


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


def show_plan(plan: Plan) -> None:
    """Print what would be probed."""
    pages.put(pages.as_json(pages.plan_data(plan)) if plan.options.output == "json" else pages.plan_page(plan))


def show_kinds(argv: list[str]) -> None:
    """Print the kinds, or the one that is named."""
    if len(argv) > 1:
        raise BadDeclarationError([Problem("kinds", "takes one KIND at most")])
    if not argv:
        pages.put(pages.kinds_page())
        return
    if argv[0] not in KINDS:
        hint = nearest(argv[0], KINDS) or f"; known are {', '.join(KINDS)}"
        raise BadDeclarationError([Problem("kinds", f"unknown kind {quoted(argv[0])}{hint}")])
    pages.put(pages.kind_page(argv[0]))


def show_demo(argv: list[str]) -> int:
    """Run the demonstration and return the exit status of its gate."""
    if argv:
        raise BadDeclarationError([Problem("demo", "takes no arguments")])
    return demo()
