"""Shapes: what makes a source other than an ellipse, or cuts its profile; each composes with any profile and any other shape.

A shape acts in the plane where the ellipse is a circle: u arcsec along the major axis, v along the minor one divided by q. It may
bend that plane, so that the isophotes are no more circles in it, or dim the profile with radius. All keep `flux` the total.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import torch

from bayesjoint.sky.parameters import Spec, documented

__all__ = ["FourierModes", "Shape", "Spiral", "Superellipse", "Truncation", "Warp", "angular_area", "plane_total", "radial_total"]

TINY = 1e-30
LOWEST, HIGHEST = -18.0, 14.0
"""Range of ln(rho / scale) in integrals over all radii."""
ANGLES, PLANE_ANGLES = 1024, 128


class Shape:
    """What a source's ellipse is bent by (`bends`), or its profile dimmed by (`dims`)."""

    specs: tuple[Spec, ...] = ()

    def __init_subclass__(cls) -> None:
        cls.__doc__ = documented(cls.__doc__, cls.specs)

    bends: ClassVar[bool] = False
    fold: int = 0
    """Turns by 2 pi / fold leave a bent circle as it is; 0, where all do."""
    areal: ClassVar[bool] = False
    """Whether bending changes the area between isophotes differently at different radii."""
    turns: ClassVar[bool] = False
    """Whether it turns each radius by its own angle: no area changes, unless what it turns is bent already."""
    dims: ClassVar[bool] = False
    kinks: ClassVar[bool] = False
    """Whether it may put kinks into isophotes."""

    def bend(self, u: torch.Tensor, v: torch.Tensor, q: torch.Tensor, *params: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Where in the unbent plane the light at (`u`, `v`) is looked up, all in arcsec; `q` is the axis ratio."""
        return u, v

    def dim(self, rho2: torch.Tensor, *params: torch.Tensor) -> torch.Tensor:
        """Factor on the brightness at `rho2`, a squared radius in arcsec²."""
        return torch.ones_like(rho2)

    def options(self) -> dict[str, Any]:
        """What it is made from, as plain values."""
        return {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.options().items())})"


class Superellipse(Shape):
    """Boxy (C > 2) or discy (C < 2) isophotes, |u|^C + |v|^C = const (Athanassoula et al. 1990, MNRAS 245, 130; GALFIT's and imfit's c0 = C - 2)."""

    specs = (
        Spec("C", "", "exponent of the superellipse: 2 an ellipse, above it boxy, below it discy", bounds=(0.5, 10.0), prior=("lognormal", 2.0, 0.2)),
    )
    bends = kinks = True
    fold = 4

    def bend(self, u: torch.Tensor, v: torch.Tensor, q: torch.Tensor, *params: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Shape.bend`."""
        (c,) = params
        r2 = u * u + v * v + TINY
        log_g = torch.log((u * u / r2 + TINY) ** (c / 2) + (v * v / r2 + TINY) ** (c / 2)) / c
        g = torch.exp(log_g)
        return u * g, v * g


class FourierModes(Shape):
    """Radius multiplied by exp(sum a_m cos m theta + b_m sin m theta), theta from the major axis in the plane where the ellipse is a circle.

    To first order the modes of Peng et al. 2010 (AJ 139, 2097, sect. 5.1); in cosines and sines, which unlike amplitude and phase
    are regular at zero, and under an exponential, so that no radius is negative.

    Parameters
    ----------
    *modes : int
        Which m, at least 1: 1 lopsided, 3 and 4 those of isophote analysis.
    """

    bends = True

    def __init__(self, *modes: int) -> None:
        if not modes or any(not isinstance(m, int) or isinstance(m, bool) or m < 1 for m in modes) or len(set(modes)) < len(modes):
            raise ValueError(f"FourierModes takes different whole numbers of at least 1, such as FourierModes(3, 4), and {modes!r} came.")
        self.modes = tuple(modes)
        self.fold = math.gcd(*modes)
        self.specs = tuple(
            Spec(f"{k}{m}", "", f"{what} mode {m} of the logarithm of the isophotes' radius", prior=("normal", 0.0, 0.1))
            for m in self.modes
            for k, what in (("a", "cosine"), ("b", "sine"))
        )

    def bend(self, u: torch.Tensor, v: torch.Tensor, q: torch.Tensor, *params: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Shape.bend`."""
        r = torch.sqrt(u * u + v * v + TINY)
        c, s = u / r, v / r
        log_g, cm, sm = torch.zeros_like(c), torch.ones_like(c), torch.zeros_like(c)
        k = 0
        for m in range(1, max(self.modes) + 1):
            cm, sm = cm * c - sm * s, sm * c + cm * s
            if m in self.modes:
                k = 2 * self.modes.index(m)
                log_g = log_g + params[k] * cm + params[k + 1] * sm
        g = torch.exp(log_g)
        return u * g, v * g

    def options(self) -> dict[str, Any]:
        """The modes."""
        return {"modes": list(self.modes)}


class Spiral(Shape):
    """Winding of the disc's plane: turned at radius r by ``wind`` ln(1 + r / r_wind) radian; with FourierModes(2) it makes two arms.

    Far out a logarithmic spiral of pitch angle arccot(wind), seen at the inclination that q gives (after Peng et al. 2010, sect. 5.3).
    """

    specs = (
        Spec("wind", "", "winding: cotangent of the spiral's pitch angle", prior=("normal", 0.0, 2.0)),
        Spec("r_wind", "arcsec", "radius within which the winding flattens out", bounds=(1e-4, 1e5)),
    )
    bends = turns = True

    def bend(self, u: torch.Tensor, v: torch.Tensor, q: torch.Tensor, *params: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Shape.bend`."""
        wind, r_wind = params
        angle = wind * torch.log1p(torch.sqrt(u * u + v * v + TINY) / r_wind)
        c, s = torch.cos(angle), torch.sin(angle)
        return u * c + v * s, v * c - u * s


class Warp(Shape):
    """Axis ratio and position angle that run with radius: q and pa at the centre, shifts of ln q and pa at knots, a smooth curve between.

    The curve is a natural cubic spline through zero at the centre and the knots' shifts, constant beyond the last knot; radius is that
    of the source's own ellipse.

    Parameters
    ----------
    knots : sequence of float
        Radii in arcsec, increasing.
    """

    bends = areal = True
    fold = 2

    def __init__(self, knots: Sequence[float]) -> None:
        self.knots = tuple(float(k) for k in knots)
        if not self.knots or any(b <= a for a, b in zip((0.0, *self.knots), self.knots, strict=False)):
            raise ValueError(f"The knots of a Warp are to be increasing positive radii in arcsec, and {knots!r} came.")
        self.specs = tuple(
            spec
            for i, r in enumerate(self.knots, 1)
            for spec in (
                Spec(f"dlnq{i}", "", f"ln of the axis ratio at {r:g} arcsec over that at the centre", prior=("normal", 0.0, 0.3)),
                Spec(f"dpa{i}", "deg", f"position angle at {r:g} arcsec minus that at the centre", prior=("normal", 0.0, 20.0)),
            )
        )
        nodes = np.array((0.0, *self.knots))
        self._nodes, self._curve = nodes, natural_spline(nodes, flat_end=True)

    def bend(self, u: torch.Tensor, v: torch.Tensor, q: torch.Tensor, *params: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Shape.bend`."""
        r = torch.sqrt(u * u + v * v + TINY)
        zero = torch.zeros_like(params[0])
        log_q, turn = (evaluate_spline(r.clamp(max=self.knots[-1]), self._nodes, self._curve, torch.stack([zero, *params[k::2]])) for k in (0, 1))
        angle = torch.deg2rad(turn)
        c, s, v = torch.cos(angle), torch.sin(angle), v * q
        return u * c + v * s, (v * c - u * s) / q * torch.exp(-log_q)

    def options(self) -> dict[str, Any]:
        """The knots."""
        return {"knots": list(self.knots)}


class Truncation(Shape):
    """The profile cut smoothly beyond a radius, or within it: times 1 / (1 + (r / r_cut)^±k).

    A smooth cut in ln r; Peng et al. 2010 (sect. 5.4) use a hyperbolic tangent in r, of softening length about 2 r_cut / k.

    Parameters
    ----------
    inner : bool
        Cut the light within the radius, in place of that beyond.
    """

    dims = True

    def __init__(self, inner: bool = False) -> None:
        self.inner = bool(inner)
        where = "hole" if inner else "cut"
        self.specs = (
            Spec(
                f"r_{where}",
                "arcsec",
                f"radius {'within' if inner else 'beyond'} which the light is cut, by half there",
                bounds=(1e-4, 1e5),
                guess=0.5 if inner else 3.0,
            ),
            Spec(
                f"k_{where}", "", "sharpness of the cut: power of radius by which the light falls", bounds=(1.0, 40.0), prior=("lognormal", 8.0, 0.4)
            ),
        )

    def dim(self, rho2: torch.Tensor, *params: torch.Tensor) -> torch.Tensor:
        """See `Shape.dim`."""
        r, k = params
        x = 0.5 * k * (torch.log(rho2 + TINY) - 2 * torch.log(r))
        return torch.sigmoid(x if self.inner else -x)

    def options(self) -> dict[str, Any]:
        """Which side is cut."""
        return {"inner": self.inner}


# -- curves ---------------------------------------------------------------------------------------------------------------
def natural_spline(knots: np.ndarray, flat_end: bool = False) -> np.ndarray:
    """Polynomial coefficients of the cubic spline through values at knots: linear in them, shape (pieces, 4, values), powers falling."""
    from scipy.interpolate import CubicSpline

    zero = np.zeros(knots.size)
    return np.moveaxis(CubicSpline(knots, np.eye(knots.size), bc_type=((2, zero), (1 if flat_end else 2, zero))).c, 1, 0)


def evaluate_spline(r: torch.Tensor, knots: np.ndarray, curve: np.ndarray, values: torch.Tensor) -> torch.Tensor:
    """A spline of `natural_spline` at radii within its knots."""
    c = torch.as_tensor(curve, dtype=r.dtype).to(r.device) @ values
    k = torch.as_tensor(knots, dtype=r.dtype).to(r.device)
    i = torch.bucketize(r.detach(), k[1:-1], right=True)
    x = r - k[i]
    a3, a2, a1, a0 = (c[:, m][i] for m in range(4))
    return ((a3 * x + a2) * x + a1) * x + a0


# -- totals ---------------------------------------------------------------------------------------------------------------
def _radii(scale: torch.Tensor, limit: torch.Tensor | None, step: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Radii over the plane, or within a limit, and the weights of an integral in ln r."""
    if limit is None:  # the trapezoidal rule: as fast as the light is smooth in ln r
        s = np.arange(LOWEST, HIGHEST, step)
        weight = np.full(s.size, step)
    else:
        s, weight = np.polynomial.legendre.leggauss(int(-2 * LOWEST / step / math.pi))
        s, weight = LOWEST * (1 - s) / 2, -LOWEST * weight / 2
        scale = limit
    return scale * _like(np.exp(s), scale), _like(weight, scale)


def _angles(turn: float, count: int, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    t = turn * np.arange(count) / count
    return _like(np.cos(t), like), _like(np.sin(t), like)


def _like(x: np.ndarray, like: torch.Tensor) -> torch.Tensor:
    return torch.as_tensor(x, dtype=like.dtype).to(like.device)


def radial_total(profile: Callable[[torch.Tensor], torch.Tensor], scale: torch.Tensor, limit: torch.Tensor | None = None) -> torch.Tensor:
    """Integral of a profile of rho² over the plane, or within a radius; `scale` is a length of it in arcsec."""
    r, weight = _radii(scale, limit, 0.04)
    return 2 * math.pi * (weight * profile(r * r) * r * r).sum()


def angular_area(bends: Sequence[tuple[Shape, Sequence[torch.Tensor]]], scale: torch.Tensor) -> torch.Tensor:
    """Area within an isophote over that of its circle, for shapes that bend alike at all radii."""
    c, s = _angles(2 * math.pi, ANGLES, scale)
    u, v = scale * c, scale * s
    for shape, p in bends:
        u, v = shape.bend(u, v, scale, *p)  # their q does not matter
    return (scale**2 / (u * u + v * v)).mean()


def plane_total(
    light: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], scale: torch.Tensor, fold: int, limit: torch.Tensor | None = None, step: float = 0.1
) -> torch.Tensor:
    """Integral over the plane, or within a radius, of light that a turn by 2 pi / fold leaves as it is."""
    r, weight = _radii(scale, limit, step)
    c, s = _angles(2 * math.pi / fold, PLANE_ANGLES, scale)
    return 2 * math.pi * (weight * light(r[:, None] * c, r[:, None] * s).mean(1) * r * r).sum()
