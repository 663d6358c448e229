"""The plain graphs of a tiny model, once for all files."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import Exports

from rep_edge.export.rivals import write_plain_graphs


@pytest.fixture(scope="session")
def plain_graphs(exports: Exports, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The graphs without REP of the model `learned`."""
    return write_plain_graphs(exports["learned"].model, tmp_path_factory.mktemp("plain"))
