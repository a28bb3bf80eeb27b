"""Planes: what the name of an extension says its pixels are, and which planes belong together."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bayesjoint.images.files import Plane

__all__ = ["KINDS", "NOISE_KINDS", "classify", "kind_of"]

KINDS: dict[str, str] = {
    **dict.fromkeys(("SCI", "SCIENCE", "IMAGE", "DATA", "FLUX", "INTENSITY"), "science"),
    **dict.fromkeys(
        ("ERR", "ERROR", "SIGMA", "SIG", "RMS", "STD", "STDDEV", "UNC", "UNCERTAINTY", "NOISE"),
        "sigma",
    ),
    **dict.fromkeys(("VAR", "VARIANCE", "STAT"), "variance"),
    **dict.fromkeys(("IVAR", "INVVAR", "INVERSEVARIANCE", "WGT"), "ivar"),
    **dict.fromkeys(("WHT", "WEIGHT"), "weight"),
    **dict.fromkeys(
        ("MASK", "DQ", "FLG", "FLAG", "BADPIX", "BPM", "MSK", "DQMASK", "MASKBITS", "QUALITY"),
        "mask",
    ),
    **dict.fromkeys(("PSF", "EPSF"), "psf"),
    **dict.fromkeys(
        ("CON", "CTX", "SEG", "SEGMENTATION", "AREA", "EXP", "EXPTIME", "SAMP", "TIME", "MODEL",
         "RESIDUAL", "BKG", "BACKGROUND", "SKY", "HDRTAB", "ASDF", "NEXP", "DEPTH", "COVERAGE",
         "CHI2", "D2IMARR", "WCSDVARR", "WCSCORR", "POISSON", "RNOISE", "READNOISE", "FLAT",
         "DARK", "EXPOSURE", "INV", "INVERSE"),
        "other",
    ),
    "UNCERT": "uncertainty",
}  # fmt: skip
"""What a plane is, by a word of its name."""
NOISE_KINDS = ("sigma", "variance", "ivar", "uncertainty", "weight")
"""In the order in which they are taken where a file has several."""
INVERSE = re.compile(r"(?<![A-Z])INV(?:ERSE)?[._\- ]*VAR(?:IANCE)?(?![A-Z])")
WORD = re.compile(r"[^._\- ]+")
NUMBERED = re.compile(r"([A-Z]+?)(?:MAP|IMAGE|S)?(\d*)")
"""A word of `KINDS` in another form: SCI1, WEIGHTMAP, ERRORS."""


def classify(plane: Plane) -> tuple[str, str]:
    """What a plane is, and the rest of its name: a detector or band.

    The name is EXTTYPE (LSST), IMAGETYP or IMTYPE (Legacy Surveys; with the card BAND), else
    EXTNAME.
    """
    header = plane.header
    for key in ("EXTTYPE", "IMAGETYP", "IMTYPE"):
        value = header.get(key)
        kind = kind_of(value)[0] if isinstance(value, str) else ""
        if kind not in ("", "other"):
            band = header.get("BAND")
            return kind, band.strip() if isinstance(band, str) and key != "EXTTYPE" else ""
    kind, group = kind_of(plane.name)
    by_type = re.search("UNCERTAINTY|VARIANCE", str(header.get("UTYPE", "")).upper())
    return "uncertainty" if by_type else kind, group


def kind_of(name: str) -> tuple[str, str]:
    """What a name says, and the rest of it: ``SCI``, ``SCI1``, ``CCDID 1-1.RMS``, ``FLUX_ERR_R``.

    A word such as IMAGE or NOISE says least: WEIGHT_IMAGE is a weight, NOISE_VAR a variance. What
    has two other kinds (VAR_POISSON) is "other": a part of what it names.
    """
    name, found = INVERSE.sub("INVVAR", name.strip().upper()), {}

    def left(m: re.Match[str]) -> str:
        word, number = m[0], ""
        if word not in KINDS and (form := NUMBERED.fullmatch(word)):
            word, number = form.groups()
        if word in KINDS:
            found[word] = KINDS[word]
            return number
        return "" if m[0] == "MAP" else m[0]

    rest = re.sub(r"([._\- ])[._\- ]+", r"\1", WORD.sub(left, name)).strip("._- ")
    told = {k for w, k in found.items() if k != "science" and w != "NOISE"}
    if len(told) > 1:
        return "other", rest
    weak = "sigma" if "NOISE" in found else "science" if found else ""
    return (told or {weak}).pop(), rest if found else ""
