"""Stamp: the core of one source in one image, drawn in a box of its own that follows the source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from bayesjoint.images import Frame, Image
from bayesjoint.render.core import REACH, CoreSpectrum, Hankel, core_spectrum_and_derivatives
from bayesjoint.render.optics import Optics, odd_fast_length
from bayesjoint.scalar import numbers
from bayesjoint.sky.components import Radial

__all__ = ["Q_FLOOR", "TAPER", "Stamp", "StampPlan"]

TAPER = {True: 5.0, False: 6.0}
"""Scale of the taper along the minor axis in pixels: for effective PSFs on the image's grid, and for all others."""
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
    """

    pixel: tuple[float, float]
    q: float = 1.0


class Stamp:
    """The core of one source in one image; all of it, for a point.

    The local parameters are p = (x, y, q, pa, *profile) for a radial source, (x, y) for a point.
    """

    def __init__(self, source: Any, image: Image, frame: Frame, optics: Optics, plan: StampPlan, dtype: torch.dtype, device: torch.device) -> None:
        self.source, self.plan, self.radial = source, plan, isinstance(source, Radial)
        jac = frame.jacobian(image.placement, *plan.pixel)
        small, large = sorted(np.linalg.svd(jac, compute_uv=False))
        self.a, reach = 0.0, 1
        if self.radial:
            self.a = TAPER[optics.direct] * large / max(plan.q, Q_FLOOR)
            reach = int(np.ceil(REACH * self.a / small))
        self.n = tuple(odd_fast_length(s + 2 * reach) for s in optics.support)
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
        self.hankel = Hankel(self.a, wx, wy, dtype, device) if self.radial else None
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
        if self.radial:
            spectrum = spectrum * CoreSpectrum.apply(p, self.hankel, self.source)
        box = self._to_pixels(spectrum) * (inside * flux)
        return canvas.index_add(0, flat, box.reshape(-1))

    def draw(self, canvas: torch.Tensor, p: torch.Tensor, flux: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Add the core to a flat canvas in place, and return what `adjoint` needs."""
        flat, inside, offset = self._where(p)
        blurred, value, by = self._blurred_phase(offset), None, None
        spectrum = blurred
        if self.radial:
            value, by = core_spectrum_and_derivatives(numbers(p), self.hankel, self.source)
            spectrum = blurred * value
        box = self._to_pixels(spectrum)
        canvas.index_add_(0, flat, (box * (inside * flux)).view(-1))
        return flat, inside, blurred, spectrum, by

    def adjoint(self, grad: torch.Tensor, flux: torch.Tensor, drawn: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Gradient by (*p, flux) of a sum over the image weighted by `grad` (ny * nx,)."""
        flat, inside, blurred, spectrum, by = drawn
        back = self._to_spectrum(grad.index_select(0, flat).view(self.n) * inside)
        product = back * spectrum
        turned = product.imag.contiguous()
        mx, my = turned.dot(self.kx), turned.dot(self.ky)
        shift = (self.inverse.T @ torch.stack([mx, my])) * flux
        if not self.radial:
            return torch.cat([shift, product.real.sum()[None]])
        shape = by @ (back * blurred).real * flux
        return torch.cat([shift, shape, product.real.sum()[None]])

    def add_rasters(self, canvas: torch.Tensor, p: torch.Tensor, flux: torch.Tensor) -> None:
        """Add the core's derivatives by (*p, flux) to canvases (len(p) + 1, ny * nx), in place."""
        flat, inside, offset = self._where(p)
        spectrum = self._blurred_phase(offset)
        by = []
        if self.radial:
            value, by = core_spectrum_and_derivatives(numbers(p), self.hankel, self.source)
            by = [spectrum * b for b in by]
            spectrum = spectrum * value
        shift = [spectrum * (-1j) * (self.kx * self.inverse[0, i] + self.ky * self.inverse[1, i]) for i in (0, 1)]
        boxes = self._to_pixels(torch.stack([*shift, *by, spectrum])) * inside
        boxes[:-1] *= flux
        canvas.index_add_(1, flat, boxes.flatten(1))
