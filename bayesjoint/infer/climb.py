"""Climb: from a scene and where to begin to its `Fit`, by way of render plans that serve, and of other starts where one is not enough."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from astropy.table import Table

from bayesjoint.infer.approach import approach
from bayesjoint.infer.basins import suspects
from bayesjoint.infer.fit import Fit
from bayesjoint.infer.lm import State, levenberg_marquardt
from bayesjoint.infer.search import GAIN, Mode, Place, candidates, concentric, overlapping
from bayesjoint.infer.targets import all_linear
from bayesjoint.scene.alike import alike
from bayesjoint.scene.planning import BUDGET, is_coarse, refined, render_errors
from bayesjoint.scene.starts import linear_values
from bayesjoint.sky.extended import Extended
from bayesjoint.threads import few_threads, largest
from bayesjoint.units import to_float

if TYPE_CHECKING:
    from bayesjoint.scene.scene import Scene

__all__ = ["fit"]

MANY = 4
"""Sources up to which overlapping ones are tried from other starts: with more, none is likely to mend them all."""
FOLLOWED = 3
"""Places that are followed to their ends, unless the user says how many."""
RIVAL = 5.0
"""Log density by which a place promises less than the best one, and is not followed after two that led to one maximum."""
APART = 4.0
"""Square of the distance in sigma from which on two ends of one height are two maxima."""
HELD = 0.01
"""Part of the evidence from which on another maximum counts."""


@dataclass
class End:
    """Where one start led: the scene on the plan that served, the state there, and its values."""

    scene: Scene
    state: State
    values: dict[str, float]
    count: int = 1
    """How many starts led there."""

    @property
    def height(self) -> float:
        """The log density there."""
        return self.state.log_density


def fit(
    scene: Scene,
    start: Mapping[str, Any] | Fit | None,
    *,
    prior: bool,
    max_iterations: int,
    progress: bool,
    starts: int | str | None = None,
    seed: int = 0,
) -> Fit:
    """Fit a scene (see `Scene.fit`); the scene itself is not changed.

    Components that share a centre, and sources that overlap, are searched (`bayesjoint.infer.search`): the most promising places are
    followed to their ends, and the highest is the fit. So is a source whose end is suspect (`bayesjoint.infer.basins`). After
    convergence the render plan is checked at the result: it is made anew where a source moved or thinned out, and finer where the
    error of the model is not far below the noise.
    """
    from tqdm.auto import tqdm

    starts = _starts(starts, start)
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
    searched = starts != 1 and max_iterations > 1 and len(scene.names) > 0
    with few_threads(largest(scene)), tqdm(total=max_iterations, desc="LM", disable=not progress, leave=False) as bar:

        def report(record: dict[str, Any]) -> None:
            bar.update(record["iteration"] - bar.n)
            bar.set_postfix(chi2=f"{record['chi2']:.6g}")

        if start is None and max_iterations > 1:
            values = approach(scene, values, prior=prior, report=report)
        options = {"prior": prior, "max_iterations": max_iterations, "report": report}
        first, ends, untried = values, [], ()
        if searched:
            places, said = _places(scene, values, starts, seed, prior, report)
            promised = max((p.promise for p in places if math.isfinite(p.promise)), default=-math.inf)
            for place in places:
                settled = starts == "auto" and len(ends) > 1 and _same(ends[0], ends[1])
                if settled and place.promise < promised - RIVAL:
                    break
                ends.append(_climb(scene, place.values, **options, count=place.count))
        else:
            said = ""
        if not ends:
            ends = [_climb(scene, values, **options)]
        best = _highest(ends)
        suspect = suspects(scene, best.values, first, best.state.converged) if searched and starts == "auto" else {}
        if len(suspect) > MANY:
            untried = tuple(suspect) if best.state.converged else ()  # else there is something else to mend first
        elif suspect and not said:
            group = [c for c in scene.components if c.name in suspect and isinstance(c, Extended)]
            ended = best.values if best.state.converged else None
            found = candidates(scene, first, group, prior=prior, count=FOLLOWED, seed=seed, report=report, ended=ended)
            for place in found:
                ends.append(_climb(scene, place.values, **options, count=place.count))
            best = _highest(ends)
            said = "from the automatic start " + "; ".join(dict.fromkeys(suspect.values()))
        # the plans of the other ends are of no use any more, and their tables may be large
        ends = [dataclasses.replace(end, scene=scene) for end in ends]
        best = _ordered(best, options)
        errors = _checked(best, options)
    restarts, modes, line = _restarts(scene, best, ends, said, prior)
    result = Fit(best.scene, best.state, prior, errors, line, restarts, modes, untried)
    if all_linear(result.scene):  # while its images are at hand: draws need none then
        from bayesjoint.infer.exact import closed_form  # which brings in ArviZ

        with contextlib.suppress(ValueError):  # what is degenerate is in the warnings
            closed_form(result)
    return result


def _starts(starts: int | str | None, start: Any) -> int | str:
    """How many places are followed to their ends.

    Raises
    ------
    ValueError
        For anything but "auto" and a positive whole number.
    """
    if starts is None:
        return "auto" if start is None else 1
    if starts != "auto" and (isinstance(starts, bool | str) or int(starts) != starts or starts < 1):
        raise ValueError(f"starts must be 'auto' or a positive whole number; got {starts!r}. Give for example starts=10.")
    return starts if starts == "auto" else int(starts)


def _places(
    scene: Scene, values: dict[str, float], starts: int | str, seed: int, prior: bool, report: Callable[[dict[str, Any]], None]
) -> tuple[list[Place], str]:
    """Where to begin, the most promising first, and what was searched for in words; nothing where one start is enough."""
    count = FOLLOWED if starts == "auto" else int(starts)
    groups = concentric(scene)
    extended = [c for c in scene.components if isinstance(c, Extended)]
    if len(extended) <= MANY:
        together = overlapping(scene, values)
        # components on one centre beside a neighbour are searched together with it
        groups = [g for g in groups if not any({c.name for c in g} <= {c.name for c in t} for t in together)] + together
    if starts != "auto" and not groups:
        groups = [[c] for c in extended]
    if not groups:
        return [], ""
    best, places = dict(values), []
    for group in groups:
        found = candidates(scene, best, group, prior=prior, count=count, seed=seed, report=report)
        if found:
            best = dict(found[0].values)
            # the others of this group with what the next ones come to
            places = [*found[:1], *places, *found[1:]]
    if len(groups) > 1:
        places = [Place(best, math.inf), *[p for p in places if p.values != best]]
    names = "; ".join(" and ".join(c.name for c in g) for g in groups)
    return places[:count], names


def _climb(
    scene: Scene,
    values: Mapping[str, float],
    *,
    prior: bool,
    max_iterations: int,
    report: Callable[[dict[str, Any]], None],
    count: int = 1,
) -> End:
    """From one start to where it leads, on a render plan that is made anew where it does not serve."""
    history: list[dict[str, Any]] = []
    z = scene.unconstrain(values)
    for attempt in range(3):
        state = _more(scene, z, history, prior, max_iterations, report)
        history, z = state.history, state.z
        fitted = {k: float(v) for k, v in scene.constrain(z).items()}
        if attempt == 2 or not state.converged or not is_coarse(scene, fitted):
            break
        scene.release()
        scene = scene.replanned(fitted)
        z = scene.unconstrain(fitted)
    scene.release()
    return End(scene, state, fitted, count)


def _more(
    scene: Scene, z: torch.Tensor, history: list[dict[str, Any]], prior: bool, max_iterations: int, report: Callable[[dict[str, Any]], None]
) -> State:
    """Go on from z, with the records of what was before."""
    state = levenberg_marquardt(scene, z, prior=prior, max_iterations=max(1, max_iterations - len(history) + 1), report=report)
    state.history = history + (state.history if not history else state.history[1:])
    for k, record in enumerate(state.history):
        record["iteration"] = k
    return state


def _checked(end: End, options: dict[str, Any]) -> dict[str, float]:
    """Bring an end on a plan whose errors are far below the noise, as far as that is to be had; those errors by image."""
    for attempt in range(3):
        errors = render_errors(end.scene, end.values)
        bad = {k for k, e in errors.items() if e > BUDGET}
        if not bad or not end.state.converged or attempt == 2:
            break
        end.scene = refined(end.scene, 1.6, bad)
        z = end.scene.unconstrain(end.values)
        end.state = _more(end.scene, z, end.state.history, options["prior"], options["max_iterations"], options["report"])
        end.values = {k: float(v) for k, v in end.scene.constrain(end.state.z).items()}
        end.scene.release()
    return errors


def _highest(ends: list[End]) -> End:
    return max(ends, key=lambda e: (e.state.converged, e.height))


def _same(a: End, b: End) -> bool:
    """Whether two ends are one maximum, by name or with names exchanged that no prior tells apart."""
    if not (a.state.converged and b.state.converged and abs(a.height - b.height) < GAIN):
        return False
    named = [b.values]
    for pair in alike(a.scene):
        named += [_exchanged(a.scene, values, *pair["names"]) for values in named]
    return any(_distance(a, values) < APART for values in named)


def _distance(end: End, values: Mapping[str, float]) -> float:
    """Square of the distance of values from an end, in units of its errors."""
    off = end.scene.unconstrain(values) - end.scene.unconstrain(end.values)
    off = torch.where(end.scene.chart.angle, torch.remainder(off + 90.0, 180.0) - 90.0, off)
    distance = float(off @ end.state.precision @ off)
    return distance if math.isfinite(distance) else math.inf


def _exchanged(scene: Scene, values: Mapping[str, float], a: str, b: str) -> dict[str, float]:
    """Values with the names of two components exchanged."""
    out = dict(values)
    for k in scene.names:
        other = b + k[len(a) :]
        if k.startswith(a + ".") and other in out:
            out[k], out[other] = out[other], out[k]
    return out


def _in_order(scene: Scene, values: Mapping[str, float]) -> dict[str, float]:
    """Values with the names of components of one kind on one centre in the order of their sizes, where no prior tells them apart."""
    groups = [{c.name for c in g} for g in concentric(scene)]
    swapped = dict(values)
    for pair in alike(scene):
        if not any(set(pair["names"]) <= g for g in groups):
            continue
        a, b = pair["names"]
        sizes = [f"{n}.r_eff" for n in (a, b)]
        if all(k in swapped for k in sizes) and swapped[sizes[0]] > swapped[sizes[1]]:
            swapped = _exchanged(scene, swapped, a, b)
    return swapped


def _ordered(end: End, options: dict[str, Any]) -> End:
    """An end whose components of one kind on one centre stand in the order of their sizes: names that no prior tells apart."""
    swapped = _in_order(end.scene, end.values)
    if swapped == end.values:
        return end
    new = _climb(end.scene, swapped, **options, count=end.count)
    return new if new.state.converged and new.height > end.height - GAIN else end


def _restarts(scene: Scene, best: End, ends: list[End], searched: str, prior: bool) -> tuple[Table, list[Mode], str]:
    """The maxima that were found: a table, those that hold a part of the evidence, and a sentence."""
    maxima: list[tuple[End, int]] = []
    for end in sorted((e for e in ends if e.state.converged), key=lambda e: -e.height):
        twin = next((k for k, (m, _) in enumerate(maxima) if _same(m, end)), None)
        if twin is None:
            maxima.append((end, end.count))
        else:
            maxima[twin] = maxima[twin][0], maxima[twin][1] + end.count
    if maxima and best.state.converged:  # the highest, on the plan that was checked
        maxima[0] = best, maxima[0][1]
    total = sum(e.count for e in ends)
    table = Table(
        {
            "log_density": [m.height for m, _ in maxima],
            "chi2": [m.state.history[-1]["chi2"] for m, _ in maxima],
            "count": [n for _, n in maxima],
        }
    )
    modes = _modes([m for m, _ in maxima], prior)
    if not searched:
        return table, modes, ""
    line = f"{maxima[0][1] if maxima else 0} of {total} starts led to this maximum"
    if searched.startswith("from"):
        line = f"{searched[0].upper()}{searched[1:]}: {line}"
    if len(maxima) > 1:
        line += f"; the next one is {maxima[0][0].height - maxima[1][0].height:.1f} lower in log density"
    return table, modes, line + "."


def _modes(maxima: list[End], prior: bool) -> list[Mode]:
    """Those maxima that hold more than a per cent of the evidence, by Laplace's approximation of each."""
    if not maxima or not prior:
        return []
    top, found = maxima[0].height, []
    for end in maxima:
        if top - end.height > 30 and found:
            continue
        precision = end.state.precision.double()
        sign, logdet = torch.linalg.slogdet(precision)
        n = len(precision)
        if not n or float(sign) <= 0 or not math.isfinite(float(logdet)):
            continue
        evidence = end.height + 0.5 * n * math.log(2 * math.pi) - 0.5 * float(logdet)
        found.append((end, torch.linalg.inv(precision), evidence))
    if not found:
        return []
    total = np.logaddexp.reduce([e for *_, e in found])
    kept = [f for k, f in enumerate(found) if k == 0 or math.exp(f[2] - total) > HELD]
    total = np.logaddexp.reduce([e for *_, e in kept])
    return [Mode(f.state.z.detach(), cov, f.height, e, math.exp(e - total)) for f, cov, e in kept]


def _start_inside(scene: Scene, z: torch.Tensor, values: Mapping[str, float]) -> None:
    """Refuse a start outside its prior: its flat coordinate would be infinite, or be moved in silence to the prior's edge."""
    for site, x in zip(scene.layout.sites, z.tolist(), strict=True):
        v = values[site.name]
        if not (np.isfinite(x) and bool(site.prior.support.check(torch.tensor(v, dtype=torch.float64)))):
            lo, hi = (getattr(site.prior.support, k, None) for k in ("lower_bound", "upper_bound"))
            ends = f", {float(lo):.4g} to {float(hi):.4g}" if lo is not None and hi is not None else ""
            raise ValueError(f"The start of {site.name} must be within its prior{ends}; got {v!r}. Start inside it, or give the parameter a prior of your own.")
