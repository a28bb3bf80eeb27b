"""Posterior: draws, and what is made of them."""

from bayesjoint.posterior.posterior import Posterior, load

__all__ = ["Posterior", "load"]
