"""SW-T against timm's own forward pass, and its slots against a slow reference, window by window in numpy."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rep_edge.config import FrontendConfig, SwinConfig
from rep_edge.encoders.base import Keep
from rep_edge.encoders.swin import SwinEncoder
from rep_edge.signals import Stream

ACOUSTIC = Stream(name="acoustic", rate_hz=8000, samples=16000)
SEISMIC = Stream(name="seismic", rate_hz=100, samples=200)
CONFIG = SwinConfig(patch_bins={"acoustic": 40, "seismic": 1}, widths=(16, 32, 64), depths=(2, 2, 2), feature_width=24)


def encoder_of(modality: Stream) -> SwinEncoder:
    torch.manual_seed(3)
    encoder = SwinEncoder(modality, FrontendConfig(), CONFIG).eval()
    for name, parameter in encoder.named_parameters():
        if "relative_position" in name or "bias" in name:
            nn.init.normal_(parameter, std=0.5)
    return encoder


def through(encoder: SwinEncoder, window: Tensor) -> Tensor:
    sequence = encoder.embed(window).tokens
    for k in range(encoder.steps):
        sequence = encoder.step(k, encoder.advance(k, sequence, 0), 0)
    return sequence


def timm_forward(encoder: SwinEncoder, window: Tensor) -> tuple[Tensor, tuple[int, int]]:
    """The blocks and merges as timm runs them on a grid: [B, H, W, d]."""
    rows, columns = encoder.grid
    spectra = encoder.frontend(window)
    padded = torch.zeros(window.shape[0], spectra.shape[1], rows, columns * encoder.patch_bins)
    padded[:, :, : spectra.shape[2], : spectra.shape[3]] = spectra
    patches = padded.unfold(3, encoder.patch_bins, encoder.patch_bins).permute(0, 2, 3, 1, 4).flatten(3)
    x = encoder.patch_norm(encoder.patch(patches))
    for k, block in enumerate(encoder.blocks):
        if k in encoder.merge_before:
            x = encoder.merges[encoder.merge_before[k]](x)
        x = block(x)
    return x, (x.shape[1], x.shape[2])


@pytest.mark.parametrize("modality", [ACOUSTIC, SEISMIC], ids=lambda m: m.name)
def test_without_slots_it_is_timms_swin(modality: Stream) -> None:
    encoder = encoder_of(modality)
    window = torch.randn(2, *modality.shape)
    expected, grid = timm_forward(encoder, window)
    assert encoder.grid == {"acoustic": (12, 24), "seismic": (12, 12)}[modality.name]
    tokens = through(encoder, window)
    # The last stage's windows stand one after the other: put the grid into that order.
    expected = expected.reshape(2, grid[0] // 3, 3, grid[1] // 3, 3, -1).transpose(2, 3).reshape(tokens.shape)
    torch.testing.assert_close(tokens, expected, atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(encoder.pool(tokens), encoder.project(encoder.norm(expected).flatten(1)))


def softmax(x: NDArray[np.float64]) -> NDArray[np.float64]:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def norm(layer: nn.LayerNorm, x: NDArray[np.float64]) -> NDArray[np.float64]:
    centred = x - x.mean(-1, keepdims=True)
    centred = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + layer.eps)
    return centred * layer.weight.detach().double().numpy() + layer.bias.detach().double().numpy()


def linear(layer: nn.Linear, x: NDArray[np.float64]) -> NDArray[np.float64]:
    return x @ layer.weight.detach().double().numpy().T + layer.bias.detach().double().numpy()


def reference_step(
    block: nn.Module, tokens: NDArray[np.float64], slots: NDArray[np.float64], fixed: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """One unshifted block of one sample: every window attends to fixed slots, slots and its own tokens."""
    d, heads = tokens.shape[1], block.attn.num_heads
    hd = d // heads
    bias = block.attn._get_rel_pos_bias()[0].detach().double().numpy()
    extra, lead = len(fixed) + len(slots), len(slots)
    out_tokens, out_slots = [], []
    for window in tokens.reshape(-1, 9, d):
        rows = np.concatenate([fixed, slots, window])
        q, k, v = np.split(linear(block.attn.qkv, norm(block.norm1, rows)), 3, axis=1)
        heads_out = []
        for h in range(heads):
            part = slice(h * hd, (h + 1) * hd)
            scores = q[:, part] @ k[:, part].T / np.sqrt(hd)
            scores[extra:, extra:] += bias[h]
            heads_out.append(softmax(scores) @ v[:, part])
        mixed = np.concatenate(heads_out, axis=1)
        out_tokens.append(mixed[extra:])
        out_slots.append(mixed[extra - lead : extra])
    rows = np.concatenate([slots, tokens])
    mixed = np.concatenate([np.mean(out_slots, axis=0), np.concatenate(out_tokens)])
    rows = rows + linear(block.attn.proj, mixed)
    hidden = torch.nn.functional.gelu(torch.from_numpy(linear(block.mlp.fc1, norm(block.norm2, rows)))).numpy()
    rows = rows + linear(block.mlp.fc2, hidden)
    return rows[:lead], rows[lead:]


@pytest.mark.parametrize("keep", ["all", "tokens", "slots"])
@pytest.mark.parametrize("k", [0, 2, 4], ids=["16 windows", "4 windows", "1 window"])
def test_slots_are_attended_by_every_window_and_averaged_over_windows(k: int, keep: Keep) -> None:
    encoder = encoder_of(SEISMIC)
    width, count = encoder.width(k), {0: 144, 2: 36, 4: 9}[k]
    sequence = torch.randn(2, 4 + count, width)
    fixed = torch.randn(1, 3, width)
    found = encoder.step(k, sequence, 4, encoder.remember(k, fixed), keep=keep).detach().numpy()
    for b in range(2):
        rows = sequence[b].double().numpy()
        slots, tokens = reference_step(encoder.blocks[k], rows[4:], rows[:4], fixed[0].double().numpy())
        expected = {"all": np.concatenate([slots, tokens]), "tokens": tokens, "slots": slots}[keep]
        np.testing.assert_allclose(found[b], expected, atol=1e-4)


def test_a_slot_meets_a_merge_as_four_equal_neighbours() -> None:
    encoder = encoder_of(SEISMIC)
    sequence = torch.randn(2, 3 + 144, 16)
    merge = encoder.merges[0]
    expected = merge.reduction(merge.norm(sequence[:, :3].repeat(1, 1, 4)))
    torch.testing.assert_close(encoder.advance(2, sequence, 3)[:, :3], expected)
    torch.testing.assert_close(encoder.widen(2, sequence[:, :3]), expected)
    assert encoder.advance(1, sequence, 3) is sequence


def test_the_level_of_a_channel_is_its_root_mean_square_over_the_tokens() -> None:
    tokens = torch.randn(2, 144, 16)
    expected = np.sqrt((tokens.double().numpy() ** 2).mean(axis=1))
    np.testing.assert_allclose(encoder_of(SEISMIC).level(0, tokens).numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize("modality", [ACOUSTIC, SEISMIC], ids=lambda m: m.name)
def test_the_collapsed_tower_equals_the_full_one_whatever_the_slots_carry(modality: Stream) -> None:
    encoder = encoder_of(modality)
    placeholder = torch.zeros(1, *modality.shape)
    small = encoder.collapsed(placeholder)
    outputs: list[tuple[Tensor, ...]] = []
    sizes = []
    for tower in (encoder, small):
        generator = torch.Generator().manual_seed(5)
        tokens = tower.embed(placeholder).tokens.expand(2, -1, -1)
        sequence = torch.cat([torch.randn(2, 3, 16, generator=generator), tokens], dim=1)
        levels = []
        for k in range(tower.steps):
            sequence = tower.step(k, tower.advance(k, sequence, 3), 3)
            sizes.append(sequence.shape[1] - 3)
            levels.append(tower.level(k, sequence[:, 3:]))
            sequence = sequence + torch.cat(
                [torch.randn(2, 3, sequence.shape[2], generator=generator), torch.zeros_like(sequence[:, 3:])], dim=1
            )
        outputs.append((sequence[:, :3], tower.pool(sequence[:, 3:]), *levels))
    for full, collapsed in zip(*outputs, strict=True):
        torch.testing.assert_close(collapsed, full, atol=1e-5, rtol=1e-5)
    assert sum(sizes[6:]) < 0.5 * sum(sizes[:6]), f"tokens computed: {sizes}"
