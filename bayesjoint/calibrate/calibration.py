"""Calibration: ranks of truths among posterior draws, of many simulations."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr
from scipy.stats import norm

from bayesjoint.calibrate.simulation import LIKELIHOOD, Outcome
from bayesjoint.posterior.arviz_seam import load_kind, save_groups

__all__ = ["Calibration"]

SHOWN = 5
"""Simulations whose reasons are printed."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """What `bayesjoint.calibrate.sbc` found in s simulations of n sites.

    Parameters
    ----------
    names : tuple of str
        The n sites, and last the log likelihood of all images.
    ranks : ndarray of int, shape (s, n + 1)
        How many of the thinned draws lie below the truth; -1 where the simulation failed.
    draws : ndarray of int, shape (s,)
        Thinned draws; 0 where the simulation failed.
    jitter : ndarray, shape (s, n + 1)
        Uniform numbers that spread each rank over its own step.
    truths : ndarray, shape (s, n)
        In arcsec, degree, nJy (or image units).
    ess, k_hat : ndarray, shape (s,)
        Smallest effective sample size, and Pareto k; NaN where there is none.
    reasons : tuple of str
        Of each simulation, why it failed or did not converge; empty where nothing speaks against it.
    info : dict
        How it was run: sampler, seed, its options.
    """

    names: tuple[str, ...]
    ranks: np.ndarray
    draws: np.ndarray
    jitter: np.ndarray
    truths: np.ndarray
    ess: np.ndarray
    k_hat: np.ndarray
    reasons: tuple[str, ...]
    info: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, sites: Sequence[str], outcomes: Sequence[Outcome], jitter: np.ndarray, info: dict[str, Any]) -> Calibration:
        """Gather `outcomes` of a scene's `sites`; `jitter` (s, n + 1) on (0, 1) breaks ranks' ties, and `info` says how it was run."""
        missing = np.full(len(sites) + 1, -1)
        return cls(
            (*sites, LIKELIHOOD),
            np.stack([missing if o.ranks is None else o.ranks for o in outcomes]),
            np.array([o.draws for o in outcomes]),
            jitter,
            np.stack([o.truth for o in outcomes]),
            np.array([o.ess for o in outcomes]),
            np.array([o.k_hat for o in outcomes]),
            tuple(" ".join(o.reasons) for o in outcomes),
            info,
        )

    def __len__(self) -> int:
        return len(self.ranks)

    @property
    def failed(self) -> np.ndarray:
        """Simulations without ranks, bool of shape (s,)."""
        return (self.ranks < 0).any(1)

    @property
    def doubtful(self) -> np.ndarray:
        """Simulations with ranks of which a diagnostic says that they are not to be trusted, bool of shape (s,)."""
        return np.array([bool(r) for r in self.reasons], dtype=bool) & ~self.failed

    @cached_property
    def levels(self) -> np.ndarray:
        """Level of each truth in its posterior, shape (s, n + 1), uniform on (0, 1) whatever the number of draws; NaN where it failed.

        It is (rank + jitter) / (draws + 1), the randomised probability integral transform.
        """
        return np.where(self.failed[:, None], np.nan, (self.ranks + self.jitter) / (self.draws[:, None] + 1))

    @cached_property
    def scores(self) -> np.ndarray:
        """Normal scores of the levels, shape (s, n + 1), standard Normal where all is well."""
        return norm.ppf(self.levels)

    def first(self, simulations: int) -> Calibration:
        """The first of the simulations, as if no more had been run."""
        parts = {k: getattr(self, k)[:simulations] for k in ("ranks", "draws", "jitter", "truths", "ess", "k_hat", "reasons")}
        return Calibration(self.names, **parts, info=self.info)

    def __repr__(self) -> str:
        kept = self.draws[~self.failed]
        said = f"{len(self)} simulations by {self.info.get('sampler')}: {int(self.failed.sum())} failed, {int(self.doubtful.sum())} are doubtful"
        said += f"; a median of {np.median(kept):.0f} thinned draws" if len(kept) else ""
        high = self.k_hat[np.isfinite(self.k_hat)]
        said += f"; k-hat up to {high.max():.2f}" if len(high) else ""
        rows = [f"  simulation {k}: {r}" for k, r in enumerate(self.reasons) if r]
        rows = sorted(rows, key=lambda row: not self.failed[int(row.split()[1][:-1])])
        more = [f"  and {len(rows) - SHOWN} more, in .reasons"] if len(rows) > SHOWN else []
        return f"<Calibration: {said}.>" + "".join("\n" + row for row in rows[:SHOWN] + more)

    # -- files -----------------------------------------------------------------------------------------------------------
    def save(self, path: Any) -> None:
        """Write it as netCDF, for `load` and xarray."""
        rows, columns = "simulation", "quantity"
        data = xr.Dataset(
            {
                "ranks": ((rows, columns), self.ranks),
                "jitter": ((rows, columns), self.jitter),
                "truths": ((rows, "site"), self.truths),
                **{k: (rows, getattr(self, k)) for k in ("draws", "ess", "k_hat")},
            },
            coords={columns: list(self.names), "site": list(self.names[:-1])},
            attrs={"bayesjoint": "calibration", "version": 1, "info": json.dumps(self.info), "reasons": json.dumps(self.reasons)},
        )
        save_groups({"calibration": data}, path)

    @classmethod
    def load(cls, path: Any) -> Calibration:
        """Read what `save` wrote; nothing in the file is run.

        Raises
        ------
        OSError
            If the file is missing or not netCDF.
        ValueError
            If it holds no calibration of ours.
        """
        data = load_kind(path, "calibration")["calibration"]
        arrays = {k: data[k].values for k in ("ranks", "draws", "jitter", "truths", "ess", "k_hat")}
        names = tuple(str(n) for n in data["quantity"].values)
        return cls(names, **arrays, reasons=tuple(json.loads(data.attrs["reasons"])), info=json.loads(data.attrs["info"]))
