"""Layout: which sites a scene has, and where each source's parameters in each image are found among them."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bayesjoint.images import Image
from bayesjoint.scene.links import Block
from bayesjoint.sky.components import Component, Source
from bayesjoint.sky.extended import Extended
from bayesjoint.sky.parameters import Spec

__all__ = ["Layout", "Site", "as_local", "suggest"]


@dataclass
class Site:
    """One latent number of the scene."""

    name: str
    spec: Spec
    component: Component
    prior: Any
    images: tuple[Image, ...]
    start: float | None = None
    default: bool = True
    label: str | None = None
    """The band or image that the site belongs to, for per-band and per-image parameters."""
    per: str = "scene"

    @property
    def parameter(self) -> str:
        """Name without its band or image: ``galaxy.flux``."""
        return f"{self.component.name}.{self.spec.name}"

    @property
    def unit(self) -> str:
        """Unit of its values, as text."""
        if self.spec.unit == "flux":
            return "nJy" if self.images[0].zeropoint is not None else "image"
        return self.spec.unit


@dataclass
class Layout:
    """Sites, constants, what follows from them, and the place of every (component, parameter, image) in the vector of all three."""

    sites: list[Site] = field(default_factory=list)
    constants: list[float] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    derived: dict[str, int] = field(default_factory=dict)
    """Places of what links make, by name: ``galaxy.n[r]``."""
    told: dict[tuple[str, str, str], int] = field(default_factory=dict)
    """Places of parameters as they are told: before an image's shift and zeropoint."""
    index: dict[tuple[str, str, str], int] = field(default_factory=dict)
    """Places of parameters as the image sees them."""
    fixed: dict[str, float] = field(default_factory=dict)
    labels: dict[tuple[str, str, str], str | None] = field(default_factory=dict)
    """The band or image by which each (component, parameter, image) is told apart, held ones too."""

    @property
    def names(self) -> list[str]:
        """Names of the sites in order."""
        return [s.name for s in self.sites]

    @property
    def count(self) -> int:
        """Sites and constants."""
        return len(self.sites) + len(self.constants)

    def local(self, component: Component, image: Image) -> list[int]:
        """Indices of a component's local parameters in an image: (x, y, q, pa, *light, flux), or all of a Sky or NoiseScale."""
        if not isinstance(component, Source):
            keys = [s.name for s in component.specs]
        elif isinstance(component, Extended):
            keys = ["x", "y", "q", "pa", *component.light_params, "flux"]
        else:
            keys = ["x", "y", "flux"]
        return [self.index[component.name, k, image.name] for k in keys]


def suggest(name: str, known: Sequence[str]) -> str:
    """Return a hint on what a wrong name may have meant."""
    folded = {k.lower(): k for k in known}
    near = [folded[k] for k in difflib.get_close_matches(name.lower(), folded, 1)]
    return f" Did you mean {near[0]!r}?" if near else f" There are {', '.join(list(known)[:20])}."


def as_local(index: Sequence[Sequence[int]]) -> tuple[np.ndarray, list[int]]:
    """Concatenate index lists, and give their lengths."""
    return np.concatenate([np.asarray(i, dtype=np.int64) for i in index]) if index else np.zeros(0, np.int64), [len(i) for i in index]
