"""What training saw of its sensors, so that it can be held against what a device sees."""

from __future__ import annotations

import numpy as np
import pytest
from bundles import ACOUSTIC, MAGNETIC, PAIR, SEISMIC, TRIPLE
from numpy.typing import NDArray

from rep_edge.export.health import health_records


def noise(count: int, shape: tuple[int, int], seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((count, *shape)).astype(np.float32)


def test_noise_means_and_extremes_of_each_modality() -> None:
    loud = np.linspace(1, 3, 200, dtype=np.float32)[:, None, None]
    windows = {"acoustic": loud * noise(200, ACOUSTIC.shape) + 5, "seismic": 100 * noise(200, SEISMIC.shape)}
    records = health_records(PAIR, windows)
    assert set(records) == set(PAIR.names)
    seen = records["acoustic"]
    assert seen.windows == 200
    assert (seen.noise_low, seen.noise_high) == (pytest.approx(0.93, abs=0.1), pytest.approx(2.8, abs=0.2))
    assert seen.mean_low < 5 < seen.mean_high
    assert seen.mean_high - seen.mean_low < 0.6
    assert seen.largest == pytest.approx(np.abs(windows["acoustic"]).max(), rel=0.1)
    assert (seen.clipped, seen.stuck_s) == (0.0, 0.0)
    assert records["seismic"].noise_high == pytest.approx(100, rel=0.3)


def test_all_channels_count() -> None:
    x = noise(50, MAGNETIC.shape)
    x[:, 1] *= 10
    seen = health_records(TRIPLE, {"magnetic": x})["magnetic"]
    assert seen.noise_low < 1.2
    assert seen.noise_high > 5


def test_faulty_windows_do_not_count() -> None:
    x = noise(300, SEISMIC.shape)
    x[3] = np.nan
    x[4] = 7.0
    x[5] *= 1e6
    seen = health_records(PAIR, {"seismic": x})["seismic"]
    assert seen.windows == 298
    assert seen.noise_high < 1.5
    assert seen.largest < 10


def test_a_modality_of_which_there_is_nothing_to_see_has_no_record() -> None:
    flat = np.zeros((20, *ACOUSTIC.shape), np.float32)
    records = health_records(PAIR, {"acoustic": flat, "seismic": noise(20, SEISMIC.shape)})
    assert set(records) == {"seismic"}


def test_simulated_data_without_noise_leaves_room_for_some() -> None:
    x = np.zeros((20, *ACOUSTIC.shape), np.float32)
    x[:, 0, 400:440] = np.sin(np.arange(40))
    seen = health_records(PAIR, {"acoustic": x})["acoustic"]
    assert seen.noise_low == 0.0
    assert seen.noise_high > 0


def test_clipping_and_stuck_values_of_training_are_kept() -> None:
    x = np.clip(noise(100, ACOUSTIC.shape), -0.5, 0.5)
    x[:, 0, :40] = 0.25
    seen = health_records(PAIR, {"acoustic": x})["acoustic"]
    assert seen.stuck_s == pytest.approx(0.05, abs=0.005)
    assert seen.clipped == pytest.approx(0.33, abs=0.05)
