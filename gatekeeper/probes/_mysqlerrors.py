"""What MySQL and MariaDB mean with the number of an error (their references of error messages).

Their texts may hold what nobody should read: only numbers count, and only they are shown.
"""

from gatekeeper.model import Outcome, Reason, failed, waiting

_REFUSED = (1045, 1251, 1524, 1698, 1862, 3118, 3159, 3878, 3955, 4151)  # a user, a password, a method, a lock, no TLS
_NEVER = {1064: "the query has a syntax error", 1792: "the query writes, and is asked in a transaction that only reads"}
_MEANT: dict[int, tuple[Reason, str]] = {
    # Too many connections: of all, of a user, and within an hour.
    **dict.fromkeys((1040, 1203, 1226), (Reason.STARTING, "it has no connection left")),
    # A Galera node that is not in sync, one that shuts down or kills, that is offline, or not there.
    **dict.fromkeys((1047, 1053, 1927, 3032, 3168), (Reason.STARTING, "it cannot serve now")),
    # TiDB's and Azure's have them for much: that they want TLS, for one.
    **dict.fromkeys(
        (1105, 2001, 9002),
        (Reason.UNWANTED_ANSWER, "a gateway may want TLS, as by sslmode=require, or a user that it knows"),
    ),
    1129: (Reason.FORBIDDEN, "it blocks this host until FLUSH HOSTS"),
    1130: (Reason.FORBIDDEN, "it takes nobody from this host"),
    **dict.fromkeys(_REFUSED, (Reason.FORBIDDEN, "the login is refused")),
    # To a database, of which somebody without rights is told nothing else where it is missing.
    **dict.fromkeys((1044, 1142, 1143, 1227, 1370), (Reason.FORBIDDEN, "no right to it, or it is missing")),
    1049: (Reason.NOT_FOUND, "no such database"),
    1146: (Reason.NOT_FOUND, "no such table"),
    **dict.fromkeys((1054, 1305), (Reason.NOT_FOUND, "no such column or function")),
    **dict.fromkeys((1969, 3024), (Reason.TIMED_OUT, "the server has ended the query, which took too long")),
    **{number: (Reason.UNWANTED_ANSWER, why) for number, why in _NEVER.items()},
}


def meaning(where: str, number: int, *, is_final: bool = False) -> Outcome:
    """Return the outcome of an error; ``is_final`` says that a refusal of a login is one for good."""
    reason, why = _MEANT.get(number, (Reason.UNWANTED_ANSWER, "it says no"))
    refused = is_final and number in _REFUSED
    outcome = (failed if refused or number in _NEVER else waiting)(reason, f"{where} ({why}: error {number})")
    return outcome._replace(certain=refused)  # at once: further tries may lock the account


def is_refusal(number: int) -> bool:
    """Tell whether a login that nobody meant to succeed was refused as it should be, by a server that is up."""
    return number in _REFUSED
