"""Units at the doors: everything inside is a float in arcsec, degree, nJy or the image's own unit."""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy import units as u

__all__ = ["AB_NJY", "KNOWN", "to_float"]

AB_NJY = 31.4
"""AB magnitude of 1 nJy as fixed here, exactly."""

KNOWN = {"arcsec": u.arcsec, "deg": u.deg, "nJy": u.nJy, "mag": u.mag, "um": u.um, "": u.dimensionless_unscaled}


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
        target = KNOWN.get(unit)
        try:
            if unit == "nJy" and value.unit in (u.mag, u.ABmag):
                number = 10 ** (-0.4 * (float(value.value) - AB_NJY))
            else:
                number = float(value.value) if target is None else float(value.to_value(target))
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
