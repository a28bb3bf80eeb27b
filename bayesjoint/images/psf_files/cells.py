"""Cell coadds: a PSF that is constant in each cell of a grid, from arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from bayesjoint.images.psf import VaryingPSF
from bayesjoint.images.psf_field import CellField
from bayesjoint.units import to_array

__all__ = ["from_cells"]


def from_cells(
    stamps: ArrayLike, cell: tuple[int, int], *, start: tuple[float, float] = (0, 0), **options: Any
) -> VaryingPSF:
    """Make a PSF that is constant in rectangular cells, as in cell-based coadds (LSST).

    Parameters
    ----------
    stamps : array_like, shape (n_cells_y, n_cells_x, ny, nx)
        Samples of the PSF in each cell; NaN where a cell has none.
    cell : (int, int)
        Size (y, x) of a cell in pixels of the image.
    start : (float, float)
        0-based pixel (x, y) at which the first cell begins; that pixel belongs to it.
    **options
        Those of `VaryingPSF`: oversampling, pixel_response, normalize, origin.

    Returns
    -------
    VaryingPSF
        It jumps at the cells' edges, half a pixel before their first pixel; a source takes the PSF
        of the cell in which it lies.

    Raises
    ------
    ValueError
        For arrays that do not have four axes, and cells without size.

    Examples
    --------
    >>> psf = from_cells(np.ones((2, 3, 5, 5)), cell=(150, 150))
    >>> psf.at(149.4, 0.0) is psf.at(0.0, 0.0), psf.at(149.6, 0.0) is psf.at(0.0, 0.0)
    (True, False)
    """
    a = to_array(stamps, "The stamps of a PSF's cells")
    if a.ndim != 4 or not a.size:
        raise ValueError(
            "The stamps of a PSF's cells must be an array (n_cells_y, n_cells_x, ny, nx); got "
            f"{a.shape}. Reshape it."
        )
    height, width = cell
    if not (height > 0 and width > 0):
        raise ValueError(f"cell must be the size (y, x) of a cell in pixels; got {cell!r}.")
    x0, y0 = start[0] - 0.5, start[1] - 0.5
    bounds = [
        (x0 + j * width, x0 + (j + 1) * width, y0 + i * height, y0 + (i + 1) * height)
        for i in range(a.shape[0])
        for j in range(a.shape[1])
    ]
    return VaryingPSF(CellField(a.reshape(-1, *a.shape[2:]), np.array(bounds)), **options)
