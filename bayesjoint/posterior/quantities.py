"""Quantities: what follows from a source's parameters: magnitudes, colours, circularised sizes, surface brightness."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from bayesjoint.units import AB_NJY

__all__ = ["Quantity", "magnitude", "quantities"]


class Quantity(NamedTuple):
    """Values of a quantity, shape (draws,), its unit, and what it is."""

    values: np.ndarray
    unit: str
    doc: str


def magnitude(flux: np.ndarray) -> np.ndarray:
    """AB magnitude of a flux in nJy; NaN where it is not positive."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.asarray(flux) > 0, AB_NJY - 2.5 * np.log10(np.abs(flux)), np.nan)


def quantities(columns: Mapping[str, Mapping[str, Any]], x: Mapping[str, np.ndarray], bands: list[str]) -> dict[str, Quantity]:
    """What follows from a source's columns.

    Parameters
    ----------
    columns : mapping
        Of the source, from the posterior's meta.
    x : mapping of ndarray, shape (draws,)
        Values by column.
    bands : list of str
        Between neighbours of which there are colours.

    Returns
    -------
    dict
        ``mag_r`` of ``flux_r``; ``r_eff_circ``; ``mu_eff_r``, mean surface brightness within the half-light ellipse
        (Graham & Driver 2005, PASA 22, 118, eq. 12); ``color_g_r``.
    """
    out: dict[str, Quantity] = {}
    fluxes = {c["label"]: key for key, c in columns.items() if c["flux"]}

    def like(parameter: str, label: str | None) -> str | None:
        return next((k for k in (f"{parameter}_{label}", parameter) if k in x), None)

    for key in fluxes.values():
        out[key.replace("flux", "mag", 1)] = Quantity(magnitude(x[key]), "mag", f"AB magnitude of {key}")
    for key, c in columns.items():
        q = like("q", c["label"])
        if c["parameter"] == "r_eff" and q is not None:
            doc = f"circularised half-light radius, {key} sqrt({q})"
            out[key.replace("r_eff", "r_eff_circ", 1)] = Quantity(x[key] * np.sqrt(x[q]), "arcsec", doc)
    for label, key in fluxes.items():
        r, q = like("r_eff", label), like("q", label)
        if r is not None and q is not None:
            doc = f"mean surface brightness within the half-light ellipse, per arcsec2, of {key}"
            bright = magnitude(x[key]) + 2.5 * np.log10(2 * np.pi * x[q] * x[r] ** 2)
            out[key.replace("flux", "mu_eff", 1)] = Quantity(bright, "mag", doc)
    for a, b in pairwise(band for band in bands if band in fluxes):
        doc = f"colour, mag_{a} - mag_{b}"
        out[f"color_{a}_{b}"] = Quantity(magnitude(x[fluxes[a]]) - magnitude(x[fluxes[b]]), "mag", doc)
    return out
