"""bayesjoint: Bayesian joint modelling of astronomical images.

Several images of one patch of sky, each on its own pixels with its own PSF, are fitted at once; a scene is a Pyro model.
"""

from bayesjoint.images import PSF, Image
from bayesjoint.posterior import Posterior, load
from bayesjoint.scene import Scene
from bayesjoint.sky import Param, Point, Sersic, Sky, start

__all__ = ["PSF", "Image", "Param", "Point", "Posterior", "Scene", "Sersic", "Sky", "load", "start"]
__version__ = "0.1.0"
