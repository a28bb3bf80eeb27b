"""The ArviZ seam by itself: `bayesjoint.posterior` would bring torch, which an environment with ArviZ 1.x need not have."""

import importlib.util
import pathlib

import numpy as np
import xarray as xr

HERE = pathlib.Path(__file__).resolve().parent
spec = importlib.util.spec_from_file_location("arviz_seam", HERE.parents[1] / "bayesjoint" / "posterior" / "arviz_seam.py")
seam = importlib.util.module_from_spec(spec)
spec.loader.exec_module(seam)


def draws():
    """Four chains of three parameters, of which the last mixes badly."""
    rng = np.random.default_rng(1)
    return rng.normal(size=(4, 300, 3)).cumsum(1) * 0.02 + rng.normal(size=(4, 300, 3))


def ratios(count):
    """Log importance ratios of three targets."""
    return 0.5 * np.random.default_rng(2).standard_t(4, size=(3, count))


def groups(chains=4):
    """Such groups as a posterior has."""
    x = draws()[:chains]
    coords = {"chain": np.arange(chains), "draw": np.arange(x.shape[1])}
    rng = np.random.default_rng(3)
    sampled = {
        "galaxy.x": (("chain", "draw"), x[:, :, 0], {"units": "arcsec", "long_name": "place"}),
        "galaxy.flux": (("chain", "draw", "band"), x[:, :, 1:], {"units": "nJy"}),
    }
    image = rng.normal(size=(6, 5))
    image[2, 3] = np.nan
    return {
        "posterior": xr.Dataset(sampled, coords={**coords, "band": ["g", "i-2"]}, attrs={"bayesjoint": "posterior", "version": 1, "meta": "{}"}),
        "sample_stats": xr.Dataset({"diverging": (("chain", "draw"), rng.random(x.shape[:2]) < 0.02)}, coords=coords),
        "log_likelihood": xr.Dataset({"image[g]": (("chain", "draw", "pixel"), rng.normal(size=(*x.shape[:2], 30)) - x[:, :, :1])}, coords=coords),
        "observed_data": xr.Dataset({"image[g]": (("y_g", "x_g"), image)}),
    }


def found():
    """What the diagnostics make of the draws, as a group that goes with them."""
    x = draws()
    each = {k: getattr(seam, k)(x) for k in ("r_hat", "bulk_ess", "tail_ess", "mean_ess")}
    log_weights, k_hat = seam.psis(ratios(400))
    return xr.Dataset(
        {**{k: ("k", v) for k, v in each.items()}, "k_hat": ("target", k_hat), "log_weights": (("target", "s"), log_weights)},
        attrs={"arviz": seam._arviz().__version__},
    )
