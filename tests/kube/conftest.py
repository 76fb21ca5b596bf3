"""Fixtures for what asks an API server."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from kube.apiserver import ApiServer, api_server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ApiServer]:
    """Give an API server."""
    folder = tmp_path / "server"
    folder.mkdir()
    with api_server(folder) as running:
        yield running
