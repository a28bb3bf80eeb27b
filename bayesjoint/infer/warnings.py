"""Warnings of a fit: what speaks against its numbers, as objects, and how they are put in words.

`Fit.warnings` has them, `Fit.message` prints them, and tables have their kinds as flags.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bayesjoint.scene.scene import Scene

__all__ = [
    "KINDS",
    "FitWarning",
    "Pattern",
    "Severity",
    "flags_by_source",
    "grouped",
    "lines",
    "name_images",
]

MOST_LINES, WIDTH = 18, 100
"""Lines of a message, and the width in characters at which a terminal breaks them."""
MOST_ITEMS = 3
"""Parameters or places that one sentence lists."""

KINDS = {
    "not converged": "the fit ended before a maximum was reached",
    "degenerate": "neither data nor priors constrain a combination of parameters",
    "unmodelled light": "the data have light that the model lacks",
    "too bright": "the model has light that the data lack",
    "misfit": "reduced chi2 is far above what the scatter of most pixels gives",
    "bad pixels": "residuals sharper than the PSF: a cosmic ray or a bad pixel",
    "registration": "an image appears offset from the others",
    "zeropoint": "an image's zeropoint appears off",
    "search": "other starts might lead to a higher maximum",
    "other maximum": "another maximum holds a part of the posterior",
    "coarse": "the render plan is too coarse for the noise",
    "window": "the source has light outside its window",
    "at bound": "a parameter presses against a bound of its prior",
    "blend": "the data constrain only the sum of two fluxes",
    "exchange": "two sources with the same priors may exchange their names",
    "negative flux": "a flux is significantly negative",
    "strayed": "the source ended far from the place given for it to begin at",
    "far from prior": "a value lies far from the middle of its prior",
    "outside frame": "much of the source's light lies outside all images",
    "sky": "the fitted sky differs from the level at the image's border",
    "sigma": "residual scatter differs from the stated sigma",
    "correlated noise": "the noise of neighbouring pixels is correlated",
    "not Gaussian": "the log density two errors away differs from the quadratic of the fit's errors",
    "not needed": "a component's flux is zero within its errors",
    "correction": "a fitted shift or zeropoint is significant",
}
"""What the kinds of `FitWarning` mean, causes before what may follow from them; they are the flags
of tables, too."""


class Severity(enum.IntEnum):
    """How grave a warning is.

    Attributes
    ----------
    NOTE
        Worth knowing; the numbers stand.
    WARNING
        Values may be biased, or errors wrong.
    SERIOUS
        The numbers, or their errors, mean nothing.
    """

    NOTE = 1
    WARNING = 2
    SERIOUS = 3


@dataclass(frozen=True)
class Pattern:
    """How alike warnings are put in one sentence.

    Parameters
    ----------
    text, remedy : str
        With places for ``{images}`` (in words), ``{names}`` (the same as Python writes a list),
        ``{sources}``,
        ``{items}``, ``{values}`` (from the smallest to the largest) and ``{largest}``.
    item, shown : str
        What stands for one of them: in the list of items, and for its value.
    """

    text: str
    remedy: str = ""
    item: str = ""
    shown: str = ""


@dataclass(frozen=True)
class FitWarning:
    """One thing that speaks against a fit, or several alike.

    Parameters
    ----------
    kind : str
        A key of `bayesjoint.infer.warnings.KINDS`.
    severity : Severity
        1 to 3.
    text : str
        What is the matter.
    remedy : str
        What can be done.
    images, sources, parameters : tuple of str
        Names of the images, sources and sites that it concerns; none of any: the whole fit.
    value : float
        How large it is, in the unit that the text names; the largest where several are alike. NaN
        where there is no number.
    position : dict, optional
        Where it is: ``x`` and ``y`` in arcsec East and North of the scene's origin, ``ra`` and
        ``dec`` in degree where an image has a WCS.
    intervals : dict, optional
        By parameter, the interval that replaces its error, in its unit.
    """

    kind: str
    severity: Severity
    text: str
    remedy: str = ""
    images: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    value: float = float("nan")
    position: dict[str, float] | None = None
    intervals: dict[str, tuple[float, float]] | None = None
    _pattern: Pattern | None = field(default=None, repr=False, compare=False)

    @classmethod
    def of(cls, kind: str, severity: Severity, pattern: Pattern, **concerns: Any) -> FitWarning:
        """Make one whose text and remedy are those of a `pattern`; `kind`, `severity` and
        `concerns` are its other fields.
        """
        bare = cls(kind, severity, "", _pattern=pattern, **concerns)
        return _joined([bare], bare.images)

    def __str__(self) -> str:
        return f"{self.text} {self.remedy}".strip()

    def plain(self) -> dict[str, Any]:
        """Its fields as numbers, texts, lists and mappings, for JSON."""
        out = {
            "kind": self.kind,
            "severity": int(self.severity),
            "text": self.text,
            "remedy": self.remedy,
        }
        out |= {k: list(getattr(self, k)) for k in ("images", "sources", "parameters")}
        out |= {"value": float(self.value) if self.value == self.value else None}
        position = self.position and {k: float(v) for k, v in self.position.items()}
        intervals = self.intervals and {k: [float(x) for x in v] for k, v in self.intervals.items()}
        out |= {"position": position, "intervals": intervals}
        return out


def grouped(found: Iterable[FitWarning], images: Sequence[str]) -> list[FitWarning]:
    """Alike ones joined, the gravest first.

    Parameters
    ----------
    found : iterable of FitWarning
        One an image, source or parameter.
    images : sequence of str
        Names of all images of the scene, so that "all 5 images" can be said.
    """
    groups: dict[Any, list[FitWarning]] = {}
    for k, w in enumerate(found):
        alike = (
            k if w._pattern is None else (w.kind, w.severity, w._pattern.text, w._pattern.remedy)
        )
        groups.setdefault(alike, []).append(w)
    joined = [
        _joined(group, images) if group[0]._pattern is not None else group[0]
        for group in groups.values()
    ]
    order = {kind: k for k, kind in enumerate(KINDS)}
    return sorted(joined, key=lambda w: (-w.severity, order[w.kind]))


def _joined(group: Sequence[FitWarning], all_images: Sequence[str]) -> FitWarning:
    pattern = group[0]._pattern

    def every(key: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for w in group for name in getattr(w, key)))

    images, sources = every("images"), every("sources")
    shown = [w._pattern.shown for w in sorted(group, key=lambda w: w.value)]
    values = shown[0] if shown[0] == shown[-1] else f"{shown[0]} to {shown[-1]}"
    by_size = sorted(group, key=lambda w: -abs(w.value)) if len(group) > MOST_ITEMS else group
    items = [w._pattern.item for w in by_size]
    more = [f"{len(items) - MOST_ITEMS} more"] * (len(items) > MOST_ITEMS)
    parts = {
        "images": name_images(images, all_images),
        "names": list(images),
        "sources": _and(
            [
                *sources[:MOST_ITEMS],
                *[f"{len(sources) - MOST_ITEMS} more"] * (len(sources) > MOST_ITEMS),
            ]
        ),
        "items": ", ".join([*items[:MOST_ITEMS], *more]),
        "values": values,
        "largest": max(group, key=lambda w: abs(w.value))._pattern.shown,
    }
    intervals = {k: v for w in group for k, v in (w.intervals or {}).items()}
    return replace(
        max(group, key=lambda w: abs(w.value) if w.value == w.value else -1.0),
        text=_filled(pattern.text, parts),
        remedy=_filled(pattern.remedy, parts),
        images=images,
        sources=sources,
        parameters=every("parameters"),
        intervals=intervals or None,
    )


def _filled(text: str, parts: Mapping[str, Any]) -> str:
    begins = text.startswith("{images}") and len(parts["names"]) > 1
    for key, value in parts.items():  # names may hold braces of their own
        text = text.replace(f"{{{key}}}", str(value))
    return text[:1].upper() + text[1:] if begins and text.startswith(("all ", "both ")) else text


def name_images(names: Sequence[str], all_names: Sequence[str]) -> str:
    """Images in words: their names, or "all 5 HSC images" where those are all that begin alike."""
    if len(names) < 2:
        return "".join(names)
    if set(names) == set(all_names):
        return "both images" if len(names) == 2 else f"all {len(names)} images"
    survey = names[0].split("_")[0]
    if len(names) > 2 and set(names) == {n for n in all_names if n.split("_")[0] == survey}:
        return f"all {len(names)} {survey} images"
    if len(names) <= MOST_ITEMS:
        return _and(names)
    return f"{len(names)} of {len(all_names)} images ({', '.join(names[:MOST_ITEMS])}, ...)"


def _and(words: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def lines(found: Sequence[FitWarning], room: int = MOST_LINES) -> list[str]:
    """A line each, the gravest first, and how many more there are where they fill more than `room`
    lines of a terminal.
    """
    out: list[str] = []
    for k, w in enumerate(found):
        text = str(w)
        room -= -(-len(text) // WIDTH)
        if out and room < 0:
            out.append(f"And {len(found) - k} more: see best.warnings.")
            break
        out.append(text)
    return out


def flags_by_source(
    found: Iterable[Mapping[str, Any]],
    sources: Mapping[str, Mapping[str, Any]],
    seen: Mapping[str, set[str]],
) -> dict[str, list[str]]:
    """Flags of the rows of a table, by source.

    Parameters
    ----------
    found : iterable of mapping
        Warnings, as `FitWarning.plain` gives them.
    sources : mapping
        By the name of each row's source, its columns: by key, a mapping whose ``site`` is the
        site's name.
    seen : mapping
        By source, the names of the images that it is in.
    """
    out: dict[str, list[str]] = {name: [] for name in sources}
    for w in found:
        own = {
            name: [k for k, c in columns.items() if c["site"] in w["parameters"]]
            for name, columns in sources.items()
        }
        for name in sources:
            concerned = name in w["sources"] or bool(own[name])
            if not (w["sources"] or w["parameters"]):
                concerned = not w["images"] or bool(seen[name] & set(w["images"]))
            if concerned and own[name]:
                out[name] += [
                    f"{k}: {w['kind']}{_interval(w, sources[name][k])}" for k in own[name]
                ]
            elif concerned:
                out[name].append(w["kind"])
    return {name: list(dict.fromkeys(flags)) for name, flags in out.items()}


def _interval(w: Mapping[str, Any], column: Mapping[str, Any]) -> str:
    """What stands behind a flag: the interval in place of the error, such as (1.8 to 2.7)."""
    found = (w.get("intervals") or {}).get(column["site"])
    return "" if not found else f" ({found[0]:.3g} to {found[1]:.3g})"


def concerned(scene: Scene, site: str) -> tuple[str, ...]:
    """The component that a site belongs to, if it is a source."""
    from bayesjoint.sky.components import Source

    owner = next((s.component for s in scene.layout.sites if s.name == site), None)
    return (owner.name,) if isinstance(owner, Source) else ()
