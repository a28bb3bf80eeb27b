"""Profiles: surface brightness as a function of elliptical radius, for unit total flux.

A profile is a pure function of rho² (arcsec², rho the semi-major axis of the ellipse through a point) and its parameters,
normalised for q = 1, in 1/arcsec². Its derivatives are automatic ones, where they are not written out.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from scipy.special import gammaincinv
from torch.nn.functional import softplus as _softplus

from bayesjoint.scalar import New, Scalar, add_scaled, log
from bayesjoint.sky.sersic import TINY, b_n
from bayesjoint.sky.shapes import evaluate_spline

__all__ = [
    "NUKER_REACH", "broken_exponential", "core_sersic", "de_vaucouleurs", "de_vaucouleurs_derivatives", "derivatives_of", "edge_on",
    "exponential", "exponential_derivatives", "ferrer", "gaussian", "gaussian_derivatives", "gaussian_ring", "king", "moffat",
    "moffat_derivatives", "multi_gaussian", "nuker", "spline", "spline_nodes", "x_k1",
]  # fmt: skip

NUKER_REACH = 10.0
"""Radius, in break radii, within which a Nuker profile's flux is counted."""


def derivatives_of(profile: Callable[..., torch.Tensor]) -> Callable[..., tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]]:
    """Derivatives of any profile by automatic differentiation, for those whose own are not written out.

    In reverse mode, twice: the slopes of a weighted sum of the light are linear in the weights, and their slopes by the weights are
    those of each pixel. Forward mode gives the same, and takes some ten times as long for its work on each operation (torch 2.13).

    Returns
    -------
    callable
        (rho2, *params) to the profile I, dI/d ln rho², and [dI/d param]; params are floats or 0-d tensors.
    """

    @torch.enable_grad()
    def derivatives(rho2: torch.Tensor, *params: torch.Tensor, new: New = torch.empty_like) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
        args = [torch.as_tensor(p, dtype=rho2.dtype, device=rho2.device).detach().requires_grad_() for p in (rho2, *params)]
        light = profile(*args)
        weights = rho2.detach().clone().requires_grad_()  # so the slope by rho² is that by its logarithm
        # of a sum, not with weights as grad_outputs: torch would check those by importing sympy, which takes a second
        steep, *sums = torch.autograd.grad((light * weights).sum(), args, create_graph=True, materialize_grads=True)
        by = [torch.autograd.grad(s, weights, retain_graph=True)[0] if s.requires_grad else torch.zeros_like(rho2) for s in sums]
        return light.detach(), steep.detach(), by

    return derivatives


