"""Check: whether the model makes images like the data, by measures that chi² alone does not see."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from bayesjoint.images import Image
from bayesjoint.posterior.pointwise import matched, whole
from bayesjoint.posterior.predictive import drawn
from bayesjoint.sky.components import Source
from bayesjoint.threads import few_threads

if TYPE_CHECKING:
    from bayesjoint.posterior.posterior import Posterior
    from bayesjoint.scene.scene import Scene

__all__ = ["MEASURES", "Check", "check", "measure"]

BLOCK = 4
LEVEL = 0.01

MEASURES = {
    "chi2": ("reduced chi²", "sigma is too small, or the model misses light", "sigma is too large"),
    "peak": (
        "the largest |residual| (in sigma)",
        "single pixels hold what the model does not: mask or model them",
        "the noise has no tails, or was clipped",
    ),
    "blocks": (
        f"the scatter of {BLOCK} x {BLOCK} means (independent pixels: 1)",
        "light on scales of some pixels that the model misses, or correlated noise",
        "the noise varies less on scales of some pixels than sigma says, or the sky was subtracted there",
    ),
    "core": (
        "the light left within a PSF of the sources (in sigma)",
        "the centre is not as modelled: an unresolved nucleus, or a wrong PSF",
        "the centres are smoother than the noise",
    ),
    "neighbours": (
        "the correlation of neighbouring residuals",
        "correlated noise, or light that the model misses",
        "neighbours vary against one another, as after sharpening",
    ),
}
"""By name: what is measured, and what an excess and a lack of it may mean."""


@dataclass(frozen=True)
class Check:
    """Posterior predictive checks of a scene's images (Gelman, Meng & Stern 1996, Statistica Sinica 6, 733); made by `Posterior.check`.

    The measures are of the residuals (image - model) / sigma, those of the data beside those of images that the model makes with the same
    values; p is the part of the draws where the latter is the larger. A right model gives p anywhere in (0, 1), so that of fifty p-values
    one is expected below 0.01 or above 0.99 by chance.

    Parameters
    ----------
    table : DataFrame
        By image and measure (see `MEASURES`; no unit, or in units of sigma): mean of the data's and of the predicted images' measure, standard deviation of the latter, p.
    draws : int
        Of the posterior that were used.
    words : list of str
        What p < 0.01 or p > 0.99 says; empty for a model that makes images like the data.
    """

    table: pd.DataFrame
    draws: int
    words: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether no measure speaks against the model."""
        return not self.words

    def __repr__(self) -> str:
        return "\n".join([self.table.to_string(float_format=lambda v: f"{v:.3f}"), *(self.words or ["The model makes images like the data."])])


def check(post: Posterior, draws: int, seed: int) -> Check:
    """Posterior predictive checks (see `Posterior.check`): one image at a time is held, whatever the number of draws.

    Raises
    ------
    ValueError
        If there is no scene, or `draws` is below 100, where no p-value of 0.01 can be told.
    """
    scene, theta = matched(post, "predictive checks")
    whole(draws, "draws", 100)
    whole(seed, "seed", 0)
    theta = drawn(theta, draws)
    theta = theta[np.arange(int(draws)) % len(theta)]  # fewer draws serve several times, each time with new noise
    cores = {im.name: _cores(scene, im, post.middle) for im in scene.images}
    found = _measured(scene, theta, cores, np.random.default_rng((seed, 1996)))
    left = scene.residuals(post.middle)
    rows, words = {}, []
    for im in scene.images:
        for j, name in enumerate(MEASURES):
            seen, made = found[im.name][:, :, j]
            if not np.isfinite(seen).all() or (name == "core" and not cores[im.name]):
                continue
            p = float((made > seen).mean() + 0.5 * (made == seen).mean())
            rows[im.name, name] = {"data": seen.mean(), "predicted": made.mean(), "sd": made.std(), "p": p}
            if LEVEL <= p <= 1 - LEVEL:
                continue
            what, excess, lack = MEASURES[name]
            words.append(
                f"{im.name}: {what} is {seen.mean():.2f}{_where(name, left[im.name], cores[im.name])}, where the model gives {made.mean():.2f} +- {made.std():.2f}"
                f" (p {_tail(p, len(theta))}): {excess if p < LEVEL else lack}."
            )
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.index = pd.MultiIndex.from_tuples(list(rows), names=["image", "measure"])
    return Check(table, len(theta), words)


