"""Panels: data, model and residuals of every image, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from bayesjoint.images import Image

__all__ = ["panels"]


def panels(images: Sequence[Image], models: Mapping[str, np.ndarray], residuals: Mapping[str, np.ndarray]) -> Any:
    """Draw one row an image: data and model on a common asinh scale in image units, and residuals in units of sigma.

    Parameters
    ----------
    images : sequence of Image
        The images.
    models, residuals : mapping from image name to ndarray (ny, nx)
        Models in image units; (data - model) / sigma.

    Returns
    -------
    `~matplotlib.figure.Figure`
        Made without pyplot's global state; masked pixels are grey.
    """
    from astropy.visualization import AsinhStretch, ImageNormalize
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    rows = len(images)
    fig = Figure(figsize=(11.5, 3.4 * rows), layout="constrained")
    axes = fig.subplots(rows, 3, squeeze=False)
    light, signed = colormaps["cividis"].with_extremes(bad="0.6"), colormaps["RdBu_r"].with_extremes(bad="0.6")
    for row, im in zip(axes, images, strict=True):
        noise = im.typical_sigma
        top = float(np.nanpercentile(im.data[im.valid], 99.8))
        norm = ImageNormalize(
            vmin=-3 * noise, vmax=max(top, 5 * noise), stretch=AsinhStretch(a=min(0.5, max(0.005, 3 * noise / max(top, 5 * noise))))
        )
        ny, nx = im.shape
        s = im.pixel_scale
        extent = (-nx * s / 2, nx * s / 2, -ny * s / 2, ny * s / 2)
        for ax, picture, title in ((row[0], im.data, f"{im.name}: data"), (row[1], models[im.name], "model")):
            shown = ax.imshow(
                np.ma.array(picture, mask=im.mask) if title != "model" else picture,
                origin="lower",
                norm=norm,
                cmap=light,
                extent=extent,
                interpolation="nearest",
            )
            ax.set_title(title)
            fig.colorbar(shown, ax=ax, label="image units per pixel", fraction=0.046)
        shown = row[2].imshow(
            np.ma.array(residuals[im.name], mask=im.mask), origin="lower", vmin=-5, vmax=5, cmap=signed, extent=extent, interpolation="nearest"
        )
        chi2 = float((residuals[im.name][im.valid] ** 2).mean())
        row[2].set_title(f"(data - model) / σ, mean square {chi2:.3f}")
        fig.colorbar(shown, ax=row[2], label="σ", fraction=0.046)
        for ax in row:
            ax.set_xlabel("along the image's x (arcsec)")
        row[0].set_ylabel("along the image's y (arcsec)")
    return fig
