"""The benchmark of CLIP's and MulT's towers: what it makes of the generated sets, and one set from end to end."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import msgspec
import numpy as np
import pytest
from rich.console import Console

from rep_edge.config import Config
from rep_edge.data.plain_pickle import load_plain
from rep_edge.data.sentiment import MODALITIES
from rep_edge.evaluation import RATES

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
NAMES = ("modalities", "modalities_data", "modalities_report")


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """benchmarks/modalities.py, run where the configurations' paths start, on few examples."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.chdir(BENCHMARKS.parent)
    import modalities

    for name, kind in modalities.SETS.items():
        monkeypatch.setitem(modalities.SETS, name, kind._replace(samples=120))
    yield modalities
    for name in NAMES:
        sys.modules.pop(name, None)


def one_epoch(config: Config) -> Config:
    change = msgspec.structs.replace
    return change(config, train=change(config.train, epochs=1), adapt=change(config.adapt, epochs=1))


def test_every_set_has_a_configuration_whose_headline_its_tables_show_first(
    benchmark: ModuleType, tmp_path: Path
) -> None:
    for name, kind in benchmark.SETS.items():
        config = benchmark.configured(name, tmp_path)
        assert kind.metrics[0][0] == config.metric
        assert config.adapt.missing_rate == 0.7


def test_a_set_goes_from_nothing_to_tables_record_and_picture(
    benchmark: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = benchmark.configured
    monkeypatch.setattr(benchmark, "ProcessPoolExecutor", ThreadPoolExecutor)
    # Intervals are of no interest here, and take most of the time.
    monkeypatch.setattr("rep_edge.evaluation.RESAMPLES", 2)
    monkeypatch.setitem(benchmark.METHODS, "mosi", [benchmark.PLAIN, benchmark.LEARNED])
    monkeypatch.setattr(benchmark, "configured", lambda name, work: one_epoch(whole(name, work)))
    command = ["--sets", "food101,mosi", "--seeds", "0", "--jobs", "1", "--work", str(tmp_path), "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["modalities.py", *command])

    benchmark.main()

    printed = capsys.readouterr().out
    assert "UPMC Food-101, generated: accuracy in %" in printed
    assert "Acc-2 (zeros left out) / F1 of it" in printed
    record = json.loads((tmp_path / "modalities.json").read_bytes())
    for name, methods in (("food101", 5), ("mosi", 2)):
        cells = [cell for cell in record["cells"] if cell["set"] == name]
        assert len({cell["method"] for cell in cells}) == methods
        modalities = len(benchmark.configured(name, tmp_path).signals.names)
        assert len(cells) == methods * (2**modalities - 1 + len(RATES) * (modalities + 1))
        assert all(0 <= value <= 1 for cell in cells for value in cell["scores"][record["configs"][name]["metric"]])
    assert (tmp_path / "modalities.png").read_bytes().startswith(b"\x89PNG")


def test_features_stand_one_deviation_off_zero_along_what_tells_the_sentiment(
    benchmark: ModuleType, tmp_path: Path
) -> None:
    import modalities_data

    file = tmp_path / "features.pkl"
    sizes = ["--samples", "400", "--lengths", "8", "9", "7", "--widths", "6", "5", "4"]
    modalities_data.write("make_sentiment.py", "chsims", file, *sizes)
    before = load_plain(file)
    modalities_data.raise_features(file)
    after = load_plain(file)

    assert isinstance(before, dict)
    assert isinstance(after, dict)
    for name in MODALITIES:
        offsets = []
        for side in ("train", "valid", "test"):
            held = before[side][name].any(axis=2)
            with np.errstate(invalid="ignore"):
                moved = after[side][name] - before[side][name]
            assert not moved[~held].any()
            offsets.append(moved[held][np.isfinite(moved[held]).all(axis=1)])
            np.testing.assert_array_equal(after[side]["regression_labels"], before[side]["regression_labels"])
        offset = np.concatenate(offsets)
        np.testing.assert_allclose(offset, np.broadcast_to(offset[0], offset.shape), atol=1e-5)
        means = np.concatenate([modalities_data.clip_means(before[side][name]) for side in before])
        labels = np.concatenate([before[side]["regression_labels"] for side in before])
        told = means @ offset[0] / np.linalg.norm(offset[0])
        assert np.linalg.norm(offset[0]) == pytest.approx(told.std(), rel=1e-3)
        assert np.corrcoef(told, labels)[0, 1] > 0.2


def test_titles_mostly_name_their_dish_on_every_side(benchmark: ModuleType, tmp_path: Path) -> None:
    import modalities_data

    root = tmp_path / "set"
    modalities_data.write("make_vision_language.py", "food101", root, "--samples", "600")
    titles = json.loads((root / "text.json").read_text())
    before = json.loads((root / "split.json").read_text())
    modalities_data.drop_untitled(root)
    after = json.loads((root / "split.json").read_text())

    for side, names in after.items():
        named = [name for name in before[side] if name.rsplit("_", 1)[0] in titles[name].lower()]
        assert set(named) <= set(names) <= set(before[side])
        assert 0.85 < len(named) / len(names) < 1


def test_cells_hold_each_seed_and_a_table_gives_the_ratio_to_plain(benchmark: ModuleType) -> None:
    import modalities_report

    rows = [
        modalities_report.Row(
            method=method,
            setting=setting,
            missing_rate=rate,
            seed=seed,
            metric="accuracy",
            scores={"accuracy": score + 0.02 * seed},
            low=0.0,
            high=1.0,
        )
        for method, score in ((benchmark.PLAIN, 0.5), (benchmark.FED, 0.75))
        for setting, rate in (("image+text", None), ("text missing", 0.7))
        for seed in (0, 1)
    ]
    found = modalities_report.cells("food101", rows)
    console = Console(width=150, record=True, file=io.StringIO())
    modalities_report.print_set("food101", found, benchmark.PLAIN, console)
    line = next(line for line in console.export_text().splitlines() if benchmark.FED in line)

    assert [cell.scores["accuracy"] for cell in found if cell.method == benchmark.FED] == [[0.75, 0.77]] * 2
    assert "76.0 ± 1.4" in line
    assert f"x {0.76 / 0.51:.2f}" in line
