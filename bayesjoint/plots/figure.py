"""Figure: made without pyplot's global state, and shown by a notebook all the same."""

from __future__ import annotations

import io

from matplotlib.figure import Figure as _Figure

__all__ = ["Figure"]


class Figure(_Figure):
    """A matplotlib Figure that shows itself; pyplot's own do so only once a notebook's backend has been chosen."""

    def _repr_png_(self) -> bytes:
        out = io.BytesIO()
        self.savefig(out, format="png", bbox_inches="tight")
        return out.getvalue()
