"""Galaxies: every extended source as a table of its parameters and its profile."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from bayesjoint.sky import profiles
from bayesjoint.sky.extended import Extended
from bayesjoint.sky.parameters import Spec
from bayesjoint.sky.sersic import sersic, sersic_derivatives
from bayesjoint.sky.shapes import natural_spline, plane_total

__all__ = [
    "BrokenExponential", "CoreSersic", "DeVaucouleurs", "EdgeOn", "Exponential", "Ferrer", "Gaussian", "GaussianRing", "King", "Moffat",
    "MultiGaussian", "Nuker", "Sersic", "Spline",
]  # fmt: skip


def _length(name: str, doc: str, guess: float | None = None) -> Spec:
    return Spec(name, "arcsec", doc, bounds=(1e-4, 1e5), guess=guess)


R_EFF = _length("r_eff", "half-light semi-major axis")
N = Spec("n", "", "Sérsic index", bounds=(0.3, 8.0), prior=("lognormal", 2.0, 0.6))


class Sersic(Extended):
    """Sérsic (1963) profile; `r_eff` is the semi-major axis of the ellipse that holds half the light."""

    specs_of_profile = (N, R_EFF)
    profile = staticmethod(sersic)
    profile_derivatives = staticmethod(sersic_derivatives)


class Exponential(Extended):
    """Exponential disc: Sérsic's profile of n = 1 (Freeman 1970, ApJ 160, 811); `r_eff` is 1.678 scale lengths."""

    specs_of_profile = (R_EFF,)
    profile = staticmethod(profiles.exponential)
    profile_derivatives = staticmethod(profiles.exponential_derivatives)


class DeVaucouleurs(Extended):
    """De Vaucouleurs' (1948) r^¼ law of ellipticals and bulges: Sérsic's profile of n = 4."""

    specs_of_profile = (R_EFF,)
    profile = staticmethod(profiles.de_vaucouleurs)
    profile_derivatives = staticmethod(profiles.de_vaucouleurs_derivatives)


class Gaussian(Extended):
    """Gaussian: a resolved knot or nucleus."""

    specs_of_profile = (_length("fwhm", "full width at half maximum along the major axis", 2.0),)
    profile = staticmethod(profiles.gaussian)
    profile_derivatives = staticmethod(profiles.gaussian_derivatives)


class Moffat(Extended):
    """Moffat's (1969, A&A 3, 455) profile, (1 + r²/a²)^-beta: a core with wings of a power of radius."""

    specs_of_profile = (
        _length("fwhm", "full width at half maximum along the major axis", 1.6),
        Spec("beta", "", "power of the wings: brightness falls as r^(-2 beta)", bounds=(1.01, 50.0), prior=("lognormal", 3.0, 0.5)),
    )
    profile = staticmethod(profiles.moffat)
    profile_derivatives = staticmethod(profiles.moffat_derivatives)


class CoreSersic(Extended):
    """Sérsic profile outside a core of a shallow power of radius: giant ellipticals (Graham et al. 2003, AJ 125, 2951; Trujillo et al. 2004, AJ 127, 1917).

    I ∝ (1 + (r_break/r)^alpha)^(gamma/alpha) exp(-b_n ((r^alpha + r_break^alpha) / r_eff^alpha)^(1/(n alpha))); `n` and `r_eff` are
    those of the Sérsic part, and `flux` is the total of the whole.
    """

    specs_of_profile = (
        Spec("n", "", "Sérsic index outside the core", bounds=(0.3, 8.0), prior=("lognormal", 3.0, 0.5)),
        _length("r_eff", "half-light semi-major axis of the Sérsic part"),
        _length("r_break", "break radius, between core and Sérsic part", 0.1),
        Spec("alpha", "", "sharpness of the break", bounds=(0.2, 100.0), prior=("lognormal", 4.0, 0.5)),
        Spec("gamma", "", "slope of the core, -d ln I / d ln r", bounds=(-1.0, 1.9), prior=("lognormal", 0.2, 0.7)),
    )
    profile = staticmethod(profiles.core_sersic)


class Nuker(Extended):
    """Two powers of radius about a break (Lauer et al. 1995, AJ 110, 2622): centres of ellipticals.

    I ∝ (r/r_break)^-gamma (1 + (r/r_break)^alpha)^((gamma-beta)/alpha). Its total diverges for beta <= 2, which real galaxies have:
    `flux` is that within 10 r_break.
    """

    specs_of_profile = (
        _length("r_break", "break radius; `flux` is that within ten of it", 0.3),
        Spec("alpha", "", "sharpness of the break", bounds=(0.2, 100.0), prior=("lognormal", 2.0, 0.5)),
        Spec("beta", "", "outer slope, -d ln I / d ln r", bounds=(0.1, 10.0), prior=("lognormal", 1.5, 0.3)),
        Spec("gamma", "", "inner slope, -d ln I / d ln r", bounds=(-1.0, 1.9), prior=("lognormal", 0.3, 0.6)),
    )
    profile = staticmethod(profiles.nuker)

    def limit(self, *params: torch.Tensor) -> torch.Tensor:
        """Ten break radii."""
        return profiles.NUKER_REACH * params[0]


