"""Images: pixels, noise, PSF and place on the sky."""

from bayesjoint.images.decisions import Decision
from bayesjoint.images.frame import Frame, Placement
from bayesjoint.images.image import Image
from bayesjoint.images.psf import PSF, VaryingPSF

__all__ = ["PSF", "Decision", "Frame", "Image", "Placement", "VaryingPSF"]
