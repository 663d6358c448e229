"""Heads: a feature that is left out counts as zeros."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from rep_edge.fusion import LinearHead, ResidualHead

WIDTHS = {"text": 3, "audio": 2, "vision": 4}


def features(names: tuple[str, ...]) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    drawn = {name: torch.randn(5, width, generator=generator) for name, width in WIDTHS.items()}
    return {name: drawn[name] for name in names}


def side_by_side(given: dict[str, Tensor]) -> np.ndarray:
    return np.concatenate([given[n].numpy() if n in given else np.zeros((5, w)) for n, w in WIDTHS.items()], axis=1)


@pytest.mark.parametrize("names", [("text", "audio", "vision"), ("text",), ("audio", "vision")])
def test_the_linear_head_is_one_map_of_all_features(names: tuple[str, ...]) -> None:
    head = LinearHead(WIDTHS, 2).requires_grad_(False)
    head.bias += torch.tensor([0.5, -1.0])
    weight = np.concatenate([head.maps[name].weight.numpy() for name in WIDTHS], axis=1)
    wanted = side_by_side(features(names)) @ weight.T + head.bias.numpy()
    np.testing.assert_allclose(head(features(names)).numpy(), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("names", [("text", "audio", "vision"), ("vision",), ("text", "vision")])
def test_the_residual_head_is_mults(names: tuple[str, ...]) -> None:
    head = ResidualHead(WIDTHS, 1, dropout=0.5).eval().requires_grad_(False)
    p = side_by_side(features(names))
    maps = [(layer.weight.numpy(), layer.bias.numpy()) for layer in (head.inner, head.outer, head.out)]
    hidden = np.maximum(p @ maps[0][0].T + maps[0][1], 0)
    wanted = (p + hidden @ maps[1][0].T + maps[1][1]) @ maps[2][0].T + maps[2][1]
    np.testing.assert_allclose(head(features(names)).numpy(), wanted, rtol=1e-5, atol=1e-5)


def test_a_constant_feature_is_repeated() -> None:
    head = ResidualHead({"text": 3, "audio": 2}, 1, dropout=0.0).eval()
    assert head({"text": torch.zeros(1, 3), "audio": torch.zeros(4, 2)}).shape == (4, 1)
