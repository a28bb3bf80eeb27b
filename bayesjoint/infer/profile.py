"""Profile of the log density along one parameter: what its error is where the curvature at the
maximum does not tell.

At each value of the parameter all others are maximised anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.interpolate import PchipInterpolator
from scipy.stats import chi2

from bayesjoint.infer.lm import levenberg_marquardt, objective
from bayesjoint.scene.layout import Site, suggest
from bayesjoint.scene.planning import is_coarse

if TYPE_CHECKING:
    from bayesjoint.infer.fit import Fit

__all__ = ["Profile", "profile"]

STEP_SIGMA, FARTHEST_SIGMA = 0.5, 2.5
"""Distance of neighbouring points, and of the last, in units of the profile's own sigma: the root
of twice the fall in log density."""
MOST_POINTS = 12
"""Points on each side at most."""
ITERATIONS = 60
HIGHER = 0.05
"""Log density above the fit's from which on the fit was not at the maximum."""


@dataclass(frozen=True)
class Profile:
    """Log density along one parameter, all others maximised at each of its values.

    Parameters
    ----------
    site, unit : str
        Name of the parameter, and its unit.
    values : ndarray, shape (points,)
        Of the parameter, in its unit, increasing; the fit's own is among them.
    log_density : ndarray, shape (points,)
        The highest at each.
    parameters : dict of ndarray, shape (points,)
        By site: the other parameters there, in their units.
    value, error : float
        The fit's, in the parameter's unit; the error by the curvature.
    bounds : (float, float)
        Of the parameter's prior, in its unit; infinite where there are none.
    """

    site: str
    unit: str
    values: np.ndarray
    log_density: np.ndarray
    parameters: dict[str, np.ndarray]
    value: float
    error: float
    bounds: tuple[float, float] = (-np.inf, np.inf)

    @property
    def drop(self) -> np.ndarray:
        """Fall of the log density from its highest, shape (points,)."""
        return self.log_density.max() - self.log_density

    @property
    def higher(self) -> bool:
        """Whether a point is higher than the fit, which then ended on another maximum."""
        own = self.log_density[np.argmin(np.abs(self.values - self.value))]
        return bool(self.log_density.max() > own + HIGHER)

    def interval(self, level: float = 0.68) -> tuple[float, float]:
        """Where the log density has fallen by half of the chi² of one degree of freedom that
        `level`, a probability, belongs to.

        Parameters
        ----------
        level : float
            Probability, between 0 and 1.

        Returns
        -------
        (float, float)
            In the parameter's unit: the outermost such places; the prior's bound where the profile
            ends there, NaN where it was not
            followed so far.

        Raises
        ------
        ValueError
            For a level that is no probability.
        """
        if not 0 < level < 1:
            raise ValueError(
                f"level must be a probability between 0 and 1; got {level!r}. Give 0.68 or 0.95."
            )
        limit = float(np.sqrt(chi2.ppf(level, 1)))
        k = int(np.argmax(self.log_density))
        below = _crossing(
            self.values[: k + 1][::-1], self.drop[: k + 1][::-1], limit, self.bounds[0]
        )
        return below, _crossing(self.values[k:], self.drop[k:], limit, self.bounds[1])

    def plot(self, ax: Any = None) -> Any:
        """Draw it beside the Gaussian of the fit; see `bayesjoint.plots.profile_density`. `ax`:
        matplotlib Axes, where to draw.
        """
        from bayesjoint.plots.density import profile_density

        return profile_density(self, ax)

    def __repr__(self) -> str:
        low, high = self.interval()
        return (
            f"<Profile of {self.site}: {self.value:.4g} {low - self.value:+.2g} {high - self.value:+.2g} {self.unit} (68 %), "
            f"by curvature ± {self.error:.2g}; {len(self.values)} points>"
        )


