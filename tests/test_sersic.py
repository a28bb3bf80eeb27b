"""The Sérsic profile: b_n, total flux, half-light radius, derivatives."""

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.special import gammaincinv

from bayesjoint.sky.profiles import derivatives_of
from bayesjoint.sky.sersic import b_n, sersic, sersic_derivatives


def t(x):
    return torch.tensor(x, dtype=torch.float64)


def test_b_n_against_the_inverse_incomplete_gamma_function():
    n = np.geomspace(0.1, 20, 60)
    ours = np.array([float(b_n(t(v))) for v in n])
    assert np.abs(ours / gammaincinv(2 * n, 0.5) - 1).max() < 1e-9


@pytest.mark.parametrize("n", [0.3, 0.5, 1.0, 2.3, 4.0, 6.0])
def test_half_the_light_lies_within_r_eff(n):
    r_eff = 2.5

    def light(r):
        return 2 * np.pi * r * float(sersic(t(r * r), t(n), t(r_eff)))

    inner = quad(light, 0, r_eff, epsabs=1e-12, epsrel=1e-10, limit=200)[0]
    outer = quad(lambda s: light(np.exp(s)) * np.exp(s), np.log(r_eff), np.log(r_eff * 3e4), epsrel=1e-10, limit=400)[0]
    assert abs(inner - 0.5) < 1e-8
    assert abs(inner + outer - 1) < 1e-6


@pytest.mark.parametrize("n", [0.25, 0.7, 1.8, 5.0])
def test_written_derivatives_equal_automatic_ones(n):
    rho2 = t(np.geomspace(1e-6, 1e4, 50))
    floats = sersic_derivatives(rho2, n, 2.2)
    tensors = sersic_derivatives(rho2, t(n), t(2.2))
    automatic = derivatives_of(sersic)(rho2, t(n), t(2.2))
    for a, b, c in zip((*floats[:2], *floats[2]), (*tensors[:2], *tensors[2]), (*automatic[:2], *automatic[2]), strict=True):
        scale = c.abs().max()
        assert (a - c).abs().max() < 1e-9 * scale
        assert (b - c).abs().max() < 1e-9 * scale


def test_finite_at_the_centre_and_far_away():
    rho2 = t([1e-300, 1e-30, 1e-20, 1e12, 1e200])
    for n in (0.1, 0.5, 4.0, 20.0):
        light, steep, by = sersic_derivatives(rho2, n, 1.0)
        for x in (light, steep, *by):
            assert torch.isfinite(x).all(), n
