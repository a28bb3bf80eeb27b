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
        Sites, or parameters with all their bands (``"galaxy.flux"``). Default: all but the skies'.
    priors : bool
        Draw each site's prior density over its histogram, where the posterior has its scene.
    **options
        For `corner.corner`; ``truths`` may be a mapping by site.
    """
    import corner as package

    from bayesjoint.posterior.tables import circular

    skies = {s["name"] for s in post.meta["sources"] if s["sky"]}
    if parameters is None:
        chosen = [n for n in post.names if n.split(".")[0] not in skies] or list(post.names)
    else:
        chosen = [n for p in parameters for n in post.names if n == p or n.split("[")[0] == p]
        for p in parameters:
            if not any(n == p or n.split("[")[0] == p for n in post.names):
                post.draws(p)  # says which there are
    sites = {s["name"]: s for s in post.meta["sites"]}
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
        "max_n_ticks": 3,
        "truths": truths,
    }
    fig = package.corner(data, fig=fig, **{**defaults, **options})
    width, height = fig.get_size_inches()
    fig.subplots_adjust(left=1.0 / width, bottom=1.0 / height, right=1 - 0.1 / width, top=1 - 0.5 / height)  # room for the labels, in inches
    diagonal = np.array(fig.axes).reshape(len(chosen), len(chosen)).diagonal()
    # in words of our own: corner's titles of large fluxes run into one another
    for ax, n, x in zip(diagonal, chosen, data.T, strict=True):
        ax.set_title(f"{n}\n{rounded(float(x.mean()), float(x.std()), tex=True)}", fontsize=7.5)
    if priors and post.scene is not None:
        for ax, n in zip(diagonal, chosen, strict=True):
            _prior(ax, next(p for s, p in zip(post.scene.layout.sites, post.scene.chart.priors, strict=True) if s.name == n))
    return fig


def _prior(ax: Any, prior: Any) -> None:
    """The density of a prior over a histogram's range, where it can be seen there."""
    x = np.linspace(*ax.get_xlim(), 200)
    values = torch.as_tensor(x, dtype=torch.float64)
    inside = prior.support.check(values)
    if not bool(inside.any()):
        return
    density = np.where(inside.numpy(), torch.exp(prior.log_prob(torch.where(inside, values, values[inside][0]))).numpy(), np.nan)
    ax.plot(x, density, color=COLOURS[4], lw=1.2)
