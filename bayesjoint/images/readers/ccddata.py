"""Ccddata: files that `astropy.nddata.CCDData.write` wrote."""

from __future__ import annotations

from typing import ClassVar

from bayesjoint.images.files import FitsFile
from bayesjoint.images.readers.reader import Reader

__all__ = ["Ccddata"]


class Ccddata(Reader):
    """Primary image; UNCERT, whose UTYPE says what it is; MASK; PSFIMAGE."""

    family: ClassVar[str] = "CCDData"
    order: ClassVar[int] = 40

    @classmethod
    def matches(cls, file: FitsFile) -> bool:
        """An extension UNCERT or PSFIMAGE."""
        return bool({p.name for p in file.planes} & {"UNCERT", "PSFIMAGE"})
