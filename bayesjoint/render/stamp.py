"""Stamp: the core of one source in one image, drawn in a box of its own that follows the source."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from bayesjoint.images import Frame, Image
from bayesjoint.render.core import REACH, Hankel
from bayesjoint.render.optics import Optics, odd_fast_length
from bayesjoint.render.traced import Closed, Compact, Harmonics
from bayesjoint.scalar import Scalar
from bayesjoint.sky.extended import Extended

__all__ = ["Q_FLOOR", "STEPS", "TAPER", "Nest", "Stamp", "StampPlan", "box_shape", "stamp_of"]

STEPS = (1, 2, 4)
"""Steps in pixels of the grids outside cores."""

TAPER = {True: 5.0, False: 6.0}
"""Scale of the taper along the minor axis in steps of the grid outside: for effective PSFs on the image's grid, and for all others."""
Q_FLOOR = 0.08
NEGLIGIBLE = 1e-7
"""Transfer, relative to its largest, below which a frequency is left out."""
FADE = 8
"""Pixels beyond a PSF's stamp, over which a point's band-limited ringing is faded out: cut off, it would jump as the box moves on."""
LARGEST = 1500
"""Samples a side to which the bands of an image without PSF are held."""
RING_RATIO = 3.0
"""Of the tapers of rings inside one another."""


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


def _taper(plan: StampPlan, optics: Optics, jacobian: np.ndarray) -> float:
    """Scale of the taper in arcsec along the major axis; 0 where there is none."""
    if plan.extent:
        return 0.0
    large = np.linalg.svd(jacobian, compute_uv=False).max()
    step = max(plan.step, optics.finest)
    return plan.fine * step * TAPER[optics.direct and plan.step == 1] * large / max(plan.q, Q_FLOOR)


def _box(plan: StampPlan, optics: Optics, a: float, jacobian: np.ndarray) -> tuple[int, int]:
    reach = int(np.ceil((plan.extent or REACH * a) / np.linalg.svd(jacobian, compute_uv=False).min()))
    around = max(reach, FADE if optics.rings else 1)
    return tuple(odd_fast_length(s + 2 * around) for s in optics.support)


@dataclass(frozen=True)
class Ring:
    """The light between two tapers, arcsec along the major axis, and the Nyquist bands in which it has power (0: as many as fit)."""

    outer: float
    inner: float
    folds: int


