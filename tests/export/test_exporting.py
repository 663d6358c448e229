"""A whole bundle of each memory: what its graphs read and say, what its files hold, and that a faulty one never is."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from tiny import DATASET, KINDS, LABELS, Exported, Exports, noise_windows, probabilities

from rep_edge.errors import InputError
from rep_edge.export import exporting
from rep_edge.export.exporting import Source, export_bundle
from rep_edge.export.specialise import PatternGraph
from rep_edge.runtime.bundle import open_bundle
from rep_edge.runtime.classifier import Classifier
from rep_edge.runtime.manifest import Manifest


@pytest.fixture(params=tuple(KINDS))
def exported(request: pytest.FixtureRequest, exports: Exports) -> Exported:
    return exports[request.param]


def patterns(exported: Exported) -> dict[str, frozenset[str]]:
    spec = exported.model.spec
    return {spec.pattern_name(pattern): pattern for pattern in spec.patterns()}


def graph(path: Path, pattern: str) -> onnx.ModelProto:
    """With the tensors of the weights file in it."""
    return onnx.load(path / f"graphs/{pattern}.fp32.onnx")


def test_there_is_one_graph_for_every_set_of_live_sensors(exported: Exported) -> None:
    opened = open_bundle(exported.path)
    assert [record.pattern for record in opened.manifest.graphs] == list(patterns(exported))
    assert len(opened.manifest.graphs) == 2 ** len(exported.model.spec.names) - 1
    listed = {record.file.path for record in opened.manifest.graphs} | {"manifest.json", "graphs/weights.fp32.bin"}
    found = {str(p.relative_to(exported.path)) for p in exported.path.rglob("*") if p.is_file()}
    assert found == listed


def test_inputs_are_the_live_modalities_with_any_batch(exported: Exported) -> None:
    for name in patterns(exported):
        proto = graph(exported.path, name).graph
        assert [value.name for value in proto.input] == name.split("+")
        assert [value.name for value in proto.output] == ["logits"]
        for value, modality in ((value, exported.model.spec[value.name]) for value in proto.input):
            batch, *rest = value.type.tensor_type.shape.dim
            assert batch.dim_param
            assert tuple(dim.dim_value for dim in rest) == modality.shape
            assert value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_graphs_say_what_the_model_says(batch: int, exported: Exported) -> None:
    windows = noise_windows(exported.model.spec, batch, seed=8)
    for name, pattern in patterns(exported).items():
        session = ort.InferenceSession(exported.path / f"graphs/{name}.fp32.onnx", providers=["CPUExecutionProvider"])
        logits = session.run(["logits"], {m: windows[m] for m in name.split("+")})[0]
        raised = np.exp(logits - logits.max(axis=1, keepdims=True))
        said = raised / raised.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(said, probabilities(exported.model, windows, pattern), atol=1e-5)


def test_the_classifier_opens_it_and_says_what_the_model_says(exported: Exported) -> None:
    classifier = Classifier.load(exported.path)
    windows = noise_windows(exported.model.spec, 3, seed=9)
    answers = []
    for name, pattern in patterns(exported).items():
        expected = probabilities(exported.model, windows, pattern)
        for i in range(3):
            prediction = classifier({m: windows[m][i] for m in name.split("+")})
            assert (prediction.pattern, tuple(prediction.probabilities)) == (name, LABELS)
            np.testing.assert_allclose(list(prediction.probabilities.values()), expected[i], atol=1e-5)
            assert prediction.label == LABELS[int(expected[i].argmax())]
        answers.append(expected.tobytes())
    assert len(set(answers)) == len(answers), "patterns that say the same prove nothing"


def depends(tensor: str, maker: dict[str, onnx.NodeProto], known: dict[str, bool]) -> bool:
    """Whether an input stands behind a tensor, followed backwards. known: what was found before, inputs at first."""
    if tensor not in known:
        read = maker[tensor].input if tensor in maker else ()
        known[tensor] = any(depends(part, maker, known) for part in read if part)
    return known[tensor]


def test_every_node_has_an_input_behind_it(exported: Exported) -> None:
    for name in patterns(exported):
        nodes = graph(exported.path, name).graph.node
        maker = {output: node for node in nodes for output in node.output if output}
        known = dict.fromkeys(name.split("+"), True)
        assert [node.output[0] for node in nodes if not depends(node.output[0], maker, known)] == []
        assert set(name.split("+")) <= {read for node in nodes for read in node.input}


def test_the_manifest_tells_how_far_graphs_are_from_the_model(exported: Exported) -> None:
    adversarial = {"zeros", "constant", "clipped", "huge", "tiny", "impulse", "noise"}
    for record in exported.manifest.graphs:
        assert record.parity.windows == 6 + 4 * len(adversarial)
        assert set(record.parity.by_kind) == {"real", *adversarial}
        assert record.parity.max_abs_error == max(record.parity.by_kind.values()) <= record.parity.tolerance == 1e-4


def test_the_manifest_tells_where_the_bundle_comes_from(exported: Exported) -> None:
    written = msgspec.json.decode((exported.path / "manifest.json").read_bytes(), type=Manifest)
    assert written == exported.manifest
    assert (written.spec, written.labels) == (exported.model.spec, LABELS)
    assert written.temperatures == dict.fromkeys(patterns(exported), 1.0)
    provenance = written.provenance
    assert (provenance.dataset, provenance.seed) == (DATASET, 5)
    assert provenance.memory == exported.model.config.adapter.memory
    assert {"rep-edge", "torch", "onnx", "onnxruntime"} <= set(provenance.versions)
    assert provenance.created.endswith("+00:00")


def test_progress_names_every_graph(exported: Exported) -> None:
    for name in patterns(exported):
        said = [line for line in exported.told if line.startswith(f"{name}: ")]
        assert [line for line in said if "equals the trained model within" in line and "34 windows" in line]


def external(path: Path, pattern: str) -> list[tuple[int, int]]:
    """(offset, length) of each tensor of a graph that lies in the weights file."""
    found = []
    for tensor in onnx.load(path / f"graphs/{pattern}.fp32.onnx", load_external_data=False).graph.initializer:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        if entries:
            assert entries["location"] == "weights.fp32.bin"
            found.append((int(entries["offset"]), int(entries["length"])))
    return found


def test_tensors_that_graphs_share_are_stored_once(exported: Exported) -> None:
    blob = (exported.path / "graphs/weights.fp32.bin").read_bytes()
    used = [place for name in patterns(exported) for place in external(exported.path, name)]
    stored = sorted(set(used))
    assert Counter(blob[offset : offset + length] for offset, length in stored).most_common(1)[0][1] == 1
    assert len(stored) < len(used)
    padded = sum(-(-length // 4096) * 4096 for _, length in stored)
    assert len(blob) <= padded < sum(-(-length // 4096) * 4096 for _, length in used)


def contents(arrays: list[NDArray[np.float32]]) -> set[bytes]:
    """Of large arrays, the same for a transposed or reshaped one."""
    return {np.sort(array, axis=None).tobytes() for array in arrays if array.size >= 64}


def tower_in(exported: Exported, tower: str, pattern: str) -> float:
    """Share of a tower's weights that stand in a graph as they were trained."""
    trained = contents([p.detach().numpy() for p in exported.model.encoder(tower).parameters()])
    tensors = graph(exported.path, pattern).graph.initializer
    return len(trained & contents([numpy_helper.to_array(tensor) for tensor in tensors])) / len(trained)


