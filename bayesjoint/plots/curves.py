"""Curves: a source's brightness by wavelength and by epoch, and how a fit came to its maximum."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bayesjoint.plots.style import COLOURS, by_band, in_powers, new_axes
from bayesjoint.plots.subject import Subject

if TYPE_CHECKING:
    from bayesjoint.infer.fit import Fit
    from bayesjoint.posterior.posterior import Posterior

__all__ = ["history", "light_curve", "sed"]


def sed(of: Fit | Posterior, *sources: str, ax: Any = None) -> Any:
    """Flux of sources against wavelength, or by band where an image has none: medians, and bars that hold 68 % of the draws.

    Parameters
    ----------
    of : Fit or Posterior
        Whose draws.
    *sources : str
        Their names; default, all.
    ax : matplotlib Axes, optional
        Where to draw; default, a figure of its own.

    Returns
    -------
    matplotlib Axes
        nJy (or image units) on a logarithmic scale, linear about zero, so that a flux below it is shown; magnitudes on the other side.

    Raises
    ------
    ValueError
        For an unknown source.
    """
    subject = Subject.of(of)
    names = sources or tuple(s["name"] for s in subject.meta["sources"] if not s["sky"])
    ax = new_axes()[0, 0] if ax is None else ax
    lengths = {}
    if subject.scene is not None:
        lengths = {im.band: im.wavelength for im in subject.scene.images} | {im.name: im.wavelength for im in subject.scene.images}
    labels = list(dict.fromkeys(k for n in names for k in subject.fluxes(n)))
    known = bool(labels) and all(lengths.get(k) for k in labels)
    place = {k: lengths[k] if known else i for i, k in enumerate(labels)}
    faint = []
    for k, n in enumerate(names):
        found = sorted(subject.fluxes(n).items(), key=lambda item: place[item[0]])
        low, middle, high = np.quantile([v for _, v in found], [0.16, 0.5, 0.84], axis=1)
        x = [place[label] for label, _ in found]
        ax.errorbar(x, middle, [middle - low, high - middle], fmt="o-", ms=4.5, lw=0.8, capsize=2, color=COLOURS[k % len(COLOURS)], label=n)
        faint += [*(high - low), *np.abs(middle)]
    _flux_axis(ax, np.array(faint), any(s["flux"] and s["calibrated"] for s in subject.meta["sites"]))
    if known:
        ax.set_xlabel("wavelength (µm)")
    else:
        ax.set_xticks(list(place.values()), labels)
        ax.set_xlabel("band")
    if len(names) > 1:
        ax.legend(fontsize=8)
    else:
        ax.set_title(names[0])
    return ax


def light_curve(post: Posterior, source: str | None = None, ax: Any = None, **options: Any) -> Any:
    """Flux of a source by epoch, with errors; open triangles are upper limits where it is not detected.

    Parameters
    ----------
    post : Posterior
        Of a scene in which the source's flux is ``bj.Param(per="image")``.
    source : str, optional
        Its name; default, the only one with a flux by image.
    ax : matplotlib Axes, optional
        Where to draw; default, a figure of its own.
    **options
        For `Posterior.light_curve`.

    Returns
    -------
    matplotlib Axes
        nJy (or image units) against modified Julian date, or by image where an epoch is not known.

    Raises
    ------
    ValueError
        For an unknown source, one without a flux by image, or no name where there are several.
    """
    if source is None:
        sites = post.meta["sites"]
        varying = [s["name"] for s in post.meta["sources"] if any(p["parameter"] == f"{s['name']}.flux" and p["per"] == "image" for p in sites)]
        if not varying:
            raise ValueError("No source has a flux by image, of which a light curve could be made: give one flux=bj.Param(per='image').")
        source = Subject.of(post).one_source("light curve", varying)
    table = post.light_curve(source, **options)
    ax = new_axes()[0, 0] if ax is None else ax
    dated = bool(np.isfinite(table["mjd"].value).all())
    x = table["mjd"].value if dated else np.arange(len(table))
    for band, colour in by_band(table["band"]).items():
        mine = np.asarray(table["band"]) == band
        ax.errorbar(x[mine], table["flux"].value[mine], table["flux_err"].value[mine], fmt="o", ms=4.5, capsize=2, color=colour, label=band)
        dark = mine & ~np.asarray(table["detected"])
        ax.plot(x[dark], table["upper_limit"].value[dark], "v", mfc="none", color=colour)
    dark = ~np.asarray(table["detected"])
    if dark.any():
        ax.plot([], [], "v", mfc="none", color="0.3", label="upper limit")
    ax.axhline(0, color="0.6", lw=0.8, zorder=0)
    unit = str(table["flux"].unit) or "image units"
    ax.set_ylabel(f"flux ({in_powers(ax.yaxis, ax.get_ylim())}{unit})")
    if dated:
        ax.ticklabel_format(axis="x", style="plain", useOffset=False)
        ax.set_xlabel("modified Julian date (d)")
    else:
        ax.set_xticks(x, list(table["image"]), rotation=45, ha="right")
    if len(set(table["band"])) > 1 or dark.any():
        ax.legend(fontsize=8)
    ax.set_title(source)
    return ax


def history(best: Fit, ax: Any = None) -> Any:
    """How a fit came to its maximum: the log density that was left to gain at each iteration, crosses where a step was refused.

    Parameters
    ----------
    best : Fit
        The fit.
    ax : matplotlib Axes, optional
        Where to draw; default, a figure of its own.

    Returns
    -------
    matplotlib Axes
    """
    ax = new_axes()[0, 0] if ax is None else ax
    left = max(h["log_density"] for h in best.history) - np.array([h["log_density"] for h in best.history])
    steps, taken = np.arange(len(left)), np.array([h["accepted"] for h in best.history])
    floor = max(1e-9, float(left[left > 0].min()) / 10) if (left > 0).any() else 1e-9
    ax.plot(steps, np.maximum(left, floor), "-", color=COLOURS[0], lw=1)
    ax.plot(steps[taken], np.maximum(left, floor)[taken], "o", ms=4.5, color=COLOURS[0], label="step taken")
    if not taken.all():
        ax.plot(steps[~taken], np.maximum(left, floor)[~taken], "x", color=COLOURS[1], label="refused: damped more")
        ax.legend(fontsize=8)
    ax.set_yscale("log")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set_xlabel("iteration")
    ax.set_ylabel("log density below the maximum")
    ax.set_title("converged" if best.converged else "NOT converged")
    return ax


def _flux_axis(ax: Any, sizes: np.ndarray, calibrated: bool) -> None:
    """Fluxes on a logarithmic scale, and magnitudes beside it; linear about zero where one is not positive."""
    from matplotlib.ticker import LogLocator, MaxNLocator

    sizes = sizes[np.isfinite(sizes) & (sizes > 0)]
    unit = "nJy" if calibrated else "image units"
    ax.set_ylabel(f"flux ({unit})")
    if ax.dataLim.y0 > 0:
        ax.set_yscale("log")
        low, high = ax.get_ylim()
        if high < 10 * low:  # less than a decade: minor ticks have the labels
            ax.set_ylabel(f"flux ({in_powers(ax.yaxis, (high,))}{unit})")
            ax.yaxis.set_minor_formatter(ax.yaxis.get_major_formatter())
            ax.yaxis.set_minor_locator(LogLocator(subs=(2, 3, 5)) if high > 3 * low else MaxNLocator(6))
        if calibrated:
            other = ax.twinx()
            other.set_ylim([31.4 - 2.5 * np.log10(v) for v in (low, high)])
            other.set_ylabel("AB magnitude")
            other.ticklabel_format(axis="y", style="plain", useOffset=False)
    else:
        ax.set_yscale("symlog", linthresh=float(sizes.min()) if sizes.size else 1.0)
        ax.axhline(0, color="0.6", lw=0.8, zorder=0)
