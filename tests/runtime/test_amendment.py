"""Files added to a bundle: the old one or the new one is there, whatever happens in between."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest
from bundles import make_bundle

from rep_edge.errors import InputError
from rep_edge.runtime import amendment
from rep_edge.runtime.amendment import amend, free_path
from rep_edge.runtime.bundle import Bundle, file_record, open_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return open_bundle(make_bundle(tmp_path / "bundle"))


def files(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def with_graph(bundle: Bundle, content: bytes, path: str) -> Bundle:
    """The seismic graph replaced by `content`."""
    graphs = tuple(
        msgspec.structs.replace(graph, file=file_record(path, content)) if graph.pattern == "seismic" else graph
        for graph in bundle.manifest.graphs
    )
    return amend(bundle, {path: content}, msgspec.structs.replace(bundle.manifest, graphs=graphs))


def test_a_replaced_file_gets_a_new_name_and_the_old_one_goes(bundle: Bundle) -> None:
    path = free_path(bundle, "graphs/seismic.fp32.onnx", b"new")
    assert path != "graphs/seismic.fp32.onnx"
    amended = with_graph(bundle, b"new", path)
    assert open_bundle(bundle.path).manifest == amended.manifest
    found = files(bundle.path)
    assert found[path] == b"new"
    assert "graphs/seismic.fp32.onnx" not in found
    # And the usual name is free again.
    assert free_path(amended, "graphs/seismic.fp32.onnx", b"newer") == "graphs/seismic.fp32.onnx"


def test_the_same_content_keeps_its_name(bundle: Bundle) -> None:
    content = (bundle.path / "graphs/seismic.fp32.onnx").read_bytes()
    assert free_path(bundle, "graphs/seismic.fp32.onnx", content) == "graphs/seismic.fp32.onnx"
    before = files(bundle.path)
    with_graph(bundle, content, "graphs/seismic.fp32.onnx")
    assert set(files(bundle.path)) == set(before)


@pytest.mark.parametrize("failing", [1, 2])
def test_a_write_that_fails_leaves_the_bundle_as_it_was(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    before, calls = files(bundle.path), 0
    write = amendment.write_file

    def full(path: Path, content: bytes) -> None:
        nonlocal calls
        calls += 1
        if calls == failing:
            raise InputError(f"{path}: cannot be written (No space left on device); free space")
        write(path, content)

    monkeypatch.setattr(amendment, "write_file", full)
    with pytest.raises(InputError, match="No space left"):
        with_graph(bundle, b"new", free_path(bundle, "graphs/seismic.fp32.onnx", b"new"))
    assert files(bundle.path) == before


def test_a_full_disk_is_told_before_anything_is_written(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    before = files(bundle.path)
    usage = shutil.disk_usage(bundle.path)._replace(free=1000)
    monkeypatch.setattr(amendment.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(InputError, match=r"has 0 MB of disk left and 17 MB are needed; free space"):
        with_graph(bundle, b"new", "graphs/new.onnx")
    assert files(bundle.path) == before
