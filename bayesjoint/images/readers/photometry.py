"""What one unit of an image is worth: AB zeropoint, gain, epoch and wavelength from its headers.

You need this where a header's zeropoint may be Vega, per second, in another unit or missing.
What a header leaves open is asked for, never guessed: `calibration` then returns no zeropoint and a
warning that names the card and the remedy.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.time import Time

from bayesjoint.images.decisions import Decision
from bayesjoint.images.files import to_number
from bayesjoint.images.readers.bands import Cards, band_of, telescope_of
from bayesjoint.units import (
    AB_NJY,
    COUNTS,
    convert_array,
    flux_density,
    is_magnitude,
    parse_unit,
    unit_zeropoint,
    zeropoint_from,
)

__all__ = [
    "VEGA_TO_AB",
    "Calibration",
    "calibration",
    "converted",
    "epoch_of",
    "exposure_time_of",
    "gain_of",
    "unit_of",
    "unit_zeropoint",
    "wavelength_of",
    "zeropoint_from",
]

VEGA_TO_AB = {
    "WISE": {"W1": 2.699, "W2": 3.339, "W3": 5.174, "W4": 6.620},
    "2MASS": {"J": 0.91, "H": 1.39, "K": 1.85},
    "UKIRT": {"Z": 0.528, "Y": 0.634, "J": 0.938, "H": 1.379, "K": 1.900},
    "VISTA": {"Z": 0.502, "Y": 0.600, "J": 0.916, "H": 1.366, "K": 1.827},
}
"""What is added to a Vega magnitude to make it AB, by telescope and band (Ks is K).

WISE: Jarrett et al. 2011, ApJ 735, 112. 2MASS: Blanton & Roweis 2007, AJ 133, 734. UKIRT (WFCAM):
Hewett et al. 2006, MNRAS 367, 454. VISTA (VIRCAM): González-Fernández et al. 2018, MNRAS 474,
5459.
"""

KEYWORDS = (
    "MAGZERO", "MAGZPT", "MAGZP", "ZEROPNT", "ZEROPOINT", "ZP", "PHOTZP", "MAG0", "MAGZERO1",
    "MAG_ZERO", "MAG_ZP", "MAGZEROP", "ZPOINT", "ZEROPT", "ZPT", "MAGZEROPOINT", "PHOTZPT",
    "ABMAG_ZP", "ABMAGZP", "ABMAGZPT", "ABZP", "AB_ZP", "ZP_AB", "ZPAB", "MAGZPAB", "MZP_AB",
    "ZPAPPROX", "JMAGZP", "HMAGZP", "KMAGZP", "FPA.ZP", "PHOT_C",
)  # fmt: skip
"""Cards that hold a zeropoint, those that are met most often first."""

MEASURES = frozenset(
    {*KEYWORDS, "BUNIT", "EXPTIME", "FLUXMAG0", "PHOTFLAM", "PHOTPLAM", "BAND", "FILTER", "PUPIL"}
)
"""Cards that make a zeropoint or a band, each of which must be in a header once."""

AB_KEYWORDS = (
    "ABMAG_ZP",
    "ABMAGZP",
    "ABMAGZPT",
    "ABZP",
    "AB_ZP",
    "ZP_AB",
    "ZPAB",
    "MAGZPAB",
    "MZP_AB",
)
VEGA_KEYWORDS = ("ZPVEGA", "VEGAZP", "ZP_VEGA", "VEGA_ZP", "MAGZPVEG")
SYSTEM_KEYWORDS = ("MAGSYS", "PHOTSYS", "ZPSYS", "MAG_SYS", "ZP_SYS", "PHOT_SYS", "MAGSYST")

VEGA_BY_DOCUMENT = {  # cards that a survey's documentation says are Vega
    "WISE": ("MAGZP",),
    "2MASS": ("MAGZP", "JMAGZP", "HMAGZP", "KMAGZP"),
    "UKIRT": ("MAGZPT", "PHOTZP"),
    "VISTA": ("MAGZPT", "PHOTZP"),
    "INT": ("MAGZPT", "PHOTZP"),
    "VST": ("MAGZPT",),
}
WISE_VEGA = (22.5, 20.5, 19.5, 18.0, 13.0)
"""Zeropoints of unWISE's coadds, and of the atlas images of W1 to W4: all of them Vega."""

OFTEN_VEGA = re.compile(
    r"\b(?:NEWFIRM|WIRCAM|HAWK-?I|ISAAC|SOFI|FOURSTAR|MOSFIRE|LIRIS|OMEGA2000|NIRI|FLAMINGOS-?2?|"
    r"GSAOI|NICS|MOIRCS|CIRCE|RATIR|SIRIUS|ANDICAM|WHIRC|PANIC)\b",
    re.IGNORECASE,
)
"""Near-infrared cameras on the ground, calibrated with 2MASS: in Vega or in AB."""

PER_SECOND_BY_DOCUMENT = {  # cards for a rate beside pixels that are totals
    "DECam": ("MAGZPT",),
    "UKIRT": ("MAGZPT",),
    "VISTA": ("MAGZPT",),
    "INT": ("MAGZPT",),
    "VST": ("MAGZPT",),
    "CFHT": ("PHOT_C",),
    "PS1": ("FPA.ZP",),
}
PREFERRED = {  # of several cards, the one that the survey's documents say is that of the pixels
    "DECam": ("MAGZERO",),
    "VISTA": ("PHOTZP",),
    "INT": ("PHOTZP",),
    "VST": ("PHOTZP",),
    "CFHT": ("PHOTZP",),
    "WISE": ("MAGZP",),
    "2MASS": ("MAGZP",),
    "ZTF": ("MAGZP",),
    "PS1": ("FPA.ZP",),
    "Euclid": ("MAGZERO",),
}
GALEX_ZEROPOINT = {"NUV": 20.08, "FUV": 18.82}
"""AB magnitude of one count per second (Morrissey et al. 2007, ApJS 173, 682)."""

