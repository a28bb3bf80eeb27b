"""Which band an image is of, and which telescope took it, from its headers and its file's name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from astropy.io import fits

from bayesjoint.images.decisions import Decision
from bayesjoint.images.files import to_number

__all__ = [
    "Cards",
    "band_of",
    "cleaned",
    "identity",
    "same_instrument",
    "telescope_of",
]

NO_BAND = re.compile(
    r"(?:n\.?/?a\.?|nan|null|none|no[ _-]?filter|undef(?:ined)?|unknown|unspecified|any|"
    r"true|false|clear(?:\d?[a-z]*)?|open\d?|other|empty|blank\d?|nofilt|x+|-+|\?+|[+-]?\d+(?:\.\d*)?)",
    re.IGNORECASE,
)
"""Words, and bare numbers, that stand in FILTER or BAND and do not identify a band."""

WIDTHS = {"W2": 5, "LP": 4, "X": 4, "W": 3, "M": 2, "N": 1}
"""How wide a filter of HST or JWST is, by the letters that end its name."""

SPACE_FILTER = re.compile(r"F\d{3,4}(W2|LP|X|W|M|N)", re.IGNORECASE)

TELESCOPES = (  # the first that matches; instruments and surveys stand for their telescope
    ("JWST", r"\bJWST\b|\bNIRCAM\b|\bNIRISS\b|(?-i:\bMIRI\b|\bCEERS\b|\bPRIMER\b)"),
    ("HST", r"\bHST\b|\bWFPC2\b|\bWFC3\b|(?-i:\bACS\b)|\bNICMOS\b|\bCANDELS\b"),
    ("WISE", r"(?:un|neo)?WISE\b"),
    ("2MASS", r"\b2MASS\b"),
    ("GALEX", r"\bGALEX\b"),
    ("Spitzer", r"\bSPITZER\b|\bIRAC\b"),
    ("Herschel", r"\bHERSCHEL\b"),
    ("Euclid", r"\bEUCLID\b|\bNISP\b"),
    ("Roman", r"(?-i:\bROMAN\b|\bRoman\b)"),
    ("Rubin", r"\bLSST\w*|\bRUBIN\b|\bSIMONYI\b"),
    ("PS1", r"\bPS1\b|\bGPC1\b|PAN-?STARRS"),
    ("HSC", r"\bHSC\b|HYPER SUPRIME"),
    ("Subaru", r"\bSUBARU\b"),
    ("DECam", r"\bDECAM\b|\bDECALS\b|(?-i:\bDES\b)|DARK ENERGY (?:SURVEY|CAMERA)"),
    ("VISTA", r"\bVISTA\b|\bVIRCAM\b|\bVIKING\b|(?-i:\bVHS\b|\bVVVX?\b)|\bULTRAVISTA\b"),
    ("UKIRT", r"\bUKIRT\b|\bWFCAM\b|\bUKIDSS\b"),
    ("VST", r"(?-i:\bVST\b|\bKiDS\b|\bKIDS\b)|\bOMEGACAM\b"),
    ("CFHT", r"\bCFHT\w*|\bMEGAPRIME\b|\bWIRCAM\b"),
    ("ZTF", r"\bZTF\b|PALOMAR 48"),
    ("SkyMapper", r"\bSKYMAPPER\b"),
    ("INT", r"(?-i:^INT$)|\bIPHAS\b|\bIGAPS\b|\bUVEX\b"),
    ("Bok", r"\bBOK\b|\b90PRIME\b|(?-i:\bBASS\b)"),
    ("Mayall", r"\bMOSAIC-?3\b|\bMZLS\b"),
    ("SDSS", r"\bSDSS\b"),
)

NUMBERED_BANDS = {  # what a bare number in BAND, FILTER or CHNLNUM means
    "WISE": {1: "W1", 2: "W2", 3: "W3", 4: "W4"},
    "GALEX": {1: "NUV", 2: "FUV"},
    "Spitzer": {1: "IRAC1", 2: "IRAC2", 3: "IRAC3", 4: "IRAC4"},
}


@dataclass(frozen=True)
class Cards:
    """The cards of an image: those of its own header, else those of the primary header.

    Parameters
    ----------
    own : Header
        Header of the HDU that holds the pixels.
    primary : Header, optional
        The file's first header, where that is another one.
    """

    own: fits.Header
    primary: fits.Header | None = None

    def value(self, key: str) -> Any:
        """The value of `key`, of the own header first; None where it is absent or has no value."""
        for header in (self.own, self.primary):
            if header is not None and key in header:
                value = header[key]
                if value is not None and not isinstance(value, fits.card.Undefined):
                    return value
        return None

    def comment(self, key: str) -> str:
        """The comment beside the value that `value` returns; empty where there is none."""
        for header in (self.own, self.primary):
            if header is not None and key in header:
                value = header[key]
                if value is not None and not isinstance(value, fits.card.Undefined):
                    return str(header.comments[key] or "")
        return ""

    def text(self, key: str) -> str:
        """The value of `key` as text without blanks around it; empty where there is none."""
        value = self.value(key)
        return "" if value is None else str(value).strip()

    def number(self, key: str) -> float | None:
        """The value of `key` as a finite number, also where it stands there as text; else None."""
        return to_number(self.value(key))

    def first(self, *keys: str) -> tuple[str, float] | None:
        """The first of the keys that holds a positive number, and that number."""
        for key in keys:
            number = self.number(key)
            if number is not None and number > 0:
                return key, number
        return None


def cleaned(text: Any) -> str:
    """The text as a band's or an image's name: printable, on one line, without '/', '[' and ']'."""
    text = "".join(c if c.isprintable() else " " for c in str(text))
    text = " ".join(text.split())
    return text.replace("/", "-").replace("[", "(").replace("]", ")")


def telescope_of(own: fits.Header, primary: fits.Header | None = None) -> str:
    """The telescope, or the survey where it has one telescope: "HST", "JWST", "WISE", "DECam", …

    Known ones are recognised by TELESCOP, INSTRUME, SURVEY and ORIGIN; else TELESCOP (or INSTRUME)
    as it stands there; empty where nothing says it.
    """
    cards = Cards(own, primary)
    keys = (
        "TELESCOP",
        "FPA.TELESCOPE",
        "INSTRUME",
        "FPA.INSTRUMENT",
        "SURVEY",
        "PROJECT",
        "ORIGIN",
    )
    for key in keys:
        words = cards.text(key)
        if words and key == "ORIGIN" and "/" in words:  # a path or a repository, not an observatory
            continue
        for name, pattern in TELESCOPES:
            if words and re.search(pattern, words, re.IGNORECASE):
                if name == "Subaru" and re.search(
                    "HSC|HYPER", cards.text("INSTRUME"), re.IGNORECASE
                ):
                    return "HSC"
                return name
    for name, pattern in (("DECam", r"\bDECam\b"), ("HSC", r"^HSC-"), ("ZTF", r"^ZTF\b")):
        if re.search(pattern, cards.text("FILTER")):
            return name
    if "WISE" in cards.comment("BAND").upper() or _is_unwise(cards):
        return "WISE"
    if cards.value("FPA.ZP") is not None:
        return "PS1"
    if cards.text("TELESCOP") == "2.5m" and cards.value("NMGY") is not None:
        return "SDSS"
    return cleaned(cards.text("TELESCOP") or cards.text("INSTRUME"))


def _is_unwise(cards: Cards) -> bool:
    """UnWISE's coadds have no TELESCOP: their MAGZP has a comment of its own (unwise_coadd.py)."""
    band, sentence = cards.number("BAND"), cards.comment("MAGZP").lower()
    return band in (1, 2, 3, 4) and "(in vega mag)" in sentence and cards.number("MAGZP") == 22.5


