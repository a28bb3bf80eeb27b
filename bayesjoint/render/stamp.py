"""Stamp: the core of one source in one image, drawn in a box of its own that follows the source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from bayesjoint.images import Frame, Image
from bayesjoint.render.core import REACH, Hankel
from bayesjoint.render.optics import Optics, odd_fast_length
from bayesjoint.render.traced import Compact, Harmonics
from bayesjoint.sky.extended import Extended

__all__ = ["Q_FLOOR", "STEPS", "TAPER", "Stamp", "StampPlan", "box_shape"]

STEPS = (1, 2, 4)
"""Steps in pixels of the grids outside cores."""

TAPER = {True: 5.0, False: 6.0}
"""Scale of the taper along the minor axis in steps of the grid outside: for effective PSFs on the image's grid, and for all others."""
Q_FLOOR = 0.08
NEGLIGIBLE = 1e-7
"""Transfer, relative to its largest, below which a frequency is left out."""
LARGEST = 1500
"""Samples a side to which the bands of an image without PSF are held."""


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
    """

    pixel: tuple[float, float]
    q: float = 1.0
    step: int = 1
    extent: float = 0.0
    fine: float = 1.0
    window: tuple[int, int, int, int] | None = None


def box_shape(plan: StampPlan, image: Image, jacobian: np.ndarray) -> tuple[int, int]:
    """Pixels (y, x) of the box in which an extended source's core is drawn.

    Parameters
    ----------
    jacobian : ndarray, shape (2, 2)
        Of the map from pixels to arcsec.
    """
    optics = Optics(image.psf)
    return _box(plan, optics, _taper(plan, optics, jacobian), jacobian)


def _taper(plan: StampPlan, optics: Optics, jacobian: np.ndarray) -> float:
    """Scale of the taper in arcsec along the major axis; 0 where there is none."""
    large = np.linalg.svd(jacobian, compute_uv=False).max()
    return 0.0 if plan.extent else plan.fine * plan.step * TAPER[optics.direct and plan.step == 1] * large / max(plan.q, Q_FLOOR)


def _box(plan: StampPlan, optics: Optics, a: float, jacobian: np.ndarray) -> tuple[int, int]:
    reach = int(np.ceil((plan.extent or REACH * a) / np.linalg.svd(jacobian, compute_uv=False).min()))
    return tuple(odd_fast_length(s + 2 * max(reach, 1)) for s in optics.support)


class Stamp:
    """The core of one source in one image; all of it, for a point.

    The local parameters are p = (x, y, q, pa, *light) for an extended source, (x, y) for a point.
    """

    def __init__(self, source: Any, image: Image, frame: Frame, optics: Optics, plan: StampPlan, dtype: torch.dtype, device: torch.device) -> None:
        self.source, self.plan, self.extended = source, plan, isinstance(source, Extended)
        jac = frame.jacobian(image.placement, *plan.pixel)
        self.a = _taper(plan, optics, jac) if self.extended else 0.0
        self.n = _box(plan, optics, self.a, jac)
        self.folds = optics.folds if image.psf is not None else int(np.clip(LARGEST // max(self.n), 3, optics.folds))
        ky, kx, transfer = optics.box(self.n, self.folds)
        self.shape = transfer.shape
        active = np.flatnonzero(np.abs(transfer) > NEGLIGIBLE * np.abs(transfer).max())
        ky, kx = (np.broadcast_to(k, self.shape).ravel()[active] for k in (ky[:, None], kx))
        inverse = np.linalg.inv(jac)
        wx, wy = (inverse[0, i] * kx + inverse[1, i] * ky for i in (0, 1))  # A^-T k

        def tensor(x: Any, kind: torch.dtype = dtype) -> torch.Tensor:
            return torch.as_tensor(x, dtype=kind).to(device)

        self.active = tensor(active, torch.int64)
        self.core: Any = None
        if self.extended:
            kind, size = (Compact, plan.extent) if plan.extent else (Hankel if source.radial else Harmonics, self.a)
            self.core = kind(source, size, wx, wy, plan.fine, dtype, device)
        self.ky, self.kx = tensor(ky), tensor(kx)
        self.transfer = tensor(transfer.ravel()[active], torch.complex128 if dtype == torch.float64 else torch.complex64)
        alone = kx == 0.0
        if (self.folds * self.n[1]) % 2 == 0:
            alone |= active % self.shape[1] == self.shape[1] - 1
        self.weight = tensor(np.where(alone, 1.0, 2.0) / (self.folds**2 * self.n[0] * self.n[1]))
        self.inverse, self.sky0, self.pixel0 = tensor(inverse), tensor(np.array(frame.to_sky(image.placement, *plan.pixel))), tensor(plan.pixel)
        self.offsets = [torch.arange(n, device=device) - n // 2 for n in self.n]
        self.image_shape = image.shape

    # -- where ------------------------------------------------------------------------------------------------------------
    def _where(self, p: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Flat pixel indices of the box, which of them lie in the image, and the phase's offset (x, y) in pixels."""
        at = self.pixel0 + self.inverse @ (p[:2] - self.sky0)
        anchor = at.detach().round()
        (ny, nx), index = self.image_shape, anchor.clamp(-1e9, 1e9).long()
        rows, cols = index[1] + self.offsets[0], index[0] + self.offsets[1]
        inside = ((rows >= 0) & (rows < ny))[:, None] & ((cols >= 0) & (cols < nx))
        flat = (rows.clamp(0, ny - 1)[:, None] * nx + cols.clamp(0, nx - 1)).view(-1)
        return flat, inside, at - anchor

    def _blurred_phase(self, offset: torch.Tensor) -> torch.Tensor:
        angle = -self.kx * (offset[0] + self.n[1] // 2) - self.ky * (offset[1] + self.n[0] // 2)
        return torch.complex(torch.cos(angle), torch.sin(angle)) * self.transfer

    # -- to pixels and back -----------------------------------------------------------------------------------------------
    def _to_pixels(self, spectrum: torch.Tensor) -> torch.Tensor:
        """Box of pixels (..., ny, nx) of a spectrum at the active frequencies (..., n)."""
        s, lead = self.folds, spectrum.shape[:-1]
        full = torch.zeros(*lead, self.shape[0] * self.shape[1], dtype=spectrum.dtype, device=spectrum.device).index_copy(-1, self.active, spectrum)
        box = torch.fft.irfft2(full.view(*lead, *self.shape), s=(s * self.n[0], s * self.n[1]))
        return box if s == 1 else box[..., ::s, ::s] * s**2

    def _to_spectrum(self, box: torch.Tensor) -> torch.Tensor:
        """Adjoint of `_to_pixels`, conjugated: weights by which the spectrum's real products with it are summed."""
        s = self.folds
        if s > 1:
            fine = box.new_zeros(s * self.n[0], s * self.n[1])
            fine[::s, ::s] = box * s**2
            box = fine
        return torch.fft.rfft2(box).reshape(-1).index_select(0, self.active).conj() * self.weight

    # -- drawing ----------------------------------------------------------------------------------------------------------
    def add(self, canvas: torch.Tensor, p: torch.Tensor, flux: torch.Tensor) -> torch.Tensor:
        """Return a flat canvas (ny * nx,) with the core added. Plain autograd."""
        flat, inside, offset = self._where(p)
        spectrum = self._blurred_phase(offset)
        if self.core is not None:
            spectrum = spectrum * self.core.spectrum(p)
        box = self._to_pixels(spectrum) * (inside * flux)
        return canvas.index_add(0, flat, box.reshape(-1))

    def draw(self, canvas: torch.Tensor, p: torch.Tensor, flux: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Add the core to a flat canvas in place, and return what `adjoint` needs."""
        flat, inside, offset = self._where(p)
        blurred, kept = self._blurred_phase(offset), None
        spectrum = blurred
        if self.core is not None:
            value, kept = self.core.draw(p)
            spectrum = blurred * value
        box = self._to_pixels(spectrum)
        canvas.index_add_(0, flat, (box * (inside * flux)).view(-1))
        return flat, inside, blurred, spectrum, kept

    def adjoint(self, grad: torch.Tensor, flux: torch.Tensor, drawn: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Gradient by (*p, flux) of a sum over the image weighted by `grad` (ny * nx,)."""
        flat, inside, blurred, spectrum, kept = drawn
        back = self._to_spectrum(grad.index_select(0, flat).view(self.n) * inside)
        product = back * spectrum
        turned = product.imag.contiguous()
        mx, my = turned.dot(self.kx), turned.dot(self.ky)
        shift = (self.inverse.T @ torch.stack([mx, my])) * flux
        if self.core is None:
            return torch.cat([shift, product.real.sum()[None]])
        shape = self.core.adjoint(kept, back * blurred) * flux
        return torch.cat([shift, shape, product.real.sum()[None]])

    def add_rasters(self, canvas: torch.Tensor, p: torch.Tensor, flux: torch.Tensor, weight: torch.Tensor | None = None) -> None:
        """Add the core's derivatives by (*p, flux), times `weight` (ny * nx,), to canvases (len(p) + 1, ny * nx), in place."""
        flat, inside, offset = self._where(p)
        spectrum = self._blurred_phase(offset)
        by = []
        if self.core is not None:
            value, slopes = self.core.with_columns(p)
            by = [spectrum * b for b in slopes]
            spectrum = spectrum * value
        shift = [spectrum * (-1j) * (self.kx * self.inverse[0, i] + self.ky * self.inverse[1, i]) for i in (0, 1)]
        inside = inside if weight is None else weight.index_select(0, flat).view(self.n) * inside
        boxes = self._to_pixels(torch.stack([*shift, *by, spectrum])) * inside
        boxes[:-1] *= flux
        canvas.index_add_(1, flat, boxes.flatten(1))