PER_SECOND = re.compile(
    r"\bper\s*s(?:ec(?:ond)?)?\b|/\s*s(?:ec(?:ond)?)?\b|"
    r"\bfor\s+(?:a\s+)?1\s*-?\s*s(?:ec(?:ond)?)?\b|"
    r"\b(?:one|1)[\s-]*(?:second|sec|s)\b|\bs(?:ec)?\s*(?:\^|\*\*)?-1|\bcount\s*rate",
    re.IGNORECASE,
)
MAG_PER_SECOND = re.compile(r"mag(?:nitude)?s?\s*/\s*s\b", re.IGNORECASE)
MAX_MJD = 400_000.0
"""Beyond it a number is no MJD; Julian dates are (from 2 400 000 on)."""
AGREE = 0.01
"""Magnitudes within which two zeropoints are the same."""
ASK = "Give zeropoint= (the AB magnitude of one unit of the pixels)"


@dataclass
class Calibration:
    """What one unit of an image is worth.

    Parameters
    ----------
    zeropoint : float or None
        AB magnitude of one unit of the pixels as they are stored; None where it is not known.
    unit : Unit or None
        Unit of the pixels, where the header or the caller says it.
    decisions : list of Decision
        What was decided, and why.
    """

    zeropoint: float | None = None
    unit: u.UnitBase | None = None
    decisions: list[Decision] = field(default_factory=list)


@dataclass(frozen=True)
class _Pixels:
    """The unit of the pixels: `kind` is what it is of, "total" and "rate" being counts."""

    text: str
    unit: u.UnitBase | None
    kind: str
    vega: bool = False
    given: bool = False

    @property
    def label(self) -> str:
        """What names the unit in a message."""
        return f"unit= {self.text}" if self.given else f"BUNIT {self.text}"


@dataclass(frozen=True)
class _Place:
    """What a unit per solid angle or per wavelength needs: steradian and micron."""

    area: float | None
    trusted: bool
    wavelength: float | None


@dataclass(frozen=True)
class _Claim:
    """A zeropoint that follows from the header; documented ones have the higher authority."""

    zeropoint: float
    source: str
    text: str
    authority: float = 1.0


@dataclass(frozen=True)
class _Problem:
    """A card that might hold the zeropoint, and why it cannot be used."""

    text: str
    value: float | None = None


def calibration(
    own: fits.Header,
    primary: fits.Header | None = None,
    *,
    pixel_area_sr: float | None = None,
    unit: str | u.UnitBase | None = None,
    wavelength_um: float | None = None,
    wcs_trusted: bool = True,
) -> Calibration:
    """Find the AB magnitude of one unit of an image's pixels from its headers.

    Parameters
    ----------
    own, primary : Header
        The header of the image's own HDU, and the file's first; the own one counts first.
    pixel_area_sr : float, optional
        Area of a pixel, steradian, from the WCS or the pixel scale: for surface brightness.
        PIXAR_SR is not used, as it is left unchanged where an image is resampled.
    unit : str or Unit, optional
        Unit of the pixels, instead of BUNIT.
    wavelength_um : float, optional
        Wavelength, micron, for a flux per wavelength (a plane of a cube), instead of
        `wavelength_of`.
    wcs_trusted : bool
        False where something is wrong with the WCS: a zeropoint that rests on it is then a warning.

    Returns
    -------
    calibration : Calibration

    Raises
    ------
    ValueError
        Where pixels are magnitudes, or a flux per beam of unknown size; or `unit` is no unit.
    """
    cards = Cards(own, primary)
    pixels = _pixels(cards, unit)
    telescope = telescope_of(own, primary)
    claims: list[_Claim] = []
    problems: list[_Problem] = []
    notes: list[Decision] = []
    if pixels.kind == "magnitude":
        raise ValueError(
            f"Pixels must be linear in flux; got {pixels.label!r}. Convert them to a flux density, "
            "or correct BUNIT."
        )
    _from_keywords(cards, pixels, telescope, claims, problems, notes)
    _from_fluxmag0(cards, claims, problems)
    _from_photflam(cards, pixels, claims, problems)
    place = _Place(pixel_area_sr, wcs_trusted, wavelength_um or wavelength_of(own, primary))
    _from_unit(cards, pixels, telescope, place, claims, problems, notes)
    _from_survey(cards, pixels, telescope, pixel_area_sr, claims, problems)
    found, decisions = _settled(claims, problems, pixels)
    return Calibration(found, pixels.unit, decisions + notes)


# -- the unit of the pixels ------------------------------------------------------------------------
def unit_of(own: fits.Header, primary: fits.Header | None = None) -> u.UnitBase | None:
    """Unit of the pixels by BUNIT; None where there is none, or none that is known."""
    return _pixels(Cards(own, primary), None).unit


def _pixels(cards: Cards, given: str | u.UnitBase | None) -> _Pixels:
    if isinstance(given, str):
        unit = parse_unit(given)
        if unit is None:
            raise ValueError(
                "unit must be a unit that AstroPy knows, as in 'nJy' or 'electron / s'; got "
                f"{given!r}. Give another name of it, or zeropoint=."
            )
        text, vega = given, False
    elif given is not None:
        unit, text, vega = given, str(given), False
    else:
        text = cards.text("BUNIT") or cards.text("BUNITS")
        plain = re.sub(r"\(?\bvega\b\)?", "", text, flags=re.IGNORECASE).strip()
        vega = plain != text
        unit = parse_unit(plain) if plain else None
        if isinstance(unit, u.StructuredUnit):  # "a, b"
            unit = None
    return _Pixels(text, unit, _kind(unit, text), vega, given is not None)


