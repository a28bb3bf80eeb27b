r"""The core of an extended source, in Fourier space: exact at the cusp, and cheap.

A profile S is split by a smooth taper :math:`w(\rho) = \exp(-(\rho/a)^4)` of its own elliptical radius. What is left outside,
:math:`S (1 - w)`, is smooth on the pixels (`bayesjoint.render.native`); the core :math:`S w` is radial in stretched
coordinates, so its transform is a Hankel transform,

.. math:: \hat S(\omega) = G(\kappa),\quad \kappa^2 = \omega_u^2 + q^2 \omega_v^2,\quad
          G(\kappa) = 2\pi \int S(\rho)\, w(\rho)\, J_0(\kappa\rho)\, \rho\, d\rho

(Bracewell 2000, ch. 13). The integral is a Gauss-Legendre sum in :math:`t = (\rho/R)^{1/3}`, which resolves any cusp; G is
tabulated with its slope and read by cubic Hermite interpolation. The position is a phase: exact at any sub-pixel place.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.special import j0, j1

from bayesjoint.scalar import Scalar, cos_sin, numbers

__all__ = ["REACH", "Core", "Hankel"]

REACH = 2.15
"""Radius in units of the taper's a beyond which the taper is zero (5e-10)."""
POWER = 3
STEP = 0.3
"""Step of the table of G, in units of 1/R."""


class Core:
    """What all cores share: the frequencies on the sky at which they are wanted, and radial nodes.

    Parameters
    ----------
    source : Extended
        Whose core it is.
    radius : float
        How far the core goes, arcsec along the major axis.
    wx, wy : array, shape (n,)
        Frequencies in radian per arcsec East and North.
    fine : float
        Radial nodes, and orders of angle, in units of what serves well.
    """

    def __init__(self, source: Any, radius: float, wx: np.ndarray, wy: np.ndarray, fine: float, dtype: torch.dtype, device: torch.device) -> None:
        self.source, self.dtype, self.device = source, dtype, device
        self.top = float(np.sqrt(wx**2 + wy**2).max())
        t, weight = np.polynomial.legendre.leggauss(int(fine * (0.27 * POWER * self.top * radius + 36)))
        self.t, self.node_weight = (t + 1) / 2, weight / 2
        self.wx, self.wy = self.tensor(wx), self.tensor(wy)

    def tensor(self, x: np.ndarray) -> torch.Tensor:
        """As a tensor of the core's dtype and device."""
        return torch.as_tensor(x, dtype=self.dtype).to(self.device)

    def turned(self, q: Scalar, pa: Scalar) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Frequencies along the major and minor axis, and kappa."""
        c, s = cos_sin(pa)
        wu, wv = self.wx * s + self.wy * c, self.wx * c - self.wy * s
        return wu, wv, torch.sqrt(wu * wu + (q * wv) ** 2 + 1e-20)


def read(kappa: torch.Tensor, table: torch.Tensor, step: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Interpolate tables of value over slope, shape (2 K, m), at kappa (N,) by Hermite's cubic: values (N, m) and slopes by kappa."""
    size = table.shape[0] // 2
    t = kappa / step
    i = t.detach().floor().clamp(0, size - 2).long()
    f = (t - i)[:, None]
    lo, hi = table.index_select(0, i), table.index_select(0, i + 1)
    dlo, dhi = (table.index_select(0, i + size + k) * step for k in (0, 1))
    # lo + f (dlo + f (c2 + f c3)), and its slope
    rise = hi - lo
    c2, c3 = 3 * rise - 2 * dlo - dhi, dlo + dhi - 2 * rise
    return lo + f * (dlo + f * (c2 + f * c3)), (dlo + f * (2 * c2 + 3 * f * c3)) / step


class Hankel(Core):
    """Core of a source whose light depends on the elliptical radius alone, with its derivatives written out.

    Parameters
    ----------
    a : float
        Scale of the taper, arcsec along the major axis.
    """

    def __init__(self, source: Any, a: float, wx: np.ndarray, wy: np.ndarray, fine: float, dtype: torch.dtype, device: torch.device) -> None:
        radius = REACH * a
        super().__init__(source, radius, wx, wy, fine, dtype, device)
        t, rho = self.t, radius * self.t**POWER
        self.step = STEP / radius / fine
        kappa = np.arange(int(np.ceil(self.top / self.step)) + 3) * self.step
        bessel = np.concatenate([j0(np.outer(kappa, rho)), -j1(np.outer(kappa, rho)) * rho])
        bessel *= 2 * np.pi * rho * np.exp(-((rho / a) ** 4)) * radius * POWER * t ** (POWER - 1) * self.node_weight
        self.rho2, self.bessel = self.tensor(rho**2), self.tensor(bessel)

    def plain(self, p: torch.Tensor) -> torch.Tensor:
        """Transform of the core of a unit-flux source, about its centre: real, shape (N,); p = (x, y, q, pa, *light)."""
        _, _, q, pa, *params = p.unbind()
        g = self.source.radial_light(self.rho2, *params)
        return read(self.turned(q, pa)[2], self.bessel @ g[:, None], self.step)[0][:, 0]

    def spectrum(self, p: torch.Tensor) -> torch.Tensor:
        """`plain`, with a backward pass of its own."""
        return _HankelSpectrum.apply(p, self)

    def with_columns(self, p: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The transform, and its derivatives by q, pa and the light's parameters, shape (2 + n, N)."""
        _, _, q, pa, *params = numbers(p)
        g, _, by = self.source.derivatives(self.rho2, *params)
        wu, wv, kappa = self.turned(q, pa)
        value, slope = read(kappa, self.bessel @ torch.stack([g, *by], 1), self.step)
        slope = slope[:, 0] / kappa
        turn = slope * (wu * wv) * ((1 - q * q) * (torch.pi / 180))
        return value[:, 0], torch.stack([slope * wv * wv * q, turn, *value.T[1:]])

    draw = with_columns

    def adjoint(self, by: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Gradient by (q, pa, *light) of the real sum of `weight` (complex) times the transform; `by` is what `draw` kept."""
        return by @ weight.real


class _HankelSpectrum(torch.autograd.Function):
    """`Hankel.plain` with its derivatives written out; differentiates twice through the plain function."""

    @staticmethod
    def forward(ctx: Any, p: torch.Tensor, core: Hankel) -> torch.Tensor:
        ctx.core = core
        if not ctx.needs_input_grad[0]:
            return core.plain(p)
        value, by = core.with_columns(p)
        ctx.save_for_backward(p, by)
        return value

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
        p, by = ctx.saved_tensors
        if torch.is_grad_enabled():
            return torch.autograd.grad(ctx.core.plain(p), p, grad, create_graph=True)[0], None
        return torch.cat([p.new_zeros(2), by @ grad]), None
