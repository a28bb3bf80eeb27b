r"""Taper: what splits the light of a source into its core and what pixels resolve: :math:`w(\rho) =
\exp(-(\rho/a)^p)`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

__all__ = ["Taper"]

ENDS = math.log(2e9)
"""Exponent from which on a taper is zero (5e-10)."""


@dataclass(frozen=True)
class Taper:
    """A smooth step of elliptical radius, from 1 at the centre to 0.

    Parameters
    ----------
    a : float
        Its scale, arcsec along the major axis.
    power : int
        How steep it is; even. What a PSF smooths leaves room for 4. Where only the pixel blurs, the
        light outside must be as smooth by itself: 6 leaves less of a compact source's middle there,
        for the same reach.
    """

    a: float
    power: int = 4

    @property
    def reach(self) -> float:
        """Radius beyond which it is zero, in arcsec."""
        return self.a * ENDS ** (1 / self.power)

    def exponent(self, rho2: torch.Tensor) -> torch.Tensor:
        """Its logarithm at squared elliptical radii (arcsec²): -(rho / a)^p."""
        return -((rho2 / self.a**2) ** (self.power // 2))

    def exponent_(self, rho2: torch.Tensor) -> torch.Tensor:
        """The same, as fresh memory costs more than arithmetic: powers by products."""
        out = rho2.square()
        if self.power == 6:
            out.mul_(rho2)
        return out.mul_(-(self.a**-self.power))

    def of(self, rho2: np.ndarray) -> np.ndarray:
        """The taper at squared elliptical radii (arcsec²)."""
        return np.exp(-((rho2 / self.a**2) ** (self.power // 2)))
