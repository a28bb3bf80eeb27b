"""Priors: the two distributions that Pyro lacks, and the recasting of any prior to a scene's dtype and device."""

from __future__ import annotations

import copy
import math
from typing import Any

import pyro.distributions as dist
import torch
from torch.distributions import biject_to, constraints

__all__ = ["Angle", "AxisRatio", "Probit", "is_proper", "line_to", "recast"]


class AxisRatio(dist.TorchDistribution):
    r"""Axis ratio of an ellipse whose ellipticity vector :math:`-\ln q\,(\cos 2\,\mathrm{pa}, \sin 2\,\mathrm{pa})` is isotropic Normal.

    :math:`-\ln q` is then Rayleigh with `scale`, and :math:`p(q) \to 0` at both ends: no pile-up on q = 1.

    Parameters
    ----------
    scale : float
        Standard deviation of each component of the vector.
    """

    arg_constraints = {"scale": constraints.positive}
    support = constraints.unit_interval

    def __init__(self, scale: Any, validate_args: bool | None = None) -> None:
        self.scale = torch.as_tensor(scale, dtype=torch.get_default_dtype()) if not isinstance(scale, torch.Tensor) else scale
        super().__init__(self.scale.shape, validate_args=validate_args)

    def sample(self, sample_shape: torch.Size = torch.Size()) -> torch.Tensor:  # noqa: B008
        """Draw q."""
        shape = self._extended_shape(sample_shape)
        e = torch.rand(shape, dtype=self.scale.dtype, device=self.scale.device)
        return torch.exp(-self.scale * torch.sqrt(-2 * torch.log1p(-e)))

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        """Log density of q."""
        eta = -torch.log(value)
        return torch.log(eta) - 2 * torch.log(self.scale) - torch.log(value) - 0.5 * (eta / self.scale) ** 2

    def expand(self, batch_shape: Any, _instance: Any = None) -> AxisRatio:
        """Expand, as every Pyro distribution does."""
        return AxisRatio(self.scale.expand(batch_shape), validate_args=False)


class Angle(dist.TorchDistribution):
    """Flat on a circle of `period`, with density 1/period everywhere: real support, so that no sampler meets a wall.

    Parameters
    ----------
    period : float
        The period in degrees.
    """

    arg_constraints = {"period": constraints.positive}
    support = constraints.real

    def __init__(self, period: Any = 180.0, validate_args: bool | None = None) -> None:
        self.period = torch.as_tensor(period, dtype=torch.get_default_dtype()) if not isinstance(period, torch.Tensor) else period
        super().__init__(self.period.shape, validate_args=validate_args)

    def sample(self, sample_shape: torch.Size = torch.Size()) -> torch.Tensor:  # noqa: B008
        """Draw an angle in [0, period)."""
        return self.period * torch.rand(self._extended_shape(sample_shape), dtype=self.period.dtype, device=self.period.device)

    rsample = sample

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        """Log density, the same everywhere."""
        return -torch.log(self.period).expand(value.shape) + 0 * value

    def expand(self, batch_shape: Any, _instance: Any = None) -> Angle:
        """Expand, as every Pyro distribution does."""
        return Angle(self.period.expand(batch_shape), validate_args=False)


def is_proper(prior: Any) -> bool:
    """Whether a distribution integrates to 1: not `ImproperUniform`, and no density masked away. A class of the user's own is taken at its word."""
    mask = getattr(prior, "_mask", True)
    if type(prior).__name__ == "ImproperUniform" or not (bool(mask.all()) if isinstance(mask, torch.Tensor) else bool(mask)):
        return False
    inner = getattr(prior, "base_dist", None)
    return inner is None or is_proper(inner)


class Probit(torch.distributions.Transform):
    """The whole line to an interval by the Normal's distribution function.

    Where data press against an end, the density falls off there as a Normal's, and not, as with a logistic, as slowly as an exponential
    on one side of a steep wall, which samplers cannot follow.

    Parameters
    ----------
    low, high : tensor
        Ends of the interval.
    """

    domain, bijective, sign = constraints.real, True, 1

    def __init__(self, low: Any, high: Any) -> None:
        super().__init__()
        self.low, self.high = torch.as_tensor(low), torch.as_tensor(high)

    @property
    def codomain(self) -> Any:
        """The interval."""
        return constraints.interval(self.low, self.high)

    def _call(self, x: torch.Tensor) -> torch.Tensor:
        # rounding does not reach the ends, which a prior may exclude: a sampler's trial far out has a density all the same
        inside = torch.nextafter(self.low, self.high), torch.nextafter(self.high, self.low)
        return (self.low + (self.high - self.low) * torch.special.ndtr(x)).clamp(*inside)

    def _inverse(self, y: torch.Tensor) -> torch.Tensor:
        return torch.special.ndtri((y - self.low) / (self.high - self.low))

    def log_abs_det_jacobian(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Log of the slope."""
        return torch.log(self.high - self.low) - 0.5 * x * x - 0.5 * math.log(2 * math.pi)


def line_to(support: Any) -> torch.distributions.Transform:
    """The transform from the whole line to a support."""
    low, high = getattr(support, "lower_bound", None), getattr(support, "upper_bound", None)
    return biject_to(support) if low is None or high is None else Probit(low, high)


def recast(prior: Any, dtype: torch.dtype, device: torch.device) -> Any:
    """Return a copy of a distribution whose every tensor has `dtype` and lies on `device`; validation is left to the user's own."""
    return _recast(prior, dtype, device, {})


def _recast(item: Any, dtype: torch.dtype, device: torch.device, seen: dict[int, Any]) -> Any:
    if id(item) in seen:
        return seen[id(item)]
    if isinstance(item, torch.Tensor):
        return item.detach().to(device=device, dtype=dtype if item.is_floating_point() else item.dtype)
    if isinstance(item, list | tuple) and type(item) in (list, tuple):
        return type(item)(_recast(i, dtype, device, seen) for i in item)
    if isinstance(item, torch.distributions.Distribution | torch.distributions.transforms.Transform):
        new = copy.copy(item)
        seen[id(item)] = new
        for key, value in vars(item).items():
            if key not in ("_cached_x_y", "_inv"):
                object.__setattr__(new, key, _recast(value, dtype, device, seen))
        if isinstance(new, torch.distributions.Distribution):
            new._validate_args = False
        return new
    return item
