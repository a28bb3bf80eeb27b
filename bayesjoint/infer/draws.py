"""From flat draws to a Posterior: values, log likelihoods, and importance weights against the exact density."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.special import logsumexp

from bayesjoint.infer.evidence import k_threshold, note
from bayesjoint.infer.pool import cores, share
from bayesjoint.infer.proposal import Proposal
from bayesjoint.infer.targets import Target
from bayesjoint.posterior.arviz_seam import pareto_smooth
from bayesjoint.scene.density import values_of
from bayesjoint.threads import few_threads, largest, threads

if TYPE_CHECKING:
    from bayesjoint.infer.fit import Fit
    from bayesjoint.scene.scene import Scene

__all__ = ["PROPOSALS", "Weighed", "check_request", "densities", "failure", "forced", "resampled", "weighed"]

PROPOSALS = 4
"""Proposals for each draw kept."""
ROUNDS = 4
"""Rounds in which they are drawn."""
LEAST_ROUND = 50
"""Draws a round below which there are no rounds."""
GOOD_EFFICIENCY = 0.5
"""Effective part of the weighted draws from which on the proposal stays as it is."""
WORTH = 3e7
"""Pixels to be drawn from which on several processes are worth their start."""


def weighed(
    target: Target,
    proposal: Proposal,
    size: int,
    rng: np.random.Generator,
    workers: int | None = None,
    adapt: bool = True,
) -> tuple[Weighed, dict[str, Any]]:
    """Weigh draws of a proposal against the target.

    The draws are made in rounds. Where the weights of those before are poor, the next are proposed
    from Student-t's of their weighted means and covariances; all are weighed by the mixture of what
    proposed them.

    Parameters
    ----------
    target : Target
        What is to be drawn from.
    proposal : Proposal
        Where draws are proposed first.
    size : int
        How many.
    rng : Generator
        For the draws, and for what was integrated out.
    workers : int, optional
        Processes, this one among them; default, as many as there are cores, where there is enough
        to do.
    adapt : bool
        False proposes all draws from `proposal`, in one round.

    Returns
    -------
    draws : Weighed
    info : dict
        ``k_hat``, its threshold, the importance weights' effective sample size, the log evidence;
        of several maxima, ``maxima`` is what each holds of the posterior.

    Notes
    -----
    Adaptive multiple importance sampling: Cornuet et al. 2012 (Scand. J. Stat. 39, 798).
    """
    many = cores() if size * sum(im.data.size for im in target.scene.images) > WORTH else 1
    workers = 1 if target.scene.device.type != "cpu" else many if workers is None else workers
    count = torch.get_num_threads() if workers == 1 else max(1, cores() // workers)
    proposals, drawn, made = [proposal], [0], []
    rounds = ROUNDS if adapt and size >= ROUNDS * LEAST_ROUND else 1
    for n in np.diff(np.rint(np.linspace(0, size, rounds + 1))).astype(int):
        z = proposals[-1].sample(n, rng)
        drawn[-1] += n
        noise = rng.standard_normal((n, target.noise))
        pieces = np.array_split(np.arange(n), 1 if workers == 1 else min(4 * workers, n))
        results = share(_assess, [(target, z[p], noise[p], count) for p in pieces], workers)
        made.append((z, *(np.concatenate(x) for x in zip(*results, strict=True))))
        z, lp, whole, ll = (np.concatenate(x) for x in zip(*made, strict=True))
        log_weights = np.where(np.isfinite(lp), lp, -np.inf) - _mixed(proposals, drawn, z)
        weights, k_hat = pareto_smooth(log_weights)
        effective = float(1 / (weights**2).sum())
        if len(z) < size and effective < GOOD_EFFICIENCY * len(z):
            adapted = proposal.adapted(z, weights)
            if adapted is not None:
                proposals.append(adapted)
                drawn.append(0)
    info = {
        "k_hat": k_hat,
        "k_threshold": k_threshold(size),
        "importance_ess": effective,
        "marginalize": target.word,
    }
    if len(proposal.parts) > 1:
        info["maxima"] = (weights @ proposal.responsibility(z)).tolist()
    return Weighed(target.scene, whole, ll, weights), info | note(target.scene, log_weights)


def _mixed(proposals: list[Proposal], drawn: list[int], z: np.ndarray) -> np.ndarray:
    """Log density (s,) at flat coordinates (s, k) of the mixture of proposals that so many were drawn from."""
    used = [(p, n) for p, n in zip(proposals, drawn, strict=True) if n]
    parts = [p.log_density(z) + math.log(n / sum(drawn)) for p, n in used]
    return logsumexp(parts, axis=0)


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
                *draw, log_weight = target.draw(place, torch.as_tensor(e))
                whole[i], ll[i] = (v.cpu().double().numpy() for v in draw)
                lp[i] += float(log_weight)
            target.forget()
    return lp, whole, ll


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


def check_request(fit: Fit, draws: int, seed: int, workers: int | None, force: bool) -> None:
    """Refuse, in one sentence, what cannot be sampled or is not to be.

    Raises
    ------
    ValueError
        For a scene without free parameters, a fit that has not converged or is singular (unless
        `force`), and draws, a seed or workers that are no whole numbers.
    """
    if not len(fit.names):
        raise ValueError("There is nothing to sample: every parameter of the scene is held; free some with scene.free(...).")
    if int(draws) != draws or draws < 1:
        raise ValueError(f"draws must be a whole number of at least 1; got {draws!r}. Give a larger one.")
    if int(seed) != seed or seed < 0:
        raise ValueError(f"seed must be a whole number that is not negative; got {seed!r}. Give another.")
    if workers is not None and (int(workers) != workers or workers < 1):
        raise ValueError(
            f"workers must be a whole number of at least 1, or None for as many as there are cores; got {workers!r}."
            " Give one of these."
        )
    reason = failure(fit)
    if reason and not force:
        raise ValueError(reason + REMEDIES)


REMEDIES = (
    " Look at best.message and best.plot(); begin elsewhere with scene.fit(start={...}), hold or simplify"
    " what the data do not constrain, or pass force=True to sample all the same."
)


def failure(fit: Fit) -> str:
    """Why a fit is not to be sampled, in a sentence; empty where nothing speaks against it."""
    if not fit.converged:
        return "A fit must have converged to be sampled; this one has not."
    if getattr(fit, "singular", False):
        return "A fit must have a regular covariance to be sampled; this one's is singular at a bound."
    return ""


def forced(fit: Fit) -> list[str]:
    """What a posterior says of the fit that it was drawn about: nothing, unless that failed."""
    if not fit.converged:
        return ["The fit that the draws begin from had not converged: they may miss the maximum."]
    if failure(fit):
        return ["The covariance of the fit that the draws begin from was singular at a bound."]
    return []
