"""PSF fields: the samples of a PSF that varies over a frame, at any place of that frame.

A field is called with a place (x, y) in 0-based pixels of *its own* frame, the centre of the first
pixel being (0, 0), and returns an array (ny, nx). `bayesjoint.images.psf.VaryingPSF` makes a PSF of
it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from bayesjoint.units import to_array

__all__ = ["CellField", "Field", "FunctionField", "GridField", "PolynomialField"]

Limits = tuple[tuple[float, float], tuple[float, float]]
"""((x_lo, x_hi), (y_lo, y_hi)) in pixels of the field's own frame."""


class Field(Protocol):
    """What `VaryingPSF` needs of a field."""

    @property
    def limits(self) -> Limits | None:
        """Where the field is known to be valid; None where nobody says."""
        ...

    def __call__(self, x: float, y: float) -> np.ndarray:
        """Samples of the PSF at a place, shape (ny, nx)."""
        ...


class PolynomialField:
    r"""A PSF whose samples are polynomials of the place, as PSFEx and SDSS's psField store them.

    The samples are :math:`\sum_k ((x - x_0)/s_x)^{i_k} ((y - y_0)/s_y)^{j_k} C_k`.

    Parameters
    ----------
    components : array_like, shape (k, ny, nx)
        The coefficients C of each term.
    exponents : sequence of (int, int), length k
        The exponents (i, j) of x and y of each term.
    zero, scale : (float, float)
        The place (x0, y0) at which all but the constant term vanish, and the unit of x and y, in
        pixels.
    limits : ((float, float), (float, float)), optional
        Range of x and of y for which the polynomial was fitted.

    Raises
    ------
    ValueError
        For coefficients that are not finite, or shapes that do not fit together.
    """

    def __init__(
        self,
        components: ArrayLike,
        exponents: Sequence[tuple[int, int]],
        zero: tuple[float, float] = (0.0, 0.0),
        scale: tuple[float, float] = (1.0, 1.0),
        limits: Limits | None = None,
    ) -> None:
        a = _stack(components, "The components of a PSF")
        powers = np.array(exponents, dtype=int).reshape(-1, 2)
        if len(powers) != len(a) or (powers < 0).any():
            raise ValueError(
                f"The exponents of a PSF's {len(a)} components must be as many pairs (i, j) of"
                f" whole numbers >= 0; got {list(exponents)!r}."
            )
        for k, c in enumerate(a):
            bad = int((~np.isfinite(c)).sum())
            if bad:
                i, j = powers[k].tolist()
                raise ValueError(
                    f"The coefficients of a PSF must be finite; got {bad} NaN or infinite"
                    f" coefficients in component {k} (of x^{i} y^{j}). Make the PSF anew, or"
                    " replace them (by 0, say)."
                )
        self.components, self.exponents = a, tuple((int(i), int(j)) for i, j in powers)
        self.zero, self.scale = (float(zero[0]), float(zero[1])), (float(scale[0]), float(scale[1]))
        if 0.0 in self.scale:
            raise ValueError(f"The scale of a PSF's polynomial must not be 0; got {self.scale}.")
        self.limits = limits

    def __call__(self, x: float, y: float) -> np.ndarray:
        """Samples at a place, shape (ny, nx)."""
        u, v = ((c - z) / s for c, z, s in zip((x, y), self.zero, self.scale, strict=True))
        return np.tensordot([u**i * v**j for i, j in self.exponents], self.components, 1)

    def __repr__(self) -> str:
        degree = max(i + j for i, j in self.exponents)
        return f"PolynomialField(degree {degree}, {_size(self.components)})"


