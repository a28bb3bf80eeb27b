"""Windows: the pixels in which each source has light, and how much of it that leaves away."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bayesjoint.images import Image
from bayesjoint.sky.extended import Extended
from bayesjoint.sky.windows import AUTO, window_for

if TYPE_CHECKING:
    from bayesjoint.scene.scene import Scene

__all__ = ["Box", "lost_light", "outgrown", "window_of"]

Box = tuple[int, int, int, int]
"""Pixels x0, x1, y0, y1, half-open."""
LOST = 0.05
"""Light that a window made from the light itself leaves away, root of the sum of squares in units of the noise."""
ROOM, UNKNOWN = 1.25, 8.0
"""Spare radius, and radius in half-light radii where no flux is known yet."""
LEAST = 8.0
"""Pixels beyond the PSF's width that such a window has at least."""
MOST = 0.6
"""Part of the image from which on it is all of it."""
PLACES = 40000
"""Pixels, evenly spread, at which the light outside a window is summed at most."""


def window_of(scene: Scene, values: Mapping[str, float], im: Image, c: Extended, pixel: tuple[float, float]) -> Box | None:
    """Pixels of a source's window in an image, at values; None for all of it.

    A window from the light itself is the box about the ellipse outside which its light is below `LOST`.
    """
    window = window_for(c.window, im)
    if window is None or isinstance(window, list):
        return None if window is None else (window[0], window[1], window[2], window[3])
    radius = _radius(scene, values, im, c) if window == AUTO else window
    jac = np.linalg.inv(scene.frame.jacobian(im.placement, *pixel))
    half = radius * np.hypot(jac[:, 0], jac[:, 1])
    if window == AUTO:
        q, pa = (scene.value(c, k, im, values) for k in ("q", "pa"))
        c_, s_ = np.cos(np.radians(pa)), np.sin(np.radians(pa))
        if c.radial:  # the box about an ellipse of axes e1 (major) and e2
            e1, e2 = jac @ np.array([s_, c_]), q * (jac @ np.array([c_, -s_]))
            half = radius * np.hypot(e1, e2)
        half = half + LEAST + (im.psf.fwhm if im.psf is not None else 0.0)
    x0, x1, y0, y1 = (
        int(f(pixel[k] + sign * half[k]) + (sign > 0)) for k, sign, f in ((0, -1, np.floor), (0, 1, np.ceil), (1, -1, np.floor), (1, 1, np.ceil))
    )
    ny, nx = im.shape
    seen = max(0, min(x1, nx) - max(x0, 0)) * max(0, min(y1, ny) - max(y0, 0))
    return None if window == AUTO and seen > MOST * nx * ny else (x0, x1, y0, y1)


def outgrown(old: Box | None, new: Box | None) -> bool:
    """Whether light has grown out of a window by a tenth of its size."""
    if old is None:
        return False
    if new is None:
        return True
    spare = 0.1 * max(old[1] - old[0], old[3] - old[2])
    return bool(old[0] - new[0] > spare or new[1] - old[1] > spare or old[2] - new[2] > spare or new[3] - old[3] > spare)


def _light(scene: Scene, values: Mapping[str, float], im: Image, c: Extended) -> tuple[float, float, float, list[torch.Tensor]]:
    """Flux in image units over the median sigma, q, pa, and the parameters of the light."""
    params = [torch.tensor(scene.value(c, k, im, values), dtype=torch.float64) for k in c.light_params]
    q, pa, flux = (scene.value(c, k, im, values) for k in ("q", "pa", "flux"))
    return abs(flux) * im.unit_flux / im.typical_sigma, q, pa, params


def _radius(scene: Scene, values: Mapping[str, float], im: Image, c: Extended) -> float:
    """Semi-major axis outside which the light is below `LOST`."""
    signal, q, _, params = _light(scene, values, im, c)
    size = next((scene.value(c, s.name, im, values) for s in c.specs if s.unit == "arcsec" and s.name not in ("x", "y")), im.pixel_scale)
    if not signal > 0 or not np.isfinite(signal):
        return UNKNOWN * size
    r = torch.as_tensor(np.geomspace(0.05 * min(size, im.pixel_scale), 4 * max(im.shape) * im.pixel_scale, 400))
    bright = c.light(r, torch.zeros_like(r), torch.tensor(q, dtype=torch.float64), *params).numpy() / q  # 1/arcsec²
    per_ring = (bright * signal * im.pixel_scale) ** 2 * 2 * np.pi * q * r.numpy() ** 2 * np.log(float(r[1] / r[0]))  # sum over pixels of (S area)²
    outside = np.cumsum(per_ring[::-1])[::-1]
    return ROOM * float(r[min(np.searchsorted(-outside, -(LOST**2)), len(r) - 1)])


@torch.no_grad()
def lost_light(scene: Scene, values: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """By image and source: light outside its window, root of the sum of squares in units of the noise."""
    lost: dict[str, dict[str, float]] = {}
    for im in scene.images:
        for name, plan in scene.plans[im.name].items():
            if plan.window is None:
                continue
            c: Any = next(c for c in scene.components if c.name == name)
            signal, q, pa, params = _light(scene, values, im, c)
            step = max(1, math.ceil(math.sqrt(im.data.size / PLACES)))
            rows, cols = (np.arange(0, n, step) for n in im.shape)
            x0, x1, y0, y1 = plan.window
            outside = ~(((rows >= y0) & (rows < y1))[:, None] & ((cols >= x0) & (cols < x1))) & im.valid[::step, ::step]
            py, px = rows[np.nonzero(outside)[0]], cols[np.nonzero(outside)[1]]
            if not px.size:
                continue
            jac, (mx, my) = scene.frame.jacobian(im.placement, *plan.pixel), plan.pixel
            (sx, sy), area = scene.frame.to_sky(im.placement, mx, my), float(abs(np.linalg.det(jac)))
            dx = jac[0, 0] * (px - mx) + jac[0, 1] * (py - my) + float(sx) - scene.value(c, "x", im, values)
            dy = jac[1, 0] * (px - mx) + jac[1, 1] * (py - my) + float(sy) - scene.value(c, "y", im, values)
            s, k = np.sin(np.radians(pa)), np.cos(np.radians(pa))
            u, v = torch.as_tensor(dx * s + dy * k), torch.as_tensor((dx * k - dy * s) / q)
            bright = c.light(u, v, torch.tensor(q, dtype=torch.float64), *params).numpy() / q
            lost.setdefault(im.name, {})[name] = float(np.sqrt(((bright * signal * area) ** 2).sum()) * step)
    return lost
