"""Files as recorders write them, for tests."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pymseed import DataEncoding, MS3Record

EPOCH_S = 1_700_000_000


def write_mseed(
    path: Path,
    traces: Iterable[tuple[str, float, NDArray[np.int32] | NDArray[np.float32]]],
    rate_hz: float = 100.0,
) -> Path:
    """Traces of (channel code or NET_STA_LOC_CODE, start in s after EPOCH_S, samples)."""
    with path.open("wb") as file:
        for code, start_s, values in traces:
            record = MS3Record()
            record.sourceid = "FDSN:" + (code if "_" in code else f"AM_R24FA_00_{'_'.join(code)}")
            record.starttime = int(EPOCH_S * 10**9 + round(start_s * 1e9))
            record.samprate = rate_hz
            record.reclen = 512
            whole = values.dtype.kind == "i"
            record.encoding = DataEncoding.STEIM2 if whole else DataEncoding.FLOAT32
            for packed in record.generate(data_samples=values, sample_type="i" if whole else "f"):
                file.write(packed)
    return path


def counts(length: int, seed: int = 0) -> NDArray[np.int32]:
    """Noise as a 24-bit digitiser has it."""
    return np.random.default_rng(seed).normal(0, 1000, length).astype(np.int32)
