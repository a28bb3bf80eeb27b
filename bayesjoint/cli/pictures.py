"""Pictures: the figures of a run, by kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesjoint import plots
from bayesjoint.cli.folder import KINDS
from bayesjoint.plots.subject import Subject

if TYPE_CHECKING:
    from bayesjoint.cli.folder import Folder
    from bayesjoint.images import Image

__all__ = ["figures"]

SAMPLED = ("corner", "light_curve", "trace", "rank")
"""What needs draws."""
MANY = 14
"""Parameters of a corner plot that nobody chose: at most."""

Pictures = Iterator[tuple[str, Any]]
"""What tells a picture from others of its kind ('' where there are none), and axes or a figure."""


def figures(
    made: Folder,
    kinds: Sequence[str] | None = None,
    sources: Sequence[str] | None = None,
    images: Sequence[str] | None = None,
    parameters: Sequence[str] | None = None,
) -> Iterator[tuple[str, Any]]:
    """Name and figure of each picture.

    Parameters
    ----------
    made : Folder
        The run.
    kinds : sequence of str, optional
        See `bayesjoint.cli.folder.KINDS`; default, all that there is something for.
    sources, images, parameters : sequence of str, optional
        Which of them; default, all (of the parameters, those that are not a sky's).

    Raises
    ------
    ValueError
        For a picture of draws where none were sampled, or names that are not there.
    """
    wanted = _Wanted(made, Subject.of(made.post or made.best), sources, images, parameters)
    for kind in dict.fromkeys(kinds or wanted.kinds()):
        if kind in SAMPLED and made.post is None:
            raise ValueError(f"{made.path} holds no draws to make {kind!r} of: fit with a --sampler.")
        drawn = list(DRAW[kind](wanted))
        for name, axes in drawn:
            figure = axes if hasattr(axes, "savefig") else np.asarray(axes, dtype=object).ravel()[0].figure
            yield (kind if len(drawn) == 1 else f"{kind}_{name}"), figure


@dataclass
class _Wanted:
    made: Folder
    subject: Subject
    sources: Sequence[str] | None
    images: Sequence[str] | None
    parameters: Sequence[str] | None

    def kinds(self) -> list[str]:
        """What there is something for."""
        post = self.made.post
        there = {
            "colour": len({im.band for im in self.made.scene.images}) >= 3,
            "light_curve": bool(self.transients) and post is not None,
            "history": self.made.history is not None,
            "corner": post is not None and len(self.subject.theta) > MANY,
            **dict.fromkeys(("trace", "rank"), post is not None and post.theta.shape[0] > 1),
        }
        return [k for k in KINDS if there.get(k, True)]

    @property
    def shining(self) -> list[str]:
        """The sources that were asked for, or all."""
        every = [s["name"] for s in self.subject.meta["sources"] if not s["sky"]]
        return every if self.sources is None else [self.subject.source(n)["name"] for n in self.sources]

    @property
    def transients(self) -> list[str]:
        """Of those, the ones with a flux an image."""
        by_image = {s["parameter"] for s in self.subject.meta["sites"] if s["per"] == "image"}
        return [n for n in self.shining if f"{n}.flux" in by_image]

    @property
    def shown(self) -> list[Image]:
        """The images that were asked for, or all."""
        return list(self.made.scene.images) if self.images is None else [self.subject.image(n) for n in self.images]


def _panels(w: _Wanted) -> Pictures:
    scene, names = w.made.scene, [im.name for im in w.shown]
    models, residuals = ({n: of[n] for n in names} for of in (scene.render(w.subject.values), scene.residuals(w.subject.values)))
    yield "", plots.panels(w.shown, models, residuals, windows=scene)


def _image(w: _Wanted) -> Pictures:
    for im in w.shown:
        yield im.name, plots.image(im, sky=im.placement.wcs is not None, windows=w.made.scene)


def _components(w: _Wanted) -> Pictures:
    for im in w.shown:
        yield im.name, plots.components(w.subject, im.name, sources=w.sources)


def _profile(w: _Wanted) -> Pictures:
    for n in w.shining:
        yield n, plots.profile(w.subject, n, images=w.images)


def _light_curve(w: _Wanted) -> Pictures:
    for n in w.transients or w.shining:  # of what has no flux by image, it says so
        yield n, plots.light_curve(w.made.post, n)


def _corner(w: _Wanted) -> Pictures:
    names = [n for n in w.made.post.names if n.startswith(tuple(f"{s}." for s in w.shining))][:MANY]
    yield "", plots.corner(w.made.post, list(w.parameters or names) or None)


def _chains(draw: Callable[..., Any]) -> Callable[[_Wanted], Pictures]:
    def drawn(w: _Wanted) -> Pictures:
        yield "", draw(w.made.post, None if w.parameters is None else list(w.parameters))

    return drawn


DRAW: dict[str, Callable[[_Wanted], Pictures]] = {
    "panels": _panels,
    "image": _image,
    "components": _components,
    "profile": _profile,
    "sed": lambda w: iter([("", plots.sed(w.subject, *w.shining))]),
    "light_curve": _light_curve,
    "colour": lambda w: iter([("", plots.colour(w.subject, w.images))]),
    "corner": _corner,
    "history": lambda w: iter([("", plots.history(w.made.best))]),
    "trace": _chains(plots.trace),
    "rank": _chains(plots.rank),
}