class King(Extended):
    """Modified King profile with a tidal edge: globular clusters, dwarf spheroidals (King 1962; Elson 1999; Peng et al. 2010, AJ 139, 2097, eqs. 15-16).

    I ∝ ((1 + (r/r_core)²)^(-1/alpha) - (1 + (r_tidal/r_core)²)^(-1/alpha))^alpha within `r_tidal`, none beyond.
    """

    specs_of_profile = (
        _length("r_core", "core radius", 0.7),
        _length("r_tidal", "tidal radius: no light beyond it", 5.0),
        Spec("alpha", "", "power of the edge: 2 is King's own", bounds=(0.3, 10.0), prior=("lognormal", 2.0, 0.3)),
    )
    profile = staticmethod(profiles.king)
    ends = True

    def extent(self, *params: torch.Tensor) -> torch.Tensor:
        """Radius in arcsec beyond which there is no light."""
        return params[1]


class Ferrer(Extended):
    """Modified Ferrer profile, (1 - (r/r_out)^(2-beta))^alpha within r_out: flat, with an end, as bars are (Peng et al. 2010, AJ 139, 2097, eq. 14)."""

    specs_of_profile = (
        _length("r_out", "radius beyond which there is no light", 2.2),
        Spec("alpha", "", "how sharply it ends: smaller is sharper", bounds=(0.1, 20.0), prior=("lognormal", 2.0, 0.4)),
        Spec("beta", "", "central slope: 0 is flat, towards 2 a cusp", bounds=(-10.0, 1.9), prior=("normal", 0.0, 0.5)),
    )
    profile = staticmethod(profiles.ferrer)
    ends = True

    def extent(self, *params: torch.Tensor) -> torch.Tensor:
        """Radius in arcsec beyond which there is no light."""
        return params[0]


class BrokenExponential(Extended):
    """Disc of two scale lengths, truncated or antitruncated (Erwin, Pohlen & Beckman 2008, AJ 135, 20, eqs. 5-6)."""

    specs_of_profile = (
        _length("h_in", "scale length within the break", 0.6),
        _length("h_out", "scale length beyond the break", 0.4),
        _length("r_break", "break radius", 1.5),
        Spec("sharpness", "", "sharpness of the break: its alpha times r_break", bounds=(0.5, 200.0), prior=("lognormal", 8.0, 0.5)),
    )
    profile = staticmethod(profiles.broken_exponential)


