"""Small models of open_clip, and what the tests of CLIP's towers ask of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import Tensor

from rep_edge.config import ClipConfig
from rep_edge.encoders.base import Encoder
from rep_edge.encoders.clip import build_clip_towers
from rep_edge.encoders.clip_definition import instantiate, read_definition
from rep_edge.errors import InputError
from rep_edge.signals import Image, Text, WindowSpec

SIZE, TOKENS, IDS = 16, 9, 50
IMAGE = Image(name="image", size=SIZE)
TEXT = Text(name="text", tokens=TOKENS, vocabulary=IDS, placeholder=(48, 49), end=49)
SPEC = WindowSpec(modalities=(IMAGE, TEXT))


def described(vision: dict[str, Any] | None = None, text: dict[str, Any] | None = None, **top: Any) -> dict[str, Any]:
    """A small open_clip model configuration with some entries changed."""
    small = {"width": 12, "layers": 2}
    return {
        "embed_dim": 10,
        "vision_cfg": {"image_size": SIZE, "patch_size": 4, "head_width": 4, **small, **(vision or {})},
        "text_cfg": {"context_length": TOKENS, "vocab_size": IDS, "heads": 3, **small, **(text or {})},
        **top,
    }


def timm_image(**changes: Any) -> dict[str, Any]:
    """A vision_cfg with timm's smallest plain trunk in place of open_clip's own."""
    return {
        "embed_dim": 10,
        "vision_cfg": {"timm_model_name": "vit_tiny_patch16_224", "timm_pool": "token", "timm_proj": "", **changes},
        "text_cfg": {"context_length": TOKENS, "vocab_size": IDS, "heads": 3, "width": 12, "layers": 1},
    }


def config_of(description: dict[str, Any], **fields: Any) -> ClipConfig:
    return ClipConfig(model=json.dumps(description), **fields)


def model_of(description: dict[str, Any]) -> Any:
    """open_clip's model, with weights at which every part matters."""
    torch.manual_seed(4)
    model = instantiate(read_definition(json.dumps(description)), "cpu").eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter += 0.1 * torch.randn(parameter.shape)
    return model


def pictures(size: int = SIZE) -> Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(8))


def texts() -> Tensor:
    ids = torch.randint(0, IDS - 1, (3, TOKENS), generator=torch.Generator().manual_seed(9))
    for row, end in enumerate((2, 5, TOKENS - 1)):
        ids[row, end] = TEXT.end
    return ids


def feature(tower: Encoder, window: Tensor) -> Tensor:
    """Every block without slots, as the adapters run it."""
    with torch.no_grad():
        sequence, beside = tower.embed(window)
        for k in range(tower.steps):
            sequence = tower.step(k, tower.advance(k, sequence, 0), 0, beside=beside)
        return tower.pool(sequence, beside)


def said(config: ClipConfig, spec: WindowSpec = SPEC) -> str:
    with pytest.raises(InputError) as caught:
        build_clip_towers(config, spec)
    assert "\n" not in str(caught.value)
    return str(caught.value)
