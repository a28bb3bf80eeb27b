"""Units at the doors: everything inside is a float in arcsec, degree, nJy or the image's own unit."""

from __future__ import annotations

import re
import warnings
from typing import Any

import numpy as np
from astropy import units as u
from numpy.typing import ArrayLike

__all__ = [
    "AB_NJY",
    "KNOWN",
    "convert_array",
    "flux_density",
    "parse_unit",
    "to_array",
    "to_float",
    "unit_zeropoint",
    "zeropoint_from",
]

AB_NJY = 31.4
"""AB magnitude of 1 nJy as fixed here, exactly."""

KNOWN = {"arcsec": u.arcsec, "deg": u.deg, "nJy": u.nJy, "mag": u.mag, "um": u.um, "arcsec/yr": u.arcsec / u.yr, "": u.dimensionless_unscaled}


def to_float(value: Any, unit: str, what: str) -> float:
    """Return a number or Quantity as a float in `unit`.

    Parameters
    ----------
    value : float or `~astropy.units.Quantity`
        A plain number is taken to be in `unit` already. For ``"nJy"`` an AB magnitude is accepted too.
    unit : str
        One of the units of `KNOWN`, or any other string for "the image's own unit".
    what : str
        What the number is, for the error's sentence.

    Raises
    ------
    ValueError
        If the value is not one finite number, or its unit cannot be converted.
    """
    if isinstance(value, u.Quantity):
        if value.size != 1:
            raise ValueError(f"{what} is to be one number (in {unit or 'no unit'}), and an array of shape {value.shape} came.")
        target = KNOWN.get(unit)
        try:
            if unit == "nJy" and value.unit in (u.mag, u.ABmag):
                number = 10 ** (-0.4 * (float(value.value) - AB_NJY))
            elif target is None or (unit == "mag" and value.unit == u.ABmag):  # every magnitude here is AB
                number = float(value.value)
            else:
                number = float(value.to_value(target))
        except (u.UnitConversionError, TypeError) as e:
            raise ValueError(f"{what} is to be in {unit}, and came in {value.unit}: convert it first.") from e
    else:
        if hasattr(value, "detach"):
            value = value.detach().cpu()
        try:
            number = float(np.asarray(value, dtype=float).reshape(()))
        except (TypeError, ValueError) as e:
            raise ValueError(f"{what} is to be one number (in {unit or 'no unit'}), and {value!r} came.") from e
    if not np.isfinite(number):
        raise ValueError(f"{what} is to be a finite number, and {number} came.")
    return number


def to_array(value: ArrayLike, what: str) -> np.ndarray:
    """Return an array of real numbers, of any dtype and byte order, as a float64 copy; masked elements become NaN.

    Raises
    ------
    ValueError
        If the values are not real numbers, or do not form an array.
    """
    try:
        a = np.ma.filled(value.astype(float), np.nan) if isinstance(value, np.ma.MaskedArray) and not np.iscomplexobj(value) else np.asarray(value)
        if np.iscomplexobj(a):  # numpy would drop the imaginary part with no more than a warning
            raise TypeError("complex")
        return np.array(a, dtype=np.float64)
    except (TypeError, ValueError) as e:
        kind = getattr(value, "dtype", type(value).__name__)
        raise ValueError(f"{what} is to be an array of real numbers, and {kind} came: convert it first.") from e


# -- units of pixels -------------------------------------------------------------------------------
MAGGY_NJY = 10 ** (0.4 * AB_NJY)
"""A maggy, the flux of AB magnitude 0, in nJy."""

COUNTS = (u.electron, u.ct, u.adu, u.DN, u.ph)
"""Units of what a detector counts: worth nothing until a zeropoint says so."""

