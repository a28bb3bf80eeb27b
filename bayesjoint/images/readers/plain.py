"""Plain: files of the usual layout that no family claims; names of extensions say what they hold."""

from __future__ import annotations

from typing import ClassVar

from bayesjoint.images.files import FitsFile
from bayesjoint.images.readers.reader import Reader

__all__ = ["Plain"]


class Plain(Reader):
    """Any other FITS file: SCI, VAR or ERR, MASK or DQ, PSF, or a primary image alone."""

    family: ClassVar[str] = "FITS"
    order: ClassVar[int] = 0

    @classmethod
    def matches(cls, file: FitsFile) -> bool:
        """Every file."""
        return True
