"""Fit: the maximum of a scene's log density, its covariance, and the way from there to a posterior."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bayesjoint.infer.curvature import curvature_warnings
from bayesjoint.infer.lm import State
from bayesjoint.infer.registration import corrections
from bayesjoint.infer.residual_warnings import residual_warnings
from bayesjoint.infer.residuals import Residuals
from bayesjoint.infer.unmodelled import quiet_pixels
from bayesjoint.infer.value_warnings import at_bounds, is_singular, rival_maxima, value_warnings
from bayesjoint.infer.warnings import (
    FitWarning,
    Pattern,
    Severity,
    concerned,
    grouped,
    lines,
)
from bayesjoint.log import log
from bayesjoint.scene.density import values_of
from bayesjoint.scene.planning import BUDGET
from bayesjoint.scene.windows import lost_light

if TYPE_CHECKING:
    from astropy.table import QTable, Table

    from bayesjoint.infer.evidence import Evidence
    from bayesjoint.infer.profile import Profile
    from bayesjoint.infer.search import Mode
    from bayesjoint.posterior.posterior import Posterior
    from bayesjoint.scene.scene import Scene

__all__ = ["Fit"]

DEGENERATE = 1e-12
CUT = 1.0
"""Light outside a window, in units of the noise, from which on it is said."""


class Fit:
    """Maximum a posteriori of a scene (or of its likelihood alone), found by Levenberg-Marquardt.

    Attributes
    ----------
    scene : Scene
        The scene, on a render plan made for the result.
    z, z_covariance : torch.Tensor
        The maximum and its covariance in the flat coordinates, which have no unit.
    values, errors : dict
        By site, in arcsec, degree, nJy (or image units); errors by the delta method.
    covariance, hessian : ndarray, shape (n, n)
        Of the values, in their units, in the order of `names`, and minus the second derivative of the objective by z.
    chi2 : float
        Sum of squares of the residuals of the data alone, in units of sigma.
    dof : int
        Unmasked pixels minus free parameters.
    converged, singular : bool
        Whether the maximum was reached; whether the covariance there is singular with a parameter at its bound, so that errors mean nothing.
    maximised : str
        What was: the log posterior density in the flat coordinates, or the log likelihood alone.
    search : str
        How many starts led here, where there were several.
    restarts : Table
        The maxima that starts led to, the highest first: ``log_density``, ``chi2``, and ``count``, how many led there.
    modes : list of Mode
        Those that hold more than a per cent of the evidence by Laplace's approximation, the fit's own first.
    history : list of dict
        One record an iteration, the start included.
    noise : dict of Residuals
        By image: mean square and scatter of the residuals in units of sigma, and whether neighbours vary together.
    render_errors : dict
        Error of each image's model by its plan, root of the sum of squares in units of the noise: no parameter is biased by more
        of its own sigma.
    lost_light : dict of dict
        By image and source that has a window there: its light outside, root of the sum of squares in units of the noise.
    """

    def __init__(
        self,
        scene: Scene,
        state: State,
        prior: bool,
        errors: dict[str, float],
        search: str,
        restarts: Table,
        modes: list[Mode],
        untried: Sequence[str],
    ) -> None:
        self.render_errors, self.search, self.restarts, self.modes = errors, search, restarts, modes
        self.scene, self.prior, self.history, self.converged = scene, prior, state.history, state.converged
        self.z, self.log_density = state.z.detach(), state.log_density
        self.names = scene.names
        self.values = {k: float(v) for k, v in scene.constrain(self.z).items()}
        precision = state.precision.cpu().double().numpy()
        self.hessian = precision
        covariance, weak = _invert(precision, self.names)
        self.z_covariance = torch.as_tensor(covariance, dtype=scene.dtype).to(scene.device)
        jac = scene.chart.slopes(self.z)[0].cpu().double().numpy()
        self.covariance = jac @ covariance @ jac.T
        self.errors = dict(zip(self.names, np.sqrt(np.clip(np.diag(self.covariance), 0, None)).tolist(), strict=True))
        self.dof = sum(int(im.valid.sum()) for im in scene.images) - len(self.names)
        self.maximised = "log posterior density (flat coordinates)" if prior else "log likelihood alone (prior=False)"
        self.reason = state.reason
        self.lost_light = lost_light(scene, self.values)
        left = scene.residuals(self.values)
        self.chi2 = self.history[-1]["chi2"] = float(sum((r**2).sum() for r in left.values()))  # a last step by the old precision did not sum it
        quiet = {im.name: quiet_pixels(scene, self.values, im, left[im.name]) for im in scene.images}
        self.noise = {im.name: Residuals.of(im, left[im.name], quiet[im.name]) for im in scene.images}
        pressed = at_bounds(scene, self.z, self.values, self.errors, prior)
        self.singular = is_singular(scene, self.errors, pressed, bool(weak))
        found = self._ended(weak)
        for name in untried:
            pattern = Pattern(
                "Other starts might lead to a higher maximum: {sources} ended where one would not expect them, and none was tried for so many sources.",
                "Look at best.plot(), and give starts or priors to those.",
            )
            found.append(FitWarning.of("search", Severity.WARNING, pattern, sources=(name,)))
        found += rival_maxima(scene, self.values, self.errors, self.modes)
        found += value_warnings(scene, self.values, self.errors, self.covariance, pressed, self.noise, prior)
        found += corrections(scene, self.values, self.errors)
        self._found = found + residual_warnings(scene, state, self.values, left, self.noise, quiet)
        for line in lines(self._grouped(self._found)):
            log.warning(line)

    def _ended(self, weak: Sequence[Sequence[str]]) -> list[FitWarning]:
        """What speaks against the end of the fit, and against how its model is drawn; `weak`: sites of directions without curvature."""
        found = []
        if not self.converged:
            remedy = "Begin elsewhere (scene.fit(start=...)), raise max_iterations=, or simplify the model."
            text = "The values are not those of a maximum, and their errors mean nothing."
            found.append(FitWarning("not converged", Severity.SERIOUS, text, remedy))
        for sites in weak:
            pattern = Pattern(
                "Degenerate: neither data nor prior constrain {items}; the errors there have no meaning.",
                "Hold or link some of them, give them priors, or leave a source out.",
                " with ".join(sites),
            )
            owners = tuple(dict.fromkeys(c for n in sites for c in concerned(self.scene, n)))
            concerns = {"parameters": tuple(sites), "sources": owners, "value": float(len(sites))}
            found.append(FitWarning.of("degenerate", Severity.SERIOUS, pattern, **concerns))
        for name, e in self.render_errors.items():
            if e > BUDGET:
                pattern = Pattern(
                    "The model is drawn too coarsely in {items}: parameters may be biased by up to as many of their errors.",
                    "Fit again on a plan made here: best.scene.replanned(best.values).fit(best).",
                    f"{name} ({e:.2g} sigma)",
                )
                found.append(FitWarning.of("coarse", Severity.WARNING, pattern, images=(name,), value=e))
        for im, of in self.lost_light.items():
            for name, e in of.items():
                if e > CUT:
                    pattern = Pattern(
                        "Windows leave light of their sources out: {items}.",
                        "Enlarge them, or take window='auto'.",
                        f"{name}'s window in {im} ({e:.1f} sigma in all)",
                    )
                    found.append(FitWarning.of("window", Severity.WARNING, pattern, images=(im,), sources=(name,), value=e))
        return found

    def _grouped(self, found: Sequence[FitWarning]) -> list[FitWarning]:
        return grouped(found, [im.name for im in self.scene.images])

    # -- what there is to say -----------------------------------------------------------------------------------------------
    @cached_property
    def warnings(self) -> list[FitWarning]:
        """All that speaks against the fit, as objects, the gravest first; alike ones are one, with all their images and sources.

        Whether the errors are those of a Gaussian is looked at when this is first asked for.
        """
        return self._grouped([*self._found, *(curvature_warnings(self) if self.converged and not self.singular else ())])

    @property
    def headline(self) -> str:
        """How the fit ended, in one line, the first of `message`."""
        count = len(self.warnings)
        said = "no warnings" if not count else f"{count} warning{'s' * (count != 1)}"
        size = f"chi2/dof {self.chi2 / self.dof:.2f}" if self.dof > 0 else f"chi2 {self.chi2:.3g} for {self.dof} degrees of freedom"
        if self.converged:
            return f"Converged: {size}, {said}."
        return f"NOT converged after {len(self.history) - 1} iterations: {self.reason}; {size}, {said}."

    @cached_property
    def verdict(self) -> str:
        """The same as `headline`."""
        return self.headline

    @cached_property
    def remarks(self) -> list[str]:
        """`warnings` as sentences."""
        return [str(w) for w in self.warnings]

    @cached_property
    def message(self) -> str:
        """All that there is to say, a line each.

        How it ended, `warnings` (the gravest, if they fill more than a screen), how many starts led here, and what was maximised.
        """
        ended = "Maximum of" if self.converged else "Maximised:"
        how = f"{ended} the {self.maximised}, after {len(self.history) - 1} iterations ({self.reason})."
        return "\n".join(filter(None, [self.headline, *lines(self.warnings), self.search, how]))

    # -- on to the posterior ----------------------------------------------------------------------------------------------
    def laplace(
        self,
        draws: int = 1000,
        seed: int = 0,
        *,
        marginalize: str | None = "auto",
        workers: int | None = None,
        force: bool = False,
    ) -> Posterior:
        """Draw from the Gaussian at the maximum, reweighted by Pareto-smoothed importance sampling; see `bayesjoint.infer.laplace.laplace`.

        A fit that has not converged, or whose covariance is singular at a bound, is refused unless `force`.
        """
        from bayesjoint.infer.laplace import laplace

        return self._handed(laplace(self, draws=draws, seed=seed, marginalize=marginalize, workers=workers, force=force))

    def svi(
        self,
        draws: int = 1000,
        seed: int = 0,
        *,
        guide: str = "normal",
        resample: bool = True,
        max_steps: int = 2000,
        progress: bool = True,
        marginalize: str | None = "auto",
        workers: int | None = None,
        force: bool = False,
    ) -> Posterior:
        """Draw from the guide that Pyro's SVI finds from the maximum and its covariance; see `bayesjoint.infer.svi.svi`.

        A fit that has not converged, or whose covariance is singular at a bound, is refused unless `force`.
        """
        from bayesjoint.infer.svi import svi

        options = {"guide": guide, "resample": resample, "max_steps": max_steps, "progress": progress}
        options |= {"marginalize": marginalize, "workers": workers, "force": force}
        return self._handed(svi(self, draws=draws, seed=seed, **options))

    def nuts(
        self,
        draws: int = 1000,
        warmup: int | None = None,
        chains: int = 4,
        seed: int = 0,
        *,
        progress: bool = True,
        checkpoint: Any = None,
        target_accept: float | None = None,
        workers: int | None = None,
        marginalize: str | None = "auto",
        force: bool = False,
    ) -> Posterior:
        """Sample by Pyro's NUTS in coordinates whitened by the maximum's covariance; see `bayesjoint.infer.nuts.nuts`.

        A fit that has not converged, or whose covariance is singular at a bound, is refused unless `force`.
        """
        from bayesjoint.infer.nuts import nuts

        post = nuts(
            self,
            draws=draws,
            warmup=warmup,
            chains=chains,
            seed=seed,
            progress=progress,
            checkpoint=checkpoint,
            target_accept=target_accept,
            workers=workers,
            marginalize=marginalize,
            force=force,
        )
        return self._handed(post)

    def _handed(self, post: Posterior) -> Posterior:
        """A posterior that knows what was said of the fit that it was drawn from."""
        from bayesjoint.posterior.tables import fit_flags

        found = self._grouped(self._found)
        post.info["fit_warnings"] = [w.plain() for w in found]
        post.info["fit_flags"] = fit_flags(self.scene, post.meta, found)
        return post

    def log_evidence(self) -> Evidence:
        """Log evidence by Laplace's approximation, without the error that draws give; see `bayesjoint.infer.evidence.Evidence`.

        log p(maximum) + n/2 ln 2π - 1/2 ln det(hessian) in the flat coordinates, whose log density has the Jacobian in it: exact for a
        Gaussian posterior, else as good as the posterior is Gaussian there, and the curvature Gauss and Newton's.
        """
        from bayesjoint.infer.evidence import laplace_evidence

        return laplace_evidence(self)

    # -- looking at it ----------------------------------------------------------------------------------------------------
    def model_images(self) -> dict[str, np.ndarray]:
        """Model of each image, in image units."""
        return self.scene.render(self.values)

    def residuals(self) -> dict[str, np.ndarray]:
        """(data - model) / sigma of each image, 0 where masked."""
        return self.scene.residuals(self.values)

    def table(self) -> QTable:
        """One row a source: values, errors (delta method, ``_err``) and magnitudes, columns with units and descriptions; `flags` are kinds of `warnings`.

        Returns
        -------
        `~astropy.table.QTable`
        """
        from bayesjoint.posterior.tables import source_table

        table = source_table(self.scene, self.draws(), best=self.values, errors=self.errors, warnings=self.warnings)
        table.meta.update({"converged": bool(self.converged), "chi2": self.chi2, "dof": self.dof, "warnings": self.remarks})
        return table

    def profile(self, name: str, points: int | Sequence[float] | None = None) -> Profile:
        """Log density along one parameter, all others maximised at each value of it; see `bayesjoint.infer.profile.profile`.

        Parameters
        ----------
        name : str
            The parameter's site, such as ``bulge.n``.
        points : int or sequence of float, optional
            How many on each side at most (default 12), or the values themselves, in the parameter's unit.
        """
        from bayesjoint.infer.profile import profile

        return profile(self, name, points)

    def draws(self, count: int = 2000, seed: int = 0) -> np.ndarray:
        """Values by site, in their units, shape (count, n), of draws from the Gaussian about the maximum (in the flat coordinates): an approximation, unweighted.

        Parameters
        ----------
        count, seed : int
            How many, and the seed of the random numbers.
        """
        n, rng = len(self.names), np.random.default_rng(seed)
        factor = np.linalg.cholesky(self.z_covariance.cpu().double().numpy()) if n else np.zeros((0, 0))
        return values_of(self.scene, self.z.cpu().double().numpy() + rng.standard_normal((count, n)) @ factor.T)

    def plot(self) -> Any:
        """Data, model and residual panels of every image; returns the figure."""
        from bayesjoint.plots.panels import panels

        return panels(self.scene.images, self.model_images(), self.residuals(), windows=self.scene)[0, 0].figure

    def report(self, path: Any, *, command: str | None = None) -> None:
        """Write one self-contained HTML page of all that there is to say (`command`: what made it); see `bayesjoint.report.report`."""
        from bayesjoint.report import report

        report(self, path, command=command)

    def save(self, path: Any) -> None:
        """Write the scene with the fit's values and covariance as YAML."""
        from bayesjoint.scene.saving import save

        save(
            self.scene,
            path,
            values=self.values,
            fit={
                "message": self.message,
                "converged": bool(self.converged),
                "singular": bool(self.singular),
                "maximised": self.maximised,
                "warnings": [w.plain() for w in self.warnings],
                "chi2": self.chi2,
                "dof": self.dof,
                "names": list(self.names),
                "covariance": self.covariance.tolist(),
            },
        )

    def _repr_html_(self) -> str:
        from bayesjoint.plots.pages import fit_page

        return fit_page(self)

    def __repr__(self) -> str:
        rows = [f"  {n:<24} {self.values[n]:>14.6g} +- {self.errors[n]:<10.3g} {self.scene.units[n]}" for n in self.names]
        return f"<Fit: {self.message}>\n" + "\n".join(rows)


def _invert(precision: np.ndarray, names: tuple[str, ...]) -> tuple[np.ndarray, list[list[str]]]:
    """Covariance from precision, and the sites of each direction that nothing constrains."""
    if not len(names):
        return np.zeros((0, 0)), []
    scale = np.sqrt(np.clip(np.diag(precision), 1e-300, None))
    dead = np.diag(precision) <= 1e-280
    scale[dead] = 1.0
    m = precision / scale[:, None] / scale
    val, vec = np.linalg.eigh(0.5 * (m + m.T))
    weak = val < DEGENERATE * val.max()
    val = np.where(weak, DEGENERATE * val.max(), val)
    sites = []
    for k in np.flatnonzero(weak):
        v = np.abs(vec[:, k])
        sites.append([names[i] for i in np.argsort(-v)[:4] if v[i] > 0.3 * v.max()])
    covariance = (vec / val) @ vec.T / scale[:, None] / scale
    return 0.5 * (covariance + covariance.T), sites
