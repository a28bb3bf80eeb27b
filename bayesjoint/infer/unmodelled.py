"""Unmodelled light: where the residuals of a fit, taken together over its images, stand out most.

A neighbour, arms or a wrong profile leave residuals that are coherent over the PSF and more. While
there are such, neither the
noise nor registration can be judged from what is left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import ndimage
from scipy.stats import chi2, norm

from bayesjoint.images import Image
from bayesjoint.images.seeing import psf_fwhm, psf_sigma_px
from bayesjoint.infer.warnings import FitWarning, Severity
from bayesjoint.sky.components import Sky, Source
from bayesjoint.sky.extended import Extended

if TYPE_CHECKING:
    from bayesjoint.scene.scene import Scene

__all__ = ["Blob", "blob_warning", "quiet_pixels", "strongest_blob"]

QUIET_SIGMA = 0.5
"""Light of the model, in sigma a pixel, below which a pixel tells of the noise alone."""
QUIET_PIXELS, QUIET_PART = 400, 0.1
"""Such pixels that an image has at least, in all and as a part of those in use: else all of them
are taken."""
SIGNIFICANT = 6.0
"""Significance from which on a residual blob is none of the noise: of the 10⁵ places of a large
image none reaches it by chance."""
LIGHT_FIRST = 1.5
"""How much more significant a hole must be than light to be the one that is told."""
SCALES = (1, 2, 4)
"""Widths in units of the PSF's at which residuals are smoothed, by as many binned pixels."""
SMALLEST_PART = 12
"""Part of an image's side that a smoothing width is at most: with fewer independent places their
scatter is not known."""
TRIALS = 4000
"""Pixels whose scatter is taken."""
SHARP, SAMPLED_FWHM = 0.25, 2.0
"""Light of a pixel's neighbours over its own up to which no star can have made it, where the PSF is
at least as wide (FWHM in pixels)."""
SEEN, SEEN_FAINTLY = 4.0, 2.0
"""Significance from which on an image is said to show a blob: where any does, and where only all of
them together do."""
BODY = 2.0
"""Radii, of half the light or what stands for it (with the PSF's width), within which a blob lies
in a source."""


@dataclass(frozen=True)
class Blob:
    """The strongest residual.

    Parameters
    ----------
    x, y : float
        Place in arcsec East and North of the scene's origin.
    image : str
        Where it is strongest.
    pixel : (float, float)
        Its place there, (x, y), 0-based.
    significance : float
        In sigma, of all images together, for a blob of the PSF's width or a few times that.
    by_image : dict
        Significance by image, in sigma, of those that show it; the largest first.
    positive : bool
        Whether it is light that the model lacks.
    sharp : bool
        Whether it is sharper than the PSF.
    source : str
        That it lies in, or that is nearest.
    inside : bool
        Whether it lies in that source.
    """

    x: float
    y: float
    image: str
    pixel: tuple[float, float]
    significance: float
    by_image: dict[str, float]
    positive: bool
    sharp: bool
    source: str
    inside: bool


def quiet_pixels(
    scene: Scene, values: Mapping[str, float], im: Image, residual: np.ndarray
) -> np.ndarray | None:
    """Pixels of an image whose model is the sky alone; None where there are too few to tell the
    noise.

    Parameters
    ----------
    scene : Scene
    values : mapping
        By site, in their units.
    im : Image
        One of the scene's.
    residual : ndarray, shape (ny, nx)
        (data - model) / sigma, 0 where masked.
    """
    light = im.data - residual * im.sigma
    j, i = (np.arange(n) - (n - 1) / 2 for n in im.shape)
    for c in scene.components:
        if isinstance(c, Sky) and c.sees(im):
            level = {s.name: scene.value(c, s.name, im, values) for s in c.specs}
            light = light - (
                level["level"]
                + level.get("slope_x", 0.0) * i
                + level.get("slope_y", 0.0) * j[:, None]
            )
    quiet = im.valid & (np.abs(light) < QUIET_SIGMA * im.sigma)
    return quiet if quiet.sum() > max(QUIET_PIXELS, QUIET_PART * im.valid.sum()) else None


