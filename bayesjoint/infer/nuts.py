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
from bayesjoint.infer.draws import check_request, forced, resampled
from bayesjoint.infer.evidence import k_threshold
from bayesjoint.infer.exact import exact
from bayesjoint.infer.maxima import Chains, Part, groups, joined
from bayesjoint.infer.pool import cores, share
from bayesjoint.infer.proposal import maxima
from bayesjoint.infer.targets import Edged, Joint, all_linear, felt_edges, target_type
from bayesjoint.posterior.arviz_seam import pareto_smooth
from bayesjoint.scene.density import values_of
from bayesjoint.scene.identity import digest, identity

if TYPE_CHECKING:
    from bayesjoint.infer.fit import Fit
    from bayesjoint.posterior.posterior import Posterior

__all__ = ["nuts"]

SAME = 0.01
"""Distance in sigma up to which two fits found the same maximum."""
BENT = 1.0
"""Departure from a Normal's log density, two sigma out, up to which a posterior is drawn from in steady steps."""

EDGE_FELT = 1e-3
"""Range of log weights up to which they are taken as equal."""


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
    force: bool,
) -> Posterior:
    """Sample the posterior.

    In coordinates whitened by the fit's covariance the posterior is nearly a unit Normal: the kernel's mass is the identity,
    the step is long and known beforehand or found in a short warm-up, and few gradients make a draw (Hoffman & Gelman 2014, JMLR 15, 1593).

    Where the fit tells of several maxima, each has its own chains. They are put together in proportion to the evidence of each, by bridge
    sampling; so are chains that end apart from one another (`bayesjoint.infer.maxima`).

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
    marginalize : {"auto", "linear"}, optional
        "linear": integrate fluxes and skies out while sampling, and draw them from their Gaussian afterwards: exact, with fewer dimensions to
        move in; each chain is resampled by the weights of fluxes near the edge of their prior at 0 (`bayesjoint.infer.soft`). "auto" and None sample
        them with the rest, as many gradients a draw, each cheaper; with "auto", where every free parameter is a flux or sky, the draws are independent ones
        of the exact posterior in closed form (`bayesjoint.infer.exact`).
    force : bool
        Sample from a fit that has not converged, or whose covariance is singular at a bound.

    Returns
    -------
    Posterior

    Raises
    ------
    ValueError
        For a fit that has not converged or is singular, without `force`; where fluxes and skies cannot be integrated out as asked; for numbers that
        make no sense; for a checkpoint of another run.
    """
    from bayesjoint.posterior.posterior import Posterior

    check_request(fit, draws, seed, workers, force)
    for name, value, least in (("warmup", 0 if warmup is None else warmup, 0), ("chains", chains, 1)):
        if int(value) != value or value < least:
            raise ValueError(f"{name} must be a whole number of at least {least}; got {value!r}. Give a larger one.")
    scene, kind = fit.scene, target_type(fit.scene, marginalize)
    if marginalize and all_linear(scene):
        return exact(fit, sampler="nuts", chains=chains, draws=draws, seed=seed)
    kind = kind if marginalize == "linear" else Joint
    edges = felt_edges(fit) if kind is Joint else []
    workers = min(chains, cores()) if workers is None else int(workers)
    if scene.device.type != "cpu":
        workers = 1
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch if checkpoint is None else checkpoint).absolute()  # workers may stand elsewhere
        folder.mkdir(parents=True, exist_ok=True)
        options = {"seed": int(seed), "warmup": warmup, "target_accept": target_accept, "marginalize": kind.word}
        options |= {"edges": [fit.names[i] for i in edges]} if edges else {}
        threads = max(1, cores() // min(chains, cores()))
        tasks, tops = [], maxima(fit)
        for k, (z, covariance, _) in enumerate(tops):
            place = folder if k == 0 else folder / f"maximum_{k + 1}"
            place.mkdir(exist_ok=True)
            run = _claim(place, fit, z, covariance, options, threads)
            z, covariance = (torch.tensor(run[v], dtype=scene.dtype, device=scene.device) for v in ("z", "z_covariance"))
            target = kind(scene, z, covariance) if not edges else Edged(scene, z, covariance, edges)
            aim = target_accept
            if aim is None and target.departure() > BENT:
                aim = ACCEPT
            source = np.random.SeedSequence(seed if k == 0 else (seed, k))
            seeds = [int(s.generate_state(1, np.uint64)[0] >> 1) for s in source.spawn(chains)]
            tasks += [ChainTask(target, c, seeds[c], draws, warmup, aim, str(place), run["threads"]) for c in range(chains)]
        _run(tasks, workers, progress)
        rows = np.stack([np.fromfile(t.rows).reshape(-1, t.width)[:draws] for t in tasks])
    n, i = len(scene.names), len(scene.images)
    stats = {k: rows[:, :, n + i + s] for s, k in enumerate(STATS)}
    warm = stats.pop("warmup_steps")[:, 0]
    stats["diverging"] = stats["diverging"] > 0
    log_weight = stats.pop("log_weight")
    made = Chains(rows[:, :, :n], rows[:, :, n : n + i], stats)
    info = {
        "sampler": "nuts",
        "seed": int(seed),
        "warmup": warmup,
        "gradients": int(stats["n_steps"].sum() + warm.sum()),
        "target_accept": tasks[0].target_accept,
        "marginalize": kind.word,
        "doubts": forced(fit),
    }
    if np.ptp(log_weight) > EDGE_FELT:
        made = _reweighted(made, log_weight, info)
    apart = groups(made, torch.nonzero(scene.chart.angle).ravel().cpu().numpy())
    if len(tops) > 1:
        parts = [Part.of(*top) for top in tops]
    elif len(apart) > 1:
        parts = [_around(made.z[group].reshape(-1, n)) for group in apart]
        info["doubts"].append("The chains ended about maxima that the fit had not told of: there may be more of them.")
    post = None if len(tops) == len(apart) == 1 else joined(scene, made, parts, (chains, draws), info)
    if post is not None:
        return post
    theta = values_of(scene, made.z.reshape(-1, n)).reshape(len(tasks), draws, n)
    return Posterior.of(scene, theta, made.log_likelihood, made.stats, info)


def _around(z: np.ndarray) -> Part:
    """The part of space about draws (s, n) that lie together."""
    return Part.of(z.mean(0), np.cov(z.T).reshape(z.shape[1], z.shape[1]))


def _reweighted(chains: Chains, log_weight: np.ndarray, info: dict[str, Any]) -> Chains:
    """Each chain resampled by weights (chains, draws), in its own order: draws that are taken twice count as such in its diagnostics."""
    _, k_hat = pareto_smooth(log_weight.ravel())
    limit, info["edge_k_hat"] = k_threshold(log_weight.size), k_hat
    if k_hat > limit:
        info["doubts"].append(
            f"Pareto k-hat of the weights of fluxes near 0 is {k_hat:.2f}, above {limit:.2f}: draw more, or pass marginalize=None."
        )
    which = []
    for c, row in enumerate(log_weight):
        weights = np.exp(row - row.max())
        which.append(np.sort(resampled(weights / weights.sum(), len(row), np.random.default_rng((info["seed"], 5, c)))))
    chain = np.repeat(np.arange(len(which))[:, None], log_weight.shape[1], axis=1)
    taken = chains.take(chain, np.stack(which))
    taken.stats.pop("energy", None)  # of steps from draw to draw, which these are not
    return taken


def _claim(
    folder: pathlib.Path, fit: Fit, z: torch.Tensor, covariance: torch.Tensor, options: dict[str, Any], threads: int
) -> dict[str, Any]:
    """What the run in this folder was begun with; a folder that belongs to another run is refused.

    Chains whiten by the maximum that they began with, and in as many threads: a fit repeated elsewhere may differ in its last digits, and
    sums in another order would change the draws.
    """
    run = options | {
        "names": list(fit.names),
        "columns": list(STATS),
        "dtype": str(fit.scene.dtype),
        **identity(fit.scene),
        "z": z.tolist(),
        "z_covariance": covariance.tolist(),
        "threads": threads,
    }
    card = folder / "run.json"
    if not card.exists():
        whole = card.with_suffix(".tmp")  # one that was half written when its run was killed could not be read
        with whole.open("w") as f:
            f.write(json.dumps(run | {"digest": digest(run)}))
            f.flush()
            os.fsync(f.fileno())
        os.replace(whole, card)
        return run
    old = _read(card)
    differ = [k for k in run if k not in old or (k not in ("z", "z_covariance", "threads") and old[k] != run[k])]
    if not differ:
        sd = np.sqrt(np.diagonal(run["z_covariance"]))
        differ = [n for n, a, b, s in zip(fit.names, run["z"], old["z"], sd, strict=True) if not abs(a - b) <= SAME * s]
    if differ:
        raise ValueError(
            f"The checkpoint {str(folder)!r} belongs to another run (its {', '.join(differ)} differ): name a new folder, or remove this one."
        )
    return old


def _read(card: pathlib.Path) -> dict[str, Any]:
    """What was written of a run.

    Raises
    ------
    ValueError
        For a file that is damaged.
    """
    try:
        old = json.loads(card.read_text())
        if old.pop("digest") == digest(old):
            return old
    except (AttributeError, KeyError, TypeError, ValueError):  # no JSON, or none of ours
        pass
    raise ValueError(f"{str(card)!r} must be as the run wrote it, and is damaged, or of another version: name a new folder for the checkpoint, or remove this one.")


def _run(tasks: list[ChainTask], workers: int, progress: bool) -> None:
    from tqdm.auto import tqdm

    with tqdm(total=sum(t.draws for t in tasks), desc="NUTS", disable=not progress, leave=False) as bar:
        share(run_chain, tasks, workers, lambda: bar.update(max(0, sum(min(t.done(), t.draws) for t in tasks) - bar.n)))
