"""Proposal: where importance sampling draws from: a mixture of densities about the maxima, often one."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.linalg import solve_triangular
from scipy.special import logsumexp

if TYPE_CHECKING:
    from bayesjoint.infer.fit import Fit
    from bayesjoint.infer.targets import Target

__all__ = ["Around", "Proposal", "maxima", "proposal"]

FREEDOM = 10.0
"""Degrees of freedom of the Student-t proposals: their tails cover what the Gaussian's miss."""
LEAST_EFFECTIVE = 5
"""Effective draws a coordinate from which on a covariance is taken from them."""
LEAST_SHARE = 0.1
"""Least part of the proposals about any one maximum: what each holds is an estimate."""
PERIOD = 180.0
NARROW = 0.02
"""Width of an angle, in periods, up to which what lies beyond one turn does not matter."""


def maxima(fit: Fit) -> list[tuple[torch.Tensor, torch.Tensor, float]]:
    """Maxima that a fit tells of: flat coordinates (n,), covariance (n, n), and part of the posterior.

    The first is the fit's own.
    """
    others = list(getattr(fit, "modes", None) or ())[1:]
    like = fit.z
    found = [(fit.z, fit.z_covariance, 1.0 - sum(float(m.weight) for m in others))]
    for m in others:
        z, covariance = (torch.as_tensor(v).to(like) for v in (m.z, m.covariance))
        found.append((z, covariance, float(m.weight)))
    return found