def identity(own: fits.Header, primary: fits.Header | None = None) -> str:
    """Telescope and instrument in words ("HST ACS", "JWST NIRCAM", "DECam"); empty where unknown.

    Images of one band's name and of two identities were taken through two filters: see
    `same_instrument`.
    """
    telescope = telescope_of(own, primary)
    if telescope in ("HST", "JWST", "Euclid", "Spitzer", "Subaru"):
        instrument = cleaned(Cards(own, primary).text("INSTRUME")).upper()
        if instrument and instrument != telescope.upper():
            return f"{telescope} {instrument}"
    return telescope


def same_instrument(first: str, second: str) -> bool:
    """Whether two results of `identity` may be one: equal, or one unknown or less precise."""
    a, b = first.upper().split(), second.upper().split()
    return a[: len(b)] == b[: len(a)]


def band_of(
    own: fits.Header, primary: fits.Header | None = None, stem: str | None = None
) -> tuple[str, list[Decision]]:
    """The band of an image, and what was decided to find it.

    Parameters
    ----------
    own, primary : Header
        The image's own header, and the file's first.
    stem : str, optional
        The file's name without ending (`bayesjoint.images.files.stem_of`): the band where the headers do not identify one,
        so that two such files are two bands.

    Returns
    -------
    band : str
        A name without '/', '[' and ']', of the headers' own spelling: BAND, else FILTER (of two
        filters in the beam, the narrower; CLEAR left away), else telescope and number, else `stem`,
        else "image".
    decisions : list of Decision
    """
    cards = Cards(own, primary)
    vague: list[str] = []  # cards that are there and do not identify a band
    if _is_name(cards.value("BAND")):
        return _found(cards, "BAND", cards.text("BAND"))
    if cards.text("BAND"):
        vague.append(f"BAND {cards.text('BAND')!r}")
    for keys in (("FILTER", "PUPIL"), ("FILTER1", "FILTER2"), ("FILTNAM1", "FILTNAM2")):
        names = {key: name for key in keys for name in _names(cards, key)}
        if names:
            key, name = _narrowest(names)
            return _found(cards, key, name)
        vague += [f"{key} {cards.text(key)!r}" for key in keys if cards.text(key)]
    for key in ("FPA.FILTER", "FPA.FILTERID", "FILTNAME", "ESO INS FILT1 NAME", "FILTERID", "FILT"):
        names = _names(cards, key)
        if names:
            return _found(cards, key, names[0])
    mode = SPACE_FILTER.search(cards.text("PHOTMODE"))  # HST: "ACS WFC1 F814W"
    if mode:
        return _found(cards, "PHOTMODE", mode.group())
    telescope = telescope_of(own, primary)
    for key in ("BAND", "FILTER", "CHNLNUM"):
        number = cards.number(key)
        name = NUMBERED_BANDS.get(telescope, {}).get(int(number) if number is not None else 0)
        if name and number == int(number) and not (telescope == "Spitzer" and _is_mips(cards)):
            return name, [Decision("band", f"{name} from {key} {number:g} of {telescope}")]
    because = f": {' and '.join(vague)} {'do' if len(vague) > 1 else 'does'} not identify a band"
    if stem and cleaned(stem):
        text = f"{cleaned(stem)} from the file's name{because if vague else ''}"
        return cleaned(stem), [Decision("band", text)]
    if vague:
        text = f"band unknown{because}, and images of band 'image' share their fluxes; give band="
        return "image", [Decision("band", text, warning=True)]
    return "image", [Decision("band", "image, as no BAND or FILTER names one")]


