"""Uniformity: tests of levels and their normal scores, alone and pooled, and of many tests at once."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import stats

__all__ = ["band", "holm", "mean_p", "pooled_means_p", "pooled_variance_p", "uniform_p", "variance_p"]

POINTS, DRAWS = 100, 50_000


def uniform_p(levels: np.ndarray) -> float:
    """p-value of levels (n,) being uniform on (0, 1), by their distribution function at 99 places at once.

    At each place the count below it is binomial; the statistic is the smallest of the two-sided pointwise p-values, and its own distribution
    comes from uniform samples of the same size (Säilynoja et al. 2022, Statistics and Computing 32, 32).
    """
    n = len(levels)
    counts = np.searchsorted(np.sort(levels), np.arange(1, POINTS) / POINTS, side="right")
    smallest = _pointwise(n)[np.arange(POINTS - 1), counts].min()
    null = _null(n)
    return float((1 + np.searchsorted(null, smallest * (1 + 1e-9), side="right")) / (1 + len(null)))


def band(n: int, alpha: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places, and between which values the distribution function of n uniform levels stays at all of them, but for a part `alpha` of samples."""
    places = np.arange(1, POINTS) / POINTS
    gamma = np.quantile(_null(n), alpha)
    return places, stats.binom.ppf(gamma / 2, n, places) / n, stats.binom.isf(gamma / 2, n, places) / n


@lru_cache(maxsize=16)
def _pointwise(n: int) -> np.ndarray:
    """Two-sided p-value of every count at every place, shape (places, n + 1)."""
    count, place = np.arange(n + 1), np.arange(1, POINTS)[:, None] / POINTS
    return np.minimum(1.0, 2 * np.minimum(stats.binom.cdf(count, n, place), stats.binom.sf(count - 1, n, place)))


@lru_cache(maxsize=16)
def _null(n: int) -> np.ndarray:
    """The statistic of uniform samples of n, sorted."""
    rng, table, found = np.random.default_rng(0), _pointwise(n), []
    for _ in range(10):
        counts = rng.multinomial(n, np.full(POINTS, 1 / POINTS), size=DRAWS // 10).cumsum(1)[:, :-1]
        found.append(table[np.arange(POINTS - 1), counts].min(1))
    return np.sort(np.concatenate(found))


def mean_p(scores: np.ndarray) -> float:
    """p-value of the mean of normal scores (n,) being 0, their variance being 1."""
    return float(2 * stats.norm.sf(abs(scores.mean()) * np.sqrt(len(scores))))


def variance_p(scores: np.ndarray) -> float:
    """p-value of the variance of normal scores (n,) about their mean being 1."""
    return _two_sided(stats.chi2(len(scores) - 1), ((scores - scores.mean()) ** 2).sum())


def pooled_variance_p(scores: np.ndarray) -> tuple[float, float, float]:
    """Mean square of normal scores (n, k) of all k quantities, its standard deviation where all is well, and the p-value.

    The n rows are independent and the columns are not: the mean square is taken as that of ν independent scores, with ν = n k² / Σ ρ²
    over the columns' correlations ρ (Satterthwaite 1946, Biometrics Bulletin 2, 110), whose squares are rid of the sampling noise.
    """
    n, k = scores.shape
    rho = np.atleast_2d(np.corrcoef(scores, rowvar=False))
    noise = np.where(np.eye(k) > 0, 0.0, (1 - rho**2) / (n - 1))
    freedom = n * k**2 / max((rho**2 - noise).sum(), k)
    value = float((scores**2).mean())
    return value, float(np.sqrt(2 / freedom)), _two_sided(stats.chi2(freedom), value * freedom)


def pooled_means_p(scores: np.ndarray) -> tuple[float, float]:
    """Hotelling's T² of the means of normal scores (n, k) being all 0, over its number of degrees of freedom, and the p-value.

    The signs of the quantities, and how they are correlated, do not matter. NaN for fewer than 2 k rows.
    """
    n, k = scores.shape
    if n < 2 * k:
        return float("nan"), float("nan")
    mean, covariance = scores.mean(0), np.atleast_2d(np.cov(scores, rowvar=False))
    t2 = n * mean @ np.linalg.lstsq(covariance, mean, rcond=1e-10)[0]
    return float(t2 / k), float(stats.f.sf(t2 * (n - k) / (k * (n - 1)), k, n - k))


def holm(p: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """p-values (m,) made larger so that the chance of any of the m false ones being below alpha is at most alpha, however they are correlated.

    Holm 1979 (Scandinavian Journal of Statistics 6, 65), with weights; NaN counts as no test.
    """
    p, weights = np.where(np.isfinite(p), p, 1.0), np.where(np.isfinite(p), weights, 0.0)
    order = np.argsort(p / np.where(weights > 0, weights, 1e-300))
    left = weights[order][::-1].cumsum()[::-1]
    steps = p[order] * left / np.where(weights[order] > 0, weights[order], 1.0)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return np.where(weights > 0, adjusted, 1.0)


def _two_sided(distribution: object, value: float) -> float:
    return float(min(1.0, 2 * min(distribution.cdf(value), distribution.sf(value))))
