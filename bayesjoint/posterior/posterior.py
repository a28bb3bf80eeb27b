"""Posterior: draws of a scene's sites, with diagnostics, tables, plots and files."""

from __future__ import annotations

import json
import pathlib
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from bayesjoint.posterior import arviz_seam as seam
from bayesjoint.posterior.flags import R_HAT, flags
from bayesjoint.posterior.fractions import fractions
from bayesjoint.posterior.meta import describe_sites
from bayesjoint.posterior.tables import circular, magnitude, meta_table, put_flags, quantile
from bayesjoint.posterior.variables import matrix, variables
from bayesjoint.posterior.words import latex
from bayesjoint.scene.alike import meeting
from bayesjoint.scene.density import derived_of
from bayesjoint.scene.planning import BUDGET, render_errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from astropy.table import QTable

    from bayesjoint.infer.evidence import Evidence
    from bayesjoint.posterior.check import Check
    from bayesjoint.posterior.loo import Loo
    from bayesjoint.scene.scene import Scene

__all__ = ["Posterior", "load"]

ESS, E_BFMI = 100, 0.3
"""Effective draws a chain, and energies' Bayesian fraction of missing information, below which a verdict falls."""
QUANTILES = {"q5": 0.05, "q50": 0.5, "q95": 0.95}


class Summary(pd.DataFrame):
    """A DataFrame that prints all its columns."""

    @property
    def _constructor(self) -> type:
        return Summary

    def __repr__(self) -> str:
        return self.to_string(float_format=lambda v: f"{v:.6g}")

    __str__ = __repr__


