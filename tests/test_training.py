"""Both stages of training: seeded, taken up again after a kill, kept apart from other runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import pytest
import torch
from torch import Tensor

from rep_edge.checkpoint import load_pretrained, read_record
from rep_edge.config import AdapterConfig, Config, SimulatedData, SwinConfig, TrainConfig, read_config
from rep_edge.data.augment import augment
from rep_edge.data.batches import WindowBatches
from rep_edge.data.splits import Splits, open_splits
from rep_edge.data.windows import Window
from rep_edge.errors import InputError
from rep_edge.evaluation import headline, pattern_answers
from rep_edge.fitting import learning_rate
from rep_edge.model import ModelOutput, RepModel
from rep_edge.objective import Objective
from rep_edge.resume import STATE, RunState
from rep_edge.signals import Pattern, Stream, WindowSpec
from rep_edge.training import adapt, train_backbone

SPEC = WindowSpec(
    hop_s=1.0,
    modalities=(
        Stream(name="acoustic", rate_hz=100, samples=200),
        Stream(name="seismic", rate_hz=50, samples=100),
    ),
)
TINY = Config(
    signals=SPEC,
    data=SimulatedData(runs_per_class=4, windows_per_run=4),
    encoder=SwinConfig(
        patch_bins={"acoustic": 4, "seismic": 2}, widths=(8, 16), depths=(1, 1), heads=2, feature_width=8
    ),
    adapter=AdapterConfig(memory="fed", slots=6, depth=2, bottleneck=4, shared_width=4, orthogonality=0.1),
    train=TrainConfig(epochs=3, batch_size=8),
    adapt=TrainConfig(epochs=3, batch_size=8, distillation=0.5),
)
KILLED = """
import os, signal, sys
from pathlib import Path
import msgspec
import rep_edge.fitting as fitting
from rep_edge.checkpoint import load_pretrained
from rep_edge.config import Config
from rep_edge.data.splits import open_splits
from rep_edge.resume import RunState
from rep_edge.training import adapt, train_backbone

fitting.SAVE_EVERY_S = 0.0
save = RunState.save
def save_then_die(self, folder):
    save(self, folder)
    if self.step == int(sys.argv[4]):
        os.kill(os.getpid(), signal.SIGKILL)
RunState.save = save_then_die
config = msgspec.yaml.decode(Path(sys.argv[1]).read_bytes(), type=Config)
splits, out = open_splits(config), Path(sys.argv[3])
if sys.argv[2] == "train":
    train_backbone(config, splits, out)
else:
    adapt(load_pretrained(Path(sys.argv[2])), config, splits, out)
