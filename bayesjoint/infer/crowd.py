"""Crowd: a first model of some images, found by detection on them and on what fits leave of them.

Needed where nobody says what is on the images, or where blends hide what a single search would
find.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from astropy.table import Table

from bayesjoint.images import Frame, Image
from bayesjoint.images.seeing import psf_fwhm
from bayesjoint.infer.lm import levenberg_marquardt
from bayesjoint.log import log
from bayesjoint.scene.checks import named, only_images
from bayesjoint.scene.detection import (
    DOUBLE,
    FAINT_SIGMA,
    GALAXY,
    POINT,
    Candidate,
    Significance,
    detect,
    from_catalog,
    from_segments,
    make_group,
    point_noise,
    say_noise,
    significance,
)
from bayesjoint.scene.scene import Scene
from bayesjoint.scene.starts import Blob, linear_values
from bayesjoint.sky.components import Component, Shift, Sky
from bayesjoint.sky.extended import Extended
from bayesjoint.sky.galaxies import Sersic
from bayesjoint.sky.groups import Group, flattened
from bayesjoint.threads import few_threads, largest

__all__ = ["scene_from"]

MAX_ROUNDS = 8
"""Searches at most, unless the user says how many."""
STEPS, ENOUGH = 12, 0.3
"""Steps of a fit between searches, and gain in log density an object for which another one is
made."""
FEWER = 0.7
"""Part of the objects below which a change is fitted without all others."""
MODEL_ERROR, MODEL_ERROR_INSIDE = 0.02, 0.1
"""What model light may be wrong by, as a part of it: anywhere, and on an object."""
NEIGHBOUR = 1.5
"""Half-light radii within which an object is fitted again where there is a change."""
AROUND = 3.0
"""Half-light radii over which the model of an object is judged."""
ATTACHED = 2.0
"""Half-light radii within which a residual may be an error of an object's model."""
POINT_REACH_FWHM = 1.0
"""Radius about a point, in units of the PSF's width, that stands for its half-light radius
there."""
SAME_PLACE_FWHM = 0.5
"""Distance in units of the sharpest PSF's width within which a residual is no object beside
another."""
STRAYED_FWHM = 1.0
"""How far, in such units, an object found in residuals may move from its place."""
POINT_FWHM = 0.1
"""Half-light radius in such units below which a galaxy is a point, whose PSF is not as it is
said."""
RESOLVED_FWHM, WELL_RESOLVED_FWHM = 0.5, 2.0
"""Half-light radii in such units from which on a galaxy may get a second profile, and from which on
what is left within its half-light radius is its own structure."""
BRIGHT, SHAPELESS = 100.0, 30.0
"""Signal-to-noise from which on light may show two profiles, and below which what is found in
residuals begins as a point."""
COMPANIONS = 4
"""Residuals beyond the half-light radius of an object that become objects: more are its
structure."""
ONE_SIDED = 0.6
"""Mean of the directions of residual light about an object, from which on it is a neighbour's; 0
for a ring."""
WORTH_CHI2, WORTH = 30.0, 0.2
"""What a finer model gains in chi² at least, and as a part of what was left beyond noise."""
ASTRAY = 0.5
"""Part of what is left of an image that an offset of it is to explain, for its residuals not to be
searched."""
LEAST_SCATTER = 0.1
"""Scatter of residuals, in units of sigma, that is taken at least: simulations may have no
noise."""
SHIFT_FWHM, SHIFT_CHI2 = 0.1, 30.0
"""Offset of an image in units of its PSF's width up to which it is shifted without being asked, and
chi² that the offset must make."""


