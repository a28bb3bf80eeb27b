"""Starts: where a fit begins, read from the pixels (priors never are).

Sources without a position are found as the brightest blobs of the image where they stand out most; their shapes are
flux-weighted moments with the PSF's taken off; sizes and Sérsic indices are chosen among a few by chi², with all fluxes and
skies solved linearly; the best is what Levenberg-Marquardt begins at.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy import ndimage
from torch.distributions import biject_to

from bayesjoint.images import Frame, Image
from bayesjoint.log import log
from bayesjoint.scene.linear import FAR_INSIDE, gather, leads, soft_mode
from bayesjoint.scene.planning import make_plans
from bayesjoint.sky.components import Source
from bayesjoint.sky.extended import Extended
from bayesjoint.sky.parameters import Param, Ref, Spec
from bayesjoint.sky.priors import SoftPositive

if TYPE_CHECKING:
    from bayesjoint.scene.scene import Scene

__all__ = ["Blob", "linear_values", "placed_ellipse", "starts"]

MOST, SPARE = 40, 8
"""Patches of light in an image that are measured, the highest first: at most, and beyond twice the number of sources."""
HIDDEN = 1.2
"""Radius about a point, in units of the PSF's width, within which nothing else is looked for."""
SPREAD = (0.4, 1.4)
"""Sizes that the first and the last of several sources on one centre begin at, in units of the light's."""
INDICES, SIZES = (1.0, 2.0, 4.0), (0.6, 1.0, 1.6)


@dataclass
class Blob:
    """A patch of light in one image: place and shape in the scene's frame, half-light radius in arcsec, signal-to-noise."""

    x: float
    y: float
    q: float
    pa: float
    size: float
    snr: float
    point: bool = False
    """Whether it is no wider than the PSF."""


def starts(scene: Scene) -> dict[str, float]:
    """Starting value of every site of a scene."""
    values: dict[str, float] = {}
    sources = [c for c in scene.components if isinstance(c, Source)]
    points = [(c, place) for c in sources if not isinstance(c, Extended) and (place := _given_position(c, scene)) is not None]
    blobs = {im.name: _blobs(im, scene, _clear(im, scene, [p for c, p in points if c.sees(im)])) for im in scene.images}
    free = {name: list(found) for name, found in blobs.items()}
    owners, taken, spread = [_place_owner(c) for c in sources], {}, _spread(sources)
    # whose place is another's comes after it, and begins at the same light
    for c, owner in sorted(zip(sources, owners, strict=True), key=lambda p: p[1] is not p[0]):
        blob = taken.get(owner.name) if owner is not c else None
        if blob is None:
            blob = _choose(c, [im for im in scene.images if c.sees(im)], blobs, free, scene)
        taken[c.name] = blob
        blob = replace(blob, size=blob.size * spread.get(c.name, 1.0))
        known = c.begin(blob.size) if isinstance(c, Extended) else {}
        values |= {s.name: _own(s, known.get(s.spec.name, _guess(s.spec, blob))) for s in scene.layout.sites if s.component is c}
    for s in scene.layout.sites:
        if not isinstance(s.component, Source):
            guess = np.median(s.images[0].data[s.images[0].valid]) if s.spec.name == "level" else s.spec.guess or 0.0
            values[s.name] = _own(s, float(guess))
    return _refine(scene, values)


def _place_owner(c: Source) -> Source:
    """The source whose place another's is; itself where it has its own."""
    owner = c
    while isinstance(given := owner.params.get("x"), Ref) and isinstance(given.component, Source):
        owner = given.component
    return owner


def _spread(sources: list[Source]) -> dict[str, float]:
    """Sizes of extended sources that share a place, in units of the light's: different ones, in the order in which they are listed."""
    out: dict[str, float] = {}
    extended = [c for c in sources if isinstance(c, Extended)]
    for owner in {_place_owner(c).name for c in extended}:
        group = [c for c in extended if _place_owner(c).name == owner]
        if len(group) > 1:
            for c, factor in zip(group, np.geomspace(*SPREAD, len(group)), strict=True):
                out[c.name] = float(factor)
    return out


