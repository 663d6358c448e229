"""The bench of bundles whose examples stand alone: rows without streams, texts in two lengths, rivals of any towers."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from example_bundles import FEATURES, Task, make_example_bundle
from rich.console import Console
from tiny_towers import PICTURES_AND_TEXTS, quick_bundle, quick_graphs, tiny_clip, tiny_mult

from rep_edge.checkpoint import save_pretrained
from rep_edge.errors import InputError
from rep_edge.export import rivals
from rep_edge.export.bench import BenchResult, run_bench
from rep_edge.export.bench_report import print_bench
from rep_edge.export.rivals import eager
from rep_edge.model import RepModel


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Few rounds, plain graphs by the quick tracer, and a compiler that changes nothing."""
    threads = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr("rep_edge.export.bench.ROUNDS", 2)
    monkeypatch.setattr("rep_edge.export.bench.REPEATS", 2)
    monkeypatch.setattr("rep_edge.export.bench.footprint_mb", lambda path: None)
    monkeypatch.setattr(rivals, "write_plain_graphs", quick_plain_graphs)
    monkeypatch.setattr(torch, "compile", lambda module, **_: module)
    yield
    torch.set_num_threads(threads)


def quick_plain_graphs(model: RepModel, folder: Path) -> dict[str, Path]:
    modules = {rivals.BACKBONE: rivals.specialise_backbone(model)}
    modules |= {name: rivals.specialise_tower(model, name) for name in model.spec.names}
    return quick_graphs(modules, folder)


def silent(line: str) -> None:
    """Nobody reads it."""


def printed(result: BenchResult) -> str:
    out = io.StringIO()
    print_bench(result, Console(file=out, width=120))
    return out.getvalue()


@pytest.mark.parametrize("task", ["multiclass", "multilabel", "regression"])
def test_what_needs_a_stream_is_left_out_and_said(task: Task, tmp_path: Path) -> None:
    result = run_bench(make_example_bundle(tmp_path / "bundle", task), None, silent)
    patterns = ["image+text", "image", "text"]
    assert {kind: list(rows) for kind, rows in result.latency_ms.items()} == {
        "graph": patterns,
        "placeholder": patterns[1:],
        "in turn": ["every pattern"],
    }
    assert result.stream_overhead is None
    assert result.skipped == {"stream": "examples stand alone", "rivals": "no checkpoint was given"}
    told = printed(result)
    assert "not measured: stream (examples stand alone)" in told
    assert "a stream adds" not in told


def test_features_are_measured_in_every_pattern(tmp_path: Path) -> None:
    result = run_bench(make_example_bundle(tmp_path / "bundle", "regression", FEATURES), None, silent)
    assert len(result.latency_ms["graph"]) == 7
    assert "words+vision_vs_placeholder" in result.ratios


def test_texts_that_graphs_take_shorter_are_timed_so_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes: list[tuple[int, ...]] = []

    def timed(calls: dict[str, Callable[[], object]], rounds: int, repeats: int) -> dict[str, object]:
        for name in ("graph/text", "short text/text", "short text/image+text"):
            calls[name]()
        return {name: np.ones((rounds, repeats)) for name in calls}

    def run(self: object, windows: dict[str, np.ndarray]) -> np.ndarray:  # type: ignore[type-arg]
        shapes.append(windows["text"].shape)
        return np.zeros((1, 3), np.float32)

    monkeypatch.setattr("rep_edge.export.bench.interleave", timed)
    monkeypatch.setattr("rep_edge.runtime.backends.sessions.OnnxRuntimeRunner.run", run)
    result = run_bench(make_example_bundle(tmp_path / "bundle", trimmed=("text",)), None, silent)
    assert list(result.latency_ms["short text"]) == ["image+text", "text"]
    assert shapes == [(1, 6), (1, 2), (1, 2)]
    assert "the same, a text cut to a quarter" in printed(result)


@pytest.mark.parametrize("make", [tiny_clip, tiny_mult], ids=["CLIP", "MulT"])
def test_a_checkpoint_adds_the_rivals(make: Callable[[], RepModel], tmp_path: Path) -> None:
    model = make()
    quick_bundle(model, tmp_path / "bundle")
    save_pretrained(model, tmp_path / "checkpoint", training={})
    result = run_bench(tmp_path / "bundle", tmp_path / "checkpoint", silent)
    assert list(result.latency_ms["tower"]) == list(model.spec.names)
    assert list(result.latency_ms["eager"]) == [model.spec.pattern_name(p) for p in model.spec.patterns()]
    assert {"full_vs_backbone", "eager_vs_full", "compile_vs_full"} <= set(result.ratios)
    assert {f"{name}_vs_tower" for name in model.spec.names} <= set(result.ratios)
    assert result.skipped == {"stream": "examples stand alone"}


def test_a_checkpoint_of_another_task_is_another_model(tmp_path: Path) -> None:
    make_example_bundle(tmp_path / "bundle", "multiclass", PICTURES_AND_TEXTS)
    save_pretrained(tiny_clip("multilabel"), tmp_path / "checkpoint", training={})
    with pytest.raises(
        InputError, match=r"checkpoint: has other signals or labels than .*bundle; give the bundle's own"
    ):
        run_bench(tmp_path / "bundle", tmp_path / "checkpoint", silent)


def test_eager_takes_ids_as_they_are() -> None:
    model = tiny_clip()
    windows = {m.name: m.blank()[None] for m in model.spec.modalities}
    said = eager(model, model.spec.complete, windows)()
    assert isinstance(said, torch.Tensor)
    with torch.inference_mode():
        wanted = model({name: torch.from_numpy(x) for name, x in windows.items()}, model.spec.complete).logits
    torch.testing.assert_close(said, wanted)
