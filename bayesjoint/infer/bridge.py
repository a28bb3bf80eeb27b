"""Bridge: the log evidence from draws of the posterior itself, by way of a Normal that is like it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.linalg import solve_triangular
from scipy.special import expit, log_expit, logsumexp

from bayesjoint.infer.draws import densities
from bayesjoint.infer.evidence import check_priors, one_turn
from bayesjoint.posterior.arviz_seam import mean_ess

if TYPE_CHECKING:
    from collections.abc import Callable

    from bayesjoint.scene.scene import Scene

__all__ = ["bridge", "bridged", "crossed"]

APART = 4.0
"""Difference of the two halves' estimates, in units of its error, that is said."""


def bridge(
    target_p: np.ndarray, normal_p: np.ndarray, target_q: np.ndarray, normal_q: np.ndarray, effective: float
) -> tuple[float, np.ndarray, np.ndarray]:
    """Log ratio of the norms of two densities by Meng & Wong's (1996, Statistica Sinica 6, 831) optimal bridge.

    Parameters
    ----------
    target_p, normal_p : ndarray, shape (m,)
        Log density of the target (not normalised) and of the Normal (normalised) at draws of the target.
    target_q, normal_q : ndarray, shape (s,)
        The same at draws of the Normal.
    effective : float
        Effective number of the target's draws.

    Returns
    -------
    value : float
        Log of the target's norm.
    over_p, over_q : ndarray, shape (m,), (s,)
        Terms whose means over either draws are equal at that value; the error follows from their scatter.
    """
    share = math.log(effective / len(target_q))
    lp, lq = target_p - normal_p, target_q - normal_q
    value = float(np.median(lp))
    for _ in range(1000):
        # q / (s1 p / Z + s2 q) over the target's draws and p / (...) over the Normal's, up to the same factor
        top = logsumexp(log_expit(lq - value + share)) - math.log(len(lq)) - share
        bottom = logsumexp(log_expit(value - share - lp)) - math.log(len(lp))
        step = float(top - bottom)
        value += step
        if abs(step) < 1e-10 or not math.isfinite(value):
            break
    return value, expit(value - share - lp), expit(lq - value + share)


def bridged(scene: Scene, theta: np.ndarray, lp: np.ndarray, draws: int, seed: int) -> dict[str, Any]:
    """Log evidence of a scene from chains of its posterior, as `bayesjoint.infer.evidence.noted` reads it.

    Parameters
    ----------
    theta : ndarray, shape (chains, draws, n)
        Values of the sites, in the order of ``scene.names``.
    lp : ndarray, shape (chains, draws)
        Log density of each in the flat coordinates.
    draws, seed : int
        As in `crossed`.

    Raises
    ------
    ValueError
        If a prior is improper, there are too few draws for a covariance, or `lp` is not of this scene.
    """
    check_priors(scene)
    chains, count, n = theta.shape
    if chains * (count // 2) < max(2 * n, 20) or count < 8:
        raise ValueError(f"A log evidence needs more draws than {chains} x {count} for {n} parameters: draw at least {max(4 * n, 40)}.")
    z, middle = _flat(scene, theta)
    if abs(float(densities(scene, z[0, :1])[0][0]) - lp[0, 0]) > 1e-3 + 1e-5 * abs(lp[0, 0]):
        raise ValueError("The density of post.scene is not that of the draws: set post.scene to the scene that they were drawn from.")

    def density(x: np.ndarray) -> np.ndarray:
        return np.where(one_turn(scene, x, middle), densities(scene, x)[0], -np.inf)

    value, error, apart = crossed(z, lp, density, draws, seed)
    said = []
    if apart > APART:
        said.append(f"The two halves of the draws give log evidences {apart:.0f} errors apart: draw more.")
    return {"log_evidence": value, "log_evidence_error": error, "log_evidence_method": "bridge sampling", "log_evidence_words": said}


def crossed(z: np.ndarray, lp: np.ndarray, density: Callable[[np.ndarray], np.ndarray], draws: int, seed: int) -> tuple[float, float, float]:
    """Log norm of a density from chains that follow it.

    A Normal is fitted to the first half of every chain, and bridged to the second; then the other way round; the mean of both estimates is
    taken. Draws that shape the Normal are never those that are weighed with it, which would bias the estimate low.

    Parameters
    ----------
    z : ndarray, shape (chains, draws, n)
        The chains.
    lp : ndarray, shape (chains, draws)
        Log density of each.
    density : callable
        Log density of vectors (s, n), shape (s,).
    draws : int
        Draws of the two Normals together.
    seed : int
        Of these.

    Returns
    -------
    value, error, apart : float
        Log norm, its standard error, and the difference of the two estimates in units of its error.

    Notes
    -----
    Gronau et al. 2017 (J. Math. Psychol. 81, 80), with the error of Frühwirth-Schnatter 2004 (Econometrics Journal 7, 143): the scatter of
    the bridge's terms, over the effective number of draws. What the two halves' moments have in common enters both estimates alike, so
    that averaging lowers the Normals' part of the error alone.
    """
    n, half = z.shape[2], z.shape[1] // 2
    rng = np.random.default_rng((seed, 1996))  # a stream that no sampler has
    values, errors = [], []
    for fitted, weighed in ((slice(0, half), slice(half, 2 * half)), (slice(half, 2 * half), slice(0, half))):
        x, p = z[:, fitted].reshape(-1, n), z[:, weighed]
        center, lower = x.mean(0), np.linalg.cholesky(np.cov(x.T).reshape(n, n))
        y = rng.standard_normal((max(draws // 2, 1), n))
        normal_p = _normal(solve_triangular(lower, (p.reshape(-1, n) - center).T, lower=True).T, lower)
        effective = float(np.clip(np.nanmedian(mean_ess(p)), 1.0, p.shape[0] * p.shape[1]))
        value, over_p, over_q = bridge(lp[:, weighed].ravel(), normal_p, density(center + y @ lower.T), _normal(y, lower), effective)
        mixing = float(mean_ess(over_p.reshape(*p.shape[:2], 1))[0])
        values.append(value)
        errors.append([_scatter(over_p, mixing if np.isfinite(mixing) else effective), _scatter(over_q, len(over_q))])
    by_p, by_q = np.square(errors).mean(0)
    return float(np.mean(values)), math.sqrt(by_p + by_q / 2), abs(values[0] - values[1]) / math.sqrt(2 * (by_p + by_q))


def _scatter(terms: np.ndarray, effective: float) -> float:
    """Relative error of the terms' mean."""
    return float(terms.std() / (terms.mean() * math.sqrt(effective)))


def _normal(y: np.ndarray, lower: np.ndarray) -> np.ndarray:
    """Log density of the Normal at its whitened draws (s, n)."""
    return -0.5 * (y**2).sum(-1) - 0.5 * y.shape[-1] * math.log(2 * math.pi) - np.log(np.diag(lower)).sum()


def _flat(scene: Scene, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Flat vectors (chains, draws, n) of values, and their middle (n,): angles with a coordinate of their own lie within half a turn of it."""
    rows = theta.reshape(-1, theta.shape[-1])
    z = np.stack([scene.chart.unconstrain(torch.as_tensor(r, dtype=scene.dtype).to(scene.device)).cpu().double().numpy() for r in rows])
    middle = z.mean(0)
    for k in torch.nonzero(scene.chart.angle).ravel().tolist():
        middle[k] = np.degrees(np.angle(np.exp(2j * np.radians(z[:, k])).mean())) / 2
        z[:, k] = middle[k] + (z[:, k] - middle[k] + 90) % 180 - 90
    return z.reshape(theta.shape), middle
