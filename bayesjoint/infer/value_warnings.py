"""Warnings about a fit's values: those that one would not believe, and those that the data do not
determine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bayesjoint.images import Image
from bayesjoint.images.seeing import psf_fwhm
from bayesjoint.infer.residuals import Residuals
from bayesjoint.infer.warnings import FitWarning, Pattern, Severity, concerned
from bayesjoint.scene.alike import alike, distances
from bayesjoint.scene.layout import Site
from bayesjoint.sky.border import border_of
from bayesjoint.sky.components import Sky, Source
from bayesjoint.sky.extended import Extended
from bayesjoint.sky.priors import Angle, AxisRatio

if TYPE_CHECKING:
    from bayesjoint.scene.scene import Scene

__all__ = ["at_bounds", "outside_fraction", "rival_maxima", "shares_centre", "value_warnings", "widths"]

NEGATIVE_SIGMA = 3.0
"""Errors below zero from which on a flux is said to be negative."""
FAR_WIDTHS = 4.0
"""Widths of its prior from the prior's middle, from which on a value and its prior are said to
disagree."""
TOLD_APART = -0.999
"""Correlation of two fluxes below which only their sum is known."""
BOUND_RANGE, BOUND_ERRORS, SINGULAR_RANGE = 0.01, 3.0, 1e-6
"""A bound's neighbourhood: part of the range between both, and the value's own errors. An error
below that part of the range is none."""
OUTSIDE = 0.2
"""Part of a source's light outside all images from which on it is said."""
SKY_ERRORS, SKY_SIGMA = 3.0, 0.1
"""Distance of a sky from the border's level, in its own errors and in sigma a pixel, from which on
it is said."""
SKY_CORRELATION = 0.4
"""Correlation of a sky with a galaxy's parameter from which on that galaxy is named; all are where
none has it."""
STRAYED_FWHM, STRAYED_SIZE = 2.0, 2.0
"""Distance from where a source's place was given to begin, in widths of the widest PSF and
half-light radii there, from which on it is said to be at another one."""
MOST_NAMED = 4
"""Parameters that are named of another maximum."""
RIVAL = 0.05
"""Part of the evidence from which on another maximum is said."""
NEEDED_SIGMA = 2.0
"""Errors above zero up to which a component's flux is as good as zero."""


@torch.no_grad()
def widths(scene: Scene, values: Mapping[str, float]) -> np.ndarray:
    """How far each site lies from the middle of its prior, in the prior's widths; 0 where that is
    not Normal in the flat coordinates.

    Where an axis ratio and an angle share a plane, how far they lie from its middle is the axis
    ratio's: all angles are alike to the prior.
    """
    chart = scene.chart
    _, t = chart.values(scene.unconstrain({k: values[k] for k in scene.names}))
    off = (t - chart.loc) * chart.inverse_scale
    off[chart.q], off[chart.pa] = (
        torch.hypot(off[chart.q], off[chart.pa]),
        torch.zeros_like(off[chart.pa]),
    )
    return off.abs().cpu().numpy()


def value_warnings(
    scene: Scene,
    values: Mapping[str, float],
    errors: Mapping[str, float],
    covariance: np.ndarray,
    pressed: Mapping[str, float],
    noise: Mapping[str, Residuals],
    prior: bool,
) -> list[FitWarning]:
    """All that is to be said of the values of a fit, one an item.

    Parameters
    ----------
    scene : Scene
    values, errors : mapping
        By site, in their units.
    covariance : ndarray, shape (n, n)
        Of the values, in their units.
    pressed : mapping
        What `at_bounds` gives.
    noise : mapping
        By image, what its residuals say of it.
    prior : bool
        Whether priors were part of what was maximised.
    """
    bounds = Pattern(
        "Values press against a bound of their priors, and are limits: {items}.",
        "Look for light that the model lacks, hold the parameter, or give it a prior of its own.",
    )
    found = [
        FitWarning.of(
            "at bound",
            Severity.WARNING,
            Pattern(
                bounds.text,
                bounds.remedy,
                f"{name} = {values[name]:.3g} (bound {end:.3g})",
                f"{values[name]:.3g}",
            ),
            parameters=(name,),
            sources=concerned(scene, name),
            value=values[name],
        )
        for name, end in pressed.items()
    ]
    found += (
        _blended(scene, covariance)
        + _exchanged(scene, values, covariance)
        + _negative(scene, values, errors)
    )
    if prior:
        found += _far(scene, values, set(pressed))
    return [
        *found,
        *_outside(scene, values, errors),
        *_skies(scene, values, errors, covariance, noise),
        *_unneeded(scene, values, errors),
        *_strayed(scene, values, errors),
    ]


