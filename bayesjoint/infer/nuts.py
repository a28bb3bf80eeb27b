"""NUTS: chains of Pyro's kernel in whitened coordinates, side by side in processes of their own."""

from __future__ import annotations

import json
import os
import pathlib
import tempfile
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bayesjoint.infer.chain import ACCEPT, STATS, ChainTask, run_chain
from bayesjoint.infer.draws import check_request
from bayesjoint.infer.pool import cores, share
from bayesjoint.infer.targets import target_type
from bayesjoint.scene.density import values_of
from bayesjoint.scene.saving import checksum

if TYPE_CHECKING:
    from bayesjoint.infer.fit import Fit
    from bayesjoint.posterior.posterior import Posterior

__all__ = ["nuts"]

SAME = 0.01
"""Distance in sigma up to which two fits found the same maximum."""
BENT = 1.0
"""Departure from a Normal's log density, two sigma out, up to which a posterior is drawn from in steady steps."""


def nuts(
    fit: Fit,
    *,
    draws: int,
    warmup: int | None,
    chains: int,
    seed: int,
    progress: bool,
    checkpoint: Any,
    target_accept: float | None,
    workers: int | None,
    marginalize: str | None,
) -> Posterior:
    """Sample the posterior.

    In coordinates whitened by the fit's covariance the posterior is nearly a unit Normal: the kernel's mass is the identity,
    the step is long and known beforehand or found in a short warm-up, and few gradients make a draw (Hoffman & Gelman 2014, JMLR 15, 1593).

    Parameters
    ----------
    fit : Fit
        Start and whitening.
    draws, chains, seed : int
        Draws kept of each chain, number of chains, seed of all of them.
    warmup : int, optional
        Steps of each chain before its draws; default 30, and 100 where its step size is to be found in them.
    progress : bool
        Show a bar over all chains.
    checkpoint : path, optional
        Folder to which draws are written as they come; a run that was cut off goes on from there, to the same result.
    target_accept : float, optional
        Acceptance at which the step size aims; default, 0.8. Where the posterior is nearly Normal two sigma out in each parameter, and the user
        has no word on it, steps are long ones of one known size (`info["target_accept"]` is None then).
    workers : int, optional
        Processes at a time, this one among them; default, the cores or the chains, whichever is fewer. 1 runs the chains here, one after
        another.
    marginalize : {"linear", "auto"}, optional
        Integrate fluxes and skies out while sampling, and draw them from their Gaussian afterwards: exact, with fewer dimensions to move in.
        "auto" does so where their priors allow it.

    Returns
    -------
    Posterior
    """
    from bayesjoint.posterior.posterior import Posterior

    check_request(fit, draws, seed, workers)
    for name, value, least in (("warmup", 0 if warmup is None else warmup, 0), ("chains", chains, 1)):
        if int(value) != value or value < least:
            raise ValueError(f"{name} is to be a whole number of at least {least}, and {value!r} came.")
    scene, kind = fit.scene, target_type(fit.scene, marginalize)
    workers = min(chains, cores()) if workers is None else int(workers)
    if scene.device.type != "cpu":
        workers = 1
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch if checkpoint is None else checkpoint)
        folder.mkdir(parents=True, exist_ok=True)
        run = _claim(
            folder,
            fit,
            {"seed": int(seed), "warmup": warmup, "target_accept": target_accept, "marginalize": kind.word},
            max(1, cores() // min(chains, cores())),
        )
        z, covariance = (torch.tensor(run[k], dtype=scene.dtype, device=scene.device) for k in ("z", "z_covariance"))
        target = kind(scene, z, covariance)
        aim = target_accept
        if aim is None and target.departure() > BENT:
            aim = ACCEPT
        seeds = [int(s.generate_state(1, np.uint64)[0] >> 1) for s in np.random.SeedSequence(seed).spawn(chains)]
        tasks = [ChainTask(target, c, seeds[c], draws, warmup, aim, str(folder), run["threads"]) for c in range(chains)]
        _run(tasks, workers, progress)
        rows = np.stack([np.fromfile(t.rows).reshape(-1, t.width)[:draws] for t in tasks])
    n, i = len(scene.names), len(scene.images)
    stats = {k: rows[:, :, n + i + s] for s, k in enumerate(STATS)}
    warm = stats.pop("warmup_steps")[:, 0]
    stats["diverging"] = stats["diverging"] > 0
    theta = values_of(scene, rows[:, :, :n].reshape(-1, n)).reshape(chains, draws, n)
    info = {
        "sampler": "nuts",
        "seed": int(seed),
        "warmup": warmup,
        "gradients": int(stats["n_steps"].sum() + warm.sum()),
        "target_accept": aim,
        "marginalize": kind.word,
    }
    return Posterior.of(scene, theta, rows[:, :, n : n + i], stats, info)


def _claim(folder: pathlib.Path, fit: Fit, options: dict[str, Any], threads: int) -> dict[str, Any]:
    """What the run in this folder was begun with; a folder that belongs to another run is refused.

    Chains whiten by the maximum that they began with, and in as many threads: a fit repeated elsewhere may differ in its last digits, and
    sums in another order would change the draws.
    """
    run = options | {
        "names": list(fit.names),
        "dtype": str(fit.scene.dtype),
        "images": [checksum(im) for im in fit.scene.images],
        "z": fit.z.tolist(),
        "z_covariance": fit.z_covariance.tolist(),
        "threads": threads,
    }
    card = folder / "run.json"
    if not card.exists():
        whole = card.with_suffix(".tmp")  # one that was half written when its run was killed could not be read
        whole.write_text(json.dumps(run))
        os.replace(whole, card)
        return run
    old = json.loads(card.read_text())
    differ = [k for k in run if k not in old or (k not in ("z", "z_covariance", "threads") and old[k] != run[k])]
    if not differ:
        sd = np.sqrt(np.diagonal(run["z_covariance"]))
        differ = [n for n, a, b, s in zip(fit.names, run["z"], old["z"], sd, strict=True) if not abs(a - b) <= SAME * s]
    if differ:
        raise ValueError(
            f"The checkpoint {str(folder)!r} belongs to another run (its {', '.join(differ)} differ): name a new folder, or remove this one."
        )
    return old


def _run(tasks: list[ChainTask], workers: int, progress: bool) -> None:
    from tqdm.auto import tqdm

    with tqdm(total=sum(t.draws for t in tasks), desc="NUTS", disable=not progress, leave=False) as bar:
        share(run_chain, tasks, workers, lambda: bar.update(max(0, sum(min(t.done(), t.draws) for t in tasks) - bar.n)))
