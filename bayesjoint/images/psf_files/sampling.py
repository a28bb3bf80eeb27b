"""How many samples of a PSF array lie on one pixel of its image, from the cards of its header."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from astropy.io import fits

from bayesjoint.images.psf_files.base import Options, Say

__all__ = [
    "card_number", "in_words", "parse_factors", "pixel_response", "samples_per_pixel", "shown",
    "stated_scale", "states_sampling", "unsure_cards",
]  # fmt: skip

FACTOR_CARD = re.compile(
    r"(?:PSF_?)?(?:OVE?R?|SUB|SUPER)_?SA?M(?:P(?:L(?:E|ING)?)?)?|OSAMP(?:LE|LING)?|PSF_?OVER"
)
"""Samples per pixel: OVERSAMP, OVERSAMPLE, OVRSAMP, SUBSAMP, ..."""
SCALE_CARD = re.compile(
    r"(?:PIX(?:EL)?|PX|PSF)_?(?:SCALE?|SCL)[12]?|PSCALE|SECPIX[12]?|GS_SCALE"
)
"""Arcsec per sample: PIXELSCL, PIXSCALE, PIXSCAL1, SECPIX, GalSim's GS_SCALE, ..."""
SURE_SCALE_CARDS = ("PIXELSCL", "PIXSCALE")
UNSURE_CARD = re.compile(
    r"(?:PSF_?)?SAMP(?:L(?:E|ING)?)?|PSFSAMP\w*|\w*(?:OVE?R_?SA|SUB_?SA|OVERS)\w*"
    r"|(?:PIX(?:EL)?|PSF)_?(?:SIZE?|SZ)[12]?|SCALE"
)
"""Cards that may state the sampling, and do not say how."""
AGREEMENT = 0.01
"""Relative difference of two statements up to which they say the same."""
WHOLE = 0.002
"""The same, of a quotient of two scales from a whole number."""
PLAUSIBLE = (0.05, 100.0)
"""Samples per pixel that a stated scale may give."""
MAX_UNTYPED_DEG = 0.003
"""Largest CDELT that is taken for degrees where neither CTYPE nor CUNIT says so."""
NO_UNIT = " (which has no unit: arcsec are assumed)"
CELESTIAL = ("RA--", "DEC-", "GLON", "GLAT", "ELON", "ELAT")
ANGLES = {"deg": 3600.0, "degree": 3600.0, "arcmin": 60.0, "arcsec": 1.0, "mas": 1e-3}
"""Arcsec of a CUNIT."""
RESPONSES = {"OPTICAL": None, "SUBPIXEL": "subpixel", "NATIVE": "native"}
NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eEdD][+-]?\d+)?"
FACTORS = re.compile(rf"[\[(]?\s*({NUMBER})(?:\s*[,;x\s]\s*({NUMBER}))?\s*[\])]?")
Pair = tuple[float, float]


def samples_per_pixel(
    header: fits.Header, options: Options, say: Say, stated: tuple[Pair, str] | None = None
) -> Pair | None:
    """Decide on the sampling of an array.

    Parameters
    ----------
    header : Header
        Of the array.
    options : Options
        What the user says; `oversampling` overrides the header.
    say : callable
        Takes the decision.
    stated : ((float, float), str), optional
        Samples per pixel (y, x) and the cards that say so, where they are not the usual ones.

    Returns
    -------
    (float, float) or None
        Samples per image pixel along (y, x); None where nothing tells them, which means 1.

    Raises
    ------
    ValueError
        For cards that are no positive numbers.

    Notes
    -----
    A scale that is stated for the array is that of the array; a factor may be that of another one:
    STPSF's detector-sampled extensions, and what was resampled since, carry it along.
    """
    if options.oversampling is not None:
        return _as_given(options.oversampling, header, say)
    stated = stated or _factor(header)
    scale = stated_scale(header)
    by_scale = None if scale is None else _by_scale(scale, options, say)
    if scale is None or by_scale is None:
        if stated is not None:
            say(f"{in_words(stated[0])}, from {stated[1]}")
            return stated[0]
        if scale is not None and options.pixel_scale is None:
            say(
                f"1 sample a pixel is assumed: the array states {scale[1]}, and the image's own "
                "scale is not known; give pixel_scale= or oversampling=",
                warning=True,
            )
            return None
        say("1 sample a pixel, as the file states no other")
        return None
    if stated is None:
        text = f"{in_words(by_scale)}, from {scale[1]} and {_image_scale(options)}"
        say(text, warning=NO_UNIT in scale[1])
        return by_scale
    factor, card = stated
    if _agree(factor, by_scale):
        say(f"{in_words(factor)}, from {card}")
        return factor
    both = (
        f"{card} says {in_words(factor)}, {scale[1]} and {_image_scale(options)} say "
        f"{shown(by_scale)}"
    )
    if scale[1].startswith("WCS") and _agree(by_scale, (1.0, 1.0)):
        say(
            f"{both}: {shown(factor)} is taken, as the WCS is probably a copy of the image's; "
            "give oversampling= if it is not",
            warning=True,
        )
        return factor
    say(
        f"{both}: {shown(by_scale)} is taken, as the scale is that of this array; give "
        "oversampling= if it is not",
        warning=True,
    )
    return by_scale


