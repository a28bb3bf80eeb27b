"""Evidence: the log of a scene's marginal likelihood, from importance weights or the curvature at the maximum."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.special import logsumexp

from bayesjoint.infer.proposal import maxima
from bayesjoint.posterior.arviz_seam import smoothed
from bayesjoint.sky.priors import is_proper

if TYPE_CHECKING:
    from bayesjoint.infer.fit import Fit
    from bayesjoint.scene.scene import Scene

__all__ = ["Evidence", "check_priors", "evidence", "k_threshold", "laplace_evidence", "note", "one_turn"]

LARGE = 0.5
"""Standard error of a log evidence above which its linear error formula fails too."""


@dataclass(frozen=True)
class Evidence:
    r"""Log evidence of a scene, :math:`\ln Z = \ln \int p(\mathrm{data} \mid \theta)\, p(\theta)\, d\theta`.

    Parameters
    ----------
    value, error : float
        ln Z with its Monte-Carlo standard error; the error is NaN where the method gives none (the Laplace approximation).
    method : str
        "importance sampling", "bridge sampling", "Laplace approximation", or "closed form" where all
        free parameters are fluxes and skies.
    k_hat : float
        Pareto k of the importance weights; NaN where there are none. Above `k_threshold` neither value nor error hold.
    words : list of str
        What speaks against the figures; empty where nothing does.

    Notes
    -----
    Data densities are per image unit, one for each unmasked pixel: ln Z is to be compared between models of the very same images.

    All methods see the maxima that the fit tells of, often one. Where k sources are alike and none of their priors tells them apart, the posterior has k! modes that
    differ in the labels alone: the samplers stay in one of them, and ln Z is then ln k! too low. Give the sources different priors on
    position (or brightness), or add ln k! for modes that are well apart. The same goes for any second mode that the draws missed.
    """

    value: float
    error: float
    method: str
    k_hat: float = float("nan")
    words: list[str] = field(default_factory=list)

    def __repr__(self) -> str:
        error = f" +- {self.error:.2g}" if math.isfinite(self.error) else ""
        return f"<log evidence {self.value:.3f}{error} by {self.method}{'; ' if self.words else ''}{' '.join(self.words)}>"


def evidence(log_weights: np.ndarray) -> tuple[float, float, float]:
    """Log of the mean importance weight, its standard error, and Pareto k.

    Parameters
    ----------
    log_weights : ndarray, shape (s,)
        Log of (density times prior) over the proposal's normalised density, of independent proposals; -inf where the target is 0.

    Returns
    -------
    value, error, k_hat : float
        The error is that of the logarithm by the delta method, sd(w) / (mean(w) sqrt(s)).

    Notes
    -----
    The largest weights are replaced by the quantiles of a fitted generalised Pareto distribution, which lowers their variance and lets the
    error be estimated where single weights stand out (Vehtari et al. 2024, JMLR 25, 72).
    """
    lw = np.asarray(log_weights, dtype=float)
    some = np.isfinite(lw)
    if not some.any():
        return -math.inf, math.nan, math.inf
    filled = np.where(some, lw, lw[some].min() - 1e3)
    smooth, k = smoothed(filled)
    anchor = np.argpartition(filled, lw.size // 2)[lw.size // 2]  # in the body of the weights, which smoothing leaves in proportion
    smooth = smooth + (filled[anchor] - smooth[anchor])
    smooth[~some] = -np.inf
    value = float(logsumexp(smooth) - math.log(lw.size))
    error = float(np.std(np.exp(smooth - value), ddof=1) / math.sqrt(lw.size)) if lw.size > 1 else math.nan
    return value, error, k


def note(scene: Scene, log_weights: np.ndarray) -> dict[str, float]:
    """What a sampler notes of the log evidence, from the log weights (s,) of independent proposals: nothing where a prior is improper."""
    if improper(scene):
        return {}
    value, error, k = evidence(log_weights)
    return {"log_evidence": value, "log_evidence_error": error, "log_evidence_k_hat": k, "log_evidence_draws": len(log_weights)}


def noted(info: dict[str, Any]) -> Evidence:
    """The log evidence that a sampler (or an earlier call) noted, with what speaks against it."""
    value, error = float(info["log_evidence"]), float(info["log_evidence_error"])
    method = info.get("log_evidence_method", "importance sampling")
    said = list(info.get("log_evidence_words", []))
    k = float(info.get("log_evidence_k_hat", math.nan))
    limit = k_threshold(int(info.get("log_evidence_draws", 1000)))
    if k > limit:
        said.append(
            f"Pareto k-hat is {k:.2f}, above {limit:.2f}: too few proposals carry the weight, and neither the log evidence nor its error hold."
        )
    elif not error < LARGE:
        said.append(f"The error is {error:.2g}: draw more, or use nuts.")
    return Evidence(value, error, method, k, said)


def laplace_evidence(fit: Fit) -> Evidence:
    """Laplace's approximation at a maximum of the log density (see `Fit.log_evidence`).

    Raises
    ------
    ValueError
        For a maximum of the likelihood alone, an improper prior, or a direction that nothing constrains.
    """
    from bayesjoint.infer.fit import DEGENERATE

    if not fit.prior:
        raise ValueError("The evidence needs the maximum of the posterior, and this fit has prior=False: fit again with the prior.")
    check_priors(fit.scene)
    n = len(fit.names)
    scale = np.sqrt(np.clip(np.diag(fit.hessian), 1e-300, None))
    val = np.linalg.eigvalsh(fit.hessian / scale[:, None] / scale)
    if n and not val[0] > DEGENERATE * val[-1]:
        raise ValueError("The evidence has no Laplace approximation here: neither data nor prior constrain a direction that the fit's message names.")
    value = fit.log_density + 0.5 * n * math.log(2 * math.pi) - 0.5 * float(np.log(val).sum()) - float(np.log(scale).sum())
    value -= math.log(maxima(fit)[0][2])  # of all maxima together, from the part that the first holds
    said = [] if fit.converged else ["The fit has not converged: its curvature is not that of the maximum."]
    return Evidence(value, math.nan, "Laplace approximation", words=said)


def improper(scene: Scene) -> list[str]:
    """Sites whose prior does not integrate to 1."""
    return [s.name for s in scene.layout.sites if not is_proper(s.prior)]


def check_priors(scene: Scene) -> None:
    """Refuse, in one sentence, an evidence over improper priors."""
    names = improper(scene)
    if names:
        raise ValueError(f"The prior of {', '.join(names)} is improper, so that the evidence has no meaning: give one that integrates to 1.")


def one_turn(scene: Scene, z: np.ndarray, center: np.ndarray) -> np.ndarray:
    """Which flat vectors (s, n) lie within half a turn of `center` (n,), shape (s,).

    An angle with a coordinate of its own runs round and round, and its density with it: the evidence is over one turn.
    """
    angles = torch.nonzero(scene.chart.angle).ravel().cpu().numpy()
    return (np.abs(z[:, angles] - center[angles]) < 90.0).all(1)


def k_threshold(size: int) -> float:
    """Pareto k above which importance weights of `size` draws are not to be trusted (Vehtari et al. 2024, JMLR 25, 72)."""
    return min(1 - 1 / math.log10(max(size, 11)), 0.7)
