"""Maxima: chains about several maxima of a posterior, put together in proportion to the evidence of each.

No chain goes from one maximum to another that is well apart, so that the number of chains at each
says nothing of what it holds. Space is divided among the maxima, each place going to the one whose
Gaussian is the densest there; the evidence of each part follows from its own chains by a bridge
(`bayesjoint.infer.bridge`), and draws are taken from each part in proportion to it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.linalg import solve_triangular
from scipy.special import logsumexp

from bayesjoint.infer.bridge import APART, crossed
from bayesjoint.infer.draws import densities
from bayesjoint.infer.evidence import LARGE, improper, one_turn
from bayesjoint.scene.density import values_of

if TYPE_CHECKING:
    from bayesjoint.posterior.posterior import Posterior
    from bayesjoint.scene.scene import Scene

__all__ = ["Chains", "Part", "groups", "joined"]

APART_SIGMA = 5.0
"""Distance of two chains' means, in standard deviations within them, from which they do not mix."""
BRIDGE_DRAWS = 1000
LEAST_SHARE = 0.01
"""Part of the posterior below which the diagnostics of a maximum do not count."""


@dataclass
class Chains:
    """Chains of one length.

    Attributes
    ----------
    z : ndarray, shape (chains, draws, n)
        Flat vectors.
    log_likelihood : ndarray, shape (chains, draws, images)
    stats : dict of ndarray, shape (chains, draws)
        The sampler's; ``lp`` is the log density.
    """

    z: np.ndarray
    log_likelihood: np.ndarray
    stats: dict[str, np.ndarray]

    def take(self, chain: np.ndarray, draw: np.ndarray) -> Chains:
        """Draws by index, in the shape of the indices."""
        return Chains(
            self.z[chain, draw],
            self.log_likelihood[chain, draw],
            {k: v[chain, draw] for k, v in self.stats.items()},
        )


@dataclass
class Part:
    """Part of space that belongs to a maximum: where its Gaussian is the densest.

    Attributes
    ----------
    center : ndarray, shape (n,)
        The maximum, in flat coordinates.
    lower : ndarray, shape (n, n)
        Cholesky factor of the covariance there.
    share : float
        What it holds of the posterior by the fit; NaN where the fit does not know it.
    """

    center: np.ndarray
    lower: np.ndarray
    share: float = math.nan

    @classmethod
    def of(cls, z: Any, covariance: Any, share: float = math.nan) -> Part:
        """From a maximum (n,) and its covariance (n, n), tensors or arrays."""
        center, matrix = (np.asarray(torch.as_tensor(v).cpu().double()) for v in (z, covariance))
        return cls(center, np.linalg.cholesky(matrix), share)

    def log_density(self, z: np.ndarray, angles: np.ndarray) -> np.ndarray:
        """Log density (s,) of its Gaussian at z (s, n), up to a constant of n."""
        offset = z - self.center
        offset[:, angles] = (offset[:, angles] + 90) % 180 - 90
        y = solve_triangular(self.lower, offset.T, lower=True)
        return -0.5 * (y**2).sum(0) - np.log(np.diag(self.lower)).sum()


def groups(chains: Chains, angles: np.ndarray) -> list[np.ndarray]:
    """Chains that mix with one another, by number.

    Two chains do not mix where their means lie `APART_SIGMA` apart. Where there are too few draws
    for a covariance, all count as one group.

    Parameters
    ----------
    chains : Chains
    angles : ndarray of int
        Coordinates that are periodic, by 180 degrees.
    """
    count, draws, n = chains.z.shape
    everything = [np.arange(count)]
    if count < 2 or count * (draws - 1) < 4 * n or draws < 4:
        return everything
    z = _unwrapped(chains.z, chains.z[0, 0], angles)
    means = z.mean(1)
    within = np.atleast_2d(np.cov((z - means[:, None]).reshape(-1, n).T))
    scale = np.sqrt(np.diag(within))
    if not (scale > 0).all():
        return everything
    inverse = np.linalg.pinv(within / scale / scale[:, None], hermitian=True)
    offset = (means[:, None] - means) / scale
    near = np.einsum("abi,ij,abj->ab", offset, inverse, offset) < APART_SIGMA**2
    found: list[np.ndarray] = []
    left = set(range(count))
    while left:
        group, frontier = set(), {min(left)}
        while frontier:
            group |= frontier
            frontier = {int(b) for a in frontier for b in np.flatnonzero(near[a])} - group
        found.append(np.array(sorted(group)))
        left -= group
    return found


