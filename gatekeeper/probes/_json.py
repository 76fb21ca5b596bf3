"""What an answer in JSON must say: a logical expression of RFC 9535 (2.3.5), such as ``$.status == "ok"``.

The one home of python-jsonpath, which is loaded only where such an expression is declared. A gate must not open on an
error page: where RFC 9535 finds that nothing is unequal to 1, a comparison here holds neither way.
"""

import threading
import time
from typing import Any

from gatekeeper.model import Reason, waiting
from gatekeeper.probes._aside import aside
from gatekeeper.probes._miss import MissError, during
from gatekeeper.values import BadValueError, quoted

MOST = 2.0  # seconds that the regular expressions of one evaluation may take
_AT_ONCE = 4  # evaluations of one expression, those that were given up and still run counted


class Assertion:
    """A test of a JSON text by an expression: a path (it exists), or a path with a comparison."""

    def __init__(self, text: str) -> None:
        """Read the expression; raises `BadValueError`."""
        self._clock = threading.local()
        self._room = threading.BoundedSemaphore(_AT_ONCE)
        self._environment = _environment(self._clock)
        self._expression = _parsed(text, self._environment)

    async def holds(self, body: bytes, where: str) -> bool:
        """Tell whether the expression is true of a JSON text; false for bytes that are no JSON. Raises `MissError`."""
        try:
            with during(f"looking at the JSON from {where}"):
                return await aside("looking at JSON", lambda: self._evaluated(body, where))
        except TimeoutError:
            raise MissError(waiting(Reason.UNWANTED_ANSWER, f"{where} (the pattern takes too long)")) from None

    def _evaluated(self, body: bytes, where: str) -> bool:
        import json  # noqa: PLC0415 - for this option only

        from jsonpath import JSONPathError  # noqa: PLC0415 - loaded with the expression
        from jsonpath.selectors import FilterContext  # noqa: PLC0415 - as above

        if not self._room.acquire(blocking=False):
            raise MissError(waiting(Reason.UNWANTED_ANSWER, f"{where} (earlier answers are still being looked at)"))
        self._clock.until = time.monotonic() + MOST
        try:
            document = json.loads(body)
            context = FilterContext(env=self._environment, current=document, root=document)
            return _verdict(self._expression, context) is True
        except (JSONPathError, ArithmeticError, ValueError, RecursionError):
            return False
        finally:
            self._room.release()


def _environment(clock: threading.local) -> Any:  # noqa: ANN401 - of a package that is not loaded without need
    """Return an environment whose regular expressions end at ``clock.until``, with `TimeoutError`."""
    from jsonpath import JSONPathEnvironment  # noqa: PLC0415 - heavy, and seldom wanted
    from jsonpath.function_extensions import Match, Search  # noqa: PLC0415 - as above

    class BoundMatch(Match):
        def __call__(self, value: object, pattern: object) -> bool:
            if not isinstance(value, str) or not isinstance(pattern, str):
                return False
            compiled = self.check_cache(pattern)
            return compiled is not None and bool(compiled.fullmatch(value, timeout=_left(clock)))

    class BoundSearch(Search):
        def __call__(self, value: object, pattern: object) -> bool:
            if not isinstance(value, str) or not isinstance(pattern, str):
                return False
            compiled = self.check_cache(pattern)
            return compiled is not None and bool(compiled.search(value, timeout=_left(clock)))

    environment = JSONPathEnvironment(strict=True)
    environment.function_extensions |= {
        "match": BoundMatch(thread_safe=True),
        "search": BoundSearch(thread_safe=True),
    }
    return environment


def _left(clock: threading.local) -> float:
    left: float = clock.until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _parsed(text: str, environment: Any) -> Any:  # noqa: ANN401 - as above
    from jsonpath import JSONPathError  # noqa: PLC0415 - loaded with the environment
    from jsonpath.selectors import Filter  # noqa: PLC0415 - as above

    try:
        # A whole query is a path; the expressions that a path is compared in are what a filter holds.
        query = environment.compile(f"$[?{text}]")
    except (JSONPathError, ArithmeticError, ValueError, RecursionError) as error:
        message = f'{quoted(text)} is no JSONPath expression ({_first_line(error)}): write $.status == "ok"'
        raise BadValueError(message) from None
    selectors = [selector for segment in getattr(query, "segments", ()) for selector in segment.selectors]
    if len(selectors) != 1 or not isinstance(selectors[0], Filter):
        message = f"{quoted(text)} is more than one JSONPath expression: join them with &&"
        raise BadValueError(message)
    return selectors[0].expression


def _verdict(expression: Any, context: Any) -> bool | None:  # noqa: ANN401 - as above
    """Return whether an expression holds, None where that hangs on something that is not there.

    Existence (``$.x``, ``!$.x``) is what it is in RFC 9535, and so is all within the brackets of a path.
    """
    from jsonpath.filter import (  # noqa: PLC0415 - loaded with the expression
        FilterExpression,
        FunctionExtension,
        InfixExpression,
        PrefixExpression,
    )

    operands: tuple[Any, ...] = ()
    if isinstance(expression, FilterExpression):
        return _verdict(expression.expression, context)
    if isinstance(expression, PrefixExpression):
        verdict = _verdict(expression.right, context)
        return None if verdict is None else not verdict
    if isinstance(expression, InfixExpression):
        operands = (expression.left, expression.right)
        if expression.logical:
            return _joined(operands, context, decisive=expression.operator == "||")
    if isinstance(expression, FunctionExtension):
        operands = tuple(expression.args)
    if any(_is_nothing(operand, context) for operand in operands):
        return None
    return bool(context.env.is_truthy(expression.evaluate(context)))


def _joined(sides: tuple[Any, ...], context: Any, *, decisive: bool) -> bool | None:  # noqa: ANN401 - as above
    """Return the verdict of both sides of ``||`` (which one true side decides) or of ``&&`` (one that is false)."""
    first = _verdict(sides[0], context)
    if first is decisive:
        return decisive
    second = _verdict(sides[1], context)
    if second is decisive:
        return decisive
    return None if first is None else second


def _is_nothing(operand: Any, context: Any) -> bool:  # noqa: ANN401 - as above
    """Tell whether what is compared, or given to match() and the like, is not there (RFC 9535, 2.4.1: Nothing)."""
    from jsonpath import NodeList  # noqa: PLC0415 - loaded with the expression
    from jsonpath.filter import UNDEFINED  # noqa: PLC0415 - as above

    value = operand.evaluate(context)
    return value is UNDEFINED or (isinstance(value, NodeList) and not value)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