def states_sampling(card: str) -> bool:
    """Whether a card's name says that it holds the sampling, or the pixel's response, of a PSF."""
    word = _word(card)
    known = ("PSF_SAMP", "PIXRESP", "PSFNORM")
    return word in known or any(c.fullmatch(word) for c in (FACTOR_CARD, SCALE_CARD, UNSURE_CARD))


def pixel_response(header: fits.Header, default: str | None = "native") -> str | None:
    """What the card PIXRESP says of the pixel's response in the array.

    Raises
    ------
    ValueError
        For a word that is not known.
    """
    word = header.get("PIXRESP")
    if word is None:
        return default
    if str(word).strip().upper() not in RESPONSES:
        raise ValueError(
            f"PIXRESP must be OPTICAL, SUBPIXEL or NATIVE; got {word!r}. Correct the card, or "
            "give pixel_response=."
        )
    return RESPONSES[str(word).strip().upper()]


def card_number(header: fits.Header, card: str) -> float | None:
    """A card that must be a positive number; None where it is absent.

    Raises
    ------
    ValueError
        For any other value.
    """
    value = header.get(card)
    if value is None:
        return None
    try:
        number = np.nan if isinstance(value, bool) else float(value)
    except ValueError:
        number = np.nan
    if not 0 < number < np.inf:
        raise ValueError(
            f"{card} must be a positive number; got {value!r}. Correct the card, or give "
            "oversampling=."
        )
    return float(number)


def stated_scale(header: fits.Header) -> tuple[Pair, str] | None:
    """Arcsec per sample along (y, x) and the cards that say so; None where none do.

    Raises
    ------
    ValueError
        For a scale that is no positive number.
    """
    cards = [k for k in dict.fromkeys(header) if SCALE_CARD.fullmatch(_word(k))]
    for card in sorted(cards, key=lambda k: _word(k) not in SURE_SCALE_CARDS):
        value = card_number(header, card)
        if value is not None:
            return (value, value), f'{card} = {value:g}"'
    return _wcs_scale(header)


def shown(pair: Pair) -> str:
    """Samples per pixel as a reader writes them."""
    return (
        f"{pair[0]:.6g}"
        if _agree(pair, (pair[0], pair[0]), 1e-9)
        else f"({pair[0]:.6g}, {pair[1]:.6g})"
    )


def in_words(pair: Pair) -> str:
    """Samples per pixel as a part of a sentence."""
    return f"{shown(pair)} sample{'' if _agree(pair, (1.0, 1.0), 1e-9) else 's'} a pixel"


def unsure_cards(header: fits.Header) -> list[str]:
    """Cards that may state the sampling in a way that is not known."""
    cards = [k for k in dict.fromkeys(header) if UNSURE_CARD.fullmatch(_word(k))]
    cards += [k for k in ("CD1_1", "CDELT1") if k in header][:1]
    nothing = (0, 1, -1, "1", "", None)
    return [f"{k} = {header[k]}" for k in cards if header[k] not in nothing]


def _word(card: str) -> str:
    """A keyword in capitals; those of HIERARCH cards may have blanks."""
    return card.strip().upper().replace(" ", "_")


def _as_given(given: Pair, header: fits.Header, say: Say) -> Pair:
    try:
        stated = _factor(header)
    except ValueError:
        stated = None
    other = "" if stated is None or _agree(stated[0], given) else f"; the file has {stated[1]}"
    say(f"{in_words(given)}, as given{other}")
    return given


