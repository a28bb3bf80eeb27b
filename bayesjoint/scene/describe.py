"""Describe: a scene's sites in a table of words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bayesjoint.scene.checks import sharp_psfs
from bayesjoint.scene.noise import Gaussian
from bayesjoint.scene.plain import prior_to_plain
from bayesjoint.sky.components import Sky
from bayesjoint.sky.parameters import Link, Ref

if TYPE_CHECKING:
    from bayesjoint.scene.scene import Scene

__all__ = ["describe"]


def describe(scene: Scene) -> str:
    """One line a site (unit, prior, start, images), then what is held fixed."""
    start = scene.start
    rows = [("site", "unit", "prior", "start", "images")]
    for s in scene.layout.sites:
        rows.append(
            (s.name, s.unit, prior_text(s.prior) + ("" if s.default else " (given)"), f"{start[s.name]:.6g}", ", ".join(im.name for im in s.images))
        )
    for name, value in scene.layout.fixed.items():
        rows.append((name, "", "fixed", f"{value:.6g}", ""))
    for name in scene.layout.derived:
        rows.append((name, "", "follows", "", ""))
    widths = [max(len(r[k]) for r in rows) for k in range(5)]
    lines = ["  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)).rstrip() for r in rows]
    lines += [f"The noise of {name} is {n!r}." for name, n in scene.noise.items() if n != Gaussian()]
    for c in scene.components:
        if isinstance(c, Sky) and c.border:
            lines.append(
                f"{c.name}.level is held near the level of each image's border, as closely as the"
                " light of a galaxy may allow there."
            )
        lines += [f"{c.name}.{k} is {p!r}." for k, p in c.params.items() if isinstance(p, Ref | Link)]
        window = getattr(c, "window", None)
        if window is not None:
            lines.append(f"The window of {c.name} is {window!r}.")
    return "\n".join([*lines, *(said for said, _ in sharp_psfs(scene.images).values())])


def prior_text(prior: Any) -> str:
    """A prior in a line."""
    try:
        ((name, arguments),) = prior_to_plain(prior, "").items()
    except ValueError:
        return type(prior).__name__
    return f"{name}({', '.join(f'{v:.5g}' for v in arguments.values())})"
