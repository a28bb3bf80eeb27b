"""Library: images of many shapes of each source, of which all combinations are compared at once.

A model is linear in its fluxes: with an image of unit flux of each shape, chi² at the best fluxes of
any combination follows from the products of those images, and thousands of combinations take as long
as a few images.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from bayesjoint.images.seeing import psf_fwhm
from bayesjoint.render.renderer import Renderer
from bayesjoint.scene.layout import Site
from bayesjoint.scene.likelihood import ImageLikelihood
from bayesjoint.sky.extended import Extended
from bayesjoint.sky.links import Above

if TYPE_CHECKING:
    from bayesjoint.scene.scene import Scene

__all__ = ["Library", "middle_size"]

SIZES = (0.07, 0.12, 0.21, 0.37, 0.65, 1.1, 2.0, 3.5, 6.0)
"""Sizes in units of the light's own."""
SMALLER, SMALLEST_FWHM = 2.5, 0.3
"""Step by which smaller ones join them, down to this part of the sharpest PSF's width: a nucleus,
or a star in front, may be a hundredth of a galaxy."""
INDICES = (0.6, 1.0, 2.0, 4.0)
"""Sérsic indices."""
ROUND, THINNER, THINNEST = 0.85, 0.45, 0.06
"""Axis ratio of the shapes that are rounder than the light; and of thinner ones, in units of the
light's and at least: a disc seen edge-on in a round bulge is thinner than both together."""
MOST_SOURCES = 4
"""Sources of a group at most."""
MOST_COMBINATIONS = 40_000
MOST_BYTES = 2**28
"""Of the images of all shapes."""
FAR = 8.0
"""Distance from the group, in units of its light's size, beyond which pixels of a large image are left away."""
LEAST_RATIO = 1.05
"""Ratio of two sizes of which one is to be above the other, at least."""


@dataclass(frozen=True)
class Shape:
    """A shape of one source: its own parameters other than the flux, in their units, by name."""

    source: Extended
    params: dict[str, float]
    size: float
    """In units of the light's own."""