class Stamp:
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
        ring: Ring | None = None,
    ) -> None:
        self.source, self.plan, self.extended = source, plan, isinstance(source, Extended)
        jac = frame.jacobian(image.placement, *plan.pixel) if jac is None else jac
        if ring is None:
            bands = optics.folds if image.psf is not None else 0
            ring = Ring(_taper(plan, optics, jac) if self.extended else 0.0, 0.0, bands)
        self.a, self.inner = ring.outer, ring.inner
        self.n = _box(plan, optics, self.a, jac)
        self.folds = ring.folds or int(np.clip(LARGEST // max(self.n), 3, optics.folds))
        kind = (type(source), repr({k: v for k, v in source.options().items() if k != "window"})) if self.extended else None
        key = kind, self.n, self.folds, jac.tobytes(), self.a, self.inner, plan.extent, plan.fine, dtype, device
        if key not in optics.made:  # many sources of a field have boxes, PSF and cores alike
            before = set(self.__dict__)
            self._tabulate(optics, np.linalg.inv(jac), dtype, device)
            optics.made[key] = {k: v for k, v in self.__dict__.items() if k not in before}
        self.__dict__.update(optics.made[key])
        self.sky0, self.pixel0 = (
            torch.as_tensor(np.array(v), dtype=dtype).to(device) for v in (frame.to_sky(image.placement, *plan.pixel), plan.pixel)
        )
        self._numbers = self._slopes, self.sky0.tolist() if device.type == "cpu" else None, plan.pixel
        self.image_shape = image.shape

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
            self.core = core_kind(self.source, self.plan)(self.source, self.plan.extent or self.a, wx, wy, self.plan.fine, dtype, device, self.inner)
        self.ky, self.kx, self.inverse = tensor(ky), tensor(kx), tensor(inverse)
        self.transfer = tensor(transfer[iy, ix], torch.complex128 if dtype == torch.float64 else torch.complex64)
        self._slopes = inverse.tolist()
        self._fold(iy, ix, tensor)
        self.offsets = [torch.arange(n, device=device) - n // 2 for n in self.n]
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

    # -- where ------------------------------------------------------------------------------------------------------------
    def _where(self, p: torch.Tensor) -> tuple[Places, Sequence[Scalar]]:
        """Places of the box in the image, and the phase's offset (x, y) in pixels, without a graph."""
        if p.device.type != "cpu":
            flat, inside, offset = self._indices(p)
            return Places(flat, inside, None), offset.unbind()
        (a, b), (sx, sy), at = self._numbers[0], self._numbers[1], self._numbers[2]
        x, y = p[:2].tolist()
        at = at[0] + a[0] * (x - sx) + a[1] * (y - sy), at[1] + b[0] * (x - sx) + b[1] * (y - sy)
        anchor = [min(max(round(v), -(10**9)), 10**9) if math.isfinite(v) else 10**9 for v in at]
        cut = []
        for n, size, c in zip(self.n, self.image_shape, anchor[::-1], strict=True):
            first = c - n // 2
            lo, hi = min(max(first, 0), size), min(max(first + n, 0), size)
            cut.append((slice(lo, hi), slice(lo - first, hi - first)) if hi > lo else (slice(0, 0), slice(0, 0)))
        return Places(None, None, ((cut[0][0], cut[1][0]), (cut[0][1], cut[1][1]))), (at[0] - anchor[0], at[1] - anchor[1])

    def where(self, p: torch.Tensor) -> tuple[slice, slice] | None:
        """Rows and columns of the image in which the box lies; None where that would mean to wait for the device."""
        cut = self._where(p)[0].cut
        return None if cut is None else cut[0]

    def _indices(self, p: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Flat pixel indices of the box, which of them lie in the image, and the phase's offset (x, y) in pixels, with its graph."""
        at = self.pixel0 + self.inverse @ (p[:2] - self.sky0)
        anchor = at.detach().round()
        (ny, nx), index = self.image_shape, anchor.clamp(-1e9, 1e9).long()
        rows, cols = index[1] + self.offsets[0], index[0] + self.offsets[1]
        inside = ((rows >= 0) & (rows < ny))[:, None] & ((cols >= 0) & (cols < nx))
        flat = (rows.clamp(0, ny - 1)[:, None] * nx + cols.clamp(0, nx - 1)).view(-1)
        return flat, inside, at - anchor

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


class Nest:
    """The core of a source in an image without PSF, as rings inside one another: `Stamp`'s methods, summed over them.

    Only the pixel blurs there, and its transfer falls so slowly that the cusp needs many Nyquist bands. What lies outside a taper of 2
    pixels needs 3 of them: so the many bands are those of a box of a few pixels, and the large box has few.

    Its parameters are those of `Stamp`.
    """

    def __init__(
        self, source: Any, image: Image, frame: Frame, optics: Optics, plan: StampPlan, dtype: torch.dtype, device: torch.device, jac: np.ndarray | None
    ) -> None:
        jac_ = frame.jacobian(image.placement, *plan.pixel) if jac is None else jac
        self.source, self.plan, self.extended, self.a = source, plan, True, _taper(plan, optics, jac_)
        pixel = np.linalg.svd(jac_, compute_uv=False).max() * plan.fine / max(plan.q, 1e-3)
        self.rings, outer = [], self.a
        while True:
            inner = outer / RING_RATIO
            folds = int(np.ceil(TAPER[False] * pixel / inner))
            last = folds >= optics.folds
            ring = Ring(outer, 0.0 if last else inner, optics.folds if last else folds)
            self.rings.append(Stamp(source, image, frame, optics, plan, dtype, device, jac, ring))
            if last:
                break
            outer = inner

    def where(self, p: torch.Tensor) -> tuple[slice, slice] | None:
        """See `Stamp.where`: the largest box."""
        return self.rings[0].where(p)

    def add(self, canvas: torch.Tensor, p: torch.Tensor, flux: torch.Tensor) -> torch.Tensor:
        """See `Stamp.add`."""
        for ring in self.rings:
            canvas = ring.add(canvas, p, flux)
        return canvas

    def draw(
        self, canvas: torch.Tensor, p: torch.Tensor, flux: torch.Tensor, origin: tuple[int, int] = (0, 0), slopes: bool = True
    ) -> tuple[Any, ...]:
        """See `Stamp.draw`."""
        return tuple(ring.draw(canvas, p, flux, origin, slopes) for ring in self.rings)

    def adjoint(self, grad: torch.Tensor, flux: torch.Tensor, drawn: tuple[Any, ...]) -> torch.Tensor:
        """See `Stamp.adjoint`."""
        return sum(ring.adjoint(grad, flux, d) for ring, d in zip(self.rings, drawn, strict=True))

    def add_rasters(
        self, canvas: torch.Tensor, p: torch.Tensor, flux: torch.Tensor, weight: torch.Tensor | None = None, origin: tuple[int, int] = (0, 0)
    ) -> None:
        """See `Stamp.add_rasters`."""
        for ring in self.rings:
            ring.add_rasters(canvas, p, flux, weight, origin)


def stamp_of(
    source: Any, image: Image, frame: Frame, optics: Optics, plan: StampPlan, dtype: torch.dtype, device: torch.device, jac: np.ndarray | None = None
) -> Stamp | Nest:
    """The core of a source in an image: rings where only the pixel blurs, else one box."""
    nested = optics.psf is None and isinstance(source, Extended) and not plan.extent
    return (Nest if nested else Stamp)(source, image, frame, optics, plan, dtype, device, jac)


@dataclass(frozen=True)
class Places:
    """Where a box lies in an image: by slices where its place is known on the CPU, by indices where that would mean to wait for the device."""

    flat: torch.Tensor | None
    inside: torch.Tensor | None
    cut: tuple[tuple[slice, slice], tuple[slice, slice]] | None

    def seen_from(self, origin: tuple[int, int]) -> Places:
        """The same places in a part of the image that begins at a row and column."""
        if self.cut is None or origin == (0, 0):
            return self
        here, there = self.cut
        return Places(None, None, (tuple(slice(s.start - o, s.stop - o) for s, o in zip(here, origin, strict=True)), there))

    def put(self, canvas: torch.Tensor, box: torch.Tensor, factor: torch.Tensor | None) -> None:
        """Add a box (..., n, n), times a factor, to a canvas (..., ny, nx) in place."""
        if self.cut is not None:
            here, there = self.cut
            part = box[(..., *there)]
            canvas[(..., *here)].add_(part if factor is None else part * factor)
            return
        weighted = box * (self.inside if factor is None else self.inside * factor)
        canvas.view(*canvas.shape[:-2], -1).index_add_(-1, self.flat, weighted.flatten(-2))

    def take(self, image: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
        """The image's pixels in a box of a shape, zero outside the image."""
        if self.cut is not None:
            here, there = self.cut
            box = image[here]
            if box.shape == shape:
                return box
            out = image.new_zeros(shape)
            out[there] = box
            return out
        return image.reshape(-1).index_select(0, self.flat).view(shape) * self.inside


def core_kind(source: Extended, plan: StampPlan) -> type:
    """Which core serves a source: in closed form, of a finite extent, radial, or of harmonics."""
    if plan.extent:
        return Compact if source.radial else Closed
    return Hankel if source.radial else Harmonics