def _kind(unit: u.UnitBase | None, text: str) -> str:
    """What a unit is of: flux, surface, wavelength, beam, magnitude, total, rate, none, other."""
    if unit is None:
        looks = re.search(r"mag(?!g)", text, re.IGNORECASE)
        return "magnitude" if looks else "unknown" if text else "none"
    if is_magnitude(unit):
        return "magnitude"
    bases = unit.decompose().bases
    if u.beam in bases:
        return "beam"
    if flux_density(unit) is not None:
        return "flux"
    if flux_density(unit, 1.0) is not None:
        return "surface"
    if flux_density(unit, 1.0, 1.0) is not None:
        return "wavelength"
    for one in COUNTS:
        for rest, kind in ((u.dimensionless_unscaled, "total"), (1 / u.s, "rate")):
            if unit.is_equivalent(one * rest) or unit.is_equivalent(one * rest / u.pix):
                return kind
    if unit.is_equivalent(u.dimensionless_unscaled):
        return "none"
    return "other"


# -- zeropoints that cards state -------------------------------------------------------------------
def _from_keywords(
    cards: Cards,
    pixels: _Pixels,
    telescope: str,
    claims: list[_Claim],
    problems: list[_Problem],
    notes: list[Decision],
) -> None:
    zeros: list[str] = []
    before = len(claims)
    for key in (*KEYWORDS, *VEGA_KEYWORDS):
        value, comment, written = _stated(cards, key)
        if written is None:
            continue
        if value is None or abs(value) >= 90 or (value < 0 and _system_of(comment) != "AB"):
            if not (key == "PHOTZPT" and value is not None):  # HST's: the ST zeropoint, -21.1
                problems.append(_Problem(f"{key} is {written!r}, which is no zeropoint"))
            continue
        if value == 0 and not _is_zero_meant(cards, comment, pixels):
            zeros.append(key)
            continue
        found = _claim_of(key, value, comment, cards, pixels, telescope)
        if isinstance(found, _Problem):
            problems.append(found)
            continue
        if isinstance(written, str):
            notes.append(Decision("zeropoint", f"{key} is text, {written!r}, and read as a number"))
        claims.append(found)
    if zeros and len(claims) == before:
        problems.append(
            _Problem(
                f"{zeros[0]} is 0: a placeholder, or the zeropoint of fluxes in maggies",
                0.0,
            )
        )


def _stated(cards: Cards, key: str) -> tuple[float | None, str, Any]:
    """A card's number (None: there is none), its comment and what is written; the own header first.

    A placeholder in the own header does not hide a number in the primary one.
    """
    best: tuple[float | None, str, Any] = (None, "", None)
    for header in (cards.own, cards.primary):
        if header is None or key not in header:
            continue
        written = header[key]
        if isinstance(written, fits.card.Undefined) or written is None:
            continue
        value = to_number(written)
        if value is not None and 0 < abs(value) < 90:
            return value, str(header.comments[key] or ""), written
        if best[2] is None:
            best = value, str(header.comments[key] or ""), written
    return best


def _is_zero_meant(cards: Cards, comment: str, pixels: _Pixels) -> bool:
    ours = any(key in cards.own for key in ("BJNAME", "BJSHIFTX", "BJSHIFTY"))
    maggies = re.search(r"magg|\bmgy\b|zp[\s=-]*0\b", pixels.text, re.IGNORECASE)
    return ours or bool(maggies) or _system_of(comment) == "AB"


def _system_of(text: str) -> str:
    """Magnitude system that a text names: AB, Vega, ST, unclear (two of them), or empty."""
    text = re.sub(
        r"\b(?:not|non|no)[\s-]+(?:in\s+)?(?:the\s+)?(?:vega|AB)\b", "", text, flags=re.IGNORECASE
    )
    ab = re.search(r"(?<![A-Za-z])AB(?![A-Za-z])|(?i:\bab[\s_-]?mag)", text)
    vega = re.search(r"vega|\bjohnson\b|\blandolt\b|\bcousins\b", text, re.IGNORECASE)
    st = re.search(r"(?<![A-Za-z\d])ST(?![A-Za-z])|(?i:\bst[\s_-]?mag)", text)
    if ab and vega:
        converted_to_ab = re.search(r"vega\s*(?:to|->|2)\s*AB", text, re.IGNORECASE)
        return "AB" if ab.start() < vega.start() or converted_to_ab else "unclear"
    if ab:
        return "AB"
    if vega:
        return "Vega"
    return "ST" if st else ""


def _claim_of(
    key: str, value: float, comment: str, cards: Cards, pixels: _Pixels, telescope: str
) -> _Claim | _Problem:
    """What a card that states a zeropoint leads to."""
    authority = 1.0
    if key in PREFERRED.get(telescope, ()):
        authority = 2.0
    elif key in VEGA_KEYWORDS or re.search(
        r"approx|nominal|instrumental", f"{key} {comment}", re.I
    ):
        authority = 0.0
    base = _rate_or_total(key, value, comment, cards, pixels, telescope)
    system = _system(key, value, comment, cards, pixels, telescope)
    if isinstance(base, _Problem):
        also = {"Vega": " (and Vega)", "unclear": " (and may be Vega or AB)"}.get(system, "")
        return _Problem(base.text + also, base.value)
    total, terms = base
    if system == "ST":
        pivot = cards.first("PHOTPLAM")
        if pivot is None:
            return _Problem(f"{key} {value:g} is an ST magnitude and there is no PHOTPLAM", value)
        offset = 18.692 - 5 * np.log10(pivot[1])  # -2.408 + 21.1, as in PHOTFLAM
        terms.append((offset, f"for PHOTPLAM {pivot[1]:g} Angstrom"))
        return _stated_claim(key, value, f"ST, {key}", total + offset, terms, authority)
    if system == "Vega":
        offset, band = _vega_offset(cards, telescope, key)
        if offset is None:
            whose = f" of {telescope}" if telescope else ""
            return _Problem(
                f"{key} {value:g} is a Vega zeropoint, and the offset from Vega to AB of band "
                f"{band}{whose} is not known",
                value,
            )
        terms.append((offset, f"for {band}"))
        return _stated_claim(key, value, f"Vega, {key}", total + offset, terms, authority)
    if system == "unclear":
        whose = telescope or cards.text("INSTRUME")
        because = f" of {whose}" if whose else ""
        return _Problem(f"{key} {value:g}{because} may be Vega or AB (comment {comment!r})", value)
    word = "AB" if system == "AB" else "taken as AB"
    if terms:
        return _stated_claim(key, value, f"{word}, {key}", total, terms, authority)
    text = f"{total:.7g} from {key}" + (f", {word}" if word != "AB" else " (AB)")
    return _Claim(total, key, text, authority)


