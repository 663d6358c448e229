"""What a sensor delivers: modalities, patterns of live modalities, and the windows cut from them.

Plain Python, shared by training, export and the device. Nothing here or elsewhere knows how many modalities there are.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations
from math import isfinite
from typing import TypeAlias

import msgspec

Pattern: TypeAlias = frozenset[str]
"""The names of the modalities that are live."""


class Modality(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One sensor stream.

    name: lower-case identifier, also the name of the graph's input.
    rate_hz: sampling rate in Hz; need not be whole.
    samples: samples per channel in one window.
    channels: channels of the stream; one window is float32 [channels, samples].
    unit: physical unit of a sample, for people ("full scale", "counts", "m/s").
    placeholder: the constant that stands for the stream in the model while it is missing.
    """

    name: str
    rate_hz: float
    samples: int
    channels: int = 1
    unit: str = "1"
    placeholder: float = 0.0

    def __post_init__(self) -> None:
        if not (self.name.isidentifier() and self.name == self.name.lower()):
            raise ValueError(f"modality name {self.name!r} must be a lower-case identifier such as 'acoustic'")
        if not (isfinite(self.rate_hz) and self.rate_hz > 0):
            raise ValueError(f"modality {self.name}: rate_hz must be above 0, not {self.rate_hz}")
        if self.samples < 1 or self.channels < 1:
            raise ValueError(f"modality {self.name}: samples and channels must be at least 1")
        if not isfinite(self.placeholder):
            raise ValueError(f"modality {self.name}: placeholder must be finite")

    @property
    def window_s(self) -> float:
        """Length of a window in s."""
        return self.samples / self.rate_hz

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of one window: (channels, samples)."""
        return (self.channels, self.samples)


class WindowSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The windows a model sees: one array per modality, all of the same length in seconds.

    modalities: in the order that every table, name and concatenation follows.
    hop_s: seconds from the start of one window to the start of the next when a recording or a stream is cut.
    """

    modalities: tuple[Modality, ...]
    hop_s: float

    def __post_init__(self) -> None:
        names = [m.name for m in self.modalities]
        if not names or len(set(names)) != len(names):
            raise ValueError(f"modalities must be at least one, with distinct names, not {names}")
        if not (isfinite(self.hop_s) and self.hop_s > 0):
            raise ValueError(f"hop_s must be above 0, not {self.hop_s}")
        lengths = {m.name: m.window_s for m in self.modalities}
        for m in self.modalities:
            if abs(m.window_s - self.window_s) > 0.5 / m.rate_hz + 1e-9:
                raise ValueError(f"windows of all modalities must last equally long, not {lengths} s")

    @property
    def window_s(self) -> float:
        """Length of a window in s."""
        return self.modalities[0].window_s

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(m.name for m in self.modalities)

    def __getitem__(self, name: str) -> Modality:
        for modality in self.modalities:
            if modality.name == name:
                return modality
        raise KeyError(name)

    @property
    def complete(self) -> Pattern:
        """The pattern with every modality live."""
        return frozenset(self.names)

    def patterns(self) -> tuple[Pattern, ...]:
        """All 2^K - 1 usable patterns, the complete one first, then by falling size in modality order."""
        sizes = range(len(self.names), 0, -1)
        return tuple(frozenset(c) for size in sizes for c in combinations(self.names, size))

    def pattern_name(self, pattern: Iterable[str]) -> str:
        """The live names joined by "+", in modality order."""
        live = set(pattern)
        return "+".join(name for name in self.names if name in live)

    def parse_pattern(self, name: str) -> Pattern:
        """Inverse of `pattern_name`. Raises ValueError for a name that is no usable pattern."""
        pattern = frozenset(name.split("+"))
        if not pattern <= self.complete or self.pattern_name(pattern) != name:
            raise ValueError(f"{name!r} is no pattern of {self.pattern_name(self.names)}")
        return pattern
