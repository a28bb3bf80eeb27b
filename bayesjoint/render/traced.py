r"""Cores that no short formula serves, differentiated by torch: of bent ellipses, and of sources that end at a radius.

The core of light that also depends on angle is a sum of harmonics in the plane where the ellipse is a circle,
:math:`S w = \sum_m B_m(r) e^{im\theta}`, whose transform is again one (Bracewell 2000, ch. 13),

.. math:: \hat S(\kappa, \phi) = 2\pi \sum_m (-i)^m e^{im\phi} \int B_m(r) J_m(\kappa r)\, r\, dr .

Orders above :math:`\kappa_\mathrm{max} r` see nothing: a few dozen do, whatever the shape.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.special import j0, j1

from bayesjoint.render.bessel import bessel_orders
from bayesjoint.render.core import STEP, Core, node_count, radial_nodes
from bayesjoint.scalar import columns_of

__all__ = ["ORDERS", "Closed", "Compact", "Harmonics", "ending_table_size"]

ORDERS = 16


def ending_table_size(extent: float, top: float, fine: float) -> int:
    """Numbers in the table of a source that ends within a radius, without making it."""
    return 2 * (int(np.ceil(top * extent * fine / STEP)) + 2) * node_count(1.0, top * extent, fine)


class Traced(Core):
    """A core whose derivatives are torch's own."""

    def plain(self, p: torch.Tensor) -> torch.Tensor:
        """Transform of the core of a unit-flux source, about its centre, shape (N,); p = (x, y, q, pa, *light)."""
        raise NotImplementedError

    def spectrum(self, p: torch.Tensor) -> torch.Tensor:
        """As `plain`."""
        return self.plain(p)

    def draw(self, p: torch.Tensor, slopes: bool = True) -> tuple[torch.Tensor, Any]:
        """The transform, and what `adjoint` needs (nothing, without slopes)."""
        if not slopes:
            return self.plain(p.detach()), None
        with torch.enable_grad():
            leaf = p.detach().requires_grad_(True)
            value = self.plain(leaf)
        return value.detach(), (leaf, value)

    def adjoint(self, kept: Any, weight: torch.Tensor) -> torch.Tensor:
        """Gradient by (q, pa, *light) of the real sum of `weight` (complex) times the transform."""
        leaf, value = kept
        with torch.enable_grad():
            (grad,) = torch.autograd.grad((value * weight).real.sum() if value.is_complex() else (value * weight.real).sum(), leaf)
        return grad[2:]

    def with_columns(self, p: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The transform, and its derivatives by q, pa and the light's parameters, shape (2 + n, N)."""
        value, by = columns_of(lambda x: torch.view_as_real(self.plain(x) + 0j), p)
        return torch.view_as_complex(value), torch.view_as_complex(by[2:].contiguous())


class Compact(Traced):
    """All of a source whose light depends on the elliptical radius alone and ends at a radius: nodes and table scale with that.

    In place of a taper's scale comes the largest radius at which the light is to end, in arcsec along the major axis.
    """

    def _lay(self, extent: float, fine: float) -> None:
        rho, weight = radial_nodes(1.0, node_count(1.0, self.top * extent, fine))
        count = int(np.ceil(self.top * extent * fine / STEP)) + 1
        kappa = self.top * extent * np.arange(count + 1) / count
        self.rho2 = self.tensor(rho**2)
        x, weight = np.outer(kappa, rho), 2 * np.pi * rho * weight
        self.bessel = self.tensor(np.concatenate([j0(x), -j1(x) * rho]) * weight)
        self.tabulate(kappa)

    def plain(self, p: torch.Tensor) -> torch.Tensor:
        """See `Traced.plain`."""
        _, _, q, pa, *params = p.unbind()
        extent = self.source.extent(*params)
        g = self.source.radial_light(self.rho2 * extent**2, *params)
        return self.read(self.find(self.turned(q, pa)[2] * extent), self.bessel @ g[:, None])[0][:, 0] * extent**2


class Closed(Traced):
    """All of a source whose transform is known in closed form."""

    def _lay(self, extent: float, fine: float) -> None:
        pass

    def plain(self, p: torch.Tensor) -> torch.Tensor:
        """See `Traced.plain`."""
        _, _, q, pa, *params = p.unbind()
        wu, wv, _ = self.turned(q, pa)
        return self.source.transform(wu, q * wv, *params)


class Harmonics(Traced):
    """Core of a source whose light depends on angle too, split off by a taper."""

    def _lay(self, a: float, fine: float) -> None:
        self.count = int(np.ceil(ORDERS * fine))
        super()._lay(a, 1.0)  # nodes and tables grow with the taper as it is: memory would with their cube

    def _spread(self, rho: np.ndarray, weight: np.ndarray, kappa: np.ndarray, highest: np.ndarray) -> None:
        fold = self.source.fold
        self.orders = [fold * k for k in range(self.count + 1)]
        weight = weight * (kappa[:, None] <= highest)
        j = bessel_orders(self.orders[-1] + 1, np.outer(kappa, rho))
        slopes = [(0.5 * (j[m - 1] - j[m + 1]) if m else -j[1]) * rho for m in self.orders]
        tables = [np.concatenate([j[m] * weight, slope * weight]) * (2 if m else 1) for m, slope in zip(self.orders, slopes, strict=True)]
        self.bessel = self.tensor(np.stack(tables))
        self.tabulate(kappa)
        angles = 4 * self.count
        theta = 2 * np.pi / fold * np.arange(angles) / angles
        self.u, self.v = self.tensor(np.outer(rho, np.cos(theta))), self.tensor(np.outer(rho, np.sin(theta)))

    def plain(self, p: torch.Tensor) -> torch.Tensor:
        """See `Traced.plain`."""
        _, _, q, pa, *params = p.unbind()
        light = self.source.light(self.u, self.v, q, *params)
        harmonics = torch.view_as_real(torch.fft.rfft(light, dim=1)[:, : len(self.orders)] / light.shape[1])
        tables = self.bessel @ harmonics.transpose(0, 1)  # (orders, 2 K, 2)
        wu, wv, kappa = self.turned(q, pa)
        value = self.read(self.find(kappa), tables.transpose(0, 1).flatten(1))[0].view(-1, len(self.orders), 2)
        turn, power = torch.complex(wu / kappa, q * wv / kappa), torch.ones_like(value[:, 0, 0]) + 0j
        step = turn
        for _ in range(self.source.fold - 1):
            step = step * turn
        total = [value[:, 0, 0], torch.zeros_like(kappa)]
        for k, m in enumerate(self.orders[1:], 1):
            power = power * step
            wave = power.real * value[:, k, 0] - power.imag * value[:, k, 1]
            total[m % 2] = total[m % 2] + (wave if m % 4 in (0, 3) else -wave)
        return total[0] if self.source.fold % 2 == 0 else torch.complex(total[0], total[1])
