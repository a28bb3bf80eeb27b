"""Picture: the distribution of ranks of each quantity against a band of chance, and the coverage of intervals."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from bayesjoint.calibrate.calibration import Calibration
from bayesjoint.calibrate.uniformity import band
from bayesjoint.calibrate.verdict import COVERAGES, LEAST

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot"]

BLUE, ORANGE, COLOURS, MARKERS = "#0072B2", "#D55E00", ("#0072B2", "#E69F00", "#009E73"), ("o", "s", "^")
"""Of Okabe and Ito's palette, which colour-blind readers can tell apart."""


def plot(result: Calibration, alpha: float = 0.01) -> np.ndarray:
    """Draw a calibration: a panel for each quantity, and one of coverage.

    A panel shows the distribution function of the levels less that of uniform ones, with the band that it leaves at `alpha` (of that
    panel alone) where all is well; a curve that leaves it is orange. Posteriors too narrow make it rise at first and fall at last, too wide ones the other way;
    a rise in the middle says that truths lie below the draws.

    Parameters
    ----------
    result : Calibration
        Of `bayesjoint.calibrate.sbc`.
    alpha : float
        Part of well calibrated quantities that leave their band.

    Returns
    -------
    ndarray of `~matplotlib.axes.Axes`, shape (quantities + 1,)
        The last one is of coverage; ``axes[0].figure`` is the figure, made without pyplot's global state.

    Raises
    ------
    ValueError
        For fewer than 10 simulations with ranks.
    """
    from bayesjoint.plots.figure import Figure

    levels = result.levels[~result.failed]
    if len(levels) < LEAST:
        raise ValueError(f"A plot needs at least {LEAST} simulations with ranks, and there are {len(levels)}: run sbc with more.")
    count = len(result.names)
    rows, columns = math.ceil(count / 4), min(4, count)
    fig = Figure(figsize=(2.6 * columns + 3.6, max(2.1 * rows, 0.3 * count + 1.2)), layout="constrained")
    grid = fig.add_gridspec(rows, columns + 1, width_ratios=[1] * columns + [1.5])
    places, low, high = band(len(levels), alpha)
    top = 1.15 * max((high - places).max(), max(np.abs(_ecdf(u, places) - places).max() for u in levels.T))
    axes = []
    for k, (name, u) in enumerate(zip(result.names, levels.T, strict=True)):
        ax = fig.add_subplot(grid[k // columns, k % columns])
        difference = _ecdf(u, places) - places
        leaves = ((difference < low - places - 1e-12) | (difference > high - places + 1e-12)).any()
        ax.fill_between(places, low - places, high - places, color="0.88", lw=0, step="mid")
        ax.axhline(0, color="0.5", lw=0.7)
        ax.plot(places, difference, color=ORANGE if leaves else BLUE, lw=1.4, drawstyle="steps-mid")
        ax.set_title(name, fontsize=9)
        ax.set(xlim=(0, 1), ylim=(-top, top), xticks=(0, 0.5, 1))
        ax.tick_params(labelsize=8, labelleft=k % columns == 0, labelbottom=k + columns >= count)
        axes.append(ax)
    fig.supylabel("fraction of simulations below, less the level", fontsize=9)
    fig.supxlabel("level of the truth in its posterior", fontsize=9)
    axes.append(_coverage(fig.add_subplot(grid[:, columns]), result.names, levels))
    return np.array(axes, dtype=object)


def _ecdf(levels: np.ndarray, places: np.ndarray) -> np.ndarray:
    return np.searchsorted(np.sort(levels), places, side="right") / len(levels)


def _coverage(ax: Axes, names: tuple[str, ...], levels: np.ndarray) -> Axes:
    """How often central intervals hold the truth, with 2 binomial errors."""
    y = np.arange(len(names))[::-1]
    for c, colour, marker in zip(COVERAGES, COLOURS, MARKERS, strict=True):
        error = 2 * np.sqrt(c * (1 - c) / len(levels))
        ax.axvspan(c - error, min(c + error, 1), color=colour, alpha=0.15, lw=0)
        ax.axvline(c, color=colour, lw=0.8)
        ax.plot((np.abs(levels - 0.5) < c / 2).mean(0), y, marker, color=colour, ms=4.5)
    ax.set(yticks=y, ylim=(-0.6, len(names) - 0.4), xlim=(None, 1.0), xticks=COVERAGES)
    ax.set_xticklabels([f"{100 * c:.0f} %" for c in COVERAGES], fontsize=8)
    ax.set_yticklabels(names, fontsize=8)
    ax.set_title("coverage of central intervals", fontsize=9)
    return ax
