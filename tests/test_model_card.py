"""The model card: metadata that the Hub's own reader takes, and a text that says what the model is."""

from __future__ import annotations

import ast
import json
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
import torch
from huggingface_hub import ModelCard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny import tiny_model

from rep_edge.config import AdapterConfig, ClipConfig, Config, HatefulMemesData, MultConfig, SentimentData, TrainConfig
from rep_edge.errors import InputError
from rep_edge.hub import Origin
from rep_edge.model import RepModel, build_model
from rep_edge.model_card import adapter_card, model_card
from rep_edge.signals import FeatureSequence, Image, Stream, Text, WindowSpec

SEQUENCES = Config(
    signals=WindowSpec(
        modalities=tuple(FeatureSequence(name=n, length=5, width=w) for n, w in (("text", 4), ("audio", 3)))
    ),
    data=SentimentData(file="/somebody/data.pkl", name="CMU-MOSI"),
    encoder=MultConfig(width=4, heads=2, layers=1, memory_layers=1),
    task="regression",
    adapt=TrainConfig(missing_rate=0.5, missing=("audio",)),
)


def sequences(memory: str | None = "learned") -> RepModel:
    model = build_model(SEQUENCES, ("negative", "positive"))
    if memory is not None:
        fields = {"memory": memory, "slots": 6, "depth": 1, "bottleneck": 4, "shared_width": 4}
        model.attach_adapter(msgspec.convert(fields, AdapterConfig))
    return model


def row(setting: str, score: float, seed: int = 0, rate: float | None = None, method: str = "REP") -> dict[str, object]:
    scores = {"accuracy": score, "ece": 0.25}
    fixed = {"metric": "accuracy", "low": 0.0, "high": 1.0}
    return {"method": method, "setting": setting, "missing_rate": rate, "seed": seed, "scores": scores, **fixed}


def card_of(model: RepModel, evaluation: Sequence[object] | None = None, **metadata: object) -> ModelCard:
    scores = None if evaluation is None else json.dumps(evaluation).encode()
    return ModelCard(model_card(model, "me/rep", scores, metadata))


def table(card: ModelCard, heading: str) -> list[list[str]]:
    """The cells of the first table under a heading, without its first two lines."""
    lines = card.text.split(f"\n## {heading}\n")[1].split("\n## ")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")][2:]


def test_what_the_hub_reads_of_a_classifier() -> None:
    data = card_of(tiny_model("fed")).data
    assert data.library_name == "rep-edge"
    assert data.tags == ["missing-modality", "multimodal", "rep", "swin"]
    assert data.metrics == ["accuracy", "f1"]
    assert data.license is data.datasets is None


def test_what_the_hub_reads_of_a_model_of_sequences() -> None:
    data = card_of(sequences()).data
    assert data.tags == ["missing-modality", "multimodal", "rep", "mult"]
    assert data.metrics == ["accuracy", "f1", "pearsonr", "mae"]
    assert data.datasets == ["sentiment"]


def test_a_card_is_no_rep_without_rep() -> None:
    assert "rep" not in card_of(sequences(None)).data.tags
    assert "rep" not in card_of(sequences("prompts")).data.tags
    assert "adapter" in ModelCard(adapter_card(sequences("fed"), "me/rep", None, {})).data.tags


def test_the_users_entries_are_added_and_win() -> None:
    data = card_of(sequences(), license="mit", language=["en"], datasets=["me/mosi"]).data
    assert (data.license, data.language, data.datasets) == ("mit", ["en"], ["me/mosi"])
    assert data.library_name == "rep-edge"


def test_every_kind_of_modality_has_its_line() -> None:
    model = tiny_model("none", sensors=1)
    kinds = (
        Stream(name="sound", rate_hz=8000, samples=16000, unit="Pa"),
        Image(name="image", size=32),
        Text(name="text", tokens=16),
        FeatureSequence(name="face", length=50, width=35),
    )
    spec = WindowSpec(modalities=kinds)
    model.spec = spec
    assert table(card_of(model), "What it takes") == [
        ["`sound`", "stream", "float32 [1, 16000]", "2 s at 8000 Hz, Pa", "0 everywhere"],
        [
            *("`image`", "image", "float32 [3, 32, 32]"),
            *("red, green, blue; shorter side scaled, centre cut out; normalised", "1 everywhere, normalised"),
        ],
        ["`text`", "text", "int64 [16]", "ids of tokens, padded with 0", "the empty text"],
        ["`face`", "features", "float32 [50, 35]", "feature vectors in order", "0 everywhere"],
    ]
    assert "rep_edge.runtime.inputs" in card_of(model).text
    assert "rep_edge.runtime.inputs" not in card_of(sequences()).text