def _stated_claim(
    key: str,
    value: float,
    what: str,
    zeropoint: float,
    terms: list[tuple[float, str]],
    authority: float,
) -> _Claim:
    sums = "".join(f" {'+' if x >= 0 else '-'} {abs(x):.4g} {why}" for x, why in terms)
    return _Claim(float(zeropoint), key, f"{zeropoint:.7g} = {value:.7g} ({what}){sums}", authority)


def _system(
    key: str, value: float, comment: str, cards: Cards, pixels: _Pixels, telescope: str
) -> str:
    """Magnitude system of a card that states a zeropoint."""
    named = _system_of(comment)
    if named:
        return named
    if key in AB_KEYWORDS:
        return "AB"
    if key in VEGA_KEYWORDS or pixels.vega:
        return "Vega"
    for word in SYSTEM_KEYWORDS:
        named = _system_of(cards.text(word).upper())
        if named:
            return named
    if any(k in cards.own for k in ("BJNAME", "BJSHIFTX")):  # written by Image.write, in AB
        return "AB"
    if key in VEGA_BY_DOCUMENT.get(telescope, ()):
        return "Vega"
    surveys = f"{cards.text('SURVEY')} {cards.text('ORIGIN')}".upper()
    if "GAMA" in surveys:  # all of GAMA's mosaics are AB (Hill et al. 2011, MNRAS 412, 765)
        return "AB"
    band, _ = band_of(cards.own, cards.primary)
    if telescope == "WISE" or band.upper() in VEGA_TO_AB["WISE"]:
        return "unclear" if any(abs(value - x) < 0.06 for x in WISE_VEGA) else ""
    if telescope in ("2MASS", "UKIRT", "VISTA", "INT"):
        return "unclear"
    return "unclear" if OFTEN_VEGA.search(cards.text("INSTRUME")) else ""


def _vega_offset(cards: Cards, telescope: str, key: str) -> tuple[float | None, str]:
    """What makes a Vega magnitude AB, and the band it is for; None where that is not certain."""
    band, _ = band_of(cards.own, cards.primary)
    offsets = VEGA_TO_AB.get(telescope)
    if offsets is None and band.upper() in VEGA_TO_AB["WISE"]:
        offsets = VEGA_TO_AB["WISE"]
    if telescope == "2MASS" and key in ("JMAGZP", "HMAGZP", "KMAGZP"):
        band = key[0]
    name = band.upper().replace("_", "")
    name = "K" if name in ("KS", "KSHORT", "K-SHORT") else name
    return (offsets or {}).get(name), band if band != "image" else "(unknown)"


def _rate_or_total(
    key: str, value: float, comment: str, cards: Cards, pixels: _Pixels, telescope: str
) -> tuple[float, list[tuple[float, str]]] | _Problem:
    """The zeropoint for the pixels as stored, of a card for counts per second or for totals."""
    documented = key in PER_SECOND_BY_DOCUMENT.get(telescope, ())
    spoken = bool(PER_SECOND.search(MAG_PER_SECOND.sub("", comment)))
    if MAG_PER_SECOND.search(comment) and abs(value - 30.0) > 1e-6:
        spoken = (
            True  # DES writes "magnitudes/s" beside its coadds' 30, which is that of the pixels
        )
    seconds = exposure_time_of(cards.own, cards.primary)
    if key == "MAGZERO" and pixels.kind == "rate" and _is_for_totals(value, cards, seconds):
        return _Problem(f"{key} {value:g} is MAGZPT for totals, and BUNIT is {pixels.text!r}")
    if key == "MAGZEROP" and telescope == "Euclid":
        return _Problem(f"{key} {value:g} may be for counts or for counts per second", value)
    if (documented or spoken) and pixels.kind in ("flux", "surface", "wavelength"):
        return _Problem(f"{key} {value:g} is for counts per second, and BUNIT is {pixels.text!r}")
    if not (documented or spoken) or pixels.kind == "rate":
        totals = r"\btotal\s+(?:counts?|electrons?|adu|dn|flux|exposure)"
        if re.search(totals, comment, re.IGNORECASE) and pixels.kind == "rate":
            return _Problem(
                f"{key} {value:g} is for total counts by its comment, and BUNIT is {pixels.text!r}",
                value,
            )
        return value, []
    if seconds is None:
        return _Problem(
            f"{key} {value:g} is for counts per second, and there is no EXPTIME to convert it with",
            value,
        )
    if not documented and pixels.kind != "total" and seconds != 1:
        total = value + 2.5 * np.log10(seconds)
        unit = f"BUNIT is {pixels.text!r}" if pixels.text else "there is no BUNIT"
        return _Problem(
            f"{key} {value:g} is for counts per second, and {unit}: zeropoint={value:g} is right "
            f"where pixels are per second, zeropoint={total:.3f} where they are totals of EXPTIME "
            f"{seconds:g} s",
            value,
        )
    terms = [(2.5 * float(np.log10(seconds)), f"for EXPTIME {seconds:g} s")]
    loss = _extinction(cards, key, telescope)
    if loss:
        terms.append(loss)
    return value + sum(x for x, _ in terms), terms