def _guess(spec: Spec, blob: Blob) -> float:
    """Where a parameter begins at a blob of light."""
    placed, name = {"x": blob.x, "y": blob.y, "q": blob.q, "pa": blob.pa}, spec.name.split(".")[0]
    if name in placed and spec.guess is None:  # a coefficient of a link has a guess of its own
        return placed[name]
    if spec.unit == "arcsec" and spec.prior is None and spec.guess != 0.0:
        return blob.size * (1.0 if spec.guess is None else spec.guess)
    if spec.guess is not None:
        return spec.guess
    return spec.prior[1] if spec.prior is not None else 0.0


def _own(site: Any, guess: float) -> float:
    """The user's start, else the guess, moved to where the site's prior and bounds allow it."""
    if site.start is not None:
        return site.start
    lo, hi = site.spec.bounds
    guess = float(np.clip(guess, lo if np.isfinite(lo) else -np.inf, hi * 0.999 if np.isfinite(hi) and site.spec.name == "q" else hi))
    if site.default:
        return guess
    mean, sd = _moments(site.prior)
    turns = (0.0, 180.0, -180.0) if site.spec.cyclic else (0.0,)  # a prior on an angle may lie beyond [0, 180)
    guess = next((guess + t for t in turns if _inside(site.prior, guess + t, sd)), float("nan"))
    if np.isfinite(guess) and not abs(guess - mean) > 3 * sd:
        return guess
    if hasattr(site.prior, "base_dist") and isinstance(site.prior, torch.distributions.LogNormal):
        return float(torch.exp(site.prior.loc))  # its mean may be far out
    if np.isfinite(mean):
        return mean
    return guess if np.isfinite(guess) else float(biject_to(site.prior.support)(torch.zeros(())))


def _moments(prior: Any) -> tuple[float, float]:
    """Mean and standard deviation of a prior; NaN for both where it lacks either."""
    try:
        mean, sd = float(prior.mean), float(prior.stddev)
    except (NotImplementedError, AttributeError):
        return float("nan"), float("nan")
    return (mean, sd) if np.isfinite(mean) and np.isfinite(sd) else (float("nan"), float("nan"))


def _inside(prior: Any, value: float, sd: float) -> bool:
    """Whether a value lies within a prior's support, and not on its edge, where the flat coordinate is infinite."""
    step = 1e-6 * (abs(value) + (sd if np.isfinite(sd) else 1.0))
    return all(bool(prior.support.check(torch.tensor(v, dtype=torch.float64))) for v in (value - step, value + step))


def _choose(c: Source, seen: list[Image], blobs: dict[str, list[Blob]], free: dict[str, list[Blob]], scene: Scene) -> Blob:
    """The blob of a source: nearest to its given position, else the one that stands out most and is not taken yet."""
    if c.hint is not None:
        return c.hint
    place = _given_position(c, scene)
    best = max(seen, key=lambda im: max((b.snr for b in blobs[im.name]), default=0.0))
    candidates = blobs[best.name]
    if place is not None:
        near = min(candidates, key=lambda b: np.hypot(b.x - place[0], b.y - place[1]), default=None)
        if near is not None and np.hypot(near.x - place[0], near.y - place[1]) < max(2 * near.size, 3 * best.pixel_scale):
            return Blob(*place, near.q, near.pa, near.size, near.snr)
        return Blob(*place, 0.7, 45.0, 3 * best.pixel_scale, 0.0)
    pool = free[best.name] or candidates
    if not pool:
        x, y = (float(v) for v in scene.frame.to_sky(best.placement, *best.placement.middle))
        log.info("%s: nothing stands out of the noise of %s; the fit begins at the image's middle.", c.name, best.name)
        return Blob(x, y, 0.7, 45.0, max(3 * best.pixel_scale, 0.05 * best.pixel_scale * min(best.shape)), 0.0)
    blob = pool[0]
    if _owns_position(c):
        for name in free:
            free[name] = [b for b in free[name] if np.hypot(b.x - blob.x, b.y - blob.y) > max(blob.size, 2 * best.pixel_scale)]
    return blob


