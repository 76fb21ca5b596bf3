"""The published schema of Kubernetes' API, which takes seconds to load: for the tests that use it alone."""

from typing import Any


class BadManifestError(Exception):
    """Raised for a manifest that the schema does not allow."""


def validate(manifest: dict[str, Any], version: str | None = None) -> None:
    """See that a manifest has the known fields alone, of the right types; by the newest version unless one is named."""
    import kubernetes_validate  # noqa: PLC0415 - see above

    try:
        kubernetes_validate.validate(manifest, version or kubernetes_validate.latest_version(), strict=True)
    except kubernetes_validate.ValidationError as error:
        raise BadManifestError(error.message) from error