def rival_maxima(
    scene: Scene, values: Mapping[str, float], errors: Mapping[str, float], modes: Sequence[Any]
) -> list[FitWarning]:
    """Other maxima that hold a part of the posterior, with the values that differ there.

    Parameters
    ----------
    scene : Scene
    values, errors : mapping
        Of the fit, by site, in their units.
    modes : sequence of Mode
        The maxima, that of the fit first.
    """
    found = []
    pairs = [(c, o) for c in scene.components if isinstance(c, Extended) for o in shares_centre(scene, c)]
    remedy = "laplace, svi and nuts draw from all."
    if pairs:
        other, one = (c.name for c in pairs[0])
        remedy = (
            f"laplace, svi and nuts draw from all; if two exchange their roles, r_eff=bj.Above({other}.r_eff) "
            f"in {one} says which is the larger."
        )
    for mode in modes[1:]:
        if mode.weight < RIVAL:
            continue
        there = {k: float(v) for k, v in scene.constrain(mode.z).items()}
        off = {
            s.name: abs(there[s.name] - values[s.name]) / max(errors[s.name], 1e-300)
            for s in scene.layout.sites
            if s.spec.unit not in ("flux", "image") and not s.spec.cyclic
        }
        names = sorted(off, key=off.__getitem__, reverse=True)[:MOST_NAMED]
        items = ", ".join(f"{n} = {there[n]:.3g} (here {values[n]:.3g})" for n in sorted(names))
        text = f"Another maximum holds {mode.weight:.0%} of the posterior: {items}."
        owners = tuple(dict.fromkeys(c for n in names for c in concerned(scene, n)))
        concerns = {"parameters": tuple(sorted(names)), "sources": owners}
        found.append(
            FitWarning(
                "other maximum", Severity.WARNING, text, remedy, value=mode.weight, **concerns
            )
        )
    return found


def at_bounds(
    scene: Scene,
    z: torch.Tensor,
    values: Mapping[str, float],
    errors: Mapping[str, float],
    prior: bool,
) -> dict[str, float]:
    """Sites that press against a bound of their priors, and the bounds, in their units.

    A value does so where it is within a hundredth of the range (of its logarithm for sizes and
    indices) and 3 of its own errors
    of the bound, and the likelihood rises towards it. At a maximum the slopes of likelihood and
    prior cancel.
    """
    with torch.enable_grad():
        x = z.detach().clone().requires_grad_(True)
        pull = (
            -torch.autograd.grad(scene.log_prior(x), x)[0].cpu().numpy()
            if prior and len(z)
            else np.zeros(len(z))
        )
    out = {}
    for k, site in enumerate(scene.layout.sites):
        ends = _interval(site)
        if ends is None:
            continue
        v, error = values[site.name], errors[site.name]
        inside = (_scaled(site, v) - _scaled(site, ends[0])) / (
            _scaled(site, ends[1]) - _scaled(site, ends[0])
        )
        for end, near, sign in (
            (ends[0], inside < BOUND_RANGE, -1),
            (ends[1], inside > 1 - BOUND_RANGE, 1),
        ):
            if near and abs(end - v) < BOUND_ERRORS * error and (not prior or sign * pull[k] > 0):
                out[site.name] = end
    return out


def is_singular(
    scene: Scene, errors: Mapping[str, float], pressed: Mapping[str, float], degenerate: bool
) -> bool:
    """Whether a value is at its bound and the covariance there is none: a direction without
    curvature, or an error of next to nothing.
    """
    sites = {s.name: s for s in scene.layout.sites}
    pinned = [
        n for n in pressed if errors[n] < SINGULAR_RANGE * abs(np.subtract(*_interval(sites[n])))
    ]
    return bool(pressed) and (degenerate or bool(pinned))


def _interval(site: Site) -> tuple[float, float] | None:
    """Both bounds of a site's prior; None where it has not two, or is an axis ratio, whose bounds
    are a round galaxy and a needle.
    """
    if isinstance(site.prior, AxisRatio | Angle):
        return None
    ends = [getattr(site.prior.support, k, None) for k in ("lower_bound", "upper_bound")]
    if any(e is None or not np.isfinite(float(e)) for e in ends):
        return None
    return float(ends[0]), float(ends[1])


