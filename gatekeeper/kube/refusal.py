"""What a refusal means for people: the right that is missing, for whom, and the commands that grant it."""

from gatekeeper.kube.answers import ApiError
from gatekeeper.kube.rights import Right, commands
from gatekeeper.model import Outcome, Reason, State


def explained(trouble: Outcome, of: str, right: Right, refusal: ApiError | None) -> Outcome:
    """Say of a refusal to look at something which right is missing, and how it is granted; leave all else as it is.

    ``refusal`` is what the server said, which names whom it has refused.
    """
    if refusal is None or trouble.reason is not Reason.FORBIDDEN or trouble.state is not State.FAILED:
        return trouble
    told = f"{of}: may not {', '.join(right.verbs)} {right.full} in {right.namespace or 'the cluster'}"
    return trouble._replace(detail=f"{told}; grant it: {commands(right, refusal.message)}")
