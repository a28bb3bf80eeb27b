"""Tables: one row a source, with units and descriptions, from draws of the sites."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy import units as u
from astropy.table import MaskedColumn, QTable

from bayesjoint.images import Frame
from bayesjoint.infer.warnings import flags_by_source
from bayesjoint.posterior.flags import LEGEND
from bayesjoint.posterior.meta import columns_of, describe_sites
from bayesjoint.posterior.quantities import magnitude, quantities
from bayesjoint.scene.density import derived_of
from bayesjoint.units import KNOWN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bayesjoint.infer.warnings import FitWarning
    from bayesjoint.scene.scene import Scene

__all__ = ["circular", "fit_flags", "magnitude", "meta_table", "put_flags", "quantile", "source_table"]


def circular(x: np.ndarray, period: float = 180.0) -> tuple[float, float]:
    """Mean in [0, period) and standard deviation of angles on a circle (Mardia & Jupp 2000, ch. 2)."""
    vector = np.exp(2j * np.pi * np.asarray(x) / period).mean()
    mean = float(np.angle(vector) / (2 * np.pi) * period % period)
    return mean, float(np.std((np.asarray(x) - mean + period / 2) % period - period / 2))


def quantile(x: np.ndarray, p: float, about: float | None = None) -> float:
    """Quantile of what is finite; of angles in [0, 180) about their mean, where that is given."""
    if not np.isfinite(x).any():
        return float("nan")
    return float(np.nanquantile(x, p)) if about is None else float(np.nanquantile(about + (x - about + 90) % 180 - 90, p)) % 180.0


def source_table(
    scene: Scene,
    theta: np.ndarray,
    best: Mapping[str, float],
    errors: Mapping[str, float],
    warnings: Sequence[FitWarning] = (),
) -> QTable:
    """Table of a fit: its values and errors, derived quantities from Gaussian draws `theta` (s, n), and flags of its `warnings`."""
    more = derived_of(scene, theta)
    at = derived_of(scene, np.array([[best[n] for n in scene.names]]))
    best = {**best, **{k: float(v[0]) for k, v in at.items()}}
    meta = describe_sites(scene)
    known = columns_of(meta)
    errors = {**errors, **{k: circular(v)[1] if known[k]["cyclic"] else float(np.std(v)) for k, v in more.items()}}
    table = meta_table(meta, [*scene.names, *more], np.column_stack([theta, *more.values()]), best, errors)
    flags = fit_flags(scene, meta, warnings)
    put_flags(table, [flags[name] for name in table["source"]])
    return table


def fit_flags(scene: Scene, meta: Mapping[str, Any], warnings: Sequence[FitWarning]) -> dict[str, list[str]]:
    """Flags of each source by the warnings of a fit; `meta`: what `describe_sites` says of the scene."""
    columns = {s["name"]: s["columns"] for s in meta["sources"] if not s["sky"]}
    seen = {c.name: {im.name for im in scene.images if c.sees(im)} for c in scene.components}
    return flags_by_source([w.plain() for w in warnings], columns, seen)


def put_flags(table: QTable, rows: Sequence[Sequence[str]]) -> None:
    """Add the column ``flags`` to a table: those of each row, joined by semicolons."""
    table["flags"] = ["; ".join(flags) for flags in rows] or np.zeros(0, "U1")
    table["flags"].info.description = "what speaks against parameters, by name, or the source: " + "; ".join(f"'{k}': {v}" for k, v in LEGEND.items())


def meta_table(
    meta: Mapping[str, Any],
    names: list[str],
    theta: np.ndarray,
    best: Mapping[str, float] | None = None,
    errors: Mapping[str, float] | None = None,
    quantiles: Sequence[float] = (),
) -> QTable:
    """One row a source; columns of value and ``_err``; mean and standard deviation of the draws unless `best` is given.

    Quantiles, if any are asked for, are columns ``_q16``; those of an angle are taken about its mean.
    """
    for p in quantiles:
        if not 0 < p < 1:
            raise ValueError(f"quantiles are to be probabilities between 0 and 1, and {p} came.")
    column = {n: k for k, n in enumerate(names)}
    rows: list[dict[str, float]] = []
    described: dict[str, tuple[str, str]] = {}

    def put(row: dict[str, float], key: str, value: float, error: float, x: np.ndarray, unit: str, doc: str, cyclic: bool = False) -> None:
        row[key], row[f"{key}_err"] = value, error
        described.setdefault(key, (unit, doc))
        described.setdefault(f"{key}_err", (unit, f"standard deviation: {doc}"))
        for p in quantiles:
            name = f"{key}_q{100 * p:g}"
            row[name] = quantile(x, p, value if cyclic else None)
            described.setdefault(name, (unit, f"{100 * p:g} % quantile: {doc}"))

    for source in meta["sources"]:
        if source["sky"]:
            continue
        row: dict[str, float] = {}
        draws: dict[str, np.ndarray] = {}
        for key, c in source["columns"].items():
            if c["site"] is None:
                value, error, x = c["value"], 0.0, np.full(len(theta), c["value"])
            else:
                x = theta[:, column[c["site"]]]
                value, error = circular(x) if c["cyclic"] else (float(np.mean(x)), float(np.std(x)))
                if best is not None:
                    value, error = best[c["site"]], errors[c["site"]]
                    value = value % 180.0 if c["cyclic"] else value  # that of a link may lie beyond
            draws[key] = x
            put(row, key, value, error, x, c["unit"], c["doc"], c["cyclic"])
        found = quantities(source["columns"], draws, list(meta["bands"]))
        middle = quantities(source["columns"], {k: np.array([row[k]]) for k in draws}, list(meta["bands"]))
        for key, (x, unit, doc) in found.items():
            put(row, key, float(middle[key].values[0]), float(np.nanstd(x)) if np.isfinite(x).any() else np.nan, x, unit, doc)
        if meta["reference"] is not None and "x" in row:
            from astropy.coordinates import SkyCoord

            sky = Frame(SkyCoord(*meta["reference"], unit="deg")).sky(row["x"], row["y"])
            row["ra"], row["dec"] = float(sky.ra.deg), float(sky.dec.deg)
            described["ra"], described["dec"] = ("deg", "right ascension, ICRS"), ("deg", "declination, ICRS")
        rows.append(row)
    table = QTable()
    table["source"] = [s["name"] for s in meta["sources"] if not s["sky"]] or np.zeros(0, "U1")
    table["type"] = [s["type"] for s in meta["sources"] if not s["sky"]] or np.zeros(0, "U1")
    for key, (unit, doc) in described.items():
        values = np.array([r.get(key, np.nan) for r in rows], dtype=float)
        missing = np.array([key not in r for r in rows])
        if missing.any():
            table[key] = MaskedColumn(values, mask=missing, unit=KNOWN.get(unit) if unit else None)
        else:
            table[key] = values * KNOWN[unit] if unit and KNOWN.get(unit, u.dimensionless_unscaled) != u.dimensionless_unscaled else values
        table[key].info.description = doc
    table.meta["bands"] = list(meta["bands"])
    return table
