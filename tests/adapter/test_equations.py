"""Each equation of REP against its reading in plain numpy."""

from __future__ import annotations

import numpy as np
import pytest
import reference
import torch
from torch import Tensor
from toy import array

from rep_edge.adapter import equations
from rep_edge.adapter.equations import NoiseType

LAWS: tuple[NoiseType, ...] = ("gaussian", "uniform", "laplace")


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_equation_5_slots_are_empty_before_the_first_block() -> None:
    buffer, beta = random(2, 3, 4), torch.tensor(0.7, dtype=torch.float64)
    expected = reference.replay(np.zeros((2, 3, 4)), 0.7, array(buffer))
    np.testing.assert_allclose(array(equations.replay(None, beta, buffer)), expected, atol=1e-12)


def test_equation_6_squared_cosines_over_pairs_of_buffers() -> None:
    shared, acoustic, seismic = (random(2, 3, 4, seed=s) for s in range(3))
    found = equations.orthogonality([shared, acoustic, seismic])
    expected = reference.orthogonality(array(shared), [array(acoustic), array(seismic)])
    np.testing.assert_allclose(float(found), expected, atol=1e-12)


def test_equation_6_is_zero_for_orthogonal_buffers_and_blind_to_length_and_sign() -> None:
    x, y = torch.eye(4)[None, :2], torch.eye(4)[None, 2:]
    assert float(equations.orthogonality([x, y])) == 0.0
    assert float(equations.orthogonality([x, -3 * x])) == pytest.approx(1.0)


def test_equations_7_and_8_mix_news_and_history() -> None:
    buffer, news = random(2, 3, 4), random(2, 3, 4, seed=1)
    found = array(equations.update(buffer, news, torch.tensor(0.3, dtype=torch.float64)))
    np.testing.assert_allclose(found, reference.private_update(0.3, array(news), array(buffer)), atol=1e-12)
    np.testing.assert_allclose(found, reference.shared_update(0.3, array(news), array(buffer)), atol=1e-12)


def test_equation_9_adds_the_buffer_at_the_slots() -> None:
    slots, buffer, beta = random(2, 3, 4), random(2, 3, 4, seed=1), torch.tensor(-0.4, dtype=torch.float64)
    expected = reference.replay(array(slots), -0.4, array(buffer))
    np.testing.assert_allclose(array(equations.replay(slots, beta, buffer)), expected, atol=1e-12)


@pytest.mark.parametrize(("tokens", "rows"), [(12, 3), (13, 3), (2, 3)])
def test_equation_10_pooled_rows_of_the_normed_embedding(tokens: int, rows: int) -> None:
    embedded = random(2, tokens, 5)
    found = array(equations.start_private(embedded, rows, 0.0, "gaussian"))
    np.testing.assert_allclose(found, reference.private_start(array(embedded), rows), atol=1e-12)


@pytest.mark.parametrize("law", LAWS)
def test_equation_10_adds_noise_of_the_asked_strength(law: NoiseType) -> None:
    torch.manual_seed(0)
    embedded = random(400, 12, 5)
    added = array(equations.start_private(embedded, 3, 0.2, law)) - reference.private_start(array(embedded), 3)
    assert added.mean() == pytest.approx(0.0, abs=0.01)
    assert added.std() == pytest.approx(0.2, rel=0.05)


@pytest.mark.parametrize("law", LAWS)
def test_equation_11_rows_of_unit_length(law: NoiseType) -> None:
    torch.manual_seed(0)
    rows = array(equations.unit_rows(law, 6, 8))
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-6)
    torch.manual_seed(0)
    np.testing.assert_allclose(rows, reference.shared_start(array(equations.noise(law, (6, 8)))), atol=1e-6)


@pytest.mark.parametrize(("law", "kurtosis"), [("gaussian", 3.0), ("uniform", 1.8), ("laplace", 6.0)])
def test_noise_has_unit_variance_and_its_laws_fourth_moment(law: NoiseType, kurtosis: float) -> None:
    torch.manual_seed(0)
    x = array(equations.noise(law, (200_000,)))
    assert np.isfinite(x).all()
    assert x.mean() == pytest.approx(0.0, abs=0.01)
    assert x.var() == pytest.approx(1.0, abs=0.02)
    assert (x**4).mean() == pytest.approx(kurtosis, rel=0.1)