_RATE = r"(?P<rate>\s*(?:/|\bper\b)\s*s(?:ec(?:ond)?s?)?|[\s*.]*s(?:ec)?(?:\^|\*\*)?-1)?"
_PIXEL = r"(?:\s*(?:/|\bper\b)\s*pix(?:el)?)?"
_COUNT_WORDS = (
    (u.electron, r"electrons?|e-|e|el|photo-?electrons?"),
    (u.DN, r"dn'?s?|digital numbers?|data numbers?"),
    (u.adu, r"adu'?s?"),
    (u.ct, r"counts?|cts?|cnts?"),
    (u.ph, r"photons?|ph"),
)
_SPELLINGS = (  # (pattern, what AstroPy's parser reads), in this order
    (r"[µμ]", "u"),
    (r"(?<![A-Za-z])(?:n|nano-?)(?:magg(?:y|ies?)|mgys?|mgies)(?![A-Za-z])", "nmgy"),
    (r"(?<![A-Za-z])(?:magg(?:y|ies?)|mgys?)(?![A-Za-z])", "mgy"),
    (r"(?<![A-Za-z])nano-?jansk(?:y|ys|ies)(?![A-Za-z])|(?<![A-Za-z])nanoJy(?![A-Za-z])", "nJy"),
    (r"(?<![A-Za-z])micro-?jansk(?:y|ys|ies)(?![A-Za-z])|(?<![A-Za-z])microJy(?![A-Za-z])", "uJy"),
    (r"(?<![A-Za-z])milli-?jansk(?:y|ys|ies)(?![A-Za-z])", "mJy"),
    (r"(?<![A-Za-z])mega-?jansk(?:y|ys|ies)(?![A-Za-z])", "MJy"),
    (r"(?<![A-Za-z])jansk(?:y|ys|ies)(?![A-Za-z])", "Jy"),
    (r"(?<![A-Za-z])ergs(?![A-Za-z])", "erg"),
    (r"(?<![A-Za-z])(?:angstroms?|angs?|aa|a)(?![A-Za-z])", "Angstrom"),  # never ampere
    (r"(?<![A-Za-z])(?:spaxels?|spax|pixels?|pixs?|px)(?![A-Za-z])", "pix"),
    (r"(?<![A-Za-z])(?:sq\.?\s*-?arcsecs?|arcsecs?\s*(?:\^|\*\*)?\s*2)(?![A-Za-z\d])",
     "arcsec2"),
    (r"(?<![A-Za-z])(?:steradians?|ster|str)(?![A-Za-z])", "sr"),
    (r"(?<![A-Za-z])(?:seconds?|secs?)(?![A-Za-z])", "s"),
)
_CAPITALS = {"MJY/SR": "MJy/sr", "JY": "Jy", "NJY": "nJy", "UJY": "uJy", "JY/BEAM": "Jy/beam",
             "JY/PIXEL": "Jy/pix", "JY/PIX": "Jy/pix", "JY/SR": "Jy/sr"}  # fmt: skip
"""Units in capitals; MJY alone is left out, as it may be milli or mega."""


def parse_unit(text: str) -> u.UnitBase | None:
    """Return the unit that a text names, as in BUNIT; None where it is not a unit that is known.

    Parameters
    ----------
    text : str
        As AstroPy reads it, or of a survey's own spelling: ``"ELECTRONS/S"``, ``"counts/sec"``,
        ``"nanomaggies"``, ``"10**(-17)erg/cm**2/s/Angstrom"``.
    """
    text = str(text).strip().strip("'\"[]").strip()
    word = re.split(r"[(,;]", text)[0].strip()  # "DN (ADU), sky subtracted"
    for unit, words in _COUNT_WORDS:
        for whole in (text, word):
            match = re.fullmatch(rf"(?:{words}){_PIXEL}{_RATE}{_PIXEL}", whole, re.IGNORECASE)
            if match:
                return unit / u.s if match["rate"] else unit
    if re.fullmatch(r"cps|cnts?ps|c/s", text, re.IGNORECASE):
        return u.ct / u.s
    if text.isupper() and "JY" in text:
        text = _CAPITALS.get(text.replace(" ", ""), "")
    for pattern, plain in _SPELLINGS:
        text = re.sub(pattern, plain, text, flags=re.IGNORECASE)
    if not text:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", u.UnitsWarning)  # of several slashes, which are usual
        try:
            return u.Unit(text)
        except (ValueError, TypeError):
            return None


def _powers(unit: u.UnitBase) -> dict[str, float]:
    """Powers of the irreducible units of a unit, by name."""
    parts = unit.decompose()
    return {base.name: float(p) for base, p in zip(parts.bases, parts.powers, strict=True)}


def _of_one(unit: u.UnitBase, *left_out: u.UnitBase) -> u.UnitBase:
    """The unit with maggies in Jy, and without pixels and what else is left out."""
    powers = _powers(unit)
    for name in ("mgy", "pix", *(x.name for x in left_out)):
        power = powers.get(name, 0)
        if power:
            one = u.Unit(name) if name != "mgy" else u.mgy
            unit = unit / one**power
            if name == "mgy":
                unit = unit * u.Unit(MAGGY_NJY * u.nJy) ** power
    return unit


