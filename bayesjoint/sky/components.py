"""Components of a scene: sources of light, and the sky. A component names its parameters in a table of specs."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from bayesjoint.sky.parameters import Link, Param, Ref, Spec, as_param, documented
from bayesjoint.sky.windows import as_window
from bayesjoint.units import to_float

__all__ = ["FLUX", "Component", "NoiseScale", "Point", "Shift", "Sky", "Source", "X", "Y", "Zeropoint", "cut_loose", "relinked"]

X = Spec("x", "arcsec", "position to the East of the frame's origin")
Y = Spec("y", "arcsec", "position to the North of the frame's origin")
FLUX = Spec("flux", "flux", "total flux", per="band")


class Component:
    """What a scene is made of: a name, a table of parameters, and the images it concerns.

    Parameters
    ----------
    name : str
        Prefix of its sites, unique in a scene.
    images, bands : sequence of str, optional
        Restrict it to images of these names, or of these bands.
    **params
        Its parameters, each a Pyro distribution (its prior), a number or Quantity (held fixed), another component's
        parameter (shared), arithmetic on such, or ``bj.Param(...)``. Numbers are in the parameter's unit: arcsec, degree, nJy, image units.

    Raises
    ------
    TypeError
        For a parameter that it does not have, or one given as something else.
    ValueError
        For a name with '/', '[' or ']'.
    """

    specs: tuple[Spec, ...] = ()

    def __init_subclass__(cls) -> None:
        cls.__doc__ = documented(cls.__doc__, cls.specs)

    def __init__(self, name: str, *, images: Sequence[str] | None = None, bands: Sequence[str] | None = None, **params: Any) -> None:
        name = str(name)
        if not name or any(c in name for c in "/[]") or not name.isprintable():
            raise ValueError(f"A component's name is to be a short text without '/', '[' or ']', and {name!r} came.")
        self.name = name
        self.images = None if images is None else tuple(str(i) for i in ([images] if isinstance(images, str) else images))
        self.bands = None if bands is None else tuple(str(b) for b in ([bands] if isinstance(bands, str) else bands))
        self.params: dict[str, Param | Ref | Link] = {}
        known = {s.name: s for s in self.specs}
        for key, given in params.items():
            if key not in known:
                near = difflib.get_close_matches(key, known, 1)
                hint = f" Did you mean {near[0]!r}?" if near else ""
                raise TypeError(f"{type(self).__name__} {name!r} has no parameter {key!r}; it has {', '.join(known)}.{hint}")
            self.params[key] = as_param(given, known[key], f"{name}.{key}")

    def spec(self, name: str) -> Spec:
        """The spec of the parameter `name`: unit, bounds, default prior."""
        return next(s for s in self.specs if s.name == name)

    def options(self) -> dict[str, Any]:
        """What it is made from besides names and parameters, as plain values."""
        return {}

    def sees(self, image: Any) -> bool:
        """Whether the component concerns `image`."""
        return (self.images is None or image.name in self.images) and (self.bands is None or image.band in self.bands)

    def __getattr__(self, key: str) -> Ref:
        specs = self.__dict__.get("specs", type(self).specs)
        if any(s.name == key for s in specs):
            return Ref(self, key)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {key!r}; its parameters are {', '.join(s.name for s in specs)}")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"


class Source(Component):
    """A source of light: it has a position and a flux.

    Parameters
    ----------
    position : SkyCoord or (x, y) in arcsec, optional
        Where a fit begins; the prior stays the default one.
    window : optional
        The part of an image in which it has light: ``[[x0, x1], [y0, y1]]`` in pixels (half-open), a radius in arcsec about its position, a 2-d
        boolean array (the box of a segment is taken), "auto" (from the light itself), or a mapping of those by image or band. None: all of it.
        Outside its window a source costs nothing; a fit says how much light that leaves away. A point has its own, as large as the PSF.
    """

    def __init__(
        self,
        name: str,
        *,
        position: Any = None,
        window: Any = None,
        images: Sequence[str] | None = None,
        bands: Sequence[str] | None = None,
        **params: Any,
    ) -> None:
        super().__init__(name, images=images, bands=bands, **params)
        self.position = position
        self.hint: Any = None  # a patch of light that a detection found to be it
        self.window = as_window(window, name)

    def options(self) -> dict[str, Any]:
        """Its window, if there is one."""
        return {} if self.window is None else {"window": self.window}


class Point(Source):
    """Point source: a star, a supernova, an active nucleus. `motion=` gives it a proper motion, `pm_x` and `pm_y`.

    Parameters
    ----------
    name : str
        Prefix of its sites.
    motion : float or Quantity, optional
        Width in arcsec a year of Normal priors, about 0, of its proper motion: sites ``star.pm_x`` (to the East) and ``star.pm_y``. Its position is
        then that at the mean of its images' epochs, which all need to be known.
    **params
        `position` (SkyCoord, or arcsec East and North), `images` and `bands`: see `Source`.
    """

    specs = (X, Y, FLUX)

    def __init__(self, name: str, *, motion: Any = None, **params: Any) -> None:
        self.motion = None if motion is None else to_float(motion, "arcsec/yr", f"The motion of {name}")
        if self.motion is not None:
            if not self.motion > 0:
                raise ValueError(f"The motion of {name!r} is the width of its prior: positive (arcsec/yr), and {self.motion:g} came.")
            words = (("pm_x", "proper motion to the East"), ("pm_y", "proper motion to the North"))
            self.specs = (X, Y, *(Spec(k, "arcsec/yr", d, prior=("normal", 0.0, self.motion), guess=0.0) for k, d in words), FLUX)
        super().__init__(name, **params)

    def options(self) -> dict[str, Any]:
        """Its window and motion, if there are any."""
        return super().options() | ({} if self.motion is None else {"motion": self.motion})


class Sky(Component):
    """Background of each image: a constant (order 0) or a plane (order 1), in image units per pixel.

    Parameters
    ----------
    name : str
        Prefix of its sites.
    order : {0, 1}
        1 adds slopes along the image's own pixel axes, `slope_x` and `slope_y` in image units per pixel and pixel, about its middle.
    level : "border", distribution or number, optional
        Background at the image's middle, in image units per pixel. "border" holds each level near that of its image's border, where
        sky and the wings of a galaxy that fills the image cannot be told apart: a Normal prior about the border's robust median, as
        wide as the galaxy's light may be there (`bayesjoint.sky.border`). Else as any parameter; the default is a wide Normal.
    images, bands : sequence of str, optional
        Which images it concerns; default, all.
    """

    specs = (Spec("level", "image", "background at the image's middle", per="image"),)
    plane = (
        *specs,
        Spec("slope_x", "image", "change from pixel to pixel along x", per="image"),
        Spec("slope_y", "image", "change from pixel to pixel along y", per="image"),
    )

    def __init__(
        self, name: str = "sky", *, order: int = 0, images: Sequence[str] | None = None, bands: Sequence[str] | None = None, **params: Any
    ) -> None:
        if order not in (0, 1):
            raise ValueError(f"A Sky's order is to be 0 (constant) or 1 (plane), and {order!r} came.")
        self.order = int(order)
        if order:
            self.specs = self.plane
        self.border = isinstance(params.get("level"), str) and params["level"] == "border"
        """Whether its levels are held near those of the images' borders."""
        if self.border:
            params.pop("level")
        super().__init__(name, images=images, bands=bands, **params)

    def options(self) -> dict[str, Any]:
        """The order, if it is not 0, and where its levels are held."""
        return ({"order": self.order} if self.order else {}) | ({"level": "border"} if self.border else {})


