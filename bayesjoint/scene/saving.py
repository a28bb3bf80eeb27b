"""Saving: a scene as readable YAML, and back. Loading runs nothing that a file names beyond known distributions."""

from __future__ import annotations

import dataclasses
import hashlib
import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import yaml
from astropy.coordinates import SkyCoord

from bayesjoint.images import Image
from bayesjoint.render.stamp import StampPlan
from bayesjoint.scene import noise
from bayesjoint.scene.checks import named, only_images
from bayesjoint.scene.plain import link_from_plain, link_to_plain, prior_from_plain, prior_to_plain, ref_from_plain
from bayesjoint.sky import components as kinds
from bayesjoint.sky import galaxies, shapes
from bayesjoint.sky.parameters import Link, Param, Ref

if TYPE_CHECKING:
    from bayesjoint.scene.scene import Scene

__all__ = ["load", "save"]

VERSION = 1
SOURCES = {
    k.__name__: k
    for k in (kinds.Point, kinds.Sky, kinds.NoiseScale, kinds.Shift, kinds.Zeropoint, *(getattr(galaxies, name) for name in galaxies.__all__))
}
SHAPES = {k.__name__: k for k in shapes.Shape.__subclasses__()}


def checksum(image: Image) -> str:
    """Digest of an image's pixels, variance and mask."""
    h = hashlib.sha256()
    for a in (image.data, image.variance, image.mask):
        h.update(np.ascontiguousarray(a).tobytes())
    return h.hexdigest()[:16]


def save(scene: Scene, path: Any, *, values: Mapping[str, float] | None = None, fit: Mapping[str, Any] | None = None) -> None:
    """Write a scene (see `Scene.save`)."""
    components = []
    sites = {s.name: s for s in scene.layout.sites}
    for c in scene.components:
        entry: dict[str, Any] = {"type": type(c).__name__, "name": c.name}
        if c.images is not None:
            entry["images"] = list(c.images)
        if c.bands is not None:
            entry["bands"] = list(c.bands)
        entry |= c.options()
        position = getattr(c, "position", None)
        if position is not None:
            entry["position"] = [float(v) for v in scene.frame.offset(position)]
        params: dict[str, Any] = {}
        for key, given in c.params.items():
            where = f"{c.name}.{key}"
            if isinstance(given, Ref):
                params[key] = {"shared": repr(given)}
            elif isinstance(given, Link):
                params[key] = link_to_plain(given, where)
            else:
                params[key] = {
                    k: v
                    for k, v in {
                        "prior": None if given.prior is None else prior_to_plain(given.prior, where),
                        "start": given.start,
                        "per": given.per,
                        "value": given.value,
                    }.items()
                    if v is not None
                }
        if params:
            entry["parameters"] = params
        components.append(entry)
    ref = scene.frame.reference
    document = {
        "bayesjoint": "scene",
        "version": VERSION,
        "dtype": str(scene.dtype).removeprefix("torch."),
        "reference": None if ref is None else {"ra": float(ref.icrs.ra.deg), "dec": float(ref.icrs.dec.deg)},
        "images": [
            {
                "name": im.name,
                "band": im.band,
                "shape": list(im.shape),
                "zeropoint": im.zeropoint,
                "middle": _middle(scene, im),
                "checksum": checksum(im),
            }
            for im in scene.images
        ],
        "noise": {name: {"type": type(n).__name__, **n.options()} for name, n in scene.noise.items()},
        "components": components,
        "priors": {n: prior_to_plain(s.prior, n) for n, s in sites.items()},
        "start": {k: float(v) for k, v in scene.start.items()},
        "values": None if values is None else {k: float(v) for k, v in values.items()},
        "fixed": {k: float(v) for k, v in scene._held().items()},
        "plan": {im: {s: _plain(p) for s, p in plans.items()} for im, plans in scene.plans.items()},
    }
    if fit is not None:
        document["fit"] = dict(fit)
    pathlib.Path(path).write_text(yaml.safe_dump(document, sort_keys=False, allow_unicode=True))


