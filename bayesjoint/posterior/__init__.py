"""Posterior: draws, and what is made of them."""

from bayesjoint.posterior.compare import compare
from bayesjoint.posterior.posterior import Posterior, load

__all__ = ["Posterior", "compare", "load"]
