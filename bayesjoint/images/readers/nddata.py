"""NDData: images from astropy's containers, units and all."""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy import units as u
from astropy.nddata import InverseVariance, NDData, StdDevUncertainty, VarianceUncertainty

from bayesjoint.images.image import Image
from bayesjoint.images.readers.reader import NOISES, PLACES
from bayesjoint.units import convert_array, unit_zeropoint

__all__ = ["from_nddata"]

KINDS = ((VarianceUncertainty, "variance"), (StdDevUncertainty, "sigma"), (InverseVariance, "ivar"))


def from_nddata(nddata: NDData, **overrides: Any) -> Image:
    """Make an `Image` from NDData or CCDData; `overrides` are arguments of `Image`.

    Raises
    ------
    ValueError
        Where it has no uncertainty whose kind is known, or one in a unit that cannot be converted.
    """
    if not isinstance(nddata, NDData):
        raise ValueError(
            f"Image.from_nddata takes an NDData or CCDData; got {type(nddata).__name__}. Give one, or "
            "use bj.Image(...) for arrays and Image.read for files."
        )
    given = {k: v for k, v in overrides.items() if v is not None or k not in (*NOISES, *PLACES)}
    options: dict[str, Any] = {}
    unit = nddata.unit
    if not any(k in given for k in NOISES):
        uncertainty = nddata.uncertainty
        kind = next((k for t, k in KINDS if isinstance(uncertainty, t)), None)
        if kind is None or uncertainty is None:
            raise ValueError(
                "The NDData has no uncertainty that is a standard deviation, variance or inverse "
                "variance. Give variance=, sigma= or ivar=."
            )
        values = np.asarray(uncertainty.array)
        if uncertainty.unit is not None:
            wanted = None if unit is None else _power(unit, kind)
            values = convert_array(values * uncertainty.unit, wanted, kind)
        options[kind] = values
    if nddata.mask is not None:
        options["mask"] = nddata.mask
    if nddata.wcs is not None and not any(k in given for k in PLACES):
        options["wcs"] = nddata.wcs
    if getattr(nddata, "psf", None) is not None:
        options["psf"] = nddata.psf
    data: Any = nddata.data
    flux = unit is not None and unit_zeropoint(unit, pixel_area_sr=1.0) is not None
    if flux and not isinstance(data, u.Quantity):
        data = u.Quantity(np.asarray(data, float), unit)
        options |= {k: v * _power(unit, k) for k, v in options.items() if k in NOISES}
    return Image(data, **(options | given))


def _power(unit: u.UnitBase, kind: str) -> u.UnitBase:
    return {"sigma": unit, "variance": unit**2, "ivar": unit**-2}[kind]