@pytest.mark.parametrize("kind", ["learned", "none", "none, three sensors"])
def test_the_tower_of_a_missing_sensor_is_gone(kind: str, exports: Exports) -> None:
    exported = exports[kind]
    for name, pattern in patterns(exported).items():
        for tower in exported.model.spec.names:
            assert (tower_in(exported, tower, name) > 0.5) == (tower in pattern)
            assert tower in pattern or tower_in(exported, tower, name) == 0


def test_what_fed_makes_depend_on_a_live_sensor_is_kept(exports: Exports) -> None:
    assert tower_in(exports["fed"], "acoustic", "seismic") > 0.2


class Quick(NamedTuple):
    """The model `none` to be exported anew, its graphs taken from its bundle instead of being traced."""

    exported: Exported
    patch: pytest.MonkeyPatch

    def export(self, out: Path) -> Manifest:
        source = Source(noise_windows(self.exported.model.spec, 6), DATASET)
        return export_bundle(self.exported.model, out, source, lambda _: None)

    def damage(self, pattern: str, change: Callable[[onnx.ModelProto], object]) -> None:
        """Change the graph of one pattern before it is checked."""

        def fold(model: onnx.ModelProto) -> onnx.ModelProto:
            if [value.name for value in model.graph.input] == pattern.split("+"):
                change(model)
            return model

        self.patch.setattr(exporting, "fold", fold)


