"""Memory: how much of it a scene may take, and how the C library keeps what is let go of."""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
from typing import Any

import numpy as np

__all__ = ["MemoryBudgetError", "budget_bytes", "keep_freed", "readable"]

LARGEST = 2**25 - 2**16
"""Bytes: just below the largest block after which glibc adapts."""
MAX_BYTES = 4_000_000_000
"""The default is never more than that."""
SHARE = 0.25
"""Nor more than this part of the machine's memory."""
UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


class MemoryBudgetError(MemoryError):
    """What was asked for takes more memory than a scene may take."""


def budget_bytes(memory: Any = None) -> int:
    """Bytes that a scene may take.

    Parameters
    ----------
    memory : int, str or None
        A number of bytes, or text with a unit such as "500 MB" or "2 GB". None: a quarter of the
        machine's memory, at most 4 GB.

    Raises
    ------
    ValueError
        For anything else, and for less than one byte.
    """
    if memory is None:
        return int(min(MAX_BYTES, SHARE * _machine_bytes()))
    found = re.fullmatch(r"\s*([0-9.]+(?:e[+]?\d+)?)\s*([a-z]*)\s*", str(memory), re.IGNORECASE)
    try:
        size = float(found[1]) * UNITS[found[2].upper()] if found else 0.0
    except (KeyError, ValueError):
        size = 0.0
    if isinstance(memory, bool) or not 1 <= size < np.inf:
        raise ValueError(
            f'memory must be a number of bytes, or text such as "2 GB"; got {memory!r}. '
            "Leave it away for a quarter of the machine's memory, at most 4 GB."
        )
    return int(size)


def readable(size: float) -> str:
    """A number of bytes in words, such as "24 GB"."""
    unit = next((u for u in ("GB", "MB", "KB") if size >= UNITS[u]), "B")
    return f"{size / UNITS[unit]:.3g} {unit}"


def _machine_bytes() -> float:
    """Memory of the machine, or the part of it that the process may use; 8 GB if unknown."""
    sizes = []
    with contextlib.suppress(AttributeError, OSError, ValueError):
        sizes.append(float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")))
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            sizes.append(float(pathlib.Path(path).read_text()))
        except (OSError, ValueError):  # "max", or no such file
            continue
    return min((s for s in sizes if s > 0), default=8e9)


def keep_freed() -> None:
    """Have blocks the size of an image reused, which otherwise come from the system page by page:
    a third of a first fit's time.

    glibc takes blocks as large as the largest that was ever freed from its own heap from then on,
    up to 32 MiB, and returns the heap's end only beyond twice that (mallopt(3), M_MMAP_THRESHOLD):
    so one is asked for, never touched, and freed. Elsewhere it does nothing.
    """
    np.empty(LARGEST, dtype=np.uint8)
