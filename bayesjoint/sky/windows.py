"""Windows: the part of an image in which a source has light."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bayesjoint.units import to_float

__all__ = ["AUTO", "Window", "as_window", "window_for"]

AUTO = "auto"
Window = Any
"""What a window is kept as: "auto", a radius in arcsec, pixels [x0, x1, y0, y1] (half-open), or a mapping of those by image or band."""


def as_window(given: Any, where: str, nested: bool = False) -> Window:
    """Check what the user gave for a window, and make it plain.

    Parameters
    ----------
    given : None, "auto", float or Quantity, [[x0, x1], [y0, y1]], 2-d boolean array, or mapping of those by image or band
        From the light itself; a radius (arcsec) about where the source begins; pixels, half-open; a segment of a map, whose box is taken.

    Raises
    ------
    ValueError
        For anything else, or a box without pixels.
    """
    if given is None or (isinstance(given, str) and given == AUTO):
        return given
    if isinstance(given, Mapping) and not nested:
        return {str(k): as_window(v, f"{where} in {k!r}", True) for k, v in given.items()}
    array = np.asarray(given, dtype=bool) if isinstance(given, np.ndarray) and given.ndim == 2 and given.shape != (2, 2) else None
    if array is not None:
        rows, cols = (np.flatnonzero(array.any(axis)) for axis in (1, 0))
        if not rows.size:
            raise ValueError(f"The window of {where} is a segment without pixels.")
        return [int(cols[0]), int(cols[-1]) + 1, int(rows[0]), int(rows[-1]) + 1]
    if isinstance(given, Sequence | np.ndarray) and not isinstance(given, str) and np.ndim(given):  # a radius may be a Quantity, an array of no dimension
        flat = np.asarray(given).ravel()
        if flat.size != 4 or not np.issubdtype(flat.dtype, np.number) or (flat != np.round(flat)).any() or flat[1] <= flat[0] or flat[3] <= flat[2]:
            raise ValueError(f"The window of {where} is to be pixels [[x0, x1], [y0, y1]] (half-open, x1 > x0, y1 > y0), and {given!r} came.")
        return [int(v) for v in flat]
    if isinstance(given, str | bool):
        raise ValueError(f"The window of {where} is to be 'auto', a radius in arcsec, pixels [[x0, x1], [y0, y1]] or a segment, and {given!r} came.")
    radius = to_float(given, "arcsec", f"the window of {where}")
    if radius <= 0:
        raise ValueError(f"The window of {where} is to have a positive radius, and {radius:g} arcsec came.")
    return radius


def window_for(window: Window, image: Any) -> Window:
    """A window's part for one image: by its name, else its band; None where there is none."""
    if isinstance(window, Mapping):
        return window.get(image.name, window.get(image.band))
    return window
