"""Engines on TensorRT, as far as a machine without GPU can show it: the order of calls, the memory, the errors."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from agreement import BOUND, require_agreement
from bundles import PAIR, expected_logits, make_bundle, random_windows
from example_bundles import IMAGE, IMAGE_TEXT, TEXT, expected_outputs, random_examples
from fake_cuda import FakeCuda, install
from fake_runtime import GPU, DataType, Seen, Specialization, Strategy, Toy, fake_library, plan_of

from rep_edge.errors import InputError, MissingExtraError
from rep_edge.runtime.backends.driver import missing_driver
from rep_edge.runtime.backends.tensorrt import TensorRTBackend
from rep_edge.runtime.backends.tensorrt_runner import TensorRTRunner
from rep_edge.runtime.bundle import Bundle
from rep_edge.runtime.classifier import Classifier
from rep_edge.runtime.engines.build import BatchRange, build_engine
from rep_edge.runtime.engines.library import TensorRT, find_tensorrt

LIVE = PAIR.modalities
PICTURE_AND_TEXT = Toy(IMAGE_TEXT, lambda windows: expected_outputs({n: x[None] for n, x in windows.items()})[0])
LIBRARIES = [("tensorrt", "10.9.0.34"), ("tensorrt", "11.4.0.1"), ("tensorrt-rtx", "1.7.1.116")]
ONE_RUN = ["cudaMemcpyAsync", "cudaMemcpyAsync", "execute_async_v3", "cudaMemcpyAsync"]
without_driver = pytest.mark.skipif(missing_driver() is None, reason="a driver is there")


class Fake(NamedTuple):
    cuda: FakeCuda
    library: TensorRT
    seen: Seen

    def open(self, plan: bytes | None = None, kernels: Path | None = None) -> TensorRTRunner:
        return TensorRTRunner(self.library, plan or plan_of(PAIR.names), LIVE, "both in fp32", kernels)

    def nothing_is_left(self) -> bool:
        gc.collect()
        return not (self.cuda.live or self.cuda.memory or self.seen.alive)


@pytest.fixture(params=LIBRARIES, ids=lambda library: " ".join(library))
def fake(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Fake:
    cuda = install(monkeypatch)
    return Fake(cuda, *fake_library(cuda, *request.param))


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> Fake:
    cuda = install(monkeypatch)
    return Fake(cuda, *fake_library(cuda, *LIBRARIES[0]))


@pytest.fixture
def rtx(monkeypatch: pytest.MonkeyPatch) -> Fake:
    cuda = install(monkeypatch)
    return Fake(cuda, *fake_library(cuda, *LIBRARIES[2]))


def test_windows_go_through_pinned_memory_to_the_engine_and_back(fake: Fake) -> None:
    runner = fake.open()
    for seed in range(3):
        windows = random_windows(seed=seed)
        logits = runner.run({name: values[None] for name, values in windows.items()})
        np.testing.assert_allclose(logits, [expected_logits(windows)], rtol=1e-6)
        assert logits.dtype == np.float32
    runner.close()
    assert fake.nothing_is_left()


def test_several_windows_go_one_by_one(fake: Fake) -> None:
    runner = fake.open()
    windows = [random_windows(seed=seed) for seed in range(4)]
    logits = runner.run({name: np.stack([w[name] for w in windows]) for name in PAIR.names})
    np.testing.assert_allclose(logits, [expected_logits(w) for w in windows], rtol=1e-6)


def test_an_answer_stays_what_it_was_when_the_next_window_comes(fake: Fake) -> None:
    runner = fake.open()
    first = runner.run({name: values[None] for name, values in random_windows(seed=1).items()})
    before = first.copy()
    runner.run({name: values[None] for name, values in random_windows(seed=2).items()})
    np.testing.assert_array_equal(first, before)


@pytest.mark.parametrize("library", LIBRARIES, ids=" ".join)
def test_ids_go_as_int64_beside_pictures_in_float32(library: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = install(monkeypatch)
    fake = Fake(cuda, *fake_library(cuda, *library, PICTURE_AND_TEXT))
    runner = TensorRTRunner(fake.library, plan_of(IMAGE_TEXT.names), (IMAGE, TEXT), "both in fp32", None)
    for seed in range(3):
        windows = random_examples(count=2, seed=seed)
        np.testing.assert_allclose(runner.run(windows), expected_outputs(windows), rtol=1e-5, atol=1e-6)
    runner.close()
    assert fake.nothing_is_left()


def test_a_text_that_comes_cut_behind_its_end_is_made_whole_again(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = install(monkeypatch)
    fake = Fake(cuda, *fake_library(cuda, *LIBRARIES[0], PICTURE_AND_TEXT))
    runner = TensorRTRunner(fake.library, plan_of(["text"]), (TEXT,), "text in fp32", None)
    whole = np.array([[30, 3, 31, 0, 0, 0]])
    before = np.full((1, 6), 7)
    for ids, shown in ((before, before), (whole[:, :3], whole), (before[:, :1], [[7, 0, 0, 0, 0, 0]])):
        wanted = expected_outputs({"text": np.asarray(shown)})
        np.testing.assert_allclose(runner.run({"text": ids}), wanted, rtol=1e-5)


@pytest.mark.parametrize("kind", [DataType.INT32, DataType.FLOAT])
def test_an_engine_that_takes_ids_of_another_type_is_refused(kind: DataType, monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = install(monkeypatch)
    fake = Fake(cuda, *fake_library(cuda, *LIBRARIES[0], PICTURE_AND_TEXT))
    fake.seen.dtypes = {"text": kind}
    with pytest.raises(InputError) as caught:
        TensorRTRunner(fake.library, plan_of(["text"]), (TEXT,), "text in fp32", None)
    assert str(caught.value) == f"text in fp32: the engine has text in {kind} instead of int64; export the bundle again"
    del caught
    assert fake.nothing_is_left()


def test_plain_tensorrt_launches_one_graph_for_each_window(plain: Fake) -> None:
    runner = plain.open()
    assert runner.note == ""
    made = plain.cuda.calls
    begin = made.index("cudaStreamBeginCapture")
    warm = [*ONE_RUN, "cudaStreamSynchronize"]
    assert made[begin - len(warm) : begin] == warm
    assert made[begin + 1 :] == [*ONE_RUN, "cudaStreamEndCapture", "cudaGraphInstantiate", "cudaGraphDestroy"]
    made.clear()
    runner.run({name: values[None] for name, values in random_windows().items()})
    assert made == ["cudaGraphLaunch", "cudaStreamSynchronize"]
    made.clear()
    runner.close()
    assert made[0] == "cudaGraphExecDestroy"
    assert made[-1] == "cudaStreamDestroy"
    assert sorted(made[1:-1]) == ["cudaFree"] * 3 + ["cudaFreeHost"] * 3


def test_tensorrt_for_rtx_makes_its_own_graph(rtx: Fake) -> None:
    runner = rtx.open()
    assert runner.note == ""
    assert rtx.seen.strategies == [(Strategy.WHOLE_GRAPH_CAPTURE, Specialization.EAGER)]
    assert "cudaStreamBeginCapture" not in rtx.cuda.calls
    rtx.cuda.calls.clear()
    runner.run({name: values[None] for name, values in random_windows().items()})
    assert rtx.cuda.calls == [*ONE_RUN, "cudaStreamSynchronize"]


def test_engines_for_later_versions_may_bring_their_own_code_where_there_are_such(fake: Fake) -> None:
    fake.open()
    assert fake.seen.host_code_allowed == (fake.library.backend == "tensorrt")


@pytest.mark.parametrize("fault", ["refused by the stream", "refused by the graph", "not capturable", "cannot begin"])
def test_where_nothing_can_be_captured_it_runs_and_says_why(monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    cuda = install(monkeypatch)
    fake = Fake(cuda, *fake_library(cuda, "tensorrt", "11.4.0.1"))
    if fault == "refused by the stream":
        cuda.capturable = False
    elif fault == "refused by the graph":
        cuda.failing["cudaGraphInstantiate"] = 0
    elif fault == "cannot begin":
        cuda.failing["cudaStreamBeginCapture"] = 0
    else:
        fake.seen.capturable = False
    runner = fake.open()
    assert runner.note.startswith("no CUDA graph: ")
    windows = random_windows()
    logits = runner.run({name: values[None] for name, values in windows.items()})
    np.testing.assert_allclose(logits, [expected_logits(windows)], rtol=1e-6)
    assert "cudaGraphLaunch" not in cuda.calls
    runner.close()
    assert fake.nothing_is_left()


def test_an_engine_that_fails_while_it_is_captured_leaves_the_stream_usable(plain: Fake) -> None:
    plain.seen.runs_fail_after = 1
    runner = plain.open()
    assert runner.note == "no CUDA graph: both in fp32: the engine does not run; build it again with  rep-edge compile"
    assert plain.cuda.capturing is None
    plain.seen.runs_fail_after = -1
    windows = random_windows()
    logits = runner.run({name: values[None] for name, values in windows.items()})
    np.testing.assert_allclose(logits, [expected_logits(windows)], rtol=1e-6)


CALLS = [("cudaStreamCreateWithFlags", 0), ("cudaStreamSynchronize", 0)]
CALLS += [(call, works) for call in ("cudaMallocHost", "cudaMalloc", "cudaMemcpyAsync") for works in (0, 1, 2)]


@pytest.mark.parametrize(("call", "works"), CALLS)
def test_a_call_that_fails_at_the_start_is_named_and_nothing_is_left(fake: Fake, call: str, works: int) -> None:
    fake.cuda.failing[call] = works
    with pytest.raises(InputError, match=f"^{call}: cudaError") as caught:
        fake.open()
    assert "\n" not in str(caught.value)
    assert fake.cuda.calls.count(call) == works + 1
    del caught
    assert fake.nothing_is_left()


def test_a_call_that_fails_in_a_run_is_named(plain: Fake) -> None:
    runner = plain.open()
    plain.cuda.failing["cudaGraphLaunch"] = 0
    with pytest.raises(InputError, match=r"^cudaGraphLaunch: cudaErrorInvalidValue, invalid argument; run"):
        runner.run({name: values[None] for name, values in random_windows().items()})


def test_what_the_engine_is_not(fake: Fake) -> None:
    with pytest.raises(InputError, match="cannot open the engine") as caught:
        fake.open(b"something else")
    library = f"{fake.library.backend} {fake.library.version}"
    assert str(caught.value) == (
        f"both in fp32: {library} cannot open the engine (the magic tag is another one); "
        "build it again with  rep-edge compile"
    )
    with pytest.raises(InputError, match="has acoustic, logits instead of acoustic, logits, seismic"):
        fake.open(plan_of(["acoustic"]))
    for name in ("acoustic", "logits"):
        fake.seen.dtypes = {name: DataType.HALF}
        with pytest.raises(
            InputError, match=rf"the engine has {name} in \S*HALF instead of float32; export the bundle"
        ):
            fake.open()
    fake.seen.dtypes = {}
    fake.seen.shape = (1, 2, 3)
    with pytest.raises(InputError, match=r"gives \[1, 2, 3\] for one window"):
        fake.open()
    fake.seen.no_context = True
    with pytest.raises(InputError, match="makes no execution context"):
        fake.open()
    del caught
    assert fake.nothing_is_left()


def test_closing_twice_frees_once_and_so_does_forgetting(fake: Fake) -> None:
    runner = fake.open()
    runner.close()
    runner.close()
    assert fake.nothing_is_left()
    runner = fake.open()
    del runner
    assert fake.nothing_is_left()


def test_a_call_that_fails_while_freeing_leaves_the_rest_freed(plain: Fake) -> None:
    runner = plain.open()
    plain.cuda.failing["cudaGraphExecDestroy"] = 0
    with pytest.raises(InputError, match="cudaGraphExecDestroy"):
        runner.close()
    assert list(plain.cuda.live.values()) == ["cudaGraphInstantiate"]


def test_kernels_are_kept_for_the_next_start(rtx: Fake, tmp_path: Path) -> None:
    file = tmp_path / "cache" / "a.kernels"
    rtx.open(kernels=file).close()
    assert (rtx.seen.given, file.read_bytes()) == ([], b"kernels")
    written = file.stat().st_mtime_ns
    rtx.open(kernels=file).close()
    assert (rtx.seen.given, file.stat().st_mtime_ns) == ([b"kernels"], written)
    rtx.seen.kernels = b"of another driver"
    rtx.open(kernels=file).close()
    assert file.read_bytes() == b"of another driver"
    assert rtx.nothing_is_left()


def test_kernels_that_cannot_be_kept_are_a_note(rtx: Fake, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    runner = rtx.open(kernels=tmp_path / "file" / "a.kernels")
    assert runner.note.startswith("kernels are compiled at every start: ")
    assert "file: cannot be written" in runner.note


def test_kernels_that_others_may_have_put_there_are_not_taken(rtx: Fake, tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o777)
    (folder / "a.kernels").write_bytes(b"kernels")
    runner = rtx.open(kernels=folder / "a.kernels")
    assert rtx.seen.given == []
    assert "others may write into it" in runner.note
    windows = random_windows()
    logits = runner.run({name: values[None] for name, values in windows.items()})
    np.testing.assert_allclose(logits, [expected_logits(windows)], rtol=1e-6)


def test_plain_tensorrt_keeps_no_kernels(plain: Fake, tmp_path: Path) -> None:
    plain.open(kernels=tmp_path / "a.kernels").close()
    assert list(tmp_path.iterdir()) == []


def test_a_classifier_on_engines_says_what_one_on_the_cpu_says(
    fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def find(bundle: Bundle, pattern: str, precision: str, library: TensorRT, gpu: object, cache: Path) -> bytes:
        asked.append((pattern, precision, library.backend, gpu, cache))
        return plan_of(name for name in PAIR.names if name in pattern.split("+"))

    place = "rep_edge.runtime.backends.tensorrt"
    monkeypatch.setattr(f"{place}.require_driver", lambda name: None)
    monkeypatch.setattr(f"{place}.find_tensorrt", lambda name: fake.library)
    monkeypatch.setattr(f"{place}.find_gpu", lambda: GPU)
    monkeypatch.setattr(f"{place}.find_engine", find)
    monkeypatch.setenv("REP_EDGE_CACHE", str(tmp_path / "cache"))
    path = make_bundle(tmp_path / "bundle")
    engines = Classifier.load(path, backend=fake.library.backend)
    reference = Classifier.load(path, backend="onnxruntime-cpu")
    assert (engines.backend, engines.precision) == (fake.library.backend, "fp32")
    assert {entry[2:] for entry in asked} == {(fake.library.backend, GPU, tmp_path / "cache")}
    windows = [{name: random_windows(seed=s)[name] for name in p} for s in range(5) for p in PAIR.patterns()]
    require_agreement([engines(w) for w in windows], [reference(w) for w in windows], BOUND["fp32"])
    engines.close()
    assert fake.nothing_is_left()


def test_the_fakes_have_no_call_that_the_packages_lack() -> None:
    runtime = pytest.importorskip("cuda.bindings.runtime")
    for name in (name for name in vars(FakeCuda) if name.startswith("cuda")):
        assert hasattr(runtime, name), name
    for kind in ("cudaError_t", "cudaMemcpyKind", "cudaStreamCaptureMode"):
        for member in getattr(FakeCuda, kind):
            assert int(getattr(getattr(runtime, kind), member.name)) == int(member), member
    rtx = pytest.importorskip("tensorrt_rtx")
    for kind, names in {
        "Runtime": ("deserialize_cuda_engine",),
        "ICudaEngine": ("num_io_tensors", "get_tensor_name", "get_tensor_dtype", "create_runtime_config"),
        "IExecutionContext": (
            *("set_input_shape", "set_tensor_address", "get_tensor_shape", "execute_async_v3"),
            "is_stream_capturable",
        ),
        "IRuntimeConfig": (
            *("cuda_graph_strategy", "dynamic_shapes_kernel_specialization_strategy"),
            *("create_runtime_cache", "set_runtime_cache"),
        ),
        "IRuntimeCache": ("serialize", "deserialize"),
        "CudaGraphStrategy": ("WHOLE_GRAPH_CAPTURE",),
        "DynamicShapesKernelSpecializationStrategy": ("EAGER",),
        "DataType": ("FLOAT", "INT64"),
    }.items():
        for name in names:
            assert hasattr(getattr(rtx, kind), name), f"{kind}.{name}"


@without_driver
@pytest.mark.parametrize("name", ["tensorrt", "tensorrt-rtx"])
def test_without_a_driver_one_line_says_so(name: str) -> None:
    with pytest.raises(InputError, match=f"^{name}: no NVIDIA driver ") as caught:
        TensorRTBackend(name)
    assert "\n" not in str(caught.value)


@without_driver
def test_the_real_library_without_a_driver_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorrt_rtx")
    library = find_tensorrt("tensorrt-rtx")
    graph = make_bundle(tmp_path / "bundle") / "graphs/acoustic+seismic.fp32.onnx"
    plan = build_engine(library, graph, BatchRange(1, 1, 1), "sm89")
    with pytest.raises(InputError, match=r"^cudaStreamCreateWithFlags: cudaError\w+, ") as refused:
        TensorRTRunner(library, plan, LIVE, "both in fp32", None)
    install(monkeypatch)
    with pytest.raises(InputError, match=r"^both in fp32: tensorrt-rtx [\d.]+ cannot open the engine \(.*CUDA") as told:
        TensorRTRunner(library, plan, LIVE, "both in fp32", None)
    with pytest.raises(InputError, match="incompatible serialization version"):
        TensorRTRunner(library, b"x" * 4096, LIVE, "both in fp32", None)
    assert not any("\n" in str(caught.value) for caught in (refused, told))


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = install(monkeypatch)
    library, _ = fake_library(cuda)
    monkeypatch.setitem(__import__("sys").modules, "cuda.bindings", None)
    with pytest.raises(MissingExtraError, match="cuda-bindings is not installed"):
        TensorRTRunner(library, b"", LIVE, "both in fp32", None)