class GridField:
    """A PSF given at the places of a regular grid, bilinear between the four nearest.

    Outside the grid it is that of the nearest place on the grid's edge. This is the rule of
    photutils' `~photutils.psf.GriddedPSFModel`.

    Parameters
    ----------
    stamps : array_like, shape (k, ny, nx)
        Samples of the PSF at each place.
    places : array_like, shape (k, 2)
        The places (x, y), in any order; together they must be a rectangular grid.

    Raises
    ------
    ValueError
        If values are not finite, or the places are no rectangular grid.
    """

    def __init__(self, stamps: ArrayLike, places: ArrayLike) -> None:
        a, places = _stack(stamps, "The stamps of a PSF"), np.asarray(places, dtype=float)
        if places.shape != (len(a), 2):
            raise ValueError(
                f"The places of {len(a)} PSFs must be an array of shape ({len(a)}, 2); got"
                f" {places.shape}."
            )
        for k, stamp in enumerate(a):
            bad = int((~np.isfinite(stamp)).sum())
            if bad:
                raise ValueError(
                    f"A PSF must be finite everywhere; got {bad} NaN or infinite values in the PSF"
                    f" at {tuple(places[k].tolist())}. Replace them first (by 0, say)."
                )
        self.x, self.y = np.unique(places[:, 0]), np.unique(places[:, 1])
        order = np.lexsort((places[:, 0], places[:, 1]))
        wanted = np.stack([g.ravel() for g in np.meshgrid(self.x, self.y)], 1)
        if len(a) != len(wanted) or not np.array_equal(places[order], wanted):
            raise ValueError(
                "The places of a PSF's grid must be all pairs of some x and some y; got"
                f" {len(a)} places with {self.x.size} different x and {self.y.size} different y."
            )
        self.stamps = a[order].reshape(self.y.size, self.x.size, *a.shape[1:])

    @property
    def limits(self) -> Limits:
        """The grid's extent and half a step beyond, for which its outer places stand."""
        (x_lo, x_hi), (y_lo, y_hi) = (_extent(g) for g in (self.x, self.y))
        return (x_lo, x_hi), (y_lo, y_hi)

    def __call__(self, x: float, y: float) -> np.ndarray:
        """Samples at a place, shape (ny, nx)."""
        (i, wx), (j, wy) = _between(self.x, x), _between(self.y, y)
        near = self.stamps[j : j + len(wy), i : i + len(wx)]
        return np.einsum("j,i,ji...->...", wy, wx, near)

    def __repr__(self) -> str:
        return f"GridField({self.y.size}x{self.x.size} places, {_size(self.stamps)})"


