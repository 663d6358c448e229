"""Model repositories: every configuration, every graph from its own folder, and what cannot be served."""

from __future__ import annotations

import builtins
import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest
from bundles import PAIR, WEIGHTS, make_bundle
from fake_triton import read_config
from precisions import make_bundle_in
from repositories import TEMPERATURES, export, files, quiet
from tiny import Exports, noise_windows
from tritonclient.grpc import model_config_pb2

from rep_edge.errors import InputError, MissingExtraError
from rep_edge.export.triton import Serving, export_repository
from rep_edge.runtime.amendment import amend
from rep_edge.runtime.bundle import file_record, open_bundle
from rep_edge.signals import Stream, WindowSpec


def test_a_repository_has_a_model_for_every_pattern_and_a_router(tmp_path: Path) -> None:
    _, repository = export(tmp_path, PAIR)
    models = ("rep_acoustic_seismic", "rep_acoustic", "rep_seismic")
    graphs = {f"{model}/{file}" for model in models for file in ("config.pbtxt", "labels.txt", "1/model.onnx")}
    assert files(repository) == graphs | {"README.txt", "rep/config.pbtxt", "rep/labels.txt", "rep/1/model.py"}
    assert {(repository / model / "labels.txt").read_text() for model in ("rep", *models)} == {"quiet\ncar\ntruck\n"}
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_graphs_configuration_says_what_it_takes(tmp_path: Path) -> None:
    _, repository = export(tmp_path, max_batch=6, device="gpu")
    config = read_config(repository, "rep_acoustic_magnetic")
    assert config.name == "rep_acoustic_magnetic"
    assert (config.backend, config.platform) == ("onnxruntime", "onnxruntime_onnx")
    assert config.default_model_filename == "model.onnx"
    assert config.max_batch_size == 6
    # Triton puts the batch before these.
    assert [(i.name, list(i.dims), i.optional) for i in config.input] == [
        ("acoustic", [1, 800], False),
        ("magnetic", [3, 50], False),
    ]
    assert [(o.name, list(o.dims), o.label_filename) for o in config.output] == [("logits", [3], "labels.txt")]
    assert {tensor.data_type for tensor in (*config.input, *config.output)} == {model_config_pb2.TYPE_FP32}
    assert list(config.dynamic_batching.preferred_batch_size) == [2, 4, 6]
    assert config.dynamic_batching.max_queue_delay_microseconds == 500
    assert [(group.count, group.Kind.Name(group.kind)) for group in config.instance_group] == [(1, "KIND_GPU")]
    assert [warm.batch_size for warm in config.model_warmup] == [1, 2, 4, 6]
    for warm in config.model_warmup:
        assert {name: list(window.dims) for name, window in warm.inputs.items()} == {
            "acoustic": [1, 800],
            "magnetic": [3, 50],
        }


@pytest.mark.parametrize(("device", "kind"), [("auto", "KIND_AUTO"), ("cpu", "KIND_CPU")])
def test_where_graphs_run_is_chosen(device: str, kind: str, tmp_path: Path) -> None:
    _, repository = export(tmp_path, PAIR, device=device)
    (group,) = read_config(repository, "rep_seismic").instance_group
    assert group.Kind.Name(group.kind) == kind


def test_every_input_of_the_router_is_optional(tmp_path: Path) -> None:
    _, repository = export(tmp_path)
    config = read_config(repository, "rep")
    assert (config.backend, config.max_batch_size) == ("python", 8)
    assert [(i.name, list(i.dims), i.optional) for i in config.input] == [
        ("acoustic", [1, 800], True),
        ("seismic", [1, 100], True),
        ("magnetic", [3, 50], True),
    ]
    assert not config.model_transaction_policy.decoupled
    assert config.HasField("dynamic_batching")
    routes = json.loads(config.parameters["routes"].string_value)
    assert len(routes) == 7
    assert routes["seismic"] == {"model": "rep_seismic", "temperature": TEMPERATURES["seismic"]}


def test_one_window_at_a_time_is_not_batched(tmp_path: Path) -> None:
    _, repository = export(tmp_path, PAIR, max_batch=1)
    for model in ("rep", "rep_acoustic"):
        config = read_config(repository, model)
        assert config.max_batch_size == 1
        assert not config.HasField("dynamic_batching")
    assert [warm.batch_size for warm in config.model_warmup] == [1]


def test_another_name_is_the_name_of_all_models(tmp_path: Path) -> None:
    _, repository = export(tmp_path, PAIR, name="yard-2")
    assert {path.name for path in repository.iterdir() if path.is_dir()} == {
        "yard-2",
        "yard-2_acoustic_seismic",
        "yard-2_acoustic",
        "yard-2_seismic",
    }
    assert 'client.infer("yard-2", inputs)' in (repository / "README.txt").read_text()


@pytest.mark.parametrize("kind", ["learned", "none, three sensors"])
def test_a_graph_runs_from_its_own_folder_as_it_does_in_the_bundle(kind: str, exports: Exports, tmp_path: Path) -> None:
    bundle = open_bundle(exports[kind].path)
    spec = bundle.manifest.spec
    models = export_repository(bundle.path, tmp_path / "repository", Serving(), quiet)
    assert set(models) == {spec.pattern_name(pattern) for pattern in spec.patterns()}
    for number, (pattern, model) in enumerate(models.items()):
        alone = tmp_path / f"alone {number}"
        alone.mkdir()
        shutil.copy(tmp_path / "repository" / model / "1" / "model.onnx", alone)
        live = {n: v for n, v in noise_windows(spec, 3).items() if n in spec.parse_pattern(pattern)}
        sessions = [
            onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
            for file in (bundle.graph_file(pattern, "fp32"), alone / "model.onnx")
        ]
        wanted, found = (session.run(["logits"], live)[0] for session in sessions)
        np.testing.assert_array_equal(found, wanted)


