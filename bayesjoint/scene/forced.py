"""Forced photometry: fluxes of many objects whose places and shapes are known, in any number of
images.

Needed where a catalogue made on one image is to be measured on others. All is linear then: fluxes
and skies are a Gaussian in closed form, band by band, with the covariance of blends in their
errors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyro.distributions as dist
import torch
from astropy import units as u
from astropy.table import QTable, Table

from bayesjoint.images import Frame, Image
from bayesjoint.images.seeing import psf_fwhm
from bayesjoint.scene.catalogue import object_names, object_places, object_shapes
from bayesjoint.scene.checks import named, only_images
from bayesjoint.scene.detection import point_noise, say_noise, significance
from bayesjoint.scene.linear import Linear
from bayesjoint.scene.planning import BUDGET, is_coarse, refined, render_errors
from bayesjoint.scene.scene import Scene
from bayesjoint.sky.components import Component, Point, Sky
from bayesjoint.sky.galaxies import Sersic
from bayesjoint.sky.parameters import Param
from bayesjoint.threads import few_threads, largest

__all__ = ["forced"]

PATCH_SOURCES = 200
"""Objects that are solved for at once; their neighbours come on top."""
WIDE_PRIOR = 1e5
"""Width of the fluxes' prior in units of a point's noise: it tells nothing, and keeps what the
pixels do not tell finite."""
UNKNOWN = 0.1
"""Part of that width from which on an error says that the pixels tell nothing."""
MARGIN_FWHM, MARGIN_SIZE = 3.0, 3.0
"""Pixels that are used about an object: so many widths of the PSF, and half-light radii."""
REACH_FWHM, REACH_SIZE = 6.0, 8.0
"""How far an object shines, in the same."""
BLENDED = -0.95
"""Correlation of two fluxes below which their sum alone is known."""
MASKED = 0.5
"""Part of an object's surroundings from which on it is masked."""


@dataclass(frozen=True)
class _Objects:
    """A catalogue: names, places (arcsec, NaN for none, shape (n, 2)), shapes (None: a point)."""

    names: list[str]
    places: np.ndarray
    shapes: list[dict[str, float] | None]
    frame: Frame

    @property
    def sizes(self) -> np.ndarray:
        """Half-light radii in arcsec, 0 for points."""
        return np.array([0.0 if s is None else s["r_eff"] for s in self.shapes])

    def off(self, im: Image) -> np.ndarray:
        """How far off an image each object lies, in pixels; infinite for one without place."""
        out = np.full(len(self.names), np.inf)
        ny, nx = im.shape
        for k in np.flatnonzero(np.isfinite(self.places).all(1)):
            px, py = self.frame.to_pixel(im.placement, *self.places[k])
            dx, dy = max(-0.5 - px, px - nx + 0.5, 0.0), max(-0.5 - py, py - ny + 0.5, 0.0)
            out[k] = float(np.hypot(dx, dy))
        return out

    def shines(self, im: Image) -> np.ndarray:
        """Whether each object has light on an image."""
        sharp = psf_fwhm(im)
        reach = (REACH_FWHM * sharp + REACH_SIZE * self.sizes) / im.pixel_scale
        # a point is drawn as far as the PSF's image goes
        box = 1.0 if im.psf is None else min(im.psf.effective().shape) / 2 - 1
        return self.off(im) < np.where(self.sizes > 0, reach, np.minimum(reach, box))


@dataclass
class _Measured:
    """Fluxes of one band by row, with errors, reduced chi² about each object, and flags."""

    flux: np.ndarray
    error: np.ndarray
    chi2: np.ndarray
    flags: list[list[str]]

    @classmethod
    def nothing(cls, count: int) -> _Measured:
        return cls(*(np.full(count, np.nan) for _ in range(3)), [[] for _ in range(count)])


