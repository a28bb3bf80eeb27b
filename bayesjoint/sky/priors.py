"""Priors: the distributions that Pyro lacks, and the recasting of any prior to a scene's dtype and device."""

from __future__ import annotations

import copy
import math
from typing import Any

import pyro.distributions as dist
import torch
from torch.distributions import biject_to, constraints

__all__ = [
    "Angle", "AxisRatio", "Probit", "SoftPositive", "TruncatedLine", "TruncatedLogNormal", "TruncatedNormal", "is_proper", "line_to", "recast",
]  # fmt: skip


FARTHEST = 35.0
"""Widths from the middle beyond which a Normal's tail is 0 in double precision."""


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


class TruncatedNormal(dist.TorchDistribution):
    """Normal distribution cut at two bounds.

    In the flat coordinates it is Normal all the same: they are those of the Normal with the same
    distribution function (`line`), which far from the bounds is the value itself. Data that press
    against a bound meet a tail as soft as a Normal's there, and no wall.

    Parameters
    ----------
    loc, scale : float
        Mean and standard deviation before the cut.
    low, high : float
        Bounds.
    """

    arg_constraints = {
        "loc": constraints.real,
        "scale": constraints.positive,
        "low": constraints.real,
        "high": constraints.real,
    }
    log_scale = False
    """Whether `loc` and `scale` are of the logarithm."""

    def __init__(
        self, loc: Any, scale: Any, low: Any, high: Any, validate_args: bool | None = None
    ) -> None:
        given = (loc, scale, low, high)
        given = [v if isinstance(v, torch.Tensor) else torch.tensor(float(v)) for v in given]
        self.loc, self.scale, self.low, self.high = torch.broadcast_tensors(*given)
        super().__init__(self.loc.shape, validate_args=validate_args)

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self) -> Any:
        """The interval."""
        return constraints.interval(self.low, self.high)

    @property
    def line(self) -> TruncatedLine:
        """The transform from the flat coordinate, in which it is Normal with `loc` and `scale`."""
        return TruncatedLine(self.loc, self.scale, self.low, self.high, self.log_scale)

    def sample(self, sample_shape: torch.Size = torch.Size()) -> torch.Tensor:  # noqa: B008
        """Draw a value."""
        shape = self._extended_shape(sample_shape)
        noise = torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device)
        return self.line(self.loc + self.scale * noise)

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        """Log density; minus infinity beyond the bounds."""
        inside = (value > self.low) & (value < self.high)
        line = self.line
        safe = torch.where(inside, value, line(self.loc))
        w = ((torch.log(safe) if self.log_scale else safe) - self.loc) / self.scale
        lp = -0.5 * w * w - 0.5 * math.log(2 * math.pi) - torch.log(self.scale * line.mass)
        lp = lp - torch.log(safe) if self.log_scale else lp
        return torch.where(inside, lp, -math.inf)

    def expand(self, batch_shape: Any, _instance: Any = None) -> TruncatedNormal:
        """Expand, as every Pyro distribution does."""
        args = (v.expand(batch_shape) for v in (self.loc, self.scale, self.low, self.high))
        return type(self)(*args, validate_args=False)


class TruncatedLogNormal(TruncatedNormal):
    """LogNormal distribution cut at two bounds; see `TruncatedNormal`.

    Parameters
    ----------
    loc, scale : float
        Mean and standard deviation of the logarithm before the cut.
    low, high : float
        Bounds of the value, positive.
    """

    arg_constraints = TruncatedNormal.arg_constraints | {
        "low": constraints.positive,
        "high": constraints.positive,
    }
    log_scale = True


class SoftPositive(dist.TorchDistribution):
    r"""Half-Normal with a soft edge at 0: density :math:`(2/W)\,\phi(f/W)\,\Phi(f/s)` on the whole line.

    It is the skew normal distribution of shape W/s (Azzalini 1985, Scand. J. Stat. 12, 171).

    Parameters
    ----------
    width : float
        W, that of the half-Normal.
    softness : float
        s, that of its edge.
    """

    arg_constraints = {"width": constraints.positive, "softness": constraints.positive}
    support = constraints.real

    def __init__(self, width: Any, softness: Any, validate_args: bool | None = None) -> None:
        given = (v if isinstance(v, torch.Tensor) else torch.tensor(float(v)) for v in (width, softness))
        self.width, self.softness = torch.broadcast_tensors(*given)
        super().__init__(self.width.shape, validate_args=validate_args)

    @property
    def mean(self) -> torch.Tensor:
        """Mean."""
        return self.width * math.sqrt(2 / math.pi) * self._delta

    @property
    def variance(self) -> torch.Tensor:
        """Variance."""
        return self.width**2 * (1 - 2 / math.pi * self._delta**2)

    @property
    def _delta(self) -> torch.Tensor:
        return self.width / torch.sqrt(self.width**2 + self.softness**2)

    def sample(self, sample_shape: torch.Size = torch.Size()) -> torch.Tensor:  # noqa: B008
        """Draw a value."""
        shape = self._extended_shape(sample_shape)
        a, b = torch.randn((2, *shape), dtype=self.width.dtype, device=self.width.device)
        return self.width * (self._delta * a.abs() + torch.sqrt(1 - self._delta**2) * b)

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        """Log density."""
        normal = -0.5 * (value / self.width) ** 2 - torch.log(self.width)
        edge = torch.special.log_ndtr(value / self.softness)
        return normal + edge + 0.5 * math.log(2 / math.pi)

    def expand(self, batch_shape: Any, _instance: Any = None) -> SoftPositive:
        """Expand, as every Pyro distribution does."""
        args = (v.expand(batch_shape) for v in (self.width, self.softness))
        return SoftPositive(*args, validate_args=False)


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


