"""The Sérsic profile and its constants, with derivatives written out: most of all light is drawn by it."""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
from scipy.special import digamma, gammaincinv

from bayesjoint.scalar import New, Scalar, add_scaled, log

__all__ = ["TINY", "b_n", "sersic", "sersic_derivatives"]

N_RANGE = (0.08, 25.0)
_LO, _HI = (math.log(v) for v in N_RANGE)
TINY = 1e-30
"""Added to rho² (arcsec⁴ under the root): keeps the centre's logarithm finite."""


def _fit_b_n(degree: int = 46) -> np.ndarray:
    """Chebyshev coefficients in ln n of b_n and of d b_n / d ln n, shape (2, degree + 1)."""
    series = np.polynomial.chebyshev.Chebyshev.interpolate(lambda t: gammaincinv(2 * np.exp(t), 0.5) / np.exp(t), degree, domain=[_LO, _HI])
    slope = series.deriv().coef
    return np.stack([series.coef, np.pad(slope, (0, degree + 1 - slope.size))])


_B_N = _fit_b_n()


def _b_and_slope(n: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """b_n and d b_n / d n; constant ratio b_n / n outside N_RANGE."""
    t = (2 * torch.log(n) - (_LO + _HI)) / (_HI - _LO)
    c = torch.as_tensor(_B_N, dtype=n.dtype).to(n.device)
    k = torch.arange(c.shape[1], dtype=n.dtype, device=n.device)
    basis = torch.cos(k * torch.acos(t.clamp(-1 + 1e-12, 1 - 1e-12)))
    ratio, slope = (c @ basis).unbind()
    return n * ratio, ratio + slope


def b_n(n: torch.Tensor) -> torch.Tensor:
    """Sérsic's b_n, by which half the light lies within r_eff: gamma(2n, b) = Γ(2n)/2, to a relative 1e-9 for n 0.1-20.

    Parameters
    ----------
    n : torch.Tensor, shape ()
        Sérsic index.
    """
    return _b_and_slope(n)[0]


def _log_peak(n: torch.Tensor, r_eff: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return -(math.log(2 * math.pi) + torch.log(n) - 2 * n * torch.log(b) + torch.lgamma(2 * n) + 2 * torch.log(r_eff))


def sersic(rho2: torch.Tensor, n: torch.Tensor, r_eff: torch.Tensor) -> torch.Tensor:
    """Sérsic (1963) profile of unit flux, in 1/arcsec² (Graham & Driver 2005, PASA 22, 118, eqs. 1-4).

    Parameters
    ----------
    rho2 : torch.Tensor
        Squared elliptical radius in arcsec².
    n, r_eff : torch.Tensor, shape ()
        Sérsic index; half-light semi-major axis in arcsec.
    """
    b = b_n(n)
    z = torch.exp(((torch.log(rho2 + TINY) - 2 * torch.log(r_eff)) * (0.5 / n)).clamp(max=60.0))
    return torch.exp(_log_peak(n, r_eff, b) - b * z)


@functools.lru_cache(maxsize=64)
def _constants(n: float, r_eff: float) -> tuple[float, float, float, float]:
    """b_n, its slope, the central log brightness, and its slope by n, for floats."""
    t = (2 * math.log(n) - (_LO + _HI)) / (_HI - _LO)
    k = np.arange(_B_N.shape[1])
    ratio, slope = _B_N @ np.cos(k * math.acos(min(max(t, -1 + 1e-12), 1 - 1e-12)))
    b, slope = float(n * ratio), float(ratio + slope)
    peak = -(math.log(2 * math.pi * n) - 2 * n * math.log(b) + math.lgamma(2 * n) + 2 * math.log(r_eff))
    return b, slope, peak, -(1 / n - 2 * math.log(b) - 2 * n / b * slope + 2 * float(digamma(2 * n)))


def _tensor_constants(n: torch.Tensor, r_eff: torch.Tensor) -> tuple[torch.Tensor, ...]:
    b, slope = _b_and_slope(n)
    return b, slope, _log_peak(n, r_eff, b), -(1 / n - 2 * torch.log(b) - 2 * n / b * slope + 2 * torch.digamma(2 * n))


def sersic_derivatives(
    rho2: torch.Tensor, n: Scalar, r_eff: Scalar, *, new: New = torch.empty_like
) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
    """Sérsic profile I, dI/d ln rho², and [dI/dn, dI/dr_eff] at rho² > 0; written into buffers from `new`, without autograd."""
    b, slope, peak, d_peak = (_constants if isinstance(n, float) else _tensor_constants)(n, r_eff)
    log_r2 = 2 * log(r_eff)

    def line(slope_: Scalar, at_zero: Scalar, x: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        """at_zero + slope x in one pass where both are floats."""
        if isinstance(slope_, float):
            return torch.add(torch.tensor(at_zero, dtype=x.dtype), x, alpha=slope_, out=out)
        return torch.mul(x, slope_, out=out).add_(at_zero)

    log_rho2 = torch.log(rho2, out=new(rho2))
    z = line(0.5 / n, -log_r2 * (0.5 / n), log_rho2, new(rho2)).clamp_(max=60.0).exp_()
    light = line(-b, peak, z, new(rho2)).exp_()
    z.mul_(light)
    by_n = add_scaled(line(0.5 * b / n**2, -log_r2 * (0.5 * b / n**2) - slope, log_rho2, log_rho2).mul_(z), light, d_peak)
    steep = z.mul_(-0.5 * b / n)
    by_r = torch.add(light, steep, out=new(rho2)).mul_(-2 / r_eff)
    return light, steep, [by_n, by_r]