def scene_from(
    images: Sequence[Image] | Image,
    segmentation: Any = None,
    catalog: Table | None = None,
    *,
    galaxy: type[Extended] = Sersic,
    points: bool | str = "auto",
    sky: Component | None = None,
    threshold: float = 5.0,
    rounds: int | None = None,
    window: Any = "auto",
    flux: str = "positive",
    positive: bool | None = None,
    corrections: Sequence[Component] | str = "auto",
    **options: Any,
) -> Scene:
    """A scene with a group for each object that is found, or that a segmentation or catalogue
    names.

    Objects are detected where the sum over images of alike sharpness of the squared
    signal-to-noise, each filtered for its own PSF, exceeds what noise makes (Szalay, Connolly &
    Szokoly 1999, AJ 117, 68), or where a single image's does;
    `photutils.segmentation.deblend_sources` tells them apart. They are fitted, and what the fit
    leaves of all images is searched in the same way, until nothing stands out any more. A residual
    that an error of a model may explain is no object: within the half-light radius of an object it
    must be half as bright as the model there. Where such residuals show that a model is too simple,
    a point becomes a galaxy, and a galaxy gets a second profile about its centre, ``inner``, if
    that describes the images better. What is left is said.

    So that each stays the object that was found, its place has a Normal prior of a fifth of the
    sharpest PSF (and of its size), its size a LogNormal one of width 0.5: `Scene.describe` shows
    them.

    Parameters
    ----------
    images : sequence of Image
        All but the one of finest pixels are resampled for detection alone.
    segmentation : photutils SegmentationImage or 2-d array of int, optional
        Objects on the pixels of the image of the finest pixels, 0 for sky; in place of detection.
        They are named by its labels: ``object 17``.
    catalog : Table, optional
        Objects by their ``ra``, ``dec`` (degree), or ``x``, ``y`` (0-based pixels of the image of
        the finest pixels); a column ``type`` of "point" or "galaxy" tells what they are; without
        it, what nothing is measured of is a point. A column ``id`` (``name``, ``label``) names
        them, a number as ``object 17``. In place of detection.
    galaxy : type
        What an extended object is made of, such as `bj.Sersic`.
    points : {"auto", True, False}
        Objects no wider than the PSF are points, all are, or none is.
    sky : Sky, optional
        Default ``bj.Sky()``.
    threshold : float
        Significance of a peak of the filtered images, in sigma of the noise that is measured there.
    rounds : int, optional
        Searches at most, the first on the images, the others on residuals. Default 8, but 1 where a
        segmentation or a catalogue says what is there: more add objects that these lack. 1 fits
        nothing.
    window : optional
        Of every galaxy: pixels, a radius in arcsec, "auto", or None; see `Source`.
    flux : {"positive", "any"}
        "positive" gives fluxes (nJy, or image units) LogNormal priors, three e-folds wide, about
        twenty times a point's noise: sources that overlap cannot take what the other's model lacks.
        "any" leaves them real, with the default prior.
    positive : bool, optional
        Deprecated: True is ``flux="positive"``, False ``flux="any"``.
    corrections : sequence of components, or "auto"
        What joins the scene for the images' sake, such as `bj.Shift`: an object's place is then as
        uncertain as the image's that it was found on. "auto" adds a `bj.Shift` for images whose
        residuals show that they lie off the others, by less than a tenth of their PSF's width.
    **options
        For `Scene`: ``reference``, ``dtype``, ...

    Returns
    -------
    Scene
        Of the groups ``object 1``, ``object 2``, ..., from the brightest on, what later searches
        find behind; each with a ``galaxy`` or ``point``; and the sky. A fit begins where the last
        one between searches ended.

    Raises
    ------
    ValueError
        Where nothing stands out, a segmentation has another shape, a catalogue no places, or
        options are unknown.
    """
    images = [images] if isinstance(images, Image) else list(images)
    if not images:
        raise ValueError("scene_from needs at least one image; got none.")
    only_images(images)
    if positive is not None:
        flux = "positive" if positive else "any"
        words = f"positive={positive} is deprecated. Give flux={flux!r}."
        warnings.warn(words, DeprecationWarning, stacklevel=2)
    if flux not in ("positive", "any"):
        raise ValueError(f"flux must be 'positive' or 'any'; got {flux!r}.")
    automatic = isinstance(corrections, str)
    if automatic and corrections != "auto":
        raise ValueError(
            f"corrections must be components such as bj.Shift, or 'auto'; got {corrections!r}."
        )
    told = segmentation is not None or catalog is not None
    rounds = (1 if told else MAX_ROUNDS) if rounds is None else rounds
    if isinstance(rounds, bool) or not isinstance(rounds, int | np.integer) or rounds < 1:
        raise ValueError(f"rounds must be a whole number from 1 on; got {rounds!r}.")
    images = list(named(images))
    finest = min(images, key=lambda im: im.pixel_scale)
    reference = options.pop("reference", None) or next(
        (im.placement.sky_middle for im in images if im.placement.wcs is not None), None
    )
    frame = Frame(reference)
    snrs = [significance(im).total for im in images]
    if segmentation is not None:
        candidates = from_segments(segmentation, images, snrs, finest, frame)
    else:
        found = detect(images, snrs, frame, threshold)
        candidates = [_numbered(k, b) for k, b in enumerate(found, 1)]
    if catalog is not None:
        candidates = from_catalog(catalog, finest, frame, [c.blob for c in candidates])
    if not candidates:
        raise ValueError(
            f"Nothing stands out of the images by {threshold:g} sigma: lower threshold=, or give a "
            "catalog=."
        )
    typed = catalog is not None and "type" in (c.lower() for c in catalog.colnames)
    for c in candidates if points != "auto" and not typed else ():  # a catalogue's word stands
        c.model = POINT if points else GALAXY
    given = () if automatic else tuple(corrections)
    faint = float(np.median([FAINT_SIGMA * point_noise(im) for im in images]))
    crowd = _Crowd(
        images,
        frame,
        candidates,
        threshold=threshold,
        galaxy=galaxy,
        window=window,
        points=points,
        faint=faint if flux == "positive" else None,
        others=[*given, Sky() if sky is None else sky],
        loose=max((c.width for c in given if isinstance(c, Shift)), default=0.0),
        may_shift=automatic and len(images) > 1,
        options={**options, "reference": reference},
    )
    scene = crowd.search(int(rounds))
    number = sum(c.model == POINT for c in crowd.candidates)
    log.info("%d objects: %d points.", len(crowd.candidates), number)
    return scene