@pytest.fixture
def quick(exports: Exports, monkeypatch: pytest.MonkeyPatch) -> Quick:
    exported = exports["none"]
    graphs = {name: graph(exported.path, name) for name in patterns(exported)}

    def to_onnx(module: PatternGraph) -> onnx.ModelProto:
        return deepcopy(graphs["+".join(module.names)])

    monkeypatch.setattr(exporting, "to_onnx", to_onnx)
    monkeypatch.setattr(exporting, "fold", lambda model: model)
    return Quick(exported, monkeypatch)


def refused(quick: Quick, out: Path) -> str:
    """The one line; nothing else lies beside `out` afterwards, not even a hidden folder."""
    before = sorted(out.parent.rglob("*"))
    with pytest.raises(InputError) as caught:
        quick.export(out)
    assert sorted(out.parent.rglob("*")) == before
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_same_graphs_make_the_same_files(quick: Quick, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    made = quick.export(tmp_path / "out")
    assert made.graphs == quick.exported.manifest.graphs
    assert made.weights == quick.exported.manifest.weights
    assert Classifier.load(tmp_path / "out").labels == LABELS


def test_a_folder_that_holds_something_is_left_alone(quick: Quick, tmp_path: Path) -> None:
    out = tmp_path / "out"
    quick.export(out)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert refused(quick, out) == f"{out}: is there already; choose another folder or remove it"
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_a_file_in_the_bundles_place_is_left_alone(quick: Quick, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    assert "is there already" in refused(quick, tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"


def test_a_folder_that_cannot_be_made(quick: Quick, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot be written" in refused(quick, tmp_path / "file" / "out")


def add_to_bias(model: onnx.ModelProto) -> None:
    """The classifier's bias, the only float tensor with an entry for each class."""
    floats = (tensor for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT)
    (tensor,) = (tensor for tensor in floats if list(tensor.dims) == [len(LABELS)])
    changed = numpy_helper.to_array(tensor) + np.array([0.01, 0, 0], np.float32)
    tensor.CopyFrom(numpy_helper.from_array(changed, tensor.name))


@pytest.mark.parametrize("pattern", ["acoustic+seismic", "seismic"])
def test_a_graph_that_differs_from_the_model(pattern: str, quick: Quick, tmp_path: Path) -> None:
    quick.damage(pattern, add_to_bias)
    message = refused(quick, tmp_path / "out")
    assert message.startswith(f"graph {pattern}: differs from the model by ")
    assert "nothing was written" in message


def test_a_limit_that_no_graph_keeps(quick: Quick, tmp_path: Path) -> None:
    quick.patch.setattr("rep_edge.export.parity.TOLERANCE", -1.0)
    assert "differs from the model" in refused(quick, tmp_path / "out")


def add_idle_node(model: onnx.ModelProto) -> None:
    node = next(node for node in model.graph.node if node.op_type == "MatMul")
    model.graph.node.insert(0, helper.make_node("Identity", [node.input[1]], ["idle"]))
    node.input[1] = "idle"


def test_a_graph_that_computes_a_constant(quick: Quick, tmp_path: Path) -> None:
    quick.damage("acoustic", add_idle_node)
    assert refused(quick, tmp_path / "out").startswith("graph acoustic: 1 nodes depend on no input")


def add_input(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("radar", onnx.TensorProto.FLOAT, ["batch", 1, 4]))


def test_a_graph_that_leaves_a_sensor_unread(quick: Quick, tmp_path: Path) -> None:
    quick.damage("acoustic+seismic", add_input)
    assert "graph acoustic+seismic: input radar is read by no node" in refused(quick, tmp_path / "out")


def test_a_full_disk(quick: Quick, tmp_path: Path) -> None:
    def no_space(*_: object) -> None:
        raise OSError(28, "No space left on device")

    quick.patch.setattr(os, "fsync", no_space)
    assert "No space left on device" in refused(quick, tmp_path / "out")


def test_an_export_that_is_interrupted_leaves_nothing(quick: Quick, tmp_path: Path) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    quick.patch.setattr(exporting, "check_parity", interrupt)
    with pytest.raises(KeyboardInterrupt):
        quick.export(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
