"""Renderer: the model of one image, from the local parameters of its sources; one FFT pair a pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from bayesjoint.images import Frame, Image
from bayesjoint.render.blur import Blur
from bayesjoint.render.grid import Grid, Scratch
from bayesjoint.render.native import Outside, TracedOutside
from bayesjoint.render.optics import Optics
from bayesjoint.render.stamp import Stamp, StampPlan
from bayesjoint.scalar import add_scaled, numbers

__all__ = ["Renderer"]

Locals = Sequence[torch.Tensor]
ORIGIN = (slice(0, None), slice(0, None))


class Renderer:
    """Draws one image's model: smooth light through one FFT pair, cores through their boxes, and the sky.

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
        self.shape, self.dtype, self.device = image.shape, dtype, device
        steps = {s.plan.step for s in self.stamps if s.a}
        self.blur = Blur(optics, image.shape, steps, dtype, device)
        self.grids = {step: Grid(image.placement, frame, self.blur.pad, dtype, device, step) for step in steps}
        self.outside = {
            k: (Outside if s.source.radial else TracedOutside)(s.source, self.grids[s.plan.step], s.a, s.plan.window)
            for k, s in enumerate(self.stamps)
            if s.a
        }
        self.by_step = {step: [k for k in self.outside if self.stamps[k].plan.step == step] for step in steps}
        j, i = (torch.as_tensor(np.arange(n) - (n - 1) / 2, dtype=dtype).to(device) for n in image.shape)
        self.rows, self.cols = j[:, None], i
        self._scratch = Scratch()

    def _blurred(self, k: int, light: torch.Tensor) -> torch.Tensor:
        """Light of one source on its part of its grid, through the PSF onto the pixels (ny, nx)."""
        grid = self.grids[self.stamps[k].plan.step]
        light = _placed(light, self.outside[k].where, grid.shape) * grid.area
        return self.blur.forward({grid.step: _placed(light, ORIGIN, self.blur.canvas(grid.step))})

    def _sky_columns(self, sky: torch.Tensor, one: torch.Tensor) -> list[torch.Tensor]:
        """Derivatives of one sky by its parameters, times `one`."""
        return [one] if len(sky) == 1 else [one, one * self.cols, one * self.rows]

    # -- plain autograd -----------------------------------------------------------------------------------------------
    def image(self, local: Locals, sky: Locals) -> torch.Tensor:
        """Model in image units, shape (ny, nx), with its graph."""
        canvas = torch.zeros(self.shape, dtype=self.dtype, device=self.device)
        if self.outside:
            light = {}
            for step, sources in self.by_step.items():
                grid = self.grids[step]
                total = sum(_placed(local[k][-1] * self.outside[k].light(local[k][:-1]), self.outside[k].where, grid.shape) for k in sources)
                light[step] = _placed(total * grid.area, ORIGIN, self.blur.canvas(step))
            canvas = self.blur.forward(light)
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
            Pixel values, and 1/sigma² (0 where masked).
        """
        new = self._scratch.reset()
        kept: dict[int, Any] = {}
        if self.outside:
            light = {}
            for step, sources in self.by_step.items():
                grid, canvas = self.grids[step], new.empty(self.blur.canvas(step), self.dtype, self.device).zero_()
                inside = canvas[: grid.shape[0], : grid.shape[1]]
                for k in sources:
                    bright, kept[k] = self.outside[k].draw(local[k][:-1], new)
                    add_scaled(inside[self.outside[k].where], bright, numbers(local[k][-1:])[0])
                inside.mul_(grid.area)
                light[step] = canvas
            residual = torch.sub(self.blur.forward(light), data, out=new(data))
        else:
            residual = torch.neg(data, out=new(data))
        drawn = [s.draw(residual, v[:-1], v[-1]) for s, v in zip(self.stamps, local, strict=True)]
        for v in sky:
            residual.add_(v[0])
            if len(v) == 3:
                residual.addcmul_(self.cols, v[1]).addcmul_(self.rows, v[2])
        grad = torch.mul(residual, weight, out=new(data))
        half_chi2 = 0.5 * _dot(residual, grad)
        by_source = [s.adjoint(grad, v[-1], d) for s, v, d in zip(self.stamps, local, drawn, strict=True)]
        by_sky = [
            torch.stack([grad.sum(), *([(grad.sum(0) * self.cols).sum(), (grad.sum(1) * self.rows[:, 0]).sum()] if len(v) == 3 else [])]) for v in sky
        ]
        if self.outside:
            for step, back in self.blur.adjoint(grad).items():
                grid = self.grids[step]
                back = torch.mul(back[: grid.shape[0], : grid.shape[1]], grid.area, out=new.empty(grid.shape, self.dtype, self.device))
                for k in self.by_step[step]:
                    g = self.outside[k].adjoint(back[self.outside[k].where], kept[k], new)
                    g[:-1] *= local[k][-1]
                    by_source[k] = by_source[k] + g
        return half_chi2, by_source, by_sky

    def jacobian(self, local: Locals, sky: Locals, weight: torch.Tensor | None = None, *, passing: bool = False) -> torch.Tensor:
        """Derivatives of the model by all local parameters, sources first, then sky, times `weight` (ny, nx): shape (n, ny * nx).

        One that is `passing` lies in a buffer, until the next call: fresh memory of that size costs more than what is written there.
        """
        count = sum(len(v) for v in (*local, *sky))
        shape = (count, *self.shape)
        out = self._scratch.reset().empty(shape, self.dtype, self.device) if passing else torch.empty(shape, dtype=self.dtype, device=self.device)
        at = 0
        for k, (s, v) in enumerate(zip(self.stamps, local, strict=True)):
            p, flux, rows = v[:-1], v[-1], out[at : at + len(v)]
            if k in self.outside:
                light = self.outside[k].columns(p)
                light[:-1] *= flux
                for row, x in zip(rows, light, strict=True):  # one by one: what fits into the cache is faster than what is done at once
                    full = self._blurred(k, x)
                    row.copy_(full) if weight is None else torch.mul(full, weight, out=row)
            else:
                rows.zero_()
            s.add_rasters(rows, p, flux, weight)
            at += len(v)
        one = torch.ones(self.shape, dtype=self.dtype, device=self.device) if weight is None else weight
        for v in sky:
            for column in self._sky_columns(v, one):
                out[at] = column
                at += 1
        return out.view(count, -1)

    def units(self, local: Locals, sky: Locals) -> torch.Tensor:
        """Images of unit flux of each source alone, and of unit amplitude of each of the skies' parameters: shape (n, ny * nx)."""
        out = torch.zeros(len(local) + sum(len(v) for v in sky), *self.shape, dtype=self.dtype, device=self.device)
        one = torch.ones_like(out[:1, 0, 0])[0]
        for k, (s, v) in enumerate(zip(self.stamps, local, strict=True)):
            if k in self.outside:
                out[k] = self._blurred(k, self.outside[k].plain(v[:-1]))
            out[k] = s.add(out[k].reshape(-1), v[:-1], one).view(self.shape)
        at = len(local)
        for v in sky:
            for column in self._sky_columns(v, one):
                out[at] = column
                at += 1
        return out.view(len(out), -1)

    def combine(self, jacobian: torch.Tensor, local: Locals, sky: Locals) -> torch.Tensor:
        """The model, times the weight that `jacobian` had, from it: a sum of fluxes times their columns, and of the skies'; shape (ny * nx,)."""
        amplitudes, at = torch.zeros(len(jacobian), dtype=self.dtype, device=self.device), 0
        for v in local:
            at += len(v)
            amplitudes[at - 1] = v[-1]
        for v in sky:
            amplitudes[at : at + len(v)] = v
            at += len(v)
        return amplitudes @ jacobian


def _dot(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Sum of products, in double precision: half chi² is to be right to far below 1 however many pixels there are."""
    a, b = a.reshape(-1), b.reshape(-1)
    return a.dot(b) if a.dtype == torch.float64 else (a * b).sum(dtype=torch.float64)


def _placed(x: torch.Tensor, where: tuple[slice, slice], shape: tuple[int, int]) -> torch.Tensor:
    """A tensor put among zeros, so that its last two axes are of a shape."""
    rows, cols = (s.start for s in where)
    if x.shape[-2:] == shape:
        return x
    return torch.nn.functional.pad(x, (cols, shape[1] - cols - x.shape[-1], rows, shape[0] - rows - x.shape[-2]))
