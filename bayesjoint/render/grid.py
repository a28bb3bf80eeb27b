"""Grid: the places on the sky of an image's pixels, and the elliptical coordinates of a source on them."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import torch

from bayesjoint.images import Frame, Placement
from bayesjoint.scalar import New, Scalar, add_scaled, cos_sin

__all__ = ["Grid", "Scratch"]

LINEAR = 1e-5
"""Departure in pixels up to which a WCS is taken as linear."""
LATTICE = 33
"""Places along each axis at which that is tried: WCS are polynomials of low order."""


class Scratch:
    """Buffers handed out in turn, and again after `reset`: fresh memory costs more than the arithmetic done in it."""

    def __init__(self) -> None:
        self._local = threading.local()

    def reset(self) -> Scratch:
        """Begin anew: what was handed out before is free."""
        self._local.used = {}
        if not hasattr(self._local, "pool"):
            self._local.pool = {}
        return self

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
        """Buffer of a shape and dtype."""
        key = (shape, dtype)
        i = self._local.used.get(key, 0)
        self._local.used[key] = i + 1
        pool = self._local.pool.setdefault(key, [])
        if i == len(pool):
            pool.append(torch.empty(shape, dtype=dtype, device=device))
        return pool[i]

    def __call__(self, like: torch.Tensor) -> torch.Tensor:
        """Buffer like a tensor."""
        return self.empty(tuple(like.shape), like.dtype, like.device)

    def __getstate__(self) -> dict:
        return {}

    def __setstate__(self, state: dict) -> None:
        self.__init__()


def linear_map(placement: Placement, frame: Frame, rows: np.ndarray, cols: np.ndarray) -> tuple[np.ndarray, tuple[float, float], bool]:
    """The map from pixels to the sky about the image's middle, where that lies, and whether it serves for all of some rows and columns."""
    jac, (mx, my) = frame.jacobian(placement, *placement.middle), placement.middle
    x0, y0 = (float(v) for v in frame.to_sky(placement, mx, my))
    some_i, some_j = (np.unique(np.linspace(a[0], a[-1], LATTICE).round()) for a in (cols, rows))
    sky = frame.to_sky(placement, *np.meshgrid(some_i, some_j))
    linear = [jac[k, 0] * (some_i - mx) + (jac[k, 1] * (some_j - my) + o)[:, None] for k, o in ((0, x0), (1, y0))]
    off = max(np.abs(a - b).max() for a, b in zip(linear, sky, strict=True)) / np.sqrt(abs(np.linalg.det(jac)))
    return jac, (x0, y0), bool(off < LINEAR)


class Grid:
    """Sky places of some of an image's pixels, and of pixels that it would have beyond its edges.

    Parameters
    ----------
    placement : Placement
        The image's place.
    frame : Frame
        The scene's tangent plane.
    extent : ((int, int), (int, int))
        Rows and columns, half-open.
    step : int
        Pixels from one place to the next.
    """

    def __init__(
        self,
        placement: Placement,
        frame: Frame,
        extent: tuple[tuple[int, int], tuple[int, int]],
        dtype: torch.dtype,
        device: torch.device,
        step: int = 1,
    ) -> None:
        self.step = step
        j, i = (np.arange(*ends, step) for ends in extent)
        self.shape = (j.size, i.size)
        jac, (x0, y0), self.linear = linear_map(placement, frame, j, i)
        mx, my = placement.middle

        def tensor(v: np.ndarray) -> torch.Tensor:
            return torch.as_tensor(np.asarray(v), dtype=dtype).to(device)

        self._inverse, self._origin = np.linalg.inv(jac).tolist(), (float(x0), float(y0), mx - i[0], my - j[0])
        self._finest = float(np.linalg.svd(jac, compute_uv=False).min())
        if self.linear:
            self.cols, self.rows, self._jac = tensor(i - mx), tensor(j - my)[:, None], jac.tolist()
            self.area = float(abs(np.linalg.det(jac)))
        else:
            x, y = frame.to_sky(placement, *np.meshgrid(i, j))
            area = np.gradient(x, axis=1) * np.gradient(y, axis=0) - np.gradient(x, axis=0) * np.gradient(y, axis=1)
            self.x, self.y, self.area = tensor(x), tensor(y), tensor(np.abs(area) / step**2)

    def window(self, p: Sequence[Scalar], reach: float) -> tuple[slice, slice]:
        """Rows and columns within `reach` arcsec of (p[0], p[1]); all of them where that would mean to wait for the device."""
        if not (self.linear and isinstance(p[0], float)):
            return slice(None), slice(None)
        x0, y0, i0, j0 = self._origin
        (ix, iy), (jx, jy) = self._inverse
        i, j = ix * (p[0] - x0) + iy * (p[1] - y0), jx * (p[0] - x0) + jy * (p[1] - y0)
        half, s = reach / self._finest + 1, self.step
        return tuple(
            slice(int(min(max((c - half) // s, 0), n)), int(min(max((c + half) // s + 2, 0), n)))
            for c, n in ((j + j0, self.shape[0]), (i + i0, self.shape[1]))
        )

    def along(self, x0: Scalar, y0: Scalar, ex: Scalar, ey: Scalar, new: New | None = None) -> torch.Tensor:
        """Offset from (x0, y0) along the vector (ex, ey), shape of the grid; written to a buffer from `new` if given."""
        const = x0 * ex + y0 * ey
        if self.linear:
            (xi, xj), (yi, yj) = self._jac
            rows = self.rows * (xj * ex + yj * ey) + (self._origin[0] * ex + self._origin[1] * ey - const)
            cols = self.cols * (xi * ex + yi * ey)
            return rows + cols if new is None else torch.add(rows, cols, out=new(rows.expand(self.shape)))
        if new is None:
            return self.x * ex + self.y * ey - const
        return add_scaled(torch.mul(self.x, ex, out=new(self.x)), self.y, ey).sub_(const)

    def ellipse(self, p: Sequence[Scalar], new: New | None = None) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Offset u along the major axis, v / q along the minor one, and the squared elliptical radius; p = (x, y, q, pa, ...)."""
        x0, y0, q, pa = p[:4]
        c, s = cos_sin(pa)
        u, v = self.along(x0, y0, s, c, new), self.along(x0, y0, c / q, -s / q, new)
        rho2 = u * u + v * v if new is None else torch.mul(u, u, out=new(u)).addcmul_(v, v)
        return u, v, rho2
