"""A SW-T tower that sees only its placeholder: equal tokens are computed once.

A constant window embeds to few distinct tokens, and windows that hold the same tokens under the same mask have the same
results whatever the slots carry. One representative of each such window is computed; a window's weight in the slots'
mean and the columns of the flattening projection make up for those left out. The result equals the full tower up to
rounding, because there is no absolute position embedding.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor, nn

from rep_edge.encoders.window_plan import Index, WindowPlan

if TYPE_CHECKING:
    from rep_edge.encoders.swin import SwinEncoder


def distinct_rows(rows: Index) -> tuple[Index, Index]:
    """(index of the first of each distinct row, number of its distinct row for every row)."""
    _, first, number = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    return first, number.reshape(-1)


def _mask_numbers(plan: WindowPlan) -> Index:
    """For each window a number that windows with equal masks share, int64 [U]."""
    if plan.mask is None:
        return np.zeros(plan.windows, dtype=np.int64)
    return distinct_rows(plan.mask.reshape(plan.windows, -1).numpy().astype(np.int64))[1]


def _collapse_block(plan: WindowPlan, stands_for: Index) -> tuple[WindowPlan, Index]:
    """The plan over representatives, and the representative of every token that the full plan leaves.

    stands_for: [N], representative of every token that enters the full plan.
    """
    entering = stands_for if plan.order is None else stands_for[plan.order.numpy()]
    windows = entering.reshape(plan.windows, -1)
    first, number = distinct_rows(np.column_stack([windows, _mask_numbers(plan)]))
    chosen = torch.from_numpy(first)
    weight = torch.zeros(first.size).index_add_(0, torch.from_numpy(number), plan.weight)
    mask = None if plan.mask is None else plan.mask[chosen]
    area = windows.shape[1]
    leaving = number[:, None] * area + np.arange(area)
    return WindowPlan(windows[first].reshape(-1), mask, weight), leaving.reshape(-1)


def collapse(encoder: SwinEncoder, placeholder: Tensor) -> SwinEncoder:
    """A copy of `encoder` that gives the same features and slots for `placeholder` [1, channels, samples]."""
    with torch.no_grad():
        tokens = encoder.embed(placeholder).tokens[0]
    first, stands_for = distinct_rows(tokens.contiguous().view(torch.int32).numpy().astype(np.int64))
    order = encoder.embed_order.numpy()[first]
    plans, merges = [], []
    for k, plan in enumerate(cast("list[WindowPlan]", list(encoder.plans))):
        stage = encoder.merge_before.get(k)
        if stage is not None:
            quads = stands_for[encoder.get_buffer(f"merge_order_{stage}").numpy()].reshape(-1, 4)
            first, stands_for = distinct_rows(quads)
            merges.append(quads[first].reshape(-1))
        collapsed, stands_for = _collapse_block(plan, stands_for)
        plans.append(collapsed)
    twin = deepcopy(encoder)
    twin.set_plans(order, plans, merges, [0, *encoder.merge_before])
    twin.project = _sum_columns(encoder.project, stands_for)
    return twin


def _sum_columns(project: nn.Linear, stands_for: Index) -> nn.Linear:
    """The flattening projection with the columns of tokens that share a representative added up."""
    count = int(stands_for.max()) + 1
    weight = project.weight.detach().reshape(project.out_features, stands_for.size, -1)
    summed = torch.zeros(project.out_features, count, weight.shape[2], dtype=weight.dtype)
    summed.index_add_(1, torch.from_numpy(stands_for), weight)
    twin = nn.Linear(count * weight.shape[2], project.out_features)
    twin.weight.data.copy_(summed.reshape(project.out_features, -1))
    twin.bias.data.copy_(project.bias.detach())
    return twin
