"""PSF: what an image does to a point of light; constant, or varying over the image."""

from __future__ import annotations

import copy
import logging
from collections.abc import Hashable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from bayesjoint.log import log
from bayesjoint.units import to_array, to_float

if TYPE_CHECKING:
    from bayesjoint.images.psf_field import Field

__all__ = ["PSF", "VaryingPSF"]

NEGATIVE = 0.03
"""Share of a PSF's light that is negative, from which a warning is given."""
OFF_CENTRE = 0.1
"""Distance of the centroid from the centre, in image pixels, from which a warning is given."""
SUMS = (0.5, 1.02)
"""Sums between which a PSF that keeps its own is that of a stamp from which some light is lost."""
RESPONSES = ("native", "subpixel", None)
WHOLE = 1e-6
"""Relative departure from a whole number of samples per pixel up to which it is taken as whole."""
LARGE = 40_000
"""Samples from which a PSF's transfer is found by a Fourier transform, not by sums of products."""
ALIKE = 1.02
"""Ratio of the FWHMs over an image up to which a varying PSF is replaced by one without a word."""
CACHE_BYTES = 2**27
"""PSFs of a varying one that are held, in bytes."""


class PSF:
    """The point spread function of one image, sampled on a grid along the image's pixel axes.

    Parameters
    ----------
    array : array_like, shape (ny, nx)
        The PSF, centred on the array's geometric centre: its middle sample along an axis of odd
        size, between the two middle ones along an axis of even size. Its centroid may lie
        elsewhere: that shifts the image of a point; it is never moved, and a warning is given where
        it exceeds 0.1 px. It may be larger than the image.
    oversampling : float or (float, float)
        Samples per image pixel, along (y, x) where there are two: any positive number. PSFEx's
        ``PSF_SAMP`` is its inverse. Between the samples the PSF is band-limited: it has no power
        above their own Nyquist frequency.
    pixel_response : {"native", "subpixel", None}
        Which pixel's response is in the array already: ``"native"``, the detector pixel's: an
        *effective* PSF as stars show it and photutils and PSFEx make it; ``"subpixel"``, only that
        of the array's own sample; ``None``, none at all: an *optical* PSF. What is missing is added
        when the model is drawn.
    normalize : bool
        Divide by the sum. ``False`` keeps the sum, so that light outside the stamp stays lost.

    Raises
    ------
    ValueError
        For an array that is not 2-D, non-finite values, or a sum that is not positive.

    Notes
    -----
    With an effective PSF, a pixel's value is the sky's light convolved with it *at the pixel's
    centre*, times the pixel's area; integrating over the pixel as well would blur twice (Anderson &
    King 2000, PASP 112, 1360).
    """

    varies: bool = False
    """Whether the PSF differs from place to place."""
    array: np.ndarray
    """The samples, shape (ny, nx), read-only."""
    oversampling: int | float | tuple[float, float]
    """Samples per image pixel: one number where both axes have the same."""
    sampling: tuple[float, float]
    """Samples per image pixel along (y, x)."""
    pixel_response: str | None
    normalize: bool

    def __init__(
        self,
        array: ArrayLike,
        *,
        oversampling: float | Sequence[float] = 1,
        pixel_response: str | None = "native",
        normalize: bool = True,
    ) -> None:
        self._set_options(oversampling, pixel_response, normalize)
        self._set_array(array, "A PSF")
        for text in self.warnings():
            log.warning("%s", text)

    @classmethod
    def silent(
        cls,
        array: ArrayLike,
        *,
        oversampling: float | Sequence[float] = 1,
        pixel_response: str | None = "native",
        normalize: bool = True,
        what: str = "A PSF",
    ) -> PSF:
        """Make a PSF without logging its `warnings`: for readers, which have decisions of them.

        Parameters
        ----------
        array, oversampling, pixel_response, normalize
            As for `PSF`.
        what : str
            What it is, for an error's sentence.
        """
        new = PSF.__new__(PSF)
        new._set_options(oversampling, pixel_response, normalize)
        new._set_array(array, what)
        return new

    def _set_options(
        self, oversampling: float | Sequence[float], pixel_response: str | None, normalize: bool
    ) -> None:
        self.oversampling, self.sampling = _sampling(oversampling)
        if pixel_response not in RESPONSES:
            raise ValueError(f"pixel_response must be one of {RESPONSES}; got {pixel_response!r}.")
        self.pixel_response, self.normalize = pixel_response, bool(normalize)

    def _set_array(self, array: ArrayLike, what: str) -> None:
        """Check and take over the samples; `what` they are, for an error's sentence."""
        try:
            kind = np.asanyarray(array).dtype.kind
        except ValueError:  # rows of different lengths
            kind = "O"
        if kind in "OUS":
            raise ValueError(
                f"{what} must be an array of real numbers (ny, nx); got {type(array).__name__}."
                " Files and other packages' PSFs are read by bj.PSF.read(...)."
            )
        a = to_array(array, what)
        if a.ndim != 2 or not a.size:
            raise ValueError(
                f"{what} must be a 2-D array (ny, nx) that is not empty; got shape {a.shape}."
            )
        bad = int((~np.isfinite(a)).sum())
        if bad:
            masked = "masked, " if np.ma.is_masked(array) else ""
            raise ValueError(
                f"{what} must be finite everywhere; got {bad} {masked}NaN or infinite values of"
                f" {a.size}. Replace them first (by 0, say)."
            )
        total = a.sum()
        if not total > 1e-12 * np.abs(a).sum():
            raise ValueError(
                f"{what} must have a positive sum; got {total:g}."
                " Was too much sky subtracted from it, or is it empty?"
            )
        if self.normalize:
            a = a / total
        a.setflags(write=False)
        self.array = a

    def warnings(self) -> list[str]:
        """What is suspect about the samples, a text each."""
        a, texts = self.array, []
        below = -a[a < 0].sum() / a.sum()
        if below > NEGATIVE:
            texts.append(
                f"The PSF has negative values, {100 * below:.0f} % of its light: it is noisy, or too"
                " much sky was subtracted from it. Models drawn with it are then too broad"
                " elsewhere, and fluxes of images with different PSFs disagree by as much. Measure"
                " it anew, or take a Moffat function of its width (psf.as_moffat(); bayesjoint fit"
                " --psf moffat)."
            )
        total = float(a.sum())
        if not self.normalize and not SUMS[0] < total < SUMS[1]:
            texts.append(
                f"The PSF's sum is {total:.4g}, and is kept by normalize=False: fluxes are the"
                f" light of a point divided by {total:.4g}. Leave normalize=False out unless that"
                " is meant."
            )
        x, y = (round(c, 2) + 0.0 for c in self._core())  # no -0.00
        if np.hypot(x, y) > OFF_CENTRE:
            texts.append(
                f"The PSF's centroid lies ({x:+.2f}, {y:+.2f}) px from its array's centre (within a"
                " Gaussian window of its width): positions in its image shift by as much."
            )
        return texts

    def _core(self) -> tuple[float, float]:
        """Centroid (x, y) in a Gaussian window of the PSF's own FWHM, in image pixels.

        The place of a star is found so (SExtractor's XWIN_IMAGE). The plain centroid is that of
        the wings, and of the noise in them: in SDSS's and PSFEx's PSFs 0.2 px from it.
        """
        a, sigma = self.array, self.fwhm / np.sqrt(8 * np.log(2))
        bright = a > 0.5 * a.max()
        axes = [
            (np.arange(n) - (n - 1) / 2) / s for n, s in zip(a.shape, self.sampling, strict=True)
        ]
        y0, x0 = (float((bright.sum(1 - k) * v).sum() / bright.sum()) for k, v in enumerate(axes))
        near = [np.abs(v - c) <= 5 * sigma for v, c in zip(axes, (y0, x0), strict=True)]
        a, (y, x) = a[np.ix_(*near)], (v[m] for v, m in zip(axes, near, strict=True))
        for _ in range(50):
            wy, wx = (np.exp(-0.5 * ((v - c) / sigma) ** 2) for v, c in ((y, y0), (x, x0)))
            light = wy[:, None] * a * wx
            total = light.sum()
            if not total > 0:
                return self.centroid
            dy, dx = (light.sum(1) * (y - y0)).sum(), (light.sum(0) * (x - x0)).sum()
            # a window as wide as a Gaussian shows half the way to its centre
            y0, x0 = float(y0 + 2 * dy / total), float(x0 + 2 * dx / total)
            if np.hypot(dx, dy) < 1e-4 * total:
                break
        return x0, y0

    @classmethod
    def read(
        cls,
        source: Any,
        *,
        oversampling: float | Sequence[float] | None = None,
        pixel_response: str | None = "file",
        normalize: bool = True,
        origin: tuple[float, float] = (0, 0),
        pixel_scale: Any = None,
        chip: Any = None,
        band: str | None = None,
    ) -> PSF:
        """Read a PSF from a file, or take over another package's PSF object.

        Parameters
        ----------
        source : path, HDU, HDUList or object
            A FITS file of PSFEx, STPSF, STDPSF, a gridded PSF, SDSS's psField or a plain image,
            whose path may name an extension as CFITSIO does (``f.fits[PSF,2]``); or an array,
            NDData, photutils' ``ImagePSF`` and ``GriddedPSFModel``, a GalSim profile or image, a
            Piff PSF.
        oversampling : float or (float, float), optional
            Samples per image pixel, where the file does not say.
        pixel_response : {"file", "native", "subpixel", None}
            Whose pixel's response is in it (see `PSF`); ``"file"`` is what files of its kind hold.
        normalize : bool
            Divide by the sum, at each place.
        origin : (float, float)
            The 0-based pixel (x, y) of the PSF's own frame at which the image that it will be
            attached to begins: (0, 0) for a whole exposure, the lower left corner for a file that
            was cut out of one.
        pixel_scale : float or Quantity, optional
            Arcsec per pixel of the image, which is compared with what the file says.
        chip : optional
            Detector, for files that hold several.
        band : str, optional
            Band, for files that hold several.

        Returns
        -------
        PSF
            A `VaryingPSF` where it differs from place to place.

        Raises
        ------
        ValueError
            If the file holds no PSF that is known, or does not say what is needed.
        """
        from bayesjoint.images.psf_files import read

        return read(
            source,
            oversampling=oversampling,
            pixel_response=pixel_response,
            normalize=normalize,
            origin=origin,
            pixel_scale=pixel_scale,
            chip=chip,
            band=band,
        )

    @classmethod
    def gaussian(
        cls, fwhm: Any, pixel_scale: Any = 1.0, *, radius: Any = None, **options: Any
    ) -> PSF:
        """Gaussian PSF of optical width `fwhm`, made effective for pixels of `pixel_scale`.

        Parameters
        ----------
        fwhm, pixel_scale : float or Quantity
            In arcsec.
        radius : float or Quantity, optional
            To which the array reaches, in arcsec; default 2.5 `fwhm`.
        **options
            Those of `PSF`: `oversampling` (default, what the width needs) and `normalize`.
        """
        fwhm, scale = _widths(fwhm, pixel_scale)
        sigma = fwhm / scale / np.sqrt(8 * np.log(2))

        def optical(r2: np.ndarray) -> np.ndarray:
            return np.exp(-0.5 * r2 / sigma**2) / (2 * np.pi * sigma**2)

        reach = _reach(radius, scale, 6.0 * sigma)
        return cls._effective(optical, reach, fwhm / scale, 3.5, options)

    @classmethod
    def moffat(
        cls,
        fwhm: Any,
        beta: float = 3.0,
        pixel_scale: Any = 1.0,
        *,
        radius: Any = None,
        **options: Any,
    ) -> PSF:
        """Moffat (1969, A&A 3, 455) PSF, made effective for pixels of `pixel_scale`.

        Parameters
        ----------
        fwhm, pixel_scale : float or Quantity
            Optical width and pixel, in arcsec.
        beta : float
            Slope of the wings: brightness falls as r^(-2 `beta`).
        radius : float or Quantity, optional
            To which the array reaches, in arcsec; default 12 `fwhm`, 60 pixels at most. Its sum is
            1 unless `normalize=False` leaves the light farther out lost.
        **options
            Those of `PSF`: `oversampling` (default, what the width needs) and `normalize`.

        Raises
        ------
        ValueError
            For a `beta` that is not above 1, or a width or radius that is not positive.
        """
        fwhm, scale = _widths(fwhm, pixel_scale)
        if not beta > 1:
            raise ValueError(
                f"A Moffat PSF's beta must be above 1, so that its light is finite; got {beta}."
            )
        alpha2 = (fwhm / scale / 2) ** 2 / (2 ** (1 / beta) - 1)
        reach = _reach(radius, scale, min(12.0 * fwhm / scale, 60.0))

        def optical(r2: np.ndarray) -> np.ndarray:
            return (beta - 1) / (np.pi * alpha2) * (1 + r2 / alpha2) ** -beta

        return cls._effective(optical, reach, fwhm / scale, 5.0, options)

    def as_moffat(self, beta: float = 2.5, *, radius: float | None = None) -> PSF:
        """Moffat function of the same FWHM, for a PSF whose wings are not to be trusted.

        Parameters
        ----------
        beta : float
            Slope of its wings.
        radius : float, optional
            Pixels to which its array reaches, what lies farther out being lost (default that of
            `moffat`, and nothing lost).

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
        # this width has the pixel in it, what `moffat` takes has not
        for _ in range(2 * (self.pixel_response == "native")):
            width = np.sqrt(max(self.fwhm**2 - (made.fwhm**2 - width**2), 0.1 * self.fwhm**2))
            made = PSF.moffat(width, beta, **options)
        return made

    @classmethod
    def _effective(
        cls, optical: Any, radius: float, fwhm_px: float, held: float, options: dict
    ) -> PSF:
        """Integrate an optical PSF of unit sum over pixels; oversampled where the native grid does
        not hold it.

        That is for a FWHM below `held` pixels.
        """
        needed = 1 if fwhm_px >= held else int(min(9, 2 * np.ceil(1.75 / max(fwhm_px, 0.4)) + 1))
        sampling = _sampling(options.setdefault("oversampling", needed))[1]
        # the native pixel's response by Gauss-Legendre: exact to rounding for smooth PSFs, in parts
        # for narrow ones
        parts = int(np.ceil(min(0.5 / fwhm_px, 16)))
        nodes, weights = np.polynomial.legendre.leggauss(12)
        nodes = ((nodes + 1 + 2 * np.arange(parts)[:, None]) / (2 * parts) - 0.5).ravel()
        weights = np.tile(weights / (2 * parts), parts)
        y, x = (
            np.arange(-half, half + 1) / s
            for half, s in ((int(np.ceil(max(radius, 2.0) * s)), s) for s in sampling)
        )
        array = np.zeros((y.size, x.size))
        for dy, wy in zip(nodes, weights, strict=True):
            y2 = (y + dy) ** 2
            for dx, wx in zip(nodes, weights, strict=True):
                array += wy * wx * optical(y2[:, None] + (x + dx)[None] ** 2)
        return cls(array / (sampling[0] * sampling[1]), pixel_response="native", **options)

    # -- at a place -------------------------------------------------------------------------------
    def at(self, x: float, y: float) -> PSF:
        """The PSF at a place (x, y), in 0-based pixels of its image; of this one, itself."""
        return self

    def place_key(self, x: float, y: float) -> Hashable:
        """What tells PSFs apart at places (x, y), in pixels of the image; here, one for all."""
        return None

    def cropped(self, x0: float, y0: float) -> PSF:
        """The PSF of a part of the image that begins at its pixel (x0, y0), 0-based."""
        return self

    def attached(self, shape: tuple[int, int]) -> PSF:
        """The PSF as that of an image of a shape (ny, nx)."""
        return self

    def fwhm_range(self, shape: tuple[int, int] | None = None) -> tuple[float, float]:
        """Smallest and largest FWHM over an image of a shape (ny, nx), in image pixels."""
        return self.fwhm, self.fwhm

    def trimmed(self, reach: int) -> PSF:
        """The part of the PSF within `reach` image pixels of its centre along each axis.

        Light beyond it is lost: the rest keeps its values.
        """
        cut = []
        for n, s in zip(self.array.shape, self.sampling, strict=True):
            left = max(0, int(np.ceil((n - 1) / 2 - reach * s - 1e-9)))
            cut.append(slice(left, n - left))
        new = copy.copy(self)
        new.__dict__.pop("fwhm", None)
        new.array = self.array[cut[0], cut[1]]
        new.normalize = False
        return new

    # -- properties -------------------------------------------------------------------------------
    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the array (ny, nx) in its own samples."""
        return self.array.shape

    @property
    def native_shape(self) -> tuple[int, int]:
        """Image pixels covered along (y, x), rounded up to odd numbers."""
        ny, nx = (
            int(2 * np.ceil((n - 1) / 2 / s - 1e-9) + 1)
            for n, s in zip(self.array.shape, self.sampling, strict=True)
        )
        return ny, nx

    @property
    def on_pixels(self) -> bool:
        """Whether the array as it is holds the effective PSF at pixel centres."""
        odd = all(n % 2 for n in self.array.shape)
        return odd and self.sampling == (1.0, 1.0) and self.pixel_response is not None

    @property
    def centroid(self) -> tuple[float, float]:
        """Centroid (x, y) from the array's geometric centre, in image pixels."""
        ny, nx = self.array.shape
        total = self.array.sum()
        x = (self.array.sum(0) * (np.arange(nx) - (nx - 1) / 2)).sum() / total
        y = (self.array.sum(1) * (np.arange(ny) - (ny - 1) / 2)).sum() / total
        return float(x / self.sampling[1]), float(y / self.sampling[0])

    @cached_property
    def fwhm(self) -> float:
        """Full width at half maximum, in image pixels.

        It is the diameter of a circle as large as the area above half the peak.
        """
        fine, factor = _refine(self.array)
        area = (fine > 0.5 * fine.max()).sum() / factor**2 / (self.sampling[0] * self.sampling[1])
        return float(2 * np.sqrt(area / np.pi))

    # -- what it does to light --------------------------------------------------------------------
    def transfer(self, ky: np.ndarray, kx: np.ndarray) -> np.ndarray:
        """Transfer function of PSF and detector pixel together, at the frequencies `ky` x `kx`.

        Parameters
        ----------
        ky, kx : ndarray
            In radian per image pixel.

        Returns
        -------
        ndarray of complex, shape (len(ky), len(kx))
            The Fourier transform of the samples up to their own Nyquist frequency, and zero beyond.
        """
        phases = []
        for k, n, s in zip((ky, kx), self.array.shape, self.sampling, strict=True):
            phase = np.exp(-1j * np.outer(k, (np.arange(n) - (n - 1) / 2) / s))
            phases.append(np.where(self._beyond(k, n, s)[:, None], 0.0, phase))
        if len(kx) == 1:
            return self._with_pixel(phases[0] @ (self.array @ phases[1].T), ky, kx)
        return self._with_pixel(phases[0] @ self.array @ phases[1].T, ky, kx)

    def grid_transfer(
        self, shape: tuple[int, int], bands: int, *, half: bool = False
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """`transfer` at the frequencies of a Fourier transform of some pixels, by one where that is
        faster.

        Parameters
        ----------
        shape : (int, int)
            Image pixels (ny, nx).
        bands : int
            How many times the image's own Nyquist frequency they reach; not above the samples'.
        half : bool
            Only the non-negative frequencies of the second axis, as of a real transform.

        Returns
        -------
        ky, kx, transfer : ndarray
        """
        ky = 2 * np.pi * np.fft.fftfreq(bands * shape[0], 1 / bands)
        kx = 2 * np.pi * (np.fft.rfftfreq if half else np.fft.fftfreq)(bands * shape[1], 1 / bands)
        size = [int(s) * n for s, n in zip(self.sampling, shape, strict=True)]
        whole = all(s == int(s) for s in self.sampling)
        if not whole or self.array.size < LARGE or any(np.greater(self.array.shape, size)):
            return ky, kx, self.transfer(ky, kx)
        rows, cols = (
            np.rint(k * n / (2 * np.pi)).astype(int) for k, n in zip((ky, kx), shape, strict=True)
        )
        t = (np.fft.rfft2 if half else np.fft.fft2)(self.array, size)[np.ix_(rows, cols)]
        for axis, (k, n, s) in enumerate(
            zip((ky, kx), self.array.shape, self.sampling, strict=True)
        ):
            phase = np.where(self._beyond(k, n, s), 0.0, np.exp(1j * k * ((n - 1) / 2 / s)))
            t *= phase[:, None] if axis == 0 else phase
        return ky, kx, self._with_pixel(t, ky, kx)

    @staticmethod
    def _beyond(k: np.ndarray, size: int, sampling: float) -> np.ndarray:
        """Whether frequencies are above the samples' Nyquist frequency.

        At that itself both signs count alike, which makes zero where the size is even.
        """
        return np.abs(k) > np.pi * sampling * (1 + (1e-9 if size % 2 else -1e-9))

    def _with_pixel(self, t: np.ndarray, ky: np.ndarray, kx: np.ndarray) -> np.ndarray:
        """The samples' transfer with what of the detector pixel's response is not in it yet."""
        if self.pixel_response == "native":
            return t
        t = t * (np.sinc(ky / (2 * np.pi))[:, None] * np.sinc(kx / (2 * np.pi)))
        if self.pixel_response == "subpixel":
            y, x = (
                np.sinc(np.clip(k / (2 * np.pi * s), -0.5, 0.5))
                for k, s in zip((ky, kx), self.sampling, strict=True)
            )
            t = t / (y[:, None] * x)
        return t

    def effective(self) -> np.ndarray:
        """The effective PSF at the centres of image pixels: band-limited, the pixel's response in
        it.

        Returns
        -------
        ndarray, shape (odd, odd)
            Its middle element is the PSF's centre; it covers `native_shape`.
        """
        if self.on_pixels:
            return self.array
        ny, nx = self.native_shape
        bands = int(np.ceil(max(self.sampling) - 1e-9))
        ky, kx, t = self.grid_transfer((ny, nx), bands)
        y, x = (np.exp(1j * np.outer(np.arange(n) - n // 2, k)) for n, k in ((ny, ky), (nx, kx)))
        return (y @ t @ x.T).real / (ny * nx)

    def __repr__(self) -> str:
        return f"PSF({self._described()}, FWHM {self.fwhm:.2f} px)"

    def _described(self) -> str:
        shown = self.oversampling
        text = f"{shown:.6g}" if isinstance(shown, float) else f"{shown}"
        size = f"{self.shape[0]}x{self.shape[1]}"
        return f"{size}, oversampling={text}, pixel_response={self.pixel_response!r}"


class VaryingPSF(PSF):
    """A PSF that differs from place to place of an image.

    Parameters
    ----------
    field : callable
        The samples, shape (ny, nx), at a place (x, y) in 0-based pixels of the field's own frame:
        one of `bayesjoint.images.psf_field`, or any object that is called like them and has their
        `limits`.
    oversampling, pixel_response
        As for `PSF`.
    normalize : bool
        Divide by the sum, at each place.
    origin : (float, float)
        The 0-based pixel (x, y) of the field's frame at which the image begins.

    Raises
    ------
    ValueError
        As `PSF` does; when it is evaluated, for samples that are not finite or have no positive sum
        there.

    Notes
    -----
    `array`, `fwhm`, `centroid` and the like are those at the middle of the image that it is
    attached to; before that, at the middle of the field.
    """

    varies = True

    def __init__(
        self,
        field: Field,
        *,
        oversampling: float | Sequence[float] = 1,
        pixel_response: str | None = "native",
        normalize: bool = True,
        origin: tuple[float, float] = (0, 0),
    ) -> None:
        if not callable(field):
            raise ValueError(
                "The field of a varying PSF must be callable as field(x, y); got"
                f" {type(field).__name__}. Make one with bayesjoint.images.psf_field."
            )
        self._set_options(oversampling, pixel_response, normalize)
        try:
            x0, y0 = origin
        except (TypeError, ValueError):
            raise ValueError(f"origin must be a pixel (x, y); got {origin!r}.") from None
        self.field, self.origin = field, (to_float(x0, "", "origin"), to_float(y0, "", "origin"))
        self._shape: tuple[int, int] | None = None
        self._shared: dict[str, Any] = {"psfs": {}, "bytes": 0, "said": set()}

    def at(self, x: float, y: float) -> PSF:
        """The PSF at a place.

        Parameters
        ----------
        x, y : float
            0-based pixels of the image that it is attached to.

        Returns
        -------
        PSF
            A constant one; the very same object for the same place.

        Raises
        ------
        ValueError
            If there is no PSF at that place.
        """
        place, key = self._place(x, y), self.place_key(x, y)
        known = self._shared["psfs"].get(key)
        if known is not None:
            return known
        self._check_limits(place)
        new = PSF.silent(
            self.field(*place),
            oversampling=self.sampling,
            pixel_response=self.pixel_response,
            normalize=self.normalize,
            what=f"The PSF at (x, y) = ({x:.1f}, {y:.1f})",
        )
        if self._shared["bytes"] + new.array.nbytes > CACHE_BYTES:
            self._shared.update(psfs={}, bytes=0)
        self._shared["psfs"][key] = new
        self._shared["bytes"] += new.array.nbytes
        return new

    def _place(self, x: float, y: float) -> tuple[float, float]:
        """A place of the image in the field's frame, to a thousandth of a pixel."""
        return round(float(x) + self.origin[0], 3), round(float(y) + self.origin[1], 3)

    def place_key(self, x: float, y: float) -> Hashable:
        """What tells PSFs apart at places (x, y), in pixels of the image."""
        place = self._place(x, y)
        return self.field.key(*place) if hasattr(self.field, "key") else place

    def _check_limits(self, place: tuple[float, float]) -> None:
        limits = getattr(self.field, "limits", None)
        if limits is None or "limits" in self._shared["said"]:
            return
        if any(not lo - 1 <= v <= hi + 1 for v, (lo, hi) in zip(place, limits, strict=True)):
            self._shared["said"].add("limits")
            (x_lo, x_hi), (y_lo, y_hi) = limits
            log.warning(
                "The PSF is needed at (x, y) = (%.1f, %.1f) of its own frame, and is known for x"
                " from %.1f to %.1f and y from %.1f to %.1f: it is extrapolated. If the image is a"
                " cut-out, give origin=.",
                *place, x_lo, x_hi, y_lo, y_hi,
            )  # fmt: skip

    def cropped(self, x0: float, y0: float) -> VaryingPSF:
        """The PSF of a part of the image that begins at its pixel (x0, y0), 0-based."""
        new = self._clone()
        new.origin, new._shape = (self.origin[0] + float(x0), self.origin[1] + float(y0)), None
        return new

    def attached(self, shape: tuple[int, int]) -> VaryingPSF:
        """The PSF as that of an image of a shape (ny, nx).

        Where one PSF is wanted for all of the image, it is that of its middle.
        """
        shape = int(shape[0]), int(shape[1])
        if shape == self._shape:
            return self
        new = self._clone()
        new._shape = shape
        if "suspect" not in self._shared["said"]:
            self._shared["said"].add("suspect")
            for text in new._here.warnings():
                log.warning("%s", text)
        return new

    def as_moffat(self, beta: float = 2.5, *, radius: float | None = None) -> PSF:
        """Moffat function, one for all places, of the FWHM at the middle of the image.

        That is said where the FWHM differs over the image.

        Parameters
        ----------
        beta, radius
            As for `PSF.as_moffat`; `radius` in pixels.
        """
        if self._shape is not None:
            low, high = self.fwhm_range()
            log.log(
                logging.WARNING if high > ALIKE * low else logging.INFO,
                "One Moffat function, of the FWHM in the middle, %.2f px, takes the place of a PSF"
                " that varies: its FWHM is %.2f to %.2f px over the image.",
                *(self.fwhm, low, high),
            )
        return super().as_moffat(beta, radius=radius)

    def _clone(self) -> VaryingPSF:
        """A copy that shares the PSFs evaluated so far."""
        new = object.__new__(type(self))
        new.__dict__.update(self.__dict__)
        return new

    @property
    def _here(self) -> PSF:
        """The PSF that stands for all places: that of the image's middle."""
        if self._shape is not None:
            return self._near((self._shape[1] - 1) / 2, (self._shape[0] - 1) / 2)
        limits = getattr(self.field, "limits", None)
        if limits is None:
            return self.at(0.0, 0.0)
        x, y = (0.5 * (lo + hi) if np.isfinite(hi - lo) else 0.0 for lo, hi in limits)
        return self._near(x - self.origin[0], y - self.origin[1])

    def _near(self, x: float, y: float) -> PSF:
        """The PSF at a place, or at the nearest that has one."""
        if hasattr(self.field, "nearest"):
            px, py = self.field.nearest(*self._place(x, y))
            x, y = px - self.origin[0], py - self.origin[1]
        return self.at(x, y)

    @property
    def array(self) -> np.ndarray:
        """The samples at the middle of the image, shape (ny, nx), read-only."""
        return self._here.array

    @property
    def fwhm(self) -> float:
        """Full width at half maximum at the middle of the image, in image pixels."""
        return self._here.fwhm

    def fwhm_range(self, shape: tuple[int, int] | None = None) -> tuple[float, float]:
        """Smallest and largest FWHM on 5 x 5 places of an image, in image pixels.

        Parameters
        ----------
        shape : (int, int), optional
            Of the image (ny, nx); default, that which it is attached to.

        Raises
        ------
        ValueError
            If it is attached to no image and no shape is given.
        """
        shape = self._shape if shape is None else shape
        if shape is None:
            raise ValueError(
                "fwhm_range needs the shape of an image; got None. Give shape=(ny, nx)."
            )
        y, x = (np.linspace(0, n - 1, 5) for n in shape)
        widths = [self._near(i, j).fwhm for j in y for i in x]
        return min(widths), max(widths)

    def trimmed(self, reach: int) -> PSF:
        """The middle's PSF within `reach` image pixels of its centre."""
        return self._here.trimmed(reach)

    def __getstate__(self) -> dict[str, Any]:
        return {
            **self.__dict__,
            "_shared": {"psfs": {}, "bytes": 0, "said": set(self._shared["said"])},
        }

    def __repr__(self) -> str:
        width = f"FWHM {self.fwhm:.2f} px at the middle"
        return f"VaryingPSF({self.field!r}, {self._described()}, {width})"


def _reach(radius: Any, scale: float, default: float) -> float:
    """Radius of an array in pixels."""
    if radius is None:
        return default
    radius = to_float(radius, "arcsec", "radius")
    if not radius > 0:
        raise ValueError(f"A PSF's radius must be positive; got {radius} arcsec.")
    return radius / scale


def _widths(fwhm: Any, pixel_scale: Any) -> tuple[float, float]:
    fwhm, scale = (
        to_float(fwhm, "arcsec", "The PSF's fwhm"),
        to_float(pixel_scale, "arcsec", "pixel_scale"),
    )
    if fwhm <= 0 or scale <= 0:
        raise ValueError(f"fwhm and pixel_scale must be positive; got {fwhm} and {scale} arcsec.")
    return fwhm, scale


def _sampling(given: Any) -> tuple[int | float | tuple[float, float], tuple[float, float]]:
    """Samples per pixel as the user sees them, and along (y, x)."""
    try:
        pair = len(given) == 2
    except TypeError:
        pair = False
    values = [to_float(v, "", "oversampling") for v in (given if pair else (given,))]
    if min(values) <= 0:
        raise ValueError(
            "oversampling must be a positive number of samples per image pixel, or two of them"
            f" (y, x); got {given!r}."
        )
    values = [float(round(v)) if abs(v - round(v)) < WHOLE * v else v for v in values]
    shown = [int(v) if v == int(v) else v for v in values]
    if len(set(values)) == 1:
        return shown[0], (values[0], values[0])
    return (shown[0], shown[1]), (values[0], values[1])


def _refine(a: np.ndarray) -> tuple[np.ndarray, int]:
    """The part above half the peak, with a margin, on a finer grid by a cubic spline.

    Returns it and how much finer that grid is.
    """
    from scipy.ndimage import zoom

    a = np.pad(a, 4)
    high = a > 0.5 * a.max()
    rows, columns = np.flatnonzero(high.any(1)), np.flatnonzero(high.any(0))
    box = a[rows[0] - 4 : rows[-1] + 5, columns[0] - 4 : columns[-1] + 5]
    factor = int(np.ceil(400 / max(box.shape)))
    # zoom keeps the end points in place: n samples become (n - 1) factor + 1; one axis at a time,
    # by what it makes of unit vectors, is a fifth of the work
    down, across = (zoom(np.eye(n), (((n - 1) * factor + 1) / n, 1), order=3) for n in box.shape)
    return down @ box @ across.T, factor
