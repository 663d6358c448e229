"""The towers and the texts' vocabularies that a configuration names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from rep_edge.config import ClipConfig, Config, FrontendConfig, MultConfig, SwinConfig
from rep_edge.encoders.base import Encoder
from rep_edge.errors import InputError
from rep_edge.fusion import HEADS
from rep_edge.signals import FeatureSequence, Stream, Text, WindowSpec


def build_encoders(config: Config) -> dict[str, Encoder]:
    """A tower for each modality, without trained weights. Raises InputError where configuration and signals disagree.

    Only the chosen towers are imported, so that none needs another's packages.
    """
    encoder = config.encoder
    if isinstance(encoder, SwinConfig):
        return _swin_towers(encoder, config.frontend, config.signals)
    if isinstance(encoder, MultConfig):
        from rep_edge.encoders.mult import MultEncoder, check_mult

        check_mult(encoder, config.signals)
        names = config.signals.names
        sequences = [m for m in config.signals.modalities if isinstance(m, FeatureSequence)]
        return {m.name: MultEncoder(m, [n for n in names if n != m.name], encoder) for m in sequences}
    if encoder.library == "transformers":
        from rep_edge.encoders.huggingface import huggingface_architecture

        return huggingface_architecture(encoder, config.signals)
    from rep_edge.encoders.clip import clip_architecture

    return clip_architecture(encoder, config.signals)


def starting_encoders(config: Config) -> dict[str, Encoder]:
    """The towers that training starts from: CLIP's with their weights, others as built.

    Raises InputError where the weights cannot be had.
    """
    encoder = config.encoder
    if not isinstance(encoder, ClipConfig):
        return build_encoders(config)
    if encoder.library == "transformers":
        from rep_edge.encoders.huggingface import build_huggingface_towers

        return build_huggingface_towers(encoder, config.signals)
    from rep_edge.encoders.clip import build_clip_towers

    return build_clip_towers(encoder, config.signals)


def self_contained(config: Config) -> Config:
    """The same without files beside it: a model that is a file or a folder is put in its place as text.

    A checkpoint keeps this one, so that it can be read elsewhere. Raises InputError for a file that cannot be read.
    """
    encoder = config.encoder
    if not isinstance(encoder, ClipConfig):
        return config
    if encoder.library == "transformers":
        from rep_edge.encoders.huggingface import self_contained as inlined
    else:
        from rep_edge.encoders.clip import self_contained as inlined
    return msgspec.structs.replace(config, encoder=inlined(encoder))


def tokenizers_of(config: Config) -> dict[str, str]:
    """Text modality -> the definition of its tokenizer (tokenizer.json). Raises InputError for a file that is none."""
    return {m.name: _definition(config) for m in config.signals.modalities if isinstance(m, Text)}


def _definition(config: Config) -> str:
    encoder = config.encoder
    if not isinstance(encoder, ClipConfig):
        raise InputError("signals: a text needs an encoder of kind clip; change signals.modalities or encoder.kind")
    if encoder.tokenizer is None:
        from rep_edge.encoders.vocabulary import clip_tokenizer

        return clip_tokenizer()
    path = Path(encoder.tokenizer)
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"encoder: tokenizer {path} cannot be read ({error}); name a tokenizer.json file") from error


def _swin_towers(encoder: SwinConfig, frontend: FrontendConfig, spec: WindowSpec) -> dict[str, Encoder]:
    from rep_edge.encoders.swin import SwinEncoder

    other = [m.name for m in spec.modalities if not isinstance(m, Stream)]
    if other:
        raise InputError(f"encoder: kind swin takes streams of samples, and {other[0]} is none; change encoder.kind")
    _check_swin(encoder, spec.names)
    try:
        return {m.name: SwinEncoder(m, frontend, encoder) for m in spec.streams}
    except ValueError as error:
        raise InputError(f"signals and frontend do not fit: {error}") from error


def _check_swin(encoder: SwinConfig, names: Sequence[str]) -> None:
    lacking = [name for name in names if name not in encoder.patch_bins]
    if lacking:
        raise InputError(f"encoder: patch_bins has no entry for {', '.join(lacking)}; add one")
    if not encoder.widths or len(encoder.widths) != len(encoder.depths):
        raise InputError("encoder: widths and depths must have one entry for each stage")
    sizes = (*encoder.patch_bins.values(), *encoder.widths, *encoder.depths, encoder.heads, encoder.window)
    if min(sizes) < 1:
        raise InputError("encoder: patch_bins, widths, depths, heads and window must all be at least 1")
    if any(width % encoder.heads for width in encoder.widths):
        raise InputError(f"encoder: widths {encoder.widths} must be divisible by heads {encoder.heads}")
    if encoder.feature_width < 1 or encoder.feature_width % HEADS:
        raise InputError(f"encoder: feature_width must be a multiple of {HEADS}, not {encoder.feature_width}")
