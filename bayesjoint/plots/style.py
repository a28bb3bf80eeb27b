"""Style: colours that everyone can tell apart, stretches that bear negative pixels, and figures without pyplot's global state."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from bayesjoint.images import Image

__all__ = ["COLOURS", "LIGHT", "MASKED", "OUTLINE", "by_band", "in_powers", "new_axes", "palette", "stretch", "surface_brightness"]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C510A", "#5E3C99", "#F0E442")
"""Of Okabe & Ito (2008), whom all eyes can follow, and three more."""
LIGHT, SIGNED, MASKED = "cividis", "RdBu_r", "0.6"
OUTLINE = "white"


def palette(kind: str = "light") -> Any:
    """Colour map of light, or of what has a sign ("signed"); masked pixels are grey."""
    from matplotlib import colormaps

    return colormaps[SIGNED if kind == "signed" else LIGHT].with_extremes(bad=MASKED)


def by_band(bands: Iterable[str]) -> dict[str, str]:
    """A colour for each band."""
    return {b: COLOURS[k % len(COLOURS)] for k, b in enumerate(dict.fromkeys(bands))}


def new_axes(rows: int = 1, columns: int = 1, size: tuple[float, float] = (5.2, 4.2)) -> np.ndarray:
    """Axes of a figure of their own, shape (rows, columns); `size` in inches of each."""
    from bayesjoint.plots.figure import Figure

    return Figure(figsize=(size[0] * columns, size[1] * rows), layout="compressed").subplots(rows, columns, squeeze=False)


def in_powers(axis: Any, values: Iterable[float]) -> str:
    """Label an axis's ticks in units of a power of ten, where the values are large or small, and return it for the axis's label.

    Matplotlib writes it beyond the axis's end, where it is overlooked or lies on something else.
    """
    from matplotlib.ticker import FuncFormatter

    top = max((abs(v) for v in values), default=0.0)
    power = int(np.floor(np.log10(top))) if top > 0 else 0
    if -3 <= power <= 4:
        power = 0
    axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v / 10.0**power:g}".replace("-", "−")))
    return rf"$10^{{{power}}}$ " if power else ""


def stretch(im: Image) -> Any:
    """Asinh stretch of an image's light: linear within the noise, so that negative pixels are shown as they are."""
    from astropy.visualization import AsinhStretch, ImageNormalize

    noise = im.typical_sigma
    top = max(float(np.nanpercentile(im.data[im.valid], 99.8)), 5 * noise)
    return ImageNormalize(vmin=-3 * noise, vmax=top, stretch=AsinhStretch(a=min(0.5, max(0.005, 3 * noise / top))))


def surface_brightness(im: Image, data: np.ndarray) -> np.ndarray:
    """Mag/arcsec² by the inverse hyperbolic sine, softened by the noise: linear about zero (Lupton, Gunn & Szalay 1999, AJ 118, 1406).

    Raises
    ------
    ValueError
        For an image without a zeropoint.
    """
    if im.zeropoint is None:
        raise ValueError(f"{im.name or im.band} has no zeropoint: magnitudes need one; take scale='asinh'.")
    soft = im.typical_sigma / im.pixel_scale**2
    return im.zeropoint - 2.5 / np.log(10) * (np.arcsinh(np.asarray(data) / im.pixel_scale**2 / (2 * soft)) + np.log(soft))
