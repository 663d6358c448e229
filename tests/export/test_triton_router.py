"""The router of a model repository over all patterns, batches and faults, and the client of its README."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundles import LABELS, PAIR, TRIPLE, make_bundle
from fake_triton import Triton, TritonError
from repositories import TEMPERATURES, Windows, batch, export, quiet
from triton_network import run_client

from rep_edge.export.triton import Serving, export_repository
from rep_edge.runtime.classifier import Classifier
from rep_edge.signals import WindowSpec


def test_the_router_answers_every_pattern_as_the_classifier_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, repository = export(tmp_path)
    triton, classifier = Triton(repository, monkeypatch), Classifier.load(bundle, backend="onnxruntime-cpu")
    for pattern in TRIPLE.patterns():
        name = TRIPLE.pattern_name(pattern)
        windows = batch(TRIPLE, pattern, 3)
        answer = triton.ask(windows)
        assert [found.decode() for found in answer["pattern"][:, 0]] == [name] * 3
        for i in range(3):
            wanted = classifier({modality: values[i] for modality, values in windows.items()})
            np.testing.assert_allclose(answer["probabilities"][i], list(wanted.probabilities.values()), atol=1e-6)
            assert answer["label"][i, 0].decode() == wanted.label
            assert LABELS[answer["label_index"][i, 0]] == wanted.label
        # As a check that the temperature was one: without it the same logits say something else.
        plain = np.exp(answer["logits"]) / np.exp(answer["logits"]).sum(axis=1, keepdims=True)
        assert np.abs(plain - answer["probabilities"]).max() > 0.01 or TEMPERATURES[name] == pytest.approx(1, abs=0.15)


def test_a_loud_window_leaves_the_quiet_one_of_its_batch_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, repository = export(tmp_path)
    windows = batch(TRIPLE, {"seismic"}, 2)
    windows["seismic"][0] *= 1e5
    answer = Triton(repository, monkeypatch).ask(windows)
    np.testing.assert_allclose(answer["probabilities"].sum(axis=1), 1, atol=1e-6)
    assert answer["probabilities"][0].max() == 1
    assert answer["probabilities"][1].max() < 0.99


def test_requests_of_different_patterns_in_one_call_go_each_its_own_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, repository = export(tmp_path)
    triton = Triton(repository, monkeypatch)
    asked = [
        batch(TRIPLE, pattern, count, seed=10 * count)
        for pattern, count in zip(TRIPLE.patterns(), (1, 2, 3, 1, 4, 1, 2), strict=True)
    ]
    alone = [triton.ask(windows) for windows in asked]
    triton.calls.clear()
    triton.most = 0
    responses = triton.answers(*(triton.request(windows, f"number {i}") for i, windows in enumerate(asked)))
    assert sorted(count for _, count in triton.calls) == [1, 1, 1, 2, 2, 3, 4]
    assert {model for model, _ in triton.calls} == {
        f"rep_{TRIPLE.pattern_name(p).replace('+', '_')}" for p in TRIPLE.patterns()
    }
    assert triton.most == 7, "they wait for one another"
    assert triton.request_ids[-7:] == [f"number {i}" for i in range(7)]
    for windows, response, wanted in zip(asked, responses, alone, strict=True):
        found = triton.checked(response, len(next(iter(windows.values()))))
        for name, values in found.items():
            np.testing.assert_array_equal(values, wanted[name])


def bad_requests() -> dict[str, tuple[Windows, str, str]]:
    """Windows, the error's words, and its code."""
    good = batch(TRIPLE, {"acoustic", "magnetic"}, 2)
    nan, huge = {n: v.copy() for n, v in good.items()}, {n: 3e38 * np.sign(v) for n, v in good.items()}
    nan["acoustic"][1, 0, 5] = np.nan
    invalid = TritonError.INVALID_ARG
    return {
        "nothing": ({}, "no live modality: send at least one of acoustic, seismic, magnetic", invalid),
        "no batch": ({"acoustic": good["acoustic"][0]}, "acoustic: is float32 [1, 800] instead of", invalid),
        "empty": ({"acoustic": good["acoustic"][:0]}, "[0, 1, 800] instead of float32 [batch, 1, 800]", invalid),
        "shape": ({**good, "magnetic": good["magnetic"][:, :2]}, "magnetic: is float32 [2, 2, 50] instead", invalid),
        "dtype": ({"acoustic": good["acoustic"].astype(np.float64)}, "acoustic: is float64", invalid),
        "NaN": (nan, "acoustic: holds a NaN or an infinity; leave the modality out", invalid),
        "unequal": ({**good, "magnetic": good["magnetic"][:1]}, "must be equally many, not {'acoustic': 2", invalid),
        "too large": (huge, "acoustic+magnetic: the windows' samples are too large", invalid),
        "too many": (batch(TRIPLE, {"seismic"}, 9), "rep_seismic: inference request batch-size must be <= 8", invalid),
    }


