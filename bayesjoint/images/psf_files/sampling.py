"""How many samples of a PSF array lie on one pixel of its image, from the cards of its header."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from astropy.io import fits

from bayesjoint.images.psf_files.base import Options, Say

__all__ = ["card_number", "pixel_response", "samples_per_pixel", "shown", "stated_scale"]

FACTOR_CARDS = ("OVERSAMP", "OVERSAMPLING", "OVERSAMPLE")
SCALE_CARDS = ("PIXELSCL", "PIXSCALE")
AGREEMENT = 0.01
"""Relative difference of two statements up to which they say the same."""
WHOLE = 0.002
"""The same, of a quotient of two scales from a whole number."""
PLAUSIBLE = (0.05, 100.0)
"""Samples per pixel that a stated scale may give."""
MAX_UNTYPED_DEG = 0.1
"""Largest CDELT that is taken for degrees where no CTYPE says so."""
CELESTIAL = ("RA--", "DEC-", "GLON", "GLAT", "ELON", "ELAT")
RESPONSES = {"OPTICAL": None, "SUBPIXEL": "subpixel", "NATIVE": "native"}
NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eEdD][+-]?\d+)?"
FACTORS = re.compile(rf"[\[(]?\s*({NUMBER})(?:\s*[,;x\s]\s*({NUMBER}))?\s*[\])]?")
Pair = tuple[float, float]


def samples_per_pixel(
    header: fits.Header, options: Options, say: Say, stated: tuple[Pair, str] | None = None
) -> Pair:
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
    (float, float)
        Samples per image pixel along (y, x).

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
            say(f"{shown(stated[0])} samples a pixel, from {stated[1]}")
            return stated[0]
        if scale is None:
            say("1 sample a pixel, as the file states no other")
        else:
            say(
                f"1 sample a pixel is assumed: the array states {scale[1]}, and the image's own "
                "scale is not known; give pixel_scale= or oversampling=",
                warning=scale[1].startswith("PIXELSCL"),
            )
        return 1.0, 1.0
    if stated is None:
        say(f"{shown(by_scale)} samples a pixel, from {scale[1]} and {_image_scale(options)}")
        return by_scale
    factor, card = stated
    if _agree(factor, by_scale):
        say(f"{shown(factor)} samples a pixel, from {card}")
        return factor
    both = (
        f"{card} says {shown(factor)} samples a pixel, {scale[1]} and {_image_scale(options)} say "
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
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else np.nan
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
    for card in SCALE_CARDS:
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


def _as_given(given: Pair, header: fits.Header, say: Say) -> Pair:
    try:
        stated = _factor(header)
    except ValueError:
        stated = None
    other = "" if stated is None or _agree(stated[0], given) else f"; the file has {stated[1]}"
    say(f"{shown(given)} samples a pixel, as given{other}")
    return given


def _factor(header: fits.Header) -> tuple[Pair, str] | None:
    for card in FACTOR_CARDS:
        value = header.get(card)
        if value is not None:
            return parse_factors(value, card), f"{card} = {value}"
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
        text = f"{scale[1]} gives {ratio[0]:.3g} samples a pixel of {_image_scale(options)}"
        if scale[1].startswith("WCS"):
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
    """Scale of a celestial WCS; None where there is none, or it is not told in an angle."""
    types = [str(header.get(f"CTYPE{k}", "")).strip().upper() for k in (1, 2)]
    if any(t and not t.startswith(CELESTIAL) for t in types):
        return None
    units = {str(header.get(f"CUNIT{k}", "deg")).strip().lower() or "deg" for k in (1, 2)}
    unit = (
        {"deg": 3600.0, "degree": 3600.0, "arcsec": 1.0}.get(units.pop())
        if len(units) == 1
        else None
    )
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
    if not all(types) and max(sx, sy) * unit / 3600 > MAX_UNTYPED_DEG:
        return None
    sx, sy = float(sx * unit), float(sy * unit)
    value = f'{sy:.4g}"' if np.isclose(sx, sy, 1e-4) else f'({sy:.4g}, {sx:.4g})"'
    return (sy, sx), f"WCS of {value} a sample"
