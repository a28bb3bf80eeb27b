r"""Linear: fluxes and skies given everything else, which is a Gaussian in closed form where their priors are Normal.

With the images of unit amplitude as columns U (in units of the noise), residuals r at reference amplitudes a0, and a Normal prior
of mean m and precision P, the amplitudes that are left follow :math:`N(a_0 + A^{-1} b, A^{-1})` with :math:`A = U^T U + P` and
:math:`b = U^T r + P (m - a_0)`; integrated out they leave
:math:`-\frac12 (r^T r + (m-a_0)^T P (m-a_0) - b^T A^{-1} b + \ln\det A - \ln\det P)` (e.g. Hogg, Price-Whelan & Leistedt 2020, arXiv:2005.14199).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bayesjoint.scene.amplitudes import Amplitudes, amplitudes, pull
from bayesjoint.sky.priors import SoftPositive

if TYPE_CHECKING:
    from bayesjoint.scene.scene import Scene

__all__ = ["Linear", "gather", "leads", "linear_sites", "soft_mode"]

FAR_INSIDE = 8.0
"""Softnesses above 0 from which on the edge of a non-negative flux is not felt."""
NEWTON_STEPS = 30


def linear_sites(scene: Scene) -> list[int]:
    """Sites on which every image depends linearly and whose prior is Normal, or a wide Normal with a soft edge at 0 (`SoftPositive`).

    These are fluxes, sky levels and slopes. There are none where noise is not Gaussian.
    """
    if not all(term.noise.linear for term in scene.likelihoods):
        return []
    wanted = [i for i, s in enumerate(scene.layout.sites) if s.spec.unit in ("flux", "image") and type(s.prior).__name__ in ("Normal", "SoftPositive")]
    if not scene.links:
        return wanted
    units = {(c.name, s.name): s.unit for c in scene.components for s in c.specs}
    bent = [place for (c, p, _), place in scene.layout.index.items() if units[c, p] not in ("flux", "image")]
    return scene.links.steady(wanted, bent)


def leads(scene: Scene, full: torch.Tensor, linear: list[int]) -> torch.Tensor:
    """How the full vector changes with some sites, all else as it is: shape (full, m), float64."""
    if scene.links:
        return scene.links.slopes(full[: scene.layout.count])[:, linear].double()
    lead = torch.zeros(len(full), len(linear), dtype=torch.float64, device=full.device)
    lead[linear, torch.arange(len(linear), device=full.device)] = 1.0
    return lead


def gather(
    scene: Scene, full: torch.Tensor, lead: torch.Tensor, slopes: bool = True
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, list[Amplitudes]]:
    """Sums over the images of U^T U, shape (m, m), U^T r (m,) and r^T r, at the values of `full`, for sites by which it changes as `leads` says;
    and each image's own.
    """
    m = lead.shape[1]
    h = torch.zeros(m, m, dtype=torch.float64, device=full.device)
    g, chi2, parts = h.new_zeros(m), h.new_zeros(()), []
    for term in scene.likelihoods:
        a = amplitudes(term, full, lead, slopes)
        h += a.lead.T @ a.gram @ a.lead
        g += a.lead.T @ a.rhs
        chi2 = chi2 + a.chi2
        parts.append(a)
    return h, g, chi2, parts


class Linear:
    """The density of a scene without its linear sites, and theirs given the others.

    Parameters
    ----------
    scene : Scene
    reference : tensor, shape (n,)
        Values about which amplitudes are counted, for the sake of rounding.

    Attributes
    ----------
    sites, rest : list of int
        Places in the flat vector of the linear sites, and of the others.
    softness : tensor, shape (m,)
        Of the edge at 0 that the prior of a non-negative flux has; NaN where the prior is Normal.
    """

    def __init__(self, scene: Scene, reference: torch.Tensor) -> None:
        self.scene, self.sites = scene, linear_sites(scene)
        self.rest = [i for i in range(len(scene.names)) if i not in set(self.sites)]
        priors = [scene.chart.priors[i] for i in self.sites]
        double = {"dtype": torch.float64, "device": scene.device}
        soft = [isinstance(p, SoftPositive) for p in priors]
        self.mean = torch.tensor([0.0 if s else float(p.loc) for p, s in zip(priors, soft, strict=True)], **double)
        width = [float(p.width if s else p.scale) for p, s in zip(priors, soft, strict=True)]
        self.precision = torch.tensor(width, **double) ** -2
        softness = [float(p.softness) if s else math.nan for p, s in zip(priors, soft, strict=True)]
        self.softness = torch.tensor(softness, **double)
        self.soft = torch.tensor([k for k, s in enumerate(soft) if s], dtype=torch.int64, device=scene.device)
        self.a0 = reference[self.sites].detach().double()
        self.lead = leads(scene, scene.full(reference.detach()), self.sites)  # the same everywhere
        self.places = torch.tensor(self.sites, dtype=torch.int64, device=scene.device)
        self.index = torch.tensor(self.rest, dtype=torch.int64, device=scene.device)
        self.start = scene.chart.unconstrain(reference.detach())
        self.start[self.sites] = self.mean.to(scene.dtype)

    def embed(self, z: torch.Tensor) -> torch.Tensor:
        """The whole flat vector, of the others' z and the linear sites at their prior's mean."""
        return self.start.index_copy(0, self.index, z)

    def log_factor(self, amplitudes: torch.Tensor) -> torch.Tensor:
        """What the edges of non-negative fluxes add to the log prior of amplitudes (..., m): shape (...).

        It is the sum of ln 2 Phi(f/s): the integrals above are without it.
        """
        soft = amplitudes.index_select(-1, self.soft) / self.softness[self.soft]
        return (torch.special.log_ndtr(soft) + math.log(2)).sum(-1)

    def solve(self, full: torch.Tensor, slopes: bool = True) -> Solution:
        """The linear sites' Gaussian at the values `full`; theirs are what it is counted from, for the sake of rounding.

        Raises
        ------
        torch.linalg.LinAlgError
            Where nothing tells two of them apart.
        """
        return Solution(self, full.detach(), *gather(self.scene, full.detach(), self.lead, slopes))

    def log_density(self, z: torch.Tensor) -> torch.Tensor:
        """Log of the density of the other sites' flat coordinates (k,), linear sites integrated out; with all constants; differentiable."""
        return self.evaluate(z)[0]

    def evaluate(self, z: torch.Tensor) -> tuple[torch.Tensor, Solution]:
        """`log_density`, and the linear sites' Gaussian there (without pixels)."""
        whole, found = self.embed(z), []
        theta, t = self.scene.chart.values(whole)
        # at its mean the prior of each counts (P / 2 pi)^(1/2), and the integral over it (2 pi / A)^(1/2)
        offset = 0.5 * np.log(2 * np.pi) * len(self.sites)
        prior = self.scene.chart.log_prior(whole, theta, t) + offset
        theta = theta.index_copy(0, self.places, self.a0.to(theta.dtype))
        value = prior + _Marginal.apply(self.scene.full(theta), self, found)
        return value, found[0]

    def profile(self, z: torch.Tensor) -> tuple[torch.Tensor, float]:
        """The whole flat vector with the linear sites where the log density is highest, given the others in it, and that log density."""
        s = self.solve(self.scene.full(self.scene.chart.values(z)[0]), slopes=False)
        best, mode = z.clone(), s.mode()
        best[self.sites] = mode.to(z.dtype)
        prior = float(self.scene.log_prior(best))
        return best, prior + float(s.log_likelihoods(mode).sum())


