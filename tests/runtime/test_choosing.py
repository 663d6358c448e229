"""What is tried, in which order, and why: nothing that was asked for by name is ever replaced."""

from __future__ import annotations

from pathlib import Path

import pytest
from bundles import make_bundle
from precisions import make_bundle_in

from rep_edge.errors import InputError, MissingExtraError
from rep_edge.runtime import choosing, processor
from rep_edge.runtime import classifier as classifying
from rep_edge.runtime.backends.base import Backend
from rep_edge.runtime.backends.onnxruntime import OnnxRuntimeBackend
from rep_edge.runtime.bundle import Bundle, open_bundle
from rep_edge.runtime.choosing import BACKENDS, GPU_BACKENDS, Wish, find_candidates, start_backend
from rep_edge.runtime.classifier import Classifier
from rep_edge.runtime.processor import fast_int8, int8_saturates, processor_name

NO_DRIVER = "no NVIDIA driver (libcuda.so.1 is not there)"
X86 = "processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: fpu vme {} sse2\n\nprocessor\t: 1\nflags\t: fpu\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd {} crc32\n\nModel\t\t: Raspberry Pi 5\n"


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choosing, "missing_driver", lambda: None)


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choosing, "missing_driver", lambda: NO_DRIVER)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    """By the precisions that they have beside fp32."""
    folder = tmp_path_factory.mktemp("bundles")
    made = {"": (), "fp16": ("fp16",), "int8": ("int8",), "all": ("fp16", "int8")}
    return {name: open_bundle(make_bundle_in(folder / f"b{name}", *some)) for name, some in made.items()}


def cpu_with(patch: pytest.MonkeyPatch, tmp_path: Path, text: str) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    patch.setattr(processor, "CPUINFO", tmp_path / "cpuinfo")


def tried(bundle: Bundle, wish: Wish) -> list[tuple[str, str]]:
    return [(candidate.backend, candidate.precision) for candidate in find_candidates(bundle, wish).tried]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (X86.format("avx512_vnni"), "AVX-512 VNNI"),
        (X86.format("avx_vnni"), "AVX VNNI"),
        (X86.format("avx2 avx512f avx512bw"), None),
        (X86.format("avx512_vnni_of_another_kind"), None),
        (ARM.format("asimddp"), "int8 dot products"),
        (ARM.format("i8mm asimddp"), "int8 matrix products"),
        (ARM.format("asimdhp"), None),
        ("", None),
    ],
)
def test_instructions_for_int8(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, found: str | None) -> None:
    cpu_with(monkeypatch, tmp_path, text)
    assert fast_int8() == found


@pytest.mark.parametrize(
    ("told", "machine", "saturates"),
    [
        (X86.format("avx2"), "x86_64", True),
        (X86.format("avx512_vnni"), "x86_64", False),
        (ARM.format("asimddp"), "aarch64", False),
        (ARM.format("asimd"), "aarch64", False),
    ],
)
def test_int8_saturates_on_x86_before_vnni_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str, machine: str, saturates: bool
) -> None:
    (tmp_path / "cpuinfo").write_text(told)
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(processor.platform, "machine", lambda: machine)
    assert int8_saturates() == saturates


