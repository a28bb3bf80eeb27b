"""PSFs that are GalSim's objects: profiles, images, and DES_PSFEx."""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy.io import fits

from bayesjoint.images.psf import PSF
from bayesjoint.images.psf_field import PolynomialField
from bayesjoint.images.psf_files.base import FROM_FILE, PSFFile
from bayesjoint.images.psf_files.plain import one_image
from bayesjoint.images.psf_files.psfex import MARGIN
from bayesjoint.images.psf_files.sampling import in_words

__all__ = ["GalSimImage", "GalSimPSF", "GalSimPSFEx", "draw"]

LIGHT = 5e-5
"""Part of the light that may lie outside the array, where `MAX_RADIUS_FWHM` allows."""
MAX_RADIUS_FWHM = 15.0
MAX_SAMPLES_PER_PIXEL = 16
MAX_SAMPLES = 2047
MAX_K = 1e6
"""Wave number from which on a profile has no size."""
BEYOND_MAXK = 1.6
"""Wave numbers, in GalSim's `maxk`, up to which there may be detail: log(2e-5) / log(1e-3)."""
DETAIL = 2e-5
"""Amplitude of the transfer function that is negligible, relative to its value at 0."""


class GalSimPSF(PSFFile):
    """A ``galsim.GSObject``: an optical PSF, sampled as finely as it needs.

    Notes
    -----
    Its u and v are taken for the x and y of the image's pixels, as in ``drawImage(scale=)``. The
    pixel's response is in a convolution with a ``galsim.Pixel`` of the image's pixels, and in no
    other profile; whether it is in the image of an InterpolatedImage, only its maker knows, and
    `pixel_response` says.
    """

    kind = "GalSim profile"
    order = 58
    in_files = False

    @classmethod
    def matches(cls, source: Any) -> bool:
        """Whether it is a profile of GalSim."""
        return _is_of("galsim", source) and hasattr(source, "drawImage") and hasattr(source, "maxk")

    def read(self) -> PSF:
        """One PSF for all places."""
        name = type(self.source).__name__
        if self.options.pixel_scale is None:
            raise ValueError(
                f"pixel_scale must be given for a GalSim object ({name}), which has no pixels: "
                "arcsec of a pixel of the image; got None. Give pixel_scale=0.2, say."
            )
        sy, sx = self.options.pixel_scale
        if not np.isclose(sy, sx, 1e-6):
            raise ValueError(
                f"pixel_scale must be one number for a GalSim object; got ({sy:g}, {sx:g}). Draw "
                "it yourself and give the array with oversampling=(y, x)."
            )
        interpolated = self._image(sx)
        if interpolated is not None:
            array, n = interpolated
        else:
            array, n = draw(self.source, sx, self.options.oversampling)
        default = "native" if _has_pixel(self.source, sx) else None
        response = self.response(default)
        if name == "InterpolatedImage" and self.options.pixel_response == FROM_FILE:
            self.say(
                "a GalSim InterpolatedImage may have the pixel's response in it, and none is "
                "assumed: say "
                'pixel_response=None, or "native" if it was measured on stars',
                warning=True,
            )
        self.say(
            f"GalSim {name}, {array.shape[0]} x {array.shape[1]} samples, {in_words(n)} of "
            f'{sx:g}", {"no pixel response" if response is None else f"pixel response {response}"}'
        )
        lost = 1 - float(array.sum())
        if abs(lost) > 5e-4 and interpolated is None:
            kept = "put back by dividing by the sum" if self.options.normalize else "left outside"
            self.say(f"{100 * lost:.2f} % of its light lies outside the array and is {kept}")
        return self.constant(array, n, default)

    def _image(self, pixel_scale: float) -> tuple[np.ndarray, tuple[float, float]] | None:
        """The very samples of an image on square pixels; None for what has to be drawn."""
        image = getattr(self.source, "image", None)
        scale = getattr(getattr(image, "wcs", None), "scale", None)
        offset = getattr(self.source, "_offset", None)
        moved = offset is not None and (offset.x, offset.y) != (0.0, 0.0)
        if (
            type(self.source).__name__ != "InterpolatedImage"
            or scale is None
            or moved
            or self.options.oversampling is not None
        ):
            return None
        n = float(pixel_scale / scale)
        array = np.array(image.array, dtype=float)
        return array / array.sum(), (n, n)


class GalSimImage(PSFFile):
    """A ``galsim.Image``: an array whose WCS says how large a sample is.

    Notes
    -----
    The pixel's response is taken to be in it, as after ``drawImage()``.
    """

    kind = "GalSim image"
    order = 57
    in_files = False

    @classmethod
    def matches(cls, source: Any) -> bool:
        """Whether it is an image of GalSim."""
        return _is_of("galsim", source) and hasattr(source, "array") and hasattr(source, "wcs")

    def read(self) -> PSF:
        """One PSF for all places."""
        scale = getattr(self.source.wcs, "scale", None)
        header = fits.Header({} if scale is None else {"GS_SCALE": float(scale)})
        return one_image(self, np.array(self.source.array), header)