def _is_name(value: Any) -> bool:
    if value is None or isinstance(value, bool | int | float):
        return False
    text = str(value).strip("_ \t\n")
    return bool(text) and not NO_BAND.fullmatch(text)


def _is_mips(cards: Cards) -> bool:
    return "MIPS" in cards.text("INSTRUME").upper()


def _names(cards: Cards, key: str) -> list[str]:
    """The filters that a card names, CLEAR and the like left away; "F814W;CLEAR2L" holds one."""
    value = cards.value(key)
    if not _is_name(value):
        return []
    return [part.strip() for part in re.split(r"[;,]", str(value)) if _is_name(part)]


def _narrowest(names: dict[str, str]) -> tuple[str, str]:
    """Of two filters in the beam, the one that makes the band; both where that is open."""
    if len(names) == 1:
        return next(iter(names.items()))
    widths = {}
    for key, name in names.items():
        match = SPACE_FILTER.fullmatch(name)
        widths[key] = WIDTHS[match.group(1).upper()] if match else None
    known = {key: width for key, width in widths.items() if width is not None}
    if "PUPIL" in names and "FILTER" in known and "PUPIL" not in known:
        # grisms and masks of JWST's pupil wheels change no band; NIRCam's weak lenses defocus it
        lens = names["PUPIL"].upper().startswith(("WL", "NRM", "GDHS"))
        return "FILTER", f"{names['FILTER']}+{names['PUPIL']}" if lens else names["FILTER"]
    if len(known) == len(names) and len(set(known.values())) == len(known):
        key = min(known, key=known.__getitem__)
        return key, names[key]
    return " and ".join(names), "+".join(dict.fromkeys(names.values()))


def _found(cards: Cards, key: str, name: str) -> tuple[str, list[Decision]]:
    written, name = name, cleaned(name)
    decam = re.match(r"(\w+) DECam\b", name)  # "r DECam SDSS c0002 6415.0 1480.0"
    if decam:
        name = decam.group(1)
    elif key.startswith("FPA."):  # Pan-STARRS: "r.00000"
        name = re.sub(r"\.0+$", "", name)
    text = f"{name} from {key}"
    if written.strip() != name:
        text += f" {written.strip()!r}"
    return name, [Decision("band", text)]