class NoiseScale(Component):
    """A factor on the sigma of each image, where the noise is not known: one site an image.

    Parameters
    ----------
    scale : Pyro distribution or number, optional
        The factor's prior, or what it is held at (no unit); default, LogNormal about 1 with a width of 0.5.
    name : str
        Prefix of its sites, ``noise.scale[HST]``.
    images, bands : sequence of str, optional
        Which images it concerns; default, all.
    """

    specs = (Spec("scale", "", "factor on the image's sigma", per="image", bounds=(1e-3, float("inf")), prior=("lognormal", 1.0, 0.5), guess=1.0),)

    def __init__(self, scale: Any = None, *, name: str = "noise", images: Sequence[str] | None = None, bands: Sequence[str] | None = None) -> None:
        super().__init__(name, images=images, bands=bands, **({} if scale is None else {"scale": scale}))


class Corrector(Component):
    """What is not known of an image itself: a site an image, with a Normal prior about 0 of a given width."""

    unit = ""

    def __init__(self, width: Any, *, name: str, images: Sequence[str] | None = None, bands: Sequence[str] | None = None, **params: Any) -> None:
        self.width = to_float(width, self.unit, f"The width of {name}'s prior")
        if not self.width > 0:
            raise ValueError(f"The width of {name}'s prior is to be positive ({self.unit}), and {self.width:g} came.")
        self.specs = tuple(replace(s, prior=("normal", 0.0, self.width)) for s in type(self).specs)
        super().__init__(name, images=images, bands=bands, **params)

    def options(self) -> dict[str, Any]:
        """The width of its prior."""
        return {"width": self.width}


