"""Subject: what a plot needs of a fit or a posterior, whichever comes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesjoint.infer.fit import Fit
from bayesjoint.posterior.meta import describe_sites
from bayesjoint.posterior.posterior import Posterior
from bayesjoint.scene.density import derived_of

if TYPE_CHECKING:
    from bayesjoint.images import Image
    from bayesjoint.scene.scene import Scene

__all__ = ["Subject"]

DRAWS = 1000
"""Draws from the Gaussian about a fit."""


@dataclass
class Subject:
    """The scene, values at the maximum or mean, and draws about them.

    Attributes
    ----------
    scene : Scene or None
        None for a posterior that was loaded from a file.
    meta : dict
        What `bayesjoint.posterior.meta.describe_sites` says.
    values : dict
        By site.
    theta : ndarray, shape (draws, sites)
    more : dict of ndarray, shape (draws,)
        What follows from sites by links, by name.
    """

    scene: Scene | None
    meta: dict[str, Any]
    values: dict[str, float]
    theta: np.ndarray
    more: dict[str, np.ndarray]

    @classmethod
    def of(cls, given: Fit | Posterior | Subject) -> Subject:
        """From a fit (its Gaussian approximation) or a posterior; what is one already stays.

        Raises
        ------
        TypeError
            For anything else.
        """
        if isinstance(given, cls):
            return given
        if isinstance(given, Posterior):
            names = given.names
            return cls(given.scene, given.meta, given.middle, given.theta.reshape(-1, len(names)), {n: given.draws(n) for n in given.derived})
        if not isinstance(given, Fit):
            raise TypeError(f"A plot is made of a Fit or a Posterior, and {type(given).__name__} came.")
        scene, theta = given.scene, given.draws(DRAWS)
        return cls(scene, describe_sites(scene), dict(given.values), theta, derived_of(scene, theta))

    def need_scene(self) -> Scene:
        """The scene.

        Raises
        ------
        ValueError
            Where there is none.
        """
        if self.scene is None:
            raise ValueError(
                "A posterior loaded from a file has no images to plot: load the scene with bj.Scene.load(path, images) and set post.scene."
            )
        return self.scene

    def image(self, name: str) -> Image:
        """One of the scene's images.

        Raises
        ------
        ValueError
            Where there is none of that name.
        """
        images = {im.name: im for im in self.need_scene().images}
        if name not in images:
            from bayesjoint.scene.layout import suggest

            raise ValueError(f"There is no image {name!r} in the scene." + suggest(name, list(images)))
        return images[name]

    def some(self, count: int) -> list[dict[str, float]]:
        """Values by site at so many draws, equally spaced among all."""
        names = [s["name"] for s in self.meta["sites"]]
        rows = np.linspace(0, len(self.theta) - 1, min(count, len(self.theta))).astype(int)
        return [dict(zip(names, self.theta[k].tolist(), strict=True)) for k in rows]

    def draws(self, name: str) -> np.ndarray:
        """Draws of a site or of what follows from sites, shape (draws,)."""
        names = [s["name"] for s in self.meta["sites"]]
        return self.more[name] if name in self.more else self.theta[:, names.index(name)]

    def source(self, name: str) -> dict[str, Any]:
        """What `meta` says of a source.

        Raises
        ------
        ValueError
            Where there is none of that name.
        """
        known = [s for s in self.meta["sources"] if not s["sky"]]
        for s in known:
            if s["name"] == name:
                return s
        from bayesjoint.scene.layout import suggest

        raise ValueError(f"There is no source {name!r}." + suggest(name, [s["name"] for s in known]))

    def one_source(self, what: str, among: Sequence[str] = ()) -> str:
        """Name of the only source, or of the only one among some; `what` is the plot that is of one.

        Raises
        ------
        ValueError
            Where there are several.
        """
        known = list(among) or [s["name"] for s in self.meta["sources"] if not s["sky"]]
        if len(known) != 1:
            raise ValueError(f"A {what} is of one source, and there are {len(known)}: name one of {', '.join(map(repr, known))}.")
        return known[0]

    def fluxes(self, name: str) -> dict[str, np.ndarray]:
        """Draws of a source's flux by band or image, shape (draws,)."""
        columns = [c for c in self.source(name)["columns"].values() if c["parameter"] == "flux"]
        size = len(self.theta)
        return {c["label"] or name: np.full(size, c["value"]) if c["site"] is None else self.draws(c["site"]) for c in columns}
