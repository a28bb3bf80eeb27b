r"""Chart: the map between the flat unconstrained vector z and the sites' values, with its Jacobian and the log prior.

Sites on the whole line are themselves; positive ones are exponentials. An axis ratio and position angle that both have their
default priors share the ellipticity plane :math:`e = -\ln q\,(\cos 2\,\mathrm{pa}, \sin 2\,\mathrm{pa})`, where a round galaxy is an
ordinary point; the size of such a source is then carried by :math:`\ln(r_\mathrm{eff} \sqrt q)`, which (unlike the semi-major axis)
is smooth there (what is left is a cone in the prior of the semi-major axis, of slope below 1). A Normal or LogNormal that is cut at bounds is
Normal in its coordinate all the same (`bayesjoint.sky.priors.TruncatedNormal`). Intervals are mapped by the Normal's distribution
function, all other priors by `torch.distributions.biject_to` of their support.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import log_ndtr
from torch.distributions import Distribution, LogNormal, Normal
from torch.distributions.transforms import ExpTransform, identity_transform

from bayesjoint.scalar import columns_of
from bayesjoint.scene.layout import Layout, Site
from bayesjoint.sky.priors import (
    Angle,
    AxisRatio,
    SoftPositive,
    TruncatedLine,
    TruncatedNormal,
    line_to,
    recast,
)

__all__ = ["Chart"]

TINY = 1e-24
LARGEST = 80.0
"""Logarithm beyond which a value stays where it is: a sampler's trial may run that far, and neither 0 nor infinity can be rendered."""


