"""Verdict: whether the ranks of a calibration are uniform, in numbers and words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from bayesjoint.calibrate.calibration import Calibration
from bayesjoint.calibrate.uniformity import holm, mean_p, pooled_means_p, pooled_variance_p, uniform_p, variance_p

__all__ = ["COVERAGES", "LEAST", "Verdict", "check"]

COVERAGES = (0.5, 0.8, 0.95)
LEAST = 10
"""Simulations below which no test means anything."""
FAILED = 0.02
"""Part of the simulations that may fail: more could hide as much as the error of a 95 % interval's coverage in 200."""


@dataclass(frozen=True, eq=False)
class Verdict:
    """What `bayesjoint.calibrate.check` says of a calibration.

    Parameters
    ----------
    calibrated : bool
        Whether nothing departs from uniform ranks, and few simulations failed.
    reasons : list of str
        Why it is not calibrated, in words.
    table : DataFrame
        One row a quantity: p-value of uniform ranks (`uniform_p`); mean and variance of the normal scores, which are 0 and 1 where all is well,
        with p-values; coverage of the central 50, 80 and 95 % intervals, with its binomial error.
    pooled : dict
        Over all parameters at once: ``variance`` with ``variance_sd`` (its standard deviation where all is well) and ``variance_p``; ``means``
        (Hotelling's T² over its degrees of freedom, near 1 where all is well) with ``means_p``.
    alpha : float
        Chance at which a well calibrated scene is found wanting, all tests together.
    about : str
        What was run, and how many simulations failed or are doubtful.
    """

    calibrated: bool
    reasons: list[str]
    table: pd.DataFrame
    pooled: dict[str, float]
    alpha: float
    about: str

    def __repr__(self) -> str:
        head = f"<{'Calibrated' if self.calibrated else 'NOT calibrated'} at alpha = {self.alpha:g}: {self.about}.>"
        rows = ["  " + r for r in self.reasons] or ["  Nothing departs from uniform ranks by more than chance."]
        if self.pooled:
            p = self.pooled
            rows.append(
                f"  All parameters: mean square of normal scores {p['variance']:.3f} (1 +- {p['variance_sd']:.3f}; p = {p['variance_p']:.2g})"
            )
            rows[-1] += f", T² of their means {p['means']:.2f} (about 1; p = {p['means_p']:.2g})." if np.isfinite(p["means_p"]) else "."
        if not len(self.table):
            return "\n".join([head, *rows])
        errors = [f"{c.removeprefix('cover_').removesuffix('_err')} % +- {100 * self.table[c].iloc[0]:.1f}" for c in self.table if c.endswith("_err")]
        shown = self.table[[c for c in self.table if not c.endswith("_err")]].round(4)
        return "\n".join([head, *rows, shown.to_string(), f"  Binomial errors of the coverage: {', '.join(errors)}."])


def check(result: Calibration, alpha: float = 0.01) -> Verdict:
    """Test whether the ranks of a calibration are uniform.

    For every quantity: the distribution of its levels, and mean and variance of their normal scores. For all parameters at once: the mean
    square of the scores and their means. Holm's method keeps the chance of any false alarm at `alpha` or below; half of it goes to what pools
    all parameters (the two tests named, and the mean score of the log likelihood, which is low where truths lie farther out than draws).

    Parameters
    ----------
    result : Calibration
        Of `bayesjoint.calibrate.sbc`.
    alpha : float
        Chance at which a well calibrated scene may be found wanting.

    Returns
    -------
    Verdict

    Raises
    ------
    ValueError
        For fewer than 10 simulations, or an alpha that is no probability.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha is to be between 0 and 1, such as 0.01, and {alpha!r} came.")
    if len(result) < LEAST:
        raise ValueError(f"A check needs at least {LEAST} simulations, and {len(result)} came: run sbc with more.")
    kept = ~result.failed
    n, lost = int(kept.sum()), int(result.failed.sum())
    about = f"{len(result)} simulations by {result.info.get('sampler')}, {lost} failed, {int(result.doubtful.sum())} doubtful"
    reasons = []
    if lost > max(1, FAILED * len(result)):
        reasons.append(f"{lost} of {len(result)} simulations failed, and their ranks are missing: see .reasons of the calibration.")
    if n < LEAST:
        return Verdict(False, [*reasons, f"Only {n} simulations have ranks, too few to test."], pd.DataFrame(), {}, alpha, about)
    levels, scores = result.levels[kept], result.scores[kept]
    table = pd.DataFrame.from_dict({q: _row(u, z) for q, u, z in zip(result.names, levels.T, scores.T, strict=True)}, orient="index")
    pooled = dict(zip(("variance", "variance_sd", "variance_p"), pooled_variance_p(scores[:, :-1]), strict=True))
    pooled |= dict(zip(("means", "means_p"), pooled_means_p(scores[:, :-1]), strict=True))
    tests = _tests(table, pooled)
    first = np.array([t[2] for t in tests])
    weights = np.where(first, 0.5 / first.sum(), 0.5 / (~first).sum())
    adjusted = holm(np.array([t[1] for t in tests]), weights)
    reasons += [f"{t[0]} (p = {t[1]:.2g}, {a:.2g} among all tests)." for t, a in zip(tests, adjusted, strict=True) if a <= alpha]
    return Verdict(not reasons, reasons, table, pooled, alpha, about)


def _row(levels: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    row = {"uniform_p": uniform_p(levels), "mean": scores.mean(), "mean_p": mean_p(scores)}
    row |= {"variance": scores.var(ddof=1), "variance_p": variance_p(scores)}
    for c in COVERAGES:
        row[f"cover_{100 * c:.0f}"] = float((np.abs(levels - 0.5) < c / 2).mean())
        row[f"cover_{100 * c:.0f}_err"] = float(np.sqrt(c * (1 - c) / len(levels)))
    return row


def _tests(table: pd.DataFrame, pooled: dict[str, float]) -> list[tuple[str, float, bool]]:
    """What each test says if it fails, its p-value, and whether it is of all parameters at once."""
    width = "narrow" if pooled["variance"] > 1 else "wide"
    tests = [
        (f"All parameters: posteriors are too {width}, the mean square of normal scores is {pooled['variance']:.3f}", pooled["variance_p"], True),
        (
            f"All parameters: posteriors are biased, T² of the mean normal scores is {pooled['means']:.1f} times its degrees of freedom",
            pooled["means_p"],
            True,
        ),
    ]
    for k, (name, r) in enumerate(table.iterrows()):
        last = k == len(table) - 1
        side, width = ("above" if r["mean"] > 0 else "below"), ("narrow" if r["variance"] > 1 else "wide")
        said = f"{name}: truths lie {side} the draws, by {abs(r['mean']):.2f} of their width on average"
        if last:
            said = f"{name}: truths fit the pixels {'better' if r['mean'] > 0 else 'worse'} than draws do, mean normal score {r['mean']:+.2f}"
        tests.append((said, r["mean_p"], last))
        tests.append((f"{name}: draws spread too {width}ly, variance of the normal scores is {r['variance']:.2f}", r["variance_p"], False))
        tests.append((f"{name}: ranks are not uniform", r["uniform_p"], False))
    return tests
