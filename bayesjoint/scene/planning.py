"""Planning: what the renderer fixes for each source and image, from the values at hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from bayesjoint.render.stamp import StampPlan
from bayesjoint.sky.components import Source

if TYPE_CHECKING:
    from bayesjoint.scene.scene import Scene

__all__ = ["is_coarse", "make_plans"]

SPARE = 0.8
"""Axis ratio planned for, as a part of the value at hand."""


def make_plans(scene: Scene, values: Mapping[str, float]) -> dict[str, dict[str, StampPlan]]:
    """Plan of each source by image: the pixel about which its map is linear, and how thin its taper may be."""
    plans: dict[str, dict[str, StampPlan]] = {}
    for im in scene.images:
        plans[im.name] = {}
        for c in scene.components:
            if isinstance(c, Source) and c.sees(im):
                pixel = scene.frame.to_pixel(im.placement, *(scene.value(c, k, im, values) for k in ("x", "y")))
                q = scene.value(c, "q", im, values) if any(s.name == "q" for s in c.specs) else 1.0
                plans[im.name][c.name] = StampPlan(tuple(round(v, 3) for v in pixel), round(float(np.clip(SPARE * q, 0.0, 1.0)), 3))
    return plans


def is_coarse(scene: Scene, values: Mapping[str, float]) -> bool:
    """Whether a source has become thinner, or moved further, than its plan allows."""
    wanted = make_plans(scene, values)
    for name, plans in wanted.items():
        for source, plan in plans.items():
            old = scene.plans[name][source]
            if plan.q < 0.75 * old.q or np.hypot(plan.pixel[0] - old.pixel[0], plan.pixel[1] - old.pixel[1]) > 50:
                return True
    return False
