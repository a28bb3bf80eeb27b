"""Image: one image with its scale bar, the directions of North and East, and the windows of sources."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bayesjoint.images import Frame, Image
from bayesjoint.plots.style import MASKED, OUTLINE, in_powers, new_axes, palette, stretch, surface_brightness

if TYPE_CHECKING:
    from bayesjoint.scene.scene import Scene

__all__ = ["image"]

BARS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600)
"""Lengths in arcsec that a scale bar may have."""


def image(
    im: Image,
    ax: Any = None,
    data: np.ndarray | None = None,
    *,
    scale: str = "asinh",
    norm: Any = None,
    sky: bool = False,
    colorbar: bool = True,
    marks: bool = True,
    windows: Scene | None = None,
    title: str | None = None,
) -> Any:
    """Show an image, or other pixels in its place (a model, a residual).

    Parameters
    ----------
    im : Image
        Whose pixels, mask and place on the sky.
    ax : matplotlib Axes, optional
        Where to draw; default, a figure of its own. Axes of projection ``im.placement.wcs`` (`~astropy.visualization.wcsaxes.WCSAxes`) are labelled
        by right ascension and declination.
    data : ndarray, shape (ny, nx), optional
        Shown in place of the image's own, in image units; masked pixels are then shown too.
    scale : {"asinh", "mag", "sigma"}
        Image units, asinh-stretched; mag/arcsec², asinh-softened; or residuals in units of sigma from -5 to 5.
    norm : matplotlib Normalize, optional
        In place of the scale's own.
    sky : bool
        Make axes in right ascension and declination (where no `ax` is given).
    colorbar, marks : bool
        Whether to draw a colour bar; a scale bar and the directions of North and East.
    windows : Scene, optional
        Whose sources' windows to draw.
    title : str, optional
        Default, the image's name.

    Returns
    -------
    matplotlib Axes
        ``ax.figure`` is the figure, made without pyplot's global state.

    Raises
    ------
    ValueError
        For an unknown scale, magnitudes without a zeropoint, pixels of another shape, or `sky` without a WCS.
    """
    if scale not in ("asinh", "mag", "sigma"):
        raise ValueError(f"scale is to be 'asinh', 'mag' or 'sigma', and {scale!r} came.")
    if data is not None and np.shape(data) != im.shape:
        raise ValueError(f"The pixels to be shown in place of {im.name}'s are to be of its shape {im.shape}, and {np.shape(data)} came.")
    if ax is None:
        ax = _sky_axes(im) if sky else new_axes()[0, 0]
    shown = np.ma.array(im.data, mask=im.mask) if data is None else np.ma.array(data, mask=im.mask if scale == "sigma" else False)
    if scale == "mag":
        limits = surface_brightness(im, np.array([-2 * im.typical_sigma, float(np.nanpercentile(im.data[im.valid], 99.9))]))
        shown, options = np.ma.array(surface_brightness(im, shown.filled(0.0)), mask=shown.mask), {"vmin": limits[1], "vmax": limits[0]}
        colours, label = palette().reversed().with_extremes(bad=MASKED), "mag / arcsec² (asinh)"
    elif scale == "sigma":
        options, colours, label = {"vmin": -5, "vmax": 5}, palette("signed"), "σ"
    else:
        options, colours, label = {"norm": stretch(im)}, palette(), "image units per pixel"
    if norm is not None:
        options = {"norm": norm}
    on_sky = hasattr(ax, "coords")
    (mx, my), s = im.placement.middle, 1.0 if on_sky else im.pixel_scale
    ny, nx = im.shape
    extent = None if on_sky else (-nx * s / 2, nx * s / 2, -ny * s / 2, ny * s / 2)
    drawn = ax.imshow(shown, origin="lower", cmap=colours, extent=extent, interpolation="nearest", **options)
    ax.autoscale(False)  # a window may reach beyond

    def place(px: Any, py: Any) -> tuple[Any, Any]:
        return (px, py) if on_sky else ((np.asarray(px) - mx) * s, (np.asarray(py) - my) * s)

    if colorbar:
        bar = ax.figure.colorbar(drawn, ax=ax, label=label, fraction=0.046)
        if scale == "asinh":
            ticks = _ticks(drawn.norm)
            bar.set_ticks(ticks)
            bar.set_label(in_powers(bar.long_axis, ticks) + label)
        if scale == "mag":
            bar.ax.invert_yaxis()
    if marks:
        _marks(ax, im, place)
        if np.ma.getmaskarray(shown).any():
            _masked(ax)
    if windows is not None:
        _windows(ax, im, windows, place)
    ax.set_title(title if title is not None else im.name or im.band)
    if not on_sky:
        ax.set_xlabel("along the image's x (arcsec)")
        ax.set_ylabel("along the image's y (arcsec)")
    return ax


def _ticks(norm: Any) -> list[float]:
    """Round values that lie about evenly along a colour bar."""
    made = []
    for value in np.ravel(norm.inverse(np.linspace(0.02, 0.98, 6))).tolist():
        power = 10.0 ** np.floor(np.log10(abs(value))) if value else 1.0
        made.append(float(f"{np.round(2 * value / power) / 2 * power:.3g}"))
    zero = norm.vmin <= 0 <= norm.vmax
    apart = [v for v in made if norm.vmin <= v <= norm.vmax and not (zero and abs(float(norm(v)) - float(norm(0.0))) < 0.1)]
    return sorted({*apart, *([0.0] if zero else [])})


def _sky_axes(im: Image) -> Any:
    from bayesjoint.plots.figure import Figure

    if im.placement.wcs is None:
        raise ValueError(f"{im.name or im.band} has no WCS: sky=True needs one.")
    wcs = im.placement.wcs.celestial.deepcopy()
    wcs.wcs.crpix = wcs.wcs.crpix - np.array(im.placement.crop)
    ax = Figure(figsize=(5.2, 4.2), layout="constrained").add_subplot(projection=wcs)
    ax.coords[0].set_axislabel("right ascension")
    ax.coords[1].set_axislabel("declination")
    for axis in ax.coords:
        axis.set_ticks(number=4)
        axis.set_ticklabel(exclude_overlapping=True)
    return ax


def _outlined(width: float = 1.6) -> list[Any]:
    from matplotlib import patheffects

    return [patheffects.withStroke(linewidth=width, foreground="0.1")]


def _marks(ax: Any, im: Image, place: Any) -> None:
    """A scale bar to the lower left, and arrows to the North and East to the lower right."""
    ny, nx = im.shape
    length = max((b for b in BARS if b < 0.3 * nx * im.pixel_scale), default=BARS[0])
    x, y = place(np.array([0.05 * nx, 0.05 * nx + length / im.pixel_scale]), np.full(2, 0.07 * ny))
    ax.plot(x, y, color=OUTLINE, lw=2, path_effects=_outlined(4), solid_capstyle="butt")
    words = f"{length / 60:g}′" if length >= 60 else f"{length:g}″"
    ax.annotate(words, (x.mean(), y[0]), (0, 3), textcoords="offset points", color=OUTLINE, ha="center", fontsize=8, path_effects=_outlined())
    frame = Frame(im.placement.sky_middle)
    inverse = np.linalg.inv(frame.jacobian(im.placement, *im.placement.middle))
    reach, corner = 0.1 * min(nx, ny), np.array([0.82 * nx, 0.16 * ny])
    for word, direction in (("N", (0, 1)), ("E", (1, 0))):
        step = inverse @ np.array(direction)
        tip = corner + reach * step / np.linalg.norm(step)
        begin, end = (np.array(place(*p), float) for p in (corner, tip))
        arrow = {"arrowstyle": "->", "color": OUTLINE, "lw": 1.2, "shrinkA": 0, "shrinkB": 2, "mutation_scale": 8, "path_effects": _outlined(2.4)}
        ax.annotate("", end, begin, arrowprops=arrow)
        at = begin + 1.45 * (end - begin)
        ax.text(*at, word, color=OUTLINE, ha="center", va="center", fontsize=9, weight="bold", path_effects=_outlined(2))


def _masked(ax: Any) -> None:
    """What grey pixels are."""
    from matplotlib.patches import Patch

    grey = Patch(facecolor=MASKED, edgecolor="0.1", lw=0.5, label="masked")
    ax.legend(handles=[grey], loc="upper left", fontsize=7, handlelength=1, handleheight=0.8, borderpad=0.3)


def _windows(ax: Any, im: Image, scene: Scene, place: Any) -> None:
    from matplotlib.patches import Rectangle

    for plan in scene.plans.get(im.name, {}).values():
        if plan.window is not None:
            x0, x1, y0, y1 = plan.window
            (a, c), (b, d) = place(np.array([x0, x1]) - 0.5, np.array([y0, y1]) - 0.5)
            ax.add_patch(Rectangle((a, b), c - a, d - b, fill=False, ec=OUTLINE, lw=0.8, ls="--", path_effects=_outlined(1.6)))
