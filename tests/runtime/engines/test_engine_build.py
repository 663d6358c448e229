"""One builder for TensorRT 10, 11 and TensorRT for RTX; the last one builds in earnest here, without a GPU."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import onnx
import pytest
from bundles import make_bundle
from fake_tensorrt import GPU, Asked, Flag, Level, fake_tensorrt
from onnx import TensorProto, helper
from text_graph import text_graph

from rep_edge.errors import InputError
from rep_edge.runtime.engines import listening, targets
from rep_edge.runtime.engines.build import BatchRange, build_engine, parse_batch
from rep_edge.runtime.engines.library import TensorRT, find_tensorrt

BATCH = BatchRange(1, 2, 8)
GRAPH = "graphs/acoustic+seismic.fp32.onnx"


@pytest.fixture(scope="module")
def rtx() -> TensorRT:
    return find_tensorrt("tensorrt-rtx")


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "find_gpu", lambda: GPU)


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("toy") / "bundle") / GRAPH


def graph_with(operator: str, path: Path, shape: list[int | str], domain: str = "") -> Path:
    """A graph of one node, named "odd"."""
    node = helper.make_node(operator, ["acoustic"], ["logits"], name="odd", domain=domain)
    inputs = [helper.make_tensor_value_info("acoustic", TensorProto.FLOAT, shape)]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)]
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("foreign", 1)]
    made = helper.make_model(helper.make_graph([node], "odd", inputs, outputs), opset_imports=imports, ir_version=9)
    onnx.save(made, path)
    return path


@pytest.mark.parametrize("version", ["10.3.0.26", "10.13.2.6", "11.0.0.114", "11.4.1.2"])
def test_both_versions_of_tensorrt_get_a_strongly_typed_network(gpu: None, version: str) -> None:
    library, asked = fake_tensorrt(version)
    assert build_engine(library, Path("graph.onnx"), BATCH, None) == b"plan"
    assert asked.network_flags == [2 if version.startswith("10.") else 0]


@pytest.mark.parametrize("version", ["10.3.0.26", "11.4.1.2"])
def test_no_builder_flag_sets_a_precision_and_fp32_is_not_rounded(gpu: None, version: str) -> None:
    library, asked = fake_tensorrt(version)
    build_engine(library, Path("graph.onnx"), BATCH, None)
    assert asked.flags == set()


def test_every_input_takes_the_batch_range(gpu: None) -> None:
    library, asked = fake_tensorrt("10.3.0.26")
    build_engine(library, Path("graph.onnx"), BATCH, None)
    assert asked.shapes == {
        "acoustic": ((1, 1, 800), (2, 1, 800), (8, 1, 800)),
        "seismic": ((1, 1, 100), (2, 1, 100), (8, 1, 100)),
    }


def test_inputs_of_any_shape_take_it(gpu: None) -> None:
    library, asked = fake_tensorrt("10.3.0.26", inputs={"image": (3, 8, 8), "text": (77,)})
    build_engine(library, Path("graph.onnx"), BATCH, None)
    assert asked.shapes == {
        "image": ((1, 3, 8, 8), (2, 3, 8, 8), (8, 3, 8, 8)),
        "text": ((1, 77), (2, 77), (8, 77)),
    }


@pytest.mark.parametrize(
    ("target", "level"),
    [(None, Level.NONE), ("sm87", Level.SAME_COMPUTE_CAPABILITY), ("sm80+", Level.AMPERE_PLUS)],
)
def test_hardware_compatibility_is_what_the_target_says(gpu: None, target: str | None, level: Level) -> None:
    library, asked = fake_tensorrt("10.13.2.6")
    build_engine(library, Path("graph.onnx"), BATCH, target)
    assert asked.level is level


def test_tensorrt_builds_for_no_gpu_but_its_own(gpu: None) -> None:
    library, asked = fake_tensorrt("10.13.2.6")
    with pytest.raises(
        InputError, match=r"^sm89: is no target of tensorrt 10\.13\.2\.6 here; choose among sm87, sm80\+$"
    ):
        build_engine(library, Path("graph.onnx"), BATCH, "sm89")
    assert asked.graphs == []


def test_version_compatible_is_a_flag_of_tensorrt_alone(gpu: None, rtx: TensorRT, graph: Path) -> None:
    library, asked = fake_tensorrt("11.4.1.2")
    build_engine(library, Path("graph.onnx"), BATCH, None, version_compatible=True)
    assert asked.flags == {Flag.VERSION_COMPATIBLE}
    with pytest.raises(InputError, match=r"^tensorrt-rtx .* has no version-compatible engines; leave"):
        build_engine(rtx, graph, BATCH, "sm89", version_compatible=True)


def test_timings_are_kept_for_the_next_build(gpu: None, tmp_path: Path) -> None:
    library, asked = fake_tensorrt("10.3.0.26")
    file = tmp_path / "timings"
    for _ in range(2):
        build_engine(library, Path("graph.onnx"), BATCH, None, timing_cache=file)
    assert asked.timings == [b"", b"measured "]
    assert file.read_bytes() == b"measured measured "


def test_timings_that_the_library_refuses_are_replaced(gpu: None, tmp_path: Path) -> None:
    library, asked = fake_tensorrt("10.3.0.26", mismatched_timings=True)
    (tmp_path / "timings").write_bytes(b"of another GPU")
    build_engine(library, Path("graph.onnx"), BATCH, None, timing_cache=tmp_path / "timings")
    assert asked.timings == [b""]
    assert (tmp_path / "timings").read_bytes() == b"measured "


def test_a_failed_build_tells_the_reason_and_keeps_the_log(gpu: None, tmp_path: Path) -> None:
    library, _ = fake_tensorrt("10.3.0.26", plan=None)
    log = tmp_path / "logs" / "build.log"
    with pytest.raises(InputError) as caught:
        build_engine(library, Path("graph.onnx"), BATCH, None, log, timing_cache=tmp_path / "timings")
    assert str(caught.value) == (
        f"graph.onnx: tensorrt 10.3.0.26 cannot build an engine of it (out of memory); its log is {log}"
    )
    assert log.read_text() == "INFO: building\nERROR: out of\n  memory\n"
    assert not (tmp_path / "timings").exists()


def test_a_log_that_cannot_be_written_is_told_before_the_build(gpu: None, tmp_path: Path) -> None:
    library, asked = fake_tensorrt("10.3.0.26")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"build\.log: cannot be written"):
        build_engine(library, Path("graph.onnx"), BATCH, None, tmp_path / "file" / "build.log")
    assert asked.graphs == []


def test_a_long_build_says_what_it_does(gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "INTERVAL_S", 0.0)
    told: list[str] = []
    build_engine(fake_tensorrt("10.3.0.26")[0], Path("acoustic.fp16.onnx"), BATCH, None, None, told.append)
    assert told == ["acoustic.fp16: timing tactics, 0 s so far"]


def test_ctrl_c_ends_a_build(gpu: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library, _ = fake_tensorrt("10.3.0.26")
    asked = Asked()

    def interrupted(self: object, network: object, config: object) -> bytes:
        import os
        import signal

        os.kill(os.getpid(), signal.SIGINT)
        asked.graphs.append("goes on inside the library")
        return b"plan"

    monkeypatch.setattr(library.module.Builder, "build_serialized_network", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build_engine(library, Path("graph.onnx"), BATCH, None)
    assert asked.graphs
    build = threading.Thread(target=lambda: build_engine(fake_tensorrt("10.3.0.26")[0], Path("g"), BATCH, None))
    build.start()  # Signals belong to the main thread; a build outside it works too.
    build.join()


@pytest.mark.parametrize("target", ["sm86", "sm89", "sm120"])
def test_rtx_builds_without_a_gpu_and_finds_the_weights_beside_the_graph(
    rtx: TensorRT, graph: Path, tmp_path: Path, target: str
) -> None:
    plan = build_engine(rtx, graph, BATCH, target, tmp_path / "log")
    assert len(plan) > 1000
    assert "INFO" in (tmp_path / "log").read_text()
    assert "VERBOSE" not in (tmp_path / "log").read_text()


def test_rtx_engines_differ_by_target_and_not_by_run(rtx: TensorRT, graph: Path) -> None:
    ada, again, blackwell = (build_engine(rtx, graph, BATCH, target) for target in ("sm89", "sm89", "sm120"))
    assert ada == again
    assert ada != blackwell


def test_rtx_builds_what_a_text_tower_is_made_of(rtx: TensorRT, tmp_path: Path) -> None:
    """Ids in int64, the place of the end by ArgMax, its row by GatherND and GatherElements, a causal mask."""
    onnx.save(text_graph(), tmp_path / "text.onnx")
    assert len(build_engine(rtx, tmp_path / "text.onnx", BATCH, "sm89", tmp_path / "log")) > 1000
    assert "ERROR" not in (tmp_path / "log").read_text()
    logger = rtx.module.Logger(rtx.module.Logger.ERROR)
    network = rtx.module.Builder(logger).create_network(0)
    assert rtx.module.OnnxParser(network, logger).parse_from_file(str(tmp_path / "text.onnx"))
    # What a device then finds in the engine, and holds against the modality's dtype.
    assert network.get_input(0).dtype == rtx.module.DataType.INT64
    assert network.get_output(0).dtype == rtx.module.DataType.FLOAT


@pytest.mark.parametrize("version", ["10.3.0.26", "11.4.1.2"])
def test_an_input_that_a_graph_takes_shorter_too_is_whole_in_an_engine(gpu: None, version: str) -> None:
    library, asked = fake_tensorrt(version, inputs={"image": (3, 8, 8), "text": (-1,)})
    windows = {"image": (3, 8, 8), "text": (77,)}
    build_engine(library, Path("graph.onnx"), BATCH, None, windows=windows)
    assert asked.shapes["text"] == ((1, 77), (2, 77), (8, 77))
    assert asked.network_shapes == {"image": (-1, 3, 8, 8), "text": (-1, 77)}


def test_rtx_without_the_weights_file_says_so(rtx: TensorRT, graph: Path, tmp_path: Path) -> None:
    shutil.copy(graph, tmp_path)
    with pytest.raises(InputError, match=r"cannot read it \(.*initializer.*\); export the bundle again$"):
        build_engine(rtx, tmp_path / graph.name, BATCH, "sm89")


@pytest.mark.parametrize(("operator", "domain"), [("Det", ""), ("Frobnicate", "foreign")])
def test_a_refused_operator_is_named_with_its_node(rtx: TensorRT, tmp_path: Path, operator: str, domain: str) -> None:
    file = graph_with(operator, tmp_path / "odd.onnx", ["batch", 4, 4], domain)
    with pytest.raises(InputError) as caught:
        build_engine(rtx, file, BATCH, "sm89")
    message = str(caught.value)
    assert message.startswith(f"{file}: tensorrt-rtx {rtx.version} refuses the operator {operator} of the node 'odd' (")
    assert "\n" not in message


def test_a_file_that_is_no_graph_is_refused(rtx: TensorRT, tmp_path: Path) -> None:
    (tmp_path / "no.onnx").write_bytes(b"hello")
    with pytest.raises(InputError, match="is no graph with inputs and outputs"):
        build_engine(rtx, tmp_path / "no.onnx", BATCH, "sm89")


@pytest.mark.parametrize("target", ["sm90", "sm80+", "current", "89", ""])
def test_an_unknown_target_is_told_with_those_there_are(rtx: TensorRT, graph: Path, target: str) -> None:
    with pytest.raises(InputError, match=r"here; choose among sm75, .*sm86, sm89, .*sm120"):
        build_engine(rtx, graph, BATCH, target)


def test_rtx_for_the_gpu_of_this_machine_needs_one(rtx: TensorRT, graph: Path, tmp_path: Path) -> None:
    if Path("/dev/nvidiactl").exists():
        pytest.skip("there is a GPU")
    with pytest.raises(InputError, match=r"cannot build an engine of it \(.*CUDA driver"):
        build_engine(rtx, graph, BATCH, None)


@pytest.mark.parametrize("text", ["", "1", "1,2", "0,1,8", "2,1,8", "1,8,4", "a,b,c", "1,1,8,9", "1.5,2,8"])
def test_a_batch_range_that_does_not_rise_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="such as 1,1,8"):
        parse_batch(text)


def test_a_batch_range_is_read() -> None:
    assert parse_batch("1, 4,16") == BatchRange(1, 4, 16)
