"""DES: tiles and exposures of the Dark Energy Survey's pipeline (DESDM)."""

from __future__ import annotations

from typing import ClassVar

from bayesjoint.images.files import FitsFile
from bayesjoint.images.readers.reader import Reader

__all__ = ["Des"]


class Des(Reader):
    """SCI, MSK (bits) and WGT (inverse variance), the first perhaps in the primary HDU."""

    family: ClassVar[str] = "DES"
    order: ClassVar[int] = 40

    @classmethod
    def matches(cls, file: FitsFile) -> bool:
        """An extension WGT or MSK."""
        return bool({p.name for p in file.planes} & {"WGT", "MSK"})
