"""Which token stands in which attention window: index tables that replace rolling, partitioning and reversing."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Index = NDArray[np.int64]


def window_order(grid: tuple[int, int], window: tuple[int, int], shift: tuple[int, int]) -> Index:
    """Grid position (row-major) of each token when a grid, rolled back by `shift`, is cut into windows: int64 [N]."""
    position: Index = np.arange(grid[0] * grid[1], dtype=np.int64).reshape(grid)
    rolled: Index = np.roll(position, (-shift[0], -shift[1]), axis=(0, 1))
    rows, columns = grid[0] // window[0], grid[1] // window[1]
    order: Index = rolled.reshape(rows, window[0], columns, window[1]).transpose(0, 2, 1, 3).reshape(-1)
    return order


def merge_order(grid: tuple[int, int], placed: Index) -> Index:
    """Grid positions of the four tokens that make each merged token, int64 [N / 4, 4], in timm's order.

    placed: position, on the halved grid, of each merged token in the sequence that follows.
    """
    position: Index = np.arange(grid[0] * grid[1], dtype=np.int64).reshape(grid[0] // 2, 2, grid[1] // 2, 2)
    quads: Index = position.transpose(0, 2, 3, 1).reshape(-1, 4)
    return quads[placed]


def lookup(held: Index, wanted: Index) -> Index:
    """Where each wanted grid position stands in a sequence that holds the positions `held`."""
    where = np.empty(held.size, dtype=np.int64)
    where[held] = np.arange(held.size)
    return where[wanted]


class WindowPlan(nn.Module):
    """One block's windows over the sequence that the block before it left.

    order: int64 [U * A], token of that sequence at each place of the U windows; None where they stand so already.
    mask: float32 [U, 1, A, A] added to the scores, or None; weight: float32 [U], share of each window in the slots'
    mean.
    """

    order: Tensor | None
    mask: Tensor | None
    weight: Tensor

    def __init__(self, order: Index, mask: Tensor | None, weight: Tensor) -> None:
        super().__init__()
        in_place = np.array_equal(order, np.arange(order.size))
        self.register_buffer("order", None if in_place else torch.from_numpy(order.copy()), persistent=False)
        self.register_buffer("mask", mask, persistent=False)
        self.register_buffer("weight", weight, persistent=False)
        self.windows = len(weight)
        self.area = order.size // self.windows
        self.even = bool((weight == weight[0]).all())

    def arrange(self, sequence: Tensor, lead: int) -> Tensor:
        """The sequence with its tokens in window order, slots in front as they were."""
        return take(sequence, lead, self.order)

    def with_slots(self, slots: int) -> Tensor:
        """Rows of [slots, tokens in window order] that each window sees, slots first: int64 [U * (slots + A)]."""
        front = torch.arange(slots, device=self.weight.device).expand(self.windows, -1)
        own = torch.arange(self.windows * self.area, device=self.weight.device).reshape(self.windows, -1) + slots
        return torch.cat([front, own], dim=1).reshape(-1)

    def average(self, slots: Tensor) -> Tensor:
        """Slots per window [B, U, L, d] to their mean over windows [B, L, d]."""
        if self.even:
            return slots.mean(dim=1)
        return (slots * self.weight[:, None, None]).sum(dim=1)


def take(sequence: Tensor, lead: int, order: Tensor | None) -> Tensor:
    """Tokens of [B, lead + N, d] chosen by `order`, behind the `lead` slots."""
    if order is None:
        return sequence
    front = torch.arange(lead, device=order.device)
    return sequence.index_select(1, torch.cat([front, order + lead]))
