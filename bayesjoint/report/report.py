"""Report: a fit or a posterior as one HTML page that needs nothing else: pictures within, no network."""

from __future__ import annotations

import datetime
import importlib.metadata
import importlib.resources
import pathlib
import platform
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesjoint import plots
from bayesjoint.plots.pages import picture
from bayesjoint.plots.subject import Subject
from bayesjoint.posterior.flags import LEGEND
from bayesjoint.posterior.posterior import Posterior
from bayesjoint.posterior.words import rounded
from bayesjoint.references import citations

if TYPE_CHECKING:
    from bayesjoint.infer.fit import Fit

__all__ = ["report"]

PACKAGES = ("bayesjoint", "torch", "pyro-ppl", "numpy", "scipy", "astropy", "arviz", "matplotlib")
SHOWN, CORNER, PAIRS = 12, 14, 12
"""Images and sources that have pictures of their own, parameters of the corner plot, and correlations that are listed: at most."""
STRONG = 0.6
"""Correlation from which on a pair is listed."""


def report(of: Fit | Posterior, path: Any = None, *, fit: Fit | None = None, command: str | None = None) -> str:
    """Make the page.

    Parameters
    ----------
    of : Fit or Posterior
        With its scene, for the pictures; a posterior that was loaded from a file has tables alone.
    path : path, optional
        Where to write it.
    fit : Fit, optional
        That a posterior was drawn from: how it ended, and how the residuals look.
    command : str, optional
        What made it, for who wants to do it again.

    Returns
    -------
    str
        The HTML.
    """
    import jinja2

    post = of if isinstance(of, Posterior) else None
    best = fit if post is not None else of
    subject = Subject.of(of)
    template = importlib.resources.files("bayesjoint.report").joinpath("page.html").read_text(encoding="utf-8")
    page = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(template)
    text = page.render(
        made=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        verdicts=_verdicts(best, post),
        images=_images(subject, best),
        pictures=_pictures(subject, best, post),
        parameters=_parameters(subject, post),
        legend=LEGEND,
        sources=_sources(of, subject),
        correlations=_correlations(subject),
        scene="" if subject.scene is None else subject.scene.describe(),
        how=_how(post, command),
        citations=citations(of),
    )
    if path is not None:
        pathlib.Path(path).write_text(text, encoding="utf-8")
    return text


def _verdicts(best: Fit | None, post: Posterior | None) -> list[dict[str, Any]]:
    """What is to be said first, and whether it is good."""
    said = []
    if best is not None:
        said.append({"good": best.converged, "title": "Fit", "text": best.verdict, "more": best.remarks})
    if post is not None:
        chains, draws, _ = post.theta.shape
        text = f"{post.info.get('sampler')}, {chains} chain{'s' * (chains != 1)} of {draws} draws: "
        good = "no diagnostic speaks against them." if post.converged else "NOT converged."
        said.append({"good": post.converged, "title": "Posterior", "text": text + good, "more": list(post.reasons)})
    return said


def _images(subject: Subject, best: Fit | None) -> list[list[str]]:
    rows = []
    for im in subject.scene.images if subject.scene is not None else ():
        noise = best.noise[im.name] if best is not None else None
        rows.append([
            im.name, im.band, f"{im.shape[1]} × {im.shape[0]}", f"{im.pixel_scale:.4g}", "" if im.psf is None else f"{im.psf.fwhm * im.pixel_scale:.3g}",
            "" if im.zeropoint is None else f"{im.zeropoint:.3f}", str(int(im.mask.sum())), "" if noise is None else f"{noise.chi2:.3f}",
            "" if noise is None else f"{noise.scatter:.3f}",
        ])  # fmt: skip
    return rows


def _parameters(subject: Subject, post: Posterior | None) -> list[list[str]]:
    summary = None if post is None else post.summary()
    rows = []
    for s in subject.meta["sites"]:
        n, x = s["name"], subject.draws(s["name"])
        value, error = (subject.values[n], float(np.std(x))) if summary is None else (summary.loc[n, "mean"], summary.loc[n, "sd"])
        if s["cyclic"] and summary is None:
            error = float(np.std((x - value + 90) % 180 - 90))
        diagnostics = ["", "", ""] if summary is None else [f"{summary.loc[n, k]:.{d}f}" for k, d in (("r_hat", 3), ("ess_bulk", 0), ("ess_tail", 0))]
        rows.append([n, rounded(value, error), s["unit"], *diagnostics, "" if summary is None else summary.loc[n, "flags"]])
    for n, x in subject.more.items():
        rows.append([n, rounded(float(np.mean(x)), float(np.std(x))), "follows", "", "", "", ""])
    return rows


