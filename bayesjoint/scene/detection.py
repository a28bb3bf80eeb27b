"""Detection: a first model of some images, from what stands out of all of them together."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyro.distributions as dist
import torch
from astropy.coordinates import SkyCoord
from astropy.stats import sigma_clipped_stats
from astropy.table import Table
from scipy import ndimage
from scipy.stats import chi2, norm

from bayesjoint.images import Frame, Image
from bayesjoint.images.resample import resampled
from bayesjoint.log import log
from bayesjoint.scene.scene import Scene
from bayesjoint.scene.starts import Blob, placed_ellipse
from bayesjoint.sky.components import Component, Point, Shift, Sky, Source
from bayesjoint.sky.extended import Extended
from bayesjoint.sky.galaxies import Sersic
from bayesjoint.sky.groups import Group

__all__ = ["scene_from"]

LEAST = 5
"""Pixels of the finest image that an object has at least."""
CONTRAST = 0.005
"""Part of a patch's light from which on a peak of its own is an object of its own (`photutils.segmentation.deblend_sources`)."""
ALIKE, NEAR = 1.6, 0.7
"""Ratio of the PSFs' widths up to which images are searched together, and distance in units of the wider PSF at which two finds are one."""
PLACE, SIZE = 0.2, 0.5
"""Widths of the priors of a place, in units of the sharpest PSF's, and of the logarithm of a size: an object stays the one that was found."""
FAINT, DECADES = 20.0, 3.0
"""Median of the fluxes' priors in units of a point's noise, and the width of their logarithm."""
POINTLIKE = 1.15
"""Half-light radius in units of the PSF's up to which an object is taken for a point."""


def scene_from(
    images: Sequence[Image] | Image,
    segmentation: Any = None,
    catalog: Table | None = None,
    *,
    galaxy: type[Extended] = Sersic,
    points: bool | str = "auto",
    sky: Component | None = None,
    threshold: float = 5.0,
    window: Any = "auto",
    positive: bool = True,
    corrections: Sequence[Component] = (),
    **options: Any,
) -> Scene:
    """A scene with a group for each object that is found on the images together, or that a segmentation or a catalogue names.

    Objects are detected where the sum over images of alike sharpness of the squared signal-to-noise, each smoothed by its own PSF, exceeds what
    noise makes (Szalay, Connolly & Szokoly 1999, AJ 117, 68), and are told apart by `photutils.segmentation.deblend_sources`. So that each stays
    the object that was found, its place has a Normal prior of a fifth of the sharpest PSF (and of its size), its size a LogNormal one of width 0.5:
    `Scene.describe` shows them.

    Parameters
    ----------
    images : sequence of Image
        All but the one of finest pixels are resampled for detection alone.
    segmentation : photutils SegmentationImage or 2-d array of int, optional
        Objects on the pixels of the image of the finest pixels, 0 for sky; in place of detection.
    catalog : Table, optional
        Objects by their ``ra``, ``dec`` (degree), or ``x``, ``y`` (0-based pixels of the image of the finest pixels); a column ``type`` of "point" or
        "galaxy" tells what they are; without it, what nothing is measured of is a point. In place of detection.
    galaxy : type
        What an extended object is made of, such as `bj.Sersic`.
    points : {"auto", True, False}
        Objects no wider than the PSF are points, all are, or none is.
    sky : Sky, optional
        Default ``bj.Sky()``.
    threshold : float
        Significance of a pixel of the smoothed images, in sigma.
    window : optional
        Of every galaxy: pixels, a radius in arcsec, "auto", or None; see `Source`.
    positive : bool
        Fluxes have LogNormal priors, three e-folds wide, about twenty times a point's noise: sources that overlap cannot take what the other's
        model lacks. False leaves them real, with the default prior.
    corrections : sequence of components
        What joins the scene for the images' sake, such as `bj.Shift`: an object's place is then as uncertain as the image's that it was found on.
    **options
        For `Scene`: ``reference``, ``dtype``, ...

    Returns
    -------
    Scene
        Of the groups ``object 1``, ``object 2``, ... from the brightest on, each with a ``galaxy`` or ``point``, and the sky.

    Raises
    ------
    ValueError
        Where nothing stands out, a segmentation of another shape comes, or a catalogue without places.
    """
    images = [images] if isinstance(images, Image) else list(images)
    if not images:
        raise ValueError("scene_from needs at least one image, and none came.")
    finest = min(images, key=lambda im: im.pixel_scale)
    reference = options.pop("reference", None) or next((im.placement.sky_middle for im in images if im.placement.wcs is not None), None)
    frame = Frame(reference)
    if segmentation is not None:
        labels = np.asarray(getattr(segmentation, "data", segmentation))
        if labels.shape != finest.shape:
            raise ValueError(
                f"The segmentation is to have the shape {finest.shape} of the image of the finest pixels ({finest.name or finest.band}), and {labels.shape} came."
            )
        found = _measured(_together(images, finest, frame), labels, finest, frame, max(images, key=_fwhm))
    else:
        found = _detected(images, frame, threshold)
    if catalog is not None:
        found = _from_catalog(catalog, finest, frame, found)
    if not found:
        raise ValueError(f"Nothing stands out of the images by {threshold:g} sigma: lower threshold=, or give a catalog=.")
    faint = float(np.median([FAINT * _noise(im) for im in images]))
    told = catalog is not None and "type" in (c.lower() for c in catalog.colnames)  # a catalogue's word stands
    for blob in found if points != "auto" and not told else ():
        blob.point = bool(points)
    loose = max((c.width for c in corrections if isinstance(c, Shift)), default=0.0)
    groups = [_group(k, blob, images, galaxy, window, faint if positive else None, loose) for k, blob in enumerate(found, 1)]
    log.info("%d objects: %d points.", len(groups), sum(isinstance(g.members[0], Point) for g in groups))
    return Scene([*groups, *corrections, Sky() if sky is None else sky], images, reference=reference, **options)