def _owns_position(c: Source) -> bool:
    return all(isinstance(c.params.get(k, Param()), Param) for k in ("x", "y"))


def _given_position(c: Source, scene: Scene) -> tuple[float, float] | None:
    if c.position is not None:
        return scene.frame.offset(c.position)
    pair = []
    for k in ("x", "y"):
        given = c.params.get(k)
        while isinstance(given, Ref):  # follow it
            owner, key = given.component, given.name
            if owner.position is not None:
                return scene.frame.offset(owner.position)
            given = owner.params.get(key)
        if not isinstance(given, Param):
            return None
        v = given.value if given.value is not None else given.start
        if v is None and given.prior is not None:
            v = _moments(given.prior)[0]
        if v is None or not np.isfinite(v):
            return None
        pair.append(float(v))
    return pair[0], pair[1]


def _clear(im: Image, scene: Scene, points: list[tuple[float, float]]) -> np.ndarray:
    """Pixels in use that no point whose place is given shines on: a supernova is not to be taken for its host."""
    clear = im.valid.copy()
    reach = int(np.ceil(HIDDEN * (im.psf.fwhm if im.psf is not None else 1.5)))
    for place in points:
        px, py = (round(v) for v in scene.frame.to_pixel(im.placement, *place))
        part = np.s_[max(py - reach, 0) : max(py + reach + 1, 0), max(px - reach, 0) : max(px + reach + 1, 0)]
        j, i = np.indices(clear[part].shape)
        clear[part] &= (j + max(py - reach, 0) - py) ** 2 + (i + max(px - reach, 0) - px) ** 2 > reach**2
    return clear if clear.sum() > 0.5 * im.valid.sum() else im.valid