def _same_counts(unit: u.UnitBase) -> u.UnitBase:
    """The unit with counts and data numbers as adu: three names of one thing."""
    powers = _powers(unit)
    for one in (u.ct, u.DN):
        power = powers.get(one.name, 0)
        if power:
            unit = unit * (u.adu / one) ** power
    return unit


def flux_density(
    unit: u.UnitBase, pixel_area_sr: float | None = None, wavelength_um: float | None = None
) -> float | None:
    """Return what a unit is worth in nJy a pixel; None where it is no flux density.

    Parameters
    ----------
    unit : Unit
        A flux density (nJy, nmgy, erg/s/cm2/Hz), the same per pixel, per solid angle (MJy/sr) or
        per wavelength (erg/s/cm2/Angstrom).
    pixel_area_sr : float, optional
        Area of a pixel, steradian: without it a surface brightness is worth None.
    wavelength_um : float, optional
        Wavelength, micron: without it a flux density per wavelength is worth None.
    """
    if isinstance(unit, u.function.FunctionUnitBase):
        return None
    unit = _of_one(unit)
    per_wavelength = u.erg / u.s / u.cm**2 / u.AA
    for target, area in ((1, None), (u.sr, pixel_area_sr)):
        over = 1.0 if target == 1 else area
        if unit.is_equivalent(u.nJy / target):
            return None if over is None else float(unit.to(u.nJy / target)) * over
        if unit.is_equivalent(per_wavelength / target):
            if over is None or wavelength_um is None:
                return None
            density = float(unit.to(per_wavelength / target)) * per_wavelength
            where = u.spectral_density(wavelength_um * u.um)
            return float(density.to_value(u.nJy, equivalencies=where)) * over
    return None


def unit_zeropoint(
    unit: u.UnitBase, pixel_area_sr: float | None = None, wavelength_um: float | None = None
) -> float | None:
    """Return the AB magnitude of one such unit in a pixel; None where it is no flux (electron).

    Parameters
    ----------
    unit : Unit
        Of the data of an image.
    pixel_area_sr, wavelength_um : float, optional
        See `flux_density`.

    Raises
    ------
    ValueError
        For magnitudes, of which sources cannot be summed, and for fluxes per beam.
    """
    if is_magnitude(unit):
        raise ValueError(
            f"An image's unit must be linear in flux; got {unit}. Convert the pixels to a flux "
            "density, as in 10**(-0.4 * (magnitude - 31.4)) nJy."
        )
    if "beam" in _powers(unit):
        raise ValueError(
            f"An image's unit must be a flux per pixel; got {unit}. Divide the pixels by the area "
            "of the beam in pixels, and give them as Jy."
        )
    flux = flux_density(unit, pixel_area_sr, wavelength_um)
    return None if flux is None or flux <= 0 else AB_NJY - 2.5 * float(np.log10(flux))


def is_magnitude(unit: u.UnitBase) -> bool:
    """Whether a unit is a magnitude, or one per solid angle."""
    return isinstance(unit, u.function.FunctionUnitBase) or "dex" in _powers(unit)


