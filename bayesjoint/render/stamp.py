"""Stamp: the core of one source in one image, drawn in a box of its own that follows the source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from bayesjoint.images import Frame, Image
from bayesjoint.render.box import Box
from bayesjoint.render.core import Hankel, levels_of, table_size
from bayesjoint.render.edges import EdgeStamp, PixelBox
from bayesjoint.render.optics import Optics, odd_fast_length
from bayesjoint.render.quadrature import QuadratureStamp
from bayesjoint.render.taper import Taper
from bayesjoint.render.traced import ORDERS, Closed, Compact, Harmonics, ending_table_size
from bayesjoint.scalar import Scalar
from bayesjoint.sky.extended import Extended

__all__ = ["Q_FLOOR", "STEPS", "TAPER", "Stamp", "StampPlan", "box_shape", "core_bytes", "core_cost", "stamp_of"]

STEPS = (1, 2, 4)
"""Steps in pixels of the grids outside cores."""

TAPER = {True: 5.0, False: 6.0}
"""Scale of the taper along the minor axis in steps of the grid outside: for effective PSFs on the image's grid, and for all others."""
PIXEL_TAPER, PIXEL_POWER = {True: 8.0, False: 10.0}, 6
"""The same where only the pixel blurs, on the image's grid and on coarser ones, and how steep it is."""
Q_FLOOR = 0.08
NEGLIGIBLE = 1e-7
"""Transfer, relative to its largest, below which a frequency is left out."""
FADE = 8
"""Pixels beyond a PSF's stamp, over which a point's band-limited ringing is faded out: cut off, it would jump as the box moves on."""
SAMPLE_BYTES, TABLE_BYTES, PIXEL_BYTES = 200.0, 32.0, 3000.0
"""Memory of a frequency of the box, of a number of a table that is not made by blocks, and of a pixel where only that blurs."""
BOX_COST = 4.0
"""Cost of a pixel of the core's box over that of a place of the grid outside, from gradients of sim/leda at steps 1, 2 and 4."""
PIXEL_COST = 12.0
"""The same of a pixel within the core's ellipse, where only the pixel blurs."""
LARGEST = 1500
"""Samples a side to which the bands of an image without PSF are held."""
WEAK = 3e-5
"""Part of a source's light at a band's edge from which on that is the last one."""
SHRINKS = 2.0
"""How much smaller a source may become than its box is planned for, and still be drawn as well."""


@dataclass(frozen=True)
class StampPlan:
    """What was chosen for one source in one image: where its map to pixels is linear, and its taper.

    Parameters
    ----------
    pixel : (float, float)
        Pixel (x, y) about which the WCS is taken as linear.
    q : float
        Smallest axis ratio for which the core is planned.
    step : {1, 2, 4}
        Pixels from place to place of the grid on which the light outside the core is sampled.
    extent : float
        For a source that ends at a radius: the largest (arcsec) for which all of it is core; 0, where a taper splits it.
    fine : float
        Size of the core, and its nodes, in units of what serves well.
    window : (int, int, int, int), optional
        Pixels x0, x1, y0, y1 (half-open) outside which the source has no light; None: it has everywhere.
    place : (float, float), optional
        Pixel (x, y) at which an image's PSF that varies is taken; None: `pixel`.
    reach : int, optional
        Pixels from its centre to which a PSF larger than the image is drawn; None: all of it.
    margin : int, optional
        Pixels beyond the image's edges from which light outside cores is scattered in; None: as
        far as the PSF reaches.
    """

    pixel: tuple[float, float]
    q: float = 1.0
    step: int = 1
    extent: float = 0.0
    fine: float = 1.0
    window: tuple[int, int, int, int] | None = None
    place: tuple[float, float] | None = None
    reach: int | None = None
    margin: int | None = None


def box_shape(plan: StampPlan, optics: Optics, jacobian: np.ndarray) -> tuple[int, int]:
    """Pixels (y, x) of the box in which an extended source's core is drawn.

    Parameters
    ----------
    optics : Optics
        At the source's place.
    jacobian : ndarray, shape (2, 2)
        Of the map from pixels to arcsec.
    """
    return _box(plan, optics, _taper(plan, optics, jacobian), jacobian)


def core_cost(plan: StampPlan, optics: Optics, jacobian: np.ndarray) -> float:
    """Cost of an extended source's core, in units of that of a place of the grid outside it; see `box_shape`."""
    shape = box_shape(plan, optics, jacobian)
    if optics.psf is not None:
        return BOX_COST * float(np.prod(shape))
    taper = _taper(plan, optics, jacobian)
    radius, q = (plan.extent, 1.0) if taper is None else (taper.reach, max(plan.q, Q_FLOOR))
    ellipse = np.pi * radius**2 * q / abs(np.linalg.det(jacobian))
    return PIXEL_COST * min(ellipse, float(np.prod(shape)))


