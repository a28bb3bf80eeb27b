"""PSF: what one image does to a point of light, with its convention."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from bayesjoint.log import log
from bayesjoint.units import to_array, to_float

__all__ = ["PSF"]

NEGATIVE = 0.03
"""Part of a PSF's light that is negative, from which on it is said."""
RESPONSES = ("native", "subpixel", None)


class PSF:
    """The point spread function of one image, sampled on a grid along the image's pixel axes.

    Parameters
    ----------
    array : array_like, shape (odd, odd)
        The PSF, centred on its middle element. Its centroid may lie elsewhere: that shifts the image of a point, and is
        never moved, only said where it exceeds 0.1 px.
    oversampling : int
        Samples per image pixel along each axis.
    pixel_response : {"native", "subpixel", None}
        Which pixel's response is in the array already: ``"native"``, the detector pixel's: an *effective* PSF as stars
        show it and photutils and PSFEx make it; ``"subpixel"``, only the oversampled pixel's (as STPSF's); ``None``,
        none at all: an *optical* PSF. What is missing is added when the model is drawn.
    normalize : bool
        Divide by the sum. ``False`` keeps the sum, so that light outside the stamp stays lost.

    Raises
    ------
    ValueError
        For an even size, non-finite values, or a sum that is not positive.

    Notes
    -----
    With an effective PSF, a pixel's value is the sky's light convolved with it *at the pixel's centre*, times the
    pixel's area; integrating over the pixel as well would blur twice (Anderson & King 2000, PASP 112, 1360).
    """

    def __init__(self, array: ArrayLike, *, oversampling: int = 1, pixel_response: str | None = "native", normalize: bool = True) -> None:
        a, oversampling = to_array(array, "A PSF"), _whole(oversampling)
        if a.ndim != 2 or a.shape[0] % 2 == 0 or a.shape[1] % 2 == 0:
            raise ValueError(
                f"A PSF is to be a 2-D array of odd size, centred on its middle element, and one of shape {a.shape} came: pad or crop it to odd sizes."
            )
        if not np.isfinite(a).all():
            raise ValueError(
                f"A PSF is to be finite everywhere, and {int((~np.isfinite(a)).sum())} of its values are not: replace them first (by 0, say)."
            )
        if pixel_response not in RESPONSES:
            raise ValueError(f"pixel_response is to be one of {RESPONSES}, and {pixel_response!r} came.")
        total = a.sum()
        if not total > 1e-12 * np.abs(a).sum():
            raise ValueError(f"A PSF is to have a positive sum, and this one's is {total:g}: is it sky-subtracted too far, or empty?")
        if normalize:
            a = a / total
        a.setflags(write=False)
        self.array, self.oversampling, self.pixel_response, self.normalize = a, oversampling, pixel_response, bool(normalize)
        below = -a[a < 0].sum() / a.sum()
        if below > NEGATIVE:
            log.warning(
                "The PSF has negative values, %.0f %% of its light: its sky was probably subtracted too far. Models drawn with it are too broad elsewhere "
                "and fluxes of images with different PSFs disagree by as much; measure it anew, or take a Moffat function of its width (psf.as_moffat(); bayesjoint fit --psf moffat).",
                100 * below,
            )
        off = np.hypot(*self.centroid)
        if off > 0.1:
            log.warning("The PSF's centroid lies (%+.2f, %+.2f) px from its middle: positions in its image shift by as much.", *self.centroid)

    @classmethod
    def gaussian(cls, fwhm: Any, pixel_scale: Any = 1.0, *, radius: Any = None, **options: Any) -> PSF:
        """Gaussian PSF of optical width `fwhm`, made effective for pixels of `pixel_scale` (both arcsec or Quantity).

        The array reaches to `radius` (arcsec or Quantity; default 2.5 `fwhm`); `options` are those of `PSF`: `oversampling` (default, what the width needs) and `normalize`.
        """
        fwhm, scale = _widths(fwhm, pixel_scale)
        sigma = fwhm / scale / np.sqrt(8 * np.log(2))
        return cls._effective(lambda r2: np.exp(-0.5 * r2 / sigma**2) / (2 * np.pi * sigma**2), _reach(radius, scale, 6.0 * sigma), fwhm / scale, 3.5, options)

    @classmethod
    def moffat(cls, fwhm: Any, beta: float = 3.0, pixel_scale: Any = 1.0, *, radius: Any = None, **options: Any) -> PSF:
        """Moffat (1969, A&A 3, 455) PSF of optical width `fwhm` and wing slope `beta`, made effective for pixels of `pixel_scale` (both arcsec or Quantity).

        Brightness falls as r^(-2 `beta`). The array reaches to `radius` (arcsec or Quantity; default 12 `fwhm`, 60 pixels at most), and its sum is 1 unless `normalize=False`
        leaves the light farther out lost; `options` are those of `PSF`: `oversampling` (default, what the width needs) and `normalize`.
        """
        fwhm, scale = _widths(fwhm, pixel_scale)
        if not beta > 1:
            raise ValueError(f"A Moffat PSF's beta is to be above 1, so that its light is finite, and {beta} came.")
        alpha2 = (fwhm / scale / 2) ** 2 / (2 ** (1 / beta) - 1)
        reach = _reach(radius, scale, min(12.0 * fwhm / scale, 60.0))
        return cls._effective(lambda r2: (beta - 1) / (np.pi * alpha2) * (1 + r2 / alpha2) ** -beta, reach, fwhm / scale, 5.0, options)

    def as_moffat(self, beta: float = 2.5, *, radius: float | None = None) -> PSF:
        """Moffat function of the same FWHM, for a PSF whose wings are not to be trusted.

        Parameters
        ----------
        beta : float
            Slope of its wings.
        radius : float, optional
            Pixels to which its array reaches, what lies farther out being lost (default that of `moffat`, and nothing lost).

        Returns
        -------
        PSF
            Effective, on the same image's pixels.

        Raises
        ------
        ValueError
            For a `beta` that is not above 1, or a `radius` that is not positive.
        """
        options = {} if radius is None else {"radius": radius, "normalize": False}
        width = self.fwhm
        made = PSF.moffat(width, beta, **options)
        for _ in range(2 * (self.pixel_response == "native")):  # this width has the pixel in it, what `moffat` takes has not
            width = np.sqrt(max(self.fwhm**2 - (made.fwhm**2 - width**2), 0.1 * self.fwhm**2))
            made = PSF.moffat(width, beta, **options)
        return made

    @classmethod
    def _effective(cls, optical: Any, radius: float, fwhm_px: float, held: float, options: dict) -> PSF:
        """Integrate an optical PSF of unit sum over pixels; oversampled where the native grid would not hold it (a FWHM below `held` px)."""
        s = options.setdefault("oversampling", 1 if fwhm_px >= held else int(min(9, 2 * np.ceil(1.75 / max(fwhm_px, 0.4)) + 1)))
        s = _whole(s)
        half = int(np.ceil(max(radius, 2.0) * s))
        # the native pixel's response, integrated by Gauss-Legendre: exact to rounding for smooth PSFs, in parts for narrow ones
        parts = int(np.ceil(min(0.5 / fwhm_px, 16)))
        nodes, weights = np.polynomial.legendre.leggauss(12)
        nodes = ((nodes + 1 + 2 * np.arange(parts)[:, None]) / (2 * parts) - 0.5).ravel()
        weights = np.tile(weights / (2 * parts), parts)
        grid = np.arange(-half, half + 1) / s
        array = np.zeros((grid.size, grid.size))
        for dy, wy in zip(nodes, weights, strict=True):
            y2 = (grid + dy) ** 2
            for dx, wx in zip(nodes, weights, strict=True):
                array += wy * wx * optical(y2[:, None] + (grid + dx)[None] ** 2)
        return cls(array / s**2, pixel_response="native", **options)

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the array (ny, nx) in its own samples."""
        return self.array.shape

    @property
    def native_shape(self) -> tuple[int, int]:
        """Image pixels covered along (y, x), rounded up to odd numbers."""
        return tuple(int(2 * np.ceil((n - 1) / 2 / self.oversampling) + 1) for n in self.array.shape)

    @property
    def centroid(self) -> tuple[float, float]:
        """Centroid (x, y) from the middle, in image pixels."""
        ny, nx = self.array.shape
        total = self.array.sum()
        x = (self.array.sum(0) * (np.arange(nx) - nx // 2)).sum() / total
        y = (self.array.sum(1) * (np.arange(ny) - ny // 2)).sum() / total
        return float(x / self.oversampling), float(y / self.oversampling)

    @cached_property
    def fwhm(self) -> float:
        """Full width at half maximum, in image pixels, as the diameter of a circle as large as the area above half the peak."""
        fine, factor = _refine(self.array)
        return float(2 * np.sqrt((fine > 0.5 * fine.max()).sum() / np.pi) / factor / self.oversampling)

    def __repr__(self) -> str:
        return (
            f"PSF({self.shape[0]}x{self.shape[1]}, oversampling={self.oversampling}, pixel_response={self.pixel_response!r}, FWHM {self.fwhm:.2f} px)"
        )


def _reach(radius: Any, scale: float, default: float) -> float:
    """Radius of an array in pixels."""
    if radius is None:
        return default
    radius = to_float(radius, "arcsec", "radius")
    if not radius > 0:
        raise ValueError(f"A PSF's radius is to be positive, and {radius} arcsec came.")
    return radius / scale


def _widths(fwhm: Any, pixel_scale: Any) -> tuple[float, float]:
    fwhm, scale = to_float(fwhm, "arcsec", "The PSF's fwhm"), to_float(pixel_scale, "arcsec", "pixel_scale")
    if fwhm <= 0 or scale <= 0:
        raise ValueError(f"fwhm and pixel_scale are to be positive, and {fwhm} and {scale} arcsec came.")
    return fwhm, scale


def _whole(oversampling: Any) -> int:
    number = to_float(oversampling, "", "oversampling")
    if number < 1 or number != int(number):
        raise ValueError(f"oversampling is to be a whole number of samples per pixel, at least 1, and {oversampling!r} came.")
    return int(number)


def _refine(a: np.ndarray) -> tuple[np.ndarray, int]:
    """The part above half the peak, with a margin, on a finer grid by a cubic spline; and how much finer."""
    from scipy.ndimage import zoom

    a = np.pad(a, 4)
    high = a > 0.5 * a.max()
    rows, columns = np.flatnonzero(high.any(1)), np.flatnonzero(high.any(0))
    box = a[rows[0] - 4 : rows[-1] + 5, columns[0] - 4 : columns[-1] + 5]
    factor = int(np.ceil(400 / max(box.shape)))
    # zoom keeps the end points in place: n samples become (n - 1) factor + 1; one axis at a time, by what it makes of unit vectors, is a fifth of the work
    down, across = (zoom(np.eye(n), (((n - 1) * factor + 1) / n, 1), order=3) for n in box.shape)
    return down @ box @ across.T, factor
