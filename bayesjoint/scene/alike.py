"""Alike: sources that no prior tells apart, so that the posterior has each of its modes again with their names exchanged."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from bayesjoint.scene.scene import Scene
    from bayesjoint.sky.components import Component

__all__ = ["alike", "meeting"]

APART = 4.0
"""Distance in sigma below which two modes that differ in names alone run into each other: where they meet the density is e^-8 of theirs."""


def alike(scene: Scene) -> list[dict[str, Any]]:
    """Pairs of components that may change names without a change of the density.

    Returns
    -------
    list of dict
        ``names`` of the two, and ``sites``: pairs of sites in which they may differ, angles left out.
    """
    found = []
    for a, b in itertools.combinations(scene.components, 2):
        if type(a) is not type(b) or a.options() != b.options():
            continue
        first, second = _parts(scene, a), _parts(scene, b)
        if first.keys() == second.keys() and all(_same(first[k], second[k]) for k in first):
            sites = {(first[k].name, second[k].name) for k in first if hasattr(first[k], "name") and not first[k].spec.cyclic}
            sites = sorted(p for p in sites if p[0] != p[1])
            if sites:
                found.append({"names": [a.name, b.name], "sites": [list(p) for p in sites]})
    return found


def _parts(scene: Scene, c: Component) -> dict[tuple[str, str], Any]:
    """By parameter and image: a component's site, or the number it is held at."""
    layout = scene.layout
    out = {}
    for (component, parameter, image), i in layout.index.items():
        if component == c.name:
            out[parameter, image] = layout.sites[i] if i < len(layout.sites) else layout.constants[i - len(layout.sites)]
    return out


def _same(a: Any, b: Any) -> bool:
    if not (hasattr(a, "prior") and hasattr(b, "prior")):
        return type(a) is type(b) and a == b
    if a is b or a.prior is b.prior:
        return True
    if type(a.prior) is not type(b.prior):
        return False
    arguments = [k for k in a.prior.arg_constraints if k not in ("logits", "probs")]
    return bool(arguments) and all(float(getattr(a.prior, k)) == float(getattr(b.prior, k)) for k in arguments)


def meeting(pairs: Sequence[Mapping[str, Any]], names: Sequence[str], mean: np.ndarray, covariance: np.ndarray) -> list[tuple[str, float]]:
    """Those of the pairs that the data do not tell apart.

    Parameters
    ----------
    pairs : sequence of mapping
        From `alike`.
    names : sequence of str
        Sites.
    mean, covariance : ndarrays, shape (n,) and (n, n)
        Of the sites' values.

    Returns
    -------
    list of (str, float)
        "a and b", and their distance in sigma: Mahalanobis' of their difference from none.
    """
    place = {n: k for k, n in enumerate(names)}
    found = []
    for pair in pairs:
        i, j = ([place[s[side]] for s in pair["sites"]] for side in (0, 1))
        off = mean[i] - mean[j]
        spread = covariance[np.ix_(i, i)] + covariance[np.ix_(j, j)] - covariance[np.ix_(i, j)] - covariance[np.ix_(j, i)]
        scale = np.sqrt(np.clip(np.diag(spread), 1e-300, None))
        distance = float(
            np.sqrt(max(0.0, (off / scale) @ np.linalg.pinv(spread / np.outer(scale, scale), rcond=1e-10, hermitian=True) @ (off / scale)))
        )
        if distance < APART:
            found.append((" and ".join(pair["names"]), distance))
    return found
