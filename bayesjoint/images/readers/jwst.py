"""JWST: calibrated and resampled images of the JWST pipeline (cal, crf, i2d)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from bayesjoint.images.files import FitsFile, Plane
from bayesjoint.images.readers.bands import telescope_of
from bayesjoint.images.readers.reader import Reader

__all__ = ["Jwst"]


class Jwst(Reader):
    """SCI with ERR (of all noise), DQ by DO_NOT_USE alone; WHT, CON and VAR_* are not noise."""

    family: ClassVar[str] = "JWST"
    order: ClassVar[int] = 40

    @classmethod
    def matches(cls, file: FitsFile) -> bool:
        """TELESCOP is JWST."""
        return any(telescope_of(p.header, None) == "JWST" for p in file.planes)

    def noise(self, sci: Plane, data: np.ndarray) -> tuple[str, np.ndarray] | None:
        """ERR, or what a file made from these has; WHT weighs by read noise alone."""
        plane = self.partner(sci, ("sigma", "variance", "ivar", "uncertainty"))
        if plane is None:
            if self.partner(sci, ("weight",)) is not None:
                self.reading.decide(
                    "noise",
                    "WHT is not taken: it weighs by read noise or exposure time, not by all noise; "
                    "give ERR as sigma=, or variance='estimate'",
                    warning=True,
                )
            return None
        return self.noise_of(plane, sci, data)
