"""Detection: what stands out of images, or of what a fit leaves of them; and a first model of it.

Needed where nobody says what is on the images. `bayesjoint.infer.crowd` repeats it on the
residuals.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyro.distributions as dist
import torch
from astropy.stats import sigma_clipped_stats
from astropy.table import Table
from scipy import ndimage
from scipy.stats import chi2, norm

from bayesjoint.images import Frame, Image
from bayesjoint.images.resample import resampled
from bayesjoint.images.seeing import psf_fwhm, psf_sigma_px
from bayesjoint.log import log
from bayesjoint.scene.catalogue import object_kinds, object_names, object_places
from bayesjoint.scene.starts import Blob, placed_ellipse
from bayesjoint.sky.components import Point, Source
from bayesjoint.sky.extended import Extended
from bayesjoint.sky.groups import Group
from bayesjoint.sky.parameters import Param, Ref

__all__ = [
    "DOUBLE",
    "GALAXY",
    "POINT",
    "Candidate",
    "Significance",
    "detect",
    "from_catalog",
    "from_segments",
    "make_group",
    "point_noise",
    "say_noise",
    "significance",
]

POINT, GALAXY, DOUBLE = "point", "galaxy", "double"
"""Models of an object: a point, one profile, two profiles about one centre."""
DEBLENDED_PX = 5
"""Pixels of the finest image that each of several objects in one patch has at least."""
CONTRAST = 0.005
"""Part of a patch's light from which on a peak of its own is an object of its own
(`photutils.segmentation.deblend_sources`)."""
PROMINENT, PROMINENT_PART = 3.0, 0.1
"""What a peak is to rise above the highest way to a brighter one: in sigma, and as a part of the
height of that."""
MARGIN_PX = 10
"""Pixels about an object within which such a way is looked for."""
ALIKE_PSF = 1.6
"""Ratio of the PSFs' widths up to which images are searched together."""
SAME_FWHM = 0.7
"""Distance, in units of the wider PSF's width, at which two detections are one object."""
PLACE_FWHM, SIZE_WIDTH = 0.2, 0.5
"""Widths of the priors of a place, in units of the sharpest PSF's, and of the logarithm of a size:
an object stays the one that was found."""
FAINT_SIGMA, FLUX_WIDTH = 20.0, 3.0
"""Median of positive fluxes' priors in units of a point's noise, and the width of their
logarithm."""
POINTLIKE, POINTLIKE_NOISE = 1.15, 1.0
"""Half-light radius in units of the PSF's up to which an object is taken for a point, and what is
added, over its peak's significance, for noise."""
OUTER, INNER, INNER_WIDTH = 1.5, 0.4, 0.7
"""Sizes of two profiles about one centre, in units of that of one alone, and the width of the
logarithm of the smaller."""
FILTERS, FILTER_GAIN = (1.0, 0.7, 0.5), 0.95
"""Widths of detection filters in units of the PSF's; a narrower one is taken if it lowers a point's
error to this part."""
CLIPPED = 0.9355
"""Scatter of Normal numbers after repeated clipping at 2.5 sigma."""
NOISE_SAMPLES = 50
"""Independent values of filtered noise from which its scatter is known to a tenth."""
NOISE_OFF, NAMED = 0.2, 3
"""Departure of the noise from the stated from which on it is said, and images that are named
then."""
NOISELESS, OVERSTATED = 0.1, 0.8
"""Measured noise, in units of the stated, below which pixels have none, and above which fewer than
stated may be chance."""


@dataclass(frozen=True)
class Significance:
    """How far a point at each pixel of an image stands out.

    Parameters
    ----------
    noise_only, total : ndarray, shape (ny, nx)
        Its signal over the noise measured on the scale of the PSF, and over that noise and the
        error of a model together.
    noise : float
        That noise over what the stated sigma makes of it.
    """

    noise_only: np.ndarray
    total: np.ndarray
    noise: float