class Posterior:
    """Draws from the posterior of a scene; made by ``fit.nuts``, ``fit.svi``, ``fit.laplace`` or `load`.

    Attributes
    ----------
    names : list of str
        Sites.
    theta : ndarray, shape (chains, draws, sites)
        Values in arcsec, degree, nJy (or image units).
    info : dict
        How they were drawn: sampler, seed, k_hat, ...
    scene : Scene or None
        None for a posterior that was loaded from a file.
    """

    def __init__(
        self,
        groups: dict[str, xr.Dataset],
        meta: dict[str, Any],
        info: dict[str, Any],
        scene: Scene | None = None,
        theta: np.ndarray | None = None,
    ) -> None:
        self._groups, self.meta, self.info, self.scene = groups, meta, info, scene
        self.names = [s["name"] for s in meta["sites"]]
        self.theta = matrix(groups["posterior"], meta) if theta is None else theta

    @classmethod
    def of(cls, scene: Scene, theta: np.ndarray, log_likelihood: np.ndarray, stats: dict[str, np.ndarray], info: dict[str, Any]) -> Posterior:
        """Make a posterior from arrays.

        Parameters
        ----------
        scene : Scene
            Whose sites were drawn.
        theta : ndarray, shape (chains, draws, sites)
            Values in arcsec, degree, nJy (or image units).
        log_likelihood : ndarray, shape (chains, draws, images)
            Of each image.
        stats : dict of ndarray, shape (chains, draws)
            The sampler's, by name.
        info : dict
            How they were drawn.
        """
        if "render_errors" not in info:
            info["render_errors"] = render_errors(scene, *_extremes(scene, theta.reshape(-1, theta.shape[-1])))
        meta = describe_sites(scene)
        coords = {"chain": np.arange(theta.shape[0]), "draw": np.arange(theta.shape[1])}
        groups = {
            "posterior": variables(theta, meta, coords),
            "sample_stats": xr.Dataset({k: (("chain", "draw"), v) for k, v in stats.items()}, coords=coords),
            "log_likelihood": xr.Dataset(
                {"image_log_likelihood": (("chain", "draw", "image"), log_likelihood)}, coords={**coords, "image": meta["images"]}
            ),
            "observed_data": xr.Dataset(
                {f"image[{im.name}]": ((f"y_{im.name}", f"x_{im.name}"), np.where(im.valid, im.data, np.nan)) for im in scene.images}
            ),
        }
        more = derived_of(scene, theta.reshape(-1, theta.shape[-1]))
        if more:
            groups["derived"] = xr.Dataset({k: (("chain", "draw"), v.reshape(theta.shape[:2])) for k, v in more.items()}, coords=coords)
        return cls(groups, meta, info, scene, theta)

    @cached_property
    def arviz(self) -> Any:
        """The draws for ArviZ, an InferenceData (ArviZ 0.x) or DataTree (1.x)."""
        return seam.container(self._groups)

    def add_group(self, name: str, group: xr.Dataset) -> None:
        """Add a group to `arviz` (and to what `save` writes), in the place of any of that name."""
        self._groups = {**self._groups, name: group}
        self.__dict__.pop("arviz", None)

    @property
    def k_hat(self) -> float | None:
        """Pareto k of the importance weights against the exact density (laplace, svi), else None."""
        return self.info.get("k_hat")

    def draws(self, site: str) -> np.ndarray:
        """Draws of one site, or of what follows from sites by a link, shape (chains * draws,)."""
        if site in self.derived:
            return self._groups["derived"][site].values.ravel()
        if site not in self.names:
            from bayesjoint.scene.layout import suggest

            raise ValueError(f"The posterior has no parameter {site!r}." + suggest(site, [*self.names, *self.derived]))
        return self.theta[:, :, self.names.index(site)].ravel()

    @property
    def derived(self) -> list[str]:
        """Names of what follows from sites by links, such as ``galaxy.n[r]`` for an index that is a polynomial in wavelength."""
        return list(self.meta.get("derived", []))

    @property
    def middle(self) -> dict[str, float]:
        """Mean of each site in its unit, circular for angles."""
        return {
            n: (circular(self.draws(n))[0] if s["cyclic"] else float(self.draws(n).mean()))
            for n, s in zip(self.names, self.meta["sites"], strict=True)
        }

    # -- diagnostics ------------------------------------------------------------------------------------------------------
    @cached_property
    def distinct(self) -> int:
        """Number of draws that differ (resampling by weights makes duplicates)."""
        return len(np.unique(self.theta.reshape(-1, self.theta.shape[-1]), axis=0))

    @cached_property
    def diagnostics(self) -> dict[str, np.ndarray]:
        """``r_hat``, ``ess_bulk`` and ``ess_tail`` of each site (numbers without unit), shape (sites,).

        Of an angle they are the worse of its cosine's and sine's. Draws that were resampled by importance weights are at most as many effective ones
        as there are distinct ones, and as the weights have. NaN where a diagnostic cannot be had; `reasons` says why.
        """
        if "diagnostics" in self.info:  # of chains about several maxima
            return {k: np.asarray(v, dtype=float) for k, v in self.info["diagnostics"].items()}
        plain, second = self.theta.copy(), self.theta.copy()
        for k, s in enumerate(self.meta["sites"]):
            if s["cyclic"]:
                angle = np.radians(2 * self.theta[:, :, k])
                plain[:, :, k], second[:, :, k] = np.cos(angle), np.sin(angle)
        out = {}
        for name, f, worse in (("r_hat", seam.r_hat, np.fmax), ("ess_bulk", seam.bulk_ess, np.fmin), ("ess_tail", seam.tail_ess, np.fmin)):
            out[name] = worse(f(plain), f(second))
        for name in ("ess_bulk", "ess_tail"):  # ArviZ counts all draws of a site that never moves
            out[name] = np.where(np.isnan(out["r_hat"]), np.nan, out[name])
        if self.k_hat is not None and self.names:
            most = float(self.distinct)
            if self.info.get("resampled", True):
                most = min(most, float(self.info.get("importance_ess", np.inf)))
            out |= {name: np.minimum(out[name], most) for name in ("ess_bulk", "ess_tail")}
        return out

    @cached_property
    def chain_reasons(self) -> list[str]:
        """Why chains are not to be trusted, in words (R-hat, effective draws, divergences, energies)."""
        d, stats, chains = self.diagnostics, self._groups["sample_stats"], self.theta.shape[0]
        found = self._undetermined(("r_hat", "ess_bulk", "ess_tail"))
        bad = [n for n, r in zip(self.names, d["r_hat"], strict=True) if r > R_HAT]
        if bad:
            worst = np.nanmax(d["r_hat"])
            advice = (
                "there are too few draws to tell whether the chains have mixed; draw more"
                if worst < 1.05
                else "the chains have not mixed; draw more, or look for a second mode"
            )
            found.append(f"R-hat is above {R_HAT} for {', '.join(bad)} (worst {worst:.4f}): {advice}.")
        low = float(np.nanmin([*d["ess_bulk"], *d["ess_tail"], np.inf]))
        if low < ESS * min(chains, 4):
            found.append(f"The smallest effective sample size is {low:.0f}, below {ESS} a chain: draw more.")
        count = int(stats["diverging"].sum()) if "diverging" in stats else 0
        if count:
            found.append(
                f"{count} transitions diverged: the posterior has places that the sampler cannot follow; raise target_accept, or change the model there."
            )
        energy = stats["energy"].values if "energy" in stats else np.zeros((1, 0))
        bfmi = (np.diff(energy, axis=1) ** 2).mean(1) / energy.var(1) if energy.shape[1] > 2 else np.ones(1)
        if (bfmi < E_BFMI).any():
            found.append(f"E-BFMI is {bfmi.min():.2f}, below {E_BFMI}: the energy is explored too slowly.")
        return found

    def _weight_reasons(self) -> list[str]:
        """Why weighed draws are not to be trusted, in words."""
        found, sampler, draws = [], self.info.get("sampler"), self.theta.shape[0] * self.theta.shape[1]
        limit, effective = self.info.get("k_threshold", 0.7), self.info.get("importance_ess", np.inf)
        if not self.k_hat < limit:
            found.append(f"Pareto k-hat is {self.k_hat:.2f}, above {limit:.2f}: the {sampler} draws do not follow the posterior; use nuts.")
        if effective < ESS and not self.info.get("exact"):
            found.append(f"Only {effective:.0f} of the weighted draws are effective; use nuts, or draw more.")
        if self.names and self.distinct < min(ESS, draws / 2):
            found.append(f"Only {self.distinct} of the {draws} draws are distinct; use nuts, or draw more.")
        return found + self._undetermined(("ess_bulk", "ess_tail"))

    def _undetermined(self, diagnostics: Sequence[str]) -> list[str]:
        """Sites of which a diagnostic cannot be had, and why."""
        unknown = np.isnan([self.diagnostics[k] for k in diagnostics]).any(0)
        chains, draws = self.theta.shape[:2]
        causes: dict[str, list[str]] = {}
        for k in np.flatnonzero(unknown):
            x = self.theta[:, :, k]
            if not np.isfinite(x).all():
                cause = "some of its draws are not finite"
            elif (x == x[:, :1]).all():
                cause = "its draws are all equal in each chain"
            elif chains * draws < 8 or draws < 4:
                cause = f"{chains} x {draws} draws are too few"
            else:
                cause = "too many of its draws are equal"
            causes.setdefault(cause, []).append(self.names[k])
        what = "R-hat and the effective sample size" if "r_hat" in diagnostics else "The effective sample size"
        return [f"{what} cannot be computed for {', '.join(names)}: {cause}." for cause, names in causes.items()]

    @cached_property
    def reasons(self) -> list[str]:
        """Why the draws are not to be trusted, in words; empty where nothing speaks against them."""
        said = list(self.info.get("doubts", []))
        if self.k_hat is not None:
            said += self._weight_reasons()
        elif "diagnostics" not in self.info:  # else those of the chains about each maximum are said already
            said += self.chain_reasons
        coarse = [f"{k} ({e:.2g} sigma)" for k, e in self.info.get("render_errors", {}).items() if e > BUDGET]
        if coarse:
            said.append(
                f"Far from the maximum the model is drawn too coarsely in {', '.join(coarse)}: fit again on a plan made there, scene.replanned(values)."
            )
        if self.meta.get("alike"):
            x = self.theta.reshape(-1, len(self.names))
            said += meeting(self.meta["alike"], self.names, x.mean(0), np.atleast_2d(np.cov(x.T)))
        if self.info.get("settled") is False:
            said.append("SVI had not settled when its steps ran out: raise max_steps.")
        return said

    @property
    def notes(self) -> list[str]:
        """What is to be known of the draws and does not speak against them, in words."""
        found = []
        if self.info.get("exact"):
            found.append("The draws are independent ones of the exact posterior, known in closed form: importance weights (k-hat) are not needed.")
        shares = self.info.get("maxima", [])
        if len(shares) > 1:
            parts = [f"{_ordinal(k)} holds {100 * share:.2g} % of it" for k, share in enumerate(shares[1:], 2)]
            found.append(f"The posterior has {len(shares)} maxima; {', '.join(parts)} (by their evidence).")
        return found

    @property
    def converged(self) -> bool:
        """Whether no diagnostic speaks against the draws; `reasons` says why not."""
        return not self.reasons

    def summary(self) -> pd.DataFrame:
        """Mean, standard deviation, quantiles and diagnostics of every site and magnitude.

        Angles are summarised on the circle; quantiles of an angle are taken about its circular mean. `flags` says what speaks against a
        row, in words that `bayesjoint.posterior.flags.LEGEND` explains; `reasons` what speaks against all.
        """
        d = self.diagnostics
        rows = {}
        for k, s in enumerate(self.meta["sites"]):
            x = self.theta[:, :, k]
            mean, sd = circular(x.ravel()) if s["cyclic"] else (float(x.mean()), float(x.std(ddof=min(1, x.size - 1))))
            quantiles = {q: quantile(x, p, mean if s["cyclic"] else None) for q, p in QUANTILES.items()}
            found = {n: float(v[k]) for n, v in d.items()}
            # weighed draws are no chains; a diagnostic that cannot be had is never fine
            unknown = {"r_hat": np.inf, "ess_bulk": 0.0, "ess_tail": 0.0}
            speaks = {n: unknown[n] if np.isnan(v) else v for n, v in found.items() if n != "r_hat" or self.k_hat is None}
            rows[s["name"]] = {"unit": s["unit"], "mean": mean, "sd": sd, **quantiles, **found, "flags": flags(s, x, sd, speaks)}
            if s["flux"] and s["calibrated"]:
                m = magnitude(x)
                if np.isfinite(m).any():
                    rows[s["name"].replace(".flux", ".mag", 1)] = {
                        "unit": "mag",
                        "mean": float(np.nanmean(m)),
                        "sd": float(np.nanstd(m)),
                        **{q: quantile(m, p) for q, p in QUANTILES.items()},
                        **found,
                        "flags": rows[s["name"]]["flags"],
                    }
        return Summary(pd.DataFrame.from_dict(rows, orient="index"))

    # -- how good the model is ----------------------------------------------------------------------------------------------
    def log_evidence(self, draws: int = 4000, seed: int = 0) -> Evidence:
        """Log evidence with its Monte-Carlo error; see `bayesjoint.infer.evidence.Evidence`.

        By importance sampling for laplace and svi, whose proposals have weighed it already; for nuts by bridge sampling, which evaluates
        the density at `draws` more places, drawn from `seed`, and needs the scene. A saved posterior keeps what was found.
        """
        from bayesjoint.posterior.evidence import log_evidence

        return log_evidence(self, draws, seed)

    def loo(self, draws: int | None = 1000, memory: float = 256) -> Loo:
        """How well each pixel is predicted from all others: elpd, its error, p_loo, Pareto k, by image; see `bayesjoint.posterior.loo.Loo`.

        Needs the scene. Of the posterior, `draws` are used (None: all), and the log likelihoods of as many pixels held at a time as fit in
        `memory` (megabytes); the images are drawn anew for every such block.
        """
        from bayesjoint.posterior.loo import loo

        return loo(self, draws, memory)

    def pointwise_log_likelihood(self, image: str, draws: int | None = None, memory: float = 256) -> Iterator[tuple[np.ndarray, ...]]:
        """Log likelihood of an image's unmasked pixels by draw, in blocks (rows, columns, values of shape (pixels, draws)) of `memory` megabytes at most; see `bayesjoint.posterior.pointwise.blocks`."""
        from bayesjoint.posterior.pointwise import blocks, matched, spread

        scene, theta = matched(self, "pointwise log likelihoods")
        return blocks(scene, spread(theta, draws).reshape(-1, len(self.names)), image, memory)

    def add_log_likelihood(self, memory: float = 1024) -> None:
        """Add pointwise log likelihoods to the ArviZ group ``log_likelihood``; refused where it would take more than `memory` (megabytes).

        See `bayesjoint.posterior.predictive.add_log_likelihood`.
        """
        from bayesjoint.posterior.predictive import add_log_likelihood

        add_log_likelihood(self, memory)

    def predictive(self, draws: int = 100, seed: int = 0, memory: float = 1024) -> dict[str, np.ndarray]:
        """Images that the model predicts, with noise: by image name (draws, ny, nx); also the ArviZ group ``posterior_predictive``.

        See `bayesjoint.posterior.predictive.predictive`. The noise is drawn from `seed`; refused where it would take more than `memory` (megabytes).
        """
        from bayesjoint.posterior.predictive import predictive

        return predictive(self, draws, seed, memory)

    def check(self, draws: int = 500, seed: int = 0) -> Check:
        """Posterior predictive checks of each image: does the model make images like the data? See `bayesjoint.posterior.check.Check`.

        Of the posterior, `draws` are used (100 at least), each with noise of its own drawn from `seed`.
        """
        from bayesjoint.posterior.check import check

        return check(self, draws, seed)

    # -- tables, plots, files --------------------------------------------------------------------------------------------
    def table(self, quantiles: Sequence[float] = ()) -> QTable:
        """One row a source: posterior means and standard deviations (``_err``), with units and descriptions.

        Besides the parameters: AB magnitudes, colours of neighbouring bands, circularised sizes, and the mean surface brightness within the
        half-light ellipse, each from every draw. `flags` says what speaks against a parameter, or was said against the source by the fit, in words
        that the column's description explains.

        Parameters
        ----------
        quantiles : sequence of float
            Probabilities whose quantiles to add: 0.16 makes columns ``_q16``.
        """
        names = [*self.names, *self.derived]
        theta = np.column_stack([self.draws(n) for n in names]) if names else np.zeros((self.theta[..., 0].size, 0))
        t = meta_table(self.meta, names, theta, quantiles=quantiles)
        said = self.summary()["flags"] if names else {}
        own = [[(k, said[c["site"]]) for k, c in s["columns"].items() if c["site"] in self.names] for s in self.meta["sources"] if not s["sky"]]
        rows = [[f"{k}: {flag}" for k, flag in of if flag] for of in own]
        of_fit = self.info.get("fit_flags", {})
        for name, row in zip(t["source"], rows, strict=True):
            row += [flag for flag in of_fit.get(str(name), []) if not any(f.startswith(flag) for f in row)]
        put_flags(t, rows)
        t.meta.update({"sampler": self.info.get("sampler"), "converged": bool(self.converged), "reasons": list(self.reasons)})
        t.meta["notes"] = self.notes
        t.meta["fit_warnings"] = [w["text"] for w in self.info.get("fit_warnings", [])]
        return t

    def fractions(self, *sources: str) -> QTable:
        """Shares of sources in their common light, such as a bulge's B/T: one row a band, mean, ``_err``, ``_q16`` and ``_q84`` for each.

        Parameters
        ----------
        *sources : str
            Their names; default, all.
        """
        return fractions(self.meta, self.draws, sources or [s["name"] for s in self.meta["sources"] if not s["sky"]])

    def latex(self, path: Any = None) -> str:
        """A table of all parameters in LaTeX (booktabs), values to the second figure of their errors; written to `path` if that is given."""
        s = self.summary()
        text = latex([(n, r["mean"], r["sd"], r["unit"]) for n, r in s.iterrows()])
        if path is not None:
            pathlib.Path(path).write_text(text, encoding="utf-8")
        return text

    def light_curve(self, source: str, *, level: float = 0.997) -> QTable:
        """Flux of a source in each image by epoch: one row an image, with errors, significance, magnitudes and upper limits.

        The full covariance of the fluxes is in ``table.meta["covariance"]`` (rows in the table's order): they share the host, the position and
        what else the scene ties together.

        Parameters
        ----------
        source : str
            One whose flux is ``bj.Param(per="image")``. An epoch that is held stands there with an error of 0.
        level : float
            Probability below the upper limit.
        """
        from bayesjoint.posterior.light_curve import light_curve

        return light_curve(self, source, level=level)

    def corner(self, parameters: list[str] | None = None, **options: Any) -> Any:
        """Corner plot of `parameters` (sites by name, or all but the skies'); returns the figure. `options` are those of `bayesjoint.plots.corner`."""
        from bayesjoint.plots.corner import corner

        return corner(self, parameters, **options)

    def plot(self) -> Any:
        """Data, model and residual panels of every image at the posterior mean; returns the figure. Needs the scene."""
        from bayesjoint.plots.panels import panels

        if self.scene is None:
            raise ValueError(
                "A posterior loaded from a file has no images to plot: load the scene with bj.Scene.load(path, images) and set post.scene."
            )
        return panels(self.scene.images, self.scene.render(self.middle), self.scene.residuals(self.middle), windows=self.scene)[0, 0].figure

    def report(self, path: Any, *, fit: Any = None, command: str | None = None) -> None:
        """Write one self-contained HTML page of all that there is to say; see `bayesjoint.report.report`.

        Parameters
        ----------
        path : path
            Where to write it.
        fit : Fit, optional
            That the posterior was drawn from.
        command : str, optional
            What made it.
        """
        from bayesjoint.report import report

        report(self, path, fit=fit, command=command)

    def save(self, path: Any) -> None:
        """Write the posterior as netCDF, for `bayesjoint.load`, ArviZ and xarray."""
        attrs = {"bayesjoint": "posterior", "version": 1, "meta": json.dumps(self.meta), "info": json.dumps(_plain(self.info))}
        seam.save_groups({k: v.assign_attrs(attrs) if k == "posterior" else v for k, v in self._groups.items()}, path)

    def _repr_html_(self) -> str:
        from bayesjoint.plots.pages import posterior_page

        return posterior_page(self)

    def __repr__(self) -> str:
        c, d, n = self.theta.shape
        verdict = " ".join(["converged." if self.converged else "NOT converged: " + " ".join(self.reasons), *self.notes])
        verdict = verdict.removesuffix(".")
        return f"<Posterior by {self.info.get('sampler')}: {c} chain(s) of {d} draws, {n} parameters; {verdict}>"


