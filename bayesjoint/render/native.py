"""The light of an extended source outside its core, on a grid of pixels, where it is smooth.

Tapered by 1 - w (see `bayesjoint.render.core`), the profile has no power above the grid's Nyquist frequency, so its values at
the grid's places carry all of it: no integration over pixels is needed (the trapezoidal rule converges spectrally).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch

from bayesjoint.render.grid import Grid
from bayesjoint.render.taper import Taper
from bayesjoint.scalar import New, Scalar, columns_of, cos_sin, numbers, pack

__all__ = ["Outside", "TracedOutside"]


class Outside:
    """Light outside the core of a source that depends on the elliptical radius alone, with its derivatives written out.

    Parameters
    ----------
    source : Extended
        Whose light it is.
    grid : Grid
        Where it is wanted.
    taper : Taper
        Of the core.
    """

    def __init__(self, source: Any, grid: Grid, taper: Taper) -> None:
        self.source, self.grid, self.taper = source, grid, taper

    def plain(self, p: torch.Tensor) -> torch.Tensor:
        """Brightness in 1/arcsec² on the grid, for unit flux; p = (x, y, q, pa, *light). Plain autograd."""
        _, _, rho2 = self.grid.ellipse(p.unbind())
        rho2 = rho2.clamp(min=1e-30)
        return self.source.radial_light(rho2, *p[4:].unbind()) * (-torch.expm1(self.taper.exponent(rho2)) / p[2])

    def light(self, p: torch.Tensor) -> torch.Tensor:
        """`plain`, with a backward pass of its own."""
        return _OutsideLight.apply(p, self)

    def draw(self, p: torch.Tensor, new: New, slopes: bool = True) -> tuple[torch.Tensor, Any]:
        """Brightness, and what `adjoint` needs (nothing, without slopes)."""
        values = numbers(p)
        if not slopes:
            return self._brightness(values, p, new), None
        light, *kept = self._fields(values, new)
        return light.mul_(1 / values[2]), (values, light, *kept)

    def adjoint(self, grad: torch.Tensor, kept: Any, new: New) -> torch.Tensor:
        """Gradient by (*p, flux) of a sum over the grid weighted by `grad`: a few weighted sums."""
        p, light, u, v, w, by = kept
        g = grad.reshape(-1)
        gw = torch.mul(grad, w, out=new(grad)).view(-1)
        u, v = u.view(-1), v.view(-1)
        gv = torch.mul(gw, v, out=new(grad).view(-1))
        sums = torch.stack([gw.dot(u), gv.sum(), gv.dot(u), gv.dot(v), *(g.dot(b.view(-1)) for b in by)])
        total = g.dot(light.view(-1))
        q, (c, s) = p[2], cos_sin(p[3])
        su, sv, suv, svv, *profile = numbers(sums / q)
        (total,) = numbers(total[None])
        slopes = [-2 * (su * s + sv * c / q), -2 * (su * c - sv * s / q), -(2 * svv + total) / q, suv * (q - 1 / q) * (torch.pi / 90), *profile]
        return pack([*slopes, total], grad)

    def columns(self, p: torch.Tensor) -> Iterable[torch.Tensor]:
        """Derivatives of the brightness by p, then the brightness itself, each of shape (ny, nx) and the caller's to keep: one by one, for large grids."""
        values = numbers(p)
        light, u, v, w, by = self._fields(values, torch.empty_like)
        q, (c, s) = values[2], cos_sin(values[3])
        w.mul_(2 / q)
        wv = w * v
        yield w.mul(u).mul_(-s).sub_(wv * (c / q))
        yield w.mul_(u).mul_(-c).add_(wv * (s / q))
        yield (wv * v).add_(light * (1 / q)).mul_(-1 / q)
        yield wv.mul_(u).mul_((q - 1 / q) * (torch.pi / 180))
        for x in (*by, light):
            yield x.mul_(1 / q)

    def _brightness(self, values: Sequence[Scalar], p: torch.Tensor, new: New) -> torch.Tensor:
        """`plain` without a graph, the taper taken where it is not zero alone."""
        _, _, rho2 = self.grid.ellipse(values, new)
        near = self.grid.window(values, self.taper.reach)
        inner = rho2[near].clamp_(min=1e-30)
        light = self.source.radial_light(rho2, *p[4:].unbind())
        light[near].mul_(1 - self.taper.exponent_(inner).exp_())
        return light.mul_(1 / values[2])

    def _fields(self, p: Sequence[Scalar], new: New) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, list[torch.Tensor]]:
        """Brightness times q, and what its derivatives are made of: light, u, v/q, d light/d rho², [d light/d parameter]."""
        u, v, rho2 = self.grid.ellipse(p, new)
        near = self.grid.window(p, self.taper.reach)  # beyond it the taper is zero
        inner = rho2[near].clamp_(min=1e-30)
        light, steep, by = self.source.derivatives(rho2, *p[4:], new=new)
        t = self.taper.exponent_(inner)
        left = t.exp()
        outside = 1 - left
        steep[near].mul_(outside).addcmul_(light[near], t.mul_(left), value=-self.taper.power / 2)  # d outside / d ln rho² = -p/2 t left
        for x in (light, *by):
            x[near].mul_(outside)
        return light, u, v, steep.div_(rho2), by


class TracedOutside(Outside):
    """Light outside the core of a source that depends on angle too, differentiated by torch."""

    def plain(self, p: torch.Tensor) -> torch.Tensor:
        """See `Outside.plain`."""
        u, v, r2 = self.grid.ellipse(p.unbind())
        return self.source.light(u, v, *p[2:3].unbind(), *p[4:].unbind()) * (-torch.expm1(self.taper.exponent(r2)) / p[2])

    def light(self, p: torch.Tensor) -> torch.Tensor:
        """As `plain`."""
        return self.plain(p)

    def draw(self, p: torch.Tensor, new: New, slopes: bool = True) -> tuple[torch.Tensor, Any]:
        """See `Outside.draw`."""
        if not slopes:
            return self.plain(p.detach()), None
        with torch.enable_grad():
            leaf = p.detach().requires_grad_(True)
            light = self.plain(leaf)
        return light.detach(), (leaf, light)

    def adjoint(self, grad: torch.Tensor, kept: Any, new: New) -> torch.Tensor:
        """See `Outside.adjoint`."""
        leaf, light = kept
        with torch.enable_grad():
            (by,) = torch.autograd.grad((light * grad).sum(), leaf)
        return torch.cat([by, (light.detach() * grad).sum()[None]])

    def columns(self, p: torch.Tensor) -> Iterable[torch.Tensor]:
        """See `Outside.columns`."""
        light, by = columns_of(self.plain, p)
        return torch.cat([by, light[None]])


class _OutsideLight(torch.autograd.Function):
    """`Outside.plain` whose gradient is written out; differentiates twice through the plain function."""

    @staticmethod
    def forward(ctx: Any, p: torch.Tensor, outside: Outside) -> torch.Tensor:
        ctx.outside = outside
        if not ctx.needs_input_grad[0]:
            return outside.plain(p)
        light, (ctx.values, *tensors, ctx.by) = outside.draw(p, torch.empty_like)
        ctx.save_for_backward(p, *tensors)
        return light

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
        p, *tensors = ctx.saved_tensors
        if torch.is_grad_enabled():
            return torch.autograd.grad(ctx.outside.plain(p), p, grad, create_graph=True)[0], None
        return ctx.outside.adjoint(grad, (ctx.values, *tensors, ctx.by), torch.empty_like)[:-1], None
