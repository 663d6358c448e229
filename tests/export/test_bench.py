"""The bench of a tiny bundle: which variants and ratios there are, what is left out and why, and how it is told."""

from __future__ import annotations

import io
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import pytest
import torch
from bundles import PAIR, make_bundle
from precisions import make_bundle_in
from rich.console import Console
from tiny import Exports, randomise, tiny_model

from rep_edge.checkpoint import save_pretrained
from rep_edge.errors import InputError
from rep_edge.export.bench import BenchResult, run_bench
from rep_edge.export.bench_report import print_bench
from rep_edge.model import RepModel
from rep_edge.runtime.footprint import ROLLUP
from rep_edge.runtime.timing import Times

BOTH = "acoustic+seismic"
ALWAYS = {"seismic_vs_placeholder", "acoustic_vs_placeholder", "changing_vs_same"}
WITH_CHECKPOINT = {*ALWAYS, "full_vs_backbone", "seismic_vs_tower", "acoustic_vs_tower", "eager_vs_full"}
KEYS = {"machine", "latency_ms", "ratios", "bundle_mb", "pss_mb", "stream_overhead", "skipped"}
REASON = "no C++ compiler was found"


class Desk(NamedTuple):
    """A bundle, its checkpoint, and a bench of few rounds whose plain graphs lie ready."""

    bundle: Path
    checkpoint: Path
    model: RepModel
    told: list[str]

    def run(self, checkpoint: Path | None) -> BenchResult:
        return run_bench(self.bundle, checkpoint, self.told.append)


@pytest.fixture(scope="module")
def desk(exports: Exports, plain_graphs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    exported = exports["learned"]
    checkpoint = tmp_path_factory.mktemp("desk") / "checkpoint"
    save_pretrained(exported.model, checkpoint, training={}, dataset="noise")
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setattr("rep_edge.export.bench.ROUNDS", 3)
        patch.setattr("rep_edge.export.bench.REPEATS", 2)
        patch.setattr("rep_edge.export.rivals.write_plain_graphs", lambda model, folder: plain_graphs)
        yield Desk(exported.path, checkpoint, exported.model, [])
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def alone(desk: Desk) -> BenchResult:
    """Without a checkpoint."""
    return desk.run(None)


@pytest.fixture(scope="module")
def whole(desk: Desk) -> BenchResult:
    """With a checkpoint, and a compiler that changes nothing."""

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "compile", lambda module, **_: module)
        return desk.run(desk.checkpoint)


@pytest.fixture(scope="module")
def uncompiled(desk: Desk) -> BenchResult:
    """With a checkpoint, where torch.compile cannot run."""

    def compile_(*_: object, **__: object) -> Callable[..., object]:
        raise OSError(f"{REASON}\nand much more")

    desk.told.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "compile", compile_)
        return desk.run(desk.checkpoint)


def test_a_bundle_alone_is_measured_in_every_pattern(alone: BenchResult) -> None:
    patterns = {kind: list(figures) for kind, figures in alone.latency_ms.items()}
    assert patterns == {
        "graph": [BOTH, "acoustic", "seismic"],
        "placeholder": ["acoustic", "seismic"],
        "in turn": ["every pattern"],
        "stream": [BOTH],
    }
    assert set(alone.ratios) == ALWAYS
    assert alone.skipped == {"rivals": "no checkpoint was given"}


def test_a_checkpoint_adds_the_rivals(whole: BenchResult) -> None:
    patterns = {kind: list(figures) for kind, figures in whole.latency_ms.items()}
    assert patterns["backbone"] == patterns["compile"] == [BOTH]
    assert patterns["tower"] == ["acoustic", "seismic"]
    assert patterns["eager"] == [BOTH, "acoustic", "seismic"]
    assert set(whole.ratios) == {*WITH_CHECKPOINT, "compile_vs_full"}
    assert whole.skipped == {}


def test_where_nothing_compiles_the_rest_is_measured(uncompiled: BenchResult, desk: Desk) -> None:
    assert uncompiled.skipped == {"compile": REASON}
    assert set(uncompiled.ratios) == WITH_CHECKPOINT
    assert "compile" not in uncompiled.latency_ms
    assert f"torch.compile cannot run here and is left out: {REASON}" in desk.told


def test_figures_are_in_order(whole: BenchResult) -> None:
    for figures in whole.latency_ms.values():
        for p in figures.values():
            assert 0 < p.p50 <= p.p95 <= p.p99 < 10_000
    for r in whole.ratios.values():
        assert 0 < r.p5 <= r.median <= r.p95
    assert whole.stream_overhead > -1


SECONDS = {
    f"graph/{BOTH}": 2.0,
    "graph/acoustic": 3.0,
    "graph/seismic": 5.0,
    "placeholder/acoustic": 7.0,
    "placeholder/seismic": 11.0,
    "in turn/every pattern": 13.0,
    f"stream/{BOTH}": 17.0,
    f"backbone/{BOTH}": 19.0,
    "tower/acoustic": 23.0,
    "tower/seismic": 29.0,
    f"eager/{BOTH}": 31.0,
    "eager/acoustic": 37.0,
    "eager/seismic": 41.0,
    f"compile/{BOTH}": 43.0,
}