def forced(
    images: Sequence[Image] | Image,
    catalogue: Table,
    shapes: Mapping[str, str] | Table | bool | None = None,
    *,
    sky: Sky | None = None,
) -> QTable:
    """Fluxes of a catalogue's objects in every band, their places and shapes held.

    Fluxes are real-valued and have next to no prior, so that those of what is not there scatter
    about 0: upper limits are unbiased, and may be averaged. Fluxes and skies of a band are solved
    for together, images of one band sharing its fluxes: a blend's covariance is in the errors. More
    than 200 objects are solved for in patches of neighbours, each with all the light that falls on
    it and a sky of its own.

    Parameters
    ----------
    images : sequence of Image
        Of one or more bands.
    catalogue : Table
        Objects by their ``ra``, ``dec`` (degree), or ``x``, ``y`` (0-based pixels of the image of
        the finest pixels). A column ``id`` (``name``, ``label``) names them. A column ``type`` may
        say "point" or "galaxy".
    shapes : mapping, Table, False or None
        Sérsic shapes: columns ``n``, ``r_eff`` (semi-major, arcsec), ``q``, ``pa`` (degree, North
        to East) of the catalogue, where it has them (None); other columns of it, by parameter
        (``{"r_eff": "re_arcsec"}``); a table with a row for each object; False, all are points.
        What has no ``r_eff`` above 0 is a point; where the other columns are missing, n = 1, q = 1.
    sky : Sky, optional
        Default ``bj.Sky()``, a level for each image; ``bj.Sky(level=0.0)`` holds it.

    Returns
    -------
    QTable
        A row for each row of the catalogue, in its order: its name and place, for each band
        ``flux_BAND`` and ``flux_BAND_err`` in nJy (image units without a zeropoint; NaN where
        nothing is known) and ``chi2_BAND``, the reduced chi² about it; and ``flags``: "outside"
        (its place is off all images of the band), "masked" (most of its surroundings are),
        "blended" (with another, so that the correlation of their fluxes is below -0.95), each with
        the band.

    Raises
    ------
    ValueError
        For no images, a catalogue without places, or shapes that are none.
    """
    images = [images] if isinstance(images, Image) else list(images)
    if not images:
        raise ValueError("forced needs at least one image; got none.")
    only_images(images)
    images = list(named(images))
    frame = Frame(
        next((im.placement.sky_middle for im in images if im.placement.wcs is not None), None)
    )
    finest = min(images, key=lambda im: im.pixel_scale)
    objects = _Objects(
        object_names(catalogue),
        np.reshape(object_places(catalogue, finest, frame), (-1, 2)),
        object_shapes(catalogue, shapes),
        frame,
    )
    table = _beginning(catalogue, objects.names)
    placed = np.isfinite(objects.places).all(1)
    flags: list[list[str]] = [[] if known else ["no place"] for known in placed]
    noise: dict[str, float] = {}
    for band in dict.fromkeys(im.band for im in images):
        seen = [im for im in images if im.band == band]
        found = _band(seen, objects, Sky() if sky is None else sky, noise)
        unit = u.nJy if seen[0].zeropoint is not None else u.dimensionless_unscaled
        what = f"total flux in {band}"
        columns = ("", found.flux, what), ("_err", found.error, f"standard deviation: {what}")
        for key, values, doc in columns:
            plain = unit == u.dimensionless_unscaled
            table[f"flux_{band}{key}"] = values if plain else values * unit
            table[f"flux_{band}{key}"].info.description = doc
        table[f"chi2_{band}"] = found.chi2
        table[f"chi2_{band}"].info.description = f"reduced chi² about the object in {band}"
        flags = [a + b for a, b in zip(flags, found.flags, strict=True)]
    table["flags"] = [", ".join(f) for f in flags]
    table["flags"].info.description = "what speaks against a flux, with its band"
    table.meta["bands"] = list(dict.fromkeys(im.band for im in images))
    table.meta["noise"] = noise
    say_noise(noise, "Errors of faint fluxes are off by as much.")
    return table


