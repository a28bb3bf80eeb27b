"""From flat draws to a Posterior: values, log likelihoods, and importance weights against the exact density."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.special import logsumexp

from bayesjoint.infer.evidence import k_threshold, note
from bayesjoint.infer.pool import cores, share
from bayesjoint.infer.targets import Target
from bayesjoint.posterior.arviz_seam import pareto_smooth
from bayesjoint.scene.density import values_of
from bayesjoint.threads import few_threads, largest, threads

if TYPE_CHECKING:
    from bayesjoint.infer.fit import Fit
    from bayesjoint.scene.scene import Scene

__all__ = ["PROPOSALS", "Weighed", "check_request", "densities", "resampled", "weighed"]

PROPOSALS = 4
"""Proposals for each draw kept."""
WORTH = 3e7
"""Pixels to be drawn from which on several processes are worth their start."""
PERIOD = 180.0
NARROW = 0.02
"""Width of an angle, in periods, up to which what lies beyond one turn does not matter."""


def weighed(
    target: Target, y: np.ndarray, density: Callable[[np.ndarray], np.ndarray], rng: np.random.Generator, workers: int | None = None
) -> tuple[Weighed, dict[str, Any]]:
    """Weigh draws of a proposal against the target.

    Parameters
    ----------
    target : Target
        What is to be drawn from.
    y : ndarray, shape (s, k)
        Whitened draws.
    density : callable
        The proposal's log density (s,) at such draws; angles that are known but poorly are counted on the circle by it.
    rng : Generator
        For what was integrated out.
    workers : int, optional
        Processes, this one among them; default, as many as there are cores, where there is enough to do.

    Returns
    -------
    draws : Weighed
    info : dict
        ``k_hat``, its threshold, the importance weights' effective sample size, the log evidence.
    """
    z, log_q = _wrapped(target, y, density)
    noise = rng.standard_normal((len(z), target.noise))
    many = cores() if len(z) * sum(im.data.size for im in target.scene.images) > WORTH else 1
    workers = 1 if target.scene.device.type != "cpu" else many if workers is None else workers
    count = torch.get_num_threads() if workers == 1 else max(1, cores() // workers)
    parts = np.array_split(np.arange(len(z)), 1 if workers == 1 else min(4 * workers, len(z)))
    found = share(_assess, [(target, z[p], noise[p], count) for p in parts], workers)
    lp, whole, ll = (np.concatenate(x) for x in zip(*found, strict=True))
    lp = np.where(np.isfinite(lp), lp, -np.inf)
    weights, k_hat = pareto_smooth(lp - log_q)
    info = {"k_hat": k_hat, "k_threshold": k_threshold(len(z)), "importance_ess": float(1 / (weights**2).sum()), "marginalize": target.word}
    return Weighed(target.scene, whole, ll, weights), info | note(target.scene, lp - log_q)


@dataclass
class Weighed:
    """Draws of a proposal: whole flat vectors (s, n), log likelihoods by image (s, images), and Pareto-smoothed weights (s,) of sum 1."""

    scene: Scene
    z: np.ndarray
    log_likelihood: np.ndarray
    weights: np.ndarray

    def kept(self, which: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Values of all sites (d, n) of some of them, log likelihoods by image, and log densities in the scene."""
        z, ll = self.z[which], self.log_likelihood[which]
        return values_of(self.scene, z), ll, ll.sum(1) + _log_priors(self.scene, z)


@torch.no_grad()
def _assess(part: tuple[Target, np.ndarray, np.ndarray, int], watch: Callable[[], None]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log density of each place of a target, and what is drawn there: the whole flat vector, and its log likelihood by image."""
    target, z, noise, count = part
    scene, like = target.scene, target.center
    lp, whole, ll = np.empty(len(z)), np.full((len(z), len(scene.names)), np.nan), np.full((len(z), len(scene.images)), np.nan)
    with threads(count), few_threads(largest(scene)):
        for i, (row, e) in enumerate(zip(z, noise, strict=True)):
            watch()
            place = torch.as_tensor(row, dtype=like.dtype).to(like.device)
            lp[i] = float(target.log_density(place))
            if np.isfinite(lp[i]):
                whole[i], ll[i] = (v.cpu().double().numpy() for v in target.draw(place, torch.as_tensor(e)))
            target.forget()
    return lp, whole, ll


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
def _log_priors(scene: Scene, z: np.ndarray) -> np.ndarray:
    return np.array([float(scene.log_prior(torch.as_tensor(row, dtype=scene.dtype).to(scene.device))) for row in z])


def check_request(fit: Fit, draws: int, seed: int, workers: int | None) -> None:
    """Refuse, in one sentence, to sample nothing, or with draws, a seed or workers that are no whole numbers."""
    if not len(fit.names):
        raise ValueError("There is nothing to sample: every parameter of the scene is held; free some with scene.free(...).")
    if int(draws) != draws or draws < 1:
        raise ValueError(f"draws is to be a whole number of at least 1, and {draws!r} came.")
    if int(seed) != seed or seed < 0:
        raise ValueError(f"seed is to be a whole number that is not negative, and {seed!r} came.")
    if workers is not None and (int(workers) != workers or workers < 1):
        raise ValueError(f"workers is to be a whole number of at least 1, or None for as many as there are cores, and {workers!r} came.")
