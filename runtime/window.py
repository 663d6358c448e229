"""One window of one modality, checked at the edge, as a graph takes it."""

from __future__ import annotations

import numpy as np

from rep_edge.errors import InputError
from rep_edge.runtime.finite import all_finite
from rep_edge.signals import Example, Modality, Stream, Text


def checked_window(modality: Modality, values: Example) -> Example:
    """The window as [1, *shape]. Raises InputError: a wrong shape or dtype, a NaN, an infinity, an unknown id."""
    name = modality.name
    wanted = "float32 array" if modality.dtype == "float32" else "array of ids (int64)"
    kinds = "f" if modality.dtype == "float32" else "iu"
    if not isinstance(values, np.ndarray) or values.dtype.kind not in kinds or values.dtype == np.float16:
        kind = values.dtype if isinstance(values, np.ndarray) else type(values).__name__
        raise InputError(f"{name}: must be a {wanted}, not {kind}; convert it")
    flat = isinstance(modality, Stream) and modality.channels == 1 and values.shape == (modality.samples,)
    if values.shape != modality.shape and not flat:
        lasts = f" ({modality.window_s:g} s at {modality.rate_hz:g} Hz)" if isinstance(modality, Stream) else ""
        raise InputError(f"{name}: has shape {list(values.shape)} instead of {list(modality.shape)}{lasts}")
    if isinstance(modality, Text):
        if values.min() < 0 or values.max() >= modality.vocabulary:
            raise InputError(f"{name}: holds ids outside 0 to {modality.vocabulary - 1}; use the bundle's tokenizer")
        return np.ascontiguousarray(values, dtype=np.int64)[None]
    with np.errstate(over="ignore"):  # A float64 too large for float32 becomes an infinity, which is told below.
        window = np.ascontiguousarray(values, dtype=np.float32).reshape(1, *modality.shape)
    if not all_finite(window):
        raise InputError(f"{name}: holds a NaN or an infinity; leave the modality out instead")
    return window
