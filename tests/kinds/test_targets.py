"""The targets of servers: where, as whom, and what else they hold."""

import pytest

from gatekeeper.probes import load
from gatekeeper.probes._dsn import Place
from gatekeeper.probes._options import BadOptionsError


@pytest.mark.parametrize(
    ("hosts", "user", "password"),
    [
        ("a:1,b:2", None, None),
        ("u:p@a:1,b:2", "u", "p"),
        ("u:p@a:1,u:p@b:2", "u", "p"),
        ("u:p,q@a:1,b:2", "u", "p,q"),
        ("u:p%40x%2Cy@a:1,u:p%40x%2Cy@b:2", "u", "p@x,y"),
    ],
)
@pytest.mark.parametrize("kind", ["amqp", "mqtt", "mongodb", "kafka"])
def test_several_servers_may_be_listed_with_the_user_at_each(
    kind: str, hosts: str, user: str | None, password: str | None
) -> None:
    """As the clients of brokers list them: none is lost, and none is taken for a piece of a password."""
    dsn = load(kind).parse(f"{kind}://{hosts}", {"login": ("no",)}).dsn
    assert dsn.places == (Place("a", 1), Place("b", 2))
    assert (dsn.user, dsn.password.value if dsn.password else None) == (user, password)


@pytest.mark.parametrize("hosts", ["u:secret@a:1,v:secret@b:2", "u:sec@ret,x@a:1"])
def test_several_users_are_refused(hosts: str) -> None:
    """Whose password would be tried at which server cannot be told; no password is shown."""
    with pytest.raises(BadOptionsError, match="names several users") as refused:
        load("amqp").parse(f"amqp://{hosts}/v", {"login": ("no",)})
    assert "sec" not in str(refused.value).replace("several", "")
