"""Seeing: how sharp an image is."""

from __future__ import annotations

from astropy.stats import gaussian_fwhm_to_sigma

from bayesjoint.images.image import Image

__all__ = ["psf_fwhm", "psf_sigma_px"]

BARE_PX = 1.5
"""Width in pixels of what the pixel alone blurs, in an image without a PSF."""


def psf_fwhm(im: Image) -> float:
    """Width (FWHM) of an image's PSF in arcsec; 1.5 pixels where it has none."""
    return (im.psf.fwhm if im.psf is not None else BARE_PX) * im.pixel_scale


def psf_sigma_px(im: Image, least: float = 1.0) -> float:
    """Standard deviation in pixels of a Gaussian as wide as an image's PSF, and at least `least`."""
    return max(psf_fwhm(im) / im.pixel_scale * gaussian_fwhm_to_sigma, least)