def _numbered(k: int, blob: Blob) -> Candidate:
    return Candidate(f"object {k}", blob, POINT if blob.point else GALAXY)


@dataclass(frozen=True)
class _Region:
    """Surroundings of an object in one image: an ellipse of half its light, the PSF's width
    included.

    Parameters
    ----------
    where : (slice, slice)
        Rows and columns of the surroundings.
    radius, direction : ndarray
        Elliptical radius there in half-light radii, and angle about the object (radian).
    x, y, pa, major, minor : float
        Its place (arcsec), position angle (degree), and semi-axes (arcsec).
    half_light : (float, float)
        Semi-axes (arcsec) of half of its light as fitted, without the PSF; at least half of the
        PSF's.
    resolved : bool
        Whether it is larger than the PSF.
    """

    where: tuple[slice, slice]
    radius: np.ndarray
    direction: np.ndarray
    x: float
    y: float
    pa: float
    major: float
    minor: float
    half_light: tuple[float, float]
    resolved: bool

    def radius_at(self, x: float, y: float) -> float:
        """Elliptical radius of a place (arcsec)."""
        return float(_elliptical(x - self.x, y - self.y, self.pa, self.major, self.minor))

    def is_inside(self, x: float, y: float) -> bool:
        """Whether a place (arcsec) lies within half of the light."""
        return bool(_elliptical(x - self.x, y - self.y, self.pa, *self.half_light) < 1)


@dataclass
class _End:
    """Where a fit ended.

    Parameters
    ----------
    scene, values : Scene, dict
        The scene of all objects, and its values by site.
    regions : dict
        By object, its surroundings in each image.
    light, residuals : list of ndarray
        By image, the model without the sky in image units, and what is left in units of sigma.
    scatter : list of float
        By image, that of the residuals.
    maps : list of Significance
        By image, how far its residuals stand out.
    """

    scene: Scene
    values: dict[str, float]
    regions: dict[str, list[_Region]]
    light: list[np.ndarray]
    residuals: list[np.ndarray]
    scatter: list[float]
    maps: list[Significance]

    def chi2(self, regions: Sequence[_Region], scatter: Sequence[float]) -> tuple[float, int]:
        """Sum of squares of residuals about an object, in units of a scatter, and of how many
        pixels.
        """
        chi2, count = 0.0, 0
        parts = zip(self.scene.images, regions, self.residuals, scatter, strict=True)
        for im, region, residual, unit in parts:
            inside = (region.radius < AROUND) & im.valid[region.where]
            chi2 += float((residual[region.where][inside] ** 2).sum()) / unit**2
            count += int(inside.sum())
        return chi2, count


@dataclass(frozen=True)
class _Trial:
    """A finer model of an object on trial, or another object on it: what there was before."""

    candidate: Candidate
    model: str
    blob: Blob
    values: dict[str, float]
    end: _End
    companion: Candidate | None = None

    def worth(self, after: _End) -> bool:
        """Whether much of what was left about the object is explained now."""
        regions, scatter = self.end.regions[self.candidate.name], self.end.scatter
        (before, count), (now, _) = (e.chi2(regions, scatter) for e in (self.end, after))
        return before - now > max(WORTH_CHI2, WORTH * (before - count))


