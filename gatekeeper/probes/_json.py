"""What an answer in JSON must say: a logical expression of RFC 9535 (2.3.5), such as ``$.status == "ok"``.

The one home of python-jsonpath, which is loaded only where such an expression is declared.
"""

from collections.abc import Callable

from gatekeeper.values import BadValueError, quoted

Assertion = Callable[[bytes], bool]


def assertion(text: str) -> Assertion:
    """Return a test of a JSON text by an expression: a path (it exists), or a path with a comparison.

    Raises `BadValueError`. The test is false for bytes that are no JSON.
    """
    import json  # noqa: PLC0415 - with what follows, for this option only

    from jsonpath import JSONPathEnvironment, JSONPathError  # noqa: PLC0415 - heavy, and seldom wanted
    from jsonpath.selectors import Filter, FilterContext  # noqa: PLC0415 - as above

    environment = JSONPathEnvironment(strict=True)
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
    expression = selectors[0].expression

    def holds(body: bytes) -> bool:
        try:
            document = json.loads(body)
            return bool(expression.evaluate(FilterContext(env=environment, current=document, root=document)))
        except (JSONPathError, ArithmeticError, ValueError, RecursionError):
            return False

    return holds


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
