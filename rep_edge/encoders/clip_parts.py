"""Towers out of an open_clip model: its own transformers, and timm's as far as they are plain ones."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from rep_edge.encoders.image_tower import CLASS_TOKEN, EVERY_TOKEN, PATCHES, ImageTower, PatchEmbedding, Patches
from rep_edge.encoders.readout import AttentionPool, MeanReadout, TokenReadout
from rep_edge.encoders.takeover import UnsupportedTowerError, linear, mlp, norm, parameter, projection, scaled
from rep_edge.encoders.text_tower import (
    FIRST_TOKEN,
    LAST_TOKEN,
    CausalTextTower,
    EndedTextTower,
    TextTower,
    TokenEmbedding,
)
from rep_edge.encoders.transformer import Block


def image_tower(model: Any) -> ImageTower:
    """The image tower of an open_clip model. Raises UnsupportedTowerError."""
    visual = model.visual
    kind = type(visual).__name__
    if kind == "TimmModel":
        from rep_edge.encoders.timm_parts import timm_tower

        return timm_tower(visual)
    if kind != "VisionTransformer":
        raise UnsupportedTowerError(f"has {kind} for images")
    embedding = PatchEmbedding(
        Patches(visual.conv1),
        parameter(visual.class_embedding[None]),
        visual.positional_embedding,
        norm(visual.ln_pre),
    )
    readout, pooled = _image_readout(visual)
    return ImageTower(embedding, _blocks(visual.transformer), readout, visual.proj.shape[1], pooled)


def picture_size(model: Any) -> int:
    """Side of the pictures in pixels. Raises UnsupportedTowerError where they are not square."""
    trunk = getattr(model.visual, "trunk", None)
    rows, columns = model.visual.image_size if trunk is None else trunk.patch_embed.img_size
    if rows != columns:
        raise UnsupportedTowerError(f"takes pictures of {rows} x {columns} pixels, which are not square")
    return int(rows)


def _image_readout(visual: Any) -> tuple[nn.Module, slice]:
    project = projection(visual.proj)
    if visual.attn_pool is not None:
        return nn.Sequential(_attention_pool(visual), norm(visual.ln_post), project), EVERY_TOKEN
    if visual.pool_type == "tok":
        return TokenReadout(norm(visual.ln_post), project), CLASS_TOKEN
    if visual.pool_type == "avg":
        before, after = norm(visual.ln_post), nn.Identity()
        if visual.final_ln_after_pool:
            before, after = after, before
        return MeanReadout(before, after, project), PATCHES
    raise UnsupportedTowerError(f"pools its image tokens by {visual.pool_type!r}")


def _attention_pool(visual: Any) -> nn.Module:
    """The queries do not look at each other, so that only the one whose result is the feature is needed."""
    pool = visual.attn_pool
    if visual.attn_pool_contrastive is not None or visual.pool_type != "tok":
        raise UnsupportedTowerError("pools its image tokens by several queries")
    with torch.no_grad():
        query = pool.ln_q(pool.query[:1])
    attention = pool.attn
    width = attention.embed_dim
    if attention.in_proj_weight is None:
        weights = (attention.q_proj_weight, attention.k_proj_weight, attention.v_proj_weight)
    else:
        weights = attention.in_proj_weight.chunk(3)
    bias = attention.in_proj_bias
    q = linear(weights[0], bias[:width])
    kv = linear(torch.cat(weights[1:]), bias[width:])
    proj = linear(attention.out_proj.weight, attention.out_proj.bias)
    return nn.Sequential(norm(pool.ln_k), AttentionPool(attention.num_heads, parameter(query), q, kv, proj))


def text_tower(model: Any, end: int) -> TextTower:
    """The text tower of an open_clip model. end: id of the end of text. Raises UnsupportedTowerError."""
    text = getattr(model, "text", model)
    pool_type = getattr(text, "pool_type", None) or model.text_pool_type
    if getattr(text, "cls_emb", None) is not None or getattr(text, "use_pad_mask", False):
        raise UnsupportedTowerError("has a class token or a mask of padding in its texts")
    embedding = TokenEmbedding(text.token_embedding, text.positional_embedding)
    project = projection(text.text_projection)
    readout = TokenReadout(norm(text.ln_final), project)
    blocks = _blocks(text.transformer)
    width = project.out_features if isinstance(project, nn.Linear) else blocks[0].width
    if pool_type in ("argmax", "eos"):
        tower = EndedTextTower if text.attn_mask is None else CausalTextTower
        return tower(embedding, blocks, readout, width, end)
    if text.attn_mask is not None or pool_type not in ("first", "last"):
        raise UnsupportedTowerError(f"pools its text tokens by {pool_type!r}")
    return TextTower(embedding, blocks, readout, width, FIRST_TOKEN if pool_type == "first" else LAST_TOKEN, end)


def text_end(model: Any) -> int | None:
    """The id of the end of text that the model looks for; None where it takes the highest id or none at all."""
    text = getattr(model, "text", model)
    pool_type = getattr(text, "pool_type", None) or model.text_pool_type
    return int(getattr(text, "eos_id", None) or model.text_eos_id) if pool_type == "eos" else None


def _blocks(transformer: Any) -> list[Block]:
    return [_block(block) for block in transformer.resblocks]


def _block(block: Any) -> Block:
    if type(block).__name__ != "ResidualAttentionBlock":
        raise UnsupportedTowerError("has attention blocks of its own kind")
    attention = block.attn
    return Block(
        heads=attention.num_heads,
        norm1=norm(block.ln_1),
        qkv=linear(attention.in_proj_weight, attention.in_proj_bias),
        proj=scaled(attention.out_proj, _gamma(block.ls_1)),
        norm2=norm(block.ln_2),
        mlp=mlp(block.mlp.c_fc, block.mlp.gelu, block.mlp.c_proj, _gamma(block.ls_2)),
    )


def _gamma(scale: Any) -> Tensor | None:
    """A layer's scale of its outputs; None for none."""
    return None if isinstance(scale, nn.Identity) else scale.gamma
