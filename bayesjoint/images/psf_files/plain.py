"""PSFs that are one image: an array, a plain FITS file, or an extension of an image's own file."""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy.units import Quantity

from bayesjoint.images.files import FitsFile, Plane, tags
from bayesjoint.images.psf import PSF
from bayesjoint.images.psf_files.base import FROM_FILE, PSFFile, kinds
from bayesjoint.images.psf_files.sampling import pixel_response, samples_per_pixel

__all__ = ["Array", "Given", "Plain"]


class Given(PSFFile):
    """A PSF already made: taken as it is."""

    kind = "PSF"
    order = 95

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
    """An array of samples."""

    kind = "array"
    order = 94

    @classmethod
    def matches(cls, source: Any) -> bool:
        """Whether it is an array."""
        return isinstance(source, np.ndarray | Quantity | list)

    def read(self) -> PSF:
        """One PSF for all places."""
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
                known = ", ".join(k.kind for k in kinds() if k.order < Given.order)
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
        header = plane.header
        array = plane.image()
        where = "" if plane.index == 0 or not plane.name else f", extension {plane.tag}"
        self.say(f"image of {array.shape[0]} x {array.shape[1]} samples{where}")
        sampling = samples_per_pixel(header, self.options, self.say)
        response = pixel_response(header) if self.options.pixel_response == FROM_FILE else None
        psf = self.constant(array, sampling, response, normalize=_normalized(header))
        said = {"native": "included", "subpixel": "of its own samples only", None: "not included"}
        source = "PIXRESP" if "PIXRESP" in header else "as usual for images of PSFs"
        if self.options.pixel_response != FROM_FILE:
            source = "as given"
        self.say(f"pixel response {said[psf.pixel_response]} ({source})")
        return psf


def _normalized(header: Any) -> bool:
    value = header.get("PSFNORM", True)
    if not isinstance(value, bool | int):
        raise ValueError(f"PSFNORM must be T or F; got {value!r}. Correct the card.")
    return bool(value)


def _columns(plane: Plane) -> str:
    names = getattr(getattr(plane.hdu, "columns", None), "names", None) or []
    return ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
