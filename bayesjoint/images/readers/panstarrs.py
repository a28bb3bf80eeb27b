"""Panstarrs: stacks of the Pan-STARRS1 surveys, whose pixels are an asinh of the flux."""

from __future__ import annotations

from typing import ClassVar

from bayesjoint.images.files import FitsFile
from bayesjoint.images.readers.reader import Reader

__all__ = ["Panstarrs"]


class Panstarrs(Reader):
    """Asinh-scaled pixels are made linear; variance (.wt) and mask (.mask) are files beside it."""

    family: ClassVar[str] = "Pan-STARRS"
    order: ClassVar[int] = 40

    @classmethod
    def matches(cls, file: FitsFile) -> bool:
        """BSOFTEN or BOFFSET in a header."""
        return any("BSOFTEN" in p.header or "BOFFSET" in p.header for p in file.planes)
