"""The light of a radial source outside its core, on the image's own pixels, where it is smooth.

Tapered by 1 - w (see `bayesjoint.render.core`), the profile has no power above the pixels' Nyquist frequency, so its values at
the pixels' centres carry all of it: no integration over pixels is needed (the trapezoidal rule converges spectrally).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from bayesjoint.render.core import REACH
from bayesjoint.render.grid import Grid
from bayesjoint.scalar import Scalar, cos_sin, numbers, pack
from bayesjoint.sky.profiles import New

__all__ = ["NativeLight", "adjoint", "fields", "native_light", "rasters"]


def native_light(p: torch.Tensor, grid: Grid, a: float, source: Any) -> torch.Tensor:
    """Brightness outside the core in 1/arcsec² at the pixels, for unit flux; p = (x, y, q, pa, *profile). Plain autograd."""
    _, _, rho2 = grid.ellipse(p.unbind())
    rho2 = rho2.clamp(min=1e-30)
    return source.profile(rho2, *p[4:].unbind()) * (-torch.expm1(-((rho2 / a**2) ** 2)) / p[2])


def fields(
    p: Sequence[Scalar], grid: Grid, a: float, source: Any, new: New
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, list[torch.Tensor]]:
    """Brightness times q, and what its derivatives are made of: light, u, v/q, d light/d rho², [d light/d profile parameter]."""
    u, v, rho2 = grid.ellipse(p, new)
    near = grid.window(p, REACH * a)  # beyond it the taper is zero
    inner = rho2[near].clamp_(min=1e-30)
    light, steep, by = source.derivatives(rho2, *p[4:], new=new)
    t = inner.square().mul_(-1 / a**4)
    left = t.exp()
    outside = 1 - left
    steep[near].mul_(outside).addcmul_(light[near], t.mul_(left), value=-2)  # d outside / d ln rho² = -2 t left
    for x in (light, *by):
        x[near].mul_(outside)
    return light, u, v, steep.div_(rho2), by


def adjoint(
    p: Sequence[Scalar], grad: torch.Tensor, light: torch.Tensor, u: torch.Tensor, v: torch.Tensor, w: torch.Tensor, by: list[torch.Tensor], new: New
) -> list[Scalar]:
    """Gradient by (*p, flux) of a sum weighted by `grad`, from the `fields`: a few weighted sums."""
    g = grad.reshape(-1)
    gw = torch.mul(grad, w, out=new(grad)).view(-1)
    u, v = u.view(-1), v.view(-1)
    gv = torch.mul(gw, v, out=new(grad).view(-1))
    sums = torch.stack([gw.dot(u), gv.sum(), gv.dot(u), gv.dot(v), g.dot(light.view(-1)), *(g.dot(b.view(-1)) for b in by)])
    q, (c, s) = p[2], cos_sin(p[3])
    su, sv, suv, svv, total, *profile = numbers(sums / q)
    return [-2 * (su * s + sv * c / q), -2 * (su * c - sv * s / q), -(2 * svv + total) / q, suv * (q - 1 / q) * (torch.pi / 90), *profile, total]


def rasters(p: Sequence[Scalar], grid: Grid, a: float, source: Any) -> torch.Tensor:
    """Derivatives of the brightness by p, then the brightness itself: shape (len(p) + 1, ny, nx)."""
    light, u, v, w, by = fields(p, grid, a, source, torch.empty_like)
    q, (c, s) = p[2], cos_sin(p[3])
    wu, wv = 2 * w * u, w * v * (2 / q)
    return torch.stack([-wu * s - wv * c, -wu * c + wv * s, -wv * v - light / q, wv * u * ((q * q - 1) * (torch.pi / 180)), *by, light]).mul_(1 / q)


class NativeLight(torch.autograd.Function):
    """`native_light` whose gradient is written out; differentiates twice through the plain function."""

    @staticmethod
    def forward(ctx: Any, p: torch.Tensor, grid: Grid, a: float, source: Any) -> torch.Tensor:
        """Brightness at the pixels."""
        ctx.plain = grid, a, source
        if not ctx.needs_input_grad[0]:
            return native_light(p, grid, a, source)
        light, u, v, w, by = fields(numbers(p), grid, a, source, torch.empty_like)
        ctx.save_for_backward(p, light, u, v, w, *by)
        return light / p[2]

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        """Gradient by p."""
        p, light, u, v, w, *by = ctx.saved_tensors
        if torch.is_grad_enabled():
            return torch.autograd.grad(native_light(p, *ctx.plain), p, grad, create_graph=True)[0], None, None, None
        return pack(adjoint(numbers(p), grad, light, u, v, w, by, torch.empty_like)[:-1], p), None, None, None
