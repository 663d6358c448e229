"""The one question asked about every sample."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def all_finite(values: NDArray[np.float32]) -> bool:
    """Whether no value is a NaN or an infinity. Fast where that is so: the sum of finite values seldom overflows."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(values.sum()) or np.isfinite(values).all())