def zeropoint_from(
    value: Any, *, pixel_area: Any = None, wavelength: Any = None, unit: u.UnitBase | None = None
) -> float:
    """Return the AB magnitude of one unit of an image, as a person gives it.

    Parameters
    ----------
    value : float or Quantity
        An AB magnitude (a number, ``25 * u.mag``, ``25 * u.ABmag``), or the flux of one unit:
        ``3.63 * u.uJy``, ``1 * u.nmgy``, ``2 * u.nJy / u.electron``.
    pixel_area : float or Quantity, optional
        Area of a pixel (a number in steradian), for a surface brightness (``1 * u.MJy / u.sr``).
    wavelength : float or Quantity, optional
        A number in micron, for a flux per wavelength.
    unit : Unit, optional
        Of the data, where it is known: a flux per count rate does not fit total counts.

    Raises
    ------
    ValueError
        For another magnitude system, a unit that is no flux, and what is not one finite number.
    """
    remedy = "Give the AB magnitude of one unit of the image, or its flux, as in 3.63 * u.uJy."
    if not isinstance(value, u.Quantity):
        if isinstance(value, bool | np.bool_ | str):
            raise ValueError(f"zeropoint must be a number or a Quantity; got {value!r}. {remedy}")
        return to_float(value, "mag", "zeropoint")
    if value.size != 1:
        raise ValueError(f"zeropoint must be one number; got shape {value.shape}. {remedy}")
    own = value.unit
    if own == u.mag or own == u.dimensionless_unscaled:
        return to_float(float(value.value), "mag", "zeropoint")
    if isinstance(own, u.MagUnit):
        physical = own.physical_unit
        flux = _flux_of_one(physical, unit, None, None)
        if flux is None or "Bol" in str(physical) or _is_st(physical):
            raise ValueError(
                f"zeropoint must be an AB magnitude; got {value}, which is in {own}. Convert it to "
                "AB first, as in 25 * u.ABmag."
            )
        flux = flux * 10 ** (-0.4 * float(value.value))
    else:
        area = None if pixel_area is None else u.Quantity(pixel_area, u.sr).value
        at = None if wavelength is None else to_float(wavelength, "um", "wavelength")
        scale = None if is_magnitude(own) else _flux_of_one(own, unit, area, at)
        if scale is None:
            if _per_wavelength(own):
                remedy = "Convert it with .to(u.Jy, u.spectral_density(wavelength))."
            raise ValueError(
                f"zeropoint must be an AB magnitude or a flux density; got {value}. {remedy}"
            )
        flux = float(value.value) * scale
    if not (np.isfinite(flux) and flux > 0):
        raise ValueError(f"zeropoint must be the flux of one unit, above 0; got {value}. {remedy}")
    return AB_NJY - 2.5 * float(np.log10(flux))


def _is_st(unit: u.UnitBase) -> bool:
    return _per_wavelength(unit) or "ST" in str(unit).replace("*", " ").replace("/", " ").split()


def _per_wavelength(unit: u.UnitBase) -> bool:
    if is_magnitude(unit):
        return False
    rest = _of_one(unit, *COUNTS)
    one = u.erg / u.s / u.cm**2 / u.AA
    return any(rest.is_equivalent(x) for x in (one, one * u.s, one / u.sr))


def _flux_of_one(
    own: u.UnitBase, unit: u.UnitBase | None, area: float | None, wavelength: float | None
) -> float | None:
    """Flux in nJy of one count or electron, of a unit such as nJy/electron or Jy s/adu."""
    rest = _of_one(own, *COUNTS)
    counted = any(x.name in _powers(own) for x in COUNTS)
    flux = flux_density(rest, area, wavelength)
    if flux is None and counted:
        flux = flux_density(rest / u.s, area, wavelength)
        if flux is not None and unit is not None and u.s.name not in _powers(unit):
            raise ValueError(
                f"zeropoint must fit pixels in {unit}; got a flux of one count per second ({own}). "
                "Divide it by the exposure time."
            )
    return flux


def convert_array(value: Any, unit: u.UnitBase | None, what: str) -> Any:
    """Return an array of another unit than the data's, in the unit that fits the data.

    Parameters
    ----------
    value : Quantity or array_like
        What has no unit is taken to be in `unit` already.
    unit : Unit or None
        Unit that is wanted: that of the data for a sigma, its square for a variance, its inverse
        square for an inverse variance; None for data without a unit.
    what : str
        What it is, for the error's sentence.

    Returns
    -------
    converted : ndarray or float
        Of dtype float64.

    Raises
    ------
    ValueError
        Where the units do not fit; the sentence names both.
    """
    own = getattr(value, "unit", None)
    if own is None:
        return value
    number = value.value
    if unit is None or unit == u.dimensionless_unscaled:
        if own == u.dimensionless_unscaled:
            return number
        raise ValueError(
            f"{what} must be a number without a unit, as the data have none; got {own}. Give the "
            f"data with their unit too, or {what} as plain numbers in the data's unit."
        )
    try:
        factor = float(_same_counts(_of_one(own)).to(_same_counts(_of_one(unit))))
    except (u.UnitConversionError, TypeError, ValueError):
        raise ValueError(
            f"{what} must be in {unit}, to go with the data; got {own}, which cannot be converted. "
            f"Give {what} in the data's unit."
        ) from None
    return np.asarray(number, float) * factor if np.ndim(number) else float(number) * factor