class Solution:
    """The Gaussian of the linear sites at one place of the others."""

    def __init__(self, linear: Linear, full: torch.Tensor, h: torch.Tensor, g: torch.Tensor, chi2: torch.Tensor, parts: list[Amplitudes]) -> None:
        self.linear, self.full, self.parts = linear, full, parts
        self.a0 = a0 = full[linear.sites].double()
        off = linear.mean - a0
        self.precision = a = h + torch.diag(linear.precision)
        # in units of each amplitude's own precision: fluxes and skies differ by many powers of ten
        self.scale = torch.diagonal(a).rsqrt()
        self.factor = torch.linalg.cholesky(a * self.scale[:, None] * self.scale)
        b = (g + linear.precision * off) * self.scale
        half = torch.linalg.solve_triangular(self.factor, b[:, None], upper=False)[:, 0]
        self.step = torch.linalg.solve_triangular(self.factor.T, half[:, None], upper=True)[:, 0] * self.scale
        self.mean = a0 + self.step
        logdet = 2 * torch.log(torch.diagonal(self.factor)).sum() - 2 * torch.log(self.scale).sum()
        self.value = sum(a.level for a in parts) - 0.5 * (chi2 + (linear.precision * off * off).sum() - half @ half + logdet)

    def mode(self) -> torch.Tensor:
        """Amplitudes (m,) of the highest density: the mean, unless non-negative fluxes are held up by their edges."""
        soft, softness = self.linear.soft, self.linear.softness[self.linear.soft]
        if not len(soft) or bool((self.mean[soft] > FAR_INSIDE * softness).all()):
            return self.mean
        return soft_mode(self.precision, self.mean, soft, softness)

    def covariance(self) -> torch.Tensor:
        """Of the linear sites, shape (m, m)."""
        return torch.cholesky_inverse(self.factor) * self.scale[:, None] * self.scale

    def draw(self, noise: torch.Tensor) -> torch.Tensor:
        """Amplitudes (m,) from unit Normal numbers (m,)."""
        return self.mean + torch.linalg.solve_triangular(self.factor.T, noise[:, None], upper=True)[:, 0] * self.scale

    def log_likelihoods(self, amplitudes: torch.Tensor) -> torch.Tensor:
        """Log likelihood of each image at amplitudes (m,), without drawing it again."""
        return torch.stack([a.level - 0.5 * a.chi2_at(amplitudes - self.a0) for a in self.parts])

    def keep(self) -> Solution:
        """Let go of pixels: `draw` and `log_likelihoods` need none."""
        self.parts = [a.without_pixels() for a in self.parts]
        return self

    def slope(self) -> torch.Tensor:
        """Gradient of `value` by the full vector, apart from the linear sites themselves."""
        covariance = self.covariance()
        return sum(pull(term, self.full, a, self.step, covariance) for term, a in zip(self.linear.scene.likelihoods, self.parts, strict=True))


