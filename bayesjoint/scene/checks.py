"""Checks of what a scene is made from, and the names of its images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bayesjoint.images import PSF, Frame, Image
from bayesjoint.images.readers.bands import same_instrument
from bayesjoint.log import log
from bayesjoint.sky.components import Component

__all__ = ["check", "named", "only_images", "overlap", "shared_bands", "sharp_psfs"]

SHARP = 3.5
"""FWHM in pixels below which a PSF sampled at the pixels does not hold all of itself."""
FINE = 1.5
"""Samples per pixel from which a PSF holds all that the pixels can show."""
LOST = 2e-4
"""Part of the peak from which a wider one is named too: the core of a Moffat has more power at high frequencies than a Gaussian's."""


def only_images(images: Sequence[Any]) -> None:
    """Refuse what is no image."""
    for im in images:
        if not isinstance(im, Image):
            raise TypeError(
                f"A scene's images are to be bayesjoint.Image, and {type(im).__name__} came: make one with Image(...) or Image.read(...)."
            )


def check(components: Sequence[Any], images: Sequence[Any]) -> None:
    """Refuse what is no scene: nothing, things of another type, two components of one name."""
    if not images:
        raise ValueError("A scene needs at least one image, and none came.")
    only_images(images)
    if not components:
        raise ValueError("A scene needs at least one component, such as bj.Sersic('galaxy'), and none came.")
    for c in components:
        if not isinstance(c, Component):
            raise TypeError(f"A scene's components are to be sources or skies such as bj.Sersic('galaxy'), and {c!r} came.")
    names = [c.name for c in components]
    twice = next((n for n in names if names.count(n) > 1), None)
    if twice is not None:
        raise ValueError(f"Two components are named {twice!r}: give each a name of its own.")


def named(images: Sequence[Image]) -> tuple[Image, ...]:
    """Images with unique names: given ones must not clash, defaults come from the band, numbered where it recurs."""
    given = [im.name for im in images if im.name is not None]
    twice = next((n for n in given if given.count(n) > 1), None)
    if twice is not None:
        raise ValueError(f"Two images are named {twice!r}: give each a name of its own with name=.")
    out, unnamed = [], [im.band for im in images if im.name is None]
    count: dict[str, int] = {}
    for im in images:
        if im.name is not None:
            out.append(im)
            continue
        name = im.band
        if unnamed.count(im.band) > 1 or name in given:
            while True:
                count[im.band] = count.get(im.band, 0) + 1
                name = f"{im.band}_{count[im.band]}"
                if name not in given:
                    break
            log.info("An image of band %r without a name is called %r.", im.band, name)
        new = im.replace(name=name)
        new.psf = im.psf
        out.append(new)
    return tuple(out)


def shared_bands(images: Sequence[Image]) -> list[str]:
    """Sentences on images of one band's label that come from different instruments: they would share a flux in silence."""
    said, by_band = [], {}
    for im in images:
        if im.telescope is None:
            continue
        first = by_band.setdefault(im.band, im)
        if not same_instrument(first.telescope, im.telescope):
            said.append(
                f"{first.name} ({first.telescope}) and {im.name} ({im.telescope}) are of one band, {im.band!r}, and share its flux. "
                "Give each its band= to keep them apart, or the same band= to say that they are one."
            )
    return said


def overlap(images: Sequence[Image], frame: Frame) -> None:
    """Refuse images that do not overlap the first on the sky."""
    boxes = []
    for im in images:
        ny, nx = im.shape
        x, y = frame.to_sky(im.placement, [0, nx - 1, 0, nx - 1], [0, 0, ny - 1, ny - 1])
        boxes.append((x.min(), x.max(), y.min(), y.max()))
    a = boxes[0]
    for im, b in zip(images[1:], boxes[1:], strict=True):
        if not np.isfinite(b).all() or b[0] > a[1] or b[1] < a[0] or b[2] > a[3] or b[3] < a[2]:
            raise ValueError(
                f"Images {images[0].name!r} and {im.name!r} do not overlap on the sky: check their WCS, center= or origin=, or model them in scenes of their own."
            )


def _at_nyquist(psf: PSF) -> float:
    """Transfer of a PSF at its own samples' Nyquist frequency, relative to its largest."""
    odd = all(n % 2 for n in psf.shape)
    # samples on both sides of the centre alone show nothing at that frequency: it is extrapolated
    part, power = (1.0, 1.0) if odd else (0.8, 1.25)
    ky, kx = (np.array([0.0, part * np.pi * s]) for s in psf.sampling)
    t = np.abs(psf.transfer(ky, kx))
    return float((max(t[0, 1], t[1, 0]) / t[0, 0]) ** power)


def sharp_psfs(images: Sequence[Image]) -> dict[str, tuple[str, float]]:
    """By image: what a PSF too sharp for its own sampling costs, in words, and roughly in units of the noise of the brightest pixel.

    What lies beyond the pixels' Nyquist frequency is lost to such a PSF, however it is interpolated: about a tenth of what its transfer
    function has there (measured against GalSim, FWHM 2-3.5 px).
    """
    notes = {}
    for im in images:
        psf = im.psf
        if psf is None or min(psf.sampling) >= FINE:
            continue
        lost = 0.1 * _at_nyquist(psf)
        if psf.fwhm * min(psf.sampling) >= SHARP and lost < LOST:
            continue
        step = f"every {1 / min(psf.sampling):.3g} pixels"
        if set(psf.sampling) == {1.0}:
            step = "at the pixels"
        said = (
            f"{im.name}: its PSF is {psf.fwhm:.1f} pixels wide (FWHM) and sampled {step}, which hold"
            f" the sharpest light to about {lost:.1g} of its peak; an oversampled PSF,"
            " bj.PSF(array, oversampling=...), would serve better."
        )
        notes[im.name] = said, lost * float(np.max(np.where(im.valid, im.data / im.sigma, 0.0)))
    return notes
