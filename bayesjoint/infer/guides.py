"""Guides: families of distributions that SVI fits to a posterior, in coordinates where it is nearly a unit Normal; all begin as that."""

from __future__ import annotations

import math

import pyro.distributions as dist
import pyro.distributions.transforms as T
import torch
from pyro.nn import AutoRegressiveNN
from torch import nn
from torch.distributions import constraints

__all__ = ["GUIDES", "Flow", "FullRank", "Guide", "LowRank", "Particle"]

RANK = 8
BINS, BOUND = 8, 6.0
"""Pieces of the flow's splines, and where they end, in sigma; beyond it is linear."""
GENTLE = 0.01
"""How far from the identity a flow begins."""


class Guide(nn.Module):
    """A distribution of y (k,), with parameters; called at places (..., k) it gives their log density (...).

    Attributes
    ----------
    noise : int
        Unit Normal numbers that a draw is made from.
    """

    def __init__(self, k: int, noise: int, dtype: torch.dtype, device: torch.device) -> None:
        super().__init__()
        self.k, self.noise = k, noise
        self.loc = nn.Parameter(torch.zeros(k, dtype=dtype, device=device))

    def push(self, e: torch.Tensor) -> torch.Tensor:
        """Draws (..., k) of unit Normal numbers (..., noise)."""
        raise NotImplementedError

    def draw(self, count: int) -> torch.Tensor:
        """Draws (count, k); random numbers are torch's."""
        return self.push(torch.randn(count, self.noise, dtype=self.loc.dtype).to(self.loc.device))


class FullRank(Guide):
    """Normal of any covariance (Pyro's AutoMultivariateNormal)."""

    def __init__(self, k: int, dtype: torch.dtype, device: torch.device) -> None:
        super().__init__(k, k, dtype, device)
        self.log_diagonal = nn.Parameter(torch.zeros_like(self.loc))
        self.below = nn.Parameter(torch.zeros(k, k, dtype=dtype, device=device))

    def tril(self) -> torch.Tensor:
        """Lower triangular factor of the covariance."""
        return torch.tril(self.below, -1) + torch.diag(self.log_diagonal.exp())

    def push(self, e: torch.Tensor) -> torch.Tensor:
        """See `Guide.push`."""
        return self.loc + e @ self.tril().T

    def forward(self, y: torch.Tensor) -> torch.Tensor:
        """See `Guide`."""
        return dist.MultivariateNormal(self.loc, scale_tril=self.tril(), validate_args=False).log_prob(y)


class LowRank(Guide):
    """Normal whose covariance is a diagonal and a few directions (Pyro's AutoLowRankMultivariateNormal): for hundreds of parameters."""

    def __init__(self, k: int, dtype: torch.dtype, device: torch.device) -> None:
        rank = min(RANK, k)
        super().__init__(k, k + rank, dtype, device)
        generator = torch.Generator().manual_seed(k)  # directions all alike would stay alike
        self.log_diagonal = nn.Parameter(torch.zeros_like(self.loc))
        self.factor = nn.Parameter((0.05 * torch.randn(k, rank, generator=generator, dtype=dtype)).to(device))

    def push(self, e: torch.Tensor) -> torch.Tensor:
        """See `Guide.push`."""
        return self.loc + e[..., : self.k] * (0.5 * self.log_diagonal).exp() + e[..., self.k :] @ self.factor.T

    def forward(self, y: torch.Tensor) -> torch.Tensor:
        """See `Guide`."""
        return dist.LowRankMultivariateNormal(self.loc, self.factor, self.log_diagonal.exp(), validate_args=False).log_prob(y)


class Flow(FullRank):
    """Splines of each coordinate that depend on those before it (Durkan et al. 2019, NeurIPS), then a Normal's shift and scales: skewed, curved."""

    def __init__(self, k: int, dtype: torch.dtype, device: torch.device) -> None:
        super().__init__(k, dtype, device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(k)
            if k == 1:
                self.spline = T.Spline(1, count_bins=BINS, bound=BOUND, order="quadratic")
                nn.init.zeros_(self.spline.unnormalized_widths)
                nn.init.zeros_(self.spline.unnormalized_heights)
                nn.init.constant_(self.spline.unnormalized_derivatives, _unit_slope())
            else:
                net = AutoRegressiveNN(k, [4 * k, 4 * k], param_dims=[BINS, BINS, BINS - 1])
                self.spline = T.SplineAutoregressive(k, net, count_bins=BINS, bound=BOUND, order="quadratic")
                last = net.layers[-1]
                with torch.no_grad():
                    last.weight.mul_(GENTLE)
                    last.bias.zero_()
                    last.bias[2 * BINS * k :] = _unit_slope()
        self.spline.to(dtype=dtype, device=device)

    def push(self, e: torch.Tensor) -> torch.Tensor:
        """See `Guide.push`."""
        return super().push(self.spline(e))

    def forward(self, y: torch.Tensor) -> torch.Tensor:
        """See `Guide`."""
        tril = self.tril()
        x = torch.linalg.solve_triangular(tril, (y - self.loc)[..., None], upper=False)[..., 0]
        e = self.spline.inv(x)
        slope = self.spline.log_abs_det_jacobian(e, x)
        if slope.dim() > e.dim() - 1:  # the spline of one coordinate keeps it apart
            slope = slope.sum(-1)
        return -0.5 * (e * e).sum(-1) - 0.5 * self.k * math.log(2 * math.pi) - slope - torch.log(torch.diagonal(tril)).sum()


GUIDES: dict[str, type[Guide]] = {"normal": FullRank, "lowrank": LowRank, "flow": Flow}


class Particle(dist.TorchDistribution):
    """A guide as Pyro's SVI takes draws of it, for a gradient that has no noise where the guide is the posterior.

    The log density is taken with the guide's parameters held: what is left of the gradient runs through the draw alone, and vanishes at
    every draw where the two densities agree (Roeder, Wu & Duvenaud 2017, arXiv:1703.09194). Every second draw mirrors the one before.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}
    has_rsample = True

    def __init__(self, guide: Guide, kept: list[torch.Tensor]) -> None:
        super().__init__(event_shape=torch.Size([guide.k]), validate_args=False)
        self._guide, self._kept = guide, kept

    @property
    def support(self) -> constraints.Constraint:
        """All of space."""
        return constraints.real_vector

    def rsample(self, sample_shape: torch.Size = torch.Size()) -> torch.Tensor:  # noqa: B008
        """One draw (k,), with its graph."""
        like = self._guide.loc
        if self._kept:
            e = -self._kept.pop()
        else:
            e = torch.randn(self._guide.noise, dtype=like.dtype).to(like.device)
            self._kept.append(e)
        return self._guide.push(e)

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        """Log density, without its slope by the parameters."""
        self._guide.requires_grad_(False)
        try:
            return self._guide(value)
        finally:
            self._guide.requires_grad_(True)


def _unit_slope() -> float:
    """What a spline's slope of 1 is made from: softplus and a least slope of 1e-3 are applied to it."""
    return math.log(math.expm1(1 - 1e-3))
