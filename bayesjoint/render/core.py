r"""The core of a radial source, in Fourier space: exact at the cusp, and cheap.

A profile S is split by a smooth taper :math:`w(\rho) = \exp(-(\rho/a)^4)` of its own elliptical radius. What is left outside,
:math:`S (1 - w)`, is smooth on the pixels (`bayesjoint.render.native`); the core :math:`S w` is radial in stretched
coordinates, so its transform is a Hankel transform,

.. math:: \hat S(\omega) = G(\kappa),\quad \kappa^2 = \omega_u^2 + q^2 \omega_v^2,\quad
          G(\kappa) = 2\pi \int S(\rho)\, w(\rho)\, J_0(\kappa\rho)\, \rho\, d\rho

(Bracewell 2000, ch. 13). The integral is a Gauss-Legendre sum in :math:`t = (\rho/R)^{1/3}`, which resolves any cusp; G is
tabulated with its slope and read by cubic Hermite interpolation. The position is a phase: exact at any sub-pixel place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from scipy.special import j0, j1

from bayesjoint.scalar import Scalar, cos_sin, numbers

__all__ = ["REACH", "Hankel", "core_spectrum", "core_spectrum_and_derivatives"]

REACH = 2.15
"""Radius in units of the taper's a beyond which the taper is zero (5e-10)."""
POWER = 3
STEP = 0.3
"""Step of the table of G, in units of 1/R."""


class Hankel:
    """Constant tables of one source and image: radial nodes, Bessel matrix, frequencies on the sky.

    Parameters
    ----------
    a : float
        Scale of the taper, arcsec along the major axis.
    wx, wy : array, shape (n,)
        Frequencies in radian per arcsec East and North.
    """

    def __init__(self, a: float, wx: np.ndarray, wy: np.ndarray, dtype: torch.dtype, device: torch.device) -> None:
        radius, top = REACH * a, float(np.sqrt(wx**2 + wy**2).max())
        t, weight = np.polynomial.legendre.leggauss(int(0.27 * POWER * top * radius) + 36)
        t, weight = (t + 1) / 2, weight / 2
        rho = radius * t**POWER
        self.step = STEP / radius
        kappa = np.arange(int(np.ceil(top / self.step)) + 3) * self.step
        bessel = np.concatenate([j0(np.outer(kappa, rho)), -j1(np.outer(kappa, rho)) * rho])
        bessel *= 2 * np.pi * rho * np.exp(-((rho / a) ** 4)) * radius * POWER * t ** (POWER - 1) * weight

        def tensor(x: np.ndarray) -> torch.Tensor:
            return torch.as_tensor(x, dtype=dtype).to(device)

        self.rho2, self.bessel, self.size = tensor(rho**2), tensor(bessel), kappa.size
        self.wx, self.wy = tensor(wx), tensor(wy)

    def read(self, kappa: torch.Tensor, table: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Interpolate tables of value over slope, shape (2 K, m), at kappa (N,): values (N, m) and their slopes by kappa."""
        t = kappa / self.step
        i = t.detach().floor().clamp(0, self.size - 2).long()
        f = (t - i)[:, None]
        lo, hi = table.index_select(0, i), table.index_select(0, i + 1)
        dlo, dhi = (table.index_select(0, i + self.size + k) * self.step for k in (0, 1))
        # Hermite's cubic, lo + f (dlo + f (c2 + f c3)), and its slope
        rise = hi - lo
        c2, c3 = 3 * rise - 2 * dlo - dhi, dlo + dhi - 2 * rise
        return lo + f * (dlo + f * (c2 + f * c3)), (dlo + f * (2 * c2 + 3 * f * c3)) / self.step


def _kappa(h: Hankel, q: Scalar, pa: Scalar) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    c, s = cos_sin(pa)
    wu, wv = h.wx * s + h.wy * c, h.wx * c - h.wy * s
    return wu, wv, torch.sqrt(wu * wu + (q * wv) ** 2 + 1e-20)


def core_spectrum(p: torch.Tensor, h: Hankel, source: Any) -> torch.Tensor:
    """Transform of the core of a unit-flux source, about its centre: real, shape (N,); p = (x, y, q, pa, *profile)."""
    _, _, q, pa, *params = p.unbind()
    g = source.profile(h.rho2, *params)
    return h.read(_kappa(h, q, pa)[2], h.bessel @ g[:, None])[0][:, 0]


def core_spectrum_and_derivatives(p: Sequence[Scalar], h: Hankel, source: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """The transform, and its derivatives by q, pa and the profile's parameters, shape (2 + n, N)."""
    _, _, q, pa, *params = p
    g, _, by = source.derivatives(h.rho2, *params)
    wu, wv, kappa = _kappa(h, q, pa)
    value, slope = h.read(kappa, h.bessel @ torch.stack([g, *by], 1))
    slope = slope[:, 0] / kappa
    turn = slope * (wu * wv) * ((1 - q * q) * (torch.pi / 180))
    return value[:, 0], torch.stack([slope * wv * wv * q, turn, *value.T[1:]])


class CoreSpectrum(torch.autograd.Function):
    """`core_spectrum` with its derivatives written out; differentiates twice through the plain function."""

    @staticmethod
    def forward(ctx: Any, p: torch.Tensor, h: Hankel, source: Any) -> torch.Tensor:
        """Spectrum of shape (N,)."""
        ctx.h, ctx.source = h, source
        if not ctx.needs_input_grad[0]:
            return core_spectrum(p, h, source)
        value, by = core_spectrum_and_derivatives(numbers(p), h, source)
        ctx.save_for_backward(p, by)
        return value

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        """Gradient by p."""
        p, by = ctx.saved_tensors
        if torch.is_grad_enabled():
            return torch.autograd.grad(core_spectrum(p, ctx.h, ctx.source), p, grad, create_graph=True)[0], None, None
        return torch.cat([p.new_zeros(2), by @ grad]), None, None