@dataclass
class Candidate:
    """An object: its name, its light where it was found, and what it is modelled by (`POINT`,
    `GALAXY`, `DOUBLE`).
    """

    name: str
    blob: Blob
    model: str = POINT


def point_noise(im: Image) -> float:
    """Error of a point's flux by the stated sigma, in nJy (or image units)."""
    return im.typical_sigma * np.sqrt(4 * np.pi) * psf_sigma_px(im, least=0.5) / im.unit_flux


# -- how far light stands out ---------------------------------------------------------------------
def significance(
    im: Image, residual: np.ndarray | None = None, model_error: np.ndarray | None = None
) -> Significance:
    """How far a point at each pixel stands out of an image, or of its residuals.

    The filter is a Gaussian as wide as the PSF, which is best for white noise; a narrower one is
    taken where the noise is correlated over the PSF, as confusion is (Chapin et al. 2011, MNRAS
    411, 505), so that it makes a point's error smaller.

    Parameters
    ----------
    im : Image
    residual : ndarray, shape (ny, nx), optional
        Data less model in image units; default, the data.
    model_error : ndarray, shape (ny, nx), optional
        What the model may be wrong by at each pixel, in image units.
    """
    psf, weight = psf_sigma_px(im), im.valid / im.variance
    light = im.data if residual is None else residual
    light = np.where(im.valid, light - _sky(light[im.valid])[0], 0.0)
    best: tuple[float, np.ndarray, np.ndarray, float] | None = None
    for part in FILTERS:
        width = part * psf
        coverage = _smooth(weight, width)
        power = _smooth(weight, width / np.sqrt(2)) / (4 * np.pi * width**2)
        with np.errstate(divide="ignore", invalid="ignore"):
            known = (coverage > 1e-3 * coverage.max()) & (power > 1e-6 * power.max())
            scale = np.where(known, 1 / np.sqrt(power), 0.0)
        snr = _smooth(light * weight, width) * scale
        wrong = (
            np.zeros_like(snr)
            if model_error is None
            else _smooth(model_error * weight, width) * scale
        )
        scatter = _sky(snr[_undisturbed(im.valid, wrong, width)])[1] / CLIPPED
        # error of a point's flux, over that of the best filter in white noise of the stated sigma
        error = scatter * (psf**2 + width**2) / (2 * psf * width)
        if best is None or error < FILTER_GAIN * best[0]:
            best = error, snr, wrong, scatter
    _, snr, wrong, scatter = best
    if scatter < NOISELESS or OVERSTATED < scatter < 1:
        scatter = 1.0
    return Significance(snr / scatter, snr / np.hypot(scatter, wrong), scatter)


def _undisturbed(valid: np.ndarray, wrong: np.ndarray, width: float) -> np.ndarray:
    """Pixels on which noise is measured: those where errors of the model stay below it.

    Where light covers nearly all of an image they are those of least error, as many as tell the
    noise to a tenth.
    """
    least = min(valid.sum(), round(NOISE_SAMPLES * 4 * np.pi * width**2))
    level = np.partition(wrong[valid], least - 1)[least - 1] if least else 0.0
    return valid & (wrong <= max(level, 1.0))


def say_noise(noise: Mapping[str, float], remedy: str) -> None:
    """Warn of images whose noise on the scale of the PSF is not as stated.

    Parameters
    ----------
    noise : mapping
        By image, measured noise over what the stated sigma makes of it.
    remedy : str
        What follows from it.
    """
    off = [f"{name} ({v:.2f})" for name, v in noise.items() if abs(v - 1) > NOISE_OFF]
    if off:
        more = f" and {len(off) - NAMED} more" if len(off) > NAMED else ""
        log.warning(
            "Noise on the scale of the PSF is not what the stated sigma makes it: "
            "%s times that. %s",
            ", ".join(off[:NAMED]) + more,
            remedy,
        )


def _smooth(a: np.ndarray, width: float) -> np.ndarray:
    return ndimage.gaussian_filter(a, width, mode="constant")