class _Crowd:
    """The search for objects: what is known of them so far, and how they are modelled."""

    def __init__(
        self,
        images: Sequence[Image],
        frame: Frame,
        candidates: list[Candidate],
        *,
        threshold: float,
        galaxy: type[Extended],
        window: Any,
        points: bool | str,
        faint: float | None,
        others: Sequence[Component],
        loose: float,
        may_shift: bool,
        options: dict[str, Any],
    ) -> None:
        self.images, self.frame, self.candidates = images, frame, candidates
        self.threshold, self.points, self.may_shift = threshold, points, may_shift
        self.galaxy, self.window, self.faint, self.loose = galaxy, window, faint, loose
        self.others = list(others)
        self.base = Scene([*self._groups(), *self.others], images, **options)
        self.sharp = min(psf_fwhm(im) for im in images)
        self.sharpest = int(np.argmin([psf_fwhm(im) for im in images]))
        self.values: dict[str, float] = {}
        self.tried: set[tuple[str, str]] = set()
        self.late: set[str] = set()
        self.refused: list[tuple[float, float]] = []
        self.companions: dict[str, int] = {}
        self.shifted = False
        self.astray: set[str] = set()

    def _groups(
        self, starts: Mapping[str, float] | None = None, of: Sequence[Candidate] | None = None
    ) -> list[Group]:
        """The components of objects (default, of all); see `make_group`."""
        given = self.galaxy, self.window, self.faint, self.loose, starts
        return [make_group(c, self.images, *given) for c in (self.candidates if of is None else of)]

    def _scene(
        self,
        starts: Mapping[str, float] | None = None,
        of: Sequence[Candidate] | None = None,
        images: Sequence[Image] | None = None,
        **more: Any,
    ) -> Scene:
        """The scene of objects (default, all); what is to be said of images was said with the
        first.
        """
        parts = flattened([*self._groups(starts, of), *self.others])
        return self.base._like(components=parts, images=images, fixed={}, priors={}, **more)

    # -- rounds -----------------------------------------------------------------------------------
    def search(self, rounds: int) -> Scene:
        """Fit, and search what is left, in turn; the scene, whose fit begins where the last one
        ended.
        """
        if rounds == 1:
            return self.base
        end = self._fit(None, self.base)
        for k in range(rounds - 1):
            new, errors = self._residual_blobs(end)
            # what the first residuals show is mostly what the first search missed
            shifted = k > 0 and bool(errors) and self._shift(end)
            trials, new = self._trials(new, errors, end, companions=k > 0 and not shifted)
            if not new and not trials and not shifted:
                break
            end = self._changed(new, trials, shifted, end)
        else:
            new, errors = self._residual_blobs(end)
        self._say(new, errors, end)
        # without the starts of its parameters: a fit's own search is to be free to look elsewhere
        return self._scene(plans=end.scene.plans, start=dict(end.values))

    def _changed(self, new: list[Blob], trials: list[_Trial], shifted: bool, end: _End) -> _End:
        """The fit with new objects, and with what is on trial as far as it is worth it."""
        found = [self._added(b) for b in new]
        changed = {c.name for c in (*found, *(t.companion or t.candidate for t in trials))}
        after = self._fit(None if shifted else self._near(changed, end))
        worse = [t for t in trials if not t.worth(after) or self._is_point(t)]
        refused = [c for c in self.candidates if c.name in self.late and self._strayed(c, after)]
        refused += [c for t in worse if (c := t.companion) is not None and c not in refused]
        for c in refused:
            self.candidates.remove(c)
            self._forget(c)
            self.refused.append((c.blob.x, c.blob.y))
        for t in (t for t in worse if t.companion is None):
            t.candidate.model, t.candidate.blob = t.model, t.blob
            self._forget(t.candidate)
            self.values |= t.values
        log.info(
            "%d objects: %d new in residuals, %d of %d finer models kept.",
            *(len(self.candidates), len(found), len(trials) - len(worse), len(trials)),
        )
        undone = {c.name for c in refused} | {t.candidate.name for t in worse}
        if not undone:
            return after
        same = {c.name for c in self.candidates} == end.regions.keys()
        if changed <= undone and same and not shifted:  # all is as it was
            self.values = dict(end.values)
            return end
        return self._fit(self._near(undone, after))

    def _added(self, blob: Blob) -> Candidate:
        """A new object, numbered on."""
        labels = (c.name.removeprefix("object ") for c in self.candidates)
        new = _numbered(max((int(n) for n in labels if n.isdigit()), default=0) + 1, blob)
        if self.points != "auto":
            new.model = POINT if self.points else GALAXY
        elif blob.snr < SHAPELESS:
            new.model = POINT
        self.candidates.append(new)
        self.late.add(new.name)
        return new

    def _forget(self, c: Candidate) -> None:
        own = f"{c.name}."
        self.values = {k: v for k, v in self.values.items() if not k.startswith(own)}

    # -- what is tried, and what comes of it ------------------------------------------------------
    def _trials(
        self, new: list[Blob], errors: list[Blob], end: _End, *, companions: bool
    ) -> tuple[list[_Trial], list[Blob]]:
        """What is to be tried about residuals that may be errors of models, and the new objects.

        An object gets a finer model; what is new on it waits for that. Where it has the finest, a
        few residuals beyond its half-light radius are objects; many are its structure. On an object
        that is not well resolved another is tried.
        """
        trials: list[_Trial] = []
        waiting, beside = [], []
        own, others = self._owned(errors, end), self._owned(new, end)
        for c in list(self.candidates):
            region, model = end.regions[c.name][self.sharpest], self._next_model(c, end)
            if model is not None:
                about = bool(own[c.name]) or len(others[c.name]) > 1
                if about and (not others[c.name] or self._one_sided(end, c) < ONE_SIDED):
                    trials.append(self._refined(c, model, end))
                    waiting += others[c.name]
                continue
            if not companions or c.name in self.late:
                continue
            left = [b for b in own[c.name] if not self._was_refused(b)]
            outside = [b for b in left if not region.is_inside(b.x, b.y)]
            count = self.companions.get(c.name, 0) + len(outside)
            if outside and count <= COMPANIONS:
                self.companions[c.name] = count
                beside += outside
            elif (
                left
                and left[0] not in outside
                and left[0].snr > SHAPELESS
                and region.major < WELL_RESOLVED_FWHM * self.sharp
            ):
                trials.append(replace(self._trial(c, end), companion=self._added(left[0])))
        return trials, [*(b for b in new if b not in waiting), *beside]

    def _trial(self, c: Candidate, end: _End) -> _Trial:
        own = f"{c.name}."
        values = {k: v for k, v in self.values.items() if k.startswith(own)}
        return _Trial(c, c.model, c.blob, values, end)

    def _refined(self, c: Candidate, model: str, end: _End) -> _Trial:
        """Give an object a finer model, on trial."""
        trial, region = self._trial(c, end), end.regions[c.name][self.sharpest]
        c.blob = replace(c.blob, x=region.x, y=region.y)
        if c.model == GALAXY:
            size, q = (self.values[f"{c.name}.galaxy.{k}"] for k in ("r_eff", "q"))
            c.blob = replace(c.blob, size=size, q=q, pa=region.pa)
        c.model = model
        self.tried.add((c.name, model))
        self._forget(c)
        return trial

    def _next_model(self, c: Candidate, end: _End) -> str | None:
        """The next finer model of an object; None where there is none, or it has been tried."""
        size = end.values.get(f"{c.name}.galaxy.r_eff", 0.0)
        model = None
        if c.model == POINT and self.points == "auto":
            model = GALAXY
        elif c.model == GALAXY and size > RESOLVED_FWHM * self.sharp:
            model = DOUBLE if c.blob.snr > BRIGHT and c.name not in self.late else None
        return None if (c.name, model) in self.tried else model

    def _is_point(self, trial: _Trial) -> bool:
        """Whether the fitted size of a galaxy on trial says that it is a point."""
        c = trial.candidate
        size = self.values.get(f"{c.name}.galaxy.r_eff", np.inf)
        return trial.companion is None and c.model == GALAXY and size < POINT_FWHM * self.sharp

    def _strayed(self, c: Candidate, end: _End) -> bool:
        """Whether an object found in residuals has left its place, or lies on another.

        It mends an error of a model then, and is no object.
        """
        own = end.regions[c.name][self.sharpest]
        moved = np.hypot(own.x - c.blob.x, own.y - c.blob.y)
        others = (of[self.sharpest] for name, of in end.regions.items() if name != c.name)
        near = (np.hypot(own.x - o.x, own.y - o.y) for o in others)
        return bool(moved > STRAYED_FWHM * self.sharp + c.blob.size) or any(
            d < SAME_PLACE_FWHM * self.sharp for d in near
        )

    def _was_refused(self, b: Blob) -> bool:
        same = SAME_PLACE_FWHM * self.sharp
        return any(np.hypot(b.x - x, b.y - y) < same for x, y in self.refused)

    # -- what images are off by -------------------------------------------------------------------
    def _shift(self, end: _End) -> bool:
        """Add a `Shift` for images that lie off the others by little; whether there are any."""
        if not self.may_shift or self.astray:
            return False
        off, sure, _ = self._offsets(end)
        allowed = np.array([SHIFT_FWHM * psf_fwhm(im) for im in self.images])
        sure &= np.hypot(*off.T) < allowed
        if not sure.any():
            return False
        names = [im.name for im, s in zip(self.images, sure, strict=True) if s]
        self.may_shift, self.shifted = False, True
        self.others = [Shift(float(allowed[sure].max()), images=names), *self.others]
        return True

    def _find_astray(self, end: _End) -> None:
        """Images that lie off the others by much, as most of their residuals say: no place to
        search.
        """
        self.astray = set()
        if len(self.images) > 2 and not any(isinstance(c, Shift) for c in self.others):
            off, sure, gain = self._offsets(end)
            for k, im in enumerate(self.images):
                r = end.residuals[k][im.valid]
                excess = float((r**2).sum()) / end.scatter[k] ** 2 - r.size
                far = np.hypot(*off[k]) > SHIFT_FWHM * psf_fwhm(im)
                if sure[k] and far and gain[k] / end.scatter[k] ** 2 > ASTRAY * excess:
                    self.astray.add(im.name)

    def _offsets(self, end: _End) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """How far images lie off most of the others (arcsec), whether that is sure, and the chi² it
        makes.
        """
        found = [self._offset(end, k) for k in range(len(self.images))]
        off, error = (np.array([f[i] for f in found]) for i in (0, 1))
        known = np.isfinite(error).all(1)
        weight = np.where(known[:, None], error, np.inf) ** -2.0
        off, sure = np.where(known[:, None], off, 0.0), np.zeros(len(found), bool)
        relative = np.zeros_like(off)
        while known.sum() > 1:  # against the mean of those that agree, the worst left out in turn
            mean = (off * weight)[~sure].sum(0) / weight[~sure].sum(0)
            relative = np.where(known[:, None], off - mean, 0.0)
            chi2 = np.where(sure, 0.0, (relative**2 * weight).sum(1))
            if not chi2.max() > SHIFT_CHI2 or (known & ~sure).sum() < 2:
                break
            if (known & ~sure).sum() == 2:  # of two that disagree the better one stays
                chi2 = np.where(known & ~sure, -weight.sum(1), -np.inf)
            sure[np.argmax(chi2)] = True
        gain = np.array([d @ f[2] @ d for d, f in zip(relative, found, strict=True)])
        return relative, sure, gain

    def _offset(self, end: _End, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """How far an image seems to lie from where the model has it, errors (arcsec), and
        precision.

        It is a linear fit of the model's slopes to the residuals; NaN where they do not tell.
        """
        im = self.images[k]
        jac = self.frame.jacobian(im.placement, *im.placement.middle)
        rows, cols = np.gradient(end.light[k])
        slopes = np.stack([cols, rows])[:, im.valid] / im.sigma[im.valid]
        along = np.linalg.inv(jac).T @ slopes  # by a move of one arcsec to the East, and North
        precision = along @ along.T
        if not np.linalg.cond(precision) < 1e8:
            return np.full(2, np.nan), np.full(2, np.nan), np.zeros((2, 2))
        covariance = np.linalg.inv(precision)
        error = np.sqrt(np.diag(covariance)) * max(end.maps[k].noise, 1.0)
        return -covariance @ along @ end.residuals[k][im.valid], error, precision

    # -- fits -------------------------------------------------------------------------------------
    def _fit(self, free: set[str] | None, scene: Scene | None = None) -> _End:
        """Fit the scene as it is now, from the values of before where there are any.

        `free` names the objects that are fitted; None, all.
        """
        scene = self._scene(self.values) if scene is None else scene
        values = {**scene.start, **{k: v for k, v in self.values.items() if k in scene.names}}
        part = scene
        if free is not None and len(free) < FEWER * len(self.candidates):
            part = self._part(scene, values, free)
        values |= linear_values(part, {n: values[n] for n in part.names})[0]
        part = part.replanned(values)
        with few_threads(largest(scene)):
            begin = part.unconstrain({n: values[n] for n in part.names})
            enough = ENOUGH * max(1, len(self.candidates if free is None else free))
            state = levenberg_marquardt(
                part, begin, prior=True, max_iterations=STEPS, enough=enough
            )
        values |= {k: float(v) for k, v in part.constrain(state.z).items()}
        self.values = dict(values)
        return self._end(scene.replanned(values), values)

    def _part(self, scene: Scene, values: dict[str, float], free: set[str]) -> Scene:
        """The scene of some objects, on images less the light of all others.

        A scene costs as much as its sources, whether their shapes are held or not.
        """
        own = tuple(f"{name}." for name in free)
        others = dict(values)
        for site in scene.layout.sites:
            mine = site.name.startswith(own) and site.spec.unit == "flux"
            if mine or isinstance(site.component, Sky):
                others[site.name] = 0.0
        light = scene.render(others)
        images = [im.replace(data=im.data - light[im.name]) for im in scene.images]
        part = self._scene(self.values, [c for c in self.candidates if c.name in free], images)
        # what corrects images is for all objects to tell
        common = [
            s.name
            for s in part.layout.sites
            if not s.name.startswith(own) and not isinstance(s.component, Sky)
        ]
        return part.fixed(values, common) if common else part

    def _end(self, scene: Scene, values: dict[str, float]) -> _End:
        """What is left of the images at values."""
        whole = scene.render(values)
        skies = [c.name for c in scene.components if isinstance(c, Sky)]
        background = scene.render_components(values, skies) if skies else {}
        regions = {
            c.name: [self._region(scene, values, c, im) for im in scene.images]
            for c in self.candidates
        }
        end = _End(scene, values, regions, [], [], [], [])
        for k, im in enumerate(scene.images):
            light = whole[im.name] - sum(background.get(im.name, {}).values(), np.zeros(im.shape))
            wrong = np.full(im.shape, MODEL_ERROR)
            for of in regions.values():
                on = of[k].radius < (ATTACHED if of[k].resolved else 1.0)
                wrong[of[k].where][on] = MODEL_ERROR_INSIDE
            residual = np.where(im.valid, im.data - whole[im.name], 0.0)
            r = (residual / im.sigma)[im.valid]
            scatter = 1.4826 * float(np.median(np.abs(r - np.median(r))))
            end.light.append(light)
            end.residuals.append(residual / im.sigma)
            end.scatter.append(max(scatter, LEAST_SCATTER))
            end.maps.append(significance(im, residual, wrong * np.abs(light)))
        return end

    def _region(
        self, scene: Scene, values: dict[str, float], candidate: Candidate, im: Image
    ) -> _Region:
        own = f"{candidate.name}."
        parts = [c for c in scene.components if c.name.startswith(own)]
        x, y = (scene.value(parts[0], k, im, values) for k in ("x", "y"))
        sizes = [
            scene.value(c, "r_eff", im, values)
            if any(s.name == "r_eff" for s in c.specs)
            else candidate.blob.size
            for c in parts
            if isinstance(c, Extended)
        ]
        if not sizes:
            return self._ellipse(im, x, y, half=POINT_REACH_FWHM * psf_fwhm(im))
        widest = parts[int(np.argmax(sizes))]
        q, pa = (scene.value(widest, k, im, values) for k in ("q", "pa"))
        return self._ellipse(im, x, y, half=0.5 * psf_fwhm(im), size=max(sizes), q=q, pa=pa)

    def _ellipse(
        self,
        im: Image,
        x: float,
        y: float,
        *,
        half: float,
        size: float = 0.0,
        q: float = 1.0,
        pa: float = 0.0,
    ) -> _Region:
        """Surroundings of what is so large, and seen by a PSF of a half-light radius (arcsec)."""
        major, minor = float(np.hypot(size, half)), float(np.hypot(q * size, half))
        px, py = self.frame.to_pixel(im.placement, x, y)
        jac = self.frame.jacobian(im.placement, px, py)
        reach = AROUND * major / np.sqrt(abs(np.linalg.det(jac)))
        where = tuple(
            slice(int(np.clip(p - reach, 0, n)), int(np.clip(p + reach + 2, 0, n)))
            for p, n in zip((py, px), im.shape, strict=True)
        )
        j, i = np.mgrid[where]
        dx, dy = np.tensordot(jac, np.array([i - px, j - py]), 1)
        radius, direction = _elliptical(dx, dy, pa, major, minor), np.arctan2(dy, dx)
        resolved = size > RESOLVED_FWHM * psf_fwhm(im)
        half_light = max(size, half), max(q * size, half)
        return _Region(where, radius, direction, x, y, pa, major, minor, half_light, resolved)

    def _near(self, names: set[str], end: _End) -> set[str]:
        """Objects whose surroundings meet those of some, which are among them."""
        widest = max(psf_fwhm(im) for im in self.images)
        known = {c.name: c.blob for c in self.candidates}
        places: dict[str, tuple[float, float, float]] = {}
        for name in known.keys() | (names & end.regions.keys()):
            if name in end.regions:
                region = max(end.regions[name], key=lambda r: r.major)
                places[name] = region.x, region.y, NEIGHBOUR * region.major
            else:
                b = known[name]
                places[name] = b.x, b.y, NEIGHBOUR * float(np.hypot(b.size, 0.5 * widest))
        x, y, reach = np.array(list(places.values())).T
        near: set[str] = set()
        for k, name in enumerate(places):
            if name in names:
                close = np.hypot(x - x[k], y - y[k]) < reach + reach[k]
                near |= {n for n, c in zip(places, close, strict=True) if c and n in known}
        return near

    # -- what residuals show ----------------------------------------------------------------------
    def _residual_blobs(self, end: _End) -> tuple[list[Blob], list[Blob]]:
        """What stands out of the residuals: new objects, and what errors of the models may be."""
        self._find_astray(end)
        pairs = [
            (im, m)
            for im, m in zip(self.images, end.maps, strict=True)
            if im.name not in self.astray
        ]
        images = [im for im, _ in pairs]
        new, everything = (
            detect(images, maps, self.frame, self.threshold)
            for maps in ([m.total for _, m in pairs], [m.noise_only for _, m in pairs])
        )
        same = SAME_PLACE_FWHM * self.sharp
        centres = [(of[self.sharpest].x, of[self.sharpest].y) for of in end.regions.values()]
        places = np.array([*centres, *self.refused])
        new = [b for b in new if np.hypot(*(places - (b.x, b.y)).T).min() >= same]
        errors = [
            b
            for b in everything
            if all(np.hypot(b.x - n.x, b.y - n.y) > max(same, n.size, b.size) for n in new)
        ]
        return new, errors

    def _owned(self, blobs: list[Blob], end: _End) -> dict[str, list[Blob]]:
        """Residuals by the object on whose light they lie furthest in, if they lie on any."""
        out: dict[str, list[Blob]] = {c.name: [] for c in self.candidates}
        for b in blobs:
            radius = {n: of[self.sharpest].radius_at(b.x, b.y) for n, of in end.regions.items()}
            owner = min(radius, key=radius.__getitem__)
            if radius[owner] < ATTACHED:
                out[owner].append(b)
        return out

    def _one_sided(self, end: _End, c: Candidate) -> float:
        """Mean of the directions in which light is left about an object: 1 for a neighbour's, 0 for
        a ring.
        """
        total, vector = 0.0, 0j
        for im, of, m in zip(self.images, end.regions[c.name], end.maps, strict=True):
            inside = (of.radius < ATTACHED) & im.valid[of.where]
            light = np.where(inside, np.clip(m.noise_only[of.where] - 2, 0, None), 0.0)
            total += float(light.sum())
            vector += complex((light * np.exp(1j * of.direction)).sum())
        return abs(vector) / total if total > 0 else 0.0

    def _say(self, new: list[Blob], errors: list[Blob], end: _End) -> None:
        """What is left of the images above the threshold, and what the images are off by."""
        kinds = (
            (
                "errors of the models",
                errors,
                "Look at best.plot(), and model or mask what they are",
            ),
            ("objects that another search would add", new, "Give a larger rounds="),
        )
        for kind, blobs, remedy in kinds:
            if not blobs:
                continue
            b = max(blobs, key=lambda b: b.snr)
            at = f"x, y = {b.x:.2f}, {b.y:.2f} arcsec"
            if self.frame.reference is not None:
                place = self.frame.sky(b.x, b.y)
                at += f" (ra, dec = {place.ra.deg:.6f}, {place.dec.deg:.6f} degree)"
            log.warning(
                "Residuals stand out by more than %g sigma in %d place%s, taken for %s; the "
                "strongest is at %s. %s.",
                *(self.threshold, len(blobs), "s" * (len(blobs) != 1), kind, at, remedy),
            )
        if self.astray:
            log.warning(
                "Residuals of %s look as if it lay elsewhere than its WCS says, and were not "
                "searched for objects. Correct the WCS, or add bj.Shift to corrections=.",
                ", ".join(sorted(self.astray)),
            )
        for c in end.scene.components if self.shifted else ():
            if isinstance(c, Shift):
                x, y = ({n: end.values[f"{c.name}.{k}[{n}]"] for n in c.images or ()} for k in "xy")
                items = ", ".join(f'{n} by {x[n]:+.3g}" East, {y[n]:+.3g}" North' for n in x)
                log.warning(
                    "Images appear offset from the others: %s. The scene has a bj.Shift for them; "
                    "corrections=() leaves it out.",
                    items,
                )
        say_noise(
            {im.name: m.noise for im, m in zip(self.images, end.maps, strict=True)},
            "Detection takes the measured one.",
        )


def _elliptical(dx: Any, dy: Any, pa: float, major: float, minor: float) -> Any:
    """Elliptical radius of places about a centre, 1 on the ellipse of such axes."""
    s, c = np.sin(np.radians(pa)), np.cos(np.radians(pa))
    return np.hypot((dx * s + dy * c) / major, (dx * c - dy * s) / minor)
