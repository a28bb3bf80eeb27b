"""Writing: an image as one FITS file that reads back the same."""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy.io import fits
from astropy.wcs import Sip

from bayesjoint.images import psf_files
from bayesjoint.images.image import Image

__all__ = ["write"]

DATES = ("MJD", "MJD-OBS", "MJD-AVG", "EPOCHMJD", "DATE-OBS", "DATE-AVG", "DATE-BEG", "DATE-END")


def write(image: Image, path: Any, *, overwrite: bool = False) -> None:
    """Write an `Image` as FITS (see `Image.write`).

    Raises
    ------
    ValueError
        For a WCS with look-up tables of distortion.
    OSError
        For a file that is there already, unless `overwrite`.
    """
    place = image.placement
    if place.wcs is None:
        header = fits.Header({"PIXSCALE": place.scale})
    else:
        wcs = place.wcs.deepcopy()
        if any(t is not None for t in (wcs.cpdis1, wcs.cpdis2, wcs.det2im1, wcs.det2im2)):
            raise ValueError(
                "An image whose WCS has look-up tables of distortion cannot be written: give it a WCS "
                "with SIP, or none, by .replace(wcs=...)."
            )
        wcs.wcs.crpix = wcs.wcs.crpix - np.array(place.crop, float)
        if wcs.sip is not None:
            wcs.sip = Sip(wcs.sip.a, wcs.sip.b, wcs.sip.ap, wcs.sip.bp, wcs.wcs.crpix)
        header = wcs.to_header(relax=True)
        header["PIXSCALE"] = image.pixel_scale, "arcsec a pixel in the middle"
        for key in DATES:  # else the WCS's date would be read back as the image's epoch
            header.remove(key, ignore_missing=True)
    values = {
        "MAGZERO": image.zeropoint,
        "BAND": image.band,
        "BJNAME": image.name,
        "MJD": image.epoch,
        "GAIN": image.gain,
        "WAVELEN": image.wavelength,
    }
    pairs = zip(place.shift, place.center, strict=True)
    shift = tuple(a + b for a, b in pairs)  # a centre is a shift from (0, 0)
    if shift != (0.0, 0.0):
        values |= {"BJSHIFTX": shift[0], "BJSHIFTY": shift[1]}
    header.update({k: v for k, v in values.items() if v is not None})
    if image.zeropoint is not None:
        header.comments["MAGZERO"] = "AB magnitude of one unit"
    hdus = [
        fits.PrimaryHDU(image.data, header),
        fits.ImageHDU(image.variance, name="VAR"),
        fits.ImageHDU(image.mask.astype(np.uint8), name="MASK"),
    ]
    if image.psf is not None:
        hdu = psf_files.to_hdu(image.psf)
        hdus += hdu if isinstance(hdu, list) else [hdu]
    fits.HDUList(hdus).writeto(path, overwrite=overwrite)
