"""Search: where else a fit may begin, and which of the maxima that it leads to is the highest.

Bulge and disc, or neighbours that overlap, have several maxima. Fluxes and skies are solved for
exactly at any shapes, so that what is to be searched are shapes alone: many are looked at, the best
distinct ones are improved by a few steps, and the best of those are followed to their ends.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy import ndimage
from scipy.stats import qmc

from bayesjoint.images.binning import binned
from bayesjoint.infer.library import Library, middle_size
from bayesjoint.infer.lm import State, decrement, levenberg_marquardt, objective
from bayesjoint.scene.layout import Site
from bayesjoint.scene.linear import Linear, linear_sites
from bayesjoint.scene.planning import make_plans
from bayesjoint.scene.starts import linear_values
from bayesjoint.sky.components import Source
from bayesjoint.sky.extended import Extended
from bayesjoint.sky.windows import AUTO

if TYPE_CHECKING:
    from bayesjoint.scene.scene import Scene

__all__ = ["GAIN", "Mode", "Place", "candidates", "concentric", "overlapping"]

SIZES = (0.08, 3.0)
"""Sizes that are looked at, in units of the light's own."""
INDICES = (0.5, 6.0)
"""Sérsic indices that are looked at."""
AXIS_RATIOS = (0.35, 0.9)
"""Axis ratios that are tried beside the light's own."""
LOOKS, ELLIPSES = 64, 5
"""Shapes that are looked at for a group of sources; the best of them are looked at with other ellipses."""
RANKED, LOOKED_AT = 1200, 18
"""Pairs of a library of shapes that are told apart, and distinct ones of them that are looked at."""
IMPROVED = 9
"""Distinct places that are improved by a few steps."""
FEW, MORE = 3, 5
"""Steps for each, and further ones for the better half."""
LIKE = 0.25
"""Difference in the logarithm of a size or index, or in ellipticity, below which places are alike."""
GAIN = 0.5
"""Log density by which another place must be higher to be worth a fit."""
SAME = 0.1
"""The same, below which two places that were improved are taken for one."""
OVERLAP = 2.0
"""Distance of two galaxies, in units of the sum of their half-light radii, below which they overlap."""
MAX_IMAGES = 2
"""Images of a component that shapes are looked at in, those of the highest signal-to-noise."""
SEARCHED, SAMPLES = 400_000, 5.0
"""Pixels of an image from which on shapes are looked at on larger ones, and how many of these the half-light radius of the light has at least."""


@dataclass(frozen=True)
class Mode:
    """A maximum of the density.

    Attributes
    ----------
    z, covariance : tensors, shape (n,) and (n, n)
        Where it is, and the covariance there, in the flat coordinates.
    log_density, log_evidence : float
        Its height, and its share of the evidence by Laplace's approximation.
    weight : float
        Its part of the evidence of all of them.
    """

    z: torch.Tensor
    covariance: torch.Tensor
    log_density: float
    log_evidence: float
    weight: float


@dataclass(frozen=True)
class Place:
    """Where a fit may begin: values by site, in their units, the log density that it promises to reach, and how many starts led there."""

    values: dict[str, float]
    promise: float
    count: int = 1


def concentric(scene: Scene) -> list[list[Extended]]:
    """Extended sources that share their centre, in groups of two or more."""
    groups: dict[tuple[int | float, int | float], list[Extended]] = {}
    layout = scene.layout
    for c in scene.components:
        if isinstance(c, Extended):
            im = next(im for im in scene.images if c.sees(im))
            key = tuple(layout.told[c.name, k, im.name] for k in ("x", "y"))
            held = tuple(
                k if k < len(layout.sites) or k >= layout.count else -1e9 + layout.constants[k - len(layout.sites)]
                for k in key
            )
            groups.setdefault(held, []).append(c)
    return [g for g in groups.values() if len(g) > 1]