def test_the_processors_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpu_with(monkeypatch, tmp_path, X86)
    assert processor_name() == "Some CPU"
    cpu_with(monkeypatch, tmp_path, ARM)
    assert processor_name() == "Raspberry Pi 5"
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "none")
    assert processor_name()
    assert fast_int8() is None


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize(
    ("has", "flags", "precision", "why"),
    [
        ("", "avx_vnni", "fp32", "the bundle has no int8 graphs"),
        ("fp16", "avx_vnni", "fp32", "the bundle has no int8 graphs"),
        ("int8", "avx_vnni", "int8", "this processor has AVX VNNI"),
        ("all", "avx512_vnni", "int8", "this processor has AVX-512 VNNI"),
        ("all", "avx2", "fp32", "this processor has no instructions for int8 products"),
    ],
)
def test_on_a_cpu(
    bundles: dict[str, Bundle],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    has: str,
    flags: str,
    precision: str,
    why: str,
) -> None:
    cpu_with(monkeypatch, tmp_path, X86.format(flags))
    found = find_candidates(bundles[has], Wish())
    assert found.tried == (("onnxruntime-cpu", precision, why),)
    assert found.passed_over == (NO_DRIVER,)


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize(("has", "precision"), [("", "fp32"), ("int8", "fp32"), ("fp16", "fp16"), ("all", "fp16")])
def test_with_a_driver_every_gpu_backend_comes_first(
    bundles: dict[str, Bundle], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has: str, precision: str
) -> None:
    cpu_with(monkeypatch, tmp_path, X86.format("avx2"))
    expected = [(name, precision) for name in GPU_BACKENDS]
    assert tried(bundles[has], Wish()) == [*expected, ("onnxruntime-cpu", "fp32")]
    assert tried(bundles[has], Wish(require_gpu=True)) == expected
    assert " ".join(GPU_BACKENDS) == "tensorrt-rtx tensorrt onnxruntime-rtx onnxruntime-tensorrt onnxruntime-cuda"


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_what_was_asked_for_is_all_that_is_tried(bundles: dict[str, Bundle], backend: str, precision: str) -> None:
    found = find_candidates(bundles["all"], Wish(backend, precision))
    assert found == (((backend, precision, f"{precision} was asked for"),), ())
    assert {p for _, p in tried(bundles["all"], Wish(precision=precision))} == {precision}


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        (Wish("cuda"), "backend 'cuda': is none; choose auto or one of tensorrt-rtx, tensorrt, onnxruntime-rtx"),
        (Wish("onnxruntime-cpu", "bf16"), "precision 'bf16': is none; choose auto or one of fp32, fp16, int8"),
        (Wish(precision="int8"), "has no int8 graphs, only fp32, fp16; make them with  rep-edge calibrate"),
        (Wish("onnxruntime-cpu", require_gpu=True), "onnxruntime-cpu: is no GPU, and one is required"),
    ],
)
def test_what_cannot_be_had(bundles: dict[str, Bundle], wish: Wish, words: str) -> None:
    with pytest.raises(InputError) as caught:
        find_candidates(bundles["fp16"], wish)
    assert words in str(caught.value)
    with pytest.raises(InputError) as again:
        Classifier.load(bundles["fp16"].path, **wish._asdict())
    assert str(again.value) == str(caught.value)


def test_a_backend_that_is_none_does_not_start() -> None:
    with pytest.raises(InputError, match="backend 'tpu': is none"):
        start_backend("tpu")


def starts(patch: pytest.MonkeyPatch, *names: str) -> list[str]:
    """A machine on which only these backends start; the names that were tried."""
    asked: list[str] = []

    def start(name: str, threads: int, prepack: bool) -> Backend:
        asked.append(name)
        if name not in names:
            raise MissingExtraError("rtx", name) if name == "tensorrt-rtx" else InputError(f"{name}: has no such GPU")
        backend = OnnxRuntimeBackend(threads)
        backend.name = name
        return backend

    patch.setattr(classifying, "start_backend", start)
    return asked


@pytest.mark.usefixtures("gpu")
def test_the_first_that_starts_is_taken_and_the_others_are_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = starts(monkeypatch, "onnxruntime-rtx", "onnxruntime-cuda", "onnxruntime-cpu")
    classifier = Classifier.load(make_bundle_in(tmp_path / "bundle", "fp16"))
    assert (classifier.backend, classifier.precision) == ("onnxruntime-rtx", "fp16")
    assert asked == ["tensorrt-rtx", "tensorrt", "onnxruntime-rtx"]
    assert classifier.reasons == [
        'tensorrt-rtx is not installed: run  pip install "rep-edge[rtx]"',
        "tensorrt: has no such GPU",
        "the bundle has fp16 graphs",
    ]


@pytest.mark.usefixtures("gpu")
def test_where_no_gpu_starts_the_cpu_is_taken_unless_one_is_required(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_bundle(tmp_path / "bundle")
    starts(monkeypatch, "onnxruntime-cpu")
    classifier = Classifier.load(path)
    assert (classifier.backend, len(classifier.reasons)) == ("onnxruntime-cpu", 6)
    with pytest.raises(InputError, match=r"^no backend starts on a GPU, and one is required ") as caught:
        Classifier.load(path, require_gpu=True)
    assert all(f"{name}: has no" in str(caught.value) for name in GPU_BACKENDS[1:])
    assert "tensorrt-rtx is not installed" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("backend", GPU_BACKENDS)
def test_a_backend_that_was_named_never_becomes_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    asked = starts(monkeypatch, "onnxruntime-cpu")
    with pytest.raises(InputError, match=backend):
        Classifier.load(make_bundle(tmp_path / "bundle"), backend=backend)
    assert asked == [backend]


@pytest.mark.usefixtures("no_gpu")
def test_without_a_driver_a_required_gpu_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        Classifier.load(make_bundle(tmp_path / "bundle"), require_gpu=True)
    assert str(caught.value) == f"no backend starts on a GPU, and one is required ({NO_DRIVER}); run  rep-edge doctor"


@pytest.mark.usefixtures("no_gpu")
def test_a_missing_onnx_runtime_is_the_error_where_nothing_else_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match="onnxruntime is not installed"):
        Classifier.load(make_bundle(tmp_path / "bundle"))
