"""Variables: draws by site as ArviZ's datasets have them, a variable a parameter, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

__all__ = ["matrix", "variables"]


def _stacks(meta: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Sites by parameter."""
    out: dict[str, list[dict[str, Any]]] = {}
    for s in meta["sites"]:
        out.setdefault(s["parameter"], []).append(s)
    return out


def variables(theta: np.ndarray, meta: dict[str, Any], coords: dict[str, Any]) -> xr.Dataset:
    """Draws (chains, draws, sites) as one variable a parameter, its bands or images a dimension of their own."""
    column = {s["name"]: k for k, s in enumerate(meta["sites"])}
    variables, extra = {}, {}
    for parameter, sites in _stacks(meta).items():
        attrs = {"units": sites[0]["unit"], "long_name": sites[0]["doc"]}
        if sites[0]["label"] is None:
            variables[parameter] = (("chain", "draw"), theta[:, :, column[parameter]], attrs)
            continue
        labels = [s["label"] for s in sites]
        kind = "image" if sites[0]["per"] == "image" else "band"
        everything = meta["images"] if kind == "image" else meta["bands"]
        dim = kind if labels == everything else f"{kind}_{parameter.rpartition('.')[0]}"
        if extra.get(dim, labels) != labels:  # one parameter of the source in fewer bands than another
            dim = f"{kind}_{parameter}"
        extra[dim] = labels
        variables[parameter] = (("chain", "draw", dim), theta[:, :, [column[s["name"]] for s in sites]], attrs)
    return xr.Dataset(variables, coords={**coords, **extra})


def matrix(posterior: xr.Dataset, meta: dict[str, Any]) -> np.ndarray:
    """Draws (chains, draws, sites) of such a dataset."""
    parts = []
    for s in meta["sites"]:
        v = posterior[s["parameter"]]
        parts.append(v.values if s["label"] is None else v.sel({v.dims[2]: s["label"]}).values)
    return np.stack(parts, -1) if parts else np.zeros((posterior.sizes["chain"], posterior.sizes["draw"], 0))
