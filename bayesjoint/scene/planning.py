"""Planning: what the renderer fixes for each source and image, from the values at hand, and whether that was good enough."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch

from bayesjoint.images import Image
from bayesjoint.render.optics import Optics
from bayesjoint.render.stamp import STEPS, StampPlan, box_shape
from bayesjoint.scene.reach import (
    is_short,
    own_place,
    place_errors,
    psf_reach,
    shared_place,
    source_pixel,
)
from bayesjoint.scene.windows import outgrown, window_of
from bayesjoint.sky.components import Source
from bayesjoint.sky.extended import Extended

if TYPE_CHECKING:
    from bayesjoint.scene.scene import Scene

__all__ = ["BUDGET", "is_coarse", "make_plans", "refined", "render_errors"]

SPARE = 0.8
"""Axis ratio planned for, as a part of the value at hand."""
Q_STEP = 0.95
"""Ratio of the axis ratios that are planned for."""
ROOM = 1.3
"""Radius planned for, where a source ends, in units of the value at hand."""
BUDGET = 0.05
"""Error of an image's model, root of the sum of squares in units of the noise: no parameter is biased by more of its own sigma."""
MOVED = 0.5 * BUDGET
"""Error of an image's model by PSFs taken elsewhere than at its sources: the plan is made anew."""
FINER = 1.4
BOX_COST = 4.0
"""Cost of a pixel of the core's box over that of a place of the grid outside it, from gradients of sim/leda at steps 1, 2 and 4."""


def make_plans(scene: Scene, values: Mapping[str, float]) -> dict[str, dict[str, StampPlan]]:
    """Plan of each source by image.

    That is the pixel about which its map is linear, how thin its taper may be, and the step of the grid outside the core: the one
    that costs least, as a coarser grid makes a larger core. Where the PSF varies, it is also the
    place at which that is taken; where it is larger than the image, how far it is drawn.
    """
    plans: dict[str, dict[str, StampPlan]] = {}
    for im in scene.images:
        plans[im.name] = {}
        seen = [c for c in scene.components if isinstance(c, Source) and c.sees(im)]
        reach, margin = psf_reach(scene, values, im)
        psf = im.psf if im.psf is None or reach is None else im.psf.trimmed(reach)
        optics, places = Optics(psf), []
        for c in seen:
            plan = _plan(scene, values, im, c, optics)
            place = own_place(im, plan.pixel)
            if place is not None:
                flux = scene.value(c, "flux", im, values)
                place = shared_place(im, place, flux, places, len(seen))
                places.append(place)
            plan = dataclasses.replace(plan, place=place, reach=reach, margin=margin)
            plans[im.name][c.name] = plan
    return plans


def _plan(
    scene: Scene, values: Mapping[str, float], im: Image, c: Source, optics: Optics
) -> StampPlan:
    px, py = source_pixel(scene, values, im, c)
    pixel = round(px, 3), round(py, 3)
    if not isinstance(c, Extended):
        return StampPlan(pixel)
    # in steps, so that sources of a field share their tables
    q = round(float(Q_STEP ** np.ceil(np.log(np.clip(SPARE * scene.value(c, "q", im, values), 1e-3, 1.0)) / np.log(Q_STEP) - 1e-9)), 4)
    old = scene.plans[im.name][c.name] if scene.plans else StampPlan(pixel)
    window = window_of(scene, values, im, c, pixel)
    plan = StampPlan(pixel, q, fine=old.fine, window=window)
    jac = scene.frame.jacobian(im.placement, *pixel)
    if c.ends and not any(s.bends for s in c.shapes):
        params = [torch.tensor(scene.value(c, k, im, values), dtype=torch.float64) for k in c.light_params]
        whole = dataclasses.replace(plan, extent=float(f"{ROOM * float(c.extent(*params)):.3g}"))
        if max(box_shape(whole, optics, jac)) < 2 * max(*im.shape, *optics.support) + 200:
            return whole

    x0, x1, y0, y1 = (0, im.shape[1], 0, im.shape[0]) if window is None else window

    def cost(step: int) -> float:
        box = box_shape(dataclasses.replace(plan, step=step), optics, jac)
        return (x1 - x0) * (y1 - y0) / step**2 + BOX_COST * float(np.prod(box))

    return dataclasses.replace(plan, step=min(STEPS, key=cost))


def is_coarse(scene: Scene, values: Mapping[str, float]) -> bool:
    """Whether a source has become thinner, larger, brighter, or moved further than planned."""
    if any(e > MOVED for e in place_errors(scene, values).values()):
        return True
    wanted = make_plans(scene, values)
    for name, plans in wanted.items():
        for source, plan in plans.items():
            old = scene.plans[name][source]
            moved = np.hypot(plan.pixel[0] - old.pixel[0], plan.pixel[1] - old.pixel[1]) > 50
            if plan.q < 0.75 * old.q or moved or (old.extent and plan.extent > 1.2 * old.extent) or bool(old.extent) != bool(plan.extent):
                return True
            if outgrown(old.window, plan.window) or is_short(old, plan):
                return True
    return False


def refined(scene: Scene, factor: float, images: set[str] | None = None) -> Scene:
    """A scene whose cores are larger and finer by a factor, and PSFs drawn further, in some images."""

    def finer(p: StampPlan) -> StampPlan:
        wider = {
            k: None if n is None else int(np.ceil(n * factor))
            for k, n in (("reach", p.reach), ("margin", p.margin))
        }
        fine = round(p.fine * factor, 3)
        return dataclasses.replace(p, fine=fine, extent=p.extent * factor, **wider)

    plans = {
        im: {s: finer(p) if images is None or im in images else p for s, p in of.items()}
        for im, of in scene.plans.items()
    }
    return scene.with_plans(plans)


@torch.no_grad()
def render_errors(scene: Scene, *values: Mapping[str, float], finer: Scene | None = None) -> dict[str, float]:
    """Error of each image's model by its plan: root of the sum of squares in units of the noise, the worst over the values given.

    It is the difference to a plan whose cores are larger and finer, and to PSFs at the sources' own
    places; an error of 0.05 biases no parameter by more than 0.05 sigma.
    """
    finer = refined(scene, FINER) if finer is None else finer
    worst = dict.fromkeys((im.name for im in scene.images), 0.0)
    for v in values:
        full = scene.full(scene.vector(v))
        moved = place_errors(scene, v)
        for a, b in zip(scene.likelihoods, finer.likelihoods, strict=True):
            off = ((a.model(full) - b.model(full)) / a.unit * a.weight).double().square().sum().sqrt()
            name = a.image.name
            worst[name] = max(worst[name], float(np.hypot(float(off), moved[name])))
    return worst