def _scaled(site: Site, value: float) -> float:
    """A value in the coordinate in which its range is measured."""
    ends = _interval(site)
    log_scale = (
        ends is not None
        and ends[0] > 0
        and (site.spec.unit == "arcsec" or site.spec.name.split(".")[0] == "n")
    )
    return float(np.log(max(value, 1e-300))) if log_scale else value


def _negative(
    scene: Scene, values: Mapping[str, float], errors: Mapping[str, float]
) -> list[FitWarning]:
    found = []
    for s in scene.layout.sites:
        if (
            s.spec.unit != "flux"
            or not errors[s.name] > 0
            or values[s.name] > -NEGATIVE_SIGMA * errors[s.name]
        ):
            continue
        below = -values[s.name] / errors[s.name]
        pattern = Pattern(
            "Fluxes are negative: {items}.",
            "They take away what another source, the sky or the PSF makes too bright; a positive prior (dist.LogNormal) forbids it.",
            f"{s.name} (by {below:.0f} sigma)",
        )
        concerns = {"parameters": (s.name,), "sources": (s.component.name,), "value": below}
        found.append(FitWarning.of("negative flux", Severity.WARNING, pattern, **concerns))
    return found


def _far(scene: Scene, values: Mapping[str, float], without: set[str]) -> list[FitWarning]:
    found = []
    for name, off in zip(scene.names, widths(scene, values).tolist(), strict=True):
        if off > FAR_WIDTHS and name not in without:
            pattern = Pattern(
                "Values lie far from the middle of their priors: {items}.",
                "The prior is wrong, or the model is: check both.",
                f"{name} (by {off:.1f} widths)",
            )
            concerns = {"parameters": (name,), "sources": concerned(scene, name), "value": off}
            found.append(FitWarning.of("far from prior", Severity.WARNING, pattern, **concerns))
    return found


def _blended(scene: Scene, covariance: np.ndarray) -> list[FitWarning]:
    """Pairs of fluxes of one band whose sum alone is known."""
    sd = np.sqrt(np.clip(np.diag(covariance), 1e-300, None))
    fluxes = [(k, s) for k, s in enumerate(scene.layout.sites) if s.spec.unit == "flux"]
    found = []
    for m, (i, a) in enumerate(fluxes):
        for j, b in fluxes[m + 1 :]:
            if a.label != b.label or covariance[i, j] / (sd[i] * sd[j]) >= TOLD_APART:
                continue
            pattern = Pattern(
                "The data tell the sum of {items} alone.",
                "Give the fluxes positive priors (dist.LogNormal), or leave one of the sources out.",
                f"{a.name} and {b.name}",
            )
            concerns = {
                "parameters": (a.name, b.name),
                "sources": (a.component.name, b.component.name),
            }
            found.append(FitWarning.of("blend", Severity.WARNING, pattern, value=1.0, **concerns))
    return found


def _exchanged(
    scene: Scene, values: Mapping[str, float], covariance: np.ndarray
) -> list[FitWarning]:
    found = []
    for pair in distances(
        alike(scene), scene.names, np.array([values[n] for n in scene.names]), covariance
    ):
        text, remedy = pair.sentences
        found.append(
            FitWarning(
                "exchange",
                Severity.WARNING,
                text,
                remedy,
                sources=tuple(pair.names),
                value=pair.sigma,
            )
        )
    return found


def shares_centre(scene: Scene, component: Any) -> list[Any]:
    """Other extended components on the very same centre as an extended one, in an image of both."""
    first = len(scene.layout.sites)

    def centre(c: Any, im: Image) -> tuple[tuple[str, float], ...]:
        """Sites, or what they are held at."""
        places = (scene.layout.told[c.name, k, im.name] for k in ("x", "y"))
        return tuple(
            ("held", scene.layout.constants[p - first])
            if first <= p < scene.layout.count
            else ("site", p)
            for p in places
        )

    others = [c for c in scene.components if isinstance(c, Extended) and c is not component]
    return [
        c
        for c in others
        if any(
            c.sees(im) and component.sees(im) and centre(c, im) == centre(component, im)
            for im in scene.images
        )
    ]


