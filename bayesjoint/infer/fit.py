"""Fit: the maximum of a scene's log density, its covariance, and the way from there to a posterior."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bayesjoint.infer.basins import blended
from bayesjoint.infer.doubts import doubts
from bayesjoint.infer.lm import State
from bayesjoint.infer.registration import corrections, registration
from bayesjoint.infer.residuals import Residuals
from bayesjoint.log import log
from bayesjoint.scene.alike import alike, meeting
from bayesjoint.scene.density import values_of
from bayesjoint.scene.planning import BUDGET
from bayesjoint.scene.windows import lost_light

if TYPE_CHECKING:
    from astropy.table import QTable

    from bayesjoint.infer.evidence import Evidence
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
    converged : bool
    message, verdict, remarks : str, str, list of str
        All that there is to say: what was maximised and how it ended, and a sentence each of what speaks against something.
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

    def __init__(self, scene: Scene, state: State, prior: bool, errors: dict[str, float], basins: str = "") -> None:
        self.render_errors = errors
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
        steps = len(self.history) - 1
        self.remarks: list[str] = []
        what = "log posterior density (flat coordinates)" if prior else "log likelihood alone (prior=False)"
        if self.converged:
            self.verdict = f"Converged after {steps} iterations: the {what} is at its maximum as far as {state.reason}."
        else:
            self.verdict = f"NOT converged after {steps} iterations on the {what}: {state.reason}."
        coarse = [f"{name} ({e:.2g} sigma)" for name, e in errors.items() if e > BUDGET]
        if coarse:
            coarse = f"The model is drawn too coarsely in {', '.join(coarse)}: parameters may be biased by up to so much of their errors."
        self.lost_light = lost_light(scene, self.values)
        left = scene.residuals(self.values)
        self.chi2 = self.history[-1]["chi2"] = float(sum((r**2).sum() for r in left.values()))  # a last step by the old precision did not sum it
        self.noise = {im.name: Residuals.of(im, left[im.name]) for im in scene.images}
        for said in filter(
            None,
            (
                basins,
                weak,
                blended(scene, self.covariance),
                *meeting(alike(scene), self.names, np.array(list(self.values.values())), self.covariance),
                coarse,
                *(
                    f"{name}'s window in {im} leaves away light of {e:.1f} sigma in all: enlarge it, or take window='auto'."
                    for im, of in self.lost_light.items()
                    for name, e in of.items()
                    if e > CUT
                ),
                *doubts(scene, self.values, self.errors, prior),
                *corrections(scene, self.values, self.errors),
                *(registration(scene, state, {k: n.chi2 for k, n in self.noise.items()}) if self.converged else ()),
                *(w for n in self.noise.values() if self.converged for w in n.words),
            ),
        ):
            self.remarks.append(said)
            log.warning(said)
        self.message = " ".join([self.verdict, *self.remarks])

    # -- on to the posterior ----------------------------------------------------------------------------------------------
    def laplace(self, draws: int = 1000, seed: int = 0, *, marginalize: str | None = "auto", workers: int | None = None) -> Posterior:
        """Draw from the Gaussian at the maximum, reweighted by Pareto-smoothed importance sampling; see `bayesjoint.infer.laplace.laplace`."""
        from bayesjoint.infer.laplace import laplace

        return laplace(self, draws=draws, seed=seed, marginalize=marginalize, workers=workers)

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
    ) -> Posterior:
        """Draw from the guide that Pyro's SVI finds from the maximum and its covariance; see `bayesjoint.infer.svi.svi`."""
        from bayesjoint.infer.svi import svi

        options = {"guide": guide, "resample": resample, "max_steps": max_steps, "progress": progress, "marginalize": marginalize, "workers": workers}
        return svi(self, draws=draws, seed=seed, **options)

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
        marginalize: str | None = None,
    ) -> Posterior:
        """Sample by Pyro's NUTS in coordinates whitened by the maximum's covariance; see `bayesjoint.infer.nuts.nuts`."""
        from bayesjoint.infer.nuts import nuts

        return nuts(
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
        )

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
        """One row a source: values, errors (delta method, ``_err``) and magnitudes, columns with units and descriptions.

        Returns
        -------
        `~astropy.table.QTable`
        """
        from bayesjoint.posterior.tables import source_table

        return source_table(self.scene, self.draws(), best=self.values, errors=self.errors)

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
        return f"<Fit: chi2 {self.chi2:.2f} / {self.dof} dof. {self.message}>\n" + "\n".join(rows)


def _invert(precision: np.ndarray, names: tuple[str, ...]) -> tuple[np.ndarray, str]:
    """Covariance from precision, and a sentence that names the sites of any direction that nothing constrains."""
    if not len(names):
        return np.zeros((0, 0)), ""
    scale = np.sqrt(np.clip(np.diag(precision), 1e-300, None))
    dead = np.diag(precision) <= 1e-280
    scale[dead] = 1.0
    m = precision / scale[:, None] / scale
    val, vec = np.linalg.eigh(0.5 * (m + m.T))
    weak = val < DEGENERATE * val.max()
    val = np.where(weak, DEGENERATE * val.max(), val)
    said = ""
    if weak.any():
        which = []
        for k in np.flatnonzero(weak):
            v = np.abs(vec[:, k])
            which.append(" with ".join(names[i] for i in np.argsort(-v)[:4] if v[i] > 0.3 * v.max()))
        said = f"Degenerate: neither data nor prior constrain {'; '.join(which)}; the errors there have no meaning."
    covariance = (vec / val) @ vec.T / scale[:, None] / scale
    return 0.5 * (covariance + covariance.T), said
