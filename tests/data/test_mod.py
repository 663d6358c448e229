"""MOD's two layouts on disk become the same windows, and what does not fit gives one clear line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from rep_edge.config import ModData
from rep_edge.data.mod import ModDataset
from rep_edge.data.mod_layout import LABELS, class_of
from rep_edge.errors import InputError
from rep_edge.signals import Stream, WindowSpec

SPEC = WindowSpec(
    modalities=(
        Stream(name="acoustic", rate_hz=8000, samples=16000),
        Stream(name="seismic", rate_hz=100, samples=200),
    ),
    hop_s=2.0,
)
RUNS = ("Polaris0150pm", "Warhog-NoLineOfSight", "Silverado0255pm", "motor2", "tesla", "mustang0528", "walk")


def seismic(run: str, seconds: float) -> NDArray[np.float64]:
    counts: NDArray[np.float64] = np.round(1000 * np.random.default_rng(len(run)).standard_normal(round(100 * seconds)))
    return counts


def raw(root: Path, runs: tuple[str, ...] = RUNS, node: str = "rs1", seconds: float = 4.5) -> Path:
    """Raw runs; audio is a tone of 500 Hz at 16 kHz, in two columns."""
    tone = 100 * np.sin(2 * np.pi * 500 * np.arange(round(16000 * seconds)) / 16000)
    text = "\n".join(f"{value:.4f},0" for value in tone)
    for run in runs:
        folder = root / run / node
        folder.mkdir(parents=True)
        (folder / "aud16000.csv").write_text(text)
        np.savetxt(folder / "ehz.csv", seismic(run, seconds), fmt="%d")
    return root


def window(label: int, domain: Literal["time", "frequency"] = "time", seed: int = 0) -> dict[str, object]:
    """A preprocessed window and the content of its file."""
    rng = np.random.default_rng(seed)
    data = {}
    for name, length in (("audio", 1600), ("seismic", 20)):
        samples = rng.standard_normal((10, length))
        if domain == "frequency":
            spectrum = np.fft.fft(samples)
            stored = np.stack([spectrum.real, spectrum.imag])
        else:
            stored = samples[None]
        data[name] = torch.from_numpy(stored).float()
    flags = {"shake": {"audio": True, "seismic": True}}
    return {"label": torch.tensor(label), "flag": flags, "data": {"shake": data}}


def preprocessed(root: Path, domain: Literal["time", "frequency"] = "time", count: int = 2) -> Path:
    folder = root / f"individual_{'time' if domain == 'time' else 'freq'}_samples"
    folder.mkdir(parents=True)
    for label, run in enumerate(RUNS):
        for number in range(count):
            torch.save(window(label, domain, seed=number), folder / f"{run}_rs1_{number}.pt")
    return root


def write_index(root: Path, **parts: list[str]) -> None:
    folder = root / "time_data_partition"
    folder.mkdir(exist_ok=True)
    for part, names in parts.items():
        (folder / f"{part}_index.txt").write_text("".join(f"/somewhere/else/{name}\n" for name in names))


def load(root: Path, split: Literal["run", "published"] = "run") -> ModDataset:
    return ModDataset(ModData(root=str(root), split=split), SPEC)


def refusal(config: ModData, spec: WindowSpec = SPEC) -> str:
    with pytest.raises(InputError) as caught:
        ModDataset(config, spec)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_classes_by_folder() -> None:
    assert [class_of(run) for run in RUNS] == list(range(7))
    assert LABELS[2] == "Truck"
    assert class_of("bicycle2") is None
    assert class_of("pickup") is None


def test_raw_runs(tmp_path: Path) -> None:
    raw(tmp_path, (*RUNS, "scooter2"))
    dataset = load(tmp_path)
    assert len(dataset) == 14
    assert dataset.labels == LABELS
    assert sorted(dataset.targets.tolist()) == sorted([*range(7), *range(7)])
    found = dataset[dataset.recordings.index("walk") + 1]
    assert (found.recording, found.start_s, LABELS[found.target]) == ("walk", 2.0, "walk")
    np.testing.assert_array_equal(found.values["seismic"][0], seismic("walk", 4.5)[200:400].astype(np.float32))
    tone = 100 * np.sin(2 * np.pi * 500 * np.arange(16000, 32000) / 8000)
    np.testing.assert_allclose(found.values["acoustic"][0], tone, atol=0.05)
    assert "scooter2: no part of the seven classes, left out" in dataset.report
    assert any("Polaris 2 (1), Warhog 2 (1), Truck 2 (1)" in line for line in dataset.report)
    assert any(line.startswith("fewer than 3 runs of Polaris") for line in dataset.report)


def test_nodes_of_a_run_are_one_recording(tmp_path: Path) -> None:
    raw(tmp_path)
    raw(tmp_path, ("walk",), node="rs3")
    dataset = load(tmp_path)
    assert dataset.recordings.count("walk") == 4
    assert len(set(dataset.recordings)) == 7


def test_trims_cut_both_ends(tmp_path: Path) -> None:
    raw(tmp_path)
    dataset = ModDataset(ModData(root=str(tmp_path), trim_s={"walk/rs1": (1.0, 0.5)}), SPEC)
    assert dataset.recordings.count("walk") == 1
    assert dataset[dataset.recordings.index("walk")].start_s == 1.0


def test_older_audio_name_and_acoustic_alone(tmp_path: Path) -> None:
    raw(tmp_path)
    for path in list(tmp_path.glob("*/*/aud16000.csv")):
        path.rename(path.with_name("aud.csv"))
    for path in list(tmp_path.glob("*/*/ehz.csv")):
        path.unlink()
    spec = WindowSpec(modalities=SPEC.modalities[:1], hop_s=1.0)
    assert set(ModDataset(ModData(root=str(tmp_path)), spec)[0].values) == {"acoustic"}


@pytest.mark.parametrize("domain", ["time", "frequency"])
def test_preprocessed_windows(tmp_path: Path, domain: Literal["time", "frequency"]) -> None:
    dataset = load(preprocessed(tmp_path, domain))
    assert len(dataset) == 14
    found = dataset[dataset.recordings.index("tesla") + 1]
    assert (found.recording, found.start_s, found.target) == ("tesla", 2.0, 4)
    rng = np.random.default_rng(1)
    for name, length in (("acoustic", 1600), ("seismic", 20)):
        samples = rng.standard_normal((10, length)).reshape(1, -1)
        assert found.values[name].dtype == np.float32
        np.testing.assert_allclose(found.values[name], samples, atol=1e-5)


def test_time_samples_are_preferred(tmp_path: Path) -> None:
    preprocessed(preprocessed(tmp_path), "frequency", count=3)
    assert len(load(tmp_path)) == 14


def test_published_split(tmp_path: Path) -> None:
    preprocessed(tmp_path)
    write_index(
        tmp_path,
        train=["tesla_rs1_1.pt", "walk_rs1_0.pt"],
        val=["tesla_rs1_0.pt"],
        test=["tesla_rs1_0.pt"],
    )
    dataset = load(tmp_path, split="published")
    indices = dataset.published_split()
    assert indices is not None
    train, validation, test = indices
    assert [(dataset[i].recording, dataset[i].start_s) for i in train.tolist()] == [("tesla", 2.0), ("walk", 0.0)]
    assert validation.tolist() == test.tolist() == [dataset.recordings.index("tesla")]
    assert train.dtype == np.int64
    assert any("neighbouring seconds of one run stand in training and in test" in line for line in dataset.report)
    inner = load(tmp_path / "individual_time_samples", split="published")
    assert np.array_equal((inner.published_split() or [[]])[0], train)
    assert load(tmp_path).published_split() is None


def test_bad_index_files(tmp_path: Path) -> None:
    preprocessed(tmp_path)
    config = ModData(root=str(tmp_path), split="published")
    assert "train_index.txt is not there" in refusal(config)
    write_index(tmp_path, train=["tesla_rs1_1.pt", "tesla_rs9_0.pt"], val=[], test=[])
    assert re.search(r"train_index\.txt: line 2: there is no window tesla_rs9_0\.pt", refusal(config))


def test_published_split_of_raw_runs(tmp_path: Path) -> None:
    assert "needs the preprocessed windows" in refusal(ModData(root=str(raw(tmp_path)), split="published"))


def test_bad_folders(tmp_path: Path) -> None:
    assert "there is no such folder" in refusal(ModData(root=str(tmp_path / "nowhere")))
    assert "holds neither raw runs" in refusal(ModData(root=str(tmp_path)))
    raw(tmp_path / "some", RUNS[:6])
    assert "class walk has no window" in refusal(ModData(root=str(tmp_path / "some")))


def test_bad_trims(tmp_path: Path) -> None:
    root = str(raw(tmp_path))
    assert "walk/rs9 is no <run>/<node>" in refusal(ModData(root=root, trim_s={"walk/rs9": (0, 0)}))
    assert "at least 0 s" in refusal(ModData(root=root, trim_s={"walk/rs1": (-1, 0)}))
    assert "leave no window of 2 s" in refusal(ModData(root=root, trim_s={"walk/rs1": (2, 2)}))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("ehz.csv", "", "the file is empty"),
        ("ehz.csv", "1\nx\n", "cannot be read"),
        ("ehz.csv", "1\nnan\n", "holds NaN"),
        ("aud16000.csv", None, "has no aud16000.csv or aud.csv"),
    ],
)
def test_bad_raw_files(tmp_path: Path, name: str, content: str | None, words: str) -> None:
    path = raw(tmp_path) / "walk" / "rs1" / name
    path.unlink() if content is None else path.write_text(content)
    assert words in refusal(ModData(root=str(tmp_path)))


def test_bad_windows(tmp_path: Path) -> None:
    path = preprocessed(tmp_path) / "individual_time_samples" / "Polaris0150pm_rs1_0.pt"
    dataset = load(tmp_path)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(InputError, match="cannot be read, the file is damaged"):
        dataset[0]
    torch.save([1, 2], path)
    with pytest.raises(InputError, match="is no MOD window"):
        dataset[0]
    torch.save(window(3), path)
    with pytest.raises(InputError, match="holds label 3, its name means 0"):
        dataset[0]
    content = window(0)
    content["data"] = {"shake": {"audio": torch.zeros(1, 10, 800), "seismic": torch.zeros(1, 10, 20)}}
    torch.save(content, path)
    with pytest.raises(InputError, match=r"audio has shape \[1, 10, 800\]"):
        dataset[0]
    content["data"] = {"shake": {"audio": torch.full((1, 10, 1600), np.nan), "seismic": torch.zeros(1, 10, 20)}}
    torch.save(content, path)
    with pytest.raises(InputError, match="audio holds NaN"):
        dataset[0]


def test_code_in_a_window_is_not_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            return (Path.touch, (tmp_path / "sprung",))

    path = preprocessed(tmp_path) / "individual_time_samples" / "Polaris0150pm_rs1_0.pt"
    torch.save({"label": Trap()}, path)
    with pytest.raises(InputError, match="cannot be read"):
        load(tmp_path)[0]
    assert not (tmp_path / "sprung").exists()


def test_other_signals_and_names(tmp_path: Path) -> None:
    preprocessed(tmp_path)
    config = ModData(root=str(tmp_path))
    other = WindowSpec(modalities=(Stream(name="radar", rate_hz=100, samples=200),), hop_s=1.0)
    assert "modality radar: MOD has acoustic and seismic" in refusal(config, other)
    fast = WindowSpec(modalities=(Stream(name="acoustic", rate_hz=16000, samples=32000),), hop_s=1.0)
    assert "preprocessed MOD windows have rate_hz 8000, samples 16000" in refusal(config, fast)
    (tmp_path / "individual_time_samples" / "walk.pt").touch()
    assert "the name of a window is <run>_<node>_<number>.pt" in refusal(config)
