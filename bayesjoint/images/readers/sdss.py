"""Sdss: calibrated frames of the SDSS imaging pipeline, whose noise follows from sky and gain."""

from __future__ import annotations

import re
from typing import ClassVar

import numpy as np
from scipy import ndimage

from bayesjoint.images.decisions import Decision
from bayesjoint.images.files import FitsFile, Plane
from bayesjoint.images.readers.photometry import Calibration
from bayesjoint.images.readers.reader import Reader

__all__ = ["DARK_VARIANCE", "GAIN", "Sdss"]

# The SDSS data model of "frame": electrons a count, and dark variance in counts², by camera column
GAIN = {
    "u": (1.62, 1.595, 1.59, 1.6, 1.47, 2.17),
    "g": (3.32, 3.855, 3.845, 3.995, 4.05, 4.035),
    "r": (4.71, 4.6, 4.72, 4.76, 4.725, 4.895),
    "i": (5.165, 6.565, 4.86, 4.885, 4.64, 4.76),
    "z": (4.745, 5.155, 4.885, 4.775, 3.48, 4.69),
}
DARK_VARIANCE = {
    "u": (9.61, 12.6025, 8.7025, 12.6025, 9.3025, 7.0225),
    "g": (15.6025, 1.44, 1.3225, 1.96, 1.1025, 1.8225),
    "r": (1.8225, 1.0, 1.3225, 1.3225, 0.81, 0.9025),
    "i": (7.84, 5.76, 4.6225, 6.25, 7.84, 5.0625),
    "z": (0.81, 1.0, 1.0, 9.61, 1.8225, 1.21),
}


def _gain(band: str, camcol: int, run: int) -> float:
    return 1.825 if (band, camcol) == ("u", 2) and run > 1100 else GAIN[band][camcol - 1]


def _dark_variance(band: str, camcol: int, run: int) -> float:
    late = {("i", 2): 6.25, ("i", 4): 7.5625, ("z", 4): 12.6025, ("z", 5): 2.1025}
    if run > 1500 and (band, camcol) in late:
        return late[band, camcol]
    return DARK_VARIANCE[band][camcol - 1]


class Sdss(Reader):
    """A primary image in nanomaggies; calibration a column, and sky, in HDUs 1 and 2."""

    family: ClassVar[str] = "SDSS frame"
    order: ClassVar[int] = 40

    @classmethod
    def matches(cls, file: FitsFile) -> bool:
        """A frame's HDUs: image, a vector, tables; and its run and camera column."""
        h = file.primary.header
        return (
            len(file.planes) >= 3
            and file.primary.is_image
            and len(file.planes[1].shape) == 1
            and "CAMCOL" in h
            and "RUN" in h
        )

    def science(self) -> Plane:
        """The primary image."""
        return self.file.named_plane() or self.file.primary

    def noise(self, sci: Plane, data: np.ndarray) -> tuple[str, np.ndarray] | None:
        """Variance of counts (image / calibration + sky), photons and dark, in nanomaggies²."""
        h, table = sci.header, getattr(self.file.planes[2].hdu, "data", None)
        band, camcol, run = str(h.get("FILTER", "")).strip(), h.get("CAMCOL"), h.get("RUN")
        names = [] if table is None else [n.upper() for n in table.names]
        if band not in GAIN or camcol not in range(1, 7) or not {"ALLSKY", "XINTERP"} <= set(names):
            return None
        calibration = np.asarray(self.file.planes[1].pixels, float)
        sky, x, y = (np.asarray(table[0][n], float) for n in ("ALLSKY", "XINTERP", "YINTERP"))
        calibration = calibration[None, sci.offset[0] : sci.offset[0] + data.shape[1]]
        if calibration.shape[1] != data.shape[1]:
            return None
        if x.size < sci.offset[0] + data.shape[1] or y.size < sci.offset[1] + data.shape[0]:
            return None
        x, y = (a[o : o + n] for a, o, n in zip((x, y), sci.offset, data.shape[::-1], strict=True))
        where = np.meshgrid(y, x, indexing="ij")
        counts = np.asarray(data, float) / calibration
        counts += ndimage.map_coordinates(sky, where, order=1, mode="nearest")
        variance = counts / _gain(band, camcol, run) + _dark_variance(band, camcol, run)
        text = f"variance from sky, gain and dark variance of band {band}, camera column {camcol}"
        self.reading.decide("noise", text)
        return "variance", variance * calibration**2

    def calibration(self, sci: Plane, area: float | None) -> Calibration:
        """Nanomaggies."""
        unit = str(sci.header.get("BUNIT", "nanomaggy")).lower()
        if re.search("nano|nmgy", unit):
            text = "22.5: frames are in nanomaggies"
            return Calibration(22.5, None, [Decision("zeropoint", text)])
        return super().calibration(sci, area)
