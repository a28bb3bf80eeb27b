"""Plots: what a fit and a posterior look like."""

from bayesjoint.plots.corner import corner
from bayesjoint.plots.panels import panels

__all__ = ["corner", "panels"]
