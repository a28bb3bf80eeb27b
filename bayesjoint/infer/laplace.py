"""Laplace: draws about the maximum, made exact in the limit by Pareto-smoothed importance resampling."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from bayesjoint.infer.draws import check_request, densities, k_threshold, values_of
from bayesjoint.infer.evidence import weighed
from bayesjoint.posterior.arviz_seam import pareto_smooth

if TYPE_CHECKING:
    from bayesjoint.infer.fit import Fit
    from bayesjoint.posterior.posterior import Posterior

__all__ = ["laplace"]

PROPOSALS = 4
"""Proposals for each draw kept."""
FREEDOM = 10.0
"""Degrees of freedom of the Student-t proposals: their tails cover what the Gaussian's miss."""


def laplace(fit: Fit, *, draws: int, seed: int) -> Posterior:
    """Draw from a Student-t of the fit's covariance, weigh against the exact density, and resample.

    Parameters
    ----------
    fit : Fit
        The maximum and its covariance.
    draws : int
        Draws to return.
    seed : int
        Of the random numbers.

    Returns
    -------
    Posterior
        With `k_hat`; above its threshold the draws are not to be trusted. A low one does not exclude a missed mode.

    Notes
    -----
    Pareto-smoothed importance sampling after Vehtari et al. 2024 (JMLR 25, 72).
    """
    from bayesjoint.posterior.posterior import Posterior

    check_request(fit, draws, seed)
    scene, rng = fit.scene, np.random.default_rng(seed)
    n, size = len(fit.names), PROPOSALS * draws
    lower = fit.whitening().cpu().double().numpy()
    y = rng.standard_normal((size, n)) / np.sqrt(rng.chisquare(FREEDOM, size) / FREEDOM)[:, None]
    log_q = -0.5 * (FREEDOM + n) * np.log1p((y**2).sum(1) / FREEDOM)
    log_q += math.lgamma(0.5 * (FREEDOM + n)) - math.lgamma(0.5 * FREEDOM) - 0.5 * n * math.log(FREEDOM * math.pi) - np.log(np.diag(lower)).sum()
    z = fit.z.cpu().double().numpy() + y @ lower.T
    lp, ll = densities(scene, z)
    weights, k_hat = pareto_smooth(lp - log_q)
    edges = (np.arange(draws) + rng.random()) / draws  # systematic resampling: fewest doubles
    kept = rng.permutation(np.minimum(np.searchsorted(np.cumsum(weights), edges), size - 1))
    info = {
        "sampler": "laplace",
        "seed": int(seed),
        "k_hat": k_hat,
        "k_threshold": k_threshold(size),
        "importance_ess": float(1 / (weights**2).sum()),
        "proposals": size,
        "evaluations": size,
        **weighed(fit, z, lp - log_q),
    }
    return Posterior.of(scene, values_of(scene, z[kept])[None], ll[kept][None], {"lp": lp[kept][None]}, info)