def joined(
    scene: Scene, chains: Chains, parts: Sequence[Part], shape: tuple[int, int], info: dict[str, Any]
) -> Posterior | None:
    """One posterior of chains about several maxima.

    Parameters
    ----------
    scene : Scene
    chains : Chains
        All of them.
    parts : sequence of Part
        The maxima.
    shape : tuple of int
        Chains and draws of the posterior.
    info : dict
        How they were drawn; ``seed`` is that of the bridge and of the choice.

    Returns
    -------
    Posterior or None
        Its ``info["maxima"]`` is what each maximum holds, the first being the first of `parts`
        that any chain stayed at. None where that is one alone, or where evidences are wanting: too
        few draws, or an improper prior.
    """
    from bayesjoint.posterior.posterior import Posterior

    angles = torch.nonzero(scene.chart.angle).ravel().cpu().numpy()
    parts, inside = _own_draws(chains, list(parts), angles)
    if len(parts) < 2:
        return None
    found, log_z, errors, doubts = [], [], [], []
    for k, own in enumerate(inside):
        piece = chains.take(*own)
        theta = values_of(scene, piece.z.reshape(-1, piece.z.shape[-1])).reshape(piece.z.shape)
        options = {"sampler": "nuts", "render_errors": {}}
        found.append(Posterior.of(scene, theta, piece.log_likelihood, piece.stats, options))
        value, error, word = _evidence(scene, piece, parts, k, angles, info["seed"])
        doubts += [word] if word else []
        log_z.append(value)
        errors.append(error)
    if not np.isfinite(log_z).all():
        if not np.isfinite([p.share for p in parts]).all():
            return None
        log_z, errors = list(np.log([p.share for p in parts])), [math.nan] * len(parts)
        doubts.append(
            "What each maximum holds is known by the fit's curvature alone: there are too few draws, or an"
            " improper prior, for an evidence."
        )
    total = float(logsumexp(log_z))
    shares, sigma = np.exp(np.array(log_z) - total), np.array(errors)
    for k in np.flatnonzero(shares > LEAST_SHARE):
        doubts += [f"About maximum {k + 1}: {reason}" for reason in found[k].chain_reasons]
    rng, size = np.random.default_rng((info["seed"], 12)), shape[0] * shape[1]
    counts = np.diff(np.rint(np.cumsum(shares) * size), prepend=0).astype(int)
    chosen = []
    for own, count in zip(inside, counts, strict=True):
        chain, draw = (v.ravel() for v in own)
        which = ((np.arange(count) + rng.random()) * len(chain) / max(count, 1)).astype(int)
        chosen.append((chain[which], draw[which]))
    chain, draw = (rng.permutation(np.stack([np.concatenate(v) for v in zip(*chosen, strict=True)]), axis=1)).reshape(2, *shape)
    final = chains.take(chain, draw)
    theta = values_of(scene, final.z.reshape(size, -1)).reshape(*shape, -1)
    info |= {"maxima": shares.tolist(), "doubts": [*info.get("doubts", []), *doubts]}
    info["diagnostics"] = _diagnostics([p.diagnostics for p in found], counts, shares, sigma)
    if np.isfinite(sigma).all():
        info |= {"log_evidence": total, "log_evidence_error": float(np.sqrt(((shares * sigma) ** 2).sum()))}
        info |= {"log_evidence_method": "bridge sampling", "log_evidence_words": []}
    return Posterior.of(scene, theta, final.log_likelihood, final.stats, info)


