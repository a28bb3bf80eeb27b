"""From flat draws to a Posterior: values, log likelihoods, and importance weights against the exact density."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from bayesjoint.threads import few_threads

if TYPE_CHECKING:
    from bayesjoint.infer.fit import Fit
    from bayesjoint.scene.scene import Scene

__all__ = ["check_request", "densities", "k_threshold", "largest", "values_of"]


def largest(scene: Scene) -> int:
    """Pixels of the scene's largest image."""
    return max(im.data.size for im in scene.images)


@torch.no_grad()
def densities(scene: Scene, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Log density of each flat draw, shape (s,), and its log likelihood by image, shape (s, images)."""
    lp, ll = np.empty(len(z)), np.empty((len(z), len(scene.images)))
    with few_threads(largest(scene)):
        for k, row in enumerate(z):
            x = torch.as_tensor(row, dtype=scene.dtype).to(scene.device)
            by_image = scene.log_likelihood(x)
            ll[k] = by_image.cpu().double().numpy()
            lp[k] = float(by_image.sum() + scene.log_prior(x))
    return np.where(np.isfinite(lp), lp, -np.inf), ll


@torch.no_grad()
def values_of(scene: Scene, z: np.ndarray) -> np.ndarray:
    """Values of the sites at flat draws (s, n)."""
    out = np.empty_like(z)
    for k, row in enumerate(z):
        out[k] = scene.chart.values(torch.as_tensor(row, dtype=scene.dtype).to(scene.device))[0].cpu().double().numpy()
    return out


def k_threshold(size: int) -> float:
    """Pareto k above which importance weights of `size` draws are not to be trusted (Vehtari et al. 2024, JMLR 25, 72)."""
    return min(1 - 1 / math.log10(max(size, 11)), 0.7)


def check_request(fit: Fit, draws: int, seed: int) -> None:
    """Refuse, in one sentence, to sample nothing, or with draws or a seed that are no whole numbers."""
    if not len(fit.names):
        raise ValueError("There is nothing to sample: every parameter of the scene is held; free some with scene.free(...).")
    if int(draws) != draws or draws < 1:
        raise ValueError(f"draws is to be a whole number of at least 1, and {draws!r} came.")
    if int(seed) != seed or seed < 0:
        raise ValueError(f"seed is to be a whole number that is not negative, and {seed!r} came.")
