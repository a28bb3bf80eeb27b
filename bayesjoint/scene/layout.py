"""Layout: which sites a scene has, and where each source's parameters in each image are found among them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from bayesjoint.images import Frame, Image
from bayesjoint.sky.components import Component, Source
from bayesjoint.sky.defaults import Geometry, default_prior
from bayesjoint.sky.extended import Extended
from bayesjoint.sky.parameters import Param, Ref, Spec

__all__ = ["Layout", "Site"]


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
    """Sites, constants, and the index of every (component, parameter, image) in the vector of both."""

    sites: list[Site] = field(default_factory=list)
    constants: list[float] = field(default_factory=list)
    index: dict[tuple[str, str, str], int] = field(default_factory=dict)
    fixed: dict[str, float] = field(default_factory=dict)
    labels: dict[tuple[str, str, str], str | None] = field(default_factory=dict)
    """The band or image by which each (component, parameter, image) is told apart, held ones too."""

    @property
    def names(self) -> list[str]:
        """Names of the sites in order."""
        return [s.name for s in self.sites]

    def local(self, component: Component, image: Image) -> list[int]:
        """Indices of a component's local parameters in an image: (x, y, q, pa, *light, flux), or all of a Sky or NoiseScale."""
        if not isinstance(component, Source):
            keys = [s.name for s in component.specs]
        elif isinstance(component, Extended):
            keys = ["x", "y", "q", "pa", *component.light_params, "flux"]
        else:
            keys = ["x", "y", "flux"]
        return [self.index[component.name, k, image.name] for k in keys]


def build(components: Sequence[Component], images: Sequence[Image], frame: Frame, fixed: Mapping[str, float]) -> Layout:
    """Lay out the sites of a scene; `fixed` holds sites at values by name.

    Raises
    ------
    ValueError
        For a link that leads nowhere or round in circles, images of one band that mix calibrated and uncalibrated fluxes.
    """
    layout, geometry, by_name = Layout(), Geometry.of(images, frame), {c.name: c for c in components}
    owners: dict[str, list[int] | int] = {}
    wanted = dict(fixed)

    def owner(component: Component, spec: Spec, trail: tuple[str, ...] = ()) -> tuple[Component, Spec]:
        given = component.params.get(spec.name)
        if not isinstance(given, Ref):
            return component, spec
        here = f"{component.name}.{spec.name}"
        if by_name.get(given.component.name) is not given.component:
            raise ValueError(f"{here} is shared with {given!r}, whose component is not in the scene: add it to the components.")
        if here in trail:
            raise ValueError(f"{here} is shared with itself through {' -> '.join(trail)}: break the circle.")
        shared = given.component.spec(given.name)
        if shared.unit != spec.unit:
            raise ValueError(
                f"{here} ({spec.unit or 'no unit'}) is shared with {given!r} ({shared.unit or 'no unit'}): share parameters of one unit."
            )
        return owner(given.component, shared, (*trail, here))

    def site(component: Component, spec: Spec, label: str | None, concerned: Sequence[Image]) -> int:
        name = f"{component.name}.{spec.name}" + ("" if label is None else f"[{label}]")
        if name in owners:
            return owners[name]
        given = component.params.get(spec.name, Param())
        value = wanted.pop(name, given.value)
        if value is not None:
            if not spec.possible(float(value)):
                raise ValueError(
                    f"{name} is held at {float(value):g}, which has no meaning there: it is to be positive{', and at most 1' if spec.bounds[1] == 1.0 else ''}."
                )
            layout.constants.append(float(value))
            layout.fixed[name] = float(value)
            owners[name] = -len(layout.constants)  # negative: counted from the constants, placed after the sites below
        else:
            prior = default_prior(spec, concerned, geometry) if given.prior is None else _possible(given.prior, spec, name)
            layout.sites.append(Site(name, spec, component, prior, tuple(concerned), given.start, given.prior is None, label))
            owners[name] = len(layout.sites) - 1
        return owners[name]

    for component in components:
        seen = [im for im in images if component.sees(im)]
        for spec in component.specs:
            root, root_spec = owner(component, spec)
            given = root.params.get(root_spec.name, Param())
            per = (given.per if isinstance(given, Param) else None) or root_spec.per
            for im in seen:
                label = {"scene": None, "band": im.band, "image": im.name}[per]
                who = [
                    i for i in images if (root.sees(i) or component.sees(i)) and (per == "scene" or label == (i.band if per == "band" else i.name))
                ]
                if spec.unit == "flux" and len({i.zeropoint is None for i in who}) > 1:
                    raise ValueError(
                        f"{root.name}.{root_spec.name}[{label}] is shared by images with and without a zeropoint: give all of them one, or name the bands apart."
                    )
                layout.labels[component.name, spec.name, im.name] = label
                layout.index[component.name, spec.name, im.name] = site(root, root_spec, label, who)
    if wanted:
        name = next(iter(wanted))
        raise ValueError(f"There is no parameter {name!r} to hold fixed." + suggest(name, [*layout.names, *layout.fixed]))
    count = len(layout.sites)
    layout.index = {k: v if v >= 0 else count - v - 1 for k, v in layout.index.items()}
    return layout


def _possible(prior: Any, spec: Spec, name: str) -> Any:
    """Return a user's prior, once its support is seen to be continuous and to hold no impossible values."""
    support = prior.support
    if support is None or support.is_discrete or type(prior).__name__ == "Delta":
        raise ValueError(f"The prior of {name} is to be a continuous distribution, and {type(prior).__name__} came.")
    for probe, what, instead in (
        (-1.0, "negative values", "LogNormal, Gamma"),
        (-1e-3, "negative values", "LogNormal, Gamma"),
        (1.001, "values above 1", "Beta"),
        (2.0, "values above 1", "Beta"),
    ):
        if not spec.possible(probe) and bool(support.check(torch.tensor(probe))):
            raise ValueError(f"The prior {type(prior).__name__} of {name} allows {what}, which have no meaning there: use {instead} or Uniform, say.")
    return prior


def suggest(name: str, known: Sequence[str]) -> str:
    """Return a hint on what a wrong name may have meant."""
    folded = {k.lower(): k for k in known}
    near = [folded[k] for k in difflib.get_close_matches(name.lower(), folded, 1)]
    return f" Did you mean {near[0]!r}?" if near else f" There are {', '.join(list(known)[:20])}."


def as_local(index: Sequence[Sequence[int]]) -> tuple[np.ndarray, list[int]]:
    """Concatenate index lists, and give their lengths."""
    return np.concatenate([np.asarray(i, dtype=np.int64) for i in index]) if index else np.zeros(0, np.int64), [len(i) for i in index]
