"""The GPU benchmark where there is no GPU: the clear line, the rivals on the CPU, the report of made-up times."""

from __future__ import annotations

import io
import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from precisions import make_bundle_in
from rich.console import Console
from tiny import KINDS, Exports, noise_windows, probabilities, tiny_model

from rep_edge.checkpoint import save_pretrained
from rep_edge.errors import InputError
from rep_edge.runtime.bundle import open_bundle
from rep_edge.runtime.engines.gpu import Gpu

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
BOTH = "acoustic+seismic"
CARD = Gpu(name="made-up GPU", compute_capability="sm89", driver="580.1, CUDA 13.0", memory_bytes=8 * 10**9)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ModuleType]:
    """benchmarks/gpu.py; engines would go into a cache of its own."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setenv("REP_EDGE_CACHE", str(tmp_path / "cache"))
    import gpu

    yield gpu
    for name in ("gpu", "gpu_report", "gpu_variants", "speed"):
        sys.modules.pop(name, None)


def start(gpu: ModuleType, monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """The exit code of the script."""
    monkeypatch.setattr(sys, "argv", ["gpu.py", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        gpu.main()
    assert isinstance(end.value.code, int)
    return end.value.code


def test_without_a_gpu_it_is_one_line_and_nothing_measured(
    gpu: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def find_gpu() -> Gpu:
        raise InputError("GPU: no NVIDIA driver is installed here; install it")

    monkeypatch.setattr(gpu, "find_gpu", find_gpu)
    assert start(gpu, monkeypatch, "--out", tmp_path / "gpu.json") == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == "error: GPU: no NVIDIA driver is installed here; install it\n"
    assert list(tmp_path.iterdir()) == []


def on_this_machine(gpu: ModuleType, monkeypatch: pytest.MonkeyPatch, pytorch: bool = True) -> None:
    """A GPU is said to be there; what needs one fails by itself, and PyTorch runs on the CPU, uncompiled."""
    import gpu_variants

    monkeypatch.setattr(gpu, "find_gpu", lambda: CARD)
    monkeypatch.setattr(gpu_variants, "torch_finds_gpu", lambda: pytorch)
    monkeypatch.setattr(
        gpu_variants,
        "compiled_run",
        lambda graph, device, precision, _: gpu_variants.torch_run(graph, graph.names, device, precision),
    )
    open_pytorch = gpu_variants.open_pytorch
    monkeypatch.setattr(gpu_variants, "open_pytorch", lambda model, _, *rest: open_pytorch(model, "cpu", *rest))


def short(out: Path) -> tuple[object, ...]:
    return ("--rounds", 3, "--repeats", 2, "--windows", 5, "--out", out)


def test_what_runs_is_measured_and_what_does_not_is_listed(
    gpu: ModuleType,
    exports: Exports,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    on_this_machine(gpu, monkeypatch)
    exported = exports["none"]
    save_pretrained(exported.model, tmp_path / "rep", training={})
    inputs = ("--bundle", exported.path, "--checkpoint", tmp_path / "rep", *short(tmp_path / "gpu.json"))
    assert start(gpu, monkeypatch, *inputs) == 0
    record = json.loads((tmp_path / "gpu.json").read_text())
    timed = {(e["variant"]["runs_on"], e["variant"]["precision"], e["variant"]["pattern"]) for e in record["latency"]}
    cpu = {("onnxruntime-cpu", "fp32", pattern) for pattern in (BOTH, "acoustic", "seismic")}
    eager = {("pytorch", precision, p) for precision in ("fp32", "fp16") for _, _, p in cpu}
    assert timed == cpu | eager | {("torch-compile", "fp32", BOTH), ("torch-compile", "fp16", BOTH)}
    assert all(entry["ms"]["p50"] > 0 and entry["ratio"]["median"] > 0 for entry in record["latency"])
    assert {e["reference"]["runs_on"] for e in record["latency"]} == {"onnxruntime-cpu"}
    assert record["windows"].startswith("5 test windows of simulated")
    assert {"gpu": "made-up GPU", "driver": "580.1, CUDA 13.0"}.items() <= record["machine"].items()
    for name in ("tensorrt", "tensorrt-rtx", "onnxruntime-rtx", "onnxruntime-tensorrt", "onnxruntime-cuda"):
        assert any(key.partition(" ")[0] == name and why for key, why in record["skipped"].items()), name
    exact = [p for p in record["parity"] if p["variant"]["precision"] == "fp32"]
    assert len(exact) == 7
    assert all(p["largest"] < 1e-5 and p["same_label"] == 1 and p["windows"] == 5 for p in exact)
    printed = capsys.readouterr()
    assert "made-up GPU (sm89), driver 580.1, CUDA 13.0" in printed.out
    assert printed.out.count("not measured: ") == len(record["skipped"])
    assert printed.err.splitlines()[-1] == f"wrote {tmp_path / 'gpu.json'}"


def test_what_is_required_and_does_not_run_fails_the_run(
    gpu: ModuleType,
    exports: Exports,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    on_this_machine(gpu, monkeypatch, pytorch=False)
    required = ("--require", "onnxruntime-cpu", "--require", "pytorch", "--require", "tensorrt-rtx")
    code = start(gpu, monkeypatch, "--bundle", exports["none"].path, *short(tmp_path / "gpu.json"), *required)
    assert code == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert errors[0] == "error: pytorch: is required and did not run (no checkpoint was given)"
    assert all(
        line.startswith("error: tensorrt-rtx") and "is required and did not run (" in line for line in errors[1:]
    )
    assert len(errors) > 1
    # The figures of what did run are kept.
    assert len(json.loads((tmp_path / "gpu.json").read_text())["latency"]) == 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--checkpoint", "rep"), "--checkpoint: goes with --bundle, which was exported from it; give both"),
        (("--bundle", "nowhere"), "nowhere: no such folder"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: tuple[str, ...],
    words: str,
    gpu: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    on_this_machine(gpu, monkeypatch)
    monkeypatch.chdir(tmp_path)
    assert start(gpu, monkeypatch, *arguments, "--out", "gpu.json") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {words}")
    assert not Path("gpu.json").exists()


@pytest.mark.parametrize("kind", ["learned", "none, three sensors"])
def test_pytorchs_calls_say_what_the_model_says(kind: str, gpu: ModuleType) -> None:
    from gpu_variants import torch_run

    from rep_edge.export.specialise import PatternGraph

    model = KINDS[kind]()
    windows = noise_windows(model.spec, 4)
    for pattern in model.spec.patterns():
        graph = PatternGraph(model, pattern)
        run = torch_run(graph, graph.names, "cpu", "fp32")
        wanted = probabilities(model, windows, pattern)
        for i in range(4):  # The memory that it keeps holds the window of this call.
            logits = run({name: values[i : i + 1] for name, values in windows.items()})
            raised = np.exp(logits - logits.max())
            np.testing.assert_allclose(raised / raised.sum(), wanted[i : i + 1], atol=1e-5)


def test_half_precision_is_one(gpu: ModuleType) -> None:
    from gpu_variants import torch_run

    from rep_edge.export.specialise import PatternGraph

    model = tiny_model("learned")
    graph, windows = PatternGraph(model, model.spec.complete), noise_windows(model.spec, 1)
    full, half = (torch_run(graph, graph.names, "cpu", precision)(windows) for precision in ("fp32", "fp16"))
    assert half.dtype == np.float32
    assert 0 < np.abs(half - full).max() < 0.1


def test_a_compiler_that_fails_is_listed_and_the_rest_goes_on(gpu: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from gpu_variants import Opened, open_pytorch

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("\nno compiler was found\nmore\n")

    model, opened = tiny_model("none", stages=1), Opened()
    monkeypatch.setattr(torch, "compile", broken)
    open_pytorch(model, "cpu", [BOTH], noise_windows(model.spec, 1), opened, print)
    assert opened.skipped == dict.fromkeys(
        (f"torch-compile fp32, {BOTH}", f"torch-compile fp16, {BOTH}"), "no compiler was found"
    )
    assert {variant.runs_on for variant in opened.runs} == {"pytorch"}


def test_parity_finds_a_graph_that_says_something_else(gpu: ModuleType, tmp_path: Path) -> None:
    from gpu_report import Variant
    from gpu_variants import Opened

    from rep_edge.runtime.backends.onnxruntime import OnnxRuntimeBackend

    bundle = open_bundle(make_bundle_in(tmp_path / "bundle", "fp16"))
    true = OnnxRuntimeBackend().open(bundle, "seismic", "fp32").run
    opened = Opened()

    def broken(_: object) -> Any:
        raise OSError("the GPU is gone")

    opened.runs |= {
        Variant("tensorrt", "fp32", "seismic"): true,
        Variant("tensorrt", "fp16", "seismic"): lambda windows: true(windows) * np.float32([[1, 1, 1.1]]),
        Variant("tensorrt-rtx", "fp32", "seismic"): lambda windows: true(windows) * np.float32(np.nan),
        Variant("tensorrt-rtx", "fp16", "seismic"): broken,
        Variant("pytorch", "fp16", "seismic"): lambda windows: true(windows)[:, ::-1],
    }
    windows = {"seismic": np.random.default_rng(0).standard_normal((20, 1, 100)).astype(np.float32)}
    found = {f"{p.variant.runs_on} {p.variant.precision}": p for p in gpu.check_parity(bundle, opened, windows)}
    assert (found["tensorrt fp32"].largest, found["tensorrt fp32"].same_label) == (0, 1)
    assert (found["tensorrt fp32"].bound, found["tensorrt fp32"].within) == (1e-4, True)
    # The toy's graph was held to 1e-4, and two backends may differ by 5e-3 in fp16.
    assert found["tensorrt fp16"].bound == pytest.approx(5.1e-3)
    assert not found["tensorrt fp16"].within
    assert found["tensorrt-rtx fp32"].largest == float("inf")
    assert found["pytorch fp16"].same_label < 1
    assert (found["pytorch fp16"].ours, found["pytorch fp16"].bound) == (False, 0.03)
    assert opened.skipped == {"tensorrt-rtx fp16, seismic": "the GPU is gone"}
    assert Variant("tensorrt-rtx", "fp16", "seismic") not in opened.runs


def made_up(gpu: ModuleType) -> Any:
    """Constant times: tensorrt 1 ms in fp16 and 2 ms in fp32, PyTorch 6 ms; the seismic graph on the CPU alone."""
    from gpu_report import GpuResult, Parity, Variant, compare

    seconds = {
        Variant("pytorch", "fp32", BOTH): 6e-3,
        Variant("tensorrt", "fp32", BOTH): 2e-3,
        Variant("tensorrt", "fp16", BOTH): 1e-3,
        Variant("onnxruntime-cpu", "fp32", "seismic"): 3e-3,
        Variant("pytorch", "fp32", "seismic"): 6e-3,
    }
    parity = [
        Parity(variant=variant, windows=9, same_label=1.0, largest=largest, bound=1e-4, ours=ours)
        for variant, largest, ours in (
            (Variant("tensorrt", "fp32", BOTH), 1e-6, True),
            (Variant("tensorrt", "fp16", BOTH), 0.5, True),
            (Variant("pytorch", "fp32", BOTH), 0.5, False),
        )
    ]
    return GpuResult(
        machine=gpu._machine(CARD),
        source="build/bundle",
        windows="9 windows of noise",
        rounds=4,
        repeats=3,
        parity=parity,
        latency=compare({variant: np.full((4, 3), value) for variant, value in seconds.items()}),
        skipped={"onnxruntime-cuda": "no such [provider]"},
        notes={f"tensorrt fp32, {BOTH}": "no CUDA graph: cannot be captured"},
    )


def test_made_up_times_give_their_ratios_and_the_fastest_stands_first(gpu: ModuleType) -> None:
    latency = made_up(gpu).latency
    assert [(e.variant.runs_on, e.variant.precision) for e in latency if e.variant.pattern == BOTH] == [
        ("tensorrt", "fp16"),
        ("tensorrt", "fp32"),
        ("pytorch", "fp32"),
    ]
    ratios = {str(e.variant): (e.ratio.median, str(e.reference)) for e in latency}
    assert ratios == {
        f"tensorrt fp16, {BOTH}": (pytest.approx(1), f"tensorrt fp16, {BOTH}"),
        f"tensorrt fp32, {BOTH}": (pytest.approx(2), f"tensorrt fp16, {BOTH}"),
        f"pytorch fp32, {BOTH}": (pytest.approx(6), f"tensorrt fp16, {BOTH}"),
        "onnxruntime-cpu fp32, seismic": (pytest.approx(1), "onnxruntime-cpu fp32, seismic"),
        "pytorch fp32, seismic": (pytest.approx(2), "onnxruntime-cpu fp32, seismic"),
    }
    assert latency[0].ms.p50 == pytest.approx(1.0)


def test_the_report_shows_figures_card_notes_and_what_is_missing(gpu: ModuleType) -> None:
    from gpu_report import print_result

    printed = io.StringIO()
    print_result(made_up(gpu), Console(file=printed, width=80))
    text = printed.getvalue()
    assert "made-up GPU (sm89), driver 580.1, CUDA 13.0" in text
    assert "onnxruntime 1." in text
    assert "9 windows of noise" in text
    rows = [re.split(r"\s{2,}", line.strip()) for line in text.splitlines()]
    assert ["tensorrt", "fp16", "100.0 %", "5.0e-01", "1.0e-04", "NO"] in rows
    assert ["pytorch", "fp32", "100.0 %", "5.0e-01", "1.0e-04", "no"] in rows
    assert [f"{BOTH}: ms, and times as long as tensorrt fp16"] in rows
    assert ["pytorch", "fp32", "6.000", "6.000", "6.000", "6.00 (6.00 to 6.00)"] in rows
    assert ["pytorch", "fp32", "6.000", "6.000", "6.000", "2.00 (2.00 to 2.00)"] in rows
    assert f"tensorrt fp32, {BOTH}: no CUDA graph: cannot be captured" in text
    assert "not measured: onnxruntime-cuda (no such [provider])" in text


def test_faults_are_graphs_of_the_bundle_beyond_their_bound_and_what_was_required(gpu: ModuleType) -> None:
    from gpu_report import faults

    result = made_up(gpu)
    differs = f"tensorrt fp16, {BOTH}: differs from fp32 on the CPU by 5.0e-01 in a probability (bound 1.0e-04)"
    assert faults(result, []) == [differs]
    assert faults(result, ["tensorrt", "pytorch"]) == [differs]
    assert faults(result, ["onnxruntime-cuda", "torch-compile"]) == [
        differs,
        "onnxruntime-cuda: is required and did not run (no such [provider])",
        "torch-compile: is required and did not run",
    ]


@pytest.mark.slow
def test_a_model_of_random_weights_is_calibrated_for_its_precisions(
    gpu: ModuleType, exports: Exports, tmp_path: Path
) -> None:
    shutil.copytree(exports["none"].path, tmp_path / "bundle")
    bundle = gpu.add_precisions(open_bundle(tmp_path / "bundle"), print)
    assert set(bundle.manifest.weights) == {"fp32", "fp16", "int8"}
    open_bundle(tmp_path / "bundle")
    assert all(made.converted > 0 for made in bundle.manifest.precisions)
