"""Reach: how much of a PSF larger than its image is drawn, and where a PSF that varies is taken.

Both are decided in units of the noise, from the light at hand, and written into the plan.

A PSF of 301 x 301 pixels on an image of 201 x 201 would make each FFT that of 501 x 501, of which
nearly all is far wings of light far outside the frame. How much of it may go depends on the scene:
a bright star's wings fill the frame, and a big galaxy's light beyond the edge is scattered in by
the PSF's centre. So it is measured: the light of all sources, summed in cells of a few pixels on
the frame and as far around it as the PSF reaches, is convolved with what would be left away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from bayesjoint.images import PSF, Image
from bayesjoint.render.stamp import StampPlan
from bayesjoint.sky.components import Source
from bayesjoint.sky.extended import Extended

if TYPE_CHECKING:
    from bayesjoint.scene.scene import Scene

__all__ = [
    "is_short",
    "own_place",
    "place_errors",
    "psf_reach",
    "shared_place",
    "source_pixel",
    "widened",
]

Place = tuple[float, float]
Plans = dict[str, dict[str, StampPlan]]

LEFT_AWAY = 0.02
"""Light that either cut may lose, root of the sum of squares in units of the noise."""
SHARED = 0.01
"""Error of all sources of an image together by taking a neighbour's PSF, in units of the noise."""
LEAST_SNR = 100.0
"""Signal-to-noise of a point for which both are planned at least: fluxes at a start may be 0."""
CELLS = 80
"""Cells along the longer side of frame and PSF."""
LEAST_MARGIN, LEAST_REACH = 16, 8
"""Pixels that are kept at least: near its end a grid is inexact, and a PSF has a centre."""
SPARE = 1.15
"""Ratio by which a reach may be too small before the plan is made anew."""


def source_pixel(scene: Scene, values: Mapping[str, float], im: Image, c: Source) -> Place:
    """Where a source lies in an image, in pixels (x, y)."""
    x, y = (scene.value(c, k, im, values) for k in ("x", "y"))
    px, py = scene.frame.to_pixel(im.placement, x, y)
    return float(px), float(py)


