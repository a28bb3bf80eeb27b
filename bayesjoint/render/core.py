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

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.special import j0, j1, roots_legendre

from bayesjoint.scalar import Scalar, cos_sin, numbers

__all__ = ["REACH", "Core", "Hankel", "levels_of", "node_count", "radial_nodes", "table_size"]

REACH = 2.15
"""Radius in units of the taper's a beyond which the taper is zero (5e-10)."""
POWER = 3
STEP = 0.3
"""Step of the table of G, in units of 1/R."""
BAND = 16 * np.pi
"""Frequency, in units of 1/a, above which light outside a taper of scale a / 2 has no power."""
BLOCK = 2**20
"""Numbers of a table that are made at a time."""
DENSEST = 1.25
"""How much denser than what serves well nodes and places of the table are at most: there sums and
interpolation are exact to 1e-7 of the flux. A finer core is larger, and its table would otherwise
grow with the fourth power of that."""
KINKED = 3.0
"""How much further up that lies where isophotes have kinks."""


@functools.lru_cache(maxsize=256)
def _legendre(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre nodes and weights on (0, 1); finding them takes milliseconds, and the same counts come again."""
    t, weight = roots_legendre(count)
    return (t + 1) / 2, weight / 2


def node_count(radius: float, top: float, fine: float) -> int:
    """How many nodes integrals over rho from 0 to a radius need, for frequencies up to `top`."""
    return int(fine * (0.27 * POWER * top * radius + 36))


def radial_nodes(radius: float, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of integrals over rho from 0 to a radius, for cusps at 0; so many as `node_count` gives."""
    t, weight = _legendre(count)
    return radius * t**POWER, weight * radius * POWER * t ** (POWER - 1)


@dataclass(frozen=True)
class Level:
    """Of a core: the scale of its taper, the frequencies to which it matters, and how many nodes and places of the table it has."""

    a: float
    top: float
    nodes: int
    places: int


def levels_of(a: float, top: float, fine: float, kinked: bool) -> list[Level]:
    """The levels of a core of scale `a`, for frequencies up to `top`, from the outermost on: without making them."""
    band, begin, levels = BAND * fine**2 * (KINKED if kinked else 1.0), 0.0, []
    fine = min(fine, DENSEST)
    while True:
        last = 2 * band / a >= top
        end = top if last else band / a
        places = int(np.ceil((end - begin) * REACH * a * fine / STEP)) + 1
        levels.append(Level(a, end, node_count(REACH * a, end, fine), places))
        if last:
            return levels
        begin, a = end, a / 2


def table_size(levels: Sequence[Level]) -> int:
    """Numbers in one table of value over slope for these levels."""
    return 2 * (1 + sum(v.places for v in levels)) * sum(v.nodes for v in levels)


class Core:
    """What all cores share: the frequencies on the sky at which they are wanted, radial nodes, and the places of the table of G.

    A core much larger than its smallest detail, as that of a thin galaxy is, is a sum of levels: what lies outside a taper half as large
    has no power at high frequencies, so that radii far out and frequencies far up need not meet.

    Parameters
    ----------
    source : Extended
        Whose core it is.
    a : float
        Scale of the taper, arcsec along the major axis.
    wx, wy : array, shape (n,)
        Frequencies in radian per arcsec East and North.
    fine : float
        Radial nodes, and places of the table, in units of what serves well.
    """

    def __init__(
        self, source: Any, a: float, wx: np.ndarray, wy: np.ndarray, fine: float, dtype: torch.dtype, device: torch.device
    ) -> None:
        self.source, self.dtype, self.device = source, dtype, device
        self.top = float(np.sqrt(wx**2 + wy**2).max())
        self.wx, self.wy = self.tensor(wx), self.tensor(wy)
        self._lay(a, fine)

    def _lay(self, a: float, fine: float) -> None:
        rho, weight, highest, kappa = [], [], [], [np.zeros(1)]
        levels = levels_of(a, self.top, fine, self.source.kinked)
        for k, level in enumerate(levels):
            r, w = radial_nodes(REACH * level.a, level.nodes)
            left = np.exp(-((r / level.a) ** 4)) - (0.0 if k == len(levels) - 1 else np.exp(-((2 * r / level.a) ** 4)))
            rho.append(r)
            weight.append(2 * np.pi * r * w * left)
            highest.append(np.full(r.size, level.top))
            begin = kappa[-1][-1]
            kappa.append(begin + (level.top - begin) * np.arange(1, level.places + 1) / level.places)
        self._spread(np.concatenate(rho), np.concatenate(weight), np.concatenate(kappa), np.concatenate(highest))

    def _spread(self, rho: np.ndarray, weight: np.ndarray, kappa: np.ndarray, highest: np.ndarray) -> None:
        """Make the tables: `rho`, `weight` of radial nodes, `highest` the frequencies to which they matter, `kappa` the table's places."""
        raise NotImplementedError

    def tabulate(self, kappa: np.ndarray) -> None:
        """Set the places of the table."""
        steps = np.diff(kappa)
        self.places, self.steps = self.tensor(kappa), self.tensor(steps)
        self.uniform = float(1 / steps[0]) if np.ptp(steps) < 1e-9 * steps[0] else 0.0

    def tensor(self, x: np.ndarray) -> torch.Tensor:
        """As a tensor of the core's dtype and device."""
        return torch.as_tensor(x, dtype=self.dtype).to(self.device)

    def turned(self, q: Scalar, pa: Scalar) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Frequencies along the major and minor axis, and kappa."""
        c, s = cos_sin(pa)
        wu, wv = self.wx * s + self.wy * c, self.wx * c - self.wy * s
        return wu, wv, torch.sqrt(wu * wu + (q * wv) ** 2 + 1e-20)

    def find(self, kappa: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Which interval of the table each kappa (N,) lies in, how far along it (0 to 1), and the interval's length."""
        if self.uniform:
            i = (kappa.detach() * self.uniform).long().clamp_(max=self.steps.shape[0] - 1)
        else:
            i = torch.bucketize(kappa.detach(), self.places[1:-1], right=True)
        step = self.steps.index_select(0, i)
        return i, (kappa - self.places.index_select(0, i)) / step, step

    @staticmethod
    def read(found: tuple[torch.Tensor, ...], table: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Interpolate tables of value over slope, shape (2 K, m), by Hermite's cubic at what `find` gave.

        Returns the values (N, m), and the first's slope by kappa (N,).
        """
        i, f, step = found[0], found[1][:, None], found[2][:, None]
        size = table.shape[0] // 2
        lo, hi = table.index_select(0, i), table.index_select(0, i + 1)
        dlo, dhi = (table.index_select(0, i + size + k) * step for k in (0, 1))
        # lo + f (dlo + f (c2 + f c3)), and its slope
        rise = hi - lo
        c2, c3 = 3 * rise - 2 * dlo - dhi, dlo + dhi - 2 * rise
        return lo + f * (dlo + f * (c2 + f * c3)), (dlo[:, 0] + found[1] * (2 * c2[:, 0] + 3 * found[1] * c3[:, 0])) / found[2]


class Hankel(Core):
    """Core of a source whose light depends on the elliptical radius alone, with its derivatives written out."""

    def _spread(self, rho: np.ndarray, weight: np.ndarray, kappa: np.ndarray, highest: np.ndarray) -> None:
        table = np.empty((2 * kappa.size, rho.size))
        rows = max(1, BLOCK // rho.size)
        for k in range(0, kappa.size, rows):  # by blocks: what the table is made of would take five times its memory
            part = slice(k, min(k + rows, kappa.size))
            x, w = np.outer(kappa[part], rho), weight * (kappa[part, None] <= highest)
            table[part] = j0(x) * w
            table[kappa.size + part.start : kappa.size + part.stop] = -j1(x) * rho * w
        self.rho2, self.bessel = self.tensor(rho**2), self.tensor(table)
        self.tabulate(kappa)

    def plain(self, p: torch.Tensor) -> torch.Tensor:
        """Transform of the core of a unit-flux source, about its centre: real, shape (N,); p = (x, y, q, pa, *light)."""
        _, _, q, pa, *params = p.unbind()
        g = self.source.radial_light(self.rho2, *params)
        return self.read(self.find(self.turned(q, pa)[2]), self.bessel @ g[:, None])[0][:, 0]

    def spectrum(self, p: torch.Tensor) -> torch.Tensor:
        """`plain`, with a backward pass of its own."""
        return _HankelSpectrum.apply(p, self)

    def with_columns(self, p: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The transform, and its derivatives by q, pa and the light's parameters, shape (2 + n, N)."""
        _, _, q, pa, *params = numbers(p)
        g, _, by = self.source.derivatives(self.rho2, *params)
        wu, wv, kappa = self.turned(q, pa)
        value, slope = self.read(self.find(kappa), self.bessel @ torch.stack([g, *by], 1))
        slope = slope / kappa
        turn = slope * (wu * wv) * ((1 - q * q) * (torch.pi / 180))
        return value[:, 0], torch.stack([slope * wv * wv * q, turn, *value.T[1:]])

    def draw(self, p: torch.Tensor, slopes: bool = True) -> tuple[torch.Tensor, Any]:
        """The transform, and what `adjoint` needs (nothing, without slopes)."""
        if not slopes:
            return self.plain(p), None
        _, _, q, pa, *params = numbers(p)
        g, _, by = self.source.derivatives(self.rho2, *params)
        wu, wv, kappa = self.turned(q, pa)
        found = self.find(kappa)
        value, slope = self.read(found, self.bessel @ g[:, None])
        return value[:, 0], (q, wu, wv, slope / kappa, found, by)

    def adjoint(self, kept: Any, weight: torch.Tensor) -> torch.Tensor:
        """Gradient by (q, pa, *light) of the real sum of `weight` (complex) times the transform: by way of the table, not of each frequency."""
        q, wu, wv, slope, (i, f, step), by = kept
        w = weight.real.contiguous()
        pull = slope * w * wv
        size = self.places.shape[0]
        far, ends = f * f * (3 - 2 * f), f * (1 - f) * w * step
        table = w.new_zeros(2 * size).index_add_(0, i, w - far * w).index_add_(0, i + 1, far * w)
        table.index_add_(0, i + size, ends * (1 - f)).index_add_(0, i + (size + 1), ends * -f)
        nodes = table @ self.bessel
        return torch.stack([pull.dot(wv) * q, pull.dot(wu) * ((1 - q * q) * (torch.pi / 180)), *(nodes.dot(b) for b in by)])


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