class EdgeOn(Extended):
    """Edge-on disc, (|u|/r_s) K1(|u|/r_s) sech²(z/h_s) with h_s = q r_s (van der Kruit & Searle 1981, A&A 95, 105).

    Its isophotes are no ellipses: u runs along the disc, z across it, and `q` is the scale height over the scale length.
    """

    elliptical = False
    specs_of_profile = (_length("r_s", "scale length of the disc", 0.6),)

    @property
    def ends(self) -> bool:
        """Whether it is to be drawn whole, as its transform is known, and its brightness beyond 16 scale lengths is 1e-6 of the centre's."""
        return not self.shapes

    def extent(self, *params: torch.Tensor) -> torch.Tensor:
        """Sixteen scale lengths, in arcsec."""
        return 16.0 * params[0]

    @staticmethod
    def transform(wu: torch.Tensor, wv: torch.Tensor, r_s: torch.Tensor) -> torch.Tensor:
        """Fourier transform in the plane where q is 1: (1 + (r_s wu)²)^(-3/2) z / sinh z with z = pi r_s wv / 2."""
        z = (0.5 * math.pi) * r_s * torch.sqrt(wv * wv + 1e-20)
        return (1 + (r_s * wu) ** 2) ** -1.5 * 2 * z * torch.exp(-z) / -torch.expm1(-2 * z)

    @staticmethod
    def profile(rho2: torch.Tensor, r_s: torch.Tensor) -> torch.Tensor:
        """Brightness along the disc in 1/arcsec², at `rho2` (arcsec²) for a scale length `r_s` (arcsec)."""
        r = torch.sqrt(rho2 + profiles.TINY)
        return profiles.edge_on(r, torch.zeros_like(r), r_s)

    def unbent(self, u: torch.Tensor, v: torch.Tensor, *params: torch.Tensor) -> torch.Tensor:
        """Brightness at (`u`, `v`) arcsec before shapes bend it, in 1/arcsec² for q = 1; shapes that dim it counted."""
        own, parts = self._split(params)
        dims = [(s, p) for s, p in parts if s.dims]

        def dimmed(u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
            light = profiles.edge_on(u, v, *own)
            for s, p in dims:
                light = light * s.dim(u * u + v * v, *p)
            return light

        return dimmed(u, v) / plane_total(dimmed, self.scale(*params), 2, step=0.05) if dims else dimmed(u, v)


class GaussianRing(Extended):
    """Ring of Gaussian cross-section, exp(-(r - r_ring)² / 2 sigma²) (Erwin 2015, ApJ 799, 226)."""

    specs_of_profile = (
        _length("r_ring", "radius of the ring along the major axis"),
        _length("sigma", "dispersion of the ring's width along the major axis", 0.3),
    )
    profile = staticmethod(profiles.gaussian_ring)
    ends = True

    def extent(self, *params: torch.Tensor) -> torch.Tensor:
        """Radius in arcsec beyond which there is no light: 8 dispersions beyond the ring."""
        return params[0] + 8 * params[1]


class MultiGaussian(Extended):
    """Concentric Gaussians of one axis ratio and position angle, of fixed relative widths and free fluxes (Cappellari 2002, MNRAS 333, 400).

    Parameters
    ----------
    name : str
        Prefix of its sites.
    sigmas : sequence of float
        Dispersions along the major axis in units of `r_scale`, increasing.
    **params
        See `Extended`.
    """

    def __init__(self, name: str, *, sigmas: Sequence[float] = (0.3, 1.0, 3.0), **params: Any) -> None:
        self.sigmas = tuple(float(s) for s in sigmas)
        if not self.sigmas or not all(a < b < math.inf for a, b in zip((0.0, *self.sigmas), self.sigmas, strict=False)):
            raise ValueError(f"The sigmas of a MultiGaussian are to be increasing positive numbers, and {sigmas!r} came.")
        self.specs_of_profile = (
            _length("r_scale", "length that `sigmas` are in units of", 0.85 / math.exp(np.mean(np.log(self.sigmas)))),
            *(
                Spec(f"w{i}", "", f"ln of the flux of the Gaussian of sigma {s:g} over that of sigma {self.sigmas[0]:g}", prior=("normal", 0.0, 1.5))
                for i, s in enumerate(self.sigmas[1:], 2)
            ),
        )
        self.profile = functools.partial(profiles.multi_gaussian, sigmas=self.sigmas)
        super().__init__(name, **params)

    def options(self) -> dict[str, Any]:
        """The dispersions, and shapes."""
        return {"sigmas": list(self.sigmas), **super().options()}


class Spline(Extended):
    """Free profile: a natural cubic spline of ln brightness against radius through knots, a straight line beyond them.

    `flux` is that within the last knot (with a Warp, within the circle that it bends); beyond it the light goes on with the slope that
    it has there, if it falls, else flat.

    Parameters
    ----------
    name : str
        Prefix of its sites.
    knots : sequence of float
        Radii along the major axis in arcsec, increasing, at least three; the first may be 0.
    **params
        See `Extended`.
    """

    def __init__(self, name: str, *, knots: Sequence[float], **params: Any) -> None:
        self.knots = tuple(float(k) for k in knots)
        if len(self.knots) < 3 or self.knots[0] < 0 or not all(a < b < math.inf for a, b in zip(self.knots, self.knots[1:], strict=False)):
            raise ValueError(
                f"The knots of a Spline are to be at least three increasing radii in arcsec, the first not negative, and {knots!r} came."
            )
        first, reach = self.knots[0], self.knots[-1] - self.knots[0]
        self.specs_of_profile = tuple(
            Spec(
                f"mu{i}",
                "",
                f"ln of the brightness at {r:g} arcsec over that at {first:g} arcsec; `flux` is that within {self.knots[-1]:g} arcsec",
                prior=("normal", -6.0 * (r - first) / reach, 3.0 + 2.0 * (r - first) / reach),
            )
            for i, r in enumerate(self.knots[1:], 1)
        )
        self.profile = functools.partial(profiles.spline, knots=self.knots, curve=natural_spline(np.array(self.knots)))
        super().__init__(name, **params)

    def begin(self, size: float) -> dict[str, float]:
        """An exponential disc's brightness at the knots; see `Extended.begin`."""
        return self.take_over({"n": 1.0, "r_eff": size})

    def stand_in(self) -> Sersic:
        """See `Extended.stand_in`: a Sérsic galaxy."""
        kept = {k: v for k, v in self.params.items() if not k.startswith("mu")}
        new = Sersic(self.name, shape=self.shapes, position=self.position, images=self.images, bands=self.bands)
        new.params, new.window = kept, self.window
        return new

    def take_over(self, values: Mapping[str, float]) -> dict[str, float]:
        """The Sérsic profile's brightness at the knots; see `Extended.take_over`."""
        r = torch.tensor(self.knots, dtype=torch.float64).clamp(min=0.02 * self.knots[-1])
        n, size = (torch.tensor(values[k], dtype=torch.float64) for k in ("n", "r_eff"))
        mu = torch.log(sersic(r**2, n, size).clamp(min=1e-300))
        return {f"mu{i}": max(float(m - mu[0]), -20.0) for i, m in enumerate(mu[1:], 1)}

    def scale(self, *params: torch.Tensor) -> torch.Tensor:
        """The middle knot in arcsec."""
        return torch.full_like(params[0], float(np.median(self.knots[1:])))

    def limit(self, *params: torch.Tensor) -> torch.Tensor:
        """The last knot in arcsec."""
        return torch.full_like(params[0], self.knots[-1])

    def options(self) -> dict[str, Any]:
        """The knots, and shapes."""
        return {"knots": list(self.knots), **super().options()}