def _group(k: int, blob: Blob, images: Sequence[Image], galaxy: type[Extended], window: Any, faint: float | None, loose: float) -> Group:
    sharp = min(_fwhm(im) for im in images)

    def prior(kind: Any, middle: float, width: float) -> Any:
        return kind(torch.tensor(middle, dtype=torch.float64), torch.tensor(width, dtype=torch.float64))

    # a spread-out object is placed less well than a point
    width = float(np.hypot(PLACE * (sharp + (0.0 if blob.point else blob.size)), loose))
    x, y = (prior(dist.Normal, v, width) for v in (blob.x, blob.y))
    flux = {} if faint is None else {"flux": prior(dist.LogNormal, np.log(faint), DECADES)}
    if blob.point:
        source: Source = Point("point", x=x, y=y, **flux)
    else:
        size = (
            {"r_eff": prior(dist.LogNormal, np.log(max(blob.size, 0.3 * sharp)), SIZE)} if any(s.name == "r_eff" for s in galaxy("g").specs) else {}
        )
        source = galaxy("galaxy", x=x, y=y, window=window, **size, **flux)
    source.hint = blob
    return Group(f"object {k}", [source])


def _fwhm(im: Image) -> float:
    """Width of the PSF in arcsec."""
    return (im.psf.fwhm if im.psf is not None else 1.5) * im.pixel_scale


def _noise(im: Image) -> float:
    """Error of a point's flux in nJy (or image units)."""
    width = max((im.psf.fwhm if im.psf is not None else 1.5) / 2.355, 0.5)
    return im.typical_sigma * np.sqrt(4 * np.pi) * width / im.unit_flux


def _detected(images: Sequence[Image], frame: Frame, threshold: float) -> list[Blob]:
    """Objects of the images of alike sharpness together, the sharpest first; what is in sharper ones already is not taken again."""
    found: list[Blob] = []
    left = sorted(images, key=_fwhm)
    while left:
        alike = [im for im in left if _fwhm(im) < ALIKE * _fwhm(left[0])]
        left = left[len(alike) :]
        finest = min(alike, key=lambda im: im.pixel_scale)
        light = _together(alike, finest, frame)
        near = NEAR * _fwhm(alike[-1])
        for blob in _measured(light, _labels(light, len(alike), threshold), finest, frame, alike[-1]):
            if all(np.hypot(blob.x - b.x, blob.y - b.y) > max(near, 0.5 * blob.size) for b in found):
                found.append(blob)
    return sorted(found, key=lambda b: -b.snr)


