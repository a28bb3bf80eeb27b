"""Chains: trace and rank plots, by ArviZ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bayesjoint.plots.style import COLOURS
from bayesjoint.posterior.arviz_seam import chain_axes

if TYPE_CHECKING:
    import numpy as np

    from bayesjoint.posterior.posterior import Posterior

__all__ = ["rank", "trace"]


def trace(post: Posterior, parameters: list[str] | None = None, **options: Any) -> np.ndarray:
    """Draws of each chain in their order, by ``arviz.plot_trace``.

    Parameters
    ----------
    post : Posterior
        The draws.
    parameters : list of str, optional
        Parameters by name (``"galaxy.flux"``, with all its bands); default, all but the skies'. ArviZ warns where it draws only the first of many.
    **options
        For ArviZ (those of 0.x and 1.x differ).

    Returns
    -------
    ndarray of Axes
        In the parameters' units, against draws.

    Raises
    ------
    ValueError
        For parameters that are not there.
    """
    return _by_arviz("trace", post, parameters, options)


def rank(post: Posterior, parameters: list[str] | None = None, **options: Any) -> np.ndarray:
    """Ranks of each chain's draws among all, by ``arviz.plot_rank``: uniform where chains agree (Vehtari et al. 2021, Bayesian Analysis 16, 667).

    The two halves stand for one chain alone, such as the draws of laplace and svi. ArviZ 0.x draws histograms of ranks, 1.x their cumulative
    distribution less the uniform one.

    Parameters
    ----------
    post, parameters, **options
        See `trace`.

    Returns
    -------
    ndarray of Axes

    Raises
    ------
    ValueError
        For parameters that are not there.
    """
    return _by_arviz("rank", post, parameters, options)


def _by_arviz(kind: str, post: Posterior, parameters: list[str] | None, options: dict[str, Any]) -> np.ndarray:
    known = list(dict.fromkeys(s["parameter"] for s in post.meta["sites"]))
    if parameters is None:
        skies = {s["name"] for s in post.meta["sources"] if s["sky"]}
        parameters = [p for p in known if p.rpartition(".")[0] not in skies] or known
    for p in parameters:
        if p not in known:
            post.draws(p)  # says which there are
            if p in post.derived:
                raise ValueError(f"{p!r} follows from other parameters by a link, and chains are of those: {', '.join(known)}.")
            raise ValueError(f"ArviZ's plots take parameters with all their bands, and {p!r} is one site: take {p.split('[')[0]!r}.")
    units = {s["parameter"]: s["unit"] for s in post.meta["sites"]} if kind == "trace" else {}
    axes = chain_axes(kind, post.arviz, parameters, options, units, COLOURS)
    axes.ravel()[0].figure.set_layout_engine("constrained")  # ArviZ's titles lie on the axes above
    if kind == "rank":
        for ax in axes.ravel():
            ax.title.set_size(10)
            for axis in (ax.xaxis, ax.yaxis):
                axis.label.set_size(9)
    elif axes.ndim == 2 and not {"kind", "chain_prop", "combined"} & set(options):  # ArviZ 0.x: densities, and draws in their order
        _label(axes, post.theta.shape[0])
    return axes


def _label(axes: np.ndarray, chains: int) -> None:
    """Words on ArviZ's axes, and which chain has which colour."""
    from matplotlib.lines import Line2D

    for density, draws in axes:
        density.set_ylabel("density")
        density.ticklabel_format(axis="x", style="plain", useOffset=False)
        draws.ticklabel_format(axis="y", style="plain", useOffset=False)
        draws.set_title("")  # as on the left
    axes[-1, 1].set_xlabel("draw")
    if chains > 1:
        handles = [Line2D([], [], color=COLOURS[k % len(COLOURS)], label=f"chain {k}") for k in range(chains)]
        axes[0, 1].legend(handles=handles, fontsize=7, ncols=min(chains, 4), loc="lower right", bbox_to_anchor=(1, 1), frameon=False)