def _is_for_totals(value: float, cards: Cards, seconds: float | None) -> bool:
    """NOIRLab's community pipeline writes MAGZPT for one second and MAGZERO for totals."""
    rate = cards.first("MAGZPT")
    if rate is None or seconds in (None, 1.0):
        return False
    return bool(abs(value - rate[1] - 2.5 * np.log10(seconds)) < AGREE)


def _extinction(cards: Cards, key: str, telescope: str) -> tuple[float, str] | None:
    """Extinction that a zeropoint for airmass 1 leaves out (CASU, Elixir); None without any."""
    if telescope in ("UKIRT", "VISTA", "INT", "VST") and key == "MAGZPT":
        slope = cards.number("EXTINCT")
        slope = None if slope is None else -slope
    elif telescope == "CFHT" and key == "PHOT_C":
        slope = cards.number("PHOT_K")
    else:
        return None
    ends = [x for x in (cards.number("AMSTART"), cards.number("AMEND")) if x is not None and x >= 1]
    airmass = cards.number("AIRMASS") if not ends else sum(ends) / len(ends)
    if slope is None or airmass is None or not 1 <= airmass < 10:
        return None
    return slope * (airmass - 1), f"for airmass {airmass:.3g}"


def exposure_time_of(own: fits.Header, primary: fits.Header | None = None) -> float | None:
    """Exposure time in seconds; None where no card holds a positive number."""
    found = Cards(own, primary).first("EXPTIME", "EXP_TIME", "EXPOSURE", "TEXPTIME", "XPOSURE")
    return None if found is None else found[1]


# -- zeropoints that follow from other cards -------------------------------------------------------
def _from_fluxmag0(cards: Cards, claims: list[_Claim], problems: list[_Problem]) -> None:
    """FLUXMAG0 (LSST, HSC): the flux, in units of the pixels, of AB magnitude 0."""
    if cards.value("FLUXMAG0") is None:
        return
    flux = cards.number("FLUXMAG0")
    if flux is None or flux <= 0:
        problems.append(_Problem(f"FLUXMAG0 is {cards.value('FLUXMAG0')!r}, which is no flux"))
        return
    zeropoint = 2.5 * float(np.log10(flux))
    claims.append(_Claim(zeropoint, "FLUXMAG0", f"{zeropoint:.7g} = 2.5 log10(FLUXMAG0)", 2.0))


def _from_photflam(
    cards: Cards, pixels: _Pixels, claims: list[_Claim], problems: list[_Problem]
) -> None:
    """PHOTFLAM and PHOTPLAM (HST), or PHOTFNU: the flux of one electron per second."""
    if pixels.kind in ("flux", "surface", "wavelength", "beam"):
        return  # they describe the counts that the pixels were made of
    flam, pivot, fnu = (cards.first(key) for key in ("PHOTFLAM", "PHOTPLAM", "PHOTFNU"))
    if flam is not None and pivot is not None:
        rate = -2.5 * np.log10(flam[1]) - 5 * np.log10(pivot[1]) - 2.408
        source = "PHOTFLAM and PHOTPLAM"
    elif fnu is not None:
        rate, source = AB_NJY - 2.5 * np.log10(fnu[1] * 1e9), "PHOTFNU"
    elif flam is not None:
        problems.append(_Problem("PHOTFLAM is there without PHOTPLAM"))
        return
    else:
        written = cards.value("PHOTFLAM")
        if written is not None:
            problems.append(_Problem(f"PHOTFLAM is {written!r}, which is no flux"))
        return
    electrons = pixels.unit is not None and u.electron in pixels.unit.bases
    if cards.text("INSTRUME").upper() == "WFPC2" and electrons:
        problems.append(_Problem(f"{source} of WFPC2 are for DN, and BUNIT is {pixels.text!r}"))
        return
    seconds = exposure_time_of(cards.own, cards.primary)
    basis, because = pixels.kind, pixels.label
    if basis not in ("rate", "total"):
        basis, because = _hst_product(cards)
    if basis == "rate":
        claims.append(
            _Claim(float(rate), source, f"{rate:.5f} from {source}, per second ({because})")
        )
        return
    if basis == "total" and seconds is None:
        problems.append(
            _Problem(f"{source} are for a rate, {because} is a total, and EXPTIME is missing")
        )
        return
    total = rate + 2.5 * np.log10(seconds) if seconds is not None else None
    if basis == "total":
        text = (
            f"{total:.5f} = {rate:.5f} ({source}) + 2.5 log10(EXPTIME {seconds:g} s), total "
            f"({because})"
        )
        claims.append(_Claim(float(total), source, text))
        return
    unit = f"BUNIT {pixels.text!r} does not say" if pixels.text else "no BUNIT says"
    also = (
        f", zeropoint={total:.3f} for totals of EXPTIME {seconds:g} s" if total is not None else ""
    )
    problems.append(
        _Problem(
            f"{unit} whether pixels are per second, as {source} are: zeropoint={rate:.3f} is right "
            f"for electrons/s{also}"
        )
    )


