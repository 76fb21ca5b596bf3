"""Regular expressions over the bytes of a peer: compiled from the user's text, searched for without holding the loop.

The one home of regex, which is loaded only where a pattern is declared. Python's own ``re`` cannot be bounded: it holds
the interpreter while it matches, so that a slow pattern would take every deadline and signal with it.
"""

import re
import warnings
from typing import TYPE_CHECKING, NamedTuple

from gatekeeper.model import Reason, waiting
from gatekeeper.probes._aside import aside
from gatekeeper.probes._miss import MissError, during
from gatekeeper.values import BadValueError, quoted, raw

if TYPE_CHECKING:
    import regex

# Seconds that a search may take: while everything else waits, and beside it. Less than an attempt has by default, so
# that its outcome says what is wrong.
AT_ONCE, MOST = 0.005, 2.0
# A brace that counts nothing is itself in Python's re, and the start of an approximate match in regex.
_LOOSE_BRACE = re.compile(rb"(\\.)|\{(?![0-9]+\}|[0-9]*,[0-9]*\})", re.DOTALL)


class Pattern(NamedTuple):
    """A regular expression over bytes."""

    compiled: "regex.Pattern[bytes]"

    async def found_in(self, data: bytes, where: str) -> bool:
        """Tell whether it matches somewhere in the data; ``where`` is whose they are, as a detail may show it.

        A search that takes longer than a moment goes on beside the event loop; given up or not, it ends after `MOST`
        seconds of work. Raises `MissError` where it comes to that.
        """
        try:
            return bool(self.compiled.search(data, timeout=AT_ONCE))
        except TimeoutError:
            pass
        try:
            with during(f"matching the pattern ({where})"):
                return bool(await aside("matching", lambda: self.compiled.search(data, timeout=MOST)))
        except TimeoutError:
            raise MissError(waiting(Reason.UNWANTED_ANSWER, f"{where} (the pattern takes too long)")) from None


def pattern(text: str) -> Pattern:
    """Return a compiled regular expression over bytes (Python's ``re``; ``.`` matches newlines too).

    Raises `BadValueError`.
    """
    if not text:  # it would match whatever there is
        message = "must not be empty"
        raise BadValueError(message)
    import regex  # noqa: PLC0415 - for those who declare a pattern

    source = raw(text)
    try:
        # What a parser warns of (a set in a set) is the user's business and no line on stderr.
        with warnings.catch_warnings(action="ignore"):
            re.compile(source, re.DOTALL)  # regex takes more than is promised, and its own messages say less
            literal = _LOOSE_BRACE.sub(lambda match: match[1] or rb"\{", source)
            return Pattern(regex.compile(literal, regex.DOTALL | regex.VERSION0))
    except (re.error, regex.error, ValueError, RecursionError, OverflowError) as error:
        message = f"{quoted(text)} is no regular expression: {error}"
        raise BadValueError(message) from None