def _blobs(im: Image, scene: Scene, valid: np.ndarray) -> list[Blob]:
    """Light that stands out of an image's `valid` pixels, most significant first."""
    weight = valid / im.variance
    sky = float(np.median(im.data[im.valid]))
    border = np.concatenate(
        [im.data[k][im.valid[k]] for k in (np.s_[:3], np.s_[-3:])] + [im.data[:, k][im.valid[:, k]] for k in (np.s_[:3], np.s_[-3:])]
    )
    if border.size > 20:
        sky = min(sky, float(np.median(border)))
    width = (im.psf.fwhm if im.psf is not None else 1.5) / 2.355
    width = max(width, 1.0)
    signal, norm = (ndimage.gaussian_filter(a, width, mode="constant") for a in ((im.data - sky) * weight, weight))
    kernel = np.zeros((2 * int(4 * width) + 3,) * 2)
    kernel[kernel.shape[0] // 2, kernel.shape[1] // 2] = 1
    gain = np.sqrt((ndimage.gaussian_filter(kernel, width) ** 2).sum())
    with np.errstate(divide="ignore", invalid="ignore"):
        snr = np.where(norm > 1e-3 * norm.max(), signal / np.sqrt(norm) / gain, 0.0)
    level = 5.0 if (snr > 5).any() else 3.0
    labels, count = ndimage.label(snr > level)
    found, margin, boxes = [], int(np.ceil(4 * width)), ndimage.find_objects(labels)
    highest = ndimage.maximum(snr, labels, np.arange(1, count + 1))
    most = min(MOST, SPARE + 2 * sum(isinstance(c, Source) for c in scene.components))
    for k in (np.argsort(highest)[::-1][:most] + 1).tolist():
        rows, cols = boxes[k - 1]
        rows, cols = (slice(max(s.start - margin, 0), s.stop + margin) for s in (rows, cols))
        where = (labels[rows, cols] == k) & valid[rows, cols]
        if where.sum() >= 4:
            found.append(_measure(im, scene, where, (rows.start, cols.start), sky, width))
    return sorted((b for b in found if b is not None), key=lambda b: -b.snr)


def _measure(im: Image, scene: Scene, where: np.ndarray, corner: tuple[int, int], sky: float, width: float) -> Blob | None:
    """A patch of light, from its pixels in the part of the image that begins at `corner` (row, column)."""
    here = tuple(slice(c, c + n) for c, n in zip(corner, where.shape, strict=True))
    bright, variance = im.data[here] - sky, im.variance[here]
    light = np.where(where, np.clip(bright, 0, None), 0.0)
    total = light.sum()
    if not total > 0:
        return None
    j, i = np.nonzero(where)
    f = light[j, i]
    # the peak of the smoothed light: steadier than the centroid where a neighbour shares the patch
    smooth = np.where(where, ndimage.gaussian_filter(light, width), 0)
    py, px = np.unravel_index(smooth.argmax(), smooth.shape)
    near = np.hypot(i - px, j - py) < 3 * width
    cx, cy = ((f * near * v).sum() / max((f * near).sum(), 1e-300) for v in (i, j))
    r = np.hypot(i - cx, j - cy)
    order = np.argsort(r)
    half = r[order][np.searchsorted(np.cumsum(f[order]), 0.5 * total)]
    window = np.exp(-0.5 * (r / max(2 * half, 2 * width)) ** 2)
    g = f * window
    mxx, myy, mxy = ((g * a).sum() / g.sum() for a in ((i - cx) ** 2, (j - cy) ** 2, (i - cx) * (j - cy)))
    floor = 0.25 * min(mxx, myy)
    snr = float(bright[j, i].sum() / np.sqrt(variance[j, i].sum()))
    cx, cy = cx + corner[1], cy + corner[0]
    x, y, q, pa = placed_ellipse(scene.frame, im, (cx, cy), (max(mxx - width**2, floor), max(myy - width**2, floor), mxy))
    size = np.sqrt(max(half**2 - 1.39 * width**2, 0.1 * half**2, 0.04)) * im.pixel_scale
    # significance, lowered towards the edge of the image: the target is more often in its middle
    off = np.hypot(cx - im.placement.middle[0], cy - im.placement.middle[1]) / (0.5 * min(im.shape))
    snr *= float(np.exp(-0.5 * (off / 0.6) ** 2))
    return Blob(x, y, q, pa, size / np.sqrt(q), snr)


def placed_ellipse(frame: Frame, im: Image, pixel: tuple[float, float], moments: tuple[float, float, float]) -> tuple[float, float, float, float]:
    """Place (x, y) on the sky, axis ratio and position angle of light at a pixel, from its second moments (xx, yy, xy) there."""
    jac = frame.jacobian(im.placement, *pixel)
    mxx, myy, mxy = moments
    val, vec = np.linalg.eigh(jac @ np.array([[mxx, mxy], [mxy, myy]]) @ jac.T)
    val = np.clip(val, 1e-12, None)
    x, y = (float(v) for v in frame.to_sky(im.placement, *pixel))
    return x, y, float(np.clip(np.sqrt(val[0] / val[1]), 0.15, 0.95)), float(np.degrees(np.arctan2(vec[0, 1], vec[1, 1])) % 180)


def linear_values(scene: Scene, values: dict[str, float]) -> tuple[dict[str, float], float]:
    """Solve fluxes and skies for given structure, by weighted least squares with their priors; returns values and chi² + penalty.

    Fluxes that are not to be negative are held up by the soft edge of their prior. Any other prior that is not Normal counts as one of
    its mean and standard deviation, and the solution is moved to where it allows it.
    """
    sites = scene.layout.sites
    linear = [i for i, s in enumerate(sites) if s.spec.unit in ("flux", "image") and s.start is None]
    if not linear:
        return dict(values), float("nan")
    theta = scene.vector(values).detach().clone()
    if not scene.links:
        theta[linear] = 0.0
    at = theta[linear].cpu().double().numpy()
    mean, sd = np.nan_to_num(np.array([_moments(sites[i].prior) for i in linear]), nan=np.inf).T
    precision = sd**-2
    full = scene.full(theta)
    h, g, chi2, _ = gather(scene, full, leads(scene, full, linear), slopes=False)
    h = h.cpu().numpy() + np.diag(precision)
    g, chi2 = g.cpu().numpy() + precision * np.where(precision > 0, mean - at, 0.0), float(chi2)
    scale = 1 / np.sqrt(np.where(np.diag(h) > 0, np.diag(h), 1.0))
    x = np.linalg.lstsq(h * scale[:, None] * scale, g * scale, rcond=1e-12)[0] * scale
    soft = [k for k, i in enumerate(linear) if isinstance(sites[i].prior, SoftPositive)]
    softness = np.array([float(sites[linear[k]].prior.softness) for k in soft])
    if soft and (x + at)[soft].min(initial=np.inf, where=np.isfinite(softness)) < FAR_INSIDE * softness.max():
        system = (torch.from_numpy(v) for v in (h, x + at, np.array(soft), softness))
        x = soft_mode(*system).numpy() - at
    solved = {
        sites[i].name: float(v) if type(sites[i].prior).__name__ in ("Normal", "SoftPositive") else _own(sites[i], float(v))
        for i, v in zip(linear, x + at, strict=True)
    }
    return {**values, **solved}, chi2 - float(2 * g @ x - x @ h @ x)


def _refine(scene: Scene, values: dict[str, float]) -> dict[str, float]:
    """Choose sizes and indices among a few by chi², in the image where each source is clearest, with linear fluxes."""
    plans = make_plans(scene, values)
    if scene.device.type == "cpu" and scene.dtype == torch.float64:
        plain = scene.with_plans(plans, values)
        scene.likelihoods = scene.likelihoods or plain.likelihoods  # most plans stay as they are
    else:
        plain = scene._like(plans=plans, start=values, device="cpu", dtype=torch.float64)
    best, chi2 = linear_values(plain, values)
    sources = [c for c in scene.components if isinstance(c, Extended)]
    if not np.isfinite(chi2) or not sources:
        return best
    sites = {k: [s for s in scene.layout.sites if s.component in sources and s.spec.name == k and s.start is None] for k in ("n", "r_eff")}
    sites["n"] = [s for s in sites["n"] if s.default]
    score = _around(plain, best, chi2, sources)
    for name, tries in (("r_eff", SIZES), ("n", INDICES)):  # one after the other: fits go on from there
        chosen: dict[str, float] = {}
        least = dict(score)
        for v in tries if sites[name] else ():
            trial = {s.name: v if name == "n" else _own(s, best[s.name] * v) for s in sites[name]}
            if all(best[k] == x for k, x in trial.items()):
                continue
            found = _around(plain, *linear_values(plain, {**best, **trial}), sources)
            for s in sites[name]:
                if found[s.component.name] < least[s.component.name]:
                    chosen[s.name], least[s.component.name] = trial[s.name], found[s.component.name]
        if chosen:
            together, value = linear_values(plain, {**best, **chosen})
            if value < chi2:
                best, chi2 = together, value
                score = _around(plain, best, chi2, sources)
    return best


def _around(scene: Scene, values: dict[str, float], chi2: float, sources: list[Extended]) -> dict[str, float]:
    """Chi² about each source, by its name: all of it for one alone, which takes no images."""
    if len(sources) == 1:
        return {sources[0].name: chi2}
    left, out = scene.residuals(values), {}
    for c in sources:
        out[c.name] = 0.0
        for im in scene.images:
            if not c.sees(im):
                continue
            size = next((scene.value(c, s.name, im, values) for s in c.specs if s.name == "r_eff"), 0.0)
            reach = int(np.ceil(3 * size / im.pixel_scale + (im.psf.fwhm if im.psf is not None else 1.5) + 2))
            px, py = (round(v) for v in scene.frame.to_pixel(im.placement, *(scene.value(c, k, im, values) for k in ("x", "y"))))
            part = left[im.name][max(py - reach, 0) : max(py + reach + 1, 0), max(px - reach, 0) : max(px + reach + 1, 0)]
            out[c.name] += float((part**2).sum())
    return out
