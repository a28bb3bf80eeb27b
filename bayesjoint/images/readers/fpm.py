"""Fpm: masks of SDSS fields, which are tables of pixel runs rather than images."""

from __future__ import annotations

import numpy as np

from bayesjoint.images.files import FitsFile
from bayesjoint.images.readers.masks import Meaning

__all__ = ["fpm_mask"]

INFORMS = frozenset({"NOTCHECKED", "OBJECT", "BRIGHTOBJECT", "BINOBJECT", "CATOBJECT", "SUBTRACTED"})
PREFIX = "S_MASK_"


def fpm_mask(file: FitsFile) -> tuple[np.ndarray, Meaning] | None:
    """Bits of a field's mask, shape (rows, columns), and what they mean; None for another file.

    A table a plane holds OBJMASKs, whose spans are six bytes each: row, first and last column, as
    big-endian 16-bit integers (SDSS data model of "fpM"). The last table names the planes.
    """
    header = file.primary.header
    shape = header.get("MASKROWS"), header.get("MASKCOLS")
    tables = [p.hdu for p in file.planes[1:]]
    if not all(isinstance(n, int) for n in shape) or not tables:
        return None
    names = {
        int(row["Value"]): str(row["attributeName"]).strip().removeprefix(PREFIX)
        for row in tables[-1].data
        if str(row["attributeName"]).strip().startswith(PREFIX)
    }
    bits = np.zeros(shape, np.int64)
    for bit, table in enumerate(tables[:-1]):
        for row in table.data if table.data is not None else ():
            raw = np.asarray(row["s"]).astype(np.uint8).tobytes()
            for y, x1, x2 in np.frombuffer(raw[: 6 * int(row["nspan"])], ">i2").reshape(-1, 3):
                bits[y, x1 : x2 + 1] |= 1 << bit
    planes = {names.get(k, f"PLANE{k}"): k for k in range(len(tables) - 1)}
    return bits, Meaning("SDSS' fpM", planes, informs=INFORMS)