def _snr(im: Image) -> np.ndarray:
    """Signal-to-noise of a source of the PSF's width at each pixel; 0 where nothing is known."""
    width = max((im.psf.fwhm if im.psf is not None else 1.5) / 2.355, 1.0)
    weight = im.valid / im.variance
    signal, norm_, power = (
        ndimage.gaussian_filter(a, w, mode="constant")
        for a, w in (((im.data - _sky(im.data[im.valid])[0]) * weight, width), (weight, width), (weight, width / np.sqrt(2)))
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        snr = np.where(norm_ > 1e-3 * norm_.max(), signal / np.sqrt(power / (4 * np.pi * width**2)), 0.0)
    return snr / max(_sky(snr[im.valid])[1], 1.0)  # coloured noise makes it wider


def _sky(values: np.ndarray) -> tuple[float, float]:
    """Most frequent value and scatter without what stands out, as in SExtractor (Bertin & Arnouts 1996, A&AS 117, 393)."""
    mean, median, scatter = sigma_clipped_stats(values, sigma=2.5, maxiters=20)
    return float(2.5 * median - 1.5 * mean if abs(mean - median) < 0.3 * scatter else median), float(scatter)


def _together(images: Sequence[Image], finest: Image, frame: Frame) -> np.ndarray:
    """Sum over the images of the squared signal-to-noise where it is positive, on the finest one's pixels."""
    return sum(np.clip(resampled(_snr(im), im, finest, frame), 0, None) ** 2 for im in images)


def _labels(light: np.ndarray, count: int, threshold: float) -> np.ndarray:
    from photutils.segmentation import deblend_sources, detect_sources

    # of what noise makes half is negative, and is not counted: chi² of as many degrees of freedom is an upper limit
    level = float(chi2.isf(norm.sf(threshold), count))
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # that nothing was found is said in our own words
        found = detect_sources(light, level, LEAST)
        if found is None:
            return np.zeros(light.shape, int)
        return np.asarray(deblend_sources(np.sqrt(light), found, LEAST, contrast=CONTRAST, progress_bar=False).data)


def _measured(light: np.ndarray, labels: np.ndarray, im: Image, frame: Frame, widest: Image) -> list[Blob]:
    """Places and shapes of labelled light, the brightest first; points are told by the widest PSF."""
    bright, found = np.sqrt(light), []
    zoom = widest.pixel_scale / im.pixel_scale
    width = max((widest.psf.fwhm if widest.psf is not None else 1.5) / 2.355, 1.0) * np.sqrt(2) * zoom
    point = np.ones((1, 1))
    if widest.psf is not None:
        point = widest.psf.effective()
    point = ndimage.gaussian_filter(np.pad(point, 20), width / zoom / np.sqrt(2))
    apart = np.hypot(*(i - (n - 1) / 2 for i, n in zip(np.indices(point.shape), point.shape, strict=True)))
    for k, box in enumerate(ndimage.find_objects(labels), 1):
        if box is None:
            continue
        f = np.where(labels[box] == k, bright[box], 0.0)
        if not f.sum() > 0:
            continue
        j, i = np.mgrid[box]
        peak = f > 0.5 * f.max()
        cx, cy = ((f * peak * v).sum() / (f * peak).sum() for v in (i, j))
        mxx, myy, mxy = ((f * a).sum() / f.sum() for a in ((i - cx) ** 2, (j - cy) ** 2, (i - cx) * (j - cy)))
        floor = 0.1 * min(mxx, myy)
        x, y, q, pa = placed_ellipse(frame, im, (cx, cy), (max(mxx - width**2, floor), max(myy - width**2, floor), mxy))
        half = _half_light(f, np.hypot(i - cx, j - cy))
        within = np.where(apart <= np.sqrt((labels[box] == k).sum() / np.pi) / zoom, point, 0.0)
        sharp = zoom * _half_light(within, apart)
        size = np.sqrt(max(half**2 - sharp**2, 0.04)) * im.pixel_scale / np.sqrt(q)
        found.append(Blob(x, y, q, pa, size, float(np.sqrt(light[box][labels[box] == k].sum())), half < POINTLIKE * sharp))
    return sorted(found, key=lambda b: -b.snr)


def _half_light(light: np.ndarray, radius: np.ndarray) -> float:
    """Radius within which half of the light of an image lies, by the radius of each pixel."""
    order = np.argsort(radius, axis=None)
    grown = np.cumsum(light.ravel()[order])
    return float(radius.ravel()[order][np.searchsorted(grown, 0.5 * grown[-1])])


def _from_catalog(catalog: Table, im: Image, frame: Frame, found: list[Blob]) -> list[Blob]:
    """A catalogue's objects; shapes from what was `found` there."""
    names = {c.lower(): c for c in catalog.colnames}
    if {"ra", "dec"} <= names.keys():
        places = [frame.offset(p) for p in SkyCoord(catalog[names["ra"]], catalog[names["dec"]], unit="deg")]
    elif {"x", "y"} <= names.keys():
        pixels = zip(catalog[names["x"]], catalog[names["y"]], strict=True)
        places = [tuple(float(v) for v in frame.to_sky(im.placement, float(px), float(py))) for px, py in pixels]
    else:
        raise ValueError(f"A catalogue is to have the columns ra and dec, or x and y (0-based pixels), and there are {', '.join(catalog.colnames)}.")
    kinds = [str(k).lower() for k in catalog[names["type"]]] if "type" in names else [None] * len(places)
    odd = next((k for k in kinds if k not in (None, "point", "galaxy")), None)
    if odd is not None:
        raise ValueError(f"The type of a catalogue's object is to be 'point' or 'galaxy', and {odd!r} stands there.")
    near, out = 0.5 * _fwhm(im), []
    for (x, y), kind in zip(places, kinds, strict=True):
        blob = min(found, key=lambda b: np.hypot(b.x - x, b.y - y), default=None)
        known = blob is not None and np.hypot(blob.x - x, blob.y - y) < max(near, 0.3 * blob.size)
        out.append(replace(blob if known else Blob(x, y, 0.7, 45.0, 2 * im.pixel_scale, 0.0, True), x=x, y=y))
        if kind is not None:
            out[-1].point = kind == "point"
    return out
