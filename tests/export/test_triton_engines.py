"""Model repositories of TensorRT engines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from bundles import make_bundle
from fake_triton import read_config
from repositories import quiet

from rep_edge.errors import InputError
from rep_edge.export.tensorrt import Order, compile_for
from rep_edge.export.triton import Serving, export_repository
from rep_edge.runtime.amendment import amend
from rep_edge.runtime.bundle import Bundle, file_record, open_bundle
from rep_edge.runtime.engines.build import BatchRange
from rep_edge.runtime.engines.library import find_tensorrt
from rep_edge.runtime.manifest import EngineRecord


def with_engines(path: Path, **fields: Any) -> Bundle:
    """A toy bundle with an engine for every graph, in structure."""
    bundle = open_bundle(make_bundle(path))
    made, contents = [], {}
    for number, graph in enumerate(bundle.manifest.graphs):
        file = f"engines/{number}.engine"
        contents[file] = f"plan of {graph.pattern}".encode()
        plain = EngineRecord(
            pattern=graph.pattern,
            precision="fp32",
            file=file_record(file, contents[file]),
            graph_sha256=graph.file.sha256,
            backend="tensorrt",
            backend_version="10.13.2",
            compute_capability="sm89",
            batch=(1, 1, 8),
        )
        made.append(msgspec.structs.replace(plain, **fields) if number == len(bundle.manifest.graphs) - 1 else plain)
    return amend(bundle, contents, msgspec.structs.replace(bundle.manifest, engines=tuple(made)))


def test_engines_are_served_in_place_of_graphs(tmp_path: Path) -> None:
    bundle = with_engines(tmp_path / "bundle")
    export_repository(bundle.path, tmp_path / "repository", Serving(engines="sm89", max_batch=4), quiet)
    config = read_config(tmp_path / "repository", "rep_seismic")
    assert (config.platform, config.backend, config.max_batch_size) == ("tensorrt_plan", "tensorrt", 4)
    assert [(group.count, group.Kind.Name(group.kind)) for group in config.instance_group] == [(1, "KIND_GPU")]
    assert (tmp_path / "repository" / "rep_seismic" / "1" / "model.plan").read_bytes() == b"plan of seismic"
    assert not list((tmp_path / "repository").rglob("*.onnx"))
    text = (tmp_path / "repository" / "README.txt").read_text()
    assert "its Python and TensorRT backends" in text
    assert "The engines run on sm89 GPUs and with TensorRT 10.13.2 alone" in text


def test_engines_for_later_versions_say_how_to_start_the_server(tmp_path: Path) -> None:
    bundle = with_engines(tmp_path / "bundle")
    engines = tuple(
        msgspec.structs.replace(engine, backend_version="10.13.2+", compute_capability="sm80+")
        for engine in bundle.manifest.engines
    )
    amend(bundle, {}, msgspec.structs.replace(bundle.manifest, engines=engines))
    export_repository(bundle.path, tmp_path / "repository", Serving(engines="sm80+"), quiet)
    text = (tmp_path / "repository" / "README.txt").read_text()
    assert "The engines run on sm80 and later GPUs and with TensorRT 10.13.2 or a later one" in text
    assert "--backend-config=tensorrt,version-compatible=true" in text


@pytest.mark.parametrize(
    ("fields", "serving", "words"),
    [
        ({}, {"engines": "sm86"}, "has no sm86 fp32 engine for acoustic+seismic, only sm89 fp32 (tensorrt); build"),
        ({"compute_capability": "sm86"}, {}, "has no sm89 fp32 engine for seismic, only sm86 fp32 (tensorrt), sm89"),
        ({"graph_sha256": "0" * 64}, {}, "its sm89 fp32 engine for seismic is of an older graph; build them with"),
        ({"backend_version": "10.9"}, {}, "its sm89 fp32 engines are of TensorRT 10.13.2 and 10.9; build them with"),
        ({"batch": (1, 1, 4)}, {}, "takes batches of 1 to 4, not of 1 to 8; give --max-batch 4, or compile it again"),
        ({"batch": (2, 2, 8)}, {}, "takes batches of 2 to 8, not of 1 to 8; compile it again from batch 1"),
    ],
)
def test_engines_that_cannot_be_served(
    fields: dict[str, Any], serving: dict[str, Any], words: str, tmp_path: Path
) -> None:
    bundle = with_engines(tmp_path / "bundle", **fields)
    with pytest.raises(InputError) as error:
        export_repository(bundle.path, tmp_path / "repository", Serving(**{"engines": "sm89", **serving}), quiet)
    assert words in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_engines_of_tensorrt_for_rtx_are_refused(tmp_path: Path) -> None:

    bundle = open_bundle(make_bundle(tmp_path / "bundle"))
    order = Order(("sm89",), ("fp32",), BatchRange(1, 1, 8))
    compile_for(bundle, find_tensorrt("tensorrt-rtx"), order, tmp_path / "logs", quiet)
    with pytest.raises(
        InputError, match="sm89 fp32 engines are of TensorRT for RTX, which Triton's TensorRT backend c"
    ):
        export_repository(bundle.path, tmp_path / "repository", Serving(engines="sm89"), quiet)
    assert not (tmp_path / "repository").exists()
