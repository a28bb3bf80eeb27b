"""Residuals: whether an image's noise is as stated, by what a fit leaves of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bayesjoint.images import Image
from bayesjoint.infer.warnings import FitWarning, Pattern, Severity

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
        Their robust standard deviation in units of sigma (1.4826 times the median absolute deviation): 1 where sigma is right. A fit measures it
        where the model is faint, if there are enough such pixels.
    correlation : float
        Noise of means over blocks of 4 x 4 pixels, over that of independent pixels of the same scatter, measured in the same pixels: above 1
        where neighbours vary together. NaN where there are too few whole blocks.
    noise_pixels : int
        In which scatter and correlation were measured.
    """

    name: str
    pixels: int
    chi2: float
    scatter: float
    correlation: float
    noise_pixels: int = 0

    @classmethod
    def of(cls, image: Image, residual: np.ndarray, quiet: np.ndarray | None = None) -> Residuals:
        """Measure the `residual`, (data - model) / sigma, of an `image`, shape (ny, nx); its noise in `quiet` pixels, where they are given."""
        r = residual[image.valid]
        if not r.size:
            return cls(image.name, 0, float("nan"), float("nan"), float("nan"))
        chosen = image.valid if quiet is None else quiet
        noise = residual[chosen]
        scatter = float(1.4826 * np.median(np.abs(noise - np.median(noise))))
        ny, nx = (n // BLOCK * BLOCK for n in residual.shape)
        blocks = np.where(chosen, residual, np.nan)[:ny, :nx].reshape(ny // BLOCK, BLOCK, nx // BLOCK, BLOCK).mean((1, 3)).ravel()
        blocks = blocks[np.isfinite(blocks)]
        correlation = float("nan")
        if blocks.size >= 20 and scatter > 0:
            correlation = float(1.4826 * np.median(np.abs(blocks - np.median(blocks))) * BLOCK / scatter)
        return cls(image.name, int(r.size), float((r**2).mean()), scatter, correlation, int(noise.size))

    @property
    def correlated(self) -> bool:
        """Whether neighbours vary together, beyond what so many pixels can show by chance; False where that was not measured."""
        return bool(self.correlation > 1 + max(CORRELATION, 6 / np.sqrt(max(self.noise_pixels, 1) / BLOCK**2)))

    @property
    def misfit(self) -> bool:
        """Whether reduced chi² is far above what the scatter of most pixels gives."""
        return bool(self.pixels and self.chi2 > MISFIT * self.scatter**2 and self.chi2 > 1 + 6 * np.sqrt(2 / self.pixels))

    @property
    def warnings(self) -> list[FitWarning]:
        """What speaks against the image's noise; nothing where it is as stated, within what so many pixels can tell."""
        if not self.pixels or not np.isfinite(self.scatter):
            return []
        found = []
        if abs(self.scatter - 1) > max(SCATTER, 6 / np.sqrt(max(self.noise_pixels, 1))):
            small = self.scatter > 1
            effect = "{values} times too small" if small else "too large by as much"
            pattern = Pattern(
                f"{{images}}: residual scatter is {{values}} times the stated sigma: uncertainties are {effect}.",
                "Scale sigma, or add bj.NoiseScale(images={names}).",
                shown=f"{self.scatter:.2f}",
            )
            found.append(FitWarning.of("sigma", Severity.WARNING, pattern, images=(self.name,), value=self.scatter))
        if self.correlated:
            pattern = Pattern(
                f"{{images}}: noise of neighbouring pixels is correlated ({BLOCK} x {BLOCK} means scatter {{values}} times as much as those of "
                "independent pixels): uncertainties are up to as many times too small.",
                "Enlarge sigma by that factor; light that the model misses looks the same.",
                shown=f"{self.correlation:.2f}",
            )
            found.append(FitWarning.of("correlated noise", Severity.WARNING, pattern, images=(self.name,), value=self.correlation))
        return found

    @property
    def misfit_warning(self) -> FitWarning:
        """That some pixels hold what the model does not."""
        pattern = Pattern(
            "{images}: reduced chi2 is {values}, far above what the scatter of most pixels gives: some pixels hold what the model does not.",
            "Look at best.plot(); mask them, or add to the model.",
            shown=f"{self.chi2:.2f} (scatter: {self.scatter**2:.2f})",
        )
        return FitWarning.of("misfit", Severity.WARNING, pattern, images=(self.name,), value=self.chi2)

    @property
    def words(self) -> list[str]:
        """`warnings` and the misfit as sentences."""
        return [str(w) for w in (*self.warnings, *([self.misfit_warning] if self.misfit else []))]
