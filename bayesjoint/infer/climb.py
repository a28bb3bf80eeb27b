"""Climb: from a scene and where to begin to its `Fit`, by way of render plans that serve and other starts where the first end is suspect."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bayesjoint.infer.approach import approach
from bayesjoint.infer.basins import others, suspects
from bayesjoint.infer.fit import Fit
from bayesjoint.infer.lm import State, levenberg_marquardt
from bayesjoint.scene.planning import BUDGET, is_coarse, refined, render_errors
from bayesjoint.scene.starts import linear_values
from bayesjoint.threads import few_threads, largest
from bayesjoint.units import to_float

if TYPE_CHECKING:
    from bayesjoint.scene.scene import Scene

__all__ = ["fit"]

MANY = 4
"""Sources that are tried from other starts at most: with more, none is likely to mend them all. With more, buffers are let go of, too."""
GAIN = 0.5
"""Log density by which another start's maximum must be higher to be another one."""


def fit(scene: Scene, start: Mapping[str, Any] | Fit | None, *, prior: bool, max_iterations: int, progress: bool) -> Fit:
    """Fit a scene (see `Scene.fit`); the scene itself is not changed.

    After convergence the render plan is checked at the result: it is made anew where a source moved or thinned out, and finer where
    the error of the model is not far below the noise. Where a source then ended far from anything expected, and nobody said where to
    begin, a few other starts are tried, and the best of all is what is given.
    """
    from tqdm.auto import tqdm

    values = scene.start
    if start is not None:
        given = start.values if isinstance(start, Fit) else start
        units = scene.units
        for k, v in given.items():
            if k not in units and isinstance(start, Fit):
                continue
            for name in scene._match([k], [*units, *scene.layout.fixed]):  # a parameter's name stands for all its bands
                if name in units:
                    values[name] = to_float(v, units[name], name)
    elif len(scene.names) and not scene.automatic:
        values = linear_values(scene, values)[0]
    _start_inside(scene, scene.unconstrain(values), values)
    with few_threads(largest(scene)), tqdm(total=max_iterations, desc="LM", disable=not progress, leave=False) as bar:

        def report(record: dict[str, Any]) -> None:
            bar.update(record["iteration"] - bar.n)
            bar.set_postfix(chi2=f"{record['chi2']:.6g}")

        if start is None and max_iterations > 1:
            values = approach(scene, values, prior=prior, report=report)
        best = _climb(scene, values, prior, max_iterations, report)
        suspect = suspects(scene, best[2], values, best[1].converged) if start is None and max_iterations > 1 else {}
        said = ""
        if len(suspect) > MANY:
            said = f"{', '.join(list(suspect)[:3])} and {len(suspect) - 3} other sources ended where other starts might help: none was tried for so many."
        elif suspect:
            trials = [linear_values(scene, v)[0] for v in others(scene, values, suspect)]
            found = [_climb(scene, v, prior, max_iterations, report) for v in trials]
            first, highest = best[1].log_density, max(found, key=lambda f: f[1].log_density, default=best)
            if highest[1].log_density > first + GAIN or not best[1].converged:
                best = max([best, highest], key=lambda f: (f[1].converged, f[1].log_density))
            same = sum(abs(f[1].log_density - best[1].log_density) < GAIN for f in found)
            said = f"From the automatic start {'; '.join(dict.fromkeys(suspect.values()))}: of {len(found) + 1} starts this is the best, and {same} other{'s' * (same != 1)} led to it."
    return Fit(*best[:2], prior, best[3], said)


def _climb(
    scene: Scene, values: Mapping[str, float], prior: bool, max_iterations: int, report: Callable[[dict[str, Any]], None]
) -> tuple[Scene, State, dict[str, float], dict[str, float]]:
    """From one start: the scene on the plan that served, where it ended, its values, and the errors of the plan."""
    history: list[dict[str, Any]] = []
    z = scene.unconstrain(values)
    for attempt in range(4):
        state = levenberg_marquardt(scene, z, prior=prior, max_iterations=max(1, max_iterations - len(history) + 1), report=report)
        state.history = history + (state.history if not history else state.history[1:])
        for k, record in enumerate(state.history):
            record["iteration"] = k
        history = state.history
        z = state.z
        fitted = {k: float(v) for k, v in scene.constrain(z).items()}
        if state.converged and attempt < 3 and is_coarse(scene, fitted):
            _release(scene)
            scene = scene.replanned(fitted)
        else:
            _release(scene)
            off = render_errors(scene, fitted)
            bad = {k for k, e in off.items() if e > BUDGET}
            if not bad or not state.converged or attempt == 3:
                break
            scene = refined(scene, 1.6, bad)
        z = scene.unconstrain(fitted)
    return scene, state, fitted, off


def _release(scene: Scene) -> None:
    """Let go of the buffers of a scene that is not drawn for a while: those of many sources take gigabytes."""
    if sum(len(of) for of in scene.plans.values()) > MANY * len(scene.images):
        for term in scene.likelihoods:
            term.renderer.release()


def _start_inside(scene: Scene, z: torch.Tensor, values: Mapping[str, float]) -> None:
    """Refuse a start outside its prior: its flat coordinate would be infinite, or be moved in silence to the prior's edge."""
    for site, x in zip(scene.layout.sites, z.tolist(), strict=True):
        v = values[site.name]
        if not (np.isfinite(x) and bool(site.prior.support.check(torch.tensor(v, dtype=torch.float64)))):
            raise ValueError(f"The start {v!r} of {site.name} lies outside its prior: start inside it.")