def soft_mode(
    precision: torch.Tensor, mean: torch.Tensor, soft: torch.Tensor, softness: torch.Tensor
) -> torch.Tensor:
    """Where a Gaussian times Phi(x/s) of some coordinates is highest; the logarithm is concave.

    Parameters
    ----------
    precision, mean : tensors, shape (m, m) and (m,)
        Of the Gaussian.
    soft : tensor of int, shape (k,)
        Which coordinates have an edge.
    softness : tensor, shape (k,)
        Their s.
    """
    # first the edges as walls, at one softness: fluxes below go there, one after the other as needed
    x = mean.clone()
    held = torch.zeros_like(mean, dtype=torch.bool)
    floor = torch.zeros_like(mean).index_copy(0, soft, softness)
    for _ in range(len(soft)):
        low = (x[soft] < softness) & ~held[soft]
        if not bool(low.any()):
            break
        held[soft[low]] = True
        free = ~held
        x = torch.where(held, floor, mean)
        if bool(free.any()):
            pull = precision[free][:, held] @ (floor - mean)[held]
            x[free] = mean[free] - torch.linalg.solve(precision[free][:, free], pull)
    # then Newton's steps on the density itself, halved where they overshoot

    def value(x: torch.Tensor) -> torch.Tensor:
        off = x - mean
        return -0.5 * off @ precision @ off + torch.special.log_ndtr(x[soft] / softness).sum()

    now = value(x)
    for _ in range(NEWTON_STEPS):
        u = x[soft] / softness
        rate = torch.exp(-0.5 * u * u - 0.5 * math.log(2 * math.pi) - torch.special.log_ndtr(u))
        gradient = -precision @ (x - mean)
        gradient[soft] += rate / softness
        curvature = precision.clone()
        curvature[soft, soft] += rate * (u + rate) / softness**2
        scale = torch.diagonal(curvature).rsqrt()
        scaled = curvature * scale[:, None] * scale
        step = torch.linalg.solve(scaled, gradient * scale) * scale
        gain = float(gradient @ step)
        if not gain > 1e-9:
            break
        part = 1.0
        while part > 1e-3 and not float(then := value(x + part * step)) > float(now):
            part *= 0.5
        if part <= 1e-3:
            break
        x, now = x + part * step, then
    return x


class _Marginal(torch.autograd.Function):
    """The likelihood's part of `Linear.log_density`, with its gradient found in the forward pass."""

    @staticmethod
    def forward(ctx: Any, full: torch.Tensor, linear: Linear, found: list[Solution]) -> torch.Tensor:
        s = linear.solve(full.detach(), slopes=ctx.needs_input_grad[0])
        if ctx.needs_input_grad[0]:
            ctx.save_for_backward(s.slope())
        found.append(s.keep())
        return s.value

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return grad * ctx.saved_tensors[0], None, None
