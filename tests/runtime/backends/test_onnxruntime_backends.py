"""ONNX Runtime's providers: what starts here runs, what does not is one line, and the CPU never stands in unasked."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest
from agreement import BOUND, require_agreement
from bundles import PAIR, expected_logits, make_bundle, random_windows
from onnx import TensorProto, helper, numpy_helper
from precisions import make_bundle_in

from rep_edge.errors import InputError, MissingExtraError
from rep_edge.runtime.backends import gpu_sessions, onnxruntime_rtx, sessions
from rep_edge.runtime.backends.driver import missing_driver
from rep_edge.runtime.backends.onnxruntime import OnnxRuntimeBackend
from rep_edge.runtime.backends.sessions import open_session, session_options
from rep_edge.runtime.bundle import open_bundle
from rep_edge.runtime.choosing import GPU_BACKENDS, start_backend
from rep_edge.runtime.classifier import Classifier
from rep_edge.runtime.processor import int8_saturates

without_driver = pytest.mark.skipif(missing_driver() is None, reason="a driver is there")
CPU = "CPUExecutionProvider"


class Session:
    """What ONNX Runtime would give for a session on a GPU; it computes on the CPU."""

    def __init__(self, graph: Path, providers: list[str], took: list[str]) -> None:
        self._session = onnxruntime.InferenceSession(graph, providers=[CPU])
        self._providers, self._took = providers, took

    def get_providers(self) -> list[str]:
        return self._providers

    def get_provider_graph_assignment_info(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(ep_name=name) for name in self._took]

    def run(self, *arguments: Any) -> Any:
        return self._session.run(*arguments)


class FakeRuntime:
    """onnxruntime-gpu, or onnxruntime with a plugin. quiet: what it falls back to without a word."""

    __version__ = "1.32.0"
    GraphOptimizationLevel = onnxruntime.GraphOptimizationLevel

    def __init__(self, *providers: str, quiet: bool = False, took: Sequence[str] | None = None) -> None:
        self.providers, self.quiet = [*providers, CPU], quiet
        self.took = list(took or providers)
        self.asked: list[Any] = []
        self.kept: dict[str, Any] = {}
        self.devices = [SimpleNamespace(ep_name=CPU)]
        self.registered: list[str] = []

    def SessionOptions(self) -> Any:  # noqa: N802
        entries: dict[str, str] = {}
        options = SimpleNamespace(entries=entries, plugin=[])
        options.add_session_config_entry = entries.__setitem__
        options.add_provider_for_devices = lambda devices, given: options.plugin.append((devices, given))
        return options

    def InferenceSession(self, graph: Path, options: Any, providers: Any, **kwargs: Any) -> Session:  # noqa: N802
        assert kwargs == {"enable_fallback": 0}, "a provider that fails in a run would be replaced by the CPU"
        if providers is None:
            (devices, given) = options.plugin[0]
            providers = [(devices[0].ep_name, given)]
        self.asked.append((graph, providers))
        names = [CPU] if self.quiet else [*(p if isinstance(p, str) else p[0] for p in providers), CPU]
        return Session(graph, names, self.took)

    def get_available_providers(self) -> list[str]:
        return self.providers

    def get_ep_devices(self) -> list[Any]:
        return self.devices

    def register_execution_provider_library(self, name: str, path: str) -> None:
        self.registered.append(path)
        self.devices.append(SimpleNamespace(ep_name=name))


GPU_BUILDS = {"onnxruntime-cuda": "CUDAExecutionProvider", "onnxruntime-tensorrt": "TensorrtExecutionProvider"}


def put(patch: pytest.MonkeyPatch, runtime: FakeRuntime, tmp_path: Path) -> None:
    """A machine with a driver and this ONNX Runtime."""
    for module in (gpu_sessions, onnxruntime_rtx):
        patch.setattr(module, "require_driver", lambda name: None)
    patch.setattr(gpu_sessions, "find_onnxruntime", lambda extra: runtime)
    patch.setattr(onnxruntime_rtx, "find_onnxruntime", lambda extra: runtime)
    patch.setenv("REP_EDGE_CACHE", str(tmp_path / "cache"))


def agrees(path: Path, backend: str) -> None:
    """Says what the CPU says."""
    made, reference = Classifier.load(path, backend=backend), Classifier.load(path, backend="onnxruntime-cpu")
    assert made.backend == backend
    windows = [{name: random_windows(seed=s)[name] for name in p} for s in range(3) for p in PAIR.patterns()]
    require_agreement([made(w) for w in windows], [reference(w) for w in windows], BOUND["fp32"])


def test_the_cuda_provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = FakeRuntime("CUDAExecutionProvider")
    put(monkeypatch, runtime, tmp_path)
    agrees(make_bundle(tmp_path / "bundle"), "onnxruntime-cuda")
    (_, ((name, options),)) = runtime.asked[0]
    assert (name, options["use_tf32"]) == ("CUDAExecutionProvider", "0")


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_the_tensorrt_provider_keeps_its_engines_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    runtime = FakeRuntime("TensorrtExecutionProvider", "CUDAExecutionProvider")
    put(monkeypatch, runtime, tmp_path)
    path = make_bundle_in(tmp_path / "bundle", "fp16", "int8")
    Classifier.load(path, backend="onnxruntime-tensorrt", precision=precision)
    folders = set()
    for graph, (tensorrt, cuda) in runtime.asked:
        assert f".{precision}." in graph.name
        assert (tensorrt[0], cuda[0]) == ("TensorrtExecutionProvider", "CUDAExecutionProvider")
        flags = tensorrt[1]["trt_fp16_enable"], tensorrt[1]["trt_int8_enable"]
        assert flags == (str(int(precision == "fp16")), str(int(precision == "int8")))
        folders.add(Path(tensorrt[1]["trt_engine_cache_path"]))
    assert len(folders) == 3
    assert all(folder.is_dir() and folder.is_relative_to(tmp_path / "cache") for folder in folders)


def test_the_plugin_provider_is_registered_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = SimpleNamespace(get_ep_name=lambda: "NvTensorRTRTXExecutionProvider", get_library_path=lambda: "nv.so")
    monkeypatch.setitem(sys.modules, "onnxruntime_ep_nv_tensorrt_rtx", plugin)
    runtime = FakeRuntime(took=["NvTensorRTRTXExecutionProvider"])
    put(monkeypatch, runtime, tmp_path)
    path = make_bundle(tmp_path / "bundle")
    agrees(path, "onnxruntime-rtx")
    agrees(path, "onnxruntime-rtx")
    assert runtime.registered == ["nv.so"]
    (_, ((name, options),)) = runtime.asked[0]
    assert name == "NvTensorRTRTXExecutionProvider"
    assert Path(options["nv_runtime_cache_path"]).is_relative_to(tmp_path / "cache")


@pytest.mark.parametrize("backend", GPU_BUILDS)
def test_the_quiet_return_to_the_cpu_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str) -> None:
    provider = GPU_BUILDS[backend]
    put(monkeypatch, FakeRuntime(provider, quiet=True), tmp_path)
    with pytest.raises(InputError, match=f"^{provider}: did not start, ONNX Runtime would have used CPUExec"):
        Classifier.load(make_bundle(tmp_path / "bundle"), backend=backend)


@pytest.mark.parametrize("backend", GPU_BUILDS)
def test_a_provider_that_takes_no_part_of_the_graph_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    provider = GPU_BUILDS[backend]
    put(monkeypatch, FakeRuntime(provider, took=[CPU]), tmp_path)
    with pytest.raises(InputError, match=f"^{provider}: takes no part of .*seismic.fp32.onnx"):
        Classifier.load(make_bundle(tmp_path / "bundle"), backend=backend)


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_the_real_onnx_runtime_does_return_to_the_cpu_and_is_caught(tmp_path: Path) -> None:
    graph = make_bundle(tmp_path / "bundle") / "graphs/seismic.fp32.onnx"
    options = session_options(onnxruntime, 1)
    plain = onnxruntime.InferenceSession(graph, options, providers=["CUDAExecutionProvider"])
    if plain.get_providers()[0] != CPU:
        pytest.skip("CUDA starts here")
    with pytest.raises(InputError, match=r"^CUDAExecutionProvider: did not start"):
        open_session(onnxruntime, graph, options, "CUDAExecutionProvider", ["CUDAExecutionProvider"])


@pytest.mark.parametrize("backend", GPU_BUILDS)
def test_a_plain_onnx_runtime_has_no_such_provider(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    put(monkeypatch, FakeRuntime(), tmp_path)
    with pytest.raises(InputError, match=f"^{backend}: the onnxruntime that is installed has no ") as caught:
        start_backend(backend)
    assert 'pip install "rep-edge[gpu]"' in str(caught.value)


@without_driver
@pytest.mark.parametrize("backend", GPU_BACKENDS)
def test_without_a_driver_every_gpu_backend_says_so_and_loads_nothing(backend: str) -> None:
    before = set(sys.modules)
    with pytest.raises(InputError, match=f"^{backend}: no NVIDIA driver ") as caught:
        start_backend(backend)
    assert "\n" not in str(caught.value)
    loaded = {name.partition(".")[0] for name in set(sys.modules) - before}
    assert not loaded & {"tensorrt", "tensorrt_rtx", "cuda", "onnxruntime_ep_nv_tensorrt_rtx"}


@without_driver
def test_the_real_plugin_without_a_driver_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime_ep_nv_tensorrt_rtx")
    monkeypatch.setattr(onnxruntime_rtx, "require_driver", lambda name: None)
    with pytest.raises(InputError, match=r"^onnxruntime-rtx: the NVIDIA driver is missing \(libcuda\.so") as caught:
        start_backend("onnxruntime-rtx")
    assert "\n" not in str(caught.value)


def test_a_plugin_that_cannot_be_loaded_and_one_without_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = SimpleNamespace(get_ep_name=lambda: "Nv", get_library_path=lambda: "nv.so")
    monkeypatch.setitem(sys.modules, "onnxruntime_ep_nv_tensorrt_rtx", plugin)
    runtime = FakeRuntime()
    put(monkeypatch, runtime, tmp_path)

    def fail(name: str, path: str) -> None:
        raise RuntimeError("[ONNXRuntimeError] : 1 : FAIL : Failed to load library nv.so with error: no such symbol")

    monkeypatch.setattr(runtime, "register_execution_provider_library", fail)
    with pytest.raises(InputError, match=r"^onnxruntime-rtx: the plugin cannot be loaded \(no such symbol\); install"):
        start_backend("onnxruntime-rtx")
    monkeypatch.setattr(runtime, "register_execution_provider_library", lambda name, path: None)
    with pytest.raises(InputError, match=r"^onnxruntime-rtx: the plugin knows no GPU here"):
        start_backend("onnxruntime-rtx")
    monkeypatch.setitem(sys.modules, "onnxruntime_ep_nv_tensorrt_rtx", None)
    with pytest.raises(MissingExtraError, match=r"onnxruntime-ep-nv-tensorrt-rtx is not installed.*rep-edge\[rtx\]"):
        start_backend("onnxruntime-rtx")


def test_the_plugin_does_not_stand_beside_the_gpu_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(monkeypatch, FakeRuntime(), tmp_path)
    versions = {"onnxruntime-ep-nv-tensorrt-rtx": "0.5.0", "onnxruntime-gpu": "1.32.0"}
    monkeypatch.setattr(onnxruntime_rtx, "installed", lambda *names: {n: v for n, v in versions.items() if n in names})
    words = "onnxruntime-ep-nv-tensorrt-rtx 0.5.0 stands beside onnxruntime-gpu 1.32.0"
    with pytest.raises(InputError, match=f"^{words} and needs a plain onnxruntime; run  pip uninstall"):
        start_backend("onnxruntime-rtx")


def test_two_builds_are_refused_by_every_backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "version", lambda name: "1.30")
    monkeypatch.setattr(gpu_sessions, "require_driver", lambda name: None)
    for backend in ("onnxruntime-cpu", *GPU_BUILDS):
        with pytest.raises(InputError, match=r"onnxruntime 1.30 and onnxruntime-gpu 1.30 are installed"):
            start_backend(backend)


def test_only_int8_weights_are_prepacked_unless_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = FakeRuntime()
    entries: dict[str, dict[str, str]] = {}

    def opened(graph: Path, options: Any, **kwargs: Any) -> Session:
        entries[graph.name.split(".")[1]] = dict(options.entries)
        return Session(graph, [CPU], [CPU])

    monkeypatch.setattr(runtime, "InferenceSession", opened)
    monkeypatch.setattr("rep_edge.runtime.backends.onnxruntime.find_onnxruntime", lambda extra: runtime)
    bundle = open_bundle(make_bundle_in(tmp_path / "bundle", "fp16", "int8"))
    for precision in ("fp32", "fp16", "int8"):
        OnnxRuntimeBackend().open(bundle, "acoustic", precision)
    key = "session.disable_prepacking"
    assert [entries[precision].get(key) for precision in ("fp32", "fp16", "int8")] == ["1", "1", None]
    OnnxRuntimeBackend(prepack=True).open(bundle, "acoustic", "fp32")
    assert key not in entries["fp32"]


def test_a_closed_session_is_given_back(tmp_path: Path) -> None:
    runner = OnnxRuntimeBackend().open(open_bundle(make_bundle(tmp_path / "bundle")), "seismic", "fp32")
    window = random_windows()["seismic"]
    np.testing.assert_allclose(
        runner.run({"seismic": window[None]})[0], expected_logits({"seismic": window}), rtol=1e-4
    )
    runner.close()
    runner.close()
    with pytest.raises(InputError, match="cannot be run"):
        runner.run({"seismic": window[None]})


def write_large_int8_product(path: Path) -> None:
    """logits = x @ ones, in int8 with explicit Q/DQ, scale 1: the largest numbers that int8 holds, 64 of them."""
    scale, zero = numpy_helper.from_array(np.float32(1), "scale"), numpy_helper.from_array(np.int8(0), "zero")
    weight = numpy_helper.from_array(np.full((64, 3), 127, np.int8), "weight")
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"]),
        helper.make_node("DequantizeLinear", ["weight", "scale", "zero"], ["w"]),
        helper.make_node("MatMul", ["d", "w"], ["logits"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 64])
    y = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3])
    graph = helper.make_graph(nodes, "large", [x], [y], [scale, zero, weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    path.write_bytes(model.SerializeToString())


def test_int8_is_right_on_every_processor(tmp_path: Path) -> None:
    write_large_int8_product(tmp_path / "large.onnx")
    runner = OnnxRuntimeBackend().open_file(tmp_path / "large.onnx", "int8")
    found = runner.run({"x": np.full((2, 64), 127, np.float32)})
    assert (found == 64 * 127 * 127).all()
    assert bool(runner.note) == int8_saturates()
