"""Resample: an image's pixels at the places of another's, for detection and for pictures; fits never do this."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from bayesjoint.images.frame import Frame
from bayesjoint.images.image import Image

__all__ = ["resampled"]


def resampled(light: np.ndarray, im: Image, onto: Image, frame: Frame) -> np.ndarray:
    """Light on an image's pixels, at the places of another's, between pixels linearly; 0 beyond the image.

    Parameters
    ----------
    light : ndarray, shape of `im`
        What is on the pixels.
    im, onto : Image
        The images; the map of `im` is taken as linear about its middle.
    frame : Frame
        A tangent plane.
    """
    if im is onto:
        return light
    j, i = np.indices(onto.shape)
    x, y = frame.to_sky(onto.placement, i, j)
    mx, my = im.placement.middle
    x0, y0 = frame.to_sky(im.placement, mx, my)
    inverse = np.linalg.inv(frame.jacobian(im.placement, mx, my))
    px, py = (inverse[k, 0] * (x - x0) + inverse[k, 1] * (y - y0) + m for k, m in ((0, mx), (1, my)))
    return ndimage.map_coordinates(light, [py, px], order=1, mode="constant")
