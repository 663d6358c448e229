"""What a model looks at: modalities, patterns of live modalities, and one window of all of them.

Plain Python and numpy, shared by training, export and the device. Nothing here or elsewhere knows how many modalities
there are.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations
from math import isfinite
from typing import Any, ClassVar, Literal, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from rep_edge.errors import InputError

Pattern: TypeAlias = frozenset[str]
"""The names of the modalities that are live."""

Example: TypeAlias = NDArray[Any]
"""One window of one modality: float32, or int64 where it is text, of the modality's shape."""

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
"""Mean and standard deviation of red, green and blue (0 to 1) over CLIP's training images (openai/CLIP)."""


class Named(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all modalities.

    name: lower-case identifier, also the name of the graph's input.
    """

    dtype: ClassVar[Literal["float32", "int64"]] = "float32"

    name: str

    def __post_init__(self) -> None:
        if not (self.name.isidentifier() and self.name == self.name.lower()):
            raise ValueError(f"modality name {self.name!r} must be a lower-case identifier such as 'acoustic'")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one window."""
        raise NotImplementedError

    @property
    def description(self) -> str:
        """What a window is, for people."""
        raise NotImplementedError

    def blank(self) -> Example:
        """The constant window that stands for the modality while it is missing."""
        raise NotImplementedError

    def _require(self, holds: bool, what: str) -> None:
        if not holds:
            raise ValueError(f"modality {self.name}: {what}")


class Stream(Named, frozen=True, kw_only=True, tag_field="kind", tag="stream"):
    """One sensor's samples over time.

    rate_hz: sampling rate in Hz; need not be whole.
    samples: samples per channel in one window.
    channels: channels of the stream; one window is float32 [channels, samples].
    unit: physical unit of a sample, for people ("full scale", "counts", "m/s").
    placeholder: the constant that stands for the stream in the model while it is missing.
    """

    rate_hz: float
    samples: int
    channels: int = 1
    unit: str = "1"
    placeholder: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(isfinite(self.rate_hz) and self.rate_hz > 0, f"rate_hz must be above 0, not {self.rate_hz}")
        self._require(self.samples >= 1 and self.channels >= 1, "samples and channels must be at least 1")
        self._require(isfinite(self.placeholder), "placeholder must be finite")

    @property
    def window_s(self) -> float:
        """Length of a window in s."""
        return self.samples / self.rate_hz

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of one window: (channels, samples)."""
        return (self.channels, self.samples)

    @property
    def description(self) -> str:
        return f"{self.window_s:g} s at {self.rate_hz:g} Hz, in {self.unit}"

    def blank(self) -> Example:
        return np.full(self.shape, self.placeholder, np.float32)


class Image(Named, frozen=True, kw_only=True, tag_field="kind", tag="image"):
    """A picture, resized to a square and normalised: float32 [3, size, size].

    size: side in pixels. resize: "shortest" scales the shorter side to `size` and cuts the centre out, "squash" scales
    both sides. interpolation: of the scaling. mean, std: of red, green and blue, 0 to 1, for the normalisation.
    placeholder: every normalised value of a missing picture (the paper's "all-one image").
    """

    size: int = 224
    resize: Literal["shortest", "squash"] = "shortest"
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD
    placeholder: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(self.size >= 1, f"size must be at least 1 pixel, not {self.size}")
        finite = all(map(isfinite, (*self.mean, *self.std, self.placeholder)))
        self._require(finite and min(self.std) > 0, "mean, std and placeholder must be finite and std above 0")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one window: (colours, rows, columns)."""
        return (3, self.size, self.size)

    @property
    def description(self) -> str:
        return f"a picture of {self.size} x {self.size} pixels, normalised"

    def blank(self) -> Example:
        return np.full(self.shape, self.placeholder, np.float32)


class Text(Named, frozen=True, kw_only=True, tag_field="kind", tag="text"):
    """A text as token ids: int64 [tokens].

    tokens: length that every text is cut or padded to, start and end of text included. vocabulary: number of ids.
    placeholder: ids of the empty text, which stands for a missing one; end: id of the end of text, also where a longer
    text is cut off. pad: id behind it. clean: whether a text is mended first as CLIP's are: broken encodings, HTML
    entities, white space, lower case.
    """

    dtype: ClassVar[Literal["float32", "int64"]] = "int64"

    tokens: int = 77
    vocabulary: int = 49408
    placeholder: tuple[int, ...] = (49406, 49407)
    end: int = 49407
    pad: int = 0
    clean: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(self.tokens >= 1 and self.vocabulary >= 1, "tokens and vocabulary must be at least 1")
        self._require(len(self.placeholder) <= self.tokens, "placeholder is longer than tokens")
        ids = (*self.placeholder, self.end, self.pad)
        fit = min(ids) >= 0 and max(ids) < self.vocabulary
        self._require(fit, "placeholder, end and pad must be in the vocabulary")

    @property
    def shape(self) -> tuple[int]:
        """Shape of one window: (tokens,)."""
        return (self.tokens,)

    @property
    def description(self) -> str:
        return f"a text of up to {self.tokens} tokens out of {self.vocabulary}"

    def blank(self) -> Example:
        ids = np.full(self.shape, self.pad, np.int64)
        ids[: len(self.placeholder)] = self.placeholder
        return ids


class FeatureSequence(Named, frozen=True, kw_only=True, tag_field="kind", tag="features"):
    """Feature vectors in order, made by an extractor outside the model: float32 [length, width].

    placeholder: every value of a missing sequence.
    """

    length: int
    width: int
    placeholder: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(self.length >= 1 and self.width >= 1, "length and width must be at least 1")
        self._require(isfinite(self.placeholder), "placeholder must be finite")

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of one window: (length, width)."""
        return (self.length, self.width)

    @property
    def description(self) -> str:
        return f"{self.length} feature vectors of {self.width}"

    def blank(self) -> Example:
        return np.full(self.shape, self.placeholder, np.float32)


Modality: TypeAlias = Stream | Image | Text | FeatureSequence


class WindowSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The windows a model sees: one array per modality.

    modalities: in the order that every table, name and concatenation follows.
    hop_s: where all modalities are streams, seconds from the start of one window to the start of the next when a
    recording or a stream is cut; the windows then last equally long. 0: examples stand alone, such as a picture and its
    caption.
    """

    modalities: tuple[Modality, ...]
    hop_s: float = 0.0

    def __post_init__(self) -> None:
        names = [m.name for m in self.modalities]
        if not names or len(set(names)) != len(names):
            raise ValueError(f"modalities must be at least one, with distinct names, not {names}")
        streams = [m for m in self.modalities if isinstance(m, Stream)]
        if len(streams) < len(names):
            if self.hop_s != 0:
                raise ValueError("hop_s is for streams alone; leave it out, examples stand alone")
            return
        if not (isfinite(self.hop_s) and self.hop_s > 0):
            raise ValueError(f"hop_s must be above 0, not {self.hop_s}")
        lengths = {m.name: m.window_s for m in streams}
        for m in streams:
            if abs(m.window_s - streams[0].window_s) > 0.5 / m.rate_hz + 1e-9:
                raise ValueError(f"windows of all modalities must last equally long, not {lengths} s")

    @property
    def streams(self) -> tuple[Stream, ...]:
        """The modalities, where all of them are streams. Raises InputError where one is not."""
        streams = tuple(m for m in self.modalities if isinstance(m, Stream))
        if len(streams) < len(self.modalities):
            others = [m.name for m in self.modalities if not isinstance(m, Stream)]
            raise InputError(f"{', '.join(others)}: no stream of samples; classify such examples one by one")
        return streams

    def stream(self, name: str) -> Stream:
        """The stream of that name. Raises KeyError for another name, InputError for a modality that is no stream."""
        modality = self[name]
        if not isinstance(modality, Stream):
            raise InputError(f"{name}: no stream of samples; classify such examples one by one")
        return modality

    @property
    def window_s(self) -> float:
        """Length of a window in s; 0 where examples stand alone."""
        first = self.modalities[0]
        return first.window_s if self.hop_s and isinstance(first, Stream) else 0.0

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


def with_kinds(modalities: object) -> object:
    """Modalities as they stand in a file, decoded to plain Python: those without a `kind` are streams."""
    if not isinstance(modalities, (list, tuple)):
        return modalities
    return [{"kind": "stream", **m} if isinstance(m, dict) else m for m in modalities]
