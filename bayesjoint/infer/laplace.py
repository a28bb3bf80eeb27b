"""Laplace: draws about the maximum, made exact in the limit by Pareto-smoothed importance resampling."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from bayesjoint.infer.draws import PROPOSALS, check_request, resampled, weighed
from bayesjoint.infer.targets import target_type

if TYPE_CHECKING:
    from bayesjoint.infer.fit import Fit
    from bayesjoint.posterior.posterior import Posterior

__all__ = ["laplace"]

FREEDOM = 10.0
"""Degrees of freedom of the Student-t proposals: their tails cover what the Gaussian's miss."""


def laplace(fit: Fit, *, draws: int, seed: int, marginalize: str | None, workers: int | None) -> Posterior:
    """Draw from a Student-t of the fit's covariance, weigh against the exact density, and resample.

    Parameters
    ----------
    fit : Fit
        The maximum and its covariance.
    draws : int
        Draws to return.
    seed : int
        Of the random numbers.
    marginalize : {"auto", "linear"}, optional
        Integrate fluxes and skies out, and draw them from their Gaussian given the rest: fewer dimensions to weigh in. "auto" does so
        where their priors allow it.
    workers : int, optional
        Processes, this one among them; default, as many as there are cores, where there is enough to do.

    Returns
    -------
    Posterior
        With `k_hat`; above its threshold the draws are not to be trusted. A low one does not exclude a missed mode.

    Notes
    -----
    Pareto-smoothed importance sampling after Vehtari et al. 2024 (JMLR 25, 72).
    """
    from bayesjoint.posterior.posterior import Posterior

    check_request(fit, draws, seed, workers)
    target, rng = target_type(fit.scene, marginalize)(fit.scene, fit.z, fit.z_covariance), np.random.default_rng(seed)
    k, size = len(target), PROPOSALS * draws
    y = rng.standard_normal((size, k)) / np.sqrt(rng.chisquare(FREEDOM, size) / FREEDOM)[:, None]
    found, info = weighed(target, y, student_t, rng, workers)
    theta, ll, lp = found.kept(resampled(found.weights, draws, rng))
    info |= {"sampler": "laplace", "seed": int(seed), "proposals": size, "evaluations": size}
    return Posterior.of(fit.scene, theta[None], ll[None], {"lp": lp[None]}, info)


def student_t(y: np.ndarray) -> np.ndarray:
    """Log density (s,) of Student's t in k dimensions, of unit scale, at y (s, k)."""
    k = y.shape[1]
    const = math.lgamma(0.5 * (FREEDOM + k)) - math.lgamma(0.5 * FREEDOM) - 0.5 * k * math.log(FREEDOM * math.pi)
    return const - 0.5 * (FREEDOM + k) * np.log1p((y**2).sum(1) / FREEDOM)
