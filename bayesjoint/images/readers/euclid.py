"""Euclid: calibrated frames of VIS and NISP, three planes a detector."""

from __future__ import annotations

import re
from typing import ClassVar

from bayesjoint.images.files import FitsFile
from bayesjoint.images.readers.reader import Reader

__all__ = ["Euclid"]


class Euclid(Reader):
    """``DET11.SCI``, ``DET11.RMS``, ``DET11.FLG`` (NISP) or ``CCDID 1-1.SCI`` (VIS)."""

    family: ClassVar[str] = "Euclid"
    order: ClassVar[int] = 40

    @classmethod
    def matches(cls, file: FitsFile) -> bool:
        """Planes that are named by detector, or TELESCOP Euclid."""
        named = any(re.search(r"\.(SCI|RMS|FLG)$", p.name) for p in file.planes)
        return named or "EUCLID" in str(file.primary.header.get("TELESCOP", "")).upper()
