"""Profile: a source's light by radius, measured on the pixels and as the model has it, band by band."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesjoint.plots.style import by_band, new_axes
from bayesjoint.plots.subject import Subject

if TYPE_CHECKING:
    from bayesjoint.images import Image
    from bayesjoint.infer.fit import Fit
    from bayesjoint.posterior.posterior import Posterior
    from bayesjoint.scene.scene import Scene

__all__ = ["profile"]

RINGS, FAINTEST = 24, 2.0
"""Rings at most, and their signal-to-noise below which an upper limit (of as many sigma) stands for a point."""


def profile(of: Fit | Posterior, source: str | None = None, ax: Any = None, *, images: Sequence[str] | None = None, draws: int = 40) -> Any:
    """Surface brightness of a source against radius, in each image.

    Points are means over elliptical rings (of the source's own axis ratio and angle) of the data less all else that the model has there, with their
    errors by the pixels' noise; triangles are upper limits of 2 sigma where the ring holds less. Lines are the model's means over the same
    rings and pixels, through the image's PSF, and bands hold 68 % of the draws.

    Parameters
    ----------
    of : Fit or Posterior
        Bands are of its draws (a fit's: of its Gaussian).
    source : str, optional
        Its name; default, the only one.
    ax : matplotlib Axes, optional
        Where to draw; default, a figure of its own.
    images : sequence of str, optional
        Default, all that the source is seen in; at most ten are legible.
    draws : int
        For the bands.

    Returns
    -------
    matplotlib Axes
        Radius in arcsec along the major axis; mag/arcsec², or image units/arcsec² where an image has no zeropoint.

    Raises
    ------
    ValueError
        For an unknown source or image, no name where there are several sources, or a posterior without its scene.
    """
    subject = Subject.of(of)
    scene = subject.need_scene()
    source = subject.one_source("profile") if source is None else subject.source(source)["name"]
    component = next(c for c in scene.components if c.name == source)
    shown = [im for im in scene.images if component.sees(im)] if images is None else [subject.image(n) for n in images]
    ax = new_axes()[0, 0] if ax is None else ax
    magnitudes = all(im.zeropoint is not None for im in shown)
    colours = by_band(im.name for im in shown)
    radii, rings = zip(*(_rings(scene, subject.values, im, component) for im in shown), strict=True)

    def alone(values: dict[str, float]) -> list[np.ndarray]:
        drawn = scene.render_components(values, [source])
        return [drawn[im.name][source] for im in shown]

    # a draw at a time: pictures of all of them would take gigabytes
    some = [[_means(ring, light) for ring, light in zip(rings, alone(v), strict=True)] for v in subject.some(draws)]
    whole, own = scene.render(subject.values), alone(subject.values)
    marks, limits = [], False
    for k, im in enumerate(shown):
        radius, ring = radii[k], rings[k]
        data, noise = _means(ring, im.data - (whole[im.name] - own[k])), _error(ring, im.sigma)
        model, band = _means(ring, own[k]), np.quantile([s[k] for s in some], [0.16, 0.84], axis=0)
        area, colour = im.pixel_scale**2, colours[im.name]

        def bright(x: np.ndarray, im: Image = im, area: float = area) -> np.ndarray:
            with np.errstate(divide="ignore", invalid="ignore"):
                return np.where(x > 0, im.zeropoint - 2.5 * np.log10(x / area), np.nan) if magnitudes else x / area

        seen = data > FAINTEST * noise
        low, high = bright(data - noise), bright(data + noise)
        error = np.abs(np.array([bright(data) - high, np.where(np.isfinite(low), low, bright(data) + 2) - bright(data)]))
        error = error if magnitudes else np.array([noise, noise]) / area
        limit = bright(np.maximum(data, 0) + FAINTEST * noise)
        marks += [*bright(data)[seen], *limit[~seen]]
        ax.errorbar(radius[seen], bright(data)[seen], error[:, seen], fmt="o", ms=3.5, color=colour, lw=1, label=im.name)
        limits |= not seen.all()
        ax.plot(radius[~seen], limit[~seen], "v", ms=4, mfc="none", color=colour)
        ax.plot(radius, bright(model), color=colour, lw=1.2)
        ax.fill_between(radius, *bright(band), color=colour, alpha=0.3, lw=0)
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter("{x:g}")
    ax.set_xlabel("radius along the major axis (arcsec)")
    if magnitudes:
        ax.set_ylabel("surface brightness (mag / arcsec²)")
        ax.set_ylim(max(marks) + 1.5, None)  # far below all data, lines say nothing
        ax.set_ylim(top=min(ax.dataLim.y0, min(marks)) - 0.5)
    else:
        ax.set_yscale("log")
        ax.set_ylim(bottom=min(marks) / 4)
        ax.set_ylabel("surface brightness (image units / arcsec²)")
    ax.set_title(source)
    _legend(ax, limits)
    return ax


def _legend(ax: Any, limits: bool) -> None:
    """The images by colour, and what lines and triangles are."""
    from matplotlib.lines import Line2D

    handles = [*ax.get_legend_handles_labels()[0], Line2D([], [], color="0.3", lw=1.2, label="model through the PSF (band: 68 %)")]
    if limits:
        handles.append(Line2D([], [], ls="", marker="v", ms=4, mfc="none", color="0.3", label=f"limit of {FAINTEST:g} σ"))
    ax.legend(handles=handles, fontsize=8)


def _rings(scene: Scene, values: dict[str, float], im: Image, component: Any) -> tuple[np.ndarray, np.ndarray]:
    """Mean radius of each ring, and which ring each pixel lies in (-1: none)."""

    def value(name: str, otherwise: float) -> float:
        return scene.value(component, name, im, values) if any(s.name == name for s in component.specs) else otherwise

    j, i = np.indices(im.shape)
    x, y = scene.frame.to_sky(im.placement, i, j)
    x, y, pa = x - value("x", 0.0), y - value("y", 0.0), np.radians(value("pa", 0.0))
    blurred = max((im.psf.fwhm if im.psf is not None else 1.0) * im.pixel_scale, im.pixel_scale)
    size = value("r_eff", blurred)
    q = float(np.clip(np.hypot(value("q", 1.0) * size, blurred / 2) / np.hypot(size, blurred / 2), 0.05, 1.0))  # as the PSF leaves it
    r = np.hypot(x * np.sin(pa) + y * np.cos(pa), (x * np.cos(pa) - y * np.sin(pa)) / q)
    top = min(float(r.max()), 8 * np.hypot(size, blurred))
    edges = np.geomspace(0.7 * im.pixel_scale, top, max(4, min(RINGS, int(top / (0.7 * im.pixel_scale)))))
    ring = np.searchsorted(np.concatenate([[0.0], edges]), r, side="right") - 1
    ring = np.where((ring < len(edges)) & im.valid, ring, -1)
    kept = [k for k in range(len(edges)) if (ring == k).any()]
    number = np.full(len(edges) + 1, -1)
    number[kept] = np.arange(len(kept))
    return np.array([r[ring == k].mean() for k in kept]), number[ring]


def _means(rings: np.ndarray, light: np.ndarray) -> np.ndarray:
    """Mean of the light over each ring."""
    inside = rings >= 0
    return np.bincount(rings[inside], light[inside]) / np.bincount(rings[inside])


def _error(rings: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """Error of the mean over each ring."""
    inside = rings >= 0
    return np.sqrt(np.bincount(rings[inside], sigma[inside] ** 2)) / np.bincount(rings[inside])
