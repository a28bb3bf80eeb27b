"""Warnings about a fit's residuals: which of unmodelled light, registration, zeropoints and noise
they are, and in which order of doubt.

While the model is wrong, offsets and scatter are those of the light that it lacks: then that is
said alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from bayesjoint.infer.registration import registration
from bayesjoint.infer.residuals import Residuals
from bayesjoint.infer.unmodelled import blob_warning, strongest_blob
from bayesjoint.infer.warnings import FitWarning
from bayesjoint.scene.noise import Gaussian

if TYPE_CHECKING:
    from bayesjoint.infer.lm import State
    from bayesjoint.scene.scene import Scene

__all__ = ["residual_warnings"]

EXPLAINED = 0.5
"""Part of the excess of chi² from which on offsets of the images are taken for its cause."""
CLEARER = 1.0
"""Significance of offsets over that of the strongest blob from which on they are said beside it."""


def residual_warnings(
    scene: Scene,
    state: State,
    values: Mapping[str, float],
    residuals: Mapping[str, np.ndarray],
    noise: Mapping[str, Residuals],
    quiet: Mapping[str, np.ndarray | None],
) -> list[FitWarning]:
    """What the residuals say.

    Parameters
    ----------
    scene : Scene
    state : State
        The end of the fit. Of one that did not converge unmodelled light alone is told.
    values : mapping
        By site, in their units.
    residuals, noise, quiet : mapping
        By image: (data - model) / sigma, what was measured of it, and the pixels where the model is
        faint, in which the noise was; of an
        image that has none the noise is told only where the model leaves nothing.
    """
    gaussian = {im.name: isinstance(scene.noise[im.name], Gaussian) for im in scene.images}
    blob = strongest_blob(scene, values, residuals, quiet)
    if blob is not None and blob.sharp and not gaussian[blob.image]:
        blob = None  # what the noise's tails are for
    if not state.converged:
        return [] if blob is None else [blob_warning(scene, blob, {})]
    offsets = registration(scene, state, {k: n.chi2 for k, n in noise.items()})
    misfits = [n for k, n in noise.items() if n.misfit and gaussian[k]]
    excess = sum(max(0.0, (n.chi2 - n.scatter**2) * n.pixels) for n in noise.values() if n.pixels)
    said = [w for n in noise.values() for w in n.warnings]
    apart = [w for k, n in noise.items() if quiet[k] is not None for w in n.warnings]
    if offsets.warnings and offsets.gain > EXPLAINED * excess:
        return [*offsets.warnings, *apart]
    found = [] if blob is None else [blob_warning(scene, blob, {n.name: n.chi2 for n in misfits})]
    if misfits:  # reduced chi² says that the model is wrong
        return found or [n.misfit_warning for n in misfits]
    if blob is None or offsets.gain > (CLEARER * blob.significance) ** 2:
        found += offsets.warnings
    return found + (said if blob is None else apart)
