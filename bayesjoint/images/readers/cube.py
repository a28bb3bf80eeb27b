"""Cube: spectral cubes (MUSE, MaNGA), of which one plane is an image."""

from __future__ import annotations

from typing import ClassVar

from bayesjoint.images.decisions import Decision
from bayesjoint.images.files import FitsFile, Plane
from bayesjoint.images.readers.reader import Reader

__all__ = ["Cube"]


class Cube(Reader):
    """DATA, STAT (variance) and DQ with a third axis; the path names the plane, [1][*,*,300]."""

    family: ClassVar[str] = "cube"
    order: ClassVar[int] = 10

    @classmethod
    def matches(cls, file: FitsFile) -> bool:
        """An image with a third axis longer than 1."""
        return any(p.is_image and p.axes for p in file.planes)

    def band(self, sci: Plane) -> tuple[str, list[Decision]]:
        """The plane's number, where its header does not name a band."""
        section = self.file.address.section
        if section is None or len(section) < 3 or section[2] is None:
            return super().band(sci)
        k = section[2][0]
        bands = str(sci.header.get("BANDS", "")).replace(",", "").strip()
        if len(bands) == sci.axes[0] if sci.axes else False:
            return bands[k - 1], [Decision("band", f"plane {k} of BANDS {bands}")]
        stem = self.file.stem or "image"
        return f"{stem}_{k}", [Decision("band", f"plane {k} of the cube")]
