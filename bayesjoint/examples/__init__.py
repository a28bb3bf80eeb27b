"""Examples: skies simulated by the package itself, with the truth they were made from."""

from bayesjoint.examples.three_bands import three_bands

__all__ = ["three_bands"]
