"""Citations: the works that a scene, a fit or a posterior rests on, as BibTeX."""

from __future__ import annotations

import importlib.resources
import re
from typing import Any

__all__ = ["citations"]

ALWAYS = ("pyro", "pytorch", "astropy", "numpy", "scipy")
FITTED = ("variable-projection",)
SAMPLED = {"nuts": ("nuts", "r-hat", "arviz", "corner"), "laplace": ("psis", "arviz", "corner"), "svi": ("advi", "psis", "arviz", "corner")}
OWN = """@software{{bayesjoint,
  title = {{bayesjoint: Bayesian joint modelling of astronomical images}},
  version = {{{version}}}
}}
"""


def citations(of: Any) -> str:
    """BibTeX of what was used.

    Parameters
    ----------
    of : Scene, Fit or Posterior
        A posterior's sampler is cited as well, and the profiles of its scene.

    Returns
    -------
    str
        Entries of bayesjoint, of the packages beneath it, and of the methods.

    Raises
    ------
    TypeError
        For anything else.
    """
    from bayesjoint import __version__

    info, meta = getattr(of, "info", None), getattr(of, "meta", None)
    scene = of if hasattr(of, "likelihoods") else getattr(of, "scene", None)
    if scene is None and meta is None:
        raise TypeError(f"citations are of a Scene, a Fit or a Posterior, and {type(of).__name__} came.")
    kinds = {type(c).__name__ for c in scene.components} if scene is not None else {s["type"] for s in meta["sources"]}
    keys = [*ALWAYS, *(FITTED if of is not scene else ()), *(("sersic",) if kinds & {"Sersic", "CoreSersic", "Exponential", "DeVaucouleurs"} else ())]
    keys += SAMPLED.get((info or {}).get("sampler", ""), ())
    text = importlib.resources.files("bayesjoint").joinpath("references.bib").read_text(encoding="utf-8")
    entries = {m.group(1): m.group(0) for m in re.finditer(r"@\w+\{([\w-]+),.*?\n\}\n", text, re.S)}
    return OWN.format(version=__version__) + "".join(entries[k] for k in keys)
