"""Targets: what a sampler draws from: the flat density of a scene, or that of its structure with fluxes and skies integrated out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from bayesjoint.scene.density import Density
from bayesjoint.scene.linear import Linear, linear_sites

if TYPE_CHECKING:
    from bayesjoint.scene.scene import Scene

__all__ = ["Joint", "Marginal", "Target", "target_type"]


class Target:
    """A log density in whitened coordinates y, where it is nearly that of a unit Normal.

    Parameters
    ----------
    scene : Scene
    z, covariance : tensors, shape (n,) and (n, n)
        The maximum of its log density and the covariance there, in the flat coordinates.
    sites : list of int
        Places of its coordinates in the flat vector of the scene.

    Attributes
    ----------
    center, lower : tensors, shape (k,) and (k, k)
        Flat coordinates are ``center + lower @ y``.
    angles : list of int
        Coordinates in which the density is periodic, by 180.
    word : str
        What was integrated out.
    noise : int
        Unit Normal numbers that a draw takes besides: for what was integrated out.
    """

    word = ""
    noise = 0

    def __init__(self, scene: Scene, z: torch.Tensor, covariance: torch.Tensor, sites: list[int]) -> None:
        self.scene, self.sites = scene, sites
        self.center = z[sites]
        self.lower = torch.linalg.cholesky(covariance[sites][:, sites])
        angle = scene.chart.angle.tolist()
        self.angles = [i for i, site in enumerate(sites) if angle[site]]
        self._seen: dict[bytes, Any] = {}

    def __len__(self) -> int:
        return len(self.sites)

    def flat(self, y: torch.Tensor) -> torch.Tensor:
        """Flat coordinates (k,) of whitened ones."""
        return self.center + self.lower @ y

    def log_density(self, z: torch.Tensor) -> torch.Tensor:
        """Log density at flat coordinates (k,), differentiable; what `finish` needs of the place is kept."""
        raise NotImplementedError

    def draw(self, z: torch.Tensor, noise: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The whole flat vector of a draw (n,) from its z (k,) and unit Normal numbers (noise,), and its log likelihood by image."""
        raise NotImplementedError

    @torch.no_grad()
    def finish(self, z: torch.Tensor, noise: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """What `draw` gives, and the log density in the scene."""
        whole, ll = self.draw(z, noise)
        return whole, ll, ll.sum() + self.scene.log_prior(whole)

    @torch.no_grad()
    def departure(self) -> float:
        """How far the log density is from the Normal's of its covariance, at most, two sigma out in each site and either way."""
        rows = 2 * self.lower / self.lower.norm(dim=1, keepdim=True)  # in y: the other sites move along as they are correlated
        top = self.log_density(self.center)
        off = [abs(float(top - self.log_density(self.flat(sign * y))) - 2) for y in rows for sign in (-1, 1)]
        self.forget()
        return max(v if math.isfinite(v) else math.inf for v in off)

    def settle(self, z: torch.Tensor) -> None:
        """Forget all places but this one."""
        if self._seen:
            key = _key(z)
            self._seen = {key: self._seen[key]} if key in self._seen else {}

    def forget(self) -> None:
        """Forget all places."""
        self._seen = {}

    def _recall(self, z: torch.Tensor) -> Any:
        if z.device.type != "cpu" or _key(z) not in self._seen:
            return None
        return self._seen[_key(z)]

    def _note(self, z: torch.Tensor, what: Any) -> None:
        if z.device.type == "cpu":  # elsewhere it would mean to wait for the device
            self._seen[_key(z)] = what

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_seen": {}}


class Joint(Target):
    """All sites of the scene."""

    def __init__(self, scene: Scene, z: torch.Tensor, covariance: torch.Tensor) -> None:
        super().__init__(scene, z, covariance, list(range(len(z))))

    def log_density(self, z: torch.Tensor) -> torch.Tensor:
        """See `Target.log_density`."""
        parts: list[torch.Tensor] = []
        value = Density.apply(z, self.scene, parts)
        self._note(z, tuple(parts))
        return value

    @torch.no_grad()
    def draw(self, z: torch.Tensor, noise: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Target.draw`."""
        z = z.detach()
        return z, (self._recall(z) or self.scene.log_parts(z))[0]


class Marginal(Target):
    """The sites that are not linear; fluxes and skies are drawn from their Gaussian, given the others."""

    word = "linear"

    def __init__(self, scene: Scene, z: torch.Tensor, covariance: torch.Tensor) -> None:
        self.linear = Linear(scene, scene.chart.values(z)[0])
        super().__init__(scene, z, covariance, self.linear.rest)
        self.noise = len(self.linear.sites)

    def log_density(self, z: torch.Tensor) -> torch.Tensor:
        """See `Target.log_density`."""
        value, solution = self.linear.evaluate(z)
        self._note(z, solution)
        return value

    @torch.no_grad()
    def draw(self, z: torch.Tensor, noise: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Target.draw`."""
        z = z.detach()
        solution = self._recall(z) or self.linear.evaluate(z)[1]
        amplitudes = solution.draw(noise.to(z.device))
        whole = self.linear.embed(z)
        whole[self.linear.sites] = amplitudes.to(z.dtype)
        return whole, solution.log_likelihoods(amplitudes)


def target_type(scene: Scene, marginalize: str | None) -> type[Joint | Marginal]:
    """The kind of target that a sampler's `marginalize` names.

    Raises
    ------
    ValueError
        For another word than "auto" and "linear", or where fluxes and skies cannot be integrated out.
    """
    if marginalize not in (None, "auto", "linear"):
        raise ValueError(f"marginalize is to be 'linear', 'auto' or None, and {marginalize!r} came.")
    reason = why_not(scene) if marginalize else ""
    if reason and marginalize == "linear":
        raise ValueError(reason)
    return Marginal if marginalize and not reason else Joint


def why_not(scene: Scene) -> str:
    """Why fluxes and skies cannot be integrated out in closed form, in a sentence; empty if they can."""
    linear = linear_sites(scene)
    other = next((name for name, n in scene.noise.items() if not n.linear), None)
    if other is not None:
        return f"Fluxes cannot be integrated out where noise is not Gaussian, and {other!r} has {scene.noise[other]!r}: leave marginalize away."
    amplitudes = [s for s in scene.layout.sites if s.spec.unit in ("flux", "image")]  # some are not linear by a link, and are drawn with the rest
    odd = next((s for s in amplitudes if type(s.prior).__name__ != "Normal"), None)
    if odd is not None:
        return (
            f"Fluxes and skies are integrated out where their priors are Normal, and {odd.name} has a {type(odd.prior).__name__}: "
            "give it a Normal prior, or leave marginalize away."
        )
    if not linear or len(linear) == len(scene.names):
        return f"There is nothing to integrate out: {'no flux or sky is free' if not linear else 'every free parameter is a flux or sky'}."
    return ""


def _key(z: torch.Tensor) -> bytes:
    return z.detach().numpy().tobytes()
