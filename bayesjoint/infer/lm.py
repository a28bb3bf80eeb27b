"""Levenberg-Marquardt on the flat coordinates: the maximum of a scene's log density, and its curvature."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from bayesjoint.scene.scene import Scene

__all__ = ["State", "levenberg_marquardt"]

DECREMENT = 1e-6
"""Converged where the expected gain of a full step, in log density, is below this: 0.0014 sigma from the maximum."""
LONGEST = 1.0
"""Longest step in a logarithm or ellipticity."""


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


def linearise(scene: Scene, z: torch.Tensor, prior: bool) -> State:
    """Log density, gradient and Gauss-Newton precision at z; bounded memory: one image's Jacobian at a time."""
    full = scene.full(scene.chart.values(z)[0])
    n = len(scene.names)
    slope, coordinates = scene.chart.slopes(z)
    chi2, value = 0.0, 0.0
    g, h = torch.zeros_like(z), torch.zeros(n, n, dtype=z.dtype, device=z.device)
    for term in scene.likelihoods:
        c, gi, hi = term.normal_equations(full)
        chi2 += float(c)
        value += term.const - 0.5 * float(c)
        g += slope.T @ gi[:n]
        h += slope.T @ hi[:n, :n] @ slope
    if prior:
        x = z.detach().clone().requires_grad_(True)
        lp = scene.log_prior(x)
        g = g + torch.autograd.grad(lp, x)[0]
        value += float(lp.detach())
        h = h + scene.chart.precision(z, coordinates)
    return State(z, value, chi2, g, 0.5 * (h + h.T))


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
    val, vec = torch.linalg.eigh(m)
    inverse = torch.where(val > 1e-13 * val.max(), 1 / val.clamp(min=1e-300), torch.zeros_like(val))
    return (vec @ (inverse * (vec.T @ (gradient / scale)))) / scale


def levenberg_marquardt(scene: Scene, z: torch.Tensor, *, prior: bool, max_iterations: int, report: Callable[[dict[str, Any]], None]) -> State:
    """Climb to the maximum of the log density.

    The damping follows the gain ratio (Nielsen 1999, IMM-REP-1999-05): a step is taken only if the log density rises.

    Returns
    -------
    State
        The best point, with `history` (the start included), `converged` and `reason`.
    """
    state = linearise(scene, z, prior)
    damping, growth = 1e-3, 2.0
    long = torch.as_tensor(
        np.array([1.0 if s.spec.unit not in ("flux", "image") and s.spec.name not in ("x", "y") else np.inf for s in scene.layout.sites]) * LONGEST,
        dtype=z.dtype,
    ).to(z.device)
    history = [{"iteration": 0, "log_density": state.log_density, "chi2": state.chi2, "damping": damping, "step": 0.0, "accepted": True}]
    report(history[0])
    reason, converged = f"no convergence in {max_iterations} iterations", False
    for iteration in range(1, max_iterations + 1):
        newton = solve(state.precision, state.gradient, 0.0)
        decrement = float(state.gradient @ newton) / 2
        if decrement < DECREMENT:
            converged, reason = True, f"the expected gain of another step is {max(decrement, 0.0):.1e} in log density"
            break
        step = solve(state.precision, state.gradient, damping)
        step = step / torch.clamp((step.abs() / long).max(), min=1.0)
        expected = float(state.gradient @ step - 0.5 * step @ state.precision @ step)
        trial = state.z + step
        value = objective(scene, trial, prior)
        gain = (value - state.log_density) / max(expected, 1e-300)
        accepted = value > state.log_density or (
            expected < 1e-9 * abs(state.log_density) and value >= state.log_density - 1e-10 * abs(state.log_density)
        )
        if accepted:
            state = linearise(scene, trial, prior)
            damping, growth = max(damping * max(1 / 3, 1 - (2 * min(gain, 1.0) - 1) ** 3), 1e-12), 2.0
        else:
            damping, growth = damping * growth, growth * 2
        size = float((step.abs() * torch.sqrt(torch.diagonal(state.precision).clamp(min=0))).max())
        history.append(
            {"iteration": iteration, "log_density": state.log_density, "chi2": state.chi2, "damping": damping, "step": size, "accepted": accepted}
        )
        report(history[-1])
        if not accepted and (damping > 1e12 or size < 1e-7):
            converged = decrement < 1e-3
            reason = f"no further step raises the log density; the expected gain of one is {decrement:.1e}"
            break
    state.history, state.converged, state.reason = history, converged, reason
    return state
