"""Image towers out of timm's plain vision transformers, which open_clip has in its SigLIP models."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from rep_edge.encoders.image_tower import CLASS_TOKEN, ImageTower, PatchEmbedding, Patches
from rep_edge.encoders.readout import AttentionPool, MeanReadout, ResidualMlp, TokenReadout
from rep_edge.encoders.takeover import UnsupportedTowerError, linear, mlp, norm, parameter, projection, scaled
from rep_edge.encoders.transformer import Block


def timm_tower(visual: Any) -> ImageTower:
    """The tower of open_clip's TimmModel. Raises UnsupportedTowerError where it is no plain vision transformer."""
    trunk = visual.trunk
    _require_plain(trunk)
    project = _projection(visual)
    blocks = [_block(block) for block in trunk.blocks]
    readout, pooled = _readout(trunk, project)
    width = project.out_features if isinstance(project, nn.Linear) else blocks[0].width
    return ImageTower(_embedding(trunk), blocks, readout, width, pooled)


def _require_plain(trunk: Any) -> None:
    kind = type(trunk).__name__
    if kind != "VisionTransformer" or type(trunk).__module__ != "timm.models.vision_transformer":
        raise UnsupportedTowerError(f"has {kind} for images")
    if not trunk.patch_embed.flatten:
        raise UnsupportedTowerError("takes pictures of any size")
    if trunk.num_reg_tokens or trunk.pos_embed is None:
        raise UnsupportedTowerError("has register tokens or no positions")


def _embedding(trunk: Any) -> PatchEmbedding:
    positions = trunk.pos_embed[0]
    class_token = positions[:0] if trunk.cls_token is None else trunk.cls_token[0]
    if trunk.no_embed_class:
        positions = torch.cat([torch.zeros_like(class_token), positions])
    return PatchEmbedding(
        _patches(trunk.patch_embed), parameter(class_token), parameter(positions), norm(trunk.norm_pre)
    )


def _patches(patch: Any) -> nn.Module:
    """One convolution, or a stem of several as in MobileCLIP-B and ViTamin, as it is."""
    if type(patch).__name__ == "PatchEmbed" and isinstance(patch.norm, nn.Identity):
        return Patches(patch.proj)
    stem: nn.Module = patch
    return stem


def _readout(trunk: Any, project: nn.Module) -> tuple[nn.Module, slice]:
    others = slice(0 if trunk.pool_include_prefix else trunk.num_prefix_tokens, None)
    if trunk.attn_pool is not None:
        behind = [_attention_pool(trunk.attn_pool), norm(trunk.fc_norm), project]
        return nn.Sequential(norm(trunk.norm), *behind), others
    if trunk.global_pool == "token":
        return TokenReadout(nn.Sequential(norm(trunk.norm), norm(trunk.fc_norm)), project), CLASS_TOKEN
    if trunk.global_pool == "avg":
        return MeanReadout(norm(trunk.norm), norm(trunk.fc_norm), project), others
    raise UnsupportedTowerError(f"pools its image tokens by {trunk.global_pool!r}")


def _attention_pool(pool: Any) -> nn.Module:
    plain = (pool.q_norm, pool.k_norm)
    if type(pool).__name__ != "AttentionPoolLatent" or not all(isinstance(part, nn.Identity) for part in plain):
        raise UnsupportedTowerError(f"pools its image tokens by {type(pool).__name__}")
    if pool.latent_len != 1 or pool.pos_embed is not None or pool.mlp is None or not isinstance(pool.q, nn.Linear):
        raise UnsupportedTowerError("pools its image tokens by several queries")
    query, kv, proj = (linear(layer.weight, layer.bias) for layer in (pool.q, pool.kv, pool.proj))
    attention = AttentionPool(pool.num_heads, parameter(pool.latent[0]), query, kv, proj)
    return nn.Sequential(attention, ResidualMlp(norm(pool.norm), mlp(pool.mlp.fc1, pool.mlp.act, pool.mlp.fc2)))


def _projection(visual: Any) -> nn.Module:
    """The last linear layer: in the trunk or behind it."""
    head = dict(visual.head.named_children())
    if set(head) - {"drop", "proj"}:
        raise UnsupportedTowerError(f"has the head {', '.join(head)}")
    return projection(head.get("proj", visual.trunk.head))


def _block(block: Any) -> Block:
    attention = block.attn
    extras = [getattr(attention, name, None) for name in ("q_norm", "k_norm", "norm", "gate")]
    plain = all(part is None or isinstance(part, nn.Identity) for part in extras)
    if (type(block).__name__, type(attention).__name__) != ("Block", "Attention") or not plain:
        raise UnsupportedTowerError("has attention blocks of its own kind")
    qkv = attention.qkv
    bias = qkv.weight.new_zeros(qkv.out_features) if qkv.bias is None else qkv.bias
    return Block(
        heads=attention.num_heads,
        norm1=norm(block.norm1),
        qkv=linear(qkv.weight, bias),
        proj=scaled(attention.proj, _gamma(block.ls1)),
        norm2=norm(block.norm2),
        mlp=_mlp(block.mlp, _gamma(block.ls2)),
    )


def _mlp(layers: Any, gamma: Tensor | None) -> nn.Module:
    """Linear, activation, Linear; another kind, such as ViTamin's with a gate, as it is."""
    if type(layers).__name__ == "Mlp" and isinstance(layers.norm, nn.Identity):
        return mlp(layers.fc1, layers.act, layers.fc2, gamma)
    if gamma is not None:
        raise UnsupportedTowerError(f"scales the outputs of {type(layers).__name__}")
    other: nn.Module = layers
    return other


def _gamma(scale: Any) -> Tensor | None:
    """A layer's scale of its outputs; None for none."""
    return None if isinstance(scale, nn.Identity) else scale.gamma
