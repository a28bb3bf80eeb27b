"""Running: fit a scene, sample it, write what comes out."""

from __future__ import annotations

import argparse
import pathlib
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bayesjoint.cli.files import absolute
from bayesjoint.cli.folder import OURS, POSTERIOR, RUN, SCENE, clear
from bayesjoint.log import log

if TYPE_CHECKING:
    from bayesjoint.infer.fit import Fit
    from bayesjoint.posterior import Posterior
    from bayesjoint.scene import Scene

__all__ = ["NOT_CONVERGED", "picture", "run"]

NOT_CONVERGED = 3
"""Exit status; not 1, with which Python ends where something unforeseen happens."""

REMEDY = "Change the model, begin elsewhere with a --scene that holds values, or sample all the same with --force."

WITHOUT = {"psf": "a PSF (the model is integrated over pixels, and not blurred)", "zeropoint": "a zeropoint (fluxes are in image units)"}
"""What an image may be without, in words."""


def run(
    scene: Scene,
    told: Sequence[Mapping[str, Any]],
    options: argparse.Namespace,
    *,
    start: Mapping[str, float] | None = None,
    truth: Mapping[str, float] | None = None,
) -> int:
    """Fit, sample, write into ``options.out``, which is claimed already, and say so.

    Parameters
    ----------
    scene : Scene
        What to fit.
    told : sequence of mapping
        Its files; see `bayesjoint.cli.files.read`.
    options : Namespace
        Of `bayesjoint.cli.options.sampling`.
    start : mapping, optional
        Values by site at which to begin.
    truth : mapping, optional
        Values by site, for the corner plot and for scripts.

    Returns
    -------
    int
        The exit status: 3 for a fit that has not converged or is singular at a bound, sampled or not, and for a posterior that has not converged
        where ``options.strict`` asks.
    """
    from bayesjoint.cli.summary import say, summary
    from bayesjoint.infer.draws import failure

    out, words = options.out, not (options.quiet or options.json)
    progress, began = not options.quiet and sys.stderr.isatty(), time.perf_counter()
    out.mkdir(parents=True, exist_ok=True)
    without = {k: [im.name for im in scene.images if getattr(im, k) is None] for k in WITHOUT}
    if words and any(without.values()):
        print("Without " + "; without ".join(f"{WITHOUT[k]}: {', '.join(names)}" for k, names in without.items() if names) + ".")
    best = scene.fit(start, progress=progress)
    clear(out)
    _write_fit(best, told, options)
    if words:
        print(best)
    failed = failure(best)
    not_sampled = f"Not sampled: {failed} {REMEDY}" if failed and options.sampler != "none" and not options.force else ""
    if not_sampled:
        log.warning(not_sampled)
    post = _sampled(best, options, progress) if not not_sampled else None
    if post is not None:  # first of all: it took longest
        post.save(out / POSTERIOR)
    (post or best).table().write(out / "table.ecsv", overwrite=True)
    if post is not None:
        try:
            picture(post.corner(truths=truth), out / "corner.png")
        except ValueError as e:  # too few draws for it: the results are there all the same
            log.warning(f"There is no corner.png: {e}")
    seconds, files = time.perf_counter() - began, [out / n for n in OURS if (out / n).exists()]
    if options.json:
        said = {"without": without} | ({} if truth is None else {"truth": truth}) | ({"not_sampled": not_sampled} if not_sampled else {})
        say(summary(best, post, files, command=options.command, seconds=round(seconds, 3), **said))
    elif words:
        if post is not None:
            print(f"\n{post}\n{post.summary()}\n")
        print(f"Done in {seconds:.1f} s: {out}/ holds {', '.join(f.name for f in files)}")
    return NOT_CONVERGED if failed or (options.strict and post is not None and not post.converged) else 0


def picture(figure: Any, path: pathlib.Path, dpi: int = 90) -> None:
    """Write a figure; its kind is the path's suffix."""
    figure.savefig(path, dpi=dpi, bbox_inches="tight")


def _write_fit(best: Fit, told: Sequence[Mapping[str, Any]], options: argparse.Namespace) -> None:
    """The fit's part, before sampling begins: of a run that is stopped this much is there."""
    import yaml

    from bayesjoint.cli.summary import plain

    best.save(options.out / SCENE)
    ended = {k: getattr(best, k) for k in ("converged", "verdict", "remarks")}
    again = {"bayesjoint": "run", "command": options.command, "images": absolute(told), "fit": ended, "history": best.history}
    (options.out / RUN).write_text(yaml.safe_dump(plain(again), sort_keys=False, allow_unicode=True))
    picture(best.plot(), options.out / "residuals.png")


def _sampled(best: Fit, options: argparse.Namespace, progress: bool) -> Posterior | None:
    how = {k: getattr(options, k) for k in ("draws", "seed", "force")}
    if options.sampler == "nuts":
        how |= {k: getattr(options, k) for k in ("warmup", "chains", "checkpoint")}
        return best.nuts(**how, progress=progress)
    if options.sampler == "svi":
        return best.svi(**how, progress=progress)
    return best.laplace(**how) if options.sampler == "laplace" else None