def test_each_ratio_is_that_of_the_variants_it_names(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def interleave(calls: dict[str, Callable[[], object]], rounds: int, repeats: int) -> dict[str, Times]:
        return {name: np.full((rounds, repeats), SECONDS[name]) for name in calls}

    monkeypatch.setattr("rep_edge.export.bench.interleave", interleave)
    monkeypatch.setattr(torch, "compile", lambda module, **_: module)
    result = desk.run(desk.checkpoint)
    assert {name: r.median for name, r in result.ratios.items()} == pytest.approx(
        {
            "full_vs_backbone": 2 / 19,
            "acoustic_vs_placeholder": 3 / 7,
            "seismic_vs_placeholder": 5 / 11,
            "acoustic_vs_tower": 3 / 23,
            "seismic_vs_tower": 5 / 29,
            "eager_vs_full": 31 / 2,
            "compile_vs_full": 43 / 2,
            "changing_vs_same": 13 / (2 + 3 + 5),
        }
    )
    assert result.stream_overhead == pytest.approx(17 / 2 - 1)
    assert result.latency_ms["tower"]["seismic"].p50 == 29_000


def test_sizes_and_memory(alone: BenchResult, desk: Desk) -> None:
    size = sum(file.stat().st_size for file in desk.bundle.rglob("*") if file.is_file())
    assert alone.bundle_mb == pytest.approx(size / 1e6)
    assert (alone.pss_mb is not None) == ROLLUP.exists()
    assert alone.pss_mb is None or 5 < alone.pss_mb < 150


def test_the_json_has_the_promised_keys(whole: BenchResult) -> None:
    record = json.loads(msgspec.json.encode(whole))
    assert set(record) == KEYS
    assert {"processor", "cores", "python", "onnxruntime version"} <= set(record["machine"])
    assert set(record["latency_ms"]["graph"]["seismic"]) == {"p50", "p95", "p99"}
    assert set(record["ratios"]["full_vs_backbone"]) == {"median", "p5", "p95"}


def printed(result: BenchResult) -> str:
    out = io.StringIO()
    print_bench(result, Console(file=out, width=120))
    return out.getvalue()


def test_the_report_names_every_variant_and_what_was_left_out(uncompiled: BenchResult, alone: BenchResult) -> None:
    text = printed(uncompiled)
    for word in ("the backbone without REP", "PyTorch", "one thread", "p50", "p99", "a stream adds"):
        assert word in text
    for ratio in WITH_CHECKPOINT:
        assert ratio.replace("_", " ") in text
    assert f"not measured: compile ({REASON})" in text
    assert "not measured: rivals (no checkpoint was given)" in printed(alone)
    assert re.search(r"bundle \d+\.\d MB", text)


def test_a_system_that_tells_no_memory_says_so(alone: BenchResult) -> None:
    assert "not told by this system" in printed(msgspec.structs.replace(alone, pss_mb=None))


def refused(desk: Desk, checkpoint: Path) -> str:
    with pytest.raises(InputError) as caught:
        desk.run(checkpoint)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (lambda: tiny_model("learned", labels=("car", "truck", "bus")), "has other signals or labels than"),
        (lambda: tiny_model("learned", sensors=3, stages=1), "has other signals or labels than"),
        (lambda: tiny_model("none"), "does not answer as"),
        (lambda: trained_anew(tiny_model("learned")), "does not answer as"),
    ],
    ids=["labels", "signals", "memory", "weights"],
)
def test_a_checkpoint_of_another_model(other: Callable[[], RepModel], words: str, desk: Desk, tmp_path: Path) -> None:
    save_pretrained(other(), tmp_path / "other", training={})
    message = refused(desk, tmp_path / "other")
    assert message.startswith(f"{tmp_path / 'other'}: {words}")
    assert message.endswith("give the bundle's own checkpoint")


def trained_anew(model: RepModel) -> RepModel:
    torch.manual_seed(12)
    randomise(model)
    return model


def test_a_damaged_checkpoint(desk: Desk, tmp_path: Path) -> None:
    shutil.copytree(desk.checkpoint, tmp_path / "copy")
    weights = tmp_path / "copy" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    assert "truncated or damaged" in refused(desk, tmp_path / "copy")


def test_a_bundle_of_another_origin_is_measured_as_well(desk: Desk, tmp_path: Path) -> None:
    result = run_bench(make_bundle(tmp_path / "toy"), None, desk.told.append)
    assert set(result.latency_ms["graph"]) == {PAIR.pattern_name(pattern) for pattern in PAIR.patterns()}
    with pytest.raises(InputError, match="has other signals or labels"):
        run_bench(tmp_path / "toy", desk.checkpoint, desk.told.append)


def test_graphs_in_other_precisions_are_timed_beside_fp32(desk: Desk, tmp_path: Path) -> None:
    result = run_bench(make_bundle_in(tmp_path / "bundle", "fp16", "int8"), None, desk.told.append)
    for precision in ("fp16", "int8"):
        assert set(result.latency_ms[precision]) == set(result.latency_ms["graph"]) == {BOTH, "acoustic", "seismic"}
        assert {f"{pattern}_{precision}_vs_fp32" for pattern in (BOTH, "acoustic", "seismic")} <= set(result.ratios)
    console = Console(file=io.StringIO(), width=120)
    print_bench(result, console)
    told = console.file.getvalue()
    assert "the bundle's own graph, fp32" in told
    assert "the bundle's own graph, int8" in told
    assert "seismic int8 vs fp32" in told
