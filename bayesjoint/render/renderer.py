"""Renderer: the model of one image, from the local parameters of its sources; one FFT pair a pass and window."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch

from bayesjoint.images import Frame, Image
from bayesjoint.render.blocks import Block, dense, inside, total, trimmed
from bayesjoint.render.edges import PixelBox
from bayesjoint.render.grid import Scratch, linear_map
from bayesjoint.render.optics import ImageOptics
from bayesjoint.render.smooth import Smooth
from bayesjoint.render.stamp import Stamp, StampPlan, stamp_of
from bayesjoint.scalar import add_scaled, dot, numbers

__all__ = ["Renderer"]

Locals = Sequence[torch.Tensor]
Energy = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], Any]
MOST = 0.7
"""Part of an image from which on a source's columns are held for all of it: one product of matrices is faster than several."""


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
    optics : ImageOptics, optional
        The image's, as another renderer of it has made them.
    """

    def __init__(
        self,
        image: Image,
        frame: Frame,
        sources: Sequence[tuple[Any, StampPlan]],
        dtype: torch.dtype,
        device: torch.device,
        optics: ImageOptics | None = None,
    ) -> None:
        self.optics = optics = ImageOptics(image.psf) if optics is None else optics.afresh()
        own = [optics.at(plan.place or plan.pixel, plan.reach) for _, plan in sources]
        optics.forget()
        jac, _, straight = linear_map(image.placement, frame, *(np.arange(n) for n in image.shape))
        self.stamps = [
            stamp_of(s, image, frame, o, plan, dtype, device, jac if straight else None)
            for (s, plan), o in zip(sources, own, strict=True)
        ]
        self.shape, self.dtype, self.device = image.shape, dtype, device
        # one FFT pair serves the sources of one window, margin and PSF
        groups: dict[Any, dict[int, Stamp | PixelBox]] = {}
        for k, s in enumerate(self.stamps):
            if s.taper is not None:
                groups.setdefault((s.plan.window, s.plan.margin, id(own[k])), {})[k] = s
        made = [
            Smooth(image, frame, own[next(iter(of))], of, dtype, device) for of in groups.values()
        ]
        for o in {id(o): o for o in own}.values():
            o.prune(part.blur for part in made)
        self.smooth = [part for part in made if part.lit]
        self.part = {k: part for part in self.smooth for k in part.sources}
        j, i = (torch.as_tensor(np.arange(n) - (n - 1) / 2, dtype=dtype).to(device) for n in image.shape)
        self.rows, self.cols = j[:, None], i
        self.everywhere = slice(0, image.shape[0]), slice(0, image.shape[1])
        self._scratch = Scratch()

    def release(self) -> None:
        """Let go of buffers; the next pass makes them anew."""
        self._scratch = Scratch()

    def _sky_columns(self, sky: torch.Tensor, one: torch.Tensor) -> list[torch.Tensor]:
        """Derivatives of one sky by its parameters, times `one`."""
        return [one] if len(sky) == 1 else [one, one * self.cols, one * self.rows]

    # -- plain autograd -----------------------------------------------------------------------------------------------
    def image(self, local: Locals, sky: Locals) -> torch.Tensor:
        """Model in image units, shape (ny, nx), with its graph."""
        # tensors of another kind (Pyro's, that know what they depend on) go by the plain way
        if not torch.is_grad_enabled() and all(type(v) is torch.Tensor for v in (*local, *sky)):
            try:
                return self._drawn(local, sky)
            except (ArithmeticError, ValueError):  # of Python's floats, at values that no image has
                pass
        canvas = torch.zeros(self.shape, dtype=self.dtype, device=self.device)
        for part in self.smooth:  # one after the other: each takes an image's memory
            canvas = canvas + self._placed(part.image(local), part.where)
        flat = canvas.reshape(-1)
        for s, v in zip(self.stamps, local, strict=True):
            flat = s.add(flat, v[:-1], v[-1])
        canvas = flat.view(self.shape)
        for v in sky:
            canvas = canvas + v[0]
            if len(v) == 3:
                canvas = canvas + v[1] * self.cols + v[2] * self.rows
        return canvas

    def _drawn(self, local: Locals, sky: Locals) -> torch.Tensor:
        """`image` without a graph: added up in place, in no more memory than one window's."""
        canvas = torch.zeros(self.shape, dtype=self.dtype, device=self.device)
        for part in self.smooth:
            canvas[part.where] += part.draw(local, Scratch().reset(), slopes=False)[0]
        for s, v in zip(self.stamps, local, strict=True):
            s.draw(canvas, v[:-1], v[-1], slopes=False)
        for v in sky:
            canvas.add_(v[0])
            if len(v) == 3:
                canvas.addcmul_(self.cols, v[1]).addcmul_(self.rows, v[2])
        return canvas

    def _placed(self, x: torch.Tensor, where: tuple[slice, slice]) -> torch.Tensor:
        """A part of the image among zeros."""
        if where == self.everywhere:
            return x
        rows, cols = where
        return torch.nn.functional.pad(x, (cols.start, self.shape[1] - cols.stop, rows.start, self.shape[0] - rows.stop))

    # -- fused: without a graph, in buffers that stay --------------------------------------------------------------------
    def score(
        self, local: Locals, sky: Locals, data: torch.Tensor, weight: torch.Tensor, energy: Energy | None = None, *, slopes: bool = True
    ) -> tuple[Any, list[torch.Tensor], list[torch.Tensor]]:
        """What an energy (default, half chi²) gives for the residuals, with its gradient by the local parameters, in one pass and its adjoint.

        Parameters
        ----------
        data, weight : tensors, shape (ny, nx)
            Pixel values, and 1/sigma² (0 where masked).
        energy : callable, optional
            Of residuals (model - data), weights and a buffer, into which it writes its slopes by the model.
        slopes : bool
            False leaves the gradient away.
        """
        new = self._scratch.reset()
        smooth = [(part, *part.draw(local, new, slopes)) for part in self.smooth]
        if len(smooth) == 1 and smooth[0][0].where == self.everywhere:
            residual = torch.sub(smooth[0][1], data, out=new(data))
        else:
            residual = torch.neg(data, out=new(data))
            for part, drawn, _ in smooth:
                residual[part.where] += drawn
        drawn = [s.draw(residual, v[:-1], v[-1], slopes=slopes) for s, v in zip(self.stamps, local, strict=True)]
        for v in sky:
            residual.add_(v[0])
            if len(v) == 3:
                residual.addcmul_(self.cols, v[1]).addcmul_(self.rows, v[2])
        grad = new(data)
        value = (energy or half_chi2)(residual, weight, grad)
        if not slopes:
            return value, [], []
        by_source = [s.adjoint(grad, v[-1], d) for s, v, d in zip(self.stamps, local, drawn, strict=True)]
        by_sky = [
            torch.stack([grad.sum(), *([(grad.sum(0) * self.cols).sum(), (grad.sum(1) * self.rows[:, 0]).sum()] if len(v) == 3 else [])]) for v in sky
        ]
        for part, _, kept in smooth:
            for k, g in part.adjoint(grad[part.where], local, kept, new).items():
                by_source[k] = by_source[k] + g
        return value, by_source, by_sky

    def blocks(
        self,
        local: Locals,
        sky: Locals,
        weight: torch.Tensor | None = None,
        *,
        of: Iterable[int] | None = None,
        passing: bool = False,
        tail: float = 0.0,
        residual: torch.Tensor | None = None,
    ) -> list[Block]:
        """Derivatives of the model by local parameters, sources first, then skies, times `weight` (ny, nx), where they are not zero.

        Parameters
        ----------
        of : iterable of int, optional
            Which sources and skies, by number; all of them.
        passing : bool
            Those over the whole image in buffers, until the next call: fresh memory of that size costs more than what is written there.
        tail : float
            Part of its sum of squares that each column may lose beyond each edge of its block, which is made as small as that allows.
        residual : tensor, shape (ny, nx), optional
            The model of all that is chosen, times `weight`, is taken from it in place, nothing of it left away.
        """
        new, count = self._scratch.reset(), len(local)
        everything = [*local, *sky]
        chosen = list(range(len(everything))) if of is None else list(of)
        starts = np.cumsum([0, *(len(v) for v in everything)]).tolist()
        where = {k: self._reach(k, everything[k]) if k < count else self.everywhere for k in chosen}
        rows = {k: list(range(starts[k], starts[k + 1])) for k in chosen}
        blocks, canvases = [], {}

        def buffer(columns: int, place: tuple[slice, slice], lasting: bool) -> torch.Tensor:
            shape = columns, *(w.stop - w.start for w in place)
            return torch.empty(shape, dtype=self.dtype, device=self.device) if lasting else new.empty(shape, self.dtype, self.device)

        whole = [k for k in chosen if where[k] == self.everywhere]
        if whole:
            held = [r for k in whole for r in rows[k]]
            values, at = buffer(len(held), self.everywhere, not passing), 0
            blocks.append(Block(held, self.everywhere, values))
            one = torch.ones(self.shape, dtype=self.dtype, device=self.device) if weight is None else weight
            for k in whole:
                v = everything[k]
                if k < count:
                    self._columns(k, v, weight, self.everywhere, values[at : at + len(v)])
                else:
                    for m, column in enumerate(self._sky_columns(v, one)):
                        values[at + m] = column
                at += len(v)
            if residual is not None:
                total(blocks, -self.amplitudes(local, sky), residual)
        for k in chosen:
            place = where[k]
            if place == self.everywhere:
                continue
            shape = len(rows[k]), *(w.stop - w.start for w in place)
            if tail and shape in canvases:  # one canvas serves all sources of its shape, and stays in the cache
                values = canvases[shape]
            else:
                values = canvases[shape] = buffer(len(rows[k]), place, not tail)
            self._columns(k, local[k], weight, place, values)
            if residual is not None:
                add_scaled(residual[place], values[-1], -numbers(local[k][-1:])[0])
            block = Block(rows[k], place, values)
            blocks.append(trimmed(block, tail) if tail else block)
        return blocks

    def _columns(self, k: int, v: torch.Tensor, weight: torch.Tensor | None, place: tuple[slice, slice], out: torch.Tensor) -> None:
        """Derivatives by one source's local parameters on a part of the image that holds all of it."""
        p, flux = v[:-1], v[-1]
        if weight is not None:
            weight = weight[place]
        part = self.part.get(k)
        if part is None:
            out.zero_()
        else:
            here = inside(part.where, place)
            if part.where != place:
                out.zero_()

            def put(m: int, x: torch.Tensor) -> None:
                row = out[m][here]
                row.copy_(x) if weight is None else torch.mul(x, weight[here], out=row)

            part.columns(k, p, flux, put)
        self.stamps[k].add_rasters(out, p, flux, weight, (place[0].start, place[1].start))

    def _reach(self, k: int, v: torch.Tensor) -> tuple[slice, slice]:
        """The part of the image outside which a source's columns are zero."""
        core, part = self.stamps[k].where(v[:-1]), self.part.get(k)
        if core is None:
            return self.everywhere
        boxes = [w for w in (core, *([] if part is None else [part.where])) if all(s.stop > s.start for s in w)]
        if not boxes:
            return slice(0, 0), slice(0, 0)
        cut = tuple(slice(min(b[axis].start for b in boxes), max(b[axis].stop for b in boxes)) for axis in (0, 1))
        area = np.prod([s.stop - s.start for s in cut])
        return self.everywhere if area > MOST * np.prod(self.shape) else cut

    def jacobian(self, local: Locals, sky: Locals, weight: torch.Tensor | None = None) -> torch.Tensor:
        """Derivatives of the model by all local parameters, sources first, then sky, times `weight` (ny, nx): shape (n, ny * nx)."""
        count = sum(len(v) for v in (*local, *sky))
        return dense(self.blocks(local, sky, weight), count, self.shape, self.dtype, self.device)

    def cells(self, local: Locals, sky: Locals) -> list[int]:
        """Numbers that `blocks` holds for each source, then each sky."""
        area = [int(np.prod([s.stop - s.start for s in self._reach(k, v)])) for k, v in enumerate(local)]
        return [len(v) * n for v, n in zip((*local, *sky), [*area, *[int(np.prod(self.shape))] * len(sky)], strict=True)]

    def units(self, local: Locals, sky: Locals, weight: torch.Tensor, *, slopes: bool = True) -> tuple[list[Block], list[tuple[Any, ...]]]:
        """Images of unit flux of each source alone, and of unit amplitude of each of the skies' parameters, times `weight` (ny, nx).

        Returns
        -------
        blocks : list of Block
            In buffers, until the next call; sources are numbered first, then the skies' parameters.
        kept : list
            What `units_adjoint` needs; of no use to it without `slopes`.
        """
        new, one = self._scratch.reset(), torch.ones((), dtype=self.dtype, device=self.device)
        where = [self._reach(k, v) for k, v in enumerate(local)]
        at = {k: m for m, k in enumerate(k for k, w in enumerate(where) if w == self.everywhere)}
        count = sum(len(v) for v in sky)
        rows = [*at, *range(len(local), len(local) + count)]
        whole = Block(rows, self.everywhere, new.empty((len(rows), *self.shape), self.dtype, self.device))
        blocks, kept = [whole] if rows else [], []
        for k, (s, v) in enumerate(zip(self.stamps, local, strict=True)):
            place, p = where[k], v[:-1]
            if k in at:
                canvas = whole.values[at[k]]
            else:
                values = new.empty((1, *(w.stop - w.start for w in place)), self.dtype, self.device)
                blocks.append(Block([k], place, values))
                canvas = values[0]
            part, outside = self.part.get(k), None
            if part is None or part.where != place:
                canvas.zero_()
            if part is not None:
                smooth, outside = part.unit(k, p, new, slopes)
                canvas[inside(part.where, place)] = smooth
            kept.append((place, outside, s.draw(canvas, p, one, (place[0].start, place[1].start), slopes)))
            canvas.mul_(weight[place])
        m = len(at)
        for v in sky:
            for column in self._sky_columns(v, weight):
                whole.values[m] = column
                m += 1
        return blocks, kept

    def units_adjoint(self, k: int, grad: torch.Tensor, kept: Sequence[tuple[Any, ...]]) -> torch.Tensor:
        """Gradient by p of source `k` of the sum of its unit image, without `weight`, times `grad`, on the part of the image it was drawn on."""
        place, outside, drawn = kept[k]
        by = self.stamps[k].adjoint(grad, torch.ones((), dtype=self.dtype, device=self.device), drawn)[:-1]
        part = self.part.get(k)
        return by if part is None else by + part.unit_adjoint(k, grad[inside(part.where, place)], outside, self._scratch)

    def amplitudes(self, local: Locals, sky: Locals) -> torch.Tensor:
        """What `blocks` are to be multiplied by so that their sum is the model: fluxes for their columns, and the skies' parameters."""
        return torch.cat([*(torch.cat([torch.zeros_like(v[:-1]), v[-1:]]) for v in local), *sky])


def half_chi2(residual: torch.Tensor, weight: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    """Half of the weighted sum of squares; its slopes go to `out`."""
    return 0.5 * dot(residual, torch.mul(residual, weight, out=out))
