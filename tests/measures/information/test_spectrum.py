"""Measures of a spectrum on spectra that are known, and their influences by finite differences."""

import numpy as np
import pytest
import torch

from trustrace.measures.information.spectrum import Spectrum, effective_rank, participation_ratio, spectral_decay


def test_an_even_spectrum_uses_every_direction():
    even = torch.full((17,), 0.3, dtype=torch.float64)
    assert float(effective_rank(even)) == pytest.approx(17)
    assert float(participation_ratio(even)) == pytest.approx(17)


def test_one_direction_is_one():
    steep = torch.tensor([1.0, 1e-30], dtype=torch.float64)
    assert float(participation_ratio(steep)) == pytest.approx(1)
    assert float(effective_rank(steep)) == pytest.approx(1, abs=1e-10)


@pytest.mark.parametrize("alpha", [0.4, 1.0, 1.7])
def test_a_power_law_is_found(alpha):
    values = torch.arange(1, 401, dtype=torch.float64) ** -alpha
    assert float(spectral_decay(values)) == pytest.approx(alpha)


def test_a_short_spectrum_has_no_power_law():
    assert torch.isnan(spectral_decay(torch.ones(30, dtype=torch.float64)))


def test_eigenvalues_are_those_of_the_covariance():
    x = np.random.default_rng(0).normal(size=(50, 6)) * np.arange(1, 7)
    x -= x.mean(0)
    found = Spectrum.of(torch.from_numpy(x @ x.T)).eigenvalues
    assert np.allclose(found, np.linalg.eigvalsh(x.T @ x / 50)[::-1])


@pytest.mark.parametrize("measure", [effective_rank, participation_ratio])
def test_influences_are_derivatives(measure):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(30, 5)) * np.arange(1, 6)
    x -= x.mean(0)
    spectrum = Spectrum.of(torch.from_numpy(x @ x.T))
    found = spectrum.influence(measure).numpy()

    def weighted(weights):
        centred = x - weights @ x
        values = np.linalg.eigvalsh((centred * weights[:, None]).T @ centred)[::-1]
        return float(measure(torch.from_numpy(values.copy())))

    even, step = np.full(30, 1 / 30), 1e-6
    for row in range(0, 30, 7):
        direction = np.eye(30)[row] - even
        slope = (weighted(even + step * direction) - weighted(even - step * direction)) / (2 * step)
        assert found[row] == pytest.approx(slope, rel=1e-4, abs=1e-5)
