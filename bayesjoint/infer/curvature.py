"""Curvature: whether the errors of a fit, which are those of a Gaussian at the maximum, hold two
errors away from it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from bayesjoint.infer.lm import objective
from bayesjoint.infer.profile import Walk
from bayesjoint.infer.value_warnings import shares_centre
from bayesjoint.infer.warnings import FitWarning, Pattern, Severity
from bayesjoint.scene.layout import Site
from bayesjoint.scene.linear import Linear, linear_sites
from bayesjoint.sky.extended import Extended

if TYPE_CHECKING:
    from bayesjoint.infer.fit import Fit

__all__ = ["curvature_warnings"]

SHAPES = ("n", "r_eff", "q")
MOST_SHAPES = 24
"""Shapes that are looked at."""
AWAY, PARTED = 2.0, 0.5
"""Errors from the maximum, and the departure of the log density's fall there from the quadratic's
2, from which on it is said."""
STEPS = 4
"""Iterations for the other parameters at either end."""


def curvature_warnings(best: Fit) -> list[FitWarning]:
    """Shapes whose log density two errors away is not that of the Gaussian, with the interval that
    it has.

    First along the covariance, with fluxes and skies solved for: two densities a shape. Where that
    parts from the quadratic by 0.5
    the other parameters are maximised there, too.
    """
    if not len(best.names) or not np.isfinite(best.log_density):
        return []
    return [
        w
        for site in _shapes(best)
        if _parts(best, site) and (w := _warning(best, site)) is not None
    ]


def _shapes(best: Fit) -> list[Site]:
    """Shapes of components that share a centre: those trade with one another."""
    scene = best.scene
    found = [
        site
        for site in scene.layout.sites
        if isinstance(site.component, Extended)
        and site.spec.name.split(".")[0] in SHAPES
        and shares_centre(scene, site.component)
    ]
    return found[:MOST_SHAPES]


def _parts(best: Fit, site: Site) -> bool:
    """Whether the log density two errors away along the covariance is not 2 below the maximum."""
    scene, z = best.scene, best.z
    slope = scene.chart.slopes(z)[0][scene.names.index(site.name)].double()
    direction = best.z_covariance.double() @ slope
    variance = float(slope @ direction)
    if not variance > 0:
        return False
    away = (AWAY * direction / variance**0.5).to(z)
    linear = Linear(scene, scene.chart.values(z)[0]) if best.prior and linear_sites(scene) else None
    for trial in (z + away, z - away):
        try:
            height = (
                linear.profile(trial)[1]
                if linear is not None
                else objective(scene, trial, best.prior)
            )
        except torch.linalg.LinAlgError:
            return True
        if not abs(best.log_density - height - 0.5 * AWAY**2) < PARTED:
            return True
    return False


def _warning(best: Fit, site: Site) -> FitWarning | None:
    """The interval of a shape, from the log density two of its errors away on either side; None
    where it is that of the Gaussian.
    """
    walk, name = Walk(best, site.name), site.name
    value, error = best.values[name], best.errors[name]
    ends, parted = [], 0.0
    for side in (-1, 1):
        there = (
            value * np.exp(side * AWAY * error / value)
            if walk.log_scale
            else value + side * AWAY * error
        )
        if not walk.allowed(there):
            ends.append(side * error)
            continue
        height, _ = walk.at(there, walk._possible(walk.along(there)), STEPS)
        drop = best.log_density - height
        parted = max(parted, abs(drop - 0.5 * AWAY**2), key=abs)
        ends.append(
            _one_sigma(drop) / AWAY * (there - value)
            if not walk.log_scale
            else value * (there / value) ** (_one_sigma(drop) / AWAY) - value
        )
    if parted < PARTED:
        return None
    pattern = Pattern(
        "The errors of these parameters are not those of a Gaussian: {items}.",
        "best.profile(name) follows one of them; draws (laplace, nuts) have them all.",
        f"{name} = {value:.3g} {ends[0]:+.2g} {ends[1]:+.2g}",
    )
    interval = {name: (value + ends[0], value + ends[1])}
    concerns = {
        "parameters": (name,),
        "sources": (site.component.name,),
        "value": parted,
        "intervals": interval,
    }
    return FitWarning.of("not Gaussian", Severity.NOTE, pattern, **concerns)


def _one_sigma(drop: float) -> float:
    """Errors from the maximum at which the log density has fallen by 1/2, from its fall two errors
    away.

    The root of twice the fall is taken as t + a t², of slope 1 at the maximum.
    """
    a = (np.sqrt(2 * max(drop, 0.02)) - AWAY) / AWAY**2
    inside = 1 + 4 * a
    return (
        float((np.sqrt(inside) - 1) / (2 * a))
        if abs(a) > 1e-6 and inside > 0
        else 1.0
        if abs(a) <= 1e-6
        else AWAY
    )
