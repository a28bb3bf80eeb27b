"""Residuals: whether an image's noise is as stated, by what a fit leaves of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bayesjoint.images import Image

__all__ = ["Residuals"]

BLOCK = 4
SCATTER, CORRELATION, MISFIT = 0.1, 0.15, 1.3
"""Departures that are said: of the scatter from sigma, of the noise of block means from that of independent pixels, of chi² from the scatter's."""


@dataclass(frozen=True)
class Residuals:
    """What the residuals of one image say of its noise.

    Parameters
    ----------
    name : str
        Of the image.
    pixels : int
        That were used.
    chi2 : float
        Mean square of the residuals in units of sigma.
    scatter : float
        Their robust standard deviation in units of sigma (1.4826 times the median absolute deviation): 1 where sigma is right.
    correlation : float
        Noise of means over blocks of 4 x 4 pixels, over that of independent pixels of the same scatter: above 1 where neighbours
        vary together. NaN where there are too few whole blocks.
    """

    name: str
    pixels: int
    chi2: float
    scatter: float
    correlation: float

    @classmethod
    def of(cls, image: Image, residual: np.ndarray) -> Residuals:
        """Measure the `residual`, (data - model) / sigma, of an `image`, shape (ny, nx)."""
        r = residual[image.valid]
        if not r.size:
            return cls(image.name, 0, float("nan"), float("nan"), float("nan"))
        scatter = float(1.4826 * np.median(np.abs(r - np.median(r))))
        ny, nx = (n // BLOCK * BLOCK for n in residual.shape)
        blocks = np.where(image.valid, residual, np.nan)[:ny, :nx].reshape(ny // BLOCK, BLOCK, nx // BLOCK, BLOCK).mean((1, 3)).ravel()
        blocks = blocks[np.isfinite(blocks)]
        correlation = float("nan")
        if blocks.size >= 20 and scatter > 0:
            correlation = float(1.4826 * np.median(np.abs(blocks - np.median(blocks))) * BLOCK / scatter)
        return cls(image.name, int(r.size), float((r**2).mean()), scatter, correlation)

    @property
    def correlated(self) -> bool:
        """Whether neighbours vary together, beyond what so many pixels can show by chance; False where that was not measured."""
        return bool(self.correlation > 1 + max(CORRELATION, 6 / np.sqrt(max(self.pixels, 1) / BLOCK**2)))

    @property
    def words(self) -> list[str]:
        """What is to be said of it; nothing where the noise is as stated, within what so many pixels can tell."""
        if not self.pixels or not np.isfinite(self.scatter):
            return []
        said = []
        if abs(self.scatter - 1) > max(SCATTER, 6 / np.sqrt(self.pixels)):
            effect = "too small" if self.scatter > 1 else "too large"
            said.append(
                f"{self.name}: residuals scatter by {self.scatter:.2f} of the stated sigma; the errors of what it measures are {effect} by as much."
            )
        if self.correlated:
            said.append(
                f"{self.name}: residuals of neighbouring pixels vary together ({BLOCK} x {BLOCK} means by {self.correlation:.2f} of what independent"
                " pixels give): correlated noise, or light that the model misses; errors are too small by as much, or more."
            )
        if self.chi2 > MISFIT * self.scatter**2 and self.chi2 > 1 + 6 * np.sqrt(2 / self.pixels):
            said.append(
                f"{self.name}: reduced chi² is {self.chi2:.2f}, where the scatter of most pixels gives {self.scatter**2:.2f}: some pixels hold what the model"
                " does not (look at best.plot()); mask them, or add to the model."
            )
        return said
