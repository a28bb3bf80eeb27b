"""Light curve: a source's flux in each epoch, from draws, as a table with its full covariance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u
from astropy.table import QTable

from bayesjoint.posterior.tables import magnitude

if TYPE_CHECKING:
    from bayesjoint.posterior.posterior import Posterior

__all__ = ["light_curve"]

DETECTED = 3.0
"""Significance in sigma below which the upper limit, and no magnitude, is to be quoted."""


def light_curve(post: Posterior, source: str, *, level: float = 0.997) -> QTable:
    """Flux of a source by image, in the order of their epochs (see `Posterior.light_curve`).

    Raises
    ------
    ValueError
        For a source whose flux is not one site an image (``flux=bj.Param(per="image")``).
    """
    mine = [s for s in post.meta["sites"] if s["parameter"] == f"{source}.flux" and s["per"] == "image"]
    held = {c["label"]: c["value"] for s in post.meta["sources"] if s["name"] == source for c in s["columns"].values() if c["parameter"] == "flux"}
    if not mine:
        raise ValueError(f"{source!r} has no flux by image: make it bj.Point({source!r}, flux=bj.Param(per='image')).")
    if not 0.5 < level < 1:
        raise ValueError(f"level is to be a probability between 0.5 and 1, and {level} came.")
    by_name = {s["label"]: s for s in mine}
    epochs = dict(zip(post.meta["images"], post.meta["epochs"], strict=True))
    bands = dict(zip(post.meta["images"], post.meta["image_bands"], strict=True))
    labels = sorted((im for im in held if im in epochs), key=lambda im: (epochs[im] is None, epochs[im] or 0.0))
    size = post.theta[..., 0].size
    draws = np.stack([post.draws(by_name[im]["name"]) if im in by_name else np.full(size, held[im]) for im in labels])
    mean, covariance = draws.mean(1), np.atleast_2d(np.cov(draws))
    error = np.sqrt(np.diag(covariance))
    upper = np.quantile(draws, level, axis=1)
    unit = u.nJy if mine[0]["calibrated"] else u.dimensionless_unscaled
    table = QTable()
    table["image"], table["band"] = labels, [bands[im] for im in labels]
    table["mjd"] = [np.nan if epochs[im] is None else epochs[im] for im in labels] * u.day
    table["flux"], table["flux_err"] = mean * unit, error * unit
    table["upper_limit"] = upper * unit
    with np.errstate(divide="ignore", invalid="ignore"):
        table["snr"] = np.where(error > 0, mean / error, 0.0)
    table["detected"] = table["snr"] >= DETECTED
    if mine[0]["calibrated"]:
        shown = np.where(table["detected"][:, None], draws, np.nan)
        table["mag"] = np.where(table["detected"], magnitude(mean), np.nan) * u.mag
        table["mag_err"] = [float(np.nanstd(magnitude(d))) if np.isfinite(d).any() else np.nan for d in shown] * u.mag
    for name, text in {
        "mjd": "epoch, modified Julian date",
        "flux": f"total flux of {source}: posterior mean",
        "flux_err": "standard deviation; with meta['covariance'] for all epochs together",
        "upper_limit": f"value below which {100 * level:.4g} % of the posterior lies",
        "snr": "flux over its standard deviation",
        "detected": f"whether snr is at least {DETECTED:g}",
    }.items():
        table[name].info.description = text
    table.meta.update({"source": source, "covariance": covariance.tolist(), "covariance_unit": str(unit**2), "level": level})
    return table
