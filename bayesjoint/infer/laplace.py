"""Laplace: draws about the maximum, made exact in the limit by Pareto-smoothed importance resampling."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bayesjoint.infer.draws import PROPOSALS, check_request, forced, resampled, weighed
from bayesjoint.infer.exact import exact
from bayesjoint.infer.proposal import proposal
from bayesjoint.infer.targets import all_linear, target_type

if TYPE_CHECKING:
    from bayesjoint.infer.fit import Fit
    from bayesjoint.posterior.posterior import Posterior

__all__ = ["laplace"]


def laplace(
    fit: Fit, *, draws: int, seed: int, marginalize: str | None, workers: int | None, force: bool
) -> Posterior:
    """Draw from a Student-t of the fit's covariance, weigh against the exact density, and resample.

    Where the fit tells of several maxima, draws are proposed about each. Where every free parameter
    is a flux or sky, the draws are those of the exact posterior in closed form
    (`bayesjoint.infer.exact`).

    Parameters
    ----------
    fit : Fit
        The maximum and its covariance.
    draws : int
        Draws to return.
    seed : int
        Of the random numbers.
    marginalize : {"auto", "linear"}, optional
        Integrate fluxes and skies out, and draw them from their Gaussian given the rest: fewer
        dimensions to weigh in. "auto" does so where their priors allow it; None, never.
    workers : int, optional
        Processes, this one among them; default, as many as there are cores, where there is enough
        to do.
    force : bool
        Draw from a fit that has not converged, or whose covariance is singular at a bound.

    Returns
    -------
    Posterior
        With `k_hat`; above its threshold the draws are not to be trusted. A low one does not
        exclude a missed mode.

    Raises
    ------
    ValueError
        For a fit that has not converged or is singular, without `force`; where fluxes and skies
        cannot be integrated out as asked; for numbers that make no sense.

    Notes
    -----
    Pareto-smoothed importance sampling after Vehtari et al. 2024 (JMLR 25, 72). The effective
    number of draws is at most that of distinct ones: resampling makes duplicates.
    """
    from bayesjoint.posterior.posterior import Posterior

    check_request(fit, draws, seed, workers, force)
    kind = target_type(fit.scene, marginalize)
    if marginalize and all_linear(fit.scene):
        return exact(fit, sampler="laplace", chains=1, draws=draws, seed=seed)
    target, rng = kind(fit.scene, fit.z, fit.z_covariance), np.random.default_rng(seed)
    size = PROPOSALS * draws
    candidates, info = weighed(target, proposal(fit, target), size, rng, workers)
    theta, ll, lp = candidates.kept(resampled(candidates.weights, draws, rng))
    info |= {"sampler": "laplace", "seed": int(seed), "proposals": size, "evaluations": size}
    info |= {"resampled": True, "doubts": forced(fit)}
    return Posterior.of(fit.scene, theta[None], ll[None], {"lp": lp[None]}, info)
