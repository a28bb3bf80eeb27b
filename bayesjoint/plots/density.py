"""Density: the profile of a fit's log density along one parameter, beside the Gaussian of the fit's
own errors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.interpolate import PchipInterpolator

from bayesjoint.plots.style import COLOURS, new_axes

if TYPE_CHECKING:
    from bayesjoint.infer.profile import Profile

__all__ = ["profile_density"]

REACH = 4.0
"""Errors to either side over which the Gaussian is drawn."""


def profile_density(
    profile: Profile, ax: Any = None, *, levels: tuple[float, ...] = (0.68, 0.95)
) -> Any:
    """Density along one parameter, all others maximised, beside the Gaussian that the fit's error
    stands for.

    Dots are the points of the profile, both curves are in units of their maximum, and shades are
    the profile's intervals.

    Parameters
    ----------
    profile : Profile
        From ``best.profile("bulge.n")``.
    ax : matplotlib Axes, optional
        Where to draw; default, a figure of its own.
    levels : tuple of float
        Probabilities of the intervals.

    Returns
    -------
    matplotlib Axes
        Density relative to its maximum against the parameter, in its unit.
    """
    ax = new_axes()[0, 0] if ax is None else ax
    values, height = profile.values, profile.log_density - profile.log_density.max()
    fine = np.linspace(values[0], values[-1], 400)
    curve = (
        PchipInterpolator(values, height)(fine)
        if len(values) > 1
        else np.full_like(fine, height[0])
    )
    for k, level in enumerate(sorted(levels, reverse=True)):
        low, high = profile.interval(level)
        low, high = (values[0] if np.isnan(low) else low), (values[-1] if np.isnan(high) else high)
        inside = (fine >= low) & (fine <= high)
        colour, depth = COLOURS[0], 0.12 + 0.16 * k
        ax.fill_between(
            fine[inside],
            np.exp(curve[inside]),
            color=colour,
            alpha=depth,
            lw=0,
            label=f"{level:.0%}: {low:.4g} to {high:.4g}",
        )
    ax.plot(fine, np.exp(curve), color=COLOURS[0], lw=1.4, label="profile")
    ax.plot(values, np.exp(height), "o", ms=3.5, color=COLOURS[0])
    if profile.error > 0:
        x = profile.value + profile.error * np.linspace(-REACH, REACH, 300)
        gaussian = np.exp(-0.5 * ((x - profile.value) / profile.error) ** 2)
        ax.plot(
            x,
            gaussian,
            "--",
            color=COLOURS[1],
            lw=1.4,
            label=f"the fit: {profile.value:.4g} ± {profile.error:.2g}",
        )
    low, high = profile.bounds
    ends = [*values[[0, -1]], profile.value - 3 * profile.error, profile.value + 3 * profile.error]
    ax.set_xlim(max(min(ends), low), min(max(ends), high))
    ax.set_ylim(0, 1.08)
    ax.set_xlabel(f"{profile.site} ({profile.unit})" if profile.unit else profile.site)
    ax.set_ylabel("density / maximum")
    ax.legend(fontsize=8)
    return ax
