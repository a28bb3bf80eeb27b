"""Noise: one variance a pixel from what the user gives."""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy.stats import mad_std
from scipy import ndimage

from bayesjoint.units import to_array

__all__ = [
    "BRIGHT_SIGMA", "SENTINEL", "estimate_sigma", "hidden_bright", "is_huge", "noise_from",
    "nothing_left",
]  # fmt: skip

BRIGHT_SIGMA, BRIGHT_COUNT, BRIGHT_SHARE = 5.0, 20, 0.75
"""A mask that hides so large a share of so many pixels above so many sigma is named."""
HUGE, HUGE_RATIO = 1e20, 1e12
"""A pixel of at least this value, and so many times that of the faintest ones, holds no data."""
SENTINEL = 1e9
"""Sigma, in units of the smallest ones, from which on it stands for a pixel without data."""


def noise_from(
    data: np.ndarray, bad: np.ndarray, *, variance: Any = None, sigma: Any = None, ivar: Any = None
) -> tuple[np.ndarray, str]:
    """Return the variance of each pixel (NaN where it was negative), and what was done to it.

    Raises
    ------
    ValueError
        Unless exactly one of the three is given, of a shape that fits, and positive somewhere where
        it is used.
    """
    given = {"variance": variance, "sigma": sigma, "ivar": ivar}
    given = {k: v for k, v in given.items() if v is not None}
    if len(given) != 1:
        raise ValueError(
            "An image's noise must be given by exactly one of variance=, sigma= and ivar=; "
            f"{' and '.join(given) or 'none'} came. Give one (variance='estimate' measures it)."
        )
    ((kind, value),) = given.items()
    if isinstance(value, str):
        if kind != "variance" or value != "estimate":
            raise ValueError(
                f"{kind} must be a number or an array; got {value!r}. Give one, or measure the noise "
                "with variance='estimate'."
            )
        if bad.all():
            raise ValueError(nothing_left(bad.size))
        s = estimate_sigma(data, ~bad)
        text = f"the noise was estimated as sigma = {s:.4g} for every pixel, from second "
        text += "differences of neighbouring pixels; source photon noise is not in it"
        return np.full(data.shape, s**2), text
    a = to_array(value, kind)
    if a.ndim and a.shape != data.shape:
        raise ValueError(
            f"{kind} must be one number or have the shape of the data, {data.shape}; got shape "
            f"{a.shape}. Give one value a pixel."
        )
    a = np.broadcast_to(a, data.shape).copy()
    used = a[~bad]
    note = ""
    what = "negative" if (used < 0).any() else "NaN" if np.isnan(used).any() else ""
    if what and not (used > 0).any():
        raise ValueError(
            f"{kind} must be positive; it is {what} in all {used.size} unmasked pixels. Give the "
            "noise of the pixels, or measure it with variance='estimate'."
        )
    if (used < 0).any():
        note = f"{kind} is negative in {int((used < 0).sum())} pixels, which are masked; check that "
        note += f"it is the {kind}"
        a[a < 0] = np.nan
    if kind != "ivar":  # 1e30 stands for "no data": it would weigh nothing, and spoil every median
        positive = a[np.isfinite(a) & (a > 0)]
        if positive.size:
            power = 2 if kind == "variance" else 1
            a[a > np.percentile(positive, 1) * SENTINEL**power] = np.inf
    with np.errstate(divide="ignore", invalid="ignore"):
        if kind == "sigma":
            return a**2, note
        if kind == "ivar":
            return np.where(a > 0, 1.0 / a, np.inf), note
        return a, note


def is_huge(values: np.ndarray) -> np.ndarray:
    """Pixels that stand for no data, as 1e30 does: no image spans so many orders of magnitude."""
    size = np.abs(values)
    huge = size >= HUGE
    if not huge.any():
        return huge
    some = size[np.isfinite(size) & (size > 0)]
    return huge & (size > HUGE_RATIO * np.percentile(some, 1)) if some.size else huge


def hidden_bright(data: np.ndarray, bad: np.ndarray, empty: np.ndarray) -> str:
    """Say where a mask hides most of what is bright, and no object is left; "" where it does not.

    Parameters
    ----------
    data : ndarray, shape (ny, nx)
    bad, empty : ndarray of bool
        Pixels that the mask hides, and those without data.
    """
    ok = ~empty & np.isfinite(data)
    if not bad.any() or ok.sum() < 100:
        return ""
    try:
        s = estimate_sigma(np.where(ok, data, 0.0).astype(float), ok)
    except ValueError:
        return ""
    smooth = ndimage.uniform_filter(np.where(ok, data - np.median(data[ok]), 0.0), 3)
    bright = ok & (smooth > BRIGHT_SIGMA * s)
    count = int(bright.sum())
    share = float(bad[bright].mean()) if count else 0.0
    seen = ndimage.binary_opening(bright & ~bad, np.ones((3, 3)))  # without the rims of objects
    if count < BRIGHT_COUNT or share <= BRIGHT_SHARE or seen.any():
        return ""
    return (
        f"the mask hides {100 * share:.0f} % of the {count} pixels above {BRIGHT_SIGMA:g} sigma: it "
        "may mark detected objects, or the pixels to use, rather than bad ones"
    )


def nothing_left(count: int) -> str:
    """What is said of an image all whose pixels are masked."""
    return (
        f"Nothing is left of the image: all {count} pixels are masked, not finite, or without a "
        "usable variance. Correct mask= or the noise, or give another image."
    )


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
        raise ValueError(
            "The noise cannot be estimated: neighbouring pixels do not differ, or are too few. Give "
            "variance=, sigma= or ivar=."
        )
    return s


def _second_difference(a: np.ndarray, lag: int) -> np.ndarray:
    return a[2 * lag :] - 2 * a[lag:-lag] + a[: -2 * lag]
