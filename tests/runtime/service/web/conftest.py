"""A pretended service and a client of its page, which asks as a browser on the same machine does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser.pretend_service import PretendView
from starlette.testclient import TestClient

from rep_edge.runtime.service.metrics import Durations
from rep_edge.runtime.service.web.app import make_app


@pytest.fixture
def view(tmp_path: Path) -> PretendView:
    return PretendView(folder=tmp_path)


@pytest.fixture
def client(view: PretendView) -> Iterator[TestClient]:
    with TestClient(make_app(view, None, Durations()), base_url="http://localhost:8765") as client:
        yield client


@pytest.fixture
def locked(view: PretendView) -> Iterator[TestClient]:
    """The page of a service that has the token "open sesame"."""
    app = make_app(view, "open sesame", Durations())
    with TestClient(app, base_url="http://device.local:8765", follow_redirects=False) as client:
        yield client
