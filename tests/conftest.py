"""What several folders of tests share: bundles of tiny models, made once in a process, and a whole service."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from served import Served
    from tiny import Exports


@pytest.fixture(scope="session")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Exports:
    from tiny import Exports

    return Exports(tmp_path_factory.mktemp("exports"))


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    from served import Served

    service = Served(tmp_path)
    yield service
    service.close()
