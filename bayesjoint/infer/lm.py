"""Levenberg-Marquardt on the flat coordinates: the maximum of a scene's log density, and its curvature."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bayesjoint.infer.polish import polish
from bayesjoint.scene.linear import Linear, linear_sites

if TYPE_CHECKING:
    from bayesjoint.scene.scene import Scene

__all__ = ["State", "levenberg_marquardt"]

DECREMENT = 1e-6
"""Converged where the expected gain of a full step, in log density, is below this: 0.0014 sigma from the maximum."""
CHORD = 1e-2
"""Expected gain below which (0.14 sigma from the maximum) the precision is taken to be that at the maximum."""
PIVOT = 1e-6
"""Least pivot with which a system is taken to have no direction without curvature."""
CREEP, NEAR, POLISH = 0.3, 30.0, 3
"""A fit of which two steps in a row gained less than this part of what was expected, and that less than so much, is polished; so often at most."""
LONGEST = 1.0
"""Longest step in a logarithm or ellipticity."""


@dataclass
class Linearised:
    """The model to first order about a point: what a Gauss-Newton step is made of, and each image's share by the full vector."""

    full: np.ndarray
    slope: torch.Tensor
    gradient: torch.Tensor
    precision: torch.Tensor
    parts: list[tuple[torch.Tensor, torch.Tensor]]


@dataclass
class State:
    """A point of the fit: z, its log density, chi² of the data, gradient and precision (minus the second derivative)."""

    z: torch.Tensor
    log_density: float
    chi2: float
    gradient: torch.Tensor
    precision: torch.Tensor
    history: list[dict[str, Any]] = field(default_factory=list)
    converged: bool = False
    reason: str = ""
    linear: Linearised | None = None
    """Of the last point at which the derivatives were made: this one, or one close by."""


def linearise(scene: Scene, z: torch.Tensor, prior: bool) -> State:
    """Log density, gradient and Gauss-Newton precision at z; bounded memory: one image's Jacobian at a time."""
    full = scene.full(scene.chart.values(z)[0])
    n = len(scene.names)
    slope, coordinates = scene.chart.slopes(z)
    if scene.links:
        links = scene.links.slopes(full[: scene.layout.count])
        slope = links @ slope
    chi2, value, parts = 0.0, 0.0, []
    g, h = torch.zeros_like(full), torch.zeros(len(full), len(full), dtype=z.dtype, device=z.device)
    for term in scene.likelihoods:
        c, v, gi, hi = term.normal_equations(full)
        parts.append((gi, hi))
        chi2 += float(c)
        value += float(v)
        g += gi
        h += hi
    if not scene.links:
        slope = torch.cat([slope, slope.new_zeros(len(full) - n, n)])
    by_site = g[:n] if not scene.links else links.T @ g
    g, h = slope.T @ g, congruent(slope, h) + scene.chart.bend(z, by_site, coordinates)
    if prior:
        x = z.detach().clone().requires_grad_(True)
        lp = scene.log_prior(x)
        g = g + torch.autograd.grad(lp, x)[0]
        value += float(lp.detach())
        h = h + scene.chart.precision(z, coordinates)
    h = 0.5 * (h + h.T)
    return State(z, value, chi2, g, h, linear=Linearised(full.numpy(force=True).astype(float), slope, g, h, parts))