def strongest_blob(
    scene: Scene,
    values: Mapping[str, float],
    residuals: Mapping[str, np.ndarray],
    quiet: Mapping[str, np.ndarray | None],
) -> Blob | None:
    """The most significant blob of the residuals of all images together; None where none stands out
    of the noise.

    Residuals are smoothed by the PSF's width and by multiples of it, in units of their own scatter
    where the model is faint: what
    noise is made larger, or correlated, does not stand out of itself.

    Parameters
    ----------
    scene : Scene
    values : mapping
        By site, in their units.
    residuals : mapping
        By image: (data - model) / sigma, shape (ny, nx), 0 where masked.
    quiet : mapping
        By image: what `quiet_pixels` gives.
    """
    finest = min(scene.images, key=lambda im: im.pixel_scale)
    best: tuple[float, float, int, float, float] | None = None
    for scale in SCALES:
        maps = {}
        for im in scene.images:
            width = psf_sigma_px(im)
            if scale == 1 or scale * width < min(im.shape) / SMALLEST_PART:
                maps[im.name] = _significance(im, residuals[im.name], quiet[im.name], width, scale)
        if finest.name not in maps:
            continue
        joint = _joint(scene, finest, maps, scale)
        for sign, light in zip((1, -1), joint, strict=True):
            place = np.unravel_index(np.argmax(light), light.shape)
            found = _sigmas(float(light[place]), len(maps))
            rank = found if sign > 0 else found / LIGHT_FIRST
            if found > SIGNIFICANT and (best is None or rank > best[0]):
                best = rank, found, sign, *((p + 0.5) * scale - 0.5 for p in place)
    if best is None:
        return None
    _, significance, sign, row, column = best
    x, y = (float(v) for v in scene.frame.to_sky(finest.placement, column, row))
    by_image, pixels = {}, {}
    for im in scene.images:
        pixels[im.name] = scene.frame.to_pixel(im.placement, x, y)
        by_image[im.name] = sign * _near(im, residuals[im.name], quiet[im.name], pixels[im.name])
    strongest = max(by_image, key=lambda k: by_image[k])
    least = SEEN if by_image[strongest] > SEEN else SEEN_FAINTLY
    shown = {k: v for k, v in sorted(by_image.items(), key=lambda kv: -kv[1]) if v > least}
    image = next(im for im in scene.images if im.name == strongest)
    source, inside = _source_at(scene, values, image, x, y)
    return Blob(
        x,
        y,
        strongest,
        pixels[strongest],
        significance,
        shown,
        sign > 0,
        len(shown) < 2
        and not inside
        and _is_sharp(image, sign * residuals[strongest], pixels[strongest]),
        source,
        inside,
    )


