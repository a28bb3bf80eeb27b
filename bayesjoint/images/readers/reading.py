"""Reading: an image from a FITS file, with what was decided on the way."""

from __future__ import annotations

import dataclasses
from typing import Any

from astropy.io import fits

from bayesjoint.images.files import Address, opened
from bayesjoint.images.image import Image
from bayesjoint.images.readers.reader import NOISES, PLACES, Reading, readers, sibling
from bayesjoint.log import log

__all__ = ["Missing", "examine", "image_of", "read"]

OTHERS = {
    "psf", "psf_oversampling", "mask", "bad_bits", "center", "origin", "zeropoint", "band", "name", "epoch",
    "wavelength", "gain",
}  # fmt: skip


READERS_OWN = {"bad_bits", "psf_oversampling"}
"""Arguments that `Image` itself does not have."""


class Missing(ValueError):
    """What no image can be without is neither in the file nor given.

    Attributes
    ----------
    what : {"noise", "place"}
    """

    def __init__(self, message: str, what: str) -> None:
        super().__init__(message)
        self.what = what


def read(source: Any, **overrides: Any) -> Image:
    """Read an image from FITS.

    Parameters
    ----------
    source : path, URL, file object or `~astropy.io.fits.HDUList`
        A path may name an extension, a section and the plane of a cube as CFITSIO does:
        ``f.fits[SCI,2]``, ``f.fits[3]``, ``f.fits[1][101:200,1:100]``, ``cube.fits[1][*,*,300]``.
        What a file of each survey holds and means is read by `bayesjoint.images.readers`.
    **overrides
        Any argument of `Image`; replaces what the file says (``psf=None`` drops its PSF).
        `variance`, `sigma`, `ivar`, `mask` and `psf` may be paths of files, too. `bad_bits` says
        which planes of the mask are bad: names, and numbers of bits counted from 0;
        `psf_oversampling` how many samples a pixel the PSF of a file has, in place of what it says.

    Raises
    ------
    OSError
        If the file is not there or is not FITS.
    ValueError
        If something needed is neither in the file nor given, or what the file holds is ambiguous.
    """
    reading = examine(source, **overrides)
    if reading.missing:
        first, *more = sorted(reading.missing)  # noise, then place
        name = reading.arguments.get("name")
        sentence = "; it also ".join(_missing(what, source) for what in (first, *more))
        notes = [d for d in reading.decisions if d.warning and d.about in ("pixels", *reading.missing)]
        why = "".join(f" {_sentence(d)}." for d in notes)
        raise Missing(f"{repr(name) if name else 'the file'} {sentence}.{why}", first)
    image = image_of(reading, overrides)
    for d in image.decisions:
        if d.warning:
            log.warning("%s: %s.", image.name or image.band, _sentence(d))
    return image


def examine(source: Any, **overrides: Any) -> Reading:
    """Read a file without making an image of it: arguments of `Image`, decisions, what is missing.

    Parameters
    ----------
    source, **overrides
        As `read` takes them.
    """
    unknown = set(overrides) - set(NOISES) - set(PLACES) - OTHERS
    if unknown:
        raise TypeError(
            f"Image.read has no argument {sorted(unknown)[0]!r}; it takes those of Image."
        )
    given = _given(overrides)
    with opened(source) as file:
        reader = next(c for c in readers() if c.matches(file))
        return reader(file, given).examine()


def image_of(reading: Reading, overrides: dict[str, Any]) -> Image:
    """The image of a reading, its decisions attached."""
    arguments = {k: v for k, v in reading.arguments.items() if v is not None or k == "psf"}
    given = {k: v for k, v in _given(overrides).items() if k not in READERS_OWN}
    for k in ("mask", "psf", "zeropoint", *NOISES):  # as the reader has read them, from paths too
        if k in given and k in reading.arguments:
            given.pop(k)
    decisions = list(reading.decisions)
    image = Image._read(decisions, **(arguments | given))
    place = image.placement
    if reading.crop != (0, 0) and place.wcs is not None and "wcs" in reading.arguments:
        place = dataclasses.replace(place, crop=reading.crop)
    if reading.shift != (0.0, 0.0):
        place = place.shifted(*reading.shift)
    image.placement = place
    image.telescope = reading.telescope
    return image


def _given(overrides: dict[str, Any]) -> dict[str, Any]:
    """Leave out what replaces nothing where it is None; ``psf=None`` and ``mask=None`` do."""
    silent = {*NOISES, *PLACES, "center", "origin", *READERS_OWN}
    return {k: v for k, v in overrides.items() if v is not None or k not in silent}


def _missing(what: str, source: Any) -> str:
    path = None if isinstance(source, fits.HDUList) or hasattr(source, "read") else str(source)
    if what == "place":
        return (
            "does not say where its pixels lie, for its header has no celestial WCS and no PIXSCALE: "
            "give wcs= or pixel_scale="
        )
    beside = sibling(Address.of(path).file) if path else []
    hint = f" (beside it lies {', '.join(beside)})" if beside else ""
    return (
        "has no noise, for no extension VAR, ERR or IVAR belongs to it: give variance=, sigma= or ivar= as "
        f"numbers or a file{hint}, or measure it with variance='estimate'"
    )


def _sentence(decision: Any) -> str:
    text = str(decision.text)
    return text[:1].upper() + text[1:].rstrip(".")
