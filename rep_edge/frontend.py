"""Waveform to segment spectra as matrix products, so that an exported graph takes raw samples."""

from __future__ import annotations

from math import isqrt
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Channels = Literal["log_magnitude", "complex"]

DENSE_LIMIT = 128
"""Samples of a segment up to which one dense basis is cheaper than two factors."""
FLOOR = 1e-5
"""Power per bin, as a share of white noise of the window's level, below which the log magnitude flattens (-50 dB)."""
OFFSET = 1e-4
"""Share of a window's constant offset that counts as level: rounding of a large offset is no signal."""
LEVEL = 1e-20
"""Level below which a window counts as silent, in the modality's unit."""
SPREAD = 0.1
"""Added to the spread of a window's features, so that a silent window becomes zeros and nothing is blown up."""


def dft_basis(n: int, bins: int) -> NDArray[np.float64]:
    """exp(-2 pi i n k / N) as real numbers, [n, 2 * bins]: the real parts of all bins, then the imaginary parts."""
    angle = 2 * np.pi * np.outer(np.arange(n), np.arange(bins)) / n
    return np.concatenate([np.cos(angle), -np.sin(angle)], axis=1)


def factors(n: int) -> tuple[int, int]:
    """The divisors (n1, n2) of n nearest to its root, n1 >= n2."""
    n2 = next(d for d in range(isqrt(n), 0, -1) if n % d == 0)
    return n // n2, n2


class DenseDFT(nn.Module):
    """The DFT of short segments as one product with the basis: [..., N] -> (real, imaginary), each [..., bins]."""

    basis: Tensor

    def __init__(self, n: int, bins: int) -> None:
        super().__init__()
        self.bins = bins
        self.register_buffer("basis", torch.from_numpy(dft_basis(n, bins)).float(), persistent=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        both = x @ self.basis
        return both[..., : self.bins], both[..., self.bins :]


class FactoredDFT(nn.Module):
    """The DFT of long segments as two products (Cooley and Tukey): [..., N] -> (real, imaginary), each [..., bins].

    N = n1 * n2; with sample s = n2 * s1 + s2 and bin k = k1 + n1 * k2:
    X[k] = sum_s2 w_N^(s2 k1) w_n2^(s2 k2) * (sum_s1 x[s] w_n1^(s1 k1)).
    The twiddles w_N^(s2 k1) are part of the second basis.
    """

    first: Tensor
    second: Tensor

    def __init__(self, n: int, bins: int) -> None:
        super().__init__()
        self.n1, self.n2 = factors(n)
        self.bins = bins
        self.k2 = -(-bins // self.n1)
        self.register_buffer("first", torch.from_numpy(dft_basis(self.n1, self.n1).T.copy()).float(), persistent=False)
        self.register_buffer("second", torch.from_numpy(self._second()).float(), persistent=False)

    def _second(self) -> NDArray[np.float64]:
        """[n1, 2 * n2, 2 * k2]: for each k1 the complex product with w_N^(s2 k1) w_n2^(s2 k2), in real numbers."""
        n1, n2, k2 = self.n1, self.n2, self.k2
        s2 = np.arange(n2)[None, :, None]
        bin_ = np.arange(n1)[:, None, None] + n1 * np.arange(k2)[None, None, :]
        w = np.exp(-2j * np.pi * s2 * bin_ / (n1 * n2))
        return np.block([[w.real, w.imag], [-w.imag, w.real]])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        lead, n1, n2 = x.shape[:-1], self.n1, self.n2
        inner = self.first @ x.reshape(-1, n1, n2)  # [R, 2 n1, n2]: real rows, then imaginary
        inner = inner.reshape(-1, 2, n1, n2).permute(2, 0, 1, 3).reshape(n1, -1, 2 * n2)
        outer = (inner @ self.second).reshape(n1, -1, 2, self.k2)  # [n1 (k1), R, 2, k2]
        outer = outer.permute(2, 1, 3, 0).reshape(2, *lead, self.k2 * n1)[..., : self.bins]
        return outer[0], outer[1]


def segment_dft(n: int, bins: int) -> DenseDFT | FactoredDFT:
    """The cheaper of both forms for segments of n samples."""
    return DenseDFT(n, bins) if n <= DENSE_LIMIT or factors(n)[1] == 1 else FactoredDFT(n, bins)


class SegmentSpectrum(nn.Module):
    """Windows [B, channels, samples] to normalised segment spectra [B, features, segments, bins].

    Steps: offset removed and level set to 1 per channel; DFT of each segment; log(1 + |X|^2 / floor) (`log_magnitude`,
    one-sided, features = channels) or real and imaginary parts (`complex`, two-sided, features = 2 * channels); mean
    removed and spread set to 1 over the window, per feature. A silent window becomes exactly zero. Gain and offset of
    the sensor have no effect.
    Raises ValueError where the window does not divide into the segments.
    """

    def __init__(self, samples: int, channels: int, segments: int, mode: Channels) -> None:
        super().__init__()
        if samples % segments:
            raise ValueError(f"{samples} samples do not divide into {segments} equal segments")
        self.segments, self.mode = segments, mode
        self.n = samples // segments
        self.bins = self.n if mode == "complex" else self.n // 2 + 1
        self.features = 2 * channels if mode == "complex" else channels
        self.dft = segment_dft(self.n, self.bins)

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_autocast_enabled(x.device.type):
            # In 8 bits of mantissa the rounding of a strong bin hides the weak ones.
            with torch.autocast(x.device.type, enabled=False):
                return self._spectrum(x.float())
        return self._spectrum(x)

    def _spectrum(self, x: Tensor) -> Tensor:
        offset = x.mean(dim=-1, keepdim=True)
        x = x - offset
        # Once more: the first mean of a large offset is rounded, and what it leaves would look like a signal.
        x = x - x.mean(dim=-1, keepdim=True)
        level = x.abs().mean(dim=-1, keepdim=True) + OFFSET * offset.abs()
        x = (x / level.clamp(min=LEVEL)).reshape(-1, x.shape[1], self.segments, self.n)
        real, imaginary = self.dft(x)
        if self.mode == "complex":
            values = torch.cat([real, imaginary], dim=1) / self.n**0.5
        else:
            values = torch.log1p((real * real + imaginary * imaginary) * (1 / (FLOOR * self.n)))
        return self._normalise(values)

    @staticmethod
    def _normalise(values: Tensor) -> Tensor:
        values = values - values.mean(dim=(2, 3), keepdim=True)
        spread = (values * values).mean(dim=(2, 3), keepdim=True).sqrt()
        return values / (spread + SPREAD)
