"""Fractions: what part of their common light each of several sources has, band by band."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from astropy.table import QTable

__all__ = ["fractions"]


def fractions(meta: Mapping[str, Any], draws: Callable[[str], np.ndarray], sources: Sequence[str]) -> QTable:
    """Shares of sources in their common light, one row a band (see `Posterior.fractions`)."""
    known = {s["name"]: s for s in meta["sources"] if not s["sky"]}
    for name in sources:
        if name not in known:
            from bayesjoint.scene.layout import suggest

            raise ValueError(f"There is no source {name!r}." + suggest(name, list(known)))
    if len(sources) < 2:
        raise ValueError(f"Fractions are of at least two sources, and {list(sources)} came; there are {', '.join(known)}.")
    fluxes = {}
    for name in sources:
        columns = [c for c in known[name]["columns"].values() if c["parameter"] == "flux"]
        fluxes[name] = {c["label"]: c["value"] if c["site"] is None else draws(c["site"]) for c in columns}
    labels = [k for k in fluxes[sources[0]] if all(k in f for f in fluxes.values())]
    if not labels:
        raise ValueError(f"{', '.join(sources)} have no band in common.")
    table = QTable({"band": labels})
    for name in sources:
        shares = [np.atleast_1d(fluxes[name][k] / sum(of[k] for of in fluxes.values())) for k in labels]
        measures = {"": np.mean, "_err": np.std, "_q16": lambda s: np.quantile(s, 0.16), "_q84": lambda s: np.quantile(s, 0.84)}
        columns = {key: np.array([measure(s) for s in shares]) for key, measure in measures.items()}
        for key, values in columns.items():
            table[f"{name}{key}"] = values
            table[f"{name}{key}"].info.description = f"share of {name} in the light of {', '.join(sources)}" + (f": {key[1:]}" if key else "")
    return table
