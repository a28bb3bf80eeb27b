"""Flags: what speaks against the summary of one site, in a word or two each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from bayesjoint.infer.warnings import KINDS

__all__ = ["LEGEND", "R_HAT", "flags"]

R_HAT, ESS = 1.01, 400
"""R-hat above which chains have not mixed, and effective draws below which a quantile is not to be quoted (Vehtari et al. 2021)."""
NEAR, PILED = 0.1, 0.03
"""A bound's neighbourhood in standard deviations, and the part of the draws there from which they pile up on it: a Normal's flank has less."""
LOOSE = 40.0
"""Circular standard deviation in degrees from which an angle is as good as unknown: one that is has 52."""
PRIOR = 0.8
"""Width in units of the prior's from which the data say next to nothing."""

LEGEND = KINDS | {
    "R-hat": f"R-hat is above {R_HAT}: the chains have not mixed",
    "few draws": f"the bulk or tail effective sample size is below {ESS}",
    "at bound": "the value presses against an end of what its prior allows, or draws pile up there: mean and sd do not describe it; quote a limit",
    "loose": "nothing tells the angle",
    "prior": "as wide as its prior: the data say next to nothing of it",
}


def flags(site: Mapping[str, Any], x: np.ndarray, sd: float, diagnostics: Mapping[str, float]) -> str:
    """Flags of one site, joined by commas; `LEGEND` says what they mean.

    Parameters
    ----------
    site : mapping
        Its entry in the posterior's meta.
    x : ndarray
        Its draws.
    sd : float
        Their standard deviation, circular for an angle.
    diagnostics : mapping
        Its R-hat and effective sample sizes, if there are any.
    """
    said = []
    if diagnostics.get("r_hat", 1.0) > R_HAT:
        said.append("R-hat")
    if min(diagnostics.get("ess_bulk", np.inf), diagnostics.get("ess_tail", np.inf)) < ESS:
        said.append("few draws")
    for end in site.get("support") or ():
        if end is not None and sd > 0 and not site["cyclic"] and (np.abs(x - end) < NEAR * sd).mean() > PILED:
            said.append(f"at bound {end:g}")
    if site["cyclic"] and sd > LOOSE:
        said.append("loose")
    elif site.get("prior_sd") and not site["cyclic"] and sd > PRIOR * site["prior_sd"]:
        said.append("prior")
    return ", ".join(said)
