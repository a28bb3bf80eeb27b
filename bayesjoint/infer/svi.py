"""SVI: Pyro's stochastic variational inference with a full-rank Normal, in coordinates whitened by the fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from pyro.infer import SVI, TraceMeanField_ELBO
from torch.distributions import constraints

from bayesjoint.infer.draws import check_request, densities, k_threshold, largest, values_of
from bayesjoint.infer.evidence import weighed
from bayesjoint.posterior.arviz_seam import pareto_smooth
from bayesjoint.threads import few_threads

if TYPE_CHECKING:
    from bayesjoint.infer.fit import Fit
    from bayesjoint.posterior.posterior import Posterior

__all__ = ["svi"]

BLOCK = 50
"""Steps between looks at convergence."""
MOVE = 0.02
"""Converged where means and scales move by less than this between blocks, in units of the posterior's width."""


def svi(fit: Fit, *, draws: int, seed: int, max_steps: int, progress: bool) -> Posterior:
    """Fit a full-rank Normal to the posterior by Pyro's SVI, started at the maximum and its covariance, and draw from it.

    The unit Normal in whitened coordinates is written as the prior, whose divergence from the guide is known in closed form;
    what is left to the draws is how far the posterior departs from it, so that for a nearly Gaussian posterior the gradient
    has next to no noise. Draws come in mirrored pairs. The steps end when the averaged guide no longer moves.

    Returns
    -------
    Posterior
        With `k_hat` of the guide against the exact density.
    """
    from tqdm.auto import tqdm

    from bayesjoint.posterior.posterior import Posterior

    check_request(fit, draws, seed)
    scene, n = fit.scene, len(fit.names)
    lower, center = fit.whitening(), fit.z
    half: list[torch.Tensor] = []

    def model() -> None:
        y = pyro.sample("y", dist.MultivariateNormal(torch.zeros_like(center), scale_tril=torch.eye(n, dtype=scene.dtype, device=scene.device)))
        base = -0.5 * (y * y).sum() - 0.5 * n * np.log(2 * np.pi)
        pyro.factor("posterior", scene.log_density(center + lower @ y) - base)

    def guide() -> None:
        loc = pyro.param("loc", torch.zeros_like(center))
        tril = pyro.param("tril", torch.eye(n, dtype=scene.dtype, device=scene.device), constraint=constraints.lower_cholesky)
        pyro.sample("y", _Mirrored(loc, tril, half))

    def snapshot() -> tuple[torch.Tensor, torch.Tensor]:
        return pyro.param("loc").detach().clone(), pyro.param("tril").detach().clone()

    losses: list[float] = []
    converged, steps = False, 0
    with few_threads(largest(scene)), torch.random.fork_rng(devices=[]), pyro.get_param_store().scope():
        torch.manual_seed(seed)
        rate = 0.02
        engine = SVI(model, guide, pyro.optim.Adam({"lr": rate, "betas": (0.9, 0.99)}), loss=TraceMeanField_ELBO(num_particles=2))
        bar = tqdm(total=max_steps, desc="SVI", disable=not progress, leave=False)
        mean = previous = None
        while steps < max_steps:
            sums = None
            for _ in range(min(BLOCK, max_steps - steps)):
                losses.append(engine.step())
                now = snapshot()
                sums = now if sums is None else (sums[0] + now[0], sums[1] + now[1])
                steps += 1
                bar.update()
            block = min(BLOCK, steps)
            mean = sums[0] / block, sums[1] / block
            bar.set_postfix(elbo=f"{-np.mean(losses[-block:]):.2f}")
            if previous is not None:
                moved = max(float((a - b).abs().max()) for a, b in zip(mean, previous, strict=True))
                if moved < MOVE:
                    converged = True
                    break
                rate *= 0.7  # the steps shrink as the guide settles
                for optimiser in engine.optim.optim_objs.values():
                    for group in optimiser.param_groups:
                        group["lr"] = rate
            previous = mean
        bar.close()
        loc, tril = mean
        y = (loc + torch.randn(draws, n, dtype=scene.dtype).to(scene.device) @ tril.T).detach()
    log_q = dist.MultivariateNormal(loc, scale_tril=tril).log_prob(y).cpu().double().numpy() - float(torch.log(torch.diagonal(lower)).sum())
    z = (center + y @ lower.T).cpu().double().numpy()
    lp, ll = densities(scene, z)
    weights, k_hat = pareto_smooth(lp - log_q)
    info = {
        "sampler": "svi",
        "seed": int(seed),
        "k_hat": k_hat,
        "k_threshold": k_threshold(draws),
        "importance_ess": float(1 / (weights**2).sum()),
        "steps": steps,
        "settled": converged,
        "evaluations": 2 * steps + draws,
        "elbo": -float(np.mean(losses[-BLOCK:])) if losses else float("nan"),
        **weighed(fit, z, lp - log_q),
    }
    return Posterior.of(scene, values_of(scene, z)[None], ll[None], {"lp": lp[None]}, info)


class _Mirrored(dist.MultivariateNormal):
    """A multivariate Normal whose every second draw mirrors the one before: antithetic particles."""

    def __init__(self, loc: torch.Tensor, scale_tril: torch.Tensor, kept: list[torch.Tensor]) -> None:
        super().__init__(loc, scale_tril=scale_tril, validate_args=False)
        self._kept = kept

    def rsample(self, sample_shape: torch.Size = torch.Size()) -> torch.Tensor:  # noqa: B008
        if self._kept:
            e = -self._kept.pop()
        else:
            e = torch.randn_like(self.loc)
            self._kept.append(e)
        return self.loc + self.scale_tril @ e
