"""Smooth: the light outside the cores of sources that share a window, through the PSF onto the part of the image that it reaches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from bayesjoint.images import Frame, Image
from bayesjoint.render.blur import Blur
from bayesjoint.render.edges import PixelBox
from bayesjoint.render.grid import Grid, Scratch
from bayesjoint.render.native import Outside, TracedOutside
from bayesjoint.render.optics import Optics
from bayesjoint.render.stamp import Stamp
from bayesjoint.scalar import add_scaled, numbers

__all__ = ["Smooth"]

Locals = Sequence[torch.Tensor]


class Smooth:
    """One FFT pair for all sources of a window, whatever the step of the grid that each is sampled on.

    Parameters
    ----------
    image : Image
        Where to draw.
    frame : Frame
        The scene's tangent plane.
    optics : Optics
        Of the sources: one serves all of them.
    stamps : mapping
        Those of the sources, by their number in the image; one window serves all of them.

    Attributes
    ----------
    where : (slice, slice)
        Rows and columns of the image that the light reaches.
    sources : list of int
    """

    def __init__(self, image: Image, frame: Frame, optics: Optics, stamps: Mapping[int, Stamp | PixelBox], dtype: torch.dtype, device: torch.device) -> None:
        self.sources, self.dtype, self.device = list(stamps), dtype, device
        self.step = {k: s.plan.step for k, s in stamps.items()}
        plan = next(iter(stamps.values())).plan
        steps, window, margin = set(self.step.values()), plan.window, plan.margin
        key = *sorted(steps), image.shape, window, margin, dtype, device
        if key not in optics.blurs:
            optics.blurs[key] = Blur(optics, image.shape, steps, dtype, device, window, margin)
        self.blur: Blur = optics.blurs[key]
        self.where = self.blur.where
        self.lit = all(hi > lo for lo, hi in self.blur.light)
        if not self.lit:  # the window lies off the image, or is empty
            return
        self.grids = {s: Grid(image.placement, frame, self.blur.light, dtype, device, s) for s in steps}
        self.outside = {k: (Outside if s.source.radial else TracedOutside)(s.source, self.grids[s.plan.step], s.taper) for k, s in stamps.items()}
        self.by_step = {step: [k for k in self.sources if self.step[k] == step] for step in steps}

    def _blurred(self, step: int, light: torch.Tensor) -> torch.Tensor:
        return self.blur.forward({step: _padded(light * self.grids[step].area, self.blur.canvas(step))})

    # -- plain autograd ---------------------------------------------------------------------------------------------------
    def image(self, local: Locals) -> torch.Tensor:
        """Sum over the sources on the pixels that it reaches, with its graph."""
        light = {}
        for step, sources in self.by_step.items():
            total = sum(local[k][-1] * self.outside[k].light(local[k][:-1]) for k in sources)
            light[step] = _padded(total * self.grids[step].area, self.blur.canvas(step))
        return self.blur.forward(light)

    # -- without a graph --------------------------------------------------------------------------------------------------
    def draw(self, local: Locals, new: Scratch, slopes: bool = True) -> tuple[torch.Tensor, dict[int, Any]]:
        """`image`, in buffers that stay, and what `adjoint` needs."""
        light, kept = {}, {}
        for step, sources in self.by_step.items():
            grid, canvas = self.grids[step], new.empty(self.blur.canvas(step), self.dtype, self.device).zero_()
            inside = canvas[: grid.shape[0], : grid.shape[1]]
            for k in sources:
                bright, kept[k] = self.outside[k].draw(local[k][:-1], new, slopes)
                add_scaled(inside, bright, numbers(local[k][-1:])[0])
            inside.mul_(grid.area)
            light[step] = canvas
        return self.blur.forward(light), kept

    def adjoint(self, grad: torch.Tensor, local: Locals, kept: Mapping[int, Any], new: Scratch) -> dict[int, torch.Tensor]:
        """Gradient by each source's (*p, flux) of a sum over those pixels weighted by `grad`."""
        out = {}
        for step, back in self.blur.adjoint(grad).items():
            grid = self.grids[step]
            back = torch.mul(back[: grid.shape[0], : grid.shape[1]], grid.area, out=new.empty(grid.shape, self.dtype, self.device))
            for k in self.by_step[step]:
                g = self.outside[k].adjoint(back, kept[k], new)
                g[:-1] *= local[k][-1]
                out[k] = g
        return out

    def unit(self, k: int, p: torch.Tensor, new: Scratch, slopes: bool = True) -> tuple[torch.Tensor, Any]:
        """One source of unit flux, and what `unit_adjoint` needs."""
        light, kept = self.outside[k].draw(p, new, slopes)
        return self._blurred(self.step[k], light), kept

    def unit_adjoint(self, k: int, grad: torch.Tensor, kept: Any, new: Scratch) -> torch.Tensor:
        """Gradient by p of a sum over those pixels of one source of unit flux, weighted by `grad`."""
        step, grid = self.step[k], self.grids[self.step[k]]
        back = self.blur.adjoint(grad, [step])[step][: grid.shape[0], : grid.shape[1]] * grid.area
        return self.outside[k].adjoint(back, kept, new)[:-1]

    def columns(self, k: int, p: torch.Tensor, flux: torch.Tensor, put: Callable[[int, torch.Tensor], None]) -> None:
        """Derivatives of one source by (*p, flux), handed to `put` one by one: what fits into the cache is faster than all at once."""
        for m, x in enumerate(self.outside[k].columns(p)):
            put(m, self._blurred(self.step[k], x if m == len(p) else x.mul_(flux)))


def _padded(x: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
    """A tensor (..., ny, nx) with zeros after it, so that its last two axes are of a shape."""
    return x if x.shape[-2:] == shape else torch.nn.functional.pad(x, (0, shape[1] - x.shape[-1], 0, shape[0] - x.shape[-2]))
