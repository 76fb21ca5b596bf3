"""Logging in to Kafka: the mechanisms of SASL as kafka-python has them, over a conversation of ours.

The one home of kafka-python, loaded only to log in. What connects and waits is not its own, so that a cancellation, TLS
and the addresses of a name are as everywhere here.
"""

import warnings
from functools import partial
from typing import Any

from gatekeeper.probes._aside import aside
from gatekeeper.probes._kafka import Kafka

with warnings.catch_warnings(action="ignore"):  # what it does in old ways is not the user's business
    from kafka.net.sasl import get_sasl_mechanism  # type: ignore[import-untyped]

_MOST_TOKENS = 4  # SCRAM (RFC 5802) needs two, PLAIN (RFC 4616) one


async def authenticated(talk: Kafka, mechanism: str, user: str, password: str) -> int:
    """Return the error that the broker has for these credentials, 0 for none; may raise `MissError`.

    What the broker answers as no broker would counts as error -1 (UNKNOWN_SERVER_ERROR).
    """
    sasl: Any = get_sasl_mechanism(mechanism)(
        sasl_mechanism=mechanism, sasl_plain_username=user, sasl_plain_password=password
    )
    try:
        for _ in range(_MOST_TOKENS):
            error, token = await talk.authenticate(sasl.auth_bytes())
            if error:
                return error
            await aside("logging in", partial(sasl.receive, token))  # a server may ask for a million rounds of hashing
            if sasl.is_done():
                return 0 if sasl.is_authenticated() else -1
    except (ValueError, KeyError):  # another proof of who the broker is than the password gives, or none
        pass
    return -1
