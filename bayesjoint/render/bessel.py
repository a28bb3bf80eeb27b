"""Bessel functions of the first kind, of all whole orders at once: a table of them one by one would take minutes."""

from __future__ import annotations

import numpy as np
from scipy.special import j0, j1

__all__ = ["bessel_orders"]


def bessel_orders(top: int, x: np.ndarray) -> np.ndarray:
    """J_0 to J_top at x >= 0, shape (top + 1, *x.shape), to 5e-9.

    By the recurrence J_(m+1) = 2m/x J_m - J_(m-1), upward where x > top, downward from a high order elsewhere (Miller's algorithm;
    Press et al. 2007, Numerical Recipes, sect. 5.4): each is stable there.
    """
    flat = np.ravel(x)
    out = np.zeros((top + 1, flat.size))
    far = flat >= max(top, 1)
    near = np.maximum(flat[~far], 1e-8)
    out[0, far], below = j0(flat[far]), j1(flat[far])
    for m in range(1, top + 1):
        out[m, far] = below
        below = 2 * m / flat[far] * below - out[m - 1, far]
    here, above = np.full_like(near, 1e-250), np.zeros_like(near)
    rows, norm = np.zeros((top + 1, near.size)), np.zeros_like(near)
    for m in range(top + int(12 * np.cbrt(top)) + 40, -1, -1):
        if m <= top:
            rows[m] = here
        if m % 2 == 0:
            norm += here * (2 if m else 1)
        if m:
            here, above = 2 * m / near * here - above, here
            huge = np.abs(here) > 1e200
            if huge.any():
                for a in (here, above, norm):
                    a[huge] *= 1e-250
                rows[:, huge] *= 1e-250
    out[:, ~far] = rows / norm
    return out.reshape(top + 1, *x.shape)
