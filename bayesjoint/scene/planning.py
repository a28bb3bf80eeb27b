"""Planning: what the renderer fixes for each source and image, from the values at hand, and whether that was good enough."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch

from bayesjoint.images import Image
from bayesjoint.log import log
from bayesjoint.memory import MemoryBudgetError, readable
from bayesjoint.render.optics import Optics
from bayesjoint.render.stamp import STEPS, StampPlan, box_shape, core_bytes, core_cost
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
CORE_SHARE = 0.25
"""Part of a scene's memory that one core may take."""
COARSEST = 0.5
"""Size of a core in units of what serves well, below which it is not drawn at all."""
BUDGET = 0.05
"""Error of an image's model, root of the sum of squares in units of the noise: no parameter is biased by more of its own sigma."""
MOVED = 0.5 * BUDGET
"""Error of an image's model by PSFs taken elsewhere than at its sources: the plan is made anew."""
FINER = 1.4
LEAST_FINER = 1.2
"""How much finer a plan must be to say anything of another."""


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
        small = max(box_shape(whole, optics, jac)) < 2 * max(*im.shape, *optics.support) + 200
        if small and core_bytes(c, whole, optics, jac, im.data.size) <= _most(scene):
            return whole

    x0, x1, y0, y1 = (0, im.shape[1], 0, im.shape[0]) if window is None else window

    def cost(step: int) -> float:
        return (x1 - x0) * (y1 - y0) / step**2 + core_cost(dataclasses.replace(plan, step=step), optics, jac)

    def fits(step: int) -> bool:
        size = core_bytes(c, dataclasses.replace(plan, step=step), optics, jac, im.data.size)
        return size <= _most(scene)

    steps = [s for s in STEPS if fits(s)] or STEPS[:1]
    return _bounded(scene, im, c, dataclasses.replace(plan, step=min(steps, key=cost)), optics)


def _most(scene: Scene) -> float:
    """Bytes that one core may take."""
    return CORE_SHARE * scene.memory


def _bounded(
    scene: Scene, im: Image, c: Extended, plan: StampPlan, optics: Optics, *, quiet: bool = False
) -> StampPlan:
    """A plan whose core takes no more memory than one may: drawn coarser where it must be, and said.

    Raises
    ------
    MemoryBudgetError
        Where that does not help, either.
    """
    jac, wanted = scene.frame.jacobian(im.placement, *plan.pixel), plan.fine

    def size(p: StampPlan) -> float:
        return core_bytes(c, p, optics, jac, im.data.size)

    first = size(plan)
    while size(plan) > _most(scene) and plan.fine > COARSEST:
        fine = round(plan.fine * 0.85, 3)
        plan = dataclasses.replace(plan, fine=fine, extent=plan.extent * fine / plan.fine)
    if size(plan) > _most(scene):
        least = readable(size(plan) / CORE_SHARE)
        raise MemoryBudgetError(
            f"memory must be at least {least} to draw {c.name} in {im.name}; got "
            f"{readable(scene.memory)}. Give Scene(..., memory=...) more, bounds for its axis "
            "ratio and size, or a smaller PSF."
        )
    if plan.fine < wanted and not quiet:
        log.warning(
            "%s is drawn more coarsely in %s than it should be: its core would take %s, and "
            "memory=%s allows no more than a quarter of that for one.",
            c.name, im.name, readable(first), readable(scene.memory),
        )  # fmt: skip
    return plan


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


def refined(
    scene: Scene, factor: float, images: set[str] | None = None, *, check: bool = False
) -> Scene:
    """A scene whose cores are larger and finer by a factor, and PSFs drawn further, in some images:
    as far as the scene's memory allows, and said where it does not.

    For a `check`, a core that memory does not allow to be larger is smaller by the factor instead:
    the difference is then more than the error.
    """
    sources = {c.name: c for c in scene.components if isinstance(c, Extended)}
    by_name = {im.name: im for im in scene.images}

    def finer(p: StampPlan) -> StampPlan:
        wider = {
            k: None if n is None else int(np.ceil(n * factor))
            for k, n in (("reach", p.reach), ("margin", p.margin))
        }
        fine = round(p.fine * factor, 3)
        return dataclasses.replace(p, fine=fine, extent=p.extent * factor, **wider)

    def bounded(im: str, source: str, old: StampPlan) -> StampPlan:
        new = finer(old)
        if source not in sources:
            return new
        image = by_name[im]
        psf = image.psf
        if psf is not None:
            psf = psf.at(*(new.place or new.pixel))
            psf = psf if new.reach is None else psf.trimmed(new.reach)
        new = _bounded(scene, image, sources[source], new, Optics(psf), quiet=check)
        if new.fine >= old.fine * min(factor, LEAST_FINER):
            return new
        if not check:
            return old
        ratio = 1 / factor
        return dataclasses.replace(
            old, fine=round(old.fine * ratio, 3), extent=old.extent * ratio
        )

    plans = {
        im: {
            s: bounded(im, s, p) if images is None or im in images else p for s, p in of.items()
        }
        for im, of in scene.plans.items()
    }
    return scene.with_plans(plans)


@torch.no_grad()
def render_errors(scene: Scene, *values: Mapping[str, float]) -> dict[str, float]:
    """Error of each image's model by its plan: root of the sum of squares in units of the noise, the worst over the values given.

    It is the difference to a plan whose cores are larger and finer, and to PSFs at the sources' own
    places; an error of 0.05 biases no parameter by more than 0.05 sigma.
    """
    full = [scene.full(scene.vector(v)) for v in values]
    moved = [place_errors(scene, v) for v in values]
    worst = {}
    for k, a in enumerate(scene.likelihoods):
        # one image after the other: the finer cores of all would take twice the scene's memory
        name = a.image.name
        b = refined(scene, FINER, {name}, check=True).likelihoods[k]
        off = [
            float(((a.model(f) - b.model(f)) / a.unit * a.weight).double().square().sum().sqrt())
            for f in full
        ]
        del b
        both = zip(off, moved, strict=True)
        worst[name] = max((float(np.hypot(o, m[name])) for o, m in both), default=0.0)
    return worst
