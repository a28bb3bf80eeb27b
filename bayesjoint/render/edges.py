r"""The core of a radial source where only the pixel blurs: exact integrals over pixels, as sums
along their edges.

The transfer of a bare pixel falls so slowly that a cusp would need hundreds of Nyquist bands, so no
Fourier transform serves here. But light that depends on the elliptical radius alone is the
divergence of a field without a singularity,

.. math:: S(\rho) = \nabla \cdot (g(\rho)\, \mathbf{r}), \quad
          g(\rho) = \rho^{-2} \int_0^\rho S(s)\, s\, ds

(in pixels from the centre, where :math:`\rho^2` is a quadratic form of r), so that a pixel's light
is the flux of that field out of it (Gauss' theorem): four integrals along straight edges, each
shared with a neighbour. On an edge whose line passes the centre at a distance :math:`\delta`, in
units of that along it, the integrand's singularities lie at :math:`s = \pm i \delta`; with
:math:`s = \delta \sinh t` they lie at :math:`\pm i \pi / 2`, and a few Gauss-Legendre nodes in t
are exact to 1e-8, for edges through the middle of a cusp, too. g is a table in
:math:`(\rho / R)^{1/4}`, a running sum of the profile at some hundred radii, read by cubic Hermite interpolation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from bayesjoint.images import Frame, Image
from bayesjoint.render.box import Box, Places
from bayesjoint.render.taper import Taper
from bayesjoint.scalar import Scalar, columns_of, cos_sin, numbers, pack

__all__ = ["EdgeStamp", "Edges", "Metric", "PixelBox", "Rule"]

FAR, NODES_FAR = 4.5, 3
"""Distance in pixels along the minor axis from which on an edge is far from the centre, and its
Gauss-Legendre nodes.
"""
NODES = ((1.0, 6), (5.0, 14), (np.inf, 32))
"""Nodes of an edge closer to it whose range in t is at most so long."""
NODES_OF_ENDS = ((1.0, 8), (5.0, 16), (np.inf, 32))
"""The same for a source that ends at a radius, wherever its edges are."""
NEAREST = 1e-6
"""Distance of an edge from the centre, in pixels, below which nodes do not crowd any further."""
INTERVALS, INTERVALS_OF_ENDS = 300, 600
"""Of the table of g; for a source that ends at a radius, which may be a thin ring."""
TINY = 1e-30
"""Least squared radius over that of the table, so that its logarithm and inverse are finite."""


# -- the table of g --------------------------------------------------------------------------------
class RadialTable:
    """The table of g for a source's light times a taper: linear in the light.

    Parameters
    ----------
    source : Extended
        Whose light it is; radial.
    taper : Taper
    fine : float
        Places of the table in units of what serves well.
    """

    intervals = INTERVALS

    def __init__(
        self,
        source: Any,
        taper: Taper | None,
        fine: float,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.source, self.radius = source, 1.0 if taper is None else taper.reach
        self.count = count = int(np.ceil(self.intervals * fine))
        tau = np.concatenate([np.arange(count + 1) / count, (np.arange(count) + 0.5) / count])
        rho2 = self.radius**2 * np.maximum(tau**8, TINY)
        inside = np.ones_like(rho2) if taper is None else taper.of(rho2)
        # Simpson's rule for S w rho d rho, with rho = R tau^4
        measure = inside * 4 * self.radius**2 * tau**7 / (6 * count)
        inverse = 1 / rho2[: count + 1]
        inverse[0] = 0.0

        def tensor(x: np.ndarray) -> torch.Tensor:
            return torch.as_tensor(x, dtype=dtype).to(device)

        self.rho2, self.inverse = tensor(rho2), tensor(inverse)
        self.ends, self.middles = tensor(measure[: count + 1]), tensor(4 * measure[count + 1 :])
        # a step of the table changes g by 4 (S w - 2 g) / tau
        self.steepness = tensor(np.concatenate([[0.0], 4 / np.arange(1, count + 1)]))
        self.inside = tensor(inside[: count + 1])

    def of(self, light: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The table and its slopes, shapes (..., count + 1), of the brightness (..., 2 count + 1)
        at `rho2`.
        """
        at, between = light[..., : self.count + 1], light[..., self.count + 1 :]
        ends = at * self.ends
        total = torch.cumsum(ends[..., :-1] + ends[..., 1:] + between * self.middles, -1)
        g = total * self.inverse[1:]
        g = torch.cat([g[..., :1], g], -1)
        return g, self.steepness * (at * self.inside - 2 * g)

    def of_adjoint(self, g: torch.Tensor, slope: torch.Tensor) -> torch.Tensor:
        """The adjoint of `of`: from weights of the table and its slopes, shapes (count + 1,), to
        those of the brightness.
        """
        slope = slope * self.steepness
        g = g - 2 * slope
        g[1] += g[0]  # the first place is as the second
        total = (g * self.inverse)[1:].flip(0).cumsum(0).flip(0)
        ends = torch.nn.functional.pad(total, (1, 0)) + torch.nn.functional.pad(total, (0, 1))
        return torch.cat([ends * self.ends + slope * self.inside, total * self.middles])

    # -- by the light's parameters -----------------------------------------------------------------
    def plain(self, params: Sequence[torch.Tensor]) -> tuple[Scalar, torch.Tensor, torch.Tensor]:
        """Its radius in arcsec, the table and its slopes, with their graph."""
        return self.radius, *self.of(self.source.radial_light(self.rho2, *params))

    def draw(
        self, params: torch.Tensor, slopes: bool
    ) -> tuple[Scalar, torch.Tensor, torch.Tensor, Any]:
        """`plain` without a graph, and what `adjoint` needs."""
        if not slopes:
            return *self.plain(params.unbind()), None
        light, _, by = self.source.derivatives(self.rho2, *numbers(params))
        return self.radius, *self.of(light), by

    def adjoint(
        self, kept: Any, g: torch.Tensor, slope: torch.Tensor, size: torch.Tensor
    ) -> list[torch.Tensor]:
        """Gradient by the parameters, from weights of the table, of its slopes, and of the
        logarithm of its radius.
        """
        light = self.of_adjoint(g, slope)
        return [light.dot(b) for b in kept]

    def columns(
        self, params: torch.Tensor
    ) -> tuple[Scalar, torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Its radius, the table and its derivatives by the parameters, shape (1 + n, count + 1),
        their slopes, and the derivatives of the logarithm of its radius (n,); None where that is
        the same for all.
        """
        light, _, by = self.source.derivatives(self.rho2, *numbers(params))
        return self.radius, *self.of(torch.stack([light, *by])), None


class EndingTable(RadialTable):
    """The same of a source that ends at a radius, all of it core: the table scales with that;
    differentiated by torch.
    """

    intervals = INTERVALS_OF_ENDS

    def plain(self, params: Sequence[torch.Tensor]) -> tuple[Scalar, torch.Tensor, torch.Tensor]:
        """See `RadialTable.plain`."""
        radius = self.source.extent(*params)
        return radius, *self.of(self.source.radial_light(self.rho2 * radius**2, *params))

    def _packed(self, params: torch.Tensor) -> torch.Tensor:
        radius, g, slope = self.plain(params.unbind())
        return torch.cat([g, slope, torch.log(radius)[None]])

    def draw(
        self, params: torch.Tensor, slopes: bool
    ) -> tuple[Scalar, torch.Tensor, torch.Tensor, Any]:
        """See `RadialTable.draw`."""
        with torch.set_grad_enabled(slopes):
            leaf = params.detach().requires_grad_(slopes)
            packed = self._packed(leaf)
        n, (size,) = self.count + 1, numbers(torch.exp(packed.detach()[-1:]))
        return size, packed.detach()[:n], packed.detach()[n:-1], (leaf, packed)

    def adjoint(
        self, kept: Any, g: torch.Tensor, slope: torch.Tensor, size: torch.Tensor
    ) -> list[torch.Tensor]:
        """See `RadialTable.adjoint`."""
        leaf, packed = kept
        with torch.enable_grad():
            (grad,) = torch.autograd.grad(packed.dot(torch.cat([g, slope, size[None]])), leaf)
        return list(grad.unbind())

    def columns(
        self, params: torch.Tensor
    ) -> tuple[Scalar, torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """See `RadialTable.columns`."""
        value, by = columns_of(self._packed, params)
        every, n = torch.cat([value[None], by]), self.count + 1
        (size,) = numbers(torch.exp(value[-1:]))
        return size, every[:, :n], every[:, n:-1], by[:, -1]


# -- edges and nodes -------------------------------------------------------------------------------
@dataclass
class Metric:
    """Squared elliptical radius of offsets in pixels, a quadratic form: xx x² + 2 xy x y + yy y²."""

    xx: Scalar
    xy: Scalar
    yy: Scalar
    area: Scalar
    """Of a pixel in the plane where the ellipse is a circle, arcsec²."""
    q: Scalar
    axes: tuple[Scalar, Scalar, Scalar, Scalar]
    """What a pixel along x, and along y, adds along the major axis, and along the minor one divided
    by q: (ux, uy, vx, vy).
    """

    @classmethod
    def of(cls, jacobian: Sequence[Sequence[float]], q: Scalar, pa: Scalar) -> Metric:
        """Of an ellipse, by the map from pixels to arcsec."""
        (ex, ey), (nx, ny) = jacobian
        c, s = cos_sin(pa)
        ux, uy, vx, vy = (
            ex * s + nx * c,
            ey * s + ny * c,
            (ex * c - nx * s) / q,
            (ey * c - ny * s) / q,
        )
        return cls(
            ux * ux + vx * vx,
            ux * uy + vx * vy,
            uy * uy + vy * vy,
            abs(ex * ny - ey * nx) / q,
            q,
            (ux, uy, vx, vy),
        )

    def rho2(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """At offsets."""
        return x * (self.xx * x + (2 * self.xy) * y) + self.yy * (y * y)

    @property
    def minor2(self) -> Scalar:
        """Squared elliptical radius of one pixel along the minor axis."""
        return (self.xx + self.yy) / 2 + (((self.xx - self.yy) / 2) ** 2 + self.xy**2) ** 0.5

    def place(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Along the major axis, and along the minor one divided by q, in arcsec."""
        ux, uy, vx, vy = self.axes
        return ux * x + uy * y, vx * x + vy * y


@dataclass
class Rule:
    """Which nodes serve which edges.

    Attributes
    ----------
    far : float
        Distance from the centre, in pixels along the minor axis, from which on an edge has nodes
        wherever it is.
    nodes, weights : tensors, shape (k,)
        Those, along an edge of length 1.
    near : list of (float, tensor, tensor)
        Ranges in t, ascending, with the nodes and weights on (-1, 1) that serve up to them.
    """

    far: float
    nodes: torch.Tensor
    weights: torch.Tensor
    near: list[tuple[float, torch.Tensor, torch.Tensor]]

    @classmethod
    def of(
        cls,
        far: float,
        count: int,
        near: Sequence[tuple[float, int]],
        fine: float,
        dtype: torch.dtype,
        device: torch.device,
    ) -> Rule:
        """Gauss-Legendre nodes, more of them by a factor."""

        def tensors(n: int) -> tuple[torch.Tensor, torch.Tensor]:
            x, w = np.polynomial.legendre.leggauss(int(np.ceil(n * fine)))
            return torch.as_tensor(x, dtype=dtype).to(device), torch.as_tensor(w, dtype=dtype).to(
                device
            )

        nodes, weights = tensors(count)
        return cls(far, (nodes + 1) / 2, weights / 2, [(end, *tensors(n)) for end, n in near])


@dataclass
class Edges:
    """Edges of the pixels about a source, and nodes on them, at one place of it; offsets are in
    pixels from the centre.

    Attributes
    ----------
    active : tensor, shape (ny, nx)
        Which of the box's pixels they are the edges of.
    index : tensor, shape (E,)
        Which of the box's edges they are.
    horizontal, across : tensors, shape (E,)
        1 for horizontal ones, 0 for others, and the distance of the edge's line from the centre,
        with its sign.
    counts : list of (int, int)
        How many edges, in a row, have how many nodes.
    x, y, weight : tensors, shape (N,)
        Nodes, and their weights in pixels.
    """

    active: torch.Tensor
    index: torch.Tensor
    horizontal: torch.Tensor
    across: torch.Tensor
    counts: list[tuple[int, int]]
    x: torch.Tensor
    y: torch.Tensor
    weight: torch.Tensor

    @classmethod
    @torch.no_grad()
    def about(
        cls,
        active: torch.Tensor,
        offset: Sequence[Scalar],
        form: Metric,
        rule: Rule,
        end: Scalar | None = None,
    ) -> Edges:
        """Those of some of a box's pixels, about a centre.

        Where to choose among them would mean to wait for the device there are all of them, with as
        many nodes as any.

        Parameters
        ----------
        active : tensor of bool, shape (ny, nx)
            Which of the pixels are wanted.
        offset : (float, float)
            Of the centre (x, y) from the middle of the box's middle pixel, in pixels.
        end : float, optional
            Radius in arcsec at which edges are cut, as the light ends there.
        """
        (ny, nx), device, kind = active.shape, active.device, rule.nodes.dtype
        chosen = device.type == "cpu"
        if chosen:
            pad = torch.nn.functional.pad
            level = (pad(active, (0, 0, 1, 0)) | pad(active, (0, 0, 0, 1))).nonzero()
            upright = (pad(active, (1, 0)) | pad(active, (0, 1))).nonzero()
        else:
            level, upright = (
                torch.cartesian_prod(torch.arange(n, device=device), torch.arange(m, device=device))
                for n, m in ((ny + 1, nx), (ny, nx + 1))
            )
        index = torch.cat(
            [
                level[:, 0] * nx + level[:, 1],
                (ny + 1) * nx + upright[:, 0] * (nx + 1) + upright[:, 1],
            ]
        )
        y, x = torch.cat([level, upright]).to(kind).unbind(1)
        x, y = x - (nx // 2 + 0.5), y - (ny // 2 + 0.5)
        flag = torch.cat(
            [
                torch.ones(len(level), dtype=kind, device=device),
                torch.zeros(len(upright), dtype=kind, device=device),
            ]
        )
        x, y = x - offset[0], y - offset[1]
        groups = []
        if chosen and np.isfinite(rule.far):
            is_near = form.rho2(x + 0.5 * flag, y + 0.5 * (1 - flag)) < rule.far**2 * form.minor2
            far, near = (~is_near).nonzero()[:, 0], is_near.nonzero()[:, 0]
            fx, fy, ff = x[far, None], y[far, None], flag[far, None]
            along = ff * rule.nodes
            groups.append(
                (far, fx + along, fy + (rule.nodes - along), rule.weights.expand(len(far), -1))
            )
        else:
            near = torch.arange(len(index), device=active.device)
        groups += _crowded(near, x[near], y[near], flag[near], form, rule.near, end)
        order, at_x, at_y, weight = zip(*groups, strict=True)
        order = torch.cat(order)
        flat = [torch.cat([v.reshape(-1) for v in part]) for part in (at_x, at_y, weight)]
        flag, across = flag[order], torch.where(flag > 0, y, x)[order]
        return cls(active, index[order], flag, across, [tuple(v.shape) for v in at_x], *flat)

    def to_nodes(self, values: torch.Tensor) -> torch.Tensor:
        """A value an edge (E,) at its nodes (N,)."""
        parts, at = [], 0
        for edges, nodes in self.counts:
            parts.append(values[at : at + edges, None].expand(-1, nodes).reshape(-1))
            at += edges
        return torch.cat(parts)

    def from_nodes(self, values: torch.Tensor) -> torch.Tensor:
        """Sums over each edge's nodes, shape (..., E), of values (..., N)."""
        parts, at = [], 0
        for edges, nodes in self.counts:
            stop = at + edges * nodes
            parts.append(values[..., at:stop].unflatten(-1, (edges, nodes)).sum(-1))
            at = stop
        return torch.cat(parts, -1)

    def to_pixels(self, flux: torch.Tensor) -> torch.Tensor:
        """What flows out of each pixel, shape (..., ny, nx), from what flows through each edge
        (..., E).
        """
        ny, nx = self.active.shape
        split = (ny + 1) * nx
        every = flux.new_zeros(*flux.shape[:-1], split + ny * (nx + 1)).index_add(
            -1, self.index, flux
        )
        rows, cols = (
            every[..., :split].unflatten(-1, (ny + 1, nx)),
            every[..., split:].unflatten(-1, (ny, nx + 1)),
        )
        return (rows.diff(dim=-2) + cols.diff(dim=-1)) * self.active

    def from_pixels(self, grad: torch.Tensor) -> torch.Tensor:
        """The adjoint of `to_pixels`, for one image."""
        grad, pad = grad * self.active, torch.nn.functional.pad
        rows, cols = (
            pad(grad, (0, 0, 1, 0)) - pad(grad, (0, 0, 0, 1)),
            pad(grad, (1, 0)) - pad(grad, (0, 1)),
        )
        return torch.cat([rows.reshape(-1), cols.reshape(-1)]).index_select(0, self.index)


def _crowded(
    own: torch.Tensor,
    x: torch.Tensor,
    y: torch.Tensor,
    flag: torch.Tensor,
    form: Metric,
    near: Sequence[tuple[float, torch.Tensor, torch.Tensor]],
    end: Scalar | None,
) -> list[tuple[torch.Tensor, ...]]:
    """Edges `own` that begin at x and y from the centre, and nodes on them that crowd towards it:
    by number of nodes k, which they are (E,), their nodes' x and y, and weights, shapes (E, k).
    """
    along, across = torch.where(flag > 0, x, y), torch.where(flag > 0, y, x)
    scale2 = flag * form.xx + (1 - flag) * form.yy
    # on its line, from the place nearest to the centre, an edge runs from s to s + 1 at a distance
    # d, in pixels
    s, d = (
        along + across * (form.xy / scale2),
        (across.abs() * (form.area / scale2)).clamp(min=NEAREST),
    )
    begin, stop, fixed = torch.asinh(s / d), torch.asinh((s + 1) / d), own.device.type != "cpu"
    part = torch.arange(len(own), device=own.device)
    if end is not None:
        cut = torch.acosh((end / (scale2.sqrt() * d)).clamp(min=1.0))
        marks = [
            begin,
            torch.maximum(torch.minimum(-cut, stop), begin),
            torch.maximum(torch.minimum(cut, stop), begin),
            stop,
        ]
        begin, stop, part = torch.cat(marks[:-1]), torch.cat(marks[1:]), part.repeat(3)
    half, middle, groups, least = (stop - begin) / 2, (stop + begin) / 2, [], 0.0
    for most, node, weight in near[-1:] if fixed else near:
        of = slice(None) if fixed else ((2 * half > least) & (2 * half <= most)).nonzero()[:, 0]
        least, k = most, part[of]
        if not len(k) and groups:
            continue
        h, nearest = half[of, None], d[k, None]
        at = nearest * torch.sinh(middle[of, None] + h * node)
        step = at - s[k, None]
        groups.append(
            (
                own[k],
                x[k, None] + step * flag[k, None],
                y[k, None] + step * (1 - flag[k, None]),
                torch.sqrt(at * at + nearest * nearest) * (h * weight),
            )
        )
    return groups


# -- the core --------------------------------------------------------------------------------------
class PixelBox(Box):
    """What cores without a PSF share: the pixels of their box that are seen, and how these are
    added to an image.

    Parameters
    ----------
    source : Extended
    image, frame, plan, jacobian, shape, dtype, device
        See `Box`; the plan is the source's.
    taper : Taper, optional
        What splits the core off; None: all of the source is core.
    """

    extended = True

    def __init__(
        self,
        source: Any,
        image: Image,
        frame: Frame,
        plan: Any,
        jacobian: np.ndarray,
        taper: Taper | None,
        shape: tuple[int, int],
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        super().__init__(image, frame, plan.pixel, jacobian, shape, dtype, device)
        self.source, self.plan, self.taper = source, plan, taper
        # far out the flows through a pixel's edges nearly cancel: in double precision, whatever the
        # image's
        self.kind = torch.float32 if device.type == "mps" else torch.float64
        self._jacobian = jacobian.tolist()
        self._y, self._x = (o.to(self.kind) for o in self.offsets)

    def _active(
        self, places: Places, offset: Sequence[Scalar], form: Metric, radius: Scalar
    ) -> torch.Tensor:
        """Pixels of the box that lie in the image and that light within a radius falls on, shape
        (ny, nx); all of them where that would mean to wait for the device.
        """
        if places.cut is None:
            return torch.ones(self.n, dtype=torch.bool, device=self.inverse.device)
        rows, cols = places.cut[1]
        active = torch.zeros(self.n, dtype=torch.bool)
        x, y = self._x[cols] - offset[0], self._y[rows, None] - offset[1]
        active[rows, cols] = form.rho2(x, y) < (radius + 0.5 * (form.xx**0.5 + form.yy**0.5)) ** 2
        return active

    def _moved(
        self, p: torch.Tensor, at: Sequence[Scalar]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """The box's flat places in the image, which of them lie in it, and, with its graph, how far
        the source is from `at` (x, y): by nothing.
        """
        flat, inside, offset = self._indices(p)
        still = torch.stack([torch.as_tensor(v, dtype=self.kind, device=p.device) for v in at])
        return flat, inside, *(offset.to(self.kind) - still).unbind()

    @staticmethod
    def _beside(places: Places) -> bool:
        """Whether the box lies beside the image, as far as that is known."""
        return places.cut is not None and any(s.stop <= s.start for s in places.cut[0])


class EdgeStamp(PixelBox):
    """The core of one radial source in one image without PSF: `Stamp`'s methods."""

    def __init__(
        self,
        source: Any,
        image: Image,
        frame: Frame,
        plan: Any,
        jacobian: np.ndarray,
        taper: Taper | None,
        *args: Any,
    ) -> None:
        super().__init__(source, image, frame, plan, jacobian, taper, *args)
        device = self.inverse.device
        self.table = (EndingTable if taper is None else RadialTable)(
            source, taper, plan.fine, self.kind, device
        )
        far, near = (np.inf, NODES_OF_ENDS) if taper is None else (FAR, NODES)
        self._rule = Rule.of(far, NODES_FAR, near, plan.fine, self.kind, device)

    def _edges(
        self, places: Places, offset: Sequence[Scalar], form: Metric, radius: Scalar
    ) -> Edges:
        active = self._active(places, offset, form, radius)
        return Edges.about(active, offset, form, self._rule, radius if self.taper is None else None)

    def _find(
        self, rho2: torch.Tensor, radius: Scalar
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Interval of the table, how far along it, and what g falls by beyond its end, where all
        light is inside.
        """
        ratio = rho2 / radius**2 + TINY
        place = ratio.clamp(max=1.0).sqrt().sqrt().sqrt() * self.table.count
        i = place.detach().long().clamp(min=0, max=self.table.count - 1)
        return i, place - i, 1 / ratio.clamp(min=1.0)

    @staticmethod
    def _read(
        found: tuple[torch.Tensor, ...], g: torch.Tensor, slope: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Values of tables (..., K + 1) at what `_find` gave, and how they change along them."""
        i, f, far = found
        lo, hi, rise, fall = (
            t.index_select(-1, k) for t, k in ((g, i), (g, i + 1), (slope, i), (slope, i + 1))
        )
        step = hi - lo
        c2, c3 = 3 * step - 2 * rise - fall, rise + fall - 2 * step
        return (lo + f * (rise + f * (c2 + f * c3))) * far, (rise + f * (2 * c2 + 3 * f * c3)) * far

    # -- plain autograd ----------------------------------------------------------------------------
    def add(self, canvas: torch.Tensor, p: torch.Tensor, flux: torch.Tensor) -> torch.Tensor:
        """Return a flat canvas (ny * nx,) with the core added. Plain autograd; nodes stay where
        they are on the image.
        """
        places, at = self._where(p.detach())
        if self._beside(places):
            return canvas
        _, _, q, pa, *params = p.to(self.kind).unbind()
        radius, g, slope = self.table.plain(params)
        still = numbers(p.detach().to(self.kind))
        fixed = radius if isinstance(radius, float) else numbers(radius.detach()[None])[0]
        e = self._edges(places, at, Metric.of(self._jacobian, *still[2:4]), fixed)
        flat, inside, dx, dy = self._moved(p, at)
        form = Metric.of(self._jacobian, q, pa)
        g = self._read(self._find(form.rho2(e.x - dx, e.y - dy), radius), g, slope)[0]
        across = e.across - e.horizontal * dy - (1 - e.horizontal) * dx
        box = e.to_pixels(e.from_nodes(e.weight * g) * across) * (form.area * flux)
        return canvas.index_add(0, flat, (box.to(canvas.dtype) * inside).reshape(-1))

    # -- without a graph ---------------------------------------------------------------------------
    def _at(self, p: torch.Tensor) -> tuple[Places, Sequence[Scalar], Metric]:
        return *self._where(p), Metric.of(self._jacobian, *numbers(p[2:4].to(self.kind)))

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
        places, offset, form = self._at(p)
        if self._beside(places):
            return places, None
        radius, *table, kept = self.table.draw(p[4:].to(self.kind), slopes)
        e = self._edges(places, offset, form, radius)
        rho2, places = form.rho2(e.x, e.y), places.seen_from(origin)
        found = self._find(rho2, radius)
        g, slope = self._read(found, *table)
        places.put(
            canvas,
            e.to_pixels(e.from_nodes(e.weight * g) * (e.across * form.area)).to(canvas.dtype),
            flux,
        )
        return places, (e, form, rho2 + TINY * radius**2, found, g, slope, kept) if slopes else None

    def adjoint(
        self, grad: torch.Tensor, flux: torch.Tensor, drawn: tuple[Any, ...]
    ) -> torch.Tensor:
        """Gradient by (*p, flux) of a sum over the image weighted by `grad` (ny, nx)."""
        places, kept = drawn
        if kept is None:
            return grad.new_zeros(5 + len(self.source.light_params))
        e, form, rho2, (i, f, far), g, slope, kept = kept
        bare = (
            e.to_nodes(e.from_pixels(places.take(grad, self.n).to(self.kind)) * form.area)
            * e.weight
        )
        pull = bare * e.to_nodes(e.across)
        # by the table: Hermite's weights
        w, n = pull * far, self.table.count + 1
        upper, ends = f * f * (3 - 2 * f) * w, f * (1 - f) * w
        values = w.new_zeros(n).index_add_(0, i, w - upper).index_add_(0, i + 1, upper)
        steep = w.new_zeros(n).index_add_(0, i, ends * (1 - f)).index_add_(0, i + 1, ends * -f)
        along = pull * slope * (i + f)  # the place in the table goes as rho^(1/4)
        profile = self.table.adjoint(kept, values, steep, -0.25 * along.sum())
        # by rho² at each node, and so by the centre and the quadratic form; edges stay, so that the
        # centre also moves away from their lines
        bend, flow = along / (8 * rho2), bare * g
        bx, by = bend * e.x, bend * e.y
        sums = [
            bx.sum(),
            by.sum(),
            bx.dot(e.x),
            bx.dot(e.y),
            by.dot(e.y),
            flow.dot(e.to_nodes(e.horizontal)),
            flow.sum(),
            pull.dot(g),
            *profile,
        ]
        sx, sy, sxx, sxy, syy, rows, every, total, *profile = numbers(torch.stack(sums))
        cx = -2 * (form.xx * sx + form.xy * sy) - (every - rows)
        cy = -2 * (form.xy * sx + form.yy * sy) - rows
        (ix, iy), (jx, jy) = self._numbers[0] if grad.device.type == "cpu" else self.inverse
        (ux, uy, vx, vy), q = form.axes, form.q
        by_q = -(2 * (vx * vx * sxx + 2 * vx * vy * sxy + vy * vy * syy) + total) / q
        by_pa = (
            (q - 1 / q)
            * (torch.pi / 90)
            * (ux * vx * sxx + (ux * vy + uy * vx) * sxy + uy * vy * syy)
        )
        out = pack([cx * ix + cy * jx, cx * iy + cy * jy, by_q, by_pa, *profile, total], grad)
        out[:-1] *= flux
        return out

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
        places, offset, form = self._at(p)
        if self._beside(places):
            return
        radius, *tables, growth = self.table.columns(p[4:].to(self.kind))
        e = self._edges(places, offset, form, radius)
        rho2, places = form.rho2(e.x, e.y), places.seen_from(origin)
        found = self._find(rho2, radius)
        g, slope = self._read(found, *tables)
        along = slope[0] * (found[0] + found[1])
        if growth is not None:
            g[1:] -= 0.25 * growth[:, None] * along
        bend, q = e.weight * along / (8 * (rho2 + TINY * radius**2)), form.q
        u, v = form.place(e.x, e.y)
        by = [
            -2 * (form.xx * e.x + form.xy * e.y),
            -2 * (form.xy * e.x + form.yy * e.y),
            v * v * (-2 / q),
            u * v * ((q - 1 / q) * (torch.pi / 90)),
        ]
        edges = e.from_nodes(torch.cat([bend * torch.stack(by), e.weight * g]))
        flow = edges[4].clone()
        edges *= e.across
        edges[0] -= (1 - e.horizontal) * flow
        edges[1] -= e.horizontal * flow
        edges[2] -= edges[4] / q
        boxes = (
            e.to_pixels(
                torch.cat(
                    [self.inverse.to(self.kind).T @ edges[:2], edges[2:4], edges[5:], edges[4:5]]
                )
            )
            * form.area
        )
        boxes[:-1] *= flux
        if weight is not None:
            boxes *= places.take(weight, self.n)
        places.put(canvas, boxes.to(canvas.dtype), None)