def load(path: Any, images: Sequence[Image]) -> Scene:
    """Read a scene (see `Scene.load`).

    Of a file made by hand, components are enough: images that it does not list, or lists by name without checksum, are the ones given, and
    priors and plan that it does not hold are found as for a new scene. Without a plan the start is found anew, too (``values`` are where the command line
    begins).

    Raises
    ------
    ValueError
        If the file is no scene of a known version, or the images are not the ones it was made on.
    """
    if not pathlib.Path(path).is_file():
        raise FileNotFoundError(f"There is no file {str(path)!r} to load a scene from.")
    try:
        document = yaml.safe_load(pathlib.Path(path).read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as e:
        raise ValueError(f"{str(path)!r} is not a YAML file of ours: {str(e).splitlines()[0]}.") from e
    if not isinstance(document, dict) or document.get("bayesjoint") != "scene" or document.get("version") != VERSION:
        raise ValueError(f"{str(path)!r} holds no scene written by this version of bayesjoint.")
    images = [images] if isinstance(images, Image) else list(images)
    only_images(images)  # what the file is not to be blamed for
    try:
        return _loaded({k: v for k, v in document.items() if v is not None}, images)
    except (KeyError, AttributeError, TypeError) as e:
        raise ValueError(f"{str(path)!r} is not as scene.save writes it: {'there is no ' if isinstance(e, KeyError) else ''}{e}.") from e


def _loaded(document: dict[str, Any], images: list[Image]) -> Scene:
    from bayesjoint.scene.scene import Scene

    listed = document.get("images", [])
    images = _matched(listed, images) if listed else images
    made: dict[str, Any] = {}
    for entry in document["components"]:
        if entry.get("type") not in SOURCES:
            raise ValueError(f"The component type {entry.get('type')!r} is not known; there are {', '.join(SOURCES)}.")
        made[entry["name"]] = _made(entry)
    for entry in document["components"]:
        c = made[entry["name"]]
        for key, given in entry.get("parameters", {}).items():
            where = f"{c.name}.{key}"
            if key not in {s.name for s in c.specs}:
                raise ValueError(f"{c!r} has no parameter {key!r}.")
            if not isinstance(given, dict):
                raise ValueError(f"{where} is to be a mapping, and {given!r} stands there.")
            if "shared" in given:
                c.params[key] = ref_from_plain(given["shared"], made, where)
            elif set(given) - {"prior", "start", "per", "value"}:
                c.params[key] = link_from_plain(given, made, where)
            else:
                c.params[key] = Param(
                    prior=None if "prior" not in given else prior_from_plain(given["prior"], where),
                    start=given.get("start"),
                    per=given.get("per"),
                    value=given.get("value"),
                )
    plans = {
        im: {s: StampPlan(**{k: tuple(v) if isinstance(v, list) else v for k, v in p.items()}) for s, p in sources.items()}
        for im, sources in document.get("plan", {}).items()
    }
    ref = document.get("reference")
    scene = object.__new__(Scene)
    dtype = {"float64": torch.float64, "float32": torch.float32}[document.get("dtype", "float64")]
    scene._build(
        [made[e["name"]] for e in document["components"]],
        images,
        None if ref is None else SkyCoord(ref["ra"], ref["dec"], unit="deg"),
        None,
        dtype,
        document.get("fixed", {}),
        plans or None,
        document.get("start") if plans else None,
        {n: prior_from_plain(p, n) for n, p in document.get("priors", {}).items()},
        {name: _noise(plain, name) for name, plain in document.get("noise", {}).items()},
    )
    given = document.get("priors", {})
    missing, unknown = [n for n in scene.names if n not in given], [n for n in given if n not in scene.names]
    if missing and plans:
        raise ValueError(f"The saved scene has a plan and no prior for {missing[0]!r}: was it changed by hand? Without its plan it is loaded as a new one.")
    if unknown:
        raise ValueError(f"The file has a prior for {unknown[0]!r}, which is no free parameter of its scene: take it out, or its 'priors' as a whole.")
    for im, w in zip(scene.images, listed or [{}] * len(images), strict=True):
        if im.zeropoint != w.get("zeropoint", im.zeropoint):
            raise ValueError(f"The image {im.name!r} has the zeropoint {im.zeropoint}, and the scene was made with {w['zeropoint']}.")
        off = np.hypot(*np.subtract(_middle(scene, im), w.get("middle", _middle(scene, im))))
        if not off < 0.01 * im.pixel_scale:
            raise ValueError(
                f"The image {im.name!r} lies {off:.3g} arcsec from where it was when the scene was made: shift it by the same, or give the same WCS or center=."
            )
    return scene


def _plain(plan: StampPlan) -> dict[str, Any]:
    plain = {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(plan).items()}
    optional = ("place", "reach", "margin")
    return {k: v for k, v in plain.items() if v is not None or k not in optional}


def _made(entry: Mapping[str, Any]) -> kinds.Component:
    """A component without its parameters, from what `options` and the names say."""
    given = {k: v for k, v in entry.items() if k not in ("type", "name", "parameters")}
    if "shape" in given:
        given["shape"] = []
        for kind, options in ((s.get("type"), {k: v for k, v in s.items() if k != "type"}) for s in entry["shape"]):
            if kind not in SHAPES:
                raise ValueError(f"The shape {kind!r} of {entry['name']!r} is not known; there are {', '.join(SHAPES)}.")
            given["shape"].append(SHAPES[kind](*options.pop("modes", ()), **options))
    try:
        return SOURCES[entry["type"]](name=entry["name"], **given)
    except TypeError as e:
        raise ValueError(f"The component {entry['name']!r} of the file cannot be made: {e}") from e


def _noise(plain: Mapping[str, Any], where: str) -> noise.Noise:
    """The noise that an image's entry names."""
    kind = {k.__name__: k for k in noise.Noise.__subclasses__()}.get(plain.get("type"))
    if kind is None:
        raise ValueError(f"The noise {plain.get('type')!r} of the image {where!r} is not known; there are Gaussian and StudentT.")
    try:
        return kind(**{k: v for k, v in plain.items() if k != "type"})
    except TypeError as e:
        raise ValueError(f"The noise of the image {where!r} cannot be made: {e}") from e


def _middle(scene: Scene, image: Image) -> list[float]:
    """Where the middle of an image lies in the scene's frame, in arcsec."""
    return [float(v) for v in scene.frame.to_sky(image.placement, *image.placement.middle)]


def _matched(wanted: Sequence[Mapping[str, Any]], images: Sequence[Image]) -> list[Image]:
    """The images given, in the file's order and by its names: those of its checksums, or of its names where there is none."""
    if len(images) != len(wanted):
        raise ValueError(f"The scene was made on {len(wanted)} images ({', '.join(w['name'] for w in wanted)}), and {len(images)} came.")
    left, out = list(images if all("checksum" in w for w in wanted) else named(images)), []
    for w in wanted:
        hit = next((im for im in left if (checksum(im) == w["checksum"] if "checksum" in w else im.name == w["name"])), None)
        if hit is None and "checksum" not in w:
            raise ValueError(f"None of the images given is named {w['name']!r}: there are {', '.join(im.name for im in left) or 'none left'}.")
        if hit is None:
            raise ValueError(
                f"None of the images given is the {w['name']!r} that the scene was made on: its pixels, variance or mask differ (without 'images' and 'plan' the file serves for others of the same names and bands)."
            )
        left.remove(hit)
        name, band = w["name"], w.get("band", hit.band)
        out.append(hit if (hit.name, hit.band) == (name, band) else hit.replace(name=name, band=band))
    return out