def _own_draws(
    chains: Chains, parts: list[Part], angles: np.ndarray
) -> tuple[list[Part], list[tuple[np.ndarray, np.ndarray]]]:
    """Parts that have chains, and the draws of each: indices of chain and draw, of one shape (chains, draws).

    A chain belongs to the part in which most of its draws are; those elsewhere are left out.
    """
    count, draws, n = chains.z.shape
    flat = chains.z.reshape(-1, n)
    while True:
        nearest = np.argmax([p.log_density(flat, angles) for p in parts], axis=0).reshape(count, draws)
        home = np.array([np.bincount(row, minlength=len(parts)).argmax() for row in nearest])
        empty = [k for k in range(len(parts)) if k not in home]
        if not empty:
            break
        parts = [p for k, p in enumerate(parts) if k not in empty]
    inside = []
    for k in range(len(parts)):
        rows = [(c, np.flatnonzero(nearest[c] == k)) for c in np.flatnonzero(home == k)]
        length = min(len(places) for _, places in rows)
        spread = [p[np.linspace(0, len(p) - 1, length).round().astype(int)] for _, p in rows]
        inside.append((np.repeat([[c] for c, _ in rows], length, axis=1), np.stack(spread)))
    return parts, inside


def _evidence(
    scene: Scene, piece: Chains, parts: list[Part], k: int, angles: np.ndarray, seed: int
) -> tuple[float, float, str]:
    """Log evidence of one part of space, its error, and what speaks against it; NaN where it cannot be had."""
    count, draws, n = piece.z.shape
    if count * (draws // 2) < max(2 * n, 20) or draws < 8 or improper(scene):
        return math.nan, math.nan, ""
    center = parts[k].center

    def density(x: np.ndarray) -> np.ndarray:
        own = np.argmax([p.log_density(x, angles) for p in parts], axis=0) == k
        own &= one_turn(scene, x, center)
        out = np.full(len(x), -np.inf)
        if own.any():
            out[own] = densities(scene, x[own])[0]
        return out

    z = _unwrapped(piece.z, center, angles)
    try:
        value, error, apart = crossed(z, piece.stats["lp"], density, BRIDGE_DRAWS, seed)
    except np.linalg.LinAlgError:  # draws that do not span all directions
        return math.nan, math.nan, ""
    if apart > APART:
        return value, error, f"The halves of the chains about maximum {k + 1} differ in its evidence: draw more."
    unsure = f"The evidence of maximum {k + 1} is uncertain by a factor of {math.exp(error):.1f}: draw more."
    return value, error, unsure if not error < LARGE else ""


def _unwrapped(z: np.ndarray, center: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """Flat vectors (..., n) with angles within half a turn of the centre."""
    z = z.copy()
    z[..., angles] = center[angles] + (z[..., angles] - center[angles] + 90) % 180 - 90
    return z


def _diagnostics(
    parts: list[dict[str, np.ndarray]], drawn: np.ndarray, shares: np.ndarray, sigma: np.ndarray
) -> dict[str, list[float]]:
    """R-hat by site, the worst of the parts that count, and effective draws of the whole.

    The variance of a mean is the sum of those of its parts by their shares squared, and that which
    the shares' own errors make. A part has at most as many effective draws as were drawn of it.
    """
    counts = shares > LEAST_SHARE
    variance = shares**2 * ((1 - shares) ** 2 * sigma**2 + (shares**2 * sigma**2).sum() - (shares * shares * sigma**2))
    by_shares = float(np.max(variance / np.clip(shares * (1 - shares), 1e-12, None)))
    by_shares = by_shares if math.isfinite(by_shares) else 0.0
    out = {"r_hat": np.max([p["r_hat"] for p, c in zip(parts, counts, strict=True) if c], axis=0).tolist()}
    for name in ("ess_bulk", "ess_tail"):
        each = [shares[k] ** 2 / np.minimum(parts[k][name], drawn[k]) for k in np.flatnonzero(counts)]
        out[name] = (1 / (np.sum(each, axis=0) + by_shares)).tolist()
    return out
