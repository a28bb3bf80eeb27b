"""From flat draws to a Posterior: values, log likelihoods, and importance weights against the exact density."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.special import logsumexp

from bayesjoint.infer.evidence import k_threshold, note
from bayesjoint.infer.targets import Target
from bayesjoint.posterior.arviz_seam import pareto_smooth
from bayesjoint.threads import few_threads

if TYPE_CHECKING:
    from bayesjoint.infer.fit import Fit
    from bayesjoint.scene.scene import Scene

__all__ = ["PROPOSALS", "check_request", "densities", "finished", "largest", "resampled", "values_of", "weighed"]

PROPOSALS = 4
"""Proposals for each draw kept."""
PERIOD = 180.0
NARROW = 0.02
"""Width of an angle, in periods, up to which what lies beyond one turn does not matter."""


def largest(scene: Scene) -> int:
    """Pixels of the scene's largest image."""
    return max(im.data.size for im in scene.images)


def weighed(target: Target, y: np.ndarray, density: Callable[[np.ndarray], np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
    """Weigh draws of a proposal against the target.

    Parameters
    ----------
    target : Target
        What is to be drawn from; it keeps what `finished` needs of each place.
    y : ndarray, shape (s, k)
        Whitened draws.
    density : callable
        The proposal's log density (s,) at such draws; angles that are known but poorly are counted on the circle by it.

    Returns
    -------
    z, log_density : ndarrays, shape (s, k) and (s,)
        Flat coordinates, angles within one turn, and the target's log density.
    weights : ndarray, shape (s,)
        Pareto-smoothed, of sum 1.
    info : dict
        ``k_hat``, its threshold, the importance weights' effective sample size, the log evidence.
    """
    z, log_q = _wrapped(target, y, density)
    lp = np.empty(len(z))
    with torch.no_grad():
        for i, row in enumerate(z):
            lp[i] = float(target.log_density(torch.as_tensor(row, dtype=target.center.dtype).to(target.center.device)))
    lp = np.where(np.isfinite(lp), lp, -np.inf)
    weights, k_hat = pareto_smooth(lp - log_q)
    info = {"k_hat": k_hat, "k_threshold": k_threshold(len(z)), "importance_ess": float(1 / (weights**2).sum()), "marginalize": target.word}
    info |= note(target.scene, lp - log_q)
    return z, lp, weights, info


def _wrapped(target: Target, y: np.ndarray, density: Callable[[np.ndarray], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Flat coordinates with angles within half a turn of the centre, and the proposal's density there, all turns together."""
    center, lower = target.center.cpu().double().numpy(), target.lower.cpu().double().numpy()
    scale = np.log(np.diag(lower)).sum()
    z = center + y @ lower.T
    widths = np.sqrt((lower**2).sum(1)) / PERIOD
    wide = [i for i in target.angles if widths[i] > NARROW]
    if not wide:
        return z, density(y) - scale
    z[:, wide] = center[wide] + (z[:, wide] - center[wide] + PERIOD / 2) % PERIOD - PERIOD / 2
    turns = []
    for many in itertools.product(*(range(-n, n + 1) for n in (min(int(np.ceil(4 * widths[i])) + 1, 8) for i in wide))):
        shift = np.zeros_like(center)
        shift[wide] = np.multiply(many, PERIOD)
        turns.append(density(np.linalg.solve(lower, (z + shift - center).T).T))
    return z, logsumexp(turns, axis=0) - scale


def resampled(weights: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Which draws to keep, by their weights: systematic resampling, which makes fewest doubles, in random order."""
    edges = (np.arange(draws) + rng.random()) / draws
    return rng.permutation(np.minimum(np.searchsorted(np.cumsum(weights), edges), len(weights) - 1))


def finished(target: Target, z: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values of all sites (s, n) at draws (s, k) of the target, log likelihoods by image, and log densities in the scene."""
    whole, ll, joint = [], [], []
    for row in z:
        place, by_image, lp = target.finish(torch.as_tensor(row, dtype=target.center.dtype).to(target.center.device))
        whole.append(place.cpu().double().numpy())
        ll.append(by_image.cpu().double().numpy())
        joint.append(float(lp))
    return values_of(target.scene, np.array(whole)), np.array(ll), np.array(joint)


@torch.no_grad()
def densities(scene: Scene, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Log density of each flat draw, shape (s,), and its log likelihood by image, shape (s, images)."""
    lp, ll = np.empty(len(z)), np.empty((len(z), len(scene.images)))
    with few_threads(largest(scene)):
        for k, row in enumerate(z):
            x = torch.as_tensor(row, dtype=scene.dtype).to(scene.device)
            by_image, prior = scene.log_parts(x)
            ll[k] = by_image.cpu().double().numpy()
            lp[k] = float(by_image.sum() + prior)
    return np.where(np.isfinite(lp), lp, -np.inf), ll


@torch.no_grad()
def values_of(scene: Scene, z: np.ndarray) -> np.ndarray:
    """Values of the sites at flat draws (s, n)."""
    out = np.empty_like(z)
    for k, row in enumerate(z):
        out[k] = scene.chart.values(torch.as_tensor(row, dtype=scene.dtype).to(scene.device))[0].cpu().double().numpy()
    return out


def check_request(fit: Fit, draws: int, seed: int) -> None:
    """Refuse, in one sentence, to sample nothing, or with draws or a seed that are no whole numbers."""
    if not len(fit.names):
        raise ValueError("There is nothing to sample: every parameter of the scene is held; free some with scene.free(...).")
    if int(draws) != draws or draws < 1:
        raise ValueError(f"draws is to be a whole number of at least 1, and {draws!r} came.")
    if int(seed) != seed or seed < 0:
        raise ValueError(f"seed is to be a whole number that is not negative, and {seed!r} came.")