class Library:
    """All shapes of a group of sources, and the products of their images.

    Parameters
    ----------
    scene : Scene
    first : mapping
        Values by site, in their units, at which all else stays.
    group : sequence of Extended
        The sources.
    shapes : list of list of Shape
        Of each source.
    """

    def __init__(self, scene: Scene, first: Mapping[str, float], group: Sequence[Extended], shapes: list[list[Shape]]) -> None:
        self.scene, self.first, self.group, self.shapes = scene, first, list(group), shapes
        self.channels = self._channels()

    @classmethod
    def of(
        cls, scene: Scene, first: Mapping[str, float], group: Sequence[Extended], moved: Sequence[Mapping[str, float]]
    ) -> Library | None:
        """The library of a group; None where parameters follow from others in a way that shapes cannot be chosen one by one.

        Parameters
        ----------
        moved : sequence of mapping
            Other places of one of the sources, by site.
        """
        if len(group) > MOST_SOURCES or not all(n.linear for n in scene.noise.values()):
            return None
        if not all(_is_free(scene, c) for c in group):
            return None
        sizes, indices = (SIZES, INDICES) if len(group) < 3 else (SIZES[1::2], INDICES[1::2])
        middle = middle_size(scene, first, group)
        sizes = (*_smaller(scene, group, middle, sizes[0]), *sizes)
        shapes = [_shapes(scene, first, c, middle, sizes, indices, moved) for c in group]
        return cls(scene, first, group, shapes)

    # -- pixels -----------------------------------------------------------------------------------------------------------
    def _channels(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Products of the images with each other, and with the data, all else projected away: a pair for each set of fluxes."""
        flat = [s for of in self.shapes for s in of]
        layout, groups = self.scene.layout, {}
        for term in self.scene.likelihoods:
            if any(c.sees(term.image) for c in self.group):
                key = tuple(layout.index.get((c.name, "flux", term.image.name), -1) for c in self.group)
                groups.setdefault(key, []).append(term)
        out = []
        for terms in groups.values():
            gram, rhs = np.zeros((len(flat), len(flat))), np.zeros(len(flat))
            for term in terms:
                images, data = self._images(term, flat)
                gram += images @ images.T
                rhs += images @ data
            out.append((gram, rhs))
        return out

    @torch.no_grad()
    def _images(self, term: ImageLikelihood, flat: Sequence[Shape]) -> tuple[np.ndarray, np.ndarray]:
        """Images of unit flux (shapes, pixels) and the data, both over sigma and without what all else can do."""
        scene, layout = self.scene, self.scene.layout
        full = scene.full(scene.vector(self.first))
        use = self._pixels(term, len(flat))
        weight = term.weighted(full)
        rest, data = self._rest(term, full, weight, use)
        names = {s.name: k for k, s in enumerate(term.sources)}
        out, local = np.zeros((len(flat), int(use.sum())), np.float32), term._split(full)[0]
        renderers: dict[str, Renderer] = {}
        for k, shape in enumerate(flat):
            c = shape.source
            if c.name not in names:
                continue
            if c.name not in renderers:
                old = term.renderer
                renderers[c.name] = Renderer(term.image, term.frame, [(c, term.plans[c.name])], old.dtype, old.device, old.optics)
            own = local[names[c.name]].clone()
            keys = ["x", "y", "q", "pa", *c.light_params]
            for m, key in enumerate(keys):
                if key in shape.params:
                    # a place moves as much as the site that it comes from: an image's own shift stays
                    before = float(scene.full(scene.vector(self.first))[layout.told[c.name, key, term.image.name]])
                    own[m] = own[m] + (shape.params[key] - before) if key in ("x", "y") else shape.params[key]
            blocks, _ = renderers[c.name].units([own], [], weight, slopes=False)
            canvas = torch.zeros_like(term.data)
            for block in blocks:
                canvas[block.where] += block.values[0]
            out[k] = (canvas.cpu().numpy() * (term.image.unit_flux / term.unit))[use]
        if rest.size:
            basis = np.linalg.qr(rest.T)[0].T.astype(np.float32)
            data = data - basis.T @ (basis @ data)
            shares = out @ basis.T
            for row, share in zip(out, shares, strict=True):  # row by row: no second array of this size
                row -= share @ basis
        return out, data.astype(np.float32)

    def _pixels(self, term: ImageLikelihood, count: int) -> np.ndarray:
        """The pixels that are compared: all in use, or those about the group where the images would take too much memory."""
        use, im = term.image.valid.copy(), term.image
        if use.sum() * count * 4 <= MOST_BYTES:
            return use
        j, i = np.indices(use.shape)
        scale, near = im.pixel_scale, np.zeros_like(use)
        size = middle_size(self.scene, self.first, self.group)
        reach = min(FAR * size / scale, 0.5 * math.sqrt(MOST_BYTES / (4 * count * len(self.group))))
        for c in self.group:
            if c.sees(im):
                place = (self.scene.value(c, k, im, self.first) for k in ("x", "y"))
                px, py = (float(v) for v in self.scene.frame.to_pixel(im.placement, *place))
                near |= np.hypot(i - px, j - py) < reach
        return use & near

    def _rest(self, term: ImageLikelihood, full: torch.Tensor, weight: torch.Tensor, use: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Images of unit amplitude of all else that is free, and the data without what is held, both over sigma."""
        local, skies = term._split(full)
        mine = {c.name for c in self.group}
        owners = [c.name for c in term.sources] + [c.name for c, v in zip(term.skies, skies, strict=True) for _ in v]
        values = torch.cat([*(v[-1:] for v in local), *skies])
        places = term.index[term.amplitude].tolist()
        data, free = term.data * weight, []
        others = [k for k, name in enumerate(owners) if name not in mine]
        if others:
            for block in term.renderer.units(local, skies, weight, slopes=False)[0]:
                for k, image in zip(block.rows, block.values, strict=True):
                    if k not in others:
                        continue
                    if places[k] < len(self.scene.layout.sites):
                        whole = torch.zeros_like(data)
                        whole[block.where] += image
                        free.append(whole.cpu().numpy()[use])
                    else:
                        data[block.where] -= values[k] * image
        return np.array(free), data.cpu().numpy()[use]

    # -- combinations -----------------------------------------------------------------------------------------------------
    def ranked(self, count: int) -> list[tuple[dict[str, float], None, float]]:
        """The best combinations, the best first: values by site, and what they take off half of chi²."""
        starts = np.cumsum([0, *(len(of) for of in self.shapes)])
        total = math.prod(len(of) for of in self.shapes)
        if total <= MOST_COMBINATIONS:
            chosen = np.array(list(itertools.product(*(range(len(of)) for of in self.shapes))))
        else:
            rng = np.random.default_rng(0)
            chosen = np.stack([rng.integers(0, len(of), MOST_COMBINATIONS) for of in self.shapes], axis=1)
        chosen = chosen[self._allowed(chosen)]
        gain = sum((_gains(gram, rhs, chosen + starts[:-1]) for gram, rhs in self.channels), np.zeros(len(chosen)))
        best = np.argsort(-gain, kind="stable")[:count]
        return [(self._values(chosen[k]), None, 0.5 * float(gain[k])) for k in best]

    def _allowed(self, chosen: np.ndarray) -> np.ndarray:
        """Which combinations keep an order that the model prescribes."""
        ok = np.ones(len(chosen), bool)
        for k, c in enumerate(self.group):
            for name, given in c.params.items():
                if not isinstance(given, Above):
                    continue
                below = next((m for m, o in enumerate(self.group) if o is given.other.component), None)
                mine = np.array([s.params.get(name, np.nan) for s in self.shapes[k]])[chosen[:, k]]
                if below is None:
                    continue
                other = np.array([s.params.get(given.other.name, np.nan) for s in self.shapes[below]])[chosen[:, below]]
                ok &= ~(mine < LEAST_RATIO * other)
        return ok

    def _values(self, row: np.ndarray) -> dict[str, float]:
        """Values by site of a combination."""
        values = dict(self.first)
        picked = [of[k] for of, k in zip(self.shapes, row, strict=True)]
        for shape in picked:
            for name, v in shape.params.items():
                site = _site(self.scene, shape.source, name)
                if site is not None:
                    values[site.name] = v
        for shape in picked:
            for name, given in shape.source.params.items():
                if isinstance(given, Above) and name in shape.params:
                    below = next((s.params[given.other.name] for s in picked if s.source is given.other.component), None)
                    site = _site(self.scene, shape.source, f"{name}.above")
                    if below and site is not None:
                        values[site.name] = shape.params[name] / below - 1.0
        return values


def _gains(gram: np.ndarray, rhs: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """What the best non-negative fluxes of each combination (k, m) take off chi²: shape (k,)."""
    m = chosen.shape[1]
    h = gram[chosen[:, :, None], chosen[:, None, :]]
    g = rhs[chosen]
    best = np.zeros(len(chosen))
    for size in range(1, m + 1):
        for some in itertools.combinations(range(m), size):
            part = h[:, some][:, :, some]
            scale = 1 / np.sqrt(np.maximum(np.einsum("kii->ki", part), 1e-300))
            part = part * scale[:, :, None] * scale[:, None, :] + 1e-9 * np.eye(size)
            right = g[:, some] * scale
            flux = np.linalg.solve(part, right[:, :, None])[:, :, 0]
            gain = np.where((flux >= 0).all(1), (flux * right).sum(1), 0.0)
            best = np.maximum(best, gain)
    return best


def _site(scene: Scene, c: Extended, name: str) -> Site | None:
    """A source's own site for a parameter, one for all images; None where it has none that may be moved."""
    return next((s for s in scene.layout.sites if s.component is c and s.spec.name == name and s.label is None and s.start is None), None)


def _is_movable(scene: Scene, c: Extended, name: str) -> bool:
    """Whether a parameter is a site of the source's own, or above another by one."""
    above = isinstance(c.params.get(name), Above) and _site(scene, c, f"{name}.above") is not None
    return above or _site(scene, c, name) is not None


def _lengths(c: Extended) -> list[str]:
    return [s.name for s in c.specs_of_profile if s.unit == "arcsec" and not s.real]


def _is_free(scene: Scene, c: Extended) -> bool:
    """Whether a source's shape may be chosen: its parameters are sites of its own, held, shared, or above another's."""
    from bayesjoint.sky.parameters import Link

    given = [c.params.get(k) for k in ("q", "pa", *c.light_params)]
    return not any(isinstance(g, Link) and not isinstance(g, Above) for g in given)


def middle_size(scene: Scene, first: Mapping[str, float], group: Sequence[Extended]) -> float:
    """The size of the group's light in arcsec: the geometric mean of where its sources begin."""
    logs = []
    for c in group:
        im = next(im for im in scene.images if c.sees(im))
        logs += [math.log(max(scene.value(c, k, im, first), 1e-6)) for k in _lengths(c)[:1]]
    return math.exp(float(np.mean(logs))) if logs else 1.0


def _smaller(
    scene: Scene, group: Sequence[Extended], middle: float, smallest: float
) -> list[float]:
    """Sizes below the smallest of the library, down to what the sharpest PSF hides, in units of the light's own."""
    seen = [im for im in scene.images if any(c.sees(im) for c in group)]
    fwhm = min(psf_fwhm(im) for im in seen)
    end, out = SMALLEST_FWHM * fwhm / middle, []
    while smallest > end * SMALLER**0.5:
        smallest = max(smallest / SMALLER, end)
        out.append(smallest)
    return out[::-1]


def _shapes(
    scene: Scene,
    first: Mapping[str, float],
    c: Extended,
    middle: float,
    sizes: Sequence[float],
    indices: Sequence[float],
    moved: Sequence[Mapping[str, float]],
) -> list[Shape]:
    """The shapes of one source."""
    im = next(im for im in scene.images if c.sees(im))
    lengths, now = _lengths(c), {}
    for k in ("x", "y", "q", "pa", *c.light_params):
        now[k] = scene.value(c, k, im, first)
    movable = [k for k in lengths if _is_movable(scene, c, k)]
    own_n = "n" in now and _is_movable(scene, c, "n")
    ellipses: list[dict[str, float]] = [{}]
    if _site(scene, c, "q") is not None:
        ellipses.append({"q": max(THINNER * now["q"], THINNEST)})
        if now["q"] < 0.7:
            ellipses.append({"q": ROUND})
    places: list[dict[str, float]] = [{}]
    for m in moved:
        if f"{c.name}.x" in m:
            places.append({k: m[f"{c.name}.{k}"] for k in ("x", "y")})
    unit = middle / now[lengths[0]] if len(lengths) == 1 else 1.0
    out = []
    for place in places:
        few = slice(None, None, 2) if place else slice(None)
        for factor in sizes[few] if movable else (1.0,):
            for n in (indices[few] if own_n else (None,)):
                for ellipse in ellipses[: 1 if place else None]:
                    params = {k: now[k] * factor * unit for k in movable} | place | ellipse
                    if n is not None:
                        params["n"] = n
                    params = {k: v for k, v in params.items() if _inside(scene, c, k, v)}
                    out.append(Shape(c, params, factor))
    return out


def _inside(scene: Scene, c: Extended, name: str, value: float) -> bool:
    site = _site(scene, c, name)
    if site is None:
        return True
    lo, hi = (getattr(site.prior.support, k, None) for k in ("lower_bound", "upper_bound"))
    if lo is not None and float(lo) > 0 and hi is not None:
        return float(lo) * 1.02 < value < float(hi) / 1.02
    return bool(site.prior.support.check(torch.tensor(value, dtype=torch.float64)))
