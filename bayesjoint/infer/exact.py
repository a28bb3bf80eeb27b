"""Exact: independent draws and evidence where every free parameter is a flux or sky, in closed form."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bayesjoint.infer.draws import PROPOSALS, forced, resampled
from bayesjoint.infer.evidence import improper, k_threshold, note
from bayesjoint.infer.soft import noise_size, sample_amplitudes
from bayesjoint.posterior.arviz_seam import pareto_smooth
from bayesjoint.scene.linear import Linear

if TYPE_CHECKING:
    from bayesjoint.infer.fit import Fit
    from bayesjoint.posterior.posterior import Posterior
    from bayesjoint.scene.linear import Solution

__all__ = ["closed_form", "exact"]


@torch.no_grad()
def closed_form(fit: Fit) -> tuple[Linear, float, Solution]:
    """The Gaussian of all fluxes and skies about a fit, which keeps it: no image need be drawn again.

    Parameters
    ----------
    fit : Fit
        Of a scene for which `bayesjoint.infer.targets.all_linear` holds.

    Returns
    -------
    linear : Linear
    log_evidence : float
        Without the soft edges of priors.
    solution : Solution
        The Gaussian without these edges.

    Raises
    ------
    ValueError
        Where neither data nor priors tell two fluxes or skies apart.
    """
    known = fit.__dict__.get("_closed_form")
    if known is None:
        linear = Linear(fit.scene, fit.scene.chart.values(fit.z)[0])
        try:
            value, solution = linear.evaluate(fit.z[linear.rest])
        except torch.linalg.LinAlgError as e:
            raise ValueError(
                "Fluxes and skies must be told apart by data or priors to be drawn in closed form; some"
                " are not (best.message names them). Hold one of them, or pass marginalize=None."
            ) from e
        known = fit._closed_form = linear, float(value), solution
    return known


@torch.no_grad()
def exact(fit: Fit, *, sampler: str, chains: int, draws: int, seed: int) -> Posterior:
    """Draw from the posterior of a scene whose every free parameter is a flux or sky.

    With Normal priors it is a Gaussian, whose draws are independent and need no weights. Priors
    with a soft edge at 0 that the data touch (several at once) leave weights that scatter a little;
    they are resampled by them.

    Parameters
    ----------
    fit : Fit
        Of a scene for which `bayesjoint.infer.targets.all_linear` holds.
    sampler : str
        What was asked for.
    chains, draws : int
        Shape of the draws; all are independent.
    seed : int
        Of the random numbers.

    Raises
    ------
    ValueError
        Where neither data nor priors tell two fluxes or skies apart.
    """
    from bayesjoint.posterior.posterior import Posterior

    scene, rng, size = fit.scene, np.random.default_rng(seed), chains * draws
    linear, value, solution = closed_form(fit)
    touched = len(linear.soft) > 1
    noise = rng.standard_normal((PROPOSALS * size if touched else size, noise_size(linear)))
    amplitudes, log_weight = sample_amplitudes(solution, torch.as_tensor(noise))
    log_weight = log_weight.cpu().numpy()
    flat = bool(np.ptp(log_weight) < 1e-9)
    weights, k_hat = pareto_smooth(log_weight) if not flat else (np.ones(size) / size, -math.inf)
    info: dict[str, Any] = {
        "sampler": sampler,
        "seed": int(seed),
        "exact": flat,
        "marginalize": "linear",
        "k_hat": k_hat,
        "k_threshold": k_threshold(len(weights)),
        "importance_ess": float(1 / (weights**2).sum()),
        "resampled": not flat,
        "evaluations": 1,
        "doubts": forced(fit),
        "render_errors": dict(fit.render_errors),  # shapes are held: no draw is harder to draw
    }
    if not flat:
        info |= note(scene, log_weight + value)
    elif not improper(scene):
        info |= {"log_evidence": value + float(log_weight[0]), "log_evidence_error": 0.0}
        info["log_evidence_method"] = "closed form"
    which = np.arange(size) if flat else resampled(weights, size, rng)
    amplitudes = amplitudes[torch.as_tensor(which)]
    # of each draw, all at once: the images' chi2 are quadratic in the amplitudes, and so are the priors
    ll = []
    for part in solution.parts:
        change = (amplitudes - solution.a0) @ part.lead.T
        chi2 = part.chi2 + (change * (change @ part.gram - 2 * part.rhs)).sum(-1)
        ll.append(part.level - 0.5 * chi2)
    ll = torch.stack(ll, -1)
    off = amplitudes - linear.mean
    prior = scene.log_prior(linear.embed(fit.z[linear.rest])) + linear.log_factor(amplitudes)
    prior = prior - 0.5 * (linear.precision * off * off).sum(-1)
    theta = np.empty((size, len(scene.names)))
    theta[:, linear.sites] = amplitudes.cpu().numpy()
    shape = chains, draws
    stats = {"lp": (ll.sum(-1) + prior).cpu().numpy().reshape(shape)}
    ll = ll.cpu().numpy().reshape(*shape, -1)
    return Posterior.of(scene, theta.reshape(*shape, -1), ll, stats, info)
