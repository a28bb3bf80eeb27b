"""Colour: three bands of data and model as one picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesjoint.images import Image
from bayesjoint.images.resample import resampled
from bayesjoint.plots.image import image as _image
from bayesjoint.plots.style import new_axes
from bayesjoint.plots.subject import Subject

if TYPE_CHECKING:
    from bayesjoint.infer.fit import Fit
    from bayesjoint.posterior.posterior import Posterior
    from bayesjoint.scene.scene import Scene

__all__ = ["colour"]


def colour(of: Fit | Posterior, images: Sequence[str] | None = None, axes: Any = None, *, contrast: float = 6.0) -> np.ndarray:
    """Data and model in colour (Lupton et al. 2004, PASP 116, 133), each image resampled for the picture alone to the finest one's pixels.

    Parameters
    ----------
    of : Fit or Posterior
        At its maximum, or mean.
    images : sequence of str, optional
        Red, green and blue; default, of all the longest wavelength, one between, and the shortest (in their order where none is known).
    axes : array of two Axes, optional
        Where to draw; default, a figure of its own.
    contrast : float
        Of bright to faint light.

    Returns
    -------
    ndarray of Axes, shape (2,)
        Data, model.

    Raises
    ------
    ValueError
        For other than three images.
    """
    from astropy.visualization import make_lupton_rgb

    subject = Subject.of(of)
    scene = subject.need_scene()
    chosen = _three(scene) if images is None else [subject.image(n) for n in images]
    if len(chosen) != 3:
        found = f"the scene has {len(chosen)} band{'s' * (len(chosen) != 1)}" if images is None else f"{len(chosen)} came"
        names = ", ".join(im.band if images is None else im.name for im in chosen)
        raise ValueError(
            f"A picture in colour needs three images, red, green and blue, and {found} ({names}): name three by images=; one may come twice."
        )
    finest = min(chosen, key=lambda im: im.pixel_scale)
    skies = [s["name"] for s in subject.meta["sources"] if s["sky"]]
    models, dark = scene.render(subject.values), scene.render_components(subject.values, skies)
    axes = new_axes(1, 2, (4.2, 4.0))[0] if axes is None else np.asarray(axes).ravel()
    data, model = [], []
    for im in chosen:
        sky = sum(dark[im.name].values(), np.zeros(im.shape))
        # each so that its own light fills the scale: what differs is where it lies, not which band is the deepest
        full = max(float(np.nanpercentile((im.data - sky)[im.valid], 99.7)), 30 * im.typical_sigma)
        data.append(resampled(np.where(im.valid, im.data - sky, models[im.name] - sky) / full, im, finest, scene.frame))
        model.append(resampled((models[im.name] - sky) / full, im, finest, scene.frame))
    for ax, layers, title in zip(axes, (data, model), ("data", "model"), strict=True):
        _image(finest, ax, np.zeros(finest.shape), colorbar=False, title=f"{title}: {', '.join(im.name for im in chosen)}")
        rgb = make_lupton_rgb(*layers, stretch=0.15, Q=contrast)
        ax.images[0].remove()
        ax.imshow(rgb, origin="lower", extent=_extent(finest), interpolation="nearest")
    axes[1].set_ylabel("")
    return axes


def _extent(im: Image) -> tuple[float, float, float, float]:
    (ny, nx), s = im.shape, im.pixel_scale
    return -nx * s / 2, nx * s / 2, -ny * s / 2, ny * s / 2


def _three(scene: Scene) -> list[Image]:
    images = list({im.band: im for im in scene.images}.values())
    if all(im.wavelength for im in images):
        images = sorted(images, key=lambda im: -im.wavelength)
    return images if len(images) < 4 else [images[0], images[len(images) // 2], images[-1]]
