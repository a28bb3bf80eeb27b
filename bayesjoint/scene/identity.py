"""Identity: what a scene's density is made of, as digests: two scenes with the same ones have the same density."""

from __future__ import annotations

import hashlib
import struct
import types
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from astropy import units as u

from bayesjoint.images import PSF, Image
from bayesjoint.sky.components import Component
from bayesjoint.sky.links import Expression, Function
from bayesjoint.sky.parameters import Link, Param, Ref

if TYPE_CHECKING:
    from bayesjoint.scene.scene import Scene

__all__ = ["digest", "identity"]

PLACES = 5
"""Places along each axis of an image at which its WCS, and a PSF that varies, are looked at."""
WCS_DECIMALS = 10
"""Decimals, in degree or arcsec, to which places are compared: less than a millionth of an arcsec."""
INNER = ("base_dist", "transforms", "mixture_distribution", "component_distribution")
"""What distributions that are made of others hold them as."""


def identity(scene: Scene) -> dict[str, str]:
    """Digests of all that a scene's density is made of, by what it is in words.

    Where a fit begins and how finely images are drawn are not among them: neither is meant to change the density.

    Parameters
    ----------
    scene : Scene
    """
    images, layout = scene.images, scene.layout
    parts = {
        "pixels": [(im.data, im.variance, im.mask) for im in images],
        "images": [(im.name, im.band, im.unit_flux, im.epoch, im.wavelength) for im in images],
        "WCS": [_places(scene, im) for im in images],
        "PSFs": [None if im.psf is None else _psf(im.psf, im) for im in images],
        "noise": [(name, type(n), n.options()) for name, n in scene.noise.items()],
        "components": [_component(c) for c in scene.components],
        "priors": [(s.name, s.prior) for s in layout.sites],
        "held values": layout.fixed,
        "dtype": str(scene.dtype),
    }
    return {k: digest(v) for k, v in parts.items()}


def digest(thing: Any) -> str:
    """Digest of numbers, text, arrays, distributions, functions, and what is made of them.

    Parameters
    ----------
    thing : object
        Of others, their class and public attributes count.
    """
    h = hashlib.sha256()
    _feed(h.update, thing)
    return h.hexdigest()[:16]


def _places(scene: Scene, im: Image) -> np.ndarray:
    """Where some pixels of an image lie in the scene's plane (arcsec), and that plane (degree)."""
    ny, nx = im.shape
    j, i = np.meshgrid(np.linspace(0, ny - 1, PLACES), np.linspace(0, nx - 1, PLACES))
    x, y = scene.frame.to_sky(im.placement, i.ravel(), j.ravel())
    middle = scene.frame.reference
    plane = [] if middle is None else [middle.icrs.ra.deg, middle.icrs.dec.deg]
    return np.round(np.concatenate([x, y, plane, im.shape]), WCS_DECIMALS) + 0.0


def _psf(psf: PSF, im: Image) -> list[Any]:
    ny, nx = im.shape
    places = [(x, y) for x in np.linspace(0, nx - 1, PLACES) for y in np.linspace(0, ny - 1, PLACES)]
    arrays = [psf.at(x, y).array for x, y in places] if psf.varies else [psf.array]
    return [arrays, psf.sampling, psf.pixel_response, psf.normalize]


def _component(c: Component) -> list[Any]:
    """A component without priors and starts of its parameters: these are the sites'."""
    given = {}
    for name, p in c.params.items():
        if isinstance(p, Param):
            given[name] = "held" if p.value is not None else p.per
        else:
            given[name] = _link(p)
    return [type(c), c.name, c.images, c.bands, c.options(), given]


def _link(p: Any) -> Any:
    if isinstance(p, Expression):
        return [p.operation, *(_link(a) for a in p.args)]
    if isinstance(p, Function):
        return [p.function, *p.parameters]
    return p.plain() if isinstance(p, Link) else p


def _feed(put: Callable[[bytes], Any], x: Any) -> None:
    """Hand on what tells a thing from others, after its kind."""
    put(f"{type(x).__name__}:".encode())
    if x is None or isinstance(x, bool | int | str | bytes | u.UnitBase):
        put(repr(str(x)).encode())
    elif isinstance(x, float):
        put(struct.pack("d", x))
    elif isinstance(x, Ref):
        put(repr(x).encode())
    elif isinstance(x, torch.Tensor):
        _feed(put, x.detach().cpu().numpy())
    elif isinstance(x, np.ndarray | np.generic):
        put(f"{x.dtype}{x.shape}".encode())
        put(np.ascontiguousarray(x).tobytes())
        if isinstance(x, u.Quantity):
            put(str(x.unit).encode())
    elif isinstance(x, Mapping):
        _feed(put, sorted(((str(k), v) for k, v in x.items()), key=lambda pair: pair[0]))
    elif isinstance(x, Sequence):
        put(str(len(x)).encode())
        for v in x:
            _feed(put, v)
    elif isinstance(x, torch.distributions.Distribution):
        _feed(put, type(x))
        _feed(put, [getattr(x, k) for k in (*sorted(x.arg_constraints), *INNER) if hasattr(x, k)])
    elif isinstance(x, type):
        put(f"{x.__module__}.{x.__qualname__}".encode())
        if not x.__module__.startswith(("bayesjoint.", "torch.", "pyro.")):  # the user's own: what it does, too
            _feed(put, [f for _, f in sorted(vars(x).items()) if isinstance(f, types.FunctionType)])
    elif isinstance(x, types.FunctionType):
        known = {k: x.__globals__[k] for k in x.__code__.co_names if k in x.__globals__}
        numbers = {k: v for k, v in known.items() if isinstance(v, int | float | np.ndarray | np.generic | torch.Tensor)}
        _feed(put, [x.__code__, x.__defaults__, x.__kwdefaults__, [c.cell_contents for c in x.__closure__ or ()], numbers])
    elif isinstance(x, types.CodeType):
        _feed(put, [x.co_code, x.co_names, [c for c in x.co_consts if not isinstance(c, frozenset)]])
    elif isinstance(x, types.BuiltinFunctionType):
        put(f"{x.__module__}.{x.__qualname__}".encode())
    else:
        _feed(put, type(x))
        _feed(put, {k: v for k, v in getattr(x, "__dict__", {}).items() if not k.startswith("_")})