class CellField:
    """A PSF that is constant in cells of the frame and jumps at their edges, as in LSST's
    cell-based coadds.

    A place outside all cells takes the PSF of the nearest one.

    Parameters
    ----------
    stamps : array_like, shape (k, ny, nx)
        Samples of the PSF in each cell; NaN where a cell has none.
    bounds : array_like, shape (k, 4)
        x_lo, x_hi, y_lo, y_hi of each cell; the lower ends belong to it.

    Raises
    ------
    ValueError
        If shapes do not fit together; when it is called, if the cell there has no PSF.
    """

    def __init__(self, stamps: ArrayLike, bounds: ArrayLike) -> None:
        self.stamps, self.bounds = (
            _stack(stamps, "The stamps of a PSF"),
            np.asarray(bounds, dtype=float),
        )
        if self.bounds.shape != (len(self.stamps), 4) or not np.isfinite(self.bounds).all():
            raise ValueError(
                f"The bounds of {len(self.stamps)} cells must be finite numbers x_lo, x_hi, y_lo,"
                f" y_hi, of shape ({len(self.stamps)}, 4); got {self.bounds.shape}."
            )

    @property
    def limits(self) -> Limits:
        """The extent of all cells together."""
        b = self.bounds
        return (float(b[:, 0].min()), float(b[:, 1].max())), (
            float(b[:, 2].min()),
            float(b[:, 3].max()),
        )

    def cell(self, x: float, y: float) -> int:
        """Number of the cell at a place, or of the nearest one."""
        x_lo, x_hi, y_lo, y_hi = self.bounds.T
        inside = np.flatnonzero((x >= x_lo) & (x < x_hi) & (y >= y_lo) & (y < y_hi))
        if inside.size:
            return int(inside[0])
        away = np.hypot(np.clip(x, x_lo, x_hi) - x, np.clip(y, y_lo, y_hi) - y)
        return int(away.argmin())

    @cached_property
    def _known(self) -> np.ndarray:
        """Which cells have a PSF."""
        return np.isfinite(self.stamps).all((1, 2))

    def nearest(self, x: float, y: float) -> tuple[float, float]:
        """The place, or the middle of the nearest cell that has a PSF, if that there has none."""
        known = self._known
        if known[self.cell(x, y)] or not known.any():
            return x, y
        middles = self.bounds.reshape(-1, 2, 2).mean(2)[known]
        px, py = middles[np.hypot(*(middles - (x, y)).T).argmin()]
        return float(px), float(py)

    def key(self, x: float, y: float) -> int:
        """What tells one PSF of the field from another: all places of a cell have the same."""
        return self.cell(x, y)

    def __call__(self, x: float, y: float) -> np.ndarray:
        """Samples at a place, shape (ny, nx)."""
        k = self.cell(x, y)
        if not self._known[k]:
            x_lo, x_hi, y_lo, y_hi = self.bounds[k].tolist()
            raise ValueError(
                "The PSF must be known wherever a source lies; got none at (x, y) ="
                f" ({x:.1f}, {y:.1f}): the cell [{x_lo:g}, {x_hi:g}) x [{y_lo:g}, {y_hi:g}) has no"
                " PSF. Cut that part of the image off, or give psf=."
            )
        return self.stamps[k]

    def __repr__(self) -> str:
        return f"CellField({len(self.stamps)} cells, {_size(self.stamps)})"


class FunctionField:
    """A PSF that a function gives at any place, such as a Piff object's.

    Parameters
    ----------
    function : callable
        Of x and y (0-based pixels), returning an array (ny, nx). For worker processes it must be
        picklable: a function of a module or a bound method, not a lambda.
    limits : ((float, float), (float, float)), optional
        Range of x and of y for which it is valid.
    name : str, optional
        What it is called in messages.
    """

    def __init__(
        self,
        function: Callable[[float, float], Any],
        limits: Limits | None = None,
        name: str | None = None,
    ) -> None:
        if not callable(function):
            raise ValueError(
                f"The function of a PSF must be callable as f(x, y); got {type(function).__name__}."
            )
        self.function, self.limits = function, limits
        self.name = name or getattr(function, "__qualname__", type(function).__name__)

    def __call__(self, x: float, y: float) -> np.ndarray:
        """Samples at a place, shape (ny, nx)."""
        return to_array(self.function(x, y), "A PSF")

    def __repr__(self) -> str:
        return f"FunctionField({self.name})"


def _stack(arrays: ArrayLike, what: str) -> np.ndarray:
    a = to_array(arrays, what)
    if a.ndim != 3 or not a.size:
        raise ValueError(f"{what} must be an array of shape (k, ny, nx); got {a.shape}.")
    a.setflags(write=False)
    return a


def _size(a: np.ndarray) -> str:
    return f"{a.shape[-2]}x{a.shape[-1]} samples"


def _extent(grid: np.ndarray) -> tuple[float, float]:
    if grid.size == 1:
        return -np.inf, np.inf
    return float(1.5 * grid[0] - 0.5 * grid[1]), float(1.5 * grid[-1] - 0.5 * grid[-2])


def _between(grid: np.ndarray, x: float) -> tuple[int, np.ndarray]:
    """Index of the grid's place below x, and the weights of it and the next one."""
    if grid.size == 1:
        return 0, np.ones(1)
    i = int(np.clip(np.searchsorted(grid, x) - 1, 0, grid.size - 2))
    t = float(np.clip((x - grid[i]) / (grid[i + 1] - grid[i]), 0.0, 1.0))
    return i, np.array([1.0 - t, t])
