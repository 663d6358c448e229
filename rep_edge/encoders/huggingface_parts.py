"""Towers out of a CLIPModel or a SiglipModel of Hugging Face transformers."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from rep_edge.encoders.image_tower import CLASS_TOKEN, EVERY_TOKEN, ImageTower, PatchEmbedding, Patches
from rep_edge.encoders.readout import AttentionPool, ResidualMlp, TokenReadout
from rep_edge.encoders.takeover import UnsupportedTowerError, linear, mlp, norm, parameter, projection
from rep_edge.encoders.text_tower import LAST_TOKEN, CausalTextTower, TextTower, TokenEmbedding
from rep_edge.encoders.transformer import Block

HIGHEST_ID = 2
"""What CLIP configurations older than their end of text give for its id: then the highest id of a text is its end."""


def image_tower(model: Any) -> ImageTower:
    """The image tower. Raises UnsupportedTowerError."""
    vision = model.vision_model
    blocks = _blocks(vision.encoder)
    if hasattr(model, "visual_projection"):
        project = projection(model.visual_projection)
        readout: nn.Module = TokenReadout(norm(vision.post_layernorm), project)
        width, pooled = model.visual_projection.out_features, CLASS_TOKEN
        before = norm(vision.pre_layrnorm)
    else:
        if not vision.use_head:
            raise UnsupportedTowerError("pools its image tokens in no way")
        readout = nn.Sequential(norm(vision.post_layernorm), *_attention_pool(vision.head))
        width, pooled, before = blocks[0].width, EVERY_TOKEN, nn.Identity()
    return ImageTower(_patch_embedding(vision.embeddings, before), blocks, readout, width, pooled)


def text_tower(model: Any, end: int) -> TextTower:
    """The text tower. end: id of the end of text."""
    text = model.text_model
    embedding = TokenEmbedding(text.embeddings.token_embedding, text.embeddings.position_embedding.weight)
    blocks = _blocks(text.encoder)
    if hasattr(model, "text_projection"):
        project = model.text_projection
        readout = TokenReadout(norm(text.final_layer_norm), projection(project))
        return CausalTextTower(embedding, blocks, readout, project.out_features, end)
    readout = TokenReadout(norm(text.final_layer_norm), projection(text.head))
    return TextTower(embedding, blocks, readout, text.head.out_features, LAST_TOKEN, end)


def text_end(model: Any) -> int | None:
    """The id of the end of text that the model looks for; None where it takes the highest id or none at all."""
    end = model.config.text_config.eos_token_id
    return int(end) if hasattr(model, "text_projection") and end != HIGHEST_ID else None


def _patch_embedding(embeddings: Any, before: nn.Module) -> PatchEmbedding:
    positions = embeddings.position_embedding.weight
    class_token = embeddings.class_embedding[None] if hasattr(embeddings, "class_embedding") else positions[:0]
    return PatchEmbedding(Patches(embeddings.patch_embedding), parameter(class_token), positions, before)


def _attention_pool(head: Any) -> list[nn.Module]:
    attention = head.attention
    width = attention.embed_dim
    query, key_value = attention.in_proj_weight[:width], attention.in_proj_weight[width:]
    pool = AttentionPool(
        attention.num_heads,
        parameter(head.probe[0]),
        linear(query, attention.in_proj_bias[:width]),
        linear(key_value, attention.in_proj_bias[width:]),
        linear(attention.out_proj.weight, attention.out_proj.bias),
    )
    return [pool, ResidualMlp(norm(head.layernorm), mlp(head.mlp.fc1, head.mlp.activation_fn, head.mlp.fc2))]


def _blocks(encoder: Any) -> list[Block]:
    return [_block(layer) for layer in encoder.layers]


def _block(layer: Any) -> Block:
    """One layer; its three maps are joined and then let go, so that not all of them exist twice at any time."""
    attention = layer.self_attn
    maps = (attention.q_proj, attention.k_proj, attention.v_proj)
    with torch.no_grad():
        qkv = linear(torch.cat([part.weight for part in maps]), torch.cat([part.bias for part in maps]))
    attention.q_proj = attention.k_proj = attention.v_proj = nn.Identity()
    return Block(
        heads=attention.num_heads,
        norm1=norm(layer.layer_norm1),
        qkv=qkv,
        proj=linear(attention.out_proj.weight, attention.out_proj.bias),
        norm2=norm(layer.layer_norm2),
        mlp=mlp(layer.mlp.fc1, layer.mlp.activation_fn, layer.mlp.fc2),
    )
