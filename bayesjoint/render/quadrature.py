r"""The core of a bent source where only the pixel blurs: its integrals over pixels by quadrature,
differentiated by torch.

Away from the centre the light is smooth over a pixel: three by three Gauss-Legendre nodes. About
the centre, where it has a cusp, a pixel's integral is the flux of the field :math:`g(\mathbf{r})\,
\mathbf{r}` out of it, with
:math:`g(\mathbf{r}) = \int_0^1 S(\lambda \mathbf{r})\, \lambda\, d\lambda`, as in
`bayesjoint.render.edges`; here each node on an edge has nodes on its ray of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from bayesjoint.render.box import Places
from bayesjoint.render.edges import Edges, Metric, PixelBox, Rule
from bayesjoint.scalar import Scalar, columns_of, numbers

__all__ = ["QuadratureStamp"]

NODES = ((0.6, 5), (5.0, 14), (np.inf, 24))
"""Gauss-Legendre nodes of an edge near the centre whose range in t (see `bayesjoint.render.edges`)
is at most so long.
"""
NEAR = 3.0
"""Elliptical radius in pixels along the minor axis within which a pixel is near the centre."""
NODES_KINKED = ((5.0, 18), (np.inf, 32))
"""The same where isophotes may have kinks."""
ACROSS, ACROSS_KINKED, RAY = 3, 8, 20
"""Nodes along each axis of other pixels, the same where there may be kinks, and on each ray."""
RAY_POWER = 4
"""Nodes on rays lie at powers of the distance, for cusps."""
LEAST_Q = 0.15
"""Axis ratio below which the block that is near the centre on other devices than the CPU grows no
more.
"""


class QuadratureStamp(PixelBox):
    """The core of one source whose light depends on angle, too, in one image without PSF: `Stamp`'s
    methods.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        fine, device = self.plan.fine, self.inverse.device
        self._rule = Rule.of(
            np.inf, 1, NODES_KINKED if self.source.kinked else NODES, fine, self.kind, device
        )

        def unit(count: int) -> tuple[np.ndarray, np.ndarray]:
            node, weight = np.polynomial.legendre.leggauss(int(np.ceil(count * fine)))
            return (node + 1) / 2, weight / 2

        def tensor(x: np.ndarray, kind: torch.dtype = self.kind) -> torch.Tensor:
            return torch.as_tensor(x, dtype=kind).to(device)

        node, weight = unit(ACROSS_KINKED if self.source.kinked else ACROSS)
        x, y = (a.ravel() - 0.5 for a in np.meshgrid(node, node))
        self._in_x, self._in_y, self._weight = (
            tensor(x),
            tensor(y),
            tensor(np.outer(weight, weight).ravel()),
        )
        node, weight = unit(RAY)
        self._ray, self._ray_weight = (
            tensor(node**RAY_POWER),
            tensor(weight * RAY_POWER * node ** (2 * RAY_POWER - 1)),
        )
        # where to choose pixels would mean to wait for the device, a block of them is near
        half = min(int(np.ceil(NEAR / max(self.plan.q, LEAST_Q))), *(n // 2 for n in self.n))
        self._pad = [n // 2 - half for n in self.n]
        self._block = torch.ones(2 * half + 1, 2 * half + 1, dtype=torch.bool, device=device)
        others = np.ones(self.n, dtype=bool)
        others[tuple(slice(p, n - p) for p, n in zip(self._pad, self.n, strict=True))] = False
        self._others = tuple(tensor(i, torch.int64) for i in np.nonzero(others))

    def _pixels(self, p: torch.Tensor) -> torch.Tensor:
        """What is seen of the box, of unit flux, shape (ny, nx), with its graph; nodes stay where
        they are on the image.
        """
        places, at = self._where(p.detach())
        *_, dx, dy = self._moved(p, at)
        _, _, q, pa, *params = p.to(self.kind).unbind()
        form, still = (
            Metric.of(self._jacobian, q, pa),
            Metric.of(self._jacobian, *numbers(p.detach()[2:4].to(self.kind))),
        )
        e, (rows, cols) = self._shared_out(places, at, still)

        def light(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            """Of the core, in the plane where the ellipse is a circle."""
            u, v = form.place(x, y)
            return self.source.light(u, v, q, *params) * torch.exp(
                self.taper.exponent(u * u + v * v)
            )

        # about the centre: what flows out of pixels
        x, y = e.x - dx, e.y - dy
        field = light(x[:, None] * self._ray, y[:, None] * self._ray) @ self._ray_weight
        across = e.across - e.horizontal * dy - (1 - e.horizontal) * dx
        pixels = e.to_pixels(e.from_nodes(e.weight * field) * across)
        if pixels.shape != self.n:
            (below, left), (ny, nx) = self._pad, self.n
            pixels = torch.nn.functional.pad(
                pixels, (left, nx - pixels.shape[1] - left, below, ny - pixels.shape[0] - below)
            )
        # elsewhere
        x, y = (
            self._x[cols, None] + self._in_x - (dx + at[0]),
            self._y[rows, None] + self._in_y - (dy + at[1]),
        )
        return pixels.index_put((rows, cols), light(x, y) @ self._weight) * form.area

    def _shared_out(
        self, places: Places, offset: Sequence[Scalar], form: Metric
    ) -> tuple[Edges, Sequence[torch.Tensor]]:
        """Edges of the pixels near the centre, and rows and columns of the others that the core
        reaches.
        """
        active = self._active(places, offset, form, self.taper.reach)
        if places.cut is None:
            return Edges.about(self._block, offset, form, self._rule), self._others
        near = form.rho2(self._x - offset[0], self._y[:, None] - offset[1]) < NEAR**2 * form.minor2
        return Edges.about(active & near, offset, form, self._rule), (
            active & ~near
        ).nonzero().unbind(1)

    def add(self, canvas: torch.Tensor, p: torch.Tensor, flux: torch.Tensor) -> torch.Tensor:
        """Return a flat canvas (ny * nx,) with the core added. Plain autograd."""
        if self._beside(self._where(p.detach())[0]):
            return canvas
        flat, inside, _ = self._indices(p)
        return canvas.index_add(
            0, flat, ((self._pixels(p) * flux).to(canvas.dtype) * inside).reshape(-1)
        )

    def draw(
        self,
        canvas: torch.Tensor,
        p: torch.Tensor,
        flux: torch.Tensor,
        origin: tuple[int, int] = (0, 0),
        slopes: bool = True,
    ) -> tuple[Any, ...]:
        """Add the core to a canvas, which begins at the row and column `origin` of the image, in
        place; return what `adjoint` needs.
        """
        places = self._where(p)[0]
        if self._beside(places):
            return places, None
        places = places.seen_from(origin)
        with torch.set_grad_enabled(slopes):
            leaf = p.detach().requires_grad_(slopes)
            pixels = self._pixels(leaf)
        places.put(canvas, pixels.detach().to(canvas.dtype), flux)
        return places, (leaf, pixels)

    def adjoint(
        self, grad: torch.Tensor, flux: torch.Tensor, drawn: tuple[Any, ...]
    ) -> torch.Tensor:
        """Gradient by (*p, flux) of a sum over the image weighted by `grad` (ny, nx)."""
        places, kept = drawn
        if kept is None:
            return grad.new_zeros(5 + len(self.source.light_params))
        leaf, pixels = kept
        with torch.enable_grad():
            total = (pixels * places.take(grad, self.n).to(self.kind)).sum()
            (by,) = torch.autograd.grad(total, leaf)
        return torch.cat([by * flux, total.detach().to(by.dtype)[None]])

    def add_rasters(
        self,
        canvas: torch.Tensor,
        p: torch.Tensor,
        flux: torch.Tensor,
        weight: torch.Tensor | None = None,
        origin: tuple[int, int] = (0, 0),
    ) -> None:
        """Add the core's derivatives by (*p, flux), times `weight` (ny, nx), to canvases (len(p) +
        1, ny, nx), in place.

        Canvases and weight begin at the row and column `origin` of the image, and hold all of the
        box that lies in it.
        """
        places = self._where(p)[0]
        if self._beside(places):
            return
        places = places.seen_from(origin)
        value, by = columns_of(self._pixels, p)
        boxes = torch.cat([by * flux, value[None]])
        if weight is not None:
            boxes *= places.take(weight, self.n)
        places.put(canvas, boxes.to(canvas.dtype), None)