class Shift(Corrector):
    """Where an image truly lies: what is added, East and North, to the places of its pixels on the sky.

    It is found against the images that have none, from all sources that they share.

    Parameters
    ----------
    width : float or Quantity
        Standard deviation in arcsec of its Normal prior about 0, in each direction.
    images, bands : sequence of str, optional
        Which images it concerns; leave one out at least, or nothing but the prior says where they lie.
    name : str
        Prefix of its sites, ``shift.x[HST]`` and ``shift.y[HST]``.
    x, y : optional
        A prior of one's own, in arcsec, as for any parameter.
    """

    unit = "arcsec"
    specs = (
        Spec("x", "arcsec", "added to the East to the places of the image's pixels", per="image", guess=0.0),
        Spec("y", "arcsec", "added to the North to the places of the image's pixels", per="image", guess=0.0),
    )

    def __init__(
        self, width: Any, *, name: str = "shift", images: Sequence[str] | None = None, bands: Sequence[str] | None = None, **params: Any
    ) -> None:
        super().__init__(width, name=name, images=images, bands=bands, **params)


class Zeropoint(Corrector):
    """How far an image's zeropoint is off: magnitudes that are to be added to it.

    It is found against the images of the same band that have none. A positive offset says that the image's pixels are brighter than its zeropoint
    allows, by a factor of 10^(0.4 offset): fluxes from that image alone, by the zeropoint it came with, are too high by as much. To mend the file add
    the offset to its MAGZERO.

    Parameters
    ----------
    width : float or Quantity
        Standard deviation in mag of its Normal prior about 0.
    images, bands : sequence of str, optional
        Which images it concerns.
    name : str
        Prefix of its sites, ``zeropoint.offset[SDSS]``.
    offset : optional
        A prior of one's own, in mag, as for any parameter.
    """

    unit = "mag"
    specs = (Spec("offset", "mag", "to be added to the image's zeropoint; positive: its fluxes are too high", per="image", guess=0.0),)

    def __init__(
        self, width: Any, *, name: str = "zeropoint", images: Sequence[str] | None = None, bands: Sequence[str] | None = None, **params: Any
    ) -> None:
        super().__init__(width, name=name, images=images, bands=bands, **params)


def relinked(copies: Mapping[int, Component]) -> None:
    """Make the links of copies lead to copies; `copies` are by the id of what they are copies of."""

    def moved(ref: Ref) -> Ref:
        return Ref(copies.get(id(ref.component), ref.component), ref.name)

    for new in copies.values():
        new.params = {k: moved(p) if isinstance(p, Ref) else p.rebuilt(moved) if isinstance(p, Link) else p for k, p in new.params.items()}


def cut_loose(kept: Sequence[Component]) -> tuple[list[Component], dict[str, str]]:
    """Make components independent of those that are left away: the first that shared a parameter with one takes it over.

    Returns
    -------
    components : list of Component
        The same objects where no link leads out, else copies linked among themselves.
    renamed : dict
        New name of each parameter that was taken over, by its old one.
    """
    inside = {id(c) for c in kept}
    links = [(c, k, p) for c in kept for k, p in c.params.items() if isinstance(p, Link)]
    for c, k, p in links:
        out = next((r for r in p.refs() if id(r.component) not in inside), None)
        if out is not None:
            raise ValueError(f"{c.name}.{k} follows from {out!r}, which is left away: keep {out.component.name!r} too.")
    if all(id(p.component) in inside for c in kept for p in c.params.values() if isinstance(p, Ref)):
        return list(kept), {}
    copies = {id(c): copy.copy(c) for c in kept}
    heirs: dict[str, Ref] = {}
    for c in kept:
        new = copies[id(c)]
        new.params = dict(c.params)
        for key, given in c.params.items():
            lost = None
            while isinstance(given, Ref) and id(given.component) not in inside:
                lost, given = given, given.component.params.get(given.name, Param())
            if isinstance(given, Link):
                new.params[key] = given.rebuilt(lambda r: Ref(copies[id(r.component)], r.name))
            elif isinstance(given, Ref):
                new.params[key] = Ref(copies[id(given.component)], given.name)
            elif lost is not None:
                new.params[key] = heirs.get(repr(lost), given)
                heirs.setdefault(repr(lost), Ref(new, key))
                if isinstance(new, Source) and new.position is None:
                    new.position = getattr(lost.component, "position", None)
    return list(copies.values()), {old: repr(heir) for old, heir in heirs.items()}
