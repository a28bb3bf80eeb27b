"""Noise: what an image's pixels do about the model, each by itself; one object an image.

Functions take residuals in units of sigma squared, t = r² (0 where masked).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pyro.distributions as dist
import torch

from bayesjoint.images import Image
from bayesjoint.scalar import dot

__all__ = ["Gaussian", "Noise", "StudentT", "by_image"]


class Noise:
    """Distribution of a pixel about the model, in units of its sigma.

    Attributes
    ----------
    const : float
        Log density at zero residual, for a sigma of 1.
    information, scale_information : float
        Fisher information of a pixel on the model, in 1/sigma², and on ln sigma.
    linear : bool
        Whether fluxes and skies can be integrated out in closed form.
    """

    const: float
    information: float = 1.0
    scale_information: float = 2.0
    linear: bool = False

    def energy(self, t: torch.Tensor) -> torch.Tensor:
        """`const` minus the log density of residuals whose squares in units of sigma² are `t`. Plain autograd."""
        raise NotImplementedError

    def score(self, residual: torch.Tensor, weight: torch.Tensor, out: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Sum of energies of each `residual` (in image units) with its `weight` 1/sigma², and of residuals times slopes; slopes by the model go to `out`."""
        raise NotImplementedError

    def pull(self, t: torch.Tensor) -> torch.Tensor | float:
        """How much of a residual counts: twice the energy's slope by `t`, its square in units of sigma²."""
        raise NotImplementedError

    def distribution(self, model: torch.Tensor, sigma: torch.Tensor) -> dist.TorchDistribution:
        """Pyro distribution of the pixels about `model`, of scale `sigma`, all in image units."""
        raise NotImplementedError

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Random residuals in units of sigma, of `shape`, from `rng`."""
        raise NotImplementedError

    def options(self) -> dict[str, float]:
        """What it is made from."""
        return {}

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.options() == other.options()

    def __hash__(self) -> int:
        return hash((type(self), *self.options().items()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{v:g}' for v in self.options().values())})"


class Gaussian(Noise):
    """Normal noise, the default."""

    const = -0.5 * math.log(2 * math.pi)
    linear = True

    def energy(self, t: torch.Tensor) -> torch.Tensor:
        """See `Noise.energy`."""
        return 0.5 * t

    def score(self, residual: torch.Tensor, weight: torch.Tensor, out: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Noise.score`."""
        grad = torch.mul(residual, weight, out=out)
        chi2 = dot(residual, grad)
        return 0.5 * chi2, chi2

    def pull(self, t: torch.Tensor) -> float:
        """See `Noise.pull`."""
        return 1.0

    def distribution(self, model: torch.Tensor, sigma: torch.Tensor) -> dist.TorchDistribution:
        """See `Noise.distribution`."""
        return dist.Normal(model, sigma)

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """See `Noise.draw`."""
        return rng.standard_normal(shape)


class StudentT(Noise):
    """Student's t: pixels that lie far off, such as cosmic rays and faint neighbours left unmasked, pull but little.

    Parameters
    ----------
    df : float
        Degrees of freedom, more than 2: the fewer, the heavier the tails. Sigma is the scale, not the standard deviation.

    Notes
    -----
    After Lange, Little & Taylor 1989 (JASA 84, 881), whose expected information the fit's covariance takes.
    """

    def __init__(self, df: float = 4.0) -> None:
        if not (isinstance(df, int | float) and math.isfinite(df) and df > 2):
            raise ValueError(f"StudentT's degrees of freedom are to be a number above 2, and {df!r} came.")
        self.df = float(df)
        self.const = math.lgamma(0.5 * (self.df + 1)) - math.lgamma(0.5 * self.df) - 0.5 * math.log(math.pi * self.df)
        self.information = (self.df + 1) / (self.df + 3)
        self.scale_information = 2 * self.df / (self.df + 3)

    def options(self) -> dict[str, float]:
        """The degrees of freedom."""
        return {"df": self.df}

    def energy(self, t: torch.Tensor) -> torch.Tensor:
        """See `Noise.energy`."""
        return 0.5 * (self.df + 1) * torch.log1p(t / self.df)

    def score(self, residual: torch.Tensor, weight: torch.Tensor, out: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Noise.score`."""
        grad = torch.mul(residual, weight, out=out)
        t = residual * grad
        grad.mul_(self.pull(t))
        return self.energy(t).sum(dtype=torch.float64), dot(residual, grad)

    def pull(self, t: torch.Tensor) -> torch.Tensor:
        """See `Noise.pull`."""
        return (self.df + 1) / (self.df + t)

    def distribution(self, model: torch.Tensor, sigma: torch.Tensor) -> dist.TorchDistribution:
        """See `Noise.distribution`."""
        return dist.StudentT(torch.full((), self.df, dtype=model.dtype, device=model.device), model, sigma)

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """See `Noise.draw`."""
        return rng.standard_t(self.df, shape)


def by_image(given: Noise | Mapping[str, Noise] | None, images: Sequence[Image]) -> dict[str, Noise]:
    """The noise of each of `images`: what is `given` for all, or by image's or band's name; Gaussian where none is given."""
    if given is None or isinstance(given, Noise):
        return {im.name: given or Gaussian() for im in images}
    if not isinstance(given, Mapping):
        raise TypeError(f"noise= is to be a bj.noise object such as bj.noise.StudentT(4), or a mapping of them by image or band, and {given!r} came.")
    known = {im.name for im in images} | {im.band for im in images}
    for key, noise in given.items():
        if key not in known:
            raise ValueError(f"noise= names {key!r}, and there are {', '.join(sorted(known))}.")
        if not isinstance(noise, Noise):
            raise TypeError(f"The noise of {key!r} is to be a bj.noise object such as bj.noise.StudentT(4), and {noise!r} came.")
    return {im.name: given.get(im.name, given.get(im.band, Gaussian())) for im in images}
