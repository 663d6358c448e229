"""How many parameters an adapter trains, beside the backbone's and those of the paper."""

from __future__ import annotations

from rep_edge.adapter.choice import build_memory
from rep_edge.config import ClipConfig, Config
from rep_edge.model import RepModel

PAPER_SHARE = 0.002
"""Of the backbone's parameters (section 1)."""
PAPER_RANGE = (0.08e6, 2.56e6)
"""Table 5, chosen there by the length of the buffers."""
RELEASED = 17_935_617
"""Trained by the released code's memory for CLIP ViT-B/16, L = 36, D = 6, counted from its shapes."""


def parameter_line(backbone: RepModel, config: Config) -> str:
    """One line: what stage 2 trains with this configuration, and how that compares."""
    towers = sum(p.numel() for p in backbone.encoders.parameters())
    head = sum(p.numel() for p in backbone.head.parameters())
    encoders = {name: backbone.encoder(name) for name in backbone.spec.names}
    memory = build_memory(encoders, backbone.spec, config.adapter)
    trained = sum(p.numel() for p in memory.parameters() if p.requires_grad)
    line = (
        f"stage 2 trains {trained:,} parameters of the adapter ({100 * trained / towers:.2f} % of the backbone's "
        f"{towers:,}) and {head:,} of the head"
    )
    if not isinstance(config.encoder, ClipConfig):
        return line
    low, high = (value / 1e6 for value in PAPER_RANGE)
    return (
        f"{line}; the paper has {100 * PAPER_SHARE:g} % and tries {low:g} to {high:g} million, its released code "
        f"trains {RELEASED / 1e6:.1f} million (adapter: bottleneck, shared_width and slots change it)"
    )
