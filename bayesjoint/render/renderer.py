"""Renderer: the model of one image, from the local parameters of its sources; one FFT pair a pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from bayesjoint.images import Frame, Image
from bayesjoint.render.grid import Grid, Scratch
from bayesjoint.render.native import NativeLight, adjoint, fields, rasters
from bayesjoint.render.optics import Optics, padded_shape
from bayesjoint.render.stamp import Stamp, StampPlan
from bayesjoint.scalar import add_scaled, numbers, pack

__all__ = ["Renderer"]

Locals = Sequence[torch.Tensor]


class Renderer:
    """Draws one image's model: smooth light on the pixels through one FFT pair, cores through their boxes, and the sky.

    Local parameters are, for each source, (*p, flux in image units), and for each Sky, (level[, slope_x, slope_y]).

    Parameters
    ----------
    image : Image
        Where to draw.
    frame : Frame
        The scene's tangent plane.
    sources : sequence of (source, StampPlan)
        The sources that the image sees.
    """

    def __init__(self, image: Image, frame: Frame, sources: Sequence[tuple[Any, StampPlan]], dtype: torch.dtype, device: torch.device) -> None:
        optics = Optics(image.psf)
        self.stamps = [Stamp(s, image, frame, optics, plan, dtype, device) for s, plan in sources]
        self.shape = image.shape
        self.pad = tuple(n // 2 for n in optics.stamp.shape)
        self.fft = padded_shape(image.shape, optics.stamp.shape)
        self.grid = Grid(image.placement, frame, self.pad, dtype, device)
        self.dtype, self.device = dtype, device
        self.complex = torch.complex128 if dtype == torch.float64 else torch.complex64
        self.kernel = torch.as_tensor(optics.native(self.fft), dtype=self.complex).to(device)
        self.kernel_conj = self.kernel.conj().resolve_conj()
        j, i = (torch.as_tensor(np.arange(n) - (n - 1) / 2, dtype=dtype).to(device) for n in image.shape)
        self.rows, self.cols = j[:, None], i
        self.radial = [k for k, s in enumerate(self.stamps) if s.radial]
        self._scratch = Scratch()

    # -- plain autograd -----------------------------------------------------------------------------------------------
    def _convolve(self, light: torch.Tensor) -> torch.Tensor:
        (py, px), (ny, nx) = self.pad, self.shape
        full = torch.fft.irfft2(torch.fft.rfft2(light, s=self.fft) * self.kernel, s=self.fft)
        return full[..., py : py + ny, px : px + nx]

    def image(self, local: Locals, sky: Locals) -> torch.Tensor:
        """Model in image units, shape (ny, nx), with its graph."""
        canvas = torch.zeros(self.shape, dtype=self.dtype, device=self.device)
        if self.radial:
            light = sum(local[k][-1] * NativeLight.apply(local[k][:-1], self.grid, self.stamps[k].a, self.stamps[k].source) for k in self.radial)
            canvas = self._convolve(light * self.grid.area)
        flat = canvas.reshape(-1)
        for s, v in zip(self.stamps, local, strict=True):
            flat = s.add(flat, v[:-1], v[-1])
        canvas = flat.view(self.shape)
        for v in sky:
            canvas = canvas + v[0]
            if len(v) == 3:
                canvas = canvas + v[1] * self.cols + v[2] * self.rows
        return canvas

    # -- fused: without a graph, in buffers that stay --------------------------------------------------------------------
    def score(
        self, local: Locals, sky: Locals, data: torch.Tensor, weight: torch.Tensor
    ) -> tuple[torch.Tensor, list[torch.Tensor], list[torch.Tensor]]:
        """Half chi² with its gradient by the local parameters, in one pass and its adjoint.

        Parameters
        ----------
        data, weight : tensors, shape (ny, nx)
            Pixel values, and 1/sigma (0 where masked).
        """
        new = self._scratch.reset()
        (py, px), (ny, nx) = self.pad, self.shape
        half = (self.fft[0], self.fft[1] // 2 + 1)
        model = new.empty(self.shape, self.dtype, self.device)
        kept: dict[int, Any] = {}
        if self.radial:
            light = new.empty(self.fft, self.dtype, self.device).zero_()
            inside = light[: self.grid.shape[0], : self.grid.shape[1]]
            for k in self.radial:
                stamp, v = self.stamps[k], numbers(local[k])
                kept[k] = fields(v[:-1], self.grid, stamp.a, stamp.source, new)
                add_scaled(inside, kept[k][0], v[-1] / v[2])
            inside.mul_(self.grid.area)
            spectrum = torch.fft.rfft2(light, out=new.empty(half, self.complex, self.device)).mul_(self.kernel)
            full = torch.fft.irfft2(spectrum, s=self.fft, out=light)
            model.copy_(full[py : py + ny, px : px + nx])
        else:
            model.zero_()
        drawn = [s.draw(model.view(-1), v[:-1], v[-1]) for s, v in zip(self.stamps, local, strict=True)]
        for v in sky:
            model.add_(v[0])
            if len(v) == 3:
                model.addcmul_(self.cols, v[1]).addcmul_(self.rows, v[2])
        residual = model.sub_(data).mul_(weight)
        half_chi2 = 0.5 * residual.view(-1).dot(residual.view(-1))
        grad = residual.mul_(weight)
        by_source = [s.adjoint(grad.view(-1), v[-1], d) for s, v, d in zip(self.stamps, local, drawn, strict=True)]
        by_sky = [
            torch.stack([grad.sum(), *([(grad.sum(0) * self.cols).sum(), (grad.sum(1) * self.rows[:, 0]).sum()] if len(v) == 3 else [])]) for v in sky
        ]
        if self.radial:
            full.zero_()
            full[py : py + ny, px : px + nx] = grad
            spectrum = torch.fft.rfft2(full, out=spectrum).mul_(self.kernel_conj)
            back = torch.fft.irfft2(spectrum, s=self.fft, out=full)[: self.grid.shape[0], : self.grid.shape[1]]
            back = torch.mul(back, self.grid.area, out=new.empty(self.grid.shape, self.dtype, self.device))
            for k in self.radial:
                g = pack(adjoint(numbers(local[k][:-1]), back, *kept[k], new), local[k])
                g[:-1] *= local[k][-1]
                by_source[k] = by_source[k] + g
        return half_chi2, by_source, by_sky

    def jacobian(self, local: Locals, sky: Locals) -> torch.Tensor:
        """Derivatives of the model by all local parameters, sources first, then sky: shape (n, ny * nx)."""
        parts = []
        for s, v in zip(self.stamps, local, strict=True):
            p, flux = v[:-1], v[-1]
            if s.radial:
                canvas = self._convolve(rasters(numbers(p), self.grid, s.a, s.source).mul_(self.grid.area)).reshape(len(v), -1)
                canvas[:-1] *= flux
            else:
                canvas = torch.zeros(len(v), self.shape[0] * self.shape[1], dtype=self.dtype, device=self.device)
            s.add_rasters(canvas, p, flux)
            parts.append(canvas)
        one = torch.ones(self.shape, dtype=self.dtype, device=self.device)
        for v in sky:
            parts.append(torch.stack([one, one * self.cols, one * self.rows][: len(v)]).view(len(v), -1))
        return torch.cat(parts)
