"""Panels: data, model and residuals of every image, side by side; and the components of one image, one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesjoint.plots.image import image
from bayesjoint.plots.style import new_axes, stretch
from bayesjoint.plots.subject import Subject

if TYPE_CHECKING:
    from bayesjoint.images import Image
    from bayesjoint.infer.fit import Fit
    from bayesjoint.posterior.posterior import Posterior
    from bayesjoint.scene.scene import Scene

__all__ = ["components", "panels"]


def panels(
    images: Sequence[Image],
    models: Mapping[str, np.ndarray],
    residuals: Mapping[str, np.ndarray],
    axes: Any = None,
    *,
    scale: str = "asinh",
    windows: Scene | None = None,
) -> np.ndarray:
    """Draw one row an image: data and model on a common scale, and residuals in units of sigma.

    Parameters
    ----------
    images : sequence of Image
        The images.
    models, residuals : mapping from image name to ndarray (ny, nx)
        Models in image units; (data - model) / sigma.
    axes : array of Axes, shape (images, 3), optional
        Where to draw; default, a figure of its own.
    scale : {"asinh", "mag"}
        Of data and model; see `bayesjoint.plots.image`.
    windows : Scene, optional
        Whose sources' windows to draw on the data.

    Returns
    -------
    ndarray of Axes, shape (images, 3)
        Masked pixels are grey.
    """
    axes = new_axes(len(images), 3, (4.0, 3.4)) if axes is None else np.asarray(axes).reshape(len(images), 3)
    for row, im in zip(axes, images, strict=True):
        norm = stretch(im) if scale == "asinh" else None
        image(im, row[0], scale=scale, norm=norm, windows=windows, title=f"{im.name}: data")
        image(im, row[1], models[im.name], scale=scale, norm=norm, marks=False, title="model")
        chi2 = float((residuals[im.name][im.valid] ** 2).mean())
        image(im, row[2], residuals[im.name], scale="sigma", marks=False, title=f"(data - model) / σ, mean square {chi2:.3f}")
        for ax in row[1:]:
            ax.set_ylabel("")
    return axes


def components(
    of: Fit | Posterior, name: str | None = None, axes: Any = None, *, sources: Sequence[str] | None = None, scale: str = "asinh"
) -> np.ndarray:
    """Each source's light alone in one image, through its PSF, beside the data.

    Parameters
    ----------
    of : Fit or Posterior
        At its maximum, or mean.
    name : str, optional
        Of the image; default, the first.
    axes : array of Axes, optional
        As many as sources, and one for the data; default, a figure of its own.
    sources : sequence of str, optional
        Their names; default, all.
    scale : {"asinh", "mag"}
        See `bayesjoint.plots.image`.

    Returns
    -------
    ndarray of Axes, shape (sources + 1,)

    Raises
    ------
    ValueError
        For an unknown image or source.
    """
    subject = Subject.of(of)
    scene = subject.need_scene()
    im = scene.images[0] if name is None else subject.image(name)
    parts = scene.render_components(subject.values)[im.name]
    if sources is None:
        sources = [k for k in parts if not any(s["name"] == k and s["sky"] for s in subject.meta["sources"])]
    sources = [subject.source(k)["name"] for k in sources]
    if axes is None:
        rows = -(-(len(sources) + 1) // 4)
        columns = -(-(len(sources) + 1) // rows)
        axes = new_axes(rows, columns, (3.9, 3.3)).ravel()
        for ax in axes[len(sources) + 1 :]:
            ax.set_axis_off()
    axes = np.asarray(axes).ravel()[: len(sources) + 1]
    norm = stretch(im) if scale == "asinh" else None
    image(im, axes[0], scale=scale, norm=norm, title=f"{im.name}: data")
    for ax, k in zip(axes[1:], sources, strict=True):
        image(im, ax, parts[k], scale=scale, norm=norm, marks=False, title=k)
    return axes
