"""Tables: one row a source, with units and descriptions, from draws of the sites."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from astropy import units as u
from astropy.table import MaskedColumn, QTable

from bayesjoint.images import Frame
from bayesjoint.posterior.meta import describe_sites
from bayesjoint.scene.density import derived_of
from bayesjoint.units import AB_NJY, KNOWN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bayesjoint.scene.scene import Scene

__all__ = ["circular", "magnitude", "meta_table", "source_table"]


def circular(x: np.ndarray, period: float = 180.0) -> tuple[float, float]:
    """Mean in [0, period) and standard deviation of angles on a circle (Mardia & Jupp 2000, ch. 2)."""
    vector = np.exp(2j * np.pi * np.asarray(x) / period).mean()
    mean = float(np.angle(vector) / (2 * np.pi) * period % period)
    return mean, float(np.std((np.asarray(x) - mean + period / 2) % period - period / 2))


def magnitude(flux: np.ndarray) -> np.ndarray:
    """AB magnitude of a flux in nJy; NaN where it is not positive."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.asarray(flux) > 0, AB_NJY - 2.5 * np.log10(np.abs(flux)), np.nan)


def source_table(scene: Scene, theta: np.ndarray, best: Mapping[str, float], errors: Mapping[str, float]) -> QTable:
    """Table of a fit: its values and errors, and derived quantities from Gaussian draws `theta` (s, n)."""
    more = derived_of(scene, theta)
    at = derived_of(scene, np.array([[best[n] for n in scene.names]]))
    best = {**best, **{k: float(v[0]) for k, v in at.items()}}
    errors = {**errors, **{k: float(np.std(v)) for k, v in more.items()}}
    return meta_table(describe_sites(scene), [*scene.names, *more], np.column_stack([theta, *more.values()]), best, errors)


def meta_table(
    meta: Mapping[str, Any], names: list[str], theta: np.ndarray, best: Mapping[str, float] | None = None, errors: Mapping[str, float] | None = None
) -> QTable:
    """One row a source; columns of value and ``_err``; mean and standard deviation of the draws unless `best` is given."""
    column = {n: k for k, n in enumerate(names)}
    rows: list[dict[str, float]] = []
    described: dict[str, tuple[str, str]] = {}

    def put(row: dict[str, float], key: str, value: float, error: float, unit: str, doc: str) -> None:
        row[key], row[f"{key}_err"] = value, error
        described.setdefault(key, (unit, doc))
        described.setdefault(f"{key}_err", (unit, f"standard deviation: {doc}"))

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
            put(row, key, value, error, c["unit"], c["doc"])
            if c["flux"]:
                mag = magnitude(x)
                some = np.isfinite(mag).any()
                center = float(magnitude(np.array(value)))
                put(row, key.replace("flux", "mag", 1), center, float(np.nanstd(mag)) if some else np.nan, "mag", f"AB magnitude of {key}")
        for key, c in source["columns"].items():
            q = next((k for k in (f"q_{c['label']}", "q") if k in draws), None)
            if c["parameter"] == "r_eff" and q is not None:
                r = draws[key] * np.sqrt(draws[q])
                put(
                    row,
                    key.replace("r_eff", "r_eff_circ", 1),
                    row[key] * np.sqrt(row[q]) if best is not None else float(r.mean()),
                    float(r.std()),
                    "arcsec",
                    f"circularised half-light radius, {key} sqrt({q})",
                )
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