def _unneeded(
    scene: Scene, values: Mapping[str, float], errors: Mapping[str, float]
) -> list[FitWarning]:
    """Components of several on one centre whose flux is zero within its errors in every band."""
    found = []
    for c in scene.components:
        fluxes = [s.name for s in scene.layout.sites if s.component is c and s.spec.name == "flux"]
        if not isinstance(c, Extended) or not fluxes or not shares_centre(scene, c):
            continue
        if all(abs(values[n]) < NEEDED_SIGMA * errors[n] for n in fluxes):
            pattern = Pattern(
                "The light of {sources} is zero within its errors: the data do not need it, and its shape means nothing.",
                "Fit without it; what its fluxes allow is an upper limit.",
            )
            largest = max(abs(values[n]) / errors[n] for n in fluxes if errors[n] > 0)
            concerns = {"parameters": tuple(fluxes), "sources": (c.name,), "value": largest}
            found.append(FitWarning.of("not needed", Severity.NOTE, pattern, **concerns))
    return found


def _strayed(
    scene: Scene, values: Mapping[str, float], errors: Mapping[str, float]
) -> list[FitWarning]:
    """Sources that ended far from the place that their user gave them to begin at."""
    found = []
    start: dict[str, float] = {}
    for c in scene.components:
        names = [f"{c.name}.x", f"{c.name}.y"]
        if not isinstance(c, Source) or not set(names) <= values.keys():
            continue
        given = [getattr(c.params.get(k), "start", None) for k in "xy"]
        if c.position is None and given == [None, None]:
            continue
        start = start or scene.start
        seen = [im for im in scene.images if c.sees(im)]
        width = max(psf_fwhm(im) for im in seen)
        sized = any(s.name == "r_eff" for s in c.specs)
        size = max(scene.value(c, "r_eff", im, start) for im in seen) if sized else 0.0
        moved = float(np.hypot(*(values[n] - start[n] for n in names)))
        error = float(np.hypot(*(errors[n] for n in names)))
        if moved > max(STRAYED_FWHM * width + STRAYED_SIZE * size, NEGATIVE_SIGMA * error):
            pattern = Pattern(
                "Sources ended far from the places given for them to begin at: {items}.",
                "They may describe the light of another one; priors on places, such as "
                "x=dist.Normal(1.0, 0.2), keep each source at its own.",
                f'{c.name} (by {moved:.3g}")',
            )
            concerns = {"parameters": tuple(names), "sources": (c.name,), "value": moved}
            found.append(FitWarning.of("strayed", Severity.WARNING, pattern, **concerns))
    return found


def _outside(
    scene: Scene, values: Mapping[str, float], errors: Mapping[str, float]
) -> list[FitWarning]:
    found = []
    for c in scene.components:
        fluxes = [s.name for s in scene.layout.sites if s.component is c and s.spec.name == "flux"]
        if not isinstance(c, Extended) or (
            fluxes and all(abs(values[n]) < NEGATIVE_SIGMA * errors[n] for n in fluxes)
        ):
            continue
        outside = outside_fraction(scene, values, c)
        if outside > OUTSIDE:
            pattern = Pattern(
                "Much of the light lies outside all images, where nothing but the profile tells of it: {items}.",
                "Quote fluxes within an aperture, or take larger images.",
                f"{c.name} ({outside:.0%})",
            )
            found.append(
                FitWarning.of(
                    "outside frame", Severity.WARNING, pattern, sources=(c.name,), value=outside
                )
            )
    return found


@torch.no_grad()
def outside_fraction(
    scene: Scene,
    values: Mapping[str, float],
    component: Extended,
    rings: int = 240,
    angles: int = 32,
) -> float:
    """Part of a source's light outside all images that it is seen in; the largest, where they see
    it with different shapes.

    Parameters
    ----------
    scene : Scene
    values : mapping
        By site, in their units.
    component : Extended
        The source; its light is taken before the PSF.
    rings, angles : int
        Where the profile is summed, and looked for in the images.
    """
    shapes: dict[tuple[float, ...], list[Image]] = {}
    keys = ("x", "y", "q", "pa", *component.light_params)
    for im in scene.images:
        if component.sees(im):
            shapes.setdefault(
                tuple(scene.value(component, k, im, values) for k in keys), []
            ).append(im)
    return max(
        _outside_of(scene, component, shape, images, rings, angles)
        for shape, images in shapes.items()
    )


