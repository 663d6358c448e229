"""Random changes of training windows that leave their class alone: a shift in time and a colour of the sensor."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from rep_edge.signals import Stream, WindowSpec

COLOUR_POINTS = 8
"""Points over the band between which the random gain is interpolated."""
COLOUR_SPREAD = 0.35
"""Standard deviation of the gain's natural logarithm at each point (about 3 dB)."""


def augment(windows: Mapping[str, Tensor], spec: WindowSpec, generator: torch.Generator) -> dict[str, Tensor]:
    """Streams' windows [B, channels, samples], each shifted in time and given a smooth random gain over frequency.

    The shift is circular and one for all modalities of a window, as a fraction of its length: what the sensors hear
    together stays together, and the one seam it makes is short beside a segment. Gain and offset need no augmentation,
    because the front end removes them. Modalities that are no streams stay as they are. Generator and windows are on
    the CPU; the same state gives the same windows.
    """
    shift = torch.rand(len(next(iter(windows.values()))), generator=generator)
    streams = {m.name for m in spec.modalities if isinstance(m, Stream)}
    return {n: _colour(values, shift, generator) if n in streams else values for n, values in windows.items()}


def _colour(values: Tensor, shift: Tensor, generator: torch.Generator) -> Tensor:
    """Shift and gain in one product with the spectrum: a circular delay is a linear phase."""
    spectrum = torch.fft.rfft(values)
    bins = spectrum.shape[-1]
    points = COLOUR_SPREAD * torch.randn(len(values), 1, COLOUR_POINTS, generator=generator)
    gain = functional.interpolate(points, size=bins, mode="linear", align_corners=True).exp()
    samples = values.shape[-1]
    delay = (shift * samples).floor()[:, None, None] / samples
    phase = -2 * torch.pi * delay * torch.arange(bins)
    coloured: Tensor = torch.fft.irfft(spectrum * torch.polar(gain, phase), n=samples)
    return coloured