def _beginning(catalogue: Table, names: list[str]) -> QTable:
    """The table's first columns: names and places, as the catalogue has them."""
    lower = {c.lower(): c for c in catalogue.colnames}
    table = QTable({"name": names})
    for key in ("ra", "dec") if {"ra", "dec"} <= lower.keys() else ("x", "y"):
        table[key] = catalogue[lower[key]]
    return table


def _band(images: list[Image], objects: _Objects, sky: Sky, noise: dict[str, float]) -> _Measured:
    """Fluxes in the images of one band.

    Their noise on the scale of the PSF, over what the stated sigma makes of it, goes into `noise`.
    """
    places, sizes = objects.places, objects.sizes
    out = _Measured.nothing(len(places))
    sharp = max(psf_fwhm(im) for im in images)
    margin, reach = (
        a * sharp + b * sizes for a, b in ((MARGIN_FWHM, MARGIN_SIZE), (REACH_FWHM, REACH_SIZE))
    )
    on = np.any([objects.off(im) == 0 for im in images], axis=0)
    for k in np.flatnonzero(np.isfinite(places).all(1) & ~on):
        out.flags[k].append(f"outside[{images[0].band}]")
    left: dict[str, list[float]] = {im.name: [] for im in images}
    rows = np.flatnonzero(np.any([objects.shines(im) for im in images], axis=0))
    patches = list(_patches(places, rows))
    for core in patches:
        parts, members = images, rows
        if len(patches) > 1:
            low = (places[core] - margin[core, None]).min(0)
            high = (places[core] + margin[core, None]).max(0)
            cuts = [_cut(im, objects.frame, low, high) for im in images]
            parts = [im for im in cuts if im is not None]
            # all that shines on these pixels is in the model, so that nothing biases it
            outside = np.maximum(np.maximum(low - places[rows], places[rows] - high), 0.0)
            members = rows[np.hypot(*outside.T) < reach[rows]]
        if parts:
            _solve(parts, core, members, objects, sky, out, left)
    noise |= {name: float(np.median(v)) for name, v in left.items() if v}
    return out


