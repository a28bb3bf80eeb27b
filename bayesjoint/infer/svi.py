"""SVI: Pyro's stochastic variational inference in coordinates whitened by the fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from pyro.infer import SVI, Trace_ELBO
from torch.distributions import constraints

from bayesjoint.infer.draws import PROPOSALS, check_request, forced, resampled, weighed
from bayesjoint.infer.exact import exact
from bayesjoint.infer.guides import GUIDES, Guide, Particle
from bayesjoint.infer.proposal import Proposal, maxima, proposal
from bayesjoint.infer.targets import Joint, Marginal, all_linear, felt_edges, target_type
from bayesjoint.threads import few_threads, largest

if TYPE_CHECKING:
    from bayesjoint.infer.fit import Fit
    from bayesjoint.posterior.posterior import Posterior

__all__ = ["svi"]

BLOCK = 50
"""Steps between looks at convergence."""
MOVE = 0.02
"""Converged where no coordinate's draws move by more than this between blocks (root mean square), in units of the posterior's width."""
PROBES = 256
ONE_ALONE = (
    "The posterior has other maxima, and the guide's own draws hold the first alone: take resample=True, laplace or nuts."
)


def svi(
    fit: Fit,
    *,
    draws: int,
    seed: int,
    guide: str,
    resample: bool,
    max_steps: int,
    progress: bool,
    marginalize: str | None,
    workers: int | None,
    force: bool,
) -> Posterior:
    """Fit a guide to the posterior by Pyro's SVI, started at the maximum and its covariance, and draw from it.

    The gradient has no noise where the guide is the posterior (see `bayesjoint.infer.guides.Particle`), and draws come in mirrored pairs.
    The steps end when the guide, averaged over each block of them, no longer moves.

    Where the fit tells of several maxima, the guide stands about the first, and Student-t's about the others are resampled with it. Where every
    free parameter is a flux or sky, there is nothing to fit: the draws are those of the exact posterior in closed form (`bayesjoint.infer.exact`).

    Parameters
    ----------
    fit : Fit
        Start and whitening.
    draws, seed : int
        Draws to return; seed of the random numbers.
    guide : {"normal", "lowrank", "flow"}
        A Normal of full rank; one of a diagonal and a few directions, for hundreds of parameters; a spline flow, for skewed and curved posteriors.
    resample : bool
        Take four times as many draws and resample them by their Pareto-smoothed weights, as `laplace` does: what the guide lacks in width is
        made up for, as far as `k_hat` allows. False gives the guide's own draws, about the fit's own maximum alone.
    max_steps : int
        Steps after which to give up, and say so.
    marginalize : {"auto", "linear"}, optional
        Integrate fluxes and skies out, and draw them from their Gaussian given the rest; "auto" does so where their priors allow it; None, never.
    workers : int, optional
        Processes that weigh the draws, this one among them; default, as many as there are cores, where there is enough to do.
    force : bool
        Draw from a fit that has not converged, or whose covariance is singular at a bound.

    Returns
    -------
    Posterior
        With `k_hat` of the guide against the exact density.

    Raises
    ------
    ValueError
        As `laplace` does; for another guide; with ``resample=False`` where a prior has a soft edge that the guide's draws would have to be weighed by.

    Notes
    -----
    Kucukelbir et al. 2017 (JMLR 18, 14); Papamakarios et al. 2021 (JMLR 22, 57) on flows.
    """
    from tqdm.auto import tqdm

    from bayesjoint.posterior.posterior import Posterior

    check_request(fit, draws, seed, workers, force)
    if guide not in GUIDES:
        raise ValueError(f"guide must be one of {', '.join(GUIDES)}; got {guide!r}. Choose one of these.")
    kind = target_type(fit.scene, marginalize)
    if marginalize and all_linear(fit.scene):
        return exact(fit, sampler="svi", chains=1, draws=draws, seed=seed)
    edges = felt_edges(fit) if kind is Marginal and not resample else []
    if edges and marginalize == "linear":
        raise ValueError(
            "Fluxes must lie far above the edge of their prior at 0 to be integrated out without weights;"
            f" {fit.names[edges[0]]} does not. Take resample=True, or marginalize=None."
        )
    if edges:
        kind = Joint
    target = kind(fit.scene, fit.z, fit.z_covariance)
    k, like = len(target), target.center
    mirror: list[torch.Tensor] = []
    losses: list[float] = []
    settled, steps, rate = False, 0, 0.02
    with few_threads(largest(fit.scene)), torch.random.fork_rng(devices=[]), pyro.get_param_store().scope():
        torch.manual_seed(seed)
        family: Guide = GUIDES[guide](k, like.dtype, like.device)
        probe = torch.randn(PROBES, family.noise, dtype=like.dtype).to(like.device)

        def model() -> None:
            y = pyro.sample("y", dist.ImproperUniform(constraints.real_vector, (), (k,)))
            pyro.factor("posterior", target.log_density(target.flat(y)))
            target.forget()

        def pyro_guide() -> None:
            pyro.module("guide", family)
            pyro.sample("y", Particle(family, mirror))

        engine = SVI(model, pyro_guide, pyro.optim.Adam({"lr": rate, "betas": (0.9, 0.99)}), loss=Trace_ELBO(num_particles=2))
        before: torch.Tensor | None = None
        with tqdm(total=max_steps, desc="SVI", disable=not progress, leave=False) as bar:
            while steps < max_steps and not settled:
                block = min(BLOCK, max_steps - steps)
                sums = {n: torch.zeros_like(p) for n, p in family.named_parameters()}
                for _ in range(block):
                    losses.append(engine.step())
                    for n, p in family.named_parameters():
                        sums[n] += p.detach() / block
                    bar.update()
                steps += block
                bar.set_postfix(elbo=f"{-np.mean(losses[-block:]):.2f}")
                now = {n: p.detach().clone() for n, p in family.named_parameters()}
                _load(family, sums)
                with torch.no_grad():
                    pushed = family.push(probe)
                rising = _rising(losses, block)
                if before is not None:
                    settled = not rising and float((pushed - before).square().mean(0).sqrt().max()) < MOVE
                before = pushed
                if not settled and steps < max_steps:
                    _load(family, now)
                    rate *= 1.0 if rising else 0.7
                    for optimiser in engine.optim.optim_objs.values():
                        for group in optimiser.param_groups:
                            group["lr"] = rate

        def density(y: np.ndarray) -> np.ndarray:
            with torch.no_grad():
                return family(torch.as_tensor(y, dtype=like.dtype).to(like.device)).cpu().double().numpy()

        def sample(size: int, _: np.random.Generator) -> np.ndarray:
            with torch.no_grad():
                return family.draw(size).cpu().double().numpy()

        size, rng = PROPOSALS * draws if resample else draws, np.random.default_rng(seed)
        guided = proposal(fit, target, sample, density)
        if not resample:
            guided = Proposal(guided.parts[:1], guided.angles)
        candidates, info = weighed(target, guided, size, rng, workers, adapt=resample)
        theta, ll, lp = candidates.kept(resampled(candidates.weights, draws, rng) if resample else np.arange(draws))
    info |= {"sampler": "svi", "guide": guide, "seed": int(seed), "steps": steps, "settled": settled, "evaluations": 2 * steps + size}
    info |= {"resampled": bool(resample), "doubts": forced(fit)}
    if not resample and len(maxima(fit)) > 1:
        info["doubts"].append(ONE_ALONE)
    info["elbo"] = -float(np.mean(losses[-BLOCK:])) if losses else float("nan")
    return Posterior.of(fit.scene, theta[None], ll[None], {"lp": lp[None]}, info)


def _rising(losses: list[float], block: int) -> bool:
    """Whether the evidence's lower bound still rises from block to block, beyond its noise."""
    if len(losses) < 2 * block:
        return True
    old, new = np.array(losses[-2 * block : -block]), np.array(losses[-block:])
    return bool(old.mean() - new.mean() > 2 * np.hypot(old.std(), new.std()) / np.sqrt(block))


def _load(family: Guide, values: dict[str, torch.Tensor]) -> None:
    with torch.no_grad():
        for n, p in family.named_parameters():
            p.copy_(values[n])