def _hst_product(cards: Cards) -> tuple[str, str]:
    """Whether pixels of HST are a rate or a total where BUNIT is lost, and what says it."""
    drizzled = cards.text("D001OUUN").lower()  # AstroDrizzle's final_units
    if drizzled in ("cps", "counts"):
        return ("rate" if drizzled == "cps" else "total"), f"D001OUUN {drizzled}"
    name = cards.text("FILENAME").lower()
    if re.search(r"_(?:drz|drc)\b|_(?:drz|drc)[_.]", name):
        return "rate", f"drizzled, {cards.text('FILENAME')}"
    if re.search(r"_(?:flt|flc)[_.]", name + "."):
        if cards.text("INSTRUME").upper() == "WFC3" and cards.text("DETECTOR").upper() == "IR":
            return "rate", f"WFC3/IR, {cards.text('FILENAME')}"
        if cards.text("INSTRUME").upper() in ("ACS", "WFC3"):
            return "total", f"{cards.text('INSTRUME')}, {cards.text('FILENAME')}"
    if cards.text("UNITCORR").upper() == "COMPLETE" and cards.text("DETECTOR").upper() == "IR":
        return "rate", "UNITCORR COMPLETE"
    return "", ""


def _from_unit(
    cards: Cards,
    pixels: _Pixels,
    telescope: str,
    place: _Place,
    claims: list[_Claim],
    problems: list[_Problem],
    notes: list[Decision],
) -> None:
    """What BUNIT itself says, where it is a flux density."""
    name, area, trusted = pixels.label, place.area, place.trusted
    if pixels.unit is None:
        looks = re.search(r"jy|jansk|magg|erg|\bW\b|mgy", pixels.text, re.IGNORECASE)
        if looks:
            problems.append(_Problem(f"BUNIT {pixels.text!r} is not a unit that is known"))
        return
    if pixels.kind == "flux":
        zeropoint = unit_zeropoint(pixels.unit)
        if pixels.vega and zeropoint is not None:
            offset, band = _vega_offset(cards, telescope, "BUNIT")
            if offset is None:
                text = f"{name} is a Vega unit, and the offset to AB of band {band} is not known"
                problems.append(_Problem(text, zeropoint))
                return
            text = f"{zeropoint + offset:.7g} = {zeropoint:.7g} ({name}) + {offset:g} for {band}"
            claims.append(_Claim(zeropoint + offset, name, text))
        elif zeropoint is not None:
            authority = 2.0 if telescope == "Rubin" else 1.0
            claims.append(_Claim(zeropoint, name, f"{zeropoint:.7g} from {name}", authority))
        return
    if pixels.kind == "beam":
        _from_beam(cards, pixels, area, claims, problems)
        return
    if pixels.kind == "surface":
        if area is None:
            problems.append(
                _Problem(
                    f"{name} is a surface brightness, and the area of a pixel is not known: give "
                    "pixel_scale= or wcs="
                )
            )
            return
        zeropoint = unit_zeropoint(pixels.unit, area)
        side = np.degrees(np.sqrt(area)) * 3600
        text = f'{zeropoint:.5f} from {name} and pixels of {side:.4g}" (WCS)'
        claims.append(_Claim(float(zeropoint), name, text, 2.0 if trusted else 0.0))
        if not trusted:
            notes.append(
                Decision("zeropoint", "the zeropoint rests on a WCS that is doubtful", warning=True)
            )
        stated = cards.first("PIXAR_SR")
        if stated is not None and abs(stated[1] / area - 1) > 0.01:
            other = 2.5 * np.log10(area / stated[1])
            notes.append(
                Decision(
                    "zeropoint",
                    f"PIXAR_SR {stated[1]:.4g} is {stated[1] / area:.3g} times the area of a pixel "
                    f"by the WCS ({other:+.3f} mag), and is not used",
                )
            )
        return
    if pixels.kind == "wavelength":
        at = place.wavelength
        zeropoint = None if at is None else unit_zeropoint(pixels.unit, area, at)
        if zeropoint is None:
            need = "a wavelength" if at is None else "the area of a pixel"
            problems.append(_Problem(f"{name} needs {need} to become AB, and the header has none"))
        else:
            claims.append(_Claim(zeropoint, name, f"{zeropoint:.5f} from {name} at {at:.4g} um"))


def _from_beam(
    cards: Cards,
    pixels: _Pixels,
    area: float | None,
    claims: list[_Claim],
    problems: list[_Problem],
) -> None:
    """Flux per beam: known by BMAJ and BMIN (degree, FWHM of a Gaussian beam), else refused."""
    major, minor = cards.first("BMAJ"), cards.first("BMIN")
    flux = unit_zeropoint(pixels.unit * u.beam)
    if major is not None and minor is not None and area is not None and flux is not None:
        beam = np.pi / (4 * np.log(2)) * np.radians(major[1]) * np.radians(minor[1])
        zeropoint = float(flux + 2.5 * np.log10(beam / area))
        text = (
            f"{zeropoint:.5f} from BUNIT {pixels.text} and a beam of {beam / area:.4g} pixels "
            "(BMAJ, BMIN)"
        )
        claims.append(_Claim(zeropoint, f"BUNIT {pixels.text}", text))
        return
    if not claims:
        raise ValueError(
            f"Pixels must be a flux per pixel; got {pixels.label!r} without BMAJ, BMIN and the "
            "area of a pixel to convert it. Divide the pixels by the beam's area in pixels and set "
            "BUNIT to Jy, or give zeropoint=."
        )