def _patches(places: np.ndarray, rows: np.ndarray) -> Iterator[np.ndarray]:
    """Rows in halves of halves, along the longer side, until they are few enough."""
    if len(rows) <= PATCH_SOURCES:
        if len(rows):
            yield rows
        return
    spread = np.ptp(places[rows], axis=0)
    order = rows[np.argsort(places[rows, int(spread[1] > spread[0])], kind="stable")]
    for half in (order[: len(order) // 2], order[len(order) // 2 :]):
        yield from _patches(places, half)


def _cut(im: Image, frame: Frame, low: np.ndarray, high: np.ndarray) -> Image | None:
    """The part of an image that holds a box on the sky (arcsec); None where it has none, or no
    pixel in use.
    """
    corners = np.array(
        [frame.to_pixel(im.placement, x, y) for x in (low[0], high[0]) for y in (low[1], high[1])]
    )
    ny, nx = im.shape
    (x0, y0), (x1, y1) = np.floor(corners.min(0)), np.ceil(corners.max(0)) + 1
    x0, y0, x1, y1 = (int(np.clip(v, 0, n)) for v, n in ((x0, nx), (y0, ny), (x1, nx), (y1, ny)))
    if x1 - x0 < 2 or y1 - y0 < 2 or im.mask[y0:y1, x0:x1].all():
        return None
    return im.cutout(((x0 + x1 - 1) / 2, (y0 + y1 - 1) / 2), (y1 - y0, x1 - x0))


def _solve(
    images: Sequence[Image],
    core: np.ndarray,
    members: np.ndarray,
    objects: _Objects,
    sky: Sky,
    out: _Measured,
    noise: dict[str, list[float]],
) -> None:
    """Solve for the fluxes of all members on some images, and write down those of the core."""
    f64 = torch.float64
    wide = WIDE_PRIOR * float(np.median([point_noise(im) for im in images]))
    prior = dist.Normal(torch.tensor(0.0, dtype=f64), torch.tensor(wide, dtype=f64))
    shines = {im.name: objects.shines(im) for im in images}
    members = members[np.any([shines[im.name][members] for im in images], axis=0)]
    sources: list[Component] = []
    for k in members.tolist():
        x, y = (float(v) for v in objects.places[k])
        seen = [name for name, on in shines.items() if on[k]]
        given = {"x": x, "y": y, "images": seen, "flux": Param(prior=prior, start=0.0)}
        shape = objects.shapes[k]
        if shape is None:
            sources.append(Point(f"s{k}", **given))
        else:
            sources.append(Sersic(f"s{k}", **given, **shape, window="auto"))
    if not sources:
        return
    scene = Scene([*sources, sky], images, reference=objects.frame.reference)
    with few_threads(largest(scene)):
        for attempt in range(3):
            linear = Linear(scene, scene.vector(scene.start))
            solution = linear.solve(scene.full(scene.vector(scene.start)), slopes=False)
            values = dict(zip(scene.names, solution.mean.tolist(), strict=True))
            if attempt == 2:
                break
            # windows are as wide as the light turns out to be, and cores as fine as it needs
            coarse = {k for k, e in render_errors(scene, values).items() if e > BUDGET}
            if is_coarse(scene, values):
                scene = scene.with_plans(scene.replanned(values).plans, scene.start)
            elif coarse:
                scene = scene.with_plans(refined(scene, 1.6, coarse).plans, scene.start)
            else:
                break
    covariance = solution.covariance().cpu().numpy()
    error = np.sqrt(np.diag(covariance))
    place = {n: i for i, n in enumerate(scene.names)}
    band = images[0].band
    fluxes = np.array([place[f"s{k}.flux[{band}]"] for k in members])
    correlation = covariance[np.ix_(fluxes, fluxes)] / np.outer(error[fluxes], error[fluxes])
    residuals = scene.residuals(values)
    for im in scene.images:
        if im.valid.sum() > 1:
            noise[im.name].append(significance(im, residuals[im.name] * im.sigma).noise)
    wanted = set(core.tolist())
    for m, k in enumerate(members.tolist()):
        if k not in wanted:
            continue
        i = fluxes[m]
        hidden, chi2, pixels = _surroundings(scene, residuals, objects.places[k], objects.sizes[k])
        if error[i] < UNKNOWN * wide:
            out.flux[k], out.error[k] = values[scene.names[i]], error[i]
            out.chi2[k] = chi2 / pixels if pixels else np.nan
        if hidden > MASKED and f"outside[{band}]" not in out.flags[k]:
            out.flags[k].append(f"masked[{band}]")
        worst = int(np.argmin(correlation[m]))
        if correlation[m, worst] < BLENDED:
            out.flags[k].append(f"blended[{band}] with {objects.names[members[worst]]}")


def _surroundings(
    scene: Scene, residuals: Mapping[str, np.ndarray], place: np.ndarray, size: float
) -> tuple[float, float, int]:
    """Part of an object's surroundings that is masked, chi² there, and over how many pixels.

    They are what lies within its half-light radius and the PSF's width.
    """
    hidden, pixels, chi2 = 0, 0, 0.0
    for im in scene.images:
        radius = float(np.hypot(size, psf_fwhm(im))) / im.pixel_scale
        px, py = scene.frame.to_pixel(im.placement, *place)
        ny, nx = im.shape
        rows, cols = (
            slice(int(np.clip(p - radius, 0, n)), int(np.clip(p + radius + 2, 0, n)))
            for p, n in ((py, ny), (px, nx))
        )
        j, i = np.mgrid[rows, cols]
        inside = np.hypot(i - px, j - py) < radius
        used = inside & im.valid[rows, cols]
        hidden += int(inside.sum() - used.sum())
        pixels += int(used.sum())
        chi2 += float((residuals[im.name][rows, cols][used] ** 2).sum())
    return hidden / max(hidden + pixels, 1), chi2, pixels