def _sources(of: Fit | Posterior, subject: Subject) -> list[list[str]]:
    """What follows of each source: its place on the sky, magnitudes, surface brightness; what is a parameter stands with those."""
    table, rows = of.table(), []
    own = {s["name"]: set(s["columns"]) for s in subject.meta["sources"]}
    for row in table:
        for key in (k for k in table.colnames if np.asarray(table[k]).dtype.kind == "f"):
            value, error = (np.ma.filled(getattr(row[k], "value", row[k]), np.nan) if k in table.colnames else np.nan for k in (key, f"{key}_err"))
            if key not in own[row["source"]] and not key.endswith("_err") and np.isfinite(value):
                shown = f"{float(value):.6f}" if key in ("ra", "dec") else rounded(float(value), float(error))
                rows.append([row["source"], key, shown, str(table[key].unit or ""), table[key].info.description])
    return rows


def _correlations(subject: Subject) -> list[list[str]]:
    """The most strongly correlated pairs."""
    if len(subject.theta) < 2 or subject.theta.shape[1] < 2:
        return []
    names, cyclic = zip(*((s["name"], s["cyclic"]) for s in subject.meta["sites"]), strict=True)
    x = subject.theta.copy()
    for k in np.flatnonzero(cyclic):
        x[:, k] = (x[:, k] - subject.values[names[k]] + 90) % 180
    with np.errstate(invalid="ignore", divide="ignore"):
        r = np.nan_to_num(np.corrcoef(x.T))
    pairs = sorted(zip(*np.triu_indices(len(names), 1), strict=True), key=lambda ij: -abs(r[ij]))
    return [[names[i], names[j], f"{r[i, j]:+.2f}"] for i, j in pairs[:PAIRS] if abs(r[i, j]) >= STRONG]


def _pictures(subject: Subject, best: Fit | None, post: Posterior | None) -> list[dict[str, str]]:
    """Title and image of each, what there is."""
    made: list[tuple[str, Any]] = []
    names = [s["name"] for s in subject.meta["sources"] if not s["sky"]]
    scene = subject.scene
    if scene is not None:
        images = scene.images[:SHOWN]
        models, residuals = scene.render(subject.values), scene.residuals(subject.values)
        made.append(("Data, model, residuals", plots.panels(images, models, residuals, windows=scene)))
        if len({im.band for im in scene.images}) >= 3:
            made.append(("In colour", plots.colour(subject)))
        made += [(f"Profile of {n}", plots.profile(subject, n, draws=20)) for n in names[:SHOWN]]
    if any(len(subject.fluxes(n)) > 1 for n in names):
        made.append(("Brightness by band", plots.sed(subject, *names[:SHOWN])))
    if post is not None:
        transients = [
            s["name"]
            for s in subject.meta["sources"]
            if any(p["parameter"] == f"{s['name']}.flux" and p["per"] == "image" for p in subject.meta["sites"])
        ]
        made += [(f"Light curve of {n}", plots.light_curve(post, n)) for n in transients[:SHOWN]]
        skies = {s["name"] for s in subject.meta["sources"] if s["sky"]}
        chosen = [n for n in post.names if n.rpartition(".")[0] not in skies][:CORNER]
        if len(chosen) > 1 and subject.theta.shape[0] > len(chosen):
            made.append(("Posterior", post.corner(chosen)))
    if best is not None:
        made.append(("The way to the maximum", plots.history(best)))
    return [{"title": t, "html": picture(p if hasattr(p, "savefig") else np.asarray(p, dtype=object).ravel()[0].figure, 90)} for t, p in made]


def _how(post: Posterior | None, command: str | None) -> list[tuple[str, str]]:
    """How to do it again."""
    rows = [("command", command)] if command else []
    if post is not None:
        rows += [(k, str(post.info[k])) for k in ("sampler", "seed", "marginalize", "k_hat") if post.info.get(k) not in (None, "")]
    versions = ", ".join(f"{p} {importlib.metadata.version(p)}" for p in PACKAGES)
    return [*rows, ("versions", f"{versions}, Python {platform.python_version()}")]
