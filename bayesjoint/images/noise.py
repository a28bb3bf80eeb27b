"""Noise: one variance a pixel from what the user gives."""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy.stats import mad_std

from bayesjoint.units import to_array

__all__ = ["SENTINEL", "estimate_sigma", "noise_from"]

SENTINEL = 1e9
"""Sigma, in units of the smallest ones, from which on it stands for a pixel without data."""


def noise_from(data: np.ndarray, bad: np.ndarray, *, variance: Any = None, sigma: Any = None, ivar: Any = None) -> tuple[np.ndarray, str]:
    """Return the variance of each pixel (NaN where it was negative), and a sentence if something was done to it.

    Raises
    ------
    ValueError
        Unless exactly one of the three is given, of a shape that fits, and positive somewhere where it is used.
    """
    given = {k: v for k, v in {"variance": variance, "sigma": sigma, "ivar": ivar}.items() if v is not None}
    if len(given) != 1:
        came = "none" if not given else " and ".join(given)
        raise ValueError(
            f"An image's noise is to be given by exactly one of variance=, sigma= and ivar=, and {came} came: give one (variance='estimate' measures it)."
        )
    ((kind, value),) = given.items()
    if isinstance(value, str):
        if kind != "variance" or value != "estimate":
            raise ValueError(f"{kind} is to be a number or an array, and {value!r} came (only variance='estimate' is a word).")
        if bad.all():
            raise ValueError(f"Nothing is left of the image: all {bad.size} pixels are masked or not finite.")
        s = estimate_sigma(data, ~bad)
        return (
            np.full(data.shape, s**2),
            f"the noise was estimated as sigma = {s:.4g} for every pixel, from second differences of neighbouring pixels; source photon noise is not in it",
        )
    a = to_array(value, kind)
    if a.ndim and a.shape != data.shape:
        raise ValueError(f"{kind} is to be one number or have the shape of the data, {data.shape}, and one of shape {a.shape} came.")
    a = np.broadcast_to(a, data.shape).copy()
    used = a[~bad]
    note = ""
    if (used < 0).any():
        if not (used > 0).any():
            raise ValueError(
                f"{kind} is negative in all {int((used < 0).sum())} unmasked pixels where it is to be positive: check that it is the {kind}."
            )
        note = f"{kind} is negative in {int((used < 0).sum())} pixels, which are masked: check that it is the {kind}"
        a[a < 0] = np.nan
    if np.isnan(used).any():
        if np.isnan(used).all():
            raise ValueError(f"{kind} is NaN in every unmasked pixel: give the noise, or variance='estimate'.")
        if value is not None and np.ndim(value) == 0:
            raise ValueError(f"{kind} is to be a positive number, and NaN came.")
    if a.ndim and kind != "ivar":  # 1e30 stands for "no data": it would weigh nothing, and spoil every median
        positive = a[np.isfinite(a) & (a > 0)]
        if positive.size:
            a[a > np.percentile(positive, 1) * SENTINEL ** (2 if kind == "variance" else 1)] = np.inf
    with np.errstate(divide="ignore", invalid="ignore"):
        if kind == "sigma":
            return a**2, note
        if kind == "ivar":
            return np.where(a > 0, 1.0 / a, np.inf), note
        return a, note


def estimate_sigma(data: np.ndarray, valid: np.ndarray, lag: int = 2) -> float:
    """Robust pixel noise from second differences of pixels `lag` apart, in which smooth light cancels.

    They are taken along both axes at once (Immerkaer 1996, CVIU 64, 300), which leaves a galaxy's fourth derivative only;
    where the mask, or a small image, leaves few of them, along each axis alone.
    """
    a = np.where(valid, data, np.nan)
    down, across = _second_difference(a, lag), _second_difference(a.T, lag)
    d, variance = _second_difference(down.T, lag).ravel(), 36
    if np.isfinite(d).sum() < 100:
        d, variance = np.concatenate([down.ravel(), across.ravel()]), 6
    d = d[np.isfinite(d)]
    s = float(mad_std(d) / np.sqrt(variance)) if d.size > 3 else 0.0
    if not s > 0:
        raise ValueError("The noise cannot be estimated: neighbouring pixels do not differ, or are too few; give variance=, sigma= or ivar=.")
    return s


def _second_difference(a: np.ndarray, lag: int) -> np.ndarray:
    return a[2 * lag :] - 2 * a[lag:-lag] + a[: -2 * lag]