def _measured(scene: Scene, theta: np.ndarray, cores: dict[str, dict[str, np.ndarray]], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """By image: measures of the data and of the predicted images, shape (2, draws, measures)."""
    found = {im.name: np.empty((2, len(theta), len(MEASURES))) for im in scene.images}
    for k, row in enumerate(theta):
        full = scene.full(torch.as_tensor(row, dtype=scene.dtype).to(scene.device))
        for term in scene.likelihoods:
            im = term.image
            with few_threads(im.data.size), torch.no_grad():
                model = term.model(full).cpu().double().numpy()
            for which, off in enumerate((im.data - model, term.draw_noise(full, rng))):
                found[im.name][which, k] = measure(np.where(im.valid, off / im.sigma, 0.0), im.valid, list(cores[im.name].values()))
    return found


def measure(residual: np.ndarray, valid: np.ndarray, cores: list[np.ndarray]) -> np.ndarray:
    """Measure residuals in units of sigma, shape (ny, nx), 0 where not valid.

    Parameters
    ----------
    cores : list of ndarray
        Flat indices of the pixels in the middle of each source.

    Returns
    -------
    ndarray, shape (5,)
        In the order of `MEASURES`; NaN where the image is too small.
    """
    square = (residual**2).sum() / valid.sum()
    ny, nx = (s // BLOCK * BLOCK for s in residual.shape)
    sums, count = (a[:ny, :nx].reshape(ny // BLOCK, BLOCK, nx // BLOCK, BLOCK).sum((1, 3)) for a in (residual, valid))
    enough = count >= BLOCK**2 // 2
    blocks = np.sqrt((sums[enough] ** 2 / count[enough]).mean()) if enough.any() else np.nan
    pairs = (valid[1:] & valid[:-1]).sum() + (valid[:, 1:] & valid[:, :-1]).sum()
    products = (residual[1:] * residual[:-1]).sum() + (residual[:, 1:] * residual[:, :-1]).sum()
    neighbours = products / pairs / max(square, 1e-300) if pairs else np.nan
    return np.array([square, np.abs(residual).max(), blocks, np.abs(_light(residual, cores)).max(initial=0.0), neighbours])


def _light(residual: np.ndarray, cores: list[np.ndarray]) -> np.ndarray:
    """Sum of the residuals over each core, in units of its noise."""
    return np.array([residual.ravel()[c].sum() / np.sqrt(c.size) for c in cores])


def _where(name: str, residual: np.ndarray, cores: dict[str, np.ndarray]) -> str:
    """Where in the image a measure has its value, in words."""
    if name == "peak":
        y, x = np.unravel_index(np.abs(residual).argmax(), residual.shape)
        return f" (at pixel x = {x}, y = {y})"
    if name == "core":
        light = _light(residual, list(cores.values()))
        worst = int(np.abs(light).argmax())
        return f" (at {list(cores)[worst]!r}, {'more' if light[worst] > 0 else 'less'} light than modelled)"
    return ""


def _cores(scene: Scene, im: Image, values: dict[str, float]) -> dict[str, np.ndarray]:
    """By source: flat indices of the valid pixels within half a PSF's FWHM (at least a pixel) of its position."""
    y, x = np.indices(im.shape)
    radius = max(1.0, 0.5 * im.psf.fwhm if im.psf is not None else 1.0)
    found = {}
    for c in scene.components:
        if isinstance(c, Source) and c.sees(im):
            px, py = scene.frame.to_pixel(im.placement, *(scene.value(c, k, im, values) for k in ("x", "y")))
            inside = np.flatnonzero((np.hypot(x - px, y - py) <= radius) & im.valid)
            if inside.size:
                found[c.name] = inside
    return found


def _tail(p: float, draws: int) -> str:
    if p < 1 / draws:
        return f"< {1 / draws:.2g}"
    return f"> {1 - 1 / draws:.4g}" if p > 1 - 1 / draws else f"= {p:.3f}"
