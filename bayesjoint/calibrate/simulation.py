"""Simulation: one turn of a calibration, from a truth drawn from the priors to its rank among posterior draws."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bayesjoint.images import Image
from bayesjoint.log import log
from bayesjoint.posterior.arviz_seam import bulk_ess
from bayesjoint.scene.planning import BUDGET, refined, render_errors
from bayesjoint.sky.priors import recast

if TYPE_CHECKING:
    from bayesjoint.infer.fit import Fit
    from bayesjoint.posterior.posterior import Posterior
    from bayesjoint.scene.scene import Scene

__all__ = ["LIKELIHOOD", "Outcome", "Task", "run"]

LIKELIHOOD = "log likelihood"
"""Name of the quantity that is ranked beside the sites."""

Simulate = Callable[[dict[str, float], int], Sequence[Image]]


@dataclass(frozen=True, eq=False)
class Task:
    """What a simulation needs: the scene, the sampler with its options, who makes the images, and seeds of truth, noise and draws."""

    scene: Scene
    sampler: str
    options: dict[str, Any]
    simulate: Simulate | None
    seeds: tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Outcome:
    """What came of it: the truth, shape (n,), and the ranks of it and of its log likelihood, shape (n + 1,), among `draws`; None if it failed."""

    truth: np.ndarray
    ranks: np.ndarray | None = None
    draws: int = 0
    ess: float = float("nan")
    k_hat: float = float("nan")
    reasons: list[str] = field(default_factory=list)


def run(task: Task) -> Outcome:
    """Run one simulation in one thread; what a fit or sampler raises is an outcome, and not an error.

    Raises
    ------
    ValueError
        If `task.simulate` returns other images than the scene's, or pixels without values.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # the same wherever it runs: sums in another order would change its draws
    try:
        with _quiet():
            truth = draw_truth(task.scene, task.seeds[0])
            numbers = np.array(list(truth.values()))
            scene = task.scene.with_images(_pixels(task, truth))
            try:
                best = scene.fit(progress=False)
                # a fit that failed is an outcome too: to leave it away would make the rest look better
                post = getattr(best, task.sampler)(seed=task.seeds[2], **({"force": True} | task.options))
                return _rank(best, post, truth)
            except Exception as e:
                return Outcome(numbers, reasons=[f"{type(e).__name__}: {' '.join(str(e).split())}"])
    finally:
        torch.set_num_threads(before)


def draw_truth(scene: Scene, seed: int) -> dict[str, float]:
    """Value of every site, drawn from its own prior: the sites of a scene are independent a priori."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return {n: float(recast(p, torch.float64, torch.device("cpu")).sample()) for n, p in zip(scene.names, scene.chart.priors, strict=True)}


def simulated(scene: Scene, values: Mapping[str, float], seed: int) -> list[Image]:
    """Images of the scene at `values`, by a render plan made for them and refined until its error is far below the noise."""
    scene = scene.replanned(values)
    for _ in range(4):
        coarse = {name for name, error in render_errors(scene, values).items() if error > BUDGET / 5}
        if not coarse:
            break
        scene = refined(scene, 1.6, coarse)
    return scene.simulate(values, seed)


def _pixels(task: Task, truth: dict[str, float]) -> list[Image]:
    """The scene's own images with simulated pixels; noise, PSF, zeropoint and mask stay as they are."""
    own = task.scene.images
    made = simulated(task.scene, truth, task.seeds[1]) if task.simulate is None else task.simulate(dict(truth), task.seeds[1])
    made = list(made) if isinstance(made, list | tuple) else made
    if not isinstance(made, list) or [getattr(im, "shape", None) for im in made] != [im.shape for im in own]:
        came = [getattr(im, "shape", type(im).__name__) for im in made] if isinstance(made, list) else made
        raise ValueError(
            f"simulate(values, seed) is to return one bj.Image for each of the scene's, of shapes {[im.shape for im in own]}, and {came} came."
        )
    for im, new in zip(own, made, strict=True):
        if (new.mask & im.valid).any():
            raise ValueError(f"simulate(values, seed) is to give every pixel that {im.name} uses a value, and some came masked or not finite.")
    return [im.replace(data=new.data) for im, new in zip(own, made, strict=True)]


def _rank(best: Fit, post: Posterior, truth: dict[str, float]) -> Outcome:
    """Rank the truth among draws thinned to about as many as are effective.

    A cyclic angle is ranked by its distance from the fit's value, on the circle: a test quantity may depend on the data, by which the truth
    and the draws are equally distributed all the same (Modrák et al. 2023, Bayesian Analysis, doi:10.1214/23-BA1404).
    """
    numbers = np.array(list(truth.values()))
    each = np.asarray(post.arviz["log_likelihood"]["image_log_likelihood"].values).sum(-1, keepdims=True)
    with torch.no_grad():
        at_truth = float(best.scene.log_likelihood(best.scene.unconstrain(truth)).sum())
    drawn, true = np.concatenate([post.theta, each], -1), np.append(numbers, at_truth)
    effective = [*post.summary().loc[post.names, "ess_bulk"], *bulk_ess(each), post.info.get("importance_ess", np.inf)]
    ess = float(np.nanmin(effective))
    reasons = [] if best.converged else [best.message]
    reasons += post.reasons
    k_hat = float("nan") if post.k_hat is None else post.k_hat
    drawn = drawn.reshape(-1, len(true))
    if not (np.isfinite(drawn).all() and np.isfinite(true).all()):
        return Outcome(numbers, ess=ess, k_hat=k_hat, reasons=["The draws, or the log likelihood at the truth, are not finite.", *reasons])
    count = int(np.clip(ess, 1, len(drawn)))
    drawn = drawn[((np.arange(count) + 0.5) * len(drawn) / count).astype(int)]
    for k, site in enumerate(best.scene.layout.sites):
        if site.spec.cyclic:
            drawn[:, k] = (drawn[:, k] - best.values[site.name] + 90) % 180
            true[k] = (true[k] - best.values[site.name] + 90) % 180
    return Outcome(numbers, (drawn < true).sum(0), count, ess, k_hat, reasons)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what fits say of each simulated image out of the log: it comes back as reasons."""
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(before)