def _crossing(values: np.ndarray, drop: np.ndarray, limit: float, bound: float) -> float:
    """Outermost value at which the root of twice the fall passes a limit, from the maximum
    outwards.
    """
    if len(values) < 2:
        return float("nan")
    way = np.abs(values - values[0])
    root = PchipInterpolator(way, np.sqrt(2 * np.clip(drop, 0, None)))
    fine = np.linspace(0, way[-1], 2001)
    inside = np.flatnonzero(root(fine) < limit)
    if inside[-1] == len(fine) - 1:
        near = np.isfinite(bound) and abs(bound - values[-1]) < 0.02 * max(
            way[-1], abs(bound - values[0])
        )
        return float(bound) if near else float("nan")
    return float(values[0] + np.sign(values[-1] - values[0]) * fine[inside[-1] + 1])


def profile(best: Fit, name: str, points: int | Sequence[float] | None = None) -> Profile:
    """Follow the log density of a fit along one parameter.

    Parameters
    ----------
    best : Fit
    name : str
        The parameter's site, such as ``bulge.n``.
    points : int or sequence of float, optional
        How many points on each side at most (default 12), or the values themselves, in the
        parameter's unit. Without values the
        profile is followed to 2.5 of its own sigma.

    Returns
    -------
    Profile

    Raises
    ------
    ValueError
        For a parameter that the fit has not, or values that its prior does not allow.
    """
    scene = best.scene
    if name not in scene.names:
        raise ValueError(f"The fit has no free parameter {name!r}." + suggest(name, scene.names))
    walk = Walk(best, name)
    found = {best.values[name]: (best.log_density, dict(best.values))}
    if points is None or isinstance(points, int):
        if points is not None and points < 1:
            raise ValueError(
                f"points must be a positive number, or values; got {points!r}. Leave it out."
            )
        for side in (-1, 1):
            found |= walk.outwards(side, points or MOST_POINTS)
    else:
        given = sorted(float(v) for v in points)
        wrong = [v for v in given if not walk.allowed(v)]
        if wrong:
            low, high = walk.bounds
            raise ValueError(
                f"points must be values that {name} may have, between {low:g} and {high:g}; got {wrong[0]:g}. Leave it out."
            )
        own = best.values[name]
        for side in ([v for v in given if v > own], [v for v in given[::-1] if v < own]):
            found |= walk.through(side)
    values = np.array(sorted(found))
    return Profile(
        name,
        scene.units[name],
        values,
        np.array([found[v][0] for v in values]),
        {n: np.array([found[v][1][n] for v in values]) for n in scene.names if n != name},
        best.values[name],
        best.errors[name],
        walk.bounds,
    )


