"""Meta: what a posterior must know of its scene to make tables and plots without it; plain numbers and text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesjoint.scene.alike import alike
from bayesjoint.sky.components import Source

if TYPE_CHECKING:
    from bayesjoint.scene.scene import Scene

__all__ = ["columns_of", "describe_sites"]


def columns_of(meta: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What `describe_sites` says of sites of sources, and of what follows from sites by links, by name: unit, whether it is cyclic."""
    return {c["site"]: c for s in meta["sources"] for c in s["columns"].values() if c["site"] is not None}


def describe_sites(scene: Scene) -> dict[str, Any]:
    """Sites, sources with their columns, bands and images of a scene, as a mapping that JSON can hold."""
    layout = scene.layout
    bands = list(dict.fromkeys(im.band for im in scene.images))
    sites = []
    for s in layout.sites:
        sites.append(
            {
                "name": s.name,
                "parameter": s.parameter,
                "label": s.label,
                "per": s.per if s.label is not None else "scene",
                "unit": s.unit,
                "doc": s.spec.doc,
                "cyclic": s.spec.cyclic,
                "support": _support(s.prior),
                "prior_sd": _width(s.prior),
                "flux": s.spec.unit == "flux",
                "calibrated": s.images[0].zeropoint is not None,
            }
        )
    sources, derived = [], {place: name for name, place in layout.derived.items()}
    for c in scene.components:
        columns: dict[str, dict[str, Any]] = {}
        for spec in c.specs:
            for im in scene.images:
                if not c.sees(im):
                    continue
                i = layout.told[c.name, spec.name, im.name]
                name = layout.sites[i].name if i < len(layout.sites) else derived.get(i)
                label = layout.labels[c.name, spec.name, im.name]
                key = spec.name if label is None else f"{spec.name}_{label}"
                unit = {"flux": "nJy" if im.zeropoint is not None else "", "image": ""}.get(spec.unit, spec.unit)
                columns.setdefault(
                    key,
                    {
                        "site": name,
                        "value": layout.constants[i - len(layout.sites)] if name is None else None,
                        "unit": unit,
                        "doc": spec.doc,
                        "parameter": spec.name,
                        "label": label,
                        "flux": spec.unit == "flux" and im.zeropoint is not None,
                        "cyclic": spec.cyclic,
                    },
                )
        sources.append({"name": c.name, "type": type(c).__name__, "sky": not isinstance(c, Source), "columns": columns})
    ref = scene.frame.reference
    return {
        "sites": sites,
        "sources": sources,
        "derived": list(derived.values()),
        "alike": alike(scene),
        "bands": bands,
        "images": [im.name for im in scene.images],
        "image_bands": [im.band for im in scene.images],
        "epochs": [im.epoch for im in scene.images],
        "reference": None if ref is None else [float(ref.icrs.ra.deg), float(ref.icrs.dec.deg)],
    }


def _support(prior: Any) -> list[float | None]:
    """Lowest and highest possible value; None where there is none."""
    ends = (getattr(prior.support, "lower_bound", None), getattr(prior.support, "upper_bound", None))
    return [None if e is None or not np.isfinite(float(e)) else float(e) for e in ends]


def _width(prior: Any) -> float | None:
    """Standard deviation of a prior; None where it has none."""
    try:
        sd = float(prior.stddev)
    except (NotImplementedError, AttributeError, ValueError):
        return None
    return sd if np.isfinite(sd) else None