def load(path: Any) -> Posterior:
    """Read a posterior that `Posterior.save` wrote; nothing in the file is run.

    Parameters
    ----------
    path : path
        The netCDF file.

    Returns
    -------
    Posterior
        Without its scene, which has the images: load that with `Scene.load`, and set ``post.scene``.

    Raises
    ------
    OSError
        If the file is missing or not netCDF.
    ValueError
        If it holds no posterior of ours.
    """
    groups = seam.load_kind(path, "posterior")
    attrs = groups["posterior"].attrs
    meta, info = json.loads(attrs["meta"]), json.loads(attrs["info"])
    for k in ("k_hat",):
        if isinstance(info.get(k), str):
            info[k] = float(info[k])
    groups["posterior"].attrs = {}
    return Posterior(groups, meta, info)


def _ordinal(k: int) -> str:
    """The k-th maximum in words, from 2."""
    return {2: "the second", 3: "the third", 4: "the fourth", 5: "the fifth"}.get(k, f"number {k}")


def _plain(info: dict[str, Any]) -> dict[str, Any]:
    return {k: (str(v) if isinstance(v, float) and not np.isfinite(v) else v) for k, v in info.items()}


def _extremes(scene: Scene, theta: np.ndarray, count: int = 4) -> list[dict[str, float]]:
    """The draws (s, n) farthest out in any direction, where a render plan is most likely too coarse."""
    if not len(theta) or not theta.shape[1]:
        return []
    off = (theta - theta.mean(0)) / np.where(theta.std(0) > 0, theta.std(0), 1.0)
    return [dict(zip(scene.names, theta[k].tolist(), strict=True)) for k in np.argsort((off**2).sum(1))[-count:]]