def _from_survey(
    cards: Cards,
    pixels: _Pixels,
    telescope: str,
    area: float | None,
    claims: list[_Claim],
    problems: list[_Problem],
) -> None:
    """What a survey's documentation says of its own cards."""
    if cards.value("NMGY") is not None and telescope == "SDSS" and pixels.kind == "none":
        claims.append(_Claim(22.5, "NMGY", "22.5: frames of SDSS are in nanomaggies", 2.0))
    if (
        telescope == "JWST"
        and pixels.kind == "rate"
        and cards.first("PHOTMJSR")
        and area is not None
    ):
        per = cards.first("PHOTMJSR")
        zeropoint = unit_zeropoint(u.MJy / u.sr, area)
        if per is not None and zeropoint is not None:
            found = float(zeropoint - 2.5 * np.log10(per[1]))
            text = f"{found:.5f} from PHOTMJSR and BUNIT {pixels.text}"
            claims.append(_Claim(found, "PHOTMJSR", text))
    if telescope == "GALEX" and not claims:
        band, _ = band_of(cards.own, cards.primary)
        known = GALEX_ZEROPOINT.get(band.upper())
        if known is not None and pixels.kind == "rate":
            text = f"{known:g}: documented for GALEX {band}, counts per second"
            claims.append(_Claim(known, "GALEX", text, 2.0))
        elif known is not None:
            problems.append(
                _Problem(
                    f"no BUNIT says that pixels of GALEX {band} are counts per second, for which "
                    f"zeropoint={known:g} is right"
                )
            )


# -- of several, the one ---------------------------------------------------------------------------
def _settled(
    claims: list[_Claim], problems: list[_Problem], pixels: _Pixels
) -> tuple[float | None, list[Decision]]:
    """The zeropoint, and what is said of it."""
    if not claims:
        if not problems:
            why = (
                f"BUNIT {pixels.text!r} is no flux density" if pixels.text else "no card states one"
            )
            return None, [
                Decision("zeropoint", f"no zeropoint: {why}; fluxes stay in the image's unit")
            ]
        text = "; ".join(p.text for p in problems)
        return None, [Decision("zeropoint", f"no zeropoint: {text}. {ASK}", warning=True)]
    ranked = sorted(
        claims, key=lambda c: -c.authority
    )  # stable: those of one authority keep their order
    best = [c for c in ranked if c.authority == ranked[0].authority]
    first = best[0]
    doubt = next(
        (p for p in problems if p.value and any(abs(c.zeropoint - p.value) < AGREE for c in best)),
        None,
    )
    if doubt is not None and first.authority < 2:
        text = f"no zeropoint: {first.text}, but {doubt.text}. {ASK}"
        return None, [Decision("zeropoint", text, warning=True)]
    if any(abs(c.zeropoint - first.zeropoint) > AGREE for c in best):
        text = "; ".join(c.text for c in best)
        return None, [
            Decision("zeropoint", f"no zeropoint, as cards disagree: {text}. {ASK}", warning=True)
        ]
    others = [c for c in ranked if abs(c.zeropoint - first.zeropoint) > AGREE]
    if others:
        rest = ", ".join(c.text for c in others)
        text = f"zeropoint {first.text}; not used, as it disagrees: {rest}"
        return first.zeropoint, [Decision("zeropoint", text, warning=True)]
    return first.zeropoint, [Decision("zeropoint", first.text)]


# -- noise in another unit -------------------------------------------------------------------------
def converted(value: Any, unit: u.UnitBase | None, what: str) -> Any:
    """Return noise in the unit that fits the data; see `bayesjoint.units.convert_array`."""
    return convert_array(value, unit, what)


# -- gain, epoch, wavelength -----------------------------------------------------------------------
def gain_of(
    own: fits.Header,
    primary: fits.Header | None = None,
    decisions: list[Decision] | None = None,
) -> float | None:
    """Electrons per unit of the pixels; None where that does not follow from the header.

    Parameters
    ----------
    own, primary : Header
    decisions : list, optional
        What is decided is added to it.
    """
    cards, said = Cards(own, primary), [] if decisions is None else decisions
    pixels = _pixels(cards, None)
    seconds = exposure_time_of(own, primary)
    electrons = pixels.unit is not None and u.electron in pixels.unit.bases
    found = None
    for key in ("GAIN", "EGAIN", "CELL.GAIN", "CCDGAIN", "ATODGAIN"):
        if cards.value(key) is None:
            continue
        number = cards.number(key)
        if number is None or number <= 0:
            said.append(
                Decision("gain", f"{key} is {cards.value(key)!r}, which is no gain: left out")
            )
            continue
        found = key, number
        break
    if found is None:
        ends = [
            x for x in (cards.number("GAINA"), cards.number("GAINB")) if x is not None and x > 0
        ]
        if ends:
            found = "GAINA, GAINB", sum(ends) / len(ends)
    whole = found is not None and found[0] == "GAIN" and _is_of_unit(cards, found[1], seconds)
    if whole and found is not None:
        said.append(Decision("gain", f"{found[1]:.6g} from GAIN"))
        return found[1]
    detector = found is None or found[0] != "GAIN" or telescope_of(own, primary) == "HST"
    if electrons and pixels.kind == "total" and detector:
        said.append(Decision("gain", f"1 from BUNIT {pixels.text}"))
        return 1.0
    if electrons and pixels.kind == "rate":
        if seconds is None:
            return None
        said.append(Decision("gain", f"{seconds:.6g} from BUNIT {pixels.text} and EXPTIME"))
        return seconds
    if found is None:
        return None
    key, number = found
    if pixels.kind == "rate":
        if seconds is None:
            said.append(Decision("gain", f"unknown: {key} is for counts, and EXPTIME is missing"))
            return None
        said.append(
            Decision("gain", f"{number * seconds:.6g} = {key} {number:g} x EXPTIME {seconds:g}")
        )
        return number * seconds
    if pixels.kind in ("flux", "surface", "wavelength", "beam"):
        said.append(Decision("gain", f"unknown: {key} is for counts, and BUNIT is {pixels.text}"))
        return None
    said.append(Decision("gain", f"{number:.6g} from {key}"))
    return number