# -- pieces ---------------------------------------------------------------------------------------------------------------
@functools.cache
def _double_exponential(step: float = 0.03, end: float = 3.1) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights on (0, 1) by tanh-sinh (Takahasi & Mori 1974): exact to about 1e-12 though the ends be singular, or all happens near one."""
    s = np.arange(-end, end + step / 2, step)
    x = 0.5 * (1 + np.tanh(0.5 * np.pi * np.sinh(s)))
    return x, step * 0.25 * np.pi * np.cosh(s) / np.cosh(0.5 * np.pi * np.sinh(s)) ** 2


def _like(values: Any, like: torch.Tensor) -> torch.Tensor:
    return torch.as_tensor(values, dtype=like.dtype).to(like.device)


def _unit_interval(like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    x, w = _double_exponential()
    return _like(x, like), _like(w, like)


def softplus(x: torch.Tensor) -> torch.Tensor:
    """ln(1 + e^x) to full precision."""
    return _softplus(x, threshold=40.0)


def _log_positive(x: Scalar, floor: float) -> Scalar:
    """Logarithm of x, going on as a straight line below `floor`: a sampler that strays where a total diverges finds no wall."""
    if isinstance(x, float):
        return math.log(max(x, floor)) + min(x - floor, 0.0) / floor
    return torch.log(x.clamp(min=floor)) + (x - floor).clamp(max=0.0) / floor


# -- Exponential, de Vaucouleurs, Gauss -------------------------------------------------------------------------------------
def _stretched_peak(n: float, b: float) -> float:
    return -(math.log(2 * math.pi * n) - 2 * n * math.log(b) + math.lgamma(2 * n))


def _stretched(rho2: torch.Tensor, length: torch.Tensor, n: float, b: float) -> torch.Tensor:
    """Unit-flux exp(-b (rho / length)^(1/n)) with constant n and b."""
    return torch.exp(_stretched_peak(n, b) - 2 * torch.log(length) - b * ((rho2 + TINY) / length**2) ** (0.5 / n))


def _stretched_derivatives(
    rho2: torch.Tensor, length: Scalar, *, n: float, b: float, new: New = torch.empty_like
) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
    """The same, its derivative by ln rho², and by the length, as `sersic_derivatives` gives them, without that by n."""
    z = torch.pow(rho2, 0.5 / n, out=new(rho2)).mul_(b * length ** (-1 / n))
    light = torch.neg(z, out=new(rho2)).add_(_stretched_peak(n, b) - 2 * log(length)).exp_()
    steep = z.mul_(light).mul_(-0.5 / n)
    return light, steep, [torch.add(light, steep, out=new(rho2)).mul_(-2 / length)]


_B1, _B4, _BG = float(gammaincinv(2.0, 0.5)), float(gammaincinv(8.0, 0.5)), 4 * math.log(2)


def exponential(rho2: torch.Tensor, r_eff: torch.Tensor) -> torch.Tensor:
    """Exponential disc (Freeman 1970, ApJ 160, 811): Sérsic's profile of n = 1.

    Parameters
    ----------
    rho2 : torch.Tensor
        Squared elliptical radius in arcsec².
    r_eff : torch.Tensor, shape ()
        Half-light semi-major axis in arcsec: 1.678 scale lengths.
    """
    return _stretched(rho2, r_eff, 1.0, _B1)


def de_vaucouleurs(rho2: torch.Tensor, r_eff: torch.Tensor) -> torch.Tensor:
    """De Vaucouleurs' (1948, Ann. Astrophys. 11, 247) profile: Sérsic's of n = 4.

    Parameters
    ----------
    rho2 : torch.Tensor
        Squared elliptical radius in arcsec².
    r_eff : torch.Tensor, shape ()
        Half-light semi-major axis in arcsec.
    """
    return _stretched(rho2, r_eff, 4.0, _B4)


def gaussian(rho2: torch.Tensor, fwhm: torch.Tensor) -> torch.Tensor:
    """Gaussian.

    Parameters
    ----------
    rho2 : torch.Tensor
        Squared elliptical radius in arcsec².
    fwhm : torch.Tensor, shape ()
        Full width at half maximum along the major axis in arcsec.
    """
    return _stretched(rho2, fwhm, 0.5, _BG)


exponential_derivatives = functools.partial(_stretched_derivatives, n=1.0, b=_B1)
de_vaucouleurs_derivatives = functools.partial(_stretched_derivatives, n=4.0, b=_B4)
gaussian_derivatives = functools.partial(_stretched_derivatives, n=0.5, b=_BG)


# -- Moffat -----------------------------------------------------------------------------------------------------------------
_BETA_FLOOR = 0.005


def moffat(rho2: torch.Tensor, fwhm: torch.Tensor, beta: torch.Tensor) -> torch.Tensor:
    """Moffat's (1969, A&A 3, 455) profile, (1 + rho²/a²)^-beta with fwhm = 2 a (2^(1/beta) - 1)^½.

    Parameters
    ----------
    rho2 : torch.Tensor
        Squared elliptical radius in arcsec².
    fwhm, beta : torch.Tensor, shape ()
        Full width at half maximum along the major axis in arcsec; power of the wings, above 1 (the total diverges at 1).
    """
    per_a2 = 4 * (2 ** (1 / beta) - 1) / fwhm**2
    return torch.exp(_log_positive(beta - 1, _BETA_FLOOR) - math.log(math.pi) + torch.log(per_a2) - beta * torch.log1p(rho2 * per_a2))


def moffat_derivatives(
    rho2: torch.Tensor, fwhm: Scalar, beta: Scalar, *, new: New = torch.empty_like
) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
    """Moffat profile I, dI/d ln rho², and [dI/dfwhm, dI/dbeta]; written into buffers from `new`, without autograd."""
    power = 2 ** (1 / beta)
    per_a2 = 4 * (power - 1) / fwhm**2
    by_width = -math.log(2) / beta**2 * power / (power - 1)  # d ln(1/a²) / d beta
    by_peak = 1 / (max(beta - 1, _BETA_FLOOR) if isinstance(beta, float) else (beta - 1).clamp(min=_BETA_FLOOR))
    x = torch.mul(rho2, per_a2, out=new(rho2))
    wing = torch.log1p(x, out=new(rho2))
    light = torch.mul(wing, -beta, out=new(rho2)).add_(_log_positive(beta - 1, _BETA_FLOOR) - math.log(math.pi) + log(per_a2)).exp_()
    steep = x.add_(1).reciprocal_().sub_(1).mul_(light).mul_(beta)
    both = torch.add(light, steep, out=new(rho2))
    by_beta = add_scaled(wing.neg_().add_(by_peak + by_width).mul_(light), steep, by_width)
    return light, steep, [both.mul_(-2 / fwhm), by_beta]


# -- cusps: core-Sérsic and Nuker -------------------------------------------------------------------------------------------
def _cusped(
    rho2: torch.Tensor, r_break: torch.Tensor, alpha: torch.Tensor, gamma: torch.Tensor, fall: Callable[[torch.Tensor], torch.Tensor], reach: Any
) -> torch.Tensor:
    """(r / r_break)^-gamma exp(fall(d)) with d = ln(1 + (r / r_break)^alpha) / alpha, of unit flux within r_break exp(reach).

    The logarithm of the softened radius, d, is 0 well within the break and ln(r / r_break) well beyond it, and fall(0) is 0. Flux by
    quadrature in ln r on either side of the break; within e^(-40 / alpha) of it what is left is a power of radius.
    """

    def log_light(t: torch.Tensor) -> torch.Tensor:
        return fall(softplus(alpha * t) / alpha) - gamma * t

    x, w = _unit_interval(r_break)
    cusp = torch.exp(_log_positive(2 - gamma, 0.05))
    s, t = 40 * x, reach * x
    inner = 40 * (w * torch.exp(fall(softplus(-s) / alpha) - cusp / alpha * s)).sum() / alpha + torch.exp(-40 * cusp / alpha) / cusp
    outer = reach * (w * torch.exp(2 * t + log_light(t))).sum()
    log_break = torch.log(r_break)
    return torch.exp(log_light(0.5 * torch.log(rho2 + TINY) - log_break) - 2 * log_break - torch.log(2 * math.pi * (inner + outer)))


def core_sersic(
    rho2: torch.Tensor, n: torch.Tensor, r_eff: torch.Tensor, r_break: torch.Tensor, alpha: torch.Tensor, gamma: torch.Tensor
) -> torch.Tensor:
    """Core-Sérsic profile (Graham et al. 2003, AJ 125, 2951, eq. 5; Trujillo et al. 2004, AJ 127, 1917), of unit total flux.

    Parameters
    ----------
    rho2 : torch.Tensor
        Squared elliptical radius in arcsec².
    n, r_eff : torch.Tensor, shape ()
        Index, and half-light semi-major axis in arcsec, of the Sérsic profile that it follows outside the core.
    r_break, alpha, gamma : torch.Tensor, shape ()
        Break radius in arcsec; sharpness of the break; slope of the core, -d ln I / d ln r, below 2.
    """
    b = b_n(n)
    y = b * torch.exp(((torch.log(r_break) - torch.log(r_eff)) / n).clamp(max=60.0))

    def fall(d: torch.Tensor) -> torch.Tensor:
        return gamma * d - y * torch.expm1((d / n).clamp(max=85.0))

    reach = n * softplus(torch.log((30 + 5 * n) / y))  # where b (r / r_eff)^(1/n) has grown by 30 + 5 n
    return _cusped(rho2, r_break, alpha, gamma, fall, reach)


def nuker(rho2: torch.Tensor, r_break: torch.Tensor, alpha: torch.Tensor, beta: torch.Tensor, gamma: torch.Tensor) -> torch.Tensor:
    """Nuker profile (Lauer et al. 1995, AJ 110, 2622, eq. 3), of unit flux within 10 r_break, as its total diverges for beta <= 2.

    Parameters
    ----------
    rho2 : torch.Tensor
        Squared elliptical radius in arcsec².
    r_break, alpha, beta, gamma : torch.Tensor, shape ()
        Break radius in arcsec; sharpness of the break; outer and inner slope, -d ln I / d ln r, the inner one below 2.
    """
    return _cusped(rho2, r_break, alpha, gamma, lambda d: (gamma - beta) * d, math.log(NUKER_REACH))


# -- of finite extent: King and Ferrer ----------------------------------------------------------------------------------------
def king(rho2: torch.Tensor, r_core: torch.Tensor, r_tidal: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    """Modified King (1962) profile (Elson 1999; Peng et al. 2010, AJ 139, 2097, eqs. 15-16), of unit total flux.

    [(1 + (r/r_core)²)^(-1/alpha) - (1 + (r_tidal/r_core)²)^(-1/alpha)]^alpha within r_tidal, none beyond; King's own has alpha 2.

    Parameters
    ----------
    rho2 : torch.Tensor
        Squared elliptical radius in arcsec².
    r_core, r_tidal, alpha : torch.Tensor, shape ()
        Core and tidal radius in arcsec; the power.
    """
    limit = torch.log1p((r_tidal / r_core) ** 2)

    def light(x2: torch.Tensor) -> torch.Tensor:
        here = torch.log1p(x2)
        gap = (here - limit) / alpha
        inside = gap < 0
        ratio = torch.expm1(torch.where(inside, gap, -1.0)) / torch.expm1(-limit / alpha)
        return torch.where(inside, torch.exp(alpha * torch.log(ratio) - here), 0.0)

    x, w = _unit_interval(r_core)
    whole = torch.asinh(r_tidal / r_core)
    sinh = torch.sinh(whole * x)
    total = 2 * math.pi * r_core**2 * whole * (w * sinh * torch.cosh(whole * x) * light(sinh**2)).sum()
    return light(rho2 / r_core**2) / total


def ferrer(rho2: torch.Tensor, r_out: torch.Tensor, alpha: torch.Tensor, beta: torch.Tensor) -> torch.Tensor:
    """Modified Ferrer profile (Peng et al. 2010, AJ 139, 2097, eq. 14), (1 - (r/r_out)^(2-beta))^alpha within r_out, of unit total flux.

    Parameters
    ----------
    rho2 : torch.Tensor
        Squared elliptical radius in arcsec².
    r_out, alpha, beta : torch.Tensor, shape ()
        Radius beyond which there is no light, in arcsec; sharpness of the end; central slope, below 2.
    """
    p = torch.exp(_log_positive(2 - beta, 0.05))
    log_x = 0.5 * p * (torch.log(rho2 + TINY) - 2 * torch.log(r_out))
    inside = log_x < 0
    total = (
        math.log(2 * math.pi) + 2 * torch.log(r_out) - torch.log(p) + torch.lgamma(2 / p) + torch.lgamma(alpha + 1) - torch.lgamma(2 / p + alpha + 1)
    )
    return torch.where(inside, torch.exp(alpha * torch.log(-torch.expm1(torch.where(inside, log_x, -1.0))) - total), 0.0)


# -- discs and rings ----------------------------------------------------------------------------------------------------------
def broken_exponential(rho2: torch.Tensor, h_in: torch.Tensor, h_out: torch.Tensor, r_break: torch.Tensor, sharpness: torch.Tensor) -> torch.Tensor:
    """Broken exponential disc (Erwin, Pohlen & Beckman 2008, AJ 135, 20, eqs. 5-6), of unit total flux.

    Parameters
    ----------
    rho2 : torch.Tensor
        Squared elliptical radius in arcsec².
    h_in, h_out, r_break, sharpness : torch.Tensor, shape ()
        Scale lengths within and beyond the break, and its radius, in arcsec; sharpness of the break, their alpha times r_break.
    """
    bend = r_break / sharpness * (1 / h_in - 1 / h_out)

    def light(r: torch.Tensor) -> torch.Tensor:
        return torch.exp(bend * (softplus(sharpness * (r / r_break - 1)) - softplus(-sharpness)) - r / h_in)

    x, w = _unit_interval(h_in)
    inner, beyond = r_break * x, 120 * h_out
    outer = r_break + beyond * x
    total = 2 * math.pi * (r_break * (w * inner * light(inner)).sum() + beyond * (w * outer * light(outer)).sum())
    return light(torch.sqrt(rho2 + TINY)) / total


def gaussian_ring(rho2: torch.Tensor, r_ring: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """Ring of Gaussian cross-section, exp(-(r - r_ring)² / 2 sigma²) (imfit's GaussianRing: Erwin 2015, ApJ 799, 226), of unit total flux.

    Parameters
    ----------
    rho2 : torch.Tensor
        Squared elliptical radius in arcsec².
    r_ring, sigma : torch.Tensor, shape ()
        Radius and dispersion along the major axis, in arcsec.
    """
    a = r_ring / sigma
    total = 2 * math.pi * sigma**2 * (torch.exp(-0.5 * a**2) + math.sqrt(math.pi / 2) * a * (1 + torch.erf(a * math.sqrt(0.5))))
    return torch.exp(-0.5 * ((torch.sqrt(rho2 + TINY) - r_ring) / sigma) ** 2) / total


def x_k1(x: torch.Tensor) -> torch.Tensor:
    """Modified Bessel function of the second kind times its argument, x K1(x) for x >= 0: 1 at the origin; thrice differentiable.

    Torch's Bessel functions have no derivatives, and its functions with custom ones lose the second in forward mode. Hence a Taylor
    series about the very same place: right in any mode of differentiation, up to its order.
    """
    at = x.detach()
    near = at.clamp(min=TINY)
    k0, k1 = torch.special.modified_bessel_k0(near), torch.special.modified_bessel_k1(near)
    d = x - at
    return near * k1 + d * (-at * k0 + d / 2 * (near * k1 - k0 + d / 3 * (k1 - at * k0)))


def edge_on(u: torch.Tensor, v: torch.Tensor, r_s: torch.Tensor) -> torch.Tensor:
    """Edge-on disc (van der Kruit & Searle 1981, A&A 95, 105), (|u|/r_s) K1(|u|/r_s) sech²(v/r_s), of unit total flux.

    Parameters
    ----------
    u, v : torch.Tensor
        Place along the disc, and across it divided by q = h_s / r_s, in arcsec.
    r_s : torch.Tensor, shape ()
        Scale length in arcsec.
    """
    z = 2 * v / r_s
    return x_k1(torch.sqrt(u * u + TINY) / r_s) * torch.sigmoid(z) * torch.sigmoid(-z) * (2 / math.pi) / r_s**2  # sech² z = 4 s(2z) s(-2z)


# -- free forms ---------------------------------------------------------------------------------------------------------------
def multi_gaussian(rho2: torch.Tensor, r_scale: torch.Tensor, *log_weights: torch.Tensor, sigmas: Sequence[float]) -> torch.Tensor:
    """Concentric Gaussians (Cappellari 2002, MNRAS 333, 400), of unit total flux.

    Parameters
    ----------
    rho2 : torch.Tensor
        Squared elliptical radius in arcsec².
    r_scale : torch.Tensor, shape ()
        Length in arcsec.
    *log_weights : torch.Tensor, shape ()
        ln of the flux of each Gaussian but the first, over that of the first.
    sigmas : sequence of float
        Dispersions along the major axis in units of `r_scale`.
    """
    fluxes = torch.softmax(torch.stack([torch.zeros_like(r_scale), *log_weights]), 0)
    light = torch.zeros_like(rho2)
    for flux, sigma in zip(fluxes.unbind(), sigmas, strict=True):
        s2 = (sigma * r_scale) ** 2
        light = light + flux / (2 * math.pi * s2) * torch.exp(-0.5 * rho2 / s2)
    return light


@functools.cache
def spline_nodes(knots: tuple[float, ...], count: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of integrals from 0 to the last knot, by Gauss and Legendre between each two."""
    x, w = np.polynomial.legendre.leggauss(count)
    edges = np.unique((0.0, *knots))
    half, middle = np.diff(edges) / 2, (edges[1:] + edges[:-1]) / 2
    return (middle[:, None] + half[:, None] * x).ravel(), (half[:, None] * w).ravel()


def spline(rho2: torch.Tensor, *log_light: torch.Tensor, knots: tuple[float, ...], curve: np.ndarray) -> torch.Tensor:
    """Natural cubic spline of ln brightness against radius, of unit flux within the last knot.

    Beyond its ends, where its curvature is zero, it goes on as a straight line; outside the last knot as one that does not rise.

    Parameters
    ----------
    rho2 : torch.Tensor
        Squared elliptical radius in arcsec².
    *log_light : torch.Tensor, shape ()
        ln of the brightness at each knot but the first, over that at the first.
    knots : tuple of float
        Radii in arcsec, increasing.
    curve : np.ndarray, shape (pieces, 4, knots)
        Of `bayesjoint.sky.shapes.natural_spline`.
    """
    values = torch.stack([torch.zeros_like(log_light[0]), *log_light])
    width = knots[-1] - knots[-2]
    first = (_like(curve[0, 2], values) * values).sum()
    last = (_like(curve[-1, 2] + width * (2 * curve[-1, 1] + 3 * width * curve[-1, 0]), values) * values).sum()

    def log_brightness(r: torch.Tensor) -> torch.Tensor:
        within = evaluate_spline(r.clamp(knots[0], knots[-1]), np.array(knots), curve, values)
        return within + first * (r - knots[0]).clamp(max=0.0) + last.clamp(max=0.0) * (r - knots[-1]).clamp(min=0.0)

    r, w = (_like(a, values) for a in spline_nodes(knots))
    log_total = torch.logsumexp(log_brightness(r) + torch.log(2 * math.pi * r * w), 0)
    return torch.exp((log_brightness(torch.sqrt(rho2 + TINY)) - log_total).clamp(max=80.0))