def _significance(
    im: Image, residual: np.ndarray, quiet: np.ndarray | None, width: float, scale: int
) -> np.ndarray:
    """Significance of a blob `scale` times as wide as the PSF at each bin of `scale` pixels, in
    units of its own scatter; 0 where little is known.
    """
    weight = np.where(im.valid, im.typical_sigma / im.sigma, 0.0)
    signal, power = _binned(residual * weight, scale), _binned(weight**2, scale)
    signal = ndimage.gaussian_filter(signal, width, mode="constant", truncate=3.0)
    power = ndimage.gaussian_filter(power, width / np.sqrt(2), mode="constant", truncate=3.0) / (
        4 * np.pi * width**2
    )
    out = np.where(power > 0.05 * power.max(), signal / np.sqrt(np.maximum(power, 1e-300)), 0.0)
    still = im.valid if quiet is None else quiet
    sample = out[_binned(still.astype(float), scale) > 0.5 * scale**2]
    if sample.size < 50:
        sample = out[out != 0]
    sample = sample[:: max(1, sample.size // TRIALS)]
    return out / max(
        1.0, 1.4826 * float(np.median(np.abs(sample - np.median(sample)))) if sample.size else 1.0
    )


def _binned(a: np.ndarray, scale: int) -> np.ndarray:
    """Sums over bins of `scale` x `scale` pixels; what is left over at the edges is dropped."""
    if scale == 1:
        return a
    ny, nx = (n // scale for n in a.shape)
    return a[: ny * scale, : nx * scale].reshape(ny, scale, nx, scale).sum((1, 3))


def _joint(
    scene: Scene, finest: Image, maps: Mapping[str, np.ndarray], scale: int
) -> tuple[np.ndarray, np.ndarray]:
    """Sums over the images of the squared significance, where it is positive and where it is
    negative, on the bins of the finest image.
    """
    shape = maps[finest.name].shape
    positive, negative = np.zeros(shape), np.zeros(shape)
    j, i = ((np.arange(n) + 0.5) * scale - 0.5 for n in shape)
    for im in scene.images:
        if im.name not in maps:
            continue
        light = maps[im.name]
        if im is not finest:
            rows, columns = _pixels(scene, finest, im, i, j)
            rows, columns = (np.rint((p + 0.5) / scale - 0.5).astype(int) for p in (rows, columns))
            inside = (
                (rows >= 0) & (rows < light.shape[0]) & (columns >= 0) & (columns < light.shape[1])
            )
            light = np.where(
                inside, light[np.where(inside, rows, 0), np.where(inside, columns, 0)], 0.0
            )
        positive += np.clip(light, 0, None) ** 2
        negative += np.clip(light, None, 0) ** 2
    return positive, negative


def _pixels(
    scene: Scene, of: Image, on: Image, i: np.ndarray, j: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of an image at the places of another's columns `i` and rows `j`: both maps
    to the sky linear about their middles.
    """
    mx, my = of.placement.middle
    x0, y0 = (float(v) for v in scene.frame.to_sky(of.placement, mx, my))
    px, py = scene.frame.to_pixel(on.placement, x0, y0)
    a = np.linalg.inv(scene.frame.jacobian(on.placement, px, py)) @ scene.frame.jacobian(
        of.placement, mx, my
    )
    dx, dy = i - mx, (j - my)[:, None]
    return py + a[1, 0] * dx + a[1, 1] * dy, px + a[0, 0] * dx + a[0, 1] * dy


def _sigmas(joint: float, count: int) -> float:
    """Gaussian significance of a sum of squares over `count` images."""
    if count == 1 or joint > 600:  # the tail is beyond double precision
        return float(np.sqrt(joint))
    return float(norm.isf(chi2.sf(joint, count)))


def _near(
    im: Image, residual: np.ndarray, quiet: np.ndarray | None, pixel: tuple[float, float]
) -> float:
    """Largest signed significance at the scale of the PSF within its width of a pixel."""
    column, row = pixel
    if not (-0.5 <= column < im.shape[1] - 0.5 and -0.5 <= row < im.shape[0] - 0.5):
        return 0.0
    light = _significance(im, residual, quiet, psf_sigma_px(im), 1)
    reach = round(psf_sigma_px(im))
    part = light[
        max(round(row) - reach, 0) : round(row) + reach + 1,
        max(round(column) - reach, 0) : round(column) + reach + 1,
    ]
    return float(part.flat[np.argmax(np.abs(part))]) if part.size else 0.0


def _is_sharp(im: Image, residual: np.ndarray, pixel: tuple[float, float]) -> bool:
    """Whether a blob is sharper than the PSF: the neighbours of its brightest pixel have next to
    none of its light.
    """
    if im.psf is None or im.psf.fwhm < SAMPLED_FWHM:
        return False
    column, row = (round(p) for p in pixel)
    reach = int(np.ceil(2 * psf_sigma_px(im)))
    rows, columns = (slice(max(p - reach, 0), p + reach + 1) for p in (row, column))
    part = residual[rows, columns]
    if not part.size:
        return False
    peak = np.unravel_index(np.argmax(part), part.shape)
    padded = np.pad(residual, 1)
    j, i = peak[0] + rows.start + 1, peak[1] + columns.start + 1
    beside = np.array([padded[j - 1, i], padded[j + 1, i], padded[j, i - 1], padded[j, i + 1]])
    return bool(np.median(beside) < SHARP * part[peak])


def _source_at(
    scene: Scene, values: Mapping[str, float], im: Image, x: float, y: float
) -> tuple[str, bool]:
    """The nearest source in units of its size, and whether a place in arcsec lies in it."""
    blur = psf_fwhm(im)
    near: list[tuple[float, str]] = []
    for c in scene.components:
        if not isinstance(c, Source) or not c.sees(im):
            continue
        dx, dy = x - scene.value(c, "x", im, values), y - scene.value(c, "y", im, values)
        size, q, pa = 0.0, 1.0, 0.0
        if isinstance(c, Extended):
            params = [
                torch.tensor(scene.value(c, k, im, values), dtype=torch.float64)
                for k in c.light_params
            ]
            size = min(float(c.scale(*params)), 0.25 * max(im.shape) * im.pixel_scale)
            q, pa = (scene.value(c, k, im, values) for k in ("q", "pa"))
        s, k = np.sin(np.radians(pa)), np.cos(np.radians(pa))
        major, minor = dx * s + dy * k, dx * k - dy * s
        near.append(
            (
                float(
                    np.hypot(major / np.hypot(size, blur / 2), minor / np.hypot(q * size, blur / 2))
                ),
                c.name,
            )
        )
    if not near:
        return "", False
    distance, name = min(near)
    return name, distance < BODY


def blob_warning(scene: Scene, blob: Blob, reduced: Mapping[str, float]) -> FitWarning:
    """What is to be said of the strongest residual.

    Parameters
    ----------
    scene : Scene
    blob : Blob
        From `strongest_blob`.
    reduced : mapping
        Reduced chi² of the images in which it says that the model is wrong, so that what else the
        residuals show is not said.
    """
    position = {"x": blob.x, "y": blob.y}
    place = f'x = {_signed(blob.x)}", y = {_signed(blob.y)}"'
    if scene.frame.reference is not None:
        sky = scene.frame.sky(blob.x, blob.y)
        position |= {"ra": float(sky.ra.deg), "dec": float(sky.dec.deg)}
        place += f" (RA {position['ra']:.6f}, Dec {position['dec']:+.6f} deg)"
    place += f", pixel ({round(blob.pixel[0])}, {round(blob.pixel[1])}) of {blob.image}"
    size = (
        f"{blob.significance:.0f} sigma in {_listed(blob.by_image)}"
        if blob.by_image
        else f"{blob.significance:.0f} sigma"
    )
    if reduced:
        worst = max(reduced, key=lambda k: reduced[k])
        size += f"; reduced chi2 is {reduced[worst]:.2f} in {worst}"
    later = (
        " Noise, registration and zeropoints can be judged once the model holds it."
        if reduced
        else ""
    )
    kind = "unmodelled light"
    if blob.positive and blob.sharp:
        kind = "bad pixels"
        text = f"A residual sharper than the PSF at {place}: {size}."
        remedy = "It is a cosmic ray or a bad pixel: mask it."
    elif blob.positive and not blob.inside:
        text = f"The data have light that the model lacks at {place}: {size}."
        remedy = f"Add a source there, such as bj.Point('neighbour', position=({blob.x:.2f}, {blob.y:.2f})), or mask it."
    elif blob.positive:
        text = f"The data have light that the model lacks within {blob.source}, at {place}: {size}."
        remedy = (
            "It is a neighbour in front, structure of its own (a nucleus, bar, arms, disc) or a PSF that is too broad: look at best.plot(), and add "
            "a component there or mask it."
        )
    else:
        kind = "too bright"
        text = f"The model is too bright {'within' if blob.inside else 'near'} {blob.source}, at {place}: {size}."
        remedy = (
            "Look at best.plot(): the profile of the source, the PSF or the sky is not right there."
        )
    return FitWarning(
        kind,
        Severity.WARNING,
        text,
        remedy + later,
        images=tuple(blob.by_image) or (blob.image,),
        sources=(blob.source,) if blob.source else (),
        value=blob.significance,
        position=position,
    )


def _signed(v: float) -> str:
    """With its sign and two digits, and never -0.00."""
    return f"{round(v, 2) + 0.0:+.2f}"


def _listed(by_image: Mapping[str, float], most: int = 3) -> str:
    names: Sequence[str] = list(by_image)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return (
        ", ".join(f"{k} ({by_image[k]:.0f})" if len(names) > 1 else k for k in names[:most]) + more
    )
