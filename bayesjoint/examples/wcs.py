"""World coordinates of simulated images."""

from __future__ import annotations

import numpy as np
from astropy.wcs import WCS

__all__ = ["tan_wcs"]


def tan_wcs(scale: float, shape: tuple[int, int], rotation: float = 0.0, middle: tuple[float, float] = (150.0, 2.2)) -> WCS:
    """Tangent-plane WCS about the middle of an image.

    Parameters
    ----------
    scale : float
        Arcsec a pixel.
    shape : (int, int)
        Rows, columns.
    rotation : float
        Degrees from North to the image's y axis, through East.
    middle : (float, float)
        Right ascension and declination of the image's middle, degree.

    Returns
    -------
    astropy.wcs.WCS
        East is left where `rotation` is 0.
    """
    w = WCS(naxis=2)
    c, s = np.cos(np.radians(rotation)), np.sin(np.radians(rotation))
    w.wcs.ctype = "RA---TAN", "DEC--TAN"
    w.wcs.crval = middle
    w.wcs.crpix = (shape[1] + 1) / 2, (shape[0] + 1) / 2
    w.wcs.cd = np.array([[-c, s], [s, c]]) * scale / 3600
    return w
