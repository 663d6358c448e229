"""The front end against torch.fft and against what it promises of gain, offset and silence."""

import pytest
import torch

from rep_edge.frontend import DenseDFT, FactoredDFT, SegmentSpectrum, factors, segment_dft


@pytest.mark.parametrize("n", [20, 96, 150, 1600, 1280, 400])
@pytest.mark.parametrize("two_sided", [False, True])
def test_both_forms_equal_torch_fft(n: int, two_sided: bool) -> None:
    bins = n if two_sided else n // 2 + 1
    x = torch.randn(3, 2, 5, n, generator=torch.Generator().manual_seed(n))
    expected = torch.fft.fft(x.double())[..., :bins]
    for dft in (DenseDFT(n, bins), FactoredDFT(n, bins)):
        real, imaginary = dft(x)
        error = torch.complex(real.double(), imaginary.double()) - expected
        assert error.abs().max() <= 1e-4 * expected.abs().max()


def test_the_acoustic_segment_is_factored_and_the_seismic_one_is_dense() -> None:
    assert factors(1600) == (40, 40)
    assert isinstance(segment_dft(1600, 801), FactoredDFT)
    assert isinstance(segment_dft(20, 11), DenseDFT)
    assert isinstance(segment_dft(1601, 801), DenseDFT), "a prime length has no factors"


def test_log_magnitude_equals_its_definition() -> None:
    x = torch.randn(2, 1, 200, generator=torch.Generator().manual_seed(1)).double()
    centred = x - x.mean(-1, keepdim=True)
    centred = centred / centred.abs().mean(-1, keepdim=True)
    power = torch.fft.rfft(centred.reshape(2, 1, 10, 20)).abs() ** 2
    log = torch.log1p(power / (1e-5 * 20))
    expected = (log - log.mean((2, 3), keepdim=True)) / (log.std((2, 3), keepdim=True, correction=0) + 0.1)
    found = SegmentSpectrum(200, 1, 10, "log_magnitude")(x.float()).double()
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize("mode", ["log_magnitude", "complex"])
def test_gain_and_offset_have_no_effect(mode: str) -> None:
    spectrum = SegmentSpectrum(1600, 1, 4, mode)
    x = torch.randn(2, 1, 1600, generator=torch.Generator().manual_seed(2))
    for other in (1e-9 * x, 1e9 * x, x + 0.5):
        torch.testing.assert_close(spectrum(other), spectrum(x), atol=2e-3, rtol=0)


@pytest.mark.parametrize("mode", ["log_magnitude", "complex"])
def test_a_silent_window_becomes_exactly_zero_and_a_constant_one_nearly(mode: str) -> None:
    spectrum = SegmentSpectrum(1600, 2, 4, mode)
    assert (spectrum(torch.zeros(1, 2, 1600)) == 0).all()
    assert spectrum(torch.full((1, 2, 1600), 12345.678)).abs().max() < 0.05


@pytest.mark.parametrize(("mode", "shape"), [("log_magnitude", (3, 2, 10, 11)), ("complex", (3, 4, 10, 20))])
def test_shapes(mode: str, shape: tuple[int, ...]) -> None:
    spectrum = SegmentSpectrum(200, 2, 10, mode)
    assert spectrum(torch.randn(3, 2, 200)).shape == shape
    assert (spectrum.features, spectrum.segments, spectrum.bins) == shape[1:]


def test_a_window_that_does_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="201 samples do not divide into 10"):
        SegmentSpectrum(201, 1, 10, "log_magnitude")


def test_mixed_precision_leaves_the_spectrum_alone() -> None:
    time = torch.arange(16000) / 8000
    x = (torch.sin(2 * torch.pi * 60 * time) + 0.001 * torch.randn(16000))[None, None]
    front = SegmentSpectrum(16000, 1, 10, "log_magnitude")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = front(x)
    assert torch.equal(mixed, front(x))
