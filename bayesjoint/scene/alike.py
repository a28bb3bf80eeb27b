"""Alike: sources that no prior tells apart, so that the posterior has each of its modes again with their names exchanged."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesjoint.scene.layout import Site
from bayesjoint.scene.plain import prior_to_plain

if TYPE_CHECKING:
    from bayesjoint.scene.scene import Scene

__all__ = ["Pair", "alike", "distances", "meeting"]

APART = 4.0
"""Distance in sigma below which two modes that differ in names alone run into each other: where they meet the density is e^-8 of theirs."""


def alike(scene: Scene) -> list[dict[str, Any]]:
    """Pairs of components that may change names without a change of the density.

    Returns
    -------
    list of dict
        ``names`` of the two, and ``sites``: pairs of sites in which they may differ, angles left out.
    """
    layout, parts = scene.layout, {c.name: {} for c in scene.components}
    for (component, parameter, image), i in layout.told.items():
        n = len(layout.sites)
        # what follows from others stands for itself: never the same for two
        parts[component][parameter, image] = layout.sites[i] if i < n else layout.constants[i - n] if i < layout.count else (component, i)
    found = []
    for a, b in itertools.combinations(scene.components, 2):
        first, second = parts[a.name], parts[b.name]
        if type(a) is not type(b) or _kind(a) != _kind(b) or first.keys() != second.keys():
            continue
        pairs = [(first[k], second[k]) for k in first]
        if all(_same(*p) for p in pairs):
            sites = sorted({(s.name, t.name) for s, t in pairs if isinstance(s, Site) and s is not t and not s.spec.cyclic})
            if sites:
                found.append({"names": [a.name, b.name], "sites": [list(p) for p in sites]})
    return found


def _kind(component: Any) -> dict[str, Any]:
    """What it is made from; a window tells nothing apart."""
    return {k: v for k, v in component.options().items() if k != "window"}


def _same(a: Site | float, b: Site | float) -> bool:
    if not (isinstance(a, Site) and isinstance(b, Site)):
        return a == b
    try:
        return a is b or a.prior is b.prior or prior_to_plain(a.prior, a.name) == prior_to_plain(b.prior, b.name)
    except ValueError:  # a class of the user's own
        return False


@dataclass(frozen=True)
class Pair:
    """Two components that may change names, and how far apart they lie."""

    names: list[str]
    sigma: float
    """Mahalanobis distance of their difference from none, in sigma."""

    @property
    def sentences(self) -> tuple[str, str]:
        """What is the matter, and what can be done."""
        return (
            f"{' and '.join(self.names)} have the same priors and lie {self.sigma:.1f} sigma apart: the posterior has another mode with their names "
            "exchanged, which runs into this one, so that the values of neither have a meaning of their own.",
            "Give them priors that tell them apart.",
        )


def distances(
    pairs: Sequence[Mapping[str, Any]], names: Sequence[str], mean: np.ndarray, covariance: np.ndarray
) -> list[Pair]:
    """Those of the pairs that the data do not tell apart.

    Parameters
    ----------
    pairs : sequence of mapping
        From `alike`.
    names : sequence of str
        Sites.
    mean, covariance : ndarrays, shape (n,) and (n, n)
        Of the sites' values.
    """
    place = {n: k for k, n in enumerate(names)}
    found = []
    for pair in pairs:
        i, j = ([place[s[side]] for s in pair["sites"]] for side in (0, 1))
        off = mean[i] - mean[j]
        spread = covariance[np.ix_(i, i)] + covariance[np.ix_(j, j)] - covariance[np.ix_(i, j)] - covariance[np.ix_(j, i)]
        scale = np.sqrt(np.clip(np.diag(spread), 1e-300, None))
        inverse = np.linalg.pinv(spread / np.outer(scale, scale), rcond=1e-10, hermitian=True)
        sigma = float(np.sqrt(max(0.0, (off / scale) @ inverse @ (off / scale))))
        if sigma < APART:
            found.append(Pair(list(pair["names"]), sigma))
    return found


def meeting(pairs: Sequence[Mapping[str, Any]], names: Sequence[str], mean: np.ndarray, covariance: np.ndarray) -> list[str]:
    """What is to be said of those of the pairs that the data do not tell apart, a sentence each; arguments as of `distances`."""
    return [" ".join(pair.sentences) for pair in distances(pairs, names, mean, covariance)]