def congruent(slope: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
    """`slope.T @ h @ slope` of a symmetric h: a value depends on a few coordinates, so that the slopes are nearly all zero."""
    sparse = slope.T.to_sparse()
    return torch.sparse.mm(sparse, torch.sparse.mm(sparse, h).T.contiguous())


def objective(scene: Scene, z: torch.Tensor, prior: bool) -> float:
    """Log density (or log likelihood) at z; -inf where it is not finite."""
    with torch.no_grad():
        v = scene.log_density(z) if prior else scene.log_likelihood(z).sum()
    return float(v) if torch.isfinite(v) else -float("inf")


def solve(precision: torch.Tensor, gradient: torch.Tensor, damping: float) -> torch.Tensor:
    """Damped Newton step, in units of each coordinate's own curvature; directions without any stay at rest."""
    if not len(gradient):  # everything is held
        return gradient
    scale = torch.sqrt(torch.diagonal(precision).clamp(min=1e-300))
    scale = torch.where(scale > 1e-140, scale, torch.ones_like(scale))
    m = precision / scale[:, None] / scale
    m = m + damping * torch.eye(len(scale), dtype=m.dtype, device=m.device)
    factor, failed = torch.linalg.cholesky_ex(m)
    if not failed and float(torch.diagonal(factor).min()) > PIVOT:  # the common case, many times as fast
        return torch.cholesky_solve((gradient / scale)[:, None], factor)[:, 0] / scale
    val, vec = torch.linalg.eigh(m)
    inverse = torch.where(val > 1e-13 * val.max(), 1 / val.clamp(min=1e-300), torch.zeros_like(val))
    return (vec @ (inverse * (vec.T @ (gradient / scale)))) / scale


class _Trial:
    """The log density at trial points, fluxes and skies moved to where it is highest (variable projection, Golub & Pereyra 1973)."""

    def __init__(self, scene: Scene, z: torch.Tensor, prior: bool) -> None:
        self.scene, self.prior = scene, prior
        self.linear = Linear(scene, scene.chart.values(z)[0]) if prior and linear_sites(scene) else None

    def __call__(self, z: torch.Tensor) -> tuple[torch.Tensor, float]:
        if self.linear is not None:
            try:
                best, value = self.linear.profile(z)
            except torch.linalg.LinAlgError:  # two of them do the same to the images, there
                best, value = z, float("nan")
            if np.isfinite(value):
                return best, value
        return z, objective(self.scene, z, self.prior)


def chord(scene: Scene, state: State, prior: bool) -> State | None:
    """A Newton step by the precision at hand, and the gradient where it leads; None where that gains less than a tenth of what is left."""
    trial = state.z + solve(state.precision, state.gradient, 0.0)
    x = trial.detach().clone().requires_grad_(True)
    value = scene.log_density(x) if prior else scene.log_likelihood(x).sum()
    (gradient,) = torch.autograd.grad(value, x)
    new = State(trial, float(value.detach()), state.chi2, gradient, state.precision, linear=state.linear)
    fell = decrement(new) < 0.1 * decrement(state) and new.log_density >= state.log_density - 1e-10 * abs(state.log_density)
    return new if fell else None


def decrement(state: State) -> float:
    """Expected gain of a full step, in log density."""
    return float(state.gradient @ solve(state.precision, state.gradient, 0.0)) / 2


def levenberg_marquardt(
    scene: Scene,
    z: torch.Tensor,
    *,
    prior: bool,
    max_iterations: int,
    report: Callable[[dict[str, Any]], None] = lambda record: None,
    enough: float = DECREMENT,
) -> State:
    """Climb to the maximum of the log density.

    The damping follows the gain ratio (Nielsen 1999, IMM-REP-1999-05): a step is taken only if the log density rises. After each,
    fluxes and skies are solved for in closed form. The last step goes by the precision of the one before. Where steps near the maximum
    gain far less than expected, `polish` goes the rest of the way. It ends where another step is expected to gain less than `enough` in
    log density.

    Returns
    -------
    State
        The best point, with `history` (the start included), `converged` and `reason`.
    """
    trial, state = _Trial(scene, z, prior), linearise(scene, z, prior)
    damping, growth = 1e-3, 2.0
    long = torch.as_tensor(
        np.array([1.0 if s.spec.unit not in ("flux", "image") and s.spec.name not in ("x", "y") else np.inf for s in scene.layout.sites]) * LONGEST,
        dtype=z.dtype,
    ).to(z.device)
    history = [{"iteration": 0, "log_density": state.log_density, "chi2": state.chi2, "damping": damping, "step": 0.0, "accepted": True}]
    report(history[0])
    slow = polished = 0
    reason, converged = f"no convergence in {max_iterations} iterations", False
    for iteration in range(1, max_iterations + 1):
        gain = decrement(state)
        if gain < enough:
            converged, reason = True, f"the expected gain of another step is {max(gain, 0.0):.1e} in log density"
            break
        before = state.log_density
        near = chord(scene, state, prior) if gain < CHORD else None
        if near is not None:
            step, state, accepted = near.z - state.z, near, True
        else:
            step = solve(state.precision, state.gradient, damping)
            step = step / torch.clamp((step.abs() / long).max(), min=1.0)
            expected = float(state.gradient @ step - 0.5 * step @ state.precision @ step)
            point, value = trial(state.z + step)
            ratio = (value - state.log_density) / max(expected, 1e-300)
            accepted = value > state.log_density or (
                expected < 1e-9 * abs(state.log_density) and value >= state.log_density - 1e-10 * abs(state.log_density)
            )
            if accepted:
                state = linearise(scene, point, prior)
                damping, growth = max(damping * max(1 / 3, 1 - (2 * min(max(ratio, -1.0), 1.0) - 1) ** 3), 1e-12), 2.0
            else:
                damping, growth = damping * growth, growth * 2
        slow = slow + 1 if state.log_density - before < CREEP * gain else 0
        if slow > 1 and gain < NEAR and polished < POLISH:
            polished, slow = polished + 1, 0
            if (higher := polish(scene, state, prior)) is not None:
                step, state, accepted, damping, growth = higher - state.z, linearise(scene, higher, prior), True, 1e-3, 2.0
        size = float((step.abs() * torch.sqrt(torch.diagonal(state.precision).clamp(min=0))).max())
        history.append(
            {"iteration": iteration, "log_density": state.log_density, "chi2": state.chi2, "damping": damping, "step": size, "accepted": accepted}
        )
        report(history[-1])
        if not accepted and (damping > 1e12 or size < 1e-7):
            converged = gain < 1e-3
            reason = f"no further step raises the log density; the expected gain of one is {gain:.1e}"
            break
    state.history, state.converged, state.reason = history, converged, reason
    return state
