"""Windows of a dataset as batches of tensors: from memory where they fit, else read as they are needed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from rep_edge.data.windows import Window, WindowDataset
from rep_edge.errors import InputError

MEMORY_LIMIT = 2 << 30
"""Bytes of windows that are kept in memory."""


class WindowBatches:
    """The windows of a dataset, ready to be taken in any order.

    targets: of all windows. Reading the dataset happens once, here, where n windows take at most `limit` bytes.
    """

    def __init__(self, dataset: WindowDataset, limit: int = MEMORY_LIMIT) -> None:
        self.dataset = dataset
        self.targets = torch.from_numpy(np.array(dataset.targets))
        window_bytes = sum(math.prod(m.shape) * np.dtype(m.dtype).itemsize for m in dataset.spec.modalities)
        fits = len(dataset) * window_bytes <= limit
        self._stored = self._read_all() if fits else None

    def __len__(self) -> int:
        return len(self.dataset)

    def take(self, batches: Sequence[NDArray[np.int64]]) -> Iterator[dict[str, Tensor]]:
        """For each batch of indices, name -> [B, *shape of the modality]."""
        if self._stored is None:
            order = [indices.tolist() for indices in batches]
            for batch in DataLoader(_Values(self.dataset), batch_sampler=order, num_workers=2, collate_fn=_collate):
                # Raised in a worker it would come out with that process's traceback as its message.
                if isinstance(batch, InputError):
                    raise batch
                yield batch
            return
        for indices in batches:
            chosen = torch.from_numpy(indices)
            yield {name: values[chosen] for name, values in self._stored.items()}

    def in_order(self, batch_size: int, start: int = 0, step: int = 1) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
        """All windows start, start + step, ... once, in dataset order, with their targets [B, ...]."""
        indices = np.arange(start, len(self), step, dtype=np.int64)
        batches = [indices[i : i + batch_size] for i in range(0, len(indices), batch_size)]
        for chosen, windows in zip(batches, self.take(batches), strict=True):
            yield windows, self.targets[torch.from_numpy(chosen)]

    def _read_all(self) -> dict[str, Tensor]:
        n, spec = len(self.dataset), self.dataset.spec
        arrays = {m.name: np.empty((n, *m.shape), dtype=m.dtype) for m in spec.modalities}
        for index in range(n):
            values = self.dataset[index].values
            for name, array in arrays.items():
                array[index] = values[name]
        return {name: torch.from_numpy(array) for name, array in arrays.items()}


class _Values(Dataset[Window | InputError]):
    """A WindowDataset in the form torch's loader takes; a window that cannot be read is its error."""

    def __init__(self, dataset: WindowDataset) -> None:
        self.dataset = dataset

    def __getitem__(self, index: int) -> Window | InputError:
        try:
            return self.dataset[index]
        except InputError as error:
            return error


def _collate(read: list[Window | InputError]) -> dict[str, Tensor] | InputError:
    windows = [window for window in read if not isinstance(window, InputError)]
    if len(windows) < len(read):
        return next(error for error in read if isinstance(error, InputError))
    return {name: torch.from_numpy(np.stack([w.values[name] for w in windows])) for name in windows[0].values}
