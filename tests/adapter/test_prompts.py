"""Prompts per pattern against the same pass in numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from reference import prompted_pass
from toy import array, randomised, repeated, small, tower_of, toys, windows_of

from rep_edge.adapter.choice import build_memory


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("zero_missing", [True, False])
@pytest.mark.parametrize(("first", "depth"), [(0, 4), (0, 2), (1, 2)])
def test_features_equal_the_prompted_pass(count: int, zero_missing: bool, first: int, depth: int) -> None:
    spec, encoders = toys(count)
    memory: Any = build_memory(encoders, spec, small("prompts", first=first, depth=depth, zero_missing=zero_missing))
    randomised(memory)
    for live in spec.patterns():
        windows = windows_of(spec, live)
        with torch.no_grad():
            found = memory(encoders, {n: encoders[n].embed(windows[n]) for n in memory.towers(live)}, live).by_modality
        assert set(found) == (set(live) if zero_missing else set(spec.names))
        for name, feature in found.items():
            prompts = [array(rows) for rows in memory.prompts[spec.pattern_name(live)][name]]
            expected = prompted_pass(tower_of(encoders[name]), repeated(windows)[name], prompts, first)
            np.testing.assert_allclose(np.broadcast_to(array(feature), expected.shape), expected, atol=1e-8)


def test_prompts_exist_for_the_patterns_in_which_their_tower_runs() -> None:
    spec, encoders = toys(2)
    memory: Any = build_memory(encoders, spec, small("prompts"))
    assert {pattern: list(rows) for pattern, rows in memory.prompts.items()} == {
        "acoustic+seismic": ["acoustic", "seismic"],
        "acoustic": ["acoustic"],
        "seismic": ["seismic"],
    }
