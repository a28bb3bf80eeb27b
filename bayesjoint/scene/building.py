"""Building: a scene's layout, from its components and images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyro.distributions as dist
import torch
from torch.distributions.transforms import identity_transform

from bayesjoint.images import Frame, Image
from bayesjoint.scene.layout import Layout, Site, suggest
from bayesjoint.scene.links import Block, minus, moving, scaled, through, wave
from bayesjoint.sky.border import border_prior
from bayesjoint.sky.components import Component, Shift, Sky, Source, Zeropoint
from bayesjoint.sky.defaults import Geometry, default_prior
from bayesjoint.sky.extended import Extended
from bayesjoint.sky.links import Waves
from bayesjoint.sky.parameters import Link, Param, Ref, Spec
from bayesjoint.sky.priors import line_to

__all__ = ["build"]

Code = tuple[str, int]
"""A value before all are counted: ("site" | "constant" | "derived", number)."""


def build(
    components: Sequence[Component], images: Sequence[Image], frame: Frame, fixed: Mapping[str, float], priors: Mapping[str, Any] | None = None
) -> Layout:
    """Lay out the sites of a scene; `fixed` holds sites at values by name, `priors` takes the place of their own.

    Raises
    ------
    ValueError
        For a link that leads nowhere or round in circles, images of one band that mix calibrated and uncalibrated fluxes.
    """
    b = _Builder(components, images, frame, fixed, priors or {})
    for component in components:
        for spec in component.specs:
            for im in images:
                if component.sees(im):
                    code, label = b.told(component, spec, im)
                    b.layout.labels[component.name, spec.name, im.name] = label
                    b.places[component.name, spec.name, im.name] = code
    if b.wanted:
        name = next(iter(b.wanted))
        raise ValueError(f"There is no parameter {name!r} to hold fixed." + suggest(name, [*b.layout.names, *b.layout.fixed]))
    seen = b.seen()
    return b.finish(seen)


class _Builder:
    def __init__(
        self, components: Sequence[Component], images: Sequence[Image], frame: Frame, fixed: Mapping[str, float], priors: Mapping[str, Any]
    ) -> None:
        self.components, self.images, self.priors = list(components), list(images), priors
        self.layout, self.geometry = Layout(), Geometry.of(images, frame)
        self.by_name = {c.name: c for c in components}
        self.wanted = dict(fixed)
        self.codes: dict[str, Code] = {}
        self.made: dict[tuple[str, str, Any], tuple[Code, Any]] = {}
        self.blocks: list[tuple[Any, list[Code], int, bool]] = []
        self.count = 0  # of what is derived
        self.places: dict[tuple[str, str, str], Code] = {}

    # -- who owns a parameter ---------------------------------------------------------------------------------------------
    def owner(self, component: Component, spec: Spec, trail: tuple[str, ...]) -> tuple[Component, Spec]:
        given = component.params.get(spec.name)
        if not isinstance(given, Ref):
            return component, spec
        here = f"{component.name}.{spec.name}"
        shared = self.referred(given, here)
        self.circle(here, trail)
        if shared.unit != spec.unit:
            raise ValueError(
                f"{here} ({spec.unit or 'no unit'}) is shared with {given!r} ({shared.unit or 'no unit'}): share parameters of one unit."
            )
        return self.owner(given.component, shared, (*trail, here))

    def referred(self, ref: Ref, here: str) -> Spec:
        """The spec of what a parameter is linked to."""
        if self.by_name.get(ref.component.name) is not ref.component:
            raise ValueError(f"{here} is shared with {ref!r}, whose component is not in the scene: add it to the components.")
        return ref.component.spec(ref.name)

    @staticmethod
    def circle(here: str, trail: tuple[str, ...]) -> None:
        if here in trail:
            raise ValueError(f"{here} is shared with itself through {' -> '.join(trail)}: break the circle.")

    def default(self, component: Component, spec: Spec, concerned: Sequence[Image]) -> Any:
        """The prior of a parameter that none was given for."""
        if isinstance(component, Sky) and component.border and spec.name == "level":
            return border_prior(concerned[0])
        positive = spec.unit == "flux" and self.is_concentric(component)
        return default_prior(spec, concerned, self.geometry, positive=positive)

    def is_concentric(self, component: Component) -> bool:
        """Whether another extended source is on the very same centre, in an image of both."""
        if not isinstance(component, Extended):
            return False
        centre = self.centre(component)
        return any(
            self.centre(c) == centre and any(c.sees(im) and component.sees(im) for im in self.images)
            for c in self.components
            if isinstance(c, Extended) and c is not component
        )

    def centre(self, component: Component) -> list[Any]:
        """What a component's place is: whose parameters, or the numbers that it is held at."""
        found = []
        for k in ("x", "y"):
            owner, spec = self.owner(component, component.spec(k), ())
            given = owner.params.get(spec.name)
            held = given.value if isinstance(given, Param) else None
            found.append((id(owner), spec.name) if held is None else float(held))
        return found

    # -- a parameter in an image ------------------------------------------------------------------------------------------
    def told(self, component: Component, spec: Spec, im: Image, trail: tuple[str, ...] = ()) -> tuple[Code, str | None]:
        """Where a component's parameter in an image is, and the band or image that tells it apart from others."""
        root, root_spec = self.owner(component, spec, trail)
        given = root.params.get(root_spec.name, Param())
        if isinstance(given, Link):
            here = f"{root.name}.{root_spec.name}"
            self.circle(here, trail)
            return self.waves(root, root_spec, given, im) if isinstance(given, Waves) else self.followed(root, root_spec, given, im, (*trail, here))
        per = given.per or root_spec.per
        label = {"scene": None, "band": im.band, "image": im.name}[per]
        who = [i for i in self.images if (root.sees(i) or component.sees(i)) and (per == "scene" or label == (i.band if per == "band" else i.name))]
        self.one_system(root_spec, who, f"{root.name}.{root_spec.name}[{label}]")
        return self.site(root, root_spec, given, label, who, per), label

    @staticmethod
    def one_system(spec: Spec, who: Sequence[Image], name: str) -> None:
        if spec.unit == "flux" and len({i.zeropoint is None for i in who}) > 1:
            raise ValueError(f"{name} is shared by images with and without a zeropoint: give all of them one, or name the bands apart.")

    def site(self, component: Component, spec: Spec, given: Param, label: str | None, concerned: Sequence[Image], per: str = "scene") -> Code:
        name = f"{component.name}.{spec.name}" + ("" if label is None else f"[{label}]")
        if name in self.codes:
            return self.codes[name]
        layout = self.layout
        value = self.wanted.pop(name, given.value)
        if value is not None:
            if not spec.possible(float(value)):
                raise ValueError(
                    f"{name} is held at {float(value):g}, which has no meaning there: it is to be positive{', and at most 1' if spec.bounds[1] == 1.0 else ''}."
                )
            layout.constants.append(float(value))
            layout.fixed[name] = float(value)
            self.codes[name] = "constant", len(layout.constants) - 1
        else:
            if given.prior is None:
                prior = self.default(component, spec, concerned)
            else:
                prior = _possible(given.prior, spec, name)
            prior = self.priors.get(name, prior)
            layout.sites.append(Site(name, spec, component, prior, tuple(concerned), given.start, given.prior is None, label, per))
            self.codes[name] = "site", len(layout.sites) - 1
        return self.codes[name]

    # -- links --------------------------------------------------------------------------------------------------------------
    def own(self, root: Component, spec: Spec, link: Link) -> list[tuple[Spec, Code]]:
        """The sites that a link brings."""
        who = [i for i in self.images if root.sees(i)] or self.images
        self.one_system(spec, who, f"{root.name}.{spec.name}")
        out = []
        for own, given in link.own(spec):
            if given.prior is None and own.guess == 0.0:  # a coefficient of what has real values: as wide as that, about 0
                wide = default_prior(spec, who, self.geometry).scale
                given = Param(prior=dist.Normal(torch.zeros_like(wide), wide), start=given.start)
            out.append((own, self.site(root, own, given, None, who)))
        return out

    def waves(self, root: Component, spec: Spec, link: Waves, im: Image) -> tuple[Code, str | None]:
        """A parameter by wavelength: one block for all images; named by band, or by image where those of a band differ."""
        if (root.name, spec.name, im.name) in self.made:
            return self.made[root.name, spec.name, im.name]
        users = [i for i in self.images if any(c.sees(i) and self.owner(c, s, ()) == (root, spec) for c in self.components for s in c.specs)]
        without = [i.name for i in users if i.wavelength is None]
        if without:
            raise ValueError(
                f"{root.name}.{spec.name} is a function of wavelength, and {without[0]!r} has none: give its image wavelength= in micron."
            )
        lengths = sorted({i.wavelength for i in users})
        own = self.own(root, spec, link)
        prior = next((s.prior for s in self.layout.sites if s.name == f"{root.name}.{own[0][0].name}"), None)
        if prior is None:  # held: by what the parameter is
            prior = default_prior(spec, users, self.geometry)
        transform = line_to(prior)
        identity = transform is identity_transform
        basis = link.basis(np.array(lengths), (lengths[0], lengths[-1]))
        rule = wave(basis, link.valued(len(own)), None if identity else transform)
        codes = dict(zip(lengths, self.block(rule, [c for _, c in own], len(lengths), identity), strict=True))
        for i in sorted(users, key=lambda i: i.wavelength):
            label = i.band if len({j.wavelength for j in users if j.band == i.band}) == 1 else i.name
            self.made[root.name, spec.name, i.name] = codes[i.wavelength], label
            self.layout.derived[f"{root.name}.{spec.name}[{label}]"] = codes[i.wavelength][1]
        return self.made[root.name, spec.name, im.name]

    def followed(self, root: Component, spec: Spec, link: Link, im: Image, trail: tuple[str, ...]) -> tuple[Code, str | None]:
        """A parameter that follows from others in the same image."""
        inputs, labels = [c for _, c in self.own(root, spec, link)], []
        for ref in link.refs():
            where = trail[-1]
            shared = self.referred(ref, where)
            if not ref.component.sees(im):
                raise ValueError(f"{where} follows from {ref!r}, which is not there in the image {im.name!r}: restrict it with images= or bands=.")
            code, label = self.told(ref.component, shared, im, trail)
            inputs.append(code)
            labels.append(label)
        label = next((x for x in labels if x is not None), None)
        key = root.name, spec.name, tuple(inputs)
        if key not in self.made:
            (code,) = self.block(through(link, spec), inputs, 1, link.is_affine(spec))
            name = f"{root.name}.{spec.name}"
            apart = f"{name}[{label}]" in self.layout.derived  # another one is called by that band
            self.layout.derived[name if label is None else f"{name}[{im.name if apart else label}]"] = code[1]
            self.made[key] = code, apart
        code, apart = self.made[key]
        return code, im.name if apart else label

    def block(self, rule: Any, inputs: list[Code], count: int, affine: bool) -> list[Code]:
        codes = [("derived", self.count + k) for k in range(count)]
        self.blocks.append((rule, inputs, count, affine))
        self.count += count
        return codes

    # -- what images do to them ---------------------------------------------------------------------------------------------
    def seen(self) -> dict[tuple[str, str, str], Code]:
        """Places of parameters as each image sees them: moved by its Shift, scaled by its Zeropoint."""
        seen = dict(self.places)
        self.move(seen)
        for kind, params, rule in ((Shift, ("x", "y"), minus), (Zeropoint, ("flux",), scaled)):
            pairs: dict[tuple[Code, Code], list[tuple[str, str, str]]] = {}
            for corrector in (c for c in self.components if isinstance(c, kind)):
                for im in self.images:
                    if not corrector.sees(im):
                        continue
                    for c in self.components:
                        if not isinstance(c, Source) or not c.sees(im):
                            continue
                        for p in params:
                            own = p if kind is Shift else "offset"
                            pair = seen[c.name, p, im.name], self.places[corrector.name, own, im.name]
                            pairs.setdefault(pair, []).append((c.name, p, im.name))
            if pairs:
                codes = self.block(rule, [a for a, _ in pairs] + [b for _, b in pairs], len(pairs), kind is Shift)
                for code, keys in zip(codes, pairs.values(), strict=True):
                    for key in keys:
                        seen[key] = code
        return seen

    def move(self, seen: dict[tuple[str, str, str], Code]) -> None:
        """Places at each image's epoch, of sources that have a proper motion."""
        for c in self.components:
            if getattr(c, "motion", None) is None:
                continue
            images = [im for im in self.images if c.sees(im)]
            without = next((im.name for im in images if im.epoch is None), None)
            if without is not None:
                raise ValueError(f"{c.name} moves, and {without!r} has no epoch: give its image epoch= (MJD).")
            middle = float(np.mean([im.epoch for im in images]))
            keys = [(c.name, p, im.name) for p in ("x", "y") for im in images]
            inputs = [seen[k] for k in keys] + [self.places[n, f"pm_{p}", im] for n, p, im in keys]
            years = [(im.epoch - middle) / 365.25 for _ in ("x", "y") for im in images]
            for key, code in zip(keys, self.block(moving(years), inputs, len(keys), True), strict=True):
                seen[key] = code

    def finish(self, seen: Mapping[tuple[str, str, str], Code]) -> Layout:
        """Count: sites first, then constants, then what is derived."""
        layout = self.layout
        first = {"site": 0, "constant": len(layout.sites), "derived": layout.count}

        def place(code: Code) -> int:
            return first[code[0]] + code[1]

        layout.told = {k: place(c) for k, c in self.places.items()}
        layout.index = {k: place(c) for k, c in seen.items()}
        layout.blocks = [Block(rule, tuple(place(c) for c in inputs), count, affine) for rule, inputs, count, affine in self.blocks]
        layout.derived = {k: first["derived"] + n for k, n in layout.derived.items()}
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
