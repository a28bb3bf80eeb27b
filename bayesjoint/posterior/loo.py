"""Loo: how well each pixel is predicted from all the others, by Pareto-smoothed importance sampling."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.special import logsumexp

from bayesjoint.infer.evidence import k_threshold
from bayesjoint.infer.residuals import Residuals
from bayesjoint.posterior import arviz_seam as seam
from bayesjoint.posterior.pointwise import blocks, matched, spread

if TYPE_CHECKING:
    from bayesjoint.posterior.posterior import Posterior

__all__ = ["ImageLoo", "Loo", "loo"]

CHUNK = 1024
"""Pixels smoothed at a time: the working copies of a block stay small beside it."""


@dataclass(frozen=True)
class ImageLoo:
    """Leave-one-out predictive densities of the pixels of one image.

    Parameters
    ----------
    name : str
        Of the image.
    elpd_i, p_i, k_i : ndarray, shape (ny, nx)
        Log predictive density of each pixel from all others (per image unit), effective parameters it takes up, and Pareto k; NaN where masked.
    """

    name: str
    elpd_i: np.ndarray
    p_i: np.ndarray
    k_i: np.ndarray

    @property
    def pixels(self) -> int:
        """Unmasked pixels."""
        return int(np.isfinite(self.elpd_i).sum())


@dataclass(frozen=True)
class Loo:
    """Expected log predictive density of a scene's pixels, each predicted from all others; made by `Posterior.loo`.

    Parameters
    ----------
    images : dict of ImageLoo
        By image.
    draws : int
        Of the posterior that were used.
    words : list of str
        What speaks against the figures; empty where nothing does.
    """

    images: dict[str, ImageLoo]
    draws: int
    words: list[str] = field(default_factory=list)

    def _all(self, what: str) -> np.ndarray:
        return np.concatenate([getattr(i, what)[np.isfinite(i.elpd_i)] for i in self.images.values()])

    @property
    def elpd(self) -> float:
        """Sum over all pixels of their log predictive density."""
        return float(self._all("elpd_i").sum())

    @property
    def se(self) -> float:
        """Standard error of `elpd` for pixels of independent noise, from the scatter of their terms."""
        return _error(self._all("elpd_i"))

    @property
    def p_loo(self) -> float:
        """Effective number of parameters."""
        return float(self._all("p_i").sum())

    @property
    def k_threshold(self) -> float:
        """Pareto k above which a pixel's term is not to be trusted, for so many draws."""
        return k_threshold(self.draws)

    @property
    def table(self) -> pd.DataFrame:
        """One row an image, and one of all, with pixels, elpd, se, p_loo, the largest k, pixels above the threshold."""
        parts = {name: (i.elpd_i, i.p_i, i.k_i) for name, i in self.images.items()}
        rows = {n: [a[np.isfinite(v[0])] for a in v] for n, v in parts.items()}
        rows["all images"] = [self._all(w) for w in ("elpd_i", "p_i", "k_i")]
        return pd.DataFrame.from_dict(
            {
                n: {
                    "pixels": e.size,
                    "elpd": float(e.sum()),
                    "se": _error(e),
                    "p_loo": float(p.sum()),
                    "k_max": float(k.max(initial=-np.inf)),
                    "k_high": int((k > self.k_threshold).sum()),
                }
                for n, (e, p, k) in rows.items()
            },
            orient="index",
        ).astype({"pixels": int, "k_high": int})

    def __repr__(self) -> str:
        return "\n".join([self.table.to_string(float_format=lambda v: f"{v:.2f}"), *self.words])


def _error(terms: np.ndarray) -> float:
    return float(math.sqrt(terms.size * terms.var())) if terms.size else 0.0


def loo(post: Posterior, draws: int | None, memory: float) -> Loo:
    """Leave-one-out cross-validation of a posterior (see `Posterior.loo`).

    Raises
    ------
    ValueError
        If there is no scene, or there are fewer than 25 draws, or the memory is less than a megabyte.
    """
    scene, theta = matched(post, "leave-one-out cross-validation")
    theta = spread(theta, draws)
    chains, count, n = theta.shape
    if chains * count < seam.FEWEST:
        raise ValueError(f"Leave-one-out cross-validation needs at least {seam.FEWEST} draws, and there are {chains * count}.")
    r_eff = 1.0
    if chains > 1 and n:
        r_eff = float(np.nanmean(seam.mean_ess(theta))) / (chains * count)
        r_eff = r_eff if np.isfinite(r_eff) else 1.0
    flat, found = theta.reshape(-1, n), {}
    for im in scene.images:
        elpd, p, k = (np.full(im.shape, np.nan) for _ in range(3))
        for rows, columns, ll in blocks(scene, flat, im.name, memory):
            for first in range(0, len(rows), CHUNK):
                part = slice(first, first + CHUNK)
                at = rows[part], columns[part]
                elpd[at], p[at], k[at] = _leave_out(np.ascontiguousarray(ll[part]), r_eff)
        found[im.name] = ImageLoo(im.name, elpd, p, k)
    out = Loo(found, chains * count)
    out.words.extend(_words(post, out))
    return out


def _leave_out(ll: np.ndarray, r_eff: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log predictive density, effective parameters and Pareto k of pixels, from their log likelihoods (m, s) (Vehtari et al. 2017, Stat. Comput. 27, 1413)."""
    log_weights, k = seam.psis(-ll, r_eff)
    elpd = logsumexp(log_weights + ll, axis=1)
    return elpd, logsumexp(ll, axis=1) - math.log(ll.shape[1]) - elpd, k


def _words(post: Posterior, found: Loo) -> list[str]:
    said = []
    for name, row in found.table.iloc[:-1].iterrows():
        if row["k_high"]:
            said.append(
                f"{name}: {int(row['k_high'])} of {int(row['pixels'])} pixels have a Pareto k above {found.k_threshold:.2f} (worst {row['k_max']:.2f}): each alone"
                " moves the posterior further than the draws can follow, so that elpd is too high there; look at the pixels' map (k_i), mask what the model does not hold."
            )
    left = post.scene.residuals(post.middle)
    for im in post.scene.images:
        noise = Residuals.of(im, left[im.name])
        if noise.correlated:
            said.append(
                f"{im.name}: residuals of neighbouring pixels vary together (4 x 4 means by {noise.correlation:.2f} of what independent pixels give): correlated"
                " noise, or light that the model misses; if noise, differences in elpd and in log evidence are overstated by up to that factor squared."
            )
    if not post.converged:
        said.append("The draws themselves are not to be trusted: " + " ".join(post.reasons))
    return said
