"""Corner plot of a posterior's sites."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bayesjoint.plots.style import COLOURS
from bayesjoint.posterior.words import rounded

if TYPE_CHECKING:
    from bayesjoint.posterior.posterior import Posterior

__all__ = ["corner"]


def corner(post: Posterior, parameters: list[str] | None = None, *, priors: bool = True, **options: Any) -> Any:
    """Corner plot; returns the figure.

    Parameters
    ----------
    post : Posterior
        The draws.
    parameters : list of str, optional
        Sites, or what follows from sites by a link, or parameters with all their bands (``"galaxy.flux"``). Default: all sites but the skies'.
    priors : bool
        Draw each site's prior density over its histogram, where the posterior has its scene.
    **options
        For `corner.corner`; ``truths`` may be a mapping by site.
    """
    import corner as package

    from bayesjoint.posterior.meta import columns_of
    from bayesjoint.posterior.tables import circular

    skies = {s["name"] for s in post.meta["sources"] if s["sky"]}
    if parameters is None:
        chosen = [n for n in post.names if n.split(".")[0] not in skies] or list(post.names)
    else:
        known = [*post.names, *post.derived]
        chosen = [n for p in parameters for n in known if n == p or n.split("[")[0] == p]
        for p in parameters:
            if not any(n == p or n.split("[")[0] == p for n in known):
                post.draws(p)  # says which there are
    sites = columns_of(post.meta) | {s["name"]: s for s in post.meta["sites"]}
    columns, labels = [], []
    truths = options.pop("truths", None)
    truths = dict(truths) if isinstance(truths, dict) else truths
    for n in chosen:
        x = post.draws(n)
        if sites[n]["cyclic"]:  # unwrapped about its circular mean, so that it is in one piece
            mean = circular(x)[0]
            x = mean + (x - mean + 90) % 180 - 90
            if isinstance(truths, dict) and truths.get(n) is not None:
                truths[n] = mean + (truths[n] - mean + 90) % 180 - 90
        columns.append(x)
        unit = sites[n]["unit"]
        labels.append(n + (f"\n({unit})" if unit else ""))
    if isinstance(truths, dict):
        truths = [truths.get(n) for n in chosen]
    from bayesjoint.plots.figure import Figure

    size = 1.7 * len(chosen) + 1.2
    fig = options.pop("fig", None) or Figure(figsize=(size, size))
    data = np.stack(columns, 1)
    if len(data) <= data.shape[1]:
        raise ValueError(
            f"A corner plot of {data.shape[1]} parameters needs more draws than that, and there are {len(data)}: draw more, or choose parameters."
        )
    spread = np.ptp(data, axis=0) > 0
    if not spread.all():
        raise ValueError(f"A corner plot needs draws that vary, and those of {[c for c, s in zip(chosen, spread, strict=True) if not s]} do not.")
    defaults = {
        "labels": labels,
        "quantiles": [0.16, 0.5, 0.84],
        "hist_kwargs": {"density": True},
        "labelpad": 0.14,
        "use_math_text": True,
        "smooth": 0.8,
        "plot_contours": len(data) >= 500,
        "label_kwargs": {"fontsize": 9},
        "truths": truths,
        "truth_color": COLOURS[0],
    }
    fig = package.corner(data, fig=fig, **{**defaults, **options})
    width, height = fig.get_size_inches()
    fig.subplots_adjust(left=1.0 / width, bottom=1.0 / height, right=1 - 0.1 / width, top=1 - 0.5 / height)  # room for the labels, in inches
    diagonal = np.array(fig.axes).reshape(len(chosen), len(chosen)).diagonal()
    # in words of our own: corner's titles of large fluxes run into one another
    for ax, n, x in zip(diagonal, chosen, data.T, strict=True):
        ax.set_title(f"{n}\n{rounded(float(x.mean()), float(x.std()), tex=True)}", fontsize=7.5)
    if "max_n_ticks" not in options:
        _ticks(np.array(fig.axes).reshape(len(chosen), len(chosen)))
    lines = []
    if priors and post.scene is not None:
        given = dict(zip(post.scene.names, post.scene.chart.priors, strict=True))
        for ax, n in zip(diagonal, chosen, strict=True):
            lines += _prior(ax, given[n]) if n in given else []  # what follows from others has none of its own
    quantiles = {**defaults, **options}["quantiles"]
    known = truths is not None and any(t is not None for t in truths)
    _legend(fig, diagonal, quantiles, bool(lines), {**defaults, **options}["truth_color"] if known else None)
    return fig


def _ticks(axes: np.ndarray) -> None:
    """Few, and none near the ends of an axis: its label would lie on the neighbour's."""
    from matplotlib.ticker import MaxNLocator

    last = len(axes) - 1
    for k in range(last + 1):
        low, high = axes[last, k].get_xlim()
        ticks = MaxNLocator(4).tick_values(low, high)
        edge = 0.1 * (high - low)
        ticks = [t for t in ticks if low + edge <= t <= high - edge] or [(low + high) / 2]
        for ax in axes[k:, k]:
            ax.set_xticks(ticks)
        for ax in axes[k, :k]:
            ax.set_yticks(ticks)
    for ax in axes.ravel():
        ax.tick_params(labelsize=8)


def _legend(fig: Any, diagonal: np.ndarray, quantiles: Any, prior: bool, truth: Any) -> None:
    """What the lines are, in the corner that is empty."""
    from matplotlib.lines import Line2D

    handles = []
    if quantiles is not None and len(quantiles):
        handles.append(Line2D([], [], color="k", ls="--", lw=1.2, label=", ".join(f"{100 * q:g}" for q in quantiles) + " % quantiles"))
    if prior:
        handles.append(Line2D([], [], color=COLOURS[4], lw=1.5, label="prior"))
    if truth is not None:
        handles.append(Line2D([], [], color=truth, lw=1.2, label="truth"))
    if not handles:
        return
    if len(diagonal) == 1:
        diagonal[0].set_ylim(top=1.6 * diagonal[0].get_ylim()[1])  # no corner is empty: room above the histogram
        diagonal[0].legend(handles=handles, fontsize=6, loc="upper center")
    else:
        fig.legend(handles=handles, loc="upper right", fontsize=8 if len(diagonal) > 2 else 7)


def _prior(ax: Any, prior: Any) -> list[Any]:
    """Draw the density of a prior over a histogram's range, where it can be seen there; returns the lines."""
    x = np.linspace(*ax.get_xlim(), 200)
    values = torch.as_tensor(x, dtype=torch.float64)
    inside = prior.support.check(values)
    if not bool(inside.any()):
        return []
    density = np.where(inside.numpy(), torch.exp(prior.log_prob(torch.where(inside, values, values[inside][0]))).numpy(), np.nan)
    return ax.plot(x, density, color=COLOURS[4], lw=1.5)