def _sky(values: np.ndarray) -> tuple[float, float]:
    """Most frequent value and scatter without what stands out, as in SExtractor (Bertin & Arnouts
    1996, A&AS 117, 393).
    """
    mean, median, scatter = sigma_clipped_stats(values, sigma=2.5, maxiters=20)
    return float(
        2.5 * median - 1.5 * mean if abs(mean - median) < 0.3 * scatter else median
    ), float(scatter)


def _together(
    snrs: Sequence[np.ndarray], images: Sequence[Image], finest: Image, frame: Frame
) -> np.ndarray:
    """Sum over the images of the squared signal-to-noise where it is positive, on the finest one's
    pixels.
    """
    return sum(
        np.clip(resampled(s, im, finest, frame), 0, None) ** 2
        for s, im in zip(snrs, images, strict=True)
    )


# -- objects --------------------------------------------------------------------------------------
def detect(
    images: Sequence[Image], snrs: Sequence[np.ndarray], frame: Frame, threshold: float
) -> list[Blob]:
    """Objects of the images of alike sharpness together and of each alone, those of the sharpest
    first in doubt; the brightest first.

    Parameters
    ----------
    images : sequence of Image
    snrs : sequence of ndarray, shape (ny, nx) of each image
        Signal-to-noise of a point at each pixel.
    frame : Frame
        The tangent plane.
    threshold : float
        Significance of a peak, in sigma of a Normal.
    """
    found: list[Blob] = []
    left = sorted(zip(images, snrs, strict=True), key=lambda pair: psf_fwhm(pair[0]))
    while left:
        alike = [p for p in left if psf_fwhm(p[0]) < ALIKE_PSF * psf_fwhm(left[0][0])]
        left = left[len(alike) :]
        group = [im for im, _ in alike]
        finest = min(group, key=lambda im: im.pixel_scale)
        light = _together([s for _, s in alike], group, finest, frame)
        labels = _labels(light, len(alike), threshold)
        near = SAME_FWHM * psf_fwhm(group[-1])

        def add(blobs: list[Blob], near: float) -> None:
            for blob in blobs:
                if all(
                    np.hypot(blob.x - b.x, blob.y - b.y) > max(near, 0.5 * blob.size) for b in found
                ):
                    found.append(blob)

        add([b for _, b in _measured(light, labels, finest, frame, group[-1])], near)
        for im, snr in alike if len(alike) > 1 else ():
            own = np.clip(snr, 0, None) ** 2
            blobs = [b for _, b in _measured(own, _labels(own, 1, threshold), im, frame, im)]
            add([b for b in blobs if not _value_at(labels, finest, frame, b)], near)
    return sorted(found, key=lambda b: -b.snr)


def _value_at(array: np.ndarray, im: Image, frame: Frame, blob: Blob) -> float:
    """Value of an image's pixel under a blob; 0 off the image."""
    px, py = (round(v) for v in frame.to_pixel(im.placement, blob.x, blob.y))
    ny, nx = array.shape
    return float(array[py, px]) if 0 <= px < nx and 0 <= py < ny else 0.0


def _labels(light: np.ndarray, count: int, threshold: float) -> np.ndarray:
    from photutils.segmentation import deblend_sources, detect_sources

    # of what noise makes half is negative, and is not counted: chi² of as many degrees of freedom
    # is an upper limit
    level = float(chi2.isf(norm.sf(threshold), count))
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # that nothing was found is said in our own words
        found = detect_sources(
            light, level, 1
        )  # after the filter a single pixel is as significant as its value
        if found is None:
            return np.zeros(light.shape, int)
        parts = deblend_sources(
            np.sqrt(light), found, DEBLENDED_PX, contrast=CONTRAST, progress_bar=False
        ).data
    return _merged(np.sqrt(light), np.asarray(parts))


