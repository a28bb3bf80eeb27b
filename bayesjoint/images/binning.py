"""Binning: an image on larger pixels, for what needs no more than its light's shape."""

from __future__ import annotations

import numpy as np
from scipy.signal import fftconvolve

from bayesjoint.images.image import Image
from bayesjoint.images.psf import PSF

__all__ = ["binned"]


def binned(im: Image, n: int) -> Image:
    """An image of means of n x n of its pixels, with the PSF, variance and zeropoint that these have.

    Rows and columns that do not fill a pixel are left away; pixels of which less than half is valid
    are masked. Levels of skies, in image units a pixel, and fluxes stay what they are. A PSF that
    varies is that of the image's middle.

    Parameters
    ----------
    im : Image
        With a zeropoint.
    n : int
        Pixels to one along each axis.

    Raises
    ------
    ValueError
        Where the image has no zeropoint, or less than n pixels along an axis.
    """
    if im.zeropoint is None:
        raise ValueError("An image must have a zeropoint to be binned; got none. Give zeropoint=.")
    ny, nx = (side // n for side in im.shape)
    if not ny * nx:
        raise ValueError(f"Both sides of an image must be at least the {n} pixels that are binned to one; got {im.shape}. Give a smaller number.")

    def blocks(a: np.ndarray) -> np.ndarray:
        return a[: ny * n, : nx * n].reshape(ny, n, nx, n)

    valid = blocks(im.valid)
    count = valid.sum((1, 3))
    known = np.maximum(count, 1)
    psf = im.psf
    if psf is not None:
        psf = _seen_by(psf.at(*im.placement.middle) if psf.varies else psf, n)
    new = im.replace(
        data=np.where(valid, blocks(im.data), 0.0).sum((1, 3)) / known,
        variance=np.where(count > 0, np.where(valid, blocks(im.variance), 0.0).sum((1, 3)), 1.0) / known**2,
        mask=count < 0.5 * n * n,
        psf=psf,
        zeropoint=im.zeropoint - 5 * np.log10(n),
        pixel_scale=1.0,
    )
    new.placement = im.placement.binned(n)
    return new


def _seen_by(psf: PSF, n: int) -> PSF:
    """A PSF for pixels n times as large."""
    array, response = psf.array, psf.pixel_response
    if response == "native":
        steps = [round(s) for s in psf.sampling]
        if np.allclose(steps, psf.sampling):  # sums over the old pixels, whose response it holds
            combs = []
            for s in steps:
                comb = np.zeros(s * (n - 1) + 1)
                comb[::s] = 1.0
                combs.append(comb)
            array = fftconvolve(array, np.outer(*combs) / n**2)
        else:  # the new pixel's on top of the old one's: too broad by that
            response = None
    sampling = tuple(n * s for s in psf.sampling)
    return PSF.silent(
        array, oversampling=sampling, pixel_response=response, normalize=psf.normalize
    )
