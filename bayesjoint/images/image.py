"""Image: pixels with their noise, mask, PSF, place on the sky and zeropoint; never changed after it is made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.nddata import Cutout2D, NDData
from astropy.wcs import WCS
from numpy.typing import ArrayLike

from bayesjoint.images.decisions import Decision
from bayesjoint.images.frame import Frame, Placement
from bayesjoint.images.noise import hidden_bright, is_huge, noise_from, nothing_left
from bayesjoint.images.psf import PSF
from bayesjoint.log import log
from bayesjoint.units import AB_NJY, convert_array, to_array, to_float, unit_zeropoint, zeropoint_from

MOSTLY_MASKED = 0.5
"""Share of the pixels from which on a mask that hides them is named."""

__all__ = ["Image", "as_mask"]


class Image:
    """One image of the sky on its own pixels.

    Parameters
    ----------
    data : array_like, shape (ny, nx)
        Pixel values in the image's own unit. Any dtype and byte order; copied, never changed. A Quantity in a unit of flux, or of
        surface brightness, has its zeropoint with it.
    variance : float, array_like or "estimate"
        The noise, of which exactly one of `variance`, `sigma` and `ivar` is given: variance of each pixel, in the image's unit squared.
        ``"estimate"`` measures a single value from the pixels and says what it did.
    sigma : float or array_like
        Standard deviation of each pixel, in the image's unit, instead. A Quantity, as any of the three may be, is converted to the unit of the data.
    ivar : float or array_like
        Inverse variance (1 / the image's unit squared), instead; 0 where there are no data.
    psf : PSF or array_like, optional
        An array is taken as an effective PSF on this image's pixels, of any size. None: no blur but the pixel itself.
    mask : array_like of bool, optional
        True = ignored. Pixels that are not finite (or 1e30), or whose variance is not positive, are masked too, and counted.
    wcs : `~astropy.wcs.WCS`, optional
        Celestial WCS. Exactly one of `wcs` and `pixel_scale`.
    pixel_scale : float or Quantity, optional
        Arcsec per pixel, for an image laid North up, East left.
    center : (x, y), optional
        Without a WCS: where the middle of the image lies, arcsec East and North; default (0, 0).
    origin : (x, y), optional
        Where its lower left corner lies, arcsec East and North, instead.
    zeropoint : float or Quantity, optional
        AB magnitude of one unit, or the flux of one unit as a Quantity (``3.63 * u.uJy``). None: fluxes stay in image units, without magnitudes.
    band : str
        Images of one band share their brightness. Default "image".
    name : str, optional
        Unique in a scene. Default: the band, numbered where it is not alone.
    epoch : float or `~astropy.time.Time`, optional
        Date, MJD: for light curves and proper motions.
    wavelength : float or Quantity, optional
        Effective wavelength, micron: for what is a function of it, and SEDs.
    gain : float, optional
        Electrons per image unit; kept, and used by nothing of the likelihood.

    Attributes
    ----------
    decisions : tuple of `~bayesjoint.images.decisions.Decision`
        What was decided while the image was read or made, and why.
    telescope : str or None
        Telescope and instrument of the file whose header named the band; None where the user named it.

    Raises
    ------
    ValueError
        In one sentence, for shapes that differ, noise that is missing, doubled, negative or NaN, units that cannot be converted, nothing left
        unmasked, or a missing place on the sky.
    """

    def __init__(
        self,
        data: ArrayLike,
        *,
        variance: Any = None,
        sigma: Any = None,
        ivar: Any = None,
        psf: PSF | ArrayLike | None = None,
        mask: ArrayLike | None = None,
        wcs: WCS | None = None,
        pixel_scale: Any = None,
        center: Sequence[Any] | None = None,
        origin: Sequence[Any] | None = None,
        zeropoint: Any = None,
        band: str = "image",
        name: str | None = None,
        epoch: float | None = None,
        wavelength: Any = None,
        gain: float | None = None,
    ) -> None:
        given = {k: v for k, v in locals().items() if k not in ("self", "data")}
        self._fill(data, **given)
        if mask is not None:
            hidden = as_mask(mask, self.shape)
            text = hidden_bright(self.data, hidden, self.mask & ~hidden)
            if text:
                self.decisions += (Decision("mask", f"{text}; invert it, or leave mask= out", True),)
        for d in self.decisions:
            log.warning("%s: %s", self.name or self.band, d.text)

    @classmethod
    def _read(cls, decisions: Iterable[Decision], data: ArrayLike, **given: Any) -> Image:
        """An image of arguments that a reader found, whose decisions it says itself."""
        new = object.__new__(cls)
        new._fill(data, **given)
        new.decisions = (*decisions, *new.decisions)
        return new

    def _fill(
        self,
        data: ArrayLike,
        *,
        variance: Any = None,
        sigma: Any = None,
        ivar: Any = None,
        psf: Any = None,
        mask: Any = None,
        wcs: Any = None,
        pixel_scale: Any = None,
        center: Any = None,
        origin: Any = None,
        zeropoint: Any = None,
        band: str = "image",
        name: str | None = None,
        epoch: Any = None,
        wavelength: Any = None,
        gain: Any = None,
    ) -> None:
        """Check the arguments and take them on; what they leave in doubt becomes `decisions`."""
        data, variance, sigma, ivar = (_unmasked(v) for v in (data, variance, sigma, ivar))
        unit = data.unit if isinstance(data, u.Quantity) and data.unit != u.dimensionless_unscaled else None
        variance, sigma, ivar = _in_unit_of(unit, variance=variance, sigma=sigma, ivar=ivar)
        data = _pixels(data)
        bad = ~np.isfinite(data) | is_huge(data)
        if mask is not None:
            mask = as_mask(mask, data.shape)
            bad |= mask
        noise, note = noise_from(data, bad, variance=variance, sigma=sigma, ivar=ivar)
        unusable = ~bad & ~((noise > 0) & np.isfinite(noise))
        bad |= unusable
        if bad.all():
            raise ValueError(nothing_left(bad.size))
        self.band, self.name = _label(band, "band"), None if name is None else _label(name, "name")
        label, notes = self.name or self.band, []
        by_mask = 0 if mask is None else int(mask.sum())
        hidden = int(bad.sum()) - by_mask
        if hidden:
            log.info("%s: %d pixels that are not finite, or have no positive variance, are masked.", label, hidden)
        if note:
            notes.append(Decision("noise", note, warning=True))
        if by_mask > MOSTLY_MASKED * bad.size:
            share = f"{100 * by_mask / bad.size:.0f} %"
            notes.append(Decision("mask", f"the mask hides {share} of the pixels; check that True (or the bits chosen) means ignored", warning=True))
        self.data = np.where(bad, np.where(np.isfinite(data), data, 0.0), data)
        self.variance = np.where(bad & ~((noise > 0) & np.isfinite(noise)), float(np.median(noise[~bad])), noise)
        self.mask = bad
        for a in (self.data, self.variance, self.mask):
            a.setflags(write=False)
        self.placement = Placement.of(data.shape, wcs=wcs, pixel_scale=pixel_scale, center=center, origin=origin)
        self.zeropoint = _zeropoint(zeropoint, unit, self.placement)
        self.epoch = None if epoch is None else to_float(getattr(epoch, "mjd", epoch), "MJD", "epoch")
        self.wavelength = None if wavelength is None else to_float(wavelength, "um", "wavelength")
        self.gain = None if gain is None else to_float(gain, "electrons per unit", "gain")
        psf = psf if psf is None or isinstance(psf, PSF) else PSF(psf)
        self.psf = None if psf is None else psf.attached(self.shape)
        self.decisions: tuple[Decision, ...] = tuple(notes)
        self.telescope: str | None = None

    # -- making one from elsewhere ------------------------------------------------------------------------------------
    @classmethod
    def read(cls, source: Any, **overrides: Any) -> Image:
        """Read an image from FITS: a path, URL, file object or HDUList; see `bayesjoint.images.readers.read`."""
        from bayesjoint.images.readers import read

        return read(source, **overrides)

    @classmethod
    def from_nddata(cls, nddata: NDData, **overrides: Any) -> Image:
        """Make an image from an `~astropy.nddata.NDData` or `CCDData`: data, uncertainty, mask, WCS and PSF are taken over.

        `overrides` are arguments of `Image`, which replace what it says.
        """
        from bayesjoint.images.readers import from_nddata

        return from_nddata(nddata, **overrides)

    def write(self, path: Any, *, overwrite: bool = False) -> None:
        """Write the image as FITS: science primary, VAR, MASK and PSF extensions, that `Image.read` reads back."""
        from bayesjoint.images.readers import write

        write(self, path, overwrite=overwrite)

    # -- another one from this ----------------------------------------------------------------------------------------
    def replace(self, **changes: Any) -> Image:
        """Return a copy with some of the constructor's arguments changed: `changes` are those of `Image`, in its units."""
        kept = {
            "data": self.data, "variance": self.variance, "mask": self.mask, "psf": self.psf, "zeropoint": self.zeropoint, "band": self.band,
            "name": self.name, "epoch": self.epoch, "wavelength": self.wavelength, "gain": self.gain,
        }  # fmt: skip
        place = {"wcs", "pixel_scale", "center", "origin"}
        if "sigma" in changes or "ivar" in changes:
            kept.pop("variance")
        if not place.isdisjoint(changes):
            new = Image._read((), **(kept | changes))
        else:
            new = Image._read((), **(kept | changes), pixel_scale=1.0)
            new.placement = self.placement.check(new.shape)
        new.decisions = self.decisions
        new.telescope = None if "band" in changes else self.telescope
        return new

    def shifted(self, dx: Any, dy: Any) -> Image:
        """Return a copy whose every pixel lies `dx` arcsec further East and `dy` arcsec further North."""
        new = self.replace()
        new.placement = self.placement.shifted(to_float(dx, "arcsec", "dx"), to_float(dy, "arcsec", "dy"))
        return new

    def cutout(self, center: Any, size: Any) -> Image:
        """Return the part of the image of `size` round `center`.

        Parameters
        ----------
        center : (x, y) in pixels (0-based), or SkyCoord
            The middle of the part.
        size : int, (ny, nx), or Quantity
            Pixels, or an angle along each axis; parts outside the image are left away.

        Raises
        ------
        ValueError
            If the part lies off the image, or has no pixel left unmasked.
        """
        if isinstance(center, SkyCoord):
            if self.placement.wcs is None:
                raise ValueError("A cutout about a SkyCoord needs an image with a WCS. Give the centre as pixels (x, y).")
            center = Frame(center).to_pixel(self.placement, 0.0, 0.0)
        try:
            if u.Quantity(size).unit != u.dimensionless_unscaled:
                size = u.Quantity(size).to(u.pix, u.pixel_scale(self.pixel_scale * u.arcsec / u.pix))
            cut = Cutout2D(self.data, center, size, mode="trim")
        except (TypeError, ValueError) as e:
            raise ValueError(f"The cutout of size {size} at {center} does not lie on the image of shape {self.shape}: {e}") from e
        part = cut.slices_original
        x0, y0 = part[1].start, part[0].start
        psf = None if self.psf is None else self.psf.cropped(x0, y0)
        new = self.replace(data=self.data[part], variance=self.variance[part], mask=self.mask[part], psf=psf, pixel_scale=1.0)  # its place comes next
        new.placement = self.placement.cropped(x0, y0, new.shape)
        return new

    # -- looking at it -----------------------------------------------------------------------------------------------
    @property
    def shape(self) -> tuple[int, int]:
        """Shape (ny, nx)."""
        return self.data.shape

    @property
    def sigma(self) -> np.ndarray:
        """Standard deviation of each pixel, in the image's unit."""
        return np.sqrt(self.variance)

    @cached_property
    def typical_sigma(self) -> float:
        """Median standard deviation of the pixels that are used, in the image's unit."""
        return float(np.median(self.sigma[self.valid]))

    @property
    def valid(self) -> np.ndarray:
        """True where a pixel is used."""
        return ~self.mask

    @property
    def pixel_scale(self) -> float:
        """Side in arcsec of a square as large as the middle pixel."""
        return self.placement.pixel_scale

    @property
    def unit_flux(self) -> float:
        """Image units per nJy; 1 without a zeropoint, as fluxes are then in image units."""
        return 1.0 if self.zeropoint is None else 10 ** (0.4 * (self.zeropoint - AB_NJY))

    def _repr_html_(self) -> str:
        from bayesjoint.plots.pages import image_page

        return image_page(self)

    def __repr__(self) -> str:
        zp = "" if self.zeropoint is None else f", zeropoint {self.zeropoint:g}"
        return f'<Image {self.name or self.band!r}: {self.shape[0]}x{self.shape[1]} px of {self.pixel_scale:.4g}", band {self.band!r}, {self.psf or "no PSF"}{zp}, {int(self.mask.sum())} px masked>'


def _pixels(data: ArrayLike) -> np.ndarray:
    a = to_array(data, "An image's data")
    if a.ndim != 2 or a.size == 0:
        raise ValueError(
            f"An image's data must be a 2-D array (ny, nx) that is not empty; got shape {a.shape}. "
            "Give one plane of it."
        )
    return a


def _unmasked(value: Any) -> Any:
    """Values of astropy's Masked, NaN where they are masked; anything else as it is."""
    if not hasattr(value, "unmasked"):
        return value
    new = np.array(value.unmasked, dtype=float, subok=True)
    new[value.mask] = np.nan
    return new


def as_mask(mask: Any, shape: tuple[int, int]) -> np.ndarray:
    """Return what a user gives as a mask as booleans, True where a pixel is ignored.

    Raises
    ------
    ValueError
        For another shape, and what is no array of booleans or numbers.
    """
    a = np.asarray(np.ma.filled(mask, 1) if isinstance(mask, np.ma.MaskedArray) else mask)
    if a.dtype.kind not in "biuf":
        raise ValueError(
            f"mask must be an array of booleans or numbers; got {a.dtype if a.ndim else mask!r}. Give "
            "True where a pixel is ignored."
        )
    if a.shape != shape:
        raise ValueError(
            f"mask must have the shape of the image, {shape}; got {a.shape}. Give one value a pixel, "
            "True where it is ignored."
        )
    return a.astype(bool)


def _in_unit_of(unit: u.UnitBase | None, **noise: Any) -> tuple[Any, ...]:
    """Noise in the unit of the data; that of data without a unit is taken as it is, once it has none either."""
    out = []
    for kind, value in noise.items():
        if isinstance(value, u.Quantity):
            wanted = None if unit is None else {"sigma": unit, "variance": unit**2, "ivar": unit**-2}[kind]
            value = convert_array(value, wanted, kind)
        out.append(value)
    return tuple(out)


def _zeropoint(given: Any, unit: u.UnitBase | None, placement: Placement) -> float | None:
    """AB magnitude of one unit: what was given, else what the unit of the data is worth."""
    if given is None and unit is None:
        return None
    area = float((placement.pixel_scale * u.arcsec).to_value(u.rad) ** 2)
    own = None if unit is None else unit_zeropoint(unit, pixel_area_sr=area)
    if given is None:
        return own
    value = zeropoint_from(given, pixel_area=area, unit=unit)
    if own is not None and abs(own - value) > 1e-3:
        raise ValueError(
            f"zeropoint must agree with the unit of the data, {unit}, of which one is AB magnitude {own:.3f}; got {value:.3f}. Leave zeropoint out, or give the data without a unit."
        )
    return value


def _label(text: str, what: str) -> str:
    text = str(text).strip()
    if not text or any(c in text for c in "/[]") or not text.isprintable():
        raise ValueError(
            f"An image's {what} must be a short text without '/', '[' or ']'; got {text!r}. Give "
            f"another {what}=."
        )
    return text
