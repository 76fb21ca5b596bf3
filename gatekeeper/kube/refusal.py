"""What a refusal means for people: the right that is missing, for whom, and the commands that grant it."""

from gatekeeper.kube import rights
from gatekeeper.kube.access import Access, TokenFile
from gatekeeper.model import Outcome, Reason, State
from gatekeeper.probes._aside import aside

_MOST_TOKEN = 64 * 1024


async def explained(trouble: Outcome, of: str, right: rights.Right, way: Access) -> Outcome:
    """Say of a refusal to look at something which right is missing, and how it is granted; leave all else as it is."""
    if trouble.reason is not Reason.FORBIDDEN or trouble.state is not State.FAILED:
        return trouble
    account = await aside("reading whose token it is", lambda: _account(way))
    told = f"{of}: may not {', '.join(right.verbs)} {right.full} in {right.namespace or 'the cluster'}"
    how = f"; grant it: {rights.commands(right, account)}" if account else ""
    return trouble._replace(detail=told + how)


def _account(way: Access) -> tuple[str, str] | None:
    """Return the service account whose token is used, None for any other user."""
    if not isinstance(way.credential, TokenFile):
        return None
    try:
        with open(way.credential.path, encoding="ascii") as file:
            return rights.account_of_token(file.read(_MOST_TOKEN))
    except (OSError, ValueError):
        return None
