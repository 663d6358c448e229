"""Parts of a tower made from another library's modules: their weights are taken over, not copied.

All of it works without values too (PyTorch's meta device), so that an architecture can be checked before any weights
are read.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rep_edge.encoders.base import Encoder
from rep_edge.encoders.transformer import QuickGelu

GELUS = frozenset({"GELU", "GELUActivation"})
TANH_GELUS = frozenset({"GELUTanh", "PytorchGELUTanh", "NewGELUActivation"})
QUICK_GELUS = frozenset({"QuickGELU", "QuickGELUActivation"})


class UnsupportedTowerError(ValueError):
    """A tower that does not run block by block here; the message says why, to stand behind the model's name."""


def parameter(values: Tensor) -> nn.Parameter:
    """Values as a parameter with memory of its own size."""
    return values if isinstance(values, nn.Parameter) else nn.Parameter(values.detach().contiguous())


def linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """x -> x weight^T + bias. weight: [out, in]; bias: [out], or None for none."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    layer.weight = parameter(weight)
    if bias is not None:
        layer.bias = parameter(bias)
    return layer


def scaled(layer: nn.Linear, gamma: Tensor | None) -> nn.Linear:
    """The layer with a scale of its outputs [out] folded in; None: none."""
    if gamma is None:
        return linear(layer.weight, layer.bias)
    with torch.no_grad():
        bias = None if layer.bias is None else layer.bias * gamma
        return linear(layer.weight * gamma[:, None], bias)


def projection(matrix: Tensor | nn.Module | None) -> nn.Module:
    """x -> x matrix; a linear layer as it is; nothing for None."""
    if matrix is None or isinstance(matrix, nn.Identity):
        return nn.Identity()
    if isinstance(matrix, nn.Linear):
        return linear(matrix.weight, matrix.bias)
    if isinstance(matrix, nn.Module):
        raise UnsupportedTowerError(f"projects its feature with {type(matrix).__name__}")
    return linear(matrix.detach().T, None)


def norm(layer: nn.Module) -> nn.Module:
    """A LayerNorm, or nothing. Raises UnsupportedTowerError for another norm."""
    if isinstance(layer, nn.Identity):
        return layer
    if not isinstance(layer, nn.LayerNorm) or layer.weight is None:
        raise UnsupportedTowerError(f"norms with {type(layer).__name__}")
    taken = nn.LayerNorm(layer.normalized_shape, layer.eps, device="meta")
    taken.weight, taken.bias = layer.weight, layer.bias
    return taken


def mlp(first: nn.Linear, activation: nn.Module, second: nn.Linear, gamma: Tensor | None = None) -> nn.Sequential:
    """Linear, activation, Linear, with the outputs scaled by gamma."""
    return nn.Sequential(linear(first.weight, first.bias), gelu(activation), scaled(second, gamma))


def gelu(activation: nn.Module) -> nn.Module:
    """The activation by its name. Raises UnsupportedTowerError for one that is no GELU."""
    name = type(activation).__name__
    if isinstance(activation, nn.GELU):
        return nn.GELU(activation.approximate)
    if name in GELUS:
        return nn.GELU()
    if name in TANH_GELUS:
        return nn.GELU("tanh")
    if name in QUICK_GELUS:
        return QuickGelu()
    raise UnsupportedTowerError(f"has the activation {name}")


def materialised(tower: Encoder) -> Encoder:
    """The tower with memory, still without values, where it has none yet."""
    for module in tower.modules():
        for name, held in module.named_parameters(recurse=False):
            if held.is_meta:
                setattr(module, name, nn.Parameter(torch.empty_like(held, device="cpu"), held.requires_grad))
        for name, buffer in module.named_buffers(recurse=False):
            if buffer.is_meta:
                setattr(module, name, torch.empty_like(buffer, device="cpu"))
    return tower
