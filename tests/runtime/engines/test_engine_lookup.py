"""The engine that is handed out: cache first, then bundle, and one sentence where neither fits."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import pytest
from bundles import make_bundle
from fake_tensorrt import GPU, OTHER_GPU

from rep_edge.errors import InputError
from rep_edge.runtime.bundle import Bundle, file_record, open_bundle
from rep_edge.runtime.engines.cache import EngineKey, store
from rep_edge.runtime.engines.gpu import Gpu
from rep_edge.runtime.engines.library import TensorRT
from rep_edge.runtime.engines.lookup import EngineMissing, find_engine
from rep_edge.runtime.engines.origin import graph_hash
from rep_edge.runtime.manifest import EngineRecord

RTX = TensorRT(None, "tensorrt-rtx", "1.7.1.116")
NATIVE = TensorRT(None, "tensorrt", "10.13.2.6")
PATTERN = "acoustic"
AHEAD, HERE = b"built ahead of time", b"built here"


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return open_bundle(make_bundle(tmp_path / "bundle"))


def with_engine(bundle: Bundle, plan: bytes = AHEAD, **fields: object) -> Bundle:
    """The bundle with an engine for OTHER_GPU by RTX, but for the fields."""
    path = f"engines/{len(bundle.manifest.engines)}.engine"
    (bundle.path / "engines").mkdir(exist_ok=True)
    (bundle.path / path).write_bytes(plan)
    record = EngineRecord(
        pattern=PATTERN,
        precision="fp32",
        file=file_record(path, plan),
        graph_sha256=bundle.graph(PATTERN, "fp32").file.sha256,
        backend=RTX.backend,
        backend_version=RTX.version,
        compute_capability=OTHER_GPU.compute_capability,
        batch=(1, 1, 8),
    )
    record = msgspec.structs.replace(record, **fields)
    return Bundle(bundle.path, msgspec.structs.replace(bundle.manifest, engines=(*bundle.manifest.engines, record)))


def cache_engine(bundle: Bundle, cache: Path, library: TensorRT = RTX, gpu: Gpu = OTHER_GPU) -> Path:
    key = EngineKey(
        pattern=PATTERN,
        precision="fp32",
        graph_sha256=graph_hash(bundle, PATTERN, "fp32"),
        backend=library.backend,
        backend_version=library.version,
        gpu=gpu.name,
        compute_capability=gpu.compute_capability,
        batch=(1, 1, 8),
    )
    return store(cache, key, HERE, gpu.driver, bundle.path)


def missing(bundle: Bundle, cache: Path, library: TensorRT = RTX, gpu: Gpu = OTHER_GPU) -> str:
    with pytest.raises(EngineMissing) as caught:
        find_engine(bundle, PATTERN, "fp32", library, gpu, cache)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_the_cache_comes_before_the_bundle(bundle: Bundle, tmp_path: Path) -> None:
    bundle = with_engine(bundle)
    assert find_engine(bundle, PATTERN, "fp32", RTX, OTHER_GPU, tmp_path / "cache") == AHEAD
    cache_engine(bundle, tmp_path / "cache")
    assert find_engine(bundle, PATTERN, "fp32", RTX, OTHER_GPU, tmp_path / "cache") == HERE


def test_the_usual_cache_is_looked_into(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REP_EDGE_CACHE", str(tmp_path / "usual"))
    cache_engine(bundle, tmp_path / "usual")
    assert find_engine(bundle, PATTERN, "fp32", RTX, OTHER_GPU) == HERE


def test_the_fitting_one_of_several_is_taken(bundle: Bundle, tmp_path: Path) -> None:
    for target in ("sm89", "sm86", "sm120"):
        bundle = with_engine(bundle, target.encode(), compute_capability=target)
    assert find_engine(bundle, PATTERN, "fp32", RTX, OTHER_GPU, tmp_path / "cache") == b"sm86"


def test_nothing_built_is_one_sentence_with_the_command(bundle: Bundle, tmp_path: Path) -> None:
    assert missing(bundle, tmp_path / "cache") == (
        "acoustic in fp32: no engine was built, and this is tensorrt-rtx 1.7.1.116 on NVIDIA RTX A2000 (sm86); "
        f"run  rep-edge compile {bundle.path}"
    )


def test_an_engine_for_another_gpu_and_version_is_told(bundle: Bundle, tmp_path: Path) -> None:
    bundle = with_engine(bundle, compute_capability="sm89", backend_version="1.6.0.2")
    assert missing(bundle, tmp_path / "cache") == (
        "acoustic in fp32: the bundle has an engine built by tensorrt-rtx 1.6.0.2 for sm89, and this is "
        f"tensorrt-rtx 1.7.1.116 on NVIDIA RTX A2000 (sm86); run  rep-edge compile {bundle.path}"
    )


@pytest.mark.parametrize(
    "fields", [{"compute_capability": "sm89"}, {"backend_version": "1.7.1.117"}, {"backend": "tensorrt"}]
)
def test_each_mismatch_alone_is_enough(bundle: Bundle, tmp_path: Path, fields: dict[str, object]) -> None:
    bundle = with_engine(bundle, **fields)
    assert f"the bundle has an engine built by {fields.get('backend', 'tensorrt-rtx')}" in missing(bundle, tmp_path)


def test_an_engine_of_another_graph_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    bundle = with_engine(bundle, graph_sha256="00" * 32)
    assert "the bundle has an engine that was built of another graph" in missing(bundle, tmp_path / "cache")


def test_an_engine_of_another_pattern_or_precision_is_none(bundle: Bundle, tmp_path: Path) -> None:
    bundle = with_engine(with_engine(bundle, pattern="seismic"), precision="fp16")
    assert "no engine was built" in missing(bundle, tmp_path / "cache")


def test_the_command_names_the_backend_where_it_must(bundle: Bundle, tmp_path: Path) -> None:
    assert missing(bundle, tmp_path, NATIVE, GPU).endswith(f"run  rep-edge compile {bundle.path} --backend tensorrt")


@pytest.mark.parametrize(
    ("library", "gpu", "told"),
    [
        (RTX._replace(version="1.8.0.3"), OTHER_GPU, "built by tensorrt-rtx 1.7.1.116 on NVIDIA RTX A2000 (sm86), and"),
        (RTX, OTHER_GPU._replace(name="NVIDIA RTX A4000"), "on NVIDIA RTX A2000 (sm86), and"),
        (RTX, OTHER_GPU._replace(driver="590.1, CUDA 13.1"), "with driver 580.65.06, CUDA 13.0, not 590.1, CUDA 13.1"),
        (NATIVE, OTHER_GPU, "built by tensorrt-rtx 1.7.1.116"),
    ],
)
def test_a_cached_engine_of_another_version_gpu_or_driver_is_told(
    bundle: Bundle, tmp_path: Path, library: TensorRT, gpu: Gpu, told: str
) -> None:
    cache_engine(bundle, tmp_path / "cache")
    message = missing(bundle, tmp_path / "cache", library, gpu)
    assert message.startswith("acoustic in fp32: the cache has an engine built by ")
    assert told in message


def test_new_weights_under_the_same_graph_ask_for_another_engine(bundle: Bundle, tmp_path: Path) -> None:
    cache_engine(bundle, tmp_path / "cache")
    weights = msgspec.structs.replace(bundle.manifest.weights["fp32"], sha256=hashlib.sha256(b"retrained").hexdigest())
    retrained = Bundle(bundle.path, msgspec.structs.replace(bundle.manifest, weights={"fp32": weights}))
    assert "no engine was built" in missing(retrained, tmp_path / "cache")


def test_a_tampered_engine_of_the_cache_is_not_handed_out(bundle: Bundle, tmp_path: Path) -> None:
    plan = cache_engine(bundle, tmp_path / "cache")
    plan.write_bytes(HERE[::-1])
    assert "is not the engine that was built (sha256 differs), and this is" in missing(bundle, tmp_path / "cache")
    assert find_engine(with_engine(bundle), PATTERN, "fp32", RTX, OTHER_GPU, tmp_path / "cache") == AHEAD


def test_an_engine_of_the_bundle_is_hashed_again_when_it_is_read(bundle: Bundle, tmp_path: Path) -> None:
    bundle = with_engine(bundle)
    (bundle.path / bundle.manifest.engines[0].file.path).write_bytes(AHEAD[::-1])  # After the bundle was opened.
    with pytest.raises(InputError, match=r"is not the engine that was built \(sha256 differs\)"):
        find_engine(bundle, PATTERN, "fp32", RTX, OTHER_GPU, tmp_path / "cache")


@pytest.mark.parametrize(("capability", "fits"), [("sm75", False), ("sm80", True), ("sm87", True), ("sm120", True)])
def test_a_hardware_compatible_engine_runs_from_its_capability_on(
    bundle: Bundle, tmp_path: Path, capability: str, fits: bool
) -> None:
    bundle = with_engine(bundle, backend="tensorrt", backend_version=NATIVE.version, compute_capability="sm80+")
    gpu = OTHER_GPU._replace(compute_capability=capability)
    if fits:
        assert find_engine(bundle, PATTERN, "fp32", NATIVE, gpu, tmp_path / "cache") == AHEAD
    else:
        assert "built by tensorrt 10.13.2.6 for sm80+" in missing(bundle, tmp_path / "cache", NATIVE, gpu)


@pytest.mark.parametrize(
    ("version", "fits"),
    [("10.13.2.6", True), ("10.13.3", True), ("10.14.0.1", True), ("10.9.0.34", False), ("11.0.0.1", False)],
)
def test_a_version_compatible_engine_runs_in_later_versions_of_its_major(
    bundle: Bundle, tmp_path: Path, version: str, fits: bool
) -> None:
    bundle = with_engine(bundle, backend="tensorrt", backend_version="10.13.2.6+")
    library = NATIVE._replace(version=version)
    if fits:
        assert find_engine(bundle, PATTERN, "fp32", library, OTHER_GPU, tmp_path / "cache") == AHEAD
    else:
        assert "built by tensorrt 10.13.2.6+ for sm86" in missing(bundle, tmp_path / "cache", library)


def test_a_precision_that_the_bundle_lacks_is_no_missing_engine(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no int8 graph") as caught:
        find_engine(bundle, PATTERN, "int8", RTX, OTHER_GPU, tmp_path / "cache")
    assert not isinstance(caught.value, EngineMissing)
