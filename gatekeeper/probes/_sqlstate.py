"""What PostgreSQL means with the code of an error (PostgreSQL, appendix A): not yet, no such thing, no such user.

Its texts are translated and may hold what nobody should read: only codes count, and only they are shown.
"""

from gatekeeper.model import Outcome, Reason, failed, waiting

_MISSING = ("3D000", "3F000", "42P01", "42703", "42704", "42883")  # database, schema, table, column, object, function
_REFUSED = {
    "28P01": "user or password is refused",
    "28000": "the login is refused by pg_hba.conf, which may want TLS, or for want of the role",
}
_NEVER = ("42601", "25006")  # a syntax error; a query that writes


def not_yet(where: str, code: str) -> Outcome | None:
    """Return the outcome of a server that cannot serve anybody now: starting, ending, recovering, or full."""
    if code == "57P03":
        return waiting(Reason.STARTING, f"{where} (it starts, recovers or shuts down: SQLSTATE {code})")
    if code == "53300":
        return waiting(Reason.STARTING, f"{where} (it has no connection left: SQLSTATE {code})")
    if code.startswith(("53", "57P", "58")):
        return waiting(Reason.STARTING, f"{where} (it cannot serve now: SQLSTATE {code})")
    return None


def missing(where: str, code: str) -> Outcome | None:
    """Return the outcome of an error over something that is not there, and may come."""
    what = {"3D000": "no such database", "42P01": "no such table"}.get(code, "no such thing")
    return waiting(Reason.NOT_FOUND, f"{where} ({what}: SQLSTATE {code})") if code in _MISSING else None


def of_login(where: str, code: str, *, is_final: bool) -> Outcome:
    """Return what the end of a login means; ``is_final`` says that a refusal is one for good."""
    if code.startswith("28"):
        refused = failed if is_final else waiting
        why = _REFUSED.get(code, "the login is refused")
        outcome = refused(Reason.FORBIDDEN, f"{where} ({why}: SQLSTATE {code})")
        return outcome._replace(certain=is_final)  # at once: further tries may lock the account
    if code == "42501":  # CONNECT on the database, which may be granted yet
        return waiting(Reason.FORBIDDEN, f"{where} (no right to this database: SQLSTATE {code})")
    return not_yet(where, code) or missing(where, code) or _unwanted(where, code)


def of_look(where: str, code: str) -> Outcome:
    """Return what an error means when something is looked for by somebody who has logged in."""
    if code == "42501":
        return waiting(Reason.FORBIDDEN, f"{where} (no right to what is looked for: SQLSTATE {code})")
    if code in _NEVER:
        how = "writes, and is asked in a transaction that only reads" if code == "25006" else "has a syntax error"
        return failed(Reason.UNWANTED_ANSWER, f"{where} (the query {how}: SQLSTATE {code})")
    if code == "57014":
        return waiting(Reason.TIMED_OUT, f"{where} (the server has ended the query: SQLSTATE {code})")
    return not_yet(where, code) or missing(where, code) or _unwanted(where, code)


def _unwanted(where: str, code: str) -> Outcome:
    return waiting(Reason.UNWANTED_ANSWER, f"{where} (SQLSTATE {code})")