def _factor(header: fits.Header) -> tuple[Pair, str] | None:
    cards = [k for k in dict.fromkeys(header) if FACTOR_CARD.fullmatch(_word(k))]
    for card in sorted(cards, key=lambda k: _word(k) != "OVERSAMP"):
        if header[card] is not None:
            return parse_factors(header[card], card), f"{card} = {header[card]}"
    step = card_number(header, "PSF_SAMP")  # image pixels a sample, PSFEx's own word for it
    return None if step is None else ((1 / step, 1 / step), f"PSF_SAMP = {step:g}")


def parse_factors(value: Any, card: str) -> Pair:
    """Samples per pixel (y, x) as written on a card: 4, 2.5, "4" or "4,4".

    Raises
    ------
    ValueError
        For anything else.
    """
    match = None if isinstance(value, bool) else FACTORS.fullmatch(str(value).strip())
    numbers = [] if match is None else [float(re.sub("[dD]", "e", m)) for m in match.groups() if m]
    if not numbers or not all(0 < n < np.inf for n in numbers):
        raise ValueError(
            f"{card} must be a positive number of samples per pixel, or two of them, as 4, 2.5 or "
            f"'4,4'; got {value!r}. Correct the card, or give oversampling=."
        )
    return numbers[0], numbers[-1]


def _by_scale(scale: tuple[Pair, str], options: Options, say: Say) -> Pair | None:
    if options.pixel_scale is None:
        return None
    ratio = np.array(options.pixel_scale) / np.array(scale[0])
    if not np.all((ratio > PLAUSIBLE[0]) & (ratio < PLAUSIBLE[1])):
        text = f"{scale[1]} means {ratio[0]:.3g} samples in {_image_scale(options)}"
        if not scale[1].startswith(SURE_SCALE_CARDS):
            say(f"{text}: it is ignored")
            return None
        raise ValueError(
            f"The scale of a PSF's samples must be in arcsec and like the image's; {text}. "
            "Correct the card, or give oversampling=."
        )
    whole = np.maximum(np.round(ratio), 1)
    ratio = np.where(np.abs(ratio - whole) < WHOLE * ratio, whole, ratio)
    return float(ratio[0]), float(ratio[1])


def _image_scale(options: Options) -> str:
    sy, sx = options.pixel_scale or (np.nan, np.nan)
    return (
        f"the image's {sy:.4g}\""
        if np.isclose(sy, sx, 1e-4)
        else f"the image's ({sy:.4g}, {sx:.4g})\""
    )


def _agree(a: Pair, b: Pair, tolerance: float = AGREEMENT) -> bool:
    return bool(np.all(np.abs(np.array(a) / np.array(b) - 1) <= tolerance))


def _wcs_scale(header: fits.Header) -> tuple[Pair, str] | None:
    """Scale of a WCS in units of an angle, or of GalSim's, which is in arcsec; else None."""
    types = [str(header.get(f"CTYPE{k}", "")).strip().upper() for k in (1, 2)]
    units = {str(header.get(f"CUNIT{k}", "")).strip().lower() for k in (1, 2)} - {""}
    linear = any(t and not t.startswith(CELESTIAL) for t in types)
    untyped = not any(types) and not units
    if not units:
        units = {"deg"} if not linear else {"arcsec"} if "GS_WCS" in header else set()
    unit = ANGLES.get(units.pop()) if len(units) == 1 else None
    if unit is None:
        return None
    has_cd = any(f"CD{i}_{j}" in header for i in (1, 2) for j in (1, 2))
    if not has_cd and not all(f"CDELT{k}" in header for k in (1, 2)):
        return None
    try:
        if has_cd:
            m = np.array([[float(header.get(f"CD{i}_{j}", 0)) for j in (1, 2)] for i in (1, 2)])
        else:
            pc = [[float(header.get(f"PC{i}_{j}", i == j)) for j in (1, 2)] for i in (1, 2)]
            m = np.diag([float(header[f"CDELT{k}"]) for k in (1, 2)]) @ np.array(pc)
    except (TypeError, ValueError):
        return None
    sx, sy = np.hypot(*m)
    if not (np.isfinite([sx, sy]).all() and min(sx, sy) > 0):
        return None
    note = ""
    if untyped and max(sx, sy) > MAX_UNTYPED_DEG:
        if sx == sy == 1.0:  # pixels
            return None
        unit, note = 1.0, NO_UNIT
    sx, sy = float(sx * unit), float(sy * unit)
    value = f'{sy:.4g}"' if np.isclose(sx, sy, 1e-4) else f'({sy:.4g}, {sx:.4g})"'
    return (sy, sx), f"WCS of {value} a sample{note}"
