"""Run: the simulations of a calibration, side by side in processes of their own."""

from __future__ import annotations

import inspect
from concurrent.futures import as_completed
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesjoint.calibrate.calibration import Calibration
from bayesjoint.calibrate.simulation import Outcome, Simulate, Task, run
from bayesjoint.infer.fit import Fit
from bayesjoint.infer.pool import cores

if TYPE_CHECKING:
    from bayesjoint.scene.scene import Scene

__all__ = ["sbc"]

DEFAULTS = {"laplace": {"draws": 500}, "svi": {"draws": 500}, "nuts": {"draws": 250, "chains": 2}}
"""Fewer draws than a user would take: a rank among some hundred serves, and a calibration is hundreds of posteriors."""
OWN = {"self", "draws", "seed", "progress", "workers", "checkpoint"}
"""Arguments of a sampler that are not the caller's to give as options."""


def sbc(
    scene: Scene,
    *,
    simulations: int = 200,
    sampler: str = "laplace",
    draws: int | None = None,
    seed: int = 0,
    simulate: Simulate | None = None,
    progress: bool = True,
    workers: int | None = None,
    **options: Any,
) -> Calibration:
    """Simulation-based calibration: ranks of truths drawn from the priors among the draws of their own posteriors.

    Each simulation draws a truth from the scene's priors, simulates the images with their noise, fits the scene to them from automatic starts,
    samples, thins the draws to about as many as are effective, and ranks the truth among them. If prior, simulator, density and sampler agree,
    every rank is uniform (Talts et al. 2018, arXiv:1804.06788). Simulations that fail or do not converge are counted and shown, never dropped.

    Parameters
    ----------
    scene : Scene
        Its priors, images' noise, PSFs, zeropoints and masks count; its pixel values do not. Priors so wide that sources land outside the
        images test little: give narrower ones.
    simulations : int
        How many; the first of them are the same whatever the number.
    sampler : {"laplace", "nuts", "svi"}
        Of the fit.
    draws : int, optional
        Draws to take (of each chain, for nuts); default 500, and 250 in each of 2 chains after 100 of warm-up for nuts.
    seed : int
        Same seed, same result, whatever the number of workers.
    simulate : callable, optional
        ``simulate(values, seed)`` returns images in the scene's order, of which the pixel values are used: to plant a fault, or to test the
        model against another simulator. Default: the scene's own model and noise.
    progress : bool
        Show a bar.
    workers : int, optional
        Processes at a time, of one thread each; default, the cores. 1 runs the simulations here.
    **options
        For the sampler: ``warmup``, ``chains``, ``target_accept`` of nuts, ``max_steps`` of svi.

    Returns
    -------
    Calibration
        For `bayesjoint.calibrate.check` and `bayesjoint.calibrate.plot`.

    Raises
    ------
    ValueError
        For numbers, samplers, or options that mean nothing, and a scene without free parameters.
    """
    from tqdm.auto import tqdm

    if sampler not in DEFAULTS:
        raise ValueError(f"sampler is to be one of {', '.join(DEFAULTS)}, and {sampler!r} came.")
    allowed = set(inspect.signature(getattr(Fit, sampler)).parameters)
    unknown = sorted(set(options) - (allowed - OWN))
    if unknown:
        raise ValueError(f"{sampler} takes no option {unknown[0]!r} here: leave it out, or choose among {sorted(allowed - OWN) or 'none'}.")
    if not len(scene.names):
        raise ValueError("There is nothing to calibrate: every parameter of the scene is held; free some with scene.free(...).")
    if simulate is not None and not callable(simulate):
        raise ValueError(f"simulate is to be a function of values and seed that returns images, and {simulate!r} came.")
    options = {**DEFAULTS[sampler], **({} if draws is None else {"draws": draws}), **options}
    workers = cores() if workers is None else workers
    for name, value, least in (("simulations", simulations, 1), ("draws", options["draws"], 10), ("seed", seed, 0), ("workers", workers, 1)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise ValueError(f"{name} is to be a whole number of at least {least}, and {value!r} came.")
    if scene.device.type != "cpu":
        workers = 1
    given = {**options, **{k: v for k, v in {"progress": False, "workers": 1}.items() if k in allowed}}
    seeds = [[int(s) for s in child.generate_state(4, np.uint64) >> 1] for child in np.random.SeedSequence(seed).spawn(simulations)]
    tasks = [Task(scene, sampler, given, simulate, tuple(s[:3])) for s in seeds]
    with tqdm(total=simulations, desc="calibration", disable=not progress, leave=False) as bar:
        outcomes = _all(tasks, min(workers, simulations), bar)
    jitter = np.stack([np.random.default_rng(s[3]).random(len(scene.names) + 1) for s in seeds])
    return Calibration.of(scene.names, outcomes, jitter, {"sampler": sampler, "seed": int(seed), **options})


def _all(tasks: list[Task], workers: int, bar: Any) -> list[Outcome]:
    """Outcomes in the order of the tasks."""
    outcomes: dict[int, Outcome] = {}

    def note(k: int, outcome: Outcome) -> None:
        outcomes[k] = outcome
        bar.update()
        bar.set_postfix(failed=sum(o.ranks is None for o in outcomes.values()), doubtful=sum(bool(o.reasons) for o in outcomes.values()))

    if workers == 1:
        for k, task in enumerate(tasks):
            note(k, run(task))
        return [outcomes[k] for k in range(len(tasks))]
    from loky import get_reusable_executor

    executor = get_reusable_executor(max_workers=workers, timeout=60)
    try:
        futures = {executor.submit(run, task): k for k, task in enumerate(tasks)}
        for future in as_completed(futures):
            note(futures[future], future.result())
    except BaseException:
        executor.shutdown(wait=False, kill_workers=True)
        raise
    return [outcomes[k] for k in range(len(tasks))]
