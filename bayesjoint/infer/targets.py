"""Targets: what a sampler draws from: the flat density of a scene, or that of its structure with fluxes and skies integrated out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.optimize import minimize

from bayesjoint.infer.lm import linearise
from bayesjoint.infer.soft import noise_size, sample_amplitudes
from bayesjoint.scene.density import Density
from bayesjoint.scene.linear import Linear, linear_sites
from bayesjoint.sky.priors import SoftPositive

if TYPE_CHECKING:
    from bayesjoint.infer.fit import Fit
    from bayesjoint.scene.scene import Scene

__all__ = ["Edged", "Joint", "Marginal", "Target", "all_linear", "felt_edges", "target_type"]

CLEAR_OF_EDGE = 5.0
"""Errors above 0 from which on a flux counts as not touched by its prior's edge there."""
BFGS_STEPS, BFGS_DIFFERENCE, CURVATURES = 100, 0.5, (0.05, 20.0)
"""Steps to a maximum at most; the differences for the covariance there, in units of its estimate; and the range of its curvatures in these."""
FARTHEST_BELOW, INSIDE = 5.0, 0.3
"""Widths below 0 at which a cut Normal's mean lies at most, and above 0 at which chains begin at least."""
LOG_2PI = math.log(2 * math.pi)


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
        self.center, self.lower = self.whitening(z, covariance)
        angle = scene.chart.angle.tolist()
        self.angles = [i for i, site in enumerate(sites) if angle[site]]
        self._seen: dict[bytes, Any] = {}

    def __len__(self) -> int:
        return len(self.sites)

    def whitening(
        self, z: torch.Tensor, covariance: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Centre (k,) and factor (k, k) of whitened coordinates about z (n,), where the scene's covariance is (n, n).

        Raises
        ------
        ValueError
            Where the covariance is not positive definite.
        """
        try:
            lower = torch.linalg.cholesky(covariance[self.sites][:, self.sites])
        except torch.linalg.LinAlgError as e:
            raise ValueError(
                "The covariance of the fit must be positive definite to sample about it; it is not (best.message says"
                " what is not constrained). Hold or simplify that."
            ) from e
        return z[self.sites], lower

    def flat(self, y: torch.Tensor) -> torch.Tensor:
        """Flat coordinates (k,) of whitened ones."""
        return self.center + self.lower @ y

    def log_density(self, z: torch.Tensor) -> torch.Tensor:
        """Log density at flat coordinates (k,), differentiable; what `finish` needs of the place is kept."""
        raise NotImplementedError

    def draw(
        self, z: torch.Tensor, noise: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """A whole draw from its part of the flat coordinates.

        Parameters
        ----------
        z : tensor, shape (k,)
            Its coordinates.
        noise : tensor, shape (noise,)
            Unit Normal numbers.

        Returns
        -------
        whole : tensor, shape (n,)
            The flat vector.
        log_likelihood : tensor, shape (images,)
            By image.
        log_weight : tensor, shape ()
            What the log density of `z` lacks: the log of a weight whose mean over the noise is
            right (see `bayesjoint.infer.soft`).
        """
        raise NotImplementedError

    @torch.no_grad()
    def finish(
        self, z: torch.Tensor, noise: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """What `draw` gives, and the scene's log density."""
        whole, ll, log_weight = self.draw(z, noise)
        return whole, ll, log_weight, ll.sum() + self.scene.log_prior(whole)

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
    def draw(
        self, z: torch.Tensor, noise: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """See `Target.draw`."""
        z = z.detach()
        return z, (self._recall(z) or self.scene.log_parts(z))[0], torch.zeros(())


class Edged(Joint):
    """All sites, where some fluxes lie near the edge of their prior at 0, in coordinates without a wall.

    The edge's factor Phi(f/s) is the probability that u = f + s e is positive, e a unit Normal number:
    each of these fluxes becomes u and e. And u moves along a coordinate that is Normal where u is a
    Normal cut at 0, of about the posterior's mean and width: chains meet a Gaussian's tail.

    Parameters
    ----------
    scene : Scene
    z, covariance : tensors, shape (n,) and (n, n)
        As for `Target`.
    edges : list of int
        Places of these fluxes in the flat vector.
    """

    def __init__(
        self, scene: Scene, z: torch.Tensor, covariance: torch.Tensor, edges: list[int]
    ) -> None:
        self.edges = edges
        softness = [float(scene.layout.sites[i].prior.softness) for i in edges]
        self.softness = torch.tensor(softness, dtype=z.dtype, device=z.device)
        self.index = torch.tensor(edges, dtype=torch.int64, device=z.device)
        # without the edges: their curvature taken away, and a Newton step to where it is highest
        ratio = z[edges] / self.softness
        rate = torch.exp(-0.5 * ratio**2 - 0.5 * LOG_2PI - torch.special.log_ndtr(ratio))
        # made here: the fit's own may be of the step before, whose edges curve otherwise
        precision = linearise(scene, z, prior=True).precision.clone()
        precision[edges, edges] -= rate * (ratio + rate) / self.softness**2
        bare = torch.linalg.inv(precision)
        # between the widths with all else held and free: a line where these bend is too long
        alone = 1 / torch.diagonal(precision)[edges]
        self.width = (alone * torch.diagonal(bare)[edges]) ** 0.25
        self.mean = torch.maximum(z[edges] - rate / self.softness * alone, -FARTHEST_BELOW * self.width)
        super().__init__(scene, z, bare)
        count = len(edges)
        self.center = torch.cat([self.center, self.center.new_zeros(count)])
        self.center[edges] = self._flat(torch.maximum(z[edges], INSIDE * self.width))
        self.lower = torch.block_diag(self.lower, torch.eye(count, dtype=z.dtype, device=z.device))
        self._whiten()

    def _whiten(self) -> None:
        """Find the maximum in these coordinates and the covariance there, by gradients: the fit's are of others."""

        def gradient(y: np.ndarray) -> tuple[float, np.ndarray]:
            x = torch.as_tensor(y).to(self.center).requires_grad_(True)
            value = self.log_density(self.flat(x))
            (g,) = torch.autograd.grad(value, x)
            self.forget()
            slope = -g.cpu().double().numpy()
            height = float(value.detach())
            good = math.isfinite(height) and bool(np.isfinite(slope).all())
            return (-height, slope) if good else (1e30, np.zeros(len(y)))

        k = len(self)
        end = minimize(gradient, np.zeros(k), jac=True, method="BFGS", options={"maxiter": BFGS_STEPS, "gtol": 0.05})
        for inverse in (end.hess_inv, None):
            if inverse is None:  # in units of the first estimate, by differences over a good part of it
                rows = BFGS_DIFFERENCE * np.eye(k)
                slopes = [(gradient(v)[1] - gradient(-v)[1]) / (2 * BFGS_DIFFERENCE) for v in rows]
                hessian = np.array(slopes)
                value, vector = np.linalg.eigh(0.5 * (hessian + hessian.T))
                inverse = (vector / value.clip(*CURVATURES)) @ vector.T
            lower = np.linalg.cholesky(0.5 * (inverse + inverse.T))
            self.center = self.flat(torch.as_tensor(end.x).to(self.center))
            self.lower = torch.linalg.cholesky(_square(self.lower @ torch.as_tensor(lower).to(self.lower)))
            end.x = np.zeros(k)

    def __len__(self) -> int:
        return len(self.sites) + len(self.edges)

    def _flat(self, u: torch.Tensor) -> torch.Tensor:
        """Coordinate of u: that of the Normal with the same part above it as the cut one has."""
        part = torch.special.log_ndtr((self.mean - u) / self.width)
        part = part - torch.special.log_ndtr(self.mean / self.width)
        return self.mean - self.width * torch.special.ndtri(part.exp())

    def _whole(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The flat vector of the scene (n,), and the log density that the coordinates and the edges bring."""
        n = len(self.sites)
        w = (z.index_select(0, self.index) - self.mean) / self.width
        above = torch.special.log_ndtr(self.mean / self.width)
        t = -torch.special.ndtri((torch.special.log_ndtr(-w) + above).exp())
        e = z[n:]
        f = self.mean + self.width * t - self.softness * e
        slope = 0.5 * (t * t - w * w) + above
        value = slope - torch.special.log_ndtr(f / self.softness) - 0.5 * e * e - 0.5 * LOG_2PI
        return z[:n].index_copy(0, self.index, f), value.sum()

    def log_density(self, z: torch.Tensor) -> torch.Tensor:
        """See `Target.log_density`."""
        whole, value = self._whole(z)
        parts: list[torch.Tensor] = []
        value = value + Density.apply(whole, self.scene, parts)
        self._note(z, tuple(parts))
        return value

    @torch.no_grad()
    def draw(
        self, z: torch.Tensor, noise: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """See `Target.draw`."""
        whole = self._whole(z.detach())[0]
        return whole, (self._recall(z) or self.scene.log_parts(whole))[0], torch.zeros(())


class Marginal(Target):
    """The sites that are not linear; fluxes and skies are drawn from their Gaussian, given the others."""

    word = "linear"

    def __init__(self, scene: Scene, z: torch.Tensor, covariance: torch.Tensor) -> None:
        self.linear = Linear(scene, scene.chart.values(z)[0])
        super().__init__(scene, z, covariance, self.linear.rest)
        self.noise = noise_size(self.linear)

    def log_density(self, z: torch.Tensor) -> torch.Tensor:
        """See `Target.log_density`."""
        value, solution = self.linear.evaluate(z)
        self._note(z, solution)
        return value

    @torch.no_grad()
    def draw(
        self, z: torch.Tensor, noise: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """See `Target.draw`."""
        z = z.detach()
        solution = self._recall(z) or self.linear.evaluate(z)[1]
        amplitudes, log_weight = sample_amplitudes(solution, noise.to(z.device))
        whole = self.linear.embed(z)
        whole[self.linear.sites] = amplitudes.to(z.dtype)
        return whole, solution.log_likelihoods(amplitudes), log_weight


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
    closed = ("Normal", "SoftPositive")
    odd = next((s for s in amplitudes if type(s.prior).__name__ not in closed), None)
    if odd is not None:
        return (
            f"Fluxes and skies are integrated out where their priors are Normal, and {odd.name} has a {type(odd.prior).__name__}: "
            "give it a Normal prior, or leave marginalize away."
        )
    return "" if linear else "There is nothing to integrate out: no flux or sky is free."


def all_linear(scene: Scene) -> bool:
    """Whether every free parameter is a flux or sky whose posterior is known in closed form."""
    return 0 < len(scene.names) == len(linear_sites(scene))


def felt_edges(fit: Fit) -> list[int]:
    """Places in the flat vector of fluxes that are not to be negative and lie near the edge of their prior at 0."""
    near = [
        isinstance(s.prior, SoftPositive) and not fit.values[s.name] > CLEAR_OF_EDGE * fit.errors[s.name]
        for s in fit.scene.layout.sites
    ]
    return [i for i, yes in enumerate(near) if yes]


def _square(lower: torch.Tensor) -> torch.Tensor:
    return lower @ lower.T


def _key(z: torch.Tensor) -> bytes:
    return z.detach().numpy().tobytes()
