"""Guides: families of distributions that SVI fits to a posterior, in coordinates where it is nearly a unit Normal; all begin as that."""

from __future__ import annotations

import math

import pyro.distributions as dist
import pyro.distributions.transforms as T
import torch
from pyro.nn import AutoRegressiveNN
from torch import nn

__all__ = ["GUIDES", "Flow", "FullRank", "Guide", "LowRank"]

RANK = 8
BINS, BOUND = 8, 6.0
"""Pieces of the flow's splines, and where they end, in sigma; beyond it is linear."""
GENTLE = 0.01
"""How far from the identity a flow begins."""


class Guide(nn.Module):
    """A distribution of y (k,), with parameters.

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
        """Draws (s, k) of unit Normal numbers (s, noise)."""
        raise NotImplementedError

    def distribution(self, mirror: list[torch.Tensor] | None = None) -> dist.TorchDistribution:
        """The distribution; with a list to remember it in, every second draw mirrors the one before: antithetic particles."""
        raise NotImplementedError


class FullRank(Guide):
    """Normal of any covariance (Pyro's AutoMultivariateNormal)."""

    def __init__(self, k: int, dtype: torch.dtype, device: torch.device) -> None:
        super().__init__(k, k, dtype, device)
        self.log_diagonal = nn.Parameter(torch.zeros_like(self.loc))
        self.below = nn.Parameter(torch.zeros(k, k, dtype=dtype, device=device))

    @property
    def tril(self) -> torch.Tensor:
        """Lower triangular factor of the covariance."""
        return torch.tril(self.below, -1) + torch.diag(self.log_diagonal.exp())

    def push(self, e: torch.Tensor) -> torch.Tensor:
        """See `Guide.push`."""
        return self.loc + e @ self.tril.T

    def distribution(self, mirror: list[torch.Tensor] | None = None) -> dist.TorchDistribution:
        """See `Guide.distribution`."""
        return _Normal(self, mirror)


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

    def distribution(self, mirror: list[torch.Tensor] | None = None) -> dist.TorchDistribution:
        """See `Guide.distribution`."""
        return _LowRankNormal(self, mirror)


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

    def distribution(self, mirror: list[torch.Tensor] | None = None) -> dist.TorchDistribution:
        """See `Guide.distribution`."""
        base = _Unit(self.loc, mirror)
        return dist.TransformedDistribution(base, [self.spline, T.LowerCholeskyAffine(self.loc, self.tril)])


GUIDES: dict[str, type[Guide]] = {"normal": FullRank, "lowrank": LowRank, "flow": Flow}


def _unit_slope() -> float:
    """What a spline's slope of 1 is made from: softplus and a least slope of 1e-3 are applied to it."""
    return math.log(math.expm1(1 - 1e-3))


def _mirrored(like: torch.Tensor, count: int, kept: list[torch.Tensor] | None) -> torch.Tensor:
    if kept is None:
        return torch.randn(count, dtype=like.dtype).to(like.device)
    if kept:
        return -kept.pop()
    kept.append(torch.randn(count, dtype=like.dtype).to(like.device))
    return kept[-1]


class _Normal(dist.MultivariateNormal):
    def __init__(self, guide: FullRank, kept: list[torch.Tensor] | None) -> None:
        super().__init__(guide.loc, scale_tril=guide.tril, validate_args=False)
        self._kept = kept

    def rsample(self, sample_shape: torch.Size = torch.Size()) -> torch.Tensor:  # noqa: B008
        if len(sample_shape):
            return super().rsample(sample_shape)
        return self.loc + self.scale_tril @ _mirrored(self.loc, len(self.loc), self._kept)


class _LowRankNormal(dist.LowRankMultivariateNormal):
    def __init__(self, guide: LowRank, kept: list[torch.Tensor] | None) -> None:
        super().__init__(guide.loc, cov_factor=guide.factor, cov_diag=guide.log_diagonal.exp(), validate_args=False)
        self._guide, self._kept = guide, kept

    def rsample(self, sample_shape: torch.Size = torch.Size()) -> torch.Tensor:  # noqa: B008
        if len(sample_shape):
            return super().rsample(sample_shape)
        return self._guide.push(_mirrored(self._guide.loc, self._guide.noise, self._kept))


class _Unit(dist.MultivariateNormal):
    def __init__(self, like: torch.Tensor, kept: list[torch.Tensor] | None) -> None:
        super().__init__(torch.zeros_like(like), scale_tril=torch.eye(len(like), dtype=like.dtype, device=like.device), validate_args=False)
        self._kept = kept

    def rsample(self, sample_shape: torch.Size = torch.Size()) -> torch.Tensor:  # noqa: B008
        if len(sample_shape):
            return super().rsample(sample_shape)
        return _mirrored(self.loc, len(self.loc), self._kept)

    sample = rsample