def test_a_graph_carries_only_the_weights_that_it_reads(tmp_path: Path) -> None:
    bundle, repository = export(tmp_path)
    model = onnx.load(repository / "rep_seismic" / "1" / "model.onnx", load_external_data=False)
    assert all(tensor.data_location == onnx.TensorProto.DEFAULT for tensor in model.graph.initializer)
    assert [tensor.name for tensor in model.graph.initializer] == ["seismic_weight"]
    assert (repository / "rep_seismic" / "1" / "model.onnx").stat().st_size < (bundle / WEIGHTS).stat().st_size / 4


def test_another_precision_is_served(tmp_path: Path) -> None:
    bundle = open_bundle(make_bundle_in(tmp_path / "bundle", "fp16"))
    told: list[str] = []
    export_repository(bundle.path, tmp_path / "repository", Serving(precision="fp16"), told.append)
    assert read_config(tmp_path / "repository", "rep").parameters["precision"].string_value == "fp16"
    assert "rep_acoustic, precision fp16" in (tmp_path / "repository" / "README.txt").read_text()
    assert [line.partition(":")[0] for line in told] == [
        "acoustic+seismic",
        "acoustic",
        "seismic",
        "any of acoustic, seismic",
    ]


@pytest.mark.parametrize(
    ("serving", "words"),
    [
        ({"precision": "int8"}, "bundle: has no int8 graphs, only fp32; make them with  rep-edge calibrate"),
        ({"max_batch": 0}, "max-batch: must be at least 1, not 0"),
        ({"name": "a/b"}, "name 'a/b': a model's name has letters, digits, _ and - alone"),
        ({"name": ""}, "name '': a model's name"),
        ({"device": "tpu"}, "device 'tpu': must be one of auto, gpu, cpu"),
        ({"device": "cpu", "engines": "sm89"}, "device cpu: TensorRT engines run on a GPU"),
        ({"engines": "sm89"}, "bundle: has no sm89 fp32 engine for acoustic+seismic, and no other; build them with"),
    ],
)
def test_what_cannot_be_served_is_told_and_nothing_written(serving: dict[str, Any], words: str, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    with pytest.raises(InputError) as error:
        export_repository(bundle, tmp_path / "repository", Serving(**serving), quiet)
    assert words in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_patterns_that_would_share_a_name_are_refused(tmp_path: Path) -> None:
    sensors = tuple(Stream(name=name, rate_hz=100, samples=100) for name in ("a", "b", "a_b"))
    bundle = make_bundle(tmp_path / "bundle", WindowSpec(modalities=sensors, hop_s=0.5))
    with pytest.raises(InputError, match=r"a\+b and a_b would both be the model rep_a_b; train with sensors of other"):
        export_repository(bundle, tmp_path / "repository", Serving(), quiet)
    assert not (tmp_path / "repository").exists()


def test_a_folder_that_is_there_is_left_alone(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    (tmp_path / "repository").mkdir()
    (tmp_path / "repository" / "notes").write_text("mine")
    with pytest.raises(InputError, match="repository: is there already"):
        export_repository(bundle, tmp_path / "repository", Serving(), quiet)
    assert files(tmp_path / "repository") == {"notes"}


def test_a_disk_that_fills_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    written: list[Path] = []

    def write_file(path: Path, content: bytes) -> None:
        if len(written) == 5:
            raise InputError(f"{path}: cannot be written (No space left on device); free space")
        written.append(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    monkeypatch.setattr("rep_edge.export.triton.write_file", write_file)
    with pytest.raises(InputError, match="No space left"):
        export_repository(bundle, tmp_path / "repository", Serving(), quiet)
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_a_graph_of_one_batch_size_is_refused(tmp_path: Path) -> None:
    bundle = open_bundle(make_bundle(tmp_path / "bundle"))
    record = bundle.graph("seismic", "fp32")
    model = onnx.load(bundle.path / record.file.path, load_external_data=False)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    content = model.SerializeToString()
    fixed = msgspec.structs.replace(record, file=file_record("graphs/fixed.onnx", content))
    graphs = tuple(fixed if graph == record else graph for graph in bundle.manifest.graphs)
    amend(bundle, {"graphs/fixed.onnx": content}, msgspec.structs.replace(bundle.manifest, graphs=graphs))
    with pytest.raises(InputError, match=r"fixed\.onnx: seismic has a batch of fixed size; export the bundle again"):
        export_repository(bundle.path, tmp_path / "repository", Serving(), quiet)


@pytest.mark.parametrize(
    ("package", "error"), [("tritonclient", ImportError), ("tritonclient", RuntimeError), ("onnx", ImportError)]
)
def test_a_package_that_is_missing_is_named(
    package: str, error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    real = builtins.__import__

    def find(name: str, *arguments: Any, **options: Any) -> Any:
        if name.partition(".")[0] == package:
            raise error(f"no {name}")
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", find)
    with pytest.raises(MissingExtraError) as missing:
        export_repository(bundle, tmp_path / "repository", Serving(), quiet)
    assert str(missing.value) == f'{package} is not installed: run  pip install "rep-edge[triton]"'
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]