"""


@pytest.fixture(scope="module")
def splits() -> Splits:
    return open_splits(TINY)


@pytest.fixture(scope="module")
def backbone_folder(splits: Splits, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "backbone"
    train_backbone(TINY, splits, folder)
    return folder


@pytest.fixture
def backbone(backbone_folder: Path) -> RepModel:
    return load_pretrained(backbone_folder)


def same_weights(one: RepModel, other: RepModel) -> bool:
    first, second = one.state_dict(), other.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def with_seed(seed: int) -> Config:
    return msgspec.structs.replace(TINY, seed=seed)


def per_epoch(splits: Splits) -> int:
    return -(-len(splits.train) // TINY.train.batch_size)


def killed_at(step: int, what: str, out: Path, tmp_path: Path) -> None:
    """Run a stage in a process of its own that is killed just after its state at `step` was written."""
    config = tmp_path / "config.yaml"
    config.write_bytes(msgspec.yaml.encode(TINY))
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    run = subprocess.run(
        [sys.executable, str(script), str(config), what, str(out), str(step)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == -signal.SIGKILL, run.stderr
    assert (out / STATE).exists()
    assert not (out / "config.json").exists()


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    # The order of sums, and with it the last bit, depends on the number of threads.
    torch.set_num_threads(1)


def cut_off_at(step: int, splits: Splits, out: Path) -> None:
    """As `killed_at`, for stage 1 and without a process of its own."""
    save = RunState.save

    def save_then_stop(self: RunState, folder: Path) -> None:
        save(self, folder)
        if self.step == step:
            raise InterruptedError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rep_edge.fitting.SAVE_EVERY_S", 0.0)
        patch.setattr(RunState, "save", save_then_stop)
        with pytest.raises(InterruptedError):
            train_backbone(TINY, splits, out)


def test_stage_1_goes_on_bit_for_bit_after_a_kill(
    splits: Splits, backbone: RepModel, backbone_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    killed_at(int(1.5 * per_epoch(splits)), "train", out, tmp_path)
    resumed = train_backbone(TINY, splits, out)
    assert same_weights(resumed, backbone)
    assert same_weights(load_pretrained(out), backbone)
    assert (out / "history.json").read_bytes() == (backbone_folder / "history.json").read_bytes()
    assert not (out / STATE).exists()


@pytest.mark.parametrize("epochs_done", [0.3, 1.0, 2.9, 3.0])
def test_it_goes_on_from_anywhere(epochs_done: float, splits: Splits, backbone: RepModel, tmp_path: Path) -> None:
    cut_off_at(int(epochs_done * per_epoch(splits)), splits, tmp_path)
    assert same_weights(train_backbone(TINY, splits, tmp_path), backbone)


def test_stage_2_goes_on_bit_for_bit_after_a_kill(
    splits: Splits, backbone: RepModel, backbone_folder: Path, tmp_path: Path
) -> None:
    uninterrupted = adapt(backbone, TINY, splits, tmp_path / "whole")
    killed_at(int(1.5 * per_epoch(splits)), str(backbone_folder), tmp_path / "out", tmp_path)
    assert same_weights(adapt(backbone, TINY, splits, tmp_path / "out"), uninterrupted)


def test_the_seed_decides_everything(splits: Splits, backbone: RepModel, tmp_path: Path) -> None:
    torch.manual_seed(12345)  # hidden generator state must not matter
    assert same_weights(train_backbone(TINY, splits, tmp_path / "same"), backbone)
    assert not same_weights(train_backbone(with_seed(1), splits, tmp_path / "other"), backbone)


def test_a_finished_run_is_read_back_and_says_so(
    splits: Splits, backbone: RepModel, backbone_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (backbone_folder / "model.safetensors").stat().st_mtime_ns
    assert same_weights(train_backbone(TINY, splits, backbone_folder), backbone)
    assert "finished before" in capsys.readouterr().err
    assert (backbone_folder / "model.safetensors").stat().st_mtime_ns == before


def test_a_folder_with_another_run_is_refused(
    splits: Splits, backbone: RepModel, backbone_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="another configuration"):
        train_backbone(with_seed(1), splits, backbone_folder)
    with pytest.raises(InputError, match="another stage"):
        adapt(backbone, TINY, splits, backbone_folder)
    with pytest.raises(InputError, match="other data"):
        train_backbone(TINY, splits, backbone_folder, pattern=frozenset({"seismic"}))
    cut_off_at(3, splits, tmp_path / "out")
    with pytest.raises(InputError, match="unfinished run"):
        train_backbone(with_seed(1), splits, tmp_path / "out")


def test_a_damaged_state_is_one_clear_error(splits: Splits, tmp_path: Path) -> None:
    cut_off_at(3, splits, tmp_path / "out")
    state = tmp_path / "out" / STATE
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"resume\.pt: .*damaged; remove it") as error:
        train_backbone(TINY, splits, tmp_path / "out")
    assert "\n" not in str(error.value)


def test_the_best_epoch_is_kept(splits: Splits, backbone: RepModel, backbone_folder: Path) -> None:
    history = json.loads((backbone_folder / "history.json").read_text())
    best = max(entry["validation_score"] for entry in history)
    assert headline(backbone, WindowBatches(splits.validation), SPEC.complete) == best
    assert read_record(backbone_folder).training["validation_score"] == best


def test_patience_ends_a_run_that_gets_no_better(splits: Splits, tmp_path: Path) -> None:
    # Steps this small change no prediction, so that the first epoch stays the best.
    train = msgspec.structs.replace(TINY.train, epochs=20, learning_rate=1e-12, patience=2)
    train_backbone(msgspec.structs.replace(TINY, train=train), splits, tmp_path)
    assert len(json.loads((tmp_path / "history.json").read_text())) == 3


def test_a_specialist_sees_its_pattern_alone(splits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Pattern, Pattern]] = []
    forward = RepModel.forward

    def watched(self: RepModel, windows: Mapping[str, Tensor], pattern: Pattern) -> ModelOutput:
        seen.append((frozenset(windows), pattern))
        return forward(self, windows, pattern)

    monkeypatch.setattr(RepModel, "forward", watched)
    pattern = frozenset({"seismic"})
    train_backbone(TINY, splits, tmp_path, pattern=pattern)
    assert set(seen) == {(pattern, pattern)}
    assert read_record(tmp_path).training["pattern"] == "seismic"


def test_stage_2_leaves_the_towers_alone(splits: Splits, backbone: RepModel, tmp_path: Path) -> None:
    before = {name: t.clone() for name, t in backbone.state_dict().items()}
    adapted = adapt(backbone, TINY, splits, tmp_path)
    after = adapted.state_dict()
    assert all(torch.equal(before[name], t) for name, t in backbone.state_dict().items()), "backbone was changed"
    assert all(torch.equal(before[name], after[name]) for name in before if name.startswith("encoders."))
    assert any(not torch.equal(before[name], after[name]) for name in before if name.startswith("head."))


def test_a_backbone_of_something_else_is_refused(splits: Splits, backbone: RepModel, tmp_path: Path) -> None:
    other = msgspec.structs.replace(TINY, encoder=msgspec.structs.replace(TINY.encoder, feature_width=16))
    with pytest.raises(InputError, match="another `encoder` section"):
        adapt(backbone, other, splits, tmp_path)
    backbone.labels = backbone.labels[::-1]
    with pytest.raises(InputError, match="knows the classes"):
        adapt(backbone, TINY, splits, tmp_path)
    backbone.stage = "adapted"
    with pytest.raises(InputError, match="adapted already"):
        adapt(backbone, TINY, splits, tmp_path)


def test_a_loss_that_is_not_finite_ends_the_run(splits: Splits, tmp_path: Path) -> None:
    train = msgspec.structs.replace(TINY.train, learning_rate=1e30, warmup=0.0, clip_norm=1e30)
    with pytest.raises(InputError, match="lower learning_rate"):
        train_backbone(msgspec.structs.replace(TINY, train=train), splits, tmp_path)


def test_the_loss_is_the_mean_over_windows_whatever_their_patterns(splits: Splits, backbone: RepModel) -> None:
    backbone.eval()
    windows = [splits.train[i] for i in range(6)]
    batch = {name: torch.from_numpy(np.stack([w.values[name] for w in windows])) for name in SPEC.names}
    targets = torch.tensor([w.target for w in windows])
    patterns = [SPEC.patterns()[i] for i in (0, 1, 0, 2, 2, 2)]
    one_by_one = [
        torch.nn.functional.cross_entropy(
            backbone({n: batch[n][i : i + 1] for n in pattern}, pattern).logits, targets[i : i + 1]
        )
        for i, pattern in enumerate(patterns)
    ]
    loss = Objective(backbone, TINY.train)(batch, targets, patterns)
    torch.testing.assert_close(loss, torch.stack(one_by_one).mean())


def test_distillation_adds_the_divergence_from_the_complete_model(splits: Splits, backbone: RepModel) -> None:
    backbone.eval()
    batch = {name: torch.from_numpy(splits.train[0].values[name])[None] for name in SPEC.names}
    targets, alone = torch.tensor([splits.train[0].target]), frozenset({"seismic"})
    config = msgspec.structs.replace(TINY.train, distillation=2.0)
    plain = Objective(backbone, config)(batch, targets, [alone])
    taught = Objective(backbone, config, backbone)(batch, targets, [alone])
    p = backbone(batch, SPEC.complete).logits.softmax(-1)
    q = backbone({"seismic": batch["seismic"]}, alone).logits.softmax(-1)
    torch.testing.assert_close(taught - plain, 2.0 * (p * (p / q).log()).sum())


def test_the_rate_warms_up_and_falls_to_its_floor() -> None:
    config = TrainConfig(learning_rate=1.0, warmup=0.1, floor=0.01)
    rates = [learning_rate(step, 100, config) for step in range(100)]
    assert rates[9] == pytest.approx(1.0)
    assert np.all(np.diff(rates[:10]) > 0)
    assert np.all(np.diff(rates[10:]) < 0)
    assert rates[-1] == pytest.approx(0.01)


def test_augmentation_shifts_both_sensors_together_and_is_seeded() -> None:
    pulse = {"acoustic": torch.zeros(4, 1, 200), "seismic": torch.zeros(4, 1, 100)}
    for values in pulse.values():
        values[..., 0] = 1.0
    first = augment(pulse, SPEC, torch.Generator().manual_seed(3))
    again = augment(pulse, SPEC, torch.Generator().manual_seed(3))
    assert all(torch.equal(first[name], again[name]) for name in pulse)
    # A smooth gain keeps a pulse near its place: half the samples, half the delay.
    delay = {name: values.abs().argmax(-1)[:, 0] / values.shape[-1] for name, values in first.items()}
    assert (delay["acoustic"] - delay["seismic"]).abs().max() < 0.05
    assert len(set(delay["acoustic"].tolist())) == 4


def test_augmentation_without_spread_is_a_roll(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rep_edge.data.augment.COLOUR_SPREAD", 0.0)
    windows = {"seismic": torch.randn(3, 2, 50, generator=torch.Generator().manual_seed(0))}
    shift = (torch.rand(3, generator=torch.Generator().manual_seed(7)) * 50).long()
    rolled = augment(windows, SPEC, torch.Generator().manual_seed(7))["seismic"]
    for i in range(3):
        torch.testing.assert_close(rolled[i], windows["seismic"][i].roll(int(shift[i]), -1), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("section", "field", "value"),
    [
        ("train", "epochs", 0),
        ("adapt", "missing_rate", 1.5),
        ("train", "batch_size", 0),
        ("train", "learning_rate", -1),
    ],
)
def test_settings_out_of_range_name_the_field(section: str, field: str, value: float, tmp_path: Path) -> None:
    content = msgspec.to_builtins(TINY)
    content[section][field] = value
    path = tmp_path / "config.yaml"
    path.write_bytes(msgspec.yaml.encode(content))
    with pytest.raises(InputError, match=rf"config\.yaml: .*{section}\.{field}"):
        read_config(path)


class ThreeSensors:
    """Windows of three modalities, one of them with two channels; a WindowDataset."""

    def __init__(self, spec: WindowSpec, n: int = 24) -> None:
        rng = np.random.default_rng(0)
        self.spec, self.name, self.labels, self.report = spec, "three", ("a", "b"), ()
        self.targets = np.arange(n, dtype=np.int64) % 2
        self.recordings = tuple(f"run {i}" for i in range(n))
        self.values = {m.name: rng.normal(size=(n, *m.shape)).astype(np.float32) for m in spec.modalities}

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> Window:
        values = {name: array[index] for name, array in self.values.items()}
        return Window(values, int(self.targets[index]), self.recordings[index], 0.0)


@pytest.mark.parametrize("memory", ["fed", "learned", "prompts", "none"])
def test_any_number_of_sensors_trains(memory: Literal["fed", "learned", "prompts", "none"], tmp_path: Path) -> None:
    extra = Stream(name="infrasound", rate_hz=50, samples=100, channels=2)
    spec = msgspec.structs.replace(SPEC, modalities=(*SPEC.modalities, extra))
    encoder = msgspec.structs.replace(TINY.encoder, patch_bins={**TINY.encoder.patch_bins, "infrasound": 2})
    adapter = msgspec.structs.replace(TINY.adapter, memory=memory)
    once = msgspec.structs.replace(TINY.train, epochs=1)
    config = msgspec.structs.replace(TINY, signals=spec, encoder=encoder, adapter=adapter, train=once, adapt=once)
    splits = Splits(*(ThreeSensors(spec) for _ in range(3)))
    backbone = train_backbone(config, splits, tmp_path / "backbone")
    adapted = adapt(backbone, config, splits, tmp_path / "adapted")
    assert set(pattern_answers(adapted, WindowBatches(splits.test))) == set(spec.patterns())


@pytest.mark.slow
def test_two_processes_train_the_same_model_together(splits: Splits, tmp_path: Path) -> None:
    script = tmp_path / "run.py"
    script.write_text(KILLED)
    config = tmp_path / "config.yaml"
    config.write_bytes(msgspec.yaml.encode(TINY))
    arguments = [str(script), str(config), "train", str(tmp_path / "out"), "-1"]
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *arguments]
    run = subprocess.run(launch, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert load_pretrained(tmp_path / "out").stage == "backbone"
    assert run.stderr.count("epoch 3/3") == 1