def _outside_of(
    scene: Scene,
    component: Extended,
    shape: tuple[float, ...],
    images: list[Image],
    rings: int,
    angles: int,
) -> float:
    x, y, q, pa, *rest = shape
    params = [torch.tensor(v, dtype=torch.float64) for v in rest]
    size = float(component.scale(*params)) if params else images[0].pixel_scale
    frame = max(max(im.shape) * im.pixel_scale for im in images)
    r = np.geomspace(1e-5 * min(size, frame), 10 * frame, rings)
    phi = 2 * np.pi * (np.arange(angles) + 0.5) / angles
    u, v = r[:, None] * np.cos(phi), r[:, None] * np.sin(phi)
    along = (r[:, None], np.zeros((rings, 1))) if component.radial else (u, v)
    light = component.light(
        *map(torch.as_tensor, along), torch.tensor(q, dtype=torch.float64), *params
    ).numpy()
    weight = light * r[:, None] ** 2 * np.log(r[1] / r[0]) * 2 * np.pi / angles
    s, c = np.sin(np.radians(pa)), np.cos(np.radians(pa))
    inside = np.zeros(u.shape, bool)
    for im in images:
        mx, my = im.placement.middle
        x0, y0 = (float(a) for a in scene.frame.to_sky(im.placement, mx, my))
        inverse = np.linalg.inv(scene.frame.jacobian(im.placement, mx, my))
        dx, dy = x + u * s + q * v * c - x0, y + u * c - q * v * s - y0
        px, py = (
            inverse[0, 0] * dx + inverse[0, 1] * dy + mx,
            inverse[1, 0] * dx + inverse[1, 1] * dy + my,
        )
        inside |= (np.abs(px - mx) < im.shape[1] / 2) & (np.abs(py - my) < im.shape[0] / 2)
    held = float((weight * inside).sum())
    if not np.isfinite(held):
        return 0.0
    return float(np.clip(1 - held, 0.0, 1.0))


def _skies(
    scene: Scene,
    values: Mapping[str, float],
    errors: Mapping[str, float],
    covariance: np.ndarray,
    noise: Mapping[str, Residuals],
) -> list[FitWarning]:
    """Free skies far from the level of their image's border: what tells them from a galaxy's wings
    is its profile.
    """
    found, sd = [], np.sqrt(np.clip(np.diag(covariance), 1e-300, None))
    place = {n: k for k, n in enumerate(scene.names)}
    for c in (c for c in scene.components if isinstance(c, Sky)):
        for im in (im for im in scene.images if c.sees(im)):
            k = scene.layout.told[c.name, "level", im.name]
            site = scene.layout.sites[k] if k < len(scene.layout.sites) else None
            border = border_of(im) if site is not None and site.default else None
            if border is None:
                continue
            off = values[site.name] - border.level
            n = noise[im.name]  # what enlarges the errors of means
            wider = max(1.0, n.scatter) * (
                max(1.0, n.correlation) if np.isfinite(n.correlation) else 1.0
            )
            if not abs(off) > max(
                SKY_ERRORS * wider * np.hypot(errors[site.name], border.error),
                SKY_SIGMA * im.typical_sigma,
            ):
                continue
            galaxies = [g for g in scene.components if isinstance(g, Extended) and g.sees(im)]
            own = {
                g.name: [
                    place[s.name] for s in scene.layout.sites if s.component is g and im in s.images
                ]
                for g in galaxies
            }
            tied = {
                name: max((abs(covariance[k, j]) / (sd[k] * sd[j]) for j in sites), default=0.0)
                for name, sites in own.items()
            }
            trading = [name for name, r in tied.items() if r > SKY_CORRELATION] or list(tied)
            pattern = Pattern(
                "{images}: the fitted sky lies {values} sigma a pixel from the level at the image's border; nothing but the profile tells it from "
                "the wings of {sources}, whose flux and size depend on it.",
                "bj.Sky(level='border') ties it to the border.",
                im.name,
                f"{off / im.typical_sigma:+.2g}",
            )
            concerns = {
                "images": (im.name,),
                "sources": tuple(trading),
                "value": off / im.typical_sigma,
            }
            if trading:
                found.append(FitWarning.of("sky", Severity.WARNING, pattern, **concerns))
    return found
