"""Compare: models of the same images, by how well they predict pixels and by their evidence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bayesjoint.posterior.pointwise import BLOCK_MEMORY, matched, whole
from bayesjoint.scene.saving import checksum

if TYPE_CHECKING:
    from bayesjoint.posterior.loo import Loo
    from bayesjoint.posterior.posterior import Posterior
    from bayesjoint.scene.scene import Scene

__all__ = ["Comparison", "compare"]

FEW_SIGMA = 2.0
"""Differences in elpd below so many of their errors tell nothing."""


class Comparison(pd.DataFrame):
    """A table of models, best elpd first, that prints all its columns and what is to be said of them (`words`)."""

    @property
    def _constructor(self) -> type:
        return Comparison

    @property
    def words(self) -> list[str]:
        """What speaks against the figures, or limits what they mean."""
        return self.attrs.get("words", [])

    def __repr__(self) -> str:
        return "\n".join([self.to_string(float_format=lambda v: f"{v:.2f}"), *self.words])

    __str__ = __repr__


def compare(posteriors: Mapping[str, Posterior], *, draws: int | None = 1000, memory: float = BLOCK_MEMORY, seed: int = 0) -> Comparison:
    """Compare models of the same images.

    Parameters
    ----------
    posteriors : mapping of str to Posterior
        Models by name, each with its scene.
    draws, memory : int or None, float
        Draws to use and megabytes to hold, as in `Posterior.loo`.
    seed : int
        As in `Posterior.log_evidence`.

    Returns
    -------
    DataFrame
        One row a model, best first. ``elpd`` (`Posterior.loo`), ``elpd_diff`` to the best and the error of that difference, ``dse``, from the
        scatter of the pixels' differences; ``p_loo``; ``k_high``, pixels whose Pareto k is too high; ``log_evidence``, its difference to the
        highest, and the Monte-Carlo errors of both; NaN where there is none. ``.words`` says what limits them.

    Raises
    ------
    ValueError
        For fewer than two models, ones without scenes, or of different images (pixels, variance or mask).

    Notes
    -----
    The two answer different questions. elpd asks how well a model predicts a pixel once the others are known; priors hardly matter. The
    evidence asks how well the priors had predicted all pixels: a parameter that only one model has costs it the logarithm of how much
    narrower the posterior is than the prior, and the default priors of fluxes and skies are made wide (10⁴ times the noise), so that such a difference means
    something only with priors that were meant. See `bayesjoint.infer.evidence.Evidence` for models with sources that are alike.
    """
    if not isinstance(posteriors, Mapping) or len(posteriors) < 2:
        raise ValueError("compare is to get at least two posteriors by name, such as {'one source': post, 'two sources': other}.")
    whole(seed, "seed", 0)
    scenes = {name: matched(post, f"the comparison ({name!r})")[0] for name, post in posteriors.items()}
    order = {name: sorted(scene.images, key=checksum) for name, scene in scenes.items()}
    first, *others = scenes
    for name in others:
        if [checksum(im) for im in order[name]] != [checksum(im) for im in order[first]]:
            raise ValueError(
                f"{name!r} and {first!r} are not of the same images (pixels, variance or mask differ): only models of the same data compare."
            )
    words: list[str] = []
    loos = {name: post.loo(draws, memory) for name, post in posteriors.items()}
    terms = {}
    for name, found in loos.items():
        terms[name] = np.concatenate([found.images[im.name].elpd_i[im.valid] for im in order[name]])
        words += [f"{name}: {said}" for said in found.words]
    rows = {name: _row(name, post, loos[name], seed, words) for name, post in posteriors.items()}
    best = max(rows, key=lambda name: rows[name]["elpd"])
    highest = max((name for name in rows if math.isfinite(rows[name]["log_evidence"])), key=lambda name: rows[name]["log_evidence"], default=None)
    for name, row in rows.items():
        off = terms[name] - terms[best]
        row["elpd_diff"], row["dse"] = float(off.sum()), float(math.sqrt(off.size * off.var()))
        if highest is not None:
            row["log_evidence_diff"] = row["log_evidence"] - rows[highest]["log_evidence"]
            row["log_evidence_diff_error"] = 0.0 if name == highest else math.hypot(row["log_evidence_error"], rows[highest]["log_evidence_error"])
        if name != best and abs(row["elpd_diff"]) < FEW_SIGMA * row["dse"]:
            words.append(f"{name}: its elpd is within {FEW_SIGMA:g} errors of the best, {best}: the pixels do not tell the two apart.")
    words += _priors(scenes)
    columns = ["elpd", "elpd_diff", "dse", "p_loo", "k_high", "log_evidence", "log_evidence_error", "log_evidence_diff", "log_evidence_diff_error"]
    table = Comparison(pd.DataFrame.from_dict(rows, orient="index").reindex(columns=columns).sort_values("elpd", ascending=False))
    table.attrs["words"] = words
    return table


def _row(name: str, post: Posterior, found: Loo, seed: int, words: list[str]) -> dict[str, float]:
    row = {"elpd": found.elpd, "p_loo": found.p_loo, "k_high": int(found.table["k_high"].iloc[-1])}
    try:
        e = post.log_evidence(seed=seed)
    except ValueError as reason:
        words.append(f"{name}: {reason}")
        return {**row, "log_evidence": math.nan, "log_evidence_error": math.nan}
    words += [f"{name}: {said}" for said in e.words if f"{name}: {said}" not in words]
    return {**row, "log_evidence": e.value, "log_evidence_error": e.error}


def _priors(scenes: Mapping[str, Scene]) -> list[str]:
    """That sites which not all models have bear wide default priors, on which the difference of evidences rests."""
    common = set.intersection(*(set(s.names) for s in scenes.values()))
    wide = {
        s.name for scene in scenes.values() for s in scene.layout.sites if s.name not in common and s.default and s.spec.unit in ("flux", "image")
    }
    if not wide:
        return []
    return [
        f"The default priors of {', '.join(sorted(wide))}, which not all models have, are wide on purpose, and differences in log evidence rest on their widths: give"
        " priors that you mean."
    ]
