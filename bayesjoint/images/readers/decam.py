"""Decam: images of NOIRLab's Community Pipeline: image, weight and data quality in three files."""

from __future__ import annotations

import re
from typing import ClassVar

from bayesjoint.images.files import FitsFile
from bayesjoint.images.readers.reader import Reader

__all__ = ["Decam"]


class Decam(Reader):
    """One HDU a CCD; `_oow_` (inverse variance) and `_ood_` (codes) are files of their own."""

    family: ClassVar[str] = "DECam Community Pipeline"
    order: ClassVar[int] = 40

    @classmethod
    def matches(cls, file: FitsFile) -> bool:
        """Cards of the Community Pipeline, and DECam or another of its cameras."""
        h = file.primary.header
        pipeline = "PLVER" in h or "PRODTYPE" in h or "PROCTYPE" in h
        return pipeline and bool(re.search("DECAM|MOSAIC|90PRIME", str(h.get("INSTRUME", "")).upper()))
