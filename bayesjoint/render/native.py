"""The light of a radial source outside its core, on the image's own pixels, where it is smooth.

Tapered by 1 - w (see `bayesjoint.render.core`), the profile has no power above the pixels' Nyquist frequency, so its values at
the pixels' centres carry all of it: no integration over pixels is needed (the trapezoidal rule converges spectrally).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from bayesjoint.render.grid import Grid
from bayesjoint.scalar import Scalar, cos_sin, numbers, pack
from bayesjoint.sky.profiles import New

__all__ = ["NativeLight", "adjoint", "fields", "native_light", "rasters"]


def native_light(p: torch.Tensor, grid: Grid, a: float, source: Any) -> torch.Tensor:
    """Brightness outside the core in 1/arcsec² at the pixels, for unit flux; p = (x, y, q, pa, *profile). Plain autograd."""
    _, _, rho2 = grid.ellipse(p.unbind())
    return source.profile(rho2, *p[4:].unbind()) * (-torch.expm1(-((rho2 / a**2) ** 2)) / p[2])


def fields(p: Sequence[Scalar], grid: Grid, a: float, source: Any, new: New) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, list[torch.Tensor]]:
    """Brightness and what its derivatives are made of: light, u, v/q, d light/d rho², [d light/d profile parameter]."""
    q = p[2]
    u, v, rho2 = grid.ellipse(p, new)
    light, steep, by = source.derivatives(rho2, *p[4:], new=new)
    t2 = torch.mul(rho2, 1 / a**2, out=new(rho2)).square_()
    left = torch.neg(t2, out=new(rho2)).exp_()
    t2.mul_(left).mul_(2 / q)  # d outside / d ln rho²
    outside = left.sub_(1).mul_(-1 / q)
    w = steep.mul_(outside).addcmul_(light, t2).div_(rho2.add_(1e-30))
    for b in by:
        b.mul_(outside)
    return light.mul_(outside), u, v, w, by


def adjoint(p: Sequence[Scalar], grad: torch.Tensor, light: torch.Tensor, u: torch.Tensor, v: torch.Tensor, w: torch.Tensor, by: list[torch.Tensor], new: New) -> list[Scalar]:
    """Gradient by (*p, flux) of a sum weighted by `grad`, from the `fields`: a few weighted sums."""
    g = grad.reshape(-1)
    gw = torch.mul(grad, w, out=new(grad)).view(-1)
    u, v = u.view(-1), v.view(-1)
    gv = torch.mul(gw, v, out=new(grad).view(-1))
    sums = torch.stack([gw.dot(u), gv.sum(), gv.dot(u), gv.dot(v), g.dot(light.view(-1)), *(g.dot(b.view(-1)) for b in by)])
    su, sv, suv, svv, total, *profile = numbers(sums)
    q, (c, s) = p[2], cos_sin(p[3])
    return [-2 * (su * s + sv * c / q), -2 * (su * c - sv * s / q), -(2 * svv + total) / q, suv * (q - 1 / q) * (torch.pi / 90), *profile, total]


def rasters(p: Sequence[Scalar], grid: Grid, a: float, source: Any) -> torch.Tensor:
    """Derivatives of the brightness by p, then the brightness itself: shape (len(p) + 1, ny, nx)."""
    light, u, v, w, by = fields(p, grid, a, source, torch.empty_like)
    q, (c, s) = p[2], cos_sin(p[3])
    wu, wv = 2 * w * u, w * v * (2 / q)
    return torch.stack([-wu * s - wv * c, -wu * c + wv * s, -wv * v - light / q, wv * u * ((q * q - 1) * (torch.pi / 180)), *by, light])


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
        return light

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        """Gradient by p."""
        p, light, u, v, w, *by = ctx.saved_tensors
        if torch.is_grad_enabled():
            return torch.autograd.grad(native_light(p, *ctx.plain), p, grad, create_graph=True)[0], None, None, None
        return pack(adjoint(numbers(p), grad, light, u, v, w, by, torch.empty_like)[:-1], p), None, None, None
