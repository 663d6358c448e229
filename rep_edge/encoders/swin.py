"""SW-T, FOCAL's small Swin Transformer over segment spectra: timm's parts, run block by block."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from timm.models.swin_transformer import PatchMerging, SwinTransformerBlock
from torch import Tensor, nn

from rep_edge.config import FrontendConfig, SwinConfig
from rep_edge.encoders.base import Beside, Embedded, Encoder, Keep, join
from rep_edge.encoders.swin_collapse import collapse
from rep_edge.encoders.window_plan import Index, WindowPlan, lookup, merge_order, take, window_order
from rep_edge.frontend import SegmentSpectrum
from rep_edge.signals import Stream

Grid = tuple[int, int]


class SwinEncoder(Encoder):
    """The tower of one modality: spectra, patches of 1 x `patch_bins`, stages of window attention, one projection.

    The grid of patches is padded with zeros so that every stage divides into windows. Tokens are kept in the order of
    the next block's windows, so that one gather per shift replaces rolling and partitioning; `pool` flattens them in
    that order. A block shifts its windows only where both sides of its grid exceed the window.
    """

    embed_order: Tensor

    def __init__(self, modality: Stream, frontend: FrontendConfig, config: SwinConfig) -> None:
        super().__init__()
        self.frontend = SegmentSpectrum(modality.samples, modality.channels, frontend.segments, frontend.channels)
        self.patch_bins = config.patch_bins[modality.name]
        self.feature_width = config.feature_width
        self.steps = sum(config.depths)
        self.depths, self.heads = config.depths, config.heads
        unit = config.window * 2 ** (len(config.depths) - 1)
        columns = -(-self.frontend.bins // self.patch_bins)
        self.grid: Grid = (-(-self.frontend.segments // unit) * unit, -(-columns // unit) * unit)

        width = config.widths[0]
        self.patch = nn.Linear(self.frontend.features * self.patch_bins, width)
        self.patch_norm = nn.LayerNorm(width)
        drop_path = np.linspace(0, config.drop_path, self.steps).tolist()
        self.blocks = nn.ModuleList(
            self._block(config, stage, index, drop_path[sum(config.depths[:stage]) + index])
            for stage, depth in enumerate(config.depths)
            for index in range(depth)
        )
        self.merges = nn.ModuleList(PatchMerging(a, b) for a, b in zip(config.widths, config.widths[1:], strict=False))
        self.norm = nn.LayerNorm(config.widths[-1])
        last = self._grid_of(len(config.depths) - 1)
        self.project = nn.Linear(last[0] * last[1] * config.widths[-1], config.feature_width)
        self.apply(_initialise)
        self._plan()

    def _grid_of(self, stage: int) -> Grid:
        return self.grid[0] >> stage, self.grid[1] >> stage

    def _block(self, config: SwinConfig, stage: int, index: int, drop_path: float) -> nn.Module:
        grid = self._grid_of(stage)
        shifts = index % 2 == 1 and min(grid) > config.window
        block = SwinTransformerBlock(
            dim=config.widths[stage],
            input_resolution=grid,
            num_heads=config.heads,
            window_size=config.window,
            shift_size=config.window // 2 if shifts else 0,
            mlp_ratio=config.mlp_ratio,
            proj_drop=config.dropout,
            attn_drop=config.attention_dropout,
            drop_path=drop_path,
        )
        return cast("nn.Module", block)

    def _block_of(self, k: int) -> Any:
        return self.blocks[k]

    def _plan_of(self, k: int) -> WindowPlan:
        return cast("WindowPlan", self.plans[k])

    def _plan(self) -> None:
        """The index tables of a full grid: first gather, one plan a block, one order a merge."""
        first = list(np.cumsum([0, *self.depths[:-1]]))
        stages = np.repeat(np.arange(len(self.depths)), self.depths).tolist()
        placed = [
            window_order(self._grid_of(stage), self._block_of(k).window_size, self._block_of(k).shift_size)
            for k, stage in enumerate(stages)
        ]
        plans, merges = [], []
        held = placed[0]
        for k in range(self.steps):
            block = self._block_of(k)
            if k in first[1:]:
                merges.append(lookup(held, merge_order(self._grid_of(stages[k] - 1), placed[k]).reshape(-1)))
                held = placed[k]
            mask = None if block.attn_mask is None else block.attn_mask[:, None].clone()
            windows = placed[k].size // block.window_area
            plans.append(WindowPlan(lookup(held, placed[k]), mask, torch.full((windows,), 1 / windows)))
            held = placed[k]
        self.set_plans(placed[0], plans, merges, first)

    def set_plans(
        self, order: Index, plans: Sequence[WindowPlan], merges: Sequence[Index], first: Sequence[int]
    ) -> None:
        """order: grid position of each embedded token; merges: the four tokens of each merged one, flat; first: blocks
        that start a stage."""
        self.register_buffer("embed_order", torch.from_numpy(order.copy()), persistent=False)
        self.plans = nn.ModuleList(plans)
        self.merge_before = {int(k): stage for stage, k in enumerate(first[1:])}
        for stage, merge in enumerate(merges):
            self.register_buffer(f"merge_order_{stage}", torch.from_numpy(merge.copy()), persistent=False)

    def width(self, k: int) -> int:
        return int(self._block_of(k).dim)

    def embed(self, window: Tensor) -> Embedded:
        spectra = self.frontend(window)
        features, segments, bins = spectra.shape[1:]
        rows, columns = self.grid
        spectra = nn.functional.pad(spectra, (0, columns * self.patch_bins - bins, 0, rows - segments))
        patches = spectra.reshape(-1, features, rows * columns, self.patch_bins)
        patches = patches.transpose(1, 2).reshape(-1, rows * columns, features * self.patch_bins)
        return Embedded(self.patch_norm(self.patch(take(patches, 0, self.embed_order))))

    def advance(self, k: int, sequence: Tensor, lead: int) -> Tensor:
        stage = self.merge_before.get(k)
        if stage is None:
            return sequence
        order: Tensor = self.get_buffer(f"merge_order_{stage}")
        # A slot is taken four times, as its own neighbour.
        front = torch.arange(lead, device=order.device).repeat_interleave(4)
        quads = sequence.index_select(1, torch.cat([front, order + lead]))
        return self._merge(stage, quads.reshape(-1, lead + order.shape[0] // 4, 4 * sequence.shape[-1]))

    def widen(self, k: int, rows: Tensor) -> Tensor:
        stage = self.merge_before.get(k)
        return rows if stage is None else self._merge(stage, torch.cat([rows, rows, rows, rows], dim=-1))

    def _merge(self, stage: int, rows: Tensor) -> Tensor:
        merge: Any = self.merges[stage]
        merged: Tensor = merge.reduction(merge.norm(rows))
        return merged

    def step(
        self,
        k: int,
        sequence: Tensor,
        lead: int,
        fixed: Tensor | None = None,
        keep: Keep = "all",
        beside: Beside = (),
    ) -> Tensor:
        block = self._block_of(k)
        sequence = self._plan_of(k).arrange(sequence, lead)
        qkv = block.attn.qkv(block.norm1(sequence))
        if keep != "all":
            sequence = sequence[:, lead:] if keep == "tokens" else sequence[:, :lead]
        mixed = block.attn.proj_drop(block.attn.proj(self._attend(k, qkv, lead, fixed, keep)))
        sequence = sequence + block.drop_path1(mixed)
        stepped: Tensor = sequence + block.drop_path2(block.mlp(block.norm2(sequence)))
        return stepped

    def _attend(self, k: int, qkv: Tensor, lead: int, fixed: Tensor | None, keep: Keep) -> Tensor:
        """Every window attends to fixed slots, slots and its own tokens; the slots' results are averaged over windows.

        qkv: [B, lead + N, 3 d] -> what is kept of [B, lead + N, d].
        """
        block, plan = self._block_of(k), self._plan_of(k)
        area, width, heads = block.window_area, self.width(k), self.heads
        if fixed is not None:
            qkv = join([fixed, qkv])
        slots = lead if fixed is None else lead + fixed.shape[1]
        # A single window sees the slots where they stand.
        if slots and plan.windows > 1:
            qkv = qkv.index_select(1, plan.with_slots(slots))
        # One transposition for queries, keys and values: [B, U, 3 h, slots + A, d / h].
        parts = qkv.reshape(-1, plan.windows, slots + area, 3 * heads, width // heads).transpose(2, 3)
        query, key, value = torch.split(parts, heads, dim=2)
        first = slots if keep == "tokens" else slots - lead
        last = slots if keep == "slots" else slots + area
        if last - first < slots + area:
            query = query[..., first:last, :]
        scores = (query * block.attn.scale) @ key.transpose(-2, -1)
        if keep != "slots":
            scores = scores + self._bias(k, slots - first, slots)
        weights = block.attn.attn_drop(scores.softmax(dim=-1))
        mixed: Tensor = (weights @ value).transpose(2, 3)
        if keep == "tokens" or not lead or plan.windows == 1:
            return mixed.reshape(-1, plan.windows * (last - first), width)
        mixed = mixed.reshape(-1, plan.windows, last - first, width)
        if keep == "slots":
            return plan.average(mixed)
        for_slots, for_tokens = torch.split(mixed, [lead, area], dim=2)
        return torch.cat([plan.average(for_slots), for_tokens.reshape(-1, plan.windows * area, width)], dim=1)

    def _bias(self, k: int, queries: int, extra: int) -> Tensor:
        """Relative position bias and mask [1 or U, heads, queries + A, extra + A]; slots have neither."""
        block, plan = self._block_of(k), self._plan_of(k)
        bias: Tensor = block.attn._get_rel_pos_bias()
        if plan.mask is not None:
            bias = bias + plan.mask
        padded: Tensor = nn.functional.pad(bias, (extra, 0, queries, 0))
        return padded

    def remember(self, k: int, rows: Tensor) -> Tensor:
        block = self._block_of(k)
        qkv: Tensor = block.attn.qkv(block.norm1(rows))
        return qkv

    def pool(self, tokens: Tensor, beside: Beside = ()) -> Tensor:
        feature: Tensor = self.project(self.norm(tokens).flatten(1))
        return feature

    def level(self, k: int, tokens: Tensor, beside: Beside = ()) -> Tensor:
        plan = self._plan_of(k)
        if plan.even:
            return super().level(k, tokens)
        # A collapsed tower's window stands for a share of all windows.
        share = (plan.weight / plan.area).repeat_interleave(plan.area)
        return (tokens.square() * share[:, None]).sum(dim=1).sqrt()

    def from_pooled_end(self) -> list[nn.Parameter]:
        parts: list[nn.Module] = [self.patch, self.patch_norm]
        for k, block in enumerate(self.blocks):
            if k in self.merge_before:
                parts.append(self.merges[self.merge_before[k]])
            parts.append(block)
        return [p for part in [self.project, self.norm, *parts[::-1]] for p in list(part.parameters())[::-1]]

    def collapsed(self, placeholder: Tensor) -> Encoder:
        return collapse(self, placeholder)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