# -- PSFs larger than the image -------------------------------------------------------------------
def psf_reach(
    scene: Scene, values: Mapping[str, float], im: Image
) -> tuple[int | None, int | None]:
    """How far an image's PSF is drawn, and from how far beyond the frame light is scattered in.

    Returns
    -------
    reach, margin : int or None
        In pixels; None: as far as the PSF reaches. A PSF that fits into the image is never cut.
    """
    psf = im.psf
    if psf is None or all(p <= n for p, n in zip(psf.native_shape, im.shape, strict=True)):
        return None, None
    half = [p // 2 for p in psf.native_shape]
    longest = max(n + p for n, p in zip(im.shape, psf.native_shape, strict=True))
    width = max(1, longest // CELLS) | 1  # odd: a cell lies about the PSF's centre
    around = (-(-half[0] // width), -(-half[1] // width))
    frame = (-(-im.shape[0] // width), -(-im.shape[1] // width))
    noise = _noise(im)
    floor = LEAST_SNR * noise / _norm(psf)
    light = np.zeros((frame[0] + 2 * around[0], frame[1] + 2 * around[1]))
    for c in scene.components:
        if isinstance(c, Source) and c.sees(im):
            light += _light(scene, values, im, c, width, around, light.shape, floor)
    kernel = _cells(psf, width, around)
    size = tuple(n + k - 1 for n, k in zip(light.shape, kernel.shape, strict=True))
    spectra = np.fft.rfft2(light, size), np.fft.rfft2(kernel, size)
    seen = tuple(slice(2 * a, 2 * a + f) for a, f in zip(around, frame, strict=True))

    def lost(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.sqrt((np.fft.irfft2(a * b, size)[seen] ** 2).sum()) / (width * noise))

    def beyond(k: int, shape: Sequence[int], inner: Sequence[int]) -> np.ndarray:
        """1 outside the middle of a shape, which is larger than `inner` by k cells all round."""
        mask = np.ones(shape)
        edges = [
            ((n - i) // 2 - k, (n + i + 1) // 2 + k) for n, i in zip(shape, inner, strict=True)
        ]
        rows, cols = (slice(max(lo, 0), hi) for lo, hi in edges)
        mask[rows, cols] = 0
        return mask

    def wings(k: int) -> float:
        return lost(spectra[0], np.fft.rfft2(kernel * beyond(k, kernel.shape, (1, 1)), size))

    def outskirts(k: int) -> float:
        return lost(np.fft.rfft2(light * beyond(k, light.shape, frame), size), spectra[1])

    reach, margin = _least(wings, max(around)), _least(outskirts, max(around))
    # pixels of cells that are so many apart lie up to one cell further from each other
    reach_px = max((reach + 1) * width, LEAST_REACH + int(np.ceil(2 * psf.fwhm)))
    over = max(f * width - n for f, n in zip(frame, im.shape, strict=True))  # of the last cells
    margin_px = max(margin * width + over, LEAST_MARGIN)
    return (
        reach_px if reach_px < max(half) else None,
        margin_px if margin_px < min(max(half), reach_px) else None,
    )


def _least(lost: Callable[[int], float], most: int) -> int:
    """The smallest number of cells beyond which little enough is lost, by bisection."""
    low, high = -1, most
    while high - low > 1:
        k = (low + high) // 2
        low, high = (low, k) if lost(k) <= LEFT_AWAY else (k, high)
    return high


def _light(
    scene: Scene,
    values: Mapping[str, float],
    im: Image,
    c: Source,
    width: int,
    around: tuple[int, int],
    shape: tuple[int, int],
    floor: float,
) -> np.ndarray:
    """A source's light in cells, in image units: what they do not resolve is in its central one."""
    out = np.zeros(shape)
    px, py = source_pixel(scene, values, im, c)
    flux = abs(scene.value(c, "flux", im, values)) * im.unit_flux
    flux = max(flux, floor) if np.isfinite(flux) else floor
    if not (np.isfinite(px) and np.isfinite(py)):
        px, py = im.placement.middle
    j, i = (int((p + 0.5) // width) + a for p, a in ((py, around[0]), (px, around[1])))
    here = 0 <= j < shape[0] and 0 <= i < shape[1]
    if isinstance(c, Extended):
        rows, cols = (
            (np.arange(n) - a + 0.5) * width - 0.5 for n, a in zip(shape, around, strict=True)
        )
        q, pa = (scene.value(c, k, im, values) for k in ("q", "pa"))
        params = [
            torch.tensor(scene.value(c, k, im, values), dtype=torch.float64) for k in c.light_params
        ]
        x, y = scene.frame.to_sky(im.placement, *np.meshgrid(cols, rows))
        dx, dy = (s - scene.value(c, k, im, values) for s, k in ((x, "x"), (y, "y")))
        s, k = np.sin(np.radians(pa)), np.cos(np.radians(pa))
        u, v = torch.as_tensor(dx * s + dy * k), torch.as_tensor((dx * k - dy * s) / q)
        bright = c.light(u, v, torch.tensor(q, dtype=torch.float64), *params).numpy() / q
        out = np.nan_to_num(bright * (im.pixel_scale * width) ** 2, posinf=0.0)
        if here:
            out[j, i] = 0.0
        out *= flux / max(out.sum(), 1.0)
    if here:
        out[j, i] = max(flux - out.sum(), 0.0)
    return out


def _cells(psf: PSF, width: int, around: tuple[int, int]) -> np.ndarray:
    """The PSF in cells of `width` pixels: what the light of one cell makes of another at most.

    That is `width` times the root of the sum over the cell's pixels of the PSF's squares: right for
    a point, whatever the structure of the wings, and an upper limit for light that is spread out.
    """
    squares = psf.array**2 * (psf.sampling[0] * psf.sampling[1])
    for axis, (s, a) in enumerate(zip(psf.sampling, around, strict=True)):
        n = squares.shape[axis]
        cell = np.floor(((np.arange(n) - (n - 1) / 2) / s + width / 2) / width).astype(int)
        at, first = np.unique(np.clip(cell, -a, a), return_index=True)
        summed = np.add.reduceat(squares, first, axis=axis)
        shape = list(squares.shape)
        shape[axis] = 2 * a + 1
        squares = np.zeros(shape)
        squares[(slice(None),) * axis + (at + a,)] = summed
    return width * np.sqrt(squares)


def _noise(im: Image) -> float:
    """Typical noise of a pixel, in image units: from the mean of 1 / variance."""
    return float(1 / np.sqrt((1 / im.variance[im.valid]).mean()))


def _norm(psf: PSF) -> float:
    """Root of the sum over image pixels of a PSF's squares, wherever its centre falls on them."""
    return float(np.sqrt((psf.array**2).sum() * psf.sampling[0] * psf.sampling[1]))


def is_short(old: StampPlan, new: StampPlan) -> bool:
    """Whether light has come to reach further than a plan allows."""
    pairs = ((old.reach, new.reach), (old.margin, new.margin))
    return any(a is not None and (b is None or b > SPARE * a) for a, b in pairs)


def widened(scene: Scene, values: Mapping[str, float]) -> Plans | None:
    """The scene's plans, with PSFs drawn as far as `values` ask for; None if they are already."""
    plans: Plans = {}
    for im in scene.images:
        own = scene.plans[im.name]
        if all(p.reach is None and p.margin is None for p in own.values()):
            continue
        reach, margin = psf_reach(scene, values, im)
        wanted = {k: StampPlan(p.pixel, reach=reach, margin=margin) for k, p in own.items()}
        if any(is_short(own[k], w) for k, w in wanted.items()):
            plans[im.name] = {k: _wider(p, reach, margin) for k, p in own.items()}
    return {**scene.plans, **plans} if plans else None


def _wider(plan: StampPlan, reach: int | None, margin: int | None) -> StampPlan:
    return replace(
        plan,
        reach=None if None in (plan.reach, reach) else max(plan.reach, reach),
        margin=None if None in (plan.margin, margin) else max(plan.margin, margin),
    )


# -- PSFs that vary -------------------------------------------------------------------------------
def own_place(im: Image, pixel: Place) -> Place | None:
    """Where the PSF of a source at a pixel is taken; None where the image's PSF is one for all
    places.

    A source off the frame takes that of a place no further from it than the PSF reaches: what was
    fitted to the frame is not to be extrapolated to where a fit happens to wander.
    """
    if im.psf is None or not im.psf.varies:
        return None
    place = []
    for p, n, size in zip(pixel, im.shape[::-1], im.psf.native_shape[::-1], strict=True):
        p = p if np.isfinite(p) else (n - 1) / 2
        place.append(round(float(np.clip(p, -(size // 2), n - 1 + size // 2)), 3))
    return place[0], place[1]


def shared_place(
    im: Image, place: Place, flux: float, others: Sequence[Place], count: int
) -> Place:
    """Of `others`, one whose PSF serves at a place, too, for a source of a flux in nJy; else the
    place.

    Parameters
    ----------
    count : int
        Sources of the image, which share what error is allowed.
    """
    signal = _signal(im, flux, LEAST_SNR)
    near = sorted(others, key=lambda o: np.hypot(o[0] - place[0], o[1] - place[1]))[:4]
    for other in near:
        if signal * _difference(im, place, other) <= SHARED / np.sqrt(count):
            return other
    return place


def place_errors(scene: Scene, values: Mapping[str, float]) -> dict[str, float]:
    """By image: the most that the PSF's places in the plan, other than the sources', change the
    model.

    Root of the sum of squares in units of the noise; zero where the PSF does not vary. Light that a
    PSF blurs has no more of it than a point, so that it is an upper limit for extended sources.
    """
    errors = {}
    for im in scene.images:
        total = 0.0
        for c in scene.components:
            if im.psf is None or not im.psf.varies or not isinstance(c, Source) or not c.sees(im):
                continue
            plan = scene.plans[im.name][c.name]
            place = own_place(im, source_pixel(scene, values, im, c))
            signal = _signal(im, scene.value(c, "flux", im, values), 0.0)
            total += (signal * _difference(im, place, plan.place or plan.pixel)) ** 2
        errors[im.name] = float(np.sqrt(total))
    return errors


def _signal(im: Image, flux: float, least: float) -> float:
    """A flux in units of the noise of a pixel, at least that of a point of a signal-to-noise."""
    signal = abs(flux) * im.unit_flux / _noise(im)
    floor = least / _norm(im.psf) if least else 0.0
    return max(signal, floor) if np.isfinite(signal) else floor


def _difference(im: Image, a: Place, b: Place) -> float:
    """Root of the sum over pixels of the squared difference of the PSFs at two places."""
    if im.psf.place_key(*a) == im.psf.place_key(*b):
        return 0.0
    first, second = im.psf.at(*a), im.psf.at(*b)
    if first.shape != second.shape:
        return float(np.hypot(_norm(first), _norm(second)))
    sy, sx = first.sampling
    return float(np.sqrt(((first.array - second.array) ** 2).sum() * sy * sx))
