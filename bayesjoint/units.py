"""Units at the doors: everything inside is a float in arcsec, degree, nJy or the image's own unit."""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy import units as u
from numpy.typing import ArrayLike

__all__ = ["AB_NJY", "KNOWN", "to_array", "to_float"]

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
