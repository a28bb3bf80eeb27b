"""Plots: what images, a fit and a posterior look like. Each function takes axes, if there are any, and returns them."""

from bayesjoint.plots.chains import rank, trace
from bayesjoint.plots.colour import colour
from bayesjoint.plots.corner import corner
from bayesjoint.plots.curves import history, light_curve, sed
from bayesjoint.plots.density import profile_density
from bayesjoint.plots.image import image
from bayesjoint.plots.panels import components, panels
from bayesjoint.plots.profile import profile

__all__ = ["colour", "components", "corner", "history", "image", "light_curve", "panels", "profile", "profile_density", "rank", "sed", "trace"]