def core_bytes(source: Extended, plan: StampPlan, optics: Optics, jacobian: np.ndarray, pixels: int) -> float:
    """Memory that an extended source's core takes in an image of so many pixels, tables and what makes them, without making it."""
    shape, taper = box_shape(plan, optics, jacobian), _taper(plan, optics, jacobian)
    scales = np.linalg.svd(jacobian, compute_uv=False)
    if optics.psf is None and (source.radial or taper is not None):
        radius, q = (plan.extent, 1.0) if taper is None else (taper.reach, max(plan.q, Q_FLOOR))
        ellipse = np.pi * radius**2 * q / abs(np.linalg.det(jacobian))
        return float(np.prod(shape)) + PIXEL_BYTES * plan.fine * min(ellipse, pixels)
    folds = optics.folds if optics.psf is not None else min(optics.folds, max(1, LARGEST // max(shape)))
    size = SAMPLE_BYTES * folds**2 * float(np.prod(shape)) / 2
    top = np.sqrt(2) * np.pi * folds / scales.min()
    if taper is None:
        return size + (0.0 if not source.radial else TABLE_BYTES * ending_table_size(plan.extent, top, plan.fine))
    if source.radial:
        return size + 8 * table_size(levels_of(taper.a, top, plan.fine, source.kinked))
    orders = int(np.ceil(ORDERS * plan.fine)) * source.fold + 2
    return size + TABLE_BYTES * orders * table_size(levels_of(taper.a, top, 1.0, source.kinked)) / 2


def _taper(plan: StampPlan, optics: Optics, jacobian: np.ndarray) -> Taper | None:
    """The taper, in arcsec along the major axis; None where all of the source is core."""
    if plan.extent:
        return None
    large = np.linalg.svd(jacobian, compute_uv=False).max()
    step = plan.fine * max(plan.step, optics.finest) * large / max(plan.q, Q_FLOOR)
    if optics.psf is None:
        return Taper(PIXEL_TAPER[plan.step == 1] * step, PIXEL_POWER)
    return Taper(TAPER[optics.direct and plan.step == 1] * step)


def _box(plan: StampPlan, optics: Optics, taper: Taper | None, jacobian: np.ndarray) -> tuple[int, int]:
    radius = plan.extent if taper is None else taper.reach
    return _around(optics, int(np.ceil(radius / np.linalg.svd(jacobian, compute_uv=False).min())))


def _bands(source: Any, plan: StampPlan, jacobian: np.ndarray, optics: Optics) -> int:
    """Nyquist bands without a PSF: a point's, or those in which the light of a source of known transform has power."""
    if not plan.extent:
        return optics.folds
    scale = torch.tensor(plan.extent / (SHRINKS * plan.fine) / float(source.extent(torch.ones(1))), dtype=torch.float64)
    bands = torch.arange(1, optics.folds, dtype=torch.float64)
    w, zero = bands * np.pi / np.linalg.svd(jacobian, compute_uv=False).max(), torch.zeros_like(bands)
    light = torch.maximum(source.transform(w, zero, scale), source.transform(zero, plan.q * w, scale))
    # beyond a band's edge no more comes through the pixel than 2 / (pi band)
    return 1 + int((light * 2 / (np.pi * bands) > WEAK).sum())


def _around(optics: Optics, reach: int) -> tuple[int, int]:
    """Pixels (y, x) within a reach about all that the PSF spreads a point over."""
    around = max(reach, FADE if optics.rings else 1)
    return tuple(odd_fast_length(s + 2 * around) for s in optics.support)


class Stamp(Box):
    """The core of one source in one image; all of it, for a point.

    The local parameters are p = (x, y, q, pa, *light) for an extended source, (x, y) for a point.
    """

    def __init__(
        self,
        source: Any,
        image: Image,
        frame: Frame,
        optics: Optics,
        plan: StampPlan,
        dtype: torch.dtype,
        device: torch.device,
        jac: np.ndarray | None = None,
    ) -> None:
        self.source, self.plan, self.extended = source, plan, isinstance(source, Extended)
        jac = frame.jacobian(image.placement, *plan.pixel) if jac is None else jac
        self.taper = _taper(plan, optics, jac) if self.extended else None
        shape = _box(plan, optics, self.taper, jac) if self.extended else _around(optics, 1)
        super().__init__(image, frame, plan.pixel, jac, shape, dtype, device)
        self.folds = optics.folds if optics.psf is not None else int(np.clip(LARGEST // max(self.n), 1, _bands(source, plan, jac, optics)))
        kind = (type(source), repr({k: v for k, v in source.options().items() if k != "window"})) if self.extended else None
        key = kind, self.n, self.folds, jac.tobytes(), self.taper, plan.extent, plan.fine, dtype, device
        if key not in optics.made:  # many sources of a field have boxes, PSF and cores alike
            before = set(self.__dict__)
            self._tabulate(optics, np.linalg.inv(jac), dtype, device)
            optics.made[key] = {k: v for k, v in self.__dict__.items() if k not in before}
        self.__dict__.update(optics.made[key])

    def _tabulate(self, optics: Optics, inverse: np.ndarray, dtype: torch.dtype, device: torch.device) -> None:
        """Make all that depends on the box, the PSF and the kind of core, but not on where the source is."""
        ky, kx, transfer = optics.box(self.n, self.folds)
        active = np.flatnonzero(np.abs(transfer) > NEGLIGIBLE * np.abs(transfer).max())
        iy, ix = np.unravel_index(active, transfer.shape)
        ky, kx = ky[iy], kx[ix]
        wx, wy = (inverse[0, i] * kx + inverse[1, i] * ky for i in (0, 1))  # A^-T k

        def tensor(x: Any, kind: torch.dtype = dtype) -> torch.Tensor:
            return torch.as_tensor(x, dtype=kind).to(device)

        self.core: Any = None
        if self.extended:
            self.core = core_kind(self.source, self.plan)(self.source, self.plan.extent or self.taper.a, wx, wy, self.plan.fine, dtype, device)
        self.ky, self.kx = tensor(ky), tensor(kx)
        self.transfer = tensor(transfer[iy, ix], torch.complex128 if dtype == torch.float64 else torch.complex64)
        self._fold(iy, ix, tensor)
        self.fade = None
        if not self.extended and optics.rings:
            edge = [np.minimum(np.arange(n), np.arange(n)[::-1]) for n in self.n]
            self.fade = tensor(np.outer(*(np.minimum(1.0, (1 + e) / (FADE + 1)) for e in edge)))

    def _fold(self, iy: np.ndarray, ix: np.ndarray, tensor: Any) -> None:
        """Where each active frequency falls in the box's own half-spectrum, once bands beyond Nyquist are folded onto it; n is odd."""
        (ny, nx), s = self.n, self.folds
        fy, fx = iy % ny, ix % nx
        other = fx > nx // 2  # it is the conjugate, at minus the frequency, that the half holds
        fy, fx = np.where(other, -fy % ny, fy), np.where(other, nx - fx, fx)
        cell = fy * (nx // 2 + 1) + fx
        self.cell = tensor(cell, torch.int64)
        # for each cell those that fall there, and for want of another the place behind the last: to gather is many times as fast as to add
        order = np.argsort(cell, kind="stable")
        many = np.bincount(cell, minlength=ny * (nx // 2 + 1))
        falling = np.full((max(many.max(), 1), many.size), cell.size)
        falling[np.arange(cell.size) - np.repeat(np.cumsum(many) - many, many), cell[order]] = order
        self.falling = tensor(falling, torch.int64)
        doubled = (fx == 0) & (ix > 0)  # in that column the half holds both, and an inverse transform keeps the real part
        last = 2 * ix == s * nx  # the last band's own Nyquist frequency, which is its own conjugate
        size = (1.0 + doubled) * np.where(last, 0.5, 1.0)
        self.signs = tensor(np.stack([size, size * np.where(other, -1.0, 1.0)], 1))
        self.conjugated = tensor(np.where(other, 1.0, -1.0))  # what `_to_spectrum` gives is conjugate
        self.weight = tensor(np.where((ix == 0) | last, 1.0, 2.0) / (ny * nx))
        self.direct = s == 1

    def _blurred_phase(self, offset: Sequence[Scalar]) -> torch.Tensor:
        angle = self.kx * -(offset[0] + self.n[1] // 2) - self.ky * (offset[1] + self.n[0] // 2)
        return torch.complex(torch.cos(angle), torch.sin(angle)) * self.transfer

    # -- to pixels and back -----------------------------------------------------------------------------------------------
    def _to_pixels(self, spectrum: torch.Tensor) -> torch.Tensor:
        """Box of pixels (..., ny, nx) of a spectrum at the active frequencies (..., n)."""
        parts = spectrum if self.direct else torch.view_as_complex(torch.view_as_real(spectrum) * self.signs)
        parts = torch.nn.functional.pad(parts, (0, 1))
        full = parts.index_select(-1, self.falling[0])
        for which in self.falling[1:]:
            full += parts.index_select(-1, which)
        box = torch.fft.irfft2(full.view(*spectrum.shape[:-1], self.n[0], self.n[1] // 2 + 1), s=self.n)
        return box if self.fade is None else box * self.fade

    def _to_spectrum(self, box: torch.Tensor) -> torch.Tensor:
        """Adjoint of `_to_pixels`, conjugated: weights by which the spectrum's real products with it are summed."""
        half = torch.fft.rfft2(box if self.fade is None else box * self.fade).reshape(-1).index_select(0, self.cell)
        return torch.complex(half.real * self.weight, half.imag * (self.conjugated * self.weight))

    # -- drawing ----------------------------------------------------------------------------------------------------------
    def add(self, canvas: torch.Tensor, p: torch.Tensor, flux: torch.Tensor) -> torch.Tensor:
        """Return a flat canvas (ny * nx,) with the core added. Plain autograd."""
        flat, inside, offset = self._indices(p)
        spectrum = self._blurred_phase(offset)
        if self.core is not None:
            spectrum = spectrum * self.core.spectrum(p)
        box = self._to_pixels(spectrum) * (inside * flux)
        return canvas.index_add(0, flat, box.reshape(-1))

    def draw(
        self, canvas: torch.Tensor, p: torch.Tensor, flux: torch.Tensor, origin: tuple[int, int] = (0, 0), slopes: bool = True
    ) -> tuple[Any, ...]:
        """Add the core to a canvas, which begins at the row and column `origin` of the image, in place; return what `adjoint` needs."""
        places, offset = self._where(p)
        places = places.seen_from(origin)
        blurred, kept = self._blurred_phase(offset), None
        spectrum = blurred
        if self.core is not None:
            value, kept = self.core.draw(p, slopes)
            spectrum = blurred * value
        places.put(canvas, self._to_pixels(spectrum), flux)
        return places, blurred, spectrum, kept

    def adjoint(self, grad: torch.Tensor, flux: torch.Tensor, drawn: tuple[Any, ...]) -> torch.Tensor:
        """Gradient by (*p, flux) of a sum over the image weighted by `grad` (ny, nx)."""
        places, blurred, spectrum, kept = drawn
        back = self._to_spectrum(places.take(grad, self.n))
        product = back * spectrum
        turned = product.imag.contiguous()
        shift = (torch.stack([turned.dot(self.kx), turned.dot(self.ky)]) @ self.inverse) * flux
        if self.core is None:
            return torch.cat([shift, product.real.sum()[None]])
        shape = self.core.adjoint(kept, back * blurred) * flux
        return torch.cat([shift, shape, product.real.sum()[None]])

    def add_rasters(
        self, canvas: torch.Tensor, p: torch.Tensor, flux: torch.Tensor, weight: torch.Tensor | None = None, origin: tuple[int, int] = (0, 0)
    ) -> None:
        """Add the core's derivatives by (*p, flux), times `weight` (ny, nx), to canvases (len(p) + 1, ny, nx), in place.

        Canvases and weight begin at the row and column `origin` of the image, and hold all of the box that lies in it.
        """
        places, offset = self._where(p)
        places = places.seen_from(origin)
        spectrum = self._blurred_phase(offset)
        by = []
        if self.core is not None:
            value, slopes = self.core.with_columns(p)
            by = [spectrum * b for b in slopes]
            spectrum = spectrum * value
        shift = [spectrum * (-1j) * (self.kx * self.inverse[0, i] + self.ky * self.inverse[1, i]) for i in (0, 1)]
        boxes = self._to_pixels(torch.stack([*shift, *by, spectrum]))
        boxes[:-1] *= flux
        if weight is not None:
            boxes *= places.take(weight, self.n)
        places.put(canvas, boxes, None)


def stamp_of(
    source: Any, image: Image, frame: Frame, optics: Optics, plan: StampPlan, dtype: torch.dtype, device: torch.device, jac: np.ndarray | None = None
) -> Stamp | PixelBox:
    """The core of a source in an image: in Fourier space, or, where only the pixel blurs, by integrals over pixels."""
    radial = isinstance(source, Extended) and source.radial
    if optics.psf is not None or not isinstance(source, Extended) or (plan.extent and not radial):
        return Stamp(source, image, frame, optics, plan, dtype, device, jac)
    jac = frame.jacobian(image.placement, *plan.pixel) if jac is None else jac
    taper = _taper(plan, optics, jac)
    return (EdgeStamp if radial else QuadratureStamp)(source, image, frame, plan, jac, taper, _box(plan, optics, taper, jac), dtype, device)


def core_kind(source: Extended, plan: StampPlan) -> type:
    """Which core serves a source: in closed form, of a finite extent, radial, or of harmonics."""
    if plan.extent:
        return Compact if source.radial else Closed
    return Hankel if source.radial else Harmonics
