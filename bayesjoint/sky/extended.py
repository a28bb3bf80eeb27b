r"""Extended: sources of light about an ellipse. A profile of its radius, and shapes that bend the ellipse, compose freely.

The light of every extended source is a function of (u, v), arcsec along the major axis and, stretched by 1/q, along the minor one:
there the ellipse is a circle. Without shapes that bend it the light depends on :math:`\rho^2 = u^2 + v^2` alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch

from bayesjoint.scalar import New
from bayesjoint.sky.components import FLUX, Source, X, Y
from bayesjoint.sky.parameters import Spec, documented
from bayesjoint.sky.profiles import derivatives_of
from bayesjoint.sky.shapes import Shape, angular_area, plane_total, radial_total

__all__ = ["PA", "Extended", "Q"]

Q = Spec("q", "", "axis ratio, minor over major", bounds=(0.02, 1.0))
PA = Spec("pa", "deg", "position angle of the major axis, East of North, in [0, 180)", cyclic=True)
TINY = 1e-30
NAME = "name : str\n    Prefix of its sites."
COMMON = """shape, position, window, images, bands : optional
    Superellipse and other shapes; where a fit begins (SkyCoord, or arcsec East and North); where there is light; see `Extended`."""


class Extended(Source):
    """A source about an ellipse: a profile, the names of its parameters, and shapes.

    A subclass gives `specs_of_profile` and `profile`, a pure function of rho² (arcsec²) and the parameters in that order, of unit
    flux for q = 1, in 1/arcsec². One that is to be fast also gives `profile_derivatives`: see `bayesjoint.sky.profiles.derivatives_of`.

    Parameters
    ----------
    name : str
        Prefix of its sites.
    shape : Shape or sequence of Shape, optional
        What makes it other than an ellipse, in the order in which it is applied; its parameters become the source's.
    position : SkyCoord or (x, y) in arcsec, optional
        Where a fit begins.
    window : optional
        The part of an image in which it has light; see `Source`.
    **params
        See `Component`.
    """

    specs_of_profile: tuple[Spec, ...] = ()
    profile: Any = None
    profile_derivatives: Any = None
    elliptical: ClassVar[bool] = True
    """Whether the light depends on the elliptical radius alone where no shape bends it."""

    def __init_subclass__(cls) -> None:
        cls.specs = (X, Y, Q, PA, *cls.specs_of_profile, FLUX)
        cls.__doc__ = documented(cls.__doc__, cls.specs, NAME, COMMON)

    def __init__(
        self,
        name: str,
        *,
        shape: Shape | Sequence[Shape] = (),
        position: Any = None,
        window: Any = None,
        images: Sequence[str] | None = None,
        bands: Sequence[str] | None = None,
        **params: Any,
    ) -> None:
        self.shapes = (shape,) if isinstance(shape, Shape) else tuple(shape)
        for s in self.shapes:
            if not isinstance(s, Shape):
                raise TypeError(f"The shape of {name!r} is to be a bj.Shape such as bj.Superellipse(), or several, and {s!r} came.")
        self.specs = (X, Y, Q, PA, *self.specs_of_profile, *(spec for s in self.shapes for spec in s.specs), FLUX)
        names = [s.name for s in self.specs]
        twice = next((n for n in names if names.count(n) > 1), None)
        if twice:
            raise ValueError(f"Two shapes, or a shape and the profile, of {name!r} have a parameter {twice!r}: use each kind of shape once.")
        super().__init__(name, position=position, window=window, images=images, bands=bands, **params)

    def begin(self, size: float) -> dict[str, float]:
        """Where a fit is to begin at light of half-light radius `size` (arcsec), for parameters whose spec cannot say so."""
        return {}

    def stand_in(self) -> Extended | None:
        """A source of fewer parameters, of the same name, that is to be fitted first; None where it has few itself."""
        return None

    def take_over(self, values: Mapping[str, float]) -> dict[str, float]:
        """Where its own parameters are to begin, in their units, from `values`: the stand-in's fitted ones."""
        return {}

    ends: ClassVar[bool] = False
    """Whether the light ends at a radius, which `extent` then gives."""

    def extent(self, *params: torch.Tensor) -> torch.Tensor:
        """Radius in arcsec beyond which there is no light, by the parameters in the order of `light_params`."""
        raise NotImplementedError

    @property
    def light_params(self) -> tuple[str, ...]:
        """Names of the parameters (each with the unit of its spec) that the light depends on, besides x, y, q, pa and flux."""
        return tuple(s.name for s in self.specs[4:-1])

    @property
    def radial(self) -> bool:
        """Whether the light depends on the elliptical radius alone."""
        return self.elliptical and not any(s.bends for s in self.shapes)

    @property
    def fold(self) -> int:
        """Turns by 2 pi / fold leave the light as it is, in the plane where the ellipse is a circle."""
        return math.gcd(*(s.fold for s in self.shapes), 0 if self.elliptical else 2) or 4

    @property
    def kinked(self) -> bool:
        """Whether isophotes may have kinks."""
        return any(s.kinks for s in self.shapes)

    def options(self) -> dict[str, Any]:
        """Its window and shapes."""
        return super().options() | ({"shape": [{"type": type(s).__name__, **s.options()} for s in self.shapes]} if self.shapes else {})

    def _split(self, params: Sequence[torch.Tensor]) -> tuple[Sequence[torch.Tensor], list[tuple[Shape, Sequence[torch.Tensor]]]]:
        """The profile's parameters, and each shape with its own."""
        k = len(self.specs_of_profile)
        own, parts = params[:k], []
        for s in self.shapes:
            parts.append((s, params[k : k + len(s.specs)]))
            k += len(s.specs)
        return own, parts

    def radial_light(self, rho2: torch.Tensor, *params: torch.Tensor) -> torch.Tensor:
        """Brightness in 1/arcsec² at `rho2`, a squared elliptical radius in arcsec², of unit flux if nothing bends the ellipse; shapes that dim it counted."""
        own, parts = self._split(params)
        dims = [(s, p) for s, p in parts if s.dims]
        if not dims:
            return self.profile(rho2, *own)

        def dimmed(r2: torch.Tensor) -> torch.Tensor:
            light = self.profile(r2, *own)
            for s, p in dims:
                light = light * s.dim(r2, *p)
            return light

        return dimmed(rho2) / radial_total(dimmed, self.scale(*params), self.limit(*params))

    def scale(self, *params: torch.Tensor) -> torch.Tensor:
        """A length of the profile in arcsec: its first parameter that is one."""
        return next(p for spec, p in zip(self.specs_of_profile, params, strict=False) if spec.unit == "arcsec")

    def limit(self, *params: torch.Tensor) -> torch.Tensor | None:
        """Radius in arcsec within which the flux is counted; None for the total."""
        return None

    def light(self, u: torch.Tensor, v: torch.Tensor, q: torch.Tensor, *params: torch.Tensor) -> torch.Tensor:
        """Brightness in 1/arcsec² for unit flux and q = 1; on the sky it is to be divided by q.

        Parameters
        ----------
        u, v : torch.Tensor
            Place in arcsec along the major axis, and along the minor one divided by q.
        q : torch.Tensor, shape ()
            Axis ratio.
        *params : torch.Tensor, shape ()
            In the order of `light_params`.
        """
        bends = [(s, p) for s, p in self._split(params)[1] if s.bends]

        def bent(u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
            for s, p in bends:
                u, v = s.bend(u, v, q, *p)
            return self.unbent(u, v, *params)

        if not bends:
            return self.unbent(u, v, *params)
        if not self.elliptical or any(s.areal or (s.turns and k) for k, (s, _) in enumerate(bends)):
            sharp = any(s.dims for s in self.shapes)
            return bent(u, v) / plane_total(bent, self.scale(*params), self.fold, self.limit(*params), 0.05 if sharp else 0.1)
        return bent(u, v) / angular_area(bends, self.scale(*params))

    def unbent(self, u: torch.Tensor, v: torch.Tensor, *params: torch.Tensor) -> torch.Tensor:
        """Brightness in 1/arcsec² at (`u`, `v`) arcsec in the plane where the ellipse is a circle, before shapes bend it."""
        return self.radial_light(u * u + v * v + TINY, *params)

    def derivatives(self, rho2: torch.Tensor, *params: Any, new: New = torch.empty_like) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
        """`radial_light` at `rho2` (arcsec²), its derivative by ln rho², and by each parameter (those of bending shapes left out); `new` makes buffers."""
        if self.profile_derivatives is not None and not self.shapes:
            return self.profile_derivatives(rho2, *params, new=new)
        return derivatives_of(self.radial_light)(rho2, *params, new=new)