def _merged(snr: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Labels without those whose peaks hardly rise above the way to a higher one: they join
    that.
    """
    count = int(labels.max())
    peaks = ndimage.maximum(snr, labels, np.arange(count + 1))
    owner, boxes = np.arange(count + 1), ndimage.find_objects(labels)
    for k in (np.argsort(peaks[1:]) + 1).tolist():
        margin = MARGIN_PX + max(s.stop - s.start for s in boxes[k - 1])
        part = tuple(slice(max(s.start - margin, 0), s.stop + margin) for s in boxes[k - 1])
        above = snr[part] > min(peaks[k] - PROMINENT, peaks[k] / (1 + PROMINENT_PART))
        islands, _ = ndimage.label(above)
        peak = np.argmax(np.where(labels[part] == k, snr[part], -np.inf))
        island = islands == islands.ravel()[peak]
        highest = int(labels[part].ravel()[np.argmax(np.where(island, snr[part], -np.inf))])
        if highest and peaks[highest] > peaks[k]:
            owner[k] = highest
    while (owner != owner[owner]).any():
        owner = owner[owner]
    return owner[labels]


def _measured(
    light: np.ndarray, labels: np.ndarray, im: Image, frame: Frame, widest: Image
) -> list[tuple[int, Blob]]:
    """Labels, places and shapes of labelled light, the brightest first; points are told by the
    widest PSF.
    """
    bright, found = np.sqrt(light), []
    zoom = widest.pixel_scale / im.pixel_scale
    width = psf_sigma_px(widest) * np.sqrt(2) * zoom
    point = np.ones((1, 1))
    if widest.psf is not None:
        point = widest.psf.effective()
    point = ndimage.gaussian_filter(np.pad(point, 20), width / zoom / np.sqrt(2))
    apart = np.hypot(
        *(i - (n - 1) / 2 for i, n in zip(np.indices(point.shape), point.shape, strict=True))
    )
    for k, box in enumerate(ndimage.find_objects(labels), 1):
        if box is None:
            continue
        inside = labels[box] == k
        f = np.where(inside, bright[box], 0.0)
        dark = not f.sum() > 0
        if dark:  # a segment where nothing stands out: its shape alone
            f = inside.astype(float)
        j, i = np.mgrid[box]
        cx, cy = (
            _peak(f, i, j)
            if inside.sum() < 2 * DEBLENDED_PX
            else _centroid(f * (f > 0.5 * f.max()), i, j)
        )
        mxx, myy, mxy = (
            (f * a).sum() / f.sum() for a in ((i - cx) ** 2, (j - cy) ** 2, (i - cx) * (j - cy))
        )
        floor = 0.1 * min(mxx, myy)
        moments = max(mxx - width**2, floor, 1e-3), max(myy - width**2, floor, 1e-3), mxy
        x, y, q, pa = placed_ellipse(frame, im, (cx, cy), moments)
        half = _half_light(f, np.hypot(i - cx, j - cy))
        within = np.where(apart <= np.sqrt(inside.sum() / np.pi) / zoom, point, 0.0)
        sharp = zoom * _half_light(within, apart)
        size = np.sqrt(max(half**2 - sharp**2, 0.04)) * im.pixel_scale / np.sqrt(q)
        snr = float(np.sqrt(light[box][inside].sum()))
        limit = POINTLIKE + POINTLIKE_NOISE / max(float(f.max()), 1.0)
        small = dark or inside.sum() < DEBLENDED_PX  # nothing is measured of its shape
        found.append((k, Blob(x, y, q, pa, size, snr, small or half < limit * sharp)))
    return sorted(found, key=lambda pair: -pair[1].snr)


def _centroid(f: np.ndarray, i: np.ndarray, j: np.ndarray) -> tuple[float, float]:
    return float((f * i).sum() / f.sum()), float((f * j).sum() / f.sum())


def _peak(f: np.ndarray, i: np.ndarray, j: np.ndarray) -> tuple[float, float]:
    """Place of the highest pixel, between pixels by the parabola through its neighbours."""
    row, col = np.unravel_index(f.argmax(), f.shape)
    padded = np.pad(f, 1)

    def vertex(low: float, middle: float, high: float) -> float:
        bend = 2 * middle - low - high
        return 0.5 * (high - low) / bend if min(low, high) > 0 and bend > 0 else 0.0

    dx = vertex(*padded[row + 1, col : col + 3])
    dy = vertex(*padded[row : row + 3, col + 1])
    return float(i[row, col] + dx), float(j[row, col] + dy)


def _half_light(light: np.ndarray, radius: np.ndarray) -> float:
    """Radius within which half of the light of an image lies, by the radius of each pixel."""
    order = np.argsort(radius, axis=None)
    grown = np.cumsum(light.ravel()[order])
    return float(radius.ravel()[order][np.searchsorted(grown, 0.5 * grown[-1])])


# -- what others say is there ---------------------------------------------------------------------
def from_segments(
    segmentation: Any,
    images: Sequence[Image],
    snrs: Sequence[np.ndarray],
    finest: Image,
    frame: Frame,
) -> list[Candidate]:
    """Objects of a segmentation map, named by its labels ("object 17"), in the order of their
    brightness.

    Parameters
    ----------
    segmentation : photutils SegmentationImage or 2-d array of int
        On the pixels of `finest`, 0 for sky.
    images : sequence of Image
    snrs : sequence of ndarray, shape (ny, nx) of each image
        Signal-to-noise of a point at each pixel.
    finest : Image
        The image of the finest pixels.
    frame : Frame
        The tangent plane.

    Raises
    ------
    ValueError
        For a map of another shape, or of no integers.
    """
    labels = np.asarray(getattr(segmentation, "data", segmentation))
    if labels.shape != finest.shape:
        raise ValueError(
            f"The segmentation must have the shape {finest.shape} of the image of finest pixels "
            f"({finest.name or finest.band}); got {labels.shape}."
        )
    if labels.dtype.kind == "f" and (labels == np.round(labels)).all():
        labels = labels.astype(np.int64)
    if labels.dtype.kind not in "iub" or labels.min() < 0:
        raise ValueError(
            f"The segmentation must be of integers from 0 (sky) on; got {labels.dtype} from "
            f"{labels.min()} on."
        )
    known = np.unique(labels[labels > 0])
    compact = np.searchsorted(known, labels) + 1
    compact[labels == 0] = 0
    seen = finest.valid.copy()
    for im in images:
        if im is not finest:
            seen |= resampled(im.valid.astype(float), im, finest, frame) > 0.5
    hidden = {k: 1 - float(seen[compact == k].mean()) for k in range(1, len(known) + 1)}
    whole = [str(known[k - 1]) for k, part in hidden.items() if part == 1]
    if whole:
        few = ", ".join(whole[:5]) + (f" and {len(whole) - 5} more" if len(whole) > 5 else "")
        log.warning(
            "Segment%s %s lie%s wholly in the mask of every image: no object is made of %s.",
            *(("s", few, "", "them") if len(whole) > 1 else ("", few, "s", "it")),
        )
    light = _together(snrs, images, finest, frame)
    measured = _measured(
        light, np.where(seen, compact, 0), finest, frame, max(images, key=psf_fwhm)
    )
    return [
        Candidate(f"object {known[k - 1]}", b, POINT if b.point else GALAXY) for k, b in measured
    ]


def from_catalog(catalog: Table, im: Image, frame: Frame, found: Sequence[Blob]) -> list[Candidate]:
    """A catalogue's objects, in its order and by its names; shapes from what was `found` there.

    Parameters
    ----------
    catalog : Table
        See `scene_from`.
    im : Image
        On whose pixels x and y are.
    frame : Frame
        The tangent plane.
    found : sequence of Blob
        What stands out of the images.

    Raises
    ------
    ValueError
        For a catalogue without places, rows that lack one, or names that clash.
    """
    near, out = 0.5 * psf_fwhm(im), []
    rows = zip(
        object_names(catalog), object_places(catalog, im, frame), object_kinds(catalog), strict=True
    )
    for row, (name, (x, y), kind) in enumerate(rows):
        if not np.isfinite([x, y]).all():
            raise ValueError(
                f"Every object of a catalogue must have a place; got none in row {row} (from 0), "
                f"{name!r}. Leave that row out."
            )
        blob = min(found, key=lambda b: np.hypot(b.x - x, b.y - y), default=None)
        known = blob is not None and np.hypot(blob.x - x, blob.y - y) < max(near, 0.3 * blob.size)
        blob = replace(
            blob if known else Blob(x, y, 0.7, 45.0, 2 * im.pixel_scale, 0.0, True), x=x, y=y
        )
        out.append(Candidate(name, blob, kind or (POINT if blob.point else GALAXY)))
    return out


# -- a model of it --------------------------------------------------------------------------------
def make_group(
    candidate: Candidate,
    images: Sequence[Image],
    galaxy: type[Extended],
    window: Any,
    positive_flux: float | None,
    loose: float,
    starts: Mapping[str, float] | None = None,
) -> Group:
    """The components of one object, with priors about what was found.

    Parameters
    ----------
    candidate : Candidate
    images : sequence of Image
    galaxy : type
        What an extended object is made of.
    window : optional
        Of what is extended; see `Source`.
    positive_flux : float or None
        Median of its fluxes' prior, in nJy (or image units); None for the default prior.
    loose : float
        How far images may be off, in arcsec.
    starts : mapping, optional
        Where a fit begins, by site in arcsec and degree, for those of its sites that are known; a
        size and an index that are not begin at what was found. None: all are read from the pixels.
    """
    sharp, blob = min(psf_fwhm(im) for im in images), candidate.blob

    def prior(kind: Any, middle: float, width: float) -> Any:
        return kind(
            torch.tensor(middle, dtype=torch.float64), torch.tensor(width, dtype=torch.float64)
        )

    # a spread-out object is placed less well than a point
    width = float(
        np.hypot(PLACE_FWHM * (sharp + (0.0 if candidate.model == POINT else blob.size)), loose)
    )
    place = {"x": prior(dist.Normal, blob.x, width), "y": prior(dist.Normal, blob.y, width)}
    flux = (
        {}
        if positive_flux is None
        else {"flux": prior(dist.LogNormal, np.log(positive_flux), FLUX_WIDTH)}
    )

    def part(
        kind: type[Source], name: str, given: dict[str, Any], begin: dict[str, float]
    ) -> Source:
        known = {s.name: s for s in kind(name).specs if s.unit != "flux" and s.per == "scene"}
        for key in known if starts is not None else ():
            if isinstance(given.get(key), Ref):
                continue
            at = starts.get(f"{candidate.name}.{name}.{key}", begin.get(key))
            if at is not None:
                given[key] = Param(prior=given.get(key), start=float(at))
        return kind(name, **given)

    if candidate.model == POINT:
        return Group(candidate.name, [_hinted(part(Point, "point", {**place, **flux}, {}), blob)])

    def profile(
        name: str, place: dict[str, Any], factor: float, width: float, index: float
    ) -> Source:
        size = max(factor * blob.size, 0.3 * sharp)
        sized = any(s.name == "r_eff" for s in galaxy("g").specs)
        given = {**place, **flux, "window": window} | (
            {"r_eff": prior(dist.LogNormal, np.log(size), width)} if sized else {}
        )
        return _hinted(
            part(galaxy, name, given, {"r_eff": size, "n": index}), replace(blob, size=size)
        )

    if candidate.model == GALAXY:
        return Group(candidate.name, [profile("galaxy", place, 1.0, SIZE_WIDTH, 1.0)])
    outer = profile("galaxy", place, OUTER, SIZE_WIDTH, 1.0)
    return Group(
        candidate.name,
        [outer, profile("inner", {"x": outer.x, "y": outer.y}, INNER, INNER_WIDTH, 2.0)],
    )


def _hinted(source: Source, blob: Blob) -> Source:
    source.hint = blob
    return source