def overlapping(scene: Scene, values: Mapping[str, float]) -> list[list[Extended]]:
    """Extended sources of which one lies on another, in groups; each group of concentric ones counts as one."""
    sources = [c for c in scene.components if isinstance(c, Extended) and _shapes(scene, [c])]
    near: dict[str, set[str]] = {c.name: {c.name} for c in sources}
    for i, a in enumerate(sources):
        for b in sources[i + 1 :]:
            im = next((im for im in scene.images if a.sees(im) and b.sees(im)), None)
            if im is None:
                continue
            ax, ay, bx, by = (scene.value(c, k, im, values) for c in (a, b) for k in ("x", "y"))
            reach = sum(_size(scene, c, im, values) for c in (a, b)) + im.pixel_scale * 2
            if np.hypot(ax - bx, ay - by) < OVERLAP * reach:
                together = near[a.name] | near[b.name]
                for name in together:
                    near[name] = together
    groups = {frozenset(v) for v in near.values() if len(v) > 1}
    return [[c for c in sources if c.name in g] for g in sorted(groups, key=sorted)]


def candidates(
    scene: Scene,
    start: Mapping[str, float],
    group: Sequence[Extended],
    *,
    prior: bool,
    count: int,
    seed: int,
    report: Callable[[dict[str, Any]], None],
    ended: Mapping[str, float] | None = None,
) -> list[Place]:
    """Places to begin a fit at, the most promising first: distinct ones, at most `count`.

    Parameters
    ----------
    scene : Scene
    start : mapping
        Values by site, in their units: the automatic start.
    group : sequence of Extended
        The sources whose shapes are looked at; all others stay as they begin.
    prior : bool
        Whether the prior is part of what is maximised.
    count : int
        How many are wanted.
    seed : int
        Of the shapes that are looked at.
    ended : mapping, optional
        Where a fit has ended: only places that promise more are wanted.
    """
    small = _coarser(_fewer_images(scene, group), start, group)
    first = {k: start[k] for k in small.names if k in start}
    if len(first) < len(small.names):  # a site that was renamed
        small, first = scene, dict(start)
    shapes = _shapes(small, group)
    least = -math.inf if ended is None else _height_at(small, ended, prior) + GAIN
    plan = {s.name: min(first[s.name], 0.5) for s in shapes if s.spec.name == "q"}
    small = small.with_plans(make_plans(small, {**first, **plan}))
    height = _Height(small, first, prior)
    seen = [(first, *height(first))]
    moved = [] if _one_centre(small, group) else _residual_peaks(small, seen[0][1], group)
    library = Library.of(small, first, group, moved)
    if library is not None:
        trials = _distinct(shapes, library.ranked(max(RANKED, 8 * count)), max(LOOKED_AT, 2 * count))
        seen += [(values, *height(values)) for values, *_ in trials]
    else:
        for trial in _looks(shapes, first, group, max(LOOKS, 8 * count), seed):
            for centre in ({}, *moved):
                values = {**first, **trial, **centre}
                seen.append((values, *height(values)))
        seen.sort(key=lambda s: -s[2])
        for values, _, _ in _distinct(shapes, seen, ELLIPSES):
            for trial in _ellipses(shapes, values, group):
                seen.append((trial, *height(trial)))
    seen.sort(key=lambda s: -s[2])
    places = _distinct(shapes, seen, max(IMPROVED, 2 * count))
    states = [(_steps(small, small.unconstrain(v), FEW, prior, report), 1) for _, v, _ in places]
    states = _best(shapes, small, states, max(count, (len(states) + 1) // 2))
    states = [(_steps(small, s.z, MORE, prior, report), n) for s, n in states]
    found = []
    for state, led in _best(shapes, small, states, count):
        values = {k: float(v) for k, v in small.constrain(state.z).items()}
        whole = {**start, **values}
        if small is not scene:
            whole = linear_values(scene, whole)[0]
        found.append(Place(whole, _promise(state), led))
    scene.release()
    return [p for p in found if p.promise > least]


def _height_at(scene: Scene, values: Mapping[str, float], prior: bool) -> float:
    """The log density at values of a larger scene that this one is made of."""
    known = {k: values[k] for k in scene.names if k in values}
    if len(known) < len(scene.names):
        return -math.inf
    best = linear_values(scene, known)[0]
    return objective(scene.with_plans(make_plans(scene, best)), scene.unconstrain(best), prior)


class _Height:
    """The log density at shapes, with the fluxes and skies of which it is highest."""

    def __init__(self, scene: Scene, values: Mapping[str, float], prior: bool) -> None:
        self.scene, self.prior = scene, prior
        amplitudes = [i for i, s in enumerate(scene.layout.sites) if s.spec.unit in ("flux", "image")]
        self.linear = None
        if prior and amplitudes == linear_sites(scene):
            self.linear = Linear(scene, scene.vector(values))

    def __call__(self, values: Mapping[str, float]) -> tuple[dict[str, float], float]:
        scene = self.scene
        try:
            if self.linear is not None:
                z, value = self.linear.profile(scene.unconstrain(values))
                best = {k: float(v) for k, v in scene.constrain(z).items()}
            else:
                best = linear_values(scene, dict(values))[0]
                value = objective(scene, scene.unconstrain(best), self.prior)
        except torch.linalg.LinAlgError:  # two of them do the same to the images, there
            return dict(values), -math.inf
        return best, value if math.isfinite(value) else -math.inf


def _steps(scene: Scene, z: torch.Tensor, count: int, prior: bool, report: Callable[[dict[str, Any]], None]) -> State:
    return levenberg_marquardt(scene, z, prior=prior, max_iterations=count, report=report)


def _promise(state: State) -> float:
    """The log density that a state may lead to: what it has, and what a full step from it is expected to gain."""
    return state.log_density + max(decrement(state), 0.0)


def _best(shapes: Sequence[Site], scene: Scene, states: Sequence[tuple[State, int]], count: int) -> list[tuple[State, int]]:
    """The most promising distinct states, each with how many starts led there."""
    rows = [({k: float(v) for k, v in scene.constrain(s.z).items()}, s, n, _promise(s)) for s, n in states]
    rows = sorted((r for r in rows if math.isfinite(r[3])), key=lambda r: -r[3])
    out: list[tuple[np.ndarray, State, int]] = []
    for values, state, n, _ in rows:
        here = _features(shapes, values)
        twin = next((k for k, (f, *_) in enumerate(out) if np.abs(f - here).max(initial=0.0) < SAME), None)
        if twin is None:
            out.append((here, state, n))
        else:
            out[twin] = (*out[twin][:2], out[twin][2] + n)
    return [(s, n) for _, s, n in out[:count]]


def _distinct(shapes: Sequence[Site], rows: Sequence[tuple[dict[str, float], Any, float]], count: int) -> list[Any]:
    """The first of rows (values, ..., height) that differ in shape."""
    out, features = [], []
    for row in rows:
        f = _features(shapes, row[0])
        if math.isfinite(row[2]) and all(np.abs(f - g).max(initial=0.0) > LIKE for g in features):
            out.append(row)
            features.append(f)
            if len(out) == count:
                break
    return out


def _features(shapes: Sequence[Site], values: Mapping[str, float]) -> np.ndarray:
    """Logarithms of sizes and indices, and ellipticities, by which places are told apart."""
    out, angles = [], {s.component.name: values[s.name] for s in shapes if s.spec.cyclic}
    for s in shapes:
        v = values[s.name]
        if s.spec.name == "q":
            out.extend(-math.log(v) * np.array(_turned(angles.get(s.component.name, 0.0))))
        elif s.spec.name in ("x", "y"):
            out.append(v / max(s.images[0].pixel_scale, 1e-9) / 4)
        elif not s.spec.cyclic:
            out.append(math.log(max(v, 1e-12)) if not s.spec.real else v)
    return np.array(out)


def _turned(pa: float) -> tuple[float, float]:
    return math.cos(math.radians(2 * pa)), math.sin(math.radians(2 * pa))


def _shapes(scene: Scene, group: Sequence[Extended]) -> list[Site]:
    """Sites of the group's shapes and, where they have centres of their own, places, that nobody said where to begin."""
    return [s for s in scene.layout.sites if s.component in group and s.start is None and s.spec.unit not in ("flux", "image")]


def _is_size(site: Site) -> bool:
    return site.spec.unit == "arcsec" and site.spec.name not in ("x", "y") and not site.spec.real


def _size(scene: Scene, c: Extended, im: Any, values: Mapping[str, float]) -> float:
    """A source's first length in arcsec."""
    name = next((s.name for s in c.specs_of_profile if s.unit == "arcsec"), None)
    return 0.0 if name is None else scene.value(c, name, im, values)


def _one_centre(scene: Scene, group: Sequence[Extended]) -> bool:
    return any(set(map(id, group)) <= set(map(id, g)) for g in concentric(scene)) or len(group) == 1


def _fewer_images(scene: Scene, group: Sequence[Extended]) -> Scene:
    """The scene in the images that tell most of each component's shape."""
    if len(scene.images) <= MAX_IMAGES:
        return scene
    signal = {}
    for im in scene.images:
        sky = np.median(im.data[im.valid])
        bright = np.clip((im.data - sky) / im.sigma, 0, None)[im.valid]
        signal[im.name] = float(np.sqrt((bright[bright > 2] ** 2).sum()))
    ranked = sorted(scene.images, key=lambda im: -signal[im.name])
    wanted: set[str] = set()
    for c in scene.components:
        if isinstance(c, Source):
            wanted.update([im.name for im in ranked if c.sees(im)][:MAX_IMAGES])
    return scene if len(wanted) == len(scene.images) else scene.subset(images=[im.name for im in scene.images if im.name in wanted])


def _looks(shapes: Sequence[Site], first: Mapping[str, float], group: Sequence[Extended], count: int, seed: int) -> list[dict[str, float]]:
    """Sizes and indices to look at, spread evenly over all that they may be (Sobol's sequence)."""
    sizes = [s for s in shapes if _is_size(s)]
    lengths = {spec.name for c in group for spec in c.specs if spec.unit == "arcsec"}
    ratios = [s for s in shapes if s.spec.name.endswith(".above") and s.spec.name.split(".")[0] in lengths]
    indices = [s for s in shapes if s.spec.name.split(".")[0] == "n" and not s.spec.real]
    units = [(c, k) for c in group for k in ("size", "n") if any(s.component is c for s in (*sizes, *ratios, *indices))]
    if not units:
        return []
    middle = math.exp(np.mean([math.log(first[s.name]) for s in sizes])) if sizes else 1.0
    alone = len(group) == 1 or not sizes
    points = qmc.Sobol(len(units), seed=seed).random(count)
    out = []
    for row in points:
        part = dict(zip(units, row, strict=True))
        trial, at = {}, {}
        for s in sizes:
            factor = _between(SIZES, part[s.component, "size"])
            at[s.component.name] = factor
            trial[s.name] = (first[s.name] if alone or not _one_size(sizes, s) else middle) * factor
        for s in ratios:
            below = at.get(s.component.params[s.spec.name.split(".")[0]].other.component.name, 0.3)
            trial[s.name] = max(_between(SIZES, part[s.component, "size"]) / below - 1.0, 0.1)
        for s in indices:
            trial[s.name] = _between(INDICES, part[s.component, "n"])
        out.append(_possible(shapes, trial, first))
    return out


def _one_size(sizes: Sequence[Site], site: Site) -> bool:
    """Whether a source has this length alone."""
    return sum(s.component is site.component for s in sizes) == 1


def _between(ends: tuple[float, float], part: float) -> float:
    lo, hi = (math.log(v) for v in ends)
    return math.exp(lo + (hi - lo) * float(part))


def _ellipses(shapes: Sequence[Site], values: Mapping[str, float], group: Sequence[Extended]) -> list[dict[str, float]]:
    """Places with other ellipses: each source rounder or thinner than the others, or turned."""
    out = []
    for c in group:
        own = [s for s in shapes if s.component is c]
        q = next((s for s in own if s.spec.name == "q"), None)
        pa = next((s for s in own if s.spec.name == "pa"), None)
        if q is None:
            continue
        out += [_possible(shapes, {q.name: v}, values) for v in AXIS_RATIOS]
        if pa is not None:
            out += [_possible(shapes, {q.name: 0.6, pa.name: values[pa.name] + turn}, values) for turn in (45.0, 90.0, 135.0)]
    return [{**values, **trial} for trial in out]


def _possible(shapes: Sequence[Site], trial: Mapping[str, float], first: Mapping[str, float]) -> dict[str, float]:
    """A trial's values, but those that a prior does not allow as they were."""
    out = {}
    for s in shapes:
        if s.name not in trial:
            continue
        v = trial[s.name] % 180.0 if s.spec.cyclic and s.default else trial[s.name]
        lo, hi = (getattr(s.prior.support, k, None) for k in ("lower_bound", "upper_bound"))
        if lo is not None and hi is not None:
            lo, hi = float(lo), float(hi)
            v = float(np.clip(v, lo + 0.02 * (hi - lo) if lo <= 0 else lo * 1.02, hi - 0.02 * (hi - lo) if hi <= 1 else hi / 1.02))
        out[s.name] = v if bool(s.prior.support.check(torch.tensor(v, dtype=torch.float64))) else first[s.name]
    return out


def _coarser(scene: Scene, values: Mapping[str, float], group: Sequence[Extended]) -> Scene:
    """The scene on larger pixels, in images that have far more of them than the group's light asks for."""
    plain = all(c.window in (None, AUTO) for c in scene.components if isinstance(c, Source)) and all(n.linear for n in scene.noise.values())
    if not plain or any(im.zeropoint is None for im in scene.images):
        return scene
    known = {**scene.start, **{k: v for k, v in values.items() if k in scene.names}}
    size = middle_size(scene, known, group)
    factors = [min(math.ceil(math.sqrt(im.data.size / SEARCHED)), int(size / im.pixel_scale / SAMPLES)) for im in scene.images]
    if max(factors) < 2:
        return scene
    return scene.with_images([binned(im, n) if n > 1 else im for im, n in zip(scene.images, factors, strict=True)])


def _residual_peaks(scene: Scene, values: Mapping[str, float], group: Sequence[Extended], most: int = 2) -> list[dict[str, float]]:
    """Other centres for the sources of a group, faintest first: the highest peaks that the model leaves."""
    movable = [c for c in group if c.position is None and c.hint is None]
    movable = [c for c in movable if all(any(s.component is c and s.spec.name == k and s.start is None and s.default for s in scene.layout.sites) for k in ("x", "y"))]
    if not movable:
        return []
    left = scene.residuals(values)
    im = max((im for im in scene.images if all(c.sees(im) for c in group)), key=lambda im: left[im.name].std(), default=None)
    if im is None:
        return []
    width = max((im.psf.fwhm if im.psf is not None else 1.5) / 2.355, 1.0)
    smooth = ndimage.gaussian_filter(left[im.name], width)
    out = []
    flux = {c.name: scene.value(c, "flux", im, values) for c in movable}
    faint = min(movable, key=lambda c: flux[c.name])
    for _ in range(most):
        py, px = np.unravel_index(smooth.argmax(), smooth.shape)
        x, y = (float(v) for v in scene.frame.to_sky(im.placement, px, py))
        out.append({f"{faint.name}.x": x, f"{faint.name}.y": y})
        j, i = np.indices(smooth.shape)
        smooth[np.hypot(j - py, i - px) < 4 * width] = -np.inf
    return out