def _is_of_unit(cards: Cards, gain: float, seconds: float | None) -> bool:
    """Whether GAIN is that of a unit of the pixels already, whatever BUNIT says."""
    if re.search(r"e-?(?:lectrons?)?\s*/\s*unit|per unit", cards.comment("GAIN"), re.IGNORECASE):
        return True
    if any(k in cards.own for k in ("BJNAME", "BJSHIFTX")):
        return True
    return seconds is not None and gain != 1 and abs(gain / seconds - 1) < 0.01


def epoch_of(
    own: fits.Header,
    primary: fits.Header | None = None,
    decisions: list[Decision] | None = None,
) -> float | None:
    """Epoch of an image as MJD, the middle of the exposure where both ends are known; else None.

    Parameters
    ----------
    own, primary : Header
        MJD, then MJD-AVG, EXPMID and the like, then a pair of ends (MJD-BEG and MJD-END, EXPSTART
        and EXPEND), then MJD-OBS, then DATE-AVG or DATE-OBS.
    decisions : list, optional
        What is decided is added to it.
    """
    cards, said = Cards(own, primary), [] if decisions is None else decisions
    for key in ("MJD", "MJD-AVG", "MJD-MID", "EXPMID", "EPOCHMJD", "MJDMID", "MJD_MID", "MJDMEAN"):
        number = _mjd(cards, key, said)
        if number is not None:
            said.append(Decision("epoch", f"MJD {number:.6f} from {key}"))
            return number
    pairs = (
        ("MJD-BEG", "MJD-END"), ("EXPSTART", "EXPEND"), ("MJD-OBS", "MJD-END"),
        ("MJDMIN", "MJDMAX"), ("MJD-STR", "MJD-END"), ("MJD_BEG", "MJD_END"),
    )  # fmt: skip
    for first, last in pairs:
        a, b = _mjd(cards, first, said), _mjd(cards, last, said)
        if a is None or b is None or b < a:
            continue
        if b - a > 100:
            said.append(Decision("epoch", f"none: {first} to {last} spans {b - a:.0f} days"))
            return None
        said.append(Decision("epoch", f"MJD {(a + b) / 2:.6f}, the middle of {first} and {last}"))
        return (a + b) / 2
    for key in ("MJD-OBS", "MJD_OBS", "MJD-BEG", "EXPSTART", "OBSMJD"):
        number = _mjd(cards, key, said)
        if number is not None:
            said.append(Decision("epoch", f"MJD {number:.6f} from {key}"))
            return number
    for key in ("DATE-AVG", "DATE-OBS", "DATE-BEG", "DATE_OBS"):
        number = _date(cards, key, said)
        if number is not None:
            return number
    return None


def _mjd(cards: Cards, key: str, said: list[Decision]) -> float | None:
    value = cards.value(key)
    if value is None:
        return None
    number = cards.number(key)
    if number is None or not 0 < number < MAX_MJD:
        text = f"{key} is {value!r}, which is no date: left out"
        if not any(d.text == text for d in said):
            said.append(Decision("epoch", text))
        return None
    return number


def _date(cards: Cards, key: str, said: list[Decision]) -> float | None:
    """MJD of a date as FITS writes it: with its time, or that of TIME-OBS, or noon."""
    text = cards.text(key)
    old = re.fullmatch(r"(\d\d)/(\d\d)/(\d\d)", text)  # the form of FITS before 2000
    if old:
        day, month, year = old.groups()
        text = f"19{year}-{month}-{day}"
    match = re.fullmatch(r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:\.\d+)?)?)Z?)?", text)
    if not match:
        if text:
            said.append(Decision("epoch", f"{key} is {text!r}, which is no date: left out"))
        return None
    day, clock = match.groups()
    source = key
    if clock is None:
        for other in ("TIME-OBS", "UTC-OBS", "UT", "TIMEOBS", "TAIHMS", "UTSTART"):
            found = re.fullmatch(r"(\d\d:\d\d:\d\d(?:\.\d+)?)", cards.text(other))
            if found:
                clock, source = found.group(1), f"{key} and {other}"
                break
        else:
            clock, source = "12:00:00", f"{key}, a day without a time: noon"
    try:
        number = float(Time(f"{day}T{clock}", format="isot", scale="utc").mjd)
    except ValueError:
        said.append(Decision("epoch", f"{key} is {text!r}, which is no date: left out"))
        return None
    today = Time(datetime.now(UTC)).mjd
    if not 0 < number < today + 1:
        said.append(
            Decision("epoch", f"{key} is {text!r}, which is no date of an exposure: left out")
        )
        return None
    said.append(Decision("epoch", f"MJD {number:.6f} from {source}"))
    return number


def wavelength_of(
    own: fits.Header,
    primary: fits.Header | None = None,
    decisions: list[Decision] | None = None,
) -> float | None:
    """Effective wavelength in micron, from WAVELEN (micron) or PHOTPLAM (Angstrom); else None.

    Parameters
    ----------
    own, primary : Header
    decisions : list, optional
        What is decided is added to it.
    """
    cards, said = Cards(own, primary), [] if decisions is None else decisions
    found = cards.first("WAVELEN", "WAVELENG")
    if found is not None:
        key, number = found
        comment = cards.comment(key).lower()
        scale = 1.0
        if "angstrom" in comment or number > 1000:
            scale = 1e-4
        elif re.search(r"\bnm\b|nanom", comment):
            scale = 1e-3
        said.append(Decision("band", f"wavelength {number * scale:.5g} um from {key}"))
        return number * scale
    found = cards.first("PHOTPLAM")
    if found is not None:
        said.append(Decision("band", f"wavelength {found[1] * 1e-4:.5g} um from PHOTPLAM"))
        return found[1] * 1e-4
    return None