class GalSimPSFEx(PSFFile):
    """A ``galsim.des.DES_PSFEx``: PSFEx's polynomials, the pixel's response in them."""

    kind = "GalSim DES_PSFEx"
    order = 59
    in_files = False

    @classmethod
    def matches(cls, source: Any) -> bool:
        """Whether it is a DES_PSFEx."""
        return _is_of("galsim", source) and hasattr(source, "getPSFArray")

    def read(self) -> PSF:
        """A varying PSF."""
        s = self.source
        powers = [(i, j) for j in range(s.fit_order + 1) for i in range(s.fit_order + 1 - j)]
        zero, scale = (s.x_zero - 1, s.y_zero - 1), (s.x_scale, s.y_scale)
        limits = tuple((z - MARGIN * w, z + MARGIN * w) for z, w in zip(zero, scale, strict=True))
        self.say(
            f"GalSim DES_PSFEx, POLDEG {s.fit_order}, PSF_SAMP {s.sample_scale:.5g} pixels a "
            "sample, pixel response included"
        )
        field = PolynomialField(np.asarray(s.basis, dtype=float), powers, zero, scale, limits)
        n = 1 / float(s.sample_scale)
        return self.varying(field, self.options.oversampling or (n, n), "native")


def draw(
    profile: Any,
    pixel_scale: float,
    oversampling: tuple[float, float] | None = None,
    size: int | None = None,
) -> tuple[np.ndarray, tuple[float, float]]:
    """Sample a GalSim profile as finely as its transfer function asks, and as far as its light.

    Parameters
    ----------
    profile : galsim.GSObject
        Centred on (0, 0).
    pixel_scale : float
        Of a pixel of the image, in the profile's own unit (arcsec).
    oversampling : (float, float), optional
        Samples per pixel; both axes must have the same.
    size : int, optional
        Samples along each axis, odd.

    Returns
    -------
    array : ndarray, shape (size, size)
        Its sum is the part of the profile's light that lies on the array.
    oversampling : (float, float)

    Raises
    ------
    ValueError
        For a profile without size, and two different samplings.
    """
    import galsim

    try:
        flux, maxk = float(profile.flux), float(profile.maxk)
        if not (0 < maxk < MAX_K and flux > 0):
            raise ValueError(
                "A GalSim profile must have light and a size to be a PSF; got "
                f"{type(profile).__name__}. Give a Moffat, Kolmogorov, OpticalPSF or the like."
            )
        if oversampling is None:
            n = np.ceil(pixel_scale * _band(profile, flux, pixel_scale) / np.pi)
            n = float(np.clip(n, 1, MAX_SAMPLES_PER_PIXEL))
            oversampling = n, n
        if oversampling[0] != oversampling[1]:
            raise ValueError(
                f"oversampling must be one number for a GalSim object; got {oversampling}. Give "
                "one number."
            )
        step = pixel_scale / oversampling[0]
        whole = size is None
        if size is None:
            width = 2 * MAX_RADIUS_FWHM * float(profile.calculateFWHM())
            size = int(np.clip(np.ceil(width / step), 9, MAX_SAMPLES))
            size += 1 - size % 2
        image = profile.drawImage(nx=size, ny=size, scale=step, method="no_pixel", dtype=float)
    except galsim.GalSimError as e:
        raise ValueError(f"GalSim cannot draw this PSF: {' '.join(str(e).split())[:200]}") from e
    array = image.array / flux
    return (_lit(array) if whole else array), oversampling


def _band(profile: Any, flux: float, pixel_scale: float) -> float:
    """Wave number beyond which the profile's transfer function is negligible.

    GalSim's own `maxk` leaves out what is below 1e-3; asking for less by `withGSParams` would have
    an OpticalPSF compute its pupil anew, at any size.
    """
    highest = min(MAX_SAMPLES_PER_PIXEL * np.pi / pixel_scale, BEYOND_MAXK * float(profile.maxk))
    ks = np.linspace(0, highest, 161)[1:]
    directions = np.array([(1, 0), (0, 1), (0.7071, 0.7071), (0.7071, -0.7071)])
    t = np.array([[abs(profile.kValue(*(k * d))) for k in ks] for d in directions])
    above = np.flatnonzero((t > DETAIL * flux).any(0))
    return float(ks[min(above[-1] + 1, ks.size - 1)]) if above.size else float(ks[0])


def _has_pixel(profile: Any, pixel_scale: float) -> bool:
    """Whether a profile is a convolution with a pixel of this size."""
    if type(profile).__name__ == "Transformation" and np.allclose(profile.jac, np.eye(2)):
        profile = profile.original  # of another flux
    if type(profile).__name__ != "Convolution":
        return False
    boxes = [p for p in profile.obj_list if type(p).__name__ in ("Pixel", "Box")]
    return any(np.allclose((b.width, b.height), pixel_scale, rtol=1e-4) for b in boxes)


def _lit(array: np.ndarray) -> np.ndarray:
    """The middle of an array without the margin that has no more than `LIGHT` of it."""
    n = array.shape[0]
    middle, total = n // 2, array.sum()
    for half in range(4, middle):
        part = array[middle - half : middle + half + 1, middle - half : middle + half + 1]
        if part.sum() >= (1 - LIGHT) * total:
            return part
    return array


def _is_of(package: str, source: Any) -> bool:
    return any(c.__module__.split(".")[0] == package for c in type(source).__mro__)