class TruncatedLine(torch.distributions.Transform):
    """The whole line to an interval: from a Normal to the same one (or a LogNormal) cut at two bounds.

    Parameters
    ----------
    loc, scale : tensor
        Of the Normal, on both sides.
    low, high : tensor
        Ends of the interval.
    log_scale : bool
        Whether the interval's logarithm is what is Normal before the cut.

    Attributes
    ----------
    mass : tensor
        Probability between the bounds before the cut.
    """

    domain, bijective, sign = constraints.real, True, 1

    def __init__(self, loc: Any, scale: Any, low: Any, high: Any, log_scale: bool) -> None:
        super().__init__()
        self.loc, self.scale, self.low, self.high, self.log_scale = loc, scale, low, high, log_scale
        ends = (torch.log(v) if log_scale else v for v in (low, high))
        alpha, beta = ((v - loc) / scale for v in ends)
        self.below, self.above = torch.special.ndtr(alpha), torch.special.ndtr(-beta)
        mirrored = torch.special.ndtr(-alpha) - torch.special.ndtr(-beta)  # for two ends far above
        self.mass = torch.where(alpha > 0, mirrored, torch.special.ndtr(beta) - self.below)

    @property
    def codomain(self) -> Any:
        """The interval."""
        return constraints.interval(self.low, self.high)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TruncatedLine) and all(
            bool(torch.equal(getattr(self, k), getattr(other, k)))
            for k in ("loc", "scale", "low", "high")
        )

    __hash__ = torch.distributions.Transform.__hash__

    def cut(self, x: torch.Tensor) -> torch.Tensor:
        """The Normal's coordinate within the bounds, in units of `scale` from `loc`."""
        u = ((x - self.loc) / self.scale).clamp(-FARTHEST, FARTHEST)
        up = u > 0  # each half by its own tail: no digits are lost in either
        tail = torch.where(up, self.above, self.below) + self.mass * torch.special.ndtr(-u.abs())
        return torch.where(up, -1.0, 1.0) * torch.special.ndtri(tail)

    def _call(self, x: torch.Tensor) -> torch.Tensor:
        y = self.loc + self.scale * self.cut(x)
        inside = torch.nextafter(self.low, self.high), torch.nextafter(self.high, self.low)
        return (torch.exp(y) if self.log_scale else y).clamp(*inside)

    def _inverse(self, y: torch.Tensor) -> torch.Tensor:
        w = ((torch.log(y) if self.log_scale else y) - self.loc) / self.scale
        up = w > 0
        tail = torch.special.ndtr(-w.abs()) - torch.where(up, self.above, self.below)
        # an end itself is where rounding leads to it, and not at infinity; beyond it there is nothing
        half = torch.special.ndtri((tail / self.mass).clamp(min=torch.finfo(y.dtype).eps / 2))
        half = torch.where((y < self.low) | (y > self.high), torch.nan, half)
        return self.loc + self.scale * torch.where(up, -half, half)

    def slope(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Derivative of the value y at x."""
        u, w = (x - self.loc) / self.scale, self.cut(x)
        rate = torch.where(u.abs() < FARTHEST, self.mass * torch.exp(0.5 * (w * w - u * u)), 0.0)
        return rate * y if self.log_scale else rate

    def log_abs_det_jacobian(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Log of the slope."""
        u, w = (x - self.loc) / self.scale, self.cut(x)
        lp = torch.log(self.mass) + 0.5 * (w * w - u * u)
        return lp + torch.log(y) if self.log_scale else lp


def line_to(prior: Any) -> torch.distributions.Transform:
    """The transform from the flat coordinate, the whole line, to the values of a prior."""
    if isinstance(prior, TruncatedNormal):
        return prior.line
    support = prior.support
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
