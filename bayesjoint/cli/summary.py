"""Summary: a fit and a posterior as one plain mapping, for scripts."""

from __future__ import annotations

import json
import math
import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesjoint.posterior.meta import columns_of
from bayesjoint.posterior.tables import circular, quantile

if TYPE_CHECKING:
    from bayesjoint.infer.fit import Fit
    from bayesjoint.posterior import Posterior

__all__ = ["plain", "say", "summary"]

QUANTILES = {"q5": 0.05, "q50": 0.5, "q95": 0.95}


def plain(given: Any) -> Any:
    """Numbers, texts, lists and mappings alone; None for what is no finite number."""
    if isinstance(given, Mapping):
        return {str(k): plain(v) for k, v in given.items()}
    if isinstance(given, list | tuple):
        return [plain(v) for v in given]
    if isinstance(given, np.generic):
        given = given.item()
    if isinstance(given, float):
        return given if math.isfinite(given) else None
    return str(given) if isinstance(given, pathlib.Path) else given


def say(given: Mapping[str, Any]) -> None:
    """Print as JSON."""
    print(json.dumps(plain(given), indent=2, allow_nan=False, ensure_ascii=False))


def summary(best: Fit, post: Posterior | None, files: list[pathlib.Path], **more: Any) -> dict[str, Any]:
    """What scripts want of a run.

    Parameters
    ----------
    best : Fit
        The maximum: ``value`` and ``error`` of each parameter.
    post : Posterior, optional
        The draws: its mean, sd, quantiles and diagnostics, and those of magnitudes and of what follows from parameters.
    files : list of path
        That were written.
    **more
        Put at its end.

    Returns
    -------
    dict
        ``converged`` is that of both, and `reasons` says why not, and what else is to be known.
    """
    parameters: dict[str, dict[str, Any]] = {n: {"unit": best.scene.units[n], "value": best.values[n], "error": best.errors[n]} for n in best.names}
    sampled = None
    if post is not None:
        chains, draws, _ = post.theta.shape
        sampled = {"sampler": post.info.get("sampler"), "chains": chains, "draws": draws, "k_hat": post.k_hat, "converged": post.converged}
        sampled["notes"] = list(post.notes)
        for n, row in post.summary().iterrows():
            parameters[n] = parameters.get(n, {}) | row.to_dict()
        columns = columns_of(post.meta)
        for n in post.derived:
            x, cyclic = post.draws(n), columns[n]["cyclic"]
            mean, sd = circular(x) if cyclic else (x.mean(), x.std())
            quantiles = {q: quantile(x, p, mean if cyclic else None) for q, p in QUANTILES.items()}
            parameters[n] = {"unit": columns[n]["unit"], "mean": mean, "sd": sd, **quantiles}
    return {
        "converged": bool(best.converged and (post is None or post.converged)),
        "reasons": [*([] if best.converged else [best.verdict]), *best.remarks, *(() if post is None else post.reasons)],
        "fit": {
            "converged": bool(best.converged),
            "singular": bool(best.singular),
            "message": best.message,
            "maximised": best.maximised,
            "chi2": best.chi2,
            "dof": best.dof,
            "warnings": [w.plain() for w in best.warnings],
        },
        "posterior": sampled,
        "parameters": parameters,
        "files": list(files),
        **more,
    }
