"""PSFs that are one image: an array, a plain FITS file, or an extension of an image's own file."""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy.io import fits
from astropy.nddata import NDData
from astropy.units import Quantity

from bayesjoint.images.files import FitsFile, Plane, tags
from bayesjoint.images.psf import PSF
from bayesjoint.images.psf_files.base import FROM_FILE, PSFFile, Say, kinds
from bayesjoint.images.psf_files.sampling import (
    pixel_response,
    samples_per_pixel,
    stated_scale,
    states_sampling,
    unsure_cards,
)

__all__ = ["Array", "Given", "Plain"]

WIDE_PX = 8.0
"""FWHM from which on a PSF of which nobody says how it is sampled is doubted."""
SUM_IS_ONE, LEAST_SUM = 1e-3, 0.5
"""Departure of a sum from 1 that is named; least sum that may lack light outside the array."""


class Given(PSFFile):
    """A PSF already made: taken as it is."""

    kind = "PSF"
    order = 95
    in_files = False

    @classmethod
    def matches(cls, source: Any) -> bool:
        """Whether it is a PSF."""
        return isinstance(source, PSF)

    def read(self) -> PSF:
        """The very same PSF, its origin moved by that which is given."""
        if self.options.oversampling is not None or self.options.pixel_response != FROM_FILE:
            raise ValueError(
                "A PSF that is made already has its oversampling and pixel response; got one with "
                "others. Make it anew: bj.PSF(psf.array, ...)."
            )
        self.say("as given")
        moved = self.source.varies and self.options.origin != (0.0, 0.0)
        return self.source.cropped(*self.options.origin) if moved else self.source


class Array(PSFFile):
    """An array of samples, or NDData and CCDData with their header."""

    kind = "array"
    order = 94
    in_files = False

    @classmethod
    def matches(cls, source: Any) -> bool:
        """Whether it is an array."""
        return isinstance(source, np.ndarray | Quantity | list | NDData)

    def read(self) -> PSF:
        """One PSF for all places."""
        if isinstance(self.source, NDData):
            data, mask, meta = self.source.data, self.source.mask, self.source.meta
            array = data if mask is None else np.ma.array(data, mask=mask)
            header = meta if isinstance(meta, fits.Header) else fits.Header()
            return one_image(self, array, header)
        sampling = self.options.oversampling or (1.0, 1.0)
        value = self.source.value if isinstance(self.source, Quantity) else self.source
        self.say(f"an array of {' x '.join(map(str, np.shape(value)))} samples")
        return self.constant(value, sampling, "native")


class Plain(PSFFile):
    """A FITS image that holds one PSF."""

    kind = "image"
    order = 10

    @classmethod
    def matches(cls, source: Any) -> bool:
        """Whether the file has an image, or its path names an extension."""
        return isinstance(source, FitsFile) and (
            source.address.extension is not None or any(p.is_image for p in source.planes)
        )

    def plane(self) -> Plane:
        """The image that is the PSF.

        Raises
        ------
        ValueError
            Where there are several, and neither a name nor the path tells them apart.
        """
        named = self.file.named_plane()
        if named is not None:
            if not named.is_image:
                held = f"a table of columns {_columns(named)}" if _columns(named) else "no pixels"
                known = ", ".join(k.kind for k in kinds() if k.in_files)
                raise ValueError(
                    f"Extension {named.tag} must hold an image of a PSF, or a table of a kind "
                    f"that is known ({known}); got {held}. Name another extension."
                )
            return named
        images = [p for p in self.file.planes if p.is_image]
        psfs = [p for p in images if p.kind == "psf"]
        found = psfs or images
        if len(found) > 1 and self.options.band is not None:
            band = self.options.band.upper()
            found = [p for p in found if p.group.upper() == band] or found
        if len(found) > 1:
            raise ValueError(
                "A file must hold one image for it to be read as a PSF, or one named PSF; got "
                f"{len(found)}: {tags(found)}. Name the one that is meant after the path, as in "
                f"psf.fits{found[0].tag}."
            )
        return found[0]

    def read(self) -> PSF:
        """One PSF for all places."""
        plane = self.plane()
        where = "" if plane.index == 0 or not plane.name else f", extension {plane.tag}"
        return one_image(self, plane.image(), self._header(plane), where)

    def _header(self, plane: Plane) -> fits.Header:
        """Its header; or what an empty primary HDU says of the sampling, where it says nothing."""
        own, first = plane.header, self.file.primary
        if first.shape or any(states_sampling(k) for k in own):
            return own
        return fits.Header([*own.cards, *(c for c in first.header.cards if states_sampling(c[0]))])


def one_image(reader: PSFFile, array: Any, header: fits.Header, where: str = "") -> PSF:
    """A PSF of one array and its header, and what was decided about it."""
    options, say = reader.options, reader.say
    total = float(np.sum(array, dtype=float))
    normalize = _normalized(header)
    of_sum = ""
    if options.normalize and normalize and abs(total - 1) > SUM_IS_ONE:
        of_sum = f", divided by their sum, {total:.5g}"
        if LEAST_SUM < total < 1:
            of_sum += " (normalize=False keeps it, if the rest lies outside the array)"
    ny, nx = array.shape if array.ndim == 2 else (0, 0)
    say(f"image of {ny} x {nx} samples{where}{of_sum}")
    sampling = samples_per_pixel(header, options, say)
    given = options.pixel_response != FROM_FILE
    response = None if given else pixel_response(header)
    psf = reader.constant(array, sampling or (1.0, 1.0), response, normalize=normalize)
    if sampling is None:
        _doubt(psf, header, say)
    included = {"native": "included", "subpixel": "of its own samples only", None: "not included"}
    source = "PIXRESP" if "PIXRESP" in header else "as usual for images of PSFs"
    say(f"pixel response {included[psf.pixel_response]} ({'as given' if given else source})")
    return psf


def _doubt(psf: PSF, header: fits.Header, say: Say) -> None:
    """Say, or refuse, that 1 sample a pixel is doubtful where nothing that is known states it."""
    # a scale that is known and cannot be right has been named already
    cards = ", ".join(unsure_cards(header) if stated_scale(header) is None else ())
    wide = psf.fwhm > WIDE_PX
    if cards and wide:
        raise ValueError(
            f"The sampling of a PSF must be known; got {cards}, which may state it, and an FWHM of "
            f"{psf.fwhm:.1f} samples. Give oversampling=, 1 if the samples are the image's pixels."
        )
    if cards:
        say(
            f"{cards} may state the sampling of the PSF, and is not read; give oversampling= if "
            "there is not 1 sample a pixel",
            warning=True,
        )
    elif wide:
        say(
            f"its FWHM is {psf.fwhm:.1f} samples, which is much for 1 sample a pixel; give "
            "oversampling= if it is oversampled",
            warning=True,
        )


def _normalized(header: Any) -> bool:
    value = header.get("PSFNORM", True)
    if not isinstance(value, bool | int):
        raise ValueError(f"PSFNORM must be T or F; got {value!r}. Correct the card.")
    return bool(value)


def _columns(plane: Plane) -> str:
    names = getattr(getattr(plane.hdu, "columns", None), "names", None) or []
    return ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
