"""Planes: what the name of an extension says its pixels are, and which planes belong together."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bayesjoint.images.files import Plane

__all__ = ["KINDS", "NOISE_KINDS", "classify"]

KINDS: dict[str, str] = {
    **dict.fromkeys(("SCI", "SCIENCE", "IMAGE", "DATA", "FLUX", "INTENSITY"), "science"),
    **dict.fromkeys(("ERR", "ERROR", "SIGMA", "RMS", "STD", "STDDEV", "UNC", "NOISE"), "sigma"),
    **dict.fromkeys(("VAR", "VARIANCE", "STAT"), "variance"),
    **dict.fromkeys(("IVAR", "INVVAR", "INVERSE_VARIANCE", "WGT"), "ivar"),
    **dict.fromkeys(("WHT", "WEIGHT"), "weight"),
    **dict.fromkeys(
        ("MASK", "DQ", "FLAGS", "FLG", "FLAG", "BADPIX", "BPM", "MSK", "DQMASK", "MASKBITS"), "mask"
    ),
    **dict.fromkeys(("PSF", "PSFIMAGE", "EPSF", "PSF_IMAGE"), "psf"),
    **dict.fromkeys(
        ("CON", "CTX", "SEG", "SEGMENTATION", "AREA", "EXP", "EXPTIME", "SAMP", "TIME", "MODEL",
         "RESIDUAL", "BKG", "BACKGROUND", "SKY", "HDRTAB", "ASDF", "VAR_POISSON", "VAR_RNOISE",
         "VAR_FLAT", "NEXP", "DEPTH", "COVERAGE", "CHI2", "D2IMARR", "WCSDVARR", "WCSCORR"),
        "other",
    ),
    "UNCERT": "uncertainty",
}  # fmt: skip
"""What a plane is, by its name."""
NOISE_KINDS = ("sigma", "variance", "ivar", "uncertainty", "weight")
"""In the order in which they are taken where a file has several."""
WORDS = re.compile(r"[^._\- ]+")


def classify(plane: Plane) -> tuple[str, str]:
    """What a plane is, and the rest of its name: a detector or band.

    The name is EXTTYPE (LSST), IMAGETYP or IMTYPE (Legacy Surveys; with the card BAND), else
    EXTNAME: ``SCI``, ``DET11.SCI``, ``CCDID 1-1.RMS``, ``IMAGE_R``.
    """
    header = plane.header
    for key in ("EXTTYPE", "IMAGETYP", "IMTYPE"):
        value = header.get(key)
        kind = KINDS.get(value.strip().upper()) if isinstance(value, str) else None
        if kind is not None:
            band = header.get("BAND")
            return kind, band.strip() if isinstance(band, str) and key != "EXTTYPE" else ""
    name = plane.name
    if name in KINDS:
        return KINDS[name], ""
    words = list(WORDS.finditer(name))
    for m in (words[-1:] + words[:1]) if len(words) > 1 else ():
        if m[0] in KINDS:
            rest = (name[: m.start()] + name[m.end() :]).strip("._- ")
            return KINDS[m[0]], rest
    return "", ""
