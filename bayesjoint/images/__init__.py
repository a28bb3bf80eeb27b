"""Images: pixels, noise, PSF and place on the sky."""

from bayesjoint.images.frame import Frame, Placement
from bayesjoint.images.image import Image
from bayesjoint.images.psf import PSF

__all__ = ["PSF", "Frame", "Image", "Placement"]