class Chart:
    """The chart of a layout, on a dtype and device.

    Parameters
    ----------
    layout : Layout
        The sites.
    """

    def __init__(self, layout: Layout, dtype: torch.dtype, device: torch.device) -> None:
        self.sites, self.dtype, self.device = layout.sites, dtype, device
        self.priors: list[Distribution] = [recast(s.prior, dtype, device) for s in layout.sites]
        count = len(self.sites)
        pairs = _ellipses(layout)
        joined = {i for pair in pairs for i in pair[:2]}
        self.other: list[tuple[int, torch.distributions.Transform]] = []
        positive = np.zeros(count, bool)
        angle = np.zeros(count, bool)
        loc, scale, normal = np.zeros(count), np.ones(count), np.zeros(count, bool)
        cut: list[int] = []
        soft: list[int] = []
        const = 0.0
        for i, site in enumerate(self.sites):
            prior = site.prior
            if i in joined:
                if isinstance(prior, AxisRatio):
                    continue
                const -= math.log(2 * math.pi)
                k = next(p[0] for p in pairs if p[1] == i)
                normal[[i, k]], scale[[i, k]] = True, float(self.sites[k].prior.scale)
                const -= 2 * math.log(scale[i])
                continue
            transform = line_to(prior)
            if isinstance(prior, Angle):
                angle[i] = True
                const -= math.log(float(prior.period))
            elif type(prior).__name__ in ("Normal", "LogNormal") and isinstance(prior, Normal | LogNormal):
                normal[i], loc[i], scale[i] = True, float(prior.loc), float(prior.scale)
                positive[i] = isinstance(prior, LogNormal)
                const -= math.log(scale[i]) + 0.5 * math.log(2 * math.pi)
            elif isinstance(prior, TruncatedNormal):
                normal[i], loc[i], scale[i] = True, float(prior.loc), float(prior.scale)
                positive[i] = prior.log_scale
                cut.append(i)
                const -= math.log(scale[i]) + 0.5 * math.log(2 * math.pi)
            elif isinstance(prior, SoftPositive):
                normal[i], scale[i] = True, float(prior.width)
                soft.append(i)
                const -= math.log(scale[i]) - 0.5 * math.log(2 / math.pi)
            elif transform is identity_transform or isinstance(transform, ExpTransform):
                positive[i] = isinstance(transform, ExpTransform)
                self.other.append((i, None))
            else:
                self.other.append((i, recast(transform, dtype, device)))
        round_sizes = [(r, p[0]) for p in pairs for r in p[2] if positive[r]]

        def tensor(v: object, kind: torch.dtype = dtype) -> torch.Tensor:
            return torch.as_tensor(v, dtype=kind).to(device)

        def index(v: Sequence[int]) -> torch.Tensor:
            return tensor(np.asarray(v, dtype=np.int64), torch.int64)

        self.positive, self.angle = tensor(positive, torch.bool), tensor(angle, torch.bool)
        self.any_angle = bool(angle.any())
        self.loc, self.inverse_scale, self.const = tensor(loc), tensor(np.where(normal, 1 / scale, 0.0)), const
        self.q, self.pa = index([p[0] for p in pairs]), index([p[1] for p in pairs])
        self.size, self.size_q = index([r for r, _ in round_sizes]), index([[p[0] for p in pairs].index(k) for _, k in round_sizes])
        self.pairs = pairs
        self.cut = index(cut)
        ends = [[float(getattr(self.sites[i].prior, k)) for i in cut] for k in ("low", "high")]
        log_scale = tensor(positive[cut], torch.bool)
        self.line = _Cut(self.loc[self.cut], 1 / self.inverse_scale[self.cut], *map(tensor, ends), log_scale)
        self.soft = index(soft)
        self.softness = tensor([float(self.sites[i].prior.softness) for i in soft])
        # the same on this side of Python's fence: a gradient through fifty operations on ten numbers takes longer than the numbers
        self._here = None
        if self.device.type == "cpu" and not self.other:
            plain = ~np.isin(np.arange(count), [i for p in pairs for i in p[:2]])
            self._here = _Here(
                positive=np.flatnonzero(positive & plain),
                straight=np.flatnonzero(~positive & plain),
                angle=np.flatnonzero(angle),
                **{
                    k: getattr(self, k).numpy()
                    for k in ("loc", "inverse_scale", "q", "pa", "size", "size_q", "cut", "soft", "softness")
                },
                line=self.line,
            )

    # -- z to values --------------------------------------------------------------------------------------------------
    def values(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Values of the sites, and the coordinates in which the default priors are Normal; both shape (n,)."""
        t = z
        if self.pairs:
            e1, e2 = z.index_select(0, self.q), z.index_select(0, self.pa)
            eta = torch.sqrt(e1 * e1 + e2 * e2 + TINY)
            if len(self.size):
                t = t.index_add(0, self.size, 0.5 * eta.index_select(0, self.size_q))
        within = self.within(t)
        theta = torch.where(self.positive, torch.exp(torch.where(self.positive, within.clamp(-LARGEST, LARGEST), 0.0)), within)
        if self.any_angle:
            theta = torch.where(self.angle, torch.remainder(theta, 180.0), theta)
        if self.pairs:
            angle = torch.remainder(torch.rad2deg(torch.atan2(e2, e1)) / 2, 180.0)
            theta = theta.index_copy(0, self.q, torch.exp(-eta.clamp(max=LARGEST))).index_copy(0, self.pa, angle)
        for i, transform in self.other:
            if transform is not None:
                theta = theta.index_copy(0, torch.full((1,), i, device=self.device), transform(z[i : i + 1]))
        return theta, t

    def within(self, t: torch.Tensor) -> torch.Tensor:
        """Coordinates `t` with those of priors that are cut moved within their bounds: a value or its logarithm."""
        if not len(self.cut):
            return t
        return t.index_copy(0, self.cut, self.line.within(t.index_select(0, self.cut)))

    def scored(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, Callable[[torch.Tensor], torch.Tensor]]:
        """Values of the sites, log prior, and what makes gradients, all without a graph.

        Returns
        -------
        theta, log_prior : tensors, shape (n,) and ()
        pull : callable
            From the gradient of a function by the values, the gradient by z of that function plus the log prior.
        """
        if self._here is not None:
            theta, lp, pull = self._here.scored(z.detach().numpy(), self.const)
            return torch.from_numpy(theta), torch.as_tensor(lp, dtype=self.dtype), lambda g: torch.from_numpy(pull(g.numpy()))
        x = z.detach().requires_grad_(True)
        with torch.enable_grad():
            theta, t = self.values(x)
            lp = self.log_prior(x, theta, t)
        return theta.detach(), lp.detach(), lambda g: torch.autograd.grad((theta, lp), x, (g, torch.ones_like(lp)))[0]

    def slopes(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Derivatives by z of the values, and of the coordinates in which default priors are Normal; both shape (n, n)."""
        z = z.detach()
        theta, t = self.values(z)
        coordinates = torch.eye(len(z), dtype=z.dtype, device=z.device)
        if self.pairs:
            e1, e2 = z.index_select(0, self.q), z.index_select(0, self.pa)
            eta = torch.sqrt(e1 * e1 + e2 * e2 + TINY)
            for to, e in ((self.q, e1), (self.pa, e2)):
                coordinates[self.size, to[self.size_q]] = 0.5 * (e / eta)[self.size_q]
        rate = torch.where(self.positive, torch.where(self.within(t).abs() <= LARGEST, theta, 0.0), 1.0)
        if len(self.cut):
            rate[self.cut] *= self.line.rate(t[self.cut])
        values = coordinates * rate[:, None]
        if self.pairs:
            values[self.q, self.q] = values[self.pa, self.pa] = 0.0
            falls, turn = torch.where(eta <= LARGEST, -theta[self.q] / eta, 0.0), math.degrees(0.5) / eta**2
            for to, e, turned in ((self.q, e1, -e2), (self.pa, e2, e1)):
                values[self.q, to], values[self.pa, to] = falls * e, turn * turned
        for i, transform in self.other:
            if transform is not None:
                values[i, i] = columns_of(transform, z[i : i + 1])[1][0, 0]
        return values, coordinates

    def log_prior(self, z: torch.Tensor, theta: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """Log prior density of z: the sites' log prior plus log |d theta / d z|."""
        r = (t - self.loc) * self.inverse_scale
        total = self.const - 0.5 * (r * r).sum()
        if len(self.soft):
            total = total + torch.special.log_ndtr(theta.index_select(0, self.soft) / self.softness).sum()
        for i, transform in self.other:
            total = total + self._one(i, transform, z[i], theta[i])
        return total

    def _one(self, i: int, transform: object, z: torch.Tensor, theta: torch.Tensor) -> torch.Tensor:
        lp = self.priors[i].log_prob(theta)
        if transform is not None:
            return lp + transform.log_abs_det_jacobian(z, theta)
        return lp + torch.where(self.positive[i], torch.log(torch.where(self.positive[i], theta, 1.0)), 0.0)

    # -- values to z --------------------------------------------------------------------------------------------------
    def unconstrain(self, theta: torch.Tensor) -> torch.Tensor:
        """Flat vector of the sites' values; NaN where a value has none."""
        z = torch.where(self.positive, torch.log(torch.where(self.positive, theta, 1.0)), theta)
        if len(self.cut):
            z = z.index_copy(0, self.cut, self.line.beyond(z.index_select(0, self.cut)))
        if self.pairs:
            eta, angle = -torch.log(theta[self.q]), torch.deg2rad(2 * theta[self.pa])
            eta = torch.where(eta < 0, torch.nan, eta)  # q > 1: else taken for 1 / q, turned by 90 degrees
            z = z.index_copy(0, self.q, eta * torch.cos(angle)).index_copy(0, self.pa, eta * torch.sin(angle))
            if len(self.size):
                z = z.index_add(0, self.size, -0.5 * eta.index_select(0, self.size_q))
        for i, transform in self.other:
            if transform is not None:
                z = z.index_copy(0, torch.full((1,), i, device=self.device), transform.inv(theta[i])[None])
        return z

    def bend(self, z: torch.Tensor, gradient: torch.Tensor, slope: torch.Tensor) -> torch.Tensor:
        """What the bounds of priors add to minus the second derivative of a function of the values, made positive: shape (n, n).

        Where data press against a bound the value saturates, and what Gauss and Newton leave away is all there is.

        Parameters
        ----------
        z : tensor, shape (n,)
            Where.
        gradient : tensor, shape (n,)
            Of the function, by the values.
        slope : tensor, shape (n, n)
            The second of `slopes`.
        """
        if not len(self.cut):
            return torch.zeros_like(slope)
        theta, t = self.values(z)
        by = gradient[self.cut] * torch.where(self.positive[self.cut], theta[self.cut], 1.0)
        more = torch.clamp(-by * self.line.curvature(t[self.cut]), min=0.0)
        rows = slope[self.cut]
        return rows.T @ (more[:, None] * rows)

    def precision(self, z: torch.Tensor, slope: torch.Tensor) -> torch.Tensor:
        """Minus the second derivative of `log_prior` by z, made positive: shape (n, n); `slope` is the second of `slopes`."""
        slope = slope * self.inverse_scale[:, None]
        h = torch.sparse.mm(slope.T.to_sparse(), slope)
        if len(self.soft):
            x = z[self.soft] / self.softness
            hazard = _hazard(x)
            h[self.soft, self.soft] += hazard * (x + hazard) / self.softness**2
        for i, transform in self.other:
            x = z[i].detach().clone().requires_grad_(True)
            theta = transform(x) if transform is not None else torch.exp(x) if bool(self.positive[i]) else x
            (g,) = torch.autograd.grad(self._one(i, transform, x, theta), x, create_graph=True)
            second = torch.autograd.grad(g, x, allow_unused=True)[0] if g.requires_grad else None
            if second is not None and torch.isfinite(second):
                h[i, i] += torch.clamp(-second, min=0.0)
        return h


class _Cut(TruncatedLine):
    """The transform of all priors that are cut, of those whose logarithm is Normal to the logarithm of the value."""

    def __init__(
        self, loc: torch.Tensor, scale: torch.Tensor, low: torch.Tensor, high: torch.Tensor, log_scale: torch.Tensor
    ) -> None:
        low, high = (torch.where(log_scale, torch.log(torch.where(log_scale, v, 1.0)), v) for v in (low, high))
        super().__init__(loc, scale, low, high, False)

    within = TruncatedLine._call
    beyond = TruncatedLine._inverse

    def rate(self, t: torch.Tensor) -> torch.Tensor:
        """Derivative of `within`."""
        return self.slope(t, t)

    def curvature(self, t: torch.Tensor) -> torch.Tensor:
        """Second derivative of `within`."""
        rate = self.rate(t)
        return rate * (self.cut(t) * rate - (t - self.loc) / self.scale) / self.scale


def _hazard(x: torch.Tensor) -> torch.Tensor:
    """Derivative of ln Phi(x)."""
    return torch.exp(-0.5 * x * x - 0.5 * math.log(2 * math.pi) - torch.special.log_ndtr(x))


@dataclass
class _Here:
    """`Chart.values` and `Chart.log_prior` with their gradient by hand, where default priors and Normals are all there is."""

    positive: np.ndarray
    straight: np.ndarray
    angle: np.ndarray
    loc: np.ndarray
    inverse_scale: np.ndarray
    q: np.ndarray
    pa: np.ndarray
    size: np.ndarray
    size_q: np.ndarray
    cut: np.ndarray
    soft: np.ndarray
    softness: np.ndarray
    line: _Cut

    def scored(self, z: np.ndarray, const: float) -> tuple[np.ndarray, float, Callable[[np.ndarray], np.ndarray]]:
        e1, e2 = z[self.q], z[self.pa]
        eta = np.sqrt(e1 * e1 + e2 * e2 + TINY)
        t = z.copy()
        t[self.size] += 0.5 * eta[self.size_q]
        theta = t.copy()
        rate = None
        if len(self.cut):
            own = torch.from_numpy(t[self.cut])
            theta[self.cut], rate = self.line.within(own).numpy(), self.line.rate(own).numpy()
        within = theta.copy()
        theta[self.positive] = np.exp(theta[self.positive].clip(-LARGEST, LARGEST))
        theta[self.angle] %= 180.0
        theta[self.q] = np.exp(-np.minimum(eta, LARGEST))
        theta[self.pa] = np.degrees(np.arctan2(e2, e1)) / 2 % 180.0
        r = (t - self.loc) * self.inverse_scale
        edge = log_ndtr(theta[self.soft] / self.softness)

        def pull(g: np.ndarray) -> np.ndarray:
            by = np.zeros_like(r)
            by[self.straight] = g[self.straight]
            by[self.positive] = np.where(
                abs(within[self.positive]) <= LARGEST, theta[self.positive] * g[self.positive], 0.0
            )
            if rate is not None:
                by[self.cut] *= rate
            by_t = by - r * self.inverse_scale
            x = theta[self.soft] / self.softness
            by_t[self.soft] += np.exp(-0.5 * x * x - 0.5 * math.log(2 * math.pi) - edge) / self.softness
            by_eta = np.where(eta <= LARGEST, -theta[self.q] * g[self.q], 0.0)
            np.add.at(by_eta, self.size_q, 0.5 * by_t[self.size])
            turn = np.degrees(0.5) * g[self.pa] / (eta * eta)
            by_t[self.q] += (by_eta * e1) / eta - turn * e2
            by_t[self.pa] += (by_eta * e2) / eta + turn * e1
            return by_t

        return theta, const - 0.5 * float(r @ r) + float(edge.sum()), pull


def _ellipses(layout: Layout) -> list[tuple[int, int, list[int]]]:
    """Pairs of sites (q, pa) that share the ellipticity plane, with the sizes that belong to them."""
    found: dict[tuple[int, int], list[int]] = {}
    taken: dict[int, tuple[int, int]] = {}
    sized: set[int] = set()
    for (component, parameter, image), i in layout.told.items():
        if parameter != "q" or i >= len(layout.sites):
            continue
        j = layout.told.get((component, "pa", image), len(layout.sites))
        if j >= len(layout.sites) or not _plane(layout.sites[i], layout.sites[j]):
            continue
        if any(taken.get(k, (i, j)) != (i, j) for k in (i, j)):
            continue  # a q or pa shared by two different ellipses: each keeps the first
        taken[i] = taken[j] = (i, j)
        sizes = found.setdefault((i, j), [])
        r = layout.told.get((component, "r_eff", image))
        if r is not None and r < len(layout.sites) and r not in sized:
            sizes.append(r)
            sized.add(r)
    return [(i, j, r) for (i, j), r in found.items()]


def _plane(q: Site, pa: Site) -> bool:
    return isinstance(q.prior, AxisRatio) and isinstance(pa.prior, Angle) and float(pa.prior.period) == 180.0
