"""Afw: calibrated exposures and coadds of the LSST Science Pipelines, HSC's among them."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from bayesjoint.images.files import FitsFile, Plane
from bayesjoint.images.readers.reader import Reader

__all__ = ["Afw"]


class Afw(Reader):
    """IMAGE, MASK and VARIANCE by EXTTYPE or EXTNAME; mask planes named by MP_*; FLUXMAG0 or nJy."""

    family: ClassVar[str] = "LSST afw"
    order: ClassVar[int] = 50

    @classmethod
    def matches(cls, file: FitsFile) -> bool:
        """Planes by EXTTYPE, or a mask whose planes are named by MP_*."""
        by_type = any("EXTTYPE" in p.header for p in file.planes)
        return by_type or any(str(k).startswith("MP_") for p in file.planes for k in p.header)

    def noise(self, sci: Plane, data: np.ndarray) -> tuple[str, np.ndarray] | None:
        """Variance; its edges may be NaN or infinite."""
        found = super().noise(sci, data)
        if self.file.primary.header.get("AR_HDU") is not None and "psf" not in self.given:
            self.reading.decide(
                "PSF",
                "in archive tables that need the LSST stack: none is read; write it to a FITS file "
                "there and give psf=",
            )
        return found