class Walk:
    """The way along one parameter of a fit, away from its maximum.

    Parameters
    ----------
    best : Fit
    name : str
        The parameter's site.
    """

    def __init__(self, best: Fit, name: str) -> None:
        self.best, self.scene, self.name = best, best.scene, name
        self.k = self.scene.names.index(name)
        self.site: Site = self.scene.layout.sites[self.k]
        ends = [
            getattr(self.site.prior.support, key, None) for key in ("lower_bound", "upper_bound")
        ]
        self.bounds = tuple(
            float(e) if e is not None else s * np.inf for e, s in zip(ends, (-1, 1), strict=True)
        )
        self.log_scale = (
            self.bounds[0] >= 0 and not (0 < self.bounds[1] <= 1) and best.values[name] > 0
        )

    def allowed(self, value: float) -> bool:
        """Whether the prior allows a value, in the parameter's unit."""
        return (
            bool(self.site.prior.support.check(torch.tensor(value, dtype=torch.float64)))
            and self.bounds[0] < value < self.bounds[1]
        )

    def along(self, value: float) -> dict[str, float]:
        """Values by site at one of the parameter, all others moved as the fit's covariance has
        it.
        """
        best, scene = self.best, self.scene
        slope = scene.chart.slopes(best.z)[0][self.k].double()
        covariance = best.z_covariance.double()
        direction = covariance @ slope
        variance = float(slope @ direction)
        if not variance > 0:
            return {**best.values, self.name: value}
        rate = direction * (
            best.errors[self.name] / variance
        )  # of z, per unit of the value at the maximum
        change = (value - best.values[self.name]) / best.errors[self.name]
        if self.log_scale:  # the coordinate is the logarithm
            change = (
                np.log(value / best.values[self.name])
                * best.values[self.name]
                / best.errors[self.name]
            )
        moved = scene.constrain(best.z + (change * rate).to(best.z))
        return {k: float(v) for k, v in moved.items()} | {self.name: value}

    def at(
        self, value: float, start: Mapping[str, float], iterations: int = ITERATIONS
    ) -> tuple[float, dict[str, float]]:
        """Highest log density at a value (in the parameter's unit), from the other parameters in
        `start`, and all values there.
        """
        scene, prior = self.scene, self.best.prior
        held = scene.fixed({**start, self.name: value}, [self.name])
        full = scene
        values = dict(start) | {self.name: value}
        for attempt in range(2):
            if len(held.names):
                z = held.unconstrain({k: values[k] for k in held.names})
                state = levenberg_marquardt(
                    held, z, prior=prior, max_iterations=iterations, report=_silent
                )
                values = {k: float(v) for k, v in held.constrain(state.z).items()} | {
                    self.name: value
                }
            if attempt or not is_coarse(scene, values):
                break
            full = scene.replanned(values)
            held = held.with_plans(full.plans)
        return objective(full, full.unconstrain(values), prior), values

    def outwards(self, side: int, most: int) -> dict[float, tuple[float, dict[str, float]]]:
        """Points on one side (-1 or 1), about half a sigma of the profile apart."""
        found: dict[float, tuple[float, dict[str, float]]] = {}
        own, top = self.best.values[self.name], self.best.log_density
        to, back = self._coordinate()
        position, root, width = to(own), 0.0, self._width(own)
        step, last = STEP_SIGMA * width, dict(self.best.values)
        for _ in range(most):
            value = back(position + side * step)
            value = self._inside(value, back(position))
            if value is None:
                break
            start = self.along(value) if not found else {**last, self.name: value}
            height, last = self.at(value, self._possible(start))
            found[value] = height, last
            here = float(np.sqrt(2 * max(top - height, 0.0)))
            position, grown = to(value), here - root
            root = here
            if root > FARTHEST_SIGMA or not np.isfinite(height):
                break
            step *= float(np.clip(STEP_SIGMA / max(grown, 1e-6), 0.6, 2.0))
        return found

    def through(self, values: Sequence[float]) -> dict[float, tuple[float, dict[str, float]]]:
        """Points at values (in the parameter's unit) that lead away from the maximum."""
        found: dict[float, tuple[float, dict[str, float]]] = {}
        last = dict(self.best.values)
        for value in values:
            start = self.along(value) if not found else {**last, self.name: value}
            height, last = self.at(value, self._possible(start))
            found[value] = height, last
        return found

    def _possible(self, start: Mapping[str, float]) -> dict[str, float]:
        """A start in which what the covariance led out of its prior is where the fit has it."""
        sites = self.scene.layout.sites
        allowed = {
            s.name: bool(s.prior.support.check(torch.tensor(start[s.name], dtype=torch.float64)))
            for s in sites
        }
        return {
            k: v if allowed[k] and np.isfinite(v) else self.best.values[k] for k, v in start.items()
        }

    def _coordinate(self) -> tuple[Callable[[float], float], Callable[[float], float]]:
        """To the coordinate in which steps are taken, and back."""
        if self.log_scale:
            return lambda v: float(np.log(v)), lambda c: float(np.exp(c))
        return float, float

    def _width(self, own: float) -> float:
        """The fit's error in that coordinate."""
        error = self.best.errors[self.name]
        width = error / own if self.log_scale else error
        scale = 1.0 if self.log_scale else max(abs(own), 1.0)
        return float(width) if np.isfinite(width) and width > 0 else 0.01 * scale

    def _inside(self, value: float, before: float) -> float | None:
        """A value within the bounds: the last step ends close to them, and no other follows."""
        low, high = self.bounds
        span = high - low if np.isfinite(high - low) else abs(before) + 1.0
        near = 1e-4 * span
        if value <= low + near or value >= high - near:
            value = low + near if value <= low + near else high - near
            return value if abs(value - before) > near else None
        return value


def _silent(record: dict[str, Any]) -> None:
    """Report nothing."""
