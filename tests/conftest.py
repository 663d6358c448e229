"""What takes seconds to make and is only read: bundles of tiny models, once for all files of a process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tiny import Exports


@pytest.fixture(scope="session")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Exports:
    from tiny import Exports

    return Exports(tmp_path_factory.mktemp("exports"))
