"""Scene: components on images, as a Pyro model and as a flat log density."""

from __future__ import annotations

import copy
import html
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyro
import torch
from pyro.ops.provenance import detach_provenance

from bayesjoint.images import Frame, Image
from bayesjoint.log import log
from bayesjoint.memory import budget_bytes, keep_freed
from bayesjoint.render.stamp import StampPlan
from bayesjoint.scene.building import build
from bayesjoint.scene.chart import Chart
from bayesjoint.scene.checks import check, named, overlap, shared_bands, sharp_psfs
from bayesjoint.scene.density import Density
from bayesjoint.scene.layout import suggest
from bayesjoint.scene.likelihood import ImageLikelihood
from bayesjoint.scene.links import Links
from bayesjoint.scene.noise import Noise, by_image
from bayesjoint.scene.planning import BUDGET, make_plans
from bayesjoint.scene.reach import widened
from bayesjoint.sky.components import Component, NoiseScale, Shift, Zeropoint, cut_loose
from bayesjoint.sky.groups import Group, flattened
from bayesjoint.sky.parameters import Param
from bayesjoint.threads import few_threads, largest
from bayesjoint.units import to_float

if TYPE_CHECKING:
    from bayesjoint.infer.fit import Fit

__all__ = ["Scene"]


class Scene:
    """A model of several images of one patch of sky.

    Parameters
    ----------
    components : sequence of components and groups
        Sources, skies, what corrects images.
    images : Image or sequence of Image
        Each on its own pixels.
    reference : SkyCoord, optional
        Origin of the tangent plane; default, the middle of the first image that has a WCS.
    device : torch.device or str, optional
        Where to compute; default CPU.
    dtype : torch.dtype
        float64 or float32.
    noise : bj.noise object, or mapping of them, optional
        What each image's pixels do about the model, for all images or by image or band; Gaussian where none is given.
    memory : int or str, optional
        What tables, derivatives and transforms may take: bytes, or text such as "500 MB". Default: a quarter of the machine's memory, at
        most 4 GB. It belongs to the machine, not to the model, and is not saved.

    Raises
    ------
    ValueError
        For no components, names that clash, images that do not overlap, bands that mix calibrated and uncalibrated fluxes.
    """

    def __init__(
        self,
        components: Sequence[Component | Group] | Component | Group,
        images: Sequence[Image] | Image,
        *,
        reference: Any = None,
        device: Any = None,
        dtype: torch.dtype = torch.float64,
        noise: Noise | Mapping[str, Noise] | None = None,
        memory: int | str | None = None,
    ) -> None:
        self._build(components, images, reference, device, dtype, {}, None, noise=noise, memory=memory)
        for said in shared_bands(self.images):
            log.warning(said)
        for said, sigmas in sharp_psfs(self.images).values():
            log.log(logging.WARNING if sigmas > BUDGET else logging.INFO, said)

    def _build(
        self,
        components: Any,
        images: Any,
        reference: Any,
        device: Any,
        dtype: torch.dtype,
        fixed: Mapping[str, float],
        plans: Mapping[str, Mapping[str, StampPlan]] | None,
        start: Mapping[str, float] | None = None,
        priors: Mapping[str, Any] | None = None,
        noise: Noise | Mapping[str, Noise] | None = None,
        memory: int | str | None = None,
    ) -> None:
        self.memory = budget_bytes(memory)
        components = flattened([components] if isinstance(components, Component | Group) else list(components))
        images = [images] if isinstance(images, Image) else list(images)
        check(components, images)
        if dtype not in (torch.float64, torch.float32):
            raise ValueError(f"A scene's dtype is to be torch.float64 or torch.float32, and {dtype} came.")
        self.components, self.images = tuple(components), named(images)
        self.dtype, self.device = dtype, torch.device("cpu" if device is None else device)
        if reference is None:
            reference = next((im.placement.sky_middle for im in self.images if im.placement.wcs is not None), None)
        self.frame = Frame(reference)
        overlap(self.images, self.frame)
        for c in self.components:
            if not any(c.sees(im) for im in self.images):
                raise ValueError(
                    f"{c!r} sees none of the images: its images= or bands= name {c.images or c.bands}, and there are {[(im.name, im.band) for im in self.images]}."
                )
            twice = [o for o in self.components if isinstance(c, NoiseScale | Shift | Zeropoint) and type(o) is type(c) and o is not c]
            if any(c.sees(im) and o.sees(im) for o in twice for im in self.images):
                raise ValueError(f"Two {type(c).__name__}s concern the same image: {c.name!r} and {twice[0].name!r}; give each its images=.")
        self.noise = by_image(noise, self.images)
        self._priors = dict(priors or {})  # those that a loaded scene froze, in place of today's defaults
        self.layout = build(self.components, self.images, self.frame, fixed, self._priors)
        self.links = Links(self.layout.blocks, len(self.layout.sites), self.layout.count, self.device)
        self.chart = Chart(self.layout, self.dtype, self.device)
        self._constants = torch.as_tensor(np.array(self.layout.constants), dtype=self.dtype).to(self.device)
        self._start = None if start is None else dict(start)
        self.automatic = start is None
        """Whether its start is read from its own pixels, fluxes and skies solved for."""
        self.plans: dict[str, dict[str, StampPlan]] = {}
        self.likelihoods: list[ImageLikelihood] = []
        keep_freed()
        with few_threads(largest(self)):
            self._plan(make_plans(self, self.start) if plans is None else plans)

    def _plan(self, plans: Mapping[str, Mapping[str, StampPlan]]) -> None:
        """Take on render plans; what is drawn by the same plan as before stays as it is."""
        made = {t.image.name: t for t in self.likelihoods}
        self.plans = {k: dict(v) for k, v in plans.items()}

        def likelihood(im: Image) -> ImageLikelihood:
            plans, old = self.plans[im.name], made.get(im.name)
            if old is None:
                return ImageLikelihood(
                    im, self.frame, self.components, self.layout, plans, self.noise[im.name], self.dtype, self.device, self.memory
                )
            return old if old.plans == plans else old.replanned(plans)

        self.likelihoods = [likelihood(im) for im in self.images]

    def with_plans(self, plans: Mapping[str, Mapping[str, StampPlan]], start: Mapping[str, float] | None = None) -> Scene:
        """The same scene on other render plans, by image and source; `start` is where a fit begins, values by site in their units."""
        new = copy.copy(self)
        if start is not None:
            new._start, new.automatic = dict(start), False
        new._plan(plans)
        return new

    # -- names and values --------------------------------------------------------------------------------------------
    @property
    def names(self) -> tuple[str, ...]:
        """Names of the latent sites, in the order of the flat vector."""
        return tuple(self.layout.names)

    @property
    def units(self) -> dict[str, str]:
        """Unit of each site, as text."""
        return {s.name: s.unit for s in self.layout.sites}

    @property
    def start(self) -> dict[str, float]:
        """Values at which a fit begins, by site in their units; the user's, else read from the pixels."""
        if self._start is None:
            from bayesjoint.scene.starts import starts

            self._start = starts(self)
            self.release()
        return dict(self._start)

    def release(self) -> None:
        """Let go of the buffers that images are drawn in: those of many or large sources take gigabytes, and are made anew when needed."""
        for term in self.likelihoods:
            term.renderer.release()

    def vector(self, values: Mapping[str, Any]) -> torch.Tensor:
        """`values` by site as one tensor in the order of `names`; tensors keep their graph.

        Parameters
        ----------
        values : mapping
            Numbers in arcsec, degree, nJy (or image units), tensors, or Quantities, for every site.

        Raises
        ------
        ValueError
            If a site is missing or unknown, or a value is not one number.
        """
        unknown = [k for k in values if k not in self.layout.names and k not in self.layout.fixed]
        if unknown:
            raise ValueError(f"The scene has no parameter {unknown[0]!r}." + suggest(unknown[0], self.layout.names))
        missing = [n for n in self.layout.names if n not in values]
        if missing:
            raise ValueError(f"Values are to be given for every site, and {missing[0]!r} is missing{' (and others)' if len(missing) > 1 else ''}.")
        parts = []
        for site in self.layout.sites:
            v = values[site.name]
            if not isinstance(v, torch.Tensor):
                v = to_float(v, site.unit, site.name)
            parts.append(torch.as_tensor(v, dtype=self.dtype).to(self.device).reshape(()))
        return torch.stack(parts) if parts else torch.zeros(0, dtype=self.dtype, device=self.device)

    def constrain(self, z: torch.Tensor) -> dict[str, torch.Tensor]:
        """Flat vector `z`, shape (len(names),), to values by site (0-d tensors, in arcsec, degree, nJy); keeps the graph."""
        theta, _ = self.chart.values(z)
        return dict(zip(self.layout.names, theta.unbind(), strict=True))

    def unconstrain(self, values: Mapping[str, Any]) -> torch.Tensor:
        """`values` by site (tensors or floats in arcsec, degree, nJy, or Quantities) to the flat vector, shape (len(names),)."""
        return self.chart.unconstrain(self.vector(values))

    def full(self, theta: torch.Tensor) -> torch.Tensor:
        """The sites' values `theta` (arcsec, degree, nJy), then the constants, then what follows from both: the vector that likelihoods read."""
        return self.links.extend(torch.cat([theta, self._constants]))

    # -- densities -----------------------------------------------------------------------------------------------------
    def model(self) -> None:
        """Pyro model: one sample site a parameter, and one observed site ``image[name]`` an image."""
        theta = [pyro.sample(s.name, p) for s, p in zip(self.layout.sites, self.chart.priors, strict=True)]
        theta = [torch.as_tensor(v, dtype=self.dtype, device=self.device).reshape(()) for v in theta]
        feeds = self.links.feeds

        def full(places: Iterable[int]) -> torch.Tensor:
            """The full vector, in which only what these places depend on leads back to the sites: `pyro.render_model` draws it so."""
            own = set().union(*(feeds[i] for i in places))
            seen = [v if k in own else detach_provenance(v.detach()) for k, v in enumerate(theta)]
            return self.full(torch.stack(seen) if seen else torch.zeros(0, dtype=self.dtype, device=self.device))

        for name, place in self.layout.derived.items():
            pyro.deterministic(name, full([place])[place])
        for term in self.likelihoods:
            pyro.sample(f"image[{term.image.name}]", term.distribution(full(term.places)), obs=term.raw)

    def log_density(self, z: torch.Tensor) -> torch.Tensor:
        """Log likelihood + log prior + ``log |d values / d z|``, with all constants; differentiable.

        Parameters
        ----------
        z : torch.Tensor, shape (len(names),)
            In the order of `names`.
        """
        return Density.apply(z, self, [])

    def log_parts(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The terms of `log_density` at `z`: log likelihood of each image, in the order of `images`, and log prior + ``log |d values / d z|``."""
        theta, t = self.chart.values(z)
        full = self.full(theta)
        return torch.stack([term.log_prob(full) for term in self.likelihoods]), self.chart.log_prior(z, theta, t)

    def log_likelihood(self, z: torch.Tensor) -> torch.Tensor:
        """Log likelihood of each image at the flat vector `z`, in the order of `images`."""
        full = self.full(self.chart.values(z)[0])
        return torch.stack([term.log_prob(full) for term in self.likelihoods])

    def log_prior(self, z: torch.Tensor) -> torch.Tensor:
        """Log prior + ``log |d values / d z|`` at the flat vector `z`."""
        theta, t = self.chart.values(z)
        return self.chart.log_prior(z, theta, t)

    # -- images of values ---------------------------------------------------------------------------------------------
    def _serving(self, values: Mapping[str, Any]) -> list[ImageLikelihood]:
        """Likelihoods that draw PSFs larger than the image as far as these values ask for."""
        if not any(p.reach or p.margin for of in self.plans.values() for p in of.values()):
            return self.likelihoods
        plans = widened(self, dict(zip(self.names, self.vector(values).tolist(), strict=True)))
        return self.likelihoods if plans is None else self.with_plans(plans).likelihoods

    @torch.no_grad()
    def render_components(self, values: Mapping[str, Any], components: Iterable[str] | None = None) -> dict[str, dict[str, np.ndarray]]:
        """What each component adds to the model of each image, at values by site: by image and component, in image units; they sum to `render`.

        Parameters
        ----------
        values : mapping
            By site, in arcsec, degree, nJy (or image units).
        components : iterable of str, optional
            Those wanted, by name; default, all.
        """
        full = self.full(self.vector(values))
        wanted = None if components is None else self._match(components, [c.name for c in self.components])
        return {t.image.name: {k: v.cpu().numpy().astype(float) for k, v in t.parts(full, wanted).items()} for t in self._serving(values)}

    @torch.no_grad()
    def render(self, values: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Model of each image, shape (ny, nx) in image units, at `values` by site (in arcsec, degree, nJy)."""
        full = self.full(self.vector(values))
        return {t.image.name: t.model(full).cpu().numpy().astype(float) for t in self._serving(values)}

    @torch.no_grad()
    def residuals(self, values: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """(data - model) / sigma of each image at `values` by site (in arcsec, degree, nJy), 0 where masked; sigma times its `NoiseScale`, where there is one."""
        full = self.full(self.vector(values))
        return {t.image.name: t.residual(full) for t in self._serving(values)}

    def simulate(self, values: Mapping[str, Any], seed: int) -> list[Image]:
        """Images like the scene's, with the model at `values` by site (in arcsec, degree, nJy) and noise of each image's kind drawn from `seed`."""
        rng, full = np.random.default_rng(seed), self.full(self.vector(values)).detach()
        with torch.no_grad():
            return [t.image.replace(data=t.model(full).cpu().numpy().astype(float) + t.draw_noise(full, rng)) for t in self._serving(values)]

    # -- other scenes from this one --------------------------------------------------------------------------------------
    def _like(
        self,
        *,
        components: Any = None,
        images: Any = None,
        fixed: Mapping[str, float] | None = None,
        plans: Any = None,
        start: Mapping[str, float] | None = None,
        priors: Mapping[str, Any] | None = None,
        device: Any = None,
        dtype: Any = None,
    ) -> Scene:
        new = object.__new__(Scene)
        new._build(
            components or self.components,
            images or self.images,
            self.frame.reference,
            device or self.device,
            dtype or self.dtype,
            self._held() if fixed is None else fixed,
            plans,
            start,
            self._priors if priors is None else priors,
            {k: v for k, v in self.noise.items() if images is None or any(im.name == k for im in images)},
            self.memory,
        )
        return new

    def _held(self) -> dict[str, float]:
        """Sites held by `fixed`, not by the components themselves."""
        own = {f"{c.name}.{k}" for c in self.components for k, p in c.params.items() if isinstance(p, Param) and p.value is not None}
        return {k: v for k, v in self.layout.fixed.items() if k.split("[")[0] not in own}

    def fixed(self, values: Mapping[str, Any], sites: Iterable[str]) -> Scene:
        """A scene like this, with some sites held.

        Parameters
        ----------
        values : mapping
            By site, in arcsec, degree, nJy, or Quantities; those that are not held are where a fit begins.
        sites : iterable of str
            Which to hold: names, or a parameter's name for all its bands.

        Raises
        ------
        ValueError
            For sites that are not in the scene, or have no value.
        """
        before = self._held()
        chosen = self._match(sites, [*self.layout.names, *before])
        again = [n for n in chosen if n in before]
        if again:  # held already: now at the new values
            return self.free(again).fixed(values, chosen)
        held = {n: to_float(values[n], self.units[n], n) for n in chosen if n in values}
        missing = [n for n in chosen if n not in values]
        if missing:
            raise ValueError(f"There is no value to hold {missing[0]!r} at: add it to the values.")
        start = {k: float(to_float(v, self.units[k], k)) for k, v in values.items() if k in self.units and k not in held}
        return self._like(fixed=self._held() | held, plans=self.plans, start={**{k: v for k, v in self.start.items() if k not in held}, **start})

    def free(self, sites: Iterable[str]) -> Scene:
        """A scene like this, with `sites` that `fixed` held free again; those that are free already stay so.

        Raises
        ------
        ValueError
            For sites that are not in the scene, or that a component itself holds at a number.
        """
        held = self._held()
        chosen = self._match(sites, [*self.layout.names, *self.layout.fixed])
        own = [n for n in chosen if n in self.layout.fixed and n not in held]
        if own:
            raise ValueError(
                f"{own[0]!r} is held at {self.layout.fixed[own[0]]:g} by its component: give that a prior, or nothing, instead of the number."
            )
        chosen = [n for n in chosen if n in held]
        return self._like(
            fixed={k: v for k, v in held.items() if k not in chosen}, plans=self.plans, start={**self.start, **{k: held[k] for k in chosen}}
        )

    def subset(self, *, images: Iterable[str] | None = None, components: Iterable[str] | None = None) -> Scene:
        """The part of this scene with some of its images or components, by name.

        A parameter that was shared with a component left away becomes the site of the first that keeps it: ``disc.x`` for ``bulge.x``.
        """
        kept_images = [im for im in self.images if images is None or im.name in self._match(images, [i.name for i in self.images])]
        names = None if components is None else self._match(components, [c.name for c in self.components])
        kept = [c for c in self.components if (names is None or c.name in names) and any(c.sees(im) for im in kept_images)]
        kept, renamed = cut_loose(kept)
        parts = [(k.split("[")[0], k, v) for k, v in self._held().items()]
        held = {
            renamed.get(base, base) + k[len(base) :]: v for base, k, v in parts if base in renamed or any(k.startswith(c.name + ".") for c in kept)
        }
        labels = {im.name for im in kept_images} | {im.band for im in kept_images}
        held = {k: v for k, v in held.items() if "[" not in k or k[k.index("[") + 1 : -1] in labels}
        return self._like(components=kept, images=kept_images, fixed=held, priors={})

    def with_images(self, images: Sequence[Image] | Image) -> Scene:
        """A scene like this on the pixels of other `images`: images of the same names, in order; priors and held values stay, automatic starts are found anew."""
        images = [images] if isinstance(images, Image) else list(images)
        names, own = [getattr(im, "name", None) for im in images], [im.name for im in self.images]
        if names != own:
            raise ValueError(
                f"with_images takes images of the scene's names, in order, {own}, and {names} came: name them with image.replace(name=...)."
            )
        return self._like(images=images, priors={s.name: s.prior for s in self.layout.sites})

    def replanned(self, values: Mapping[str, Any]) -> Scene:
        """A scene like this whose render plan is made for `values` by site (in arcsec, degree, nJy)."""
        values = {k: float(to_float(v, self.units[k], k)) for k, v in values.items() if k in self.units}
        return self.with_plans(make_plans(self, values))

    @staticmethod
    def _match(wanted: Iterable[str], known: Sequence[str]) -> list[str]:
        found: list[str] = []
        for w in [wanted] if isinstance(wanted, str) else wanted:
            hits = [k for k in known if k == w or k.split("[")[0] == w or k.startswith(f"{w}.")]
            if not hits:
                raise ValueError(f"There is no {w!r} in the scene." + suggest(w, list(known)))
            found += [h for h in hits if h not in found]
        return found

    # -- fitting and saving -----------------------------------------------------------------------------------------------
    def fit(
        self,
        start: Mapping[str, Any] | Fit | None = None,
        *,
        starts: int | str | None = None,
        prior: bool = True,
        max_iterations: int = 100,
        progress: bool = True,
        seed: int = 0,
    ) -> Fit:
        """Maximise the log density by Levenberg-Marquardt; see `bayesjoint.infer.fit.Fit`.

        Parameters
        ----------
        start : mapping of values, or a previous Fit, optional
            Where to begin, by site in arcsec, degree, nJy or Quantities; sites that are not in it begin at the automatic start.
        starts : int or "auto", optional
            How many places are followed to their ends; the highest is the fit. "auto", the default without `start`, searches where
            one start is not enough: components that share a centre, sources that overlap, a source that ended far out. 1, the
            default with `start`, begins there alone.
        prior : bool
            False maximises the likelihood alone, in the same coordinates.
        max_iterations : int
            Steps after which to give up, and say so.
        progress : bool
            Show a progress bar.
        seed : int
            Of the shapes that a search looks at.

        Raises
        ------
        ValueError
            For a start outside its prior, or `starts` that are neither "auto" nor a positive whole number.
        """
        from bayesjoint.infer.climb import fit

        return fit(self, start, prior=prior, max_iterations=max_iterations, progress=progress, starts=starts, seed=seed)

    def describe(self) -> str:
        """A table of the sites in words: unit, prior, start, images."""
        from bayesjoint.scene.describe import describe

        return describe(self)

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(self.describe())}</pre>"

    def save(self, path: Any) -> None:
        """Write the scene as readable YAML: components, priors, values and render plan; the images are only referred to."""
        from bayesjoint.scene.saving import save

        save(self, path)

    @classmethod
    def load(cls, path: Any, images: Sequence[Image]) -> Scene:
        """Read a scene that `save` wrote, on its images."""
        from bayesjoint.scene.saving import load

        return load(path, images)

    def __repr__(self) -> str:
        return (
            f"<Scene: {', '.join(c.name for c in self.components)} in {', '.join(im.name for im in self.images)}; {len(self.names)} free parameters>"
        )

    # -- planning ---------------------------------------------------------------------------------------------------------
    def value(self, component: Component, parameter: str, image: Image, values: Mapping[str, float]) -> float:
        """Value of a `component`'s `parameter`, in its unit, as an `image` sees it, from `values` by site (in arcsec, degree, nJy)."""
        i, n = self.layout.index[component.name, parameter, image.name], len(self.layout.sites)
        if i < n:
            return float(values[self.layout.names[i]])
        return self.layout.constants[i - n] if i < self.layout.count else float(self.full(self.vector(values))[i])
