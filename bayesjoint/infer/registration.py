"""Registration: whether residuals look as if an image lay elsewhere, or had another zeropoint, than it says.

One Gauss-Newton step of a scene that has a shift and a zeropoint for all images but one, from products that the fit has made anyway.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from bayesjoint.infer.warnings import FitWarning, Pattern, Severity
from bayesjoint.sky.components import Shift, Source, Zeropoint

if TYPE_CHECKING:
    from bayesjoint.infer.lm import State
    from bayesjoint.scene.scene import Scene

__all__ = ["Offsets", "corrections", "registration"]

SURE = 5.0
"""Significance from which on it is said; errors are widened where residuals are larger than the noise."""
FAR, FAINT = 0.05, 0.01
"""Shift in pixels and magnitudes below which it is not."""
OFF = 3.0
"""Significance from which on a fitted shift or zeropoint is said."""
LOOSE = 10.0
"""Pixels, and magnitudes, that are allowed for."""


@dataclass(frozen=True)
class Offsets:
    """What shifts and zeropoints of the images would mend.

    Parameters
    ----------
    warnings : list of FitWarning
        One for each image whose offset is significant.
    gain : float
        Chi² that all of them together would take away, as far as the model is linear.
    """

    warnings: list[FitWarning] = field(default_factory=list)
    gain: float = 0.0


def registration(scene: Scene, state: State, scatter: Mapping[str, float]) -> Offsets:
    """Shifts and zeropoints that the residuals ask for.

    Parameters
    ----------
    scene : Scene
    state : State
        The end of the fit.
    scatter : mapping
        Reduced chi² by image.
    """
    linear, images = state.linear, scene.images
    if linear is None or len(images) < 2:
        return Offsets()
    n, moves = len(scene.names), []
    for im, (_, h) in zip(images, linear.parts, strict=True):
        sources = [c for c in scene.components if isinstance(c, Source) and c.sees(im)]
        move = np.zeros((len(h), 3))
        for c in sources:
            for k, p in enumerate(("x", "y")):
                move[scene.layout.index[c.name, p, im.name], k] = -1.0
            place = scene.layout.index[c.name, "flux", im.name]
            move[place, 2] = 0.4 * np.log(10) * linear.full[place]
        moves.append(move)
    known = [float(np.trace(m[:, :2].T @ h.numpy(force=True) @ m[:, :2])) for m, (_, h) in zip(moves, linear.parts, strict=True)]
    own = {im.name: [any(isinstance(c, kind) and c.sees(im) for c in scene.components) for kind in (Shift, Zeropoint)] for im in images}
    still = [k for k, im in enumerate(images) if not own[im.name][0]]  # an image that the fit shifts is no anchor
    first = max(still or range(len(images)), key=lambda k: known[k])
    slope = linear.slope.numpy(force=True)
    columns: list[tuple[int, int]] = []  # image, and which of its three
    for i, im in enumerate(images):
        if i != first and not own[im.name][0]:
            columns += [(i, 0), (i, 1)]
        best = max((k for k, o in enumerate(images) if o.band == im.band), key=lambda k: known[k])
        if i != best and not own[im.name][1] and any(isinstance(c, Source) and _shared(scene, c, i, best) for c in scene.components):
            columns.append((i, 2))
    if not columns:
        return Offsets()
    precision = np.zeros((n + len(columns), n + len(columns)))
    gradient = np.zeros(n + len(columns))
    precision[:n, :n], gradient[:n] = linear.precision.numpy(force=True), linear.gradient.numpy(force=True)
    for a, (i, k) in enumerate(columns, n):
        g, h = (v.numpy(force=True) for v in linear.parts[i])
        column = h @ moves[i][:, k]
        gradient[a] = moves[i][:, k] @ g
        precision[a, :n] = precision[:n, a] = column @ slope
        for b, (j, m) in enumerate(columns, n):
            if j == i:
                precision[a, b] = moves[i][:, m] @ column
        precision[a, a] += (1 / (LOOSE * (images[i].pixel_scale if k < 2 else 1.0))) ** 2
    unit = 1 / np.sqrt(np.clip(np.diag(precision), 1e-300, None))
    covariance = np.linalg.pinv(precision * unit[:, None] * unit, rcond=1e-12, hermitian=True) * unit[:, None] * unit
    step, error = covariance @ gradient, np.sqrt(np.clip(np.diag(covariance), 0, None))
    found = []
    for i, im in enumerate(images):
        own = {k: (step[a], error[a] * max(1.0, scatter[im.name]) ** 0.5) for a, (j, k) in enumerate(columns, n) if j == i}
        if any(k in own and abs(own[k][0]) > max(SURE * own[k][1], FAR * im.pixel_scale) for k in (0, 1)):
            (dx, ex), (dy, ey) = own[0], own[1]
            off = f'{dx:+.3g} ± {ex:.1g}" East and {dy:+.3g} ± {ey:.1g}" North'
            width = float(f"{max(abs(dx), abs(dy)):.1g}")
            pattern = Pattern(
                f"Images appear offset from {images[first].name}: {{items}}.",
                "Correct the WCS, or add bj.Shift({largest}, images={names}).",
                f"{im.name} by {off}",
                f"{width:g}",
            )
            concerns = {"images": (im.name,), "value": float(np.hypot(dx, dy))}
            found.append(FitWarning.of("registration", Severity.WARNING, pattern, **concerns))
        if 2 in own and abs(own[2][0]) > max(SURE * own[2][1], FAINT):
            offset, e = own[2]
            pattern = Pattern(
                f"Zeropoints appear off, against the other images of band {im.band}: {{items}}.",
                "Correct the zeropoint, or add bj.Zeropoint({largest}, images={names}).",
                f"{im.name} by {offset:+.3f} ± {e:.1g} mag",
                f"{float(f'{abs(offset):.1g}'):g}",
            )
            concerns = {"images": (im.name,), "value": float(offset)}
            found.append(FitWarning.of("zeropoint", Severity.WARNING, pattern, **concerns))
    return Offsets(found, float(gradient @ step))


def corrections(scene: Scene, values: Mapping[str, float], errors: Mapping[str, float]) -> list[FitWarning]:
    """What fitted shifts (arcsec) and zeropoints (mag) say of images that are off by more than `OFF` of their errors."""
    found = []
    for c in scene.components:
        if not isinstance(c, Shift | Zeropoint):
            continue
        for im in scene.images:
            sites = [n for s in c.specs if (n := f"{c.name}.{s.name}[{im.name}]") in errors]
            if not any(abs(values[n]) > OFF * errors[n] for n in sites):
                continue
            sizes = [f"{values[n]:+.3g} ± {errors[n]:.1g}" for n in sites]
            text = (
                f'{im.name} lies {sizes[0]}" East and {sizes[1]}" North of where its WCS says.'
                if isinstance(c, Shift) and len(sizes) == 2
                else f"{im.name} is off by {' and '.join(sizes)} {c.unit} ({', '.join(sites)})."
            )
            size = float(max(abs(values[n]) for n in sites))
            found.append(FitWarning("correction", Severity.NOTE, text, images=(im.name,), value=size))
    return found


def _shared(scene: Scene, c: Source, i: int, j: int) -> bool:
    """Whether two images see the same flux of a source."""
    a, b = (scene.layout.told.get((c.name, "flux", scene.images[k].name)) for k in (i, j))
    return a is not None and a == b
