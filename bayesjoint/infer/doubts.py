"""Doubts: values that a fit found and that one would not believe, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from bayesjoint.scene.scene import Scene

__all__ = ["doubts", "widths"]

NEGATIVE = 3.0
"""Errors below zero from which on a flux is said to be negative."""
FAR = 4.0
"""Widths of its prior from the prior's middle, from which on a value and its prior are said to disagree."""
NAMED = 3


@torch.no_grad()
def widths(scene: Scene, values: Mapping[str, float]) -> np.ndarray:
    """How far each site lies from the middle of its prior, in the prior's widths; 0 where that is not Normal in the flat coordinates.

    Where an axis ratio and an angle share a plane, how far they lie from its middle is the axis ratio's: all angles are alike to the prior.
    """
    chart = scene.chart
    _, t = chart.values(scene.unconstrain({k: values[k] for k in scene.names}))
    off = (t - chart.loc) * chart.inverse_scale
    off[chart.q], off[chart.pa] = torch.hypot(off[chart.q], off[chart.pa]), torch.zeros_like(off[chart.pa])
    return off.abs().cpu().numpy()


def doubts(scene: Scene, values: Mapping[str, float], errors: Mapping[str, float], prior: bool) -> list[str]:
    """A sentence each on fluxes that are negative, and on values far out in their priors.

    Parameters
    ----------
    scene : Scene
    values, errors : mapping
        By site, in their units.
    prior : bool
        Whether priors were part of what was maximised.
    """
    said = []
    below = {s.name: -values[s.name] / errors[s.name] for s in scene.layout.sites if s.spec.unit == "flux" and errors[s.name] > 0}
    if negative := _most(below, NEGATIVE, "by {:.0f} sigma"):
        said.append(
            f"Fluxes are negative: {negative}. What another source, the sky or the PSF draws too bright is taken away there; "
            "a positive prior (dist.LogNormal) forbids it."
        )
    if prior and (far := _most(dict(zip(scene.names, widths(scene, values).tolist(), strict=True)), FAR, "by {:.1f} widths")):
        said.append(f"Values lie far from the middle of their priors: {far}. The prior is wrong, or the model is.")
    return said


def _most(found: Mapping[str, float], least: float, words: str) -> str:
    """The largest of those that are large enough, and how many more there are."""
    large = sorted((k for k, v in found.items() if v > least), key=lambda k: -found[k])
    more = [f"{len(large) - NAMED} more"] * (len(large) > NAMED)
    return ", ".join([*(f"{k} ({words.format(found[k])})" for k in large[:NAMED]), *more])