@pytest.mark.parametrize("what", list(bad_requests()))
def test_an_error_is_told_to_its_own_request_alone(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    windows, words, code = bad_requests()[what]
    _, repository = export(tmp_path)
    triton = Triton(repository, monkeypatch)
    good = batch(TRIPLE, {"seismic"}, 2)
    before, bad, after = triton.answers(triton.request(good), triton.request(windows), triton.request(good))
    assert bad.has_error()
    assert words in bad.error().message()
    assert bad.error().code() == code
    assert bad.output_tensors() == []
    for response in (before, after):
        assert not response.has_error()
        np.testing.assert_array_equal(triton.checked(response, 2)["logits"], triton.ask(good)["logits"])


def test_a_model_that_is_gone_fails_its_own_pattern_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, repository = export(tmp_path, PAIR)
    triton = Triton(repository, monkeypatch)
    triton.broken.add("rep_acoustic")
    windows = batch(PAIR, PAIR.names, 1)
    bad, good = triton.answers(triton.request({"acoustic": windows["acoustic"]}), triton.request(windows))
    assert bad.error().message() == "rep_acoustic: Request for unknown model: 'rep_acoustic' is not found"
    assert bad.error().code() == TritonError.NOT_FOUND
    assert not good.has_error()


def test_a_fault_of_the_server_is_no_fault_of_the_other_requests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, repository = export(tmp_path, PAIR)
    triton = Triton(repository, monkeypatch)
    answer = triton.run

    async def run(model: str, *arguments: Any) -> Any:
        if model == "rep_acoustic":
            raise OSError("the shared memory is full")
        return await answer(model, *arguments)

    monkeypatch.setattr(triton, "run", run)
    windows = batch(PAIR, PAIR.names, 1)
    bad, good = triton.answers(triton.request({"acoustic": windows["acoustic"]}), triton.request(windows))
    assert (bad.error().message(), bad.error().code()) == ("OSError: the shared memory is full", TritonError.INTERNAL)
    assert not good.has_error()


@pytest.mark.parametrize("spec", [WindowSpec(modalities=PAIR.modalities[:1], hop_s=0.5), PAIR, TRIPLE])
def test_the_client_of_the_readme_works(spec: WindowSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = make_bundle(tmp_path / "bundle", spec)
    export_repository(bundle, tmp_path / "repository", Serving(), quiet)
    _, _, shown = (tmp_path / "repository" / "README.txt").read_text().partition("numpy):\n\n")
    assert shown
    triton = Triton(tmp_path / "repository", monkeypatch)
    printed = run_client(triton, shown)
    gone = spec.names[:-1] if len(spec.names) > 1 else spec.names
    assert [model for model, _ in triton.calls] == [f"rep_{'_'.join(gone)}"]
    # Windows of zeros: a linear graph says 0 to each class.
    assert printed == "quiet [0.33333334 0.33333334 0.33333334]\n"
