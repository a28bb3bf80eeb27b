"""Basins: whether a fit ended where one would not want it to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from bayesjoint.infer.value_warnings import widths
from bayesjoint.sky.extended import Extended

if TYPE_CHECKING:
    from bayesjoint.scene.scene import Scene

__all__ = ["suspects"]

FAR = 3.5
"""Widths of its prior from the prior's middle, beyond which a shape is suspect."""
SMALL = 0.1
"""Half-light radius in pixels below which nothing tells a galaxy from a point."""


def suspects(scene: Scene, values: Mapping[str, float], start: Mapping[str, float], converged: bool) -> dict[str, str]:
    """Sources that ended where a second look is cheap beside the harm: by name, and why in words.

    Parameters
    ----------
    scene : Scene
    values, start : mapping
        Where the fit ended, and began.
    converged : bool
        If it did not, all extended sources are suspect.
    """
    found: dict[str, str] = {}
    off = widths(scene, values).tolist()
    place = {n: k for k, n in enumerate(scene.names)}
    for c in scene.components:
        if not isinstance(c, Extended):
            continue
        seen = [im for im in scene.images if c.sees(im)]
        free = [s for s in scene.layout.sites if s.component is c and s.spec.unit not in ("flux", "image") and s.spec.name not in ("x", "y", "pa")]
        far = next((s for s in free if off[place[s.name]] > FAR), None)
        said = ""
        if not converged:
            said = "the fit did not converge"
        elif far is not None:
            said = f"{far.name} ended {off[place[far.name]]:.1f} widths of its prior from its middle"
        elif any(s.spec.name == "r_eff" for s in free):
            size = min(scene.value(c, "r_eff", im, values) / im.pixel_scale for im in seen)
            if size < SMALL:
                said = f"{c.name} shrank to a point"
        moved = max(np.hypot(*(scene.value(c, k, im, values) - scene.value(c, k, im, start) for k in ("x", "y"))) for im in seen)
        reach = max(_width(scene, c, im, start) for im in seen)
        if not said and moved > 5 * reach:
            said = f"{c.name} moved by {moved:.3g} arcsec from where it began"
        if said and free:
            found[c.name] = said
    return found


def _width(scene: Scene, c: Extended, im: object, start: Mapping[str, float]) -> float:
    size = scene.value(c, "r_eff", im, start) if any(s.name == "r_eff" for s in c.specs) else 0.0
    return float(np.hypot(size, 2 * im.pixel_scale))
