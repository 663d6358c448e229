"""Batches of windows: the same from memory and from disk, in any order."""

from __future__ import annotations

import numpy as np
import pytest

from rep_edge.config import SimulatedData
from rep_edge.data.batches import WindowBatches
from rep_edge.data.simulated import SimulatedDataset
from rep_edge.data.windows import Window
from rep_edge.errors import InputError
from rep_edge.signals import Stream, WindowSpec

SPEC = WindowSpec(
    hop_s=1.0,
    modalities=(
        Stream(name="acoustic", rate_hz=100.0, samples=200),
        Stream(name="seismic", rate_hz=50.0, samples=100),
    ),
)


@pytest.fixture(scope="module")
def dataset() -> SimulatedDataset:
    return SimulatedDataset(SimulatedData(runs_per_class=1, windows_per_run=3), SPEC)


@pytest.mark.parametrize("limit", [1 << 30, 0])
def test_batches_hold_the_windows_that_were_asked_for(dataset: SimulatedDataset, limit: int) -> None:
    order = [np.array([3, 0, 7]), np.array([20])]
    batches = list(WindowBatches(dataset, limit).take(order))
    assert len(batches) == 2
    for rows, batch in zip(order, batches, strict=True):
        for name in SPEC.names:
            assert batch[name].shape == (len(rows), *SPEC[name].shape)
            for row, values in zip(rows, batch[name].numpy(), strict=True):
                np.testing.assert_array_equal(values, dataset[int(row)].values[name])


@pytest.mark.parametrize("share", [(0, 1), (1, 3)])
def test_in_order_every_window_comes_once_with_its_target(dataset: SimulatedDataset, share: tuple[int, int]) -> None:
    start, step = share
    batches = list(WindowBatches(dataset).in_order(4, start, step))
    targets = np.concatenate([targets.numpy() for _, targets in batches])
    np.testing.assert_array_equal(targets, dataset.targets[start::step])
    values = np.concatenate([windows["seismic"].numpy() for windows, _ in batches])
    expected = np.stack([dataset[i].values["seismic"] for i in range(start, len(dataset), step)])
    np.testing.assert_array_equal(values, expected)


class Damaged(SimulatedDataset):
    """A dataset with one window that cannot be read."""

    def __getitem__(self, index: int) -> Window:
        if index == 7:
            raise InputError("seven.png: is damaged or cut off; copy it again")
        return super().__getitem__(index)


@pytest.mark.parametrize("limit", [1 << 30, 0])
def test_a_window_that_cannot_be_read_is_told_in_one_line(limit: int) -> None:
    with pytest.raises(InputError) as told:
        list(WindowBatches(Damaged(SimulatedData(runs_per_class=1, windows_per_run=3), SPEC), limit).in_order(4))
    assert str(told.value) == "seven.png: is damaged or cut off; copy it again"
