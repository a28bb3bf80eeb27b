"""Reading and writing images: FITS in the usual variants, and NDData."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.nddata import InverseVariance, NDData, StdDevUncertainty, VarianceUncertainty
from astropy.wcs import WCS

from bayesjoint.images.image import Image
from bayesjoint.images.psf import PSF

__all__ = ["MASKS", "Missing", "from_nddata", "read", "read_psf", "write"]

SCIENCE = ("SCI", "IMAGE", "DATA")
NOISE = {"VAR": "variance", "VARIANCE": "variance", "ERR": "sigma", "ERROR": "sigma", "SIGMA": "sigma", "RMS": "sigma", "STD": "sigma", "STDDEV": "sigma", "UNCERT": "sigma", "IVAR": "ivar", "INVVAR": "ivar", "WHT": "ivar", "WEIGHT": "ivar"}  # fmt: skip
MASKS = ("MASK", "DQ", "FLAGS", "BADPIX")
ZEROPOINTS = ("MAGZERO", "MAGZPT", "MAGZP", "ZEROPNT", "ZEROPOINT", "ZP", "PHOTZP", "MAG0", "MAGZERO1")
KEYS = {"epoch": ("MJD", "MJD-OBS", "MJD-AVG", "EPOCHMJD"), "gain": ("GAIN",), "wavelength": ("WAVELEN", "WAVELENG")}
NOISES = {"variance", "sigma", "ivar"}
PLACES = {"wcs", "pixel_scale"}


class Missing(ValueError):
    """What no image can be without is neither in the file nor given; `what` is "noise" or "place"."""

    def __init__(self, message: str, what: str) -> None:
        super().__init__(message)
        self.what = what


def read(source: Any, **overrides: Any) -> Image:
    """Read an image from FITS.

    Parameters
    ----------
    source : path, URL, file object or `~astropy.io.fits.HDUList`
        Science pixels in the primary HDU or in extension SCI; noise in VAR, ERR, IVAR or WHT (and the usual synonyms);
        mask in MASK or DQ (non-zero = ignored); an effective PSF in PSF.
    **overrides
        Any argument of `Image`; replaces what the file says (``psf=None`` drops its PSF).

    Raises
    ------
    OSError
        If the file is not there or is not FITS.
    ValueError
        If something needed is neither in the file nor given.
    """
    unknown = set(overrides) - NOISES - PLACES - {"psf", "mask", "center", "origin", "zeropoint", "band", "name", "epoch", "wavelength", "gain"}
    if unknown:
        raise TypeError(f"Image.read has no argument {sorted(unknown)[0]!r}; it takes those of Image.")
    overrides = _given(overrides)
    if isinstance(source, fits.HDUList):
        return _from_hdus(source, None, overrides)
    stem = pathlib.Path(str(getattr(source, "name", source))).name.split(".")[0] if not hasattr(source, "read") or hasattr(source, "name") else None
    if isinstance(source, str | pathlib.Path) and "://" not in str(source):
        source = path = pathlib.Path(source).expanduser()
        if not path.is_file():
            raise FileNotFoundError(f"There is no file {str(path)!r} to read an image from.")
        if path.stat().st_size == 0:
            raise OSError(f"{str(path)!r} is empty: it holds no FITS image.")
    try:
        hdus = fits.open(source, memmap=False)
    except OSError as e:
        raise OSError(f"{str(source)!r} cannot be read as FITS: {e}") from e
    try:
        return _from_hdus(hdus, stem, overrides)
    finally:
        hdus.close(closed=not hasattr(source, "read"))  # a file that the user opened is the user's to close


def read_psf(file: str) -> PSF | None:
    """The PSF that a FITS file (path or URL) holds in its extension PSF, however large the image; None where it has none."""
    with fits.open(file if "://" in file else pathlib.Path(file).expanduser(), memmap=False) as hdus:
        found = next((h for h in hdus[1:] if h.name.upper() == "PSF"), None)
        return None if found is None else _psf(found)


def _from_hdus(hdus: fits.HDUList, stem: str | None, overrides: dict) -> Image:
    what = f"{stem!r}" if stem else "the file"
    named = {h.name.upper(): h for h in reversed(hdus[1:]) if h.name}  # of several by one name, the first
    sci = hdus[0] if _data(hdus[0]) is not None else next((named[n] for n in SCIENCE if n in named), None)
    if sci is None:
        sci = next((h for h in hdus[1:] if h.is_image and np.ndim(_data(h)) == 2 and h.name.upper() not in {*NOISE, *MASKS, "PSF", "SEG"}), None)
    if sci is None or not getattr(sci, "is_image", False):
        raise ValueError(
            f"No image was found in {what}: expected pixels in the primary HDU or an extension SCI, and there are {[h.name for h in hdus]}."
        )
    header = hdus[0].header.copy() if sci is hdus[0] else _merged(hdus[0].header, sci.header)
    options: dict[str, Any] = {}
    if NOISES.isdisjoint(overrides):
        found = next((n for n in NOISE if n in named), None)
        if found is None:
            raise Missing(
                f"{what} has no noise: expected an extension VAR, ERR, IVAR or WHT; give variance=, sigma= or ivar= (variance='estimate' measures it).",
                "noise",
            )
        options[NOISE[found]] = _data(named[found])
    if "mask" not in overrides:
        found = next((n for n in MASKS if n in named), None)
        options["mask"] = None if found is None else np.asarray(_data(named[found])) != 0
    if "psf" not in overrides and "PSF" in named:
        options["psf"] = _psf(named["PSF"])
    if PLACES.isdisjoint(overrides):
        options |= _place(header, hdus, what)
    if "zeropoint" not in overrides:
        options["zeropoint"] = next((float(header[k]) for k in ZEROPOINTS if isinstance(header.get(k), int | float)), None)
    for key, keywords in KEYS.items():
        if key not in overrides:
            options[key] = next((float(header[k]) for k in keywords if isinstance(header.get(k), int | float)), None)
    if "band" not in overrides:
        options["band"] = _clean(header.get("BAND") or header.get("FILTER") or stem or "image")
    if "name" not in overrides:
        options["name"] = _clean(header.get("BJNAME") or stem or "") or None
    image = Image(sci.data, **(options | overrides))
    if {*PLACES, "center", "origin"}.isdisjoint(overrides) and ("BJSHIFTX" in header or "BJSHIFTY" in header):
        image = image.shifted(header.get("BJSHIFTX", 0.0), header.get("BJSHIFTY", 0.0))
    return image


def _psf(hdu: Any) -> PSF:
    h = hdu.header
    return PSF(
        _data(hdu),
        oversampling=int(h.get("OVERSAMP", 1)),
        pixel_response={"OPTICAL": None, "SUBPIXEL": "subpixel"}.get(str(h.get("PIXRESP", "")).upper(), "native"),
        normalize=bool(h.get("PSFNORM", True)),
    )


def _given(overrides: dict) -> dict:
    """Leave out noise and place that are None: they replace nothing, whereas ``psf=None`` does."""
    return {k: v for k, v in overrides.items() if v is not None or k not in {*NOISES, *PLACES, "center", "origin"}}


def _data(hdu: Any) -> Any:
    try:
        return hdu.data
    except (TypeError, ValueError, OSError) as e:  # a cut-off file is met where numpy fills the array
        raise OSError(f"The pixels of HDU {hdu.name or 'PRIMARY'!r} cannot be read: is the file cut short? ({e})") from e


def _clean(text: Any) -> str:
    return str(text).strip().replace("/", "-").replace("[", "(").replace("]", ")")


def _merged(primary: fits.Header, extension: fits.Header) -> fits.Header:
    header = extension.copy()
    for card in primary.cards:
        if card.keyword and card.keyword not in header and card.keyword not in ("SIMPLE", "COMMENT", "HISTORY", ""):
            header[card.keyword] = card.value
    return header


def _place(header: fits.Header, hdus: fits.HDUList, what: str) -> dict[str, Any]:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wcs = WCS(header, fobj=hdus)  # look-up tables of distortion are HDUs of their own
    if wcs.has_celestial:
        return {"wcs": wcs}
    if "PIXSCALE" in header:
        return {"pixel_scale": float(header["PIXSCALE"])}
    raise Missing(f"{what} does not say where its pixels lie: its header has no celestial WCS and no PIXSCALE; give wcs= or pixel_scale=.", "place")


def from_nddata(nddata: NDData, **overrides: Any) -> Image:
    """Make an `Image` from NDData or CCDData; `overrides` are arguments of `Image` and replace what it holds."""
    options: dict[str, Any] = {}
    overrides = _given(overrides)
    if NOISES.isdisjoint(overrides):
        kinds = {VarianceUncertainty: "variance", StdDevUncertainty: "sigma", InverseVariance: "ivar"}
        kind = kinds.get(type(nddata.uncertainty))
        if kind is None:
            raise ValueError(
                "The NDData has no uncertainty that is a standard deviation, variance or inverse variance: give variance=, sigma= or ivar=."
            )
        options[kind] = nddata.uncertainty.array
    if nddata.mask is not None:
        options["mask"] = nddata.mask
    if nddata.wcs is not None and PLACES.isdisjoint(overrides):
        options["wcs"] = nddata.wcs
    if getattr(nddata, "psf", None) is not None:
        options["psf"] = nddata.psf
    return Image(nddata.data, **(options | overrides))


def write(image: Image, path: Any, *, overwrite: bool = False) -> None:
    """Write an `Image` as FITS (see `Image.write`)."""
    place = image.placement
    if place.wcs is None:
        header = fits.Header({"PIXSCALE": place.scale})
    else:
        wcs = place.wcs.deepcopy()
        if any(t is not None for t in (wcs.cpdis1, wcs.cpdis2, wcs.det2im1, wcs.det2im2)):
            raise ValueError(
                "An image whose WCS has look-up tables of distortion cannot be written: give it a WCS with SIP, or none, by .replace(wcs=...)."
            )
        wcs.wcs.crpix = wcs.wcs.crpix - np.array(place.crop, float)
        if wcs.sip is not None:
            from astropy.wcs import Sip

            wcs.sip = Sip(wcs.sip.a, wcs.sip.b, wcs.sip.ap, wcs.sip.bp, wcs.wcs.crpix)
        header = wcs.to_header(relax=True)
        for key in KEYS["epoch"]:  # else the WCS's date would be read back as the image's epoch
            header.remove(key, ignore_missing=True)
    values = {
        "MAGZERO": image.zeropoint,
        "BAND": image.band,
        "BJNAME": image.name,
        "MJD": image.epoch,
        "GAIN": image.gain,
        "WAVELEN": image.wavelength,
    }
    shift = tuple(a + b for a, b in zip(place.shift, place.center, strict=True))  # a centre is a shift from (0, 0)
    if shift != (0.0, 0.0):
        values |= {"BJSHIFTX": shift[0], "BJSHIFTY": shift[1]}
    header.update({k: v for k, v in values.items() if v is not None})
    hdus = [fits.PrimaryHDU(image.data, header), fits.ImageHDU(image.variance, name="VAR"), fits.ImageHDU(image.mask.astype(np.uint8), name="MASK")]
    if image.psf is not None:
        h = fits.ImageHDU(image.psf.array, name="PSF")
        h.header["OVERSAMP"] = image.psf.oversampling
        h.header["PIXRESP"] = {"native": "NATIVE", "subpixel": "SUBPIXEL", None: "OPTICAL"}[image.psf.pixel_response]
        h.header["PSFNORM"] = image.psf.normalize
        hdus.append(h)
    fits.HDUList(hdus).writeto(path, overwrite=overwrite)