@pytest.mark.parametrize("model", [tiny_model("learned"), sequences()], ids=["classifier", "regression"])
def test_the_lines_of_python_run_as_they_stand(
    model: RepModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model.eval().save_pretrained("mine")
    code = (tmp_path / "mine" / "README.md").read_text().split("```python\n")[1].split("```")[0]
    names: dict[str, object] = {m.name: torch.zeros(2, *m.shape) for m in model.spec.modalities}
    exec(code, names)
    assert (tmp_path / "model" / "model.safetensors").exists()
    assert names.keys() & {"probabilities", "value"}


def test_sizes_are_those_of_the_weights() -> None:
    model = sequences()
    counts = dict.fromkeys(("encoders", "memory", "head"), 0)
    for name, parameter in model.named_parameters():
        counts[name.partition(".")[0]] += parameter.numel()
    found = table(card_of(model), "Size")
    assert [(part, int(count.replace(",", "")), learned) for part, count, learned in found] == [
        ("towers", counts["encoders"], "no"),
        ("memory", counts["memory"], "yes"),
        ("head", counts["head"], "yes"),
    ]
    share = 100 * (counts["memory"] + counts["head"]) / counts["encoders"]
    assert f"Memory and head have {share:.2g} % of" in card_of(model).text


@pytest.mark.parametrize(("trainable", "learned"), [("adapter", "no"), ("matched", "in part"), ("everything", "yes")])
def test_towers_that_learned_are_told(trainable: str, learned: str) -> None:
    model = sequences()
    adapt = msgspec.convert({"trainable": trainable}, TrainConfig)
    model.config = msgspec.structs.replace(model.config, adapt=adapt)
    assert table(card_of(model), "Size")[0][2] == learned


def test_a_backbone_has_towers_and_head_alone() -> None:
    assert [part for part, _, learned in table(card_of(sequences(None)), "Size") if learned == "yes"] == [
        "towers",
        "head",
    ]


def test_what_it_was_trained_on() -> None:
    model = sequences()
    model.origin = Origin(
        dataset="CMU-MOSI",
        training={"epochs": 20, "best_epoch": 12, "metric": "acc2_nonneg", "validation_score": 0.8125},
    )
    text = card_of(model).text
    for line in (
        "- Data: CMU-MOSI.",
        "- A share of 0.5 of the training windows lost `audio`.",
        "- Epochs: 20, the best 12.",
        "Validation acc2_nonneg of the best epoch: 0.812.",
    ):
        assert f"\n{line}\n" in text
    assert "somebody" not in text


def test_a_run_from_before_there_were_other_metrics() -> None:
    model = tiny_model("fed")
    model.origin = Origin(training={"epochs": 2, "best_epoch": 1, "validation_accuracy": 0.5})
    assert "Validation accuracy of the best epoch: 0.500." in card_of(model).text


def test_scores_by_pattern_are_means_over_seeds() -> None:
    rows = [
        row("a+b", 0.9),
        row("a+b", 0.7, seed=1),
        row("a", 0.5),
        row("b missing", 0.1, rate=0.7),
        row("a", 0.25, method="plain"),
    ]
    assert table(card_of(tiny_model("fed"), rows), "Scores") == [
        ["REP", "`a+b`", "0.800", "0.250"],
        ["REP", "`a`", "0.500", "0.250"],
        ["plain", "`a`", "0.250", "0.250"],
    ]


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'[{"method": "REP"}]'])
def test_scores_that_are_none_are_refused(content: bytes) -> None:
    with pytest.raises(InputError, match=r"^evaluation\.json: is no evaluation") as error:
        model_card(tiny_model("fed"), "me/rep", content, {})
    assert "\n" not in str(error.value)


def test_no_path_of_the_authors_machine_is_told() -> None:
    model = sequences()
    encoder = msgspec.convert(
        {"kind": "clip", "model": "/somebody/tiny.json", "pretrained": "/somebody/w.safetensors"}, ClipConfig
    )
    data = HatefulMemesData(root="/somebody/memes")
    model.config = msgspec.structs.replace(model.config, encoder=encoder, data=data)
    text = card_of(model).content
    assert "clip, tiny.json of open_clip, started from weights: w.safetensors" in text
    assert "somebody" not in text
    described = msgspec.structs.replace(encoder, model='{"embed_dim": 8}', pretrained=None, random_init=True)
    model.config = msgspec.structs.replace(model.config, encoder=described)
    assert "clip, a model described in config.json of open_clip, started from weights: none" in card_of(model).text
    carried = msgspec.structs.replace(SEQUENCES.encoder, pretrained="/somebody/build/mosei")
    model.config = msgspec.structs.replace(SEQUENCES, encoder=carried)
    assert "Towers: mult, started from weights: mosei." in card_of(model).text


wild = st.text(max_size=40) | st.text("|`-\n#<>:'\"\\ {}[]&*!\x85\u2028\u0000ab", max_size=40)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=wild, labels=st.tuples(wild, wild), dataset=wild, license=wild, method=wild)
def test_no_text_breaks_the_card(name: str, labels: tuple[str, str], dataset: str, license: str, method: str) -> None:
    model = SHARED
    model.labels, model.origin = labels, Origin(dataset=dataset, training={"epochs": name})
    scores = json.dumps([row(name, 0.5, method=method)]).encode()
    text = model_card(model, name, scores, {"license": license})
    card = ModelCard(text)
    assert card.data.license == license
    assert card.data.library_name == "rep-edge"
    headings = [line for line in card.text.splitlines() if line.startswith("## ")]
    assert headings == [f"## {h}" for h in HEADINGS]
    assert [len(cells) for cells in table(card, "Scores")] == [4]
    ast.parse(text.split("```python\n")[1].split("\n```")[0])
    assert sum(line.startswith("```") for line in card.text.splitlines()) == 4


SHARED = tiny_model("none", sensors=1, stages=1, labels=("a", "b"))
HEADINGS = ("What it takes", "Use", "How it was trained", "Scores", "Size", "Limits")