def proposal(
    fit: Fit,
    target: Target,
    sample: Callable[[int, np.random.Generator], np.ndarray] | None = None,
    log_density: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Proposal:
    """Student-t's about the maxima of a fit, each in proportion to what it holds.

    Parameters
    ----------
    fit : Fit
    target : Target
        What is to be drawn from.
    sample, log_density : callable, optional
        A density about the fit's own maximum in place of a Student-t; see `Around`.
    """
    parts = []
    for z, covariance, share in maxima(fit):
        center, lower = (v.cpu().double().numpy() for v in target.whitening(z, covariance))
        draw = functools.partial(student_t_sample, len(center))
        parts.append(Around(center, lower, max(share, LEAST_SHARE), draw, student_t))
    if sample is not None and log_density is not None:
        parts[0].sample, parts[0].log_density = sample, log_density
    return Proposal(parts, target.angles)


def student_t_sample(k: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """Draws (size, k) of Student's t in k dimensions, of unit scale."""
    y = rng.standard_normal((size, k))
    return y / np.sqrt(rng.chisquare(FREEDOM, size) / FREEDOM)[:, None]


def student_t(y: np.ndarray) -> np.ndarray:
    """Log density (s,) of Student's t in k dimensions, of unit scale, at y (s, k)."""
    k = y.shape[1]
    const = math.lgamma(0.5 * (FREEDOM + k)) - math.lgamma(0.5 * FREEDOM)
    const -= 0.5 * k * math.log(FREEDOM * math.pi)
    return const - 0.5 * (FREEDOM + k) * np.log1p((y**2).sum(1) / FREEDOM)


@dataclass
class Around:
    """A density about one maximum, in coordinates whitened by the covariance there.

    Attributes
    ----------
    center, lower : ndarray, shape (k,) and (k, k)
        Flat coordinates are ``center + lower @ y``.
    share : float
        Part of the proposals that are its own.
    sample : callable
        Of a number and a Generator: draws of y (s, k).
    log_density : callable
        Log density (s,) of draws of y (s, k).
    """

    center: np.ndarray
    lower: np.ndarray
    share: float
    sample: Callable[[int, np.random.Generator], np.ndarray]
    log_density: Callable[[np.ndarray], np.ndarray]


class Proposal:
    """A mixture of densities about the maxima of a posterior, often of one alone.

    Each part makes its share of the draws, not a random number of them. Angles that are
    known but poorly are counted on the circle: all turns of the density together.

    Parameters
    ----------
    parts : list of Around
    angles : list of int
        Coordinates in which the target is periodic, by 180 degrees.
    """

    def __init__(self, parts: list[Around], angles: list[int]) -> None:
        self.parts, self.angles = parts, angles

    def sample(self, size: int, rng: np.random.Generator) -> np.ndarray:
        """Draws (size, k) in flat coordinates.

        Angles that are wide, and all where there are several parts, lie within half a turn of the
        first part's centre.
        """
        counts = np.diff(np.rint(np.cumsum(self.shares) * size), prepend=0).astype(int)
        y = [p.sample(n, rng) for p, n in zip(self.parts, counts, strict=True)]
        z = np.concatenate([p.center + x @ p.lower.T for p, x in zip(self.parts, y, strict=True)])
        wrapped = self._wide(self.parts[0]) if len(self.parts) == 1 else self.angles
        z[:, wrapped] = _within_half_a_turn(z[:, wrapped], self.parts[0].center[wrapped])
        return z

    @property
    def shares(self) -> np.ndarray:
        """Part of the draws that each density makes, shape (parts,)."""
        shares = np.array([p.share for p in self.parts])
        return shares / shares.sum()

    def log_density(self, z: np.ndarray) -> np.ndarray:
        """Log density (s,) at flat coordinates (s, k)."""
        return logsumexp(self._log_parts(z), axis=0)

    def responsibility(self, z: np.ndarray) -> np.ndarray:
        """Probability (s, parts) that each density made a draw at flat coordinates (s, k)."""
        log_parts = self._log_parts(z)
        return np.exp(log_parts - logsumexp(log_parts, axis=0)).T

    def adapted(self, z: np.ndarray, weights: np.ndarray) -> Proposal | None:
        """Student-t's of the weighted means and covariances of draws, a density for each.

        Parameters
        ----------
        z : ndarray, shape (s, k)
            Flat coordinates.
        weights : ndarray, shape (s,)

        Returns
        -------
        Proposal or None
            None where too few draws carry the weight to tell.
        """
        parts = []
        for part, r in zip(self.parts, self.responsibility(z).T, strict=True):
            w = weights * r
            share, effective = float(w.sum()), float(w.sum() ** 2 / max((w**2).sum(), 1e-300))
            if effective < LEAST_EFFECTIVE * len(part.center):
                parts.append(part)
                continue
            offset = z - part.center
            offset[:, self.angles] = _within_half_a_turn(offset[:, self.angles], 0.0)
            mean = w @ offset / share
            moments = np.einsum("s,si,sj->ij", w, offset - mean, offset - mean) / share
            # as far as few draws tell, the covariance that the density had
            known = effective / (effective + len(mean))
            moments = known * moments + (1 - known) * part.lower @ part.lower.T
            draw = functools.partial(student_t_sample, len(mean))
            lower = np.linalg.cholesky(moments)
            parts.append(Around(part.center + mean, lower, max(share, LEAST_SHARE), draw, student_t))
        return Proposal(parts, self.angles) if any(a is not b for a, b in zip(parts, self.parts, strict=True)) else None

    def _log_parts(self, z: np.ndarray) -> np.ndarray:
        """Log density of each part, times its share, shape (parts, s)."""
        return np.stack([self._log_density(p, z) for p in self.parts]) + np.log(self.shares)[:, None]

    def _wide(self, part: Around) -> list[int]:
        """Angles whose draws may go beyond half a turn."""
        widths = np.sqrt((part.lower**2).sum(1)) / PERIOD
        return [i for i in self.angles if widths[i] > NARROW]

    def _log_density(self, part: Around, z: np.ndarray) -> np.ndarray:
        """Log density of one part at flat coordinates (s, k), all turns of wide angles together."""
        offset = z - part.center
        if len(self.parts) > 1:
            offset[:, self.angles] = _within_half_a_turn(offset[:, self.angles], 0.0)
        wide, turns = self._wide(part), []
        widths = np.sqrt((part.lower**2).sum(1)) / PERIOD
        reach = (min(int(np.ceil(4 * widths[i])) + 1, 8) for i in wide)
        for many in itertools.product(*(range(-n, n + 1) for n in reach)):
            shift = np.zeros_like(part.center)
            shift[wide] = np.multiply(many, PERIOD)
            y = solve_triangular(part.lower, (offset + shift).T, lower=True).T
            turns.append(part.log_density(y))
        return logsumexp(turns, axis=0) - np.log(np.diag(part.lower)).sum()


def _within_half_a_turn(z: np.ndarray, center: np.ndarray | float) -> np.ndarray:
    return center + (z - center + PERIOD / 2) % PERIOD - PERIOD / 2


